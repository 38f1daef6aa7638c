"""Annotations as COCO JSON."""

import os

from keras_edram import files
from keras_edram.datasets.annotation_formats.entries import (
    Entry,
    Format,
    Problem,
    Source,
    add_object,
    find_files,
    finite,
    only,
    relative_name,
    sorted_names,
    without_entry,
)

COCO_LISTS = ("images", "annotations", "categories")


def _find(directory):
    return [
        path
        for folder in (directory, directory / "annotations")
        for path in find_files(folder, {".json"}, deep=False)
    ]


def _read(directory):
    path = only(_find(directory), directory, "JSON")
    file = relative_name(path, directory)
    images, annotations, categories = _lists(path)
    names = {
        str(category.get("id")): str(category.get("name", "")).strip()
        for category in categories
    }
    by_id, problems = _entries(directory, images)
    used = set()
    for number, annotation in enumerate(annotations, start=1):
        where = f"annotation {annotation.get('id', number)}"
        key = str(annotation.get("image_id"))
        if key not in by_id:
            problems.append(f"{where} is of image {key}, which is not listed")
            continue
        category = str(annotation.get("category_id"))
        used.add(category)
        add_object(
            by_id[key],
            f"{where} of {file}",
            names.get(category),
            _box(annotation.get("bbox")),
            f"a category without a name, {category}",
        )
    entries = _merge_same_files(by_id.values())
    problems = [Problem(file, what, True) for what in problems]
    return Source(
        entries,
        [names[key] for key in sorted_names(used) if names.get(key)],
        problems + without_entry(directory, entries),
    )


def _lists(path):
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


def _entries(directory, images):
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
        size = finite((image.get("width"), image.get("height")), 2)
        by_id[key] = Entry(picture, [], [], [], size=size or (0, 0))
    return by_id, problems


def _box(bbox):
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


FORMAT = Format("a *.json in it or in annotations/", _find, _read)
