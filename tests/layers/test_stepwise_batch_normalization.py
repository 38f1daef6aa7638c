"""Batch normalisation with statistics of each step, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_edram.layers import (
    StepwiseBatchNormalization,
    stepwise_batch_normalization,
)

MOMENTUM, EPSILON = 0.75, 0.01
STEPS = 3


def make_layer(channels=4):
    layer = StepwiseBatchNormalization(
        STEPS, momentum=MOMENTUM, epsilon=EPSILON
    )
    layer.build((None, channels))
    generator = np.random.default_rng(1)
    layer.gamma.assign(generator.uniform(0.5, 2, channels))
    layer.beta.assign(generator.normal(size=channels))
    layer.moving_mean.assign(generator.normal(size=(STEPS, channels)))
    layer.moving_variance.assign(generator.uniform(1, 3, (STEPS, channels)))
    return layer


def numpy_of(weight):
    return ops.convert_to_numpy(weight).copy()


def normalize(layer, inputs, mean, variance):
    """γ (x - μ) / sqrt(σ² + ε) + β"""
    gamma, beta = numpy_of(layer.gamma), numpy_of(layer.beta)
    return gamma * (inputs - mean) / np.sqrt(variance + EPSILON) + beta


@pytest.mark.parametrize("shape", [(6, 4), (5, 2, 3, 4)])
def test_training_uses_the_statistics_of_the_batch(shape):
    layer = make_layer()
    inputs = np.random.normal(3, 2, shape).astype("float32")
    rows = inputs.reshape(-1, 4)
    expected = normalize(layer, inputs, rows.mean(0), rows.var(0))
    outputs = layer(inputs, step=1, training=True)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 4), (5, 2, 3, 4)])
@pytest.mark.parametrize("step", range(STEPS))
def test_inference_uses_the_moving_averages_of_the_step(step, shape):
    layer = make_layer()
    inputs = np.random.normal(3, 2, shape).astype("float32")
    mean = numpy_of(layer.moving_mean)[step]
    variance = numpy_of(layer.moving_variance)[step]
    outputs = layer(inputs, step=step)
    np.testing.assert_allclose(
        outputs, normalize(layer, inputs, mean, variance), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("shape", [(3, 4), (3, 2, 5, 4)])
def test_each_input_can_have_a_step_of_its_own(shape):
    layer = make_layer()
    inputs = np.random.normal(3, 2, shape).astype("float32")
    steps = np.array([2, 0, 7], "int32")  # 7 is as the last one known
    outputs = layer(inputs, step=steps)
    for i, step in enumerate(steps):
        alone = layer(inputs[i : i + 1], step=int(step))
        np.testing.assert_allclose(outputs[i : i + 1], alone, rtol=1e-5)


def test_inference_learns_nothing():
    layer = make_layer()
    before = [numpy_of(weight) for weight in layer.weights]
    layer(np.random.normal(size=(6, 4)), step=0)
    for weight, value in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_training_moves_the_averages_of_its_step_alone():
    layer = make_layer()
    inputs = np.random.normal(3, 2, (6, 4)).astype("float32")
    mean = numpy_of(layer.moving_mean)
    variance = numpy_of(layer.moving_variance)
    layer(inputs, step=1, training=True)
    mean[1] = MOMENTUM * mean[1] + (1 - MOMENTUM) * inputs.mean(0)
    variance[1] = MOMENTUM * variance[1] + (1 - MOMENTUM) * inputs.var(0)
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-5)


def test_scale_and_offset_are_shared_by_the_steps():
    layer = make_layer()
    assert layer.gamma.shape == layer.beta.shape == (4,)
    trainable = [weight.path for weight in layer.trainable_weights]
    assert trainable == [layer.gamma.path, layer.beta.path]
    inputs = np.random.normal(size=(6, 4)).astype("float32")
    first = layer(inputs, step=0, training=True)
    last = layer(inputs, step=STEPS - 1, training=True)
    np.testing.assert_array_equal(first, last)


@pytest.mark.parametrize("step", [STEPS, STEPS + 4])
def test_steps_beyond_the_last_use_its_statistics(step):
    layer = make_layer()
    inputs = np.random.normal(size=(6, 4)).astype("float32")
    last = layer(inputs, step=STEPS - 1)
    np.testing.assert_array_equal(layer(inputs, step=step), last)
    assert not np.allclose(layer(inputs, step=0), last)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("step", [0, 2, 5])
def test_a_step_may_be_a_tensor(step, training):
    inputs = np.random.normal(size=(6, 4)).astype("float32")
    by_integer, by_tensor = make_layer(), make_layer()
    expected = by_integer(inputs, step=step, training=training)
    call = tf.function(lambda t: by_tensor(inputs, step=t, training=training))
    np.testing.assert_allclose(
        call(tf.constant(step)), expected, rtol=1e-5, atol=1e-6
    )
    for ours, theirs in zip(by_tensor.weights, by_integer.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_statistics_are_float32_in_mixed_precision():
    layer = StepwiseBatchNormalization(STEPS, dtype="mixed_float16")
    # The sum of squares of these is beyond what float16 can hold.
    inputs = np.random.normal(300, 5, (64, 4)).astype("float16")
    outputs = layer(inputs, step=0, training=True)
    assert outputs.dtype == "float16"
    assert {weight.dtype for weight in layer.weights} == {"float32"}
    # Momentum 0.99: a hundredth of the batch's mean.
    np.testing.assert_allclose(
        layer.moving_mean[0], inputs.astype("float64").mean(0) / 100, rtol=1e-4
    )
    # float16 has ten bits: 300 / 5 standard deviations, times 2**-11.
    deviation = ops.cast(outputs, "float32") - (
        (inputs - inputs.astype("float64").mean(0))
        / inputs.astype("float64").std(0)
    )
    assert np.abs(deviation).max() < 0.1


def counted(*shape):
    """Counted values around a mean of their own in each channel."""
    values = np.arange(np.prod(shape), dtype="float32").reshape(shape)
    return np.sin(values) * 3 + np.arange(shape[-1])


def learn(dtype, inputs, wrap=lambda step: step):
    """What a training step gives and learns: by name, in float32."""
    layer = StepwiseBatchNormalization(
        STEPS, momentum=MOMENTUM, epsilon=EPSILON, dtype=dtype
    )
    layer.build(inputs.shape)
    channels = inputs.shape[-1]
    layer.gamma.assign(np.linspace(0.5, 2, channels))
    layer.beta.assign(np.linspace(-1, 1, channels))
    inputs = ops.cast(inputs, layer.compute_dtype)
    upstream = ops.cast(counted(*inputs.shape)[::-1], inputs.dtype)

    def step():
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, step=1, training=True)
        weights = layer.gamma.value, layer.beta.value
        return outputs, *tape.gradient(outputs, (inputs, *weights), upstream)

    names = "outputs", "d_inputs", "d_gamma", "d_beta"
    found = dict(zip(names, wrap(step)(), strict=True))
    assert found["outputs"].dtype == inputs.dtype
    found |= {"mean": layer.moving_mean, "variance": layer.moving_variance}
    return {
        name: ops.convert_to_numpy(ops.cast(value, "float32"))
        for name, value in found.items()
    }


def kinds(function, *inputs):
    """The kinds of the operations in a function's graph."""
    graph = tf.function(function).get_concrete_function(*inputs).graph
    return {operation.type for operation in graph.get_operations()}


