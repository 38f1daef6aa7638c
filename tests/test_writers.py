"""One table of all that writes: nothing of the user's is ever lost."""

import contextlib
import os
import resource
import sys
import types

import keras
import numpy as np
import pytest
import tiny

from keras_edram import (
    callbacks,
    cli,
    files,
    presets,
    run_folder,
    serving,
    training,
    visualization,
)
from keras_edram.datasets import read_folder
from keras_edram.models import Baseline
from keras_edram.presets import opening
from keras_edram.serving import comparison, report, signatures, tflite

PRESET = "edram_small_cluttered_mnist"
OLD = "what was there"
CURVE = [
    {"confidence": 0.5, "error": 0.1, "glimpses": 2.0},
    {"confidence": None, "error": 0.0, "glimpses": 3.0},
]
HISTORY = [{"epoch": 0.0, "loss": 1.0, "val_loss": 2.0}]
TRANSFORMS = np.zeros((2, 1, 2, 2, 3))
FIGURES = {
    "images": 2,
    "error_by_glimpse": [0.2, 0.1],
    "error_by_average": [0.2, 0.1],
}


@pytest.fixture(scope="module")
def model():
    return tiny.reader(terminal=False, num_targets=1)


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    folder = tmp_path_factory.mktemp("annotations")
    (folder / "a.png").write_bytes(tiny.png(np.zeros((9, 9, 1), "uint8")))
    (folder / "a.csv").write_text(
        "file,label,xmin,ymin,xmax,ymax\na.png,1,2,3,4,5"
    )
    return read_folder(folder)


@pytest.fixture(autouse=True)
def no_conversion(monkeypatch):
    """What is written here need not be right: other tests see to that."""

    def write_saved_model(model, path, *_, **__):
        os.makedirs(path, exist_ok=True)
        with open(f"{path}/saved_model.pb", "w") as file:
            file.write("x" * 10_000)

    onnx = types.ModuleType("onnx")
    onnx.save = lambda content, path: path.write_text("x" * 10_000)
    onnx.helper = types.SimpleNamespace(set_model_props=lambda *_: None)
    converter = types.ModuleType("tf2onnx")
    converter.convert = types.SimpleNamespace(
        from_function=lambda *_, **__: (
            types.SimpleNamespace(
                graph=types.SimpleNamespace(input=(), output=())
            ),
            None,
        )
    )
    for module in (onnx, converter, types.ModuleType("onnxruntime")):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    import tensorflow as tf

    loaded = types.SimpleNamespace(
        structured_input_signature=(None, {"images": None})
    )
    loaded = types.SimpleNamespace(signatures={"serving_default": loaded})
    monkeypatch.setattr(tf.saved_model, "load", lambda _: loaded)
    monkeypatch.setattr(signatures, "write_saved_model", write_saved_model)
    monkeypatch.setattr(tflite, "convert", lambda *_: b"x" * 10_000)
    monkeypatch.setattr(tflite, "_refuse_flex_operators", lambda _: None)
    monkeypatch.setattr(comparison, "compare", lambda *_, **__: None)


def checkpoint(model, path):
    callback = callbacks.Checkpoint(path)
    callback.set_model(model)
    callback.on_epoch_begin(0)
    callback.on_epoch_end(0, {"loss": 1.0})


