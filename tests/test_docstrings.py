"""Public docstrings: their examples run, and their sections are in order.

All files of the package are walked by what is written in them, so that no
module is left out because what it needs is not installed.

An example runs in a folder of its own. It knows what its module has, the public
names of `keras_edram` and `keras_edram.datasets`, the modules in `MODULES`, and
of `THINGS` and `FILES` what it names. Stood in for are

- presets, which are loaded once for all examples;
- the process in which exports are compared: it is this one;
- TensorFlow Datasets, which has few pictures, and needs no network;
- servers, which end as soon as they run;
- compiled graphs but those of exports: all else is done eagerly.
"""

import ast
import contextlib
import doctest
import functools
import importlib
import io
import pathlib
import re
import types

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "keras_edram"

MODULES = {
    "gzip": "gzip",
    "json": "json",
    "keras": "keras",
    "np": "numpy",
    "ops": "keras.ops",
    "pathlib": "pathlib",
    "presets": "keras_edram.presets",
    "recipes": "keras_edram.recipes",
    "tf": "tensorflow",
}


def cluttered_digits():
    from keras_edram.datasets import cluttered_mnist

    return cluttered_mnist("test").arrays(5)


@functools.cache
def tiny_model():
    """Of 100x100 images, as the digits are that it looks at."""
    import tiny

    from keras_edram import EDRAM

    return EDRAM(**{**tiny.SIZES, "image_shape": (100, 100, 1)})


def exported_model():
    """Nothing is exported as fast as a baseline."""
    from keras_edram.models import Baseline

    return Baseline((100, 100, 1))


def facts_of_server():
    from keras_edram.server import answers

    return answers.facts(tiny_model())


# By name, in a package alone where that stands first.
THINGS = {
    "facts": facts_of_server,
    "images": lambda: cluttered_digits()[0],
    "model": tiny_model,
    "targets": lambda: cluttered_digits()[1],
    "keras_edram.serving.model": exported_model,
}


def write_photos(path):
    """Twelve annotated pictures, of two objects each."""
    import numpy as np
    from PIL import Image

    path.mkdir()
    lines = ["file,label,xmin,ymin,xmax,ymax"]
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (60, 80, 3))
        Image.fromarray(pixels.astype("uint8")).save(path / f"{number}.png")
        lines += [f"{number}.png,7,9,9,30,40", f"{number}.png,0,40,9,60,40"]
    (path / "boxes.csv").write_text("\n".join(lines))


def write_picture(path):
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (100, 100), "uint8")
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_pictures(path):
    for name in ("1.png", "2.jpg"):
        write_picture(path / name)


def write_weights(path):
    tiny_model().save_weights(path.with_suffix(".weights.h5"))
    path.with_suffix(".weights.h5").rename(path)


ROW = {"epoch": 1, "loss": 2.0, "val_loss": 3.0}


def write_history(path):
    from keras_edram import run_folder

    path.parent.mkdir(parents=True)
    run_folder.write_history(path, [ROW])


def svhn_archive():
    """The bytes of a digitStruct.mat, and the picture that it tells of."""
    import numpy as np
    from PIL import Image
    from svhn_files import digit_struct

    picture = io.BytesIO()
    Image.fromarray(np.zeros((317, 741, 3), "uint8")).save(picture, "PNG")
    boxes = [(1, 246, 77, 81, 219), (9, 323, 81, 96, 219)]
    return digit_struct([("1.png", boxes)]), picture.getvalue()


def write_digit_struct(path):
    path.parent.mkdir()
    path.write_bytes(svhn_archive()[0])


def write_archives(path):
    from svhn_files import write_archive

    path.parent.mkdir(exist_ok=True)
    boxes, picture = svhn_archive()
    for split in ("train", "test"):
        files = [("digitStruct.mat", boxes), ("1.png", picture)]
        write_archive(path / f"{split}.tar.gz", files)


def write_svhn(path):
    from svhn_files import write_house_numbers

    write_house_numbers(path)


# By what writes them; exports are made once for all tests, by fixtures.
FILES = {
    "SVHN_FILES": write_svhn,
    "a.png": write_picture,
    "digit.png": write_picture,
    "downloads": write_archives,
    "edram.tflite": "tflite_file",
    "models/edram/1": "served",
    "my_photos": write_photos,
    "photos": write_pictures,
    "run/history.csv": write_history,
    "train/digitStruct.mat": write_digit_struct,
    "weights.h5": write_weights,
}

# Modules that are not installed with the package, of which tests/extras has
# those examples that are skipped without them.
EXTRAS = {"ai_edge_quantizer", "fastapi", "kserve", "onnx", "onnxruntime"}
EXTRAS |= {"orjson", "tf2onnx", "uvicorn"}

# In their order.
SECTIONS = (
    ("Args",),
    ("Attributes",),
    ("Call arguments",),
    ("Returns", "Yields"),
    ("Raises",),
    ("Warns",),
    ("Example",),
    ("Reference",),
)
ORDER = [name for names in SECTIONS for name in names]
HEADING = re.compile(rf"^({'|'.join(ORDER)}):$", re.M)
ARGUMENT = re.compile(r"^    (\*{0,2}\w[\w, *]*):", re.M)
RECORDS = ("NamedTuple", "Enum", "Error", "Exception", "Warning")


