"""What is reported of EDRAM: errors and how well its windows fit.

Pure functions give a value for each element; the Keras metrics average them
over all targets that exist (their label is not negative, their transform is
not all zeros), with the weights of their images, if there are any.

Letters in shapes: B batch, S targets, N glimpses a target, K classes.
"""

import keras
import numpy as np
from keras import ops

from keras_edram import geometry
from keras_edram.checks import (
    check_labels,
    check_same_batch,
    check_targets,
    check_weights,
)


def label_errors(labels, probabilities):
    """1 where the most probable class is wrong, else 0.

    Args:
        labels: Integer tensor of shape `(B, S)`.
        probabilities: Tensor of shape `(B, S, ..., K)`, probabilities or
            logits.

    Returns:
        Float32 tensor of shape `(B, S, ...)`.

    Raises:
        ValueError: If the shapes do not begin alike, or for labels that are
            none of the classes.

    Example:

    >>> label_errors(np.array([[1]]), np.array([[[0.2, 0.7, 0.1]]]))
    [[0.0]]
    """
    labels = ops.convert_to_tensor(labels)
    probabilities = ops.convert_to_tensor(probabilities)
    if (
        len(labels.shape) != 2
        or len(probabilities.shape) < 3
        or labels.shape[1] != probabilities.shape[1]
    ):
        raise ValueError(
            "`labels` must be of shape (batch, targets) and `probabilities` "
            "of shape (batch, targets, ..., classes). Received: labels of "
            f"shape {tuple(labels.shape)}, probabilities of shape "
            f"{tuple(probabilities.shape)}"
        )
    check_same_batch(labels, probabilities, ("labels", "probabilities"))
    check_labels(labels, probabilities.shape[-1])
    answers = ops.cast(ops.argmax(probabilities, axis=-1), "int32")
    labels = ops.cast(labels, "int32")
    while len(labels.shape) < len(answers.shape):
        labels = labels[..., None]
    return ops.cast(answers != labels, "float32")


def location_spread(transforms):
    """How differently a model looks at different images, glimpse by glimpse.

    Standard deviation over the images of the middle of the n-th window, the
    mean of x and y and of the targets. 0 means that the model looks at the
    same places whatever it sees, the usual silent failure of a policy.

    Args:
        transforms: Tensor of shape `(B, S, N, 2, 3)`, the windows.

    Returns:
        Float tensor of shape `(N,)`, in units of half an image.

    Raises:
        ValueError: If the shape is another.

    Example:

    >>> left = [[1.0, 0, -0.5], [0, 1.0, 0]]
    >>> right = [[1.0, 0, 0.5], [0, 1.0, 0]]
    >>> location_spread(np.array([[[left]], [[right]]]))
    [0.25]
    """
    transforms = ops.convert_to_tensor(transforms)
    if len(transforms.shape) != 5 or tuple(transforms.shape[3:]) != (2, 3):
        raise ValueError(
            "`transforms` must have the shape (batch, targets, glimpses, 2, "
            f"3). Received: transforms of shape {tuple(transforms.shape)}"
        )
    spread = ops.std(transforms[..., 2], axis=0)  # (S, N, 2)
    return ops.mean(spread, axis=(0, 2))


def calibration_error(probabilities, errors, bins=15):
    """How far stated probabilities are from what came true, on average.

    The answers are put into bins of equal width by their probability p; the
    expected calibration error is `Σ_bins n_bin / n |mean p - share right|`.

    Args:
        probabilities: Array of shape `(n,)` in [0, 1], of each answer.
        errors: Array of shape `(n,)`, 1 where the answer is wrong, else 0.
        bins: Positive integer. Defaults to 15.

    Returns:
        Float in [0, 1]; 0 is best.

    Raises:
        ValueError: For shapes that do not fit each other, or no bins.

    Example:

    >>> calibration_error([0.75, 0.75, 0.75, 0.75], [0, 0, 0, 1])
    0.0

    Reference:
        - Naeini, Cooper, Hauskrecht, "Obtaining well calibrated probabilities
          using Bayesian binning", 2015.
    """
    probabilities, errors = _answers(probabilities, errors)
    if bins < 1:
        raise ValueError(f"`bins` must be at least 1. Received: bins={bins}")
    index = np.minimum((probabilities * bins).astype("int64"), bins - 1)
    gaps = np.bincount(index, probabilities - (1 - errors), minlength=bins)
    return float(np.abs(gaps).sum() / max(len(errors), 1))


