"""Figures of models whose glimpses are given."""

import keras
import numpy as np
import pytest
import tiny

from keras_edram import decoding, evaluation, geometry, metrics
from keras_edram.cli import printing
from keras_edram.datasets import RandomSequence, end_sequences
from keras_edram.models import transfer


class FixedAnswers:
    """A model whose glimpses are given: 2 images, 1 target, 2 glimpses."""

    num_classes, terminal, reading_order = 2, False, "forward"
    label_names, image_shape = ("0", "1"), (4, 4, 1)
    members, glimpses_per_target, answers_per_target = (), 2, 2
    looks_step_by_step, has_policy, graphs = False, False, None

    def decode(self, outputs):
        return decoding.decode(outputs)

    def glimpses(self, images, glimpses_per_target=None):
        logits = np.array([[[[0, 9.0], [9.5, 0]]], [[[0, 3.0], [0, 9]]]])
        whole = np.array([[1, 0, 0], [0, 1, 0]], "float32")
        half = np.array([[0.5, 0, 0], [0, 0.5, 0]], "float32")
        transforms = np.array([[[whole, half]], [[whole, whole]]])
        return {"labels": logits, "transforms": transforms}


def test_the_figures_of_an_evaluation_are_those_of_its_glimpses():
    half = np.array([[0.5, 0, 0], [0, 0.5, 0]], "float32")
    figures = evaluation.evaluate(
        FixedAnswers(),
        np.zeros((2, 4, 4, 1)),
        {"labels": np.array([[0], [1]]), "transforms": np.array([[half]] * 2)},
    )
    # The first image is read as 1, then, a little surer, as 0, which is right;
    # the second always as 1.
    assert figures["error_by_glimpse"] == [0.5, 0.0]
    assert figures["error_by_average"] == [0.5, 0.0]
    assert figures["error"] == 0.0
    # A window of half the side has a quarter of the area.
    assert figures["iou_by_glimpse"] == pytest.approx([0.25, 0.625])
    assert figures["iou"] == pytest.approx(0.625)
    assert figures["images"] == 2


HALVES = {
    "labels": np.array([[0], [1]]),
    "transforms": np.array([[[[0.5, 0, 0], [0, 0.5, 0]]]] * 2),
}


@pytest.mark.parametrize(
    "targets, received",
    [
        ({"labels": HALVES["labels"]}, "transforms is missing.* with labels"),
        ({}, "labels, transforms is missing.* with nothing"),
        (
            {**HALVES, "transforms": HALVES["transforms"][:1]},
            r"transforms of shape \(1, 1, 2, 3\)",
        ),
        (
            {name: values[:1] for name, values in HALVES.items()},
            r"labels of shape \(1, 1\), looks of shape \(2, 1, 2, 2, 3\)",
        ),
        (
            {
                name: values[[0, 1]].repeat(2, 1)
                for name, values in HALVES.items()
            },
            r"labels of shape \(2, 2\), looks of shape \(2, 1, 2, 2, 3\)",
        ),
        (
            {**HALVES, "labels": np.array([[0], [-1]])},
            "as many as the model has targets.* 1 images without one",
        ),
    ],
)
def test_targets_that_do_not_fit_are_refused(targets, received):
    model = FixedAnswers()
    looks = model.glimpses(None)
    for judge in (evaluation.figures, evaluation.sure_and_wrong):
        with pytest.raises(ValueError, match=received):
            judge(model, looks, targets)


def test_no_image_says_nothing_of_a_model():
    looks, targets = (
        {name: values[:0] for name, values in one.items()}
        for one in (FixedAnswers().glimpses(None), HALVES)
    )
    model, images = tiny.reader(), np.zeros((0, 40, 50, 1))
    for judge in (
        lambda: evaluation.figures(FixedAnswers(), looks, targets),
        lambda: evaluation.anytime_curve(model, images, targets),
    ):
        with pytest.raises(ValueError, match="at least 1 image.*: 0 images"):
            judge()


