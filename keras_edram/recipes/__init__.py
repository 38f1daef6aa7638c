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
    """The recipes of a paper by name; the report's modules are its tables."""
    return {
        name: recipe
        for module_name, module in _modules().items()
        if (paper == "ram") == hasattr(module, "rows")
        for name, recipe in _recipes_in(module_name, module).items()
    }


def _recipes_in(name, module):
    """A module has one, `recipe`, or several."""
    return getattr(module, "recipes", None) or {name: module.recipe}


def results(name, variant=None):
    """What a recipe or an ensemble gave on test images, or `None`.

    Args:
        name: String, the name of the recipe, or of an ensemble of several.
        variant: How else the same model was evaluated: `"rollouts"` or
            `"crops"`, ten of them averaged; `"no_boxes"`, whole pictures.

    Returns:
        Dictionary, the `results.json` of the recipe's run; of a variant or an
        ensemble what `keras-edram evaluate --out FILE` wrote; `None` if there
        is no such file.

    Example:

    >>> results("mnist_ram", "rollouts")["rollouts"]
    10
    """
    name = name if variant is None else f"{name}.{variant}"
    path = RESULTS_FOLDER / f"{name}.json"
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
        "10 crops",
        "no boxes",
        "overlap",
        "images seen",
        "minutes",
        "protocol, source",
    )
    of_one, of_sequences = [], []
    for module_name, module in _modules().items():
        if hasattr(module, "rows"):
            continue
        for name, recipe in _recipes_in(module_name, module).items():
            row = _edram_row(name, recipe.published, recipe.not_run)
            if "reading_order" in recipe.settings:
                of_sequences.append(row)
            else:
                of_one.append(row[:3] + row[5:])
        of_sequences += [
            _edram_row(name, published, recipe.not_run)
            for name, published in getattr(module, "ensembles", {}).items()
        ]
    return "\n\n".join(
        f"**{title}**\n\n{_markdown(columns, rows)}"
        for title, columns, rows in (
            ("Section 4.1: one digit", columns[:3] + columns[5:], of_one),
            ("Section 4.2: sequences, all of it right", columns, of_sequences),
        )
    )


def _edram_row(name, published, not_run):
    figures, cells = results(name), [not_run]
    if figures is not None:
        protocol = figures["settings"].get("protocol", "own split")
        source = pathlib.PurePath(figures["source"]).name
        others = [results(name, variant) for variant in ("crops", "no_boxes")]
        cells = [
            f"{figures['error']:.2%}",
            *(other and f"{other['error']:.2%}" for other in others),
            f"{figures['iou']:.3f}",
            *_cost(figures),
            f"{protocol}, {source}",
        ]
    cells += [None] * (7 - len(cells))
    return [f"`{name}`", published, *(cell or "" for cell in cells)]


def _cost(figures):
    """Images seen and minutes; an ensemble has none of its own."""
    if "minutes" not in figures:
        return None, None
    return f"{figures['images_seen']:,}", f"{figures['minutes']:.0f}"


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
                drawn = results(name, "rollouts")
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
