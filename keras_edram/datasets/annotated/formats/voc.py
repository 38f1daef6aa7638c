"""Annotations as Pascal VOC XML, a file a picture."""

from xml.etree import ElementTree

from keras_edram.datasets.annotated.formats import cvat
from keras_edram.datasets.annotated.formats.entries import (
    Format,
    Source,
    add_object,
    clean_label,
    find_files,
    finite,
    new_entry,
    without_entry,
)
from keras_edram.datasets.annotated.formats.paired_files import (
    note_same_stem,
    pair,
    paired_folders,
    without_picture,
)

PICTURES = ("JPEGImages", "images")
TEXTS = ("Annotations", "annotations", "xmls")
VOC_SIDES = ("xmin", "ymin", "xmax", "ymax")


def _folders(directory):
    return paired_folders(directory, PICTURES, TEXTS)


def _find(directory):
    paths = find_files(_folders(directory)[1], {".xml"})
    return [path for path in paths if not cvat.is_cvat(path)]


def _read(directory):
    folders = _folders(directory)
    pictures, texts = pair(*folders, ".xml", PICTURES + TEXTS)
    entries = {
        path: _entry(path, same[0])
        for stem, same in texts.items()
        for path in pictures.get(stem, ())
    }
    note_same_stem(entries, pictures, texts)
    alone = [
        text
        for stem, same in texts.items()
        for text in same
        if stem not in pictures
    ]
    problems = without_picture(alone, directory, *folders)
    entries = list(entries.values())
    return Source(entries, None, problems + without_entry(directory, entries))


def _entry(path, text):
    entry = new_entry(path)
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
        sides = _numbers(element, "bndbox", VOC_SIDES)
        label = clean_label(element.findtext("name") or "")
        add_object(entry, f"object {number} of {text.name}", label, sides)
    # Pixels count from 1, and the box holds the last one.
    entry.boxes[:] = [[x - 1, y - 1, *rest] for x, y, *rest in entry.boxes]
    size = _numbers(root, "size", ("width", "height"))
    if size:
        entry.sizes.append(tuple(size))
    return entry


def _numbers(element, parent, names):
    values = [element.findtext(f"{parent}/{name}") for name in names]
    return finite(values, len(names))


FORMAT = Format(
    "a *.xml for each picture, beside it or in Annotations/", _find, _read
)
