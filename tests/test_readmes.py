"""The Python and the commands on every page of documentation.

Python blocks run, those of a page in one namespace, in a folder of their own.
Stood in for are

- `fit`, which takes one step with two images; its arguments are those of Keras;
- compiled graphs: all is done eagerly;
- presets and SavedModels, which are loaded once for all pages;
- exports, which lie in `EXPORTS`, and whose images are smaller;
- servers: TensorFlow Serving by `stand_in`, our own by what it calls.

Commands are parsed, by the command's own parser. What they name is there:
presets, recipes and their settings, files of the repository.
"""

import base64
import contextlib
import functools
import importlib.util
import inspect
import io
import json
import pathlib
import re
import shlex
import sys
import textwrap

import pytest
from test_docstrings import eagerly, link_to

ROOT = pathlib.Path(__file__).parents[1]
# A user's environment in the checkout has pages that are none of ours.
ENVIRONMENTS = {file.parent for file in ROOT.glob("*/pyvenv.cfg")}
PAGES = [
    path
    for path in sorted(ROOT.rglob("*.md"))
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
    and not ENVIRONMENTS & set(path.parents)
    and path.name != "CHANGELOG.md"  # what was new, not what to type
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
# The fixtures that have made them.
EXPORTS = {
    "NAME/1": "served",
    "model.onnx": "onnx_file",
    "model.tflite": "tflite_file",
    "models/edram/1": "served",
}
# What blocks need that is not installed with the package: tests/extras.
EXTRAS = ("apache_beam", "onnxruntime")
TF_SERVING = "http://localhost:8501/v1/models/edram"
# What a page writes for any, and one of them.
GENERIC = {"FORMAT": "saved_model"}
PICTURES = ("digit_0.png", "photo.png", "photos/1.png")


def blocks(page):
    """The Python of a page, block by block."""
    found = BLOCK.findall(page.read_text("utf-8"))
    return [code for language, code in found if language == "python"]


def page_name(page):
    return page.relative_to(ROOT).as_posix()


pages_with_python = pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page)], ids=page_name
)


@pytest.fixture(scope="module", autouse=True)
def loaded_once():
    import tensorflow as tf

    from keras_edram import presets

    load = functools.cache(tf.saved_model.load)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(presets, "load", functools.cache(presets.load))
        patch.setattr(tf.saved_model, "load", lambda path: load(real(path)))
        yield


def real(path):
    return str(pathlib.Path(path).resolve())


@pytest.fixture(autouse=True)
def one_step(monkeypatch):
    import keras

    fit = keras.Model.fit

    def fit_two_images(self, x=None, y=None, **options):
        inspect.signature(fit).bind(self, x, y, **options)
        if y is None:
            x, y = next(iter(x))
        x, y = keras.tree.map_structure(lambda array: array[:2], (x, y))
        return fit(self, x, y, verbose=0)

    monkeypatch.setattr(keras.Model, "fit", fit_two_images)


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    from keras_edram import serving
    from keras_edram.models import Baseline

    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    # Compared in this process, which takes no time to start.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving.comparison, "run_apart", serving.comparison.run)
        return serving.export_onnx(Baseline((40, 50, 1)), path)


def own_server(model):
    """What `urllib.request.urlopen` gives of a server of `model`."""
    from keras_edram.datasets import read_picture

    def urlopen(url, data):
        files = [
            base64.b64decode(instance["b64"])
            for instance in json.loads(data)["instances"]
        ]
        images = [read_picture(file, model.image_shape) for file in files]
        rows = {"predictions": [model.read(image[None])[0] for image in images]}
        return contextlib.closing(io.BytesIO(json.dumps(rows).encode()))

    return urlopen


