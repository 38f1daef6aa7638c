"""What a file must be before Keras opens it as a model of this package."""

import io
import json
import pathlib
import zipfile

import h5py
import keras

from keras_edram.models.base import BaseModel

CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
# Weights hardly shrink, so what unpacks to far more than it is was made to.
MAX_GROWTH = 10
ALWAYS_ALLOWED = 100_000_000  # bytes


def what_it_is(path):
    """What is wrong with a file that should be a `.keras` file.

    Args:
        path: Path of the file.

    Returns:
        String, what it is instead; `None` if Keras may open it.

    Example:

    >>> what_it_is("weights.h5")
    'an HDF5 file, of weights or of an older Keras'
    """
    path = pathlib.Path(path)
    with path.open("rb") as file:
        head = file.read(8)
    if not head:
        return "an empty file"
    if head == b"\x89HDF\r\n\x1a\n":
        return "an HDF5 file, of weights or of an older Keras"
    if head[4:] == b"TFL3":  # ours is a ZIP archive too
        return "a TFLite file, an export that cannot be opened again"
    if not zipfile.is_zipfile(path):
        if head.startswith(b"PK"):
            return "one that was cut short: its end is missing"
        return "a file of another kind, no ZIP archive"
    if path.suffix != ".keras":
        return "a ZIP archive whose name does not end in .keras"
    try:
        with zipfile.ZipFile(path) as archive:
            return _what_archive(archive, path.stat().st_size)
    # Whatever zipfile, zlib, json and h5py raise.
    except Exception as error:
        return f"one that is damaged ({error})"


def _what_archive(archive, size):
    members = archive.infolist()
    missing = {CONFIG, WEIGHTS} - {member.filename for member in members}
    if missing:
        return f"a ZIP archive without {' and '.join(sorted(missing))}"
    allowed = max(MAX_GROWTH * size, ALWAYS_ALLOWED)
    unpacked = sum(member.file_size for member in members)
    if unpacked > allowed:
        return _bomb(size, unpacked)
    if damaged := archive.testzip():
        return f"one that is damaged ({damaged} is not what was saved)"
    config = json.loads(archive.read(CONFIG))
    if not isinstance(config, dict) or "class_name" not in config:
        return f"one whose {CONFIG} describes no model"
    name = config.get("registered_name") or config["class_name"]
    found = keras.saving.get_registered_object(name)
    if not isinstance(found, type) or not issubclass(found, BaseModel):
        return f"a model of another class, {name}"
    unpacked = _unpacked_size(archive.read(WEIGHTS))
    return _bomb(size, unpacked) if unpacked > allowed else None


def _unpacked_size(content):
    """Bytes of all weights of an HDF5 file, which may be compressed in it."""
    sizes = []
    with h5py.File(io.BytesIO(content)) as weights:
        weights.visititems(
            lambda _, item: sizes.append(getattr(item, "nbytes", 0))
        )
    return sum(sizes)


def _bomb(size, unpacked):
    return (
        f"one of {size / 1e6:,.0f} MB that would unpack to "
        f"{unpacked / 1e6:,.0f} MB"
    )
