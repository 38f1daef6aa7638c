"""Batch normalisation with statistics of its own for each glimpse.

Letters in shapes: B batch, C channels, T steps that have statistics.
"""

import numbers

import keras
from keras import ops

from keras_edram.checks import check_integer, check_number, check_shapes
from keras_edram.layers.image_pyramid import take_rows


@keras.saving.register_keras_serializable(package="keras_edram")
class StepwiseBatchNormalization(keras.layers.Layer):
    """Batch normalisation whose statistics are kept apart for each step.

    A recurrent model sees other values at its first glimpse than at its last,
    so one mean for all would fit none. Scale γ and offset β are shared:

        y = γ (x - μ_t) / sqrt(σ²_t + ε) + β

    In training `μ_t` and `σ²_t` come from the batch, and their moving averages
    for step t are updated; at inference, and in a layer that is not
    `trainable`, the moving averages are used. Steps beyond the last one known
    use its statistics, so a model can look more often than it did in training.

    Args:
        num_steps: Integer, steps that have statistics of their own.
        momentum: Float in [0, 1], of the moving averages. Defaults to 0.99.
        epsilon: Float above 0, ε. Defaults to 1e-3.
        beta_initializer: Keras initializer of β. Defaults to `"zeros"`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Attributes:
        keeps_statistics: Boolean, whether it normalises in training as at
            inference, by the moving averages, which stay. Defaults to `False`.

    Call arguments:
        inputs: Tensor of shape `(B, ..., C)`; the last axis is normalised.
        step: Integer or scalar integer tensor, the step t from 0; at
            inference also `(B,)`, a step of its own for each input.
        training: Boolean, whether to use and learn from the batch.

    Returns:
        Tensor of the shape of `inputs`.

    Raises:
        ValueError: If `num_steps` is not a positive integer, `momentum` not in
            [0, 1] or `epsilon` not above 0; or steps are not one from 0 for
            all inputs, or at inference one for each.

    Example:

    >>> normalize = StepwiseBatchNormalization(num_steps=6)
    >>> normalize(keras.ops.ones((8, 26, 26, 64)), step=0).shape
    (8, 26, 26, 64)

    Reference:
        - Ablavatski et al., 2017, section 4: "to estimate the statistics
          independently for each iteration".
        - Cooijmans et al., "Recurrent Batch Normalization", 2016.
    """

    def __init__(
        self,
        num_steps,
        *,
        momentum=0.99,
        epsilon=1e-3,
        beta_initializer="zeros",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_steps = check_integer(num_steps, "num_steps")
        self.momentum = check_number(momentum, "momentum", 0, 1)
        self.epsilon = check_number(epsilon, "epsilon", above=True)
        self.beta_initializer = keras.initializers.get(beta_initializer)
        self.keeps_statistics = False

    def build(self, inputs_shape, step_shape=None):
        channels = inputs_shape[-1]
        self.input_spec = keras.layers.InputSpec(
            min_ndim=2, axes={-1: channels}
        )
        self.gamma = self.add_weight(
            name="gamma", shape=(channels,), initializer="ones"
        )
        self.beta = self.add_weight(
            name="beta", shape=(channels,), initializer=self.beta_initializer
        )
        # float32 under every precision policy, as in Keras' own layer.
        # On several devices each sees a part of the batch: the mean of all.
        statistics = dict(
            shape=(self.num_steps, channels),
            trainable=False,
            dtype="float32",
            autocast=False,
            aggregation="mean",
        )
        self.moving_mean = self.add_weight(
            name="moving_mean", initializer="zeros", **statistics
        )
        self.moving_variance = self.add_weight(
            name="moving_variance", initializer="ones", **statistics
        )

    def call(self, inputs, step, training=False):
        inputs = ops.cast(inputs, self.compute_dtype)
        training = training and self.trainable and not self.keeps_statistics
        if isinstance(step, numbers.Number):
            step = check_integer(step, "step", 0)
        step = ops.cast(step, "int32")
        if len(step.shape) > (0 if training else 1):
            raise ValueError(
                "`step` must be one for all inputs, or at inference one for "
                f"each. Received: step of shape {tuple(step.shape)}, "
                f"training={training}"
            )
        if len(step.shape):
            check_shapes("inputs (B, ...), step (B)", inputs, step)
        gamma = ops.cast(self.gamma, "float32")
        beta = ops.cast(self.beta, "float32")
        if training:
            outputs, mean, variance = _normalization_by_batch(
                inputs.dtype, self.epsilon
            )(inputs, gamma, beta, self.epsilon)
            self._update(self.moving_mean, mean, step)
            self._update(self.moving_variance, variance, step)
            return outputs
        # Of all steps first: an export keeps these two tables, and an
        # inference does not compute them.
        scale = gamma * ops.rsqrt(self.moving_variance + self.epsilon)
        offset = beta - self.moving_mean * scale  # (T, C)
        known = ops.minimum(step, self.num_steps - 1)
        scale, offset = (
            take_rows(table, known) for table in (scale, offset)
        )  # each (C,), or (B, C)
        if len(scale.shape) == 2:  # (B, C): the axes between are missing
            between = [1] * (len(inputs.shape) - 2)
            shape = (-1, *between, inputs.shape[-1])
            scale, offset = (
                ops.reshape(table, shape) for table in (scale, offset)
            )  # each (B, 1, ..., C)
        return _scale(inputs, scale, offset)

    def _update(self, moving, value, step):
        steps = ops.arange(self.num_steps, dtype="int32")
        is_step = steps[:, None] == step  # (T, 1)
        change = (1.0 - self.momentum) * (value - moving)  # (T, C)
        moving.assign_add(ops.where(is_step, change, 0.0))

    def compute_output_shape(self, inputs_shape, step_shape=None):
        return tuple(inputs_shape)

    def get_config(self):
        config = super().get_config()
        config.update(
            num_steps=self.num_steps,
            momentum=self.momentum,
            epsilon=self.epsilon,
            beta_initializer=keras.initializers.serialize(
                self.beta_initializer
            ),
        )
        return config


# The least that NVIDIA's kernel takes, as TensorFlow has it.
LEAST_FUSED_EPSILON = 1.001e-5
FUSED_DTYPES = ("float32", "bfloat16", "float16")


def keep_statistics(model, keeps):
    """Lets a model's normalisations keep their statistics, or learn them.

    Args:
        model: Keras model.
        keeps: Boolean, `keeps_statistics` of each of its layers.

    Example:

    >>> model = EDRAM()
    >>> keep_statistics(model, True)
    """
    changed = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, StepwiseBatchNormalization)
        and layer.keeps_statistics != keeps
    ]
    for layer in changed:
        layer.keeps_statistics = keeps
    if changed and model.compiled:  # a step that was traced does as before
        model.make_train_function(force=True)


