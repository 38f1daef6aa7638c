"""Experiments: each module here is one, with `recipe` and what it gave."""

import importlib
import pathlib
import pkgutil

from keras_edram import files

RESULTS_FOLDER = pathlib.Path(__file__).parent / "results"


def names():
    """Names of all recipes, sorted."""
    return sorted(
        module.name
        for module in pkgutil.iter_modules(__path__)
        if not module.name.startswith("_")
    )


def load(name):
    """The module of a recipe.

    Args:
        name: String, one of `names()`.

    Returns:
        Module with a docstring and `recipe`, a `keras_edram.training.Recipe`.

    Raises:
        ValueError: For an unknown name.

    Example:

    >>> load("cluttered_mnist_edram_small").recipe.settings["batch_size"]
    64
    """
    if name not in names():
        raise ValueError(
            f"The recipe must be one of {names()}. Received: recipe={name!r}"
        )
    return importlib.import_module(f"{__name__}.{name}")


def results(name):
    """What a recipe gave: the `results.json` of its run, or `None`."""
    path = RESULTS_FOLDER / f"{name}.json"
    return files.read_json(path) if path.exists() else None


def table():
    """All recipes and what they gave, as a Markdown table.

    Returns:
        String; the README has the same lines.

    Example:

    >>> print(table())
    """
    lines = [
        "| recipe | published | ours: test error | overlap | images seen | "
        "minutes | protocol, digits |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in names():
        figures = results(name)
        cells = [f"`{name}`", load(name).recipe.published]
        if figures is None:
            cells += ["not run"] + [""] * 4
        else:
            cells += [
                f"{figures['error']:.2%}",
                f"{figures['iou']:.3f}",
                f"{figures['images_seen']:,}",
                f"{figures['minutes']:.0f}",
                f"{figures['settings']['protocol']}, {figures['source']}",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
