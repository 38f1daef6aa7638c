"""Metrics against NumPy, and over several batches."""

import numpy as np
import pytest

from keras_edram import geometry, metrics
from keras_edram.metrics import AverageError, GlimpseError, WindowIoU

B, S, N, K = 6, 2, 3, 4


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def random_labels(generator):
    labels = generator.integers(0, K, (B, S))
    labels[1, 0] = labels[4, 1] = -1
    return labels, 2 * generator.normal(size=(B, S, N, K))


def random_transforms(generator):
    true = generator.uniform(0.2, 0.8, (B, S, 2, 3))
    true[1, 0] = true[4, 1] = 0
    return true, generator.uniform(0.2, 0.8, (B, S, N, 2, 3))


def average_error(labels, logits):
    """argmax_k Σ_j p_ijk ≠ y_i, over the targets that exist."""
    powers = np.exp(logits)
    p = (powers / powers.sum(-1, keepdims=True)).sum(2)
    return (p.argmax(-1) != labels)[labels >= 0].mean()


def glimpse_error(labels, logits, glimpse):
    answers = logits[:, :, glimpse].argmax(-1)
    return (answers != labels)[labels >= 0].mean()


def window_iou(true, transforms, glimpse):
    overlap = geometry.window_iou(true, transforms[:, :, glimpse])
    return np.asarray(overlap)[(true != 0).any((-1, -2))].mean()


def test_label_errors_of_any_rank(generator):
    labels, logits = random_labels(generator)
    expected = np.empty((B, S, N))
    for b, i, j in np.ndindex(B, S, N):
        expected[b, i, j] = logits[b, i, j].argmax() != labels[b, i]
    errors = metrics.label_errors(labels, logits)
    assert errors.dtype == "float32"
    np.testing.assert_array_equal(errors, expected)
    np.testing.assert_array_equal(
        metrics.label_errors(labels, logits[:, :, 1]), expected[..., 1]
    )


def test_the_average_error_averages_probabilities_not_logits():
    # One glimpse is sure of 0, by a probability of 1; the other two find 1 a
    # little likelier, 0.69: 0 has 1 + 2 * 0.31, 1 has 2 * 0.69.
    logits = np.array([[[[9.0, 0], [0, 0.8], [0, 0.8]]]])
    assert AverageError()(np.array([[0]]), logits) == 0
    # A mean of logits would choose 0, by 9 to 8; but 0 has a probability of
    # 1 + 2 * 0.02, and 1 has 2 * 0.98.
    logits = np.array([[[[9.0, 0], [0, 4], [0, 4]]]])
    assert AverageError()(np.array([[1]]), logits) == 0


def test_the_average_error_of_two_batches(generator):
    labels, logits = random_labels(generator)
    metric = AverageError()
    metric.update_state(labels[:2], logits[:2])
    metric.update_state(labels[2:], logits[2:])
    expected = average_error(labels, logits)
    assert 0 < expected < 1
    np.testing.assert_allclose(metric.result(), expected, rtol=1e-6)
    metric.reset_state()
    assert metric.result() == 0


@pytest.mark.parametrize("glimpse", [0, 1, -1])
def test_the_error_of_one_glimpse_of_two_batches(generator, glimpse):
    labels, logits = random_labels(generator)
    metric = GlimpseError(glimpse)
    metric.update_state(labels[:2], logits[:2])
    metric.update_state(labels[2:], logits[2:])
    expected = glimpse_error(labels, logits, glimpse)
    np.testing.assert_allclose(metric.result(), expected, rtol=1e-6)


def test_each_glimpse_has_an_error_of_its_own(generator):
    labels, logits = random_labels(generator)
    errors = {float(GlimpseError(j)(labels, logits)) for j in range(N)}
    assert len(errors) > 1
    assert GlimpseError()(labels, logits) == GlimpseError(N - 1)(labels, logits)


@pytest.mark.parametrize("glimpse", [0, 1, -1])
def test_the_overlap_of_one_glimpse_of_two_batches(generator, glimpse):
    true, transforms = random_transforms(generator)
    metric = WindowIoU(glimpse)
    metric.update_state(true[:2], transforms[:2])
    metric.update_state(true[2:], transforms[2:])
    expected = window_iou(true, transforms, glimpse)
    assert 0 < expected < 1
    np.testing.assert_allclose(metric.result(), expected, rtol=1e-5)


