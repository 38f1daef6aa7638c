"""RAM: its parts, what may carry a gradient, and that its policy learns."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from tiny import shake

from keras_edram import RAM
from keras_edram.losses import LabelLoss
from keras_edram.metrics import AverageError
from keras_edram.reinforce import (
    Decision,
    answer_rewards,
    baseline_losses,
    reinforce_losses,
)

B = 3
TINY = dict(
    image_shape=(20, 14, 2),
    num_classes=4,
    num_glimpses=3,
    glimpse_size=4,
    num_scales=2,
    units=16,
    hidden_units=8,
    convolution_filters=(3, 4),
    inception_filters=2,
    core_filters=3,
    seed=1,
)
# Each glimpse network with each core that can read it.
NETWORKS = [
    ("dense", "lstm"),
    ("dense", "rnn"),
    ("convolution", "lstm"),
    ("convolution", "rnn"),
    ("inception", "lstm"),
    ("inception", "rnn"),
    ("inception", "conv_lstm"),
]
CONVOLUTIONAL = dict(glimpse_network="inception", core="conv_lstm")


def make_model(**changes):
    return RAM(**{**TINY, **changes})


def twin(model, **changes):
    """A model with the same weights."""
    other = make_model(**changes)
    other.set_weights(model.get_weights())
    return other


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 256, (B, 20, 14, 2), "uint8")


def largest(gradients):
    """Of each gradient; 0 where there is none."""
    return [0.0 if one is None else np.abs(one).max() for one in gradients]


def weights_of(model, *names):
    return [
        weight
        for name in names
        for weight in getattr(model, name).trainable_variables
    ]


def decided(model, images):
    """A call in training: what it returns, and what was decided in it."""
    outputs = model(images, training=True)
    labels, decisions = model._latest.call
    assert labels is outputs["labels"]
    return outputs, decisions


def as_arrays(outputs):
    return {name: ops.convert_to_numpy(v) for name, v in outputs.items()}


# What public implementations are known to get wrong, one test for each


def test_what_was_drawn_carries_no_gradient_but_its_mean_does(images):
    model = shake(make_model(detach_policy=False))
    with tf.GradientTape(persistent=True) as tape:
        outputs, (means, samples, _) = decided(model, images)
        # If the next look had a gradient, later answers would teach it.
        labels, windows = outputs["labels"], outputs["transforms"]
    everything = model.trainable_variables
    assert max(largest(tape.gradient(samples, everything))) == 0
    assert max(largest(tape.gradient(windows, everything))) == 0
    location = weights_of(model, "location")
    assert max(largest(tape.gradient(labels, location))) == 0
    assert min(largest(tape.gradient(means, location))) > 0


@pytest.mark.parametrize("detach_policy", [True, False])
def test_the_advantage_teaches_neither_baseline_nor_action(
    images, detach_policy
):
    model = shake(make_model(detach_policy=detach_policy))
    labels = np.array([[0], [1], [2]])
    with tf.GradientTape(persistent=True) as tape:
        outputs, decisions = decided(model, images)
        rewards = answer_rewards(labels, outputs["labels"])
        reinforce = reinforce_losses(decisions, rewards, 0.15)
        baseline = baseline_losses(decisions, rewards)
    others = weights_of(model, "baseline", "action")
    assert max(largest(tape.gradient(reinforce, others))) == 0
    others = weights_of(model, "location", "action")
    assert max(largest(tape.gradient(baseline, others))) == 0


@pytest.mark.parametrize("glimpse_network, core", NETWORKS[:2])
def test_all_steps_share_one_set_of_weights(glimpse_network, core):
    networks = dict(glimpse_network=glimpse_network, core=core)
    few = make_model(num_glimpses=2, **networks)
    many = make_model(num_glimpses=7, **networks)
    assert len(many.weights) == len(few.weights)
    assert many.count_params() == few.count_params()


def test_only_statistics_are_kept_by_step():
    few = make_model(num_glimpses=2, **CONVOLUTIONAL)
    many = make_model(num_glimpses=7, **CONVOLUTIONAL)
    for ours, theirs in zip(few.weights, many.weights, strict=True):
        if "moving" in ours.path:  # a row for each glimpse
            assert (ours.shape[0], theirs.shape[0]) == (2, 7)
        else:
            assert ours.shape == theirs.shape


def test_one_location_and_one_baseline_network_decide_every_step(images):
    model = shake(make_model(num_glimpses=4))
    model.location.kernel.assign(np.zeros((16, 2)))
    model.location.bias.assign([0.5, -1.0])
    model.baseline.kernel.assign(np.zeros((16, 1)))
    model.baseline.bias.assign([0.25])
    _, (means, _, baselines) = decided(model, images)
    # Kernels of 0 leave the biases; after the last of 4 glimpses no decision.
    expected = np.broadcast_to(np.tanh([0.5, -1.0]), (B, 3, 2))
    np.testing.assert_allclose(means, expected, rtol=1e-5)
    np.testing.assert_allclose(baselines, np.full((B, 3), 0.25), rtol=1e-6)


@pytest.mark.parametrize("deviation", [0.05, 0.8])
def test_noise_of_the_deviation_is_added_once_and_looked_at(deviation):
    model = shake(make_model(location_deviation=deviation))
    number = 1000
    images = np.zeros((number, 20, 14, 2), "uint8")
    outputs, decisions = decided(model, images)
    means, samples, _ = map(ops.convert_to_numpy, decisions)
    noise = (samples - means) / deviation  # (B, N - 1, 2)
    # Of n normal numbers the mean has the deviation 1 / √n, the deviation
    # 1 / √(2 n), a correlation 1 / √n: four of each.
    tolerance = 4 / number**0.5
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=tolerance)
    np.testing.assert_allclose(noise.std(axis=0), 1, atol=tolerance / 2**0.5)
    # Steps and axes are drawn apart.
    correlation = np.corrcoef(noise.reshape(number, -1).T)
    np.testing.assert_allclose(correlation, np.eye(4), atol=tolerance)
    # The very location is looked at, as far as it is on the image.
    locations = ops.convert_to_numpy(outputs["transforms"])[:, 0, 1:, :, 2]
    np.testing.assert_array_equal(locations, samples.clip(-1, 1))
    assert (np.abs(samples) > 1).any() == (deviation == 0.8)


def test_the_baseline_judges_what_is_seen_not_what_is_drawn(images):
    """b_t is known before u_t, or the estimate of the gradient is biased."""
    model = shake(make_model())
    pyramid, state = model.start(images)
    drawn = [
        model.step(pyramid, state, sample=True)[0].decision for _ in range(2)
    ]
    assert not np.allclose(drawn[0].samples, drawn[1].samples)
    np.testing.assert_array_equal(drawn[0].baselines, drawn[1].baselines)
    np.testing.assert_array_equal(drawn[0].means, drawn[1].means)


def test_bytes_and_floats_are_read_alike_and_scaled(images):
    model = shake(make_model())
    found = model.glimpses(images)
    for name, expected in model.glimpses(images.astype("float32")).items():
        np.testing.assert_array_equal(found[name], expected)
    patches = found["patches"]
    assert 0 <= patches.min() < patches.max() <= 1
    # The middle 4x4 of 20x14 pixels, at the finest scale.
    np.testing.assert_allclose(
        patches[:, 0, 0, ..., :2], images[:, 8:12, 5:9] / 255, atol=1e-5
    )


def test_without_training_the_mean_is_looked_at(images):
    model = shake(make_model())
    first, second = as_arrays(model(images)), as_arrays(model(images))
    for name in ("labels", "transforms"):
        np.testing.assert_array_equal(first[name], second[name])
    assert set(first) == {"labels", "transforms"}
    pyramid, state = model.start(images)
    for step in range(3):
        looked_at = first["transforms"][:, 0, step, :, 2]
        np.testing.assert_array_equal(looked_at, state.locations)
        glimpse, state = model.step(pyramid, state)
        decision = glimpse.decision
        np.testing.assert_array_equal(decision.samples, decision.means)
        expected = model.location(ops.convert_to_tensor(state.core[0]))
        np.testing.assert_allclose(decision.means, expected, rtol=1e-5)
        assert np.abs(expected).max() < 1  # bounded by tanh


def test_in_training_other_locations_are_drawn_each_time(images):
    model = shake(make_model())
    first, second = (as_arrays(model(images, training=True)) for _ in range(2))
    moved = np.abs(first["transforms"] - second["transforms"])[:, 0, :, :, 2]
    assert not moved[:, 0].any()
    # Two draws of a deviation of 0.15 differ by about 0.2, never by nothing.
    assert (moved[:, 1:] > 1e-3).all()
    assert (np.abs(first["labels"] - second["labels"]) > 1e-4).any()


def test_the_same_seed_draws_the_same(images):
    model = shake(make_model(seed=3))
    same, other = twin(model, seed=3), twin(model, seed=4)
    drawn = decided(model, images)[1].samples
    np.testing.assert_array_equal(decided(same, images)[1].samples, drawn)
    others = decided(other, images)[1].samples
    assert not np.allclose(others, drawn)


LABELS = {"labels": np.array([[0], [1], [2]])}


def hybrid_gradients(model, images):
    model.compile("sgd", loss={"labels": LabelLoss()})
    with tf.GradientTape() as tape:
        outputs = model(images, training=True)
        loss = model.compute_loss(images, LABELS, outputs)
    return tape.gradient(loss, model.trainable_variables)


@pytest.mark.parametrize("detach_policy", [True, False])
@pytest.mark.parametrize("glimpse_network, core", NETWORKS)
def test_the_loss_teaches_every_weight(
    images, glimpse_network, core, detach_policy
):
    """The location and the baseline network among them."""
    model = make_model(
        glimpse_network=glimpse_network, core=core, detach_policy=detach_policy
    )
    gradients = hybrid_gradients(shake(model), images)
    missed = [
        weight.path
        for weight, size in zip(
            model.trainable_variables, largest(gradients), strict=True
        )
        if not 0 < size < np.inf
    ]
    assert not missed


def test_a_new_location_network_is_taught_from_the_first_step(images):
    """Before anything is learnt b is 0: rewards alone must teach it."""
    model = make_model()
    model.action.bias.assign([9, 0, 0, 0])  # the first image is right
    model.compile("sgd", loss={"labels": LabelLoss()})
    before = [weight.numpy() for weight in weights_of(model, "location")]
    model.train_on_batch(images, LABELS)
    after = [weight.numpy() for weight in weights_of(model, "location")]
    for ours, theirs in zip(before, after, strict=True):
        assert np.abs(ours - theirs).max() > 1e-4


@pytest.mark.parametrize("detach_policy", [True, False])
def test_what_the_policy_learns_stops_at_the_core_when_detached(
    images, detach_policy
):
    model = shake(make_model(detach_policy=detach_policy))
    with tf.GradientTape(persistent=True) as tape:
        outputs, decisions = decided(model, images)
        rewards = answer_rewards(LABELS["labels"], outputs["labels"])
        reinforce = reinforce_losses(decisions, rewards, 0.15)
        baseline = baseline_losses(decisions, rewards)
        answer = LabelLoss()(LABELS["labels"], outputs["labels"])
    seeing = weights_of(model, "glimpse", "core_cell")
    # Kernel and bias of four layers; of the LSTM a recurrent kernel, too.
    assert len(seeing) == 4 * 2 + 3
    assert min(largest(tape.gradient(answer, seeing))) > 0
    for loss in (reinforce, baseline):
        sizes = largest(tape.gradient(loss, seeing))
        assert max(sizes) == 0 if detach_policy else min(sizes) > 0
    assert min(largest(tape.gradient(reinforce, weights_of(model, "location"))))
    assert min(largest(tape.gradient(baseline, weights_of(model, "baseline"))))


def test_detaching_does_not_change_what_is_computed(images):
    detached = shake(make_model(detach_policy=True))
    attached = twin(detached, detach_policy=False)
    for name, expected in detached(images).items():
        np.testing.assert_array_equal(attached(images)[name], expected)


# The loss


def slow_losses(decisions, rewards, deviation):
    """The two losses of each image, one number after the other."""
    means, samples, baselines = (np.asarray(part) for part in decisions)
    reinforce, baseline = np.zeros(len(means)), np.zeros(len(means))
    for i, t in np.ndindex(means.shape[:2]):
        distance = ((samples[i, t] - means[i, t]) ** 2).sum()
        log_policy = -distance / (2 * deviation**2)
        reinforce[i] -= (rewards[i] - baselines[i, t]) * log_policy
        baseline[i] += (rewards[i] - baselines[i, t]) ** 2
    return reinforce, baseline


def test_the_loss_is_that_of_the_answer_and_of_the_policy(images):
    weights = dict(reinforce_weight=0.5, baseline_weight=3.0)
    model = shake(make_model(location_deviation=0.3, **weights))
    model.compile("sgd", loss={"labels": LabelLoss()})
    outputs, (means, samples, baselines) = decided(model, images)
    # Two of three are right, whatever the model says.
    labels = outputs["labels"].numpy()[:, :, 0].argmax(-1)
    labels[1] = (labels[1] + 1) % 4
    reinforce, baseline = slow_losses(
        (means, samples, baselines), [1.0, 0.0, 1.0], 0.3
    )
    answer = LabelLoss()(labels, outputs["labels"])
    expected = answer + 0.5 * reinforce.mean() + 3.0 * baseline.mean()
    found = model.compute_loss(images, {"labels": labels}, outputs)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # What is left is what `y` has, for the metrics.
    assert set(outputs) == {"labels", "transforms"}


def test_means_at_the_border_are_held_back(images):
    model = shake(make_model(location_deviation=0.3, location_penalty=0.7))
    model.compile("sgd", loss={"labels": LabelLoss()})
    outputs, decisions = decided(model, images)
    labels = outputs["labels"].numpy()[:, :, 0].argmax(-1)
    reinforce, baseline = slow_losses(decisions, [1.0, 1.0, 1.0], 0.3)
    penalty = (np.arctanh(np.float64(decisions.means)) ** 2).sum((1, 2)).mean()
    assert penalty > 1e-3
    answer = LabelLoss()(labels, outputs["labels"])
    expected = answer + reinforce.mean() + baseline.mean() + 0.7 * penalty
    found = model.compute_loss(images, {"labels": labels}, outputs)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("beyond", [4.0, 8.0])  # tanh 8 is 1 in float32
def test_a_mean_that_is_at_the_border_leaves_it(beyond, images):
    model = make_model(location_penalty=0.1, reinforce_weight=0.0)
    model.location.bias.assign([beyond, -beyond])
    model.compile(keras.optimizers.Adam(0.1), loss={"labels": LabelLoss()})
    model.fit(images, LABELS, epochs=60, verbose=0)
    assert np.abs(decided(model, images)[1].means).max() < 0.9


def test_a_deviation_falls_by_its_schedule(images, tmp_path):
    falling = keras.optimizers.schedules.PolynomialDecay(0.4, 10, 0.1)
    model = shake(make_model(location_deviation=falling))
    model.compile("sgd", loss={"labels": LabelLoss()})
    model.training_steps.assign(3)
    model(images)  # no step of training
    outputs, decisions = decided(model, images)
    means, samples, baselines = decisions
    # 0.4 - 3/10 (0.4 - 0.1); the same numbers are drawn as by 1.
    drawn = (samples - means) / 0.31
    one = twin_of_one_deviation(model)
    one_decisions = decided(one, images)[1]
    expected = one_decisions.samples - one_decisions.means
    np.testing.assert_allclose(drawn[:, 0], expected[:, 0], rtol=1e-4)
    labels = outputs["labels"].numpy()[:, :, 0].argmax(-1)
    reinforce, baseline = slow_losses(decisions, [1.0, 1.0, 1.0], 0.31)
    answer = LabelLoss()(labels, outputs["labels"])
    expected = answer + reinforce.mean() + baseline.mean()
    found = model.compute_loss(images, {"labels": labels}, outputs)
    np.testing.assert_allclose(found, expected, rtol=1e-4)

    model.fit(images, LABELS, batch_size=1, epochs=2, verbose=0)
    assert int(model.training_steps) == 4 + 2 * B
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    np.testing.assert_allclose(loaded.deviation(), 0.1)
    assert int(loaded.training_steps) == 4 + 2 * B


def test_a_schedule_that_ends_with_nothing_does_not_divide_by_it(images):
    model = make_model(
        location_deviation=keras.optimizers.schedules.CosineDecay(0.3, 4)
    )
    model.compile("sgd", loss={"labels": LabelLoss()})
    model.fit(images, LABELS, batch_size=1, epochs=3, verbose=0)
    np.testing.assert_allclose(model.deviation(), 0.001)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_a_schedule_that_begins_with_nothing_is_refused():
    falling = keras.optimizers.schedules.PolynomialDecay(0, 10)
    with pytest.raises(ValueError, match="Received: location_deviation=0"):
        make_model(location_deviation=falling)


def twin_of_one_deviation(model):
    """The same weights, but a deviation of 1."""
    other = make_model(location_deviation=1.0)
    for ours, theirs in zip(
        other.trainable_weights, model.trainable_weights, strict=True
    ):
        ours.assign(theirs)
    return other


def gradients_of(model, weights, chosen=slice(None)):
    """Of the training loss to means and baselines, times the batch's size."""
    generator = np.random.default_rng(6)
    shapes = ((B, 1, 1, 4), (B, 2, 2), (B, 2, 2), (B, 2))
    logits, means, samples, baselines = (
        tf.constant(generator.normal(size=shape)[chosen], "float32")
        for shape in shapes
    )
    outputs = {"labels": logits, "transforms": None}
    decisions = Decision(means, samples, baselines)
    with tf.GradientTape() as tape:
        tape.watch([means, baselines])
        model._latest.call = logits, decisions
        loss = model.compute_loss(
            None, LABELS["labels"][chosen], outputs, weights
        )
    found = tape.gradient(loss, [means, baselines])
    return [len(logits) * gradient.numpy() for gradient in found]


