"""What all formats of annotations have in common."""

import collections.abc
import itertools
import math
import os
import pathlib
import re
import unicodedata
from typing import NamedTuple

from keras_edram.pictures import OTHER_KINDS
from keras_edram.words import is_visible, printable, relative_name

ANNOTATION_SUFFIXES = frozenset((".csv", ".json", ".txt", ".xml"))
PICTURE_SUFFIXES = frozenset(
    (
        *(".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg"),
        *(".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
    )
)
# Pictures, too, but of kinds that Pillow does not read, or only in part.
UNREAD_SUFFIXES = frozenset(
    (
        *itertools.chain.from_iterable(OTHER_KINDS.values()),
        *(".psd", ".eps", ".exr", ".hdr", ".tga", ".dcm"),
    )
).difference(PICTURE_SUFFIXES)
UNREAD = "is there, of a kind that is not read: convert it to JPEG or PNG"
# A kind of problem, which is counted apart.
NO_LABEL_FILE = "pictures without a label file, taken to have no objects"
# What systems leave in folders, beside what is hidden.
JUNK_FOLDERS = ("__MACOSX", "@eaDir")
# The folder itself, where a `Problem` names a file in it.
WHOLE = "."
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
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
            is wrong belongs to no picture; `"."` for the folder as a whole.
        what: String, what is wrong.
        broken: Boolean, whether the file cannot be used; otherwise this is a
            warning.
        kind: String, what warnings of one kind are called together. Defaults
            to what is wrong.
    """

    file: str
    what: str
    broken: bool
    kind: str = ""


class Entry(NamedTuple):
    """What annotations say about one picture, before it is looked at.

    Attributes:
        path: `pathlib.Path` of the picture.
        labels: List of strings.
        boxes: List of left, top, right, bottom.
        problems: List of strings, for which the picture cannot be used.
        notes: List of `(what, kind)`, for which it can, see `Problem`.
        sizes: List of widths and heights that are annotated, if any.
        fractions: Boolean, whether boxes are in fractions of the picture's
            sides; otherwise in pixels.
    """

    path: pathlib.Path
    labels: list
    boxes: list
    problems: list
    notes: list
    sizes: list
    fractions: bool = False


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


def image_sets(directory):
    """The names of pictures that VOC's lists give to splits, if any.

    Whatever the format is now that the pictures are annotated in.
    """
    lists = sorted(directory.glob("**/ImageSets/Main"))
    found = {}
    for split, names in SPLIT_FOLDERS.items() if len(lists) == 1 else ():
        for path in [lists[0] / f"{name}.txt" for name in names]:
            if path.is_file():
                lines = map(str.strip, read_text(path).split("\n"))
                # A name, which may have blanks, and what may be said of it.
                found[split] = {
                    name
                    for line in lines
                    if line
                    for name in (line, line.rsplit(None, 1)[0], line.split()[0])
                }
    return found if "train" in found and len(found) > 1 else {}


class Format(NamedTuple):
    """How annotations of one format are found and read.

    Attributes:
        looks_like: String, what to look for in a folder.
        find: Function of the folder, returns what is there, if anything.
        read: Function of the folder, returns `Source`.
        files: Function of the folder, returns files that may be meant so, of
            which reading says what they lack.
        split_sources: Function of the folder, returns split -> `Source` where
            each split has a file of its own.
        image_sets: Function of the folder, returns split -> names of pictures
            where lists give them to splits.
    """

    looks_like: str
    find: collections.abc.Callable
    read: collections.abc.Callable
    files: collections.abc.Callable = lambda directory: []
    split_sources: collections.abc.Callable = lambda directory: {}
    image_sets: collections.abc.Callable = image_sets


def new_entry(path, fractions=False):
    """An `Entry` of a picture that nothing is known about yet."""
    return Entry(path, [], [], [], [], [], fractions)


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


def folded(name):
    """What names share that differ in case or Unicode's normal form alone."""
    return unicodedata.normalize("NFC", name).casefold()


def find_files(directory, suffixes, *, deep=True):
    """All files with one of the suffixes that are not hidden, sorted.

    Links to folders are followed, and no folder is looked at twice.
    """
    if not directory.is_dir():
        return []
    return sorted(
        path
        for folder in (_folders(directory) if deep else [directory])
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes
        and not path.name.startswith(".")
        and path.is_file()
    )


def _folders(directory):
    """The folder and all in it, links last: a loop ends where it began."""
    seen, folders, links = set(), [directory], []
    while folders or links:
        folder = folders.pop() if folders else links.pop()
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        yield folder
        for path in sorted(folder.iterdir()):
            hidden = path.name.startswith(".") or path.name in JUNK_FOLDERS
            if path.is_dir() and not hidden:
                (links if path.is_symlink() else folders).append(path)


def only(paths, directory, kind):
    """The one path that there is; raises if there are more, or none."""
    if len(paths) != 1:
        names = [relative_name(path, directory) for path in paths]
        raise ValueError(
            f"{directory} must have exactly one {kind} file with annotations. "
            f"Received: {', '.join(names) or 'none'}"
        )
    return paths[0]


def read_text(path):
    """The text of a file in UTF-8; raises if it is not, and says what to do."""
    try:
        return path.read_text(encoding="utf-8-sig")  # spreadsheets mark it
    except UnicodeDecodeError as error:
        is_not = f"is not ({error})"
        if path.read_bytes().startswith(UTF_16_MARKS):
            is_not = "is in UTF-16"
        raise ValueError(
            f"{path} must be a text file in UTF-8, but {is_not}. Save it as "
            "that."
        ) from error


def finite(values, count):
    """`count` floats, or `None` if the values are something else."""
    try:
        # Python reads 1_5 as 15, which nobody means.
        numbers = [float(str(value).replace("_", "x")) for value in values]
    except (TypeError, ValueError, OverflowError):
        return None
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        return None
    return numbers


def box_around(numbers):
    """The box around points, x and y in turns; `None` if they have none.

    Example:

    >>> box_around([3, 4, 9, 1, 5, 8])
    [3, 1, 9, 8]
    """
    if not numbers or len(numbers) < 4 or len(numbers) % 2:
        return None
    x, y = numbers[::2], numbers[1::2]
    return [min(x), min(y), max(x), max(y)]


def clean_label(text):
    """A label without the white space, or the byte order mark, around it.

    Example:

    >>> clean_label(" dog ")
    'dog'
    """
    return text.strip().strip("\ufeff").strip()


def add_object(
    entry,
    where,
    label,
    box,
    no_label="no label",
    no_box="no box of 4 numbers",
):
    """Adds an object, or notes what is wrong `where` it stands."""
    if not label:
        entry.problems.append(f"{where} has {no_label}")
    elif not all(map(is_visible, label)):
        entry.problems.append(
            f"{where} has a label with a character that cannot be seen, "
            f"'{printable(label)}'"
        )
    elif box is None:
        entry.problems.append(f"{where} has {no_box}")
    elif not entry.fractions and 0 <= min(box) < max(box) <= 1:
        numbers = ", ".join(f"{side:g}" for side in box)
        entry.problems.append(
            f"{where} must have a box in pixels, but ({numbers}) look like "
            "fractions of the picture's sides"
        )
    else:
        entry.labels.append(label)
        entry.boxes.append(box)


def without_entry(directory, entries):
    """Warnings of the pictures in the folder that nothing is said about."""
    known = {os.path.realpath(entry.path) for entry in entries}
    problems = []
    for path in find_files(directory, PICTURE_SUFFIXES | UNREAD_SUFFIXES):
        if os.path.realpath(path) not in known:
            what = "has no annotations"
            if path.suffix.lower() in UNREAD_SUFFIXES:
                what = f"{UNREAD}; it has no annotations"
            problems.append(
                Problem(relative_name(path, directory), what, False)
            )
    return problems
