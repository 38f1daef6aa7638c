import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import train_on_jax
import train_ram_on_jax

from keras_edram import EDRAM, RAM
from keras_edram.datasets import cluttered_mnist

pytest.importorskip("jax", reason='needs pip install -e ".[jax]"')


def run_on_jax(script, folder):
    done = subprocess.run(
        [sys.executable, pathlib.Path(script.__file__), folder],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_same_weights_answer_and_learn_alike_on_jax(tmp_path):
    # Trained weights: at the start all windows are equal, batch normalisation
    # makes zeros of them, and rounding alone decides what relu lets through.
    model = EDRAM.from_preset(train_on_jax.PRESET)
    images, _ = cluttered_mnist("train").arrays(8)
    np.save(tmp_path / "images.npy", images)
    run_on_jax(train_on_jax, tmp_path)
    expected = model.predict(images, verbose=0)
    with np.load(tmp_path / "outputs.npz") as outputs:
        for name, value in expected.items():
            # Logits are up to 20, and a glimpse enlarges what rounding did.
            np.testing.assert_allclose(outputs[name], value, atol=3e-4)
        losses = outputs["losses"]
    ours = train_on_jax.train_two_batches(model)
    np.testing.assert_allclose(losses, ours, rtol=1e-3)
    assert losses[1] < losses[0]


def test_ram_with_the_same_weights_looks_and_answers_alike_on_jax(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (8, 30, 24, 1), "uint8")
    np.save(tmp_path / "images.npy", images)
    expected = {}
    for name, sizes in train_ram_on_jax.MODELS.items():
        model = RAM(**sizes)
        generator = np.random.default_rng(1)
        for weight in model.weights:  # as if it had learnt something
            noise = 0.2 * generator.normal(size=weight.shape)
            if "variance" in weight.path:
                noise = np.abs(noise)
            weight.assign(weight + noise)
        model.save_weights(tmp_path / f"{name}.weights.h5")
        expected[name] = model.predict(images, verbose=0)
    run_on_jax(train_ram_on_jax, tmp_path)
    for name, outputs in expected.items():
        with np.load(tmp_path / f"{name}.npz") as found:
            for part in ("labels", "transforms"):
                value = outputs[part]
                assert value.std(axis=0).max() > 0.01  # of the images
                np.testing.assert_allclose(found[part], value, atol=1e-4)
            assert np.isfinite(found["losses"]).all()
            changes = [key for key in found if "/" in key]
            # The location and the baseline network are among them.
            assert {key.split("/")[0] for key in changes} == {
                *("glimpse", "core", "action", "location", "baseline")
            }
            for key in changes:
                assert found[key] > 0, key
