"""The command `keras-edram`: parses its arguments, calls the rest, prints."""

import contextlib
import ctypes
import gc
import logging
import os
import re
import sys
import traceback
import warnings

from keras_edram.cli.arguments import check_written, parser

# Whose message says what is wrong; of others also their kind is said.
WORDED = (ValueError, OSError, RuntimeError, ImportError)
# Parameters of glibc's `mallopt`, and what they are set to.
KEPT_MEMORY = {
    -1: 2**31 - 1,  # M_TRIM_THRESHOLD: of free memory 2 GiB stay
    -4: 0,  # M_MMAP_MAX: no block is mapped by itself, and so given back
    -8: 1,  # M_ARENA_MAX: one heap, of which all threads take
}


def main(arguments=None):
    """Runs the command; its exit status is 2 for anything wrong.

    `check-data` has 1 for data that are broken. What is wrong is one line on
    standard error; `--debug` shows where in the program it came about.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    try:
        try:
            return _run(arguments, debug)
        finally:
            _flush()
    except BrokenPipeError:  # as of `| head`: who reads it has enough
        return 141
    except KeyboardInterrupt:
        print("keras-edram: interrupted", file=sys.stderr)
        return 130
    except Exception as error:  # whoever reads it shall not see a traceback
        if debug:
            traceback.print_exc()
        print(f"keras-edram: error: {_in_words(error)}", file=sys.stderr)
        return 2


def _run(arguments, debug):
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal has no letters for shall not end it all.
        if getattr(stream, "errors", None) == "strict":
            stream.reconfigure(errors="backslashreplace")
    options = parser().parse_args(arguments)
    with contextlib.nullcontext() if debug else _notes():
        check_written(options)
        # Which lives too long for the one, and has small batches for the other.
        if options.run.__name__ != "serve":
            _keep_memory()
            _use_onednn()
        if not debug:
            _load_tensorflow_quietly()
        return options.run(options) or 0


def _in_words(error):
    """What is wrong, in a line."""
    if isinstance(error, MemoryError):
        return "There is not enough memory"
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    # TensorFlow's have in them where in it they came about.
    message = getattr(error, "message", None) or str(error)
    message = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]", " ", str(message))
    message = " ".join(message.split())
    if isinstance(error, WORDED) and message:
        return message
    words = [f"{type(error).__name__}:", message, "(--debug shows where)"]
    return " ".join(filter(None, words))


@contextlib.contextmanager
def _notes():
    """What this package warns of is a line, once; what others do is not ours.

    Whose warning it is says the frame that gave it: the place that a warning
    names may be that of a caller, such as Keras.
    """
    seen = set()

    def show(message, category, filename, lineno, file=None, line=None):
        frame = sys._getframe(1)
        while frame and frame.f_globals.get("__name__") in (
            "warnings",
            "_py_warnings",  # from Python 3.14 on
        ):
            frame = frame.f_back
        module = frame.f_globals.get("__name__", "") if frame else ""
        text = " ".join(str(message).split())
        if module.split(".")[0] == "keras_edram" and text not in seen:
            seen.add(text)
            print(f"keras-edram: note: {text}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


def _flush():
    """Writes what is still to be printed; nothing of it is left to fail."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
        raise


def _keep_memory():
    """Keeps what is freed for what comes, where the C library is glibc.

    It would give large blocks back at once, and the system would find others,
    page by page and all zeros, for the next operation. On large images that
    takes a fifth of a training step, and a third of reading a large photo.
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        if hasattr(library, "gnu_get_libc_version"):
            for parameter, value in KEPT_MEMORY.items():
                library.mallopt(parameter, value)


def _use_onednn():
    """Has TensorFlow's convolutions computed by oneDNN, if nobody said not to.

    By itself it does so only on processors with instructions for networks
    (AVX-512 VNNI and later). On others a training step takes two thirds of the
    time with it, but one picture a fifth more.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def _load_tensorflow_quietly():
    """Imports Keras without TensorFlow's notes on the machine.

    They come from its C++ code before any setting of it counts, so standard
    error is closed to them for the time of the import. Nor is garbage looked
    for, of which there is hardly any: that would take a fifth of the time.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in ("tensorflow", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)
    sys.stderr.flush()
    standard_error = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    gc.disable()
    try:
        import keras  # noqa: F401

        if keras.config.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.list_physical_devices()  # looks for a GPU, and says so
    finally:
        gc.freeze()  # what is loaded stays
        gc.enable()
        os.dup2(standard_error, 2)
        os.close(nowhere)
        os.close(standard_error)
