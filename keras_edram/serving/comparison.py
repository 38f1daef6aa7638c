"""Runs what was written, and compares it with the model."""

import pathlib
import signal
import subprocess
import sys
import tempfile

import keras
import numpy as np

from keras_edram.serving import running
from keras_edram.serving.signatures import STEP_SIGNATURES

NUM_CHECKED_IMAGES = 9  # not the batch size that anything was traced with
CHECKED_GRID = 6  # values on a side, smooth between: noise is like no picture
# A trained policy of RAM is steep: from glimpse to glimpse it enlarges the
# last digit, on some images until it takes another path. A defect shows on
# nearly all images, so a quarter of them may differ by more.
CHECKED_QUANTILE = 0.75
MAX_DIFFERENCE = 5e-4
# Which label wins may change between two that are equal.
COMPARED = ("probability", "probabilities", "transforms", "locations")
STEP_COMPARED = ("step_probabilities", "step_transforms")


def compare(model, path, tolerance, *, images=None, steps=False):
    """Raises unless what was written gives the model's own answers.

    Args:
        model: The model that was written.
        path: Path of what was written.
        tolerance: Float, by how much values may differ.
        images: Array of shape `(N, H, W, C)`, on which to compare; by default
            smooth random ones.
        steps: Boolean, whether it has to have `start` and `look` too.
    """
    if images is None:
        images = checked_images(model.image_shape)
    images = np.asarray(images[:NUM_CHECKED_IMAGES], "float32")
    answers = model.predict(images, verbose=0)
    expected = model.decode(answers)
    compared = COMPARED
    if steps:
        compared += STEP_COMPARED
        expected |= _glimpse_by_glimpse(answers)
    outputs = run_apart(path, images)
    outputs.pop("names", None)  # says what the labels say
    if set(outputs) != set(expected):
        raise RuntimeError(
            f"The export must have the outputs {sorted(expected)}. "
            f"It has {sorted(outputs)}"
        )
    for name in compared:
        value = keras.ops.convert_to_numpy(expected[name])
        if name in STEP_COMPARED:
            # RAM's own answer is after its last glimpse only.
            outputs[name] = outputs[name][:, -value.shape[1] :]
        differences = np.abs(outputs[name] - value)
        difference = np.quantile(
            differences.reshape(len(images), -1).max(axis=1), CHECKED_QUANTILE
        )
        if not difference <= tolerance:
            raise RuntimeError(
                f"The export must agree with the model within {tolerance}. "
                f"Its {name} are off by {difference}"
            )


def _glimpse_by_glimpse(answers):
    """What `run_steps` has to give: `(B, S, N, ...)` -> `(B, T, ...)`."""
    logits, transforms = answers["labels"], answers["transforms"]
    probabilities = keras.ops.softmax(logits)
    return {
        "step_probabilities": keras.ops.reshape(
            probabilities, (len(logits), -1, logits.shape[-1])
        ),
        "step_transforms": transforms.reshape(len(logits), -1, 2, 3),
    }


def checked_images(image_shape):
    """Smooth random images, `(n, H, W, C)` in [0, 255]."""
    grid = (NUM_CHECKED_IMAGES, CHECKED_GRID, CHECKED_GRID, image_shape[-1])
    values = np.random.default_rng(0).uniform(0, 255, grid)
    return keras.ops.convert_to_numpy(
        keras.ops.image.resize(values.astype("float32"), image_shape[:2])
    )


def run_apart(path, images):
    """Outputs of what was written, in a process that never saw the model.

    Raises:
        RuntimeError: If that process fails; with its last words.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, answers = f"{folder}/images.npy", f"{folder}/outputs.npz"
        np.save(given, images)
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(path), given, answers],
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode:
            raise RuntimeError(
                "The export must run in another process, to be compared with "
                f"the model. {_last_words(done)}"
            )
        with np.load(answers) as arrays:
            return dict(arrays)


def _last_words(done):
    """Why a process ended that failed."""
    if done.returncode < 0:
        number = -done.returncode
        names = {member.value: member.name for member in signal.Signals}
        return (
            f"It was ended by {names.get(number, f'signal {number}')}; it may "
            "have had too little memory"
        )
    lines = [line.strip() for line in done.stderr.splitlines()]
    return next(
        (f"It says: {line}" for line in reversed(lines) if line),
        f"It ended with status {done.returncode}",
    )


def run(path, images):
    """All that is compared, of an export."""
    path = pathlib.Path(path)
    if path.suffix.lower() == ".onnx":
        return running.run_onnx(path, images)
    if path.suffix.lower() == ".tflite":
        outputs = running.run_tflite(path, images)
    else:
        outputs = running.run_saved_model(path, images)
    _, signatures = running.open_export(path)
    if {*STEP_SIGNATURES} <= signatures:
        _, num_targets, glimpses_per_target, _ = outputs["locations"].shape
        number = num_targets * glimpses_per_target
        steps = running.run_steps(path, images, number)
        outputs |= {name: steps[name] for name in STEP_COMPARED}
    return outputs


def _main(path, given, answers):
    np.savez(answers, **run(path, np.load(given)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
