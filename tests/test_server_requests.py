"""What is asked of a server, without the server."""

import base64
import io
import json
import re
import subprocess
import sys

import malformed
import numpy as np
import pytest
import tiny
from PIL import Image

from keras_edram.models import Baseline, Ensemble
from keras_edram.server import answers, checking
from keras_edram.server.answers import facts, read
from keras_edram.server.requests import (
    Facts,
    Question,
    max_images,
    parse,
    possible_parameters,
)

FACTS = Facts(malformed.SHAPE)
READ = {"sequence", "labels", "names", "probability", "boxes"}


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 256, (3, 40, 50, 1), "uint8")


def assert_same(found, expected):
    """Rows of plain values, equal but for rounding."""
    assert len(found) == len(expected)
    for row, other in zip(found, expected, strict=True):
        for name in READ:
            if name in ("probability", "boxes"):
                np.testing.assert_allclose(row[name], other[name], atol=1e-5)
            else:
                assert row[name] == other[name]


def test_pixels_and_pictures_are_images(images):
    rows = [
        images[0].tolist(),
        (images[1] / 2).tolist(),
        malformed.b64(tiny.png(images[2])),
    ]
    question = parse({"instances": rows}, FACTS)
    assert question.images.dtype == np.float32
    np.testing.assert_array_equal(question.images[[0, 2]], images[[0, 2]])
    np.testing.assert_allclose(question.images[1], images[1] / 2)
    assert question[1:] == Question(None, notes=[[]] * 3)[1:]


def test_a_picture_of_any_size_and_colour_is_stretched():
    buffer = io.BytesIO()
    Image.new("RGB", (90, 70), (100, 100, 100)).save(buffer, "JPEG")
    content = base64.b64encode(buffer.getvalue()).decode()
    question = parse({"instances": [{"b64": content}]}, FACTS)
    np.testing.assert_allclose(question.images, 100, atol=1)
    assert question.images.shape == (1, 40, 50, 1)


def test_parameters_are_taken_and_null_is_none(images):
    request = {
        "instances": images[:1].tolist(),
        "parameters": {
            "confidence": 1,
            "max_glimpses": 10**12,
            "refuse_below": None,
            "glimpses": True,
        },
        "signature_name": "serving_bytes",
    }
    question = parse(request, FACTS)
    assert question[1:] == (1, 10**12, 0.0, True, [[]])


@pytest.mark.parametrize("case", malformed.CASES)
def test_a_wrong_request_is_refused_in_one_sentence(case):
    request, words = malformed.CASES[case]
    with pytest.raises(ValueError, match=words) as error:
        parse(request, FACTS)
    assert len(str(error.value)) < 300 and "\n" not in str(error.value)


@pytest.mark.parametrize("parameter", ["confidence", "max_glimpses"])
def test_only_one_model_that_looks_has_a_budget(parameter):
    request = malformed.with_parameters(**{parameter: 1})
    for model in (
        Baseline(malformed.SHAPE, num_classes=3),
        Ensemble([tiny.reader(), tiny.reader(8)]),
    ):
        with pytest.raises(ValueError, match="^A budget .* Received: a "):
            parse(request, facts(model))


@pytest.mark.parametrize("kind", [*tiny.MODELS, "ensemble", "baseline"])
def test_it_reads_as_the_model_and_tells_what_it_saw(kind, images):
    models = {
        **tiny.MODELS,
        "ensemble": lambda: Ensemble([tiny.reader(), tiny.reader(8)]),
        "baseline": lambda: Baseline(malformed.SHAPE, num_classes=3),
    }
    model = models[kind]()
    rows = read(model, Question(images.astype("float32"), glimpses=True))
    assert_same(rows, model.read(images))
    windows = model.glimpses(images)["transforms"].reshape(3, -1, 2, 3)
    number = answers.num_glimpses(model)
    for row, transforms in zip(rows, windows, strict=True):
        assert row.get("num_glimpses") == number
        # The middle of a window, as a fraction of the image.
        middles = np.mean(row["windows"], axis=1)
        expected = (transforms[..., 2] + 1) / 2
        np.testing.assert_allclose(middles, expected, atol=1e-4)
        assert len(row["patches"]) == len(transforms)
        if kind == "RAM":
            assert row["seen"] is None
        else:
            assert len(row["seen"]) == len(transforms)
            assert 0 < row["seen"][0]["probability"] <= 1


def test_a_budget_ends_the_glimpses(images):
    model = tiny.reader()
    images = images.astype("float32")
    rows = read(model, Question(images, max_glimpses=2, glimpses=True))
    for row in rows:
        assert row["num_glimpses"] == 2
        for name in ("windows", "patches", "seen"):
            assert len(row[name]) == 2
    sure = read(model, Question(images, confidence=0.0))
    assert_same(sure, model.read(images, confidence=0.0))


