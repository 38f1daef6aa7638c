"""Reading a grid of Gaussian filters of an image, differentiably.

Letters in shapes: B batch, H W C image, N filters in a row and in a column,
P pixels of an image.
"""

import keras
import numpy as np
from keras import ops

from keras_edram import geometry
from keras_edram.checks import check_images, check_integer, check_shapes
from keras_edram.layers.image_pyramid import image_pyramid

NUM_PARAMETERS = 5  # g~X, g~Y, log σ², log δ~, log γ
LARGEST = 12.0  # that counts, of a parameter: e^12 is 160,000


@keras.saving.register_keras_serializable(package="keras_edram")
class GaussianAttention(keras.layers.Layer):
    """Reads an image through N x N Gaussian filters, which five numbers place.

    The grid has its middle at (g~X, g~Y), its filters are δ pixels apart, and
    each averages the pixels about its middle with a deviation of σ pixels:

        F_X[i, a] = exp(-(a - μ_X^i)² / 2 σ²) / Z_X,  Σ_a F_X[i, a] = 1
        patch = γ F_Y image F_X^T

    and F_Y likewise for rows. Unlike a bilinear read a filter sees, and so
    learns from, more than its nearest pixels: every pixel of the image has a
    weight. The window of the grid, in which each filter is the middle of a
    pixel of the patch, is `geometry.windows_of_grids`.

    All is computed in float32 under every precision policy. A filter off the
    image sees the pixels that are nearest to it, as its weights add up to 1.
    Parameters beyond -12 and 12 count as these: a filter of one pixel, or of
    all.

    Args:
        glimpse_size: Integer N of at least 2, the side of the patch in pixels.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        images: Tensor of shape `(B, H, W, C)`, integers or floats of any
            range, with static H, W and C.
        parameters: Tensor of shape `(B, 5)`: g~X and g~Y, from -1 to 1 in the
            image, log σ² in square pixels, log δ~, which is 0 if the outer
            filters are as far apart as the longer side's outer pixels, and
            log γ.

    Returns:
        Tensor of shape `(B, N, N, C)`, in the range of the images times γ, in
        the compute dtype of the layer.

    Raises:
        ValueError: For a size below 2, images without a size, or inputs of
            another shape.

    Example:

    >>> attention = GaussianAttention(12)
    >>> images = keras.random.uniform((8, 100, 80, 1))
    >>> attention(images, np.zeros((8, 5))).shape  # all of each image
    (8, 12, 12, 1)

    Reference:
        - Gregor, Danihelka, Graves, Rezende, Wierstra, "DRAW: A Recurrent
          Neural Network For Image Generation", 2015, section 3.2, Eq. 19 to
          27.
    """

    def __init__(self, glimpse_size, **kwargs):
        # The dtype policy must not touch the coordinates.
        super().__init__(autocast=False, **kwargs)
        self.glimpse_size = check_integer(glimpse_size, "glimpse_size", 2)

    def build(self, images_shape, parameters_shape=None):
        """Has no weights, but is built as Keras asks of every layer."""

    def call(self, images, parameters):
        images = ops.convert_to_tensor(images)
        parameters = ops.convert_to_tensor(parameters)
        check_images(images)
        check_shapes(
            "images (B, H, W, C), parameters (B, 5)", images, parameters
        )
        if None in images.shape[1:3]:
            raise ValueError(
                "`images` must have a known height and width. Received: "
                f"images of shape {tuple(images.shape)}"
            )
        return self.read(image_pyramid(images, 1), parameters)

    def read(self, pyramid, parameters):
        """Patches of an `ImagePyramid`, as a call returns.

        Args:
            pyramid: `ImagePyramid` of B images, of which the finest level is
                read.
            parameters: Tensor of shape `(B, 5)`.

        Raises:
            ValueError: For parameters of another shape.
        """
        (height, width), side = pyramid.sizes[0], self.glimpse_size
        rows, columns = self.filters(parameters, (height, width))
        pixels = ops.cast(pyramid.parts[0][:, : height * width], "float32")
        channels = pixels.shape[-1]
        pixels = ops.reshape(
            pixels, (-1, height, width * channels)
        )  # (B, H, W C)
        patches = ops.matmul(rows, pixels)  # F_Y x, (B, N, W C)
        patches = ops.reshape(
            patches, (-1, side, width, channels)
        )  # (B, N, W, C)
        # The filters of columns are the same for each row of the patch.
        patches = ops.matmul(
            ops.expand_dims(columns, 1), patches
        )  # (B, N, N, C)
        intensity = ops.exp(_limited(parameters)[:, 4])  # γ
        patches = intensity[:, None, None, None] * patches
        return ops.cast(patches, self.compute_dtype)

    def filters(self, parameters, image_size):
        """The weight that each filter gives each row, and each column.

        Args:
            parameters: Tensor of shape `(B, 5)`.
            image_size: `(height, width)` of the images in pixels.

        Returns:
            F_Y `(B, N, H)` and F_X `(B, N, W)`, float32, whose rows add up to
            1.

        Raises:
            ValueError: For parameters of another shape, or a size that is none.
        """
        height, width = image_size
        windows = geometry.windows_in_pixels(
            self.windows(parameters, image_size),
            np.array([[width], [height]], "float32"),
        )  # (B, 2, 3)
        middles = geometry.pixel_centres(self.glimpse_size)
        middles = ops.convert_to_tensor(middles)
        precision = ops.exp(-_limited(parameters)[:, 2])  # 1 / σ²
        precision = ops.reshape(precision, (-1, 1, 1))  # (B, 1, 1)

        def weights(zooms, places, side):
            """Those of one axis, of `(B,)` pixels a unit, and the middle."""
            means = zooms[:, None] * middles + places[:, None]  # μ, (B, N)
            pixels = ops.convert_to_tensor(np.arange(side, dtype="float32"))
            squares = ops.square(pixels - means[..., None])  # (B, N, side)
            # By softmax they add up to 1 wherever the filter is.
            return ops.softmax(-0.5 * precision * squares, axis=-1)

        return (
            weights(windows[:, 1, 1], windows[:, 1, 2], height),
            weights(windows[:, 0, 0], windows[:, 0, 2], width),
        )

    def windows(self, parameters, image_size):
        """The windows of the grids, as transforms.

        Args:
            parameters: Tensor of shape `(B, 5)`.
            image_size: `(height, width)` of the images in pixels.

        Returns:
            Float32 tensor of shape `(B, 2, 3)`.

        Raises:
            ValueError: For parameters of another shape, or a size that is none.
        """
        parameters = _limited(parameters)
        check_shapes("parameters (B, 5)", parameters)
        grids = ops.concatenate(
            [parameters[:, :2], parameters[:, 3:4]], axis=-1
        )  # g~X, g~Y, log δ~, (B, 3)
        return geometry.windows_of_grids(grids, self.glimpse_size, image_size)

    def compute_output_shape(self, images_shape, parameters_shape=None):
        side = self.glimpse_size
        return (images_shape[0], side, side, images_shape[-1])

    def get_config(self):
        config = super().get_config()
        config.update(glimpse_size=self.glimpse_size)
        return config


def _limited(parameters):
    """In float32, as large as their exponentials can be computed with."""
    return ops.clip(ops.cast(parameters, "float32"), -LARGEST, LARGEST)
