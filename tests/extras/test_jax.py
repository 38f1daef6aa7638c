import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from keras_edram import EDRAM
from keras_edram.datasets import cluttered_mnist
from keras_edram.recipes import _edram

pytest.importorskip("jax", reason='needs pip install -e ".[jax]"')
SCRIPT = pathlib.Path(__file__).with_name("train_on_jax.py")


def test_the_same_weights_answer_alike_on_jax_and_train_there(tmp_path):
    model = EDRAM(**_edram.SMALL_SIZES)
    images, _ = cluttered_mnist("train").arrays(8)
    model.save_weights(tmp_path / "model.weights.h5")
    np.save(tmp_path / "images.npy", images)
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    first, second = map(float, done.stdout.split()[-2:])
    assert second < first  # two steps on the same batch
    expected = model.predict(images, verbose=0)
    with np.load(tmp_path / "outputs.npz") as outputs:
        for name, value in expected.items():
            np.testing.assert_allclose(outputs[name], value, atol=1e-4)
