"""From a recipe, through `model.fit`, to a run folder; resumes.

A run that is killed goes on where its last epoch ended, and ends with the same
weights as one that was not: `last.keras` holds all that `fit` changes, the
data are a function of the epoch, and what a callback remembers is learnt again
from `history.csv`. So it does not go on with other data. What else is in the
folder says `keras_edram.run_folder`.
"""

import ast
import contextlib
import dataclasses
import functools
import math
import os
import pathlib
import platform
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras

from keras_edram import (
    callbacks,
    costs,
    evaluation,
    files,
    reading,
    run_folder,
)
from keras_edram.checks import check_choice, check_integer
from keras_edram.datasets.random_sequence import SPLITS

STRATEGIES = (None, "mirrored")
MODES = ("min", "max")


class Monitor(NamedTuple):
    """The metric on validation images by which the best model is chosen.

    `results.json` has its best value as `validation_METRIC`, and its course as
    `validation_curve`.

    Attributes:
        metric: String, its name; the metric must be compiled. Defaults to
            `"error"`.
        output: String, the output of the model that it judges. Defaults to
            `"labels"`.
        mode: `"min"` if the lowest is best, or `"max"`. Defaults to `"min"`.
    """

    metric: str = "error"
    output: str = "labels"
    mode: str = "min"

    @property
    def column(self):
        """Its name in the logs of `fit` and in `history.csv`."""
        return f"val_{self.output}_{self.metric}"

    def best(self, history):
        """The best row of a history, `None` if it has none with a number."""
        sign = -1 if self.mode == "max" else 1
        return min(
            (row for row in history if math.isfinite(row[self.column])),
            key=lambda row: sign * row[self.column],
            default=None,
        )


