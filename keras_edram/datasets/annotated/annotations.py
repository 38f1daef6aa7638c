"""The user's own pictures and where which objects are on them."""

import pathlib
from typing import NamedTuple

import numpy as np

from keras_edram.checks import check_choice
from keras_edram.datasets.annotated.formats import FORMATS, find_format
from keras_edram.datasets.annotated.formats.entries import (
    UNREAD,
    UNREAD_SUFFIXES,
    WHOLE,
    Problem,
    sorted_names,
)
from keras_edram.picture_notes import why_unreadable
from keras_edram.pictures import look_at_picture, picture_size
from keras_edram.reading_order import lines_order
from keras_edram.words import relative_name

ORDERS = ("lines", "annotated")
# Annotators round: what reaches so far beyond a picture, in pixels, is none.
ROUNDING = 1
# A box of less pixels than this on one side is hardly meant.
SMALLEST_SIDE = 2
# So many pictures tell what all have in common.
MANY = 5
# The overlap from which on two objects are said to be at the same place.
SAME_PLACE = 0.9


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
    that it is to be turned (EXIF), in pixels of the turned picture; where the
    size of the picture is annotated, it must be that. An object that is listed
    twice, with the same label and box, is one.

    Formats, where they lie in the folder, and what is taken from them:

    - `"coco"`: one `*.json` there or in `annotations/`, with `images`,
      `annotations` and `categories`; file names relative to the folder or to
      its `images/`. Boxes are left, top, width, height; where there is none,
      what holds the polygons of `segmentation`. What is marked as a crowd or
      to be ignored is left out. The classes are the categories that have
      objects, in order of their ids.
    - `"yolo"`: text files `a.txt` for a picture `a.jpg`, beside it or in
      `labels/` as the picture in `images/`, with a line `class cx cy w h` an
      object, in fractions of the picture's sides; a picture without one has no
      objects. The classes are the `names` of `data.yaml`, or the lines of
      `classes.txt`.
    - `"voc"`: `a.xml` for a picture `a.jpg`, beside it or in `Annotations/` as
      the picture in `JPEGImages/` or `images/`. Pixels count from 1 and the
      last belongs to the box: left is `xmin - 1` and right is `xmax`. The
      classes are the names that occur, sorted.
    - `"cvat"`: CVAT's own `annotations.xml` ("CVAT for images 1.1") there,
      names relative to the folder or to its `images/`; of polygons and turned
      boxes what holds them. The classes are the labels that occur, sorted.
    - `"csv"`: one `*.csv` there with the header
      `file,label,xmin,ymin,xmax,ymax`, in any order, among others, or called
      as TensorFlow's tables do, and a line an object; a line with a file
      alone is a picture without objects. Edges count from 0. The classes are
      the labels that occur, sorted.

    Names of files that an export took from another machine are looked up by
    their ends; see `formats.lookup`.

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
    check_choice(annotation_format, (None, *FORMATS), "annotation_format")
    check_choice(order, ORDERS, "order")
    read = FORMATS[annotation_format or find_format(directory)].read
    return look_at_pictures(read(directory), directory, order)


def look_at_pictures(source, directory, order):
    """The annotations of a `Source` together with the heads of its pictures.

    Args:
        source: `Source` of one of the formats.
        directory: `pathlib.Path` of the folder.
        order: See `read_annotations`.

    Returns:
        `Annotations`.
    """
    pictures, problems = [], list(source.problems)
    ends, sides = [], []  # of boxes, of pictures
    for entry in sorted(source.entries, key=lambda entry: entry.path):
        file = relative_name(entry.path, directory)
        # Python has bytes that are not UTF-8 as these halves of letters.
        if any("\udc80" <= letter <= "\udcff" for letter in str(entry.path)):
            entry.problems.append("has a name that is not UTF-8: rename it")
        picture, size, found = _look_at(entry, order)
        if picture is not None:
            pictures.append(picture)
            if len(picture.boxes) and not entry.fractions:
                ends.append(picture.boxes.max())
                sides.append(min(size))
        problems += [Problem(file, *problem) for problem in found]
    if len(ends) >= MANY and max(ends) <= 100 < min(sides) / 2:
        what = "all boxes end at 100 or before: are they per cent, not pixels?"
        problems.append(Problem(WHOLE, what, False))
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
        file = relative_name(picture.path, annotations.directory)
        try:
            _, notes = look_at_picture(picture.path, colour=True)
            problems += [Problem(file, note, False, note) for note in notes]
        except (OSError, ValueError) as error:
            what = why_broken(picture.path, error)
            problems.append(Problem(file, what, True))
    return problems