def module_name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


TREES = {
    module_name(path): ast.parse(path.read_text("utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
}
EXPORTED = {
    (package, name)
    for package, tree in TREES.items()
    for node in tree.body
    if isinstance(node, ast.Assign)
    and [ast.unparse(target) for target in node.targets] == ["__all__"]
    for name in ast.literal_eval(node.value)
}


def folder(module):
    path = PACKAGE.parent.joinpath(*module.split("."))
    return path if path.is_dir() else path.parent


def asked_for():
    """Whose folder asks for what: folder, module, name in it."""
    for asker, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                module, names = node.module, [part.name for part in node.names]
            elif isinstance(node, ast.Attribute):
                module, names = ast.unparse(node.value), [node.attr]
            else:
                continue
            for name in names:
                yield folder(asker), module.rpartition(".")[2], name


ASKED_FOR = set(asked_for())


def public(body):
    return [
        node
        for node in body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
    ]


def walk():
    """Module, dotted name, node and docstring of all that is public."""
    for module, tree in TREES.items():
        for node in public(tree.body):
            yield module, node.name, node, ast.get_docstring(node) or ""
            if isinstance(node, ast.ClassDef):
                for method in public(node.body):
                    name = f"{node.name}.{method.name}"
                    yield module, name, method, ast.get_docstring(method) or ""


WALKED = list(walk())
EXAMPLES = [
    pytest.param(module, lines, id=f"{module.partition('.')[2]}.{name}")
    for module, name, _, text in WALKED
    if (lines := doctest.DocTestParser().get_examples(text))
]


@pytest.fixture(scope="module", autouse=True)
def stand_ins(tmp_path_factory):
    """See the head of this file."""
    import numpy as np
    import tensorflow as tf

    from keras_edram import presets, serving
    from keras_edram.datasets import svhn_numbers

    load = presets.load

    @functools.cache
    def load_once(name, model_class=None, **changes):
        return load(name, model_class, **changes)

    class Pictures:
        def download_and_prepare(self):
            pass

        def as_dataset(self, split, batch_size):
            pictures = np.zeros((10, 32, 32, 3), "uint8")
            return {
                "image": tf.constant(pictures),
                "label": tf.range(10, dtype="int64"),
            }

    # Where TensorFlow Datasets looks for what was downloaded by hand.
    data = tmp_path_factory.mktemp("data")
    write_archives(data / "downloads" / "manual")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(presets, "load", load_once)
        patch.setattr(serving.comparison, "run_apart", serving.comparison.run)
        patch.setattr("tensorflow_datasets.builder", lambda name: Pictures())
        patch.setattr(
            svhn_numbers,
            "SvhnNumbers",
            functools.partial(svhn_numbers.SvhnNumbers, data_dir=data),
        )
        with contextlib.suppress(ImportError):
            patch.setattr("uvicorn.Server.run", lambda *_: None)
        yield


def names_for(module, source):
    """What an example of a module may name, as far as it does."""
    found = {n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Name)}
    made = {n.id for n in found if isinstance(n.ctx, ast.Store)}
    found = {n.id for n in found} - made
    names = {}
    for package in ("keras_edram.datasets", "keras_edram"):
        package = importlib.import_module(package)
        names |= {n: getattr(package, n) for n in found & {*package.__all__}}
    for name in found & {*MODULES}:
        names[name] = importlib.import_module(MODULES[name])
    package = module.__name__.rpartition(".")[0]
    for name in found & {*THINGS}:
        names[name] = THINGS.get(f"{package}.{name}", THINGS[name])()
    return names | {
        name: value
        for name, value in vars(module).items()
        if not isinstance(value, types.ModuleType) or name not in names
    }


def evaluate(source, names):
    """The value of a line, `None` if it is a statement."""
    try:
        code = compile(source.strip(), "<example>", "eval")
    except SyntaxError:
        exec(compile(source, "<example>", "exec"), names)
        return None
    return eval(code, names)


def plain(value):
    """Tensors and shapes as nested lists, to compare with what is printed."""
    import keras

    if hasattr(value, "as_list"):  # a shape of TensorFlow
        return value.as_list()
    if keras.ops.is_tensor(value):
        return keras.ops.convert_to_numpy(value).tolist()
    return value


def assert_gives(want, printed, value):
    """That a line gives what stands below it, numbers but for rounding."""
    import numpy as np

    got = printed if value is None else f"{printed}{value!r}\n"
    if doctest.OutputChecker().check_output(want, got, doctest.ELLIPSIS):
        return
    expected = ast.literal_eval(want.strip())
    assert np.shape(plain(value)) == np.shape(expected)
    if np.asarray(expected).dtype.kind in "US":
        np.testing.assert_array_equal(value, expected)
    else:
        np.testing.assert_allclose(plain(value), expected, rtol=1e-6)


@pytest.mark.filterwarnings("ignore::UserWarning")  # as a user would see them
@pytest.mark.parametrize("module, lines", EXAMPLES)
def test_the_example_gives_what_it_says(
    module, lines, tmp_path, monkeypatch, request
):
    monkeypatch.chdir(tmp_path)
    source = "".join(line.source for line in lines)
    for name, write in FILES.items():
        if re.search(rf'"{name}["/]', source):
            if isinstance(write, str):
                link_to(request.getfixturevalue(write), pathlib.Path(name))
            else:
                write(pathlib.Path(name))
    if module == "keras_edram.server.checking":  # by processes of its own
        pytest.importorskip("orjson")
    try:
        with eagerly(".serving." not in module):
            run(importlib.import_module(module), lines, source)
    except (ImportError, RuntimeError) as error:
        missing = getattr(error.__cause__ or error, "name", None)
        if missing not in EXTRAS:
            raise
        pytest.skip(f"needs {missing}")


@contextlib.contextmanager
def eagerly(yes=True):
    """Nothing is compiled, which takes longer than it saves."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(yes)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


def link_to(made, path):
    """Puts there what a fixture made; `served` gives its models, too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(made[0] / path.name if isinstance(made, tuple) else made)


def run(module, lines, source):
    names = names_for(module, source)
    for line in lines:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            if line.exc_msg:
                with pytest.raises(Exception) as raised:
                    evaluate(line.source, names)
                print(f"{raised.type.__name__}: {raised.value}")
                value = None
            else:
                value = evaluate(line.source, names)
        if line.exc_msg or line.want:
            want = line.exc_msg or line.want
            assert_gives(want, printed.getvalue(), value)


def is_record(node):
    """A class whose fields are all there is to tell, or an exception."""
    return isinstance(node, ast.ClassDef) and (
        any("dataclass" in ast.unparse(line) for line in node.decorator_list)
        or any(ast.unparse(base).endswith(RECORDS) for base in node.bases)
    )


def is_for_others(module, name, text):
    """Offered by a package, or described in sections and used elsewhere."""
    if any(
        (package, name) in EXPORTED for package in (module, *parents(module))
    ):
        return True
    last = module.rpartition(".")[2]
    used = any(
        (asker, last, name) in ASKED_FOR
        for asker in {asker for asker, _, _ in ASKED_FOR} - {folder(module)}
    )
    return used and bool(HEADING.search(text)) and "._" not in module


def parents(module):
    while "." in module:
        module = module.rpartition(".")[0]
        yield module


def test_what_is_for_others_has_an_example():
    # Of its own, or one of its methods has one. What a line tells all of, and
    # what its own folder alone uses, needs none.
    shown = {
        (module, name.partition(".")[0])
        for module, name, _, text in WALKED
        if ">>> " in text
    }
    silent = [
        f"{module}.{name}"
        for module, name, node, text in WALKED
        if "." not in name
        and not is_record(node)
        and is_for_others(module, name, text)
        and (module, name) not in shown
    ]
    assert not silent, "\n".join(silent)


def test_nothing_stands_ready_that_no_example_names():
    sources = "".join(
        line.source for param in EXAMPLES for line in param.values[1]
    )
    ready = [name.rpartition("keras_edram.serving.")[2] for name in THINGS]
    ready += [*MODULES, *FILES]
    assert not [n for n in ready if not re.search(rf"\b{n}\b", sources)]


def test_sections_are_in_order_and_complete():
    wrong = {
        f"{module}.{name}": faults
        for module, name, node, text in WALKED
        if (faults := [*faults_of(node, text)])
    }
    assert not wrong, "\n".join(f"{k}: {v}" for k, v in wrong.items())


def faults_of(node, text):
    """What is wrong with the sections of a docstring."""
    found = HEADING.findall(text)
    if found != sorted(set(found), key=ORDER.index):
        yield f"sections are {found}"
    if {*found} - {"Attributes", "Example", "Reference"}:
        args = HEADING.split(text.partition("Args:\n")[2])[0]
        told = set(re.findall(r"\w+", " ".join(ARGUMENT.findall(args))))
        if missing := [n for n in arguments_of(node) if n not in told]:
            yield f"arguments {missing} are not told"
    if isinstance(node, ast.FunctionDef):
        if "Yields" in found and not is_generator(node):
            yield "it yields nothing"
        is_abstract = isinstance(node.body[-1], ast.Raise)
        if "Returns" in found and not (returns(node) or is_abstract):
            yield "it returns nothing"


def arguments_of(node):
    """Names of the arguments of a function, or to make one of a class."""
    if isinstance(node, ast.ClassDef):
        if is_record(node):
            return []
        node = next(
            (n for n in node.body if getattr(n, "name", "") == "__init__"), None
        )
        if node is None:
            return []
    arguments = node.args
    names = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    names = [a.arg for a in names if a.arg not in ("self", "cls")]
    return [name for name in names if not name.startswith("_")]


def is_generator(node):
    return any(
        isinstance(n, (ast.Yield, ast.YieldFrom)) for n in ast.walk(node)
    )


def returns(node):
    return any(isinstance(n, ast.Return) and n.value for n in ast.walk(node))
