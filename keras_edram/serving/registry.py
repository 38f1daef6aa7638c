"""The table of all formats, and what is asked of all of them alike."""

import pathlib

from keras_edram import markdown
from keras_edram.serving import formats
from keras_edram.serving.onnx import ONNX
from keras_edram.serving.saved_model import SAVED_MODEL
from keras_edram.serving.tflite import TFLITE

FORMATS = {format.name: format for format in (SAVED_MODEL, TFLITE, ONNX)}


def open_export(path):
    """Opens what was exported, in the format that its suffix tells.

    Args:
        path: Path of the file, or of the SavedModel's folder.

    Returns:
        A function that runs a signature, `(name, **inputs)` -> dictionary of
        NumPy arrays, and the set of their names.

    Raises:
        ValueError: If no format has that suffix.
    """
    suffix = pathlib.Path(path).suffix.lower()
    if pathlib.Path(path).is_dir():
        suffix = ""
    for format in FORMATS.values():
        if format.suffix == suffix:
            return format.open(path)
    raise ValueError(
        "An export must be a folder, or end in "
        f"{', '.join(filter(None, (f.suffix for f in FORMATS.values())))}. "
        f"Received: {str(path)!r}"
    )


def run_steps(path, images, num_glimpses):
    """Glimpses of an export taken one at a time, by `start` and `look`.

    Args:
        path: Path of the SavedModel's folder or of the `.tflite` file.
        images: Array of shape `(B, H, W, C)`, in [0, 255].
        num_glimpses: Integer, how many to take.

    Returns:
        Dictionary of NumPy arrays: `step_probabilities` `(B, T, K)`,
        `step_transforms` `(B, T, 2, 3)`, `step_boxes` and `next_boxes` `(B, T,
        4)`.

    Raises:
        ValueError: For images with values that are not finite, or a path of
            no format.

    Example:

    >>> images = np.zeros((3, 40, 50, 1))
    >>> run_steps("edram.tflite", images, 2)["step_boxes"].shape
    (3, 2, 4)
    """
    run, _ = open_export(path)
    return formats.take_steps(run, images, num_glimpses)


def takers(flag):
    """Names of the formats that take an option.

    Args:
        flag: String, such as `"--quantize"`.

    Returns:
        List of strings.

    Example:

    >>> takers("--quantize")
    ['tflite']
    """
    return [
        format.name
        for format in FORMATS.values()
        if flag in [option.flag for option in format.options]
    ]


def options():
    """Those of all formats, each once: a dictionary, flag -> `Option`."""
    return {
        option.flag: option
        for format in FORMATS.values()
        for option in format.options
    }


def table():
    """The formats as a table in Markdown, in the words of the command."""
    rows = []
    for format in FORMATS.values():
        taken = [f"`{taken.flag}`: {taken.help}" for taken in format.options]
        rows.append(
            (f"`{format.name}`", format.title, format.needs, "; ".join(taken))
        )
    columns = ("`--format`", "what it is", "needs", "takes")
    return markdown.table(columns, rows) + "\n"
