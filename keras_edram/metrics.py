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
    check_integer,
    check_labels,
    check_probabilities,
    check_shapes,
    check_weights,
)
from keras_edram.losses import LABEL_SHAPES, TRANSFORM_SHAPES, as_compared


def label_errors(labels, probabilities):
    """1 where the most probable class is wrong, else 0.

    Args:
        labels: Integer tensor of shape `(B, S)`.
        probabilities: Tensor of shape `(B, S, ..., K)`, probabilities or
            logits.

    Returns:
        Float32 tensor of shape `(B, S, ...)`.

    Raises:
        ValueError: For shapes that do not belong together, or labels that are
            none of the classes.

    Example:

    >>> label_errors(np.array([[1]]), np.array([[[0.2, 0.7, 0.1]]]))
    [[0.0]]
    """
    labels, probabilities = as_compared(
        "labels (B, S), probabilities (B, S, ..., K)", labels, probabilities
    )
    check_labels(labels, probabilities.shape[-1])
    answers = ops.cast(ops.argmax(probabilities, axis=-1), "int32")
    labels = ops.cast(labels, "int32")
    while len(labels.shape) < len(answers.shape):
        labels = labels[..., None]  # (B, S, 1, ...)
    # The largest of what is no number would be the first.
    is_none = ops.any(ops.isnan(probabilities), axis=-1)
    # `!=` forgets the shape where the batch of only one of both is known.
    wrong = ops.logical_or(ops.not_equal(answers, labels), is_none)
    return ops.cast(wrong, "float32")


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
    check_shapes("transforms (B, S, N, 2, 3)", transforms)
    spread = ops.std(geometry.centres(transforms), axis=0)  # (S, N, 2)
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
        ValueError: For shapes that do not fit each other, probabilities that
            are no numbers, or no bins.

    Example:

    >>> calibration_error([0.75, 0.75, 0.75, 0.75], [0, 0, 0, 1])
    0.0

    Reference:
        - Naeini, Cooper, Hauskrecht, "Obtaining well calibrated probabilities
          using Bayesian binning", 2015.
    """
    probabilities, errors = _answers(probabilities, errors)
    gaps = _bin_sums(probabilities, probabilities - (1 - errors), bins)
    return float(np.abs(gaps).sum() / max(len(errors), 1))


def calibration_error_by_chance(probabilities, bins=15):
    """The calibration error to expect of probabilities that are exactly right.

    Few answers come true as often as stated only roughly: with a variance of
    `p (1 - p)` each, the gap of a bin is `sqrt(2 / π Σ_bin p (1 - p))` answers
    on average, by the normal law. An error near the sum of these over n says
    nothing against the probabilities.

    Args:
        probabilities: Array of shape `(n,)` in [0, 1], of each answer.
        bins: Positive integer, as of `calibration_error`. Defaults to 15.

    Returns:
        Float in [0, 1].

    Raises:
        ValueError: As of `calibration_error`.

    Example:

    >>> calibration_error_by_chance([0.5] * 100)
    0.039894...

    Reference:
        - Bröcker, Smith, "Increasing the reliability of reliability diagrams",
          2007, for what chance does to the bins.
    """
    none_wrong = np.zeros(np.shape(probabilities))
    probabilities, _ = _answers(probabilities, none_wrong)
    # Of sums that are rounded a little above 1, 0.
    variances = np.maximum(probabilities * (1 - probabilities), 0)
    sums = _bin_sums(probabilities, variances, bins)
    gaps = np.sqrt(2 / np.pi * sums)
    return float(gaps.sum() / max(len(probabilities), 1))


def _bin_sums(probabilities, values, bins):
    """Sums over bins of equal width of the probability."""
    bins = check_integer(bins, "bins")
    index = np.minimum((probabilities * bins).astype("int64"), bins - 1)
    return np.bincount(index, values, minlength=bins)


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
        ValueError: For shapes that do not fit each other, or probabilities
            that are no numbers.

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
    check_probabilities(probabilities)
    return probabilities, errors


def _average_errors(labels, logits):
    """`label_errors` of the mean prediction of the glimpses: (B, S)."""
    labels, logits = as_compared(LABEL_SHAPES, labels, logits)
    probabilities = ops.mean(ops.softmax(logits, axis=-1), axis=2)  # (B, S, K)
    return label_errors(labels, probabilities)


class _TargetMean(keras.metrics.Mean):
    """The mean over what exists, with the weights of the images, if any.

    A metric says by `_each` what the values are, and which of them exist: of
    each target, `(B, S)`, or of each image, `(B,)`.
    """

    def update_state(self, y_true, y_pred, sample_weight=None):
        values, known = self._each(y_true, y_pred)
        check_weights(sample_weight, values)
        weights = ops.cast(known, "float32")
        if sample_weight is not None:
            of_images = ops.cast(sample_weight, "float32")
            if len(of_images.shape):
                shape = (-1,) + (1,) * (len(weights.shape) - 1)
                of_images = ops.reshape(of_images, shape)  # (B, 1) or (B,)
            weights = weights * of_images
        super().update_state(values, weights)


class _GlimpseMean(_TargetMean):
    """That of one glimpse, whose predictions `_at_glimpse` compares."""

    def __init__(self, glimpse, name, **kwargs):
        super().__init__(name=name, **kwargs)
        self.glimpse = check_integer(glimpse, "glimpse", None)

    def _each(self, y_true, y_pred):
        y_true, y_pred = as_compared(self._shapes, y_true, y_pred)
        number = y_pred.shape[2]
        if not -number <= self.glimpse < number:
            raise ValueError(
                f"There must be such a glimpse among the {number}. "
                f"Received: glimpse={self.glimpse}"
            )
        return self._at_glimpse(y_true, y_pred[:, :, self.glimpse])

    def get_config(self):
        return {**super().get_config(), "glimpse": self.glimpse}


@keras.saving.register_keras_serializable(package="keras_edram")
class SequenceError(_TargetMean):
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

    Raises:
        ValueError: For shapes that do not belong together, or labels that are
            none of the classes.

    Example:

    >>> logits = np.array([[[[2.0, 0]], [[2.0, 0]]], [[[2.0, 0]], [[2.0, 0]]]])
    >>> SequenceError()(np.array([[0, 1], [0, -1]]), logits)
    0.5

    Reference:
        - Ablavatski et al., 2017, section 4.2 and Table 2.
    """

    def __init__(self, name="error", **kwargs):
        super().__init__(name=name, **kwargs)

    def _each(self, y_true, y_pred):
        errors = _average_errors(y_true, y_pred)  # (B, S)
        known = ops.convert_to_tensor(y_true) >= 0
        # Not `ops.max`, which TensorFlow refuses for no images.
        wrong = ops.any(known & (errors > 0), axis=1)  # (B,)
        return wrong, ops.ones_like(wrong)


