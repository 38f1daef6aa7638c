"""An image at full size, half size, a quarter, ..., to read windows from.

Letters in shapes: B batch, H W C image, P pixels, L levels.
"""

import math
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_edram.checks import check_choice, check_images, check_integer

FILL_MODES = ("zeros", "nearest")
# A level of more pixels is neither copied into one tensor with the others,
# which takes longer than to look in several places, nor cast as a whole.
LARGE_LEVEL = 2**20
# So few pixels are halved by pooling, which is one small operation; of more,
# and of few channels, it takes a CPU many times as long as sums and products.
FEW_PIXELS = 2**14
FEW_CHANNELS = 4
# Pairs of values that one product of matrices makes means of.
PAIRS = 8
# Pixels: levels enough for an image of this side, where a graph is for any.
LARGEST_SIDE = 2**14


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
        levels.append(_halve_of_any_size(levels[-1], fill_mode))
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
    level = _with_even_sides(level, fill_mode)
    _, height, width, _ = level.shape
    if (
        not _is_large((height, width))
        or keras.backend.standardize_dtype(level.dtype) == "float32"
    ):
        return _means_of_four(level)
    rows = 2 * max(1, LARGE_LEVEL // (2 * width))
    strips = [
        _means_of_four(level[:, top : top + rows])
        for top in range(0, height, rows)
    ]
    return ops.concatenate(strips, axis=1)  # (B, H / 2, W / 2, C)


def _with_even_sides(level, fill_mode):
    """With one row or column more, of zeros or as the last, where it is odd."""
    _, height, width, _ = level.shape
    if height % 2 == width % 2 == 0:
        return level
    if fill_mode == "zeros":
        beyond = ((0, side % 2) for side in (height, width))
        return ops.pad(level, [(0, 0), *beyond, (0, 0)])
    # Not by padding, whose border of equal values takes TensorFlow very long.
    if height % 2:
        row = level[:, -1:]  # (B, 1, W, C)
        level = ops.concatenate([level, row], axis=1)  # (B, even, W, C)
    if width % 2:
        column = level[:, :, -1:]  # (B, even, 1, C)
        level = ops.concatenate([level, column], axis=2)  # (B, even, even, C)
    return level


def _means_of_four(pixels):
    """Means of 2x2: `(B, H, W, C)` -> float32 `(B, H / 2, W / 2, C)`."""
    _, height, width, channels = pixels.shape
    if channels > FEW_CHANNELS or height * width <= FEW_PIXELS:
        pixels = ops.cast(pixels, "float32")
        return ops.average_pool(pixels, 2, 2, data_format="channels_last")
    shape = (-1, height // 2, 2, width * channels)
    pairs_of_rows = ops.reshape(pixels, shape)  # (B, H / 2, 2, W C)
    rows = ops.cast(pairs_of_rows[:, :, 0], "float32")  # (B, H / 2, W C)
    rows = rows + ops.cast(pairs_of_rows[:, :, 1], "float32")
    pairs = math.gcd(height * width // 4, PAIRS // channels)
    matrix = _pair_means(pairs, channels)
    rows = ops.reshape(rows, (-1, len(matrix)))  # (n, 2 pairs C)
    means = ops.matmul(rows, ops.convert_to_tensor(matrix))  # (n, pairs C)
    batch = -1 if pixels.shape[0] is None else pixels.shape[0]
    shape = (batch, height // 2, width // 2, channels)
    return ops.reshape(means, shape)  # (B, H / 2, W / 2, C)


def _pair_means(pairs, channels):
    """A matrix that makes means of pairs of sums: `(2 pairs C, pairs C)`.

    Sums of all rows follow each other: a product makes many means at once.
    """
    means = np.kron(np.eye(pairs), np.full((2, 1), 0.25))  # (2 pairs, pairs)
    return np.kron(means, np.eye(channels)).astype("float32")


def _halve_of_any_size(level, fill_mode):
    """`_halve` of a level whose height or width only a graph knows.

    A graph for any size must have what an odd side needs; here that copies
    nothing where sides are even.
    """
    _, height, width, channels = ops.shape(level)
    odd = width % 2
    beyond = height % 2 if fill_mode == "zeros" else 0
    level = ops.pad(level, [(0, 0), (0, beyond), (0, odd), (0, 0)])
    top = 2 * ops.arange((height + 1) // 2)  # (h,)
    bottom = ops.minimum(top + 1, height + beyond - 1)
    top, bottom = (
        ops.cast(ops.take(level, index, axis=1), "float32")
        for index in (top, bottom)
    )  # each (B, h, 2 w, C)
    rows = top + bottom
    height, width = (height + 1) // 2, (width + 1) // 2
    matrix = _pair_means(max(1, PAIRS // channels), channels)
    # Those of each image by themselves, lest a NaN of one reaches another.
    num_values = 2 * height * width * channels
    rows = ops.reshape(rows, (-1, num_values))  # (B, h 2 w C)
    # Of positive numbers, as ONNX has another remainder of negative ones.
    more = (len(matrix) - num_values % len(matrix)) % len(matrix)
    rows = ops.pad(rows, [(0, 0), (0, more)])
    rows = ops.reshape(rows, (-1, len(matrix)))  # (n, 2 pairs C)
    means = ops.matmul(rows, ops.convert_to_tensor(matrix))  # (n, pairs C)
    means = ops.reshape(means, (-1, (num_values + more) // 2))  # (B, m)
    means = means[:, : num_values // 2]  # (B, h w C)
    means = ops.reshape(means, (-1, channels))  # (B h w, C)
    if fill_mode == "nearest":
        # Zeros beyond a width that is odd count for nothing, the pixels at the
        # border twice.
        border = width * (1 + ops.arange(ops.shape(means)[0] // width)) - 1
        times = ops.cast(1 + odd, "float32")
        border_means = times * ops.take(means, border, axis=0)  # (B h, C)
        means = ops.scatter_update(means, border[:, None], border_means)
    batch = -1 if level.shape[0] is None else level.shape[0]
    shape = (batch, height, width, channels)
    return ops.reshape(means, shape)  # (B, h, w, C)


def _join(levels):
    if not levels:
        return []
    return [ops.concatenate(levels, axis=1)]  # (B, Σ H_l W_l, C)


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


def take_level(pyramid, index):
    """The images of one level of a pyramid.

    Args:
        pyramid: `ImagePyramid` of B images.
        index: Integer, 0 for the finest level; where sizes are a tensor, a
            scalar one.

    Returns:
        Float32 tensor of shape `(B, H_l, W_l, C)`.

    Raises:
        ValueError: For an index that is none of a level; a tensor is not
            looked at.

    Example:

    >>> take_level(image_pyramid(keras.ops.ones((1, 5, 8, 1)), 2), 1).shape
    (1, 3, 4, 1)
    """
    sizes, numeric = level_sizes(pyramid)
    pixels = sizes[:, 0] * sizes[:, 1]

    def from_part(part, before):
        first = numeric.sum(pixels[:index]) - before
        level = part[:, first : first + pixels[index]]  # (B, H_l W_l, C)
        height, width = sizes[index][0], sizes[index][1]
        shape = (-1, height, width, part.shape[-1])
        level = ops.reshape(level, shape)  # (B, H_l, W_l, C)
        return ops.cast(level, "float32")

    if numeric is ops:
        finest, *others = pyramid.parts
        if not others:
            return from_part(finest, 0)
        return ops.cond(
            index == 0,
            lambda: from_part(finest, 0),
            lambda: from_part(others[0], pixels[0]),
        )  # (B, H_l, W_l, C)
    before = 0
    for part in pyramid.parts:
        if pixels[: index + 1].sum() <= before + part.shape[1]:
            return from_part(part, before)  # (B, H_l, W_l, C)
        before += part.shape[1]
    raise ValueError(
        f"`index` must be that of a level. Received: index={index}, "
        f"{len(sizes)} levels"
    )


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
