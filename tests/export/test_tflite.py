"""The client for a device, which has no TensorFlow."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tiny

from keras_edram import serving
from keras_edram.datasets import read_picture
from keras_edram.serving import report

CLIENT = pathlib.Path(__file__).parents[2] / "export" / "tflite" / "read.py"
# As on a device: neither TensorFlow nor Keras nor this package.
WITHOUT = """
import runpy, sys
for name in ("tensorflow", "keras", "keras_edram"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module", autouse=True)
def here():
    """Exports are compared in this process, which takes no time to start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving.comparison, "run_apart", serving.comparison.run)
        yield


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


def test_a_device_reads_sequences_as_the_model_does(pictures, tmp_path):
    model = tiny.reader()
    path = serving.export_tflite(model, tmp_path / "model.tflite")
    images = [read_picture(picture, (40, 50, 1)) for picture in pictures]
    assert_same(
        answers_of(path, *pictures), model.read(np.stack(images)), pictures
    )


@pytest.mark.parametrize("kind", ["EDRAM", "RAM"])
def test_a_device_looks_no_longer_than_needed(kind, pictures, tmp_path):
    model = tiny.ram()
    if kind == "EDRAM":
        model = tiny.reader(
            terminal=False, num_targets=1, glimpses_per_target=3
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
    model = tiny.reader(terminal=False, num_targets=1)
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
