"""Reading an affine window of an image, differentiably.

Letters in shapes: B batch, H W C image, h w glimpse, P points of a glimpse
(h·w where they are its pixels), L levels of a pyramid.
"""

import math
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_edram import geometry
from keras_edram.checks import (
    check_boolean,
    check_choice,
    check_images,
    check_integer,
    check_shapes,
    check_size,
)

FILL_MODES = ("zeros", "nearest")
# A level of more pixels is not copied into one tensor with the others: that
# takes longer than to look in several places.
LARGE_LEVEL = 2**20


class ImagePyramid(NamedTuple):
    """An image at full size, half size, a quarter, ..., ready to be read.

    Attributes:
        parts: Tensors of shape `(B, P, C)`: the pixels of all levels, row by
            row, the finest level first. A large level is a part of its own.
        sizes: `(height, width)` of each level.
    """

    parts: tuple
    sizes: tuple


def num_pyramid_levels(image_size, glimpse_size):
    """Levels that a read of the whole image needs to skip no pixel.

    `1 + ⌈log2 s⌉`, `s` being the step of that read in pixels: the coarsest
    level has no more pixels than the glimpse.

    Args:
        image_size: `(height, width)` of the image in pixels.
        glimpse_size: `(height, width)` of the glimpse in pixels.

    Returns:
        Integer, at least 1.

    Example:

    >>> num_pyramid_levels((100, 100), (26, 26))
    3
    """
    step = max(i / g for i, g in zip(image_size, glimpse_size, strict=True))
    return 1 + max(0, math.ceil(math.log2(step)))


def image_pyramid(images, num_levels, fill_mode="nearest"):
    """Halves images again and again, each pixel the mean of four.

    Args:
        images: Float tensor of shape `(B, H, W, C)` with static H and W.
        num_levels: Integer, how many levels to make, the image among them.
        fill_mode: What a pixel at the border of a side that is odd averages:
            `"nearest"`, the pixels that are there, or `"zeros"`, also zeros
            beyond them. Defaults to `"nearest"`.

    Returns:
        An `ImagePyramid`.

    Raises:
        ValueError: For images whose height or width is not known, no level,
            or an unknown `fill_mode`.

    Example:

    >>> image_pyramid(keras.ops.ones((1, 5, 8, 1)), 3).sizes
    ((5, 8), (3, 4), (2, 2))
    """
    check_images(images)
    check_integer(num_levels, "num_levels")
    check_choice(fill_mode, FILL_MODES, "fill_mode")
    levels = [images]
    for _ in range(num_levels - 1):
        finer = levels[-1]
        if fill_mode == "zeros":
            odd = [(0, side % 2) for side in finer.shape[1:3]]
            finer = ops.pad(finer, [(0, 0), *odd, (0, 0)])
        # "same" pads to the right and below, and leaves the padding out of
        # the mean: pixel i of a level covers pixels 2i and 2i + 1 before it.
        levels.append(
            ops.average_pool(
                finer, 2, 2, padding="same", data_format="channels_last"
            )
        )
    sizes = tuple(tuple(level.shape[1:3]) for level in levels)
    flat = [
        ops.reshape(level, (-1, height * width, level.shape[-1]))
        for level, (height, width) in zip(levels, sizes, strict=True)
    ]  # each (B, H_l W_l, C)
    num_large = sum(math.prod(size) > LARGE_LEVEL for size in sizes)
    parts = (*flat[:num_large], *_join(flat[num_large:]))
    return ImagePyramid(parts, sizes)


def _join(levels):
    if not levels:
        return []
    return [ops.concatenate(levels, axis=1)]  # (B, Σ H_l W_l, C)


