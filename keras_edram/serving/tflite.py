"""The TFLite file, for phones and small boards."""

import json
import zipfile

import numpy as np

from keras_edram import files
from keras_edram.serving import comparison, quantization, running, signatures
from keras_edram.serving.quantization import convert

LABELS_FILE = "labels.txt"
METADATA_FILE = "metadata.json"
QUANTIZATIONS = (None, "float16", "int8", "static_int8")
# Weights in half or in 8 bits move the probabilities; more would be a defect.
MAX_QUANTIZED_DIFFERENCE = {"float16": 0.05, "int8": 0.3, "static_int8": 0.3}


def export_tflite(
    model, path, quantize=None, *, images=None, steps=True, overwrite=False
):
    """Writes a TFLite file of built-in operators, for any batch size.

    Its signature `serving_default` takes `images`, float32 `(B, H, W, C)` in
    [0, 255], and is what programs without signatures run; `start` and `look`
    are as of `export_saved_model`. TFLite's signature runners take images of
    other shapes too, and answer nonsense. Two files are
    associated with it, as TFLite's metadata have it in a ZIP archive at the end
    of the file, which any ZIP program opens: `labels.txt`, the names of the
    classes, a line each, and `metadata.json`: `class_names`, `image_shape`,
    `image_range`, `num_targets`, `num_glimpses` of an image, and whether the
    answer `averages` those to a target or is the last one.

    With `"int8"` weights have 8 bits and all else is computed in float. With
    `"static_int8"` the convolutions compute in 8 bits too, in ranges that are
    measured on images. Windows, reads, recurrent states and normalisations
    stay in float: a coordinate in 8 bits would miss by pixels.

    Args:
        model: `EDRAM`, `Ensemble`, `RAM` (its mean policy) or `Baseline`.
        path: Path of the `.tflite` file.
        quantize: `None` for float32 weights, `"float16"` for half the size,
            `"int8"` or `"static_int8"` for a quarter. The last needs the extra
            `tflite`.
        images: Array of shape `(N, H, W, C)`, in [0, 255]: for
            `"static_int8"`, some hundred of those that the model will see.
        steps: Boolean, whether to write `start` and `look` too, for models
            that have them. Defaults to `True`.
        overwrite: Boolean, whether to replace a file that is there. Defaults
            to `False`.

    Returns:
        `pathlib.Path` of the file.

    Raises:
        ValueError: For an unknown `quantize`, `images` that are missing, a
            path with another suffix, or a file that may not be replaced.
        RuntimeError: If the file needs operators that are not built in, does
            not agree with the model, or a package is missing.

    Example:

    >>> export_tflite(model, "edram.tflite", quantize="float16")
    """
    if quantize not in QUANTIZATIONS:
        raise ValueError(
            f"`quantize` must be one of {QUANTIZATIONS}. "
            f"Received: quantize={quantize!r}"
        )
    if (quantize == "static_int8") != (images is not None):
        raise ValueError(
            '`images` must be given for `quantize="static_int8"`, and for it '
            f"alone. Received: quantize={quantize!r}, images="
            f"{None if images is None else f'of shape {np.shape(images)}'}"
        )
    path = files.with_suffix(path, [".tflite"])
    model = signatures.deployable(model)
    steps = steps and model.looks_step_by_step
    keys = ["serving_default", *(signatures.STEP_SIGNATURES * steps)]
    with files.replacing(path, overwrite=overwrite) as partial:
        if quantize == "static_int8":
            content = quantization.quantize_convolutions(model, keys, images)
        else:
            content = convert(model, keys, quantize)
        partial.write_bytes(content)
        with zipfile.ZipFile(partial, "a") as archive:
            names = signatures.class_names(model)
            archive.writestr(LABELS_FILE, "\n".join(names) + "\n")
            archive.writestr(METADATA_FILE, json.dumps(_metadata(model)))
        _refuse_flex_operators(partial)
        comparison.compare(
            model,
            partial,
            MAX_QUANTIZED_DIFFERENCE.get(quantize, comparison.MAX_DIFFERENCE),
            images=images,
            steps=steps,
        )
    return path


def _metadata(model):
    """What a program needs to know to use a TFLite file: plain values."""
    return {
        "class_names": signatures.class_names(model),
        "image_shape": model.image_shape,
        "image_range": [0, 255],
        "num_targets": model.num_targets,
        "num_glimpses": model.num_glimpses,
        "averages": model.answers_per_target == model.glimpses_per_target,
    }


def _refuse_flex_operators(path):
    operators = sorted(running.tflite_operators(path))
    flex = [name for name in operators if name.startswith("Flex")]
    if flex:
        raise RuntimeError(
            "The TFLite file must have built-in operators only, so that it "
            f"runs on any device. It needs: {flex}"
        )
