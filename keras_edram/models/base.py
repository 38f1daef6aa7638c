"""The contract that all models keep: what they are asked, what they answer."""

import warnings
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_edram import decoding, reading
from keras_edram.checks import (
    check_class_names,
    check_integer,
    check_integers,
    seen_images,
)
from keras_edram.models import targets


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
    """A model that looks at images and reads what is in them.

    The contract: everything that takes a model, from `model.read` to the
    server, asks it for what stands here, and never for its class.

    - A call takes images and returns a dictionary, all of B images: `labels`,
      logits of shape `(B, S, A, K)`, A answers to each of S targets, and
      `transforms`, `(B, S, N, 2, 3)`, the windows of N glimpses at each. An
      ensemble's have an axis of members after the first. `decode` turns them
      into the answer, `read` says it in plain Python values.
    - `glimpses(images, glimpses_per_target=None)` gives the same as NumPy
      arrays, and `patches`, `(B, S, N, g, g, C)`, what was seen;
      `patch_picture` makes a picture of one.
    - A model that `looks_step_by_step` has `start`, `step` and `next_windows`
      and a state of named tensors: looking is
      `seen, state = model.start(images)` and then, glimpse by glimpse,
      `glimpse, state = model.step(seen, state)`.
    - A model that `has_policy` draws where it looks, in training, and at test
      along `num_rollouts` paths if that is not 0.

    It is compiled and fitted as any Keras model, but for two things. An array
    of labels as `y` is that of the output `labels`, and so are a loss and
    metrics that are not named by their output. And losses and metrics are
    those of this package or a user's own, which know that an output has an
    axis of glimpses that its targets have not; Keras' own would broadcast
    them. `"accuracy"` is `keras_edram.metrics.Accuracy`.

    Attributes:
        num_targets: Integer S, the terminal one among them.
        glimpses_per_target: Integer N.
        answers_per_target: Integer A: N, or 1 for a model that answers after
            the last glimpse.
        num_glimpses: T = S N, the glimpses at an image.
        reading_order: `"forward"`, or `"backward"` if its targets are the
            objects from last to first.
        looks_step_by_step: Boolean.
        has_policy: Boolean.
        members: The models that an ensemble asks; none of any other.

    Args:
        image_shape: `(height, width, channels)` of the images.
        num_classes: Integer, K.
        class_names: Strings, the names of the classes but the terminal label;
            by default their numbers.
        terminal: Boolean, whether the last class ends a sequence.
        **kwargs: Arguments of `keras.Model`.
    """

    num_targets = glimpses_per_target = answers_per_target = 1
    reading_order = "forward"
    looks_step_by_step = False
    has_policy = False
    members = ()
    compiled_step = None  # of `step`, made by `keras_edram.anytime`

    def __init__(
        self,
        image_shape,
        num_classes,
        class_names=None,
        terminal=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if self.dtype_policy.variable_dtype == "bfloat16":
            raise ValueError(
                "Weights must have more digits than bfloat16, which computes "
                'with them as `dtype="mixed_bfloat16"`. Received: dtype='
                f"{self.dtype_policy.name!r}"
            )
        self.image_shape = check_integers(image_shape, 3, "image_shape")
        # Of any size, for models that look at windows.
        self.input_spec = keras.layers.InputSpec(
            ndim=4, axes={-1: self.image_shape[-1]}
        )
        self._traced_shape = None
        num_classes = check_integer(num_classes, "num_classes", 1 + terminal)
        self.num_classes = num_classes
        self.terminal = bool(terminal)
        self.class_names = check_class_names(
            class_names, num_classes - terminal
        )

    @property
    def num_glimpses(self):
        return self.num_targets * self.glimpses_per_target

    def label_name(self, label):
        """The name of a class; the terminal label is called "end".

        Args:
            label: Integer.

        Returns:
            String.

        Example:

        >>> RAM.from_preset("ram_mnist").label_name(7)
        '7'
        """
        if self.terminal and label == self.num_classes - 1:
            return "end"
        return self.class_names[label] if self.class_names else str(label)

    def patch_picture(self, patch):
        """A patch as a picture, several scales of it side by side.

        Args:
            patch: Array of shape `(g, g, Z C)`, of Z scales, from `glimpses`.

        Returns:
            uint8 array of shape `(g, Z g, C)`.

        Example:

        >>> model = RAM.from_preset("ram_mnist")
        >>> patches = model.glimpses(np.zeros((1, 28, 28, 1)))["patches"]
        >>> model.patch_picture(patches[0, 0, 0]).shape
        (8, 8, 1)
        """
        scales = np.split(
            np.asarray(patch) * 255,
            patch.shape[-1] // self.image_shape[-1],
            axis=-1,
        )
        picture = np.concatenate(scales, axis=1)  # (g, Z g, C)
        return np.clip(picture, 0, 255).astype("uint8")

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
        self,
        images,
        *,
        refuse_below=0.0,
        confidence=None,
        max_glimpses=None,
        crops=None,
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
            crops: Integer, how many crops of each image to average; the images
                must be larger than the model's. By default none.

        Returns:
            List of B dictionaries, see `keras_edram.decoding.read_out`; with
            a budget also `num_glimpses`, how many were taken.

        Raises:
            ValueError: For values out of range, images of another shape or
                with pixels that are no numbers, or a budget that cannot be
                kept, see `keras_edram.reading.look`.

        Example:

        >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
        >>> images, _ = cluttered_mnist("test").arrays(2)
        >>> [answer["sequence"] for answer in model.read(images)]
        ['1', '1']
        """
        return reading.read_images(
            self,
            images,
            refuse_below=refuse_below,
            confidence=confidence,
            max_glimpses=max_glimpses,
            crops=crops,
        )

    def _study(self, images, look):
        """What `look` gives for images, as NumPy arrays by name."""
        images = seen_images(images, self.image_shape[-1])
        number = len(images)
        if not number:  # Keras' layers cannot do with none
            images = np.zeros((1, *images.shape[1:]), "float32")
        looks = look(ops.convert_to_tensor(images))
        return {
            name: ops.convert_to_numpy(value)[:number]
            for name, value in looks.items()
        }

    def _no_answers(self, images):
        """The answers to no image: Keras' layers cannot do with none."""
        shapes = self.compute_output_shape(images.shape)
        return {
            name: ops.zeros(shape, "float32") for name, shape in shapes.items()
        }

    def predict(self, x, *args, **kwargs):
        if isinstance(x, np.ndarray) and not len(x):
            return self.predict_on_batch(x)
        self._check_first_batch(x, None, **kwargs)
        return super().predict(x, *args, **kwargs)

    def predict_on_batch(self, x):
        if isinstance(x, np.ndarray) and not len(x):
            # Not in a graph: one of batches of any size cannot do with none.
            return {
                name: ops.convert_to_numpy(value)
                for name, value in self(x).items()
            }
        return super().predict_on_batch(x)

    def fit(self, x=None, y=None, *args, class_weight=None, **kwargs):
        if class_weight is not None:
            # Keras would not take them for a dictionary of targets.
            if y is None or kwargs.get("sample_weight") is not None:
                kwargs["class_weight"] = class_weight
            else:
                kwargs["sample_weight"] = targets.class_weights(y, class_weight)
        self._check_first_batch(x, y, **kwargs)
        return super().fit(x, y, *args, **kwargs)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        self._check_first_batch(x, y, **kwargs)
        return super().evaluate(x, y, *args, **kwargs)

    def _check_first_batch(self, x, y, **kwargs):
        shape = targets.check_first_batch(self, x, y, **kwargs)
        if shape is None or shape[1:] == self._traced_shape:
            return
        # Keras would make one graph for several sizes, that is for unknown
        # ones, and an image is looked at by its size.
        self.train_function = self.test_function = self.predict_function = None
        self._traced_shape = shape[1:]

    def compile(
        self,
        optimizer="rmsprop",
        loss=None,
        loss_weights=None,
        metrics=None,
        weighted_metrics=None,
        **kwargs,
    ):
        metrics = targets.by_output(metrics, "metrics")
        weighted_metrics = targets.by_output(
            weighted_metrics, "weighted_metrics"
        )
        super().compile(
            optimizer,
            targets.by_output(loss, "loss"),
            loss_weights,
            metrics,
            weighted_metrics,
            **kwargs,
        )
        self._measured = tuple({**(metrics or {}), **(weighted_metrics or {})})

    def compile_from_config(self, config):
        config = keras.saving.deserialize_keras_object(config)
        try:
            self.compile(**config)
        except ValueError as error:  # of another version of this package
            warnings.warn(
                f"The model is not compiled as it was saved: {error}",
                UserWarning,
                stacklevel=2,
            )
            return
        if self.optimizer is not None and self.built:
            self.optimizer.build(self.trainable_variables)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        y = targets.name_targets(y)
        targets.check_judged(y, self.loss or (), "a loss")
        weights = targets.name_weights(sample_weight)
        return super().compute_loss(x, y, y_pred, weights, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        y = targets.name_targets(y)
        targets.check_judged(y, self._measured, "a metric")
        weights = targets.name_weights(sample_weight)
        # Outputs without a target have no metrics, but Keras asks for them.
        y = {name: y.get(name) for name in y_pred}
        return super().compute_metrics(x, y, y_pred, weights)

    def quantize(self, *args, **kwargs):
        self.compiled_step = None  # which has the weights of before
        return super().quantize(*args, **kwargs)

    def export(self, filepath, *args, **kwargs):
        # Keras exports only what it has seen called.
        self(ops.zeros((1, *self.image_shape)))
        return super().export(filepath, *args, **kwargs)

    def get_config(self):
        config = super().get_config()
        names = self.class_names
        config.update(
            image_shape=list(self.image_shape),
            num_classes=self.num_classes,
            class_names=None if names is None else list(names),
            terminal=self.terminal,
        )
        quantized = {
            _path(layer): layer.dtype_policy.quantization_mode
            for layer in self._flatten_layers(include_self=False)
            if isinstance(
                layer.dtype_policy, keras.dtype_policies.QuantizedDTypePolicy
            )
        }
        if quantized:  # or its weights would not fit when it is loaded
            config["quantized"] = quantized
        return config

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        quantized = config.pop("quantized", {})
        model = super().from_config(config)
        for layer in model._flatten_layers(include_self=False):
            if _path(layer) in quantized:
                layer.quantize(quantized[_path(layer)])
        return model

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


def _path(layer):
    """The path of a layer below its model, whose name may be another."""
    return (layer.path or "").partition("/")[2]
