"""From pictures to answers, the way that all take who read with a model.

Pictures are read in batches: thousands need no more memory than some. One that
cannot be read does not keep the others from their answers.
"""

import itertools
import math
import os
import warnings
from typing import Any, NamedTuple

import numpy as np

from keras_edram import anytime, decoding
from keras_edram.pictures import read_picture

BATCH_SIZE = 32
# Numbers in the images of a batch: large images come fewer at once.
MAX_VALUES = 2**25
# The picture that crops are taken from, to the crop: 64 to 54 pixels in the
# paper's section 4.2.
CROPPED = 64 / 54
IN_ONE = "has no value above 1, of 255: is it meant to be in [0, 1]?"
DARK_ON_LIGHT = (
    "is dark on light, and the model has learnt from light on dark: invert it, "
    "by `invert=True` or --invert"
)


class Reading(NamedTuple):
    """What became of a picture.

    Attributes:
        file: The file as it was given.
        answer: Dictionary, see `keras_edram.decoding.read_out`; `None` if
            there is no answer.
        error: String, why there is none; `None` if there is one.
        notes: List of strings, what is odd about the picture.
    """

    file: Any
    answer: dict | None
    error: str | None
    notes: list


def read_pictures(
    model, files, *, crops=None, invert=False, light_on_dark=False, **how
):
    """Reads picture files with a model, one batch after the other.

    Args:
        model: A model of this package.
        files: Iterable of paths, or of contents as bytes, see
            `keras_edram.datasets.read_picture`.
        crops: Integer, how many crops of each picture to average; they are
            taken from pictures that are read a little larger. By default none.
        invert: Boolean, whether to turn light and dark round, `255 - value`.
            Defaults to False.
        light_on_dark: Boolean, whether the model has learnt from what is light
            on dark alone: other pictures are noted. Defaults to False.
        **how: `refuse_below`, `confidence` and `max_glimpses`, see
            `read_images`.

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
    height, width, channels = model.image_shape
    if crops is not None:
        height, width = round(height * CROPPED), round(width * CROPPED)
    shape = height, width, channels
    batch_size = max(1, min(BATCH_SIZE, MAX_VALUES // math.prod(shape)))
    files = iter(files)
    while batch := list(itertools.islice(files, batch_size)):
        opened = [_open(file, shape, invert, light_on_dark) for file in batch]
        images = [image for _, image in opened if image is not None]
        answers = iter(())
        if images:
            with warnings.catch_warnings():
                # Of each picture it has been said what is odd about it.
                warnings.simplefilter("ignore", UserWarning)
                answers = iter(
                    read_images(model, np.stack(images), crops=crops, **how)
                )
        for reading, image in opened:
            if image is not None:
                reading = _answered(reading, next(answers))
            yield reading


def read_images(
    model,
    images,
    *,
    refuse_below=0.0,
    confidence=None,
    max_glimpses=None,
    crops=None,
):
    """Reads images of the size of the model's, one batch.

    Args:
        model: A model of this package.
        images: Array of shape `(B, H, W, C)` in [0, 255]; larger for crops.
        refuse_below: Float in [0, 1]: less probable answers are refused.
        confidence: Float in [0, 1]: stop looking at an image when a glimpse is
            this sure; by default never.
        max_glimpses: Integer, glimpses an image at most; by default as many as
            in training.
        crops: Integer, how many crops of each image to average, see
            `keras_edram.decoding.look_at_crops`; by default none.

    Returns:
        List of B dictionaries, see `keras_edram.decoding.read_out`; with a
        budget of glimpses also `num_glimpses`.

    Raises:
        ValueError: If an argument is out of range, or a budget is asked for
            with crops or of a model without steps.

    Example:

    >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
    >>> images = np.zeros((2, 100, 100, 1))
    >>> len(read_images(model, images))
    2
    """
    looks = look(model, images, confidence, max_glimpses, crops)
    return decoding.read_out(
        {**looks, **model.decode(looks)}, model.class_names, refuse_below
    )


def look(model, images, confidence=None, max_glimpses=None, crops=None):
    """What a model sees of images, within a budget or of crops.

    Args:
        model, images, confidence, max_glimpses, crops: As of `read_images`.

    Returns:
        A dictionary of NumPy arrays, see `EDRAM.glimpses`,
        `keras_edram.anytime.look_until_sure` with a budget, and
        `keras_edram.decoding.look_at_crops` of crops.

    Example:

    >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
    >>> look(model, np.zeros((2, 100, 100, 1)))["labels"].shape
    (2, 1, 6, 10)
    """
    if (confidence, max_glimpses) != (None, None):
        if crops is not None:
            raise ValueError(
                "`confidence` and `max_glimpses` are for one look at a "
                f"picture, not for several crops. Received: crops={crops}"
            )
        return anytime.look_until_sure(model, images, confidence, max_glimpses)
    if crops is None:
        return _glimpses(model, images)
    return decoding.look_at_crops(
        lambda crop: _glimpses(model, crop),
        images,
        model.image_shape[:2],
        crops,
    )


def read_image(file, image_shape, *, invert=False):
    """The image of a picture file, and what is odd about the file.

    Args:
        file, image_shape: As of `keras_edram.datasets.read_picture`.
        invert: Boolean, whether to turn light and dark round.

    Returns:
        uint8 array of shape `image_shape`, and a list of strings.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no picture.

    Example:

    >>> from keras_edram import presets
    >>> file = presets.FOLDER / "edram_small_cluttered_mnist/example.png"
    >>> image, notes = read_image(file, (100, 100, 1))
    >>> image.shape
    (100, 100, 1)
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = read_picture(file, image_shape)
    notes = [
        # Without the name, which is known.
        str(warning.message).removeprefix(f"{_name(file)} ")
        for warning in caught
        # Others are between libraries: what will change in their next version.
        if issubclass(warning.category, (UserWarning, RuntimeWarning))
    ]
    return 255 - image if invert else image, notes


