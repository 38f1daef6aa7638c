"""Trains two batches of EDRAM on JAX; run by `test_jax.py` in a process.

    KERAS_BACKEND=jax python train_on_jax.py FOLDER

reads `images.npy` from the folder, and writes to `outputs.npz` the answers of
the preset and the losses of its further training.
"""

import pathlib
import sys

import keras
import numpy as np

from keras_edram import EDRAM
from keras_edram.datasets import cluttered_mnist
from keras_edram.recipes import _edram

PRESET = "edram_small_cluttered_mnist"


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
    if keras.config.backend() != "jax":
        raise SystemExit("run with KERAS_BACKEND=jax")
    model = EDRAM.from_preset(PRESET)
    outputs = model.predict(np.load(folder / "images.npy"), verbose=0)
    np.savez(folder / "outputs.npz", losses=train_two_batches(model), **outputs)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
