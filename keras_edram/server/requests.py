"""What is asked of a server: requests are checked, then answered.

A request is the decoded body of KServe's V1 protocol, which is TensorFlow
Serving's row format with parameters:

    {"instances": [image, ...], "parameters": {"confidence": 0.99, ...}}

An image is nested lists of numbers, `(H, W, C)` in [0, 255], or a picture file
of any size as `{"b64": "..."}`.
"""

import base64
import io
import itertools
import math
import reprlib
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from keras_edram import anytime, decoding, geometry, visualization
from keras_edram.datasets.pictures import picture_size, read_picture

MAX_IMAGES = 64  # in a request
MAX_PIXELS = 25_000_000  # of a picture, as its head says, before decoding it
KEYS = ("instances", "parameters", "signature_name")
# An instance says by itself what it is: clients of TensorFlow Serving, which
# must name the kind, are understood too.
SIGNATURES = ("serving_default", "serving_uint8", "serving_bytes")


class Question(NamedTuple):
    """A request that was found to be right.

    Attributes:
        images: `(B, H, W, C)`, float32 in [0, 255].
        confidence: Float, see `keras_edram.anytime`, or `None`.
        max_glimpses: Integer, or `None`.
        refuse_below: Float, see `keras_edram.decoding.read_out`.
        glimpses: Boolean, whether to tell what each glimpse saw.
    """

    images: Any
    confidence: float | None = None
    max_glimpses: int | None = None
    refuse_below: float = 0.0
    glimpses: bool = False


PARAMETERS = Question._fields[1:]


def parse(request, model):
    """Checks a request to a model, and decodes its images.

    Args:
        request: The request's body, decoded.
        model: A model of this package.

    Returns:
        `Question`.

    Raises:
        ValueError: For a request that is not right, in one sentence.

    Example:

    >>> parse({"instances": images.tolist()}, model).images.shape
    (5, 100, 100, 1)
    """
    _check_keys(request, KEYS, "The request")
    signature = request.get("signature_name", SIGNATURES[0])
    if signature not in SIGNATURES:
        raise ValueError(
            f"`signature_name` must be one of {SIGNATURES}, if it is given. "
            f"Received: {_short(signature)}"
        )
    parameters = request.get("parameters", {})
    _check_keys(parameters, PARAMETERS, "`parameters`")
    parameters = {
        name: value for name, value in parameters.items() if value is not None
    }
    for name, kinds, low, high, description in (
        ("confidence", (int, float), 0, 1, "a number in [0, 1]"),
        ("max_glimpses", (int,), 1, math.inf, "an integer, at least 1"),
        ("refuse_below", (int, float), 0, 1, "a number in [0, 1]"),
        ("glimpses", (bool,), False, True, "true or false"),
    ):
        value = parameters.get(name)
        # To `isinstance` true is an integer.
        if value is not None and not (
            type(value) in kinds and low <= value <= high
        ):
            raise ValueError(
                f"`{name}` must be {description}. Received: {_short(value)}"
            )
    budget = {"confidence", "max_glimpses"} & set(parameters)
    if budget and num_glimpses(model) is None:
        raise ValueError(
            f"{type(model).__name__} does not look step by step: there is "
            f"nothing to stop early. Received: {_short(sorted(budget))}"
        )
    instances = request.get("instances")
    if not isinstance(instances, list) or not instances:
        raise ValueError(
            "`instances` must be a list with a row for each image. "
            f"Received: {_short(instances)}"
        )
    if len(instances) > MAX_IMAGES:
        raise ValueError(
            f"`instances` must have at most {MAX_IMAGES} images. "
            f"Received: {len(instances)}"
        )
    images = [
        _image(instance, f"instances[{index}]", tuple(model.image_shape))
        for index, instance in enumerate(instances)
    ]
    return Question(np.stack(images).astype("float32"), **parameters)


