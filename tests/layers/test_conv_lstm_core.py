"""One step of a convolutional LSTM, against NumPy and Keras' own layer."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_edram.layers import ConvLSTMCore

B, T, H, W, C, F = 2, 3, 5, 4, 3, 2
NON_DEFAULT = dict(
    filters=F,
    kernel_size=(3, 2),
    peepholes=True,
    kernel_initializer=keras.initializers.RandomNormal(stddev=0.3, seed=1),
    recurrent_initializer="he_uniform",
    bias_initializer=keras.initializers.Constant(0.5),
    unit_forget_bias=False,
)
# Values are below 1: a few roundings of float32.
CLOSE = dict(rtol=0, atol=1e-6)
INITIALIZERS = [name for name in NON_DEFAULT if "initializer" in name]


def counted(*shape):
    """1, 2, 3, ..., small enough that no gate is shut."""
    size = np.prod(shape)
    return (np.arange(1, size + 1).reshape(shape) / size).astype("float32")


def make_core(kernel_size=3, peepholes=False, **kwargs):
    core = ConvLSTMCore(F, kernel_size, peepholes=peepholes, **kwargs)
    core.build((None, H, W, C))
    generator = np.random.default_rng(1)
    for weight in core.weights:
        weight.assign(generator.normal(scale=0.5, size=weight.shape))
    return core


def make_states():
    """A hidden state and a cell that are not alike."""
    return [counted(B, H, W, F), 0.5 - 2 * counted(B, H, W, F)]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def convolve(maps, kernel):
    """Zeros around, the odd one below and to the right; then a loop."""
    height, width = kernel.shape[:2]
    before = (height - 1) // 2, (width - 1) // 2
    padded = np.zeros((B, H + height - 1, W + width - 1, maps.shape[-1]))
    padded[:, before[0] : before[0] + H, before[1] : before[1] + W] = maps
    result = np.zeros((B, H, W, kernel.shape[-1]))
    for y in range(H):
        for x in range(W):
            for j in range(height):
                for i in range(width):
                    result[:, y, x] += padded[:, y + j, x + i] @ kernel[j, i]
    return result


def numpy_step(core, inputs, hidden, cell):
    """Shi et al., 2015, Eq. 3, with the weights of a core."""
    w_x, w_h, b, *w_c = core.get_weights()
    w_ci, w_cf, w_co = w_c[0] if w_c else (0, 0, 0)
    w_xi, w_xf, w_xc, w_xo = np.split(w_x, 4, axis=-1)
    w_hi, w_hf, w_hc, w_ho = np.split(w_h, 4, axis=-1)
    b_i, b_f, b_c, b_o = np.split(b, 4)
    i = sigmoid(
        convolve(inputs, w_xi) + convolve(hidden, w_hi) + w_ci * cell + b_i
    )
    f = sigmoid(
        convolve(inputs, w_xf) + convolve(hidden, w_hf) + w_cf * cell + b_f
    )
    new = np.tanh(convolve(inputs, w_xc) + convolve(hidden, w_hc) + b_c)
    cell = f * cell + i * new
    o = sigmoid(
        convolve(inputs, w_xo) + convolve(hidden, w_ho) + w_co * cell + b_o
    )
    return o * np.tanh(cell), cell


def unroll(core, sequences, states):
    """A loop over time: all outputs, and the last states."""
    outputs = []
    for t in range(sequences.shape[1]):
        output, states = core(sequences[:, t], states)
        outputs.append(output)
    return np.stack(outputs, axis=1), states


@pytest.mark.parametrize("peepholes", [False, True])
@pytest.mark.parametrize("kernel_size", [1, 2, 3, (2, 3), (3, 4)])
def test_a_step_is_equation_3(kernel_size, peepholes):
    core = make_core(kernel_size, peepholes)
    inputs, (hidden, cell) = counted(B, H, W, C), make_states()
    output, states = core(inputs, [hidden, cell])
    expected_hidden, expected_cell = numpy_step(core, inputs, hidden, cell)
    np.testing.assert_allclose(output, expected_hidden, **CLOSE)
    np.testing.assert_allclose(states[0], expected_hidden, **CLOSE)
    np.testing.assert_allclose(states[1], expected_cell, **CLOSE)


@pytest.mark.parametrize("peepholes", [False, True])
def test_steps_carry_both_states(peepholes):
    core = make_core((3, 2), peepholes)
    sequences, (hidden, cell) = counted(B, T, H, W, C), make_states()
    outputs, states = unroll(core, sequences, (hidden, cell))
    for t in range(T):
        hidden, cell = numpy_step(core, sequences[:, t], hidden, cell)
        np.testing.assert_allclose(outputs[:, t], hidden, **CLOSE)
    np.testing.assert_allclose(states[0], hidden, **CLOSE)
    np.testing.assert_allclose(states[1], cell, **CLOSE)


@pytest.mark.parametrize("peepholes", [False, True])
def test_hidden_and_cell_are_not_exchangeable(peepholes):
    core = make_core(peepholes=peepholes)
    inputs, (hidden, cell) = counted(B, H, W, C), make_states()
    output, (new_hidden, new_cell) = core(inputs, [hidden, cell])
    swapped, _ = core(inputs, [cell, hidden])
    # Far beyond what rounding explains.
    assert not np.allclose(swapped, output, atol=0.01)
    assert not np.allclose(new_hidden, new_cell, atol=0.01)


@pytest.mark.parametrize("kernel_size", [2, 3, (3, 2)])
def test_it_agrees_with_the_layer_of_keras(kernel_size):
    core = make_core(kernel_size)
    theirs = keras.layers.ConvLSTM2D(
        F, kernel_size, padding="same", return_sequences=True, return_state=True
    )
    sequences = counted(B, T, H, W, C)
    theirs.build(sequences.shape)
    theirs.set_weights(core.get_weights())
    expected, *expected_states = theirs(sequences)
    initial = core.get_initial_state(B)
    ours = keras.layers.RNN(core, return_sequences=True, return_state=True)
    by_layer, *states = ours(sequences)
    by_loop, loop_states = unroll(core, sequences, initial)
    np.testing.assert_allclose(by_layer, expected, **CLOSE)
    np.testing.assert_allclose(by_loop, expected, **CLOSE)
    for k in range(2):
        np.testing.assert_allclose(states[k], expected_states[k], **CLOSE)
        np.testing.assert_allclose(loop_states[k], expected_states[k], **CLOSE)


@pytest.mark.parametrize("peepholes", [False, True])
def test_the_gradient_reaches_every_weight_from_the_start(peepholes):
    core = ConvLSTMCore(F, 3, peepholes=peepholes)
    rnn = keras.layers.RNN(core)
    with tf.GradientTape() as tape:
        outputs = rnn(counted(B, T, H, W, C))
        loss = tf.reduce_sum(outputs * counted(*outputs.shape))
    gradients = tape.gradient(loss, core.trainable_variables)
    # Kernel, recurrent kernel, bias; and peepholes to i, f and o.
    assert len(gradients) == 3 + peepholes
    for gradient in gradients:
        assert np.all(gradient)
    if peepholes:
        assert gradients[3].shape == (3, H, W, F)
        assert not np.any(core.peephole_kernel)


@pytest.mark.parametrize(
    "bias_initializer, unit_forget_bias, expected",
    [
        ("zeros", True, [0, 1, 0, 0]),
        ("zeros", False, [0, 0, 0, 0]),
        (keras.initializers.Constant(0.5), True, [0.5, 1, 0.5, 0.5]),
        (keras.initializers.Constant(0.5), False, [0.5, 0.5, 0.5, 0.5]),
    ],
)
def test_the_bias_of_the_forget_gate(
    bias_initializer, unit_forget_bias, expected
):
    core = ConvLSTMCore(
        F,
        3,
        bias_initializer=bias_initializer,
        unit_forget_bias=unit_forget_bias,
    )
    core.build((None, H, W, C))
    np.testing.assert_array_equal(core.bias, np.repeat(expected, F))


def test_the_object_comes_back_from_its_configuration():
    core = ConvLSTMCore(**NON_DEFAULT, name="some_name")
    config = json.loads(json.dumps(core.get_config()))
    for revived in (
        ConvLSTMCore.from_config(config),
        keras.saving.deserialize_keras_object(
            keras.saving.serialize_keras_object(core)
        ),
    ):
        assert revived.name == "some_name"
        assert revived.get_config() == core.get_config()
        for name in NON_DEFAULT.keys() - set(INITIALIZERS):
            assert getattr(revived, name) == NON_DEFAULT[name]
        for name in INITIALIZERS:
            expected = keras.initializers.get(NON_DEFAULT[name])
            found = getattr(revived, name)
            assert type(found) is type(expected)
            assert found.get_config() == expected.get_config()


def test_weights_start_as_their_initializers_say():
    core = ConvLSTMCore(**NON_DEFAULT)
    core.build((None, H, W, C))
    normal = keras.initializers.RandomNormal(stddev=0.3, seed=1)
    np.testing.assert_array_equal(core.kernel, normal((3, 2, C, 4 * F)))
    # He's uniform distribution ends at sqrt(6 / fan in), fan in 3 * 2 * F.
    recurrent = np.abs(core.recurrent_kernel)
    assert 0.9 * np.sqrt(0.5) < recurrent.max() <= np.sqrt(0.5)


@keras.saving.register_keras_serializable(package="test_conv_lstm_core")
class SequenceModel(keras.Model):
    """A core unrolled by Keras inside of a model."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.rnn = keras.layers.RNN(
            ConvLSTMCore(F, 3, peepholes=True), return_sequences=True
        )
        self.classify = keras.layers.Dense(1)

    def call(self, sequences):
        return self.classify(self.rnn(sequences))


