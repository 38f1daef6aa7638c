"""How a server answers a question: with what `model.read` says, and more."""

import base64
import io

import numpy as np
from keras import ops

from keras_edram import anytime, geometry, reading
from keras_edram.server import requests


def facts(model, *, dark_ground=False):
    """What one must know of a model to check a request to it.

    Args:
        model: A model of this package.
        dark_ground: Boolean, whether it learnt light digits on a dark ground.

    Returns:
        `keras_edram.server.requests.Facts`.

    Example:

    >>> facts(EDRAM.from_preset("edram_small_cluttered_mnist")).image_shape
    (100, 100, 1)
    """
    return requests.Facts(
        tuple(model.image_shape), anytime.why_no_budget(model), dark_ground
    )


def read(model, question):
    """What a model reads in the images of a question.

    Args:
        model: A model of this package.
        question: `Question`.

    Returns:
        List of dictionaries as of `model.read`. Those of a model that can have
        a budget of glimpses have `num_glimpses`. If glimpses were asked for
        also, in the order of looking: `windows`, four corners each, x and y as
        fractions of the image's sides, from the left top of the glimpse on
        clockwise; `patches`, PNG files as data URLs; and `seen`, the name and
        the probability that each glimpse alone gives, or `None`. What is odd
        about an image stands in `notes`.

    Example:

    >>> from keras_edram.server.requests import Question
    >>> read(model, Question(images, max_glimpses=1))[0]["num_glimpses"]
    1
    """
    looks = reading.look(
        model,
        question.images,
        confidence=question.confidence,
        # Where no budget is asked for, all glimpses are one: only the steps of
        # a budget are compiled, and eager ones take tens of times as long.
        max_glimpses=question.max_glimpses or num_glimpses(model),
    )
    rows = reading.answer(model, looks, question.refuse_below)
    if question.glimpses:
        _add_glimpses(model, looks, rows)
    for row, notes in zip(rows, question.notes, strict=False):
        if notes:
            row["notes"] = notes
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
    return None if anytime.why_no_budget(model) else model.num_glimpses


def _add_glimpses(model, looks, rows):
    """Adds to the answers of images what each glimpse saw, see `read`."""
    windows = reading.by_member(looks["transforms"], 2)  # (B, M, T, 2, 3)
    corners = ops.convert_to_numpy(geometry.window_corners(windows))
    patches = reading.by_member(looks["patches"], 3)  # (B, M, T, g, g, C)
    patches = np.nan_to_num(patches)  # a picture has no such values
    logits = reading.by_member(looks["labels"], 1)  # (B, M, T, K) or fewer
    for row, *seen in zip(rows, corners, patches, logits, strict=True):
        # The members of an ensemble after each other.
        windows, pictures, answers = map(np.concatenate, seen)
        taken = row.get("num_glimpses", len(windows))
        row["windows"] = windows[:taken].tolist()
        row["patches"] = [
            _data_url(model.patch_picture(patch)) for patch in pictures[:taken]
        ]
        row["seen"] = None
        if len(answers) == len(windows):
            row["seen"] = _seen(model, answers[:taken])


def _seen(model, logits):
    """Name and probability of each glimpse's own answer: `(T, K)` -> T."""
    probabilities = ops.convert_to_numpy(ops.softmax(logits, axis=-1))
    return [
        {
            "name": model.label_name(int(values.argmax())),
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
