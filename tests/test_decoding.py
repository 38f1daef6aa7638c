"""From predictions to answers, against NumPy."""

import itertools

import numpy as np
import pytest
from keras import KerasTensor, ops

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
    np.testing.assert_allclose(answer["probabilities"], expected, rtol=1e-6)
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
        assert list(row) == [
            "sequence",
            "labels",
            "names",
            "probability",
            "boxes",
        ]
        labels = [int(answers["labels"][b][i]) for i in range(S)]
        assert row["labels"] == labels
        assert row["sequence"] == f"{labels[0]}{labels[1]}"
        assert row["names"] == [str(labels[0]), str(labels[1])]
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


def all_sequences(forward, backward, terminal):
    """log p of each sequence that could be, (S, K) in, by brute force."""
    num_targets, num_classes = forward.shape
    scores = {}
    for length in range(0 if terminal else num_targets, num_targets + 1):
        for labels in itertools.product(
            range(num_classes - terminal), repeat=length
        ):
            score = 0.0
            for i, label in enumerate(labels):
                score += forward[i, label] + backward[length - 1 - i, label]
            if length < num_targets:
                score += forward[length, -1] + backward[length, -1]
            scores[labels] = score
    return scores


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("readers", [(1, 0), (0, 1), (1, 1), (2, 1)])
def test_the_sequence_is_the_best_of_all_that_could_be(readers, terminal):
    generator = np.random.default_rng(3)
    images, targets, classes = 40, 3, 4
    logits = 1.5 * generator.normal(
        size=(sum(readers), images, targets, classes)
    )
    log_p = np.log(softmax(logits)).astype("float32")
    forward = log_p[: readers[0]].sum(axis=0)
    backward = log_p[readers[0] :].sum(axis=0)
    forward = np.zeros(log_p.shape[1:]) + forward
    found = decoding.most_probable_sequence(
        forward, backward if readers[1] else None, terminal=terminal
    )
    if not readers[1]:
        backward = np.zeros_like(forward)
    lengths = set()
    for image in range(images):
        scores = all_sequences(forward[image], backward[image], terminal)
        best = max(scores, key=scores.get)
        length = int(found["lengths"][image])
        labels = np.asarray(found["labels"][image])
        assert tuple(labels[:length]) == best
        assert (labels[length:] == -1).all()
        # Normalised over all of them; one reader's are so by themselves.
        total = sum(np.exp(score) for score in scores.values())
        if sum(readers) == 1:
            assert total == pytest.approx(1, rel=1e-5)
        assert float(found["probability"][image]) == pytest.approx(
            np.exp(scores[best]) / total, rel=1e-4
        )
        lengths.add(length)
    assert lengths == ({0, 1, 2, 3} if terminal else {3})


@pytest.mark.parametrize(
    "forward, backward, terminal",
    [
        ((B, S, K), (B, S + 1, K), True),
        ((B, S, K), (B, S, K - 1), True),
        ((B, S, K), (B, 1, K), False),
        ((B, S, K), (1, S, K), False),
        ((B, S, K), (B, S), True),
        ((B, K), None, True),
        ((B, S, 1), None, True),  # nothing but the end
        ((None, S, K), (None, S + 1, K), True),
        ((None, None, K), None, True),
        ((None, S, None), None, True),
    ],
)
def test_readers_of_other_sequences_are_refused(forward, backward, terminal):
    readers = [KerasTensor(shape) for shape in (forward, backward) if shape]
    with pytest.raises(ValueError, match="Received: forward of shape"):
        decoding.most_probable_sequence(*readers, terminal=terminal)


@pytest.mark.parametrize(
    "labels, transforms",
    [
        ((1, S, N, K), (B, S, N, 2, 3)),
        ((B, 1, N, K), (B, S, N, 2, 3)),
        ((B, S, K), (B, S, N, 2, 3)),
        ((B, S, N, K), (B, S, N, 3, 2)),
        ((B, S, N, K), (B, S, 2, 3)),
        ((B, 2, S, N, K), (B, 3, S, N, 2, 3)),
        ((B, 2, S, N, K), (B, S, N, 2, 3)),
    ],
)
def test_outputs_that_do_not_belong_together_are_refused(labels, transforms):
    outputs = {"labels": np.zeros(labels), "transforms": np.zeros(transforms)}
    with pytest.raises(ValueError, match="Received: labels of shape"):
        decoding.decode(outputs)