def test_an_image_of_weight_two_teaches_the_policy_as_if_given_twice():
    model = make_model()
    model.compile("sgd", {"labels": LabelLoss()})
    twice = gradients_of(model, None, [1, 2, 2])
    weights = np.array([0.0, 1.0, 2.0], "float32")
    for given in (
        weights,
        weights[:, None],
        {"labels": weights},
        {"labels": weights, "transforms": np.ones(B)},
    ):
        found = gradients_of(model, given)
        for gradient, expected in zip(found, twice, strict=True):
            assert not gradient[0].any()
            np.testing.assert_allclose(gradient[1], expected[0], rtol=1e-5)
            np.testing.assert_allclose(
                gradient[2], expected[1] + expected[2], rtol=1e-5
            )
    # Those of the windows alone are none of the answer's.
    for gradient, expected in zip(
        gradients_of(model, {"transforms": weights}),
        gradients_of(model, None),
        strict=True,
    ):
        np.testing.assert_array_equal(gradient, expected)


def test_weights_of_anything_but_images_are_refused():
    model = make_model()
    # A loss of a user's own takes what Keras broadcasts.
    for loss in (
        LabelLoss(),
        lambda labels, logits: ops.sum(logits, (1, 2, 3)),
    ):
        model.compile("sgd", {"labels": loss})
        for shape in ((1,), (B, 1, 1)):
            with pytest.raises(ValueError, match="sample_weight of shape"):
                gradients_of(model, np.ones(shape, "float32"))