def test_a_model_with_it_is_trained_saved_and_exported(tmp_path):
    model = SequenceModel()
    model.compile("adam", "mse")
    sequences, truth = counted(4, T, H, W, C), counted(4, T, H, W, 1)
    untrained = model(sequences)
    before = model.get_weights()
    # Three and one: the size of the batch is free.
    model.fit(sequences, truth, batch_size=3, verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        assert not np.allclose(old, new)
    expected = model(sequences)
    assert expected.shape == truth.shape
    assert not np.allclose(expected, untrained)

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(sequences), expected, **CLOSE)
    model.export(tmp_path / "export", verbose=False)
    served = tf.saved_model.load(tmp_path / "export")
    for size in (1, 4):
        np.testing.assert_allclose(
            served.serve(sequences[:size]), expected[:size], **CLOSE
        )


def test_a_functional_model_of_one_step(tmp_path):
    core = make_core(peepholes=True)
    shapes = [(H, W, C), (H, W, F), (H, W, F)]
    inputs, *states = (keras.Input(shape) for shape in shapes)
    output, new_states = core(inputs, states)
    for symbol in (output, *new_states):
        assert symbol.shape == (None, H, W, F)
    model = keras.Model([inputs, *states], [output, *new_states])
    values = [counted(B, H, W, C), *make_states()]
    expected, expected_states = core(values[0], values[1:])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for found, value in zip(
        loaded(values), [expected, *expected_states], strict=True
    ):
        np.testing.assert_allclose(found, value, **CLOSE)


