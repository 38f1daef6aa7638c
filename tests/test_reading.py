"""The way from pictures to answers."""

import base64
import functools
import json
import os
import warnings
import weakref
from concurrent import futures

import numpy as np
import pytest
import stand_in_reader
import tiny

from keras_edram import (
    anytime,
    cli,
    evaluation,
    picture_notes,
    reading,
)
from keras_edram.datasets import read_picture
from keras_edram.models import Baseline, Ensemble
from keras_edram.presets import opening
from keras_edram.reading_order import NO_LABEL, end_sequences
from keras_edram.server import answers, requests


def test_the_good_are_answered_and_of_the_others_is_said_why(
    images, pictures, tmp_path
):
    model = tiny.reader()
    expected = model.read(images, refuse_below=0.3)
    text, empty, folder = (tmp_path / name for name in ("t.png", "e.png", "d"))
    text.write_text("no picture")
    empty.touch()
    folder.mkdir()
    pipe, cut = tmp_path / "pipe.png", tmp_path / "cut.png"
    os.mkfifo(pipe)
    cut.write_bytes(pictures[0].read_bytes()[:60])
    broken = {
        text: "is no picture that can be read",
        tmp_path / "none.png": "there is no such file",
        empty: "is an empty file",
        folder: "is a folder without pictures",
        pipe: "is no file, but a device or the like",
        cut: "cannot be read: ",
    }
    files = [pictures[0], *broken, *pictures[1:], pictures[0]]
    found = list(reading.read_pictures(model, files, refuse_below=0.3))
    assert [one.file for one in found] == files
    for one in found[1:7]:
        assert one.answer is None and one.notes == []
        assert one.error.startswith(broken[one.file])
        assert str(tmp_path) not in one.error
    answers = [found[index].answer for index in (0, 7, 8, 9)]
    for answer, other in zip(answers, [*expected, expected[0]], strict=True):
        assert set(answer) == set(other)
        assert answer["sequence"] == other["sequence"]
        assert answer["labels"] == other["labels"]
        for name in ("probability", "boxes"):
            np.testing.assert_allclose(answer[name], other[name], atol=1e-5)
    # Of the contents alike.
    contents = [pictures[1].read_bytes(), b"no picture"]
    good, bad = reading.read_pictures(model, contents, refuse_below=0.3)
    assert good.answer["sequence"] == expected[1]["sequence"]
    assert bad.error and bad.answer is None


def test_an_answer_without_an_end_says_that_there_may_be_more(images, pictures):
    model = tiny.reader()  # says two objects at most, then an end
    for bias, objects in ((-50, 2), (50, 0)):
        model.classification_output.bias.assign([0, 0, 0, bias])
        notes = [reading.NO_END] * (objects == 2)
        said = [f"This image {note}." for note in notes]
        for reader in (model, Ensemble([model, model])):
            for row in reader.read(images):
                assert len(row["labels"]) == objects
                assert row.get("notes", []) == said
        # Nor is an end seen where a budget is spent before.
        for most in (1, 2, 3):
            for row in model.read(images, max_glimpses=most):
                assert row.get("notes", []) == said
        for one in reading.read_pictures(model, pictures):
            assert one.notes == notes
        question = requests.Question(images, notes=[["Odd."], [], []])
        (rows,) = answers.read(model, [question])
        found = [row.get("notes", []) for row in rows]
        assert found == [["Odd.", *said], said, said]
    # Nothing ends what this one says.
    assert all("notes" not in row for row in tiny.ram().read(images))


def test_thousands_of_pictures_are_never_in_memory_together(monkeypatch):
    alive, most = 0, 0

    def gone():
        nonlocal alive
        alive -= 1

    def read(file, image_shape):
        nonlocal alive, most
        image = np.full(image_shape, file % 3, "uint8")
        weakref.finalize(image, gone)
        alive += 1
        most = max(most, alive)
        return image, []

    monkeypatch.setattr(picture_notes, "look_at_image", read)
    model = stand_in_reader.Model()
    found = reading.read_pictures(model, range(2_000))
    labels = [one.answer["labels"] for one in found]
    assert labels == [[number % 3] for number in range(2_000)]
    assert most <= 2 * reading.BATCH_SIZE
    assert model.shapes[0][0] == reading.BATCH_SIZE


