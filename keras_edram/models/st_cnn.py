"""ST-CNN, a convolutional network that moves what it sees into place.

Jaderberg, Simonyan, Zisserman, Kavukcuoglu, "Spatial Transformer Networks",
2015.

    A = f_loc(U)           the window, of the maps U themselves
    V = read(U, A)         what the next convolution sees instead of U

One before the first convolution (`"single"`), or one before each of the first
four (`"multi"`), whose maps are read as images are. All targets are answered at
once, from what is left at the end.

| symbol | here | house numbers | one digit in clutter |
| --- | --- | --- | --- |
| U | `images` | 64x64, of three colours | 100x100 |
| f_loc, single | `localization_filters` | two of 5x5, 32 filters, the first pooled | at half the size, 20 filters |
| | `localization_units` | two of 32 | 50 |
| f_loc, multi | `localization_units` alone | two of 32, for each transformer | 50 |
| V | `glimpse_size` | as large as U | 33x33: down-sampled by 3 |
| | `filters` | eight of 5x5: 48, 64, 128, 160, 192, ...; four are pooled | 9x9, 7x7: 32 each, pooled |
| | `units` | three of 3072 | 256 |
| | `head` | a length and a softmax for each digit | a softmax |

For house numbers these are 33.9 million trainable parameters with one
transformer, and 38.0 million with four (33 and 37: Ablavatski et al., 2017,
Table 3).

Where we differ:

- Convolutions and dense layers are normalised over the batch, where the paper
  has offsets and dropout.
- A sequence has a softmax for its length, see `SequenceHead`, where the paper
  has a class for "no digit" at each place.
- Where to look is computed in float32 under every precision policy: with fewer
  digits, other pixels would be read.
- For clutter there is a dense layer more, before the answer, and with several
  transformers one stands before each of the two convolutions.

Letters in shapes: B batch, H W C image or maps, S targets, K classes.
"""  # noqa: E501

import math
from typing import NamedTuple

import keras
from keras import layers, ops

from keras_edram.checks import (
    check_boolean,
    check_choice,
    check_integer,
    check_integers,
    check_size,
)
from keras_edram.layers import SpatialTransformerAttention
from keras_edram.models import blocks
from keras_edram.models.base import Glimpse
from keras_edram.models.whole_image import WholeSequenceModel

TRANSFORMERS = ("single", "multi")
MOST_TRANSFORMERS = 4


class Layout(NamedTuple):
    """What differs between the networks of the paper's tasks.

    Attributes:
        convolutions: Tuple of `blocks.Convolution`.
        units: Integers, of the dense layers before the answer.
        localization_filters: Integers, of the convolutions of 5x5 that see
            where to look.
        localization_units: Integers, of the dense layers that follow them.
        down_sampling: Integer, how many times smaller they see the image.
    """

    convolutions: tuple
    units: tuple
    localization_filters: tuple
    localization_units: tuple
    down_sampling: int = 1


LAYOUTS = {
    "house_numbers": Layout(
        tuple(
            blocks.Convolution(filters, 5, pooled=pooled)
            for filters, pooled in (
                *((48, True), (64, False), (128, True), (160, False)),
                *((192, True), (192, False), (192, True), (192, False)),
            )
        ),
        units=(3072, 3072, 3072),
        localization_filters=(32, 32),
        localization_units=(32, 32),
    ),
    "clutter": Layout(
        (
            blocks.Convolution(32, 9, "valid", pooled=True),
            blocks.Convolution(32, 7, "valid", pooled=True),
        ),
        units=(256,),
        localization_filters=(20, 20),
        localization_units=(50,),
        down_sampling=2,
    ),
}


