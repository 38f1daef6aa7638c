"""ONNX files, run by ONNX Runtime."""

import sys

import numpy as np
import pytest
import tiny
from test_conformance import TABLE

from keras_edram import cli, serving
from keras_edram.datasets import cluttered_mnist
from keras_edram.models import (
    DCN,
    DRAM,
    DRAW,
    EDRAM,
    RNNSPN,
    STCNN,
    Baseline,
    MultiDigitCNN,
)
from keras_edram.presets import opening

for package in ("tf2onnx", "onnxruntime"):
    pytest.importorskip(package, reason='needs pip install -e ".[onnx]"')

import onnxruntime

PRESET = "edram_small_cluttered_mnist"
OUTPUTS = [
    *("boxes", "labels", "lengths", "locations"),
    *("probabilities", "probability", "transforms"),
]


def assert_agree(path, model, images):
    """All outputs are the model's, also those of a batch of one image."""
    expected = tiny.answers(model, images)
    for number in (len(images), 1):
        outputs = serving.run_onnx(path, images[:number])
        assert sorted(outputs) == OUTPUTS
        for name, value in expected.items():
            assert outputs[name].dtype == value.dtype
            np.testing.assert_allclose(
                # 2e-5 of the last window of one of 32 images.
                outputs[name],
                value[:number],
                atol=1e-4,
                err_msg=name,
            )


@pytest.mark.parametrize(
    "make", [lambda: tiny.reader(glimpses_per_target=1), tiny.ram]
)
def test_an_onnx_file_gives_the_answers_of_the_model(make, tmp_path):
    model = make()
    # Compared in another process before it gets its name.
    path = serving.export_onnx(model, tmp_path / "tiny.onnx")
    assert list(tmp_path.iterdir()) == [path]
    # Smooth: on noise the windows of a tiny model enlarge the last digit.
    images = serving.comparison.compared_images(model)
    expected = tiny.answers(model, images)
    assert np.ptp(expected["transforms"], axis=0).max() > 1e-3  # of the images
    assert_agree(path, model, images)
    session = onnxruntime.InferenceSession(str(path))
    (images_input,) = session.get_inputs()
    assert images_input.name == "images"
    assert images_input.shape == ["batch", *model.image_shape]
    for output in session.get_outputs():
        assert output.shape[0] == "batch"
    labels = session.get_modelmeta().custom_metadata_map["labels"]
    assert tuple(labels.split("\n")) == serving.class_names(model)


@pytest.mark.usefixtures("compares_here")
@pytest.mark.parametrize("cls", [DCN, DRAM, DRAW, RNNSPN, STCNN, MultiDigitCNN])
def test_models_that_edram_is_compared_with_are_exported(cls, tmp_path):
    (entry,) = [row for row in TABLE if row.cls is cls and not row.variant]
    model = entry.make_called()
    path = serving.export_onnx(model, tmp_path / "tiny.onnx")
    assert_agree(path, model, serving.comparison.compared_images(model))


@pytest.mark.usefixtures("compares_here")
@pytest.mark.parametrize(
    "make",
    [
        lambda: tiny.reader_of_any_size(glimpses_per_target=1),
        pytest.param(
            lambda: tiny.ram(image_shape=(None, None, 1), num_glimpses=2),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["EDRAM", "RAM"],
)
def test_an_onnx_file_takes_images_of_any_size(make, tmp_path):
    model = make()
    path = serving.export_onnx(model, tmp_path / "any.onnx")
    (images_input,) = onnxruntime.InferenceSession(str(path)).get_inputs()
    assert images_input.shape == ["batch", "height", "width", 1]
    for size in ((40, 50), (61, 37), (90, 131)):
        images = serving.comparison.compared_images(model, 4, size)
        assert_agree(path, model, images)


@pytest.mark.usefixtures("compares_here")
def test_the_command_exports_a_preset(tmp_path, monkeypatch, capsys):
    model = EDRAM.from_preset(PRESET)
    model.glimpses_per_target = 3  # each is in the file
    monkeypatch.setattr(opening, "open_model", lambda where: model)
    path = tmp_path / "edram.onnx"
    arguments = ["export", PRESET, "--format", "onnx", "--out", str(path)]
    assert cli.main(arguments) == 0
    assert "agrees with the model" in capsys.readouterr().out
    images, targets = cluttered_mnist("test").arrays(50)
    assert_agree(path, model, images)
    labels = serving.run_onnx(path, images)["labels"]
    assert (labels == targets["labels"]).mean() > 0.8


def test_a_file_that_disagrees_never_gets_its_name(tmp_path, monkeypatch):
    other = Baseline((40, 50, 1), num_classes=3)
    write = serving.signatures.write_saved_model
    monkeypatch.setattr(
        serving.signatures,
        "write_saved_model",
        lambda _, *where, **options: write(other, *where, **options),
    )
    model = Baseline((40, 50, 1), num_classes=3)
    with pytest.raises(RuntimeError, match="The export must"):
        serving.export_onnx(model, tmp_path / "wrong.onnx")
    assert not list(tmp_path.iterdir())


def test_what_is_wrong_or_missing_is_said(tmp_path, monkeypatch):
    model = Baseline((40, 50, 1), num_classes=3)
    with pytest.raises(ValueError, match="must end in .onnx"):
        serving.export_onnx(model, tmp_path / "model.tflite")
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(RuntimeError, match=r"tf2onnx.*keras-edram\[onnx\]"):
        serving.export_onnx(model, tmp_path / "model.onnx")
