"""From predictions to answers, against NumPy."""

import numpy as np
import pytest
from keras import ops

from keras_edram import decoding, geometry

B, S, N, K = 3, 2, 4, 5


@pytest.fixture
def outputs():
    generator = np.random.default_rng(0)
    transforms = generator.normal(size=(B, S, N, 2, 3)).astype("float32")
    return {
        "labels": generator.normal(size=(B, S, N, K)),
        "transforms": transforms,
    }


def softmax(logits):
    powers = np.exp(logits)
    return powers / powers.sum(-1, keepdims=True)


def test_probabilities_are_averaged_over_the_glimpses(outputs):
    # p_i = 1/N Σ_j softmax(logits_ij)
    expected = np.zeros((B, S, K))
    for j in range(N):
        expected += softmax(outputs["labels"][:, :, j]) / N
    probabilities = decoding.average_probabilities(outputs["labels"])
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5)
    np.testing.assert_allclose(ops.sum(probabilities, -1), 1, rtol=1e-5)


def test_extreme_logits_do_not_overflow():
    # exp(1e4) is beyond float64: half of the glimpses are sure of each.
    logits = np.array([[[[1e4, 0, -1e4], [-1e4, 0, 1e4]]]], "float32")
    np.testing.assert_allclose(
        decoding.average_probabilities(logits), [[[0.5, 0, 0.5]]]
    )


@pytest.mark.parametrize("shape", [(K,), (B, S, K), (B, S, N, K, 1)])
def test_logits_of_another_rank_are_refused(shape):
    with pytest.raises(ValueError, match="Received: logits of shape"):
        decoding.average_probabilities(np.zeros(shape))


def test_the_answer_is_the_most_probable_class(outputs):
    answer = decoding.decode(outputs)
    expected = np.asarray(decoding.average_probabilities(outputs["labels"]))
    np.testing.assert_array_equal(answer["probabilities"], expected)
    np.testing.assert_array_equal(answer["labels"], expected.argmax(-1))
    assert answer["labels"].dtype == "int32"
    assert len(np.unique(answer["labels"])) > 1


def test_the_place_is_the_last_window_of_each_target(outputs):
    answer = decoding.decode(outputs)
    last = outputs["transforms"][:, :, -1]
    np.testing.assert_array_equal(answer["transforms"], last)
    boxes = np.asarray(geometry.transforms_to_boxes(last))
    np.testing.assert_allclose(answer["boxes"], np.clip(boxes, 0, 1))
    assert boxes.min() < 0 and boxes.max() > 1  # there was something to clip


def test_a_box_has_its_sides_in_order():
    # The left quarter of the upper half: x 0 to 0.25, y 0 to 0.5.
    window = np.array([[0.25, 0, -0.75], [0, 0.5, -0.5]], "float32")
    answer = decoding.decode(
        {
            "labels": np.zeros((1, 1, 2, 3)),
            "transforms": np.stack([geometry.IDENTITY, window])[None, None],
        }
    )
    np.testing.assert_allclose(answer["boxes"], [[[0, 0, 0.25, 0.5]]])


def test_answers_are_read_out_as_plain_values(outputs):
    answers = decoding.decode(outputs)
    rows = decoding.read_out(answers)
    assert len(rows) == B
    p = np.asarray(answers["probabilities"]).max(-1)
    for b, row in enumerate(rows):
        assert list(row) == ["sequence", "labels", "probability", "boxes"]
        labels = [int(answers["labels"][b][i]) for i in range(S)]
        assert row["labels"] == labels
        assert row["sequence"] == f"{labels[0]}{labels[1]}"
        assert type(row["labels"][0]) is int
        assert type(row["probability"]) is float
        # All are right when each is: 0.5 * 0.5 would be a quarter.
        np.testing.assert_allclose(
            row["probability"], p[b][0] * p[b][1], rtol=1e-6
        )
        np.testing.assert_allclose(row["boxes"], answers["boxes"][b])
        assert type(row["boxes"][0][0]) is float


def test_locations_are_the_middles_of_all_windows_in_order(outputs):
    # The middle of a window is where its transform maps (0, 0): θ3, θ6.
    locations = decoding.decode(outputs)["locations"]
    assert locations.shape == (B, S, N, 2)
    expected = np.matmul(outputs["transforms"], [[0], [0], [1]])[..., 0]
    np.testing.assert_allclose(locations, expected, rtol=1e-6)