def test_the_overlap_by_hand():
    # The whole image against its left half, and its right third of three.
    whole = [[1, 0, 0], [0, 1, 0]]
    half = [[0.5, 0, -0.5], [0, 1, 0]]
    third = [[1 / 3, 0, 2 / 3], [0, 1, 0]]
    true = np.array([[half, third]])
    transforms = np.array([[[whole], [whole]]])
    np.testing.assert_allclose(
        WindowIoU()(true, transforms), (1 / 2 + 1 / 3) / 2, rtol=1e-5
    )


@pytest.mark.parametrize("glimpse", [N, 9, -N - 1])
def test_a_glimpse_that_is_none_of_them_is_refused(generator, glimpse):
    for metric, inputs in (
        (GlimpseError(glimpse), random_labels(generator)),
        (WindowIoU(glimpse), random_transforms(generator)),
    ):
        with pytest.raises(
            ValueError, match=f"among the {N}. Received: glimpse={glimpse}"
        ):
            metric(*inputs)


@pytest.mark.parametrize("glimpse", [1.5, 1.0, True, "1", None])
@pytest.mark.parametrize("metric", [GlimpseError, WindowIoU])
def test_a_glimpse_that_is_no_integer_is_refused(metric, glimpse):
    with pytest.raises(ValueError, match="Received: glimpse="):
        metric(glimpse)


@pytest.mark.parametrize("metric", [AverageError(), GlimpseError()])
def test_an_absent_target_is_no_error(metric):
    labels = np.array([[0, -1], [-1, -1]])
    logits = np.zeros((2, 2, 1, 3))
    logits[..., 0] = 1
    assert metric(labels, logits) == 0
    logits[0, 0, :, 1] = 2  # the only target is read wrongly now
    metric.reset_state()
    assert metric(labels, logits) == 1


@pytest.mark.parametrize("metric", [AverageError, GlimpseError])
def test_an_answer_that_is_no_number_is_wrong(metric):
    """Though its largest is found at the first class."""
    answers = np.zeros((2, 1, 2, 4), "float32")
    answers[0, ..., 2] = np.nan
    metric = metric()
    metric.update_state(np.array([[0], [0]]), answers)
    assert float(metric.result()) == 0.5


def test_an_absent_target_has_no_overlap_to_count():
    true = np.zeros((1, 2, 2, 3))
    true[0, 1] = geometry.IDENTITY
    transforms = np.tile(geometry.IDENTITY, (1, 2, 1, 1, 1))
    assert WindowIoU()(true, transforms) == 1
    assert WindowIoU()(np.zeros_like(true), transforms) == 0


@pytest.mark.parametrize("metric", [AverageError(), GlimpseError()])
def test_extreme_logits_do_not_overflow(metric):
    # exp(1e4) is beyond float64, and inf / inf would be no class at all.
    logits = np.array([[[[-1e4, 1e4, 0], [0, 1e4, -1e4]]]], "float32")
    assert metric(np.array([[1]]), logits) == 0


@pytest.mark.parametrize(
    "labels, probabilities",
    [
        ((B,), (B, S, K)),
        ((B, S, N), (B, S, N, K)),
        ((B, 1), (B, S, K)),
        ((B, S), (B, 1, K)),
        ((B, S), (B, S)),
        ((B, S), (B,)),
        ((1, S), (B, S, K)),
        ((B, S), (1, S, K)),
    ],
)
def test_labels_and_probabilities_that_do_not_fit_are_refused(
    labels, probabilities
):
    with pytest.raises(ValueError, match="Received: labels of shape"):
        metrics.label_errors(np.zeros(labels, "int32"), np.zeros(probabilities))


def test_the_spread_is_the_deviation_over_the_images(generator):
    _, transforms = random_transforms(generator)
    # Each glimpse twice as far about as the one before.
    transforms[..., 2] *= np.array([1.0, 2.0, 4.0])[:, None]
    expected = np.empty(N)
    for j in range(N):
        deviations = [
            np.sqrt(np.mean((places - places.mean()) ** 2))
            for i in range(S)
            for places in transforms[:, i, j, :, 2].T  # x, then y
        ]
        expected[j] = np.mean(deviations)
    spread = metrics.location_spread(transforms.astype("float32"))
    assert spread.shape == (N,)
    np.testing.assert_allclose(spread, expected, rtol=1e-5)


