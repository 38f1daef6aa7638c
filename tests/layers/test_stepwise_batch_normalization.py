"""Batch normalisation with statistics of each step, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_edram.layers import StepwiseBatchNormalization

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
