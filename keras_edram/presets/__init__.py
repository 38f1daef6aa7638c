"""Trained weights that ship with the package, one folder a preset.

A folder holds `config.json`, the configuration of the model, its weights in
`model.weights.h5`, `results.json`, its figures as `keras-edram train` wrote
them, and `README.md`, the model card. An ensemble has no weights of its own:
its `config.json` names the presets that are its members, and its figures are
from `keras-edram evaluate`.
"""

import dataclasses
import json
import pathlib

import keras

from keras_edram import files, models
from keras_edram.models import transfer
from keras_edram.presets import archive

FOLDER = pathlib.Path(__file__).parent
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.weights.h5"
RESULTS_FILE = "results.json"


def names(model_class=None):
    """Names of the presets, of one class of models or of all, sorted."""
    return sorted(
        path.parent.name
        for path in FOLDER.glob(f"*/{CONFIG_FILE}")
        if model_class is None
        or files.read_json(path)["class_name"] == model_class.__name__
    )


def results(name):
    """The figures of a preset, as the command that measured it wrote them."""
    return files.read_json(FOLDER / name / RESULTS_FILE)


def load(name, model_class=None, **changes):
    """The model of a preset, with its weights.

    Args:
        name: String, one of `names(model_class)`.
        model_class: Class of the model; by default any.
        **changes: Arguments of the model that are to be others, see
            `keras_edram.models.transfer.adapt`.

    Returns:
        Keras model, not compiled.

    Raises:
        ValueError: For a name that is not a preset of that class, changes of
            an ensemble, or such that the model refuses.

    Example:

    >>> load("edram_small_cluttered_mnist").count_params()
    691076
    """
    known = names(model_class)
    if name not in known:
        raise ValueError(
            f"The preset must be one of {known}. Received: preset={name!r}"
        )
    saved = files.read_json(FOLDER / name / CONFIG_FILE)
    if "members" in saved:
        if changes:
            raise ValueError(
                "An ensemble is what its members are: change those, "
                f"{saved['members']}. Received: {name!r} with "
                f"{sorted(changes)}"
            )
        return models.Ensemble([load(member) for member in saved["members"]])
    model = keras.saving.deserialize_keras_object(saved)
    model.load_weights(FOLDER / name / WEIGHTS_FILE)
    return transfer.adapt(model, changes) if changes else model


def save(model, folder, *, overwrite=False):
    """Writes the configuration and the weights of a preset.

    Args:
        model: Keras model.
        folder: Path of the preset's folder, made if need be.
        overwrite: Boolean, whether to replace those that are there. Defaults
            to `False`.

    Raises:
        ValueError: If there are such files that may not be replaced.
    """
    folder = pathlib.Path(folder)
    saved = keras.saving.serialize_keras_object(model)
    for key in ("build_config", "compile_config"):
        saved.pop(key, None)
    # Both are whole before either gets its name.
    with (
        files.replacing(folder / CONFIG_FILE, overwrite=overwrite) as config,
        files.replacing(folder / WEIGHTS_FILE, overwrite=overwrite) as weights,
    ):
        config.write_text(json.dumps(saved, indent=2) + "\n", encoding="utf-8")
        model.save_weights(weights)


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
    if str(where) in names():
        return load(str(where))
    path = pathlib.Path(where)
    if path.is_dir():
        path = path / "model.keras"
    if not path.is_file():
        raise ValueError(
            f"The model must be a preset, one of {names()}, a .keras file, or "
            "a run folder with a finished model.keras. "
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
        `Recipe`; `run.json` will name the weights.

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

    return dataclasses.replace(recipe, model=model, weights=str(where))


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
    if str(where) in names():
        return results(str(where))
    path = pathlib.Path(where) / "run.json"
    if not path.is_file():
        return None
    run = files.read_json(path)
    if not isinstance(run, dict) or not {"recipe", "settings"} <= set(run):
        raise ValueError(
            f"{path} must be what a training of this package wrote. Received: "
            "a file without `recipe` and `settings`"
        )
    return run


def _what_folder(folder):
    """What a folder without `model.keras` is, to end an error with."""
    if (folder / "run.json").is_file():
        return ", a run that is not finished"
    if any(folder.glob("saved_model.pb")) or any(
        folder.glob("*/saved_model.pb")
    ):
        return ", a SavedModel, an export that cannot be opened again"
    return ""
