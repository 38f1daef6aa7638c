"""The ONNX file, for onnxruntime."""

import tempfile

from keras_edram import files
from keras_edram.serving import comparison, signatures

ONNX_OPSET = 18  # of ONNX 1.13, from the end of 2022


def export_onnx(model, path, *, overwrite=False):
    """Writes an ONNX file, for any batch size; needs the extra `onnx`.

    Its input is `images`, float32 `(B, H, W, C)` in [0, 255]; B is called
    `batch`, there and in all outputs. ONNX has one function a file, so there
    is no `start` and `look`. The names of the classes, a line each, are the
    metadata property `labels`.

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

    >>> export_onnx(model, "edram.onnx")
    >>> session = onnxruntime.InferenceSession("edram.onnx")
    >>> session.run(["labels", "boxes"], {"images": images})
    """
    path = files.with_suffix(path, [".onnx"])
    try:
        import onnx
        import onnxruntime  # noqa: F401 - runs the file in `compare`
        import tf2onnx
    except ImportError as error:
        raise RuntimeError(
            f'ONNX needs {error.name}: pip install "keras-edram[onnx]"'
        ) from error
    import tensorflow as tf

    model = signatures.deployable(model)
    with files.replacing(path, overwrite=overwrite) as partial:
        with tempfile.TemporaryDirectory() as folder:
            signatures.write_saved_model(
                model, folder, ["serving_default"], with_names=False
            )
            loaded = tf.saved_model.load(folder)  # kept: it has the weights
            serve = loaded.signatures["serving_default"]
            _, inputs = serve.structured_input_signature
            converted, _ = tf2onnx.convert.from_function(
                tf.function(lambda images: serve(images=images)),
                input_signature=[inputs["images"]],
                opset=ONNX_OPSET,
            )
        # The converter names the first axis of each tensor anew.
        for tensor in (*converted.graph.input, *converted.graph.output):
            tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
        onnx.helper.set_model_props(
            converted, {"labels": "\n".join(signatures.class_names(model))}
        )
        onnx.save(converted, partial)
        comparison.compare(model, partial, comparison.MAX_DIFFERENCE)
    return path
