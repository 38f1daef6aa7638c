"""The same models on Keras' other backends, each in a process of its own."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tiny
import train_comparators_on_backend as comparators
import train_edram_on_backend
import train_ram_on_backend
from test_docstrings import eagerly

from keras_edram import RAM, serving
from keras_edram.datasets import cluttered_mnist
from keras_edram.models import Baseline

SHARED = comparators.SHARED
# JAX compiles nearly every operation by itself; few are used twice.
QUICK = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


@pytest.fixture(params=["jax", "torch"])
def run(request, tmp_path):
    """A function that runs a script on the backend, in a folder."""
    backend = request.param
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f'needs pip install -e ".[{backend}]"')

    def run(script):
        done = subprocess.run(
            [sys.executable, pathlib.Path(script.__file__), tmp_path],
            env={**os.environ, "KERAS_BACKEND": backend, **QUICK},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr

    run.backend = backend
    return run


def test_the_same_weights_answer_and_learn_alike(run, tmp_path):
    # Trained weights: at the start all windows are equal, batch normalisation
    # makes zeros of them, and rounding alone decides what relu lets through.
    images, _ = cluttered_mnist("train").arrays(8)
    np.save(tmp_path / "images.npy", images)
    run(train_edram_on_backend)
    models = train_edram_on_backend.models()
    for name, model in models.items():
        expected = train_edram_on_backend.answers(model, images)
        with np.load(tmp_path / f"{name}.npz") as found:
            assert set(found) == set(expected)
            for part, value in expected.items():
                # Logits are up to 20, and a glimpse enlarges what rounding
                # did.
                atol = 3e-4 if part in ("labels", "patches") else 1.4e-5
                np.testing.assert_allclose(
                    found[part], value, atol=atol, err_msg=f"{name} {part}"
                )
    with eagerly():  # which takes less time than to compile a step
        ours = train_edram_on_backend.train_two_batches(models["edram"])
    with np.load(tmp_path / "losses.npz") as found:
        assert found["backend"] == run.backend
        losses = found["losses"]
    np.testing.assert_allclose(losses, ours, rtol=1e-4)
    assert losses[1] < losses[0]


def test_ram_with_the_same_weights_looks_and_answers_alike(run, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (8, 30, 24, 1), "uint8")
    np.save(tmp_path / "images.npy", images)
    expected = {}
    for name, sizes in train_ram_on_backend.MODELS.items():
        model = RAM(**sizes)
        generator = np.random.default_rng(1)
        for weight in model.weights:  # as if it had learnt something
            noise = 0.2 * generator.normal(size=weight.shape)
            if "variance" in weight.path:
                noise = np.abs(noise)
            weight.assign(weight + noise)
        model.save_weights(tmp_path / f"{name}.weights.h5")
        expected[name] = model.predict(images, verbose=0)
    run(train_ram_on_backend)
    for name, outputs in expected.items():
        with np.load(tmp_path / f"{name}.npz") as found:
            assert found["backend"] == run.backend
            for part in ("labels", "transforms"):
                value = outputs[part]
                assert value.std(axis=0).max() > 0.01  # of the images
                np.testing.assert_allclose(found[part], value, atol=1e-4)
            assert np.isfinite(found["losses"]).all()
            changes = [key for key in found if "/" in key]
            networks = {"glimpse", "core", "action", "baseline"}
            if name == "inception":
                networks.add("location")
            else:
                networks |= {"location_hidden", "location_of_hidden"}
                assert found["training_steps"] == 6  # 3 epochs of 2 batches
            assert {key.split("/")[0] for key in changes} == networks
            for key in changes:
                assert found[key] > 0, key


@pytest.mark.slow
def test_what_edram_is_compared_with_answers_and_learns_alike(run, tmp_path):
    images = serving.comparison.compared_images(Baseline(SHARED["image_shape"]))
    np.save(tmp_path / "images.npy", images)
    expected = {}
    for cls, sizes in comparators.MODELS.items():
        name = cls.__name__
        model = tiny.shake(cls(**SHARED, **sizes))
        model.save_weights(tmp_path / f"{name}.weights.h5")
        with eagerly():  # two steps take less time than to compile them
            expected[name] = comparators.answers(
                cls, images, tmp_path / f"{name}.weights.h5"
            )
    run(comparators)
    for name, parts in expected.items():
        with np.load(tmp_path / f"{name}.npz") as found:
            assert found["backend"] == run.backend
            for part, value in parts.items():
                if (name, part) == ("DRAM", "losses"):  # whose paths are drawn
                    assert np.isfinite(found[part]).all()
                    continue
                # The second loss is of weights that have learnt; DRAM enlarges
                # from glimpse to glimpse what a processor rounds otherwise.
                tolerance = 1e-3 if part == "losses" else 1e-4
                np.testing.assert_allclose(
                    found[part],
                    value,
                    atol=tolerance * np.abs(value).max(),
                    err_msg=f"{name} {part}",
                )
        assert parts["labels"].std(axis=0).max() > 0.01  # of the images
