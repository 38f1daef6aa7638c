"""From pictures to answers, the one way that all take who read with a model.

`look` is what a model sees of images, `answer` what it says of that; the
command, the server, `model.read` and an evaluation are made of these two.

Images are looked at in batches: thousands need no more memory than some. A
picture that cannot be read does not keep the others from their answers.

Letters in shapes: B images, M members, S targets, N glimpses a target, T = S N,
A answers to a target, K classes, g glimpse side, C channels.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from keras_edram import anytime, decoding
from keras_edram.checks import (
    check_boolean,
    check_images,
    check_integer,
    without_warnings,
)
from keras_edram.picture_notes import read_with_notes, why_unreadable

BATCH_SIZE = 32
# Numbers in the images of a batch: large images come fewer at once.
MAX_VALUES = 2**25
# The picture that crops are taken from, to the crop: 64 to 54 pixels in the
# paper's section 4.2.
CROPPED = 64 / 54
NOTHING = "nothing"  # the answer that there is no object
REFUSED = "I do not know"
NO_END = "may hold more than was read: no end was seen"


class Reading(NamedTuple):
    """What became of a picture.

    Attributes:
        file: The file as it was given.
        answer: Dictionary, see `keras_edram.decoding.read_out`; `None` if
            there is no answer.
        error: String, why there is none; `None` if there is one.
        notes: List of strings, what is odd about the picture, or its answer.
    """

    file: Any
    answer: dict | None
    error: str | None
    notes: list


def look(
    model,
    images,
    *,
    glimpses_per_target=None,
    confidence=None,
    max_glimpses=None,
    crops=None,
    batch_size=BATCH_SIZE,
    with_patches=True,
):
    """What a model sees of images, batch by batch.

    Args:
        model: A model of this package.
        images: Array of shape `(B, H, W, C)` in [0, 255], of the size of the
            model's; larger for crops. Or a list of B arrays `(H, W, C)`, which
            may be of several sizes: those of one size that follow each other
            are looked at together.
        glimpses_per_target: Integer, how often to look at each target; by
            default as often as in training.
        confidence: Float in [0, 1]: stop looking at an image when a glimpse is
            this sure, see `keras_edram.anytime`; by default never.
        max_glimpses: Integer, glimpses an image at most; by default as many as
            in training.
        crops: Integer, how many crops of each image to average, see
            `keras_edram.decoding.look_at_crops`; by default none. They are as
            large as the model's images, or 54 of 64 parts of the image if
            those may be of any size.
        batch_size: Integer, images at once, fewer if they are large. Defaults
            to 32.
        with_patches: Boolean, whether to keep what was seen, most of it all.
            Defaults to True.

    Returns:
        A dictionary of NumPy arrays, as of `model.glimpses`: `labels`
        `(B, S, A, K)`, `transforms` `(B, S, N, 2, 3)` and `patches`
        `(B, S, N, g, g, C)`, of which there are none of crops; those of an
        ensemble have M members after B. With a budget also `num_glimpses`
        `(B,)`, see `keras_edram.anytime.look_until_sure`.

    Raises:
        ValueError: If an argument is out of range, or a budget, `confidence`
            or `max_glimpses`, is asked for with crops, with another number of
            glimpses, or of a model that has none.

    Example:

    >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
    >>> look(model, np.zeros((2, 100, 100, 1)))["labels"].shape
    (2, 1, 6, 10)
    """
    batch_size = check_integer(batch_size, "batch_size")
    parts = batches(images, model.image_shape[-1], batch_size)
    if glimpses_per_target is not None:
        check_integer(glimpses_per_target, "glimpses_per_target")
    if (confidence, max_glimpses) != (None, None):
        budget = dict(confidence=confidence, max_glimpses=max_glimpses)
        anytime.check_budget(
            model,
            **budget,
            crops=crops,
            glimpses_per_target=glimpses_per_target,
        )
        look_at = functools.partial(anytime.look_until_sure, model, **budget)
    elif glimpses_per_target is None:
        look_at = functools.partial(_look_as_often, model)
    else:
        look_at = functools.partial(
            model.glimpses, glimpses_per_target=glimpses_per_target
        )
    if crops is not None:
        check_integer(crops, "crops")
        look_at = functools.partial(
            _look_at_crops, look_at, model.image_shape[:2], crops
        )
    return _together(map(look_at, parts), with_patches)


def batches(images, channels, batch_size=BATCH_SIZE):
    """Images as batches of one size each, in their order.

    Args:
        images: As of `look`.
        channels: Integer, the channels that they must have.
        batch_size: Integer, images at once, fewer if they are large. Defaults
            to 32.

    Returns:
        Iterator of arrays `(b, H, W, C)`, of at least one.

    Raises:
        ValueError: For images of another shape.

    Example:

    >>> images = [np.zeros((2, 3, 1)), np.zeros((2, 3, 1)), np.zeros((4, 5, 1))]
    >>> [batch.shape for batch in batches(images, 1)]
    [(2, 2, 3, 1), (1, 4, 5, 1)]
    """
    if isinstance(images, (list, tuple)) and len(images):
        images = [np.asarray(image) for image in images]
        for image in images:
            check_images(image[None], channels)
        runs = _runs(images, np.shape, batch_size)
        return map(np.stack, runs)  # each (b, H, W, C)
    images = images if hasattr(images, "shape") else np.asarray(images)
    check_images(images, channels)
    size = _batch_size(images.shape[1:], batch_size)
    return (
        images[start : start + size]
        for start in range(0, max(1, len(images)), size)
    )


def answer(model, looks, refuse_below=0.0):
    """What a model says of what it saw, in plain Python values.

    Args:
        model: A model of this package.
        looks: What `look` or `model.glimpses` gives.
        refuse_below: Float in [0, 1]: less probable answers are refused.

    Returns:
        List of B dictionaries, see `keras_edram.decoding.read_out`; with a
        budget of glimpses also `num_glimpses`. A model that reads to an end
        has not got there if its answer fills all targets, or all those that
        the budget let it look at; then `notes` say so, a list of sentences.

    Raises:
        ValueError: If `refuse_below` is not in [0, 1].

    Example:

    >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
    >>> looks = look(model, np.zeros((2, 100, 100, 1)), max_glimpses=1)
    >>> [row["num_glimpses"] for row in answer(model, looks)]
    [1, 1]
    """
    rows = decoding.read_out(
        {**looks, **_decode(model, looks)}, model.label_names, refuse_below
    )
    if model.terminal:
        for row in rows:
            taken = row.get("num_glimpses", model.num_glimpses)
            if len(row["labels"]) * model.glimpses_per_target >= taken:
                row["notes"] = [f"This image {NO_END}."]
    return rows


def in_words(answer):
    """What people are told of an answer.

    Args:
        answer: Dictionary, one of those that `answer` returns.

    Returns:
        String.

    Example:

    >>> in_words({"sequence": None, "names": ["7"]})
    'I do not know'
    """
    if answer["sequence"] is None:
        return REFUSED
    return answer["sequence"] if answer["names"] else NOTHING


def read_images(model, images, *, refuse_below=0.0, **how):
    """Reads images with a model: looks, and answers.

    Args:
        model, images: As of `look`.
        refuse_below: Float in [0, 1]: less probable answers are refused.
        **how: How to look, further arguments of `look`.

    Returns:
        List of B dictionaries, see `answer`.

    Raises:
        ValueError: As of `look` and `answer`.

    Example:

    >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
    >>> images = np.zeros((2, 100, 100, 1))
    >>> len(read_images(model, images))
    2
    """
    looks = look(model, images, with_patches=False, **how)
    return answer(model, looks, refuse_below)


def read_pictures(
    model, files, *, crops=None, invert=False, light_on_dark=False, **how
):
    """Reads picture files with a model, one batch after the other.

    A model that takes images of any size reads each picture in its own;
    pictures of one size that follow each other are a batch.

    Args:
        model: A model of this package.
        files: Iterable of paths, or of contents as bytes, see
            `keras_edram.datasets.read_picture`.
        crops: Integer, how many crops of each picture to average; they are
            taken from pictures that are read a little larger, or as large as
            they are if those may be of any size. By default none.
        invert: Boolean, whether to turn light and dark round, `255 - value`.
            Defaults to False.
        light_on_dark: Boolean, whether the model has learnt from what is light
            on dark alone: other pictures are noted. Defaults to False.
        **how: `refuse_below`, and how to look: further arguments of `look`.

    Yields:
        A `Reading` for each file, in their order.

    Raises:
        ValueError: As of `read_images`. A picture that cannot be read raises
            nothing: its `Reading` says why.

    Example:

    >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
    >>> [reading.error for reading in read_pictures(model, ["none.png"])]
    ['there is no such file']
    """
    check_boolean(invert, "invert")
    check_boolean(light_on_dark, "light_on_dark")
    height, width, channels = model.image_shape
    if crops is not None and height is not None:
        height, width = round(height * CROPPED), round(width * CROPPED)
    shape = height, width, channels
    every = (_open(file, shape, invert, light_on_dark) for file in files)
    for opened in _runs(every, lambda one: getattr(one[1], "shape", None)):
        images = [image for _, image in opened if image is not None]
        answers = iter(())
        if images:
            # Of each picture it has been said what is odd about it.
            with without_warnings():
                images = np.stack(images)  # (B, H, W, C)
                answers = iter(read_images(model, images, crops=crops, **how))
        for reading, image in opened:
            if image is not None:
                reading = _answered(reading, next(answers))
            yield reading


def by_member(values, rank):
    """Glimpses in the order of looking, member by member.

    Args:
        values: Array of shape `(B, S, N, *)`, or `(B, M, S, N, *)` of members.
        rank: Integer, how many axes `*` are.

    Returns:
        Array of shape `(B, M, T, *)`, M being 1 of a single model.

    Example:

    >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
    >>> looks = look(model, np.zeros((2, 100, 100, 1)))
    >>> by_member(looks["transforms"], 2).shape
    (2, 1, 6, 2, 3)
    """
    batch, *members, targets, number = values.shape[: values.ndim - rank]
    rest = values.shape[values.ndim - rank :]
    shape = (batch, math.prod(members), targets * number, *rest)
    return values.reshape(shape)  # (B, M, T, *)


def _batch_size(image_shape, most=BATCH_SIZE):
    return max(1, min(most, MAX_VALUES // math.prod(image_shape)))


def _runs(items, shape_of, most=BATCH_SIZE):
    """Lists of items that follow each other and are looked at together.

    Their images have one shape; an item without an image has `None`.
    """
    run, shape = [], None
    for item in items:
        found = shape_of(item)
        if run and found is not None and shape not in (None, found):
            yield run
            run, shape = [], None
        run.append(item)
        shape = found or shape
        if len(run) >= (_batch_size(shape, most) if shape else most):
            yield run
            run, shape = [], None
    if run:
        yield run


def _look_at_crops(look_at, image_size, num_crops, images):
    """Crops of that size, or of a size in proportion to that of the images."""
    if None in image_size:
        image_size = [
            max(1, round(side / CROPPED)) for side in images.shape[1:3]
        ]
    elif num_crops > 1 and tuple(images.shape[1:3]) == tuple(image_size):
        raise ValueError(
            "Images must be larger than the model's, or all crops of them are "
            f"the same. Received: crops={num_crops}, images of shape "
            f"{images.shape}"
        )
    return decoding.look_at_crops(look_at, images, image_size, num_crops)


def _together(parts, with_patches):
    """What was seen of the batches: by name, `(B, ...)`."""
    collected = {}
    for looks in parts:
        for name, values in looks.items():
            if with_patches or name != "patches":
                collected.setdefault(name, []).append(values)
    return {
        name: np.concatenate(parts)  # (B, ...)
        for name, parts in collected.items()
    }


def _open(file, image_shape, invert, light_on_dark):
    """A `Reading` without an answer yet, and the image or `None`."""
    try:
        image, notes = read_with_notes(
            file, image_shape, invert=invert, light_on_dark=light_on_dark
        )
    except (OSError, ValueError) as error:
        return Reading(file, None, why_unreadable(file, error), []), None
    return Reading(file, None, None, notes), image


def _answered(reading, answer):
    values = np.append(np.ravel(answer["boxes"]), answer["probability"])
    if np.isfinite(values).all():
        notes = reading.notes + [NO_END] * ("notes" in answer)
        return reading._replace(answer=answer, notes=notes)
    return reading._replace(
        error="the model's answer is not a number: what it computes with, or "
        "the picture, is not finite"
    )


def _look_as_often(model, images):
    """As `model.glimpses`, compiled where that is worth it."""
    if not model.members and anytime.why_no_budget(model):
        return model.glimpses(images)
    graphs = anytime.Graphs.of(model)
    if not graphs.worth(len(images)):
        return model.glimpses(images)
    if model.members:
        looks = []
        for member in model.members:
            anytime.Graphs.of(member).num_looks = graphs.num_looks
            looks.append(_look_as_often(member, images))
        return {
            name: np.stack([seen[name] for seen in looks], axis=1)
            for name in looks[0]
        }  # (B, ...) -> (B, M, ...)
    looks = anytime.look_until_sure(model, images)
    del looks["num_glimpses"]
    return looks


def _decode(model, looks):
    """`model.decode`, compiled where that is worth it."""
    graphs = model.graphs
    if graphs is None or not graphs.is_asked_again:
        return model.decode(looks)
    outputs = {name: looks[name] for name in ("labels", "transforms")}
    shapes = {name: values.shape[1:] for name, values in outputs.items()}
    graph = graphs.get(
        ("decode", model.temperature, *shapes.values()),
        lambda: anytime.graph_of(model.decode, shapes),
    )
    return graph(outputs)
