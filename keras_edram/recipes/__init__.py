"""Experiments and what they gave: a module is one, or a table of a paper."""

import importlib
import pathlib
import pkgutil

from keras_edram import files

PAPERS = ("edram", "ram")
RESULTS_FOLDER = pathlib.Path(__file__).parent / "results"


def names():
    """Names of all recipes, sorted."""
    return sorted(_recipes())


def load(name):
    """A recipe by its name.

    Args:
        name: String, one of `names()`.

    Returns:
        `keras_edram.training.Recipe`.

    Raises:
        ValueError: For an unknown name.

    Example:

    >>> load("cluttered_mnist_edram_small").settings["batch_size"]
    64
    """
    recipes = _recipes()
    if name not in recipes:
        raise ValueError(
            f"The recipe must be one of {sorted(recipes)}. "
            f"Received: recipe={name!r}"
        )
    return recipes[name]


def _modules():
    """The modules of experiments, by name."""
    return {
        module.name: importlib.import_module(f"{__name__}.{module.name}")
        for module in pkgutil.iter_modules(__path__)
        if not module.name.startswith("_")
    }


def _recipes():
    """All recipes by name."""
    return _recipes_of("edram") | _recipes_of("ram")


def _recipes_of(paper):
    """A module has one, `recipe`, or several; the report's are its tables."""
    recipes = {}
    for name, module in _modules().items():
        if (paper == "ram") == hasattr(module, "rows"):
            recipes |= getattr(module, "recipes", None) or {name: module.recipe}
    return recipes


def results(name):
    """What a recipe gave: the `results.json` of its run, or `None`."""
    return _read(f"{name}.json")


def rollouts(name):
    """What its RAM gave with paths drawn and averaged, or `None`.

    The file that `keras-edram evaluate RUN --rollouts 10 --out FILE` wrote.
    """
    return _read(f"{name}.rollouts.json")


def _read(name):
    path = RESULTS_FOLDER / name
    return files.read_json(path) if path.exists() else None


def table(paper):
    """What a paper reports and what our finished runs gave, as Markdown.

    Args:
        paper: `"edram"` or `"ram"`.

    Returns:
        String; the README has the same lines.

    Raises:
        ValueError: For another paper.

    Example:

    >>> print(table("ram"))
    """
    _check_paper(paper)
    return _edram_table() if paper == "edram" else _ram_tables()


def curves(paper):
    """How the finished runs learnt: recipe -> [images seen, error] by epoch.

    Args:
        paper: `"edram"` or `"ram"`.

    Returns:
        Dictionary of lists; the errors are those on validation images.

    Raises:
        ValueError: For another paper.

    Example:

    >>> curves("ram")["translated_mnist_ram"][-1]
    """
    _check_paper(paper)
    found = {}
    for name in _recipes_of(paper):
        curve = (results(name) or {}).get("validation_curve")
        if curve:
            found[name] = curve
    return found


def _check_paper(paper):
    if paper not in PAPERS:
        raise ValueError(
            f"`paper` must be one of {PAPERS}. Received: paper={paper!r}"
        )


def _edram_table():
    """Section 4.1, one object; section 4.2, sequences."""
    columns = (
        "recipe",
        "published",
        "ours: test error",
        "overlap",
        "images seen",
        "minutes",
        "protocol, source",
    )
    of_one, of_sequences = [], []
    for name, recipe in _recipes_of("edram").items():
        figures, cells = results(name), [recipe.not_run]
        if figures is not None:
            protocol = figures["settings"].get("protocol", "own split")
            cells = [
                f"{figures['error']:.2%}",
                f"{figures['iou']:.3f}",
                f"{figures['images_seen']:,}",
                f"{figures['minutes']:.0f}",
                f"{protocol}, {figures['source']}",
            ]
        sequences = "reading_order" in recipe.settings
        (of_sequences if sequences else of_one).append(
            [f"`{name}`", recipe.published, *cells]
        )
    return "\n\n".join(
        f"**{title}**\n\n{_markdown(columns, rows)}"
        for title, rows in (
            ("Section 4.1: one digit", of_one),
            ("Section 4.2: sequences, all of it right", of_sequences),
        )
    )


def _ram_tables():
    columns = (
        "model",
        "the report: accuracy",
        "ours: accuracy",
        "10 paths",
        "spread",
        "parameters",
        "images seen",
        "minutes",
        "recipe",
    )
    tables = []
    modules = [m for m in _modules().values() if hasattr(m, "rows")]
    for module in sorted(modules, key=lambda module: module.title):
        rows = []
        for name, row in module.rows.items():
            figures, cells = results(name), ["not run", *[""] * 5]
            if figures is not None:
                drawn = rollouts(name)
                cells = [
                    f"{1 - figures['error']:.2%}",
                    "" if drawn is None else f"{1 - drawn['error']:.2%}",
                    f"{figures['spread']:.2f}",
                    f"{figures['parameters']:,}",
                    f"{figures['images_seen']:,}",
                    f"{figures['minutes']:.0f}",
                ]
            report = "-" if row.accuracy is None else f"{row.accuracy:.2f}%"
            rows.append([row.name, report, *cells, f"`{name}`"])
        tables.append(f"**{module.title}**\n\n{_markdown(columns, rows)}")
    return "\n\n".join(tables)


def _markdown(columns, rows):
    """A table; rows that are short are filled up."""
    lines = [columns, ["---"] * len(columns)]
    lines += [[*row, *[""] * (len(columns) - len(row))] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