def test_looking_at_the_same_places_has_no_spread(generator):
    _, transforms = random_transforms(generator)
    transforms[:] = transforms[0]
    # How wide a window is does not matter.
    transforms[..., :2] = generator.uniform(size=(B, S, N, 2, 2))
    spread = metrics.location_spread(transforms.astype("float32"))
    np.testing.assert_allclose(spread, np.zeros(N), atol=1e-6)


@pytest.mark.parametrize("shape", [(B, N, 2, 3), (B, S, N, 3, 2), (B, S, N, 6)])
def test_the_spread_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match="Received: transforms of shape"):
        metrics.location_spread(np.zeros(shape))


def test_a_sequence_is_right_when_all_its_targets_are():
    # Classes 0, 1 and the terminal 2; by image: right, the end is missed, the
    # object is wrong, right (what follows the end does not count).
    labels = np.array([[0, 2, -1], [1, 0, 2], [1, 2, -1], [1, 2, -1]])
    read = np.array([[0, 2, 0], [1, 0, 1], [0, 2, 2], [1, 2, 1]])
    logits = 5 * np.eye(3)[read][:, :, None]
    assert float(metrics.SequenceError()(labels, logits)) == 0.5
    # The mean of the glimpses counts, here of a sure and an unsure one.
    two = np.concatenate([logits, np.eye(3)[(read + 1) % 3][:, :, None]], 2)
    assert float(metrics.SequenceError()(labels, two)) == 0.5


def test_calibration_is_the_gap_between_stated_and_true():
    # 0.75 said of four answers, three are right: no gap. 0.5 said of two,
    # none is right: a gap of 0.5 on a third of the answers.
    p = [0.75] * 4 + [0.5] * 2
    wrong = [0, 0, 1, 0, 1, 1]
    assert metrics.calibration_error(p, wrong) == pytest.approx(0.5 * 2 / 6)
    # In one bin gaps of either sign cancel: (3.0 + 1.0 - 3) / 6.
    assert metrics.calibration_error(p, wrong, bins=1) == pytest.approx(1 / 6)
    assert metrics.calibration_error([1.0], [0]) == 0
    with pytest.raises(ValueError, match="Received: bins=0"):
        metrics.calibration_error(p, wrong, bins=0)
    with pytest.raises(ValueError, match="Received: bins=2.5"):
        metrics.calibration_error(p, wrong, bins=2.5)


@pytest.mark.parametrize(
    "measure",
    [
        lambda p: metrics.calibration_error(p, [0, 1]),
        lambda p: metrics.coverage_curve(p, [0, 1]),
        metrics.calibration_error_by_chance,
    ],
    ids=["calibration", "coverage", "by_chance"],
)
def test_probabilities_that_are_no_numbers_are_refused(measure):
    with pytest.raises(ValueError, match="must be numbers. Received: 1 of 2"):
        measure([0.5, np.nan])


def test_probabilities_that_are_right_have_a_calibration_error_by_chance():
    # Drawn: answers that come true exactly as often as is said of them.
    random = np.random.default_rng(0)
    for number in (100, 900, 10_000):
        p = 1 - random.beta(0.3, 3, number)
        drawn = [
            metrics.calibration_error(p, random.random(number) >= p)
            for _ in range(500)
        ]
        by_chance = metrics.calibration_error_by_chance(p)
        assert by_chance == pytest.approx(np.mean(drawn), rel=0.1)
    # sqrt(2 / π 0.25 · 4) / 4: the mean gap of four throws of a coin, nearly.
    assert metrics.calibration_error_by_chance([0.5] * 4) == pytest.approx(
        np.sqrt(2 / np.pi) / 4
    )
    assert metrics.calibration_error_by_chance([1.0 + 1e-7, 0.0]) == 0
    with pytest.raises(ValueError, match="Received: bins=0"):
        metrics.calibration_error_by_chance(p, bins=0)
    with pytest.raises(ValueError, match="one value for each answer"):
        metrics.calibration_error_by_chance(0.5)


def test_the_least_sure_answers_are_refused_first():
    coverage, error, confidence = metrics.coverage_curve(
        [0.2, 0.9, 0.5, 0.7], [1, 0, 1, 0]
    )
    np.testing.assert_allclose(coverage, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(error, [0, 0, 1 / 3, 0.5])
    np.testing.assert_allclose(confidence, [0.9, 0.7, 0.5, 0.2])
    with pytest.raises(ValueError, match=r"errors of shape \(1,\)"):
        metrics.coverage_curve([0.5, 0.5], [1])
