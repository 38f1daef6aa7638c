"""What all models share: presets, and the type of their answers."""

from typing import Any, NamedTuple

import keras

from keras_edram import anytime, decoding
from keras_edram.models.arguments import check_class_names, check_integer


class Glimpse(NamedTuple):
    """What one step of a model gives.

    Attributes:
        logits: `(B, K)`, what it says that is there.
        transforms: `(B, 2, 3)`, the window that was read; RAM's sharpest.
        patches: `(B, g, g, C)`, what was seen there; RAM's scales are
            channels.
        decision: Of RAM, the `Decision` where to look next.
    """

    logits: Any
    transforms: Any
    patches: Any
    decision: Any = None


class _ClassProperty:
    """A property of the class itself, not of its instances."""

    def __init__(self, method):
        self.method = method

    def __get__(self, instance, owner):
        return self.method(owner)


class BaseModel(keras.Model):
    """A model that answers with a dictionary, and can come from a preset.

    Attributes:
        reading_order: `"forward"`, or `"backward"` if its targets are the
            objects from last to first.

    Args:
        num_classes: Integer, K.
        class_names: Strings, the names of the classes but the terminal label;
            by default their numbers.
        terminal: Boolean, whether the last class ends a sequence.
        **kwargs: Arguments of `keras.Model`.
    """

    reading_order = "forward"

    def __init__(self, num_classes, class_names=None, terminal=False, **kwargs):
        super().__init__(**kwargs)
        check_integer(num_classes, "num_classes", 1 + terminal)
        self.num_classes = num_classes
        self.terminal = terminal
        self.class_names = check_class_names(
            class_names, num_classes - terminal
        )

    def decode(self, outputs):
        """The answer: `keras_edram.decoding.decode`, as this model needs it.

        Args:
            outputs: What a call, `predict` or `glimpses` returns.

        Returns:
            A dictionary of tensors, targets in forward order.
        """
        return decoding.decode(
            outputs,
            terminal=self.terminal,
            num_forward=int(self.reading_order == "forward"),
        )

    def read(
        self, images, *, refuse_below=0.0, confidence=None, max_glimpses=None
    ):
        """Reads images: what is there and where, in plain Python values.

        Args:
            images: Array of shape `(B, H, W, C)`, uint8 or float in [0, 255].
            refuse_below: Float in [0, 1]: less probable answers are refused.
            confidence: Float in [0, 1]: stop looking at an image when a
                glimpse is this sure, see `keras_edram.anytime`; by default
                never.
            max_glimpses: Integer, glimpses an image at most; by default as
                many as in training.

        Returns:
            List of B dictionaries, see `keras_edram.decoding.read_out`; with
            a budget also `num_glimpses`, how many were taken.

        Raises:
            ValueError: For values out of range, or a budget for a model
                without glimpses.

        Example:

        >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
        >>> images, _ = cluttered_mnist("test").arrays(2)
        >>> [answer["sequence"] for answer in model.read(images)]
        ['7', '2']
        """
        if confidence is None and max_glimpses is None:
            looks = self.glimpses(images)
        else:
            looks = anytime.look_until_sure(
                self, images, confidence, max_glimpses
            )
        return decoding.read_out(
            {**looks, **self.decode(looks)}, self.class_names, refuse_below
        )

    def get_config(self):
        config = super().get_config()
        names = self.class_names
        config.update(
            num_classes=self.num_classes,
            class_names=None if names is None else list(names),
            terminal=self.terminal,
        )
        return config

    @classmethod
    def from_preset(cls, name, **changes):
        """A trained model that ships with the package, or one for your task.

        Args:
            name: String, one of `presets`.
            **changes: Arguments of the model that are to be others, such as
                `num_classes`, `class_names`, `image_shape` or `num_targets`.
                All weights that fit are kept; those that do not are new, and
                a warning names them, see `keras_edram.models.transfer`.

        Returns:
            Model of this class, not compiled.

        Raises:
            ValueError: For an unknown name, arguments that the model refuses,
                or changes that leave no weight.

        Example:

        >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
        >>> letters = EDRAM.from_preset(
        ...     "edram_small_cluttered_mnist", num_classes=26
        ... )
        """
        from keras_edram import presets  # which stand above the models

        return presets.load(name, cls, **changes)

    @_ClassProperty
    def presets(cls):  # noqa: N805
        """Names of the presets of this class."""
        from keras_edram import presets

        return presets.names(cls)

    def compute_output_spec(self, images, training=False):
        # float32 under every precision policy, which Keras does not assume.
        return {
            name: keras.KerasTensor(shape, "float32")
            for name, shape in self.compute_output_shape(images.shape).items()
        }
