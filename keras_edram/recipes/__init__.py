"""Experiments and what they gave: a module is one, or a table of a paper."""

import importlib
import pathlib
import pkgutil

from keras_edram import files

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
    """All recipes by name: a module has one, `recipe`, or a table of them."""
    recipes = {}
    for name, module in _modules().items():
        if hasattr(module, "recipes"):
            recipes |= module.recipes
        else:
            recipes[name] = module.recipe
    return recipes


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
        cells = [f"`{name}`", load(name).published]
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
