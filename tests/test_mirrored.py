"""Training on several devices: two of the CPU, in a process of their own."""

import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tiny
from test_training import assert_same_weights, weights

from keras_edram import cli, files, run_folder, training

SCRIPT = pathlib.Path(__file__).parent / "train_mirrored.py"


def run_on_two_devices(folder, *parts):
    done = subprocess.run(
        [sys.executable, SCRIPT, folder, *parts], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a folder of each part that takes long, from one process."""
    folder = tmp_path_factory.mktemp("trained")
    run_on_two_devices(folder, "repeat", "resume")
    return folder


def figures(folder, begin=""):
    """Those of each epoch whose name begins so: `(epochs, names)`."""
    return np.array(
        [
            [
                row[name]
                for name in sorted(row.keys() - {"seconds"})
                if name.startswith(begin)
            ]
            for row in run_folder.read_history(folder / "history.csv")
        ]
    )


def test_two_devices_learn_what_one_learns(tmp_path):
    run_on_two_devices(tmp_path, "compare")
    one, two = tmp_path / "compare/one", tmp_path / "compare/two"
    assert figures(one).shape[0] == 4
    np.testing.assert_allclose(figures(two), figures(one), rtol=1e-5)
    first, last = weights(one / "last.keras"), weights(two / "last.keras")
    for value, other in zip(first, last, strict=True):
        np.testing.assert_allclose(other, value, atol=1e-5)
    assert files.read_json(one / "run.json") == files.read_json(
        two / "run.json"
    )
    for folder, number in ((one, 1), (two, 2)):
        results = files.read_json(folder / "results.json")
        assert results["devices"] == number


@pytest.mark.slow
def test_gradients_are_averaged_and_not_summed(trained):
    for name in ("edram", "ram"):
        with np.load(trained / f"repeat/{name}.npz") as found:
            assert np.ptp(found["losses_1"]) > 1e-2  # it learns
            for part in ("losses", "weights"):
                np.testing.assert_allclose(
                    found[f"{part}_2"], found[f"{part}_1"], atol=1e-5
                )


@pytest.mark.slow
def test_a_run_on_two_devices_that_was_killed_goes_on(trained):
    whole, killed, alone = (
        trained / "resume" / name for name in ("whole", "killed", "alone")
    )
    assert_same_weights(whole / "last.keras", killed / "last.keras")
    for folder in (whole, killed, alone):
        assert figures(folder).shape[0] == 2
        assert np.isfinite(figures(folder)).all()
    for begin in ("loss", "labels", "transforms"):
        np.testing.assert_array_equal(
            figures(whole, begin), figures(killed, begin)
        )
    # The second device of a run that goes on has the statistics of the first,
    # see `training.train`, so it validates a little otherwise.
    np.testing.assert_allclose(figures(whole), figures(killed), rtol=1e-3)
    np.testing.assert_array_equal(figures(alone)[:1], figures(whole)[:1])
    assert files.read_json(alone / "results.json")["devices"] == 1


def test_a_strategy_that_cannot_be_had_is_refused(tmp_path, monkeypatch):
    def train(**options):
        training.train(tiny.recipe(), tmp_path / "run", **options)

    with pytest.raises(ValueError, match="Received: strategy='several'"):
        train(strategy="several")
    with pytest.raises(ValueError, match="Received: .*jit=True"):
        train(strategy="mirrored", jit=True)
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="Received: .*Keras on jax"):
        train(strategy="mirrored")
    assert not (tmp_path / "run").exists()


def test_a_batch_that_cannot_be_divided_is_refused(tmp_path, monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(
        tf.config, "list_logical_devices", lambda kind: [kind] * 3
    )
    with pytest.raises(ValueError, match="the 3 devices .*batch_size=8"):
        training.train(tiny.recipe(), tmp_path / "run", strategy="mirrored")


def test_the_command_hands_the_strategy_on(monkeypatch, capsys):
    def train(recipe, out, *, strategy, **options):
        raise ValueError(f"Received: strategy={strategy!r}")

    monkeypatch.setattr(training, "train", train)
    arguments = ["train", "quickstart", "--out", "run"]
    assert cli.main([*arguments, "--strategy", "mirrored"]) == 2
    assert "strategy='mirrored'" in capsys.readouterr().err
