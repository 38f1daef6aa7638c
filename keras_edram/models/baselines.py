"""What the report compares RAM with: networks that see the whole image.

Jatakia, Rane, Rao, "Recurrent Attention Model for Image Classification",
section 5.
"""

import keras
from keras import layers

from keras_edram.checks import check_choice, check_integer
from keras_edram.models import blocks
from keras_edram.models.whole_image import WholeImageModel

NETWORKS = ("dense", "convolution")


@keras.saving.register_keras_serializable(package="keras_edram")
class Baseline(WholeImageModel):
    """Classifies the whole image at once, at a cost that grows with it.

    `"dense"` is two fully connected layers; `"convolution"` one convolution of
    8 filters of 10x10 and one fully connected layer; all with rectifiers:

        p(y|x) = softmax(W_3 relu(W_2 relu(W_1 x)))

    Args:
        image_shape: `(height, width, channels)`. Defaults to `(28, 28, 1)`.
        num_classes: Integer, K. Defaults to 10.
        class_names: Strings, the names of the K classes; by default their
            numbers.
        network: `"dense"` or `"convolution"`. Defaults to `"dense"`.
        units: Integer, of each fully connected layer. Defaults to 256.
        filters: Integer, of the convolution. Defaults to 8.
        kernel_size: Integer, of the convolution. Defaults to 10.
        strides: Integer, of the convolution: that of Mnih et al., 2014, takes
            each fifth place of an image of 100x100. Defaults to 1.
        **kwargs: `terminal` and `temperature`, see `BaseModel`, and arguments
            of `keras.Model`.

    Call arguments:
        images: Tensor of shape `(B, H, W, C)`, uint8 or float in [0, 255].

    Returns:
        A dictionary as of the models that look: `labels`, logits of shape
        `(B, 1, 1, K)`, one answer for the one target, and `transforms`
        `(B, 1, 1, 2, 3)`, one window, the whole image.

    Raises:
        ValueError: For an unknown network, a shape that is not one, or another
            number of glimpses than one.

    Example:

    >>> model = Baseline(image_shape=(60, 60, 1), network="convolution")
    >>> model.predict(np.zeros((2, 60, 60, 1), "uint8"))["labels"].shape
    (2, 1, 1, 10)

    Reference:
        - Jatakia, Rane, Rao, "Recurrent Attention Model for Image
          Classification", section 5.
    """

    def __init__(
        self,
        image_shape=(28, 28, 1),
        num_classes=10,
        *,
        class_names=None,
        network="dense",
        units=256,
        filters=8,
        kernel_size=10,
        strides=1,
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, class_names, **kwargs)
        self._take_one_size()
        check_choice(network, NETWORKS, "network")
        self.network = network
        self.units = check_integer(units, "units")
        self.filters = check_integer(filters, "filters")
        self.kernel_size = check_integer(kernel_size, "kernel_size")
        self.strides = check_integer(strides, "strides")
        if network == "convolution" and kernel_size > min(self.image_shape[:2]):
            raise ValueError(
                "The convolution must fit the image. Received: "
                f"kernel_size={kernel_size}, image_shape={self.image_shape}"
            )
        policy = self.dtype_policy

        def dense(name):
            return layers.Dense(
                self.units,
                "relu",
                kernel_initializer="he_normal",
                name=name,
                dtype=policy,
            )

        first = [blocks.flatten(policy), dense("dense_0")]
        if network == "convolution":
            convolution = layers.Conv2D(
                self.filters,
                self.kernel_size,
                self.strides,
                data_format="channels_last",
                activation="relu",
                kernel_initializer="he_normal",
                name="convolution",
                dtype=policy,
            )
            first = [convolution, blocks.flatten(policy)]
        self.layers_in_order = keras.Sequential(
            [
                layers.Rescaling(1 / 255, dtype="float32", name="rescaling"),
                *first,
                dense("dense_1"),
                layers.Dense(self.num_classes, name="output", dtype="float32"),
            ],
            name="network",
        )
        self.build((None, *self.image_shape))

    def build(self, images_shape):
        if not self.built:
            self.layers_in_order.build(images_shape)
            self.built = True

    def see(self, images, training=False):
        logits = self.layers_in_order(images, training=training)  # (B, K)
        return self.whole_image(images, logits[:, None])

    def get_config(self):
        config = super().get_config()
        config.update(
            network=self.network,
            units=self.units,
            filters=self.filters,
            kernel_size=self.kernel_size,
            strides=self.strides,
        )
        return config