def coverage_curve(probabilities, errors):
    """The error among the answers that are kept when the unsure are refused.

    The answers are taken from the most probable to the least: after k of n the
    coverage is k / n, and a reader who refuses the rest makes this error.

    Args:
        probabilities: Array of shape `(n,)` in [0, 1], of each answer.
        errors: Array of shape `(n,)`, 1 where the answer is wrong, else 0.

    Returns:
        Three arrays of shape `(n,)`: the coverage, the error there, and the
        probability of the last answer that is kept, which is the `refuse_below`
        to ask for.

    Raises:
        ValueError: For shapes that do not fit each other.

    Example:

    >>> coverage, error, refuse_below = coverage_curve([0.6, 0.9], [1, 0])
    >>> error.tolist()
    [0.0, 0.5]
    """
    probabilities, errors = _answers(probabilities, errors)
    order = np.argsort(-probabilities, kind="stable")
    kept = 1 + np.arange(len(order))
    return (
        kept / max(len(order), 1),
        np.cumsum(errors[order]) / kept,
        probabilities[order],
    )


def _answers(probabilities, errors):
    probabilities = np.asarray(probabilities, "float64")
    errors = np.asarray(errors, "float64")
    if probabilities.ndim != 1 or probabilities.shape != errors.shape:
        raise ValueError(
            "`probabilities` and `errors` must have one value for each "
            f"answer. Received: probabilities of shape {probabilities.shape}, "
            f"errors of shape {errors.shape}"
        )
    return probabilities, errors


def _average_errors(labels, logits):
    """`label_errors` of the mean prediction of the glimpses: (B, S)."""
    labels, logits = map(ops.convert_to_tensor, (labels, logits))
    check_targets(labels, 2, logits, 4, "labels", "logits")
    probabilities = ops.mean(ops.softmax(logits, axis=-1), axis=2)
    return label_errors(labels, probabilities)


def _of_glimpse(glimpse, y_true, true_rank, y_pred, rank):
    """Targets and the predictions of one glimpse: (B, S, ...)."""
    y_true, y_pred = map(ops.convert_to_tensor, (y_true, y_pred))
    check_targets(y_true, true_rank, y_pred, rank, "y_true", "y_pred")
    number = y_pred.shape[2]
    if not -number <= glimpse < number:
        raise ValueError(
            f"There must be such a glimpse among the {number}. "
            f"Received: glimpse={glimpse}"
        )
    return y_true, y_pred[:, :, glimpse]


def _weights(known, sample_weight):
    """The weight of each target that exists: (B, S), or (B,)."""
    check_weights(sample_weight, known)
    known = ops.cast(known, "float32")
    if sample_weight is None:
        return known
    weights = ops.cast(sample_weight, "float32")
    if len(weights.shape):
        weights = ops.reshape(weights, (-1,) + (1,) * (len(known.shape) - 1))
    return known * weights


