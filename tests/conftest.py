"""What every test starts from: a fresh Keras and a fixed seed.

TensorFlow is imported by fixtures only: the process that starts the workers
of pytest-xdist has no use for it, and they wait for that process.
"""

import contextlib
import fcntl
import gc
import importlib.util
import os

import pytest

# Before TensorFlow is imported: its notes on the machine are no test result,
# the workers have a core each, and what tests compute, here and in processes
# that they start, is computed by the same kernels, those of the command.
for name, value in (
    ("TF_CPP_MIN_LOG_LEVEL", "3"),
    ("OMP_NUM_THREADS", "1"),
    ("TF_NUM_INTRAOP_THREADS", "1"),
    ("TF_NUM_INTEROP_THREADS", "1"),
    ("TF_ENABLE_ONEDNN_OPTS", "1"),
):
    os.environ.setdefault(name, value)


def pytest_configure(config):
    # What this package and Keras warn of is a mistake of ours, whomever the
    # warning blames: a test that called, or Keras between the two. What the
    # libraries below them warn each other of is not ours to mend.
    for line in (
        "error:::keras_edram",
        "error:::(test_|tiny|conftest)",
        "error::UserWarning:keras",
        # As tests draw.
        "ignore:.*is of one colour:UserWarning",
        "ignore:__array__ implementation:DeprecationWarning",
        "ignore::DeprecationWarning:tensorflow",
        "ignore::DeprecationWarning:google",
        "ignore::DeprecationWarning:tensorflow_datasets",
    ):
        config.addinivalue_line("filterwarnings", line)


@pytest.fixture(scope="session", autouse=True)
def imported():
    """What is imported is there to stay, and no garbage to look for.

    Keras looks for it whenever a layer is quantized.
    """
    import keras  # noqa: F401 - and TensorFlow with it

    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def fresh_tensorflow():
    """Frees what TensorFlow made ready for the module before."""
    import keras

    keras.utils.clear_session(free_memory=False)


@pytest.fixture(autouse=True)
def fresh_keras(fresh_tensorflow):
    import keras
    from tensorflow.python.eager import context

    policy = keras.config.dtype_policy()
    with pytest.MonkeyPatch.context() as patch:
        # Or each graph, and each operation, would be made ready again.
        patch.setattr(context.Context, "clear_kernel_cache", lambda self: None)
        keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy(policy)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Gives the path of what the first worker that asks makes for all.

    A function of a name and of what makes it, a function of its path.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # which is that of all workers
    folder = folder / "made_once"
    folder.mkdir(exist_ok=True)

    def path_of(name, make):
        path = folder / name
        with open(f"{path}.made", "a+") as made:
            fcntl.flock(made, fcntl.LOCK_EX)  # the others wait here
            if not made.seek(0, os.SEEK_END):  # which tells where it is
                make(path)
                made.write("yes")
        return path

    return path_of


@contextlib.contextmanager
def compared_here():
    """Exports are compared in this process, which takes no time to start."""
    from keras_edram import serving

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving.comparison, "run_apart", serving.comparison.run)
        yield


@pytest.fixture(scope="module")
def compares_here():
    """See `compared_here`."""
    with compared_here():
        yield


@pytest.fixture(scope="session")
def served(made_once):
    """SavedModels of two models of the same images, as versions of one.

    The second is a baseline, whose export takes no time. They have warm-up
    requests if their package is there. With the folder comes a dictionary of
    version -> model; the models are there to be asked, and not to be changed.
    """
    import tiny

    from keras_edram import serving
    from keras_edram.models import Baseline

    models = {1: tiny.reader(), 2: Baseline((40, 50, 1), num_classes=3)}
    warmup = importlib.util.find_spec("tensorflow_serving") is not None

    def export(folder):
        with compared_here():
            for version, model in models.items():
                serving.export_saved_model(
                    model, folder, version, warmup=warmup
                )

    return made_once("edram", export), models


@pytest.fixture(scope="session")
def served_folder(served):
    return served[0]


@pytest.fixture(scope="session")
def served_models(served):
    return served[1]


@pytest.fixture(scope="session")
def tflite_file(made_once):
    """A TFLite file of `tiny.reader()`."""
    return made_once("reader.tflite", lambda path: _tflite("reader", path))


@pytest.fixture(scope="session")
def ram_file(made_once):
    """A TFLite file of `tiny.ram()`."""
    return made_once("ram.tflite", lambda path: _tflite("ram", path))


def _tflite(name, path):
    import tiny

    from keras_edram import serving

    with compared_here():
        serving.export_tflite(getattr(tiny, name)(), path)


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
