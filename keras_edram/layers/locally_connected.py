"""A convolution that has other weights at each place.

Letters in shapes: B batch, H W C maps, k kernel side, F filters.
"""

import keras
from keras import initializers, layers, ops

from keras_edram.checks import check_integer


@keras.saving.register_keras_serializable(package="keras_edram")
class LocallyConnected2D(keras.layers.Layer):
    """A convolution without shared weights: each place has its own kernel.

    Of maps x, with zeros beyond their border:

        y(i, j) = b(i, j) + Σ_{u, v} x(i + u, j + v) · W(i, j, u, v)

    What lies where is known to it, at the price of H W times the weights of a
    convolution, so that it stands where maps are small.

    Args:
        filters: Integer F.
        kernel_size: Integer k, an odd number.
        kernel_initializer: Of W. Defaults to `"he_normal"`, of k k C inputs.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        maps: Tensor of shape `(B, H, W, C)`, with static H, W and C.

    Returns:
        Tensor of shape `(B, H, W, F)`.

    Raises:
        ValueError: For sizes that are none, an even kernel, or maps of unknown
            or another size.

    Example:

    >>> layer = LocallyConnected2D(8, kernel_size=3)
    >>> layer(keras.random.uniform((2, 4, 5, 3))).shape
    (2, 4, 5, 8)

    Reference:
        - Goodfellow, Bulatov, Ibarz, Arnoud, Shet, "Multi-digit Number
          Recognition from Street View Imagery using Deep Convolutional Neural
          Networks", 2014, section 5.1.
    """

    def __init__(
        self, filters, kernel_size, *, kernel_initializer="he_normal", **kwargs
    ):
        super().__init__(**kwargs)
        self.filters = check_integer(filters, "filters")
        self.kernel_size = check_integer(kernel_size, "kernel_size")
        if not self.kernel_size % 2:
            raise ValueError(
                "`kernel_size` must be odd, so that a place is in the middle. "
                f"Received: kernel_size={kernel_size}"
            )
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.border = layers.ZeroPadding2D(
            self.kernel_size // 2,
            data_format="channels_last",
            name="border",
            dtype=self.dtype_policy,
        )

    def build(self, maps_shape):
        if len(maps_shape) != 4 or None in maps_shape[1:]:
            raise ValueError(
                "The maps must have a known height, width and channels. "
                f"Received: maps of shape {tuple(maps_shape)}"
            )
        # Of no other size, though it were of as many places.
        self.input_spec = keras.layers.InputSpec(shape=(None, *maps_shape[1:]))
        _, height, width, channels = maps_shape
        places = height * width
        inputs = self.kernel_size**2 * channels
        # Drawn as one kernel of all places: each has as many inputs.
        self.kernel = self.add_weight(
            shape=(inputs, places * self.filters),
            initializer=self.kernel_initializer,
            name="kernel",
        )
        self.bias = self.add_weight(
            shape=(places, self.filters), initializer="zeros", name="bias"
        )
        self.border.build(maps_shape)
        self.built = True

    def call(self, maps):
        _, height, width, channels = maps.shape
        places = height * width
        padded = self.border(maps)
        neighbours = [
            padded[:, row : row + height, column : column + width]
            for row in range(self.kernel_size)
            for column in range(self.kernel_size)
        ]  # each (B, H, W, C)
        inputs = ops.concatenate(neighbours, axis=-1)  # (B, H, W, k k C)
        inputs = ops.reshape(
            inputs, (-1, places, self.kernel_size**2 * channels)
        )  # (B, H W, k k C)
        inputs = ops.transpose(inputs, (1, 0, 2))  # (H W, B, k k C)
        kernel = ops.reshape(
            self.kernel, (-1, places, self.filters)
        )  # (k k C, H W, F)
        kernel = ops.transpose(kernel, (1, 0, 2))  # (H W, k k C, F)
        outputs = ops.matmul(inputs, kernel)  # (H W, B, F)
        outputs = ops.transpose(outputs, (1, 0, 2)) + self.bias  # (B, H W, F)
        return ops.reshape(
            outputs, (-1, height, width, self.filters)
        )  # (B, H, W, F)

    def compute_output_shape(self, maps_shape):
        return *maps_shape[:-1], self.filters

    def get_config(self):
        config = super().get_config()
        config.update(
            filters=self.filters,
            kernel_size=self.kernel_size,
            kernel_initializer=initializers.serialize(self.kernel_initializer),
        )
        return config
