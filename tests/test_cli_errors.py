"""Whatever goes wrong in the command is one line, and never a traceback."""

import io
import os
import pathlib
import subprocess
import sys
import types
import warnings

import pytest
import tensorflow as tf

from keras_edram import cli, serving
from keras_edram.cli import commands
from keras_edram.datasets import load_digits
from keras_edram.models import Baseline


@pytest.fixture
def command(monkeypatch):
    """Makes `keras-edram presets` do something else."""

    def do(action):
        def run(options):
            """Does it."""
            return action()

        monkeypatch.setattr(commands, "list_presets", run)

    return do


def failing(error):
    def fail():
        raise error

    return fail


@pytest.mark.parametrize(
    "error, words",
    [
        (ValueError("two\n  lines"), "two lines"),
        (RuntimeError("no package"), "no package"),
        (FileNotFoundError(2, "No such file", "a.png"), "a.png: No such file"),
        (OSError("no number"), "no number"),
        (ImportError("No module named 'x'"), "No module named 'x'"),
        (MemoryError(), "There is not enough memory"),
        (KeyError("name"), "KeyError: 'name' (--debug shows where)"),
        (TypeError("a bug"), "TypeError: a bug (--debug shows where)"),
        (ValueError(), "ValueError: (--debug shows where)"),
        (
            tf.errors.ResourceExhaustedError(
                None, None, "{{node a}} OOM\nat the GPU [Op:Add]"
            ),
            "ResourceExhaustedError: OOM at the GPU (--debug shows where)",
        ),
    ],
)
def test_an_error_is_one_line(error, words, command, capsys):
    command(failing(error))
    assert cli.main(["presets"]) == 2
    printed = capsys.readouterr()
    assert printed.err == f"keras-edram: error: {words}\n"
    assert printed.out == ""


@pytest.mark.parametrize(
    "arguments", [["--debug", "presets"], ["presets", "--debug"]]
)
def test_debug_shows_where(arguments, command, capsys):
    command(failing(ValueError("a bug")))
    assert cli.main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1] == "keras-edram: error: a bug"


def test_an_interruption_is_one_line(command, capsys):
    command(failing(KeyboardInterrupt()))
    assert cli.main(["presets"]) == 130
    assert capsys.readouterr().err == "keras-edram: interrupted\n"


def test_what_this_package_warns_of_is_a_note_and_others_are_not_heard(
    command, capsys
):
    def warn():
        # As from a module of ours that blames its caller, and from another.
        ours = {"__name__": "keras_edram.models.edram", "warnings": warnings}
        theirs = {"__name__": "numpy", "warnings": warnings}
        line = "warnings.warn('too\\ndark', UserWarning, stacklevel=2)"
        for names in (ours, ours, theirs):
            exec(line, dict(names))
        warnings.warn("a test's", RuntimeWarning, stacklevel=1)

    command(warn)
    assert cli.main(["presets"]) == 0
    assert capsys.readouterr().err == "keras-edram: note: too dark\n"


def test_what_a_terminal_has_no_letters_for_is_printed_all_the_same(
    command, monkeypatch
):
    printed = io.BytesIO()
    stream = io.TextIOWrapper(printed, encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", stream)
    command(lambda: print("größer 數字 \udcff"))
    assert cli.main(["presets"]) == 0
    assert printed.getvalue().decode("cp1252") == (
        "größer \\u6578\\u5b57 \\udcff\n"
    )


# Without TensorFlow, which would take its time.
SCRIPT = """
import sys
sys.argv[0] = "keras-edram"
from keras_edram import cli
from keras_edram.cli import commands
def run(options):
    "Prints."
    print("many lines\\n" * 100_000)
commands.list_presets = run
cli._load_tensorflow_quietly = lambda: None
sys.exit(cli.main(["presets"]))
"""


def test_a_reader_that_has_enough_is_no_error():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(
    not pathlib.Path("/dev/full").exists(), reason="needs /dev/full"
)
def test_a_full_disk_under_standard_output_is_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("keras-edram: error: ") and "No space left" in line


@pytest.mark.parametrize(
    "script, words",
    [
        ("raise OSError('disk full')", "It says: OSError: disk full"),
        ("import sys; sys.exit(3)", "ended with status 3"),
        ("import os; os.kill(os.getpid(), 9)", "ended by SIGKILL"),
    ],
)
def test_the_words_of_a_failed_comparison_are_not_lost(
    script, words, tmp_path, monkeypatch, capsys
):
    path = tmp_path / "model.keras"
    Baseline((8, 8, 1), units=2).save(path)
    run = subprocess.run
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda _, **options: run([sys.executable, "-c", script], **options),
    )
    monkeypatch.setattr(
        serving.signatures,
        "write_saved_model",
        lambda model, path, **_: path.mkdir(),
    )
    out = tmp_path / "served"
    arguments = ["export", str(path), "--format", "saved_model"]
    assert cli.main([*arguments, "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert [one.name for one in tmp_path.iterdir()] == ["model.keras"]


@pytest.mark.parametrize("is_there", [False, True])
def test_tfds_that_is_not_there_or_does_not_fit_says_what_to_install(
    is_there, monkeypatch
):
    # Beside an older protobuf it is imported, and has no `builder`.
    half = types.ModuleType("tensorflow_datasets") if is_there else None
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", half)
    words = (
        r"no attribute .builder..*pip install \"tensorflow-metadata<1.18\""
        if is_there
        else r'needs tensorflow_datasets: pip install "keras-edram\[tfds\]"'
    )
    with pytest.raises(RuntimeError, match=words):
        load_digits("tfds")
