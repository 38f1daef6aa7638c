"""Reading an affine window of an image, differentiably.

Letters in shapes: B batch, H W C image, h w glimpse, P points of a glimpse
(h·w where they are its pixels), L levels of a pyramid.
"""

import keras
import numpy as np
from keras import ops

from keras_edram import geometry
from keras_edram.checks import (
    check_boolean,
    check_choice,
    check_images,
    check_shapes,
    check_size,
)
from keras_edram.layers.image_pyramid import (
    FILL_MODES,
    image_pyramid,
    level_sizes,
    num_pyramid_levels,
    take_level,
    take_pixels,
    take_rows,
)

# Pixels, a last digit: of a point on the centre of a pixel the weights have two
# slopes, and halfway between them none. A window that is the image itself would
# teach nothing; so a point lies to the right of it.
JUST_RIGHT = 2.0**-23


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


def read_whole(pyramid, glimpse_size):
    """Reads each image as a whole, as `read_windows` does, in less time.

    What lies outside is as `"nearest"` has it. A level of an odd side is taken
    as whole, by which a point may be up to a pixel of the level elsewhere.

    Args:
        pyramid: `ImagePyramid` of B images.
        glimpse_size: `(height, width)` of the patches in pixels.

    Returns:
        Float32 tensor of shape `(B, height, width, C)`.

    Example:

    >>> read_whole(image_pyramid(keras.ops.ones((1, 4, 4, 1)), 2), (2, 2)).shape
    (1, 2, 2, 1)
    """
    sizes, numeric = level_sizes(pyramid)
    coarsest = sizes.shape[0] - 1
    glimpse = np.array(glimpse_size, "float32")
    steps = numeric.multiply(sizes[0], 1 / glimpse)  # (2,)
    detail = numeric.log2(numeric.max(steps))
    detail = numeric.clip(detail, 0.0, float(coarsest))
    lower = numeric.floor(detail)

    def read(level):
        level = take_level(pyramid, level)
        return ops.image.resize(
            level, glimpse_size, data_format="channels_last"
        )  # (B, h, w, C)

    if not coarsest:
        return read(0)
    if numeric is np:
        fine, blend = read(int(lower)), float(detail - lower)
        if not blend:
            return fine
        coarse = read(int(lower) + 1)
    else:
        lower = numeric.minimum(lower, coarsest - 1.0)
        blend = detail - lower
        lower = ops.cast(lower, "int32")
        fine, coarse = read(lower), read(lower + 1)
    return fine + blend * (coarse - fine)  # (B, h, w, C)


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
