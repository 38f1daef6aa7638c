"""The loss of the EDRAM paper, Eq. 6 to 9: "what" and "where".

    L = 1/N Σ_i Σ_j L_ij                          (6)
    L_ij = α1 L_ij^y + α2 L_ij^A                  (7)
    L_ij^y = -log p_ij,y                          (8)
    L_ij^A = Σ_k β_k (θ_kij - θ_k^true)²          (9)

for target i and its glimpse j. `LabelLoss` is 1/N ΣΣ L^y, `TransformLoss` is
1/N ΣΣ L^A; α1 and α2 are `loss_weights` of `compile`:

    model.compile(
        optimizer,
        loss={"labels": LabelLoss(), "transforms": TransformLoss()},
        loss_weights={"labels": 1.0, "transforms": 1.0},
    )

Letters in shapes: B batch, S targets, N glimpses a target, K classes.
"""

import keras
import numpy as np
from keras import ops

from keras_edram.checks import (
    check_boolean,
    check_labels,
    check_number,
    check_shapes,
    check_weights,
)

# The paper's β: zooms and centre count, skew counts half.
PAPER_BETA = (1.0, 0.5, 1.0, 0.5, 1.0, 1.0)
# Where only boxes are known, skew is left free (section 4.2).
BOX_BETA = (1.0, 0.0, 1.0, 0.0, 1.0, 1.0)

LABEL_SHAPES = "labels (B, S), logits (B, S, N, K)"
TRANSFORM_SHAPES = "true_transforms (B, S, 2, 3), transforms (B, S, N, 2, 3)"


def as_compared(shapes, true, predicted):
    """Targets and predictions as tensors, which must have these shapes.

    Args:
        shapes: String, see `keras_edram.checks.check_shapes`.
        true: Array or tensor of targets.
        predicted: Array or tensor, what a model says of them.

    Returns:
        Both as tensors.

    Raises:
        ValueError: For other shapes.

    Example:

    >>> labels, logits = np.array([[1, 0]]), np.zeros((1, 2, 6, 4))
    >>> shapes = "labels (B, S), logits (B, S, N, K)"
    >>> as_compared(shapes, labels, logits)[1].shape
    (1, 2, 6, 4)
    """
    true, predicted = map(ops.convert_to_tensor, (true, predicted))
    check_shapes(shapes, true, predicted)
    return true, predicted


def label_losses(labels, logits):
    """Cross entropy of each glimpse, Eq. 8: `-log p_ij,y`.

    Args:
        labels: Integer tensor of shape `(B, S)`. A negative label means that
            there is no such target: its loss is 0. One of K or more, or that
            is no whole number, is refused where it can be seen; in a graph its
            loss is not a number.
        logits: Tensor of shape `(B, S, N, K)`.

    Returns:
        Tensor of shape `(B, S, N)`.

    Raises:
        ValueError: For shapes that do not belong together, or labels that are
            none of the classes.

    Example:

    >>> label_losses(np.array([[1]]), np.zeros((1, 1, 2, 4)))  # log 4
    [[[1.3862944, 1.3862944]]]
    """
    labels, logits = as_compared(LABEL_SHAPES, labels, logits)
    num_classes = logits.shape[-1]
    check_labels(labels, num_classes)
    given = ops.cast(labels, "float32")[..., None]  # (B, S, 1)
    labels = ops.cast(labels, "int32")[..., None]  # (B, S, 1)
    # Of NaN and of fractions a cast makes some other number.
    is_class = (ops.cast(labels, "float32") == given) & (labels < num_classes)
    known = labels >= 0
    log_p = ops.log_softmax(logits, axis=-1)  # (B, S, N, K)
    chosen = ops.one_hot(
        ops.maximum(labels, 0), num_classes, dtype=log_p.dtype
    )  # (B, S, 1, K)
    losses = -ops.sum(chosen * log_p, axis=-1)  # (B, S, N)
    losses = ops.where(known, losses, 0.0)
    return ops.where(is_class, losses, np.nan)