def test_large_images_come_fewer_at_once(monkeypatch):
    monkeypatch.setattr(
        picture_notes,
        "look_at_image",
        lambda file, shape: (np.zeros(shape, "uint8"), []),
    )
    monkeypatch.setattr(reading, "MAX_VALUES", 5 * 4 * 4)
    model = stand_in_reader.Model()
    assert len(list(reading.read_pictures(model, range(12)))) == 12
    assert [shape[0] for shape in model.shapes] == [5, 5, 2]


@pytest.mark.parametrize("kind", ["Ensemble", "RAM"])
def test_many_at_once_have_the_answers_of_few(kind):
    """They are looked at by a compiled step."""
    model = {
        "Ensemble": lambda: Ensemble(
            [tiny.reader(reading_order="backward"), tiny.reader(seed=1)]
        ),
        "RAM": tiny.sure_ram,
    }[kind]()
    shape = (reading.BATCH_SIZE, 40, 50, 1)
    images = np.random.default_rng(0).integers(0, 256, shape, "uint8")
    found, expected = reading.look(model, images), model.glimpses(images)
    assert set(found) == set(expected) == {"labels", "transforms", "patches"}
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-3)
    # All differ, so that no image can have the answer of another.
    assert len(np.unique(found["labels"].reshape(len(images), -1)[:, -2])) > 20


def test_rollouts_are_drawn_of_many_too(monkeypatch):
    model = tiny.ram(num_rollouts=2)
    images = np.zeros((reading.BATCH_SIZE, 40, 50, 1), "uint8")
    drawn = reading.look(model, images)["transforms"]
    # Of the mean policy, equal images have equal paths.
    assert np.ptp(drawn[:, 0, 1], axis=0).max() > 0.01


def test_an_answer_that_is_no_number_is_none(pictures):
    model = tiny.reader()
    kernel = model.emission.kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    for one in reading.read_pictures(model, pictures):
        assert one.answer is None and "is not a number" in one.error


def test_what_is_odd_about_a_picture_is_noted(monkeypatch):
    def look_at(file, image_shape):
        image = np.zeros(image_shape, "uint8")
        image[1:3, 1:3] = 200
        return {
            "paper.png": 255 - image,
            "one.png": image // 200,
            "none.png": 0 * image,
        }.get(file, image), ["has several pages"] * (file == "pages.tif")

    monkeypatch.setattr(picture_notes, "look_at_image", look_at)
    files = ["ink.png", "pages.tif", "paper.png", "one.png", "none.png"]

    def notes(**how):
        model = stand_in_reader.Model()
        return [one.notes for one in reading.read_pictures(model, files, **how)]

    expected = [[], ["has several pages"], []]
    expected += [[picture_notes.IN_ONE], [picture_notes.ONE_COLOUR]]
    assert notes() == expected
    expected[2] = [picture_notes.DARK_ON_LIGHT]
    assert notes(light_on_dark=True) == expected
    inverted = notes(light_on_dark=True, invert=True)
    assert inverted[0] == [picture_notes.DARK_ON_LIGHT] and inverted[2] == []
    assert inverted[3:] == expected[3:]  # whichever way it is turned


def test_classes_without_names_are_told_apart_where_they_are_many():
    model = stand_in_reader.Model()
    model.class_names, model.num_classes = None, 14
    model.label_names = tuple(map(str, range(14)))
    rows = [[1, 12], [11, 2], [1, 0], [10, 10]]
    looks = {
        "labels": 9.0 * np.eye(14)[rows][:, :, None],  # (B, S, 1, K)
        "transforms": np.tile(np.eye(2, 3), (4, 2, 1, 1, 1)),
    }
    assert [row["sequence"] for row in reading.answer(model, looks)] == [
        "1 12",
        "11 2",
        "1 0",
        "10 10",
    ]


def test_what_was_said_of_pictures_is_not_said_of_their_batch(tmp_path):
    path = tmp_path / "one.png"
    path.write_bytes(tiny.png(np.eye(40, 50, dtype="uint8")[..., None]))
    model = tiny.reader()
    with pytest.warns(UserWarning, match="multiply them by 255"):
        model.read(np.eye(40, 50)[None, ..., None])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (one,) = reading.read_pictures(model, [path])
    assert one.notes == [picture_notes.IN_ONE, reading.NO_END]


def test_notes_are_of_the_picture_that_a_thread_reads(pictures, tmp_path):
    blank = tmp_path / "blank.png"
    blank.write_bytes(tiny.png(np.full((40, 50, 1), 9, "uint8")))

    def notes(path):
        shape = (40, 50, 1)
        return [
            picture_notes.read_with_notes(path, shape)[1] for _ in range(60)
        ]

    showing = warnings.showwarning, list(warnings.filters)
    with futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(notes, [pictures[0], blank] * 4))
    assert found == 4 * [60 * [[]], 60 * [[picture_notes.ONE_COLOUR]]]
    assert (warnings.showwarning, list(warnings.filters)) == showing