class FixedSequences:
    """A model whose answers are given: 4 images, 3 targets, 1 glimpse.

    Its classes are "0", "1" and the terminal label 2.
    """

    num_classes, terminal = 3, True
    label_names, image_shape = ("0", "1"), (4, 4, 1)
    members, glimpses_per_target, answers_per_target = (), 1, 1
    looks_step_by_step, has_policy, graphs = False, False, None
    # As it reads them, target by target.
    answers = ((0, 1, 2), (1, 2, 2), (2, 2, 2), (0, 0, 2))
    sure = (9.0, 9.0, 9.0, 2.0)  # logit of the answers to an image

    def __init__(self, reading_order="forward"):
        self.reading_order = reading_order

    def decode(self, outputs):
        return decoding.decode(
            outputs,
            terminal=True,
            num_forward=int(self.reading_order == "forward"),
        )

    def glimpses(self, images, glimpses_per_target=None):
        logits = np.eye(3)[np.array(self.answers)]  # (4, 3, 3)
        logits = logits * np.array(self.sure)[:, None, None]
        # Target i is seen in a window of width (i + 1) / 4.
        window = np.array([[1.0, 0, 0], [0, 1, 0]], "float32")
        windows = window * np.array([1, 2, 3])[:, None, None] / 4
        return {
            "labels": logits[:, :, None],
            "transforms": np.tile(windows[None, :, None], (4, 1, 1, 1, 1)),
        }


@pytest.mark.parametrize("order", ["forward", "backward"])
def test_the_figures_of_sequences(order):
    quarter = np.array([[0.25, 0, 0], [0, 0.25, 0]], "float32")
    none = np.zeros((2, 3), "float32")
    # Right; right; an object is missed; the last object is read wrongly.
    labels = np.array([[0, 1, 2], [1, 2, -1], [0, 2, -1], [0, 1, 2]])
    windows = np.array(
        [
            [quarter, 2 * quarter, none],
            [quarter, none, none],
            [quarter, none, none],
            [2 * quarter, 2 * quarter, none],
        ]
    )
    figures = evaluation.evaluate(
        FixedSequences(order),
        np.zeros((4, 4, 4, 1)),
        {"labels": labels, "transforms": windows},
    )
    assert figures["error"] == 0.5
    assert figures["label_error"] == pytest.approx(2 / 6)
    assert figures["error_by_length"] == {"1": 0.5, "2": 0.5}
    # Each object is seen by the target that reads it, in either order, but
    # for the missed one, which still has its target. The fourth image: a
    # quarter of the window's side is half of the true one's.
    assert figures["iou"] == pytest.approx((5 + 0.25) / 6)
    # Of the logits 9 all are taken for right, one in three is not: 0.3333,
    # the last says p(y) = product of three and is wrong.
    p = np.array([9.0, 9.0, 9.0, 2.0])
    p = np.exp(p) / (np.exp(p) + 2)
    p_answers = p ** np.array([3, 2, 1, 3])
    sure = p_answers[:3].sum() - 2
    expected = (abs(sure) + p_answers[3]) / 4
    assert figures["calibration_error"] == pytest.approx(expected, abs=1e-5)
    assert figures["error_at_coverage"]["90%"] == pytest.approx(1 / 3)
    assert len(figures["error_by_glimpse"]) == 1
    # Of 10 known targets, two are read wrongly: the missed object, and the
    # wrong one; the terminal of the third image is right.
    assert figures["error_by_average"] == pytest.approx([2 / 10])


