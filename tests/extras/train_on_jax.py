"""Trains two batches of EDRAM on JAX; run by `test_jax.py` in a process.

    KERAS_BACKEND=jax python train_on_jax.py FOLDER

reads `model.weights.h5` and `images.npy` from the folder, writes the answers
of that model to `outputs.npz`, then trains and prints the losses.
"""

import pathlib
import sys

import keras
import numpy as np

from keras_edram import EDRAM
from keras_edram.datasets import cluttered_mnist
from keras_edram.recipes import _edram


def main(folder):
    if keras.config.backend() != "jax":
        raise SystemExit("run with KERAS_BACKEND=jax")
    model = EDRAM(**_edram.SMALL_SIZES)
    model.load_weights(folder / "model.weights.h5")
    outputs = model.predict(np.load(folder / "images.npy"), verbose=0)
    np.savez(folder / "outputs.npz", **outputs)
    _edram.compile_edram(
        model,
        keras.optimizers.Adam(1e-3),
        dict(alpha_what=1.0, alpha_where=1.0),
        jit_compile=True,
    )
    images, targets = cluttered_mnist("train").arrays(32)
    for _ in range(2):
        print(model.train_on_batch(images, targets, return_dict=True)["loss"])


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
