"""The TFLite file, for phones and small boards."""

import argparse
import json
import math
import re
import zipfile

import numpy as np

from keras_edram import files
from keras_edram.checks import check_boolean, check_choice, check_size
from keras_edram.serving import comparison, formats, quantization, signatures
from keras_edram.serving.interpreter import open_tflite, tflite_operators
from keras_edram.serving.quantization import convert

LABELS_FILE = "labels.txt"
METADATA_FILE = "metadata.json"
QUANTIZATIONS = (None, "float16", "int8", "static_int8")
# Measured of `edram_small_house_numbers`, the steepest, on 32 images: three
# quarters of them are off by 0.1 at most with float16, and by 0.34 with int8;
# those of one digit by 0.03 with float16. More would be a defect.
TOLERANCES = {
    None: comparison.EXACT,
    "float16": comparison.Tolerance(0.15, 0.1, share=0.25, places=2),
    "int8": comparison.Tolerance(0.4, 0.3, share=0.25, places=2),
    "static_int8": comparison.Tolerance(0.4, 0.3, share=0.25, places=2),
}


def export_tflite(
    model,
    path,
    quantize=None,
    *,
    image_size=None,
    images=None,
    steps=True,
    overwrite=False,
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
    answer `averages` those to a target or is the last one, and the
    `temperature` of the answer.

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
        images: Array of shape `(B, H, W, C)`, in [0, 255]: for
            `"static_int8"`, some hundred of those that the model will see.
        image_size: Integer or `(height, width)`, the size of the images that
            the file takes, of a model that takes any; a TFLite file computes
            in fixed sizes. Not of other models, which have their own.
        steps: Boolean, whether to write `start` and `look` too, for models
            that have them. Defaults to `True`.
        overwrite: Boolean, whether to replace a file that is there. Defaults
            to `False`.

    Returns:
        `pathlib.Path` of the file.

    Raises:
        ValueError: For an unknown `quantize`, `images` or an `image_size`
            that are missing, not wanted or do not fit each other, a path with
            another suffix, or a file that may not be replaced.
        RuntimeError: If the file needs operators that are not built in, does
            not agree with the model, or a package is missing.

    Example:

    >>> path = export_tflite(model, "small.tflite", quantize="float16")
    """
    check_choice(quantize, QUANTIZATIONS, "quantize")
    if (quantize == "static_int8") != (images is not None):
        raise ValueError(
            '`images` must be given for `quantize="static_int8"`, and for it '
            f"alone. Received: quantize={quantize!r}, images="
            f"{None if images is None else f'of shape {np.shape(images)}'}"
        )
    image_shape = _image_shape(model, image_size)
    if images is not None and np.shape(images)[1:] != image_shape:
        raise ValueError(
            "`images` must be of the shape that the file takes, (B, "
            f"{', '.join(map(str, image_shape))}). Received: images of shape "
            f"{np.shape(images)}"
        )
    path = files.with_suffix(path, [TFLITE.suffix])
    model = signatures.deployable(model)
    labels = signatures.label_lines(model)
    steps = check_boolean(steps, "steps") and model.looks_step_by_step
    keys = ["serving_default", *(signatures.STEP_SIGNATURES * steps)]
    with files.replacing(path, overwrite=overwrite) as partial:
        if quantize == "static_int8":
            content = quantization.quantize_convolutions(model, keys, images)
        else:
            content = convert(model, keys, quantize, image_shape)
        partial.write_bytes(content)
        with zipfile.ZipFile(partial, "a") as archive:
            archive.writestr(LABELS_FILE, labels + "\n")
            metadata = _metadata(model, image_shape)
            archive.writestr(METADATA_FILE, json.dumps(metadata))
        _refuse_flex_operators(partial)
        comparison.compare(
            model,
            partial,
            open_tflite,
            TOLERANCES[quantize],
            images=_compared(model, image_shape) if images is None else images,
            steps=steps,
        )
    return path


def _image_shape(model, image_size):
    """Of the images that the file takes; or raises."""
    if model.takes_any_size != (image_size is not None):
        raise ValueError(
            "`image_size` (--image-size HEIGHTxWIDTH) must be given for a "
            "model that takes images of any size, as a TFLite file is for one, "
            f"and for no other. Received: image_size={image_size}, a model of "
            f"images of shape {model.image_shape}"
        )
    if image_size is None:
        return model.image_shape
    return *check_size(image_size, "image_size"), model.image_shape[-1]


def _compared(model, image_shape):
    """Images of that shape, few if they are large."""
    number = comparison.MAX_VALUES // math.prod(image_shape)
    number = max(1, min(number, comparison.NUM_IMAGES))
    return comparison.compared_images(model, number, image_shape[:2])


def _metadata(model, image_shape):
    """What a program needs to know to use a TFLite file: plain values."""
    return {
        "class_names": signatures.class_names(model),
        "image_shape": image_shape,
        "image_range": [0, 255],
        "num_targets": model.num_targets,
        "num_glimpses": model.num_glimpses,
        "averages": model.answers_per_target == model.glimpses_per_target,
        "temperature": model.temperature,
    }


def _refuse_flex_operators(path):
    operators = sorted(tflite_operators(path))
    flex = [name for name in operators if name.startswith("Flex")]
    if flex:
        raise RuntimeError(
            "The TFLite file must have built-in operators only, so that it "
            f"runs on any device. It needs: {flex}"
        )


def run_tflite(path, images):
    """Outputs of a TFLite file, as NumPy arrays by name.

    Args:
        path: Path of the `.tflite` file.
        images: Array of shape `(B, H, W, C)`, in [0, 255].

    Returns:
        Dictionary of NumPy arrays, see `keras_edram.decoding.decode`.

    Raises:
        ValueError: For images of another shape, or with values that are not
            finite.

    Example:

    >>> images = np.zeros((3, 40, 50, 1))
    >>> run_tflite("edram.tflite", images)["labels"].shape
    (3, 2)
    """
    return formats.answers(open_tflite, path, images)


def _size(text):
    """`(height, width)` of the command's `--image-size`."""
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", text, re.ASCII):
        raise argparse.ArgumentTypeError(
            "must be HEIGHTxWIDTH in pixels, such as 480x640. "
            f"Received: {text!r}"
        )
    height, width = text.split("x")
    return int(height), int(width)


def _wants_images(quantize=None, **options):
    return quantize == "static_int8"


def _variants(model):
    """All quantizations, with `start` and `look` if the model has them."""
    quantization.import_quantizer()  # before the work, which takes minutes
    steps = model.looks_step_by_step
    variants = {
        f"model_{quantize}.tflite" if quantize else "model.tflite": dict(
            quantize=quantize, steps=steps
        )
        for quantize in QUANTIZATIONS
    }
    if steps:
        variants["model_static_int8_no_steps.tflite"] = dict(
            quantize="static_int8", steps=False
        )
    return variants


TFLITE = formats.Format(
    name="tflite",
    title="a TFLite file of built-in operators, for phones and small boards",
    suffix=".tflite",
    write=export_tflite,
    open=open_tflite,
    options=(
        formats.Option(
            "--quantize",
            "quantize",
            "float16, half the size; int8, weights of a third of the size, "
            "often faster; static_int8, convolutions that compute in 8 bits "
            "too, in ranges measured on validation images, which needs the "
            "extra `tflite`",
            dict(choices=QUANTIZATIONS[1:]),
        ),
        formats.Option(
            "--image-size",
            "image_size",
            "the height and width of images, such as 480x640, if the model "
            "takes any",
            dict(type=_size, metavar="HEIGHTxWIDTH"),
        ),
        formats.Option(
            "--no-steps",
            "steps",
            "leave out the signatures `start` and `look`",
            dict(action="store_false"),
        ),
    ),
    wants_images=_wants_images,
    variants=_variants,
)