def _normalization_by_batch(dtype, epsilon):
    """The function that normalises a batch: one kernel where there is one."""
    is_fused = (
        keras.config.backend() == "tensorflow"
        and keras.backend.standardize_dtype(dtype) in FUSED_DTYPES
        and epsilon >= LEAST_FUSED_EPSILON
    )
    return _fused if is_fused else _portable


def _fused(inputs, gamma, beta, epsilon):
    """`_portable` by TensorFlow's own kernel, which has its own gradient.

    It reads the data less often, and takes a rectifier that follows with it.
    """
    import tensorflow as tf  # Keras has no operation that leads to it

    channels = inputs.shape[-1]
    maps = inputs
    if len(inputs.shape) != 4:
        maps = ops.reshape(inputs, (-1, 1, 1, channels))  # (B ..., 1, 1, C)
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=maps, scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon
    )
    # The kernel divides by n - 1, which is no variance of this batch.
    n = ops.cast(ops.size(inputs) / channels, "float32")
    variance = variance * (n - 1.0) / n
    if len(inputs.shape) != 4:
        outputs = ops.reshape(outputs, ops.shape(inputs))  # (B, ..., C)
    return outputs, mean, variance


def _portable(inputs, gamma, beta, epsilon):
    """`γ (x - μ) / sqrt(σ² + ε) + β` of the batch, and its μ and σ²."""
    # `_normalize_batch` has the gradient through the statistics.
    values = ops.stop_gradient(ops.cast(inputs, "float32"))
    axes = list(range(len(inputs.shape) - 1))
    mean, variance = ops.moments(values, axes=axes)
    sharpness = ops.rsqrt(variance + epsilon)  # 1 / deviation
    outputs = _normalize_batch(inputs, gamma, beta, mean, sharpness)
    return outputs, mean, variance


def _scale(inputs, scale, offset):
    """One multiplication and one addition, in the dtype of the inputs."""
    dtype = inputs.dtype
    return inputs * ops.cast(scale, dtype) + ops.cast(offset, dtype)


@ops.custom_gradient
def _normalize_batch(inputs, gamma, beta, mean, sharpness):
    """`γ (x - μ) / sqrt(σ² + ε) + β`, of the n inputs of a channel themselves.

    The gradient through them, with x̂ = (x - μ) / sqrt(σ² + ε), is

        dβ = Σ dy    dγ = Σ dy x̂    dx = γ / sqrt(σ² + ε) (dy - dβ/n - x̂ dγ/n)

    which takes fewer passes over the data than automatic differentiation.
    """

    def gradient(*args, upstream=None):
        if upstream is None:
            (upstream,) = args
        dtype = inputs.dtype
        x, dy = ops.cast(inputs, "float32"), ops.cast(upstream, "float32")
        axes = list(range(len(x.shape) - 1))
        n = ops.cast(ops.size(x) / ops.size(gamma), "float32")
        d_beta = ops.sum(dy, axis=axes)
        d_gamma = sharpness * (ops.sum(dy * x, axis=axes) - mean * d_beta)
        # dx = scale dy + slope x + offset
        scale = gamma * sharpness
        slope = -scale * sharpness * d_gamma / n
        offset = -scale * d_beta / n - slope * mean
        d_inputs = ops.cast(dy * scale + (x * slope + offset), dtype)
        # The statistics are no inputs of their own.
        none = ops.zeros_like(mean)
        return d_inputs, d_gamma, d_beta, none, none

    scale = gamma * sharpness
    return _scale(inputs, scale, beta - mean * scale), gradient
