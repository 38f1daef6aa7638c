"""Checks of arguments, sizes and images, for layers, models and data alike."""

import contextlib
import contextvars
import functools
import math
import numbers
import operator
import re
import warnings

import numpy as np

# What the letters of shapes stand for, in messages and comments.
LETTERS = {
    "B": "images",
    "H": "rows",
    "W": "columns",
    "C": "channels",
    "F": "maps",
    "M": "members",
    "S": "targets",
    "N": "glimpses a target",
    "T": "glimpses",
    "A": "answers a target",
    "K": "classes",
    "L": "objects of an answer",
    "P": "pictures of an image",
    "Z": "scales",
}


def check_integer(value, name, minimum=1, maximum=None):
    """The integer as Python's own.

    Args:
        value: What should be an integer, of any library.
        name: String, the argument's name.
        minimum: Integer, the least that it may be; `None` for any.
        maximum: Integer, the most that it may be; by default any.

    Raises:
        ValueError: For what is no integer, or another one.

    Example:

    >>> check_integer(np.int64(3), "units")
    3
    """
    try:
        integer = operator.index(value)
    except TypeError:
        integer = None
    if (
        integer is None
        or isinstance(value, bool)
        or (minimum is not None and integer < minimum)
        or (maximum is not None and integer > maximum)
    ):
        limits = "" if minimum is None else f" of at least {minimum}"
        if maximum is not None:
            limits = f" from {minimum} to {maximum}"
        raise ValueError(
            f"`{name}` must be an integer{limits}. Received: {name}={value!r}"
        )
    return integer


def check_number(value, name, minimum=0.0, maximum=None, *, above=False):
    """The finite number as Python's own, an integer or a float.

    Args:
        value: What should be a number, of any library.
        name: String, the argument's name.
        minimum: Float, the least that it may be. Defaults to 0.
        maximum: Float, the most that it may be; by default any.
        above: Boolean, whether `minimum` itself is too small.

    Raises:
        ValueError: For what is no finite number, or another one.

    Example:

    >>> check_number(1, "momentum", maximum=1)
    1
    """
    if (
        not isinstance(value, numbers.Real)
        or isinstance(value, bool)
        or not math.isfinite(value)
        or value < minimum
        or (above and value == minimum)
        or (maximum is not None and value > maximum)
    ):
        limits = f"above {minimum:g}" if above else f"of at least {minimum:g}"
        if maximum is not None:
            limits = f"from {minimum:g} to {maximum:g}"
        raise ValueError(
            f"`{name}` must be a finite number {limits}. "
            f"Received: {name}={value!r}"
        )
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value)


def check_boolean(value, name):
    """The truth value as Python's own; 0 and 1 are taken for one.

    Args:
        value: What should be a truth value, Python's or NumPy's.
        name: String, the argument's name.

    Raises:
        ValueError: For anything else, such as the string "no", which would be
            true.

    Example:

    >>> check_boolean(np.bool_(True), "antialias")
    True
    """
    if not isinstance(value, (numbers.Integral, np.bool_)) or value not in (
        0,
        1,
    ):
        raise ValueError(
            f"`{name}` must be True or False. Received: {name}={value!r}"
        )
    return bool(value)


def check_integers(values, length, name, minimum=1, maximum=None):
    """Integers, positive ones by default, as a tuple.

    Args:
        values: What should be integers, of any library.
        length: Integer, how many; `None` for any number.
        name: String, the argument's name.
        minimum: Integer, the least that each may be. Defaults to 1.
        maximum: Integer, the most that each may be; by default any.

    Raises:
        ValueError: For what is no integer, one out of range, or another number.

    Example:

    >>> check_integers([8, 16], None, "filters")
    (8, 16)
    """
    try:
        integers = tuple(
            check_integer(value, name, minimum, maximum) for value in values
        )
    except (TypeError, ValueError):
        integers = None
    if integers is None or (length is not None and len(integers) != length):
        number = "" if length is None else f"{length} "
        kind = "positive integers"
        if maximum is not None:
            kind = f"integers from {minimum} to {maximum}"
        raise ValueError(
            f"`{name}` must be {number}{kind}. Received: {name}={values!r}"
        )
    return integers


