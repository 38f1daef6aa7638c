"""One block of the models: a layer, normalisation by step, a rectifier."""

from keras import layers, ops

from keras_edram.layers.stepwise_batch_normalization import (
    StepwiseBatchNormalization,
)


class Rectified(layers.Layer):
    """relu(bn(layer(inputs))), the batch normalisation kept by step."""

    def __init__(self, layer, num_steps, beta_initializer="zeros", **kwargs):
        super().__init__(**kwargs)
        self.layer = layer
        self.normalization = StepwiseBatchNormalization(
            num_steps,
            beta_initializer=beta_initializer,
            name="normalization",
            dtype=self.dtype_policy,
        )

    def build(self, inputs_shape, step_shape=None):
        self.layer.build(inputs_shape)
        self.normalization.build(self.compute_output_shape(inputs_shape))

    def call(self, inputs, step, training=False):
        outputs = self.layer(inputs)
        return ops.relu(
            self.normalization(outputs, step=step, training=training)
        )

    def compute_output_shape(self, inputs_shape, step_shape=None):
        return self.layer.compute_output_shape(inputs_shape)
