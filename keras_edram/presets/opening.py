"""Opens what a user means by a model: a preset, a file or a run's folder."""

import dataclasses
import pathlib

import keras

from keras_edram import files, presets, recipes, run_folder
from keras_edram.models import transfer
from keras_edram.presets import archive


def open_model(where):
    """The model that a user means.

    Args:
        where: String or path: the name of a preset, a `.keras` file, or a run
            folder with `model.keras` in it.

    Returns:
        Keras model, not compiled.

    Raises:
        ValueError: If it is none of these, or not a model of this package;
            says what it is.

    Example:

    >>> open_model("edram_small_cluttered_mnist").num_glimpses
    6
    """
    if str(where) in presets.names():
        return presets.load(str(where))
    path = pathlib.Path(where)
    if path.is_dir():
        path = path / "model.keras"
    if not path.is_file():
        raise ValueError(
            f"The model must be a preset, one of {presets.names()}, a .keras "
            "file, or a run folder with a finished model.keras. "
            f"Received: {str(where)!r}{_what_folder(pathlib.Path(where))}"
        )
    expected = f"{path} must be a .keras file of a model of this package"
    if what := archive.what_it_is(path):
        raise ValueError(f"{expected}. Received: {what}")
    try:
        return keras.saving.load_model(path, compile=False)
    # Whatever a configuration that does not fit makes Keras raise, which
    # ends with all of that configuration.
    except Exception as error:
        message = str(error).split("\n\n")[0]
        raise ValueError(
            f"{expected}, but cannot be read: {message}"
        ) from error


def with_weights(recipe, where):
    """A recipe whose model begins with what a trained one has learnt.

    Args:
        recipe: `keras_edram.training.Recipe`.
        where: The trained model, as of `open_model`.

    Returns:
        `Recipe`; `run.json` will name the weights, and `results.json` count
        the images and minutes that they took, of a preset or a run folder.

    Raises:
        ValueError: If there is no such model. If it is of another class or
            other sizes than the recipe's, its training says so.

    Example:

    >>> recipe = recipes.load("two_digits_edram_small")
    >>> recipe = with_weights(recipe, "edram_small_cluttered_mnist")
    """
    trained = open_model(where)

    def model(settings, data):
        model = recipe.model(settings, data)
        transfer.take_weights(model, trained)
        return model

    figures = _results_of(where)
    return dataclasses.replace(
        recipe,
        model=model,
        weights=str(where),
        taken={
            name: figures[name]
            for name in ("images_seen", "minutes", "source")
            if name in figures
        },
    )


def _results_of(where):
    """The figures of a preset or a run folder, `{}` of another model."""
    if str(where) in presets.names():
        return presets.results(str(where))
    results = pathlib.Path(where) / "results.json"
    return files.read_json(results) if results.is_file() else {}


def run_of(where):
    """How a model that a user means was trained.

    Args:
        where: As of `open_model`.

    Returns:
        The dictionary of `recipe`, `settings`, `source` and more that its
        training wrote, or `None` for a file that came alone.

    Raises:
        ValueError: If its `run.json` is broken, or none of this package.

    Example:

    >>> run_of("edram_small_cluttered_mnist")["recipe"]
    'cluttered_mnist_edram_small'
    """
    if str(where) in presets.names():
        return presets.results(str(where))
    return run_folder.read_run(where)


def recipe_of(where):
    """The recipe by which a model was trained, as far as its run says so.

    Args:
        where: As of `open_model`.

    Returns:
        `keras_edram.training.Recipe`, or `None` if nothing is known of it.

    Example:

    >>> recipe_of("edram_small_cluttered_mnist").summary
    'EDRAM, a quarter of the widths, on 100x100 cluttered MNIST'
    """
    try:
        name = (run_of(where) or {}).get("recipe")
    except ValueError:  # what says so is broken, which does not matter here
        return None
    return recipes.load(name) if name in recipes.names() else None


def learnt_light_on_dark(where):
    """Whether a model is known to have learnt from light digits alone.

    Args:
        where: As of `open_model`.

    Returns:
        Boolean.

    Example:

    >>> learnt_light_on_dark("edram_small_cluttered_mnist")
    True
    """
    recipe = recipe_of(where)
    # Those that ship are digits, or they come from the others of MNIST.
    return recipe is not None and "bundled" in recipe.sources


def _what_folder(folder):
    """What a folder without `model.keras` is, to end an error with."""
    if (folder / "run.json").is_file():
        return ", a run that is not finished"
    if any(folder.glob("saved_model.pb")) or any(
        folder.glob("*/saved_model.pb")
    ):
        return ", a SavedModel, an export that cannot be opened again"
    return ""
