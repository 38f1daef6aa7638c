"""The contract that all models keep: what they are asked, what they answer.

Letters in shapes: B batch, H W C image, g glimpse side, S targets, N glimpses
a target, A answers a target, K classes, M members, Z scales.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_edram import decoding, reading
from keras_edram.checks import (
    check_boolean,
    check_class_names,
    check_image_shape,
    check_integer,
    check_number,
    check_probabilities,
    seen_images,
)
from keras_edram.models.glimpse_loop import take_steps
from keras_edram.models.keras_model import KerasModel

# A side of images of models that take any, where a graph must see one.
SOME_SIZE = 128


class Glimpse(NamedTuple):
    """What one step of a model gives.

    Attributes:
        logits: `(B, K)`, what it says that is there.
        transforms: `(B, 2, 3)`, the window that was read; RAM's sharpest.
        patches: `(B, g, g, C)`, what was seen there; RAM's scales are
            channels.
        decision: Of a model with a policy, the `Decision` where to look: here,
            or next by one that decides ahead.
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


class BaseModel(KerasModel):
    """A model that looks at images and reads what is in them.

    The contract: everything that takes a model, from `model.read` to the
    server, asks it for what stands here, and never for its class.

    A model of another paper says S, N and how it looks, and need not say more:

    - One that `looks_step_by_step` has `start`, `step` and `next_windows`, and
      a state of named tensors between its steps. Looking is

          pyramid, state = model.start(images)
          glimpse, state = model.step(pyramid, state)  # T times

      which `look` does, so that budgets, exports by the step and the loop in
      a graph come by themselves.
    - Any other has `look` alone.

    It hands further arguments on to `BaseModel`, makes its layers in
    `__init__`, which ends with `self.build((None, *self.image_shape))`, builds
    them in `build`, and gives its own arguments in `get_config`.

    Args:
        image_shape: `(height, width, channels)` of the images;
            `(None, None, channels)` for images of any size.
        num_classes: Integer, K.
        class_names: Strings, the names of the classes but the terminal label;
            by default their numbers.
        terminal: Boolean, whether the last class ends a sequence. Defaults to
            `False`.
        temperature: Float above 0, by which log-probabilities are divided in an
            answer, so that its probability is how often such answers are right,
            see `keras_edram.evaluation.fit_temperature`. Defaults to 1.
        **kwargs: Arguments of `keras.Model`.

    Attributes:
        label_names: Tuple of strings, the names of the classes but the
            terminal label, which are numbers if they have no others.
        num_targets: Integer S, the terminal one among them.
        glimpses_per_target: Integer N.
        answers_once: Boolean, whether it answers after the last glimpse alone.
        answers_per_target: Integer A: 1 if it answers once, else N.
        num_glimpses: T = S N, the glimpses at an image.
        reading_order: `"forward"`, or `"backward"` if its targets are the
            objects from last to first.
        glimpse_size: The side of a patch in pixels, or `(height, width)`;
            `None` of a model that sees the whole image.
        standardize: Whether what it sees is of standardised images, or is
            standardised itself.
        looks_step_by_step: Boolean.
        has_policy: Boolean, whether it draws where it looks: in training, and
            at test along `num_rollouts` paths if that is not 0. An ensemble
            does if a member does, along the paths of that member.
        takes_one_size: Boolean, whether it reads images of `image_shape` alone;
            any other model takes what its windows can be cut out of.
        members: The models that an ensemble asks; none of any other.

    Call arguments:
        images: Tensor of shape `(B, H, W, C)`, uint8 or float in [0, 255].
        training: Boolean.

    Returns:
        A dictionary of float32 tensors: `labels`, logits of shape
        `(B, S, A, K)`, and `transforms`, `(B, S, N, 2, 3)`, the windows that
        were looked at. An ensemble's have an axis of members after the first.
        `decode` turns them into the answer, `read` says it in plain Python
        values.

    Raises:
        ValueError: For a shape, classes, a temperature or a truth value that
            are none.
    """

    num_targets = glimpses_per_target = 1
    answers_once = False
    reading_order = "forward"
    glimpse_size = None
    standardize = False
    looks_step_by_step = False
    has_policy = False
    takes_one_size = False
    members = ()
    compiled_step = None  # of `step`, made by `keras_edram.anytime`
    graphs = None  # of whole looks, `keras_edram.anytime.Graphs`

    def __init__(
        self,
        image_shape,
        num_classes,
        class_names=None,
        terminal=False,
        temperature=1.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.image_shape = check_image_shape(image_shape)
        # Of any size, for models that look at windows.
        self.input_spec = keras.layers.InputSpec(
            ndim=4, axes={-1: self.image_shape[-1]}
        )
        self.terminal = check_boolean(terminal, "terminal")
        self.temperature = temperature
        self.num_classes = check_integer(
            num_classes, "num_classes", 1 + self.terminal
        )
        self.class_names = check_class_names(
            class_names, self.num_classes - self.terminal
        )

    @property
    def temperature(self):
        return self._temperature

    @temperature.setter
    def temperature(self, value):
        self._temperature = check_number(value, "temperature", above=True)

    @property
    def takes_any_size(self):
        """Whether it reads images of any height and width as they are."""
        return self.image_shape[0] is None

    def _take_one_size(self, smallest=1):
        """Of a model for which pixels must be as many in all images.

        Args:
            smallest: Integer, the least pixels of a side. Defaults to 1.

        Raises:
            ValueError: For images of any size, or smaller ones.
        """
        if self.takes_any_size or min(self.image_shape[:2]) < smallest:
            raise ValueError(
                f"A {type(self).__name__} needs images of one size, at least "
                f"{smallest} pixels high and wide. Received: "
                f"image_shape={self.image_shape}"
            )
        self.takes_one_size = True
        self.input_spec = keras.layers.InputSpec(
            shape=(None, *self.image_shape)
        )

    @property
    def some_image_shape(self):
        """`image_shape`, or one of those that there may be."""
        if self.takes_any_size:
            return SOME_SIZE, SOME_SIZE, self.image_shape[-1]
        return self.image_shape

    @property
    def answers_per_target(self):
        return 1 if self.answers_once else self.glimpses_per_target

    @property
    def label_names(self):
        numbers = range(self.num_classes - self.terminal)
        return self.class_names or tuple(map(str, numbers))

    @property
    def num_glimpses(self):
        return self.num_targets * self.glimpses_per_target

    # How it looks

    def start(self, images, training=False):
        """What is done once an image: its pyramid and the first state.

        Args:
            images: Tensor of shape `(B, H, W, C)`, in [0, 255].
            training: Boolean.

        Returns:
            The `ImagePyramid` that all steps read from, and the state before
            the first: a named tuple of tensors, `step` among them, which
            counts the glimpses from `glimpse_loop.first_step` on, and all
            others of B rows.

        Raises:
            ValueError: By a model that does not look step by step.
        """
        raise self._no_steps()

    def step(self, pyramid, state, training=False):
        """One glimpse.

        Args:
            pyramid: `ImagePyramid` of the images, from `start`.
            state: The state before this glimpse.
            training: Boolean.

        Returns:
            The `Glimpse` and the next state.

        Raises:
            ValueError: By a model that does not look step by step.
        """
        raise self._no_steps()

    def next_windows(self, pyramid, state):
        """The windows that the next glimpse will read, the sharpest of several.

        Args:
            pyramid: `ImagePyramid` of the images, from `start`.
            state: The state before that glimpse.

        Returns:
            Tensor of shape `(B, 2, 3)`.

        Raises:
            ValueError: By a model that does not look step by step.
        """
        raise self._no_steps()

    def _no_steps(self):
        return ValueError(
            "The model must look step by step, see `looks_step_by_step`. "
            f"Received: a {type(self).__name__}"
        )

    def look(
        self, images, glimpses_per_target, training=False, with_patches=False
    ):
        """All glimpses at images: what a call returns, and the patches.

        Args:
            images: Tensor of shape `(B, H, W, C)`, in [0, 255].
            glimpses_per_target: Integer N, which need not be that of training.
            training: Boolean.
            with_patches: Boolean, whether to return what was seen, too.

        Returns:
            A dictionary of tensors, `labels`, `transforms` and `patches`, see
            `glimpses`.
        """
        looks = self._take_glimpses(
            images,
            self.num_targets * glimpses_per_target,
            with_patches,
            training=training,
        )
        return self._by_target(looks)

    def _take_glimpses(
        self, images, number, with_patches, training=False, **options
    ):
        """T glimpses of a model that looks step by step: each `(B, T, ...)`."""
        pyramid, state = self.start(images, training)

        def take(state):
            glimpse, state = self.step(
                pyramid, state, training=training, **options
            )
            seen = dict(labels=glimpse.logits, transforms=glimpse.transforms)
            if with_patches:
                seen["patches"] = glimpse.patches
            if self.has_policy:
                seen.update(glimpse.decision._asdict())
            return seen, state

        # Patches are asked for outside of a graph: a loop saves no tracing.
        looks, _ = take_steps(take, state, number, write_out=with_patches)
        return looks

    def _by_target(self, looks):
        """Glimpses as outputs: each `(B, T, ...)` -> `(B, S, N, ...)`."""
        looks = {
            name: ops.reshape(
                values,
                (
                    -1,
                    self.num_targets,
                    values.shape[1] // self.num_targets,
                    *values.shape[2:],
                ),
            )
            for name, values in looks.items()
        }  # each (B, S, N, ...)
        if self.answers_once:
            looks["labels"] = looks["labels"][:, :, -1:]  # (B, S, 1, K)
        return looks

    def call(self, images, training=False):
        if images.shape[0] == 0:  # Keras' layers cannot do with none
            return self._zero_answers(images.shape)
        return self.look(images, self.glimpses_per_target, training)

    def compute_output_shape(self, images_shape):
        targets = (images_shape[0], self.num_targets)
        return {
            "labels": (*targets, self.answers_per_target, self.num_classes),
            "transforms": (*targets, self.glimpses_per_target, 2, 3),
        }

    # What it is asked

    def seen_images(self, images):
        """Images that somebody hands over, checked: those that it can look at.

        Args:
            images: Array or tensor of images, or lists of lists of pixels.

        Returns:
            Array or tensor of shape `(B, H, W, C)`.

        Raises:
            ValueError: For another shape, a size that the model does not take,
                or pixels that are not finite numbers.

        Example:

        >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
        >>> model.seen_images(np.zeros((2, 100, 100, 1))).shape
        (2, 100, 100, 1)
        """
        images = seen_images(images, self.image_shape[-1])
        self._check_size(images.shape[1:3])
        return images

    def _check_size(self, size):
        if self.takes_one_size and tuple(size) != self.image_shape[:2]:
            raise ValueError(
                f"A {type(self).__name__} takes images of the size that it was "
                f"made for. Received: images of {size[0]}x{size[1]}, "
                f"image_shape={self.image_shape}"
            )

    def glimpses(self, images, glimpses_per_target=None):
        """What the model looked at, for pictures and for study.

        Args:
            images: Array of shape `(B, H, W, C)`, uint8 or float in [0, 255].
            glimpses_per_target: Integer N, to look more or less often than in
                training. Defaults to as often.

        Returns:
            A dictionary of NumPy arrays: `labels` and `transforms` as from a
            call, and `patches` `(B, S, N, g, g, Z C)`, what was seen, with Z
            scales as channels; in [0, 1], but of a model that standardises
            images. An ensemble's have an axis of members after the first. With
            rollouts, windows and patches are those of the first path.

        Raises:
            ValueError: For a number below 1, images of another shape, or with
                pixels that are no numbers.

        Example:

        >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
        >>> model.glimpses(np.zeros((2, 100, 100, 1)), 4)["patches"].shape
        (2, 1, 4, 26, 26, 1)
        """
        if glimpses_per_target is None:
            glimpses_per_target = self.glimpses_per_target
        check_integer(glimpses_per_target, "glimpses_per_target")
        images = self.seen_images(images)
        number = len(images)
        if not number:  # Keras' layers cannot do with none
            images = np.zeros((1, *images.shape[1:]), "float32")
        looks = self.look(
            ops.convert_to_tensor(images),
            glimpses_per_target,
            with_patches=True,
        )
        return {
            name: ops.convert_to_numpy(value)[:number]
            for name, value in looks.items()
        }

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
            temperature=self.temperature,
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
            images: Array of shape `(B, H, W, C)`, uint8 or float in [0, 255];
                or a list of B arrays `(H, W, C)`, also of several sizes.
            refuse_below: Float in [0, 1]: less probable answers are refused.
            confidence: Float in [0, 1]: stop looking at an image when a
                glimpse is this sure, see `keras_edram.anytime`; by default
                never.
            max_glimpses: Integer, glimpses an image at most; by default as
                many as in training.
            crops: Integer, how many crops of each image to average; the images
                must be larger than the model's, if those have a size. By
                default none.

        Returns:
            List of B dictionaries, see `keras_edram.decoding.read_out`; with
            a budget also `num_glimpses`, how many were taken. An answer whose
            end was not seen has `notes`, see `keras_edram.reading.answer`.

        Raises:
            ValueError: For values out of range, images of another shape or
                with pixels that are no numbers, or a budget that cannot be
                kept, see `keras_edram.reading.look`; and for answers that are
                no numbers, as those of lost weights.

        Example:

        >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
        >>> images, _ = cluttered_mnist("test").arrays(2)
        >>> [answer["sequence"] for answer in model.read(images)]
        ['1', '1']
        """
        answers = reading.read_images(
            self,
            images,
            refuse_below=refuse_below,
            confidence=confidence,
            max_glimpses=max_glimpses,
            crops=crops,
        )
        check_probabilities([one["probability"] for one in answers])
        return answers

    def label_name(self, label):
        """The name of a class; the terminal label is called "end".

        Args:
            label: Integer from 0 to K - 1.

        Returns:
            String.

        Raises:
            ValueError: For a label that is no class of the model.

        Example:

        >>> RAM.from_preset("ram_mnist").label_name(7)
        '7'
        """
        label = check_integer(label, "label", 0, self.num_classes - 1)
        if self.terminal and label == self.num_classes - 1:
            return "end"
        return self.label_names[label]

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
        )  # Z times (g, g, C)
        picture = np.concatenate(scales, axis=1)  # (g, Z g, C)
        return np.clip(picture, 0, 255).astype("uint8")

    def quantize(self, *args, **kwargs):
        self.compiled_step = self.graphs = None  # of the weights of before
        return super().quantize(*args, **kwargs)

    # Where it comes from

    def get_config(self):
        config = super().get_config()
        names = self.class_names
        config.update(
            image_shape=list(self.image_shape),
            num_classes=self.num_classes,
            class_names=None if names is None else list(names),
            terminal=self.terminal,
            temperature=self.temperature,
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
