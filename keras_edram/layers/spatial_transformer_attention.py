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
# A level of more pixels is neither copied into one tensor with the others,
# which takes longer than to look in several places, nor cast as a whole.
LARGE_LEVEL = 2**20
# Pixels: levels enough for an image of this side, where a graph is for any.
LARGEST_SIDE = 2**14
# Pixels, a last digit: of a point on the centre of a pixel the weights have two
# slopes, and halfway between them none. A window that is the image itself would
# teach nothing; so a point lies to the right of it.
JUST_RIGHT = 2.0**-23


class ImagePyramid(NamedTuple):
    """An image at full size, half size, a quarter, ..., ready to be read.

    Attributes:
        parts: Tensors of shape `(B, P, C)`: the pixels of all levels, row by
            row, the finest level first. A large level is a part of its own,
            and a large image one of the image's own type; likewise an image
            of unknown size.
        sizes: `(height, width)` of each level; of images of unknown size, in
            a graph of TensorFlow's, an int32 tensor of shape `(L, 2)`.
    """

    parts: tuple
    sizes: tuple


def num_pyramid_levels(image_size, glimpse_size):
    """Levels that a read of the whole image needs to skip no pixel.

    `1 + ⌈log2 s⌉`, `s` being the step of that read in pixels: the coarsest
    level has no more pixels than the glimpse.

    Args:
        image_size: `(height, width)` of the image in pixels; a side that is
            not known, `None`, may be as long as `LARGEST_SIDE`.
        glimpse_size: `(height, width)` of the glimpse in pixels.

    Returns:
        Integer, at least 1.

    Example:

    >>> num_pyramid_levels((100, 100), (26, 26))
    3
    """
    sides = (LARGEST_SIDE if side is None else side for side in image_size)
    step = max(i / g for i, g in zip(sides, glimpse_size, strict=True))
    return 1 + max(0, math.ceil(math.log2(step)))


def image_pyramid(images, num_levels, fill_mode="nearest"):
    """Halves images again and again, each pixel the mean of four.

    Args:
        images: Tensor of shape `(B, H, W, C)`, integers or floats. In a graph
            of TensorFlow's, H and W need not be known.
        num_levels: Integer, how many levels to make, the image among them.
        fill_mode: What a pixel at the border of a side that is odd averages:
            `"nearest"`, the pixels that are there, or `"zeros"`, also zeros
            beyond them. Defaults to `"nearest"`.

    Returns:
        An `ImagePyramid`.

    Raises:
        ValueError: For images of another shape, no level, or an unknown
            `fill_mode`.

    Example:

    >>> image_pyramid(keras.ops.ones((1, 5, 8, 1)), 3).sizes
    ((5, 8), (3, 4), (2, 2))
    """
    check_images(images)
    check_integer(num_levels, "num_levels")
    check_choice(fill_mode, FILL_MODES, "fill_mode")
    if None in images.shape[1:3]:
        return _pyramid_of_any_size(images, num_levels, fill_mode)
    if not _is_large(images.shape[1:3]):
        images = ops.cast(images, "float32")
    levels = [images]
    for _ in range(num_levels - 1):
        levels.append(_halve(levels[-1], fill_mode))
    sizes = tuple(tuple(level.shape[1:3]) for level in levels)
    flat = [_flat(level) for level in levels]  # each (B, H_l W_l, C)
    num_large = sum(map(_is_large, sizes))
    parts = (*flat[:num_large], *_join(flat[num_large:]))
    return ImagePyramid(parts, sizes)


def _pyramid_of_any_size(images, num_levels, fill_mode):
    """`image_pyramid` of images whose height or width only a graph knows."""
    levels = [images]
    for _ in range(num_levels - 1):
        level = ops.cast(levels[-1], "float32")
        if fill_mode == "zeros":  # beyond a side that is odd
            _, height, width, _ = ops.shape(level)
            level = ops.pad(level, [(0, 0), (0, 1), (0, 1), (0, 0)])
            level = level[:, : height + height % 2, : width + width % 2]
        levels.append(_means_of_four(level))
    sizes = [ops.stack(ops.shape(level)[1:3]) for level in levels]  # (2,) each
    sizes = ops.stack(sizes)  # (L, 2)
    flat = [_flat(level) for level in levels]
    return ImagePyramid((flat[0], *_join(flat[1:])), sizes)  # (L, 2)


