"""What CONTRIBUTING.md says of the house is so: arrows, files, walks."""

import ast
import pathlib
import re

import pytest

from keras_edram.datasets.annotated import formats
from keras_edram.serving import registry

ROOT = pathlib.Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(
        ".__init__"
    ): path
    for path in sorted((ROOT / "keras_edram").rglob("*.py"))
}
# Asked when a preset is, see the page.
EXCEPTIONS = {("keras_edram.models.base", "keras_edram.presets")}


def imports(module):
    """The modules of the package that one imports, at once or later."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else node.module)
    return {
        name
        for name in found
        if name in MODULES
        and name != "keras_edram"  # its version
        and (module, name) not in EXCEPTIONS
    }


def rooms():
    """The places of the page's line: room -> number."""
    (line,) = re.findall(r"\n\n((?:    .*→.*\n|    .*\n)+)\n\|", PAGE)
    places = [re.findall(r"\w+", place) for place in line.split("→")]
    return {name: i for i, place in enumerate(places) for name in place}


def room(module):
    return module.split(".")[1]


def test_every_module_has_a_room_and_every_room_is_there():
    inner = {room(module) for module in MODULES if "." in module}
    assert inner - {"_version"} == set(rooms())


@pytest.mark.parametrize("module", [name for name in MODULES if "." in name])
def test_a_module_imports_only_what_stands_before_it(module):
    places = rooms()
    for name in imports(module):
        if room(name) != room(module):
            assert places[room(name)] < places[room(module)], name


def test_nothing_imports_in_a_circle():
    arrows = {module: imports(module) for module in MODULES}
    left = set(arrows)
    while left:
        free = {module for module in left if not arrows[module] & left}
        assert free, f"a circle among {sorted(left)}"
        left -= free


def test_what_modules_share_is_imported_by_the_package_not_the_package():
    shared = [name for name in MODULES if re.search(r"\._[a-z]", name)]
    assert "keras_edram.recipes._tables" in shared
    for name in shared:
        assert name.rpartition(".")[0] not in imports(name), name


def test_the_files_that_it_names_are_there():
    named = re.findall(
        r"`((?:keras_edram|export|tests|\.ci)/[\w./]*|README\.md|CHANGELOG\.md)`",
        PAGE,
    )
    assert len(set(named)) > 30
    for name in named:
        assert (ROOT / name).exists(), name


def test_a_walk_is_short():
    walks = PAGE.partition("## Four walks")[2].split("\n### ")[1:]
    assert len(walks) == 4
    for walk in walks:
        assert 3 <= len(re.findall(r"\n\d\. `", walk)) <= 6


@pytest.mark.parametrize(
    ("table", "package", "constant"),
    [
        (formats.FORMATS, "keras_edram.datasets.annotated.formats", "FORMAT"),
        (registry.FORMATS, "keras_edram.serving", None),
    ],
)
def test_a_format_is_a_module(table, package, constant):
    homes = {
        name
        for name, path in MODULES.items()
        if name.rpartition(".")[0] == package
        and re.search(
            rf"^{constant or '[A-Z_]+'} = (formats\.)?Format\(",
            path.read_text("utf-8"),
            re.MULTILINE,
        )
    }
    assert len(homes) == len(table)
