"""From a recipe, through `model.fit`, to a run folder; resumes.

A run folder holds:

    run.json        the recipe, its settings, and what the data were
    history.csv     losses and metrics of each epoch
    last.keras      the model and its optimiser after the last epoch
    best.keras      the model with the lowest validation error so far
    tensorboard/    the same curves for TensorBoard
    model.keras     the best model, when the training is through
    results.json    its figures on test images, and how they came about

and pictures and exports of the commands. A folder that has a file of such a
name, but no `run.json`, is somebody else's, and refused.

A run that is killed goes on where its last epoch ended, and ends with the same
weights as one that was not: `last.keras` holds all that `fit` changes, the
data are a function of the epoch, and what a callback remembers is learnt again
from `history.csv`. So it does not go on with other data.
"""

import ast
import contextlib
import csv
import dataclasses
import functools
import math
import os
import pathlib
import platform
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_edram import evaluation, files
from keras_edram.checks import check_integer
from keras_edram.datasets.annotated.formats.entries import listed
from keras_edram.datasets.random_sequence import SPLITS

_OTHER_DATA = (
    "{} holds a run on other data, with which it cannot go on: choose another "
    "folder, or put the data back as they were. Received:"
)
MONITOR = "val_labels_error"
STRATEGIES = (None, "mirrored")
# What a run folder may hold beside `run.json`, that of the commands included.
RUN_FILES = (
    "history.csv",
    "last.keras",
    "best.keras",
    "tensorboard",
    "model.keras",
    "results.json",
    "history.png",
    "glimpses.png",
    "glimpses.gif",
    "paths.png",
    "heat_map.png",
    "saved_model",
    "model.tflite",
)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """An experiment: what is trained, on what, and how.

    The functions get all settings as one dictionary, so that each setting can
    be changed from outside, by its name.

    Attributes:
        summary: One line: model, data, purpose.
        published: What the paper reports, in words.
        settings: Defaults of all settings. `epochs`, `steps_per_epoch`,
            `batch_size`, `validation_steps`, `test_images` (0 for as many as
            there are pictures) and `seed` are used here, the others by the
            functions below.
        data: `(settings, split, source)` -> data with `arrays(stop)` and
            `dataset(batch_size, num_batches, first_batch)`.
        model: `(settings, data)` -> a Keras model that reads such data.
        compile: `(model, settings, jit_compile)` -> None.
        callbacks: `settings` -> further callbacks; those with a state must
            learn it from `on_epoch_end` alone, see `_Replay`.
        sources: Where the data can come from, the default first; none if they
            are in a folder of the user's.
        not_run: What tables say while there are no results.
        weights: The trained model that `model` begins with, for `run.json`,
            see `keras_edram.presets.opening.with_weights`; by default none.
    """

    summary: str
    published: str
    settings: Mapping[str, Any]
    data: Callable
    model: Callable
    compile: Callable
    callbacks: Callable = lambda settings: []
    sources: tuple = ("bundled", "tfds")
    not_run: str = "not run"
    weights: str | None = None

    def with_settings(self, changes):
        """The same recipe with some settings changed.

        Args:
            changes: Dictionary of setting -> value; a string is read as a
                Python value when the setting is not a string.

        Returns:
            `Recipe`.

        Raises:
            ValueError: For an unknown setting or a value of another type.
        """
        settings = dict(self.settings)
        for name, value in changes.items():
            if name not in settings:
                raise ValueError(
                    f"The settings of this recipe are {sorted(settings)}. "
                    f"Received: {name}={value!r}"
                )
            settings[name] = _like(settings[name], value, name)
        return dataclasses.replace(self, settings=settings)


def _alone(train):
    """Lets a function train only where no other process does."""

    @functools.wraps(train)
    def alone(recipe, out, **options):
        with files.alone_in(out):
            return train(recipe, out, **options)

    return alone


