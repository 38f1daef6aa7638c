import functools
import io
import json
import os
import pathlib
import platform
import re
import shlex
import subprocess
import sys

import keras
import numpy as np
import pytest
import stand_in_reader
import tiny
from PIL import Image
from test_docstrings import eagerly

import keras_edram
from keras_edram import (
    cli,
    datasets,
    picture_notes,
    presets,
    reading,
    recipes,
    training,
    visualization,
)
from keras_edram.cli import commands, predicting, printing
from keras_edram.datasets import cluttered_mnist
from keras_edram.datasets.annotated import annotated_pictures, annotations
from keras_edram.models import EDRAM, Baseline, Ensemble
from keras_edram.presets import opening
from keras_edram.visualization import glimpses

PRESET = "edram_small_cluttered_mnist"


@pytest.fixture(scope="module", autouse=True)
def loaded_once():
    """A preset, and what is compiled of it, is there for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(presets, "load", functools.cache(presets.load))
        yield


@pytest.fixture
def pictures(tmp_path):
    images, targets = cluttered_mnist("test").arrays(9, 4)
    paths = []
    for index, image in enumerate(images):
        path = tmp_path / f"picture_{index}.png"
        Image.fromarray(image[..., 0]).save(path)
        paths.append(path)
    return paths, targets["labels"][:, 0].tolist()


@pytest.fixture
def eager_training(monkeypatch):
    """A few steps take less time than to compile one."""
    train = training.train

    def train_eagerly(*arguments, **options):
        with eagerly():
            return train(*arguments, **options)

    monkeypatch.setattr(training, "train", train_eagerly)


def error_of(capsys, *arguments):
    """The one line that a command in error prints."""
    assert cli.main([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("keras-edram: error: ")
    return lines[0]


def test_predict_prints_json_that_says_what_and_where(pictures, capsys):
    paths, labels = pictures
    arguments = ["predict", PRESET, *map(str, paths), "--json"]
    assert cli.main(arguments) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [set(answer) for answer in answers] == [
        {"file", "sequence", "labels", "names", "probability", "boxes"}
    ] * 5
    assert [answer["file"] for answer in answers] == list(map(str, paths))
    # The preset reads 99 in 100 of them.
    right = [
        answer["labels"] == [label] and answer["sequence"] == str(label)
        for answer, label in zip(answers, labels, strict=True)
    ]
    assert sum(right) >= 4
    for answer in answers:
        left, top, rest, bottom = answer["boxes"][0]
        assert 0 <= left < rest <= 1 and 0 <= top < bottom <= 1
        assert 0 < answer["probability"] <= 1


def test_predict_draws_where_it_looked(pictures, tmp_path, capsys):
    paths, _ = pictures
    plot = tmp_path / "answer.png"
    assert (
        cli.main(["predict", PRESET, str(paths[0]), "--plot", str(plot)]) == 0
    )
    assert "picture_0.png: " in capsys.readouterr().out
    with Image.open(plot) as picture:
        # Six glimpses and the image are seven columns, twice as wide as high.
        assert picture.width > 1.9 * picture.height


def test_serve_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    name = "keras_edram.server.application"
    monkeypatch.delitem(sys.modules, name, raising=False)
    arguments = list(sys.argv)
    line = error_of(capsys, "serve", PRESET)
    assert line.endswith('lacks fastapi: pip install "keras-edram[serve]"')
    assert sys.argv == arguments


def test_evaluate_prints_a_table_or_json_and_draws(tmp_path, capsys):
    arguments = ["evaluate", PRESET, "--images", "50", "--glimpses", "3"]
    assert cli.main(arguments) == 0
    table = capsys.readouterr().out
    assert "test error" in table and "50 images" in table
    (line,) = re.findall(r"multiply-adds, 1e6 (.*)", table)
    assert len(line.split()) == 3
    plot, out = tmp_path / "fig5.png", tmp_path / "figures.json"
    more = ["--json", "--plot", str(plot), "--out", str(out)]
    assert cli.main([*arguments, *more]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures == json.loads(out.read_text())
    assert len(figures["error_by_glimpse"]) == 3
    assert figures["multiply_adds"] == figures["multiply_adds_by_glimpse"][2]
    assert figures["error"] <= 0.2 and figures["iou"] > 0.8
    assert figures["settings"]["protocol"] == "held_out"
    assert figures["split"] == "test" and figures["source"] == "bundled"
    assert figures["glimpses"] == 3
    assert plot.stat().st_size > 5_000
    # Most of these are among the training images of all of MNIST.
    assert cli.main([*arguments, "--split", "validation"]) == 0
    table, note = capsys.readouterr()
    assert table.startswith("validation error ")
    assert "Take the source 'tfds'" in note


def test_predict_looks_no_longer_than_needed(pictures, tmp_path, capsys):
    paths, _ = pictures
    plot = tmp_path / "answer.png"
    arguments = ["predict", PRESET, *map(str, paths), "--json"]
    assert cli.main([*arguments, "--confidence", "0.9"]) == 0
    rows = json.loads(capsys.readouterr().out)
    numbers = [row["num_glimpses"] for row in rows]
    assert min(numbers) < 3 and len(set(numbers)) > 1
    assert cli.main([*arguments[:-1], "--max-glimpses", "2"]) == 0
    assert capsys.readouterr().out.count(", 2 glimpses\n") == len(paths)
    assert cli.main([*arguments[:-1], "--max-glimpses", "1"]) == 0
    assert capsys.readouterr().out.count(", 1 glimpse\n") == len(paths)
    arguments = [*arguments[:3], "--confidence", "0.9", "--plot", str(plot)]
    assert cli.main(arguments) == 0
    with Image.open(plot) as picture:
        # Columns that were not looked at stay empty.
        right = np.asarray(picture.convert("L"))[:, -picture.width // 8 :]
    assert (right == 255).all()
    capsys.readouterr()
    for wrong, received in (
        (("--confidence", "2"), "confidence=2"),
        (("--max-glimpses", "0"), "max_glimpses=0"),
        (("--confidence", "0.9", "--crops", "2"), "crops=2"),
    ):
        assert received in error_of(capsys, *arguments[:3], *wrong)


def test_evaluate_shows_what_stopping_early_costs(tmp_path, capsys):
    plot = tmp_path / "anytime.png"
    arguments = ["evaluate", PRESET, "--images", "100", "--anytime", str(plot)]
    assert cli.main(arguments) == 0
    assert "stops when sure" in capsys.readouterr().out
    assert cli.main([*arguments, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    curve = figures["anytime"]
    assert curve[-1]["confidence"] is None
    assert curve[-1]["error"] == figures["error"]
    assert curve[-1]["glimpses"] == 6 and curve[-1]["share"] == 1
    glimpses = [row["glimpses"] for row in curve]
    assert glimpses == sorted(glimpses) and glimpses[0] < 2
    assert curve[0]["error"] > curve[-1]["error"]
    assert plot.stat().st_size > 5_000
    error = error_of(capsys, *arguments, "--crops", "2")
    assert "A budget of glimpses" in error and "Received: crops=2" in error
    error = error_of(capsys, *arguments, "--glimpses", "2")
    assert "Received: glimpses_per_target=2" in error


def test_wrong_inputs_are_one_line_and_exit_code_2(pictures, tmp_path, capsys):
    paths, _ = pictures
    text = tmp_path / "text.png"
    text.write_text("no picture")
    for arguments, words in (
        (("predict", "none", paths[0]), "must be a preset"),
        (("predict", PRESET, tmp_path / "none.png"), "none.png"),
        (("predict", PRESET, text), "text.png: is no picture"),
        (("predict", PRESET, paths[0], "-"), "standard input is not read"),
        (("evaluate", PRESET, "--images", "-3"), "Received: images=-3"),
        (("evaluate", PRESET, "--glimpses", "0"), "glimpses_per_target=0"),
        (("evaluate", PRESET, "--crops", "0"), " crops=0"),
        (
            ("evaluate", PRESET, "--set", "glimpses_per_target=2"),
            "--set must name what the data depend on",
        ),
        (("predict", PRESET, paths[0], "--crops", "-1"), " crops=-1"),
        (("check-data", tmp_path / "none"), "none"),
        (("train", "none", "--out", tmp_path / "run"), "one of"),
        (
            ("train", "quickstart", "--out", tmp_path, "--set", "a=1"),
            "batch_size",
        ),
        (
            ("train", "quickstart", "--out", tmp_path, "--set", "epochs"),
            "NAME=VALUE",
        ),
        (
            ("export", PRESET, "--format", "saved_model", "--out", tmp_path,
             "--quantize", "int8"),
            "tflite",
        ),
        (
            ("export", PRESET, "--format", "tflite", "--out", tmp_path / "m",
             "--warmup"),
            "saved_model",
        ),
        (
            ("export", PRESET, "--format", "onnx", "--out", tmp_path / "m.onnx",
             "--quantize", "int8"),
            "tflite",
        ),
    ):  # fmt: skip
        assert words in error_of(capsys, *arguments)


def test_a_file_is_evaluated_on_the_data_of_a_recipe(tmp_path, capsys):
    sizes = {**tiny.SIZES, "image_shape": (60, 60, 1)}
    path = tmp_path / "model.keras"
    keras_edram.EDRAM(**sizes).save(path)
    assert "--recipe" in error_of(capsys, "evaluate", path)
    error = error_of(capsys, "evaluate", path, "--recipe", "mnist_ram")
    assert "(60, 60, 1)" in error and "(28, 28, 1)" in error
    arguments = ["evaluate", path, "--recipe", "cluttered_mnist_60_ram"]
    arguments += ["--images", 20, "--json", "--set", "num_distractors=2"]
    assert cli.main(list(map(str, arguments))) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["settings"]["num_distractors"] == 2
    assert figures["images"] == 20


def test_rollouts_are_those_of_the_members_that_draw():
    members = [tiny.ram(name="one"), tiny.ram(name="two")]
    commands._draw_rollouts(Ensemble(members), 2)
    assert [member.num_rollouts for member in members] == [2, 2]
    with pytest.raises(ValueError, match="rollouts=2 of a Ensemble"):
        commands._draw_rollouts(Ensemble([tiny.reader()]), 2)


def test_evaluate_averages_rollouts_and_draws_a_heat_map(tmp_path, capsys):
    path, heat_map = tmp_path / "ram.keras", tmp_path / "heat_map.png"
    keras_edram.RAM(num_glimpses=3, units=8, hidden_units=8).save(path)
    arguments = ["evaluate", path, "--recipe", "mnist_ram", "--images", 30]
    arguments += ["--rollouts", 2, "--json", "--heat-map", heat_map]
    assert cli.main(list(map(str, arguments))) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["rollouts"] == 2
    # Drawn with a deviation of 0.15 around nearly the same mean.
    assert 0.1 < figures["spread"] < 0.2
    with Image.open(heat_map) as picture:
        picture.load()
    # Stopping when sure follows the mean policy, which would be another model.
    error = error_of(capsys, *arguments, "--anytime", tmp_path / "a.png")
    assert "Received: num_rollouts=2" in error
    arguments = ("evaluate", PRESET, "--rollouts", "3")
    assert "one with a policy" in error_of(capsys, *arguments)


@pytest.mark.usefixtures("compares_here")
def test_export_writes_and_says_so(tmp_path, capsys):
    model = tmp_path / "model.keras"
    Baseline((20, 30, 1), units=2).save(model)
    out = tmp_path / "tiny.tflite"
    arguments = ["export", model, "--format", "tflite", "--out", out]
    assert cli.main(list(map(str, arguments))) == 0
    assert "tiny.tflite was written" in capsys.readouterr().out
    assert out.is_file()
    folder = tmp_path / "served"
    arguments = ["export", model, "--format", "saved_model", "--out", folder]
    arguments += ["--model-version", 2]
    assert cli.main(list(map(str, arguments))) == 0
    assert (folder / "2" / "saved_model.pb").is_file()


def save_reader(path, bias, **arguments):
    """Saves a model that reads up to three screws of two kinds, badly."""
    model = EDRAM(
        class_names=["bolt", "nut"],
        num_targets=3,
        **{**tiny.SIZES, "glimpses_per_target": 1},
        **arguments,
    )
    model.classification_output.bias.assign(bias)
    model.save(path)
    return path


@pytest.fixture
def reader(tmp_path):
    """A file of one that says of every picture that it saw no end."""
    path = tmp_path / "reader.keras"
    return save_reader(path, [0, 3, -9], num_classes=3, terminal=True)


@pytest.fixture
def counted(tmp_path):
    """A file of one that reads three, after which there is no end."""
    return save_reader(tmp_path / "counted.keras", [0, 3], num_classes=2)


def test_predict_says_names_or_that_it_does_not_know(
    reader, pictures, tmp_path, capsys
):
    paths, _ = pictures  # of another size than the model's images
    plot = tmp_path / "plot.png"
    assert cli.main(["predict", str(reader), str(paths[0])]) == 0
    line = capsys.readouterr().out
    assert line.startswith(f"{paths[0]}: nut nut nut  ")
    assert line.count("(") == 3  # a box for each
    arguments = ["predict", str(reader), *map(str, paths[:2])]
    arguments += ["--refuse-below", "0.9999", "--crops", "3"]
    arguments += ["--plot", str(plot)]
    assert cli.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(": I do not know  " in line for line in lines)
    assert len(lines) == 2 and plot.stat().st_size > 10_000
    error = error_of(capsys, *arguments[:3], "--refuse-below", "7")
    assert "Received: refuse_below=7" in error


@pytest.fixture
def stand_in(monkeypatch):
    """A model, and pictures that are nothing but their numbers, 0.png on."""
    model = stand_in_reader.Model()
    monkeypatch.setattr(opening, "open_model", lambda where: model)

    def read(file, image_shape):
        number = int(file.stem)
        if number == 1_000:
            raise FileNotFoundError(f"There is no picture file {file}")
        image = np.full(image_shape, 90, "uint8")
        image[0, 0] = 30 + number % 3
        return image, []

    monkeypatch.setattr(picture_notes, "look_at_image", read)
    return model


def predict(capsys, *arguments):
    """The exit status of `predict`, and the lines that it prints."""
    status = cli.main(["predict", *map(str, arguments)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err.splitlines()


def test_predict_answers_the_good_and_lists_the_broken(
    counted, pictures, tmp_path, capsys
):
    paths, _ = pictures
    text = tmp_path / "text.png"
    text.write_text("no picture")
    arguments = (counted, paths[0], text, paths[0], tmp_path / "none.png")
    status, out, errors = predict(capsys, *arguments)
    assert status == 1
    assert [line.split(": ")[0] for line in out.splitlines()] == [
        str(paths[0])
    ] * 2
    assert errors == [
        f"keras-edram: error: {text}: is no picture that can be read",
        f"keras-edram: error: {tmp_path / 'none.png'}: there is no such file",
    ]
    status, out, errors = predict(capsys, *arguments, "--json")
    rows = json.loads(out)
    assert status == 1 and len(errors) == 2
    assert [row["file"] for row in rows] == list(map(str, arguments[1:]))
    assert ["error" in row for row in rows] == [False, True, False, True]
    assert set(rows[1]) == {"file", "error"} and rows[0] == rows[2]
    status, out, errors = predict(capsys, counted, text, text, "--json")
    assert status == 2 and len(errors) == 2
    assert [set(row) for row in json.loads(out)] == [{"file", "error"}] * 2


def test_predict_reads_folders_and_patterns(
    counted, pictures, tmp_path, capsys
):
    paths, _ = pictures
    folder = tmp_path / "my photos"
    content = paths[0].read_bytes()
    for name in (
        *("b.png", "a.png/c d.PNG", "a.png/.hidden.png", ".hidden/e.png"),
        *("a.png/new\nline.png", "notes.txt", "-f.png"),
    ):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    (folder / "a.png/circle").symlink_to(folder)
    (folder / "nothing.png").symlink_to(folder / "none.png")
    empty = tmp_path / "empty"
    empty.mkdir()
    in_order = ("-f.png", "a.png/c d.PNG", "a.png/new\nline.png", "b.png")
    expected = [str(folder / name) for name in in_order]
    status, out, errors = predict(capsys, counted, folder, "--json")
    rows = json.loads(out)
    assert status == 1
    assert [row["file"] for row in rows if "error" not in row] == expected
    nothing = f"{folder / 'nothing.png'}: there is no such file"
    assert errors == [f"keras-edram: error: {nothing}"]
    # A line a picture, whatever its name; patterns are for shells without.
    pattern, linked = tmp_path / "picture_[01].png", folder / "b.png"
    names = (folder, empty, pattern, linked)
    status, out, errors = predict(capsys, counted, *names)
    expected += [*map(str, paths[:2]), str(linked)]
    assert status == 1
    assert [line.split(": ")[0] for line in out.splitlines()] == [
        name.replace("\n", "\\n") for name in expected
    ]
    assert errors[1:] == [
        f"keras-edram: error: {empty}: is a folder without pictures"
    ]
    assert predict(capsys, counted, empty)[::2] == (2, errors[1:])
    status, _, errors = predict(capsys, counted, tmp_path / "no_*.png")
    assert status == 2 and "no_*.png: there is no such file" in errors[0]


def test_a_folder_that_may_not_be_opened_is_listed(
    monkeypatch, tmp_path, capsys, stand_in
):
    (tmp_path / "locked").mkdir()
    (tmp_path / "1.png").touch()
    scandir = os.scandir

    def closed(path):
        if pathlib.Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert predicting.picture_files([tmp_path]) == [
        tmp_path / "1.png",
        tmp_path / "locked",
    ]


def test_predict_reads_thousands_and_shows_how_far_it_is(
    stand_in, monkeypatch, capsys
):
    names = [f"{number}.png" for number in range(2_000)]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert cli.main(["predict", "model", *names, "--json"]) == 1
    printed = capsys.readouterr()
    rows = json.loads(printed.out)
    assert [row["file"] for row in rows] == names
    assert set(rows.pop(1_000)) == {"file", "error"}
    assert all(row["labels"] == [int(row["file"][:-4]) % 3] for row in rows)
    assert max(shape[0] for shape in stand_in.shapes) <= 64
    shown = [part.strip() for part in printed.err.split("\r")]
    assert "0/2,000" in shown and "1,999/2,000" in shown
    broken = "keras-edram: error: 1000.png: there is no such file"
    assert broken in shown and shown[-1] == ""
    # Neither of few, nor in a file.
    assert cli.main(["predict", "model", *names[:199]]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert cli.main(["predict", "model", *names[:200]]) == 0
    assert capsys.readouterr().err == ""


def test_json_is_whole_when_predict_is_interrupted(
    stand_in, monkeypatch, capsys
):
    read = picture_notes.look_at_image

    def interrupted(file, image_shape):
        if file.stem == "100":
            raise KeyboardInterrupt
        return read(file, image_shape)

    monkeypatch.setattr(picture_notes, "look_at_image", interrupted)
    names = [f"{number}.png" for number in range(200)]
    status, out, errors = predict(capsys, "model", *names, "--json")
    assert status == 130 and errors == ["keras-edram: interrupted"]
    assert [row["file"] for row in json.loads(out)] == names[:96]


def test_no_answer_is_lost_for_want_of_letters(stand_in, monkeypatch):
    """On a terminal of Western Europe, of names that are not UTF-8 either."""
    names = ["1.日本", "4.\udcff\n", "7.é"]
    for option in ([], ["--json"]):
        terminal = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
        monkeypatch.setattr(sys, "stdout", terminal)
        assert cli.main(["predict", "model", *names, *option]) == 0
        terminal.flush()
        printed = terminal.buffer.getvalue()
        if option:
            rows = json.loads(printed)
            assert [row["file"] for row in rows] == [
                names[0],
                "4.\\udcff\n",
                names[2],
            ]
            printed.decode("ascii")
        else:
            lines = printed.decode("cp1252").splitlines()
            assert [line.split(":")[0] for line in lines] == [
                "1.\\u65e5\\u672c",
                "4.\\udcff\\n",
                names[2],
            ]
            assert all(": \\u65e5\\u672c  " in line for line in lines)


def test_predict_draws_the_first_good_pictures_alone(
    counted, pictures, tmp_path, monkeypatch, capsys
):
    paths, _ = pictures
    drawn = {}
    monkeypatch.setattr(
        visualization,
        "plot_glimpses",
        lambda *_, **how: drawn.update(how),
    )
    monkeypatch.setattr(predicting, "PLOTTED", 2)
    broken, plot = tmp_path / "none.png", tmp_path / "answer.png"
    arguments = (counted, paths[0], broken, *paths[1:4], "--plot", plot)
    status, out, notes = predict(capsys, *arguments)
    assert status == 1 and out.count("sure") == 4
    assert drawn["titles"] == [path.name for path in paths[:2]]
    assert len(drawn["looks"]["labels"]) == 2
    shown = f"keras-edram: note: {plot}: shows the first 2 of 4 pictures"
    assert notes[1:] == [shown]


def test_the_figure_shows_the_answers_that_were_printed(
    reader, pictures, tmp_path, monkeypatch, capsys
):
    """Whatever it was that gave them: here what no look would answer."""
    paths = pictures[0][:3]
    box = [0.1, 0.25, 0.5, 0.75]
    said = [
        dict(sequence="bolt", labels=[0], names=["bolt"], boxes=[box]),
        dict(sequence=None, labels=[1], names=["nut"], boxes=[box]),
        dict(sequence="", labels=[], names=[], boxes=[]),
    ]
    monkeypatch.setattr(
        reading,
        "read_pictures",
        lambda _, files, **how: (
            reading.Reading(file, {**answer, "probability": 0.125}, None, [])
            for file, answer in zip(files, said, strict=True)
        ),
    )
    figures, plot = [], tmp_path / "answers.png"
    monkeypatch.setattr(
        glimpses, "save", lambda figure, path: figures.append(figure)
    )
    arguments = (reader, *paths, "--crops", 3, "--plot", plot)
    status, out, notes = predict(capsys, *arguments)
    assert status == 0 and "crops" in notes[0] and len(notes) == 1
    # A row has 4 columns of 2 axes: the picture is above its answer.
    above, below = figures[0].axes[::8], figures[0].axes[4::8]
    for line, axis, read in zip(
        out.splitlines(),
        below,
        ["bolt", "I do not know", "nothing"],
        strict=True,
    ):
        assert f": {read}  12.5% sure" in line
        text = axis.texts[0].get_text()
        assert " ".join(text.split()) == f"reads: {read} 12.5% sure"
    # The class of what it does not know is not written at the box.
    names = [[text.get_text() for text in axis.texts] for axis in above]
    assert names == [["1: bolt"], [], []]
    size = np.tile([50, 40], 2)  # pixels of the model's images
    for answer, axis in zip(said, above, strict=True):
        corners = [patch.get_xy() for patch in axis.patches]
        boxes = [(*xy.min(axis=0), *xy.max(axis=0)) for xy in corners]
        expected = [np.multiply(box, size) - 0.5 for box in answer["boxes"]]
        np.testing.assert_allclose(boxes, expected, atol=1e-3)


def test_a_figure_is_not_drawn_over_a_picture(pictures, tmp_path, capsys):
    paths, _ = pictures
    before = paths[0].read_bytes()
    for name in (paths[0], tmp_path, tmp_path / "pict*"):
        error = error_of(capsys, "predict", PRESET, name, "--plot", paths[0])
        assert "--plot must be" in error
        assert paths[0].read_bytes() == before


def test_predict_says_of_dark_ink_what_the_model_learnt(
    pictures, tmp_path, capsys
):
    paths, _ = pictures
    paper = tmp_path / "paper.png"
    with Image.open(paths[0]) as picture:
        Image.fromarray(255 - np.asarray(picture)).save(paper)
    _, ink, notes = predict(capsys, PRESET, paths[0])
    assert not notes
    _, wrong, notes = predict(capsys, PRESET, paper)
    assert len(notes) == 1 and "--invert" in notes[0]
    assert notes[0].startswith(f"keras-edram: note: {paper}: is dark on light")
    _, rows, _ = predict(capsys, PRESET, paper, paths[0], "--json")
    odd, usual = json.loads(rows)
    (note,) = odd["notes"]
    assert note.startswith("This image is dark on light") and note[-1] == "."
    assert "notes" not in usual
    _, right, notes = predict(capsys, PRESET, paper, "--invert")
    assert not notes and right.split("png: ")[1] == ink.split("png: ")[1]
    assert wrong != right


def test_of_which_models_it_is_known_that_they_learnt_light_on_dark(tmp_path):
    known = {
        name: opening.learnt_light_on_dark(name) for name in presets.names()
    }
    both = re.compile("house_numbers|photos|printed")
    assert known == {name: not both.search(name) for name in known}
    for content in (None, "{}", "no JSON", '{"recipe": "mine"}'):
        if content is not None:
            (tmp_path / "run.json").write_text(content)
        assert not opening.learnt_light_on_dark(tmp_path)


def test_a_table_has_a_dash_for_what_is_not_there():
    figures = {
        "error": 0.5,
        "images": 2,
        "error_by_length": {"0": 0.5, "1": None},
        "label_error": None,
        "error_at_coverage": {"99%": 0.5},
        "calibration_error": float("nan"),
        "calibration_error_by_chance": 0.02,
        "iou": None,
        "multiply_adds": 23_367_852,
        "parameters": 62_686,
        "spread": 0.0,
        "error_by_glimpse": [None, 0.25],
        "error_by_average": [None],
        "iou_by_glimpse": [float("nan"), 0.5],
        "spread_by_glimpse": [0.0, 0.0],
        "anytime": [
            {"confidence": 0.0, "error": 0.5, "glimpses": 1, "share": 0.5},
            {"confidence": None, "error": None, "glimpses": 2, "share": 1},
        ],
    }
    lines = printing.figures_table(figures).splitlines()
    assert "by length      50.00% of 0, - of 1" in lines
    assert "each object    -" in lines
    assert (
        "calibration    -   between how sure it is and how right; "
        "0.020 by chance" in lines
    )
    assert (
        "an image costs 23.4 million multiply-adds, with 62,686 parameters"
        in lines
    )
    assert "error, alone              -  25.00%" in lines
    assert "overlap                   -   0.500" in lines
    assert [line.split() for line in lines[-2:]] == [
        ["0.0", "50.00%", "1.00", "(50%)"],
        ["never", "-", "2.00", "(100%)"],
    ]


def test_a_hint_can_be_copied_whatever_the_folder_is_called(capsys):
    run = pathlib.Path("my runs") / "it's"
    printing.print_next_steps(run)
    lines = capsys.readouterr().out.splitlines()
    evaluate, predict = (shlex.split(line)[2:] for line in lines[2:4])
    assert evaluate[0] == predict[0] == str(run)
    assert evaluate[-1] == str(run / "fig5.png")


def test_an_ensemble_is_one_file_of_the_models(
    reader, pictures, tmp_path, capsys
):
    joined = tmp_path / "joined.keras"
    arguments = ["ensemble", str(reader), str(reader), "--out", str(joined)]
    assert cli.main(arguments) == 0
    assert "2 models" in capsys.readouterr().out
    probabilities = []
    for path in (reader, joined):
        assert (
            cli.main(["predict", str(path), str(pictures[0][0]), "--json"]) == 0
        )
        (answer,) = json.loads(capsys.readouterr().out)
        assert answer["sequence"] == "nut nut nut"
        probabilities.append(answer["probability"])
    assert probabilities[1] == pytest.approx(probabilities[0])
    error = error_of(capsys, "ensemble", reader, "--out", tmp_path / "file")
    assert "must end in .keras" in error
    error = error_of(capsys, "ensemble", reader, reader, "--out", joined)
    assert "--overwrite" in error
    other = tmp_path / "other.keras"
    error = error_of(capsys, "ensemble", reader, PRESET, "--out", other)
    assert "must have the same" in error


def write_yolo(folder, names, texts):
    """Pictures of 40x30 pixels, of which no two are the same."""
    folder.mkdir(parents=True)
    (folder / "classes.txt").write_text("\n".join(names))
    for index, text in enumerate(texts):
        pixels = np.full((30, 40, 3), 5 * index, "uint8")
        pixels[5:20, 3:15] = 255
        Image.fromarray(pixels).save(folder / f"{index}.png")
        if text is not None:
            (folder / f"{index}.txt").write_text(text)


def test_check_data_counts_and_names_a_few(tmp_path, capsys):
    names = [f"name{i}" for i in range(5000)]
    line = "{} 0.5 0.5 0.5 0.5\n"
    texts = [line.format(i) for i in range(6)] + ["", None, None]
    write_yolo(tmp_path / "data", names, texts)
    assert cli.main(["check-data", str(tmp_path / "data")]) == 0
    *notes, counts, summary = capsys.readouterr().out.splitlines()
    assert (
        counts == "3 pictures without objects, 2 of them without a label file"
    )
    assert summary == (
        "9 pictures, 6 objects of 5,000 classes (name0, name1, name2, name3, "
        "name4, name5, name6, name7, name8, name9, ... and 4,990 more), at "
        "most 1 in a picture; 0 broken, 4 notes"
    )
    nothing = "no object that can be used has a class of name6, name7, "
    assert notes[0].startswith(f"note: {tmp_path}/data: {nothing}")
    assert notes[0].endswith("name15, ... and 4,984 more")
    # Its only picture is for tests.
    assert "no picture for training has an object of name" in notes[1]
    assert sum("has no label file" in note for note in notes) == 2
    (tmp_path / "data" / "3.txt").write_text("0 5 5 5 5")
    assert cli.main(["check-data", str(tmp_path / "data")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("broken: 3.png: line 1 of") for line in lines)
    write_yolo(tmp_path / "bare", ["x"], ["0 5 5 5 5"])
    assert cli.main(["check-data", str(tmp_path / "bare")]) == 1
    assert "at most - in a picture; 1 broken" in capsys.readouterr().out


def test_what_pictures_warn_of_are_notes(tmp_path, monkeypatch, capsys):
    write_yolo(tmp_path / "data", ["x"], ["0 0.5 0.5 0.5 0.5"] * 2)

    def look_at(path, *, colour):
        notes = ["has one colour"] * (path.name == "1.png")
        return Image.new("RGB", (40, 30)), notes

    for module in (annotations, annotated_pictures):
        monkeypatch.setattr(module, "look_at_picture", look_at)
    assert cli.main(["check-data", str(tmp_path / "data")]) == 0
    out = capsys.readouterr().out
    assert "note: 1.png: has one colour\n" in out and "1 notes" in out
    found = datasets.read_annotations(tmp_path / "data")
    said = "has one colour: 1, as 1.png; `keras-edram check-data"
    with pytest.warns(UserWarning, match=said):
        datasets.AnnotatedPictures(found, image_size=9)


def test_a_reader_is_evaluated_on_names(reader, tmp_path, capsys):
    """It says "nut" thrice; the data list their names in another order."""
    row = " 0.5 0.5 0.2 0.5\n"
    texts = [f"0{row}", f"0{row}1 .2 .5 .1 .5\n"]
    write_yolo(tmp_path / "data" / "train", ["nut", "bolt"], texts)
    write_yolo(tmp_path / "data" / "test", ["nut", "bolt"], ["", texts[0]])
    arguments = ["evaluate", reader, "--recipe", "house_numbers_edram_forward"]
    arguments += ["--source", tmp_path / "data", "--json"]
    for setting in ("image_size=40", "colour=False", "skip_broken=False"):
        arguments += ["--set", setting]
    error = error_of(capsys, *arguments)
    assert "(40, 50, 1)" in error and "(40, 40, 1)" in error
    arguments += ["--crops", "1", "--set", "image_size=50"]
    assert cli.main(list(map(str, arguments))) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["label_error"] == 0 and figures["images"] == 2
    assert figures["error"] == 1  # it never ends
    (tmp_path / "data" / "test" / "classes.txt").write_text("screw")
    error = error_of(capsys, *arguments)
    assert "classes bolt, nut. Received: objects of screw, which" in error


@pytest.mark.slow
@pytest.mark.usefixtures("eager_training")
def test_a_folder_is_checked_and_trained_on(tmp_path, capsys):
    data = tmp_path / "screws"
    for split, number in (("train", 6), ("validation", 2), ("test", 3)):
        (data / split).mkdir(parents=True)
        rows = ["file,label,xmin,ymin,xmax,ymax"]
        for index in range(number):
            # No two are the same.
            picture = np.full((30, 40, 3), 40 * index + len(split), "uint8")
            picture[5:20, 3:15] = 255
            Image.fromarray(picture).save(data / split / f"{index}.png")
            rows.append(f"{index}.png,bolt,3,5,15,20")
            rows.append(f"{index}.png,nut,20,5,30,20")
        (data / split / "annotations.csv").write_text("\n".join(rows))
    # There it would be one of the pictures, the next time.
    within = ["check-data", str(data), "--sheet", str(data / "sheet.png")]
    assert "nor in a folder that is" in error_of(capsys, *within)
    assert cli.main([*within[:3], str(data / "sheet.svg")]) == 0  # is not read
    capsys.readouterr()
    sheet = tmp_path / "sheet.png"
    check = ["check-data", str(data), "--sheet", str(sheet)]
    assert cli.main(check) == 0
    printed = capsys.readouterr().out
    assert "11 pictures, 22 objects of 2 classes (bolt, nut)" in printed
    assert "0 broken, 0 notes" in printed
    assert sheet.stat().st_size > 10_000

    recipe = "house_numbers_edram_backward"
    out = tmp_path / "run"
    train = ["train", recipe, "--out", str(out), "--set", "epochs=1"]
    for setting in (
        *("steps_per_epoch=1", "batch_size=4", "validation_steps=1"),
        "glimpses_per_target=1",
    ):
        train += ["--set", setting]
    assert "a folder of annotated pictures" in error_of(capsys, *train)
    assert cli.main([*train, "--source", str(data)]) == 0
    printed = capsys.readouterr().out
    assert "of 3 images" in printed and "each object" not in printed
    model = keras.models.load_model(out / "model.keras")
    assert model.class_names == ("bolt", "nut") and model.num_targets == 3
    assert model.reading_order == "backward"
    # The folder is that of the run.
    crops = ["--crops", "2", "--set", "image_size=64"]
    coverage = tmp_path / "coverage.png"
    arguments = ["evaluate", str(out), "--json", "--coverage", str(coverage)]
    assert cli.main([*arguments, *crops]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["images"] == 3 and figures["crops"] == 2
    assert coverage.stat().st_size > 5_000
    error = error_of(capsys, *arguments, *crops, "--plot", sheet)
    assert "--plot needs one model" in error

    (data / "train/0.png").write_bytes(b"no picture")
    assert cli.main(["check-data", str(data)]) == 1
    printed = capsys.readouterr().out
    assert "broken: train/0.png: " in printed and "1 broken" in printed
    error = error_of(capsys, *train[:2], "--out", tmp_path / "new",
                     "--source", data)  # fmt: skip
    assert "0.png" in error and "check-data" in error


def test_recipes_and_presets_are_listed_with_their_figures(capsys):
    assert cli.main(["recipes"]) == 0
    listed = capsys.readouterr().out
    for name in recipes.names():
        assert f"{name}: {recipes.load(name).summary}" in listed
    for paper in recipes.papers():
        assert f"{paper}: {recipes.papers()[paper].reference}" in listed
        assert cli.main(["table", paper]) == 0
        assert capsys.readouterr().out.strip() == recipes.table(paper)
    assert cli.main(["presets"]) == 0
    assert PRESET in capsys.readouterr().out


@pytest.mark.usefixtures("eager_training")
def test_train_makes_a_run_with_its_pictures(tmp_path, monkeypatch, capsys):
    recipe = tiny.recipe(epochs=1)
    monkeypatch.setattr(recipes, "load", lambda name: recipe)
    out = tmp_path / "run"
    arguments = ["train", "tiny", "--out", str(out), "--set", "batch_size=10"]
    assert cli.main(arguments) == 0
    assert "test error" in capsys.readouterr().out
    pictures = ("history", "glimpses", "paths", "heat_map")
    for name in ("glimpses.gif", *(f"{name}.png" for name in pictures)):
        with Image.open(out / name) as picture:
            picture.load()
    with Image.open(out / "glimpses.gif") as animation:
        assert animation.n_frames == 2
    run = json.loads((out / "run.json").read_text())
    assert run["settings"]["batch_size"] == 10
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.slow
@pytest.mark.usefixtures("compares_here", "eager_training")
def test_quickstart_leaves_all_that_it_promises(tmp_path, capsys):
    out = tmp_path / "quick"
    changes = ("epochs=1", "steps_per_epoch=2", "test_images=20")
    changes += ("glimpses_per_target=1",)
    arguments = ["quickstart", "--out", str(out)]
    for change in changes:
        arguments += ["--set", change]
    assert cli.main(arguments) == 0
    assert "What to do next" in capsys.readouterr().out
    for name in (
        "model.keras",
        "results.json",
        "history.csv",
        "history.png",
        "glimpses.png",
        "glimpses.gif",
        "model.tflite",
        "saved_model/1/saved_model.pb",
    ):
        assert (out / name).is_file(), name


TOUCHED_AGAIN = """
import resource, sys
import numpy as np
from keras_edram import cli