def read_windows(pyramid, transforms, glimpse_size, fill_mode="zeros"):
    """Reads one window of each image with bilinear interpolation.

    With one level this is Eq. 3 of the EDRAM paper. With more, the two levels
    whose pixels are next to the window's step `s` in size are read, and
    blended by the fraction of `log2 s`, as graphics hardware does.

    Args:
        pyramid: `ImagePyramid` of B images.
        transforms: Tensor of shape `(B, 2, 3)`, the windows.
        glimpse_size: `(height, width)` of the patches in pixels.
        fill_mode: What lies outside the image: `"zeros"`, or `"nearest"`,
            which repeats the border.

    Returns:
        Float32 tensor of shape `(B, height, width, C)`.

    Raises:
        ValueError: For transforms of another shape, or an unknown `fill_mode`.

    Example:

    >>> pyramid = image_pyramid(keras.ops.ones((1, 4, 4, 1)), 1)
    >>> read_windows(pyramid, geometry.IDENTITY[None], (2, 2)).shape
    (1, 2, 2, 1)
    """
    transforms = ops.convert_to_tensor(transforms)
    check_shapes(
        "pyramid (B, P, C), transforms (B, 2, 3)", pyramid.parts[0], transforms
    )
    height, width = glimpse_size
    x, y = (
        ops.reshape(pixels, (-1, 1, height * width))
        for pixels in geometry.sampling_pixels(
            transforms, glimpse_size, pyramid.sizes[0]
        )
    )  # each (B, 1, P)
    channels = pyramid.parts[0].shape[-1]
    patches_shape = (-1, height, width, channels)
    if len(pyramid.sizes) == 1:
        finest = np.zeros((1, 1), "int32")
        values = read_points(pyramid, x, y, finest, fill_mode)  # (B, 1, P, C)
        return ops.reshape(values, patches_shape)  # (B, h, w, C)
    coarsest = len(pyramid.sizes) - 1
    square = geometry.squared_pixel_step(
        transforms, glimpse_size, pyramid.sizes[0]
    )
    # log2 of the step itself, which its pixels are to be as wide as.
    detail = ops.log2(ops.clip(square, 1.0, 4.0**coarsest)) / 2.0  # (B,)
    lower = ops.minimum(ops.floor(detail), coarsest - 1.0)
    blend = ops.reshape(detail - lower, (-1, 1, 1))  # (B, 1, 1)
    # Clipped as integers too: a window that is not a number must give patches
    # that are not, which a training can stop at, and not a failing gather.
    lower = ops.clip(ops.cast(lower, "int32"), 0, coarsest - 1)
    both = ops.convert_to_tensor(np.array([0, 1], "int32"))
    levels = ops.expand_dims(lower, 1) + both  # (B, 2)
    values = read_points(pyramid, x, y, levels, fill_mode)  # (B, 2, P, C)
    fine, coarse = values[:, 0], values[:, 1]  # each (B, P, C)
    blended = fine + blend * (coarse - fine)
    return ops.reshape(blended, patches_shape)  # (B, h, w, C)


# The four pixels around a point, from the left upper one: which of two rows.
TAP_ROWS = np.array([0, 0, 1, 1], "int32")