def _open(file, image_shape, invert, light_on_dark):
    """A `Reading` without an answer yet, and the image or `None`."""
    try:
        image, notes = read_image(file, image_shape, invert=invert)
    except (OSError, ValueError) as error:
        return Reading(file, None, _why_broken(file, error), []), None
    if 0 < image.max() <= 1:
        notes.append(IN_ONE)
    if light_on_dark and _is_light_around(image):
        notes.append(DARK_ON_LIGHT)
    return Reading(file, None, None, notes), image


def _answered(reading, answer):
    values = np.append(np.ravel(answer["boxes"]), answer["probability"])
    if np.isfinite(values).all():
        return reading._replace(answer=answer)
    return reading._replace(
        error="the model's answer is not a number: what it computes with, or "
        "the picture, is not finite"
    )


def _glimpses(model, images):
    """As of `model.glimpses`; of many images, by a compiled step."""
    if len(images) < BATCH_SIZE:  # to compile takes as long as a few batches
        return model.glimpses(images)
    if model.members:
        looks = [_glimpses(member, images) for member in model.members]
        return {
            name: np.stack([seen[name] for seen in looks], axis=1)
            for name in ("labels", "transforms", "patches")
        }
    # A budget follows the mean policy, and rollouts do not.
    draws = model.has_policy and model.num_rollouts
    if draws or not model.looks_step_by_step:
        return model.glimpses(images)
    looks = anytime.look_until_sure(model, images)
    del looks["num_glimpses"]
    return looks


def _name(file):
    """A file's name in warnings, with escapes for what is not UTF-8."""
    return str(file).encode(errors="backslashreplace").decode()


def _is_light_around(image):
    """Whether the ground is light, by the edge of the image."""
    rows, columns = image[[0, -1]], image[:, [0, -1]]
    return np.median(np.append(rows, columns)) > 127


def _why_broken(file, error):
    """Why a file could not be read, as a clause."""
    if not isinstance(file, bytes):
        if os.path.isdir(file):
            if os.access(file, os.R_OK | os.X_OK):
                return "is a folder without pictures"
            return "is a folder that may not be opened"
        if os.path.isfile(file) and not os.path.getsize(file):
            return "is an empty file"
        if os.path.exists(file) and not os.path.isfile(file):
            return "is no file, but a device or the like"
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    # What its decoder said, or why it could not be opened.
    cause = error.__cause__ or error
    if type(cause).__name__ == "UnidentifiedImageError":
        return "is no picture that can be read"
    if isinstance(cause, OSError) and cause.strerror:
        return f"cannot be read: {cause.strerror}"
    return f"cannot be read: {cause}"
