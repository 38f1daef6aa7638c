"""Runs TFLite files, and says what they need."""

import threading

import numpy as np


def tflite_operators(path):
    """Names of the operators that a TFLite file needs.

    Args:
        path: Path of the `.tflite` file.

    Returns:
        Set of strings; those of TensorFlow's own begin with `Flex`.

    Example:

    >>> "CONV_2D" in tflite_operators("edram.tflite")
    True
    """
    from tensorflow.lite.tools import flatbuffer_utils

    # From the file: the interpreter names those of its first graph only, and
    # neither those of a loop nor those of other signatures.
    model = flatbuffer_utils.read_model(str(path))
    return {
        code.customCode.decode()
        if code.customCode
        else flatbuffer_utils.opcode_to_name(model, index)
        for index, code in enumerate(model.operatorCodes)
    }


def open_tflite(file, num_threads=None):
    """Opens a TFLite file, see `formats.Format.open`; or its bytes.

    The function may be called by several threads; they wait for each other.

    Args:
        file: Path of the file, or its content as bytes.
        num_threads: Integer, threads that compute; by default one.

    Returns:
        The function, and the set of the signatures' names.

    Raises:
        RuntimeError: If the interpreter is not installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise RuntimeError(
            f"TFLite files need {error.name}: pip install ai-edge-litert"
        ) from error

    interpreter = Interpreter(
        **(
            {"model_content": file}
            if isinstance(file, bytes)
            else {"model_path": str(file)}
        ),
        num_threads=num_threads,
    )
    lock = threading.Lock()  # an interpreter has one caller at a time

    def run(signature, **inputs):
        with lock:
            runner = interpreter.get_signature_runner(signature)
            details = runner.get_input_details()
            for name in details.keys() & inputs.keys():
                _check_shape(
                    name, inputs[name], details[name]["shape_signature"]
                )
            return runner(**inputs)

    return run, set(interpreter.get_signature_list())


def _check_shape(name, value, expected):
    """The interpreter would take any shape, and some give other answers."""
    expected = [None if side < 0 else int(side) for side in expected]
    shape = np.shape(value)
    if len(shape) != len(expected) or any(
        side not in (None, given)
        for side, given in zip(expected, shape, strict=True)
    ):
        raise ValueError(
            f"`{name}` must have the shape {tuple(expected)}. "
            f"Received: an array of shape {shape}"
        )
