"""The folder of a run: what it holds, and what a training may go on with.

A run folder holds:

    run.json        the recipe, its settings, and what the data were
    history.csv     losses and metrics of each epoch
    last.keras      the model and its optimiser after the last epoch
    best.keras      the model that was best on validation images so far
    tensorboard/    the same curves for TensorBoard
    model.keras     the best model, when the training is through
    results.json    its figures on test images, and how they came about

and pictures and exports of the commands. A folder that has a file of such a
name, but no `run.json`, is somebody else's, and refused.
"""

import csv
import json
import os
import pathlib

from keras_edram import files
from keras_edram.words import listed

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
_OTHER_DATA = (
    "{} holds a run on other data, with which it cannot go on: choose another "
    "folder, or put the data back as they were. Received:"
)


def read_history(path):
    """The rows of a `history.csv` as dictionaries of floats.

    Args:
        path: Path of the file; none gives no rows.

    Returns:
        List of dictionaries, in the order of the epochs. A last row that was
        cut short is left out.

    Example:

    >>> [row["loss"] for row in read_history("run/history.csv")]
    [2.0]
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


def write_history(path, rows):
    """Writes rows as of `read_history`; none give an empty file."""
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


def describe_data(data):
    """What the data of a run are, as far as another must have the same.

    Args:
        data: Dictionary of split -> `RandomSequence`.

    Returns:
        Dictionary, for `run.json`.
    """

    def of_each(name):
        values = {s: getattr(part, name) for s, part in data.items()}
        return {s: value for s, value in values.items() if value is not None}

    return {
        "class_names": list(data["train"].class_names),
        "num_targets": data["train"].num_targets,
        "num_pictures": of_each("num_pictures"),
        "fingerprint": of_each("fingerprint"),
    }


def read_run(folder):
    """What a training wrote of itself.

    Args:
        folder: Path of a run folder.

    Returns:
        The dictionary of `recipe`, `settings`, `source` and more in its
        `run.json`; `None` if there is no such file.

    Raises:
        ValueError: If that is broken, or none of this package.

    Example:

    >>> files.write_json("run/run.json", {"recipe": "toy", "settings": {}})
    >>> read_run("run")["recipe"]
    'toy'
    """
    path = pathlib.Path(folder) / "run.json"
    if not path.is_file():
        return None
    run = files.read_json(path)
    if not isinstance(run, dict) or not {"recipe", "settings"} <= set(run):
        raise ValueError(
            f"{path} must be what a training wrote, and is none of a run of "
            "this package. Received: a file without `recipe` and `settings`"
        )
    return run


def check_same_run(out, run, defaults):
    """Raises if a folder holds another run, or files that one would replace.

    Args:
        out: Path of the folder, which need not be there.
        run: Dictionary, what `run.json` would say of the run.
        defaults: Dictionary of the recipe's own settings, which a run has
            that was begun before there were such settings.

    Raises:
        ValueError: If the run in it is another, or there is none but files.
    """
    there = _run_to_go_on_with(out)
    if there is None:
        return
    before = _settings({**defaults, **there["settings"]})
    now = _settings(run["settings"])
    changed = sorted(
        key
        for key in {*there, *run} - {"settings", "data"}
        if there.get(key) != run.get(key)
    )
    changed += sorted(
        f"settings.{name}"
        for name in {*before, *now}
        if before.get(name) != now.get(name)
    )
    if changed:
        raise ValueError(
            f"{out} must be a new folder, or hold a run of the same recipe "
            "and settings to go on with; choose another folder. "
            f"Received: other values for {changed}"
        )


def check_same_data(out, data):
    """Raises if a folder holds a run on other data than these.

    Args:
        out: Path of the folder, which need not be there.
        data: What `describe_data` says of them.

    Raises:
        ValueError: If they differ; says in what.
    """
    there = (_run_to_go_on_with(out) or {}).get("data")
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


def check_same_names(out, model, data):
    """Raises if a model that goes on knows other classes than the data.

    Args:
        out: Path of the folder.
        model: `BaseModel`.
        data: `RandomSequence` of the training.

    Raises:
        ValueError: If their names are others.
    """
    if model.class_names is not None and data.class_names:
        _refuse_names(out, model.class_names, data.class_names)


def _run_to_go_on_with(out):
    """What `run.json` says, `None` if a folder has no file of a run."""
    run = read_run(out)
    names = ("run.json", *RUN_FILES)
    found = [name for name in names if os.path.lexists(out / name)]
    if found and run is None:
        raise ValueError(
            "The folder must be new, or hold a run to go on with: files that "
            "are none of a run of this package would be replaced. Received: "
            f"{str(out)!r} with {found}"
        )
    return run


def _settings(settings):
    """Settings as JSON has them: of tuples it makes lists."""
    return json.loads(json.dumps(settings))


def _refuse_names(out, before, now):
    if list(before) != list(now):
        raise ValueError(
            f"{_OTHER_DATA.format(out)} the classes {listed(now)}, before "
            f"{listed(before)}"
        )
