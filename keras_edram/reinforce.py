"""REINFORCE with a learnt baseline, for a policy that is a Gaussian.

    L = - w_π Σ_t (R - b_t) log π(u_t | h_t) + w_b Σ_t (R - b_t)²

with the reward R of an image, or R_t of what is still to come of it, what was
drawn u_t ~ Normal(μ_t, σ²), and the baseline b_t, which is the reward that is
expected then. Pure functions, for any model whose policy draws what it does.

Letters in shapes: B batch, S targets, N glimpses a target, T decisions of a
sequence, D numbers of a decision (2 for a place), K classes.
"""

from typing import Any, NamedTuple

from keras import ops

from keras_edram.checks import (
    check_integer,
    check_labels,
    check_number,
    check_shapes,
)


class Decision(NamedTuple):
    """What the policy decided after a glimpse, and what REINFORCE needs.

    Those of a sequence have an axis of T after the first.

    Attributes:
        means: `(B, D)`, μ_t, the mean of the policy.
        samples: `(B, D)`, u_t, what was drawn, such as a location, which may
            lie outside of the image; without sampling, the mean.
        baselines: `(B,)`, b_t, the reward that is expected.
    """

    means: Any
    samples: Any
    baselines: Any


def answer_rewards(labels, logits):
    """R: 1 where the answer is right, else 0.

    Args:
        labels: Integer tensor of shape `(B, 1)`.
        logits: Tensor of shape `(B, 1, 1, K)`.

    Returns:
        Float32 tensor of shape `(B,)`, without a gradient.

    Raises:
        ValueError: For shapes that do not belong together, or labels that are
            none of the classes.

    Example:

    >>> answer_rewards(np.array([[1]]), np.array([[[[0.2, 0.7, 0.1]]]]))
    [1.0]
    """
    labels, logits = map(ops.convert_to_tensor, (labels, logits))
    check_shapes("labels (B, 1), logits (B, 1, 1, K)", labels, logits)
    return target_rewards(labels, logits)[:, 0]


def target_rewards(labels, logits):
    """1 for each target whose answer is right, else 0.

    Args:
        labels: Integer tensor of shape `(B, S)`; a negative label means that
            there is no target, which gives no reward.
        logits: Tensor of shape `(B, S, 1, K)`, one answer a target.

    Returns:
        Float32 tensor of shape `(B, S)`, without a gradient.

    Raises:
        ValueError: For shapes that do not belong together, or labels that are
            none of the classes.

    Example:

    >>> logits = np.array([[[[0.2, 0.7, 0.1]], [[0.9, 0.1, 0.0]]]])
    >>> target_rewards(np.array([[1, 2]]), logits)
    [[1.0, 0.0]]
    """
    labels, logits = map(ops.convert_to_tensor, (labels, logits))
    check_shapes("labels (B, S), logits (B, S, 1, K)", labels, logits)
    check_labels(labels, logits.shape[-1])
    answers = ops.argmax(logits[:, :, 0], axis=-1)  # (B, S)
    right = answers == ops.cast(labels, answers.dtype)
    return ops.stop_gradient(ops.cast(right, "float32"))


def rewards_to_come(rewards, glimpses_per_target):
    """What a decision can still change: the rewards from its target on.

        R_t = Σ_{s >= t // N} r_s

    Args:
        rewards: Float tensor of shape `(B, S)`, r_s, from `target_rewards`.
        glimpses_per_target: Integer N, of S N = T decisions, one a glimpse.

    Returns:
        Tensor of shape `(B, T)`.

    Raises:
        ValueError: For rewards of another shape, or a number below 1.

    Example:

    >>> rewards_to_come(np.array([[1.0, 0.0, 1.0]]), 2)
    [[2.0, 2.0, 1.0, 1.0, 1.0, 1.0]]
    """
    rewards = ops.convert_to_tensor(rewards)
    check_shapes("rewards (B, S)", rewards)
    check_integer(glimpses_per_target, "glimpses_per_target")
    to_come = ops.flip(ops.cumsum(ops.flip(rewards, 1), axis=1), 1)
    return ops.repeat(to_come, glimpses_per_target, axis=1)  # (B, T)


