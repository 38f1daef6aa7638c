"""The user's own pictures and where which objects are on them."""

import pathlib
from typing import NamedTuple

import numpy as np

from keras_edram.datasets.annotation_formats import FORMATS, find_format
from keras_edram.datasets.annotation_formats.entries import (
    Problem,
    relative_name,
    sorted_names,
)
from keras_edram.datasets.pictures import decode_picture, picture_size
from keras_edram.datasets.reading_order import lines_order

ORDERS = ("lines", "annotated")
# Annotators round: what reaches so far beyond a picture, in pixels, is none.
ROUNDING = 1


class AnnotatedPicture(NamedTuple):
    """A picture file and the objects on it, in reading order.

    Attributes:
        path: `pathlib.Path` of the file.
        labels: n strings, the names of the objects' classes.
        boxes: float64 array of shape `(n, 4)`: left, top, right, bottom in
            pixels of the picture as it is shown, 0 being its left and its
            upper edge.
        image: uint8 array of shape `(h, w, 3)`, if the picture is in memory
            rather than in the file. Defaults to `None`.
    """

    path: pathlib.Path
    labels: tuple
    boxes: np.ndarray
    image: np.ndarray | None = None


class Annotations(NamedTuple):
    """What a folder of annotated pictures has.

    Attributes:
        pictures: Tuple of `AnnotatedPicture`, those that can be used, ordered
            by their paths.
        class_names: Tuple of strings, the names of the labels 0, 1, ...
        problems: Tuple of `Problem`. A picture with one that is `broken` is
            not among the `pictures`.
        directory: `pathlib.Path` of the folder.
    """

    pictures: tuple
    class_names: tuple
    problems: tuple
    directory: pathlib.Path


def read_annotations(directory, *, annotation_format=None, order="lines"):
    """Reads which objects are where on the pictures of a folder.

    Only the heads of the pictures are read, see `check_pictures` for the rest.
    What is wrong with single pictures is listed, all of it, not raised.

    The boxes must be those of a picture as it is shown: where a camera noted
    that it is to be turned (EXIF), in pixels of the turned picture.

    Formats, where they lie in the folder, and what is taken from them:

    - `"coco"`: one `*.json` there or in `annotations/`, with `images`,
      `annotations` and `categories`; file names relative to the folder or to
      its `images/`. Boxes are left, top, width, height. The classes are the
      categories that have objects, in order of their ids.
    - `"yolo"`: text files `a.txt` for a picture `a.jpg`, beside it or in
      `labels/` as the picture in `images/`, with a line `class cx cy w h` an
      object, in fractions of the picture's sides; a picture without one has no
      objects. The classes are the `names` of `data.yaml`, or the lines of
      `classes.txt`.
    - `"voc"`: `a.xml` for a picture `a.jpg`, beside it or in `Annotations/` as
      the picture in `JPEGImages/`. Pixels count from 1 and the last belongs to
      the box: left is `xmin - 1` and right is `xmax`. The classes are the
      names that occur, sorted.
    - `"csv"`: one `*.csv` there with the header
      `file,label,xmin,ymin,xmax,ymax` and a line an object; a line with a file
      alone is a picture without objects. Edges count from 0. The classes are
      the labels that occur, sorted.

    Args:
        directory: Path of the folder.
        annotation_format: One of those names. By default it is found out.
        order: `"lines"`, objects are read line by line and each from the left,
            see `lines_order`; or `"annotated"`, as they are listed.

    Returns:
        `Annotations`.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If there are annotations of no format or of more than one,
            or those of all pictures cannot be read.

    Example:

    >>> annotations = read_annotations("my_photos")
    >>> annotations.class_names
    ('0', '7')
    >>> annotations.pictures[0].labels
    ('7', '0')
    """
    directory = pathlib.Path(directory)
    if not directory.is_dir():
        raise FileNotFoundError(f"There is no folder {directory}")
    for name, value, known in (
        ("annotation_format", annotation_format, (None, *FORMATS)),
        ("order", order, ORDERS),
    ):
        if value not in known:
            raise ValueError(
                f"`{name}` must be one of {known}. Received: {name}={value!r}"
            )
    read = FORMATS[annotation_format or find_format(directory)].read
    source = read(directory)
    pictures, problems = [], list(source.problems)
    entries = {relative_name(e.path, directory): e for e in source.entries}
    for file, entry in sorted(entries.items()):
        picture, found = _look_at(entry, order)
        if picture is not None:
            pictures.append(picture)
        problems += [Problem(file, *problem) for problem in found]
    class_names = source.class_names
    if class_names is None:
        class_names = sorted_names(
            label for entry in source.entries for label in entry.labels
        )
    return Annotations(
        tuple(pictures),
        tuple(dict.fromkeys(class_names)),
        tuple(problems),
        directory,
    )


