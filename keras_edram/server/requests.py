"""What is asked of a server, checked: from the body's value to images.

A request is the decoded body of KServe's V1 protocol, which is TensorFlow
Serving's row format with parameters:

    {"instances": [image, ...], "parameters": {"confidence": 0.99, ...}}

An image is nested lists of numbers, `(H, W, C)` in [0, 255], or a picture file
of any size as `{"b64": "..."}`; either may be named as TensorFlow Serving does.
For a model that takes images of any size a picture stays as large as it is, and
all images of a request must be of one size.

Neither Keras nor TensorFlow is needed here, see `keras_edram.server.checking`.
"""

import base64
import itertools
import math
import re
import reprlib
from typing import Any, NamedTuple

import numpy as np

from keras_edram.picture_notes import image_notes, read_with_notes
from keras_edram.pictures import picture_size

MAX_IMAGES = 64  # in a request
MAX_VALUES = 2**26  # of all images of a request: 256 MiB as float32
MAX_BODY = 16 * 2**20  # bytes of a request, also when unpacked
MAX_PIXELS = 25_000_000  # of a picture, as its head says, before decoding it
KEYS = ("instances", "parameters", "signature_name")
# An instance says by itself what it is: clients of TensorFlow Serving, which
# must name the kind, are understood too.
SIGNATURES = ("serving_default", "serving_uint8", "serving_bytes")
INPUTS = ("images", "image_bytes")


class Facts(NamedTuple):
    """What one must know of a model to check a request to it.

    Attributes:
        image_shape: `(height, width, channels)`; `(None, None, channels)` if
            images may be of any size.
        no_budget: String, why it can have no budget of glimpses, see
            `keras_edram.anytime.why_no_budget`; `None` if it can.
        dark_ground: Boolean, whether it learnt light digits on a dark ground,
            as far as one knows.
    """

    image_shape: tuple
    no_budget: str | None = None
    dark_ground: bool = False


class Question(NamedTuple):
    """A request that was found to be right.

    Attributes:
        images: `(B, H, W, C)`, float32 in [0, 255]; for a model that takes
            images of any size uint8, if all are whole numbers, as those of
            pictures are: a photo would take four times the memory.
        confidence: Float, see `keras_edram.anytime`, or `None`.
        max_glimpses: Integer, or `None`.
        refuse_below: Float, see `keras_edram.decoding.read_out`.
        glimpses: Boolean, whether to tell what each glimpse saw.
        notes: List of what is odd about each image, a list of sentences.
    """

    images: Any
    confidence: float | None = None
    max_glimpses: int | None = None
    refuse_below: float = 0.0
    glimpses: bool = False
    notes: Any = ()


PARAMETERS = Question._fields[1:-1]
BUDGET = ("confidence", "max_glimpses")


def parse(request, facts):
    """Checks a request to a model, and decodes its images.

    Args:
        request: The request's body, decoded.
        facts: `Facts` of the model.

    Returns:
        `Question`.

    Raises:
        ValueError: For a request that is not right, in one sentence.

    Example:

    >>> parse({"instances": images.tolist()}, facts).images.shape
    (5, 100, 100, 1)
    """
    if isinstance(request, dict) and "inputs" in request:
        raise ValueError(
            "Columns, `inputs`, are not read here: send rows, `instances`, a "
            f"list of images. Received: {_short(sorted(request))}"
        )
    _check_keys(request, KEYS, "The request")
    signature = request.get("signature_name")
    if signature not in (None, *SIGNATURES):
        raise ValueError(
            f"`signature_name` must be one of {SIGNATURES}, if it is given. "
            f"Received: {_short(signature)}"
        )
    parameters = _parameters(request.get("parameters"), facts)
    instances = request.get("instances")
    _check_instances(instances, facts.image_shape)
    images, notes = _images(instances, facts)
    notes = [[f"This image {note}." for note in found] for found in notes]
    return Question(images, **parameters, notes=notes)


def possible_parameters(facts):
    """Names of the parameters that a model takes.

    Args:
        facts: `Facts` of the model.

    Returns:
        Tuple of strings.

    Example:

    >>> possible_parameters(Facts((28, 28, 1), "It looks but once"))
    ('refuse_below', 'glimpses')
    """
    if facts.no_budget is None:
        return PARAMETERS
    return tuple(name for name in PARAMETERS if name not in BUDGET)


