"""The table of formats: what asks it, and what a further format takes."""

import json
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tiny

from keras_edram import cli, files, serving
from keras_edram.models import Baseline
from keras_edram.serving import comparison, formats, registry
from keras_edram.serving.registry import FORMATS

README = pathlib.Path(__file__).parents[1] / "export" / "README.md"


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "model.keras"
    Baseline((9, 9, 1), 3, units=2).save(path)
    return path


def export(*arguments):
    return cli.main(["export", *map(str, arguments)])


def help_text(capsys):
    with pytest.raises(SystemExit):
        export("--help")
    # It may be broken after a hyphen.
    return re.sub(r"\s", "", capsys.readouterr().out)


@pytest.mark.parametrize("format", FORMATS.values(), ids=lambda f: f.name)
def test_help_and_readme_say_what_a_format_is_in_the_same_words(format, capsys):
    shown = help_text(capsys)
    row = next(
        line
        for line in README.read_text().splitlines()
        if line.startswith(f"| `{format.name}` |")
    )
    words = [format.title, format.needs]
    words += [option.help for option in format.options]
    for text in words:
        assert re.sub(r"\s", "", text) in shown
        assert text in row
    for option in format.options:
        assert f"`{option.flag}`" in row


def test_the_readme_has_the_table_of_formats():
    assert registry.table() in README.read_text(), (
        f"export/README.md must have this table:\n{registry.table()}"
    )


@pytest.mark.parametrize("format", FORMATS.values(), ids=lambda f: f.name)
def test_an_option_of_another_format_is_one_line(
    format, model_file, tmp_path, capsys
):
    values = {
        "--model-version": ["2"],
        "--quantize": ["int8"],
        "--warmup": [],
        "--image-size": ["60x75"],
        "--no-steps": [],
    }
    assert set(values) == set(registry.options())
    out = tmp_path / f"out{format.suffix}"
    for flag, value in values.items():
        if format.name in registry.takers(flag):
            continue
        arguments = (model_file, "--format", format.name, "--out", out)
        assert export(*arguments, flag, *value) == 2
        (line,) = capsys.readouterr().err.splitlines()
        (other,) = registry.takers(flag)
        assert f"{flag} is for --format {other}" in line
        assert f"Received: --format {format.name}" in line
    assert not out.exists()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["onnx", "--report"], "--report is for --format tflite"),
        (["tflite", "--report", "--no-steps"], "Received: --no-steps"),
        (["tflite", "--images", "9"], "Received: images=9"),
        (["tflite", "--report", "--images", "0"], "Received: images=0"),
    ],
)
def test_a_report_takes_what_it_needs(
    arguments, words, model_file, tmp_path, capsys
):
    out = tmp_path / "new"
    assert export(model_file, "--out", out, "--format", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line and not out.exists()


@pytest.mark.parametrize("size", ["60", "60,75", "0x75", "60x75x1", "axb"])
def test_a_size_that_is_none_is_refused(size, model_file, tmp_path, capsys):
    arguments = (model_file, "--format", "tflite", "--out", tmp_path / "m")
    with pytest.raises(SystemExit, match="2"):
        export(*arguments, "--image-size", size)
    assert f"HEIGHTxWIDTH in pixels, such as 480x640. Received: '{size}'" in (
        " ".join(capsys.readouterr().err.split())
    )


def test_no_format_loads_tensorflow_before_it_works():
    script = (
        "import sys, keras_edram.serving.registry\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_formats_can_be_told_apart():
    found = list(FORMATS.values())
    assert [format.name for format in found] == list(FORMATS)
    assert len({format.suffix for format in found}) == len(found)
    for format in found:
        # The process that runs an export finds it by its name.
        module = sys.modules[format.open.__module__]
        assert getattr(module, format.open.__name__) is format.open
    with pytest.raises(ValueError, match=r"end in \.tflite, \.onnx. Received"):
        serving.run_steps("model.h5", np.zeros((1, 9, 9, 1)), 1)


# A further format: all that it takes is here, and a line of the table.


def write_weights(model, path, *, half=False, spoil=0.0, overwrite=False):
    path = files.with_suffix(path, [WEIGHTS.suffix])
    model = serving.deployable(model)
    with files.replacing(path, overwrite=overwrite) as partial:
        weights = [weight + spoil for weight in model.get_weights()]
        if half:
            weights = [weight.astype("float16") for weight in weights]
        config = json.dumps(keras.saving.serialize_keras_object(model))
        np.savez(partial, *weights, config=config)
        comparison.compare(model, partial, open_weights)
    return path


def open_weights(path):
    with np.load(path) as stored:
        arrays = dict(stored)
    config = json.loads(str(arrays.pop("config")))
    model = keras.saving.deserialize_keras_object(config)
    model.set_weights(list(arrays.values()))

    def run(signature, images):
        return tiny.answers(model, images)

    return run, {"serving_default"}


WEIGHTS = formats.Format(
    name="weights",
    title="the weights alone",
    suffix=".npz",
    write=write_weights,
    open=open_weights,
    options=(
        formats.Option(
            "--half", "half", "in 16 bits", dict(action="store_true")
        ),
        formats.Option("--spoil", "spoil", "by a number", dict(type=float)),
    ),
)


def test_a_further_format_is_a_module_and_a_line(
    model_file, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(FORMATS, WEIGHTS.name, WEIGHTS)
    monkeypatch.setattr(comparison, "run_apart", comparison.run)
    assert "weights:theweightsalone" in help_text(capsys)
    assert "ofweights:in16bits" in help_text(capsys)
    assert "| `weights` | the weights alone |" in registry.table()
    out = tmp_path / "model.npz"
    arguments = [model_file, "--format", "weights", "--out", out]
    assert export(*arguments) == 0
    assert "agrees with the model" in capsys.readouterr().out
    size = out.stat().st_size
    assert export(*arguments) == 2  # it is there
    assert export(*arguments, "--half", "--overwrite") == 0
    assert out.stat().st_size < size
    run, _ = registry.open_export(out)
    images = np.zeros((2, 9, 9, 1), "float32")
    assert run("serving_default", images=images)["labels"].shape == (2, 1)
    out.unlink()
    # Compared by its own runner, and refused.
    capsys.readouterr()
    assert export(*arguments, "--spoil", "0.5") == 2
    assert "The export must" in capsys.readouterr().err
    assert not out.exists()
    # And another format does not take its options.
    arguments[2] = "onnx"
    arguments[4] = tmp_path / "model.onnx"
    assert export(*arguments, "--half") == 2
    assert "--half is for --format weights" in capsys.readouterr().err
