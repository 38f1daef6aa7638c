"""REINFORCE with a learnt baseline, for a policy that is a Gaussian.

    L = - w_π Σ_t (R - b_t) log π(u_t | h_t) + w_b Σ_t (R - b_t)²

Letters in shapes: B batch, T steps, K classes.
"""

from typing import Any, NamedTuple

from keras import ops


class Decision(NamedTuple):
    """What the policy decided after a glimpse, and what REINFORCE needs.

    Attributes:
        means: `(B, 2)`, μ_t, the mean of the policy.
        samples: `(B, 2)`, u_t, the location that was drawn, which may lie
            outside of the image; without sampling, the mean.
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

    Example:

    >>> answer_rewards(np.array([[1]]), np.array([[[[0.2, 0.7, 0.1]]]]))
    [1.0]
    """
    answers = ops.argmax(logits[:, 0, -1], axis=-1)  # (B,)
    right = answers == ops.cast(labels[:, 0], answers.dtype)
    return ops.stop_gradient(ops.cast(right, "float32"))


def reinforce_losses(decisions, rewards, deviation):
    """Surrogate whose gradient is that of the report's Eq. 2, negative.

    `-Σ_t (R - b_t) log π(u_t | h_t)`, with
    `log π(u | h) = -|u - μ|² / (2 σ²)` up to a constant. Neither the reward
    nor the baseline nor what was drawn has a gradient here.

    Args:
        decisions: `Decision` of T steps: means and samples `(B, T, 2)`,
            baselines `(B, T)`.
        rewards: Float tensor of shape `(B,)`.
        deviation: Float σ.

    Returns:
        Tensor of shape `(B,)`.

    Example:

    >>> decision = Decision(
    ...     means=np.zeros((1, 1, 2), "float32"),
    ...     samples=np.array([[[0.1, 0.0]]], "float32"),
    ...     baselines=np.zeros((1, 1), "float32"),
    ... )
    >>> reinforce_losses(decision, np.ones(1, "float32"), deviation=0.1)
    [0.5]
    """
    advantages = ops.stop_gradient(rewards[:, None] - decisions.baselines)
    distances = ops.stop_gradient(decisions.samples) - decisions.means
    log_policy = -ops.sum(ops.square(distances), axis=-1) / (2 * deviation**2)
    return -ops.sum(advantages * log_policy, axis=1)


def baseline_losses(decisions, rewards):
    """What the baselines learn: `Σ_t (R - b_t)²`.

    Args:
        decisions: `Decision` of T steps, baselines `(B, T)`.
        rewards: Float tensor of shape `(B,)`.

    Returns:
        Tensor of shape `(B,)`.

    Example:

    >>> decision = Decision(None, None, baselines=np.array([[0.5, 1.0]]))
    >>> baseline_losses(decision, np.ones(1))
    [0.25]
    """
    errors = ops.stop_gradient(rewards)[:, None] - decisions.baselines
    return ops.sum(ops.square(errors), axis=1)
