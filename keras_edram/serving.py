"""Writes trained models for deployment: SavedModel, TFLite and ONNX.

Every signature that reads images has the same named outputs, those of
`decoding.decode`: `labels`, `lengths`, `probability`, `probabilities`,
`boxes`, `transforms` and `locations`. Two more, `start` and `look`, take one
glimpse at a time, so that the caller decides when to stop. What is written is
loaded again in another process and compared with the model before it gets its
name.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import keras
import numpy as np

from keras_edram import files, geometry
from keras_edram.anytime import count_glimpses
from keras_edram.models.ensemble import Ensemble

LABELS_FILE = "labels.txt"
METADATA_FILE = "metadata.json"
ONNX_OPSET = 18  # of ONNX 1.13, from the end of 2022
STEP_SIGNATURES = ["start", "look"]
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
QUANTIZATIONS = (None, "float16", "int8")
NUM_CHECKED_IMAGES = 9  # not the batch size that anything was traced with
CHECKED_GRID = 6  # values on a side, smooth between: noise is like no picture
# A trained policy of RAM is steep: from glimpse to glimpse it enlarges the
# last digit, on some images until it takes another path. A defect shows on
# nearly all images, so a quarter of them may differ by more.
CHECKED_QUANTILE = 0.75
MAX_DIFFERENCE = 5e-4
# Which label wins may change between two that are equal.
COMPARED = ("probability", "probabilities", "transforms", "locations")
STEP_COMPARED = ("step_probabilities", "step_transforms")
# Weights in half or in 8 bits move the probabilities; more would be a defect.
MAX_QUANTIZED_DIFFERENCE = {"float16": 0.05, "int8": 0.3}


def export_saved_model(model, path, version=1, *, warmup=False):
    """Writes a SavedModel that TensorFlow Serving takes: `path/version`.

    It has three signatures, for any batch size:

    - `serving_default`: `images`, float32 `(B, H, W, C)` in [0, 255];
    - `serving_uint8`: `images`, the same as uint8;
    - `serving_bytes`: `image_bytes`, strings `(B,)`, PNG or JPEG files of any
      size; they are stretched to that of the model's images.

    These have one more output, `names`, strings `(B, S)`: the labels as names
    of their classes, empty after the last object. For a model that looks step
    by step, `EDRAM` or `RAM`, there are two more:

    - `start`: `images`, float32 -> the state before the first glimpse, tensors
      `state_...` with the images along their first axis;
    - `look`: `images` and the state -> the state after a glimpse, and of the
      glimpse `step_probabilities` `(B, K)`, what it says alone;
      `step_transforms` `(B, 2, 3)`, its window; `step_boxes` `(B, 4)`, what
      that shows, as fractions of the image's sides; `next_boxes` `(B, 4)`,
      what the next would show, the best guess where the object is. Images of
      a batch can be at different glimpses.

    Args:
        model: `EDRAM`, `Ensemble`, `RAM` (its mean policy) or `Baseline`.
        path: Path of the folder; its name is the name of the model.
        version: Positive integer.
        warmup: Boolean, whether to add a request to each signature, which
            TensorFlow Serving plays when it loads the model, so that the
            first who asks need not wait. Needs the extra `tf-serving`. Defaults
            to False.

    Returns:
        `pathlib.Path` of `path/version`.

    Raises:
        ValueError: If `version` is not positive.
        RuntimeError: If the export does not agree with the model, or if
            `warmup` lacks its package.

    Example:

    >>> export_saved_model(model, "serving/edram")
    >>> loaded = tf.saved_model.load("serving/edram/1")
    >>> loaded.signatures["serving_default"](images=images)["boxes"]
    """
    if version < 1:
        raise ValueError(
            f"`version` must be at least 1. Received: version={version}"
        )
    model = deployable(model)
    path = pathlib.Path(path) / str(version)
    # Before all else: a missing package is found at once.
    requests = _warmup_requests(model, path.parent.name) if warmup else []
    with files.replacing(path) as partial:
        _write_saved_model(model, partial)
        if requests:
            _write_warmup(requests, partial)
        _compare(model, partial, MAX_DIFFERENCE)
    return path


def export_tflite(model, path, quantize=None):
    """Writes a TFLite file of built-in operators, for any batch size.

    Its signature `serving_default` takes `images`, float32 `(B, H, W, C)` in
    [0, 255]; `start` and `look` are as of `export_saved_model`. Two files are
    associated with it, as TFLite's metadata have it in a ZIP archive at the end
    of the file, which any ZIP program opens: `labels.txt`, the names of the
    classes, a line each, and `metadata.json`: `class_names`, `image_shape`,
    `image_range`, `num_targets`, `num_glimpses` of an image, and whether the
    answer `averages` those to a target or is the last one.

    Args:
        model: `EDRAM`, `Ensemble`, `RAM` (its mean policy) or `Baseline`.
        path: Path of the `.tflite` file.
        quantize: `None` for float32 weights, `"float16"` for half the size,
            `"int8"` for a quarter: weights of 8 bits, computed in float.

    Returns:
        `pathlib.Path` of the file.

    Raises:
        ValueError: For an unknown `quantize`.
        RuntimeError: If the file needs operators that are not built in, or
            does not agree with the model.

    Example:

    >>> export_tflite(model, "edram.tflite", quantize="float16")
    """
    if quantize not in QUANTIZATIONS:
        raise ValueError(
            f"`quantize` must be one of {QUANTIZATIONS}. "
            f"Received: quantize={quantize!r}"
        )
    import tensorflow as tf

    model = deployable(model)
    with tempfile.TemporaryDirectory() as folder:
        _write_saved_model(model, folder, with_names=False)
        signatures = ["serving_default"]
        if hasattr(model, "step"):
            signatures += STEP_SIGNATURES
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=signatures
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if quantize is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        content = converter.convert()
    path = pathlib.Path(path)
    with files.replacing(path) as partial:
        partial.write_bytes(content)
        with zipfile.ZipFile(partial, "a") as archive:
            archive.writestr(LABELS_FILE, "\n".join(class_names(model)) + "\n")
            archive.writestr(METADATA_FILE, json.dumps(_metadata(model)))
        _refuse_flex_operators(partial)
        _compare(
            model,
            partial,
            MAX_QUANTIZED_DIFFERENCE.get(quantize, MAX_DIFFERENCE),
        )
    return path


def export_onnx(model, path):
    """Writes an ONNX file, for any batch size; needs the extra `onnx`.

    Its input is `images`, float32 `(B, H, W, C)` in [0, 255]. ONNX has one
    function a file, so there is no `start` and `look`. The names of the
    classes, a line each, are the metadata property `labels`.

    Args:
        model: `EDRAM`, `Ensemble`, `RAM` (its mean policy) or `Baseline`.
        path: Path of the `.onnx` file.

    Returns:
        `pathlib.Path` of the file.

    Raises:
        ValueError: If the path has another suffix.
        RuntimeError: If the file does not agree with the model, or a package
            is missing.

    Example:

    >>> export_onnx(model, "edram.onnx")
    >>> session = onnxruntime.InferenceSession("edram.onnx")
    >>> session.run(["labels", "boxes"], {"images": images})
    """
    path = pathlib.Path(path)
    if path.suffix != ".onnx":
        raise ValueError(
            f"`path` must be that of a .onnx file. Received: path={str(path)!r}"
        )
    try:
        import onnx
        import onnxruntime  # noqa: F401 - runs the file in `_compare`
        import tf2onnx
    except ImportError as error:
        raise RuntimeError(
            f'ONNX needs {error.name}: pip install "keras-edram[onnx]"'
        ) from error
    import tensorflow as tf

    model = deployable(model)
    with tempfile.TemporaryDirectory() as folder:
        _write_saved_model(model, folder, with_names=False)
        loaded = tf.saved_model.load(folder)  # kept: it has the weights
        serve = loaded.signatures["serving_default"]
        _, inputs = serve.structured_input_signature
        converted, _ = tf2onnx.convert.from_function(
            tf.function(lambda images: serve(images=images)),
            input_signature=[inputs["images"]],
            opset=ONNX_OPSET,
        )
    onnx.helper.set_model_props(
        converted, {"labels": "\n".join(class_names(model))}
    )
    with files.replacing(path) as partial:
        onnx.save(converted, partial)
        _compare(model, partial, MAX_DIFFERENCE)
    return path


def run_saved_model(path, images):
    """Outputs of an exported SavedModel, as NumPy arrays by name.

    Args:
        path: Path of the folder that has `saved_model.pb`.
        images: Array of shape `(B, H, W, C)`, in [0, 255].

    Returns:
        Dictionary of NumPy arrays, see `keras_edram.decoding.decode`.
    """
    run, _ = _open_saved_model(path)
    outputs = run("serving_default", images=np.asarray(images, "float32"))
    outputs["names"] = np.char.decode(outputs["names"].astype(bytes), "utf-8")
    return outputs


def run_tflite(path, images):
    """Outputs of a TFLite file, as NumPy arrays by name.

    Args:
        path: Path of the `.tflite` file.
        images: Array of shape `(B, H, W, C)`, in [0, 255].

    Returns:
        Dictionary of NumPy arrays, see `keras_edram.decoding.decode`.
    """
    run, _ = _open_tflite(path)
    return run("serving_default", images=np.asarray(images, "float32"))


def run_onnx(path, images):
    """Outputs of an ONNX file, as NumPy arrays by name.

    Args:
        path: Path of the `.onnx` file.
        images: Array of shape `(B, H, W, C)`, in [0, 255].

    Returns:
        Dictionary of NumPy arrays, see `keras_edram.decoding.decode`.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    names = [output.name for output in session.get_outputs()]
    images = np.asarray(images, "float32")
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
    """
    run, _ = _open(path)
    images = np.asarray(images, "float32")
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


def _open(path):
    """Runs a signature of an export: `(name, **inputs)` -> its outputs.

    And the names of its signatures.
    """
    is_tflite = str(path).endswith(".tflite")
    return (_open_tflite if is_tflite else _open_saved_model)(path)


def _open_saved_model(path):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))

    def run(signature, **inputs):
        inputs = {name: tf.constant(value) for name, value in inputs.items()}
        outputs = loaded.signatures[signature](**inputs)
        return {name: value.numpy() for name, value in outputs.items()}

    return run, set(loaded.signatures)


def _open_tflite(path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))

    def run(signature, **inputs):
        return interpreter.get_signature_runner(signature)(**inputs)

    return run, set(interpreter.get_signature_list())


def class_names(model):
    """Names of the classes of a model, but the terminal label: strings."""
    number = model.num_classes - model.terminal
    return model.class_names or tuple(str(label) for label in range(number))


def _metadata(model):
    """What a program needs to know to use a TFLite file: plain values."""
    num_targets, glimpses_per_target, num_answers = count_glimpses(model)
    return {
        "class_names": class_names(model),
        "image_shape": model.image_shape,
        "image_range": [0, 255],
        "num_targets": num_targets,
        "num_glimpses": num_targets * glimpses_per_target,
        "averages": num_answers == glimpses_per_target,
    }


def tflite_operators(path):
    """Names of the operators that a TFLite file needs.

    Args:
        path: Path of the `.tflite` file.

    Returns:
        Set of strings; those of TensorFlow's own begin with `Flex`.
    """
    from ai_edge_litert.interpreter import Interpreter

    details = Interpreter(str(path))._get_ops_details()
    return {operator["op_name"] for operator in details}


def _refuse_flex_operators(path):
    flex = sorted(
        name for name in tflite_operators(path) if name.startswith("Flex")
    )
    if flex:
        raise RuntimeError(
            "The TFLite file must have built-in operators only, so that it "
            f"runs on any device. It needs: {flex}"
        )


def deployable(model):
    """The model itself, or its like that computes in float32, by the mean.

    Nothing is drawn when it serves: the same image, the same answer.

    Args:
        model: `EDRAM`, `Ensemble`, `RAM` or `Baseline`.

    Returns:
        Model of the same class.

    Example:

    >>> deployable(model).dtype_policy.compute_dtype
    'float32'
    """
    if isinstance(model, Ensemble):
        return Ensemble([deployable(member) for member in model.members])
    if model.dtype_policy.compute_dtype == "float32" and not getattr(
        model, "num_rollouts", 0
    ):
        return model
    config = {**model.get_config(), "dtype": "float32"}
    if "num_rollouts" in config:
        config["num_rollouts"] = 0
    copy = type(model).from_config(config)
    copy.set_weights(model.get_weights())
    return copy


def _write_saved_model(model, path, with_names=True):
    import tensorflow as tf

    height, width, channels = model.image_shape
    shape = (None, height, width, channels)

    names = [*class_names(model), ""]  # label -1 is the last

    # Traced once, all signatures call it.
    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, "images")])
    def answer(images):
        # A server does not compare shapes by itself: a picture whose height
        # and width are exchanged would get an answer.
        images = tf.ensure_shape(images, shape)
        return model.decode(model(images, training=False))

    def serve(images):
        answers = answer(images)
        if with_names:
            index = answers["labels"] % len(names)
            answers["names"] = tf.gather(names, index)
        return answers

    def serve_uint8(images):
        return serve(tf.cast(images, tf.float32))

    def decode_picture(content):
        picture = tf.io.decode_image(
            content, channels=channels, expand_animations=False
        )
        picture = tf.image.resize(picture, (height, width), antialias=True)
        return tf.ensure_shape(tf.round(picture), model.image_shape)

    def serve_bytes(image_bytes):
        return serve(
            tf.map_fn(
                decode_picture, image_bytes, fn_output_signature=tf.float32
            )
        )

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default",
        serve,
        input_signature=[tf.TensorSpec(shape, tf.float32, "images")],
    )
    archive.add_endpoint(
        "serving_uint8",
        serve_uint8,
        input_signature=[tf.TensorSpec(shape, tf.uint8, "images")],
    )
    archive.add_endpoint(
        "serving_bytes",
        serve_bytes,
        input_signature=[tf.TensorSpec((None,), tf.string, "image_bytes")],
    )
    if hasattr(model, "step"):
        _add_steps(archive, model)
    archive.write_out(str(path), verbose=False)


def _add_steps(archive, model):
    """Adds the signatures `start` and `look`."""
    import tensorflow as tf

    images_spec = tf.TensorSpec((None, *model.image_shape), tf.float32)

    def start(images):
        _, state = model.start(tf.ensure_shape(images, images_spec.shape))
        # A step for each image: a server joins requests to batches.
        steps = tf.fill(tf.shape(images)[:1], state.step)
        return _named(state._replace(step=steps))

    def look(images, *tensors):
        images = tf.ensure_shape(images, images_spec.shape)
        pyramid, like = model.start(images)
        state = tf.nest.pack_sequence_as(like, tensors)
        glimpse, state = model.step(pyramid, state)
        return {
            **_named(state),
            "step_probabilities": tf.nn.softmax(glimpse.logits),
            "step_transforms": glimpse.transforms,
            "step_boxes": shown(glimpse.transforms),
            "next_boxes": shown(model.next_windows(state)),
        }

    def shown(windows):
        return tf.clip_by_value(geometry.transforms_to_boxes(windows), 0, 1)

    start = tf.function(start, input_signature=[_spec("images", images_spec)])
    state = start.get_concrete_function().structured_outputs
    look = tf.function(
        look,
        input_signature=[
            _spec("images", images_spec),
            *(_spec(name, like) for name, like in state.items()),
        ],
    )
    archive.add_endpoint("start", start)
    archive.add_endpoint("look", look)


def _spec(name, like):
    import tensorflow as tf

    return tf.TensorSpec((None, *like.shape[1:]), like.dtype, name)


def _named(state):
    """The tensors of a state by name, in the order of its fields."""
    named = {}
    for name, value in state._asdict().items():
        if isinstance(value, tuple):
            for index, part in enumerate(value):
                named[f"state_{name}_{index}"] = part
        else:
            named[f"state_{name}"] = value
    return named


def _warmup_requests(model, name):
    """A request to each signature, as `PredictionLog` messages."""
    try:
        from tensorflow_serving.apis import prediction_log_pb2
    except ImportError as error:
        raise RuntimeError(
            "Warm-up requests need the package tensorflow-serving-api: "
            'pip install "keras-edram[tf-serving]"'
        ) from error
    import tensorflow as tf

    images = _checked_images(model.image_shape)[:1].astype("uint8")
    logs = []
    for signature, key, value in (
        ("serving_default", "images", images.astype("float32")),
        ("serving_uint8", "images", images),
        ("serving_bytes", "image_bytes", [tf.io.encode_png(images[0]).numpy()]),
    ):
        log = prediction_log_pb2.PredictionLog()
        request = log.predict_log.request
        request.model_spec.name = name
        request.model_spec.signature_name = signature
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        logs.append(log)
    return logs


def _write_warmup(requests, folder):
    """Writes the requests where TensorFlow Serving looks for them."""
    import tensorflow as tf

    path = pathlib.Path(folder) / WARMUP_FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            writer.write(request.SerializeToString())


def _compare(model, path, tolerance):
    """Raises unless what was written gives the model's own answers."""
    images = _checked_images(model.image_shape)
    answers = model.predict(images, verbose=0)
    expected = model.decode(answers)
    compared = COMPARED
    if hasattr(model, "step") and path.suffix != ".onnx":
        compared += STEP_COMPARED
        expected |= _glimpse_by_glimpse(answers)
    outputs = _run_apart(path, images)
    outputs.pop("names", None)  # says what the labels say
    if set(outputs) != set(expected):
        raise RuntimeError(
            f"The export must have the outputs {sorted(expected)}. "
            f"It has {sorted(outputs)}"
        )
    for name in compared:
        value = keras.ops.convert_to_numpy(expected[name])
        if name in STEP_COMPARED:
            # RAM's own answer is after its last glimpse only.
            outputs[name] = outputs[name][:, -value.shape[1] :]
        differences = np.abs(outputs[name] - value)
        difference = np.quantile(
            differences.reshape(len(images), -1).max(axis=1), CHECKED_QUANTILE
        )
        if not difference <= tolerance:
            raise RuntimeError(
                f"The export must agree with the model within {tolerance}. "
                f"Its {name} are off by {difference}"
            )


