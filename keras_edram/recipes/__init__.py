"""Experiments and what they gave: each module declares a table of a paper.

A module has a docstring that says paper, protocol, command, duration, and what
is expected and measured; and a `TABLE`, see `Table`, with its recipes. Modules
are found by themselves, and papers by their tables. What modules share stands
in those whose names begin with `_`.
"""

import importlib
import pkgutil
import statistics

from keras_edram.checks import check_choice
from keras_edram.recipes._tables import (
    Paper,
    Row,
    Run,
    Table,
    images_seen,
    in_markdown,
    milliseconds,
    minutes,
    multiply_adds,
    parameters,
    results,
)

__all__ = [
    "Paper",
    "Row",
    "Run",
    "Table",
    "costs",
    "curves",
    "images_seen",
    "load",
    "milliseconds",
    "minutes",
    "monitored",
    "multiply_adds",
    "names",
    "papers",
    "parameters",
    "results",
    "table",
]


def names():
    """Names of all recipes, sorted.

    Example:

    >>> "quickstart" in names()
    True
    """
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
    check_choice(name, sorted(recipes), "recipe")
    return recipes[name]


def papers():
    """The papers that there are recipes of: name -> `Paper`, sorted.

    Raises:
        ValueError: If two papers have the same name.

    Example:

    >>> list(papers())
    ['edram', 'ram']
    """
    found = {}
    for table in _declared():
        paper = table.paper
        if found.setdefault(paper.name, paper) is not paper:
            raise ValueError(
                "The names of papers must differ. Received: "
                f"{found[paper.name].reference!r} and {paper.reference!r}, "
                f"both of name={paper.name!r}"
            )
    return dict(sorted(found.items()))


def table(paper):
    """What a paper reports and what our finished runs gave, as Markdown.

    Args:
        paper: String, one of `papers()`.

    Returns:
        String; the README has the same lines.

    Raises:
        ValueError: For another paper.

    Example:

    >>> print(table("ram"))
    """
    _check_paper(paper)
    return "\n\n".join(
        in_markdown(papers()[paper], title, rows)
        for title, rows in sorted(_rows_by_title(paper).items())
    )


def curves(paper):
    """How the finished runs learnt: [images seen, error] by epoch.

    Args:
        paper: String, one of `papers()`.

    Returns:
        Dictionary of title of a table -> recipe -> list; the errors are those
        on validation images, or what else `monitored` says. Images that
        weights had seen with which a run began count too.

    Raises:
        ValueError: For another paper.

    Example:

    >>> found = curves("ram")["Table 1: MNIST, 28x28"]
    >>> found["mnist_ram"][-1]
    """
    _check_paper(paper)
    found = {}
    for title, rows in sorted(_rows_by_title(paper).items()):
        for name in rows:
            figures = results(name) or {}
            if "validation_curve" in figures:  # older results have none
                learnt = found.setdefault(title, {})
                learnt[name] = figures["validation_curve"]
    return found


def costs(paper):
    """What models of a paper's first table cost, and how often they err.

    Args:
        paper: String, one of `papers()`.

    Returns:
        How many training images each saw, and a dictionary of recipe -> list
        of (multiply-adds of an image, test error): one, or one after each
        glimpse. Models are compared at equal training: those of the number of
        images that most of them saw.

    Raises:
        ValueError: For another paper, or if none of its models was run.

    Example:

    >>> images_seen, models = costs("edram")
    """
    _check_paper(paper)
    tables = _rows_by_title(paper)
    # What is beyond the paper has no number.
    rows = tables[min(filter(_is_numbered, tables), default=min(tables))]
    figures = {name: results(name) or {} for name in rows}
    # Older results have no costs, and ensembles have seen no images.
    runs = {
        name: run
        for name, run in figures.items()
        if {"multiply_adds", "images_seen"} <= run.keys()
    }
    if not runs:
        raise ValueError(
            "A model of the first table must have been run. Received: "
            f"paper={paper!r}"
        )
    images_seen = statistics.mode(run["images_seen"] for run in runs.values())
    return images_seen, {
        name: _points(run)
        for name, run in runs.items()
        if run["images_seen"] == images_seen
    }


def _points(figures):
    """(multiply-adds, error) of as many glimpses as are told apart."""
    costs = figures.get("multiply_adds_by_glimpse")
    # Older results do not name their data, which have one target.
    num_targets = figures.get("data", {}).get("num_targets", 1)
    # Of a sequence, errors by glimpse are those of its targets.
    if costs is None or num_targets > 1:
        return [(figures["multiply_adds"], figures["error"])]
    return list(zip(costs, figures["error_by_average"], strict=True))


def monitored(paper):
    """Names of the metrics that the recipes of a paper monitor, sorted.

    Args:
        paper: String, one of `papers()`.

    Raises:
        ValueError: For another paper.

    Example:

    >>> monitored("ram")
    ['error']
    """
    return sorted(
        {recipe.monitor.metric for recipe in _recipes(paper).values()}
    )


def _rows_by_title(paper):
    """The tables of a paper: title -> name -> `Row`."""
    found = {}
    for table in _declared():
        if table.paper.name == paper:
            found.setdefault(table.title, {}).update(table.rows)
    return found


def _is_numbered(title):
    return title.startswith("Table ")


def _check_paper(paper):
    check_choice(paper, list(papers()), "paper")


def _declared():
    """What all modules declare, in the order of their names."""
    tables = [
        importlib.import_module(f"{__name__}.{module.name}").TABLE
        for module in pkgutil.iter_modules(__path__)
        if not module.name.startswith("_")
    ]
    declared = [name for table in tables for name in table.rows]
    if len(set(declared)) < len(declared):
        twice = sorted(n for n in set(declared) if declared.count(n) > 1)
        raise ValueError(
            "The names of all recipes and ensembles must differ. Received: "
            f"{twice} twice"
        )
    return tables


def _recipes(paper=None):
    """The recipes of a paper, or of all, by name."""
    if paper is not None:
        _check_paper(paper)
    return {
        name: row.recipe
        for table in _declared()
        if paper in (None, table.paper.name)
        for name, row in table.rows.items()
        if row.recipe is not None
    }
