"""Patches of growing size around a point, as a retina sees them.

Letters in shapes: B batch, H W C image, g glimpse side, Z scales.
"""

import math

import keras
import numpy as np
from keras import ops

from keras_edram import geometry
from keras_edram.checks import (
    check_boolean,
    check_images,
    check_integer,
    check_number,
    check_shapes,
)
from keras_edram.layers.image_pyramid import (
    image_pyramid,
    level_sizes,
    take_pixels,
)


@keras.saving.register_keras_serializable(package="keras_edram")
class RetinaGlimpse(keras.layers.Layer):
    """Reads square windows of growing size around a location.

    Scale z of Z shows a square of `g s^z` pixels around the location, averaged
    down to `g x g`: sharp in the middle, blurred but wide around it.

        ρ(image, l) = [patch_0, ..., patch_{Z-1}],
        patch_z[i, j] = mean of the image over the s^z x s^z pixels at
                        l + s^z (j - (g - 1) / 2, i - (g - 1) / 2)

    Outside the image there are zeros. The mean is read from a pyramid of
    halved images, interpolated between its pixels, so that a glimpse costs
    `Z g²` reads whatever the size of the image; between two levels, for `s` not
    a power of two, both are blended. Gradients flow to the images; those to
    the locations are of the interpolation.

    Args:
        glimpse_size: Integer g, side of a patch in pixels.
        num_scales: Integer Z, how many patches. Defaults to 1.
        scale_factor: Float s of at least 1, how much wider each window is
            than the one before. Defaults to 2.
        flatten_scales: Boolean, whether the scales are channels of one patch.
            Defaults to `True`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        images: Tensor of shape `(B, H, W, C)`, integers or floats of any
            range, with static H, W and C.
        locations: Tensor of shape `(B, 2)`, x and y in the image's [-1, 1],
            whose edges are ±1.

    Returns:
        Tensor of shape `(B, g, g, Z C)`, all channels of scale 0 first, or
        `(B, Z, g, g, C)` when scales are not flattened; in the range of the
        images and the compute dtype of the layer.

    Raises:
        ValueError: For sizes that are not positive integers, a factor below 1,
            what is no truth value, or inputs of another shape.

    Example:

    >>> retina = RetinaGlimpse(12, num_scales=3)
    >>> images = keras.random.uniform((8, 60, 60, 1))
    >>> retina(images, keras.ops.zeros((8, 2))).shape
    (8, 12, 12, 3)

    Reference:
        - Jatakia, Rane, Rao, "Recurrent Attention Model for Image
          Classification", section 4.1.
        - Mnih et al., "Recurrent Models of Visual Attention", 2014, section 3.
    """

    def __init__(
        self,
        glimpse_size,
        num_scales=1,
        scale_factor=2,
        *,
        flatten_scales=True,
        **kwargs,
    ):
        # The dtype policy must not touch the coordinates.
        super().__init__(autocast=False, **kwargs)
        self.glimpse_size = check_integer(glimpse_size, "glimpse_size")
        self.num_scales = check_integer(num_scales, "num_scales")
        self.scale_factor = check_number(scale_factor, "scale_factor", 1)
        self.flatten_scales = check_boolean(flatten_scales, "flatten_scales")

    @property
    def num_levels(self):
        """How many levels of an `ImagePyramid` it reads from."""
        return 1 + math.ceil(self._level(self.num_scales - 1))

    def build(self, images_shape, locations_shape=None):
        """Has no weights, but is built as Keras asks of every layer."""

    def call(self, images, locations):
        images = ops.convert_to_tensor(images)
        locations = ops.convert_to_tensor(locations)
        check_images(images)
        check_shapes("images (B, H, W, C), locations (B, 2)", images, locations)
        return self.read(self.pyramid(images), locations)

    def pyramid(self, images):
        """The `ImagePyramid` of images, to `read` from it more than once."""
        return image_pyramid(images, self.num_levels, fill_mode="zeros")

    def read(self, pyramid, locations):
        """Patches around `locations` of an `ImagePyramid`, as a call returns.

        Args:
            pyramid: `ImagePyramid` of B images.
            locations: Tensor of shape `(B, 2)`, x and y in [-1, 1].

        Raises:
            ValueError: For locations of another shape.
        """
        locations = ops.convert_to_tensor(locations)
        check_shapes(
            "pyramid (B, P, C), locations (B, 2)", pyramid.parts[0], locations
        )
        side = self.glimpse_size
        centre = geometry.points_to_pixels(locations, pyramid.sizes[0])
        detail = np.array([self._level(z) for z in range(self.num_scales)])
        lower = np.floor(detail).astype(int)
        patches = self._read_levels(pyramid, centre, lower)
        blend = (detail - lower).astype("float32")[:, None, None, None]
        if blend.any():
            upper = np.ceil(detail).astype(int)
            coarse = self._read_levels(pyramid, centre, upper)
            blend = ops.convert_to_tensor(blend)  # (Z, 1, 1, 1)
            patches = patches + blend * (coarse - patches)
        if self.flatten_scales:
            channels = self.num_scales * patches.shape[-1]
            patches = ops.transpose(patches, (0, 2, 3, 1, 4))  # (B, g, g, Z, C)
            patches = ops.reshape(
                patches, (-1, side, side, channels)
            )  # (B, g, g, Z C)
        return ops.cast(patches, self.compute_dtype)

    def _read_levels(self, pyramid, centre, levels):
        """Each scale from a level of its own: `(B, 2)` -> `(B, Z, g, g, C)`.

        The square is upright, so that rows and columns are found apart from
        each other, and of a step of one pixel of the level, neighbours share
        theirs.
        """
        side = self.glimpse_size
        factors = self.scale_factor ** np.arange(self.num_scales)[:, None]
        shrink = 0.5 ** levels[:, None]  # (Z, 1)
        offsets = geometry.pixel_offsets(side)  # (g,)
        touching = np.all(factors * shrink == 1)
        if touching:
            offsets = offsets[:1]
        place = geometry.resized_pixels(
            centre[:, :, None, None] + _constant(factors * offsets),
            _constant(shrink),
        )  # X and Y, (B, 2, Z, g or 1)
        whole = ops.floor(place)
        rest = place - whole
        pixel = ops.cast(whole, "int32")
        if touching:
            pixel = pixel + _constant(np.arange(side + 1), "int32")
            before, after = slice(0, side), slice(1, side + 1)
        else:
            pixel = ops.concatenate(
                [pixel, pixel + 1], axis=-1
            )  # (B, 2, Z, 2 g)
            before, after = slice(0, side), slice(side, 2 * side)
        sizes, numeric = level_sizes(pyramid)  # (levels, 2)
        pixels = sizes[:, 0] * sizes[:, 1]
        starts = numeric.take(numeric.cumsum(pixels) - pixels, levels)
        sizes = numeric.take(sizes, levels, axis=0)  # (Z, 2)
        last = numeric.flip(sizes, axis=1) - 1  # of x and y
        last = numeric.transpose(last)  # (2, Z)
        last = ops.convert_to_tensor(last[..., None], "int32")  # (2, Z, 1)
        starts, widths = (
            ops.convert_to_tensor(of_scale[:, None], "int32")
            for of_scale in (starts, sizes[:, 1])
        )  # each (Z, 1)
        near = ops.clip(pixel, 0, last)  # (B, 2, Z, P), P of an axis
        there = ops.cast(pixel == near, "float32")
        # max(0, 1 - |x - m|) of the pixel before a point, and of that after it.
        first = (1.0 - rest) * there[..., before]  # (B, 2, Z, g)
        second = rest * there[..., after]
        rows = starts + widths * near[:, 1]  # (B, Z, P)
        index = rows[..., None] + near[:, 0, :, None]  # (B, Z, P, P)
        values = take_pixels(pyramid.parts, index)  # (B, Z, P, P, C)
        values = (
            values[:, :, before] * first[:, 1, :, :, None, None]
            + values[:, :, after] * second[:, 1, :, :, None, None]
        )  # (B, Z, g, P, C)
        return (
            values[:, :, :, before] * first[:, 0, :, None, :, None]
            + values[:, :, :, after] * second[:, 0, :, None, :, None]
        )  # (B, Z, g, g, C)

    def windows(self, locations, image_size, scale=0):
        """What one scale shows, as transforms: `(..., 2)` -> `(..., 2, 3)`.

        Args:
            locations: Tensor of shape `(..., 2)`, x and y in [-1, 1].
            image_size: `(height, width)` of the image in pixels.
            scale: Integer from 0 to Z - 1. Defaults to 0, the sharpest.

        Raises:
            ValueError: For another scale, or locations of another shape.
        """
        scale = check_integer(scale, "scale", 0, self.num_scales - 1)
        side = self.glimpse_size * self.scale_factor**scale
        return geometry.windows_around(locations, (side, side), image_size)

    def _level(self, scale):
        """The pyramid level, with fraction, that a scale is read from."""
        return scale * math.log2(self.scale_factor)

    def compute_output_shape(self, images_shape, locations_shape=None):
        batch, channels = images_shape[0], images_shape[-1]
        side = self.glimpse_size
        if self.flatten_scales:
            return (batch, side, side, self.num_scales * channels)
        return (batch, self.num_scales, side, side, channels)

    def get_config(self):
        config = super().get_config()
        config.update(
            glimpse_size=self.glimpse_size,
            num_scales=self.num_scales,
            scale_factor=self.scale_factor,
            flatten_scales=self.flatten_scales,
        )
        return config


def _constant(values, dtype="float32"):
    return ops.convert_to_tensor(np.asarray(values, dtype))
