"""Reads with all models, and trains EDRAM, on any backend of Keras.

    KERAS_BACKEND=jax python train_edram_on_backend.py FOLDER

`test_backends.py` runs it in a process. It reads `images.npy` from the folder,
and writes to `NAME.npz` what each model answers, and to `losses.npz` the
losses of a further training of the preset.
"""

import pathlib
import sys

import keras
import numpy as np

from keras_edram import EDRAM, Ensemble
from keras_edram.datasets import cluttered_mnist
from keras_edram.models import Baseline
from keras_edram.recipes import _edram

PRESET = "edram_small_cluttered_mnist"


def models():
    """The models by name, with the same weights on all backends."""
    edram = EDRAM.from_preset(PRESET)
    edram.glimpses_per_target = 2  # each is compiled
    baseline = Baseline(image_shape=edram.image_shape, units=8)
    generator = np.random.default_rng(0)
    for weight in baseline.weights:
        weight.assign(0.1 * generator.normal(size=weight.shape))
    return {
        "edram": edram,
        "ensemble": Ensemble([edram, edram]),
        "baseline": baseline,
    }


def answers(model, images):
    """What a model says in all the ways that it can be asked, as arrays."""
    outputs = model.predict(images, verbose=0)
    decoded = {
        f"decoded_{name}": keras.ops.convert_to_numpy(value)
        for name, value in model.decode(outputs).items()
    }
    found = {
        **outputs,
        **decoded,
        "patches": model.glimpses(images)["patches"],
        "read": _probabilities(model.read(images)),
    }
    if model.looks_step_by_step:
        read = model.read(images, confidence=0.9)
        found["read_until_sure"] = _probabilities(read)
        found["num_glimpses"] = [answer["num_glimpses"] for answer in read]
    return found


def _probabilities(read):
    return [answer["probability"] for answer in read]


def train_two_batches(model):
    """The losses of two steps of gradient descent, as an array."""
    _edram.compile_edram(
        model,
        # Adam would turn differences in the last digit into whole steps.
        keras.optimizers.SGD(1e-3),
        dict(alpha_what=1.0, alpha_where=1.0),
        jit_compile="auto",
    )
    images, targets = cluttered_mnist("train").arrays(32)
    return np.array(
        [float(model.train_on_batch(images, targets)[0]) for _ in range(2)]
    )


def main(folder):
    """Writes what the test compares."""
    images = np.load(folder / "images.npy")
    found = models()
    for name, model in found.items():
        np.savez(folder / f"{name}.npz", **answers(model, images))
    np.savez(
        folder / "losses.npz",
        losses=train_two_batches(found["edram"]),
        backend=keras.config.backend(),
    )


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