@keras.saving.register_keras_serializable(package="keras_edram")
class LocalizationNetwork(keras.layers.Layer):
    """Chooses a window of maps, by what is in them.

        A = W f(U) + b

    W is 0 at first, and A the whole of U.

    Args:
        filters: Integers, of convolutions of 5x5, each but the last followed
            by the maximum of 2x2. By default none.
        units: Integers, of the dense layers after them. Defaults to
            `(32, 32)`.
        down_sampling: Integer, the side of the squares of which the
            convolutions see the maximum. Defaults to 1.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        maps: Tensor of shape `(B, H, W, C)`, with static H, W and C.
        training: Boolean.

    Returns:
        Float32 tensor of shape `(B, 2, 3)`, under every precision policy.

    Raises:
        ValueError: For sizes that are none, or maps that are too small or of
            unknown size.

    Example:

    >>> network = LocalizationNetwork(filters=(4, 4))
    >>> network(keras.random.uniform((2, 16, 16, 3))).shape
    (2, 2, 3)

    Reference:
        - Jaderberg et al., "Spatial Transformer Networks", 2015, section 3.1.
    """

    def __init__(
        self, *, filters=(), units=(32, 32), down_sampling=1, **kwargs
    ):
        # The dtype policy must not touch where to look.
        super().__init__(autocast=False, **kwargs)
        self.filters = check_integers(filters, None, "filters")
        self.units = check_integers(units, None, "units")
        self.down_sampling = check_integer(down_sampling, "down_sampling")
        shared = 1, "he_normal", "float32"  # normalised at its one step
        self.shrinking = blocks.pooling(
            "shrinking", self.down_sampling, dtype="float32"
        )
        self.pooling = blocks.pooling("pooling", dtype="float32")
        self.convolutions = blocks.rectified_convolutions(
            "convolution",
            [blocks.Convolution(number, 5) for number in self.filters],
            *shared,
        )
        self.dense = [
            blocks.rectified_dense(f"dense_{index}", number, *shared)
            for index, number in enumerate(self.units)
        ]
        self.emission = layers.Dense(
            6,
            kernel_initializer="zeros",
            bias_initializer=blocks.whole_image,
            name="emission",
            dtype="float32",
        )

    def _stack(self):
        """Each convolution, and the pooling after each but the last."""
        last = len(self.convolutions) - 1
        return [
            (convolution, self.pooling if index < last else None)
            for index, convolution in enumerate(self.convolutions)
        ]

    def build(self, maps_shape):
        smallest = self.down_sampling * 2 ** max(0, len(self.filters) - 1)
        sides = maps_shape[1:3]
        if len(maps_shape) != 4 or None in sides or min(sides) < smallest:
            raise ValueError(
                "The maps must have a known height and width, at least "
                f"{smallest} each, to choose a window by {len(self.filters)} "
                f"convolutions. Received: maps of shape {tuple(maps_shape)}"
            )
        self.shrinking.build(maps_shape)
        seen = self.shrinking.compute_output_shape(maps_shape)
        seen = blocks.build_stack(self._stack(), seen)
        vectors = (None, math.prod(seen[1:]))
        for dense in self.dense:
            dense.build(vectors)
            vectors = dense.compute_output_shape(vectors)
        self.emission.build(vectors)
        self.built = True

    def call(self, maps, training=False):
        at = dict(step=0, training=training)
        seen = ops.cast(maps, "float32")
        if self.down_sampling > 1:
            seen = self.shrinking(seen)
        seen, _ = blocks.call_stack(self._stack(), seen, **at)
        features = math.prod(seen.shape[1:])
        vectors = ops.reshape(seen, (-1, features))  # (B, features)
        for dense in self.dense:
            vectors = dense(vectors, **at)
        return ops.reshape(self.emission(vectors), (-1, 2, 3))  # (B, 2, 3)

    def get_config(self):
        config = super().get_config()
        config.update(
            filters=list(self.filters),
            units=list(self.units),
            down_sampling=self.down_sampling,
        )
        return config


