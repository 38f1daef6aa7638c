"""What all formats of annotations have in common."""

import collections.abc
import math
import os
import pathlib
import re
from typing import NamedTuple

ANNOTATION_SUFFIXES = frozenset((".csv", ".json", ".txt", ".xml"))
PICTURE_SUFFIXES = frozenset(
    (
        *(".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg"),
        *(".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
    )
)
# The names of the folders of each split.
SPLIT_FOLDERS = {
    "train": ("train",),
    "validation": ("validation", "valid", "val"),
    "test": ("test",),
}


class Problem(NamedTuple):
    """What is wrong with a file of annotated pictures.

    Attributes:
        file: String, the file relative to the folder; the picture, unless what
            is wrong belongs to no picture.
        what: String, what is wrong.
        broken: Boolean, whether the file cannot be used; otherwise this is a
            warning.
    """

    file: str
    what: str
    broken: bool


class Entry(NamedTuple):
    """What annotations say about one picture, before it is looked at.

    Attributes:
        path: `pathlib.Path` of the picture.
        labels: List of strings.
        boxes: List of left, top, right, bottom.
        problems: List of strings, for which the picture cannot be used.
        fractions: Boolean, whether boxes are in fractions of the picture's
            sides; otherwise in pixels.
        size: Width and height that are annotated; 0 if they are not.
    """

    path: pathlib.Path
    labels: list
    boxes: list
    problems: list
    fractions: bool = False
    size: tuple = (0, 0)


class Source(NamedTuple):
    """What was read in a folder.

    Attributes:
        entries: List of `Entry`.
        class_names: List of strings; `None` for the labels that occur.
        problems: List of `Problem`, of what belongs to no entry.
    """

    entries: list
    class_names: list
    problems: list


class Format(NamedTuple):
    """How annotations of one format are found and read.

    Attributes:
        looks_like: String, what to look for in a folder.
        find: Function of the folder, returns what is there, if anything.
        read: Function of the folder, returns `Source`.
    """

    looks_like: str
    find: collections.abc.Callable
    read: collections.abc.Callable


def sorted_names(names):
    """Names in order, once each, where "9" comes before "10".

    Example:

    >>> sorted_names(["b10", "b9", "b9", "10", "9"])
    ['9', '10', 'b9', 'b10']
    """

    def parts(name):
        # Every other part is a number, so that like is compared with like.
        split = re.split(r"(\d+)", name)
        split[1::2] = map(int, split[1::2])
        return split, name

    return sorted(set(names), key=parts)


def relative_name(path, directory):
    """The path as a string, from the folder on if it lies in there.

    Example:

    >>> relative_name("my_photos/new/a.png", "my_photos")
    'new/a.png'
    """
    try:
        return pathlib.Path(path).relative_to(directory).as_posix()
    except (TypeError, ValueError):  # no folder, or another one
        return str(path)


def find_files(directory, suffixes, *, deep=True):
    """All files with one of the suffixes that are not hidden, sorted."""
    found = directory.rglob("*") if deep else directory.glob("*")
    return sorted(
        path
        for path in found
        if path.suffix.lower() in suffixes
        and not any(
            part.startswith(".") for part in path.relative_to(directory).parts
        )
        and path.is_file()
    )


def only(paths, directory, kind):
    """The one path that there is, or an error."""
    if len(paths) != 1:
        names = [relative_name(path, directory) for path in paths]
        raise ValueError(
            f"{directory} must have exactly one {kind} file with annotations. "
            f"Received: {', '.join(names) or 'none'}"
        )
    return paths[0]


def read_text(path):
    """The text of a file in UTF-8, or an error that says what to do."""
    try:
        return path.read_text(encoding="utf-8-sig")  # spreadsheets mark it
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} must be a text file in UTF-8, but is not ({error}). Save "
            "it as that."
        ) from error


def finite(values, count):
    """`count` floats, or `None` if the values are something else."""
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        return None
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        return None
    return numbers


def add_object(entry, where, label, box, no_label="no label"):
    """Adds an object, or notes what is wrong `where` it stands."""
    if not label:
        entry.problems.append(f"{where} has {no_label}")
    elif box is None:
        entry.problems.append(f"{where} has no box of 4 numbers")
    else:
        entry.labels.append(label)
        entry.boxes.append(box)


def without_entry(directory, entries):
    """Warnings of the pictures in the folder that nothing is said about."""
    known = {os.path.normpath(entry.path) for entry in entries}
    return [
        Problem(relative_name(path, directory), "has no annotations", False)
        for path in find_files(directory, PICTURE_SUFFIXES)
        if os.path.normpath(path) not in known
    ]