if sys.argv[1] == "kept":
    cli._keep_memory()
np.ones(2**23)  # 64 MiB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    np.ones(2**23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.parametrize(("told", "used"), [("", "1"), ("0", "0")])
def test_onednn_computes_unless_told_otherwise(told, used, monkeypatch):
    name = "TF_ENABLE_ONEDNN_OPTS"
    monkeypatch.setenv(name, told)
    if not told:
        monkeypatch.delenv(name)
    assert cli.main(["recipes"]) == 0
    assert os.environ[name] == used


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="what is kept is glibc's to say"
)
def test_memory_that_is_free_is_taken_again():
    faults = {
        way: int(
            subprocess.run(
                [sys.executable, "-c", TOUCHED_AGAIN, way],
                capture_output=True,
                check=True,
                env={**os.environ, "LD_PRELOAD": ""},
            ).stdout
        )
        for way in ("kept", "given back")
    }
    # The system finds pages for all of it four times, or for none: of 2 MiB
    # at most, which are 32 a time.
    assert faults["kept"] < 32 <= faults["given back"] / 4


def test_the_readme_has_the_table_of_the_recipes():
    readme = pathlib.Path(__file__).parents[1] / "README.md"
    for paper in recipes.papers():
        # All of it, and no row that was left behind below.
        assert f"\n\n{recipes.table(paper)}\n\n" in readme.read_text()


