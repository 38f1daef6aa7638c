"""Losses against their equations, in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_edram import losses
from keras_edram.losses import LabelLoss, TransformLoss

B, S, N, K = 3, 2, 4, 5


def softmax(logits):
    powers = np.exp(logits)
    return powers / powers.sum(-1, keepdims=True)


def random_labels(generator):
    return generator.integers(0, K, (B, S)), generator.normal(size=(B, S, N, K))


def random_transforms(generator):
    true = generator.normal(size=(B, S, 2, 3))
    return true, generator.normal(size=(B, S, N, 2, 3))


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def test_label_losses_are_equation_8(generator):
    labels, logits = random_labels(generator)
    expected = np.empty((B, S, N))
    for b, i, j in np.ndindex(B, S, N):
        expected[b, i, j] = -np.log(softmax(logits[b, i, j])[labels[b, i]])
    np.testing.assert_allclose(
        losses.label_losses(labels, logits), expected, rtol=1e-5
    )


def test_transform_losses_are_equation_9(generator):
    true, transforms = random_transforms(generator)
    beta = [1, 2, 3, 4, 5, 6]
    expected = np.zeros((B, S, N))
    for b, i, j in np.ndindex(B, S, N):
        for k in range(6):
            theta = transforms[b, i, j].flat[k]
            expected[b, i, j] += beta[k] * (theta - true[b, i].flat[k]) ** 2
    np.testing.assert_allclose(
        losses.transform_losses(true, transforms, beta), expected, rtol=1e-5
    )


def test_relative_errors_are_in_halves_of_the_window_that_is_taught(generator):
    true, transforms = random_transforms(generator)
    true = 0.2 * true  # some errors are beyond a half, some are not
    beta, enlarged = [1, 2, 3, 4, 5, 6], range(N, 0, -1)
    expected, beyond = np.zeros((B, S, N)), 0
    for b, i, j in np.ndindex(B, S, N):
        window = true[b, i].astype("float64")
        window[:, :2] *= enlarged[j]
        for row, column in np.ndindex(2, 3):
            half = np.hypot(*window[row, :2])
            error = transforms[b, i, j, row, column] - window[row, column]
            error = abs(error) / half
            beyond += error > 1
            cost = error**2 if error < 1 else 2 * error - 1
            expected[b, i, j] += beta[3 * row + column] * cost
    assert 0 < beyond < 6 * expected.size
    found = losses.transform_losses(true, transforms, beta, True, enlarged)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    loss = TransformLoss(beta, relative=True, enlarged=enlarged)
    np.testing.assert_allclose(
        loss(true, transforms), expected.sum() / N / B, rtol=1e-4
    )


def test_half_a_digit_costs_as_much_in_an_image_of_any_size():
    costs = [
        TransformLoss(relative=True)(
            np.array([[[[size, 0, 0], [0, size, 0]]]]),
            np.array([[[[[size, 0, size], [0, size, 0]]]]]),
        )
        for size in (0.5, 0.035)
    ]
    np.testing.assert_allclose(costs, 1, rtol=1e-5)


def test_an_absent_target_teaches_no_relative_window():
    windows = tf.random.uniform((2, 1, 2, 2, 3), seed=1)
    with tf.GradientTape() as tape:
        tape.watch(windows)
        loss = TransformLoss(relative=True, enlarged=(2, 1))(
            np.zeros((2, 1, 2, 3)), windows
        )
    assert loss == 0
    np.testing.assert_array_equal(tape.gradient(loss, windows), 0)


@pytest.mark.parametrize("enlarged", [(2, 0), (2, "1"), 2, (2, float("nan"))])
def test_windows_that_cannot_be_enlarged_are_refused(enlarged):
    with pytest.raises(ValueError, match="Received: enlarged="):
        TransformLoss(enlarged=enlarged)


def test_windows_are_enlarged_for_as_many_glimpses_as_there_are():
    loss = TransformLoss(enlarged=(4, 2, 1))
    with pytest.raises(ValueError, match="for each glimpse.*2 glimpses"):
        loss(np.ones((1, 1, 2, 3)), np.ones((1, 1, 2, 2, 3)))


def test_what_is_averaged_over_glimpses_and_summed_over_targets(generator):
    # Eq. 6: L = 1/N Σ_i Σ_j L_ij, for one image; Keras averages the batch.
    labels, logits = random_labels(generator)
    each = np.asarray(losses.label_losses(labels, logits))
    assert each.shape == (B, S, N)
    np.testing.assert_allclose(
        LabelLoss()(labels, logits), each.sum() / N / B, rtol=1e-5
    )


def test_where_is_averaged_over_glimpses_and_summed_over_targets(generator):
    true, transforms = random_transforms(generator)
    each = np.asarray(losses.transform_losses(true, transforms))
    assert each.shape == (B, S, N)
    np.testing.assert_allclose(
        TransformLoss()(true, transforms), each.sum() / N / B, rtol=1e-5
    )


def test_the_default_weights_are_those_of_the_paper():
    # Section 4.1: "β1, β3, β5 and β6 set to 1 whereas β2 and β4 are 0.5".
    expected = [1, 0.5, 1, 0.5, 1, 1]
    true = np.array([[[[0.5, 0, 0], [0, 0.5, 0]]]])
    for k in range(6):
        transforms = true[:, :, None].copy()
        transforms.reshape(-1)[k] += 1
        np.testing.assert_allclose(
            TransformLoss()(true, transforms), expected[k], rtol=1e-6
        )


def test_box_beta_leaves_the_skew_free():
    # Section 4.2: "only 4 parameters θ1, θ3, θ5, θ6 [...] are used".
    loss = TransformLoss(losses.BOX_BETA)
    true = np.array([[[[0.5, 0, 0.1], [0, 0.5, 0.2]]]])
    transforms = true[:, :, None].copy()
    transforms[..., 0, 1], transforms[..., 1, 0] = 7, -3
    assert loss(true, transforms) == 0
    transforms[..., 1, 2] += 2
    np.testing.assert_allclose(loss(true, transforms), 4)


def test_an_absent_target_has_no_label_loss(generator):
    labels, logits = random_labels(generator)
    full = np.array(losses.label_losses(labels, logits))
    labels[1, 0], labels[2, 1] = -1, -7
    each = np.asarray(losses.label_losses(labels, logits))
    full[1, 0] = full[2, 1] = 0
    np.testing.assert_array_equal(each, full)
    labels[:] = -1
    assert LabelLoss()(labels, logits) == 0


def test_an_absent_target_has_no_transform_loss(generator):
    true, transforms = random_transforms(generator)
    full = np.array(losses.transform_losses(true, transforms))
    true[0, 1] = true[2, 0] = 0
    each = np.asarray(losses.transform_losses(true, transforms))
    full[0, 1] = full[2, 0] = 0
    np.testing.assert_array_equal(each, full)
    assert TransformLoss()(np.zeros_like(true), transforms) == 0


def test_absent_targets_send_no_gradient_and_others_do(generator):
    labels, logits = random_labels(generator)
    labels[0, 0] = -1
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = LabelLoss()(labels, logits)
    gradient = tape.gradient(loss, logits).numpy()
    # Of softmax and cross entropy: p - y, divided by N and by B.
    expected = (softmax(logits.numpy()) - np.eye(K)[labels][:, :, None]) / N / B
    expected[0, 0] = 0
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_extreme_logits_do_not_overflow():
    # exp(1e4) is beyond float64; the loss is the difference of the logits.
    logits = np.array([[[[1e4, 0, -1e4]]]], "float32")
    for label, expected in enumerate([0, 1e4, 2e4]):
        loss = LabelLoss()(np.array([[label]]), logits)
        np.testing.assert_allclose(loss, expected, rtol=1e-6)


@pytest.mark.parametrize("label", [np.nan, 1.7, -0.5, 4.0])
def test_a_label_that_is_none_is_no_absent_one_in_a_graph(label):
    """Where it cannot be seen, its loss is no number."""
    found = tf.function(losses.label_losses)(
        tf.constant([[label], [1.0], [-1.0]]), tf.zeros((3, 1, 2, 4))
    )
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1], np.log(4), rtol=1e-6)
    assert not np.any(found[2])


def test_integers_of_any_kind_are_labels(generator):
    labels, logits = random_labels(generator)
    expected = LabelLoss()(labels, logits)
    for dtype in ("uint8", "int32", "int64", "float32"):
        np.testing.assert_array_equal(
            LabelLoss()(labels.astype(dtype), logits), expected
        )


def test_sample_weights_count_images(generator):
    labels, logits = random_labels(generator)
    each = np.asarray(losses.label_losses(labels, logits)).sum((1, 2)) / N
    weights = np.array([1.0, 0.0, 3.0])
    np.testing.assert_allclose(
        LabelLoss()(labels, logits, sample_weight=weights),
        (weights * each).sum() / B,
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    "labels, logits",
    [
        ((B,), (B, S, N, K)),
        ((B, S, 1), (B, S, N, K)),
        ((B, S), (B, N, K)),
        ((B, 1), (B, S, N, K)),
        ((B, S), (B, 1, N, K)),
        ((B, S), (B, S, K)),
        ((1, S), (B, S, N, K)),
        ((B, S), (1, S, N, K)),
        ((B + 1, S), (B, S, N, K)),
    ],
)
@pytest.mark.parametrize("loss", [losses.label_losses, LabelLoss()])
def test_labels_and_logits_that_do_not_fit_are_refused(loss, labels, logits):
    with pytest.raises(ValueError, match="Received: labels of shape"):
        loss(np.zeros(labels, "int32"), np.zeros(logits))


@pytest.mark.parametrize(
    "true, transforms",
    [
        ((B, 2, 3), (B, S, N, 2, 3)),
        ((B, S, 6), (B, S, N, 2, 3)),
        ((B, S, 2, 3), (B, S, 2, 3)),
        ((B, 1, 2, 3), (B, S, N, 2, 3)),
        ((B, S, 1, 3), (B, S, N, 2, 3)),
        ((B, S, 2, 3), (B, S, N, 2, 1)),
        ((B, S, 3, 2), (B, S, N, 3, 2)),
        ((B, S, 2, 1), (B, S, N, 2, 1)),
        ((1, S, 2, 3), (B, S, N, 2, 3)),
        ((B, S, 2, 3), (1, S, N, 2, 3)),
    ],
)
@pytest.mark.parametrize("loss", [losses.transform_losses, TransformLoss()])
def test_transforms_that_do_not_fit_are_refused(loss, true, transforms):
    with pytest.raises(ValueError, match="Received: true_transforms of shape"):
        loss(np.ones(true), np.zeros(transforms))


@pytest.mark.parametrize(
    "labels, logits",
    [
        ((None, 1), (None, S, None, None)),
        ((2, None), (3, None, N, K)),
    ],
)
def test_what_is_known_in_a_graph_is_compared(labels, logits):
    call = tf.function(lambda *tensors: losses.label_losses(*tensors))
    with pytest.raises(ValueError, match="Received: labels of shape"):
        call.get_concrete_function(
            tf.TensorSpec(labels, "int32"), tf.TensorSpec(logits)
        )


def test_the_mean_of_losses_is_that_of_the_labels(generator):
    labels, logits = random_labels(generator)
    each = np.asarray(losses.label_losses(labels, logits)).sum((1, 2)) / N
    for weights in (None, np.array([1.0, 0.0, 3.0])):
        np.testing.assert_allclose(
            losses.batch_mean(each, weights),
            LabelLoss()(labels, logits, sample_weight=weights),
            rtol=1e-5,
        )
    with pytest.raises(ValueError, match="Received: losses of shape"):
        losses.batch_mean(np.ones((B, 1)))
    for shape in [(1,), (B, 2), (B, 1, 1)]:
        with pytest.raises(ValueError, match="sample_weight of shape"):
            losses.batch_mean(np.ones(B), np.ones(shape))


@pytest.mark.parametrize(
    "beta",
    [
        (1, 2, 3),
        np.ones((2, 3)),
        (1,) * 5 + (-1,),
        (1,) * 5 + (np.nan,),
        (1,) * 5 + (np.inf,),
        "paper",
        None,
    ],
)
def test_weights_that_are_not_six_or_negative_are_refused(beta):
    with pytest.raises(ValueError, match="Received: beta="):
        TransformLoss(beta)
    with pytest.raises(ValueError, match="Received: beta="):
        losses.transform_losses(
            np.ones((1, 1, 2, 3)), np.ones((1, 1, 1, 2, 3)), beta
        )


def test_float16_transforms_are_compared_with_float32_truth():
    true = np.array([[[[0.5, 0, 0], [0, 0.5, 0]]]], "float32")
    whole = keras.ops.cast([[[[[1, 0, 0], [0, 1, 0]]]]], "float16")
    # (1 - 0.5)² twice.
    np.testing.assert_allclose(TransformLoss()(true, whole), 0.5)
