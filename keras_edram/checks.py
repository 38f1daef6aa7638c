"""Checks of arguments, sizes and images, for layers, models and data alike."""

import operator
import warnings

import numpy as np


def check_integer(value, name, minimum=1):
    """The integer as Python's own; raises if it is none, or too small."""
    try:
        integer = operator.index(value)
    except TypeError:
        integer = None
    if integer is None or isinstance(value, bool) or integer < minimum:
        raise ValueError(
            f"`{name}` must be an integer of at least {minimum}. "
            f"Received: {name}={value!r}"
        )
    return integer


def check_integers(values, length, name):
    """Positive integers as a tuple, `length` of them if it is given."""
    try:
        integers = tuple(check_integer(value, name) for value in values)
    except (TypeError, ValueError):
        integers = None
    if integers is None or (length is not None and len(integers) != length):
        number = "" if length is None else f"{length} "
        raise ValueError(
            f"`{name}` must be {number}positive integers. "
            f"Received: {name}={values!r}"
        )
    return integers


def check_size(size, name):
    """`(height, width)` from one integer or a pair of them."""
    pair = size if isinstance(size, (tuple, list)) else (size, size)
    try:
        return check_integers(pair, 2, name)
    except ValueError:
        raise ValueError(
            f"`{name}` must be a positive integer or two of them. "
            f"Received: {name}={size!r}"
        ) from None


def check_choice(value, choices, name):
    """Raises unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {choices}. Received: {name}={value!r}"
        )


def check_class_names(names, number=None):
    """The names as a tuple, or `None`; raises unless they are `number`."""
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
    """Raises unless a tensor is a batch of images of known size.

    Args:
        images: Tensor or array.
        channels: Integer, the channels that they must have; by default any.
    """
    shape = tuple(images.shape)
    if len(shape) != 4 or None in shape[1:] or channels not in (None, shape[3]):
        last = "channels" if channels is None else channels
        raise ValueError(
            f"`images` must have the shape (batch, height, width, {last}), "
            f"all but the batch known. Received: images of shape {shape}"
        )


def check_same_batch(first, second, names):
    """Raises if two tensors are known to be batches of different sizes."""
    sizes = first.shape[0], second.shape[0]
    if None not in sizes and sizes[0] != sizes[1]:
        raise ValueError(
            f"There must be as many {names[1]} as {names[0]}. Received: "
            f"{names[0]} of shape {tuple(first.shape)}, {names[1]} of shape "
            f"{tuple(second.shape)}"
        )


def check_pixels(images):
    """Says when images have other values than those that models read.

    All black images are none of these.

    Args:
        images: Array of images.

    Raises:
        ValueError: For pixels that are not finite numbers.
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
    if found:
        warnings.warn(
            f"Images must have values in [0, 255], but {found}.",
            UserWarning,
            stacklevel=2,
        )


def seen_images(images, channels):
    """Images that somebody hands over, as they are; checked.

    Args:
        images: Array or tensor of images, or lists of lists of pixels.
        channels: Integer, the channels that they must have.

    Returns:
        Array or tensor of shape `(B, H, W, C)`.

    Raises:
        ValueError: For another shape, or pixels that are not finite numbers.
    """
    if not hasattr(images, "shape"):
        images = np.asarray(images)
    check_images(images, channels)
    check_pixels(images)
    return images


def concrete(values):
    """Values as a NumPy array, or `None` of a tensor in a graph."""
    try:
        return np.asarray(values)
    except (NotImplementedError, TypeError, ValueError):
        return None


def check_labels(labels, num_classes):
    """Raises if labels that can be seen are none of the classes.

    Args:
        labels: Tensor or array; negative labels mean that there is no target.
        num_classes: Integer, K: labels are 0 to K - 1.
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


def check_weights(sample_weight, values):
    """Raises unless there is one weight for each image of a batch."""
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


def check_targets(true, true_rank, predicted, rank, true_name, name):
    """Targets (B, S, ...) against predictions (B, S, N, ...)."""
    if (
        len(true.shape) != true_rank
        or len(predicted.shape) != rank
        or true.shape[1] != predicted.shape[1]
        or true.shape[2:] != predicted.shape[3 : 3 + true_rank - 2]
    ):
        raise ValueError(
            f"`{name}` must have one axis more than `{true_name}`, the "
            "glimpses after the targets: (batch, targets, glimpses, ...). "
            f"Received: {true_name} of shape {tuple(true.shape)}, {name} of "
            f"shape {tuple(predicted.shape)}"
        )
    check_same_batch(true, predicted, (true_name, name))