def box_problems(boxes, size):
    """What is wrong with boxes on a picture.

    Args:
        boxes: Array of shape `(n, 4)`: left, top, right, bottom in pixels.
        size: `(width, height)` of the picture.

    Returns:
        List of `(what, broken, kind)`, see `Problem`.

    Example:

    >>> box_problems(np.array([[0, 5, 9, 5]]), (20, 10))
    [('box 1 (0, 5, 9, 5) has no area', True, '')]
    """
    problems = []
    width, height = size
    for number, box in enumerate(boxes, start=1):
        left, top, right, bottom = box
        numbers = ", ".join(f"{side:g}" for side in box)
        name, picture = f"box {number} ({numbers})", f"{width}x{height} pixels"
        if not (right > left and bottom > top):  # nor if it is no number
            what = f"{name} has no area"
            if right < left or bottom < top:
                what += ": its right is left of its left, or its bottom above"
            problems.append((what, True, ""))
        elif right <= 0 or bottom <= 0 or left >= width or top >= height:
            problems.append((f"{name} is outside the {picture}", True, ""))
        elif (
            min(left, top) < -ROUNDING
            or right > width + ROUNDING
            or bottom > height + ROUNDING
        ):
            what = f"{name} reaches beyond the {picture}"
            problems.append((what, False, "boxes beyond their picture"))
        if 0 < min(right - left, bottom - top) < SMALLEST_SIDE:
            limit = f"less than {SMALLEST_SIDE} pixels wide or high"
            problems.append((f"{name} is {limit}", False, f"boxes {limit}"))
    return problems


def why_broken(path, error):
    """What `decode_picture` or `picture_size` raised of a file, as a clause.

    Example:

    >>> error = FileNotFoundError("There is no picture file a.png")
    >>> why_broken(pathlib.Path("a.png"), error)
    'there is no such file'
    """
    if path.suffix.lower() in UNREAD_SUFFIXES and path.is_file():
        return UNREAD
    return why_unreadable(path, error)


def _look_at(entry, order):
    """The picture, if it can be used, its size, and (what, broken, kind)."""
    problems = [(what, True, "") for what in entry.problems]
    problems += [(what, False, kind) for what, kind in entry.notes]
    labels = np.array(entry.labels, object)
    boxes = np.array(entry.boxes, "float64").reshape(-1, 4)  # (objects, 4)
    try:
        size = picture_size(entry.path)
    except (OSError, ValueError) as error:
        problems.append((why_broken(entry.path, error), True, ""))
    else:
        problems += _size_problems(entry, size)
        if entry.fractions:
            boxes = boxes * np.tile(size, 2)  # (objects, 4)
        labels, boxes, notes = _once(labels, boxes)
        problems += notes + box_problems(boxes, size)
    if any(broken for _, broken, _ in problems):
        return None, None, problems
    if order == "lines":
        read = lines_order(boxes)
        labels, boxes = labels[read], boxes[read]
    return AnnotatedPicture(entry.path, tuple(labels), boxes), size, problems


def _size_problems(entry, size):
    """(what, broken, kind) of a picture whose size is not the annotated one."""
    problems = []
    for annotated in dict.fromkeys(entry.sizes):
        if min(annotated) <= 0 or annotated == size:
            continue
        shown = "x".join(map(str, size))
        what = "x".join(f"{side:g}" for side in annotated)
        what = f"has {shown} pixels, annotated are {what}"
        if np.abs(np.subtract(annotated, size)).max() <= ROUNDING:
            problems.append((what, False, "sizes that are a pixel off"))
        elif annotated == _stored_size(entry.path):
            problems.append(
                (f"{what}, its size before it is turned as its EXIF says: so "
                 "may be the boxes. Annotate it as it is shown, or take the "
                 "orientation out of its EXIF if the boxes fit it then",
                 True, "")
            )  # fmt: skip
        else:
            problems.append(
                (f"{what}: the boxes may be those of another size. Annotate "
                 "this file, or put the annotated one here", True, "")
            )  # fmt: skip
    return problems


def _stored_size(path):
    """Width and height of a picture without the turn that its EXIF notes."""
    from PIL import Image

    with Image.open(path) as stored:
        return stored.size


def _once(labels, boxes):
    """Labels and boxes without those that come again, and what to note."""
    notes, kept, first = [], [], {}
    for index, (label, box) in enumerate(zip(labels, boxes, strict=True)):
        same = first.setdefault((label, *box), index)
        if same == index:
            kept.append(index)
            continue
        what = f"object {index + 1} is object {same + 1} again, and left out"
        notes.append((what, False, "objects that are listed twice"))
    labels, boxes = labels[kept], boxes[kept]
    for one, other in np.argwhere(np.triu(_overlaps(boxes), 1) >= SAME_PLACE):
        what = (
            f"objects {kept[one] + 1} and {kept[other] + 1}, {labels[one]} and "
            f"{labels[other]}, are at nearly the same place"
        )
        notes.append((what, False, "objects at nearly the same place"))
    return labels, boxes, notes


def _overlaps(boxes):
    """The area that boxes share, by that of both: (n, 4) -> (n, n)"""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=-1)  # (n, n)
    area = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=-1)  # (n,)
    both = area[:, None] + area - shared
    return shared / np.where(both > 0, both, 1)