def test_an_ensemble_of_both_orders_has_the_figures_of_whole_answers():
    class Both(FixedSequences):
        members = ("forward", "backward")

        def decode(self, outputs):
            return decoding.decode(outputs, terminal=True, num_forward=1)

        def glimpses(self, images, glimpses_per_target=None):
            forward = super().glimpses(images)
            labels = forward["labels"]
            reverse = labels.copy()
            reverse[0] = labels[0][[1, 0, 2]]
            reverse[3] = labels[3][[1, 0, 2]]
            looks = {"labels": np.stack([labels, reverse], axis=1)}
            windows = forward["transforms"]
            looks["transforms"] = np.stack([windows, windows], axis=1)
            return looks

    labels = np.array([[0, 1, 2], [1, 2, -1], [2, -1, -1], [0, 0, 2]])
    windows = np.zeros((4, 3, 2, 3), "float32")
    figures = evaluation.evaluate(
        Both(),
        np.zeros((4, 4, 4, 1)),
        {"labels": labels, "transforms": windows},
    )
    assert figures["error"] == 0.0 == figures["label_error"]
    assert "error_by_glimpse" not in figures


class NamedData:
    """Images of given sequences of names; each value is its index."""

    def __init__(self, *sequences, order="forward", names="abc", num_objects=2):
        self.sequences, self.reading_order = sequences, order
        self.class_names, self.num_objects = tuple(names), num_objects

    def arrays(self, stop, start=0):
        chosen = self.sequences[start:stop]
        shape = (len(chosen), self.num_objects)
        labels = np.zeros(shape, "int32")
        for row, names in zip(labels, chosen, strict=True):
            row[: len(names)] = [self.class_names.index(n) for n in names]
        windows = np.ones((*shape, 2, 3)) * (labels[..., None, None] + 1)
        labels, windows = end_sequences(
            labels,
            windows,
            [len(names) for names in chosen],
            len(self.class_names),
            self.reading_order,
        )
        images = np.zeros((len(chosen), 4, 4, 1), "uint8")
        return images, {"labels": labels, "transforms": windows}


class NamedModel:
    """What of a model says how it counts."""

    image_shape = (4, 4, 1)

    def __init__(self, names, num_targets=4, order="forward", terminal=True):
        self.class_names = names and tuple(names)
        self.label_names = tuple(names or "012")
        self.num_classes = len(self.label_names) + terminal
        self.num_targets, self.terminal = num_targets, terminal
        self.reading_order = order


@pytest.mark.parametrize("data_order", ["forward", "backward"])
@pytest.mark.parametrize("order", ["forward", "backward"])
def test_labels_of_data_are_those_of_the_same_name_in_the_model(
    order, data_order
):
    data = NamedData("ca", "b", "", order=data_order)
    model = NamedModel("xcbay", order=order)
    images, targets = evaluation.arrays_for(model, data, 3)
    assert len(images) == 3
    first, last = (1, 3) if order == "forward" else (3, 1)
    assert targets["labels"].tolist() == [
        [first, last, 5, -1],
        [2, 5, -1, -1],
        [5, -1, -1, -1],
    ]
    # c was the third of the data's names, a the first.
    widths = targets["transforms"][:, :, 0, 0]
    first, last = (3, 1) if order == "forward" else (1, 3)
    assert widths.tolist() == [[first, last, 0, 0], [2, 0, 0, 0], [0] * 4]
    _, some = evaluation.arrays_for(model, data, 3, start=1)
    np.testing.assert_array_equal(some["labels"], targets["labels"][1:])
    labels, _ = evaluation.true_answers(model, targets)
    assert labels.tolist() == [[1, 3, -1, -1], [2, -1, -1, -1], [-1] * 4]


def test_data_that_say_no_order_are_read_forward():
    class Pairs(RandomSequence):
        def _compose(self, start, stop):
            images = np.zeros((stop - start, *self.image_shape), "uint8")
            return images, np.array([[0, 1]]), np.ones((1, 2, 2, 3))

    pairs = Pairs(
        num_pictures=1, image_shape=(4, 4, 1), num_targets=2, class_names="ab"
    )
    model = NamedModel("ab", num_targets=3, order="backward")
    _, targets = evaluation.arrays_for(model, pairs, 1)
    assert targets["labels"].tolist() == [[1, 0, 2]]  # 2 is the terminal