def check_image_shape(image_shape):
    """The shape of images as a tuple; `None` where they may be of any size.

    Args:
        image_shape: `(height, width, channels)`, or `(None, None, channels)`.

    Returns:
        Tuple of three.

    Raises:
        ValueError: For another number of values, or some that are none.

    Example:

    >>> check_image_shape([None, None, 1])
    (None, None, 1)
    """
    try:
        height, width, channels = image_shape
    except (TypeError, ValueError):
        height = width = channels = None
    if height is None and width is None and channels is not None:
        return None, None, check_integer(channels, "image_shape[2]")
    try:
        return check_integers(image_shape, 3, "image_shape")
    except ValueError:
        raise ValueError(
            "`image_shape` must be (height, width, channels), three integers "
            "of at least 1, or (None, None, channels) for images of any size. "
            f"Received: image_shape={image_shape!r}"
        ) from None


def check_size(size, name):
    """`(height, width)` from one integer or a pair of them.

    Args:
        size: Positive integer, or a tuple or list of two.
        name: String, the argument's name.

    Raises:
        ValueError: For anything else.

    Example:

    >>> check_size(54, "image_size")
    (54, 54)
    """
    pair = size if isinstance(size, (tuple, list)) else (size, size)
    try:
        return check_integers(pair, 2, name)
    except ValueError:
        raise ValueError(
            f"`{name}` must be a positive integer or two of them. "
            f"Received: {name}={size!r}"
        ) from None


def check_choice(value, choices, name):
    """Checks that a value is one of those that there are.

    Args:
        value: What was chosen.
        choices: Tuple or list.
        name: String, the argument's name.

    Raises:
        ValueError: For another value.

    Example:

    >>> check_choice("forward", ("forward", "backward"), "reading_order")
    """
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {choices}. Received: {name}={value!r}"
        )


def check_keys(values, names, name):
    """Checks that a dictionary has what is asked of it.

    Args:
        values: Dictionary.
        names: Strings, the keys that it must have.
        name: String, the argument's name.

    Raises:
        ValueError: If a key is missing.

    Example:

    >>> check_keys({"labels": 1}, ("labels",), "outputs")
    """
    if missing := [key for key in names if key not in values]:
        raise ValueError(
            f"`{name}` must have {', '.join(names)}, of which "
            f"{', '.join(missing)} is missing. Received: {name} with "
            f"{', '.join(map(str, values)) or 'nothing'}"
        )


def check_class_names(names, number=None):
    """The names of classes as a tuple, or `None`.

    Args:
        names: Strings; `None` if classes have none.
        number: Integer, how many there must be; by default any number.

    Raises:
        ValueError: For what is no string, the same name twice, or another
            number of names.

    Example:

    >>> check_class_names(["cat", "dog"], 2)
    ('cat', 'dog')
    """
    if names is None:
        return None
    if not np.iterable(names):
        raise ValueError(
            "`class_names` must be a list of strings. "
            f"Received: class_names={names!r}"
        )
    names = tuple(names)
    number = len(names) if number is None else number
    if (
        len(names) != number
        or len(set(names)) != number
        or not all(isinstance(name, str) and name for name in names)
    ):
        raise ValueError(
            "`class_names` must be a different string for each of the "
            f"{number} classes of objects. Received: class_names={names!r}"
        )
    return names


def check_images(images, channels=None):
    """Raises unless a tensor is a batch of images, of any size.

    Args:
        images: Tensor or array.
        channels: Integer, the channels that they must have; by default any.

    Raises:
        ValueError: For another shape, no pixel, or channels that are not known.

    Example:

    >>> check_images(np.zeros((2, 40, 50, 1)), channels=1)
    """
    shape = tuple(images.shape)
    if (
        len(shape) != 4
        or shape[3] is None
        or channels not in (None, shape[3])
        or 0 in shape[1:3]
    ):
        last = "channels" if channels is None else channels
        raise ValueError(
            f"`images` must have the shape (batch, height, width, {last}). "
            f"Received: images of shape {shape}"
        )


