"""The ONNX file, for onnxruntime."""

import tempfile

from keras_edram import files
from keras_edram.serving import comparison, formats, signatures

ONNX_OPSET = 18  # of ONNX 1.13, from the end of 2022


def export_onnx(model, path, *, overwrite=False):
    """Writes an ONNX file, for any batch size; needs the extra `onnx`.

    Its input is `images`, float32 `(B, H, W, C)` in [0, 255]; B is called
    `batch`, there and in all outputs. Of a model that takes images of any size
    H and W are called `height` and `width`. ONNX has one function a file, so
    there is no `start` and `look`. The names of the classes, a line each, are
    the metadata property `labels`.

    Args:
        model: `EDRAM`, `Ensemble`, `RAM` (its mean policy) or `Baseline`.
        path: Path of the `.onnx` file.
        overwrite: Boolean, whether to replace a file that is there. Defaults
            to `False`.

    Returns:
        `pathlib.Path` of the file.

    Raises:
        ValueError: If the path has another suffix, or there is a file that
            may not be replaced.
        RuntimeError: If the file does not agree with the model, or a package
            is missing.

    Example:

    >>> import onnxruntime
    >>> path = export_onnx(model, "edram.onnx")
    >>> session = onnxruntime.InferenceSession("edram.onnx")
    >>> inputs = {"images": images.astype("float32")}
    >>> labels, boxes = session.run(["labels", "boxes"], inputs)
    """
    path = files.with_suffix(path, [ONNX.suffix])
    # onnxruntime runs the file when it is compared.
    onnx, converter, _ = formats.require(
        "ONNX", "onnx", "onnx", "tf2onnx", "onnxruntime"
    )
    model = signatures.deployable(model)
    labels = signatures.label_lines(model)
    with files.replacing(path, overwrite=overwrite) as partial:
        converted = _convert(model, converter.convert)
        # The converter names unknown axes of each tensor anew.
        for tensor in (*converted.graph.input, *converted.graph.output):
            tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
        if model.takes_any_size:
            (images,) = converted.graph.input
            _, height, width, _ = images.type.tensor_type.shape.dim
            height.dim_param, width.dim_param = "height", "width"
        onnx.helper.set_model_props(converted, {"labels": labels})
        onnx.save(converted, partial)
        comparison.compare(model, partial, open_onnx)
    return path


def _convert(model, convert):
    """The answer to images as a model of ONNX."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        signatures.write_saved_model(
            model, folder, ["serving_default"], with_names=False
        )
        loaded = tf.saved_model.load(folder)  # kept: it has the weights
        serve = loaded.signatures["serving_default"]
        _, inputs = serve.structured_input_signature
        converted, _ = convert.from_function(
            tf.function(lambda images: serve(images=images)),
            input_signature=[inputs["images"]],
            opset=ONNX_OPSET,
        )
    return converted


def run_onnx(path, images):
    """Outputs of an ONNX file, as NumPy arrays by name.

    Args:
        path: Path of the `.onnx` file.
        images: Array of shape `(B, H, W, C)`, in [0, 255].

    Returns:
        Dictionary of NumPy arrays, see `keras_edram.decoding.decode`.

    Raises:
        ValueError: For images with values that are not finite.
        RuntimeError: If the extra `onnx` is missing.

    Example:

    >>> path = export_onnx(model, "edram.onnx")
    >>> run_onnx(path, images)["labels"].shape
    (5, 1)
    """
    return formats.answers(open_onnx, path, images)


def open_onnx(path):
    """Opens an ONNX file, see `formats.Format.open`."""
    (onnxruntime,) = formats.require("ONNX", "onnx", "onnxruntime")
    session = onnxruntime.InferenceSession(str(path))
    names = [output.name for output in session.get_outputs()]

    def run(signature, **inputs):
        return dict(zip(names, session.run(names, inputs), strict=True))

    return run, {"serving_default"}


ONNX = formats.Format(
    name="onnx",
    title="an ONNX file, for ONNX Runtime: C++, C#, Java, JavaScript",
    suffix=".onnx",
    write=export_onnx,
    open=open_onnx,
    needs="the extra `onnx`",
)