def max_images(image_shape):
    """How many images a request may have: fewer if they are large.

    Args:
        image_shape: `(height, width, channels)`; without height and width it
            is not known whether they are large.

    Returns:
        Integer.

    Example:

    >>> max_images((100, 100, 1)), max_images((3200, 3200, 1))
    (64, 6)
    """
    if None in image_shape:
        return MAX_IMAGES
    return min(MAX_IMAGES, max(1, MAX_VALUES // math.prod(image_shape)))


def _parameters(parameters, facts):
    """The parameters that are given; null is as if it were not."""
    if parameters is None:
        return {}
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
    if facts.no_budget and {*BUDGET} & set(parameters):
        raise ValueError(facts.no_budget)
    return parameters


def _check_instances(instances, image_shape):
    if _is_an_image(instances, image_shape):
        raise ValueError(
            "`instances` must be a list with a row for each image: put the "
            "image into a list, also if it is the only one"
        )
    if not isinstance(instances, list) or not instances:
        raise ValueError(
            "`instances` must be a list with a row for each image. "
            f"Received: {_short(instances)}"
        )
    most = max_images(image_shape)
    if len(instances) > most:
        raise ValueError(
            f"`instances` must have at most {most} images. "
            f"Received: {len(instances)}"
        )


def _is_an_image(value, image_shape):
    """Whether it looks like one image and not like a list of them."""
    if isinstance(value, dict):
        return True
    sides = []
    while isinstance(value, list) and value and len(sides) < 4:
        sides.append(len(value))
        value = value[0]
    if not isinstance(value, (int, float)):
        return False
    *size, channels = image_shape
    if None in size:
        return len(sides) == 2 or sides[2:] == [channels]
    # A grey image is often without its channel.
    return sides in ([*size, channels], size)


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


def _images(instances, facts):
    """The images of all rows as one array, and the notes of each."""
    shape = facts.image_shape
    images, notes = [], []
    for index, instance in enumerate(instances):
        image, found = _image(
            instance, f"instances[{index}]", facts, shape, len(instances)
        )
        shape = image.shape  # that of all others
        images.append(image)
        notes.append(found)
    images = np.stack(images)  # (B, H, W, C)
    if None in facts.image_shape:
        whole = images.astype("uint8")
        if (whole == images).all():
            return whole, notes
    return images.astype("float32"), notes


def _image(instance, where, facts, shape, number):
    """The image of a row, pixels or a picture file in base64, and notes.

    Its shape must be that which is known: `None` is any height or width. The
    number is how many images of that shape there are to be.
    """
    if isinstance(instance, dict) and len(instance) == 1:
        ((name, value),) = instance.items()
        if name in INPUTS:
            instance = value
    if isinstance(instance, dict):
        return _picture(instance, where, facts, shape, number)
    expected = (
        f"{where} must be an array of shape {_in_words(shape)} with numbers in "
        '[0, 255], or {"b64": "..."}'
    )
    try:
        image = np.array(instance, "float64")
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(
            f"{expected}. Received: lists of different lengths, or what is no "
            "number"
        ) from error
    if not _fits(image.shape, shape):
        raise ValueError(
            f"{expected}. Received: an array of shape {image.shape}"
        )
    chained = itertools.chain.from_iterable
    # NumPy takes "7" and true for numbers too.
    if not set(map(type, chained(chained(instance)))) <= {int, float}:
        raise ValueError(f"{expected}. Received: what is no number")
    if not ((image >= 0) & (image <= 255)).all():
        raise ValueError(f"{expected}. Received: numbers beyond that")
    _check_number(number, image.shape)
    return image, image_notes(image, facts.dark_ground)


def _fits(found, shape):
    return len(found) == len(shape) and all(
        side in (None, given) for given, side in zip(found, shape, strict=True)
    )


def _in_words(shape):
    names = "height", "width", "channels"
    sides = (
        name if side is None else str(side)
        for name, side in zip(names, shape, strict=True)
    )
    return f"({', '.join(sides)})"


def _check_number(number, image_shape):
    most = max_images(image_shape)
    if number > most:
        height, width, _ = image_shape
        raise ValueError(
            f"`instances` must have at most {most} images of {width} x "
            f"{height} pixels. Received: {number}"
        )


def _picture(instance, where, facts, shape, number):
    content = instance.get("b64")
    if set(instance) != {"b64"} or not isinstance(content, str):
        raise ValueError(
            f'{where} must be {{"b64": "..."}} with a picture file in base64. '
            f"Received: {_short(instance)}"
        )
    try:
        content = _from_base64(content)
    except ValueError as error:
        raise ValueError(
            f"{where} must have a picture file in base64: {error}"
        ) from error
    try:
        width, height = picture_size(content)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"{where} must be a picture of at most {MAX_PIXELS:,} pixels. "
            f"Received: {width} x {height}"
        )
    if None in facts.image_shape:
        found = height, width, shape[-1]
        if not _fits(found, shape):
            raise ValueError(
                f"{where} must be of the size of the images before it, "
                f"{shape[1]} x {shape[0]}: ask for others by another request. "
                f"Received: {width} x {height}"
            )
        _check_number(number, found)  # before any is decoded
    try:
        return read_with_notes(
            content, facts.image_shape, light_on_dark=facts.dark_ground
        )
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _from_base64(text):
    """The bytes of base64 in any of the ways in which people write it.

    With line breaks, in the alphabet for URLs, without its padding, or as a
    data URL.
    """
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.lower().endswith(";base64"):
            raise ValueError("it is a data URL that is not in base64")
    text = re.sub(r"\s+", "", text).rstrip("=")
    text = text.translate(str.maketrans("-_", "+/"))
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _short(value):
    """A value in few characters: it may be as large as a body."""
    return reprlib.repr(value)