def transform_losses(
    true_transforms,
    transforms,
    beta=PAPER_BETA,
    relative=False,
    enlarged=None,
):
    """Squared error of each window, Eq. 9: `Σ_k β_k (θ_k - θ_k^true)²`.

    Args:
        true_transforms: Tensor of shape `(B, S, 2, 3)`. All zeros mean that
            the target has no place: its loss is 0.
        transforms: Tensor of shape `(B, S, N, 2, 3)`.
        beta: Six floats, β1 to β6. Defaults to the paper's.
        relative: Boolean, whether errors are in halves of the true window, see
            `TransformLoss`. Defaults to `False`.
        enlarged: N numbers, how many times as large as the true window that
            of each glimpse is to be; by default as large.

    Returns:
        Tensor of shape `(B, S, N)`.

    Raises:
        ValueError: For shapes that do not belong together, or when `beta` is
            not six finite numbers that are not negative.

    Example:

    >>> true = np.array([[[[0.5, 0, 0], [0, 0.5, 0]]]])
    >>> whole = np.array([[[[[1.0, 0, 0], [0, 1.0, 0]]]]])
    >>> transform_losses(true, whole)
    [[[0.5]]]
    """
    true_transforms, transforms = as_compared(
        TRANSFORM_SHAPES, true_transforms, transforms
    )
    beta = _check_beta(beta)
    true_transforms = true_transforms[:, :, None]  # (B, S, 1, 2, 3)
    true_transforms = ops.cast(true_transforms, transforms.dtype)
    placed = ops.any(true_transforms != 0, axis=(-2, -1))  # (B, S, 1)
    beta = ops.cast(ops.convert_to_tensor(beta), transforms.dtype)
    if enlarged is not None:
        linear = _of_glimpses(enlarged, transforms) * true_transforms[..., :2]
        middle = true_transforms[..., 2:]  # (B, S, 1, 2, 1)
        middle = ops.repeat(middle, linear.shape[2], axis=2)  # (B, S, N, 2, 1)
        true_transforms = ops.concatenate(
            [linear, middle], axis=-1
        )  # (B, S, N, 2, 3)
    errors = transforms - true_transforms  # (B, S, N, 2, 3)
    if relative:
        halves = true_transforms[..., :2]  # of the width, and of the height
        halves = ops.sqrt(ops.sum(ops.square(halves), axis=-1, keepdims=True))
        errors = ops.abs(errors) / ops.where(halves == 0, 1.0, halves)
        squares = ops.where(errors < 1, ops.square(errors), 2 * errors - 1)
    else:
        squares = ops.square(errors)
    return ops.where(placed, ops.sum(beta * squares, axis=(-2, -1)), 0.0)


class _BatchLoss(keras.losses.Loss):
    """A loss of images, with a weight for each of them, if any."""

    def __call__(self, y_true, y_pred, sample_weight=None):
        check_weights(sample_weight, y_pred)
        loss = super().__call__(y_true, y_pred, sample_weight)
        if tuple(loss.shape) == (0,) and self.reduction not in (None, "none"):
            return ops.sum(loss)  # 0, which Keras forgets without images
        return loss


class _BatchMean(_BatchLoss):
    def call(self, y_true, y_pred):
        return y_pred


def batch_mean(losses, sample_weight=None):
    """The mean of the losses of images, as `fit` takes that of any loss.

    On several devices each adds its part: a plain mean would be added as often
    as there are devices.

    Args:
        losses: Tensor of shape `(B,)`.
        sample_weight: Tensor of shape `(B,)` or `(B, 1)`, a weight for each
            image; by default all count alike.

    Returns:
        Scalar, `1/B Σ_b w_b L_b`.

    Raises:
        ValueError: For other shapes.

    Example:

    >>> batch_mean(np.array([1.0, 2.0]), np.array([0.0, 3.0]))
    3.0
    """
    losses = ops.convert_to_tensor(losses)
    check_shapes("losses (B)", losses)
    return _BatchMean(name="batch_mean")(losses, losses, sample_weight)


class _TargetLoss(_BatchLoss):
    """A loss of each glimpse at each target, which `_each` of them gives."""

    def call(self, y_true, y_pred):
        losses = self._each(y_true, y_pred)  # (B, S, N)
        return ops.sum(ops.mean(losses, axis=2), axis=1)  # Eq. 6, (B,)


@keras.saving.register_keras_serializable(package="keras_edram")
class LabelLoss(_TargetLoss):
    """ "What": mean over the glimpses and sum over the targets of Eq. 8.

    `L^y = 1/N Σ_i Σ_j -log p_ij,y`, averaged over the batch.

    Args:
        name: String.
        **kwargs: Arguments of `keras.losses.Loss`.

    Call arguments:
        y_true: Integer labels of shape `(B, S)`; negative ones do not count.
        y_pred: Logits of shape `(B, S, N, K)`.

    Returns:
        Scalar.

    Raises:
        ValueError: For shapes that do not belong together, or labels that are
            none of the classes.

    Example:

    >>> LabelLoss()(np.array([[1]]), np.zeros((1, 1, 2, 4)))  # log 4
    1.3862944

    Reference:
        - Ablavatski et al., 2017, Eq. 6 and 8.
    """

    def __init__(self, name="label_loss", **kwargs):
        super().__init__(name=name, **kwargs)

    def _each(self, y_true, y_pred):
        return label_losses(y_true, y_pred)