_IS_SAID = contextvars.ContextVar("what is odd was said already", default=False)
_NAMED_SHAPE = re.compile(r"(\w+) \(([^)]*)\)")


def check_shapes(pattern, *tensors):
    """Raises unless tensors have the shapes of a pattern: nothing broadcasts.

    Only what is known is compared: in a graph that may not be the batch.

    Args:
        pattern: String, a name and a shape for each tensor, such as
            `"labels (B, S), logits (B, S, N, K)"`. A letter is one size
            wherever it stands, a number is itself, and `...` are dimensions
            that are the same in all tensors, or missing.
        *tensors: Tensors or arrays.

    Raises:
        ValueError: For other shapes, or a tensor of unknown rank.

    Example:

    >>> labels, logits = np.zeros((3, 2)), np.zeros((3, 2, 6, 10))
    >>> check_shapes("labels (B, S), logits (B, S, N, K)", labels, logits)
    """
    expected = _parse(pattern)
    shapes = [tensor.shape for tensor in tensors]
    sizes = {}
    if all(
        _fits(shape, letters, sizes)
        for shape, (_, letters) in zip(shapes, expected, strict=True)
    ):
        return
    known = {letter for _, letters in expected for letter in letters}
    meanings = [
        f"{letter} {meaning}"
        for letter, meaning in LETTERS.items()
        if letter in known
    ]
    received = ", ".join(
        f"{name} of shape {shape if _no_rank(shape) else tuple(shape)}"
        for shape, (name, _) in zip(shapes, expected, strict=True)
    )
    wanted = _NAMED_SHAPE.sub(r"`\1` (\2)", pattern)
    raise ValueError(
        f"The shapes must be {wanted}{', of ' * bool(meanings)}"
        f"{', '.join(meanings)}. Received: {received}"
    )


@functools.cache
def _parse(pattern):
    """`"labels (B, S)"` -> `[("labels", ["B", "S"])]`"""
    return [
        (name, re.findall(r"[^, ]+", letters))
        for name, letters in _NAMED_SHAPE.findall(pattern)
    ]


def _no_rank(shape):
    """Whether it is the shape of a tensor of which TensorFlow knows nothing."""
    return getattr(shape, "rank", 0) is None


def _fits(shape, letters, sizes):
    """Whether a shape has these letters, with the `sizes` of those before."""
    if _no_rank(shape):
        return False
    if "..." in letters:
        free = len(shape) - len(letters) + 1
        if free < 0 or (free and free != sizes.setdefault("...", free)):
            return False
        place = letters.index("...")
        between = [f"...{index}" for index in range(free)]
        letters = letters[:place] + between + letters[place + 1 :]
    if len(shape) != len(letters):
        return False
    for size, letter in zip(shape, letters, strict=True):
        if size is None:
            continue
        known = sizes.setdefault(letter, size)
        if size != (int(letter) if letter.isdigit() else known):
            return False
    return True


def check_pixels(images):
    """Says when images have other values than those that models read.

    All black images are none of these.

    Args:
        images: Array of images.

    Raises:
        ValueError: For pixels that are not finite numbers.

    Example:

    >>> check_pixels(np.full((2, 40, 50, 1), 255))
    """
    images = np.asarray(images)
    if images.dtype.kind not in "biuf":  # bfloat16 is none of NumPy's own
        images = images.astype("float32")
    if not images.size:
        return
    least, most = float(images.min()), float(images.max())
    if not np.isfinite((least, most)).all():
        raise ValueError(
            "All pixels must be finite numbers. "
            f"Received: images with values from {least} to {most}"
        )
    found = None
    if least < 0 or most > 255:
        found = f"these are between {least:g} and {most:g}"
    elif 0 < most <= 1:
        found = f"the largest of these is {most:g}: multiply them by 255"
    if found and not _IS_SAID.get():
        warnings.warn(
            f"Images must have values in [0, 255], but {found}.",
            UserWarning,
            stacklevel=2,
        )