def test_without_training_the_loss_is_that_of_the_answer(images):
    model = shake(make_model())
    model.compile("sgd", loss={"labels": LabelLoss()})
    outputs = model(images)
    expected = LabelLoss()(LABELS["labels"], outputs["labels"])
    found = model.compute_loss(images, LABELS, outputs, training=False)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    found = model.evaluate(images, LABELS, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


# One step and the loop


def random_state(model, images):
    """A state with another value everywhere."""
    pyramid, state = model.start(images)
    generator = np.random.default_rng(2)
    core = tuple(
        tf.constant(generator.normal(size=values.shape), "float32")
        for values in state.core
    )
    locations = tf.constant([[0.3, -0.2], [-0.5, 0.1], [0.0, 0.6]])
    return pyramid, state._replace(locations=locations, core=core)


def slow_lstm(cell, inputs, hidden, carry):
    """Gates in Keras' order: input, forget, cell, output."""
    kernel, recurrent, bias = cell.get_weights()
    i, f, c, o = np.split(inputs @ kernel + hidden @ recurrent + bias, 4, -1)
    i, f, o = (0.5 + 0.5 * np.tanh(gate / 2) for gate in (i, f, o))  # sigmoid
    carry = f * carry + i * np.tanh(c)
    return o * np.tanh(carry), carry


def slow_rnn(cell, inputs, hidden):
    kernel, recurrent, bias = cell.get_weights()
    return (np.maximum(0, inputs @ kernel + hidden @ recurrent + bias),)


def test_the_location_network_has_a_hidden_layer_if_asked(images):
    model = shake(make_model(location_hidden_units=5))
    features = np.random.default_rng(3).normal(size=(B, 16)).astype("float32")
    decision = model.decide(features)

    def dense(layer, values):
        return values @ layer.kernel.numpy() + layer.bias.numpy()

    hidden = np.maximum(0, dense(model.location_hidden, features))
    assert hidden.shape == (B, 5)
    expected = np.tanh(dense(model.location, hidden))
    np.testing.assert_allclose(decision.means, expected, rtol=1e-4)
    expected = dense(model.baseline, features)[:, 0]
    np.testing.assert_allclose(decision.baselines, expected, rtol=1e-4)


@pytest.mark.parametrize("core, slow", [("lstm", slow_lstm), ("rnn", slow_rnn)])
def test_a_step_is_the_equations_of_the_docstring(images, core, slow):
    model = shake(make_model(core=core))
    pyramid, state = random_state(model, images)
    (logits, _, patches, decision), after = model.step(pyramid, state)

    close = dict(rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        patches,
        model.glimpse_sensor(images / np.float32(255), state.locations),
        **close,
    )
    g = model.glimpse(patches, state.locations, step=0).numpy()
    h = slow(model.core_cell, g, *(values.numpy() for values in state.core))
    assert len(after.core) == len(h)
    for found, expected in zip(after.core, h, strict=True):
        np.testing.assert_allclose(found, expected, **close)
    for network, found in (
        (model.action, logits),
        (model.location, decision.means),
        (model.baseline, decision.baselines[:, None]),
    ):
        expected = h[0] @ network.kernel.numpy() + network.bias.numpy()
        if network is model.location:
            expected = np.tanh(expected)
        np.testing.assert_allclose(found, expected, **close)
    np.testing.assert_array_equal(after.locations, decision.means)
    assert int(after.step) == int(state.step) + 1


def test_what_is_seen_is_added_to_where_it_was_seen(images):
    model = shake(make_model())
    pyramid, state = random_state(model, images)
    patches = model.glimpse_sensor.read(pyramid, state.locations)
    what_kernel, what_bias = model.glimpse.what.get_weights()
    where_kernel, where_bias = model.glimpse.where.get_weights()
    what = np.maximum(
        0, patches.numpy().reshape(B, -1) @ what_kernel + what_bias
    )
    where = np.maximum(0, state.locations.numpy() @ where_kernel + where_bias)
    kernels = [
        layer.get_weights()
        for layer in (model.glimpse.what_output, model.glimpse.where_output)
    ]
    expected = np.maximum(
        0,
        what @ kernels[0][0]
        + kernels[0][1]
        + where @ kernels[1][0]
        + kernels[1][1],
    )
    found = model.glimpse(patches, state.locations, step=0)
    assert (expected > 0).any() and (expected == 0).any()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def differ(values, others):
    """In each image of the batch."""
    difference = np.abs(np.asarray(values) - np.asarray(others))
    return (difference.reshape(B, -1).max(axis=-1) > 1e-4).all()


@pytest.mark.parametrize(
    "networks",
    [dict(core="lstm"), dict(core="rnn"), CONVOLUTIONAL],
    ids=lambda networks: networks["core"],
)
def test_every_state_of_the_core_counts(images, networks):
    model = shake(make_model(**networks))
    pyramid, state = random_state(model, images)
    (logits, _, _, decision), _ = model.step(pyramid, state)
    others = [
        tuple(
            values + (index == changed)
            for index, values in enumerate(state.core)
        )
        for changed in range(len(state.core))
    ]
    others.append(state.core[::-1])  # hidden state and cell exchanged
    for core in others[: 1 if len(state.core) == 1 else None]:
        other, _ = model.step(pyramid, state._replace(core=core))
        assert differ(other.logits, logits)
        assert differ(other.decision.means, decision.means)
        assert differ(other.decision.baselines, decision.baselines)


class Counting:
    """A core that only counts its steps."""

    def get_initial_state(self, batch_size):
        return [ops.zeros((batch_size, 16)), ops.ones((batch_size, 16))]

    def __call__(self, inputs, states):
        count, power = states
        return count + power, [count + 1, 2 * power]


def test_the_loop_hands_the_states_on_in_their_order(images):
    model = make_model(num_glimpses=4)
    model.core_cell = Counting()
    model.action.kernel.assign(np.eye(16, 4))
    # After four steps, 3 were counted, and 1 was doubled three times.
    np.testing.assert_array_equal(
        model(images)["labels"], np.full((B, 1, 1, 4), 3 + 8)
    )


@pytest.mark.parametrize("glimpse_network, core", NETWORKS)
def test_steps_by_hand_are_a_call(images, glimpse_network, core):
    model = shake(make_model(glimpse_network=glimpse_network, core=core))
    expected = as_arrays(model(images))
    pyramid, state = model.start(images)
    for step in range(3):
        assert int(state.step) == step
        window = expected["transforms"][:, 0, step]
        np.testing.assert_array_equal(window[..., 2], state.locations)
        # A patch of 4 pixels on an image of 20 by 14.
        np.testing.assert_allclose(
            window[..., :2], np.tile(np.diag([4 / 14, 4 / 20]), (B, 1, 1))
        )
        glimpse, state = model.step(pyramid, state)
        np.testing.assert_array_equal(glimpse.transforms, window)
    np.testing.assert_allclose(
        expected["labels"][:, 0, 0], glimpse.logits, rtol=1e-5
    )


def test_the_first_look_is_at_the_middle(images):
    model = shake(make_model())
    for training in (False, True):
        first = model(images, training=training)["transforms"][:, 0, 0]
        np.testing.assert_array_equal(first[..., 2], np.zeros((B, 2)))


def test_looking_more_or_less_often_than_in_training(images):
    model = shake(make_model(glimpse_network="convolution"))
    expected = model.glimpses(images)
    for name, values in model(images).items():
        np.testing.assert_array_equal(expected[name], values)
    for number in (1, 2, 5):
        found = model.glimpses(images, number)
        assert set(found) == {"labels", "transforms", "patches"}
        # 4 classes; patches of 4x4 pixels, 2 scales of 2 channels.
        assert found["labels"].shape == (B, 1, 1, 4)
        assert found["transforms"].shape == (B, 1, number, 2, 3)
        assert found["patches"].shape == (B, 1, number, 4, 4, 2 * 2)
        known = min(3, number)  # as many as in training
        for name in ("transforms", "patches"):
            np.testing.assert_allclose(
                found[name][:, :, :known],
                expected[name][:, :, :known],
                atol=1e-5,
            )
        assert np.isfinite(found["labels"]).all()
        assert differ(found["labels"], expected["labels"])


def test_one_glimpse_has_nothing_to_decide(images):
    model = shake(make_model(num_glimpses=1))
    model.compile(keras.optimizers.SGD(0.1), loss={"labels": LabelLoss()})
    outputs, decisions = decided(model, images)
    assert decisions.means.shape == (B, 0, 2)
    found = model.compute_loss(images, LABELS, outputs)
    expected = LabelLoss()(LABELS["labels"], outputs["labels"])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


# The glimpse networks


def test_the_inception_module_has_four_branches_of_maps():
    # Section 4.2: 24 feature maps of 12x12, with a window of 12x12.
    model = RAM(glimpse_size=12, glimpse_network="inception")
    glimpse = model.glimpse(np.zeros((2, 12, 12, 1)), np.zeros((2, 2)), step=0)
    assert glimpse.shape == (2, 12, 12, 24)


def open_rectifiers(layer):
    """All that is multiplied or added is positive."""
    for weight in layer.weights:
        sign = -1 if "moving_mean" in weight.path else 1
        weight.assign(sign * np.abs(weight))


def test_each_branch_sees_a_neighbourhood_of_its_own():
    """Fig. 3: 1x1; 1x1 and 1x1; 1x1 and 3x3; a maximum and 1x1."""
    model = shake(make_model(inception_filters=5, **CONVOLUTIONAL))
    open_rectifiers(model.glimpse)
    generator = np.random.default_rng(4)
    patches = generator.uniform(0.4, 0.6, (1, 4, 4, 4)).astype("float32")
    brighter = patches.copy()
    brighter[:, 1, 2] = 1  # the largest of its neighbourhood
    before, after = (
        model.glimpse(values, np.zeros((1, 2), "float32"), step=0).numpy()
        for values in (patches, brighter)
    )
    changed = (before != after)[0].reshape(4, 4, 4, 5).any(axis=-1)
    own, around = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    own[1, 2] = around[0:3, 1:4] = True
    for branch, expected in enumerate((own, own, around, around)):
        np.testing.assert_array_equal(changed[..., branch], expected)


def test_the_location_changes_all_maps_of_the_inception_module():
    model = shake(make_model(**CONVOLUTIONAL))
    open_rectifiers(model.glimpse)
    patches = np.ones((2, 4, 4, 4), "float32")
    locations = np.array([[0.0, 0.0], [0.7, 0.6]], "float32")
    here, there = model.glimpse(patches, locations, step=0).numpy()
    assert (np.abs(here - there) > 1e-4).all()
    # What and where are added: the patch adds the same at both places.
    darker = model.glimpse(0 * patches, locations, step=0).numpy()
    np.testing.assert_allclose(here - darker[0], there - darker[1], atol=1e-5)


def test_the_states_of_the_convolutional_core_are_maps(images):
    model = shake(make_model(**CONVOLUTIONAL))
    pyramid, state = model.start(images)
    assert [values.shape for values in state.core] == [(B, 4, 4, 3)] * 2
    _, state = model.step(pyramid, state)
    assert [values.shape for values in state.core] == [(B, 4, 4, 3)] * 2
    # Section 4.4: the output at the last glimpse is flattened.
    assert model.action.kernel.shape == (4 * 4 * 3, 4)
    assert model.location.kernel.shape == (4 * 4 * 3, 2)


def test_the_convolutional_network_pools_after_every_second():
    # 4x4 -> 4x4 -> 4x4 -> pool 2x2 -> 2x2: times 5 maps into the next layer.
    model = make_model(
        glimpse_network="convolution", convolution_filters=(3, 4, 5)
    )
    assert model.glimpse.what.kernel.shape == (2 * 2 * 5, 8)
    kernels = [
        convolution.layer.kernel.shape
        for convolution in model.glimpse.convolutions
    ]
    assert kernels == [(3, 3, 4, 3), (3, 3, 3, 4), (3, 3, 4, 5)]


@pytest.mark.parametrize(
    "networks",
    [dict(glimpse_network="convolution"), CONVOLUTIONAL],
    ids=["convolution", "inception"],
)
def test_each_glimpse_has_statistics_of_its_own(images, networks):
    model = shake(make_model(**networks))
    moving = [one for one in model.weights if "moving_mean" in one.path]
    before = [one.numpy() for one in moving]
    model(images, training=True)
    # Four branches, two of them of two layers, and two layers of "where"; or
    # two convolutions.
    assert len(moving) == (4 + 2 + 2 if networks is CONVOLUTIONAL else 2)
    for ours, theirs in zip(before, moving, strict=True):
        change = theirs.numpy() - ours
        assert (np.abs(change).max(axis=1) > 0).all()
        assert len(np.unique(theirs.numpy(), axis=0)) == 3  # glimpses


def test_the_default_has_the_parameters_of_mnih_et_al():
    # Mnih et al., appendix: 128 for what and where, 256 for both and the core.
    what_and_where = (64 + 1) * 128 + (2 + 1) * 128 + 2 * (128 + 1) * 256
    lstm = 4 * 256 * (256 + 256 + 1)
    decisions = (256 + 1) * (10 + 2 + 1)
    assert RAM().count_params() == what_and_where + lstm + decisions


# Inside another model, and on images of another size


def around(model, *before):
    inputs = keras.Input(model.image_shape)
    outputs = inputs
    for layer in before:
        outputs = layer(outputs)
    return keras.Model(inputs, model(outputs))


def test_a_model_around_it_gets_answers_and_trains_them(images):
    model = shake(make_model())
    flipped = keras.layers.RandomFlip("horizontal", seed=1)
    outer = around(model, flipped)
    for name, expected in model(images).items():
        np.testing.assert_allclose(
            outer(images, training=False)[name], expected, rtol=1e-5
        )
    outer.compile("sgd", {"labels": LabelLoss()}, run_eagerly=True)
    before = [weight.numpy() for weight in model.trainable_weights]
    with pytest.warns(UserWarning, match="learnt by RAM's own `fit` alone"):
        outer.train_on_batch(images, LABELS)
    changed = {
        weight.path.split("/")[-2]
        for old, weight in zip(before, model.trainable_weights, strict=True)
        if (weight.numpy() != old).any()
    }
    assert "action" in changed and not {"location", "baseline"} & changed


def test_a_frozen_one_looks_by_its_mean_in_training(images):
    model = shake(make_model(glimpse_network="convolution"))
    expected = model(images)
    model.trainable = False
    head = keras.layers.Dense(4)
    inputs = keras.Input(model.image_shape)
    outer = keras.Model(inputs, head(model(inputs)["labels"][:, 0, 0]))
    outer.compile("sgd", "mse", run_eagerly=True)
    before = model.get_weights()
    outer.train_on_batch(images, np.ones((B, 4)))
    for old, weight in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, old)
    for name, value in model(images, training=True).items():
        np.testing.assert_array_equal(value, expected[name])