# Name of what is written -> function of a model, its path and annotations.
FILES = {
    "a.json": lambda model, path, _: files.write_json(path, ["x"] * 9_999),
    "history.csv": lambda model, path, _: run_folder.write_history(
        path, HISTORY * 9_999
    ),
    "config.json": lambda model, path, _: presets.save(
        model, path.parent, overwrite=True
    ),
    "model.weights.h5": lambda model, path, _: presets.save(
        model, path.parent, overwrite=True
    ),
    "a.tflite": lambda model, path, _: serving.export_tflite(
        model, path, overwrite=True
    ),
    "a.onnx": lambda model, path, _: serving.export_onnx(
        model, path, overwrite=True
    ),
    "sheet.png": lambda model, path, annotations: (
        visualization.plot_contact_sheet(annotations, path)
    ),
    "history.png": lambda model, path, _: visualization.plot_history(
        HISTORY * 2, path
    ),
    "curves.png": lambda model, path, _: visualization.plot_curves(
        {"mine": {"first": [[1000, 0.5], [2000, 0.25]]}}, path
    ),
    "costs.png": lambda model, path, _: visualization.plot_costs(
        {"mine": [(1e6, 0.5)]}, path
    ),
    "coverage.svg": lambda model, path, _: visualization.plot_coverage(
        [0.6, 0.9], [1, 0], path
    ),
    "anytime.pdf": lambda model, path, _: visualization.plot_anytime(
        CURVE, path
    ),
    "error.jpg": lambda model, path, _: visualization.plot_error_per_glimpse(
        FIGURES, path
    ),
    "heat_map.PNG": lambda model, path, _: visualization.plot_heat_map(
        TRANSFORMS, path
    ),
    "paths.png": lambda model, path, _: visualization.plot_paths(
        model, np.zeros((1, 40, 50, 1)), path
    ),
    "glimpses.png": lambda model, path, _: visualization.plot_glimpses(
        model, np.zeros((1, 40, 50, 1)), path
    ),
    "glimpses.gif": lambda model, path, _: visualization.animate_glimpses(
        model, np.zeros((1, 40, 50, 1)), path
    ),
}
files_of = pytest.mark.parametrize("name", FILES)
all_of = pytest.mark.parametrize("name", [*FILES, "1"])


def write(name, model, path, annotations):
    """Writes what has this name; a number is a version of a SavedModel."""
    if name == "1":
        serving.export_saved_model(model, path.parent, overwrite=True)
    else:
        FILES[name](model, path, annotations)


def put(name, path):
    """What was there before: a file, or a folder that was written by us."""
    if name == "1":
        path.mkdir()
        path = path / "saved_model.pb"
    path.write_text(OLD)


def content(path):
    path = path / "saved_model.pb" if path.is_dir() else path
    return path.read_bytes()


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@all_of
def test_a_folder_of_the_users_is_never_replaced(
    name, model, annotations, tmp_path
):
    path = tmp_path / name
    (path / "photos").mkdir(parents=True)
    (path / "photos" / "a.png").write_text(OLD)
    (path / "saved_model.pb").write_text(OLD)  # even beside a SavedModel
    before = names(tmp_path)
    with pytest.raises(ValueError, match="Received: "):
        write(name, model, path, annotations)
    assert names(tmp_path) == before
    assert (path / "photos" / "a.png").read_text() == OLD


@all_of
def test_a_file_never_becomes_a_folder(name, model, annotations, tmp_path):
    file = tmp_path / "file"
    file.write_text(OLD)
    with pytest.raises(ValueError, match="'.*file' is a file"):
        write(name, model, file / "new" / name, annotations)
    assert file.read_text() == OLD and names(tmp_path) == ["file"]