# Pictures of any size


@pytest.fixture(scope="module")
def reader_of_any_size(tmp_path_factory):
    sizes = {**tiny.SIZES, "image_shape": (None, None, 1)}
    model = tiny.shake(EDRAM(**sizes))
    path = tmp_path_factory.mktemp("any_size") / "reader.keras"
    model.save(path)
    return path


def test_photos_are_read_and_drawn_as_they_are(
    reader_of_any_size, tmp_path, capsys
):
    generator = np.random.default_rng(0)
    paths = []
    for number, size in enumerate(((300, 420), (60, 40), (300, 420))):
        image = generator.integers(0, 256, (*size, 3), "uint8")
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(image).save(paths[-1])
    broken = tmp_path / "broken.png"
    broken.write_bytes(paths[0].read_bytes()[:500])
    plot = tmp_path / "answer.png"
    arguments = ["predict", reader_of_any_size, *paths[:2], broken, paths[2]]
    for more in ([], ["--confidence", "0.5"], ["--crops", "2"]):
        told = [*arguments, *more, "--plot", plot]
        assert cli.main(list(map(str, told))) == 1
        printed = capsys.readouterr()
        lines = printed.out.splitlines()
        assert [line.split(": ")[0] for line in lines] == list(map(str, paths))
        assert f"error: {broken}: cannot be read: it is cut" in printed.err
        with Image.open(plot) as picture:
            # Two photos of that size, and the patches beside them.
            assert picture.width > 420 + 150 and picture.height > 600
        plot.unlink()
    model = opening.open_model(reader_of_any_size)
    grey = picture_notes.read_with_notes(paths[1], (None, None, 1))[0]
    (expected,) = model.read(grey[None])
    assert cli.main(["predict", str(reader_of_any_size), str(paths[1])]) == 0
    assert f": {expected['sequence']}  " in capsys.readouterr().out