def read_points(pyramid, x, y, levels, fill_mode="zeros"):
    """Bilinear read of single points from L levels of a pyramid.

    Eq. 3 of the EDRAM paper for each point (x, y): of its sum over all pixels
    only the four around the point have a weight.

        V = Σ_n Σ_m I_nm max(0, 1 - |x - m|) max(0, 1 - |y - n|)

    All pixels are gathered at once: on a device it is the number of
    operations that costs, not their size.

    Args:
        pyramid: `ImagePyramid` of B images.
        x: Float tensor of shape `(B, L, P)`, or 1 for what is alike: where to
            read, in pixels of the finest level, 0 being the centre of the
            first.
        y: Likewise, downwards.
        levels: Int32 tensor of shape `(B, L)`, or `(1, L)` for all images
            alike.
        fill_mode: `"zeros"` or `"nearest"`, see `read_windows`.

    Returns:
        Float32 tensor of shape `(B, L, P, C)`.

    Raises:
        ValueError: For an unknown `fill_mode`.

    Example:

    >>> pyramid = image_pyramid(keras.ops.ones((1, 4, 4, 1)), 1)
    >>> x, y = keras.ops.ones((1, 1, 3)), keras.ops.ones((1, 1, 3))
    >>> read_points(pyramid, x, y, keras.ops.array([[0]])).shape
    (1, 1, 3, 1)
    """
    check_choice(fill_mode, FILL_MODES, "fill_mode")
    parts, sizes = pyramid
    areas = [height * width for height, width in sizes]
    starts = np.cumsum([0] + areas[:-1])

    def of_level(values, dtype, dimensions):
        table = ops.convert_to_tensor(np.array(values, dtype))
        shape = (-1, levels.shape[1], *[1] * dimensions)
        values = ops.take(table, levels, axis=0)  # (B, L)
        return ops.reshape(values, shape)  # (B, L, 1) or (B, L, 1, 1)

    shrink = of_level([0.5**i for i in range(len(sizes))], "float32", 1)
    x = geometry.resized_pixels(x, shrink)
    y = geometry.resized_pixels(y, shrink)
    left, top = ops.floor(x), ops.floor(y)  # each (B, L, P)

    def taps(start, rest, sides):
        """The two pixels along one axis, and their weights.

        m of Eq. 3, which is `start` or the next, and `max(0, 1 - |x - m|)`.
        """
        first = ops.cast(start, "int32")
        pixel = ops.stack([first, first + 1], axis=2)  # (B, L, 2, P)
        near = ops.clip(pixel, 0, of_level(sides, "int32", 2) - 1)
        # 1 - |x - m| is 1 - rest of the first pixel, rest of the second.
        weight = ops.stack([1.0 - rest, rest], axis=2)  # (B, L, 2, P)
        if fill_mode == "zeros":
            weight = ops.where(pixel == near, weight, 0.0)
        return near, weight

    column, x_weight = taps(left, x - left, [width for _, width in sizes])
    row, y_weight = taps(top, y - top, [height for height, _ in sizes])
    width = of_level([width for _, width in sizes], "int32", 2)
    row = of_level(starts, "int32", 2) + row * width

    def columns(values):
        """Those of the four pixels: `(B, L, 2, P)` -> `(B, L, 4, P)`."""
        return ops.concatenate([values, values], axis=2)  # (B, L, 4, P)

    def rows(values):
        """Likewise, by the row that each is in."""
        return ops.take(values, TAP_ROWS, axis=2)

    # Copies, as TensorFlow takes several times as long for a broadcast.
    index = rows(row) + columns(column)  # (B, L, 4, P)
    weight = rows(y_weight) * columns(x_weight)  # (B, L, 4, P)
    values = _take_pixels(parts, index)  # I_nm, (B, L, 4, P, C)
    weight = ops.expand_dims(weight, -1)  # (B, L, 4, P, 1)
    return ops.sum(values * weight, axis=2)  # V, (B, L, P, C)


def _take_pixels(parts, index):
    """Pixels by their index in all parts: `(B, L, 4, P)` -> `(..., C)`."""
    image = ops.arange(ops.shape(parts[0])[0], dtype="int32")
    image = ops.reshape(image, (-1, 1, 1, 1))  # (B, 1, 1, 1)
    values, before = None, 0
    for pixels in parts:
        num_pixels, channels = pixels.shape[1:]
        here = index
        if len(parts) > 1:
            here = ops.clip(index - before, 0, num_pixels - 1)
        flat = ops.reshape(pixels, (-1, channels))  # (B pixels, C)
        taken = ops.take(flat, image * num_pixels + here, axis=0)
        taken = ops.cast(taken, "float32")  # (B, L, 4, P, C)
        if values is not None:
            earlier = ops.expand_dims(index < before, -1)  # (B, L, 4, P, 1)
            taken = ops.where(earlier, values, taken)
        values, before = taken, before + num_pixels
    return values