def test_data_may_have_places_for_more_objects_than_there_are():
    data = NamedData("ca", "b", num_objects=7)
    model = NamedModel("abc", num_targets=3)
    _, targets = evaluation.arrays_for(model, data, 2)
    assert targets["labels"].tolist() == [[2, 0, 3], [1, 3, -1]]
    # A class that no object has may be unknown.
    data = NamedData("ca", names="wacz")
    assert evaluation.arrays_for(model, data, 1)[1]["labels"][0, 0] == 2


def test_a_model_without_names_has_numbers_or_any():
    data = NamedData("20", names="210")
    model = NamedModel(None)
    _, targets = evaluation.arrays_for(model, data, 1)
    assert targets["labels"].tolist() == [[2, 0, 3, -1]]
    data = NamedData("ca", names="cab")
    _, targets = evaluation.arrays_for(model, data, 1)
    assert targets["labels"].tolist() == [[0, 1, 3, -1]]
    with pytest.raises(ValueError, match="classes 0, 1, 2. .* of a, c, which"):
        evaluation.arrays_for(model, NamedData("ca", names="cabd"), 1)


def test_what_a_model_cannot_tell_is_refused():
    model = NamedModel([f"n{i}" for i in range(30)] + ["a"])
    known = "n0, n1, .* n9, ... and 21 more. Received: objects of b, c, which"
    with pytest.raises(ValueError, match=known):
        evaluation.arrays_for(model, NamedData("ab", "ca"), 2)
    evaluation.arrays_for(model, NamedData("aa", "ca"), 1)
    model = NamedModel("abc", num_targets=2)
    many = "at most 1 objects .*`max_objects=1`.* 2 images with up to 3"
    with pytest.raises(ValueError, match=many):
        data = NamedData("abc", "a", "ab", num_objects=3)
        evaluation.arrays_for(model, data, 3)
    model = NamedModel("abc", num_targets=1, terminal=False)
    data = NamedData("a", "c", "ab", "")
    _, targets = evaluation.arrays_for(model, data, 2)
    assert targets["labels"].tolist() == [[0], [2]]
    with pytest.raises(ValueError, match="tells, 1. .* 2 images with 0 to 2"):
        evaluation.arrays_for(model, data, 4)


def test_figures_of_nothing_are_none():
    labels = np.array([[2, -1, -1]] * 4)
    figures = evaluation.evaluate(
        FixedSequences(),
        np.zeros((4, 4, 4, 1)),
        {"labels": labels, "transforms": np.zeros((4, 3, 2, 3))},
    )
    assert figures["error"] == 0.75
    assert figures["iou"] is None and figures["label_error"] is None
    assert figures["iou_by_glimpse"] == [None]
    table = printing.figures_table(figures)
    assert "overlap        -   of" in table
    assert table.splitlines()[-2].split() == ["overlap", "-"]


def test_crops_are_not_taken_for_glimpses():
    """Of a model that answers once, as many crops as it takes glimpses."""
    model = tiny.ram()  # of 3 glimpses
    images = np.random.default_rng(0).integers(0, 256, (2, 44, 54, 1), "uint8")
    window = np.eye(2, 3, dtype="float32")
    targets = {
        "labels": np.array([[3], [4]]),
        "transforms": np.array([[window]] * 2),
    }
    figures = evaluation.evaluate(model, images, targets, crops=3)
    assert "error_by_glimpse" not in figures
    figures = evaluation.evaluate(model, images[:, :40, :50], targets)
    assert len(figures["error_by_glimpse"]) == 1
    assert len(figures["iou_by_glimpse"]) == 3


class TooSure:
    """A model of two classes whose logits are those of the images, times 4."""

    terminal, reading_order, label_names = False, "forward", ("0", "1")
    members, temperature = (), 1.0

    def decode(self, outputs):
        return decoding.decode(outputs, temperature=self.temperature)


