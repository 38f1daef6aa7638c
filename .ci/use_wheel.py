"""Uses the installed package as somebody does who has no checkout of it.

Its argument is the folder of the checkout, which must not be used.
"""

import importlib.metadata
import pathlib
import subprocess
import sys

import keras_edram
from keras_edram import presets, recipes
from keras_edram.datasets import load_digits

PRESET = "edram_small_house_numbers_ensemble"
# Drawn for its card: the number 274.
PICTURE = presets.FOLDER / "edram_small_house_numbers" / "example.png"


def command(*arguments):
    """What `keras-edram` prints."""
    program = pathlib.Path(sys.executable).with_name("keras-edram")
    return subprocess.run(
        [program, *arguments], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def checks(checkout):
    """What must hold, and whether it does."""
    package = pathlib.Path(keras_edram.__file__).parent
    version = importlib.metadata.version("keras-edram")
    yield "it is not the checkout's", not package.is_relative_to(checkout)
    yield "one version", keras_edram.__version__ == version
    yield "the command says it", version in command("--version").split()
    listed = [line.split(":")[0] for line in command("presets").splitlines()]
    yield "presets", sorted(listed) == presets.names()
    plot = pathlib.Path("answer.png")
    answer = command("predict", PRESET, PICTURE, "--plot", plot)
    yield f"a picture is read: {answer.strip()}", " 274 " in answer
    yield "and drawn", plot.stat().st_size > 10_000
    yield "digits", load_digits("bundled", "test").images.shape[0] == 1000
    yield "figures", recipes.results("quickstart")["error"] < 0.1
    yield "the server's page", len(list(package.rglob("index.html"))) == 1


if __name__ == "__main__":
    for name, holds in checks(sys.argv[1]):
        print("ok" if holds else "FAILED", name, sep=": ")
        if not holds:
            sys.exit(1)
