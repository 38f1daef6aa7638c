import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from keras_edram.models import glimpse_loop
from keras_edram.models.glimpse_loop import take_steps

MODELS = {
    # Windows that differ from the start: of equal ones rounding alone decides
    # what a rectifier lets through.
    "edram": lambda: tiny.reader(
        num_targets=1, terminal=False, initial_transform="context"
    ),
    "ram": lambda: tiny.ram(glimpse_network="convolution", seed=3),
}


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (4, 40, 50, 1), "uint8")


@pytest.mark.parametrize("most", [0, 10])
def test_steps_are_taken_in_order_and_collected(monkeypatch, most):
    monkeypatch.setattr(glimpse_loop, "MOST_WRITTEN_OUT", most)

    def step(state):  # a fake core: each state has values of its own
        count, double = state
        outputs = {"count": count, "double": double[:, None]}
        return outputs, (count + 1, 2 * double)

    @tf.function
    def take(count, double):
        return take_steps(step, (count, double), 4)

    taken, (count, double) = take(
        tf.constant([0.0, 10.0]), tf.constant([1.0, 3.0])
    )
    np.testing.assert_array_equal(
        taken["count"], [[0, 1, 2, 3], [10, 11, 12, 13]]
    )
    np.testing.assert_array_equal(
        taken["double"][..., 0], [[1, 2, 4, 8], [3, 6, 12, 24]]
    )
    np.testing.assert_array_equal(count, [4, 14])
    np.testing.assert_array_equal(double, [16, 48])


def learn(name, images, most, monkeypatch):
    """Outputs, gradients and changed weights of one training step."""
    monkeypatch.setattr(glimpse_loop, "MOST_WRITTEN_OUT", most)
    model = MODELS[name]()

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            outputs = keras.tree.flatten(model(images, training=True))
            if name == "ram":  # and what its policy's losses are computed of
                _, decisions = model._latest.call
                outputs += keras.tree.flatten(decisions)
            loss = sum(tf.reduce_sum(tf.square(part)) for part in outputs)
        return outputs, tape.gradient(loss, model.trainable_weights)

    outputs, found = gradients()
    graph = gradients.get_concrete_function().graph
    kinds = {operation.type for operation in graph.get_operations()}
    assert ("While" in kinds) == (most == 0)
    moved = [keras.ops.convert_to_numpy(w) for w in model.variables]
    return outputs, [np.array(g) for g in found if g is not None], moved


@pytest.mark.parametrize(
    "name", [pytest.param("edram", marks=pytest.mark.slow), "ram"]
)
def test_a_loop_in_the_graph_answers_and_learns_alike(
    name, images, monkeypatch
):
    expected = learn(name, images, 10, monkeypatch)
    found = learn(name, images, 0, monkeypatch)
    # Statistics of each step, and RAM's random numbers, are among them.
    for ours, others in zip(found, expected, strict=True):
        assert any(np.abs(other).max() > 0.01 for other in others)
        for our, other in zip(ours, others, strict=True):
            scale = max(1.0, np.abs(other).max())
            np.testing.assert_allclose(our, other, atol=1e-5 * scale)


@pytest.mark.slow
def test_the_graph_of_a_long_sequence_is_no_larger(monkeypatch):
    monkeypatch.setattr(glimpse_loop, "MOST_WRITTEN_OUT", 2)

    def size(num_targets):
        model = tiny.reader(num_targets=num_targets, glimpses_per_target=1)
        answer = tf.function(lambda images: model(images, training=True))
        spec = tf.TensorSpec((None, 40, 50, 1), tf.uint8)
        graph = answer.get_concrete_function(spec).graph
        return len(graph.as_graph_def().node)

    assert size(50) == size(3) < size(2)
