"""One block of the models: a layer, normalisation by step, a rectifier."""

import keras
from keras import layers, ops

from keras_edram.layers.stepwise_batch_normalization import (
    StepwiseBatchNormalization,
)


@keras.saving.register_keras_serializable(package="keras_edram")
class Rectified(layers.Wrapper):
    """A layer, batch normalisation kept by step, and a rectifier:

        y = relu(bn_t(layer(x)))

    Args:
        layer: Keras layer of one input, without an offset of its own.
        num_steps: Integer, see `StepwiseBatchNormalization`.
        beta_initializer: Keras initializer of the normalisation's offset.
            Defaults to `"zeros"`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor that the layer takes.
        step: As of `StepwiseBatchNormalization`.
        training: Boolean.

    Returns:
        Tensor of the shape that the layer gives, at least 0.

    Example:

    >>> layer = Rectified(keras.layers.Dense(4), num_steps=2)
    >>> layer(np.ones((3, 5)), step=0).shape
    (3, 4)
    """

    def __init__(self, layer, num_steps, beta_initializer="zeros", **kwargs):
        super().__init__(layer, **kwargs)
        self.normalization = StepwiseBatchNormalization(
            num_steps,
            beta_initializer=beta_initializer,
            name="normalization",
            dtype=self.dtype_policy,
        )
        self.num_steps = self.normalization.num_steps
        self.beta_initializer = self.normalization.beta_initializer

    def build(self, inputs_shape, step_shape=None):
        if not self.layer.built:
            self.layer.build(inputs_shape)
        self.normalization.build(self.compute_output_shape(inputs_shape))
        self.built = True

    def call(self, inputs, step, training=False):
        outputs = self.layer(inputs)
        return ops.relu(
            self.normalization(outputs, step=step, training=training)
        )

    def compute_output_shape(self, inputs_shape, step_shape=None):
        return self.layer.compute_output_shape(inputs_shape)

    def get_config(self):
        config = super().get_config()
        config.update(
            num_steps=self.num_steps,
            beta_initializer=keras.initializers.serialize(
                self.beta_initializer
            ),
        )
        return config
