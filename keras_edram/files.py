"""Writing files so that nothing half-written is ever under its final name."""

import contextlib
import json
import os
import pathlib
import shutil


def partial_path(path):
    """Where a file or folder is written before it gets its name `path`."""
    path = pathlib.Path(path)
    return path.with_name(f".partial-{path.name}")


@contextlib.contextmanager
def replacing(path):
    """Gives a path to write a file or folder to, then renames it to `path`.

    When the writing fails, what was at `path` before is still there.

    Args:
        path: The final path; its folder is made if need be.

    Yields:
        `pathlib.Path` in the same folder, with the same suffix.

    Example:

    >>> with replacing("runs/first/notes.txt") as partial:
    ...     partial.write_text("done")
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    _remove(partial)  # left by a run that was killed
    try:
        yield partial
        if path.is_dir():
            # A folder that is not empty cannot be replaced in one step.
            old = path.with_name(f".old-{path.name}")
            _remove(old)
            os.replace(path, old)
            os.replace(partial, path)
            _remove(old)
        else:
            os.replace(partial, path)
    finally:
        _remove(partial)


def write_json(path, value):
    """Writes `value` as indented JSON, see `replacing`."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path):
    """Reads JSON; names the file in the error when it is broken."""
    path = pathlib.Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} must be a JSON file, but it is broken ({error}). Delete "
            "it, or restore it from where it came."
        ) from error


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