@contextlib.contextmanager
def without_warnings():
    """Within, `check_pixels` warns of nothing, as it was said already.

    Only in this thread, which filters of warnings do not know.

    Example:

    >>> with without_warnings():
    ...     check_pixels(np.full((2, 40, 50, 1), 1))
    """
    token = _IS_SAID.set(True)
    try:
        yield
    finally:
        _IS_SAID.reset(token)


def seen_images(images, channels):
    """Images that somebody hands over, as they are; checked.

    Args:
        images: Array or tensor of images, or lists of lists of pixels.
        channels: Integer, the channels that they must have.

    Returns:
        Array or tensor of shape `(B, H, W, C)`.

    Raises:
        ValueError: For another shape, or pixels that are not finite numbers.

    Example:

    >>> seen_images(np.zeros((2, 40, 50, 1)), channels=1).shape
    (2, 40, 50, 1)
    """
    if not hasattr(images, "shape"):
        try:
            images = np.asarray(images)
        except ValueError:
            raise ValueError(
                "`images` must be of one size, as an array of shape (batch, "
                f"height, width, {channels}); `model.read` takes a list of "
                f"several sizes. Received: a {type(images).__name__} of "
                "images that do not fit each other"
            ) from None
    check_images(images, channels)
    check_pixels(images)
    return images


def concrete(values):
    """Values as a NumPy array, or `None` of a tensor in a graph."""
    try:
        return np.asarray(values)
    # TensorFlow, Keras and JAX each have an error of their own for it.
    except (NotImplementedError, TypeError, ValueError):
        return None


def check_labels(labels, num_classes):
    """Raises if labels that can be seen are none of the classes.

    Args:
        labels: Tensor or array; negative labels mean that there is no target.
        num_classes: Integer, K: labels are 0 to K - 1.

    Raises:
        ValueError: For other labels.

    Example:

    >>> check_labels(np.array([[1, -1]]), num_classes=10)
    """
    labels = concrete(labels)
    if labels is None or not labels.size:
        return
    if labels.dtype.kind not in "biuf":
        raise ValueError(
            "Labels must be numbers, their names stand in `class_names`. "
            f"Received: labels of dtype {labels.dtype}"
        )
    wrong = labels[(labels >= num_classes) | (labels != np.floor(labels))]
    if wrong.size:
        raise ValueError(
            f"Labels must be integers from 0 to {num_classes - 1}, or negative "
            f"where there is no target. Received: a label {wrong[0]}"
        )


def check_probabilities(probabilities):
    """Raises for answers whose probability is no number, as of lost weights.

    Args:
        probabilities: Array of shape `(n,)`.

    Raises:
        ValueError: For what is no finite number.

    Example:

    >>> check_probabilities(np.array([0.5, 1.0]))
    """
    unknown = np.sum(~np.isfinite(probabilities))
    if unknown:
        raise ValueError(
            "The probabilities of the answers must be numbers. Received: "
            f"{unknown} of {len(probabilities)} that are none"
        )


def check_weights(sample_weight, values):
    """Raises unless there is one weight for each image of a batch.

    Args:
        sample_weight: Number, or tensor of shape `(B,)` or `(B, 1)`, as Keras
            hands them on; or `None`.
        values: Tensor of shape `(B, ...)`, what is to be weighed.

    Raises:
        ValueError: For weights of another shape.

    Example:

    >>> check_weights(np.ones(2), np.zeros((2, 3)))
    """
    if sample_weight is None:
        return
    shape = tuple(getattr(sample_weight, "shape", np.shape(sample_weight)))
    batch = values.shape[0]
    same = None in (*shape[:1], batch) or shape[:1] == (batch,)
    if shape and not (same and shape[1:] in ((), (1,))):
        raise ValueError(
            "`sample_weight` must have the shape (batch,) or (batch, 1). "
            f"Received: sample_weight of shape {shape}, a batch of "
            f"{batch}"
        )
