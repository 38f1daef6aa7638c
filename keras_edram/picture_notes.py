"""What is odd about a picture that can be read, and why one cannot, as clauses.

The command, the server and the checks of folders say it in these words.
"""

import os

import numpy as np

from keras_edram.pictures import ONE_COLOUR, look_at_image

IN_ONE = (
    "has values of at most 1, which is black in [0, 255]: are they meant to be "
    "in [0, 1]?"
)
DARK_ON_LIGHT = (
    "is dark on light, and the model has learnt from light on dark: exchange "
    "light and dark"
)


def read_with_notes(file, image_shape, *, invert=False, light_on_dark=False):
    """Reads a picture file as `read_picture`, and says what is odd about it.

    Args:
        file, image_shape: As of `read_picture`.
        invert: Boolean, whether to turn light and dark round, `255 - value`.
            Defaults to False.
        light_on_dark: Boolean, whether the model has learnt from what is light
            on dark alone. Defaults to False.

    Returns:
        uint8 array of shape `image_shape`, or `(height, width, channels)` of
        the picture where that has none, and a list of strings, clauses without
        the name of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no picture.

    Example:

    >>> from keras_edram import presets
    >>> file = presets.FOLDER / "edram_small_cluttered_mnist/example.png"
    >>> image, notes = read_with_notes(file, (100, 100, 1))
    >>> image.shape
    (100, 100, 1)
    """
    image, notes = look_at_image(file, image_shape)
    shown = 255 - image if invert else image
    notes += image_notes(image) or image_notes(shown, light_on_dark)
    return shown, list(dict.fromkeys(notes))


def image_notes(image, light_on_dark=False):
    """What is odd about an image, though it can be read.

    Args:
        image: Array of shape `(H, W, C)` in [0, 255].
        light_on_dark: Boolean, whether the model has learnt from what is light
            on dark alone. Defaults to False.

    Returns:
        List of clauses, most often empty.

    Example:

    >>> image_notes(np.full((28, 28, 1), 9))
    ['is of one colour: there is nothing to read']
    """
    if image.min() == image.max():
        return [ONE_COLOUR]
    if image.max() <= 1:
        return [IN_ONE]
    edges = image[[0, -1]], image[:, [0, -1]]
    is_light_around = np.median(np.concatenate([*map(np.ravel, edges)])) > 127
    return [DARK_ON_LIGHT] * bool(light_on_dark and is_light_around)


def why_unreadable(file, error):
    """Why a file could not be read as a picture, as a clause.

    Args:
        file: Path of the file, or its content as bytes.
        error: `OSError` or `ValueError` of `read_picture`, `decode_picture`
            or `picture_size`.

    Returns:
        String, without the name of the file.

    Example:

    >>> error = FileNotFoundError("There is no picture file a.png")
    >>> why_unreadable("a.png", error)
    'there is no such file'
    """
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