@dataclasses.dataclass(frozen=True)
class Recipe:
    """An experiment: what is trained, on what, and how.

    The functions get all settings as one dictionary, so that each setting can
    be changed from outside, by its name.

    Attributes:
        summary: One line: model, data, purpose.
        settings: All settings, as they are to be. `epochs`, `steps_per_epoch`,
            `batch_size`, `validation_steps`, `test_images` (0 for as many as
            there are pictures) and `seed` are used here, the others by the
            functions below.
        data: `(settings, split, source)` -> a
            `keras_edram.datasets.RandomSequence`, or what is asked alike.
        model: `(settings, data)` -> a `BaseModel` that reads such data.
        compile: `(model, settings, jit_compile)` -> None.
        callbacks: `settings` -> further callbacks; those with a state must
            learn it from `on_epoch_end` alone, see `callbacks.Replay`.
        sources: Where the data can come from, the default first; none if they
            are in a folder of the user's.
        weights: The trained model that `model` begins with, for `run.json`,
            see `keras_edram.presets.opening.with_weights`; by default none.
        taken: Dictionary of `images_seen` and `minutes` that those weights
            took, which count too, and of the `source` that they learnt from;
            by default none did.
        monitor: `Monitor`, what the best model is chosen by.
        defaults: The settings before any was changed; by default `settings`.
        any_size: Boolean, whether the setting `image_size` can be `None`, for
            pictures as they are.
    """

    summary: str
    settings: Mapping[str, Any]
    data: Callable
    model: Callable
    compile: Callable
    callbacks: Callable = lambda settings: []
    sources: tuple = ("bundled", "tfds")
    weights: str | None = None
    taken: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    monitor: Monitor = Monitor()
    defaults: Mapping[str, Any] | None = None
    any_size: bool = False

    def with_settings(self, changes):
        """The same recipe with some settings changed.

        Args:
            changes: Dictionary of setting -> value; a string is read as a
                Python value when the setting is not a string. `image_size`
                can be `None` or "none" in recipes that take `any_size`.

        Returns:
            `Recipe`.

        Raises:
            ValueError: For an unknown setting or a value of another type.
        """
        settings = dict(self.settings)
        defaults = self.defaults or self.settings
        for name, value in changes.items():
            if name not in settings:
                raise ValueError(
                    f"The settings of this recipe are {sorted(settings)}. "
                    f"Received: {name}={value!r}"
                )
            if name == "image_size" and str(value).lower() == "none":
                settings[name] = self._no_size(value)
            else:
                settings[name] = _like(defaults[name], value, name)
        return dataclasses.replace(self, settings=settings, defaults=defaults)

    def _no_size(self, value):
        if not self.any_size:
            raise ValueError(
                "The images of this recipe must have a size: it cannot take "
                "pictures as they are, as recipes of folders of pictures can. "
                f"Received: image_size={value!r}"
            )


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
        jit: Boolean, whether to compile the step with XLA, as it always is on
            JAX.
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
            data of a split cannot be read; the recipe has not that source; what
            it monitors is no metric that its model is compiled with; or the
            strategy cannot be had: it is unknown, Keras does not run on
            TensorFlow, `jit` is asked for too, or the batch cannot be divided
            among the devices.
        RuntimeError: If the training diverged.

    Example:

    >>> from keras_edram import recipes
    >>> recipe = recipes.load("mnist_dense").with_settings(
    ...     dict(epochs=1, steps_per_epoch=1, test_images=20)
    ... )
    >>> train(recipe, "runs/dense", verbose=0)["images_seen"]
    128
    """
    out = pathlib.Path(out)
    _check_recipe(recipe)
    run = {
        "recipe": name,
        "source": _source(recipe, source),
        "jit": jit,
        "mixed_precision": mixed_precision,
        "settings": dict(recipe.settings),
    }
    if recipe.weights is not None:
        run["weights"] = recipe.weights
    strategy = _strategy(strategy, recipe.settings["batch_size"], jit)
    run_folder.check_same_run(out, run, recipe.defaults or recipe.settings)
    # First of all: data that cannot be read shall leave nothing behind, and
    # those of tests not be found out after the training.
    data = {
        split: recipe.data(recipe.settings, split, run["source"])
        for split in SPLITS
    }
    run["data"] = run_folder.describe_data(data)
    run_folder.check_same_data(out, run["data"])
    if (out / "results.json").exists():
        return files.read_json(out / "results.json")
    with _precision(mixed_precision):
        _train_epochs(recipe, out, run, data, strategy, verbose)
    results = {
        **run,
        **_test(_best_model(recipe, out, data), recipe.settings, data["test"]),
        **_course(recipe, run_folder.read_history(out / "history.csv")),
        **_machine(strategy),
    }
    files.write_json(out / "results.json", results)
    return results


def _source(recipe, source):
    """Where the data come from, checked."""
    source = source or default_source(recipe)
    if not recipe.sources:
        return source
    check_choice(source, recipe.sources, "source")
    warn_of_source(recipe, source, recipe.taken.get("source"))
    return source


def warn_of_source(recipe, source, learnt_from):
    """Warns if a model may know the validation images of a source.

    The splits of one source are apart, and test images are so of all; but what
    one validates on another may train on.

    Args:
        recipe: `Recipe`.
        source: String, where the validation images come from.
        learnt_from: String, the source that the model has learnt from, or
            `None` if that is not known.

    Example:

    >>> from keras_edram import recipes
    >>> warn_of_source(recipes.load("quickstart"), "tfds", "tfds")
    """
    if learnt_from in recipe.sources and learnt_from != source:
        warnings.warn(
            f"The weights have learnt from {learnt_from!r}, whose training "
            f"images have some that {source!r} validates on: what is measured, "
            "chosen or fitted there is better than on images that they do not "
            f"know. Take the source {learnt_from!r}",
            UserWarning,
            stacklevel=3,
        )


@contextlib.contextmanager
def _precision(mixed):
    """Lets Keras compute in bfloat16, where that is asked for."""
    policy = keras.config.dtype_policy()
    if mixed:
        keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def _best_model(recipe, out, data):
    """The best model, calibrated, which is written as `model.keras` too."""
    # Without its optimiser the model is a third of the size.
    model = keras.models.load_model(out / "best.keras", compile=False)
    settings = recipe.settings
    images, targets = evaluation.arrays_for(
        model,
        data["validation"],
        settings["batch_size"] * settings["validation_steps"],
    )
    looks = reading.look(
        model, images, batch_size=evaluation.BATCH_SIZE, with_patches=False
    )
    evaluation.fit_temperature(model, looks, targets)
    with files.replacing(out / "model.keras") as partial:
        model.save(partial)
    return model


def _test(model, settings, data):
    """The figures of a model on test images."""
    number = settings["test_images"] or data.num_pictures
    figures = evaluation.evaluate(
        model, *evaluation.arrays_for(model, data, number)
    )
    return {
        **figures,
        "temperature": model.temperature,
        **costs.costs(model),
    }


def _course(recipe, history):
    """How the training went, for `results.json`."""
    settings, monitor = recipe.settings, recipe.monitor
    best = monitor.best(history)
    epoch_images = settings["steps_per_epoch"] * settings["batch_size"]
    taken = {"images_seen": 0, "minutes": 0, **recipe.taken}
    minutes = sum(row["seconds"] for row in history) / 60
    return {
        f"validation_{monitor.metric}": best[monitor.column],
        "best_epoch": int(best["epoch"]) + 1,
        "images_seen": taken["images_seen"] + len(history) * epoch_images,
        "validation_curve": [
            [
                taken["images_seen"] + (int(row["epoch"]) + 1) * epoch_images,
                row[monitor.column],
            ]
            for row in history
        ],
        "minutes": round(taken["minutes"] + minutes, 1),
    }


def _machine(strategy):
    """What a training ran on, for `results.json`."""
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "devices": strategy.num_replicas_in_sync if strategy else 1,
        "keras": keras.__version__,
        "backend": keras.config.backend(),
    }


def _train_epochs(recipe, out, run, data, strategy, verbose):
    """Trains the epochs that are left of a run."""
    settings = recipe.settings
    keras.utils.set_random_seed(settings["seed"])
    # A model remembers the scope that it was made in: `fit` needs none.
    with strategy.scope() if strategy else contextlib.nullcontext():
        model, first_epoch = _model(recipe, out, data["train"], run["jit"])
    # Not before: a model that cannot be made shall leave nothing behind.
    if not (out / "run.json").exists():
        files.write_json(out / "run.json", run)
    history = run_folder.read_history(out / "history.csv")[:first_epoch]
    run_folder.write_history(out / "history.csv", history)
    if first_epoch >= settings["epochs"]:
        return
    if verbose == "auto":
        verbose = 1 if os.isatty(1) else 2
    model.fit(
        data["train"].dataset(
            settings["batch_size"],
            (settings["epochs"] - first_epoch) * settings["steps_per_epoch"],
            first_batch=first_epoch * settings["steps_per_epoch"],
        ),
        epochs=settings["epochs"],
        initial_epoch=first_epoch,
        steps_per_epoch=settings["steps_per_epoch"],
        validation_data=_validation(data["validation"], settings),
        validation_batch_size=settings["batch_size"],
        callbacks=_callbacks(recipe, out, history),
        shuffle=False,  # the sequence is in random order already
        verbose=verbose,
    )
    history = run_folder.read_history(out / "history.csv")
    last, loss = out / "last.keras", history[-1]["loss"]
    if not math.isfinite(loss):
        before = f"The model before that is {last}. " if last.exists() else ""
        raise RuntimeError(
            f"The training diverged: its loss is {loss}. {before}Try a lower "
            "learning rate in another run folder."
        )
    if recipe.monitor.best(history) is None:
        raise RuntimeError(
            f"`{recipe.monitor.column}` is no number after any epoch, so that "
            f"no model is the best one. The last is {last}."
        )


def _validation(data, settings):
    """What is validated with after each epoch."""
    size, steps = settings["batch_size"], settings["validation_steps"]
    if None in data.image_shape:  # which make no array
        return data.dataset(size, steps)
    return data.arrays(steps * size)


def _model(recipe, out, data, jit):
    """The model to train, and the epochs that it has behind it."""
    last = out / "last.keras"
    if not last.exists():
        model = recipe.model(recipe.settings, data)
        # On JAX, what XLA does not compile runs one operation after the other.
        jit = jit or keras.config.backend() == "jax"
        recipe.compile(model, recipe.settings, jit)
        return model, 0
    model = keras.models.load_model(last)
    run_folder.check_same_names(out, model, data)
    steps = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
    return model, steps // recipe.settings["steps_per_epoch"]


def _callbacks(recipe, out, history):
    """The callbacks of `fit`, after the epochs of a history.

    Their order matters: `last.keras` says that an epoch is done, so whatever
    else an epoch writes is written before it.
    """
    monitor, of_recipe = recipe.monitor, recipe.callbacks(recipe.settings)
    best = monitor.best(history)
    return [
        callbacks.EpochSeconds(),
        keras.callbacks.TerminateOnNaN(),
        callbacks.CheckMonitor(monitor),
        callbacks.EpochSeeds(recipe.settings["seed"]),
        *of_recipe,
        callbacks.Replay(of_recipe, history),
        keras.callbacks.CSVLogger(out / "history.csv", append=bool(history)),
        callbacks.Checkpoint(
            out / "best.keras",
            monitor=monitor.column,
            mode=monitor.mode,
            save_best_only=True,
            initial_value_threshold=best and best[monitor.column],
        ),
        keras.callbacks.TensorBoard(out / "tensorboard"),
        callbacks.Checkpoint(out / "last.keras"),
    ]


def _strategy(name, batch_size, jit):
    """The `tf.distribute.Strategy` of a name, `None` for one device."""
    check_choice(name, STRATEGIES, "strategy")
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

    Example:

    >>> from keras_edram import recipes
    >>> default_source(recipes.load("quickstart"))
    'bundled'
    """
    if recipe.sources:
        return recipe.sources[0]
    if run is None:
        raise ValueError(
            "The source of this recipe's data must be given: a folder of "
            "annotated pictures. Received: source=None"
        )
    return run["source"]


def _check_recipe(recipe):
    """Raises if there is nothing to train, validate or test with."""
    check_choice(recipe.monitor.mode, MODES, "monitor.mode")
    settings = recipe.settings
    for name in ("epochs", "steps_per_epoch", "batch_size", "validation_steps"):
        check_integer(settings[name], name)
    check_integer(settings["test_images"], "test_images", minimum=0)
    rate = settings.get("learning_rate", 1.0)
    if not 0 <= rate < math.inf:
        raise ValueError(
            "`learning_rate` must not be negative. Received: "
            f"learning_rate={rate}"
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