@keras.saving.register_keras_serializable(package="keras_edram")
class AverageError(_TargetMean):
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

    Raises:
        ValueError: For shapes that do not belong together, or labels that are
            none of the classes.

    Example:

    >>> error = AverageError()
    >>> error(np.array([[0], [1]]), np.array([[[[2.0, 0]]], [[[2.0, 0]]]]))
    0.5

    Reference:
        - Ablavatski et al., 2017, section 3.3 and Table 1.
    """

    def __init__(self, name="error", **kwargs):
        super().__init__(name=name, **kwargs)

    def _each(self, y_true, y_pred):
        errors = _average_errors(y_true, y_pred)  # (B, S)
        return errors, ops.convert_to_tensor(y_true) >= 0


@keras.saving.register_keras_serializable(package="keras_edram")
class Accuracy(_TargetMean):
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

    Raises:
        ValueError: For shapes that do not belong together, or labels that are
            none of the classes.

    Example:

    >>> accuracy = Accuracy()
    >>> accuracy(np.array([[0], [1]]), np.array([[[[2.0, 0]]], [[[2.0, 0]]]]))
    0.5

    Reference:
        - Ablavatski et al., 2017, section 3.3.
    """

    def __init__(self, name="accuracy", **kwargs):
        super().__init__(name=name, **kwargs)

    def _each(self, y_true, y_pred):
        errors = _average_errors(y_true, y_pred)  # (B, S)
        return 1 - errors, ops.convert_to_tensor(y_true) >= 0


@keras.saving.register_keras_serializable(package="keras_edram")
class GlimpseError(_GlimpseMean):
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

    Raises:
        ValueError: For shapes that do not belong together, labels that are
            none of the classes, or a glimpse that is none of the N.

    Example:

    >>> error = GlimpseError(glimpse=0)
    >>> error(np.array([[0], [1]]), np.array([[[[2.0, 0]]], [[[2.0, 0]]]]))
    0.5

    Reference:
        - Ablavatski et al., 2017, Fig. 5.
    """

    _shapes = LABEL_SHAPES

    def __init__(self, glimpse=-1, name="glimpse_error", **kwargs):
        super().__init__(glimpse, name, **kwargs)

    def _at_glimpse(self, y_true, y_pred):
        return label_errors(y_true, y_pred), y_true >= 0  # each (B, S)


@keras.saving.register_keras_serializable(package="keras_edram")
class WindowIoU(_GlimpseMean):
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

    Raises:
        ValueError: For shapes that do not belong together, or a glimpse that
            is none of the N.

    Example:

    >>> window = np.array([[[[0.5, 0, 0], [0, 0.5, 0]]]])
    >>> WindowIoU()(window, window[:, :, None])
    1.0

    Reference:
        - Everingham et al., "The PASCAL Visual Object Classes (VOC)
          Challenge", 2010, section 4.2, for the overlap of boxes.
    """

    _shapes = TRANSFORM_SHAPES

    def __init__(self, glimpse=-1, name="iou", **kwargs):
        super().__init__(glimpse, name, **kwargs)

    def _at_glimpse(self, y_true, y_pred):
        overlap = geometry.window_iou(y_true, y_pred)
        return overlap, ops.any(y_true != 0, axis=(-2, -1))  # each (B, S)
