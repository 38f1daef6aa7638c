"""Annotations as CVAT's own XML, "CVAT for images 1.1"."""

from xml.etree import ElementTree

import numpy as np

from keras_edram.datasets.annotated.formats.entries import (
    Format,
    Source,
    add_object,
    box_around,
    clean_label,
    find_files,
    finite,
    only,
    without_entry,
)
from keras_edram.datasets.annotated.formats.lookup import Pictures
from keras_edram.words import relative_name

SIDES = ("xtl", "ytl", "xbr", "ybr")
# What has no box, but says something of the picture.
WITHOUT_BOX = ("tag",)


def is_cvat(path):
    """Whether an XML file has annotations of many pictures."""
    with path.open("rb") as file:
        return b"<annotations" in file.read(1000)


def _find(directory):
    paths = find_files(directory, {".xml"}, deep=False)
    return [path for path in paths if is_cvat(path)]


def _read(directory):
    path = only(_find(directory), directory, "CVAT XML")
    try:
        root = ElementTree.fromstring(path.read_bytes())
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ValueError(
            f"{path} must be an XML file, but it is broken ({error}). Mend it, "
            "or restore it from where it came."
        ) from error
    images = root.findall("image")
    if not images:
        raise ValueError(
            f"{path} must have an <image> for each picture. Export it as 'CVAT "
            f"for images 1.1' or 'COCO 1.0'. Received: {_tags(root)}"
        )
    pictures, seen = Pictures(directory), set()
    for image in images:
        entry = pictures.entry(_name(image, pictures))
        if entry.path in seen:
            entry.problems.append("has more than one <image>: which is its?")
        seen.add(entry.path)
        size = finite([image.get("width"), image.get("height")], 2)
        if size:
            entry.sizes.append(tuple(size))
        for number, shape in enumerate(image, start=1):
            if shape.tag not in WITHOUT_BOX:
                where = (
                    f"{shape.tag} {number} of image {image.get('id')} in "
                    f"{relative_name(path, directory)}"
                )
                label = clean_label(shape.get("label") or "")
                add_object(entry, where, label, _box(shape))
    entries = pictures.entries()
    return Source(entries, None, without_entry(directory, entries))


def _name(image, pictures):
    """What an <image> calls its picture; subsets may have folders."""
    name, subset = image.get("name") or "", image.get("subset")
    in_subset = f"{subset}/{name}"
    if subset and not pictures.has(name) and pictures.has(in_subset):
        return in_subset
    return name


def _tags(root):
    return ", ".join(sorted({f"<{child.tag}>" for child in root})) or "nothing"


def _box(shape):
    """The box of a shape, or the one around it; `None` if it has none."""
    if shape.tag == "box":
        box = finite([shape.get(side) for side in SIDES], 4)
        return box and _turned(box, finite([shape.get("rotation", 0)], 1))
    if shape.tag not in ("polygon", "polyline", "points"):
        return None
    values = (shape.get("points") or "").replace(";", ",").split(",")
    return box_around(finite(values, len(values)))


def _turned(box, rotation):
    """The box around one that is turned about its middle, in degrees."""
    if not rotation or not rotation[0]:
        return box
    left, top, right, bottom = box
    angle = np.deg2rad(rotation[0])
    sine, cosine = abs(np.sin(angle)), abs(np.cos(angle))
    width, height = right - left, bottom - top
    wide = (width * cosine + height * sine) / 2
    high = (width * sine + height * cosine) / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    return [x - wide, y - high, x + wide, y + high]


FORMAT = Format("CVAT's annotations.xml in it", _find, _read)
