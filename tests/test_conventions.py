"""How the code says what it does: shapes in letters, and what it refuses."""

import ast
import re
from pathlib import Path

import pytest

import keras_edram

PACKAGE = Path(keras_edram.__file__).parent
FILES = [
    PACKAGE / "anytime.py",
    PACKAGE / "decoding.py",
    PACKAGE / "evaluation.py",
    PACKAGE / "geometry.py",
    PACKAGE / "losses.py",
    PACKAGE / "metrics.py",
    PACKAGE / "reading.py",
    PACKAGE / "reading_order.py",
    PACKAGE / "reinforce.py",
    *sorted((PACKAGE / "layers").glob("[!_]*.py")),
]
# Their shapes too; not all have so many that letters want a legend.
SHAPED = [
    *FILES,
    *sorted(
        path
        for room in ("models", "datasets", "serving")
        for path in (PACKAGE / room).rglob("[!_]*.py")
    ),
]
CHANGES = {"concatenate", "expand_dims", "repeat", "reshape", "split", "stack"}
CHANGES |= {"squeeze", "swapaxes", "tile", "transpose", "unstack"}
METHODS = {"repeat", "reshape", "squeeze", "swapaxes", "transpose"}
SHAPE = re.compile(r"#.*\([^()]*\)")


def changes(call):
    """Whether it changes a shape: a function of arrays, or their method."""
    module, _, function = ast.unparse(call.func).rpartition(".")
    of_arrays = module in ("keras.ops", "np", "ops", "tf")
    return function in (CHANGES if of_arrays else METHODS) and module


def statements(tree):
    """Statements without those inside of them, that change a shape."""
    for node in ast.walk(tree):
        if isinstance(
            node, (ast.Assign, ast.AugAssign, ast.Expr, ast.Return)
        ) and any(
            changes(part)
            for part in ast.walk(node)
            if isinstance(part, ast.Call)
        ):
            yield node


@pytest.mark.parametrize("path", SHAPED, ids=lambda path: path.stem)
def test_a_changed_shape_stands_at_the_end_of_its_line(path):
    text = path.read_text("utf-8")
    lines, tree = text.splitlines(), ast.parse(text)
    silent = [
        "\n".join(lines[node.lineno - 1 : node.end_lineno])
        for node in statements(tree)
        if not any(
            SHAPE.search(line)
            for line in lines[node.lineno - 1 : node.end_lineno]
        )
    ]
    assert not silent


def refuses(node):
    """Whether a function or class raises, or has its arguments checked."""
    return any(
        isinstance(part, ast.Raise)
        or (
            isinstance(part, ast.Call)
            and isinstance(part.func, ast.Name)
            and part.func.id.lstrip("_").startswith(("check_", "as_compared"))
        )
        for part in ast.walk(node)
    )


def documented(tree):
    """Public functions and classes, and methods with a docstring."""
    for node in tree.body:
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            continue
        for part in (node, *node.body):
            if (
                isinstance(part, (ast.FunctionDef, ast.ClassDef))
                and ast.get_docstring(part)
                and not node.name.startswith("_")
                and not part.name.startswith("_")
            ):
                yield part


@pytest.mark.parametrize(
    "path", [*SHAPED, PACKAGE / "checks.py"], ids=lambda path: path.stem
)
def test_what_is_refused_stands_in_the_docstring(path):
    silent = [
        node.name
        for node in documented(ast.parse(path.read_text("utf-8")))
        if refuses(node) and "raises" not in ast.get_docstring(node).lower()
    ]
    assert not silent


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_letters_of_shapes_are_explained_once_in_the_file(path):
    assert "Letters in shapes:" in ast.get_docstring(
        ast.parse(path.read_text("utf-8"))
    )
