"""TFLite files whose convolutions compute in 8 bits."""

import json

import numpy as np
import pytest
import tiny

from keras_edram import cli, serving
from keras_edram.datasets import cluttered_mnist
from keras_edram.models import Baseline, Ensemble
from keras_edram.serving import report

pytest.importorskip("ai_edge_quantizer")


@pytest.fixture(autouse=True, scope="module")
def here():
    """Exports are compared in this process, which takes no time to start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving.comparison, "run_apart", serving.comparison.run)
        yield


@pytest.fixture(scope="module")
def images():
    """Twelve pictures of digits, cut to the size of the tiny models."""
    images, _ = cluttered_mnist("test").arrays(12)
    return images[:, 30:70, 25:75]


def tensors_of(path, operator):
    """Types of the first input of each operator of that name."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    found = []
    for graph in range(interpreter.num_subgraphs()):
        details = {
            tensor["index"]: tensor["dtype"]
            for tensor in interpreter.get_tensor_details(graph)
        }
        found += [
            details[row["inputs"][0]]
            for row in interpreter._get_ops_details(graph)
            if row["op_name"] == operator
        ]
    return found


@pytest.mark.parametrize("steps", [True, False])
def test_convolutions_compute_in_8_bits_and_nothing_else(
    images, steps, tmp_path
):
    model = tiny.reader()
    path = serving.export_tflite(
        model, tmp_path / "m.tflite", "static_int8", images=images, steps=steps
    )
    convolutions = tensors_of(path, "CONV_2D")
    # 3 of the context and 6 of the glimpse: of the whole, of start, of look.
    assert len(convolutions) == (18 if steps else 9)
    assert {np.dtype(kind) for kind in convolutions} == {np.dtype("int8")}
    for operator in ("FULLY_CONNECTED", "LOGISTIC", "TANH", "FLOOR", "SUM"):
        kinds = {np.dtype(kind) for kind in tensors_of(path, operator)}
        assert kinds == {np.dtype("float32")}
    expected = tiny.answers(model, images)
    outputs = serving.run_tflite(path, images)
    for name in ("probabilities", "transforms"):
        np.testing.assert_allclose(outputs[name], expected[name], atol=0.1)


def test_ranges_are_those_of_the_images(images, tmp_path):
    """Of black images they are empty: nothing can be told apart then."""
    model = tiny.reader()
    ranges = serving.quantization._ranges(
        serving.deployable(model), images.astype("float32")
    )
    dark = serving.quantization._ranges(
        serving.deployable(model), np.zeros_like(images, "float32")
    )
    assert len(ranges) == 9
    for weights, (read, _) in ranges.items():
        assert read["max"].max() > read["min"].min()
        assert dark[weights][0]["max"].max() <= read["max"].max()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Ensemble([tiny.reader(), tiny.reader(seed=1)]),
        tiny.ram,
        lambda: Baseline((40, 50, 1), 3, network="convolution"),
    ],
    ids=["ensemble", "RAM", "baseline"],
)
def test_every_model_can_have_8_bits(make, images, tmp_path):
    model = make()
    images = images[:, : model.image_shape[0], : model.image_shape[1]]
    path = serving.export_tflite(
        model, tmp_path / "m.tflite", "static_int8", images=images
    )
    expected = tiny.answers(model, images)
    outputs = serving.run_tflite(path, images)
    np.testing.assert_allclose(
        outputs["probabilities"], expected["probabilities"], atol=0.15
    )


def test_a_report_compares_all_files(images, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "NUM_TURNS", 1)
    model = tiny.reader()
    labels = tiny.answers(model, images)["labels"]
    wrong = labels.copy()
    wrong[:3, 0] = (wrong[:3, 0] + 1) % 2
    targets = {
        "labels": np.where(wrong < 0, model.num_classes - 1, wrong),
        "transforms": np.zeros((*wrong.shape, 2, 3)),
    }
    figures = serving.report_tflite(
        model, tmp_path / "all", images, targets, images
    )
    assert figures == json.loads((tmp_path / "all/report.json").read_text())
    assert figures["images"] == 12
    files = {row["file"]: row for row in figures["files"]}
    assert set(files) == {
        path.name for path in (tmp_path / "all").glob("*.tflite")
    }
    assert len(files) == 5
    plain = files["model.tflite"]
    assert plain["agreement"] == 1
    assert plain["error"] == figures["error"] > 0
    for name, row in files.items():
        assert row["bytes"] == (tmp_path / "all" / name).stat().st_size
        assert set(row["milliseconds"]) == {"1", "2"}
        assert min(row["milliseconds"].values()) > 0
    assert files["model_float16.tflite"]["bytes"] < plain["bytes"]
    text = (tmp_path / "all/report.md").read_text()
    assert text == report.table(figures)
    assert text.count("\n") == 2 + len(files)


def test_the_command_takes_validation_images(tmp_path, capsys):
    out = tmp_path / "small.tflite"
    status = cli.main(
        [
            *("export", "edram_small_cluttered_mnist", "--format", "tflite"),
            *("--source", "bundled", "--quantize", "static_int8"),
            *("--no-steps", "--out", str(out)),
        ]
    )
    assert status == 0
    # 3.0 MB in float32; the target is 0.9.
    assert out.stat().st_size <= 900_000
    assert "agrees with the model" in capsys.readouterr().out