def test_a_model_of_any_size_is_evaluated_on_any(
    reader_of_any_size, tmp_path, capsys
):
    arguments = ["evaluate", reader_of_any_size, "--images", 6, "--json"]
    large = [*arguments, "--recipe", "cluttered_mnist_edram_large"]
    for more in (
        ["--set", "image_size=60"],
        ["--set", "image_size=90"],
        # Of several sizes.
        ["--split", "train", "--set", "training_sizes=(60, 50)"]
        + ["--set", "batch_size=4"],
    ):
        assert cli.main(list(map(str, [*large, *more]))) == 0
        assert json.loads(capsys.readouterr().out)["images"] == 6
    for split in ("train", "test"):
        write_yolo(tmp_path / "data" / split, ["0"], ["0 0.5 0.5 0.2 0.5\n"])
    error = error_of(
        capsys, *arguments, "--recipe", "house_numbers_edram_forward",
        "--source", tmp_path / "data",
    )  # fmt: skip
    assert "(None, None, 1)" in error and "(54, 54, 3)" in error
    error = error_of(capsys, *large, "--set", "image_size=none")
    assert "cannot take pictures as they are" in error
    error = error_of(capsys, *large, "--set", "image_size=0")
    assert "`image_size` must be a positive integer" in error


@pytest.mark.usefixtures("eager_training")
def test_a_folder_of_pictures_as_they_are_is_trained_on(
    tmp_path, capsys, monkeypatch
):
    generator = np.random.default_rng(0)
    data, out = tmp_path / "screws", tmp_path / "run"
    for split, number in (("train", 5), ("validation", 3), ("test", 3)):
        (data / split).mkdir(parents=True)
        rows = ["file,label,xmin,ymin,xmax,ymax"]
        for index in range(number):
            size = 30 + 9 * index, 60 - 7 * index
            picture = generator.integers(0, 99, (*size, 3), "uint8")
            Image.fromarray(picture).save(data / split / f"{index}.png")
            rows.append(f"{index}.png,bolt,3,5,15,20")
        (data / split / "annotations.csv").write_text("\n".join(rows))
    arguments = ["train", "house_numbers_edram_forward", "--out", out]
    arguments += ["--source", data]
    sizes = {"image_size": None, **tiny.SIZES}
    del sizes["image_shape"]
    settings = dict(
        sizes, epochs=1, steps_per_epoch=1, batch_size=3, validation_steps=1
    )
    for name, value in settings.items():
        arguments += ["--set", f"{name}={value}"]
    monkeypatch.setattr(commands, "_draw_run", lambda out, results: None)
    assert cli.main(list(map(str, arguments))) == 0
    capsys.readouterr()
    model = opening.open_model(out)
    assert model.takes_any_size
    assert json.loads((out / "run.json").read_text())["settings"][
        "image_size"
    ] is None  # fmt: skip
    # It is the same run, and it is tested on what it was trained on.
    assert cli.main(list(map(str, arguments))) == 0
    capsys.readouterr()
    assert cli.main(["evaluate", str(out), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["images"] == 3
    results = json.loads((out / "results.json").read_text())
    assert figures["error"] == results["error"]
    # Or on pictures that are stretched.
    arguments = ["evaluate", str(out), "--set", "image_size=48"]
    assert cli.main(arguments) == 0
    capsys.readouterr()
    error = error_of(
        capsys, "evaluate", "edram_small_house_numbers", "--source", data,
        "--set", "image_size=none",
    )  # fmt: skip
    assert "(54, 54, 3)" in error and "(None, None, 3)" in error
    (data / "test" / "0.png").write_bytes(b"no picture")
    error = error_of(capsys, "evaluate", out)
    assert "1 broken. test/0.png: " in error
