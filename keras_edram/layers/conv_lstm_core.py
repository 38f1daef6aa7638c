"""One step of a convolutional LSTM.

Letters in shapes: B batch, T steps, H W C maps of the input, F maps of a state.
"""

import keras
from keras import ops

from keras_edram.checks import (
    check_boolean,
    check_integer,
    check_shapes,
    check_size,
)


@keras.saving.register_keras_serializable(package="keras_edram")
class ConvLSTMCore(keras.layers.Layer):
    """One step of an LSTM whose states are maps and whose products convolve.

    The hidden state H and the cell C have the height and width of the inputs
    X, and each of their values is made from the neighbourhood of its place:

        i = σ(W_xi * X_t + W_hi * H_{t-1} + W_ci ∘ C_{t-1} + b_i)
        f = σ(W_xf * X_t + W_hf * H_{t-1} + W_cf ∘ C_{t-1} + b_f)
        g = tanh(W_xg * X_t + W_hg * H_{t-1} + b_g)
        C_t = f ∘ C_{t-1} + i ∘ g
        o = σ(W_xo * X_t + W_ho * H_{t-1} + W_co ∘ C_t + b_o)
        H_t = o ∘ tanh(C_t)

    with `*` a convolution padded with zeros to the same size, `∘` a product
    value by value, σ the sigmoid, i, f and o the gates of input, forgetting
    and output, and g what is new. W_x is `kernel`, W_h `recurrent_kernel` and
    b `bias`, in the order i, f, g, o of `keras.layers.ConvLSTM2D`. W_c is
    `peephole_kernel`, a map for each of i, f and o, left out by default.

    `keras.layers.RNN` unrolls the core over `(B, T, H, W, C)` when called on
    tensors, as in the `call` of a model. It refuses a `keras.Input`, because
    the shapes that it infers are those of flat states.

    Args:
        filters: Integer F, channels of the states and of the output.
        kernel_size: Integer or `(height, width)` of both convolutions.
        peepholes: Boolean, whether the gates see the cell. Their weights start
            at zero and fix the size of the maps. Defaults to `False`.
        kernel_initializer: Of W_x. Defaults to `"glorot_uniform"`.
        recurrent_initializer: Of W_h. Defaults to `"orthogonal"`.
        bias_initializer: Of b. Defaults to `"zeros"`.
        unit_forget_bias: Boolean, whether b_f starts at one, whatever
            `bias_initializer` says. Defaults to `True`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor X_t of shape `(B, H, W, C)` with static H, W and C.
        states: List or tuple of H_{t-1} and C_{t-1}, the hidden state and the
            cell, each of shape `(B, H, W, F)`.

    Returns:
        The output H_t of shape `(B, H, W, F)`, and the list of the new states
        `[H_t, C_t]`, each of the same shape.

    Raises:
        ValueError: For sizes that are not positive integers, what is no truth
            value, inputs or states of another shape, or an initial state
            before the size is known.

    Example:

    >>> core = ConvLSTMCore(16, kernel_size=3)
    >>> core.build((None, 24, 20, 8))
    >>> states = core.get_initial_state(batch_size=2)
    >>> output, states = core(keras.ops.ones((2, 24, 20, 8)), states)
    >>> output.shape
    (2, 24, 20, 16)
    >>> unroll = keras.layers.RNN(core, return_sequences=True)
    >>> unroll(keras.ops.ones((2, 5, 24, 20, 8))).shape
    (2, 5, 24, 20, 16)

    Reference:
        - Shi et al., "Convolutional LSTM Network: A Machine Learning Approach
          for Precipitation Nowcasting", 2015, Eq. 3.
        - Jozefowicz et al., "An Empirical Exploration of Recurrent Network
          Architectures", 2015, for b_f.
    """

    def __init__(
        self,
        filters,
        kernel_size,
        *,
        peepholes=False,
        kernel_initializer="glorot_uniform",
        recurrent_initializer="orthogonal",
        bias_initializer="zeros",
        unit_forget_bias=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = check_integer(filters, "filters")
        self.kernel_size = check_size(kernel_size, "kernel_size")
        self.peepholes = check_boolean(peepholes, "peepholes")
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(
            recurrent_initializer
        )
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.unit_forget_bias = check_boolean(
            unit_forget_bias, "unit_forget_bias"
        )
        self._map_size = (None, None)

    @property
    def state_size(self):
        """Channels of each state; the maps have the size of the inputs."""
        return [self.filters, self.filters]

    @property
    def output_size(self):
        """`(height, width, filters)`, unknown sides being `None`."""
        return (*self._map_size, self.filters)

    def build(self, inputs_shape, states_shape=None):
        if len(inputs_shape) != 4 or None in inputs_shape[1:]:
            raise ValueError(
                "`inputs` must have the shape (batch, height, width, "
                "channels), all but the batch known. "
                f"Received: inputs of shape {tuple(inputs_shape)}"
            )
        self._map_size = tuple(inputs_shape[1:3])
        shape = (None, *inputs_shape[1:])
        self.input_spec = keras.layers.InputSpec(shape=shape)
        gates = 4 * self.filters
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, inputs_shape[-1], gates),
            initializer=self.kernel_initializer,
        )
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel",
            shape=(*self.kernel_size, self.filters, gates),
            initializer=self.recurrent_initializer,
        )
        self.bias = self.add_weight(
            name="bias", shape=(gates,), initializer=self._initial_bias
        )
        if self.peepholes:
            shape = (3, *self.output_size)
            self.peephole_kernel = self.add_weight(
                name="peephole_kernel", shape=shape, initializer="zeros"
            )

    def _initial_bias(self, shape, dtype=None):
        if not self.unit_forget_bias:
            return self.bias_initializer(shape, dtype=dtype)
        i = self.bias_initializer((self.filters,), dtype=dtype)
        f = ops.ones((self.filters,), dtype=dtype)
        g_o = self.bias_initializer((2 * self.filters,), dtype=dtype)
        return ops.concatenate([i, f, g_o])  # (4F,)

    def get_initial_state(self, batch_size):
        """Hidden state and cell before the first step: zeros.

        Args:
            batch_size: Integer B.

        Returns:
            List of two tensors of shape `(B, H, W, F)`.

        Raises:
            ValueError: Before the layer is built, which tells H and W.
        """
        if not self.built:
            raise ValueError(
                "The states have the size of the inputs: call the layer, or "
                "`build` it, before `get_initial_state`. "
                f"Received: built={self.built}"
            )
        shape = (batch_size, *self.output_size)
        return [ops.zeros(shape, dtype=self.compute_dtype) for _ in range(2)]

    def call(self, inputs, states):
        if len(states) != 2:
            raise ValueError(
                "`states` must be two, the hidden state and the cell. "
                f"Received: states of number {len(states)}"
            )
        hidden, cell = states
        # A state of another size could broadcast, and nobody would notice.
        state_shape = f"(B, H, W, {self.filters})"
        check_shapes(
            f"inputs (B, H, W, C), hidden {state_shape}, cell {state_shape}",
            inputs, hidden, cell,
        )  # fmt: skip
        gates = (
            _convolve(inputs, self.kernel)
            + _convolve(hidden, self.recurrent_kernel)
            + self.bias
        )
        i, f, g, o = ops.split(gates, 4, axis=-1)  # each (B, H, W, F)
        if self.peepholes:
            w_ci, w_cf, w_co = (self.peephole_kernel[k] for k in range(3))
            i, f = i + w_ci * cell, f + w_cf * cell
        cell = ops.sigmoid(f) * cell + ops.sigmoid(i) * ops.tanh(g)
        if self.peepholes:
            o = o + w_co * cell
        hidden = ops.sigmoid(o) * ops.tanh(cell)
        return hidden, [hidden, cell]

    def compute_output_shape(self, inputs_shape, states_shape=None):
        shape = (*inputs_shape[:-1], self.filters)
        return shape, [shape, shape]

    def get_config(self):
        config = super().get_config()
        config.update(
            filters=self.filters,
            kernel_size=list(self.kernel_size),
            peepholes=self.peepholes,
            unit_forget_bias=self.unit_forget_bias,
        )
        for name in ("kernel", "recurrent", "bias"):
            name = f"{name}_initializer"
            config[name] = keras.initializers.serialize(getattr(self, name))
        return config


def _convolve(maps, kernel):
    return ops.conv(maps, kernel, padding="same", data_format="channels_last")
