"""What the six numbers that a network emits say: the next window.

Letters in shapes: B batch.
"""

import numpy as np
from keras import ops

from keras_edram import geometry

# By how many of its own halves a relative emission moves or skews a window at
# most, and the logarithm of how many times as large, or as small, it makes it.
MOST_HALVES = 16.0
MOST_LOG_ZOOM = 3.0
# What is as small as a window ever gets.
LEAST_ZOOM = 2.0**-10
# Which of the six numbers of a transform are zooms.
ZOOMS = np.array([[True, False, False], [False, True, False]])


def absolute_windows(numbers):
    """Windows of the image: zooms in (0, 1), the rest in (-1, 1).

    Args:
        numbers: Float32 tensor of shape `(B, 6)`, of any range.

    Returns:
        Float32 tensor of shape `(B, 2, 3)`.

    Example:

    >>> absolute_windows(ops.zeros((1, 6)))[0]
    [[0.5, 0, 0], [0, 0.5, 0]]
    """
    zoom_x, skew_x, x, skew_y, zoom_y, y = ops.unstack(
        numbers, axis=-1
    )  # each (B,)
    zoom_x, zoom_y = ops.sigmoid(zoom_x), ops.sigmoid(zoom_y)
    skew_x, x, skew_y, y = map(ops.tanh, (skew_x, x, skew_y, y))
    rows = [
        ops.stack([zoom_x, skew_x, x], -1),
        ops.stack([skew_y, zoom_y, y], -1),
    ]  # each (B, 3)
    return ops.stack(rows, axis=1)  # (B, 2, 3)


def absolute_bias(shape, dtype=None):
    """Zooms of sigmoid(1) = 0.73, in the middle of the image."""
    return ops.convert_to_tensor(np.array([1, 0, 0, 0, 1, 0]), dtype)


def relative_windows(numbers, windows):
    """Windows of windows, `A_{t+1} = A_t B_t`; of zeros the windows themselves.

    They stay in the image, and no larger than it.

    Args:
        numbers: Float32 tensor of shape `(B, 6)`, of any range: logarithms of
            zooms, and the rest in halves of the window.
        windows: Tensor of shape `(B, 2, 3)`, `A_t`.

    Returns:
        Float32 tensor of shape `(B, 2, 3)`.

    Example:

    >>> relative_windows(ops.zeros((1, 6)), geometry.IDENTITY[None])[0]
    [[1, 0, 0], [0, 1, 0]]
    """
    numbers = ops.reshape(numbers, (-1, 2, 3))  # (B, 2, 3)
    change = ops.where(
        ZOOMS,
        ops.exp(_bounded(numbers, MOST_LOG_ZOOM)),
        _bounded(numbers, MOST_HALVES),
    )
    return _held(geometry.compose(windows, change))


def _bounded(values, most):
    """Nearly the values themselves where they are small, all within ±most."""
    return most * ops.tanh(values / most)


def _held(windows):
    """Windows in the image and not larger, `(B, 2, 3)`; gradients as without.

    Where there were none beyond the border, a window could not come back.
    """
    held = ops.clip(
        windows, np.where(ZOOMS, LEAST_ZOOM, -1.0).astype("float32"), 1.0
    )
    return windows + ops.stop_gradient(held - windows)
