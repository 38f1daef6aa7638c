"""The pipeline in `export/beam`, on Beam's direct runner."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import picture_files
import pytest
import tensorflow as tf
import tiny

from keras_edram.datasets import read_picture

pytest.importorskip("apache_beam", reason='needs pip install -e ".[beam]"')

FOLDER = pathlib.Path(__file__).parents[2] / "export" / "beam"
BATCH_SIZE = 3  # so that the bad ones are among others


@pytest.fixture(scope="module")
def exported(served_folder, served_models):
    """A model of grey images, and its SavedModel."""
    return served_models[1], served_folder / "1"


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 256, (6, 40, 50, 1), "uint8")


@pytest.fixture(scope="module")
def contents(images):
    """Contents of files by name: pictures, and four that are none."""
    contents = {
        f"{number}.png": tiny.png(image) for number, image in enumerate(images)
    }
    contents["broken.png"] = contents["0.png"][:200]
    contents["empty.png"] = b""
    contents["text.jpg"] = b"This is no picture."
    # A picture indeed, but the decoder drops what is transparent of a GIF.
    contents["transparent.gif"] = picture_files.other_files()["transparent.gif"]
    return contents


def run(exported, folder, *arguments):
    _, path = exported
    return subprocess.run(
        [
            *(sys.executable, FOLDER / "predict.py", "--model", path),
            *("--out", folder / "answers", "--bad", folder / "bad"),
            *("--batch-size", str(BATCH_SIZE), *arguments),
        ],
        capture_output=True,
        text=True,
    )


def predict(exported, folder, *arguments):
    """Answers and what is bad, by the name of the file."""
    done = run(exported, folder, *arguments)
    assert done.returncode == 0, done.stderr
    rows = []
    for prefix in ("answers", "bad"):
        lines = [
            json.loads(line)
            for file in folder.glob(f"{prefix}-*.jsonl")
            for line in file.read_text().splitlines()
        ]
        named = {pathlib.Path(line["file"]).name: line for line in lines}
        assert len(named) == len(lines)
        rows.append(named)
    return rows


def assert_answers(answers, exported, images):
    model, _ = exported
    expected = model.read(images)
    assert set(answers) == {f"{number}.png" for number in range(len(images))}
    for number, one in enumerate(expected):
        found = answers[f"{number}.png"]
        assert set(found) == {
            *("file", "sequence", "names", "probability", "boxes")
        }
        assert found["sequence"] == " ".join(one["names"])
        assert found["names"] == one["names"]
        np.testing.assert_allclose(
            found["probability"], one["probability"], atol=1e-5
        )
        np.testing.assert_allclose(found["boxes"], one["boxes"], atol=1e-5)


def assert_bad(bad):
    assert set(bad) == {
        *("broken.png", "empty.png", "text.jpg", "transparent.gif")
    }
    assert bad["transparent.gif"]["reason"].startswith("A GIF with transparent")
    assert bad["text.jpg"]["reason"].startswith("Unknown image file format")
    assert "no content" in bad["empty.png"]["reason"]
    assert all(set(row) == {"file", "reason"} for row in bad.values())


def test_files_are_answered_and_bad_ones_listed(
    exported, images, contents, tmp_path
):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name, content in contents.items():
        (pictures / name).write_bytes(content)
    (pictures / "folder").mkdir()
    answers, bad = predict(exported, tmp_path, "--images", f"{pictures}/*")
    assert_answers(answers, exported, images)
    assert_bad(bad)
    assert answers["0.png"]["file"] == str(pictures / "0.png")


def test_tfrecord_files_are_read_alike(exported, images, contents, tmp_path):
    path = written(tmp_path, contents, contents, more=[b"This is no message."])
    answers, bad = predict(exported, tmp_path, "--tfrecord", path)
    assert_answers(answers, exported, images)
    # A record without a name has that of its file.
    assert "no content" in bad.pop(path.name)["reason"]
    assert_bad(bad)


def test_pictures_are_read_as_by_the_model(exported, tmp_path):
    model, _ = exported
    contents = picture_files.files()
    names = ["turned 6.jpg", "black on nothing.png", "12 bits.png", "grey.gif"]
    path = written(tmp_path, contents, names)
    answers, bad = predict(exported, tmp_path, "--tfrecord", path)
    assert not bad
    images = [read_picture(contents[name], (40, 50, 1)) for name in names]
    for name, expected in zip(names, model.read(np.stack(images)), strict=True):
        np.testing.assert_allclose(
            answers[name]["boxes"], expected["boxes"], atol=0.05
        )


def written(folder, contents, names, more=()):
    """A TFRecord file of pictures with their names, and of more records."""
    path = folder / "pictures.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name in names:
            example = tf.train.Example()
            features = example.features.feature
            features["image/encoded"].bytes_list.value.append(contents[name])
            features["image/filename"].bytes_list.value.append(name.encode())
            writer.write(example.SerializeToString())
        for record in more:
            writer.write(record)
    return path


@pytest.fixture
def main(monkeypatch):
    """The command in this process, as nothing is started by it."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import predict as program

    monkeypatch.setattr(program, "run", lambda *_: pytest.fail("It was run"))
    return program.main


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"--images": "nothing*.png"}, "there is no file nothing*.png"),
        ({"--images": str(FOLDER)}, "is a folder: name its files"),
        ({"--model": "nothing"}, "must be a folder with saved_model.pb"),
        ({"--out": "all", "--bad": "./all"}, "--out and --bad must differ"),
        ({"--batch-size": "0"}, "--batch-size must be at least 1, not 0"),
        ({"--nonsense": "3"}, "knows --nonsense 3"),
        ({"--images": "a.png", "": "b.png"}, "knows b.png (is a path"),
        ({"--images": "no://a.png"}, "a path cannot be reached"),
    ],
)
def test_wrong_arguments_are_refused_in_a_line(
    main, exported, changes, words, capsys
):
    given = {"--model": exported[1], "--images": __file__}
    given |= {"--out": "answers", "--bad": "bad", **changes}
    arguments = [str(word) for pair in given.items() for word in pair if word]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--runner", "DirectRunner"])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