def test_outputs_and_answers_that_are_missing_are_named(outputs):
    with pytest.raises(ValueError, match="transforms is missing"):
        decoding.decode({"labels": outputs["labels"]})
    answers = decoding.decode(outputs)
    answers.pop("boxes")
    with pytest.raises(ValueError, match="boxes is missing"):
        decoding.read_out(answers)


@pytest.mark.parametrize("number", [-1, 2, 0.5, True])
def test_more_forward_readers_than_there_are_are_refused(outputs, number):
    with pytest.raises(ValueError, match="from 0 to 1. Received: num_forward"):
        decoding.decode(outputs, num_forward=number)


@pytest.mark.parametrize("name", ["labels", "lengths", "probability", "boxes"])
def test_answers_of_another_batch_are_refused(outputs, name):
    answers = decoding.decode(outputs)
    answers[name] = answers[name][:1]
    with pytest.raises(ValueError, match="Received: labels of shape"):
        decoding.read_out(answers)


def test_a_label_without_a_name_is_refused(outputs):
    answers = decoding.decode(outputs)
    highest = np.asarray(answers["labels"]).max()
    names = [str(label) for label in range(highest)]
    assert decoding.read_out(answers, [*names, "last"])
    with pytest.raises(ValueError, match=f"a label {highest}"):
        decoding.read_out(answers, names)


def member_outputs(labels, window):
    """Outputs of a reader who is sure: 1 image, 3 targets, 1 glimpse."""
    logits = 20 * np.eye(3)[np.array(labels)]
    # Target i looks at x = window[i].
    transforms = np.tile(0.1 * geometry.IDENTITY, (3, 1, 1))
    transforms[:, 0, 2] = window
    return logits[None, :, None], transforms[None, :, None]


def test_members_of_both_orders_are_joined():
    # Two objects, "0" at x = -0.5 and "1" at 0.5, then the terminal 2.
    forward = member_outputs([0, 1, 2], [-0.4, 0.4, 0.0])
    backward = member_outputs([1, 0, 2], [0.6, -0.6, 0.2])
    outputs = {
        name: np.stack(values, axis=1)
        for name, values in zip(
            ("labels", "transforms"),
            zip(forward, backward, strict=True),
            strict=True,
        )
    }
    answer = decoding.decode(outputs, terminal=True, num_forward=1)
    assert np.asarray(answer["labels"]).tolist() == [[0, 1, -1]]
    assert np.asarray(answer["lengths"]).tolist() == [2]
    windows = np.asarray(answer["transforms"])[0]
    np.testing.assert_allclose(windows[:, 0, 2], [-0.5, 0.5, 0.1], atol=1e-6)
    probabilities = np.asarray(answer["probabilities"])[0]
    assert probabilities.argmax(-1).tolist() == [0, 1, 2]
    assert not np.asarray(answer["boxes"])[0, 2].any()
    assert np.asarray(answer["boxes"])[0, :2].any()
    # A reader who reads backward alone is turned round.
    alone = {"labels": backward[0], "transforms": backward[1]}
    answer = decoding.decode(alone, terminal=True, num_forward=0)
    assert np.asarray(answer["labels"]).tolist() == [[0, 1, -1]]
    windows = np.asarray(answer["transforms"])[0]
    np.testing.assert_allclose(windows[:, 0, 2], [-0.6, 0.6, 0.2], atol=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 3])