@_alone
def train(
    recipe,
    out,
    *,
    name=None,
    source=None,
    jit=False,
    mixed_precision=False,
    strategy=None,
    verbose="auto",
):
    """Trains a recipe into a run folder, or goes on with the run that is there.

    On several devices each takes an equal part of every batch, and their
    gradients are averaged, so that the losses are those of one device. They
    are not quite where a part is treated by itself: batch normalisation takes
    the statistics of each part, and learns their mean (in EDRAM's context
    network, those of the first device); gradients are clipped on each device;
    and RAM draws the same random numbers on all.

    A run may go on with more or fewer devices than it began with. `run.json`
    does not name them, for they are no setting of the experiment;
    `results.json` says on how many it ended.

    Args:
        recipe: `Recipe`, its settings as they are to be.
        out: Path of the run folder.
        name: String, the name of the recipe for `run.json`.
        source: `"bundled"`, the digits that ship, or `"tfds"`, whole data
            sets. Defaults to the first that the recipe has.
        jit: Boolean, whether to compile the step with XLA.
        mixed_precision: Boolean, whether to compute in bfloat16.
        strategy: `"mirrored"` to train on all GPUs of the machine, or, where
            there are none, on all CPU devices that TensorFlow was told to
            make; `None` for one device. Needs Keras on TensorFlow.
        verbose: As in `keras.Model.fit`; `"auto"` shows a progress bar on a
            terminal and a line an epoch elsewhere.

    Returns:
        The dictionary that is also written to `results.json`.

    Raises:
        ValueError: If the folder holds a run with other settings or on other
            data, one that another process trains just now, or files that are
            no run's; there is nothing to train, validate or test with; the
            data of a split cannot be read; the recipe has not that source; or
            the strategy cannot be had: it is unknown, Keras does not run on
            TensorFlow, `jit` is asked for too, or the batch cannot be divided
            among the devices.
        RuntimeError: If the training diverged.
    """
    out = pathlib.Path(out)
    settings = recipe.settings
    _check_settings(settings)
    source = source or default_source(recipe)
    if recipe.sources and source not in recipe.sources:
        raise ValueError(
            f"The source of this recipe's data must be one of {recipe.sources}."
            f" Received: source={source!r}"
        )
    strategy = _strategy(strategy, settings["batch_size"], jit)
    run = {
        "recipe": name,
        "source": source,
        "jit": jit,
        "mixed_precision": mixed_precision,
        "settings": dict(settings),
    }
    if recipe.weights is not None:
        run["weights"] = recipe.weights
    _check_folder(out)
    _check_same(out, run)
    # First of all: data that cannot be read shall leave nothing behind, and
    # those of tests not be found out after the training.
    data = {split: recipe.data(settings, split, source) for split in SPLITS}
    run["data"] = _described(data)
    _check_same_data(out, run["data"])
    if (out / "results.json").exists():
        return files.read_json(out / "results.json")
    policy = keras.config.dtype_policy()
    if mixed_precision:
        keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        _fit(recipe, out, run, data, strategy, verbose)
    finally:
        keras.config.set_dtype_policy(policy)

    # Without its optimiser the model is a third of the size.
    model = keras.models.load_model(out / "best.keras", compile=False)
    with files.replacing(out / "model.keras") as partial:
        model.save(partial)
    history = read_history(out / "history.csv")
    best = min(history, key=lambda row: row[MONITOR])
    epoch_images = settings["steps_per_epoch"] * settings["batch_size"]
    number = settings["test_images"] or data["test"].num_pictures
    results = {
        **run,
        **evaluation.evaluate(
            model, *evaluation.arrays_for(model, data["test"], number)
        ),
        "validation_error": best[MONITOR],
        "best_epoch": int(best["epoch"]) + 1,
        "images_seen": len(history) * epoch_images,
        "validation_curve": [
            [(int(row["epoch"]) + 1) * epoch_images, row[MONITOR]]
            for row in history
        ],
        "minutes": round(sum(row["seconds"] for row in history) / 60, 1),
        "parameters": model.count_params(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "devices": strategy.num_replicas_in_sync if strategy else 1,
        "keras": keras.__version__,
        "backend": keras.config.backend(),
    }
    files.write_json(out / "results.json", results)
    return results


def _fit(recipe, out, run, data, strategy, verbose):
    settings = recipe.settings
    keras.utils.set_random_seed(settings["seed"])
    last = out / "last.keras"
    first_epoch = 0
    # A model remembers the scope that it was made in: `fit` needs none.
    with strategy.scope() if strategy else contextlib.nullcontext():
        if last.exists():
            model = keras.models.load_model(last)
            _check_same_names(out, model, data["train"])
            done = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
            first_epoch = done // settings["steps_per_epoch"]
        else:
            model = recipe.model(settings, data["train"])
            recipe.compile(model, settings, run["jit"])
    # Not before: a model that cannot be made shall leave nothing behind.
    if not (out / "run.json").exists():
        files.write_json(out / "run.json", run)
    history = read_history(out / "history.csv")[:first_epoch]
    _write_history(out / "history.csv", history)
    if first_epoch >= settings["epochs"]:
        return

    train_data = data["train"].dataset(
        settings["batch_size"],
        (settings["epochs"] - first_epoch) * settings["steps_per_epoch"],
        first_batch=first_epoch * settings["steps_per_epoch"],
    )
    validation = data["validation"].arrays(
        settings["validation_steps"] * settings["batch_size"]
    )
    if verbose == "auto":
        verbose = 1 if os.isatty(1) else 2
    # The order matters: `last.keras` says that an epoch is done, so whatever
    # else an epoch writes is written before it.
    of_recipe = recipe.callbacks(settings)
    callbacks = [
        _EpochSeconds(),
        keras.callbacks.TerminateOnNaN(),
        *of_recipe,
        _Replay(of_recipe, history),
        keras.callbacks.CSVLogger(out / "history.csv", append=bool(history)),
        _Checkpoint(
            out / "best.keras",
            monitor=MONITOR,
            mode="min",
            save_best_only=True,
            initial_value_threshold=min(
                (row[MONITOR] for row in history), default=None
            ),
        ),
        keras.callbacks.TensorBoard(out / "tensorboard"),
        _Checkpoint(last),
    ]
    model.fit(
        train_data,
        epochs=settings["epochs"],
        initial_epoch=first_epoch,
        steps_per_epoch=settings["steps_per_epoch"],
        validation_data=validation,
        validation_batch_size=settings["batch_size"],
        callbacks=callbacks,
        shuffle=False,  # the sequence is in random order already
        verbose=verbose,
    )
    loss = read_history(out / "history.csv")[-1]["loss"]
    if not math.isfinite(loss):
        raise RuntimeError(
            f"The training diverged: its loss is {loss}. The model before that "
            f"is {last}. Try a lower learning rate in another run folder."
        )


def _strategy(name, batch_size, jit):
    """The `tf.distribute.Strategy` of a name, `None` for one device."""
    if name not in STRATEGIES:
        raise ValueError(
            f"`strategy` must be one of {STRATEGIES}. "
            f"Received: strategy={name!r}"
        )
    if name is None:
        return None
    if keras.config.backend() != "tensorflow":
        raise ValueError(
            "`strategy` needs Keras on TensorFlow. Received: "
            f"strategy={name!r} with Keras on {keras.config.backend()}"
        )
    if jit:
        raise ValueError(
            "`strategy` and `jit` exclude each other: XLA cannot compile a "
            f"step of several devices. Received: strategy={name!r}, jit={jit}"
        )
    import tensorflow as tf

    devices = tf.config.list_logical_devices(
        "GPU"
    ) or tf.config.list_logical_devices("CPU")
    if batch_size % len(devices):
        raise ValueError(
            f"The batch must be a multiple of the {len(devices)} devices that "
            f"share it. Received: batch_size={batch_size}"
        )
    return _mirrored(tuple(device.name for device in devices))


@functools.cache
def _mirrored(devices):
    """One strategy for all trainings of a process.

    TensorFlow tells sums over devices apart by numbers, which each strategy
    counts from the same one: those of a second would be taken for the first's.
    """
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(devices)


def default_source(recipe, run=None):
    """Where the data of a recipe come from if nobody says so.

    Args:
        recipe: `Recipe`.
        run: The dictionary of `run.json`, of a model that is known.

    Returns:
        String.

    Raises:
        ValueError: If the data are in a folder that is not known.
    """
    if recipe.sources:
        return recipe.sources[0]
    if run is None:
        raise ValueError(
            "The source of this recipe's data must be given: a folder of "
            "annotated pictures. Received: source=None"
        )
    return run["source"]


def _check_settings(settings):
    """Raises if there is nothing to train, validate or test with."""
    for name in ("epochs", "steps_per_epoch", "batch_size", "validation_steps"):
        check_integer(settings[name], name)
    check_integer(settings["test_images"], "test_images", minimum=0)
    rate = settings.get("learning_rate", 1.0)
    if not 0 <= rate < math.inf:
        raise ValueError(
            "`learning_rate` must not be negative. Received: "
            f"learning_rate={rate}"
        )


class _Replay(keras.callbacks.Callback):
    """Tells callbacks what happened before a run was killed.

    Keras' callbacks forget all when `fit` begins. After that this one, which
    must stand behind them, shows them the epochs that are past, from the
    learning rate that the first of them had; they leave it as it was.
    """

    def __init__(self, callbacks, history):
        super().__init__()
        self.callbacks = callbacks
        self.history = history

    def on_train_begin(self, logs=None):
        for epoch, row in enumerate(self.history):
            if epoch == 0 and "learning_rate" in row:
                self.model.optimizer.learning_rate = row["learning_rate"]
            for callback in self.callbacks:
                callback.on_epoch_end(epoch, dict(row))


class _Checkpoint(keras.callbacks.ModelCheckpoint):
    """Keras' checkpoint, written in a folder of its own and then renamed."""

    def __init__(self, path, **kwargs):
        super().__init__(path, **kwargs)
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        if not math.isfinite(logs["loss"]):
            return
        with files.work_folder(self.path.parent) as work:
            partial = work / self.path.name
            # Keras puts the epoch's figures where braces are.
            self.filepath = str(partial).replace("{", "{{").replace("}", "}}")
            super().on_epoch_end(epoch, logs)
            if partial.exists():
                os.replace(partial, self.path)


class _EpochSeconds(keras.callbacks.Callback):
    """Adds the seconds that an epoch took to its logs."""

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        logs["seconds"] = round(time.monotonic() - self._start, 2)


def read_history(path):
    """The rows of a `history.csv` as dictionaries of floats.

    Args:
        path: Path of the file; none gives no rows.

    Returns:
        List of dictionaries, in the order of the epochs. A last row that was
        cut short is left out.
    """
    path = pathlib.Path(path)
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        {name: float(value) for name, value in row.items()}
        for row in rows
        if all(row.values()) and None not in row
    ]


