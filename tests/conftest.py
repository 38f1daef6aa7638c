"""What every test starts from: a fresh Keras and a fixed seed."""

import os

# Before TensorFlow is imported: its notes on the machine are no test result.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest
import tiny


def pytest_configure(config):
    # What this package and Keras warn of is a mistake of ours; what the
    # libraries below them warn each other of is not ours to mend.
    for line in (
        "error:::keras_edram",
        "error::UserWarning:keras",
        # As tests draw.
        "ignore:.*is of one colour:UserWarning",
        "ignore:__array__ implementation:DeprecationWarning",
        "ignore::DeprecationWarning:tensorflow",
        "ignore::DeprecationWarning:google",
        "ignore::DeprecationWarning:tensorflow_datasets",
    ):
        config.addinivalue_line("filterwarnings", line)


@pytest.fixture(autouse=True)
def fresh_keras():
    policy = keras.config.dtype_policy()
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy(policy)


@pytest.fixture(scope="module")
def images():
    """Three images of the size of the tiny models."""
    return np.random.default_rng(1).integers(0, 256, (3, 40, 50, 1), "uint8")


@pytest.fixture
def pictures(images, tmp_path):
    """Three picture files of the size of the model's images."""
    paths = [tmp_path / f"{number}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(tiny.png(image))
    return paths
