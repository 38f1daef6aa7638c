"""TFLite files whose convolutions compute in 8 bits."""

import json

import numpy as np
import pytest
import tiny
from tensorflow.lite.tools import flatbuffer_utils

from keras_edram import cli, serving
from keras_edram.datasets import cluttered_mnist
from keras_edram.models import Baseline, Ensemble
from keras_edram.serving import quantization, report

pytest.importorskip("ai_edge_quantizer")

pytestmark = pytest.mark.usefixtures("compares_here")


@pytest.fixture(scope="module")
def images():
    """Twelve pictures of digits, cut to the size of the tiny models."""
    images, _ = cluttered_mnist("test").arrays(12)
    return images[:, 30:70, 25:75]


@pytest.fixture(scope="module")
def file(images, tmp_path_factory):
    """The tiny reader with `start` and `look`."""
    path = tmp_path_factory.mktemp("static") / "m.tflite"
    return serving.export_tflite(
        tiny.reader(), path, "static_int8", images=images
    )


def types_of(path, operator):
    """Types of the first input of each operator of that name."""
    model = flatbuffer_utils.read_model(str(path))
    return [
        flatbuffer_utils.type_to_name(graph.tensors[row.inputs[0]].type)
        for graph in model.subgraphs
        for row in graph.operators
        if flatbuffer_utils.opcode_to_name(model, row.opcodeIndex) == operator
    ]


def test_convolutions_compute_in_8_bits_and_nothing_else(file):
    # 3 of the context and 6 of the glimpse: of the whole, of start and look.
    assert types_of(file, "CONV_2D") == ["INT8"] * 18
    for operator in ("FULLY_CONNECTED", "LOGISTIC", "TANH", "FLOOR", "SUM"):
        assert set(types_of(file, operator)) == {"FLOAT32"}


def test_8_bits_give_the_answers_of_the_model(file, images):
    # Random weights are steep: a last window is off by much in half of them.
    expected = tiny.answers(tiny.reader(), images)
    outputs = serving.run_tflite(file, images)
    for name, tolerance in (("probabilities", 0.03), ("transforms", 0.1)):
        difference = np.abs(outputs[name] - expected[name])
        assert difference.mean() < tolerance
        assert difference.min() < 0.001


@pytest.mark.parametrize(
    "make",
    [
        lambda: Ensemble(
            [tiny.reader(seed, glimpses_per_target=1) for seed in (7, 1)]
        ),
        tiny.ram,
        lambda: Baseline((40, 50, 1), 3, network="convolution"),
    ],
    ids=["ensemble", "RAM without convolutions", "baseline"],
)
def test_every_model_can_have_8_bits(make, images, tmp_path):
    model = make()
    path = serving.export_tflite(
        model, tmp_path / "m.tflite", "static_int8", images=images, steps=False
    )
    expected = tiny.answers(model, images)
    outputs = serving.run_tflite(path, images)
    difference = outputs["probabilities"] - expected["probabilities"]
    assert np.abs(difference).mean() < 0.02


def test_a_report_compares_all_files(images, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "NUM_TURNS", 1)
    variants = {
        "model.tflite": dict(quantize=None, steps=True),
        "model_static_int8_no_steps.tflite": dict(
            quantize="static_int8", steps=False
        ),
    }
    few = serving.tflite.TFLITE._replace(variants=lambda model: variants)
    model = tiny.reader(terminal=False, num_targets=1, glimpses_per_target=1)
    labels = tiny.answers(model, images)["labels"]
    wrong = labels.copy()
    wrong[:3, 0] = (wrong[:3, 0] + 1) % 2
    targets = {
        "labels": np.where(wrong < 0, model.num_classes - 1, wrong),
        "transforms": np.zeros((*wrong.shape, 2, 3)),
    }
    figures = serving.report_tflite(
        model, tmp_path / "all", images, targets, images, format=few
    )
    assert figures == json.loads((tmp_path / "all/report.json").read_text())
    assert figures["images"] == 12
    files = {row["file"]: row for row in figures["files"]}
    assert set(files) == {
        path.name for path in (tmp_path / "all").glob("*.tflite")
    }
    assert set(files) == set(variants)
    offered = serving.tflite.TFLITE.variants(model)
    assert variants.items() <= offered.items() and len(offered) == 5
    plain = files["model.tflite"]
    assert plain["agreement"] == 1
    assert plain["error"] == figures["error"] > 0
    for name, row in files.items():
        assert row["bytes"] == (tmp_path / "all" / name).stat().st_size
        assert set(row["milliseconds"]) == {"1", "2"}
        assert min(row["milliseconds"].values()) > 0
    text = (tmp_path / "all/report.md").read_text()
    assert text == report.table(figures)
    assert text.count("\n") == 2 + len(files)


def test_the_command_takes_validation_images(tmp_path, monkeypatch, capsys):
    # Of a hundred the quantizer would look at each for half a second.
    monkeypatch.setattr(quantization, "NUM_CALIBRATION_IMAGES", 20)
    out = tmp_path / "small.tflite"
    status = cli.main(
        [
            *("export", "edram_small_cluttered_mnist", "--format", "tflite"),
            *("--source", "bundled", "--quantize", "static_int8"),
            *("--no-steps", "--out", str(out)),
        ]
    )
    assert status == 0
    assert "agrees with the model" in capsys.readouterr().out
    # 3.0 MB in float32; the target is 0.9.
    assert out.stat().st_size <= 900_000
    images, targets = cluttered_mnist("test").arrays(50)
    labels = serving.run_tflite(out, images)["labels"]
    # `results.json` of the preset: 0.9 % of 10,000.
    assert (labels == targets["labels"]).mean() > 0.94
