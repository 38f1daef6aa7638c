"""Annotated pictures in a grid."""

import textwrap

import numpy as np

from keras_edram import geometry
from keras_edram.pictures import look_at_picture
from keras_edram.visualization.canvas import (
    ANSWER_COLOUR,
    draw_windows,
    new_figure,
    number_windows,
    save,
    show,
    written,
)

PIXELS = 400  # the longer side of a picture


def plot_contact_sheet(annotations, path, *, number=24):
    """Draws annotated pictures in a grid, to see whether the boxes are right.

    Boxes have the object's place in the reading order and its label. Pictures
    are taken evenly from all. Those that cannot be used come first, as grey
    tiles with their name and what is wrong; they leave half of the tiles to
    the others.

    Args:
        annotations: `Annotations` of `keras_edram.datasets.read_annotations`.
        path: Path of the picture to write.
        number: Integer, pictures to draw at most.

    Raises:
        ValueError: If there is no picture, not even a broken one.

    Example:

    >>> plot_contact_sheet(read_annotations("my_photos"), "contact_sheet.png")
    """
    broken, pictures = _tiles(annotations, number)
    tiles = len(broken) + len(pictures)
    if not tiles:
        raise ValueError(
            "`annotations` must have a picture, and `number` be at least 1. "
            f"Received: {len(annotations.pictures)} pictures, number={number}"
        )
    columns = min(6, tiles)
    rows = -(-tiles // columns)
    figure = new_figure(figsize=(2.6 * columns, 2.4 * rows))
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, (name, what) in zip(axes.flat, broken, strict=False):
        _draw_broken(axis, name, what)
    for axis, picture in zip(axes.flat[len(broken) :], pictures, strict=False):
        _draw_annotated(axis, picture)
    save(figure, path)


def _tiles(annotations, number):
    """Broken files as (name, what), and pictures, together `number`."""
    broken = {}
    for problem in annotations.problems:
        if problem.broken:
            broken.setdefault(problem.file, problem.what)
    pictures = annotations.pictures
    places = max(number // 2, number - len(pictures))
    broken = list(broken.items())[:places]
    count = min(number - len(broken), len(pictures))
    chosen = np.linspace(0, len(pictures) - 1, count).round().astype(int)
    return broken, [pictures[index] for index in chosen]


def _draw_broken(axis, name, what):
    show(axis, np.full((3, 4, 3), 200))
    _set_title(axis, name)
    axis.text(
        0.5, 0.5, **written(textwrap.fill(what, 32)), fontsize=7,
        parse_math=False,
        ha="center", va="center", transform=axis.transAxes,
    )  # fmt: skip


def _draw_annotated(axis, picture):
    name = picture.path.name
    try:
        decoded, _ = look_at_picture(picture.path, colour=True)
    except (OSError, ValueError):
        _draw_broken(axis, name, "cannot be read to its end")
        return
    transforms = geometry.boxes_to_transforms(
        picture.boxes, box_format="xyxy", image_size=decoded.size[::-1]
    )
    decoded.thumbnail((PIXELS, PIXELS))
    image = np.asarray(decoded)
    show(axis, image)
    draw_windows(axis, image, transforms, ANSWER_COLOUR)
    number_windows(axis, image, transforms, picture.labels)
    _set_title(axis, name)


def _set_title(axis, name):
    title = written(name[-36:])
    axis.set_title(
        title["s"], fontfamily=title["fontfamily"], fontsize=7,
        parse_math=False,
    )  # fmt: skip
