"""What a format of export is: one object, which all that exports asks."""

import importlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Option(NamedTuple):
    """An option of `keras-edram export` that a format takes.

    A format that takes what another takes too has an equal one.

    Attributes:
        flag: String, such as `"--quantize"`.
        argument: String, the name of the argument of the format's writer.
        help: String, what it does and what it needs.
        arguments: Dictionary, more arguments of `argparse`'s `add_argument`.
    """

    flag: str
    argument: str
    help: str
    arguments: dict


class Format(NamedTuple):
    """A format of export.

    To import the module of one loads neither Keras nor TensorFlow: the command
    asks it for its options, and the process that runs an export for its runner.

    Attributes:
        name: String, that of `--format`.
        title: String, what it is and what for.
        suffix: String, of its files in lower case; empty if it is a folder.
        write: Function of a model, a path, `overwrite` and the options that
            were given, which writes, compares and returns the path.
        open: Function of a path at the top of its module: returns a function
            that runs a signature, `(name, **inputs)` -> dictionary of NumPy
            arrays, and the set of their names.
        needs: String, what has to be installed for it.
        options: Tuple of `Option`.
        wants_images: Function of the options that were given: whether the
            writer takes `images` too, some hundred that the model will see.
        variants: Function of a model: the files that a report compares,
            options of the writer by file name; then `open` also takes a number
            of threads. By default there is no report.
    """

    name: str
    title: str
    suffix: str
    write: Callable
    open: Callable
    needs: str = ""
    options: tuple = ()
    wants_images: Callable = lambda **options: False
    variants: Callable | None = None


def require(what, extra, *modules):
    """Imports what an extra brings.

    Args:
        what: String, what needs it.
        extra: String, the name of the extra.
        *modules: Strings, names of modules.

    Returns:
        List of the modules.

    Raises:
        RuntimeError: If one is missing; says what to install.
    """
    try:
        return [importlib.import_module(module) for module in modules]
    except ImportError as error:
        raise RuntimeError(
            f'{what} needs {error.name}: pip install "keras-edram[{extra}]"'
        ) from error


def answers(open_export, path, images):
    """Outputs of an export, of the signature that reads whole images.

    Args:
        open_export: `Format.open`.
        path: Path of the export.
        images: Array of shape `(B, H, W, C)`, in [0, 255].

    Returns:
        Dictionary of NumPy arrays, see `keras_edram.decoding.decode`.

    Raises:
        ValueError: For images with values that are not finite.
    """
    images = finite(images)  # before the export is opened, which takes long
    run, _ = open_export(path)
    return run("serving_default", images=images)


def take_steps(run, images, num_glimpses):
    """Glimpses taken one at a time, see `registry.run_steps`."""
    images = finite(images)
    state = run("start", images=images)
    steps = []
    for _ in range(num_glimpses):
        outputs = run("look", images=images, **state)
        state = {name: outputs.pop(name) for name in state}
        steps.append(outputs)
    return {
        name: np.stack([step[name] for step in steps], axis=1)  # (B, T, ...)
        for name in steps[0]
    }


def finite(images):
    """Images as float32; an export would give an answer to NaN as well.

    Args:
        images: Array of numbers.

    Returns:
        float32 array of the same shape.

    Raises:
        ValueError: For images with values that are not finite.
    """
    images = np.asarray(images, "float32")
    if not np.isfinite(images).all():
        raise ValueError(
            "`images` must be finite numbers, in [0, 255]. Received: NaN or "
            "infinite ones"
        )
    return images