@keras.saving.register_keras_serializable(package="keras_edram")
class SequenceError(keras.metrics.Mean):
    """Share of the images with a target that is read wrongly, in [0, 1].

    An image is right when all its targets are, by the predictions averaged
    over the glimpses, the terminal label among them.

    Args:
        name: String.
        **kwargs: Arguments of `keras.metrics.Mean`.

    Call arguments:
        y_true: Integer labels of shape `(B, S)`; negative ones do not count.
        y_pred: Logits of shape `(B, S, N, K)`.

    Returns:
        Scalar.

    Example:

    >>> logits = np.array([[[[2.0, 0]], [[2.0, 0]]], [[[2.0, 0]], [[2.0, 0]]]])
    >>> SequenceError()(np.array([[0, 1], [0, -1]]), logits)
    0.5

    Reference:
        - Ablavatski et al., 2017, section 4.2 and Table 2.
    """

    def __init__(self, name="error", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        errors = _average_errors(y_true, y_pred)  # (B, S)
        known = ops.convert_to_tensor(y_true) >= 0
        # Not `ops.max`, which TensorFlow refuses for no images.
        wrong = ops.any(known & (errors > 0), axis=1)  # (B,)
        weights = _weights(ops.ones_like(wrong), sample_weight)
        super().update_state(wrong, weights)


@keras.saving.register_keras_serializable(package="keras_edram")
class AverageError(keras.metrics.Mean):
    """Error of the prediction averaged over a target's glimpses, in [0, 1].

    `argmax_k Σ_j p_ijk ≠ y_i`, the paper's test error.

    Args:
        name: String.
        **kwargs: Arguments of `keras.metrics.Mean`.

    Call arguments:
        y_true: Integer labels of shape `(B, S)`; negative ones do not count.
        y_pred: Logits of shape `(B, S, N, K)`.

    Returns:
        Scalar, the part of the targets that is read wrongly.

    Example:

    >>> error = AverageError()
    >>> error(np.array([[0], [1]]), np.array([[[[2.0, 0]]], [[[2.0, 0]]]]))
    0.5

    Reference:
        - Ablavatski et al., 2017, section 3.3 and Table 1.
    """

    def __init__(self, name="error", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        errors = _average_errors(y_true, y_pred)  # (B, S)
        known = ops.convert_to_tensor(y_true) >= 0
        super().update_state(errors, _weights(known, sample_weight))


@keras.saving.register_keras_serializable(package="keras_edram")
class Accuracy(keras.metrics.Mean):
    """Part of the targets that are read rightly, `1 - AverageError`, in [0, 1].

    What the models take `"accuracy"` for.

    Args:
        name: String.
        **kwargs: Arguments of `keras.metrics.Mean`.

    Call arguments:
        y_true: Integer labels of shape `(B, S)`; negative ones do not count.
        y_pred: Logits of shape `(B, S, N, K)`.

    Returns:
        Scalar.

    Example:

    >>> accuracy = Accuracy()
    >>> accuracy(np.array([[0], [1]]), np.array([[[[2.0, 0]]], [[[2.0, 0]]]]))
    0.5
    """

    def __init__(self, name="accuracy", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        errors = _average_errors(y_true, y_pred)  # (B, S)
        known = ops.convert_to_tensor(y_true) >= 0
        super().update_state(1 - errors, _weights(known, sample_weight))


@keras.saving.register_keras_serializable(package="keras_edram")
class GlimpseError(keras.metrics.Mean):
    """Error of the prediction of one glimpse alone, in [0, 1].

    Args:
        glimpse: Integer, which of the N glimpses of a target, from 0; negative
            ones count from the last. Defaults to -1.
        name: String.
        **kwargs: Arguments of `keras.metrics.Mean`.

    Call arguments:
        y_true: Integer labels of shape `(B, S)`; negative ones do not count.
        y_pred: Logits of shape `(B, S, N, K)`.

    Returns:
        Scalar, the part of the targets that this glimpse reads wrongly.

    Example:

    >>> error = GlimpseError(glimpse=0)
    >>> error(np.array([[0], [1]]), np.array([[[[2.0, 0]]], [[[2.0, 0]]]]))
    0.5

    Reference:
        - Ablavatski et al., 2017, Fig. 5.
    """

    def __init__(self, glimpse=-1, name="glimpse_error", **kwargs):
        super().__init__(name=name, **kwargs)
        self.glimpse = int(glimpse)

    def update_state(self, y_true, y_pred, sample_weight=None):
        labels, logits = _of_glimpse(self.glimpse, y_true, 2, y_pred, 4)
        errors = label_errors(labels, logits)  # (B, S)
        super().update_state(errors, _weights(labels >= 0, sample_weight))

    def get_config(self):
        return {**super().get_config(), "glimpse": self.glimpse}


@keras.saving.register_keras_serializable(package="keras_edram")
class WindowIoU(keras.metrics.Mean):
    """Mean overlap of one glimpse's window with the true one, in [0, 1].

    Intersection over union of their upright boxes.

    Args:
        glimpse: Integer, which of the N glimpses of a target, from 0; negative
            ones count from the last. Defaults to -1.
        name: String.
        **kwargs: Arguments of `keras.metrics.Mean`.

    Call arguments:
        y_true: Transforms of shape `(B, S, 2, 3)`; all zeros do not count.
        y_pred: Transforms of shape `(B, S, N, 2, 3)`.

    Returns:
        Scalar.

    Example:

    >>> window = np.array([[[[0.5, 0, 0], [0, 0.5, 0]]]])
    >>> WindowIoU()(window, window[:, :, None])
    1.0
    """

    def __init__(self, glimpse=-1, name="iou", **kwargs):
        super().__init__(name=name, **kwargs)
        self.glimpse = int(glimpse)

    def update_state(self, y_true, y_pred, sample_weight=None):
        true, windows = _of_glimpse(self.glimpse, y_true, 4, y_pred, 5)
        overlap = geometry.window_iou(true, windows)  # (B, S)
        placed = ops.any(true != 0, axis=(-2, -1))
        super().update_state(overlap, _weights(placed, sample_weight))

    def get_config(self):
        return {**super().get_config(), "glimpse": self.glimpse}