def check_pictures(annotations):
    """Decodes every picture wholly, as files may be cut short or damaged.

    Args:
        annotations: `Annotations` of `read_annotations`.

    Returns:
        List of `Problem`, those that are not among `annotations.problems`.

    Example:

    >>> check_pictures(read_annotations("my_photos"))
    []
    """
    problems = []
    for picture in annotations.pictures:
        try:
            decode_picture(picture.path, colour=True)
        except (FileNotFoundError, ValueError) as error:
            file = relative_name(picture.path, annotations.directory)
            problems.append(Problem(file, why_unreadable(error), True))
    return problems


def box_problems(boxes, size):
    """What is wrong with boxes on a picture.

    Args:
        boxes: Array of shape `(n, 4)`: left, top, right, bottom in pixels.
        size: `(width, height)` of the picture.

    Returns:
        List of `(what, broken)`, see `Problem`.

    Example:

    >>> box_problems(np.array([[0, 5, 9, 5]]), (20, 10))
    [('box 1 (0, 5, 9, 5) has no area', True)]
    """
    problems = []
    width, height = size
    for number, box in enumerate(boxes, start=1):
        left, top, right, bottom = box
        numbers = ", ".join(f"{side:g}" for side in box)
        name, picture = f"box {number} ({numbers})", f"{width}x{height} pixels"
        if not (right > left and bottom > top):  # nor if it is no number
            problems.append((f"{name} has no area", True))
        elif right <= 0 or bottom <= 0 or left >= width or top >= height:
            problems.append((f"{name} is outside the {picture}", True))
        elif (
            min(left, top) < -ROUNDING
            or right > width + ROUNDING
            or bottom > height + ROUNDING
        ):
            problems.append((f"{name} reaches beyond the {picture}", False))
    return problems


def why_unreadable(error):
    """What `decode_picture` or `picture_size` raised, as a clause.

    Example:

    >>> why_unreadable(FileNotFoundError("There is no picture file a.png"))
    'there is no such file'
    """
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if type(error.__cause__).__name__ == "UnidentifiedImageError":
        return "is no picture that can be read"
    return f"is a picture that cannot be read: {error.__cause__ or error}"


def _look_at(entry, order):
    """The picture of an entry if it can be used, and (what, broken)."""
    problems = [(what, True) for what in entry.problems]
    boxes = np.array(entry.boxes, "float64").reshape(-1, 4)
    try:
        size = picture_size(entry.path)
    except (FileNotFoundError, ValueError) as error:
        problems.append((why_unreadable(error), True))
    else:
        if entry.fractions:
            boxes = boxes * np.tile(size, 2)
        problems += box_problems(boxes, size)
        if min(entry.size) > 0 and tuple(entry.size) != size:
            annotated = "x".join(f"{side:g}" for side in entry.size)
            problems.append(
                (f"has {size[0]}x{size[1]} pixels, annotated are {annotated}",
                 False)
            )  # fmt: skip
    if any(broken for _, broken in problems):
        return None, problems
    labels = np.array(entry.labels, object)
    if order == "lines":
        read = lines_order(boxes)
        labels, boxes = labels[read], boxes[read]
    return AnnotatedPicture(entry.path, tuple(labels), boxes), problems
