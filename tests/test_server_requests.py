"""What is asked of a server, without the server."""

import base64
import io

import malformed
import numpy as np
import pytest
import tiny
from PIL import Image

from keras_edram.server import requests as server_requests
from keras_edram.models import Baseline, Ensemble
from keras_edram.server.requests import Question, parse, read

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
    question = parse({"instances": rows}, tiny.reader())
    assert question.images.dtype == np.float32
    np.testing.assert_array_equal(question.images[[0, 2]], images[[0, 2]])
    np.testing.assert_allclose(question.images[1], images[1] / 2)
    assert question[1:] == Question(None)[1:]


def test_a_picture_of_any_size_and_colour_is_stretched():
    buffer = io.BytesIO()
    Image.new("RGB", (90, 70), (100, 100, 100)).save(buffer, "JPEG")
    content = base64.b64encode(buffer.getvalue()).decode()
    question = parse({"instances": [{"b64": content}]}, tiny.reader())
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
    question = parse(request, tiny.reader())
    assert question[1:] == (1, 10**12, 0.0, True)


@pytest.mark.parametrize("case", malformed.CASES)
def test_a_wrong_request_is_refused_in_one_sentence(case):
    request, words = malformed.CASES[case]
    with pytest.raises(ValueError, match=words) as error:
        parse(request, tiny.reader())
    assert len(str(error.value)) < 300 and "\n" not in str(error.value)


@pytest.mark.parametrize("parameter", ["confidence", "max_glimpses"])
def test_only_one_model_that_looks_has_a_budget(parameter):
    request = malformed.with_parameters(**{parameter: 1})
    for model in (
        Baseline(malformed.SHAPE, num_classes=3),
        Ensemble([tiny.reader(), tiny.reader(8)]),
    ):
        with pytest.raises(ValueError, match=f"nothing to stop.*{parameter}"):
            parse(request, model)


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
    number = server_requests.num_glimpses(model)
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
