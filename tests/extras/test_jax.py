import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import train_on_jax

from keras_edram import EDRAM
from keras_edram.datasets import cluttered_mnist

pytest.importorskip("jax", reason='needs pip install -e ".[jax]"')


def test_the_same_weights_answer_and_learn_alike_on_jax(tmp_path):
    # Trained weights: at the start all windows are equal, batch normalisation
    # makes zeros of them, and rounding alone decides what relu lets through.
    model = EDRAM.from_preset(train_on_jax.PRESET)
    images, _ = cluttered_mnist("train").arrays(8)
    np.save(tmp_path / "images.npy", images)
    done = subprocess.run(
        [sys.executable, pathlib.Path(train_on_jax.__file__), tmp_path],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    expected = model.predict(images, verbose=0)
    with np.load(tmp_path / "outputs.npz") as outputs:
        for name, value in expected.items():
            np.testing.assert_allclose(outputs[name], value, atol=1e-4)
        losses = outputs["losses"]
    ours = train_on_jax.train_two_batches(model)
    np.testing.assert_allclose(losses, ours, rtol=1e-3)
    assert losses[1] < losses[0]