@pytest.mark.parametrize("terminal", [False, True])
def test_a_temperature_changes_how_sure_answers_are_alone(
    outputs, terminal, temperature
):
    plain = decoding.decode(outputs, terminal=terminal)
    warm = decoding.decode(outputs, terminal=terminal, temperature=temperature)
    for name in ("labels", "lengths", "boxes", "transforms", "locations"):
        np.testing.assert_array_equal(warm[name], plain[name])
    # Of all sequences that there could be, each p(y)^(1/T).
    p = np.asarray(decoding.average_probabilities(outputs["labels"]))
    p = p ** (1 / temperature)
    np.testing.assert_allclose(
        warm["probabilities"], p / p.sum(-1, keepdims=True), rtol=1e-5
    )
    objects = range(K - terminal)
    sequences = list(itertools.product(objects, repeat=S))
    if terminal:
        sequences += [(*begun, K - 1) for begun in [(), *zip(objects)]]
    for image in range(B):
        terms = [
            np.prod([p[image, i, y] for i, y in enumerate(sequence)])
            for sequence in sequences
        ]
        np.testing.assert_allclose(
            warm["probability"][image], max(terms) / sum(terms), rtol=1e-5
        )


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), "warm"])
def test_no_temperature_is_refused(outputs, temperature):
    with pytest.raises(ValueError, match="Received: temperature"):
        decoding.decode(outputs, temperature=temperature)


def test_names_and_refusals_are_read_out():
    labels, transforms = member_outputs([1, 0, 2], [0, 0, 0])
    unsure = {"labels": labels * 0.1, "transforms": transforms}
    outputs = {
        name: np.concatenate([value, unsure[name]])
        for name, value in (("labels", labels), ("transforms", transforms))
    }
    answers = decoding.decode(outputs, terminal=True)
    rows = decoding.read_out(answers, ["cat", "dog"], refuse_below=0.9)
    assert rows[0]["sequence"] == "dog cat" and rows[1]["sequence"] is None
    assert rows[1]["names"] == ["dog", "cat"]  # the guess is there all the same
    assert decoding.read_out(answers, ["0", "1"])[0]["sequence"] == "10"
    assert len(rows[0]["boxes"]) == len(rows[0]["labels"]) == 2
    for value in (2, -0.1, np.nan, "0.5"):
        with pytest.raises(ValueError, match="Received: refuse_below="):
            decoding.read_out(answers, refuse_below=value)


def bright_spot(images):
    """Looks at the brightest pixel of each image, which is its label too."""
    batch, height, width, _ = images.shape
    index = images.reshape(batch, -1).argmax(axis=1)
    y, x = np.divmod(index, width)
    boxes = np.stack([x, y, x + 1, y + 1], axis=-1)
    transforms = geometry.boxes_to_transforms(
        boxes, box_format="xyxy", image_size=(height, width)
    )
    logits = np.eye(2)[x % 2]
    return {
        "labels": logits[:, None, None],
        "transforms": np.asarray(transforms)[:, None, None],
    }


def test_crops_see_the_whole_image_s_places():
    images = np.zeros((2, 9, 12, 1))
    images[0, 4, 5] = images[1, 5, 6] = 1  # in every crop
    looks = decoding.look_at_crops(bright_spot, images, (7, 8), 6)
    whole = bright_spot(images)["transforms"]
    np.testing.assert_allclose(looks["transforms"], whole, atol=1e-6)
    assert looks["labels"].shape == (2, 1, 6, 2)
    # Places differ, so do the labels, which tell the column's parity.
    assert len(np.unique(looks["labels"][0, 0], axis=0)) == 2
    # The first crop is the middle one, from column 2.
    np.testing.assert_array_equal(looks["labels"][:, 0, 0], np.eye(2)[[1, 0]])
    again = decoding.look_at_crops(bright_spot, images, (7, 8), 6)
    np.testing.assert_array_equal(looks["labels"], again["labels"])


@pytest.mark.parametrize(
    "shape, size, crops, received",
    [
        ((1, 9, 12, 1), (10, 8), 2, r"image_size=\(10, 8\)"),
        ((1, 9, 12, 1), (0, 8), 2, r"image_size=\(0, 8\)"),
        ((1, 9, 12, 1), (7, 8), 0, "num_crops=0"),
        ((1, 9, 12, 1), (7, 8), 1.5, "num_crops=1.5"),
        ((9, 12, 1), (7, 8), 2, r"images of shape \(9, 12, 1\)"),
    ],
)
def test_crops_that_do_not_fit_are_refused(shape, size, crops, received):
    with pytest.raises(ValueError, match=f"Received: {received}"):
        decoding.look_at_crops(bright_spot, np.zeros(shape), size, crops)