@keras.saving.register_keras_serializable(package="keras_edram")
class STCNN(WholeSequenceModel):
    """Answers at once, by a convolutional network with spatial transformers.

    Each transformer has a network of its own that chooses an affine window of
    the maps that it is given, and hands on what is read there:

        A = f_loc(U),  V = read(U, A)

    Args:
        image_shape: `(height, width, channels)`. Defaults to `(64, 64, 3)`.
        num_classes: Integer, K, the terminal label among them. Defaults to 11.
        class_names: Strings, the names of the classes but the terminal label;
            by default their numbers.
        terminal: Boolean, whether the last class ends a sequence. Defaults to
            `True`; without, there is no length.
        reading_order: `"forward"`, or `"backward"` if its targets are the
            objects from last to first. Defaults to `"forward"`.
        num_targets: Integer S, the terminal one among them. Defaults to 6.
        layout: The network: `"house_numbers"`, or `"clutter"`, of a digit in
            it. Defaults to `"house_numbers"`.
        transformers: `"single"`, one before the first convolution, or
            `"multi"`, one before each of the first four, or of two if there
            are no more. Defaults to `"single"`.
        glimpse_size: Integer or `(height, width)`, what the first transformer
            hands on; by default the size of the image.
        filters: Integers, of each convolution; by default the layout's.
        units: Integers, of each dense layer; by default the layout's.
        localization_filters: Integers, of the convolutions that choose the
            window of one transformer; by default the layout's. Those of
            several have none.
        localization_units: Integers, of the dense layers that do; by default
            the layout's.
        antialias: Boolean, whether a wide window of the image reads averaged
            pixels. Defaults to `False`, as in the paper.
        **kwargs: `temperature`, see `BaseModel`, and arguments of
            `keras.Model`.

    Call arguments:
        images: Tensor of shape `(B, H, W, C)`, uint8 or float in [0, 255].
        training: Boolean.

    Returns:
        A dictionary of float32 tensors: `labels`, logits of shape
        `(B, S, 1, K)`, and `transforms`, `(B, S, 1, 2, 3)`, for all targets the
        window that the first transformer read of the image.

    Raises:
        ValueError: For sizes that are none, images that are too small or of
            any size, an unknown layout or order, what is no truth value, or
            another number of glimpses than one.

    Example:

    >>> model = STCNN(
    ...     (40, 40, 1), 10, terminal=False, num_targets=1, layout="clutter"
    ... )
    >>> model.predict(np.zeros((2, 40, 40, 1)))["labels"].shape
    (2, 1, 1, 10)

    Reference:
        - Jaderberg et al., "Spatial Transformer Networks", 2015, sections 3,
          4.1 and 4.2.
    """

    def __init__(
        self,
        image_shape=(64, 64, 3),
        num_classes=11,
        *,
        class_names=None,
        terminal=True,
        reading_order="forward",
        num_targets=6,
        layout="house_numbers",
        transformers="single",
        glimpse_size=None,
        filters=None,
        units=None,
        localization_filters=None,
        localization_units=None,
        antialias=False,
        **kwargs,
    ):
        super().__init__(
            image_shape,
            num_classes,
            class_names,
            terminal,
            reading_order=reading_order,
            num_targets=num_targets,
            autocast=False,
            **kwargs,
        )
        check_choice(layout, tuple(LAYOUTS), "layout")
        check_choice(transformers, TRANSFORMERS, "transformers")
        self.layout, self.transformers = layout, transformers
        self.antialias = check_boolean(antialias, "antialias")
        self._check_sizes(glimpse_size)
        rows = LAYOUTS[layout].convolutions
        self.filters = check_integers(
            blocks.filters_of(rows) if filters is None else filters,
            len(rows),
            "filters",
        )
        self.units = self._of_layout("units", units)
        self.localization_filters = self._of_layout(
            "localization_filters", localization_filters
        )
        self.localization_units = self._of_layout(
            "localization_units", localization_units
        )
        self._make_convolutions()
        self._make_transformers()
        self._make_answer(self.units)
        self.build((None, *self.image_shape))

    def _check_sizes(self, glimpse_size):
        layout = LAYOUTS[self.layout]
        smallest = blocks.smallest_input(layout.convolutions)
        # Their pooling needs two pixels of the smaller image.
        self._take_one_size(max(smallest, 2 * layout.down_sampling))
        if glimpse_size is None:
            glimpse_size = self.image_shape[:2]
        self.glimpse_size = check_size(glimpse_size, "glimpse_size")
        if min(self.glimpse_size) < smallest:
            raise ValueError(
                f"`glimpse_size` must be at least {smallest}. Received: "
                f"glimpse_size={glimpse_size!r}"
            )

    def _of_layout(self, name, values):
        """Integers, by default those of the layout."""
        if values is None:
            values = getattr(LAYOUTS[self.layout], name)
        return check_integers(values, None, name)

    def _make_convolutions(self):
        policy = self.dtype_policy
        self.rescaling = layers.Rescaling(
            1 / 255, name="rescaling", dtype="float32"
        )
        rows = blocks.with_filters(
            LAYOUTS[self.layout].convolutions, self.filters
        )
        self.pooling = blocks.pooling("pooling", dtype=policy)
        self.convolutions = blocks.rectified_convolutions(
            "convolution",
            rows,
            1,  # normalised at its one step
            "he_normal",
            policy,
        )
        self.poolings = [self.pooling if row.pooled else None for row in rows]

    def _make_transformers(self):
        sizes = [self.glimpse_size]
        shared = dict(units=self.localization_units)
        if self.transformers == "single":
            shared.update(
                filters=self.localization_filters,
                down_sampling=LAYOUTS[self.layout].down_sampling,
            )
        else:
            sizes += self._sizes_of_maps()
        self.localizations = [
            LocalizationNetwork(name=f"localization_{index}", **shared)
            for index in range(len(sizes))
        ]
        self.attentions = [
            SpatialTransformerAttention(
                size,
                # Maps are read as they are: none is larger than its window.
                antialias=self.antialias and not index,
                name=f"attention_{index}",
                dtype=self.dtype_policy,
            )
            for index, size in enumerate(sizes)
        ]

    def _sizes_of_maps(self):
        """Those that the next convolutions see, at most three."""
        maps = (None, *self.glimpse_size, self.image_shape[-1])
        sizes = []
        for convolution, pooling in self._stack()[:-1]:
            maps = convolution.compute_output_shape(maps)
            if pooling is not None:
                maps = pooling.compute_output_shape(maps)
            sizes.append(maps[1:3])
        return sizes[: MOST_TRANSFORMERS - 1]

    def _stack(self):
        """Each convolution, and the pooling after it."""
        return list(zip(self.convolutions, self.poolings, strict=True))

    def _stages(self):
        """Each transformer, and the convolutions up to the next."""
        stack, number = self._stack(), len(self.localizations)
        return [
            (
                localization,
                attention,
                stack[index : None if index == number - 1 else index + 1],
            )
            for index, (localization, attention) in enumerate(
                zip(self.localizations, self.attentions, strict=True)
            )
        ]

    def build(self, images_shape):
        if self.built:
            return
        self.rescaling.build(images_shape)
        maps = images_shape
        for localization, attention, stack in self._stages():
            localization.build(maps)
            attention.build(maps)
            maps = attention.compute_output_shape(maps)
            maps = blocks.build_stack(stack, maps)
        self._build_answer(maps)
        self.built = True

    def see(self, images, training=False):
        at = dict(step=0, training=training)
        maps, looks = self.rescaling(images), []
        for localization, attention, stack in self._stages():
            windows = localization(maps, training=training)
            maps = attention(maps, windows)
            looks.append((windows, maps))
            maps, _ = blocks.call_stack(stack, maps, **at)
        return Glimpse(self._answer(maps, **at), *looks[0])

    def get_config(self):
        config = super().get_config()
        config.update(
            layout=self.layout,
            transformers=self.transformers,
            glimpse_size=list(self.glimpse_size),
            filters=list(self.filters),
            units=list(self.units),
            localization_filters=list(self.localization_filters),
            localization_units=list(self.localization_units),
            antialias=self.antialias,
        )
        return config