def read(model, question):
    """What a model reads in the images of a question.

    Args:
        model: A model of this package.
        question: `Question`.

    Returns:
        List of dictionaries as of `model.read`. Those of a model that looks
        step by step have `num_glimpses`. If glimpses were asked for also, in
        the order of looking: `windows`, four corners each, x and y as
        fractions of the image's sides, from the left top of the glimpse on
        clockwise; `patches`, PNG files as data URLs; and `seen`, the name and
        the probability that each glimpse alone gives, or `None`.

    Example:

    >>> read(model, Question(images, confidence=0.99))[0]["num_glimpses"]
    3
    """
    if num_glimpses(model) is not None:
        looks = anytime.look_until_sure(
            model, question.images, question.confidence, question.max_glimpses
        )
    else:
        looks = model.glimpses(question.images)
    rows = decoding.read_out(
        {**looks, **model.decode(looks)},
        model.class_names,
        question.refuse_below,
    )
    if question.glimpses:
        windows = visualization.steps(looks["transforms"], 2)  # (B, T, 2, 3)
        patches = visualization.steps(looks["patches"], 3)  # (B, T, g, g, C)
        logits = visualization.steps(looks["labels"], 1)  # (B, T, K) or fewer
        # In an image that is 1 wide and high, whose first pixel is at 0.5.
        corners = geometry.window_corners(windows, (1, 1)) + 0.5
        corners = ops.convert_to_numpy(corners)
        for index, row in enumerate(rows):
            taken = row.get("num_glimpses", windows.shape[1])
            row["windows"] = corners[index, :taken].tolist()
            row["patches"] = [
                _data_url(visualization.patch_picture(model, patch))
                for patch in patches[index, :taken]
            ]
            row["seen"] = None
            if logits.shape[1] == windows.shape[1]:
                row["seen"] = _seen(model, logits[index, :taken])
    return rows


def num_glimpses(model):
    """Glimpses at an image, `None` of a model that cannot stop early.

    Args:
        model: A model of this package.

    Returns:
        Integer T, or `None`.

    Example:

    >>> num_glimpses(EDRAM.from_preset("edram_small_cluttered_mnist"))
    6
    """
    if not hasattr(model, "step"):
        return None
    num_targets, glimpses_per_target, _ = anytime.count_glimpses(model)
    return num_targets * glimpses_per_target


def _seen(model, logits):
    """Name and probability of each glimpse's own answer: `(T, K)` -> T."""
    probabilities = ops.convert_to_numpy(ops.softmax(logits, axis=-1))
    return [
        {
            "name": visualization.label_name(model, int(values.argmax())),
            "probability": float(values.max()),
        }
        for values in probabilities
    ]


def _data_url(picture):
    from PIL import Image

    if picture.shape[-1] == 1:
        picture = picture[..., 0]
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    content = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/png;base64,{content}"


def _check_keys(value, keys, what):
    if not isinstance(value, dict):
        raise ValueError(
            f"{what} must be a JSON object. Received: {_short(value)}"
        )
    unknown = sorted(set(value) - set(keys))
    if unknown:
        raise ValueError(
            f"{what} may have {', '.join(keys)}. Received: {_short(unknown)}"
        )


def _image(instance, where, image_shape):
    """The image of a row: pixels, or a picture file in base64."""
    if isinstance(instance, dict):
        return _picture(instance, where, image_shape)
    expected = (
        f"{where} must be an array of shape {image_shape} with numbers in "
        '[0, 255], or {"b64": "..."}'
    )
    try:
        image = np.array(instance, "float64")
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(
            f"{expected}. Received: lists of different lengths, or what is no "
            "number"
        ) from error
    if image.shape != image_shape:
        raise ValueError(
            f"{expected}. Received: an array of shape {image.shape}"
        )
    chained = itertools.chain.from_iterable
    # NumPy takes "7" and true for numbers too.
    if not set(map(type, chained(chained(instance)))) <= {int, float}:
        raise ValueError(f"{expected}. Received: what is no number")
    if not ((image >= 0) & (image <= 255)).all():
        raise ValueError(f"{expected}. Received: numbers beyond that")
    return image


def _picture(instance, where, image_shape):
    content = instance.get("b64")
    if set(instance) != {"b64"} or not isinstance(content, str):
        raise ValueError(
            f'{where} must be {{"b64": "..."}} with a picture file in base64. '
            f"Received: {_short(instance)}"
        )
    try:
        content = base64.b64decode(content, validate=True)
    except ValueError as error:
        raise ValueError(
            f"{where} must have a picture file in base64: {error}"
        ) from error
    try:
        width, height = picture_size(content)
        if width * height <= MAX_PIXELS:
            return read_picture(content, image_shape)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    raise ValueError(
        f"{where} must be a picture of at most {MAX_PIXELS:,} pixels. "
        f"Received: {width} x {height}"
    )


def _short(value):
    """A value in few characters: it may be as large as a body."""
    return reprlib.repr(value)
