"""What is asked of a server, without the server."""

import base64
import io
import json
import re
import subprocess
import sys
import threading
import weakref

import malformed
import numpy as np
import pytest
import tiny
from PIL import Image

from keras_edram.models import Baseline, Ensemble
from keras_edram.server import answers, checking
from keras_edram.server.answers import facts, read
from keras_edram.server.batching import Batcher
from keras_edram.server.requests import (
    BUDGET,
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


ANY = Facts((None, None, 1))


def test_images_of_any_size_stay_as_they_are(images):
    picture = malformed.b64(tiny.png(images[0]))
    for rows, dtype in (
        ([picture, picture], np.uint8),
        ([images[0].tolist(), picture], np.uint8),
        ([(images[0] / 2).tolist(), picture], np.float32),
    ):
        found = parse({"instances": rows}, ANY).images
        assert (found.dtype, found.shape) == (dtype, (2, 40, 50, 1))
        np.testing.assert_array_equal(found[1], images[0])


def test_a_photo_of_a_phone_takes_a_byte_a_pixel():
    photo = Image.new("RGB", (4000, 3000), (200, 30, 90))
    photo.paste((0, 0, 0), (0, 0, 9, 9))
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG")
    request = {"instances": [malformed.b64(buffer.getvalue())]}
    images = parse(request, Facts((None, None, 3))).images
    assert (images.dtype, images.shape) == (np.uint8, (1, 3000, 4000, 3))


def broken():
    """Pictures that a model of any size is not to be asked about."""
    noisy = np.random.default_rng(0).integers(0, 256, (40, 50, 1), "uint8")
    whole, small = tiny.png(noisy), tiny.png(noisy[:30])
    large = io.BytesIO()
    Image.new("L", (5000, 4000)).save(large, "PNG")
    return {
        "sizes": (
            [malformed.b64(whole), malformed.b64(small)],
            r"instances\[1\] must be of the size of .* 50 x 40.* 50 x 30",
        ),
        "arrays of sizes": (
            [noisy.tolist(), noisy[:30].tolist()],
            r"instances\[1\] .* shape \(40, 50, 1\).* \(30, 50, 1\)",
        ),
        "array and picture": (
            [noisy.tolist(), malformed.b64(small)],
            r"must be of the size of the images before it",
        ),
        "channels": (
            [noisy.repeat(3, axis=2).tolist()],
            r"shape \(height, width, 1\) .* \(40, 50, 3\)",
        ),
        "bare": (noisy.tolist(), "put the image into a list"),
        "bare and grey": (noisy[..., 0].tolist(), "put the image into a list"),
        "no rows": ([[]], "an array of shape"),
        "no columns": ([[[]]], "an array of shape"),
        "cut short": ([malformed.b64(whole[:900])], "cut short or damaged"),
        "no pixels": ([malformed.b64(malformed.png_head(0, 9))], "none of PNG"),
        "a bomb": (
            [malformed.b64(malformed.png_head(5001, 5000))],
            "at most 25,000,000 pixels. Received: 5001 x 5000",
        ),
        "too many": (
            [malformed.b64(large.getvalue())] * 4,
            "at most 3 images of 5000 x 4000 pixels. Received: 4",
        ),
    }


@pytest.mark.parametrize("case", broken())
def test_what_no_model_of_any_size_can_read_is_refused(case):
    rows, words = broken()[case]
    with pytest.raises(ValueError, match=words):
        parse({"instances": rows}, ANY)


@pytest.mark.parametrize(
    "make",
    [tiny.reader_of_any_size, lambda: tiny.ram(image_shape=(None, None, 1))],
    ids=["EDRAM", "RAM"],
)
def test_a_model_of_any_size_is_asked_as_it_reads(make, images):
    model, other = make(), make()
    assert facts(model).image_shape == (None, None, 1)
    for batch in (images, images[:, :33], images[:, :, :20]):
        (rows,) = read(model, [Question(batch)])  # the second in a graph
        expected = tiny.answers(other, batch.astype("float32"))
        for row, probability in zip(rows, expected["probability"], strict=True):
            assert row["probability"] == pytest.approx(probability, abs=1e-4)


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


KINDS = {
    **tiny.MODELS,
    "ensemble": lambda: Ensemble([tiny.reader(), tiny.reader(8)]),
    "baseline": lambda: Baseline(malformed.SHAPE, num_classes=3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_reads_as_the_model_and_tells_what_it_saw(kind, images):
    model = KINDS[kind]()
    (rows,) = read(model, [Question(images.astype("float32"), glimpses=True)])
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
        if model.answers_once:
            assert row["seen"] is None
        else:
            assert len(row["seen"]) == len(transforms)
            assert 0 < row["seen"][0]["probability"] <= 1


def test_a_budget_ends_the_glimpses(images):
    model = tiny.reader()
    images = images.astype("float32")
    question = Question(images, max_glimpses=2, glimpses=True)
    (rows,) = read(model, [question])
    for row in rows:
        assert row["num_glimpses"] == 2
        for name in ("windows", "patches", "seen"):
            assert len(row[name]) == 2
    (sure,) = read(model, [Question(images, confidence=0.0)])
    assert_same(sure, model.read(images, confidence=0.0))


OPTIONS = [
    {},
    {"refuse_below": 1.0, "glimpses": True},
    # From here on none looks to the end, and then none is ever sure.
    {"confidence": 0.3, "max_glimpses": 10**30},
    {"confidence": 0.5, "max_glimpses": 3, "glimpses": True},
    {"confidence": 1, "max_glimpses": 2},
    {"max_glimpses": 1, "glimpses": True},
]
TOGETHER = [slice(None), slice(2, 4), slice(4, None)]


@pytest.mark.parametrize("kind", KINDS)
def test_questions_together_are_answered_as_each_alone(kind):
    model = KINDS[kind]()
    has_budget = answers.num_glimpses(model) is not None
    images = np.random.default_rng(2).uniform(0, 255, (12, *malformed.SHAPE))
    questions = [
        Question(images[2 * i : 2 * i + 1 + i % 2], **options, notes=[[f"{i}"]])
        for i, options in enumerate(OPTIONS)
        if has_budget or not {*BUDGET} & {*options}
    ]
    alone = [read(model, [question])[0] for question in questions]
    for some in TOGETHER if has_budget else TOGETHER[:1]:
        together = read(model, questions[some])
        assert len(together) == len(alone[some])
        for found, expected in zip(together, alone[some], strict=True):
            assert_same(found, expected)
            for row, other in zip(found, expected, strict=True):
                assert_same_glimpses(row, other)
    if has_budget:
        numbers = [row["num_glimpses"] for row in sum(alone, [])]
        assert len(set(numbers)) > 1


def assert_same_glimpses(found, expected):
    assert found.keys() == expected.keys()
    for name in ("notes", "num_glimpses"):
        assert found.get(name) == expected.get(name)
    if "windows" in expected:
        np.testing.assert_allclose(
            found["windows"], expected["windows"], atol=1e-5
        )
        assert len(found["patches"]) == len(expected["patches"])
        assert_seen(found["seen"], expected["seen"])


def assert_seen(found, expected):
    assert (found is None) == (expected is None)
    for one, other in zip(found or (), expected or (), strict=True):
        assert one["name"] == other["name"]
        assert one["probability"] == pytest.approx(other["probability"], 1e-4)


def test_patches_are_pictures_of_what_was_seen(images):
    model = tiny.ram()  # two scales of 8 pixels
    question = Question(images[:1].astype("float32"), glimpses=True)
    ((row,),) = read(model, [question])
    head, content = row["patches"][1].split(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
        found = np.asarray(picture)
    patch = model.glimpses(images[:1])["patches"][0, 0, 1]
    assert found.shape == (8, 16)
    np.testing.assert_allclose(found[:, 8:], patch[..., 1] * 255, atol=1.5)


def test_an_unsure_answer_is_refused(images):
    question = Question(images * 1.0, refuse_below=1.0)
    (rows,) = read(tiny.reader(), [question])
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


# --- Together ---


class Asked:
    """What a batcher asks: the first batch waits until it may go on."""

    def __init__(self):
        self.batches = []
        self.started, self.go_on = threading.Event(), threading.Event()

    def __call__(self, questions):
        self.batches.append([len(one.images) for one in questions])
        self.started.set()
        self.go_on.wait(30)
        if any(one.notes for one in questions):
            raise RuntimeError("No answer")
        return [one.images.shape for one in questions]


@pytest.fixture
def asked():
    asked = Asked()
    asked.batcher = Batcher(asked, lambda shape: 32)
    yield asked
    asked.go_on.set()
    asked.batcher.close()


def blank(number, notes=(), size=1):
    return Question(np.zeros((number, size, 1, 1)), notes=notes)


@pytest.mark.parametrize(
    "sizes, batches",
    [
        ([1] * 40, [[1], [1] * 32, [1] * 7]),
        ([1, 20, 20, 64, 12, 20], [[1], [20], [20], [64], [12, 20]]),
        ([64, 1], [[64], [1]]),
    ],
    ids=["singles", "as they fit", "a large one first"],
)
def test_who_asks_meanwhile_is_answered_together(asked, sizes, batches):
    first = asked.batcher.ask(blank(sizes[0]))
    assert asked.started.wait(30)  # without waiting for others
    answers = [first, *(asked.batcher.ask(blank(size)) for size in sizes[1:])]
    asked.go_on.set()
    found = [answer.result(30)[0] for answer in answers]
    assert (found, asked.batches) == (sizes, batches)


def test_only_images_of_one_size_are_looked_at_together(asked):
    asked.batcher.ask(blank(1))
    assert asked.started.wait(30)
    answers = [asked.batcher.ask(blank(2, size=n)) for n in (3, 4, 3, 4, 5)]
    asked.go_on.set()
    found = [answer.result(30)[1] for answer in answers]
    assert found == [3, 4, 3, 4, 5]
    assert asked.batches == [[1], [2, 2], [2, 2], [2]]


def test_a_question_without_an_answer_spoils_no_other(asked):
    asked.batcher.ask(blank(1))
    assert asked.started.wait(30)
    answers = [asked.batcher.ask(blank(n)) for n in (1, 2)]
    bad = asked.batcher.ask(blank(3, notes=["bad"]))
    answers.append(asked.batcher.ask(blank(4)))
    asked.go_on.set()
    assert [answer.result(30)[0] for answer in answers] == [1, 2, 4]
    with pytest.raises(RuntimeError, match="No answer"):
        bad.result(30)
    assert asked.batches == [[1], [1, 2, 3, 4], [1], [2], [3], [4]]


def test_who_has_left_is_forgotten(asked):
    asked.batcher.ask(blank(1))
    assert asked.started.wait(30)
    question = blank(1)
    images = weakref.ref(question.images)
    left, stays = asked.batcher.ask(question), asked.batcher.ask(blank(2))
    del question
    assert left.cancel()
    assert images() is None
    asked.go_on.set()
    assert stays.result(30)[0] == 2
    assert asked.batches == [[1], [2]]


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
    (found,) = read(tiny.ram(), [question])
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