def _flat(level):
    """All pixels in a row: `(B, H, W, C)` -> `(B, H W, C)`."""
    _, height, width, channels = ops.shape(level)
    # Of pixels whose number only a graph knows it would lose a known B.
    batch = -1 if level.shape[0] is None else level.shape[0]
    shape = (batch, height * width, channels)
    return ops.reshape(level, shape)  # (B, H W, C)


def _is_large(size):
    return math.prod(size) > LARGE_LEVEL


def _halve(level, fill_mode):
    """The next level, float32; what is large is cast strip by strip."""
    _, height, width, _ = level.shape
    if fill_mode == "zeros" and (height % 2 or width % 2):
        odd = (0, height % 2), (0, width % 2)
        level = ops.pad(level, [(0, 0), *odd, (0, 0)])
        _, height, width, _ = level.shape
    if not _is_large((height, width)):
        return _means_of_four(level)
    if keras.backend.standardize_dtype(level.dtype) == "float32":
        return _means_of_four_beside_others(level)
    rows = 2 * max(1, LARGE_LEVEL // (2 * width))
    strips = [
        _means_of_four_beside_others(
            ops.cast(level[:, top : top + rows], "float32")
        )
        for top in range(0, height, rows)
    ]
    return ops.concatenate(strips, axis=1)  # (B, H / 2, W / 2, C)


def _means_of_four(pixels):
    # "same" pads to the right and below, and leaves the padding out of the
    # mean: pixel i of a level covers pixels 2i and 2i + 1 before it.
    return ops.average_pool(
        pixels, 2, 2, padding="same", data_format="channels_last"
    )


def _means_of_four_beside_others(pixels):
    """The same of a few neighbours at once, as if they were channels.

    On a CPU that takes half of the time where there are few channels.
    """
    _, height, width, channels = pixels.shape
    if height % 2 or width % 2:
        return _means_of_four(pixels)
    number = math.gcd(width // 2, max(1, 4 // channels))
    means = np.kron(np.eye(number), np.full((2, 1), 0.25))  # of each 2 columns
    means = np.kron(means, np.eye(channels))  # (2 number C, number C)
    kernel = np.stack([means, means])[:, None]  # (2, 1, 2 number C, number C)
    shape = (-1, height, width // (2 * number), 2 * number * channels)
    pixels = ops.reshape(pixels, shape)  # (B, H, W / 2 number, 2 number C)
    means = ops.conv(
        pixels,
        ops.convert_to_tensor(kernel.astype("float32")),
        strides=(2, 1),
        padding="valid",
        data_format="channels_last",
    )
    shape = (-1, height // 2, width // 2, channels)
    return ops.reshape(means, shape)  # (B, H / 2, W / 2, C)


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
    channels = pyramid.parts[0].shape[-1]
    patches_shape = (-1, height, width, channels)

    sizes, numeric = level_sizes(pyramid)
    shrunk = np.float32(0.5) ** np.arange(sizes.shape[0])[:, None, None]
    of_levels = numeric.multiply(
        numeric.flip(sizes[:1], axis=1)[..., None], shrunk
    )

    def read(levels):
        # Width and height, (B, L, 2, 1).
        size = _of_levels(of_levels, levels, "float32")
        windows = geometry.windows_in_pixels(
            ops.expand_dims(transforms, 1), size
        )  # (B, L, 2, 3)
        points = geometry.sampling_grid(windows, glimpse_size)
        points = ops.reshape(
            points, (-1, levels.shape[1], 2, height * width)
        )  # (B, L, 2, P)
        return read_points(pyramid, points, levels, fill_mode)

    if sizes.shape[0] == 1:
        values = read(np.zeros((1, 1), "int32"))  # (B, 1, P, C)
        return ops.reshape(values, patches_shape)  # (B, h, w, C)
    coarsest = sizes.shape[0] - 1
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
    values = read(levels)  # (B, 2, P, C)
    fine, coarse = values[:, 0], values[:, 1]  # each (B, P, C)
    blended = fine + blend * (coarse - fine)
    return ops.reshape(blended, patches_shape)  # (B, h, w, C)


def read_points(pyramid, points, levels, fill_mode="zeros"):
    """Bilinear read of single points from L levels of a pyramid.

    Eq. 3 of the EDRAM paper for each point (x, y): of its sum over all pixels
    only two columns and two rows around the point have a weight.

        V = Σ_n Σ_m I_nm max(0, 1 - |x - m|) max(0, 1 - |y - n|)

    At the border they are the two nearest, and weigh nothing further away. All
    pixels are gathered at once: on a device it is the number of operations
    that costs, not their size. And what can be is computed in float: small
    devices are slow with integers.

    Args:
        pyramid: `ImagePyramid` of B images.
        points: Float tensor of shape `(B, L, 2, P)`: x and y, where to read,
            in pixels of the level, 0 being the centre of the first.
        levels: Int32 tensor of shape `(B, L)`, or `(1, L)` for all images
            alike.
        fill_mode: `"zeros"` or `"nearest"`, see `read_windows`.

    Returns:
        Float32 tensor of shape `(B, L, P, C)`.

    Raises:
        ValueError: For an unknown `fill_mode`.

    Example:

    >>> pyramid = image_pyramid(keras.ops.ones((1, 4, 4, 1)), 1)
    >>> points = keras.ops.ones((1, 1, 2, 3))
    >>> read_points(pyramid, points, keras.ops.array([[0]])).shape
    (1, 1, 3, 1)
    """
    check_choice(fill_mode, FILL_MODES, "fill_mode")
    sizes, numeric = level_sizes(pyramid)
    last = (
        numeric.flip(sizes, axis=1)[..., None] - 1
    )  # the last pixel in x and y, (levels, 2, 1)
    if fill_mode == "nearest":
        points = ops.clip(points, 0.0, _of_levels(last, levels, "float32"))
    # The first of two columns and of two rows. Clipped as integers: a window
    # that is not a number must give patches that are not, which a training
    # can stop at, and not a failing gather.
    first = ops.clip(
        ops.cast(ops.floor(points), "int32"),
        0,
        _of_levels(numeric.maximum(last - 1, 0), levels, "int32"),
    )  # (B, L, 2, P)
    rest = points - ops.cast(first, "float32")
    # Where there is only one, the second is too far away to have a weight.
    far, near = np.array([[0, 2.0**31], [0, 1]], "float32") - JUST_RIGHT
    taps = numeric.where(last == 0, far, near)
    taps = _of_levels(taps[..., None], levels, "float32")  # (B, L, 2, 2, 1)
    rest = ops.expand_dims(rest, 3)  # (B, L, 2, 1, P)
    weight = ops.relu(1.0 - ops.abs(rest - taps))  # (B, L, 2, 2, P)
    x_weight = weight[:, :, 0:1]  # (B, L, 1, 2, P)
    y_weight = ops.expand_dims(weight[:, :, 1], 3)  # (B, L, 2, 1, P)
    weight = ops.reshape(
        y_weight * x_weight, (-1, levels.shape[1], 4, points.shape[-1], 1)
    )  # (B, L, 4, P, 1)
    # From the start of all parts, row by row: the first pixel, and from it to
    # the four.
    width = sizes[:, 1]
    pixels = sizes[:, 0] * width
    starts = numeric.cumsum(pixels) - pixels  # of the levels
    right, below = (numeric.minimum(last[:, axis, 0], 1) for axis in (0, 1))
    below = below * width
    offsets = numeric.stack(
        [0 * right, right, below, below + right], axis=1
    )  # (levels, 4)
    offsets = (starts[:, None] + offsets)[..., None]
    width = _of_levels(width[:, None, None], levels, "int32")
    index = first[:, :, 1:2] * width + first[:, :, 0:1]  # (B, L, 1, P)
    offsets = _of_levels(offsets, levels, "int32")  # (B, L, 4, 1)
    values = take_pixels(pyramid.parts, index, offsets)  # I_nm, (B, L, 4, P, C)
    return ops.sum(values * weight, axis=2)  # V, (B, L, P, C)


def _of_levels(table, levels, dtype):
    """Rows of a table, one for each level of `(B, L)`: `(B, L, ...)`."""
    if ops.is_tensor(table):
        return take_rows(ops.cast(table, dtype), levels)
    table = np.asarray(table, dtype)
    if (table == table[0]).all():  # which costs nothing
        return ops.convert_to_tensor(table[None, :1])  # (1, 1, ...)
    return take_rows(ops.convert_to_tensor(table), levels)


def level_sizes(pyramid):
    """Sizes of the levels as one array, and what to compute with it by.

    Args:
        pyramid: `ImagePyramid`.

    Returns:
        int32 array of shape `(levels, 2)` and NumPy; or, of images of unknown
        size, a tensor and `keras.ops`.

    Example:

    >>> level_sizes(image_pyramid(keras.ops.ones((1, 5, 8, 1)), 2))[0]
    [[5, 8], [3, 4]]
    """
    if ops.is_tensor(pyramid.sizes):
        return pyramid.sizes, ops
    return np.array(pyramid.sizes, "int32"), np


def take_rows(values, index):
    """`ops.take` along the first axis, of indices that are not negative.

    Keras looks for negative ones in TensorFlow, by three operations more.

    Args:
        values: Tensor of shape `(n, ...)`.
        index: Integer tensor of any shape, from 0 to n - 1.

    Returns:
        Tensor of the shape of `index`, and what follows `n`.

    Example:

    >>> take_rows(keras.ops.array([1.0, 2.0]), keras.ops.array([[1], [0]]))
    [[2.0], [1.0]]
    """
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        return tf.gather(values, index)
    return ops.take(values, index, axis=0)


def take_pixels(parts, index, offsets=0):
    """Pixels by their place among those of all levels of a pyramid.

    Args:
        parts: Those of an `ImagePyramid` of B images.
        index: Int32 tensor of shape `(B, L, N, P)`, pixels counted row by row
            from the finest level on.
        offsets: Int32 tensor that `index` is added to, such as `(B, L, N, 1)`
            with an `index` of `(B, L, 1, P)`. Defaults to 0.

    Returns:
        Float32 tensor of shape `(B, L, N, P, C)`.

    Example:

    >>> pyramid = image_pyramid(keras.ops.ones((1, 4, 4, 1)), 1)
    >>> index = keras.ops.zeros((1, 1, 2, 3), "int32")
    >>> take_pixels(pyramid.parts, index).shape
    (1, 1, 2, 3, 1)
    """
    image = ops.arange(ops.shape(parts[0])[0], dtype="int32")
    image = ops.reshape(image, (-1, 1, 1, 1))  # (B, 1, 1, 1)
    values, before = None, 0
    for pixels in parts:
        _, num_pixels, channels = ops.shape(pixels)
        flat = ops.reshape(pixels, (-1, channels))  # (B pixels, C)
        if len(parts) == 1:
            here = index + (offsets + image * num_pixels)
        else:
            here = index + offsets  # (B, L, 4, P)
            earlier = ops.expand_dims(here < before, -1)  # (B, L, 4, P, 1)
            here = ops.clip(here - before, 0, num_pixels - 1)
            here = image * num_pixels + here
        taken = ops.cast(take_rows(flat, here), "float32")  # (B, L, 4, P, C)
        if values is not None:
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