@pytest.mark.filterwarnings("ignore:New, and to be trained:UserWarning")
@pages_with_python
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch, request):
    import numpy as np
    import stand_in
    import tiny

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(page.parent)
    code = "".join(blocks(page))
    for name in PICTURES:
        pathlib.Path(name).parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(0).integers(0, 256, (40, 50, 1), "uint8")
        pathlib.Path(name).write_bytes(tiny.png(noise))
    names = {}
    with contextlib.ExitStack() as stack:
        stack.callback(forget, set(sys.modules), page.parent)
        if TF_SERVING in code:
            folder, _ = request.getfixturevalue("served")
            server = stand_in.StandIn(folder, {})
            url = stack.enter_context(stand_in.serve_rest(server))
        elif "urllib" in code:
            monkeypatch.setattr(
                "urllib.request.urlopen", own_server(tiny.ram())
            )
        for block in blocks(page):
            if any(
                extra in block and not importlib.util.find_spec(extra)
                for extra in EXTRAS
            ):
                continue
            for name, fixture in EXPORTS.items():
                path = pathlib.Path(name)
                if f'"{name}"' in block and not path.exists():
                    link_to(request.getfixturevalue(fixture), path)
            block = block.replace("(1, 100, 100, 1)", "(1, 40, 50, 1)")
            if TF_SERVING in block:
                block = block.replace(TF_SERVING, url)
            with eagerly():
                exec(compile(block, page_name(page), "exec"), names)


def forget(modules, folder):
    """Modules of a folder, which are named as those of another."""
    for name in set(sys.modules) - modules:
        file = getattr(sys.modules[name], "__file__", None)
        if file and pathlib.Path(file).parent == folder:
            del sys.modules[name]


def commands(page):
    """What a page tells to type, and what it mentions, as lists of words."""
    text = BLOCK.sub("", page.read_text("utf-8")).replace("\\\n", " ")
    typed = re.findall(r"^(?:    .*\n)+", text, re.M)
    for line in [*typed, *re.findall(r"`([^`]+)`", text)]:
        open_line = ""
        for part in re.split("&&|\n", textwrap.dedent(line)):
            open_line += part
            try:
                words = shlex.split(open_line)
            except ValueError:  # a string that goes on, or JSON
                open_line += "\n"
                continue
            open_line = ""
            if words[:1] in (["keras-edram"], ["python"]) and len(words) > 2:
                yield words


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_the_commands_of_a_page_can_be_given(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for program, *words in commands(page):
        for word in words:
            if word.startswith(("keras_edram/", "tests/", "export/")):
                assert (ROOT / word).exists()
        if program == "python":
            check_program(page, words)
        else:
            check_options(page, words)


def test_commands_are_found_on_pages():
    found = [words for page in PAGES for words in commands(page)]
    assert ["python", "-c"] in [words[:2] for words in found]
    assert {words[1] for words in found} >= {"train", "predict", "export"}


def check_program(page, words):
    """A file or a module with the options, or code that runs."""
    if words[0] == "-c":
        exec(compile(words[1], page_name(page), "exec"), {})
        return
    if words[0] == "-m":
        if words[1] == "build":  # of the package index
            return
        source = pathlib.Path(importlib.util.find_spec(words[1]).origin)
    else:
        source = page.parent / words[0]
        if not source.exists():
            source = ROOT / words[0]
    # A program and what lies beside it.
    text = "".join(
        file.read_text("utf-8") for file in source.parent.glob("*.py")
    )
    options = [word for word in words if word.startswith("--")]
    if "Runner" in " ".join(words):  # Beam's own options follow
        options = options[: options.index("--bad") + 1]
    assert not [option for option in options if f'"{option}"' not in text]


def check_options(page, words):
    from keras_edram import presets, recipes
    from keras_edram.cli import arguments, commands

    words = [GENERIC.get(word, word) for word in words]
    options = arguments.parser().parse_args(words)
    recipe = getattr(options, "recipe", None)
    if recipe is not None:
        recipes.load(recipe).with_settings(commands._settings(options))
    text = page.read_text("utf-8")
    for name in ("model", "weights"):
        model = getattr(options, name, None)
        # A preset, or a name of the reader's own.
        assert model is None or (
            str(model) in presets.names()
            or str(model).isupper()
            or str(model).endswith(".keras")
            or f"--out {model}" in text
        )
