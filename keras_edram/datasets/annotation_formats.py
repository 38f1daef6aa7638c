"""Annotations as files: COCO, YOLO, Pascal VOC and CSV.

Each format has a function that finds it in a folder, and one that reads it to
an `Entry` a picture and a list of `Problem`. The pictures are looked at later.
"""

import collections
import collections.abc
import csv
import io
import math
import os
import pathlib
import re
from typing import NamedTuple
from xml.etree import ElementTree

from keras_edram import files

CSV_HEADER = ["file", "label", "xmin", "ymin", "xmax", "ymax"]
COCO_LISTS = ("images", "annotations", "categories")
ANNOTATION_SUFFIXES = frozenset((".csv", ".json", ".txt", ".xml"))
PICTURE_SUFFIXES = frozenset(
    (
        *(".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg"),
        *(".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
    )
)
NO_PICTURE = "there is no picture of its name"
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


def find_format(directory):
    """The only format that there are annotations of in a folder.

    Args:
        directory: `pathlib.Path` of the folder.

    Returns:
        String, one of `FORMATS`.

    Raises:
        ValueError: If there is none or more than one.

    Example:

    >>> find_format(pathlib.Path("my_photos"))
    'csv'
    """
    found = [name for name, known in FORMATS.items() if known.find(directory)]
    if len(found) == 1:
        return found[0]
    looked = "; ".join(
        f"{name}: {known.looks_like}" for name, known in FORMATS.items()
    )
    if not found:
        raise ValueError(
            f"{directory} must have annotations in one of these formats, but "
            f"has none. {looked}"
        )
    raise ValueError(
        "`annotation_format` must be given for a folder that has more than "
        f"one. {looked}. Received: {directory} with {', '.join(found)}"
    )


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


def _find_files(directory, suffixes, *, deep=True):
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


def _only(paths, directory, kind):
    if len(paths) != 1:
        names = [relative_name(path, directory) for path in paths]
        raise ValueError(
            f"{directory} must have exactly one {kind} file with annotations. "
            f"Received: {', '.join(names) or 'none'}"
        )
    return paths[0]


def _read_text(path):
    try:
        return path.read_text(encoding="utf-8-sig")  # spreadsheets mark it
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} must be a text file in UTF-8, but is not ({error}). Save "
            "it as that."
        ) from error


def _finite(values, count):
    """`count` floats, or `None` if the values are something else."""
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        return None
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        return None
    return numbers


def _add_object(entry, where, label, box, no_label="no label"):
    """Adds an object, or notes what is wrong `where` it stands."""
    if not label:
        entry.problems.append(f"{where} has {no_label}")
    elif box is None:
        entry.problems.append(f"{where} has no box of 4 numbers")
    else:
        entry.labels.append(label)
        entry.boxes.append(box)


def _without_entry(directory, entries):
    """Warnings of the pictures in the folder that nothing is said about."""
    known = {os.path.normpath(entry.path) for entry in entries}
    return [
        Problem(relative_name(path, directory), "has no annotations", False)
        for path in _find_files(directory, PICTURE_SUFFIXES)
        if os.path.normpath(path) not in known
    ]


# CSV


def _find_csv(directory):
    return _find_files(directory, {".csv"}, deep=False)


def _read_csv(directory):
    path = _only(_find_csv(directory), directory, "CSV")
    rows = csv.reader(io.StringIO(_read_text(path)))
    entries, problems = {}, []
    try:
        header = [name.strip() for name in next(rows, [])]
        if header != CSV_HEADER:
            raise ValueError(
                f"{path} must have the header {','.join(CSV_HEADER)}. "
                f"Received: {','.join(header)}"
            )
        for row in rows:
            where = f"line {rows.line_num} of {path.name}"
            name, *values = [cell.strip() for cell in row] or [""]
            if name:
                picture = directory / name
                entry = entries.setdefault(
                    os.path.normpath(picture), Entry(picture, [], [], [])
                )
                if any(values):
                    _add_object(entry, where, values[0], _finite(values[1:], 4))
            elif any(values):
                problems.append(
                    Problem(path.name, f"{where} has no file", True)
                )
    except csv.Error as error:
        raise ValueError(
            f"{path} must be a CSV file, but line {rows.line_num} is broken "
            f"({error}). Mend it, or restore it from where it came."
        ) from error
    entries = list(entries.values())
    return Source(entries, None, problems + _without_entry(directory, entries))


# COCO


def _find_coco(directory):
    return [
        path
        for folder in (directory, directory / "annotations")
        for path in _find_files(folder, {".json"}, deep=False)
    ]


