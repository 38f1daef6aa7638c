"""What is opened as a model, and is none, is told what it is."""

import io
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest

from keras_edram import cli
from keras_edram.models import Baseline
from keras_edram.presets import opening


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """The files in the archive of a model that can be opened."""
    path = tmp_path_factory.mktemp("archive") / "model.keras"
    Baseline((8, 8, 1), units=3).save(path)
    assert opening.open_model(path).image_shape == (8, 8, 1)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archived(members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def with_config(members, change):
    config = json.loads(members["config.json"])
    config = change(config) or config
    return archived({**members, "config.json": json.dumps(config)})


def flipped(members):
    """A weight is another, which neither HDF5 nor Keras would notice."""
    content = bytearray(archived(members))
    with h5py.File(io.BytesIO(members["model.weights.h5"])) as weights:
        found = []
        weights.visititems(
            lambda _, item: (
                found.append(item.id.get_offset())
                if getattr(item, "size", 0) > 1
                else None
            )
        )
    start = bytes(content).index(members["model.weights.h5"])
    content[start + found[0]] ^= 1
    return bytes(content)


def hollow_weights(members):
    """Weights of 400 MB that are nothing in the file."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as weights:
        weights.create_dataset("a", (10**8,), "float32", chunks=(10**6,))
    return archived({**members, "model.weights.h5": buffer.getvalue()})


def other_model(members):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    config = keras.saving.serialize_keras_object(model)
    return with_config(members, lambda _: config)


CASES = {
    "empty": (lambda members: b"", "an empty file"),
    "text": (lambda members: b"no archive", "no ZIP archive"),
    "a picture": (lambda members: b"\x89PNG\r\n\x1a\n" * 9, "no ZIP archive"),
    "HDF5": (lambda members: members["model.weights.h5"], "an HDF5 file"),
    "TFLite": (lambda members: b"\x1c\0\0\0TFL3" + b"\0" * 99, "a TFLite file"),
    "cut short": (lambda members: archived(members)[:-99], "cut short"),
    "another archive": (
        lambda members: archived({"a.txt": b"a"}),
        "without config.json and model.weights.h5",
    ),
    "flipped": (flipped, "damaged (model.weights.h5 is not what was saved)"),
    "a list": (
        lambda members: with_config(members, lambda config: [config]),
        "describes no model",
    ),
    "no JSON": (
        lambda members: archived({**members, "config.json": b"{"}),
        "damaged (",
    ),
    "another model": (other_model, "of another class, Sequential"),
    "an unknown class": (
        lambda members: with_config(
            members,
            lambda config: config.update(
                module="theirs", registered_name="theirs>Reader"
            ),
        ),
        "of another class, theirs>Reader",
    ),
    "an unknown argument": (
        lambda members: with_config(
            members, lambda config: config["config"].update(colour=1)
        ),
        "cannot be read: ",
    ),
    "another size": (
        lambda members: with_config(
            members, lambda config: config["config"].update(units=4)
        ),
        "cannot be read: ",
    ),
    "weights of others": (
        lambda members: archived({**members, "model.weights.h5": b"no"}),
        "damaged (",
    ),
    "an archive that unpacks to too much": (
        lambda members: archived(
            {**members, "a": b"\0" * 150_000_000}, zipfile.ZIP_DEFLATED
        ),
        "that would unpack to 150 MB",
    ),
    "weights that unpack to too much": (
        hollow_weights,
        "that would unpack to 400 MB",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_file_that_is_no_model_says_what_it_is(
    name, members, tmp_path, capsys
):
    make, words = CASES[name]
    path = tmp_path / "model.keras"
    path.write_bytes(make(members))
    assert cli.main(["predict", str(path), "none.png"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"keras-edram: error: {path} must be a .keras file")
    assert words in line and len(line) < 500


def test_a_model_is_opened_that_was_packed_again(members, tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(archived(members, zipfile.ZIP_DEFLATED))
    model = opening.open_model(path)
    assert np.isfinite(model.predict(np.zeros((1, 8, 8, 1)))["labels"]).all()
    path = path.rename(tmp_path / "model.zip")
    with pytest.raises(ValueError, match="does not end in .keras"):
        opening.open_model(path)


@pytest.mark.parametrize(
    "file, words",
    [
        ("run.json", "a run that is not finished"),
        ("saved_model.pb", "a SavedModel"),
        ("1/saved_model.pb", "a SavedModel"),
        ("a.txt", "must be a preset"),
    ],
)
def test_a_folder_that_is_no_model_says_what_it_is(file, words, tmp_path):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    with pytest.raises(ValueError, match=words):
        opening.open_model(tmp_path)


def test_a_run_that_is_none_of_ours_is_refused(tmp_path):
    for content in ("[1]", '{"name": "my run"}', "{"):
        (tmp_path / "run.json").write_text(content)
        with pytest.raises(ValueError, match="run.json must be"):
            opening.run_of(tmp_path)
    assert opening.run_of(tmp_path / "none") is None