@keras.saving.register_keras_serializable(package="keras_edram")
class SpatialTransformerAttention(keras.layers.Layer):
    """Reads an affine window of an image as a small patch, differentiably.

    The pixel of the patch at `(x_g, y_g)` shows the image at
    `(x_s, y_s) = A (x_g, y_g, 1)`, interpolated between its four neighbours:

        X = Σ_n Σ_m I_nm max(0, 1 - |x_s - m|) max(0, 1 - |y_s - n|)

    Any affine window can be read: moved, zoomed, rotated, skewed, mirrored.
    Gradients flow to the image and to the transform, which is kept in float32
    under every precision policy. `keras_edram.geometry` has the coordinates.

    A window four times as wide as its patch skips three pixels of four. With
    `antialias` the layer therefore reads from a pyramid of averaged images, at
    hardly any cost; without it the layer is the paper's Eq. 3 exactly.

    Args:
        glimpse_size: Integer or `(height, width)`, the patch in pixels.
        antialias: Boolean, whether wide windows read averaged pixels.
            Defaults to `True`.
        fill_mode: What lies outside the image: `"zeros"`, as in Eq. 3, or
            `"nearest"`, which repeats the border. Defaults to `"zeros"`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        images: Tensor of shape `(B, H, W, C)`, integers or floats of any
            range, with static H, W and C.
        transforms: Tensor of shape `(B, 2, 3)`, the windows.

    Returns:
        Tensor of shape `(B, height, width, C)` in the range of the images, in
        the compute dtype of the layer.

    Raises:
        ValueError: For a size that is not positive, an unknown `fill_mode`,
            what is no truth value, or inputs of another shape.

    Example:

    >>> attention = SpatialTransformerAttention(26)
    >>> images = keras.random.uniform((8, 100, 100, 1))
    >>> left_half = geometry.boxes_to_transforms([[0.0, 0.0, 0.5, 1.0]] * 8)
    >>> attention(images, left_half).shape
    (8, 26, 26, 1)

    Reference:
        - Ablavatski et al., "Enriched Deep Recurrent Visual Attention Model",
          2017, section 3.2, Eq. 1 to 5.
        - Jaderberg et al., "Spatial Transformer Networks", 2015.
    """

    def __init__(
        self, glimpse_size, *, antialias=True, fill_mode="zeros", **kwargs
    ):
        # The dtype policy must not touch the coordinates.
        super().__init__(autocast=False, **kwargs)
        self.glimpse_size = check_size(glimpse_size, "glimpse_size")
        check_choice(fill_mode, FILL_MODES, "fill_mode")
        self.antialias = check_boolean(antialias, "antialias")
        self.fill_mode = fill_mode

    def build(self, images_shape, transforms_shape=None):
        """Has no weights, but is built as Keras asks of every layer."""

    def call(self, images, transforms):
        images = ops.convert_to_tensor(images)
        transforms = ops.convert_to_tensor(transforms)
        check_images(images)
        check_shapes(
            "images (B, H, W, C), transforms (B, 2, 3)", images, transforms
        )
        return self.read(self.pyramid(images), transforms)

    def pyramid(self, images):
        """The `ImagePyramid` of images, to `read` from it more than once."""
        images = ops.cast(images, "float32")
        num_levels = 1
        if self.antialias:
            num_levels = num_pyramid_levels(
                images.shape[1:3], self.glimpse_size
            )
        return image_pyramid(images, num_levels)

    def read(self, pyramid, transforms):
        """Patches of windows of an `ImagePyramid`, as a call returns.

        Args:
            pyramid: `ImagePyramid` of B images.
            transforms: Tensor of shape `(B, 2, 3)`, the windows.

        Raises:
            ValueError: For transforms of another shape.
        """
        transforms = ops.cast(transforms, "float32")
        if not self.antialias:
            pyramid = pyramid._replace(sizes=pyramid.sizes[:1])
        patches = read_windows(
            pyramid, transforms, self.glimpse_size, self.fill_mode
        )
        return ops.cast(patches, self.compute_dtype)

    def compute_output_shape(self, images_shape, transforms_shape=None):
        return (images_shape[0], *self.glimpse_size, images_shape[-1])

    def get_config(self):
        config = super().get_config()
        config.update(
            glimpse_size=list(self.glimpse_size),
            antialias=self.antialias,
            fill_mode=self.fill_mode,
        )
        return config
