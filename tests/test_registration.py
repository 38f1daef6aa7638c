"""What importing the package loads, and that Keras then knows its classes."""

import json
import subprocess
import sys

import pytest
import tiny

import keras_edram
from keras_edram import EDRAM

# What is slow to import is left to those who use it.
THIS_FIRST = """
import json, sys
import keras_edram
early = {"keras", "tensorflow"} & sys.modules.keys()
sys.modules["tensorflow_datasets"] = None  # importing it is an error
import keras
model = keras.saving.load_model(sys.argv[1])
from keras_edram import EDRAM
import keras_edram.datasets
print(json.dumps([sorted(early), type(model) is EDRAM]))
"""
KERAS_FIRST = """
import json, sys
import keras
slow = {"matplotlib", "tensorflow_datasets", "ai_edge_litert"}
before = slow & sys.modules.keys()
import keras_edram
loaded = (slow & sys.modules.keys()) - before
model = keras.saving.load_model(sys.argv[1])
print(json.dumps([sorted(loaded), type(model) is keras_edram.EDRAM]))
"""


A_MODULE_FIRST = """
import json, sys
from keras_edram.losses import LabelLoss
import keras
model = keras.saving.load_model(sys.argv[1])
from keras_edram import EDRAM
print(json.dumps([[], type(model) is EDRAM]))
"""


@pytest.mark.parametrize(
    "name, source",
    # A script may be called like the command.
    [
        ("keras-edram.py", THIS_FIRST),
        ("script.py", KERAS_FIRST),
        ("script.py", A_MODULE_FIRST),
    ],
    ids=["this package first", "Keras first", "a module first"],
)
def test_keras_knows_the_models_whichever_is_imported_first(
    name, source, tmp_path
):
    script, file = tmp_path / name, tmp_path / "model.keras"
    script.write_text(source)
    EDRAM(**tiny.SIZES).save(file)
    done = subprocess.run(
        [sys.executable, script, file], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], True]


# As `python -m keras_edram.cli` does, and then tells what was loaded.
COMMAND = """
import runpy, sys
try:
    runpy.run_module("keras_edram.cli", run_name="__main__", alter_sys=True)
finally:
    print({"keras", "tensorflow"} & sys.modules.keys())
"""


@pytest.mark.parametrize(
    "argument, first",
    [
        ("--version", f"keras-edram {keras_edram.__version__}"),
        ("--help", "usage: keras-edram "),
    ],
)
def test_the_command_answers_before_tensorflow_is_loaded(argument, first):
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, argument],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(first)
    assert done.stdout.endswith("\nset()\n")


def test_the_names_of_the_package_are_there_when_asked_for():
    for name in keras_edram.__all__:
        assert getattr(keras_edram, name) is not None
    assert dir(keras_edram) == sorted(keras_edram.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Edram'"):
        keras_edram.Edram  # noqa: B018