def test_patches_are_pictures_of_what_was_seen(images):
    model = tiny.ram()  # two scales of 8 pixels
    (row,) = read(model, Question(images[:1].astype("float32"), glimpses=True))
    head, content = row["patches"][1].split(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
        found = np.asarray(picture)
    patch = model.glimpses(images[:1])["patches"][0, 0, 1]
    assert found.shape == (8, 16)
    np.testing.assert_allclose(found[:, 8:], patch[..., 1] * 255, atol=1.5)


def test_an_unsure_answer_is_refused(images):
    rows = read(tiny.reader(), Question(images * 1.0, refuse_below=1.0))
    assert [row["sequence"] for row in rows] == [None] * 3


@pytest.mark.parametrize(
    "row",
    [
        {"images": malformed.IMAGE},
        {"image_bytes": malformed.b64(malformed.PICTURE)},
        {"images": malformed.b64(malformed.PICTURE)},
    ],
    ids=["pixels", "a file", "a file among images"],
)
def test_rows_may_be_named_as_tensorflow_serving_does(row):
    question = parse({"instances": [row]}, FACTS)
    np.testing.assert_array_equal(question.images, np.zeros((1, 40, 50, 1)))


BASE64 = base64.b64encode(malformed.PICTURE).decode()


@pytest.mark.parametrize(
    "text",
    [
        re.sub("(.{20})", r"\1\n", BASE64),
        base64.urlsafe_b64encode(malformed.PICTURE).decode().rstrip("="),
        f"data:image/png;base64,{BASE64}",
        f"DATA:;base64,{BASE64}\r\n",
        f" {BASE64}",
    ],
    ids=["lines", "for URLs", "data URL", "its ending", "space"],
)
def test_base64_is_read_however_it_is_written(text):
    question = parse({"instances": [{"b64": text}]}, FACTS)
    np.testing.assert_array_equal(question.images, np.zeros((1, 40, 50, 1)))


@pytest.mark.parametrize("name", ["parameters", "signature_name"])
def test_null_is_as_if_it_were_not_given(name):
    request = {"instances": [malformed.IMAGE], name: None}
    assert parse(request, FACTS)[1:-1] == Question(None)[1:-1]


def test_what_cannot_be_stopped_has_no_budget_among_its_parameters():
    assert set(possible_parameters(FACTS)) == {
        "confidence",
        "max_glimpses",
        "refuse_below",
        "glimpses",
    }
    ensemble = facts(Ensemble([tiny.reader(), tiny.reader(8)]))
    assert set(possible_parameters(ensemble)) == {"refuse_below", "glimpses"}


def test_large_images_are_fewer():
    assert max_images((100, 100, 3)) == 64
    assert max_images((3200, 3200, 1)) == 6  # 2**26 / 3200**2 is 6.55
    assert max_images((10_000, 10_000, 3)) == 1
    instances = [malformed.b64(malformed.PICTURE)] * 7
    with pytest.raises(ValueError, match="at most 6 images. Received: 7"):
        parse(
            {"instances": instances},
            FACTS._replace(image_shape=(3200, 3200, 1)),
        )


PAPER = np.full((40, 50, 1), 255)
PAPER[10:30, 10:30] = 0


@pytest.mark.filterwarnings("ignore:Images must have values")
@pytest.mark.parametrize(
    "image, dark_ground, words",
    [
        (np.full((40, 50, 1), 7), True, "of one colour"),
        (np.zeros((40, 50, 1), int), True, "of one colour"),
        (1 - PAPER // 255, True, "at most 1, .* meant to be in "),
        (PAPER, True, "dark on light"),
        (PAPER, False, None),
        (255 - PAPER, True, None),
    ],
)
def test_what_is_odd_about_an_image_is_noted_of_pixels_and_of_files(
    image, dark_ground, words
):
    rows = [image.tolist(), malformed.b64(tiny.png(image.astype("uint8")))]
    facts = FACTS._replace(dark_ground=dark_ground)
    question = parse({"instances": rows}, facts)
    pixels, file = question.notes
    assert pixels == file and len(file) == (words is not None)
    if words:
        assert re.search(f"^This image .*{words}.*[.]$", file[0])
    # And what is noted stands in the answer.
    found = read(tiny.reader(), question)
    assert [row.get("notes", []) for row in found] == question.notes


def test_what_a_picture_file_warns_of_is_noted():
    buffer = io.BytesIO()
    pages = [
        Image.fromarray(PAPER[..., 0].astype("uint8") // n) for n in (1, 2)
    ]
    pages[0].save(buffer, "GIF", save_all=True, append_images=pages[1:])
    question = parse({"instances": [malformed.b64(buffer.getvalue())]}, FACTS)
    (note,) = question.notes[0]
    assert note == "This image has several pages or frames: the first is read."


def test_the_processes_that_check_do_without_tensorflow():
    options = json.dumps(checking.Checkers(FACTS, 5).options())
    imports, _, _ = checking.CHILD.partition("checking.check_all")
    code = imports + "print({'keras', 'tensorflow'} & {*sys.modules})"
    found = subprocess.run(
        [sys.executable, "-I", "-c", code, options],
        capture_output=True,
        text=True,
    )
    assert (found.stdout, found.stderr) == ("set()\n", "")
