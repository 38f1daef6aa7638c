"""Annotations as COCO JSON."""

import itertools
import os
import re

from keras_edram import files
from keras_edram.datasets.annotated.formats.entries import (
    SPLIT_FOLDERS,
    Format,
    Problem,
    Source,
    add_object,
    box_around,
    clean_label,
    find_files,
    finite,
    only,
    sorted_names,
    without_entry,
)
from keras_edram.datasets.annotated.formats.lookup import Pictures
from keras_edram.words import relative_name

COCO_LISTS = ("images", "annotations", "categories")
# Marks of what is no single object, and what they then are.
LEFT_OUT = ("iscrowd", "ignore")
MARKED = ("1", "1.0", "true")
CROWD = "marked as a crowd or to be ignored: left out"
# What names of files say of their split, as instances_val2017.json.
SPLIT_IN_NAME = re.compile(
    r"(?:^|[^a-z])((train|validation|valid|val|test)(?:\d{4})?)(?![a-z\d])",
    re.IGNORECASE,
)


def is_coco(path):
    """Whether a JSON file has a list of images; most others have not."""
    return re.search(rb'"images"\s*:\s*\[', path.read_bytes()) is not None


def _split_sources(directory):
    """The `Source` of each split, if there is one file for each."""
    found = {}
    for path in _find(directory):
        named = SPLIT_IN_NAME.search(path.stem)
        for split, names in SPLIT_FOLDERS.items():
            if named and named[2].lower() in names:
                found.setdefault(split, []).append(path)
    if len(found) < 2 or any(len(paths) > 1 for paths in found.values()):
        return {}
    return {
        split: _read_file(path, directory) for split, (path,) in found.items()
    }


def _jsons(directory):
    return [
        path
        for folder in (directory, directory / "annotations")
        for path in find_files(folder, {".json"}, deep=False)
    ]


def _find(directory):
    found = [path for path in _jsons(directory) if is_coco(path)]
    # COCO's own archive has captions and key points, too.
    return [p for p in found if p.name.startswith("instances_")] or found


def _read(directory):
    paths = _find(directory) or _jsons(directory)
    source = _read_file(only(paths, directory, "JSON"), directory)
    lost = without_entry(directory, source.entries)
    return source._replace(problems=source.problems + lost)


def _read_file(path, directory):
    """Reads one file of the annotations in a folder.

    Args:
        path: `pathlib.Path` of the file.
        directory: `pathlib.Path` of the folder; the pictures are in it, in its
            `images/`, or in either's folder of the split that the file is
            named after, as `train2017/` of `instances_train2017.json`.

    Returns:
        `Source`, without the pictures that nothing is said about.

    Example:

    >>> path = pathlib.Path("empty.json")
    >>> content = '{"images": [], "annotations": [], "categories": []}'
    >>> size = path.write_text(content)
    >>> read_file(path, pathlib.Path()).entries
    []
    """
    file = relative_name(path, directory)
    images, annotations, categories = _lists(path)
    names = _category_names(path, categories)
    by_id, problems = _entries(_pictures(path, directory), images)
    used, strays = set(), []
    for number, annotation in enumerate(annotations, start=1):
        where = f"annotation {annotation.get('id', number)}"
        key = _key(annotation.get("image_id"))
        marks = [str(annotation.get(mark)).lower() for mark in LEFT_OUT]
        is_left_out = any(mark in MARKED for mark in marks)
        if key not in by_id:
            problems.append(f"{where} is of image {key}, which is not listed")
            strays += [where] * (not is_left_out)
            continue
        if is_left_out:
            what = f"{where} of {file} is no single object, but {CROWD}"
            by_id[key].notes.append((what, f"objects {CROWD}"))
            continue
        category = _key(annotation.get("category_id"))
        used.add(category)
        add_object(
            by_id[key],
            f"{where} of {file}",
            names.get(category),
            _box(annotation),
            f"a category without a name, {category}",
        )
    entries = _merge_same_files(by_id.values())
    for entry in entries if strays else ():
        if not entry.labels:  # or it would be learnt that nothing is there
            what = f"may have objects that are of no listed image: {strays[0]}"
            entry.problems.append(what)
    problems = [Problem(file, what, True) for what in problems]
    class_names = [names[key] for key in sorted_names(used) if names.get(key)]
    return Source(entries, class_names, problems)


def _category_names(path, categories):
    """The names of the categories by their ids, empty where there is none."""
    names = {}
    for category in categories:
        key, name = _key(category.get("id")), category.get("name")
        name = "" if name is None else clean_label(str(name))
        if names.setdefault(key, name) != name:
            raise ValueError(
                f"{path} must have one category of each id. Received: "
                f"{names[key]!r} and {name!r} of the id {key}"
            )
    return names


def _pictures(path, directory):
    """Where the pictures of a file are: in the folder of its split, if any."""
    named = SPLIT_IN_NAME.search(path.stem)
    if named:
        for folder in (directory, directory / "images"):
            if (folder / named[1]).is_dir():
                return Pictures(folder / named[1])
    return Pictures(directory)


def _key(value):
    """An id as a string; tables make floats of whole numbers."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def _lists(path):
    content, lists = files.read_json(path), []
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


def _entries(pictures, images):
    """The entries by the ids of the images, and what is wrong with others."""
    by_id, problems = {}, []
    for number, image in enumerate(images, start=1):
        name, key = image.get("file_name"), _key(image.get("id"))
        if not isinstance(name, str) or not name or image.get("id") is None:
            problems.append(f"image {number} must have a file_name and an id")
            continue
        entry = pictures.new_entry(name)
        if key in by_id:
            what = (
                f"shares its id {key} with image {number} of the list, {name}"
            )
            by_id[key].problems.append(what)
            # Whose the objects are is not known: neither can be used.
            key = f"{key} of image {number}"
            entry.problems.append(what)
        size = finite((image.get("width"), image.get("height")), 2)
        if size:
            entry.sizes.append(tuple(size))
        by_id[key] = entry
    return by_id, problems


def _box(annotation):
    """Its box; without one, what holds its polygons."""
    bbox, polygons = annotation.get("bbox"), annotation.get("segmentation")
    if not bbox and isinstance(polygons, list):
        try:
            return box_around([*map(float, itertools.chain(*polygons))])
        except (TypeError, ValueError):
            return None
    numbers = finite(bbox, 4) if isinstance(bbox, list) else None
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


FORMAT = Format(
    "a *.json in it or in annotations/",
    _find,
    _read,
    _jsons,
    split_sources=_split_sources,
)