@contextlib.contextmanager
def full_disk():
    """No file may have more than some hundred bytes: writing to it fails."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@all_of
@pytest.mark.parametrize("is_there", [False, True])
def test_a_full_disk_leaves_what_was_there(
    name, is_there, model, annotations, tmp_path
):
    path = tmp_path / "folder" / name
    if is_there:
        path.parent.mkdir()
        put(name, path)
    before = names(tmp_path)
    with pytest.raises(OSError), full_disk():
        write(name, model, path, annotations)
    assert names(tmp_path) == before
    if is_there:
        assert content(path) == OLD.encode()


class Killed(BaseException):
    pass


@all_of
def test_a_killed_process_leaves_what_was_there_and_the_next_mends_it(
    name, model, annotations, tmp_path
):
    path = tmp_path / name
    put(name, path)

    def die(*_):
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        # All is written, and nothing of it was given its name.
        for module, function in (
            (os, "replace"),
            (os, "rename"),
            (files, "_place"),
        ):
            patch.setattr(module, function, die)
        patch.setattr(files, "_mend", lambda _: None)  # a dead one does not
        with pytest.raises(Killed):
            write(name, model, path, annotations)
    assert content(path) == OLD.encode()
    assert [one.name for one in tmp_path.glob(f"{files.PREFIX}*")]
    write(name, model, path, annotations)
    assert content(path) != OLD.encode()
    assert not list(tmp_path.glob(f"{files.PREFIX}*"))


@pytest.mark.parametrize("name", ["a.tflite", "a.onnx", "1", "config.json"])
def test_what_is_there_is_replaced_only_if_the_user_says_so(
    name, model, tmp_path
):
    path = tmp_path / name
    put(name, path)
    with pytest.raises(ValueError, match="only if you say so"):
        {
            "a.tflite": serving.export_tflite,
            "a.onnx": serving.export_onnx,
            "1": lambda model, path: serving.export_saved_model(
                model, path.parent
            ),
            "config.json": lambda model, path: presets.save(model, path.parent),
        }[name](model, path)
    assert content(path) == OLD.encode()


def test_a_report_is_refused_before_its_work(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    with pytest.raises(RuntimeError, match=r"keras-edram\[tflite\]"):
        report.report_tflite(model, tmp_path, None, None, None)
    assert not names(tmp_path)
    quantizer = types.ModuleType("ai_edge_quantizer")
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", quantizer)
    (tmp_path / "report.md").write_text(OLD)
    with pytest.raises(ValueError, match="report.md', which exists"):
        report.report_tflite(model, tmp_path, None, None, None)
    assert names(tmp_path) == ["report.md"]


def test_quickstart_goes_on_and_replaces_its_own_exports(
    model, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(training, "train", lambda *_, **__: {})
    monkeypatch.setattr(opening, "open_model", lambda _: model)
    monkeypatch.setattr(cli.commands, "_draw_run", lambda *_: None)
    monkeypatch.setattr(cli.commands.printing, "figures_table", lambda _: "")
    for _ in range(2):
        assert cli.main(["quickstart", "--out", str(tmp_path)]) == 0
    (tmp_path / "saved_model" / "1" / "notes.txt").write_text(OLD)
    assert cli.main(["quickstart", "--out", str(tmp_path)]) == 2
    assert "with ['notes.txt']" in capsys.readouterr().err


@pytest.mark.parametrize("name", [*run_folder.RUN_FILES, "run.json"])
def test_a_training_never_takes_a_folder_with_files_of_its_names(
    name, tmp_path
):
    (tmp_path / "notes").mkdir()
    (tmp_path / name).write_text('{"name": "my run"}')
    with pytest.raises(ValueError, match="none of a run of this package"):
        training.train(tiny.recipe(), tmp_path, verbose=0)
    assert names(tmp_path) == sorted([name, "notes"])
    assert (tmp_path / name).read_text() == '{"name": "my run"}'


def test_two_processes_do_not_train_into_one_folder(tmp_path):
    with (
        files.alone_in(tmp_path),
        pytest.raises(ValueError, match="no other process"),
    ):
        training.train(tiny.recipe(), tmp_path, verbose=0)
    assert not names(tmp_path)


def test_a_checkpoint_has_its_name_when_it_is_whole(tmp_path):
    model = Baseline((8, 8, 1), units=2)
    path = tmp_path / "{a}" / "last.keras"  # braces mean figures to Keras
    path.parent.mkdir()
    path.write_text(OLD)
    with pytest.raises(OSError), full_disk():
        checkpoint(model, path)
    assert path.read_text() == OLD
    checkpoint(model, path)
    assert keras.saving.load_model(path).image_shape == (8, 8, 1)
    assert names(path.parent) == ["last.keras"]


@pytest.fixture
def folder(tmp_path):
    """Files of the user's, of which nothing may be lost."""
    for name in (
        "photos/a.png",
        "photos/b.png",
        "data/a.png",
        "data/1/photo.png",
        "data/1/saved_model.pb",
        "run/history.csv",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tiny.png(np.zeros((100, 100, 1), "uint8")))
    (tmp_path / "annotations.json").write_text('{"images": []}')
    (tmp_path / "data" / "a.csv").write_text(
        "file,label,xmin,ymin,xmax,ymax\na.png,1,2,3,4,5"
    )
    Baseline((40, 50, 1), units=2).save(tmp_path / "model.keras")
    (tmp_path / "run.png").mkdir()
    (tmp_path / "run.json").mkdir()
    (tmp_path / "run.keras").mkdir()
    (tmp_path / "run.tflite").mkdir()
    (tmp_path / "run.onnx").mkdir()
    return tmp_path


