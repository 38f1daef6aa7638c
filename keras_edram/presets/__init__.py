"""Trained weights that ship with the package, one folder a preset.

A folder holds `config.json`, the configuration of the model, its weights in
`model.weights.h5`, `results.json`, its figures as `keras-edram train` wrote
them, and `README.md`, the model card. An ensemble has no weights of its own:
its `config.json` names the presets that are its members, and has its
temperature; its figures are from `keras-edram evaluate`. What was measured on a
GPU has the figures of a CPU besides, as `on_cpu`.
"""

import json
import pathlib

import keras

from keras_edram import files, models
from keras_edram.checks import check_choice
from keras_edram.models import transfer

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
    check_choice(name, names(model_class), "preset")
    saved = files.read_json(FOLDER / name / CONFIG_FILE)
    if "members" in saved:
        if changes:
            raise ValueError(
                "An ensemble is what its members are: change those, "
                f"{saved['members']}. Received: {name!r} with "
                f"{sorted(changes)}"
            )
        members = [load(member) for member in saved["members"]]
        return models.Ensemble(members, saved.get("temperature"))
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
