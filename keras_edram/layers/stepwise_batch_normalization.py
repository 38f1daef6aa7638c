"""Batch normalisation with statistics of its own for each glimpse."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_edram")
class StepwiseBatchNormalization(keras.layers.Layer):
    """Batch normalisation whose statistics are kept apart for each step.

    A recurrent model sees other values at its first glimpse than at its last,
    so one mean for all would fit none. Scale γ and offset β are shared:

        y = γ (x - μ_t) / sqrt(σ²_t + ε) + β

    In training `μ_t` and `σ²_t` come from the batch, and their moving averages
    for step t are updated; at inference the moving averages are used. Steps
    beyond the last one known use its statistics, so a model can look more
    often than it did in training.

    Args:
        num_steps: Integer, steps that have statistics of their own.
        momentum: Float in [0, 1], of the moving averages. Defaults to 0.99.
        epsilon: Float, ε above. Defaults to 1e-3.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor of shape `(B, ..., C)`; the last axis is normalised.
        step: Integer or scalar integer tensor, the step t from 0.
        training: Boolean, whether to use and learn from the batch.

    Returns:
        Tensor of the shape of `inputs`.

    Raises:
        ValueError: If `num_steps` is not a positive integer.

    Example:

    >>> normalize = StepwiseBatchNormalization(num_steps=6)
    >>> normalize(keras.ops.ones((8, 26, 26, 64)), step=0).shape
    (8, 26, 26, 64)

    Reference:
        - Ablavatski et al., 2017, section 4: "to estimate the statistics
          independently for each iteration".
        - Cooijmans et al., "Recurrent Batch Normalization", 2016.
    """

    def __init__(self, num_steps, *, momentum=0.99, epsilon=1e-3, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(num_steps, int) or num_steps < 1:
            raise ValueError(
                "`num_steps` must be a positive integer. "
                f"Received: num_steps={num_steps!r}"
            )
        self.num_steps = num_steps
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, inputs_shape, step_shape=None):
        channels = inputs_shape[-1]
        self.gamma = self.add_weight(
            name="gamma", shape=(channels,), initializer="ones"
        )
        self.beta = self.add_weight(
            name="beta", shape=(channels,), initializer="zeros"
        )
        # float32 under every precision policy, as in Keras' own layer.
        statistics = dict(
            shape=(self.num_steps, channels), trainable=False, autocast=False
        )
        self.moving_mean = self.add_weight(
            name="moving_mean", initializer="zeros", **statistics
        )
        self.moving_variance = self.add_weight(
            name="moving_variance", initializer="ones", **statistics
        )

    def call(self, inputs, step, training=False):
        inputs = ops.cast(inputs, self.compute_dtype)
        if training:
            axes = list(range(len(inputs.shape) - 1))
            mean, variance = ops.moments(ops.cast(inputs, "float32"), axes=axes)
            self._update(self.moving_mean, mean, step)
            self._update(self.moving_variance, variance, step)
        else:
            known = ops.minimum(step, self.num_steps - 1)
            mean = ops.take(self.moving_mean, known, axis=0)
            variance = ops.take(self.moving_variance, known, axis=0)
        # One multiplication and one addition for each value: the rest is
        # done on vectors of C numbers.
        scale = ops.cast(self.gamma, "float32") * ops.rsqrt(
            variance + self.epsilon
        )
        offset = ops.cast(self.beta, "float32") - mean * scale
        dtype = self.compute_dtype
        return inputs * ops.cast(scale, dtype) + ops.cast(offset, dtype)

    def _update(self, moving, value, step):
        is_step = ops.arange(self.num_steps)[:, None] == step  # (steps, 1)
        change = (1.0 - self.momentum) * (value - moving)  # (steps, C)
        moving.assign_add(ops.where(is_step, change, 0.0))

    def compute_output_shape(self, inputs_shape, step_shape=None):
        return tuple(inputs_shape)

    def get_config(self):
        config = super().get_config()
        config.update(
            num_steps=self.num_steps,
            momentum=self.momentum,
            epsilon=self.epsilon,
        )
        return config
