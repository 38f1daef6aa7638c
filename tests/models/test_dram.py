"""DRAM: its equations, its rewards, and that it learns to look."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny
from keras import ops
from tiny import shake

from keras_edram import anytime, decoding
from keras_edram.losses import LabelLoss
from keras_edram.metrics import SequenceError
from keras_edram.models import DRAM, Ensemble

B, S, N, K = 3, 2, 2, 4
TINY = dict(
    image_shape=(20, 14, 2),
    num_classes=K,
    num_targets=S,
    glimpses_per_target=N,
    glimpse_size=9,
    context_size=9,
    context_filters=(3, 4, 5),
    glimpse_filters=(4, 3, 5),
    units=8,
    hidden_units=12,
    seed=1,
)
# The second image has one target alone.
LABELS = np.array([[0, 1], [2, -1], [3, 3]])


def make_model(**changes):
    return shake(DRAM(**{**TINY, **changes}))


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 256, (B, 20, 14, 2), "uint8")


def random_state(model, images):
    """A state with another value everywhere."""
    pyramid, state = model.start(images)
    generator = np.random.default_rng(2)
    values = generator.normal(size=(4, B, 8)).astype("float32")
    return pyramid, type(state)(state.step, *map(tf.constant, values))


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def slow_lstm(cell, inputs, hidden, carry):
    gates = inputs @ cell.kernel.numpy() + cell.bias.numpy()
    gates = gates + hidden @ cell.recurrent_kernel.numpy()
    take_in, forget, new, out = np.split(gates, 4, axis=-1)
    carry = sigmoid(forget) * carry + sigmoid(take_in) * np.tanh(new)
    return sigmoid(out) * np.tanh(carry), carry


def slow_dense(layer, values):
    return values @ layer.kernel.numpy() + layer.bias.numpy()


# The equations


def test_a_step_is_the_equations_of_the_docstring(images):
    model = make_model()
    pyramid, state = random_state(model, images)
    glimpse, following = model.step(pyramid, state)
    _, *states = (np.asarray(values) for values in state)
    what, what_cell, where, where_cell = states

    emitted = np.maximum(slow_dense(model.emission, where), 0)
    location = np.tanh(slow_dense(model.location, emitted))
    np.testing.assert_allclose(glimpse.decision.means, location, rtol=1e-4)
    np.testing.assert_allclose(
        glimpse.transforms[..., 2], location, rtol=1e-4, atol=1e-5
    )
    baselines = slow_dense(model.baseline, emitted)[:, 0]
    np.testing.assert_allclose(
        glimpse.decision.baselines, baselines, rtol=1e-4, atol=1e-5
    )
    features = model.glimpse_features(glimpse.patches, location, 0)
    g = np.asarray(features["what"]) * np.asarray(features["where"])
    what, what_cell = slow_lstm(model.what_lstm, g, what, what_cell)
    where, where_cell = slow_lstm(model.where_lstm, what, where, where_cell)
    expected = what, what_cell, where, where_cell
    assert following.step == 1
    for found, values in zip(following[1:], expected, strict=True):
        np.testing.assert_allclose(found, values, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        glimpse.logits, model.classification_network(what, 0), rtol=1e-4
    )


def test_what_is_seen_are_the_pixels_around_the_location(images):
    model = make_model(image_shape=(40, 24, 2))
    images = np.random.default_rng(3).integers(0, 256, (B, 40, 24, 2), "uint8")
    # Pixel (column 15, row 18), of an image 24 wide and 40 high.
    place = np.array([2 * 15.5 / 24 - 1, 2 * 18.5 / 40 - 1])
    model.location.kernel.assign(np.zeros((12, 2)))
    model.location.bias.assign(np.arctanh(place))
    looks = model.glimpses(images)
    assert looks["patches"].shape == (B, S, N, 9, 9, 2 * 2)  # 2 scales
    for s, n in np.ndindex(S, N):
        np.testing.assert_allclose(
            looks["patches"][:, s, n, ..., :2],
            images[:, 14:23, 11:20] / 255,
            atol=1e-4,
        )
    window = [[9 / 24, 0, place[0]], [0, 9 / 40, place[1]]]
    np.testing.assert_allclose(
        looks["transforms"],
        np.broadcast_to(window, (B, S, N, 2, 3)),
        atol=1e-6,
    )


def test_the_context_says_where_to_look_first_and_nothing_else(images):
    model = make_model()
    pyramid, state = model.start(images)
    assert np.abs(state.where_hidden).min() > 0
    for zeros in (state.what_hidden, state.what_cell, state.where_cell):
        assert not np.any(zeros)
    # Each image is another, and so is its first location.
    first = np.asarray(model.next_windows(pyramid, state))[..., 2]
    assert np.abs(first[0] - first[1]).min() > 1e-4
    glimpse, _ = model.step(pyramid, state)
    np.testing.assert_allclose(glimpse.transforms[..., 2], first, atol=1e-6)
    # Wherever it looks, if all look there the context says no label.
    model.location.kernel.assign(np.zeros((12, 2)))
    other = state._replace(where_hidden=-state.where_hidden)
    np.testing.assert_allclose(
        model.step(pyramid, state)[0].logits,
        model.step(pyramid, other)[0].logits,
        rtol=1e-5,
    )


def test_the_context_network_sees_the_whole_image(images):
    model = make_model()
    states = []
    for row, column in [(0, 0), (0, 13), (19, 0), (19, 13), (10, 7)]:
        changed = images.copy()
        changed[:, row, column] = 255 - changed[:, row, column]
        states.append(model.start(changed)[1].where_hidden)
    before = model.start(images)[1].where_hidden
    for after in states:
        assert (np.abs(after - before).max(axis=1) > 1e-6).all()


def test_a_target_is_answered_after_its_last_glimpse(images):
    model = make_model()
    outputs = model(images)
    assert outputs["labels"].shape == (B, S, 1, K)
    assert outputs["transforms"].shape == (B, S, N, 2, 3)
    pyramid, state = model.start(images)
    for t in range(S * N):
        following = model.next_windows(pyramid, state)
        glimpse, state = model.step(pyramid, state)
        np.testing.assert_allclose(following, glimpse.transforms, atol=1e-6)
        target, which = divmod(t, N)
        np.testing.assert_allclose(
            outputs["transforms"][:, target, which], following, atol=1e-5
        )
        if which == N - 1:
            np.testing.assert_allclose(
                outputs["labels"][:, target, 0], glimpse.logits, atol=1e-5
            )


def test_it_has_the_parameters_of_the_paper():
    model = DRAM()

    def vision(channels, places):  # convolutions without an offset, γ and β
        kernels = 25 * channels * 64 + 9 * 64 * 64 + 9 * 64 * 128
        return kernels + 2 * 256 + places * 128 * 1024 + 2 * 1024

    context = vision(1, 4 * 4) + (1024 + 1) * 512  # 12x12 -> 4x4
    glimpse = vision(2, 6 * 6) + 2 * 1024 + 2 * 1024  # 14x14 -> 6x6, and where
    lstms = 4 * 512 * (1024 + 512 + 1) + 4 * 512 * (512 + 512 + 1)
    classification = 512 * 1024 + 2 * 1024 + (1024 + 1) * 11
    emission = (512 + 1) * 1024 + (1024 + 1) * (2 + 1)
    expected = context + glimpse + lstms + classification + emission
    found = sum(
        int(np.prod(weight.shape)) for weight in model.trainable_weights
    )
    assert found == expected
    # Table 3 of Ablavatski et al. says 14 million.
    assert found == pytest.approx(14e6, rel=0.01)


# What is learnt


def slow_losses(decisions, right, deviation):
    """Of each image, one number after the other."""
    means, samples, baselines = (np.asarray(part) for part in decisions)
    reinforce, baseline = np.zeros(B), np.zeros(B)
    for i in range(B):
        for t in range(S * N):
            reward = sum(right[i][s] for s in range(S) if s * N + N - 1 >= t)
            distance = ((samples[i, t] - means[i, t]) ** 2).sum()
            error = reward - baselines[i, t]
            reinforce[i] += error * distance / (2 * deviation**2)
            baseline[i] += error**2
    return reinforce, baseline


def test_a_location_is_paid_for_the_targets_to_come(images):
    model = make_model(
        location_deviation=0.3, reinforce_weight=0.5, baseline_weight=3.0
    )
    model.compile("sgd", {"labels": LabelLoss()})
    outputs = model(images, training=True)
    _, decisions = model._latest.call
    assert decisions.means.shape == (B, S * N, 2)
    # Both right; the second wrong; the second alone right.
    labels = outputs["labels"].numpy()[:, :, 0].argmax(-1)
    labels[1, 1] = -1  # no target
    labels[2, 0] = (labels[2, 0] + 1) % K
    reinforce, baseline = slow_losses(
        decisions, [[1, 1], [1, 0], [0, 1]], deviation=0.3
    )
    expected = LabelLoss()(labels, outputs["labels"])
    expected += 0.5 * reinforce.mean() + 3 * baseline.mean()
    found = model.compute_loss(images, {"labels": labels}, outputs)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def largest(tape, value, layer):
    found = tape.gradient(value, layer.trainable_variables)
    return [0.0 if one is None else np.abs(one).max() for one in found]


@pytest.mark.parametrize("detach_policy", [True, False])
def test_the_policy_teaches_where_to_look_and_what_is_seen_if_told(
    images, detach_policy
):
    model = make_model(detach_policy=detach_policy)
    with tf.GradientTape(persistent=True) as tape:
        outputs = model(images, training=True)
        _, decisions = model._latest.call
        answer = LabelLoss()(LABELS, outputs["labels"])
        policy = tf.reduce_sum(decisions.means)
        samples = tf.reduce_sum(decisions.samples)
    seeing = [model.what, model.where, model.what_lstm]
    looking = [model.where_lstm, model.context_output, model.emission]
    for layer in seeing:
        assert min(largest(tape, answer, layer)) > 0
        sizes = largest(tape, policy, layer)
        assert max(sizes) == 0 if detach_policy else min(sizes) > 0
    for layer in looking:
        assert min(largest(tape, policy, layer)) > 0
        assert max(largest(tape, answer, layer)) == 0
        assert max(largest(tape, samples, layer)) == 0


@pytest.mark.parametrize("detach_policy", [True, False])
def test_the_loss_teaches_every_weight(images, detach_policy):
    model = make_model(detach_policy=detach_policy)
    model.compile("sgd", {"labels": LabelLoss()})
    with tf.GradientTape() as tape:
        outputs = model(images, training=True)
        loss = model.compute_loss(images, {"labels": LABELS}, outputs)
    gradients = tape.gradient(loss, model.trainable_variables)
    missed = [
        weight.path
        for weight, one in zip(
            model.trainable_variables, gradients, strict=True
        )
        if one is None or not 0 < np.abs(one).max() < np.inf
    ]
    assert not missed


def test_it_is_fitted_with_metrics_and_saved(images, tmp_path):
    model = make_model(terminal=True, class_names=["a", "b", "c"])
    model.compile(
        "adam",
        {"labels": LabelLoss()},
        metrics={"labels": [SequenceError()]},
        run_eagerly=True,  # compiled it learns by heart, below
    )
    history = model.fit(
        images, LABELS, validation_data=(images, LABELS), verbose=0
    ).history
    assert np.isfinite(history["loss"]).all()
    assert {"val_loss", "labels_error"} <= set(history)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for name, expected in model(images).items():
        np.testing.assert_allclose(loaded(images)[name], expected, rtol=1e-5)


def test_a_model_around_it_is_told_that_it_learns_no_places(images):
    model = make_model()
    inputs = keras.Input(model.image_shape)
    outer = keras.Model(inputs, model(inputs))
    with pytest.warns(UserWarning, match="learnt by DRAM's own `fit` alone"):
        outer(images, training=True)


def two_bars(number, seed=0):
    """Pictures of two bars at any places, to be read from left to right.

    Label 0 lies, label 1 stands, 2 ends the sequence.
    """
    generator = np.random.default_rng(seed)
    images = np.zeros((number, 24, 36, 1), "uint8")
    labels = np.full((number, 3), 2, "int32")
    for image, label in zip(images, labels, strict=True):
        for s in range(2):
            kind = label[s] = generator.integers(2)
            height, width = (9, 3) if kind else (3, 9)
            row = generator.integers(0, 24 - height + 1)
            column = 18 * s + generator.integers(0, 18 - width + 1)
            image[row : row + height, column : column + width] = 255
    return images, labels


@pytest.mark.slow
def test_it_learns_64_pictures_by_heart():
    keras.utils.set_random_seed(0)
    images, labels = two_bars(64)
    model = DRAM(
        (24, 36, 1),
        3,
        num_targets=3,
        glimpses_per_target=2,
        glimpse_size=12,
        context_filters=(8, 8, 16),
        glimpse_filters=(8, 8, 16),
        units=64,
        hidden_units=64,
        location_deviation=0.1,
        location_penalty=0.02,
        seed=1,
    )
    model.compile(
        keras.optimizers.Adam(3e-3),
        {"labels": LabelLoss()},
        metrics={"labels": [SequenceError()]},
    )
    model.fit(images, labels, batch_size=32, epochs=200, verbose=0)
    answers = model.decode(model.predict(images, verbose=0))
    found = ops.convert_to_numpy(answers["labels"])
    np.testing.assert_array_equal(found[:, :2], labels[:, :2])


# Several paths, several models, fewer glimpses


def test_rollouts_average_the_probabilities_of_each_target(images):
    model = make_model(num_rollouts=4, location_deviation=0.5, seed=7)
    by_hand = make_model(location_deviation=0.5, seed=7)
    by_hand.set_weights(model.get_weights())  # what it draws among them
    found = model(images)
    pyramid, state = by_hand.start(np.repeat(images, 4, axis=0))
    answers = []
    for _ in range(S * N):
        glimpse, state = by_hand.step(pyramid, state, sample=True)
        answers.append(ops.softmax(glimpse.logits))
    for s in range(S):
        paths = np.reshape(answers[s * N + N - 1], (B, 4, K))
        assert paths.std(axis=1).max() > 1e-4
        np.testing.assert_allclose(
            np.exp(found["labels"][:, s, 0]), paths.mean(axis=1), rtol=1e-4
        )


def test_forward_and_backward_models_read_as_one(images):
    sizes = dict(terminal=True, class_names=["a", "b", "c"], num_targets=3)
    forward = make_model(**sizes)
    backward = make_model(**sizes, reading_order="backward")
    for model, bias in ((forward, [3, 0, 1, -2]), (backward, [0, 3, 1, -2])):
        model.classification_output.bias.assign(bias)
    ensemble = Ensemble([backward, forward])
    outputs = ensemble(images)
    assert outputs["labels"].shape == (B, 2, 3, 1, K)
    for index, member in enumerate((forward, backward)):
        np.testing.assert_allclose(
            outputs["labels"][:, index], member(images)["labels"], atol=1e-5
        )
    expected = decoding.decode(outputs, terminal=True, num_forward=1)
    found = ensemble.decode(outputs)
    np.testing.assert_array_equal(found["labels"], expected["labels"])
    # Read alone, each by the same weights reads the other's from the end.
    backward.set_weights(forward.get_weights())
    for one, other in zip(
        forward.read(images), backward.read(images), strict=True
    ):
        assert one["labels"] == other["labels"][::-1]


def given_looks(model, probabilities, taken):
    logits = np.log(np.array([probabilities], "float32"))
    windows = np.zeros((1, S * N, 2, 3), "float32")
    return anytime.Glimpses(
        logits, windows, np.ones((1, S * N, 1)), np.array([taken])
    )


@pytest.mark.parametrize(
    "taken, expected",
    [
        # Of two glimpses each: the latest at the first target, none at the
        # second, of which nothing is known.
        (1, [[0.7, 0.1, 0.1, 0.1], [0.25] * 4]),
        (2, [[0.1, 0.7, 0.1, 0.1], [0.25] * 4]),
        (3, [[0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1]]),
        (4, [[0.1, 0.7, 0.1, 0.1], [0.4, 0.3, 0.2, 0.1]]),
    ],
)
def test_with_fewer_glimpses_it_answers_with_the_latest(taken, expected):
    model = make_model()
    probabilities = np.full((S * N, K), 0.1)
    probabilities[[0, 1, 2], [0, 1, 2]] = 0.7
    probabilities[3] = [0.4, 0.3, 0.2, 0.1]
    looks = anytime.looks_of(model, given_looks(model, probabilities, taken))
    assert looks["labels"].shape == (1, S, 1, K)
    found = ops.softmax(looks["labels"])[0, :, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_after_the_terminal_label_it_comes_again():
    model = make_model(terminal=True)
    ends = np.full((S * N, K), 0.1)
    ends[:, 3] = 0.7
    looks = anytime.looks_of(model, given_looks(model, ends, 1))
    np.testing.assert_allclose(
        ops.softmax(looks["labels"])[0, :, 0], ends[:S], rtol=1e-5
    )


@pytest.mark.slow
@pytest.mark.usefixtures("compares_here")
def test_exports_answer_as_the_model_does(tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (2, 40, 50, 1), "uint8")
    model = tiny.dram(glimpses_per_target=1)  # each is in the files
    tiny.assert_exports_answer(model, images, tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        dict(glimpse_size=8),
        dict(context_size=8),
        dict(glimpse_filters=(3, 4)),
        dict(context_filters=(3, 4, 5, 6)),
        dict(num_targets=0),
        dict(glimpses_per_target=0),
        dict(units=0),
        dict(hidden_units=1.5),
        dict(reading_order="sideways"),
        dict(location_deviation=0),
        dict(reinforce_weight=-1),
        dict(num_rollouts=-1),
        dict(image_shape=(20, 14)),
    ],
    ids=str,
)
def test_what_is_no_size_is_refused(changes):
    with pytest.raises(ValueError, match="Received: "):
        DRAM(**{**TINY, **changes})
