"""What changes a shape says the new one, in letters that its file explains."""

import ast
import re
from pathlib import Path

import pytest

import keras_edram

PACKAGE = Path(keras_edram.__file__).parent
FILES = [
    PACKAGE / "decoding.py",
    PACKAGE / "geometry.py",
    PACKAGE / "losses.py",
    PACKAGE / "metrics.py",
    PACKAGE / "reinforce.py",
    *sorted((PACKAGE / "layers").glob("[!_]*.py")),
]
CHANGES = {"concatenate", "expand_dims", "repeat", "reshape", "split", "stack"}
CHANGES |= {"squeeze", "swapaxes", "tile", "transpose", "unstack"}
SHAPE = re.compile(r"#.*\([^()]*\)")


def statements(tree):
    """Statements without those inside of them, that change a shape."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.Expr, ast.Return)):
            called = {
                call.func.attr
                for call in ast.walk(node)
                if isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
            }
            if called & CHANGES:
                yield node


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
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


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_letters_of_shapes_are_explained_once_in_the_file(path):
    assert "Letters in shapes:" in ast.get_docstring(
        ast.parse(path.read_text("utf-8"))
    )