@pytest.mark.parametrize(
    "shape",
    [(7, 3), (5, 4, 3), (4, 3, 5, 2), (2, 3, 1, 2, 3), (1, 3)],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_the_fused_kernel_does_what_the_portable_form_does(
    shape, dtype, monkeypatch
):
    inputs = counted(*shape)
    fused = learn(dtype, inputs)
    monkeypatch.setattr(stepwise_batch_normalization, "FUSED_DTYPES", ())
    portable = learn(dtype, inputs)
    # bfloat16 has eight bits, and the portable form rounds to it twice.
    rounding = 0.0 if dtype == "float32" else 2**-6
    for name, tolerance in dict(
        outputs=1e-5, d_inputs=1e-4, d_gamma=1e-4, d_beta=1e-4
    ).items():
        scale = np.abs(portable[name]).max()
        np.testing.assert_allclose(
            fused[name],
            portable[name],
            atol=scale * max(rounding, tolerance) + 1e-6,
            err_msg=name,
        )
    # In float32 under every policy.
    for name in ("mean", "variance"):
        np.testing.assert_allclose(
            fused[name], portable[name], rtol=1e-5, atol=1e-6, err_msg=name
        )


def test_training_takes_the_fused_kernel_and_inference_does_not(monkeypatch):
    """An export would have to know it."""
    layer, inputs = make_layer(), tf.ones((2, 3, 5, 4))

    def train(inputs):
        return layer(inputs, step=1, training=True)

    assert "FusedBatchNormV3" in kinds(train, inputs)
    assert "FusedBatchNormV3" not in kinds(lambda x: layer(x, step=1), inputs)
    monkeypatch.setattr(stepwise_batch_normalization, "FUSED_DTYPES", ())
    assert "FusedBatchNormV3" not in kinds(train, inputs)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_the_fused_kernel_compiles_by_xla(dtype):
    inputs = counted(4, 3, 5, 2)
    expected = learn(dtype, inputs)
    found = learn(dtype, inputs, tf.function(jit_compile=True))
    for name, value in expected.items():
        atol = np.abs(value).max() * (1e-5 if dtype == "float32" else 2**-7)
        np.testing.assert_allclose(found[name], value, atol=atol, err_msg=name)


@pytest.mark.parametrize(
    "dtype, epsilon", [("float64", 0.01), ("float32", 1e-6)]
)
def test_what_the_fused_kernel_cannot_do_is_portable(dtype, epsilon):
    way = stepwise_batch_normalization._normalization_by_batch
    assert way("float32", 0.01) is stepwise_batch_normalization._fused
    assert way(dtype, epsilon) is stepwise_batch_normalization._portable


@pytest.mark.parametrize("num_steps", [0, -1, 2.0, None, "6"])
def test_a_number_of_steps_that_is_none_is_refused(num_steps):
    with pytest.raises(ValueError, match="Received: num_steps="):
        StepwiseBatchNormalization(num_steps)


@pytest.mark.parametrize(
    "changes",
    [
        dict(momentum=-0.1),
        dict(momentum=1.1),
        dict(momentum=np.nan),
        dict(momentum="0.9"),
        dict(epsilon=0),
        dict(epsilon=-1e-3),
        dict(epsilon=np.inf),
        dict(epsilon=None),
    ],
    ids=str,
)
def test_numbers_out_of_range_are_refused(changes):
    (name,) = changes
    with pytest.raises(ValueError, match=f"finite number.*Received: {name}="):
        StepwiseBatchNormalization(STEPS, **changes)


@pytest.mark.parametrize("step", [-1, 1.0, True])
def test_a_step_that_is_none_is_refused(step):
    with pytest.raises(ValueError, match="Received: step="):
        make_layer()(np.ones((2, 4), "float32"), step=step)


@pytest.mark.parametrize("number", [1, 3])
def test_steps_of_another_batch_are_refused(number):
    with pytest.raises(ValueError, match="Received: inputs of shape"):
        make_layer()(np.ones((2, 4), "float32"), step=np.zeros(number, "int32"))
