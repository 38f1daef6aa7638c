"""Experiments: each module here is one, with `recipe` and what it gave."""

import importlib
import pkgutil


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
