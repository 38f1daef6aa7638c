"""Annotations as Pascal VOC XML, a file a picture."""

from xml.etree import ElementTree

from keras_edram.datasets.annotation_formats.entries import (
    Entry,
    Format,
    Problem,
    Source,
    add_object,
    find_files,
    finite,
    relative_name,
    without_entry,
)
from keras_edram.datasets.annotation_formats.paired_files import (
    NO_PICTURE,
    note_same_stem,
    pair,
    paired_folders,
)

VOC_SIDES = ("xmin", "ymin", "xmax", "ymax")


def _folders(directory):
    return paired_folders(directory, "JPEGImages", "Annotations")


def _find(directory):
    return find_files(_folders(directory)[1], {".xml"})


def _read(directory):
    pictures, texts = pair(*_folders(directory), ".xml")
    entries = {
        path: _entry(path, text)
        for stem, text in texts.items()
        for path in pictures.get(stem, ())
    }
    note_same_stem(entries, [pictures.get(stem, ()) for stem in texts])
    problems = [
        Problem(relative_name(text, directory), NO_PICTURE, True)
        for stem, text in texts.items()
        if stem not in pictures
    ]
    entries = list(entries.values())
    return Source(entries, None, problems + without_entry(directory, entries))


def _entry(path, text):
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
        sides = _numbers(element, "bndbox", VOC_SIDES)
        if sides is not None:
            # Pixels count from 1, and the box holds the last one.
            sides = [sides[0] - 1, sides[1] - 1, *sides[2:]]
        label = (element.findtext("name") or "").strip()
        add_object(entry, f"object {number} of {text.name}", label, sides)
    size = _numbers(root, "size", ("width", "height"))
    return entry._replace(size=size or (0, 0))


def _numbers(element, parent, names):
    values = [element.findtext(f"{parent}/{name}") for name in names]
    return finite(values, len(names))


FORMAT = Format(
    "a *.xml for each picture, beside it or in Annotations/", _find, _read
)