def test_a_loss_of_another_call_is_refused(images):
    model = make_model()
    model.compile("sgd", {"labels": LabelLoss()})
    first = model(images, training=True)
    second = model(images, training=True)
    with pytest.raises(ValueError, match="Received: y_pred of another call"):
        model.compute_loss(images, LABELS, first)
    second = model(images, training=True)
    assert np.isfinite(model.compute_loss(images, LABELS, second))
    with pytest.raises(ValueError, match="must be computed once"):
        model.compute_loss(images, LABELS, second)


@pytest.mark.parametrize("size", [(20, 14), (40, 70), (9, 5)])
def test_windows_are_those_of_the_image_that_is_seen(size):
    model = shake(make_model())
    images = np.random.default_rng(1).integers(0, 256, (B, *size, 2), "uint8")
    zooms = model(images)["transforms"][..., :2]
    expected = np.diag([4 / size[1], 4 / size[0]])  # 4 pixels of the sides
    np.testing.assert_allclose(
        zooms, np.broadcast_to(expected, zooms.shape), rtol=1e-6
    )
    sure = model.read(images, max_glimpses=3)
    for one, other in zip(model.read(images), sure, strict=True):
        np.testing.assert_allclose(one["boxes"], other["boxes"], atol=1e-5)


# Several paths


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_rollouts_average_the_probabilities_of_drawn_paths(images):
    changes = dict(location_deviation=0.5, seed=7)
    model = shake(make_model(num_rollouts=4, **changes))
    by_hand = twin(model, **changes)
    outputs = as_arrays(model(images))

    # The paths of an image follow each other.
    pyramid, state = by_hand.start(np.repeat(images, 4, axis=0))
    locations = []
    for _ in range(3):
        locations.append(ops.convert_to_numpy(state.locations))
        glimpse, state = by_hand.step(pyramid, state, sample=True)
    probabilities = softmax(glimpse.logits.numpy()).reshape(B, 4, 4)
    assert probabilities.std(axis=1).max() > 0.01
    found = np.exp(outputs["labels"][:, 0, 0])
    np.testing.assert_allclose(found, probabilities.mean(axis=1), rtol=1e-4)
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-5)
    # Windows are those of the first path.
    first = np.stack(locations, axis=1)[::4]  # (B, N, 2)
    np.testing.assert_allclose(
        outputs["transforms"][:, 0, :, :, 2], first, atol=1e-6
    )


