"""What a module of recipes declares: a table of a paper, and its rows."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from keras_edram import files, markdown
from keras_edram.training import Recipe

RESULTS_FOLDER = pathlib.Path(__file__).parent / "results"
MILLISECONDS = RESULTS_FOLDER / "milliseconds.json"


@dataclasses.dataclass(frozen=True)
class Paper:
    """A paper whose models are trained here.

    Attributes:
        name: String, by which `keras-edram table` knows it.
        reference: String: authors, title, year.
        columns: Dictionary of heading -> function of a `Run` that gives the
            cell: a string, or `None` where there is nothing to say. A table
            leaves out the columns in which nothing is said.
    """

    name: str
    reference: str
    columns: Mapping[str, Callable]


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table: a recipe, and what the paper has of it.

    Attributes:
        recipe: `keras_edram.training.Recipe`; `None` for what
            `keras-edram ensemble` joins of several.
        published: String, what the paper reports.
        model: String, the model in the words of the paper; its columns may
            use it.
        not_run: String, why there are no results, if there is a reason.
    """

    recipe: Recipe | None
    published: str = "-"
    model: str = ""
    not_run: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """What a module of recipes declares as `TABLE`.

    Attributes:
        paper: `Paper`.
        title: String; the rows of modules of the same paper and title are in
            one table.
        rows: Dictionary of the name of a recipe or an ensemble -> `Row`.

    Example:

    >>> paper = Paper("mine", "A. Author, A Title, 2026", {"error": minutes})
    >>> Table(paper, "Table 1", {"both": Row(None, "1.2 %")}).title
    'Table 1'
    """

    paper: Paper
    title: str
    rows: Mapping[str, Row]


class Run(NamedTuple):
    """A row whose recipe was trained, or its ensemble evaluated.

    Attributes:
        name: String, of the recipe or the ensemble.
        row: `Row`.
        figures: Dictionary, see `results`.
    """

    name: str
    row: Row
    figures: dict[str, Any]

    def of_variant(self, variant):
        """The figures of a variant, see `results`, or `None`."""
        return results(self.name, variant)


def results(name, variant=None):
    """What a recipe or an ensemble gave on test images, or `None`.

    Args:
        name: String, the name of the recipe, or of an ensemble of several.
        variant: How else the same model was evaluated: `"rollouts"` or
            `"crops"`, ten of them averaged; `"no_boxes"`, whole pictures; or
            what else was trained by the recipe: `"grey"`, another seed.

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


def images_seen(run):
    """A column: how many images the training took; an ensemble has none.

    Example:

    >>> images_seen(Run("mine", Row(None), {"images_seen": 96000}))
    '96,000'
    """
    seen = run.figures.get("images_seen")
    return None if seen is None else f"{seen:,}"


def minutes(run):
    """A column: how long the training took; an ensemble has none.

    Example:

    >>> minutes(Run("mine", Row(None), {"minutes": 3.9}))
    '4'
    """
    taken = run.figures.get("minutes")
    return None if taken is None else f"{taken:.0f}"


def parameters(run):
    """A column: how many the model has, not all of them trained.

    Example:

    >>> parameters(Run("mine", Row(None), {"parameters": 62686}))
    '62,686'
    """
    number = run.figures.get("parameters")
    return None if number is None else f"{number:,}"


def multiply_adds(run):
    """A column: of one image, in millions; older results have none.

    Example:

    >>> multiply_adds(Run("mine", Row(None), {"multiply_adds": 23_260_000}))
    '23.3'
    """
    number = run.figures.get("multiply_adds")
    return None if number is None else f"{number / 1e6:,.1f}"


def milliseconds(run):
    """A column: of one image, timed with all others in one run.

    Example:

    >>> milliseconds(Run("cluttered_mnist_edram_small", Row(None), {}))
    '7.8'
    """
    taken = files.read_json(MILLISECONDS)["milliseconds"].get(run.name)
    return None if taken is None else f"{taken['median']:.1f}"


def in_markdown(paper, title, rows):
    """A table of what was run, and a list of what was not.

    Args:
        paper: `Paper`.
        title: String.
        rows: Dictionary of name -> `Row`.

    Returns:
        String.
    """
    figures = {name: results(name) for name in rows}
    runs = [
        Run(name, row, figures[name])
        for name, row in rows.items()
        if figures[name] is not None
    ]
    columns = {
        heading: [cell(run) for run in runs]
        for heading, cell in paper.columns.items()
    }
    columns = {
        heading: [cell or "" for cell in cells]
        for heading, cells in columns.items()
        if any(cells)
    }
    parts = [f"**{title}**"]
    if runs:
        parts.append(
            markdown.table(list(columns), zip(*columns.values(), strict=True))
        )
    if len(runs) < len(rows):
        lines = [
            _not_run(name, row)
            for name, row in rows.items()
            if figures[name] is None
        ]
        parts += ["Not run:", "\n".join(lines)]
    return "\n\n".join(parts)


def _not_run(name, row):
    published = "" if row.published == "-" else f"published: {row.published}"
    said = "; ".join(filter(None, (row.model, published, row.not_run)))
    return f"- `{name}`{said and ': '}{said}"
