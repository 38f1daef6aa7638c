"""What every test starts from: a fresh Keras and a fixed seed.

TensorFlow is imported by fixtures only: the process that starts the workers
of pytest-xdist has no use for it, and they wait for that process.
"""

import os

# Before TensorFlow is imported: its notes on the machine are no test result,
# and the workers have a core each.
for name, value in (
    ("TF_CPP_MIN_LOG_LEVEL", "3"),
    ("OMP_NUM_THREADS", "1"),
    ("TF_NUM_INTRAOP_THREADS", "1"),
    ("TF_NUM_INTEROP_THREADS", "1"),
):
    os.environ.setdefault(name, value)

import pytest


def pytest_configure(config):
    # What this package and Keras warn of is a mistake of ours, whomever the
    # warning blames: a test that called, or Keras between the two. What the
    # libraries below them warn each other of is not ours to mend.
    for line in (
        "error:::keras_edram",
        "error:::(test_|tiny|conftest)",
        "error::UserWarning:keras",
        # As tests draw.
        "ignore:.*is a picture of one colour:UserWarning",
        "ignore:__array__ implementation:DeprecationWarning",
        "ignore::DeprecationWarning:tensorflow",
        "ignore::DeprecationWarning:google",
        "ignore::DeprecationWarning:tensorflow_datasets",
    ):
        config.addinivalue_line("filterwarnings", line)


@pytest.fixture(autouse=True)
def fresh_keras():
    import keras

    policy = keras.config.dtype_policy()
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy(policy)


@pytest.fixture(scope="module")
def images():
    """Three images of the size of the tiny models."""
    import numpy as np

    return np.random.default_rng(1).integers(0, 256, (3, 40, 50, 1), "uint8")


@pytest.fixture
def pictures(images, tmp_path):
    """Three picture files of the size of the model's images."""
    import tiny

    paths = [tmp_path / f"{number}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(tiny.png(image))
    return paths