def _read_coco(directory):
    path = _only(_find_coco(directory), directory, "JSON")
    file = relative_name(path, directory)
    images, annotations, categories = _coco_lists(path)
    names = {
        str(category.get("id")): str(category.get("name", "")).strip()
        for category in categories
    }
    by_id, problems = _coco_entries(directory, images)
    used = set()
    for number, annotation in enumerate(annotations, start=1):
        where = f"annotation {annotation.get('id', number)}"
        key = str(annotation.get("image_id"))
        if key not in by_id:
            problems.append(f"{where} is of image {key}, which is not listed")
            continue
        category = str(annotation.get("category_id"))
        used.add(category)
        _add_object(
            by_id[key],
            f"{where} of {file}",
            names.get(category),
            _coco_box(annotation.get("bbox")),
            f"a category without a name, {category}",
        )
    entries = _merge_same_files(by_id.values())
    problems = [Problem(file, what, True) for what in problems]
    return Source(
        entries,
        [names[key] for key in sorted_names(used) if names.get(key)],
        problems + _without_entry(directory, entries),
    )


def _coco_lists(path):
    try:
        content = files.read_json(path)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} must be a JSON file in UTF-8, but is not ({error}). Save "
            "it as that."
        ) from error
    lists = []
    for name in COCO_LISTS:
        values = content.get(name) if isinstance(content, dict) else None
        if not isinstance(values, list) or not all(
            isinstance(value, dict) for value in values
        ):
            raise ValueError(
                f"{path} must have the lists {', '.join(COCO_LISTS)} of COCO. "
                f"Received: no list of objects {name!r}"
            )
        lists.append(values)
    return lists


def _coco_entries(directory, images):
    """The entries by the ids of the images, and what is wrong with others."""
    by_id, problems = {}, []
    for number, image in enumerate(images, start=1):
        name, key = image.get("file_name"), str(image.get("id"))
        if not isinstance(name, str) or not name or image.get("id") is None:
            problems.append(f"image {number} must have a file_name and an id")
            continue
        picture = directory / name
        if not picture.is_file() and (directory / "images" / name).is_file():
            picture = directory / "images" / name
        if key in by_id:
            what = (
                f"shares its id {key} with image {number} of the list, {name}"
            )
            by_id[key].problems.append(what)
            # Whose the objects are is not known: neither can be used.
            key = f"{key} of image {number}"
            by_id[key] = Entry(picture, [], [], [what])
            continue
        size = _finite((image.get("width"), image.get("height")), 2)
        by_id[key] = Entry(picture, [], [], [], size=size or (0, 0))
    return by_id, problems


def _coco_box(bbox):
    numbers = _finite(bbox, 4) if isinstance(bbox, list) else None
    if numbers is None:
        return None
    left, top, width, height = numbers
    return [left, top, left + width, top + height]


def _merge_same_files(entries):
    """One entry for each file, broken if there were more."""
    merged = {}
    for entry in entries:
        first = merged.setdefault(os.path.normpath(entry.path), entry)
        if first is not entry:
            first.problems.extend(entry.problems)
            first.problems.append("is more than once in the list of images")
    return list(merged.values())


# VOC and YOLO: files that belong together by their names


def _pair(pictures_folder, texts_folder, suffix):
    """Pictures and annotation files by what they share of their paths.

    Returns:
        `(pictures, texts)`, dictionaries of the path without its suffix ->
        list of pictures, and -> annotation file.
    """
    pictures = collections.defaultdict(list)
    for path in _find_files(pictures_folder, PICTURE_SUFFIXES):
        stem = path.relative_to(pictures_folder).with_suffix("")
        pictures[stem].append(path)
    texts = {
        path.relative_to(texts_folder).with_suffix(""): path
        for path in _find_files(texts_folder, {suffix})
    }
    return pictures, texts


def _paired_folders(directory, pictures, texts):
    """Where the pictures and the annotations are: apart, or side by side."""
    if not (directory / texts).is_dir():
        return directory, directory
    if not (directory / pictures).is_dir():
        return directory, directory / texts
    return directory / pictures, directory / texts


def _note_same_stem(entries, pictures):
    """Breaks the entries of pictures that share their annotations."""
    for same in pictures:
        for path in same if len(same) > 1 else ():
            others = ", ".join(other.name for other in same if other != path)
            entries[path].problems.append(
                f"has the name of {others}, too: whose are the annotations?"
            )


def _voc_folders(directory):
    return _paired_folders(directory, "JPEGImages", "Annotations")


def _find_voc(directory):
    return _find_files(_voc_folders(directory)[1], {".xml"})


def _read_voc(directory):
    pictures, texts = _pair(*_voc_folders(directory), ".xml")
    entries = {
        path: _voc_entry(path, text)
        for stem, text in texts.items()
        for path in pictures.get(stem, ())
    }
    _note_same_stem(entries, [pictures.get(stem, ()) for stem in texts])
    problems = [
        Problem(relative_name(text, directory), NO_PICTURE, True)
        for stem, text in texts.items()
        if stem not in pictures
    ]
    entries = list(entries.values())
    return Source(entries, None, problems + _without_entry(directory, entries))


