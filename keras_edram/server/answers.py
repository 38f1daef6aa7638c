"""How a server answers questions: with what `model.read` says, and more."""

import base64
import io
import itertools
import math

import numpy as np
from keras import ops

from keras_edram import anytime, geometry, reading
from keras_edram.server import requests

NEVER = math.inf  # no glimpse is as sure


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


def read(model, questions):
    """What a model reads in the images of questions, all looked at together.

    Args:
        model: A model of this package.
        questions: List of `Question`; each may have a budget of its own.

    Returns:
        For each question a list of dictionaries as of `model.read`. Those of a
        model that can have a budget of glimpses have `num_glimpses`. If
        glimpses were asked for also, in the order of looking: `windows`, four
        corners each, x and y as fractions of the image's sides, from the left
        top of the glimpse on clockwise; `patches`, PNG files as data URLs; and
        `seen`, the name and the probability that each glimpse alone gives, or
        `None`. What is odd about an image or its answer stands in `notes`,
        a list of sentences.

    Example:

    >>> from keras_edram.server.requests import Question
    >>> (rows,) = read(model, [Question(images, max_glimpses=1)])
    >>> rows[0]["num_glimpses"]
    1
    """
    looks = _look(model, questions)
    rows = iter(reading.answer(model, looks))
    answers, start = [], 0
    for question in questions:
        end = start + len(question.images)
        answers.append(list(itertools.islice(rows, end - start)))
        for row in answers[-1]:
            if row["probability"] < question.refuse_below:
                row["sequence"] = None
        if question.glimpses:
            seen = {name: values[start:end] for name, values in looks.items()}
            _add_glimpses(model, seen, answers[-1])
        for row, notes in zip(answers[-1], question.notes, strict=False):
            if notes:
                row["notes"] = [*notes, *row.get("notes", ())]
        start = end
    return answers


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


def _look(model, questions):
    """What a model sees of the images of all questions, see `reading.look`."""
    images = np.concatenate([question.images for question in questions])
    budgets = [_budget(model, question) for question in questions]
    if len(set(budgets)) == 1:
        ((confidence, most),) = set(budgets)
        return reading.look(
            model, images, confidence=confidence, max_glimpses=most
        )
    # All look as long as the largest budget lets them; of each image is then
    # left out what came after the end of its own.
    confidences = [NEVER if sure is None else sure for sure, _ in budgets]
    sizes = [len(question.images) for question in questions]
    largest = None if NEVER in confidences else max(confidences)
    most = np.repeat([most for _, most in budgets], sizes)  # (B,)
    glimpses = anytime.take_glimpses(model, images, largest, most.max())
    glimpses = anytime.stop_when_sure(
        model, glimpses, np.repeat(np.float32(confidences), sizes)
    )
    glimpses = glimpses._replace(taken=np.minimum(glimpses.taken, most))
    return anytime.looks_of(model, glimpses)


def _budget(model, question):
    """The confidence and the number of glimpses that an image is done with."""
    number = num_glimpses(model)
    if number is None:
        return None, None
    # Where none is asked for, all glimpses are one: an answer says how many
    # were taken, and what has a budget is compiled.
    return question.confidence, min(question.max_glimpses or number, number)


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