def test_no_warning_of_a_picture_is_lost_in_threads(tmp_path):
    blank = tmp_path / "blank.png"
    blank.write_bytes(tiny.png(np.full((40, 50, 1), 9, "uint8")))

    def read(_):
        for _ in range(100):
            read_picture(blank, (40, 50, 1))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(read, range(4)))
    assert len(caught) == 400


KINDS = {
    **tiny.MODELS,
    "ensemble": lambda: Ensemble(
        [tiny.reader(), tiny.reader(8, reading_order="backward")]
    ),
    "baseline": lambda: Baseline((40, 50, 1), num_classes=3),
}


@functools.cache  # its step is compiled once
def model_of(kind):
    return KINDS[kind]()


WAYS = [
    pytest.param(kind, budget, id=f"{kind} {budget}")
    for kind in KINDS
    for budget in ({}, {"max_glimpses": 1}, {"confidence": 0.5})
    if kind in tiny.MODELS or not budget
]


def by_command(model, files, budget, monkeypatch, capsys):
    monkeypatch.setattr(opening, "open_model", lambda where: model)
    arguments = ["predict", "model", *map(str, files), "--json"]
    for name, value in budget.items():
        arguments += [f"--{name.replace('_', '-')}", str(value)]
    assert cli.main(arguments) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row.pop("file") for row in rows] == list(map(str, files))
    return rows


def by_server(model, files, budget):
    instances = [
        {"b64": base64.b64encode(file.read_bytes()).decode()} for file in files
    ]
    request = {"instances": instances, "parameters": budget}
    question = requests.parse(request, answers.facts(model))
    (rows,) = answers.read(model, [question])
    if not budget:  # where it looks to the end it says how long that was
        taken = {row.pop("num_glimpses", None) for row in rows}
        assert taken == {answers.num_glimpses(model)}
    return rows


def targets_of(model, rows):
    """Targets of images that are what `rows` say."""
    lengths = [len(row["labels"]) for row in rows]
    labels = np.zeros((len(rows), model.num_targets), "int32")
    for of_image, row in zip(labels, rows, strict=True):
        of_image[: len(row["labels"])] = row["labels"]
    labels, windows = end_sequences(
        labels,
        np.ones((*labels.shape, 2, 3)),
        lengths,
        model.num_classes - 1 if model.terminal else NO_LABEL,
        model.reading_order,
    )
    number = model.num_targets
    return {"labels": labels[:, :number], "transforms": windows[:, :number]}


@pytest.mark.parametrize("kind, budget", WAYS)
def test_all_ways_lead_to_the_same_answers(
    kind, budget, images, pictures, monkeypatch, capsys
):
    model = model_of(kind)
    expected = model.read(images, **budget)
    assert ("num_glimpses" in expected[0]) == bool(budget)
    for rows in (
        by_command(model, pictures, budget, monkeypatch, capsys),
        by_server(model, pictures, budget),
        [
            one.answer
            for one in reading.read_pictures(model, pictures, **budget)
        ],
        reading.answer(model, reading.look(model, images, **budget)),
    ):
        assert len(rows) == len(expected)
        for row, other in zip(rows, expected, strict=True):
            assert set(row) == set(other)
            for name, value in other.items():
                if name in ("probability", "boxes"):
                    np.testing.assert_allclose(row[name], value, atol=1e-5)
                else:
                    assert row[name] == value
    # An evaluation finds that an image is what was read, and not another.
    targets = targets_of(model, expected)
    number = len(model.label_names)
    others = [(y + 1) % number for y in expected[0]["labels"]] or [0]
    changed = {**expected[0], "labels": others}
    others = targets_of(model, [changed, *expected[1:]])
    wrong = int(changed["labels"] != expected[0]["labels"])
    looks = reading.look(model, images, **budget)
    for truth, errors in ((targets, 0), (others, wrong)):
        found = [evaluation.figures(model, looks, truth)["error"]]
        if "confidence" in budget:
            curve = evaluation.anytime_curve(model, images, truth, [0.5])
            found.append(curve[0]["error"])
        elif not budget:
            found.append(evaluation.evaluate(model, images, truth)["error"])
        assert found == pytest.approx([errors / 3] * len(found))


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, True, None])
def test_a_batch_of_no_size_is_refused(batch_size, images):
    model, words = model_of("RAM"), f"Received: batch_size={batch_size!r}"
    with pytest.raises(ValueError, match=words):
        reading.look(model, images, batch_size=batch_size)
    with pytest.raises(ValueError, match=words):
        evaluation.anytime_curve(model, images, None, batch_size=batch_size)