EVALUATE = f"evaluate {PRESET} --images 20"
EXPORT = "export model.keras --format"
COMMANDS = (
    f"{EVALUATE} --out run.json",
    f"{EVALUATE} --out run",
    f"{EVALUATE} --out model.keras",
    f"{EVALUATE} --out annotations.json",
    f"{EVALUATE} --out photos/a.png/new.json",
    f"{EVALUATE} --plot run.png",
    f"{EVALUATE} --plot photos",
    f"{EVALUATE} --plot photos/a.png",
    f"{EVALUATE} --heat-map photos/a.png",
    f"{EVALUATE} --plot answer.txt",
    f"{EVALUATE} --plot answer",
    f"{EVALUATE} --coverage run.png",
    f"{EVALUATE} --anytime run.png",
    f"{EVALUATE} --heat-map run.png",
    f"{EVALUATE} --heat-map new.png --plot ./new.png",
    f"{EVALUATE} --source data --plot data/a.png",
    f"predict {PRESET} photos/a.png --plot photos/a.png",
    f"predict {PRESET} photos/a.png --plot photos/b.png",
    f"predict {PRESET} photos/a.png --plot run.png",
    f"predict {PRESET} photos/a.png --plot photos",
    f"predict {PRESET} photos/a.png --plot model.keras/a.png",
    "check-data data --sheet data/a.png",
    "check-data data --sheet run.png",
    "check-data data --sheet photos/a.png",
    "table ram --plot run.png",
    "table ram --plot photos/a.png",
    "table ram --plot /dev/null/a.png",
    "ensemble model.keras --out run.keras",
    "ensemble model.keras --out model.keras",
    "ensemble model.keras --out model.keras --overwrite",
    f"{EXPORT} saved_model --out data",
    f"{EXPORT} saved_model --out data --overwrite",
    f"{EXPORT} saved_model --out model.keras",
    f"{EXPORT} tflite --out run.tflite --overwrite",
    f"{EXPORT} tflite --out run",
    f"{EXPORT} tflite --out new",
    f"{EXPORT} onnx --out run.onnx --overwrite",
    f"{EXPORT} onnx --out model.keras --overwrite",
    "train quickstart --out run",
    "train quickstart --out model.keras",
    "quickstart --out run",
    "quickstart --out photos/a.png/new",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_replaces_what_is_not_its_own(
    command, folder, monkeypatch, capsys
):
    monkeypatch.chdir(folder)
    before = {
        name: (folder / name).is_file() and (folder / name).read_bytes()
        for name in names(folder)
    }
    assert cli.main(command.split()) == 2
    assert {
        name: (folder / name).is_file() and (folder / name).read_bytes()
        for name in names(folder)
    } == before
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("keras-edram: error: ") and "Received: " in line


def test_the_error_over_glimpses_says_of_which_images(tmp_path):
    """Also where a glimpse has none, which a logarithm cannot show."""
    path = tmp_path / "error.svg"
    figures = {"error_by_glimpse": [0.3, 0.0], "error_by_average": [0.3, 0.1]}
    figures |= {"split": "validation", "images": 500}
    visualization.plot_error_per_glimpse(figures, path)
    text = path.read_text()
    assert "500 validation images" in text and "test" not in text
    assert "<!-- 0.00 -->" in text and "{10^" not in text


@pytest.mark.parametrize("suffix", files.FIGURE_SUFFIXES)
def test_a_figure_replaces_one_that_was_drawn_before(suffix, tmp_path):
    path = tmp_path / f"table{suffix}"
    figures = {"error_by_glimpse": [0.5], "error_by_average": [0.5]}
    visualization.plot_error_per_glimpse({**figures, "images": 9}, path)
    assert files.is_drawn(path)
    photo = tmp_path / f"photo{suffix}"
    photo.write_text(OLD)
    assert not files.is_drawn(photo)