def test_rollouts_differ_and_many_agree(images):
    model = shake(make_model(num_rollouts=1, location_deviation=0.5))
    one = [np.exp(model(images)["labels"]) for _ in range(6)]
    model.num_rollouts = 100
    many = [np.exp(model(images)["labels"]) for _ in range(6)]
    # A mean of a hundred has a tenth of the deviation.
    assert 0 < np.std(many, axis=0).mean() < 0.25 * np.std(one, axis=0).mean()


def test_training_draws_one_path_whatever_the_rollouts(images):
    several = shake(make_model(num_rollouts=5))
    expected = twin(several)(images, training=True)["labels"]
    found = several(images, training=True)["labels"]
    np.testing.assert_array_equal(found, expected)


def test_glimpses_with_rollouts_are_those_of_one_path(images):
    model = shake(make_model(num_rollouts=3))
    found = model.glimpses(images)
    # 4 classes; 3 patches of 4x4 pixels, 2 scales of 2 channels.
    assert found["labels"].shape == (B, 1, 1, 4)
    assert found["patches"].shape == (B, 1, 3, 4, 4, 4)
    for step in range(3):
        patches = model.glimpse_sensor(
            images / np.float32(255), found["transforms"][:, 0, step, :, 2]
        )
        np.testing.assert_allclose(
            found["patches"][:, 0, step], patches, atol=1e-5
        )