def advantages(rewards, baselines):
    """How much better it went than expected: `R - b_t`.

    Args:
        rewards: Float tensor of shape `(B,)`, or `(B, T)` of each decision.
        baselines: Float tensor of shape `(B, T)`.

    Returns:
        Tensor of shape `(B, T)`, without a gradient.

    Raises:
        ValueError: For shapes that do not belong together.

    Example:

    >>> advantages(np.ones(1), np.array([[0.5, 1.0]]))
    [[0.5, 0.0]]
    """
    return ops.stop_gradient(_errors(rewards, baselines))


def log_probability(samples, means, deviation):
    """How probable it was to draw that: `log π(u)` of a Gaussian policy.

    `log π(u) = -|u - μ|² / (2 σ²)`, without the constant `-D/2 log(2 π σ²)`,
    which teaches nothing: μ alone is learnt.

    Args:
        samples: Float tensor of shape `(..., D)`, u, which has no gradient
            here: what was drawn is no function of the mean.
        means: Float tensor of the same shape, μ.
        deviation: Float σ above 0, or a scalar tensor, which is not looked at.

    Returns:
        Tensor of shape `(...,)`.

    Raises:
        ValueError: For shapes that do not belong together, or a deviation that
            is not above 0.

    Example:

    >>> log_probability(np.array([[0.2, 0.0]]), np.zeros((1, 2)), 0.1)
    [-2.0]

    Reference:
        - Williams, "Simple statistical gradient-following algorithms for
          connectionist reinforcement learning", 1992, section 6.
    """
    samples, means = map(ops.convert_to_tensor, (samples, means))
    check_shapes("samples (..., D), means (..., D)", samples, means)
    if not ops.is_tensor(deviation):
        deviation = check_number(deviation, "deviation", above=True)
    distances = ops.stop_gradient(samples) - means
    return -ops.sum(ops.square(distances), axis=-1) / (2 * deviation**2)


def reinforce_losses(decisions, rewards, deviation):
    """Surrogate whose gradient is that of the report's Eq. 2, negative.

    `-Σ_t (R - b_t) log π(u_t | h_t)`, see `advantages` and `log_probability`:
    neither the reward nor the baseline nor what was drawn has a gradient here.

    Args:
        decisions: `Decision` of T steps: means and samples `(B, T, D)`,
            baselines `(B, T)`.
        rewards: Float tensor of shape `(B,)`, or `(B, T)` of each decision.
        deviation: As of `log_probability`.

    Returns:
        Tensor of shape `(B,)`.

    Raises:
        ValueError: For shapes that do not belong together, or a deviation that
            is not above 0.

    Example:

    >>> decision = Decision(
    ...     means=np.zeros((1, 1, 2), "float32"),
    ...     samples=np.array([[[0.1, 0.0]]], "float32"),
    ...     baselines=np.zeros((1, 1), "float32"),
    ... )
    >>> reinforce_losses(decision, np.ones(1, "float32"), deviation=0.1)
    [0.5]

    Reference:
        - Jatakia, Rane, Rao, "Recurrent Attention Model for Image
          Classification", Eq. 2.
    """
    means, samples, baselines = map(ops.convert_to_tensor, decisions)
    check_shapes(
        "means (B, T, D), samples (B, T, D), baselines (B, T)",
        means, samples, baselines,
    )  # fmt: skip
    log_policy = log_probability(samples, means, deviation)  # (B, T)
    return -ops.sum(advantages(rewards, baselines) * log_policy, axis=1)


def baseline_losses(decisions, rewards):
    """What the baselines learn: `Σ_t (R - b_t)²`.

    Args:
        decisions: `Decision` of T steps, baselines `(B, T)`.
        rewards: Float tensor of shape `(B,)`, or `(B, T)` of each decision.

    Returns:
        Tensor of shape `(B,)`.

    Raises:
        ValueError: For shapes that do not belong together.

    Example:

    >>> decision = Decision(None, None, baselines=np.array([[0.5, 1.0]]))
    >>> baseline_losses(decision, np.ones(1))
    [0.25]
    """
    errors = _errors(rewards, decisions.baselines)
    return ops.sum(ops.square(errors), axis=1)


def _errors(rewards, baselines):
    """`R - b_t`, (B, T); the reward is no wish, and has no gradient."""
    rewards, baselines = map(ops.convert_to_tensor, (rewards, baselines))
    if len(rewards.shape) == 1:
        check_shapes("rewards (B), baselines (B, T)", rewards, baselines)
        rewards = rewards[:, None]  # (B, 1)
    else:
        check_shapes("rewards (B, T), baselines (B, T)", rewards, baselines)
    return ops.stop_gradient(rewards) - baselines  # (B, T)