def _voc_entry(path, text):
    entry = Entry(path, [], [], [])
    try:
        root = ElementTree.fromstring(text.read_bytes())
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        entry.problems.append(f"{text.name} is broken XML: {error}")
        return entry
    if root.tag != "annotation":
        entry.problems.append(
            f"{text.name} must be an <annotation>, but is a <{root.tag}>"
        )
    for number, element in enumerate(root.findall("object"), start=1):
        sides = _voc_numbers(element, "bndbox", CSV_HEADER[2:])
        if sides is not None:
            # Pixels count from 1, and the box holds the last one.
            sides = [sides[0] - 1, sides[1] - 1, *sides[2:]]
        label = (element.findtext("name") or "").strip()
        _add_object(entry, f"object {number} of {text.name}", label, sides)
    size = _voc_numbers(root, "size", ("width", "height"))
    return entry._replace(size=size or (0, 0))


def _voc_numbers(element, parent, names):
    values = [element.findtext(f"{parent}/{name}") for name in names]
    return _finite(values, len(names))


def _yolo_folders(directory):
    return _paired_folders(directory, "images", "labels")


def _find_yolo(directory):
    folders = _yolo_folders(directory)
    pictures, texts = _pair(*folders, ".txt")
    if folders[1] != directory:
        return texts
    return pictures.keys() & texts.keys()  # other texts may lie there, too


def _read_yolo(directory):
    names = _yolo_names(directory)
    pictures, texts = _pair(*_yolo_folders(directory), ".txt")
    entries = {
        path: _yolo_entry(path, texts.get(stem), names)
        for stem, same in pictures.items()
        for path in same
    }
    _note_same_stem(entries, pictures.values())
    problems = [
        Problem(relative_name(text, directory), NO_PICTURE, True)
        for stem, text in texts.items()
        if stem not in pictures and _is_yolo(text)
    ]
    class_names = [name for name in names.values() if name]
    return Source(list(entries.values()), class_names, problems)


def _yolo_entry(path, text, names):
    entry = Entry(path, [], [], [], fractions=True)
    try:
        lines = _read_text(text).split("\n") if text else []
    except ValueError:
        entry.problems.append(f"{text.name} is no text in UTF-8")
        return entry
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"line {number} of {text.name}"
            _add_yolo_object(entry, where, line.strip(), names)
    return entry


def _add_yolo_object(entry, where, line, names):
    values = _finite(line.split(), 5)
    if values is None:
        entry.problems.append(
            f"{where} must be 5 numbers, class cx cy w h, but is {line[:40]!r}"
        )
        return
    index, x, y, width, height = values
    box = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    no_name = f"a class without a name, {index:g}"
    _add_object(entry, where, names.get(index), box, no_name)


def _is_yolo(path):
    """Whether a text file has nothing but objects, as a README has not."""
    try:
        lines = _read_text(path).split("\n")
    except ValueError:
        return False
    return all(_finite(line.split(), 5) for line in lines if line.strip())


def _yolo_names(directory):
    """The names of the classes by their index."""
    folders = [directory, directory / "labels"]
    if directory.resolve().name in sum(SPLIT_FOLDERS.values(), ()):
        folders.append(directory / "..")  # all splits may have one list
    for folder in folders:
        if (folder / "data.yaml").is_file():
            return _yaml_names(folder / "data.yaml")
        if (folder / "classes.txt").is_file():
            lines = _read_text(folder / "classes.txt").split("\n")
            return {index: line.strip() for index, line in enumerate(lines)}
    raise ValueError(
        f"{directory} must have the names of the classes, as `names: [...]` in "
        "data.yaml or one a line in classes.txt. Received: neither file"
    )


def _yaml_names(path):
    import yaml

    try:
        # The base loader leaves names like `no` and `01` as they are.
        content = yaml.load(_read_text(path), Loader=yaml.BaseLoader)
        names = content["names"]
        if isinstance(names, list):
            names = dict(enumerate(names))
        indices = sorted(names, key=int)
        return {int(index): names[index].strip() for index in indices}
    except Exception as error:  # whatever is missing or of another kind
        raise ValueError(
            f"{path} must have the names of the classes as `names`, a list or "
            f"a mapping from their numbers, but has not: {error!r}"
        ) from error


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


FORMATS = {
    "coco": Format("a *.json in it or in annotations/", _find_coco, _read_coco),
    "yolo": Format(
        "a *.txt for each picture, beside it or in labels/",
        _find_yolo,
        _read_yolo,
    ),
    "voc": Format(
        "a *.xml for each picture, beside it or in Annotations/",
        _find_voc,
        _read_voc,
    ),
    "csv": Format("a *.csv in it", _find_csv, _read_csv),
}