def test_rollouts_of_a_sure_model_have_a_finite_loss(images):
    model = shake(make_model(num_rollouts=2))
    model.action.bias.assign([500.0, 0, 0, 0])  # exp(-500) is no float32
    logits = model(images)["labels"]
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(
        LabelLoss()(LABELS["labels"], logits), (0 + 500 + 500) / 3, rtol=0.05
    )


# Keras' own tools


@pytest.mark.parametrize(
    "networks", [dict(core="rnn"), CONVOLUTIONAL], ids=["rnn", "conv_lstm"]
)
def test_a_saved_model_looks_and_answers_alike(images, networks, tmp_path):
    model = make_model(
        scale_factor=3, location_deviation=0.3, detach_policy=False, **networks
    )
    shake(model).compile("sgd", loss={"labels": LabelLoss()})
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    for name, expected in model(images).items():
        np.testing.assert_allclose(loaded(images)[name], expected, rtol=1e-5)
    revived = RAM.from_config(model.get_config())
    revived.set_weights(model.get_weights())
    for name, expected in model(images).items():
        np.testing.assert_array_equal(revived(images)[name], expected)


TRANSFORMS = np.zeros((B, 1, 2, 3), "float32")


@pytest.mark.parametrize(
    "networks, run_eagerly, jit_compile",
    [
        pytest.param(dict(), False, False, id="dense"),
        # Quicker for one step than to trace it.
        pytest.param(
            dict(glimpse_network="convolution", core="rnn"),
            True,
            False,
            id="convolution",
        ),
        pytest.param(CONVOLUTIONAL, True, False, id="inception"),
        pytest.param(
            {**CONVOLUTIONAL, "num_glimpses": 2},  # XLA takes long for each
            False,
            True,
            id="inception compiled by XLA",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_fit_with_metrics_changes_every_weight(
    images, networks, run_eagerly, jit_compile
):
    model = shake(make_model(**networks))
    model.compile(
        "adam",
        loss={"labels": LabelLoss()},
        metrics={"labels": [AverageError()]},
        run_eagerly=run_eagerly,
        jit_compile=jit_compile,
    )
    truth = {**LABELS, "transforms": TRANSFORMS}
    before = model.get_weights()
    history = model.fit(
        images, truth, validation_data=(images, truth), verbose=0
    ).history
    assert set(history) >= {"loss", "val_loss", "labels_error"}
    for name in ("labels_error", "val_labels_error"):
        # A third of three images, or none, or ...
        assert history[name][0] * 3 == pytest.approx(
            round(history[name][0] * 3), abs=1e-5
        )
    assert np.isfinite(history["loss"]).all()
    for ours, weight in zip(before, model.weights, strict=True):
        assert not np.array_equal(ours, weight), weight.path
    outputs = model.predict(images, verbose=0)
    for name, expected in model(images).items():
        np.testing.assert_allclose(
            outputs[name], expected, rtol=1e-4, atol=1e-5
        )


def test_labels_alone_are_enough_to_fit(images):
    model = make_model()
    model.compile("adam", {"labels": LabelLoss()}, run_eagerly=True)
    history = model.fit(images, LABELS, verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize(
    "changes",
    [
        dict(num_classes=0),
        dict(num_glimpses=0),
        dict(num_glimpses=1.5),
        dict(units=0),
        dict(hidden_units=None),
        dict(image_shape=(20, 14)),
        dict(image_shape=(None, 30, 1)),
        dict(image_shape=20),
        dict(glimpse_size=0),
        dict(glimpse_size=(4, 4)),
        dict(num_scales=0),
        dict(scale_factor=0.5),
        dict(convolution_filters=(3, 0)),
        dict(convolution_filters=4),
        dict(inception_filters=0),
        dict(core_filters=-1),
        dict(core_kernel_size=0),
        dict(core_kernel_size=(3, 3)),
        dict(location_deviation=0),
        dict(location_deviation=-0.1),
        dict(location_deviation=np.inf),
        dict(location_deviation="0.1"),
        dict(location_hidden_units=-1),
        dict(reinforce_weight=-1),
        dict(reinforce_weight=np.nan),
        dict(baseline_weight=-0.5),
        dict(baseline_weight=np.inf),
        dict(baseline_weight=None),
        dict(location_penalty=-0.1),
        dict(location_penalty=np.nan),
        dict(num_rollouts=-1),
        dict(num_rollouts=2.0),
        dict(glimpse_network="inceptions"),
        dict(core="gru"),
        dict(core="conv_lstm"),
        dict(core="conv_lstm", glimpse_network="convolution"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused(changes):
    with pytest.raises(ValueError, match="Received: "):
        make_model(**changes)


def test_a_wrong_choice_says_what_is_allowed():
    with pytest.raises(ValueError, match="'lstm', 'rnn', 'conv_lstm'"):
        make_model(core="gru")
    with pytest.raises(ValueError, match="'dense', 'convolution', 'incep"):
        make_model(glimpse_network="cnn")
    with pytest.raises(ValueError, match="glimpse_network='dense'"):
        make_model(core="conv_lstm")


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="Received: preset='none such'"):
        RAM.from_preset("none such")


# Learning


def hinted(number, seed):
    """A light in the middle tells at which of two sides the class stands.

    Whoever does not move has to guess, 50 %; whoever always looks at the same
    side is right in half of the others too, 75 %.
    """
    generator = np.random.default_rng(seed)
    sides = generator.integers(0, 2, number)
    classes = generator.integers(0, 2, (number, 2))
    images = np.zeros((number, 12, 12, 1), "uint8")
    images[np.arange(number), 5:7, 5 + sides] = 255
    for side, left in enumerate((0, 8)):
        mark = np.where(classes[:, side], 255, 90)
        images[:, 4:8, left : left + 4] = mark[:, None, None, None]
    return images, {"labels": classes[np.arange(number), sides][:, None]}


def test_the_policy_learns_where_to_look():
    model = RAM(
        (12, 12, 1),
        num_classes=2,
        num_glimpses=2,
        glimpse_size=4,
        units=32,
        hidden_units=32,
        location_deviation=0.3,
        seed=0,
    )
    model.compile(keras.optimizers.Adam(0.003), loss={"labels": LabelLoss()})
    images, truth = hinted(4096, seed=1)
    model.fit(images, truth, batch_size=128, epochs=8, verbose=0)
    images, truth = hinted(1000, seed=2)
    outputs = model.predict(images, batch_size=1000, verbose=0)
    right = outputs["labels"][:, 0, 0].argmax(-1) == truth["labels"][:, 0]
    assert right.mean() > 0.95
    # It looks to the side that the hint names.
    x = outputs["transforms"][:, 0, 1, 0, 2]
    to_the_right = images[:, 5, 6, 0] > 0
    assert (x[to_the_right] > 0.3).all()
    assert (x[~to_the_right] < -0.3).all()
