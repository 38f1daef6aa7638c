"""One glimpse after the other: written out, or as a loop in the graph."""

import keras
import numpy as np
from keras import ops

# Steps that are written out at most. To trace one takes two seconds or more,
# where a loop is traced once, but a step in the loop is 10 to 25 % slower:
# tests/benchmarks/README.md has the figures.
MOST_WRITTEN_OUT = 10


def first_step(zeros):
    """The count of glimpses before the first: 0, but made from a tensor.

    A constant would let TFLite fold the statistics of each step into a copy
    of all weights.

    Args:
        zeros: Tensor of zeros, of B rows, such as a state before the first.

    Returns:
        Scalar tensor, int32.

    Example:

    >>> first_step(ops.zeros((2, 3)))
    0
    """
    return ops.cast(ops.sum(zeros), "int32")


def take_steps(step, state, number, *, write_out=False):
    """Takes the steps of a sequence, and collects what they give.

    Few are a Python loop, which exports to every format and compiles best.
    Many are one loop in TensorFlow's graph, so that the first step of a
    training starts as soon for a hundred glimpses as for a few. JAX, PyTorch
    and several devices always get the Python loop: JAX's loops know no
    variables that a step changes, as batch normalisation does, TensorFlow's
    no sums over devices, and PyTorch traces nothing.

    Args:
        step: Function of a state that returns a dictionary of tensors of
            shape `(B, ...)`, and the next state, of the same shapes.
        state: Structure of tensors, the first state.
        number: Positive integer T.
        write_out: Boolean, whether to take a Python loop in any case.

    Returns:
        The dictionary of all steps, `(B, T, ...)`, and the last state.

    Example:

    >>> take_steps(lambda n: ({"n": n}, 2 * n), ops.ones((1,)), 4)[0]["n"]
    [[1.0, 2.0, 4.0, 8.0]]
    """
    if (
        not write_out
        and number > MOST_WRITTEN_OUT
        and keras.config.backend() == "tensorflow"
        and not _on_several_devices()
    ):
        return _loop(step, state, number)
    collected = []
    for _ in range(number):
        outputs, state = step(state)
        collected.append(outputs)
    return {
        name: ops.stack([outputs[name] for outputs in collected], axis=1)
        for name in collected[0]
    }, state  # each (B, T, ...)


def _on_several_devices():
    import tensorflow as tf  # Keras does not tell

    return tf.distribute.get_strategy().num_replicas_in_sync > 1


def _loop(step, state, number):
    """The same in the graph; its first step shows what there is to collect."""
    position = ops.convert_to_tensor(np.arange(number, dtype="int32"))

    def write(values, value, t):
        """`value` at place t of `(B, T, ...)`, which all exports can do so."""
        is_there = ops.reshape(
            position == t, (1, number, *[1] * (len(value.shape) - 1))
        )  # (1, T, 1, ...)
        value = ops.expand_dims(value, 1)  # (B, 1, ...)
        return ops.where(is_there, value, values)

    def take(t, state, collected):
        outputs, state = step(state)
        collected = {
            name: write(collected[name], value, t)
            for name, value in outputs.items()
        }
        return t + 1, state, collected

    outputs, state = step(state)
    collected = {
        name: ops.repeat(ops.expand_dims(value, 1), number, axis=1)
        for name, value in outputs.items()
    }  # each (B, T, ...)
    _, state, collected = ops.while_loop(
        lambda t, *_: t < number,
        take,
        (ops.convert_to_tensor(np.int32(1)), state, collected),
        # XLA has no gradient of a loop that might never end.
        maximum_iterations=number - 1,
    )
    return collected, state