@keras.saving.register_keras_serializable(package="keras_edram")
class TransformLoss(_TargetLoss):
    """ "Where": mean over the glimpses and sum over the targets of Eq. 9.

    `L^A = 1/N Σ_i Σ_j Σ_k β_k (θ_kij - θ_k^true)²`, averaged over the batch.

    With `relative` the errors are measured in halves of the true window,
    `s = sqrt(θ_1² + θ_2²)` of its first row and likewise of its second, and
    beyond 1 count by their size, not their square, as Huber's:

        ρ((θ - θ^true) / s),   ρ(e) = e² if |e| < 1 else 2 |e| - 1

    In a large image the square of half a digit is nearly nothing: without, what
    is small is found but not held.

    Args:
        beta: Six floats, β1 to β6. Defaults to the paper's (1, ½, 1, ½, 1, 1);
            `keras_edram.losses.BOX_BETA` leaves the skew free.
        relative: Boolean, whether the errors are those of the size of the true
            window. Defaults to `False`, Eq. 9.
        enlarged: N numbers above 0, how many times as large as the true window
            that of each glimpse at a target is to be: with `(2, 1)` the first
            sees what is around what the second reads, and misses it less
            easily. By default all are as large.
        name: String.
        **kwargs: Arguments of `keras.losses.Loss`.

    Call arguments:
        y_true: Transforms of shape `(B, S, 2, 3)`; all zeros do not count.
        y_pred: Transforms of shape `(B, S, N, 2, 3)`.

    Returns:
        Scalar.

    Raises:
        ValueError: For shapes that do not belong together, or when `beta` is
            not six finite numbers that are not negative.

    Example:

    >>> true = np.array([[[[0.5, 0, 0], [0, 0.5, 0]]]])
    >>> whole = np.array([[[[[1.0, 0, 0], [0, 1.0, 0]]]]])
    >>> TransformLoss()(true, whole)
    0.5

    Reference:
        - Ablavatski et al., 2017, Eq. 6 and 9.
    """

    def __init__(
        self,
        beta=PAPER_BETA,
        relative=False,
        enlarged=None,
        name="transform_loss",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.beta = tuple(_check_beta(beta).flatten().tolist())
        self.relative = check_boolean(relative, "relative")
        self.enlarged = _check_enlarged(enlarged)

    def _each(self, y_true, y_pred):
        how = self.beta, self.relative, self.enlarged
        return transform_losses(y_true, y_pred, *how)

    def get_config(self):
        config = super().get_config()
        config.update(
            beta=list(self.beta),
            relative=self.relative,
            enlarged=self.enlarged and list(self.enlarged),
        )
        return config


def _check_beta(beta):
    try:
        weights = np.asarray(beta, "float32")
    except (TypeError, ValueError):
        weights = np.empty(0)
    if weights.shape != (6,) or not ((weights >= 0) & (weights < np.inf)).all():
        raise ValueError(
            "`beta` must be six finite numbers that are not negative. "
            f"Received: beta={beta!r}"
        )
    return weights.reshape(2, 3)  # (2, 3), as what they weigh


def _check_enlarged(enlarged):
    if enlarged is None:
        return None
    try:
        return tuple(
            check_number(times, "enlarged", above=True) for times in enlarged
        )
    except TypeError:
        raise ValueError(
            "`enlarged` must be numbers above 0, one for each glimpse at a "
            f"target. Received: enlarged={enlarged!r}"
        ) from None


def _of_glimpses(enlarged, transforms):
    """Numbers of the N glimpses at a target, `(N, 1, 1)`."""
    if len(enlarged) != transforms.shape[2]:
        raise ValueError(
            "`enlarged` must have a number for each glimpse at a target. "
            f"Received: enlarged={enlarged!r}, {transforms.shape[2]} glimpses"
        )
    values = np.asarray(enlarged, "float32")[:, None, None]
    return ops.cast(ops.convert_to_tensor(values), transforms.dtype)
