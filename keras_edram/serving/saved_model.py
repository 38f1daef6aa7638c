"""The SavedModel, for TensorFlow Serving."""

import pathlib
import re

import numpy as np

from keras_edram import files
from keras_edram.checks import check_boolean, check_integer
from keras_edram.serving import comparison, formats, signatures

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
FOLDERS = ("variables", "assets", "assets.extra")
FILES = re.compile(
    r"saved_model\.pb|fingerprint\.pb|"
    r"variables/variables\.(index|data-\d{5}-of-\d{5})|"
    + re.escape(WARMUP_FILE)
)


def export_saved_model(
    model, path, version=1, *, warmup=False, overwrite=False
):
    """Writes a SavedModel that TensorFlow Serving takes: `path/version`.

    It has three signatures, for any batch size, and for images of any height
    and width if the model takes them, those of a batch alike:

    - `serving_default`: `images`, float32 `(B, H, W, C)` in [0, 255];
    - `serving_uint8`: `images`, the same as uint8;
    - `serving_bytes`: `image_bytes`, strings `(B,)`, picture files of any
      size, read as `datasets.read_picture` does; those that TensorFlow could
      not read so, such as WebP with transparent parts, fail, and so do
      pictures of several sizes for a model that reads them as they are.

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
        warmup: Boolean, whether to add a request to each signature, `start`
            and `look` among them, which TensorFlow Serving plays when it loads
            the model, so that the first who asks need not wait. Needs the
            extra `tf-serving`. Defaults to False.
        overwrite: Boolean, whether to replace the SavedModel that is there.
            Defaults to False.

    Returns:
        `pathlib.Path` of `path/version`.

    Raises:
        ValueError: If `version` is no positive integer, or something is there
            that may not be replaced: without `overwrite` anything, with it
            what is no SavedModel or has other files in it.
        RuntimeError: If the export does not agree with the model, or if
            `warmup` lacks its package.

    Example:

    >>> export_saved_model(model, "serving/edram")
    >>> loaded = tf.saved_model.load("serving/edram/1")
    >>> loaded.signatures["serving_default"](images=images)["boxes"]
    """
    version = check_integer(version, "version")
    check_boolean(warmup, "warmup")
    model = signatures.deployable(model)
    path = pathlib.Path(path) / str(version)
    # Before all else: a missing package is found at once.
    requests = (
        _warmup_requests(model, path.parent.resolve().name) if warmup else []
    )
    with files.replacing_folder(
        path, _strangers, overwrite=overwrite
    ) as partial:
        signatures.write_saved_model(model, partial)
        if requests:
            _write_warmup(requests, partial)
        comparison.compare(
            model, partial, open_saved_model, steps=model.looks_step_by_step
        )
    return path


def _strangers(folder):
    """What in a folder is no part of a SavedModel as it is written here."""
    if not (folder / "saved_model.pb").is_file():
        return sorted(path.name for path in folder.iterdir())
    paths = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*")
    }
    return sorted(
        name
        for name, path in paths.items()
        if path.is_symlink()
        or not (name in FOLDERS if path.is_dir() else FILES.fullmatch(name))
    )


def _warmup_requests(model, name):
    """A request to each signature, as `PredictionLog` messages."""
    (messages,) = formats.require(
        "A warm-up",
        "tf-serving",
        "tensorflow_serving.apis.prediction_log_pb2",
    )
    import tensorflow as tf

    pixels = comparison.compared_images(model, 1).astype("uint8")
    images = {"images": pixels.astype("float32")}
    inputs = {
        "serving_default": images,
        "serving_uint8": {"images": pixels},
        "serving_bytes": {"image_bytes": [tf.io.encode_png(pixels[0]).numpy()]},
    }
    if model.looks_step_by_step:
        state = signatures.first_state(model, tf.constant(images["images"]))
        inputs |= {"start": images, "look": {**images, **state}}
    logs = []
    for signature, values in inputs.items():
        log = messages.PredictionLog()
        request = log.predict_log.request
        request.model_spec.name = name
        request.model_spec.signature_name = signature
        for key, value in values.items():
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


def run_saved_model(path, images):
    """Outputs of an exported SavedModel, as NumPy arrays by name.

    Args:
        path: Path of the folder that has `saved_model.pb`.
        images: Array of shape `(B, H, W, C)`, in [0, 255].

    Returns:
        Dictionary of NumPy arrays, see `keras_edram.decoding.decode`, and
        `names` `(B, S)`, strings.

    Raises:
        ValueError: For images with values that are not finite.

    Example:

    >>> images = np.zeros((3, 40, 50, 1))
    >>> run_saved_model("models/edram/1", images)["labels"].shape
    (3, 2)
    """
    return formats.answers(open_saved_model, path, images)


def open_saved_model(path):
    """Opens a SavedModel, see `formats.Format.open`."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))

    def run(signature, **inputs):
        inputs = {name: tf.constant(value) for name, value in inputs.items()}
        outputs = loaded.signatures[signature](**inputs)
        outputs = {name: value.numpy() for name, value in outputs.items()}
        if "names" in outputs:  # bytes
            names = outputs["names"].astype(bytes)
            outputs["names"] = np.char.decode(names, "utf-8")
        return outputs

    return run, set(loaded.signatures)


SAVED_MODEL = formats.Format(
    name="saved_model",
    title="a SavedModel, the folder NAME/VERSION, for TensorFlow Serving, "
    "Python and C++: arrays or picture files",
    suffix="",
    write=export_saved_model,
    open=open_saved_model,
    options=(
        formats.Option(
            "--model-version",
            "version",
            "the number VERSION, 1 by default",
            dict(type=int, metavar="VERSION"),
        ),
        formats.Option(
            "--warmup",
            "warmup",
            "add requests that TensorFlow Serving plays when it loads it; "
            "needs the extra `tf-serving`",
            dict(action="store_true"),
        ),
    ),
)