def test_keras_refuses_to_unroll_symbols_rather_than_invent_a_shape():
    rnn = keras.layers.RNN(ConvLSTMCore(F, 3))
    with pytest.raises(ValueError, match="output_size must be an integer"):
        rnn.compute_output_shape((None, T, H, W, C))
    with pytest.raises(ValueError, match="output_size must be an integer"):
        rnn(keras.Input((T, H, W, C)))


def test_sizes_of_the_state():
    core = ConvLSTMCore(F, 3)
    assert core.state_size == [F, F]
    assert core.output_size == (None, None, F)
    with pytest.raises(ValueError, match="build.*Received: built=False"):
        core.get_initial_state(B)
    core.build((None, H, W, C))
    assert core.output_size == (H, W, F)
    states = core.get_initial_state(batch_size=B)
    assert len(states) == 2
    for state in states:
        assert state.dtype == "float32"
        np.testing.assert_array_equal(state, np.zeros((B, H, W, F)))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    full = make_core(peepholes=True)
    mixed = make_core(peepholes=True, dtype=policy)
    inputs, states = counted(B, H, W, C), make_states()
    output, new_states = mixed(inputs, states)
    dtype = policy.removeprefix("mixed_")
    for values in (output, *new_states, *mixed.get_initial_state(B)):
        assert values.dtype.name == dtype
    assert {weight.dtype for weight in mixed.weights} == {"float32"}
    expected, _ = full(inputs, states)
    # bfloat16 has seven bits: 2**-8 at each of the products.
    np.testing.assert_allclose(
        tf.cast(output, "float32"), expected, rtol=0.05, atol=0.05
    )
    rnn = keras.layers.RNN(mixed, dtype=policy)
    assert rnn(counted(B, T, H, W, C)).dtype.name == dtype


@pytest.mark.parametrize("filters", [0, -1, 2.0, None, "6"])
def test_filters_that_are_no_number_are_refused(filters):
    with pytest.raises(ValueError, match="at least 1. Received: filters="):
        ConvLSTMCore(filters, 3)


@pytest.mark.parametrize("kernel_size", [0, (3, -1), 2.0, (3, 3, 3), None])
def test_a_kernel_size_that_is_none_is_refused(kernel_size):
    with pytest.raises(ValueError, match="positive.*Received: kernel_size="):
        ConvLSTMCore(F, kernel_size)


@pytest.mark.parametrize(
    "shape",
    [
        (None, C),
        (None, T, H, W, C),
        (None, None, W, C),
        (None, H, None, C),
        (None, H, W, None),
    ],
)
def test_inputs_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="height, width.*Received: inputs of"):
        ConvLSTMCore(F, 3).build(shape)


def test_inputs_of_another_size_are_refused():
    core = make_core()
    with pytest.raises(ValueError, match="expected shape"):
        core(counted(B, H, W + 1, C), make_states())


@pytest.mark.parametrize(
    "shapes",
    [
        [(B, H, W, F)],
        [(B, H, W, F)] * 3,
        [(B, F), (B, F)],
        # These would broadcast.
        [(B, H, W, F), (B, 1, 1, F)],
        [(B, H, W, F), (B, H, W, 1)],
        [(B, H, W, F), (1, H, W, F)],
        [(B, H, W, F), (H, W, F)],
    ],
)
def test_states_of_another_shape_are_refused(shapes):
    with pytest.raises(ValueError, match="Received: (states of|inputs of)"):
        make_core()(counted(B, H, W, C), [counted(*s) for s in shapes])