def true_and_too_sure(number):
    """Labels that are drawn as probable as they are, and looks four times so.

    The same in a row of few as at the start of many.
    """
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, number)
    labels = generator.random(number) < 1 / (1 + np.exp(-logits))
    both = np.stack([0 * logits, 4 * logits], axis=-1)
    whole = np.broadcast_to(geometry.IDENTITY, (number, 1, 1, 2, 3))
    looks = {"labels": both[:, None, None], "transforms": whole}
    targets = {
        "labels": labels[:, None].astype("int32"),
        "transforms": whole[:, :, 0],
    }
    return looks, targets


def test_a_fitted_temperature_makes_probabilities_true():
    model = TooSure()
    looks, targets = true_and_too_sure(20_000)
    before = evaluation.sure_and_wrong(model, looks, targets)
    assert metrics.calibration_error(*before) > 0.1
    assert evaluation.fit_temperature(model, looks, targets) == pytest.approx(
        4, rel=0.05
    )
    assert model.temperature == pytest.approx(4, rel=0.05)
    after = evaluation.sure_and_wrong(model, looks, targets)
    assert metrics.calibration_error(*after) < 0.015
    np.testing.assert_array_equal(after[1], before[1])  # the same answers


@pytest.mark.parametrize("number", [1, 5, 20, 200])
def test_few_images_that_are_all_right_do_not_make_a_model_sure(number):
    model = TooSure()
    logits = np.zeros((number, 1, 1, 2))
    logits[..., 1] = np.log(9)  # sure to nine tenths
    whole = np.broadcast_to(geometry.IDENTITY, (number, 1, 1, 2, 3))
    looks = {"labels": logits, "transforms": whole}
    labels = np.ones((number, 1), "int32")
    targets = {"labels": labels, "transforms": whole[:, :, 0]}
    temperature = evaluation.fit_temperature(model, looks, targets)
    assert temperature == model.temperature
    probability, _ = evaluation.sure_and_wrong(model, looks, targets)
    # Laplace's rule: one more that is right, and one that is wrong.
    expected = (number + 1) / (number + 2)
    assert min(0.9, expected) - 0.05 < probability[0] < max(0.9, expected)


def test_a_model_that_cannot_be_calibrated_stays_as_it_was():
    model = TooSure()
    model.temperature = 2.0
    looks, targets = true_and_too_sure(10)
    with pytest.raises(ValueError, match="Received"):
        few = {name: values[:5] for name, values in targets.items()}
        evaluation.fit_temperature(model, looks, few)
    looks["labels"][3] = np.nan
    for measure in (evaluation.fit_temperature, evaluation.figures):
        with pytest.raises(ValueError, match="Received: 1 of 10 that are none"):
            measure(model, looks, targets)
    assert model.temperature == 2.0


def test_a_model_keeps_its_temperature(tmp_path):
    model = tiny.reader(temperature=2.5)
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 1), "uint8")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert loaded.temperature == 2.5
    assert loaded.read(images) == model.read(images)
    for value in (0, -1, np.nan, "2", True):
        with pytest.raises(ValueError, match="Received: temperature="):
            model.temperature = value
    sure = [answer["probability"] for answer in model.read(images)]
    model.temperature = 1.0  # of graphs that were made before, too
    surer = [answer["probability"] for answer in model.read(images)]
    assert all(a < b for a, b in zip(sure, surer, strict=True))
    # Of other classes nothing is known.
    for changes, expected in (
        (dict(num_classes=6, class_names=None), 1.0),
        (dict(num_classes=6, class_names=None, temperature=3.0), 3.0),
        (dict(relative_emission=True), 1.0),
    ):
        with pytest.warns(UserWarning, match="to be trained"):
            changed = transfer.adapt(loaded, changes)
        assert changed.temperature == expected
    assert (
        transfer.adapt(loaded, dict(image_shape=(60, 60, 1))).temperature == 2.5
    )