def _glimpse_by_glimpse(answers):
    """What `run_steps` has to give: `(B, S, N, ...)` -> `(B, T, ...)`."""
    logits, transforms = answers["labels"], answers["transforms"]
    probabilities = keras.ops.softmax(logits)
    return {
        "step_probabilities": keras.ops.reshape(
            probabilities, (len(logits), -1, logits.shape[-1])
        ),
        "step_transforms": transforms.reshape(len(logits), -1, 2, 3),
    }


def _run_apart(path, images):
    """Outputs of what was written, in a process that never saw the model."""
    with tempfile.TemporaryDirectory() as folder:
        given, answers = f"{folder}/images.npy", f"{folder}/outputs.npz"
        np.save(given, images)
        subprocess.run(
            [sys.executable, "-m", __name__, str(path), given, answers],
            check=True,
            capture_output=True,
        )
        with np.load(answers) as arrays:
            return dict(arrays)


def _checked_images(image_shape):
    """Smooth random images, `(n, H, W, C)` in [0, 255]."""
    grid = (NUM_CHECKED_IMAGES, CHECKED_GRID, CHECKED_GRID, image_shape[-1])
    values = np.random.default_rng(0).uniform(0, 255, grid)
    return keras.ops.convert_to_numpy(
        keras.ops.image.resize(values.astype("float32"), image_shape[:2])
    )


def _run(path, images):
    if str(path).endswith(".onnx"):
        return run_onnx(path, images)
    is_tflite = str(path).endswith(".tflite")
    outputs = (run_tflite if is_tflite else run_saved_model)(path, images)
    _, signatures = _open(path)
    if {*STEP_SIGNATURES} <= signatures:
        locations = outputs["locations"]
        steps = run_steps(path, images, locations.shape[1] * locations.shape[2])
        outputs |= {name: steps[name] for name in STEP_COMPARED}
    return outputs


def _main(path, given, answers):
    np.savez(answers, **_run(path, np.load(given)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
