"""The client for a device, which has no TensorFlow."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import numpy as np
import picture_files
import pytest
import tiny
from PIL import Image

from keras_edram import serving
from keras_edram.datasets import read_picture
from keras_edram.pictures import decode_picture
from keras_edram.serving import report

pytestmark = pytest.mark.usefixtures("compares_here")

CLIENT = pathlib.Path(__file__).parents[2] / "export" / "tflite" / "read.py"
# As on a device: neither TensorFlow nor Keras nor this package.
WITHOUT = """
import runpy, sys
for name in ("tensorflow", "keras", "keras_edram"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def pictures(tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (4, 40, 50, 1), "uint8")
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(tiny.png(image))
    return paths


def run_client(*arguments):
    command = [sys.executable, "-c", WITHOUT, CLIENT, *arguments]
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False
    )


def answers_of(*arguments):
    run = run_client(*arguments)
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def assert_same(found, expected, pictures):
    for answer, row, path in zip(found, expected, pictures, strict=True):
        assert answer["file"] == str(path)
        assert answer["names"] == row["names"]
        assert answer["probability"] == pytest.approx(
            row["probability"], abs=1e-5
        )
        np.testing.assert_allclose(answer["boxes"], row["boxes"], atol=1e-4)


@pytest.fixture(scope="module")
def sequences(tflite_file):
    """A model of sequences, and its file."""
    return tiny.reader(), tflite_file


def test_a_device_reads_sequences_as_the_model_does(sequences, pictures):
    model, path = sequences
    images = [read_picture(picture, (40, 50, 1)) for picture in pictures]
    assert_same(
        answers_of(path, *pictures), model.read(np.stack(images)), pictures
    )


def test_a_device_goes_on_after_a_broken_file(sequences, pictures, tmp_path):
    model, path = sequences
    broken = tmp_path / "broken.png"
    broken.write_bytes(pictures[0].read_bytes()[:60])
    images = [read_picture(picture, (40, 50, 1)) for picture in pictures]
    run = run_client(path, broken, *pictures, tmp_path / "none.png")
    assert run.returncode == 1
    assert_same(
        [json.loads(line) for line in run.stdout.splitlines()],
        model.read(np.stack(images)),
        pictures,
    )
    listed = [line for line in run.stderr.splitlines() if ".png: " in line]
    assert len(listed) == 2
    assert listed[0].startswith(f"{broken}: ") and "none.png: " in listed[1]


@pytest.mark.parametrize("confidence", ["-0.1", "1.5", "nan", "much"])
def test_a_confidence_is_a_probability(confidence, tmp_path):
    run = run_client("no.tflite", "no.png", f"--confidence={confidence}")
    assert run.returncode == 2 and "--confidence" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "no.tflite"
    path.write_bytes(b"This is no model.")
    for model in (path, tmp_path / "none.tflite"):
        run = run_client(model, "no.png")
        assert run.returncode == 2 and "no model of this" in run.stderr
        assert "Traceback" not in run.stderr


def test_several_threads_may_read_with_one_model(sequences, pictures):
    # In a process of its own: without the lock it is a segmentation fault.
    script = """
import concurrent.futures, json, sys
sys.path.insert(0, sys.argv[1])
from read import load, read
model = load(sys.argv[2])
paths = sys.argv[3:] * 30
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    answers = list(pool.map(lambda path: read(model, path), paths))
print(json.dumps(answers[: len(sys.argv[3:])]))
assert answers == answers[: len(sys.argv[3:])] * 30
"""
    model, path = sequences
    arguments = [CLIENT.parent, path, *pictures]
    run = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    found = [
        {"file": str(picture), **answer}
        for picture, answer in zip(
            pictures, json.loads(run.stdout), strict=True
        )
    ]
    images = [read_picture(picture, (40, 50, 1)) for picture in pictures]
    assert_same(found, model.read(np.stack(images)), pictures)


@pytest.fixture(scope="module")
def client():
    spec = importlib.util.spec_from_file_location("read", CLIENT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore:.*has several pages")
def test_a_picture_is_the_same_on_a_device(client, tmp_path):
    contents = {**picture_files.files(), **picture_files.other_files()}
    for name, values in (
        ("floats.tif", picture_files.GREY / np.float32(255)),
        ("large floats.tif", picture_files.GREY.astype("float32")),
        ("32 bits.tif", picture_files.GREY.astype("int32") * 100),
    ):
        contents[name] = picture_files.encode(values, "TIFF")
    for name, content in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        for colour in (True, False):
            expected = decode_picture(path, colour=colour)
            found = client.open_picture(path).convert("RGB" if colour else "L")
            np.testing.assert_array_equal(found, expected, err_msg=name)


def test_a_picture_of_no_known_depth_is_refused_on_a_device(client, tmp_path):
    path = tmp_path / "p.tif"
    for values in ([-1.0, 1.0], [0.0, 2.0], [0.0, np.nan], [0, 70000]):
        values = np.array([values])
        kind = "int32" if values.dtype.kind == "i" else "float32"
        Image.fromarray(values.astype(kind)).save(path)
        with pytest.raises(ValueError, match="unknown range"):
            client.open_picture(path)
    deep = picture_files.png(picture_files.DEEP // 256, 16, 6)
    path.write_bytes(deep)
    with pytest.raises(ValueError, match="16 bits"):
        client.open_picture(path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["EDRAM", "RAM"])
def test_a_device_looks_no_longer_than_needed(
    kind, pictures, tmp_path, ram_file
):
    model, path = tiny.ram(), ram_file
    if kind == "EDRAM":
        model = tiny.reader(
            terminal=False,
            num_targets=1,
            glimpses_per_target=2,
            temperature=0.7,
        )
        path = serving.export_tflite(model, tmp_path / "model.tflite")
    images = np.stack(
        [read_picture(picture, (40, 50, 1)) for picture in pictures]
    )
    # One that divides the images: some are done at once, and some are not.
    confidence = float(
        np.median([row["probability"] for row in model.read(images)])
    )
    expected = model.read(images, confidence=confidence)
    found = answers_of(path, *pictures, "--confidence", confidence)
    assert_same(found, expected, pictures)
    assert [row["num_glimpses"] for row in found] == [
        row["num_glimpses"] for row in expected
    ]


def test_a_file_without_steps_is_read_at_once(pictures, tmp_path):
    model = tiny.ram()
    path = serving.export_tflite(model, tmp_path / "whole.tflite", steps=False)
    images = [read_picture(picture, (40, 50, 1)) for picture in pictures]
    assert_same(
        answers_of(path, *pictures), model.read(np.stack(images)), pictures
    )
    with pytest.raises(ValueError, match="start"):
        serving.run_steps(path, np.zeros((1, 40, 50, 1)), 1)
    run = run_client(path, *pictures, "--confidence", 0.9)
    assert run.returncode != 0
    assert run.stderr.endswith("reads at once.\n")


def test_the_readme_has_the_table_of_the_report():
    folder = CLIENT.parent
    figures = json.loads(
        (folder / "edram_small_cluttered_mnist.json").read_text()
    )
    assert report.table(figures) in (folder / "README.md").read_text()
    assert figures["images"] == 10_000
    smallest = figures["files"][-1]
    assert smallest["bytes"] <= 900_000
    assert smallest["error"] <= figures["error"] + 0.001
