"""Runs what was exported, for tests and to see that it agrees."""

import pathlib
import threading

import numpy as np


def run_saved_model(path, images):
    """Outputs of an exported SavedModel, as NumPy arrays by name.

    Args:
        path: Path of the folder that has `saved_model.pb`.
        images: Array of shape `(B, H, W, C)`, in [0, 255].

    Returns:
        Dictionary of NumPy arrays, see `keras_edram.decoding.decode`.

    Raises:
        ValueError: For images with values that are not finite.
    """
    run, _ = _open_saved_model(path)
    outputs = run("serving_default", images=_finite(images))
    outputs["names"] = np.char.decode(outputs["names"].astype(bytes), "utf-8")
    return outputs


def run_tflite(path, images):
    """Outputs of a TFLite file, as NumPy arrays by name.

    Args:
        path: Path of the `.tflite` file.
        images: Array of shape `(B, H, W, C)`, in [0, 255].

    Returns:
        Dictionary of NumPy arrays, see `keras_edram.decoding.decode`.

    Raises:
        ValueError: For images with values that are not finite.
    """
    run, _ = open_tflite(str(path))
    return run("serving_default", images=_finite(images))


def run_onnx(path, images):
    """Outputs of an ONNX file, as NumPy arrays by name.

    Args:
        path: Path of the `.onnx` file.
        images: Array of shape `(B, H, W, C)`, in [0, 255].

    Returns:
        Dictionary of NumPy arrays, see `keras_edram.decoding.decode`.

    Raises:
        ValueError: For images with values that are not finite.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    names = [output.name for output in session.get_outputs()]
    images = _finite(images)
    return dict(zip(names, session.run(names, {"images": images}), strict=True))


def run_steps(path, images, num_glimpses):
    """Glimpses of an export taken one at a time, by `start` and `look`.

    Args:
        path: Path of the SavedModel's folder or of the `.tflite` file.
        images: Array of shape `(B, H, W, C)`, in [0, 255].
        num_glimpses: Integer, how many to take.

    Returns:
        Dictionary of NumPy arrays: `step_probabilities` `(B, T, K)`,
        `step_transforms` `(B, T, 2, 3)`, `step_boxes` and `next_boxes` `(B, T,
        4)`.

    Raises:
        ValueError: For images with values that are not finite.
    """
    run, _ = open_export(path)
    images = _finite(images)
    state = run("start", images=images)
    steps = []
    for _ in range(num_glimpses):
        outputs = run("look", images=images, **state)
        state = {name: outputs.pop(name) for name in state}
        steps.append(outputs)
    return {
        name: np.stack([step[name] for step in steps], axis=1)
        for name in steps[0]
    }


def open_export(path):
    """Opens a SavedModel or a TFLite file.

    Args:
        path: Path of the SavedModel's folder or of the `.tflite` file.

    Returns:
        A function that runs a signature, `(name, **inputs)` -> dictionary of
        NumPy arrays, and the set of their names.
    """
    is_tflite = pathlib.Path(path).suffix.lower() == ".tflite"
    return (open_tflite if is_tflite else _open_saved_model)(str(path))


def tflite_operators(path):
    """Names of the operators that a TFLite file needs.

    Args:
        path: Path of the `.tflite` file.

    Returns:
        Set of strings; those of TensorFlow's own begin with `Flex`.
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


def _open_saved_model(path):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))

    def run(signature, **inputs):
        inputs = {name: tf.constant(value) for name, value in inputs.items()}
        outputs = loaded.signatures[signature](**inputs)
        return {name: value.numpy() for name, value in outputs.items()}

    return run, set(loaded.signatures)


def open_tflite(file, num_threads=None):
    """As `open_export`, of a path or of the bytes of a TFLite file.

    The function may be called by several threads; they wait for each other.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise RuntimeError(
            f"TFLite files need {error.name}: pip install ai-edge-litert"
        ) from error

    is_content = isinstance(file, bytes)
    interpreter = Interpreter(
        **{"model_content" if is_content else "model_path": file},
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


def _finite(images):
    """Images as float32; an export would give an answer to NaN as well."""
    images = np.asarray(images, "float32")
    if not np.isfinite(images).all():
        raise ValueError(
            "`images` must be finite numbers, in [0, 255]. Received: NaN or "
            "infinite ones"
        )
    return images
