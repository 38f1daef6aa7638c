"""What every test starts from: a fresh Keras and a fixed seed."""

import os

# Before TensorFlow is imported: its notes on the machine are no test result.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest


def pytest_configure(config):
    # What this package and Keras warn of is a mistake of ours; what the
    # libraries below them warn each other of is not ours to mend.
    for line in (
        "error:::keras_edram",
        "error::UserWarning:keras",
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
