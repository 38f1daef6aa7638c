"""The answer of networks that say all of a sequence, and its length, at once.

Letters in shapes: B batch, F features, S targets, K classes.
"""

import keras
import numpy as np
from keras import layers, ops

from keras_edram.checks import check_boolean, check_integer

# Logarithm of the probability of what cannot be.
NEVER = -30.0
BEYOND = -1e9  # added to lengths that do not count


@keras.saving.register_keras_serializable(package="keras_edram")
class SequenceHead(keras.layers.Layer):
    """Says each symbol of a sequence, and how long it is, from one vector.

    A softmax p_s for the symbol at each place s, and one for the length L,
    each of which knows nothing of the others:

        p(sequence) = p(L = n) Π_{s < n} p_s(k_s)

    Answers here have a terminal label instead of a length, and it comes after
    what was read before it. So the product is told place by place, as what
    comes at s if the sequence reaches it; what it tells of a whole sequence is
    the product again:

        p(terminal at s) = p(L = s) / p(L ≥ s)
        p(k at s) = p(L > s) / p(L ≥ s) p_s(k)

    Args:
        num_targets: Integer S, the terminal one among them.
        num_classes: Integer K, the terminal label among them.
        terminal: Boolean, whether the last class ends a sequence. Defaults to
            `True`; without, there are S symbols and no length.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        features: Tensor of shape `(B, F)`.

    Returns:
        Float32 tensor of shape `(B, S, K)`: logits; with a length logarithms of
        the probabilities above, of a symbol at the last place `NEVER` or less.

    Raises:
        ValueError: For numbers that are none, or no target but the terminal.

    Example:

    >>> head = SequenceHead(num_targets=6, num_classes=11)
    >>> head(np.zeros((2, 32), "float32")).shape
    (2, 6, 11)

    Reference:
        - Goodfellow et al., "Multi-digit Number Recognition from Street View
          Imagery using Deep Convolutional Neural Networks", 2014, section 4.
    """

    def __init__(self, num_targets, num_classes, terminal=True, **kwargs):
        super().__init__(**kwargs)
        self.terminal = check_boolean(terminal, "terminal")
        self.num_targets = check_integer(
            num_targets, "num_targets", 1 + self.terminal
        )
        self.num_classes = check_integer(
            num_classes, "num_classes", 1 + self.terminal
        )
        self.num_symbols = self.num_targets - self.terminal
        self.symbols = layers.Dense(
            self.num_symbols * (self.num_classes - self.terminal),
            name="symbols",
            dtype="float32",
        )
        if self.terminal:
            self.lengths = layers.Dense(
                self.num_targets, name="lengths", dtype="float32"
            )

    def build(self, features_shape):
        self.symbols.build(features_shape)
        if self.terminal:
            self.lengths.build(features_shape)
        self.built = True

    def call(self, features):
        symbols = ops.reshape(
            self.symbols(features),
            (-1, self.num_symbols, self.num_classes - self.terminal),
        )  # (B, S or S - 1, K or K - 1)
        if not self.terminal:
            return symbols
        symbols = ops.log_softmax(symbols)
        # At the last place there is no symbol; any would do.
        symbols = ops.concatenate(
            [symbols, symbols[:, -1:]], axis=1
        )  # (B, S, K - 1)
        lengths = self.lengths(features)  # (B, S), of L = 0, ..., S - 1
        at_least, more = (
            ops.logsumexp(lengths[:, None] + beyond, axis=-1, keepdims=True)
            for beyond in self._beyond()
        )  # (B, S, 1), (B, S - 1, 1)
        # There is no longer one than the last.
        goes_on = ops.pad(
            more - at_least[:, :-1],
            [(0, 0), (0, 1), (0, 0)],
            constant_values=NEVER,
        )  # (B, S, 1)
        ends = ops.expand_dims(lengths, -1) - at_least  # (B, S, 1)
        return ops.concatenate([symbols + goes_on, ends], axis=-1)  # (B, S, K)

    def _beyond(self):
        """What leaves lengths L ≥ s, `(S, S)`, and L > s, `(S - 1, S)`."""
        shorter = np.tril(np.full(2 * (self.num_targets,), BEYOND), -1)
        others = shorter + np.diag(np.full(self.num_targets, BEYOND))
        return (
            ops.convert_to_tensor(shorter, "float32"),
            ops.convert_to_tensor(others[:-1], "float32"),
        )

    def get_config(self):
        config = super().get_config()
        config.update(
            num_targets=self.num_targets,
            num_classes=self.num_classes,
            terminal=self.terminal,
        )
        return config