def _write_history(path, rows):
    with (
        files.replacing(path) as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        if rows:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(
                {**row, "epoch": int(row["epoch"])} for row in rows
            )


def _check_folder(out):
    """Raises if the folder holds files that a run would replace."""
    if (out / "run.json").exists():
        there = files.read_json(out / "run.json")
        if isinstance(there, dict) and {"recipe", "settings"} <= set(there):
            return
        found = ["run.json"]
    else:
        found = [name for name in RUN_FILES if os.path.lexists(out / name)]
    if found:
        raise ValueError(
            "The folder must be new, or hold a run to go on with: files that "
            "are none of a run of this package would be replaced. Received: "
            f"{str(out)!r} with {found}"
        )


def _check_same(out, run):
    """Raises if the folder holds another run than this."""
    path = out / "run.json"
    if not path.exists():
        return
    there = files.read_json(path)
    changed = sorted(
        key
        for key in {*there, *run} - {"settings", "data"}
        if there.get(key) != run.get(key)
    )
    # A setting that there was not yet has the value that it stands for.
    settings = there.get("settings", {})
    if any(run["settings"].get(name) != settings[name] for name in settings):
        changed.append("settings")
    if changed:
        raise ValueError(
            f"{out} must be a new folder, or hold a run of the same recipe "
            "and settings to go on with; choose another folder. "
            f"Received: other values for {changed}"
        )


def _described(data):
    """What the data of a run are, as far as another must have the same."""

    def of_each(name):
        values = {s: getattr(part, name, None) for s, part in data.items()}
        return {s: value for s, value in values.items() if value is not None}

    return {
        "class_names": list(getattr(data["train"], "class_names", ())),
        "num_targets": getattr(data["train"], "num_targets", None),
        "num_pictures": of_each("num_pictures"),
        "fingerprint": of_each("fingerprint"),
    }


def _check_same_data(out, data):
    """Raises if the folder holds a run on other data than these."""
    path = out / "run.json"
    there = files.read_json(path).get("data") if path.exists() else None
    if there is None or there == data:  # older runs do not say
        return
    _refuse_names(out, there["class_names"], data["class_names"])
    changed = [
        f"{name}={data[name]}, before {there[name]}"
        for name in ("num_targets", "num_pictures")
        if there[name] != data[name]
    ]
    changed = changed or ["other annotations, or other files of pictures"]
    raise ValueError(f"{_OTHER_DATA.format(out)} {'; '.join(changed)}")


def _check_same_names(out, model, data):
    """Raises if a model that goes on knows other classes than the data."""
    names = getattr(model, "class_names", None)
    if names is not None and getattr(data, "class_names", ()):
        _refuse_names(out, names, data.class_names)


def _refuse_names(out, before, now):
    if list(before) != list(now):
        raise ValueError(
            f"{_OTHER_DATA.format(out)} the classes {listed(now)}, before "
            f"{listed(before)}"
        )


def _like(default, value, name):
    """`value` as the type of `default`."""
    if isinstance(value, str) and not isinstance(default, str):
        # What is not a Python value is refused below.
        with contextlib.suppress(ValueError, SyntaxError):
            value = ast.literal_eval(value)
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if isinstance(value, list):
        value = tuple(value)
    if type(value) is not type(default):
        raise ValueError(
            f"`{name}` must be of type {type(default).__name__}, as its "
            f"default {default!r}. Received: {name}={value!r}"
        )
    return value
