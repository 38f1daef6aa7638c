"""REINFORCE against its equations: NumPy, and a gradient that is known."""

import math

import numpy as np
import pytest
import tensorflow as tf
from keras import KerasTensor

from keras_edram.reinforce import (
    Decision,
    advantages,
    answer_rewards,
    baseline_losses,
    log_probability,
    reinforce_losses,
    rewards_to_come,
    target_rewards,
)

DEVIATION = 0.2
MEANS = np.array([[0.1, -0.2], [-0.3, 0.25]])  # μ of two decisions
TARGET, WIDTH = np.array([0.3, -0.1]), 0.4


def random_decisions(num_images=5, num_steps=3):
    generator = np.random.default_rng(2)
    means = generator.uniform(-1, 1, (num_images, num_steps, 2))
    samples = means + 0.2 * generator.normal(size=means.shape)
    baselines = generator.uniform(0, 1, means.shape[:2])
    arrays = (means, samples, baselines)
    return Decision(*(tf.constant(one, "float32") for one in arrays))


def test_the_advantage_is_what_the_baseline_did_not_expect():
    _, _, baselines = random_decisions()
    rewards = tf.constant([1.0, 0, 0, 1, 1])
    with tf.GradientTape() as tape:
        tape.watch([rewards, baselines])
        found = advantages(rewards, baselines)
    expected = [
        [reward - baseline for baseline in row]
        for reward, row in zip(rewards.numpy(), baselines.numpy(), strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert tape.gradient(found, [rewards, baselines]) == [None, None]


@pytest.mark.parametrize("numbers", [1, 2, 5])
def test_the_log_probability_is_that_of_a_gaussian_but_a_constant(numbers):
    generator = np.random.default_rng(4)
    samples, means = generator.normal(size=(2, 3, 4, numbers))
    # log Π_d 1 / (σ sqrt(2 π)) exp(-(u_d - μ_d)² / (2 σ²))
    density = np.exp(-((samples - means) ** 2) / (2 * DEVIATION**2))
    density = density / (DEVIATION * math.sqrt(2 * math.pi))
    constant = -numbers / 2 * math.log(2 * math.pi * DEVIATION**2)
    found = log_probability(samples, means, DEVIATION)
    assert found.shape == (3, 4)
    np.testing.assert_allclose(
        found + constant, np.log(density.prod(-1)), rtol=1e-5
    )


def test_reinforce_teaches_the_mean_and_nothing_else():
    means, samples, baselines = random_decisions()
    rewards = tf.constant([1.0, 0, 0, 1, 1])
    with tf.GradientTape() as tape:
        tape.watch([means, samples, baselines, rewards])
        # A sample as it is drawn, without a stop of its own.
        drawn = means + (samples - means)
        losses = reinforce_losses(
            Decision(means, drawn, baselines), rewards, deviation=0.2
        )
    found = tape.gradient(losses, [means, samples, baselines, rewards])
    assert found[1:] == [None, None, None]
    # Eq. 2: ∇_μ log π(u) = (u - μ) / σ², times the advantage; negative.
    advantage = (rewards[:, None] - baselines)[..., None]
    expected = -advantage * (samples - means) / 0.2**2
    np.testing.assert_allclose(found[0], expected, rtol=1e-4)


def test_a_wished_for_reward_teaches_nothing():
    """A reward of probabilities would have a gradient of its own."""
    rewards = tf.constant([1.0, 0, 0, 1, 1])
    with tf.GradientTape() as tape:
        tape.watch(rewards)
        losses = baseline_losses(random_decisions(), rewards)
    assert tape.gradient(losses, rewards) is None


def test_the_losses_are_sums_over_steps():
    decisions = random_decisions()
    means, samples, baselines = (np.asarray(part) for part in decisions)
    rewards = np.array([1, 0, 0, 1, 1], "float32")
    # -Σ_t (R - b_t) log π(u_t) and Σ_t (R - b_t)²
    log_policy = -((samples - means) ** 2).sum(-1) / (2 * DEVIATION**2)
    errors = rewards[:, None] - baselines
    np.testing.assert_allclose(
        reinforce_losses(decisions, rewards, DEVIATION),
        -(errors * log_policy).sum(1),
        rtol=1e-4,
    )
    np.testing.assert_allclose(
        baseline_losses(decisions, rewards), (errors**2).sum(1), rtol=1e-5
    )


def hill(locations):
    """exp(-|u - a|² / (2 s²))."""
    return np.exp(-((locations - TARGET) ** 2).sum(-1) / (2 * WIDTH**2))


def mean_of_hill(means):
    """Its mean over u ~ Normal(μ, σ²), a product of two Gaussians.

    `s² / (s² + σ²) exp(-|μ - a|² / (2 (s² + σ²)))` in two dimensions.
    """
    variance = WIDTH**2 + DEVIATION**2
    distance = ((means - TARGET) ** 2).sum(-1)
    return WIDTH**2 / variance * np.exp(-distance / (2 * variance))


def estimates(baselines, number=200_000):
    """Of ∇_μ E[R], one for each sample: `(number, 2, 2)`.

    The reward is that of both decisions, `R = hill(u_1) hill(u_2)`.
    """
    generator = np.random.default_rng(5)
    noise = DEVIATION * generator.normal(size=(number, *MEANS.shape))
    means = tf.constant(np.broadcast_to(MEANS, noise.shape))
    baselines = tf.constant(np.broadcast_to(baselines, noise.shape[:2]))
    rewards = tf.constant(hill(MEANS + noise).prod(-1))
    with tf.GradientTape() as tape:
        tape.watch(means)
        decisions = Decision(means, tf.constant(MEANS + noise), baselines)
        losses = reinforce_losses(decisions, rewards, DEVIATION)
    assert losses.shape == (number,)
    return -tape.gradient(losses, means).numpy()


def true_gradient():
    """∇_μt E[R] = E[R] (a - μ_t) / (s² + σ²), as decisions are independent."""
    expected = mean_of_hill(MEANS).prod()
    return expected * (TARGET - MEANS) / (WIDTH**2 + DEVIATION**2)


@pytest.mark.parametrize("baselines", [0.0, [0.4, 0.7]], ids=str)
def test_reinforce_estimates_the_gradient_of_the_expected_reward(baselines):
    """Eq. 1 and 2; a baseline takes nothing from the mean."""
    gradients = estimates(baselines)
    error = gradients.std(axis=0) / len(gradients) ** 0.5
    # Sharp enough to see a factor: all parts, of which none is zero.
    assert (error < 0.04 * np.abs(true_gradient())).all()
    assert (np.abs(gradients.mean(0) - true_gradient()) < 4 * error).all()


def test_a_baseline_lowers_the_variance():
    without = estimates(0.0).var(axis=0)
    expected_reward = mean_of_hill(MEANS).prod()
    assert (estimates(expected_reward).var(axis=0) < 0.6 * without).all()


def test_a_reward_raises_the_policy_where_it_was_drawn():
    """By hand: loss = (R - b) |u - μ|² / (2 σ²)."""
    decisions = Decision(
        means=np.array([[[0.0, 0.0]], [[0.0, 0.0]]]),
        samples=np.array([[[0.3, -0.1]], [[0.3, -0.1]]]),
        baselines=np.array([[0.25], [0.25]]),
    )
    losses = reinforce_losses(decisions, np.array([1.0, 0.0]), deviation=0.5)
    # 0.1 / (2 * 0.25) = 0.2 times 0.75 and -0.25.
    np.testing.assert_allclose(losses, [0.15, -0.05], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float32"])
def test_the_reward_is_one_for_a_right_answer(dtype):
    generator = np.random.default_rng(3)
    logits = generator.normal(size=(40, 1, 1, 4)).astype("float32")
    labels = generator.integers(0, 4, (40, 1))
    expected = logits[:, 0, 0].argmax(-1) == labels[:, 0]
    assert 0 < expected.mean() < 1
    rewards = answer_rewards(labels.astype(dtype), logits)
    assert rewards.dtype == "float32"
    np.testing.assert_array_equal(rewards, expected)


def test_targets_that_are_not_there_give_no_reward():
    logits = np.eye(4, dtype="float32")[[[1, 2, 0], [3, 3, 3]]][:, :, None]
    rewards = target_rewards(np.array([[1, 0, -1], [3, -1, 3]]), logits)
    np.testing.assert_array_equal(rewards, [[1, 0, 0], [1, 0, 1]])


@pytest.mark.parametrize("shape", [(2,), (2, 1), (1, 3), (2, 4)], ids=str)
def test_labels_of_other_targets_are_refused(shape):
    with pytest.raises(ValueError, match="Received: labels of shape"):
        target_rewards(np.zeros(shape, "int32"), np.zeros((2, 3, 1, 4)))


def test_a_decision_is_paid_for_its_target_and_those_after():
    rewards = np.random.default_rng(5).normal(size=(6, 4))
    expected = np.zeros((6, 12))
    for i, t in np.ndindex(expected.shape):
        for s in range(4):
            if s >= t // 3:  # target s has the glimpses 3 s to 3 s + 2
                expected[i, t] += rewards[i, s]
    np.testing.assert_allclose(rewards_to_come(rewards, 3), expected)


def test_what_are_no_rewards_of_targets_is_refused():
    with pytest.raises(ValueError, match="Received: rewards of shape"):
        rewards_to_come(np.zeros(3), 2)
    with pytest.raises(ValueError, match="Received: glimpses_per_target=0"):
        rewards_to_come(np.zeros((3, 2)), 0)


def test_each_decision_may_have_a_reward_of_its_own():
    rewards = np.array([[2.0, 1.0], [0.0, 1.0]])
    baselines = np.array([[0.5, 0.5], [0.25, 0.0]])
    np.testing.assert_allclose(
        advantages(rewards, baselines), [[1.5, 0.5], [-0.25, 1.0]]
    )


B, T, D, K = 3, 4, 2, 5
WRONG_REWARDS = [(1,), (B + 1,), (B, 1), (B, T + 1), (1, T), ()]


@pytest.mark.parametrize("shape", WRONG_REWARDS, ids=str)
def test_rewards_of_neither_images_nor_decisions_are_refused(shape):
    # Many of these would broadcast.
    parts = [np.zeros((B, T, D)), np.zeros((B, T, D)), np.zeros((B, T))]
    decisions, rewards = Decision(*parts), np.ones(shape)
    for call in (
        lambda: advantages(rewards, decisions.baselines),
        lambda: baseline_losses(decisions, rewards),
        lambda: reinforce_losses(decisions, rewards, DEVIATION),
    ):
        with pytest.raises(ValueError, match="Received: rewards of shape"):
            call()


@pytest.mark.parametrize(
    "means, samples, baselines",
    [
        ((B, T, D), (B, 1, D), (B, T)),
        ((B, T, D), (1, T, D), (B, T)),
        ((B, T, D), (B, T, 1), (B, T)),
        ((B, T, D), (B, T, D), (B, 1)),
        ((B, T, D), (B, T, D), (B,)),
        ((1, T, D), (1, T, D), (B, T)),
        ((B, D), (B, D), (B,)),
    ],
    ids=str,
)
def test_decisions_that_do_not_belong_together_are_refused(
    means, samples, baselines
):
    decisions = Decision(*map(np.zeros, (means, samples, baselines)))
    with pytest.raises(ValueError, match="Received: means of shape"):
        reinforce_losses(decisions, np.ones(B), DEVIATION)


@pytest.mark.parametrize(
    "samples, means", [((B, D), (1, D)), ((B, T, D), (B, D)), ((B, D), (B, 1))]
)
def test_samples_of_other_means_are_refused(samples, means):
    with pytest.raises(ValueError, match="Received: samples of shape"):
        log_probability(np.zeros(samples), np.zeros(means), DEVIATION)


def test_what_is_known_in_a_graph_is_compared():
    with pytest.raises(ValueError, match=r"rewards of shape \(2,\)"):
        advantages(KerasTensor((2,)), KerasTensor((3, None)))
    assert advantages(KerasTensor((None,)), KerasTensor((3, 4))).shape == (3, 4)


@pytest.mark.parametrize("deviation", [0, -0.1, np.nan, np.inf, "0.1", None])
def test_a_deviation_that_is_none_is_refused(deviation):
    with pytest.raises(ValueError, match="above 0. Received: deviation="):
        log_probability(np.zeros((B, D)), np.zeros((B, D)), deviation)


@pytest.mark.parametrize(
    "labels, logits",
    [
        ((1, 1), (B, 1, 1, K)),
        ((B,), (B, 1, 1, K)),
        ((B, 2), (B, 1, 1, K)),
        ((B, 1), (B, 1, 1)),
        ((B, 1), (B, 2, 1, K)),
        ((B, 1), (B, 1, 6, K)),
    ],
)
def test_labels_of_other_answers_are_refused(labels, logits):
    with pytest.raises(ValueError, match="Received: labels of shape"):
        answer_rewards(np.zeros(labels, "int32"), np.zeros(logits))


def test_a_label_that_is_no_class_is_refused():
    with pytest.raises(ValueError, match="a label 5"):
        answer_rewards(np.array([[5]]), np.zeros((1, 1, 1, K)))