@pytest.mark.parametrize("name", ["invert", "light_on_dark"])
def test_a_word_inverts_no_picture(name, pictures):
    with pytest.raises(ValueError, match=f"Received: {name}='no'"):
        list(reading.read_pictures(model_of("RAM"), pictures, **{name: "no"}))


@pytest.mark.parametrize(
    "received, how",
    [
        ("crops=2", {"crops": 2}),
        ("glimpses_per_target=3", {"glimpses_per_target": 3}),
        ("num_rollouts=2", {}),
        ("a Ensemble", {}),
        ("a Baseline", {}),
        ("confidence=1.5", {"confidence": 1.5}),
        ("max_glimpses=0", {"max_glimpses": 0}),
        ("max_glimpses=1.5", {"max_glimpses": 1.5}),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused(received, how, images):
    model = {
        "num_rollouts=2": lambda: tiny.ram(num_rollouts=2),
        "a Ensemble": lambda: model_of("ensemble"),
        "a Baseline": lambda: model_of("baseline"),
    }.get(received, lambda: model_of("RAM"))()
    how = {"confidence": 0.5, **how}
    words = f"Received: {received}"
    with pytest.raises(ValueError, match=words):
        reading.look(model, np.zeros((1, 60, 60, 1)), **how)
    if set(how) == {"confidence"} and "confidence" not in received:
        # The server says it in the same words, before it asks the model.
        request = {"instances": [images[0].tolist()], "parameters": how}
        with pytest.raises(ValueError, match=f"^{anytime.ONLY_FOR}. {words}"):
            requests.parse(request, answers.facts(model))
        with pytest.raises(ValueError, match=words):
            evaluation.anytime_curve(model, images, None)


def test_images_are_looked_at_in_batches_of_bounded_size(monkeypatch):
    model = stand_in_reader.Model()
    images = np.arange(70).repeat(16).reshape(70, 4, 4, 1)
    looks = reading.look(model, images)
    assert looks["labels"].argmax(axis=-1).ravel().tolist() == [
        number % 3 for number in range(70)
    ]
    assert [shape[0] for shape in model.shapes] == [32, 32, 6]
    model.shapes.clear()
    reading.look(model, images, batch_size=50)
    monkeypatch.setattr(reading, "MAX_VALUES", 16 * 30)
    reading.look(model, images, batch_size=50)
    assert [shape[0] for shape in model.shapes] == [50, 20, 30, 30, 10]


@pytest.mark.parametrize("how", [{}, {"max_glimpses": 1}, {"crops": 2}])
def test_of_no_images_there_are_no_answers(how):
    images = np.zeros((0, 60, 60, 1), "uint8")
    assert model_of("a sequence").read(images, **how) == []


SIZES = ((40, 50), (40, 50), (90, 31), (40, 50), (40, 50), (40, 50))


@pytest.fixture(scope="module")
def any_size():
    return tiny.reader(image_shape=(None, None, 1))


@pytest.fixture
def photos(tmp_path):
    """Images of several sizes, and their files."""
    generator = np.random.default_rng(3)
    images, paths = [], []
    for number, size in enumerate(SIZES):
        images.append(generator.integers(0, 256, (*size, 1), "uint8"))
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(tiny.png(images[-1]))
    return images, paths


def test_images_of_several_sizes_are_read_as_they_are(
    any_size, photos, tmp_path, monkeypatch
):
    images, paths = photos
    expected = [any_size.read(image[None])[0] for image in images]
    shapes, look = [], reading._look_as_often
    monkeypatch.setattr(
        reading,
        "_look_as_often",
        lambda model, given: shapes.append(given.shape) or look(model, given),
    )
    found = any_size.read(images)
    files = [*paths[:4], tmp_path / "none.png", *paths[4:]]
    read = list(reading.read_pictures(any_size, files))
    # What follows each other in one size is a batch.
    batches = [(2, 40, 50, 1), (1, 90, 31, 1), (3, 40, 50, 1)]
    assert shapes == 2 * batches
    assert [one.file for one in read] == files
    assert read.pop(4).error == "there is no such file"
    for of_all in (found, [one.answer for one in read]):
        for answer, other in zip(of_all, expected, strict=True):
            assert answer["labels"] == other["labels"]
            np.testing.assert_allclose(
                answer["boxes"], other["boxes"], atol=1e-5
            )


def test_of_large_photos_few_are_in_memory_together(any_size, monkeypatch):
    alive, most = 0, 0

    def gone():
        nonlocal alive
        alive -= 1

    def read(file, image_shape):
        nonlocal alive, most
        image = np.full((40, 50 + file // 9, 1), 7 * file, "uint8")
        weakref.finalize(image, gone)
        alive += 1
        most = max(most, alive)
        return image, []

    monkeypatch.setattr(picture_notes, "look_at_image", read)
    monkeypatch.setattr(reading, "MAX_VALUES", 3 * 40 * 50)
    found = list(reading.read_pictures(any_size, range(18)))
    assert [one.file for one in found] == list(range(18))
    assert all(one.answer for one in found)
    assert most <= 2 * 3 + 1


def test_crops_that_would_all_be_the_same_are_refused():
    model, images = tiny.reader(), np.zeros((1, 40, 50, 1))
    assert model.read(images, crops=1)
    with pytest.raises(ValueError, match="Received: crops=2, images of shape"):
        model.read(images, crops=2)


def test_crops_of_images_of_any_size_are_in_proportion(any_size, photos):
    images, paths = photos
    found = reading.look(any_size, images[2:4], crops=1)
    # A single crop is the middle: 54 of 64 parts of each side.
    for row, (top, left, high, wide) in enumerate(
        ((7, 2, 76, 26), (3, 4, 34, 42))
    ):
        image = images[2 + row][top : top + high, left : left + wide]
        expected = any_size.glimpses(image[None])["labels"][0]
        np.testing.assert_allclose(found["labels"][row], expected, atol=1e-3)
    read = reading.read_pictures(any_size, paths[2:4], crops=2)
    assert all(one.answer for one in read)


@pytest.mark.parametrize(
    "images",
    [
        [],
        [np.zeros((4, 5, 1)), np.zeros((4, 5, 3))],
        [np.zeros((4, 5))],
        [np.zeros((4, 0, 1)), np.zeros((4, 5, 1))],
        np.zeros((2, 0, 5, 1)),
        "photo.png",
        7,
    ],
    ids=str,
)
def test_what_are_no_images_is_refused(any_size, images):
    with pytest.raises(ValueError, match="Received: images of shape"):
        any_size.read(images)


def test_where_one_size_is_needed_several_are_refused(any_size, photos):
    for ask in (any_size.glimpses, functools.partial(
        anytime.look_until_sure, any_size
    )):  # fmt: skip
        with pytest.raises(ValueError, match="`model.read` takes a list"):
            ask(photos[0])


def test_members_of_any_size_read_as_one(any_size, photos):
    other = tiny.reader(
        seed=1, image_shape=(None, None, 1), reading_order="backward"
    )
    ensemble = Ensemble([any_size, other])
    assert ensemble.takes_any_size
    images, _ = photos
    first = ensemble.read(images[:3])
    for image, answer in zip(images[:3], first, strict=True):
        (expected,) = ensemble.read(image[None])  # in graphs
        assert answer["labels"] == expected["labels"]
        assert answer["probability"] == pytest.approx(
            expected["probability"], abs=1e-4
        )
    with pytest.raises(ValueError, match="the same `image_shape`"):
        Ensemble([any_size, tiny.reader()])


def test_figures_of_images_of_several_sizes(any_size, photos):
    images, _ = photos
    labels, windows = end_sequences(
        np.array([[0]] * 6), np.zeros((6, 1, 2, 3)), np.ones(6, int), 3,
        "forward",
    )  # fmt: skip
    targets = {"labels": labels, "transforms": windows}
    figures = evaluation.evaluate(any_size, images, targets)
    assert figures["images"] == 6
    apart = [
        evaluation.evaluate(
            any_size,
            image[None],
            {name: values[i : i + 1] for name, values in targets.items()},
        )
        for i, image in enumerate(images)
    ]
    assert figures["error"] == np.mean([one["error"] for one in apart])
    curve = evaluation.anytime_curve(any_size, images, targets, [0.5])
    assert curve[-1]["error"] == figures["error"]


def test_answers_that_are_no_numbers_are_refused(images):
    """As a model gives them whose training diverged."""
    model = tiny.reader()
    model.set_weights([values * np.nan for values in model.get_weights()])
    with pytest.raises(ValueError, match="must be numbers.* 2 of 2 that"):
        model.read(images[:2])
