"""The command `keras-edram`: parses its arguments, calls the rest, prints."""

import os
import sys

from keras_edram.cli.arguments import parser


def main(arguments=None):
    """Runs the command; its exit status is 2 for anything wrong.

    `check-data` has 1 for data that are broken.
    """
    options = parser().parse_args(arguments)
    _load_tensorflow_quietly()
    try:
        return options.run(options) or 0
    except (ValueError, OSError, RuntimeError) as error:
        message = " ".join(str(error).split())
        print(f"keras-edram: error: {message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("keras-edram: interrupted", file=sys.stderr)
        return 130


def _load_tensorflow_quietly():
    """Imports Keras without TensorFlow's notes on the machine.

    They come from its C++ code before any setting of it counts, so standard
    error is closed to them for the time of the import.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    standard_error = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import keras  # noqa: F401

        if keras.config.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.list_physical_devices()  # looks for a GPU, and says so
    finally:
        os.dup2(standard_error, 2)
        os.close(nowhere)
        os.close(standard_error)
