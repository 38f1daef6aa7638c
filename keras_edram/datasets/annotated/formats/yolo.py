"""Annotations as YOLO text files, one a picture."""

import re

from keras_edram.datasets.annotated.formats.entries import (
    NO_LABEL_FILE,
    PICTURE_SUFFIXES,
    SPLIT_FOLDERS,
    Format,
    Source,
    add_object,
    clean_label,
    find_files,
    finite,
    image_sets,
    new_entry,
    read_text,
)
from keras_edram.datasets.annotated.formats.lookup import Pictures
from keras_edram.datasets.annotated.formats.paired_files import (
    note_same_stem,
    pair,
    paired_folders,
    without_picture,
)
from keras_edram.words import listed, relative_name

# Where the names of the classes are: one a line, or as `names`.
NAME_LISTS = ("classes.txt", "obj.names", "_darknet.labels", "classes.names")
YAML_SUFFIXES = frozenset((".yaml", ".yml"))
NAMES_KEY = re.compile(rb"^names\s*:", re.MULTILINE)
# Fractions are rounded: what is so little beyond 0 to 1 is still one.
ROUNDING = 1e-3


def _image_sets(directory):
    """The files of pictures that data.yaml or lists give to splits, if any.

    The one says for each split where its pictures are, a folder or a list; the
    others are called after the splits, as `train.txt`, a picture a line.
    """
    content = {}
    for path in _yamls(directory):
        content = {**_yaml(path), **content}
    root, pictures = content.get("path"), Pictures(directory)
    root = directory / root if isinstance(root, str) else directory
    found = {}
    for split, names in SPLIT_FOLDERS.items():
        for name in names:
            places = content.get(name) or f"{name}.txt"
            for place in [places] if isinstance(places, str) else places:
                listed = _pictures_at(str(place), root, pictures)
                found.setdefault(split, set()).update(listed)
    found = {split: listed for split, listed in found.items() if listed}
    return found if len(found) > 1 and "train" in found else {}


def _pictures_at(place, root, pictures):
    """The names of pictures in a folder or a list, from the folder on."""
    directory, place = pictures.directory, place.replace("\\", "/")
    # Exports name places from another folder on, or on another machine.
    paths = [base / place for base in (root, directory)]
    path = next(
        (path for path in paths if path.exists()),
        directory / place.lstrip("./"),
    )
    if path.is_dir():
        found = find_files(path, PICTURE_SUFFIXES)
    elif path.is_file() and path.suffix == ".txt":
        lines = map(str.strip, read_text(path).split("\n"))
        found = [pictures.new_entry(line).path for line in lines if line]
    else:
        found = []
    inside = directory.resolve()
    found = [path.resolve() for path in found if path.is_file()]
    return {
        relative_name(path, inside)
        for path in found
        if path.is_relative_to(inside)
    }


def _folders(directory):
    return paired_folders(directory, ("images",), ("labels",))


def _find(directory):
    folders = _folders(directory)
    pictures, texts = pair(*folders, ".txt")
    if folders[1] != directory:
        return texts
    return pictures.keys() & texts.keys()  # other texts may lie there, too


def _read(directory):
    names = _names(directory)
    folders = _folders(directory)
    pictures, texts = pair(*folders, ".txt")
    entries = {
        path: _entry(path, next(iter(texts.get(stem, ())), None), names)
        for stem, same in pictures.items()
        for path in same
    }
    note_same_stem(entries, pictures, texts)
    alone = [
        text
        for stem, same in texts.items()
        for text in same
        if stem not in pictures and _is_yolo(text)
    ]
    problems = without_picture(alone, directory, *folders)
    class_names = [name for name in names.values() if name]
    return Source(list(entries.values()), class_names, problems)


def _entry(path, text, names):
    entry = new_entry(path, fractions=True)
    if text is None:
        what = "has no label file, and is taken to have no objects"
        entry.notes.append((what, NO_LABEL_FILE))
        return entry
    try:
        lines = read_text(text).split("\n")
    except ValueError:
        entry.problems.append(f"{text.name} is no text in UTF-8")
        return entry
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"line {number} of {text.name}"
            _add_line(entry, where, line.strip(), names)
    return entry


def _add_line(entry, where, line, names):
    cells = line.split()
    values = finite(cells, 5)
    if values is None:
        what = f"{where} must be 5 numbers, class cx cy w h, but is "
        if len(cells) > 6 and len(cells) % 2 and finite(cells, len(cells)):
            what += "a polygon: export boxes, not segments or turned boxes. "
        entry.problems.append(f"{what}{line[:40]!r}")
        return
    index, *sides = values
    if not all(-ROUNDING <= side <= 1 + ROUNDING for side in sides):
        entry.problems.append(
            f"{where} must be fractions of the picture's sides, 0 to 1, but is "
            f"{line[:40]!r}"
        )
        return
    x, y, width, height = sides
    box = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    no_name = f"a class without a name, {index:g}"
    add_object(entry, where, names.get(index), box, no_name)


def _is_yolo(path):
    """Whether a text file has nothing but objects, as a README has not."""
    try:
        lines = read_text(path).split("\n")
    except ValueError:
        return False
    return all(finite(line.split(), 5) for line in lines if line.strip())


def _names(directory):
    """The names of the classes by their index."""
    folders = [directory, directory / "labels"]
    if directory.resolve().name.lower() in sum(SPLIT_FOLDERS.values(), ()):
        folders.append(directory / "..")  # all splits may have one list
    found = {}
    for folder in folders:
        for path in _yamls(folder):
            found[path] = _yaml_names(path)
        for path in [folder / name for name in NAME_LISTS]:
            if path.is_file():
                lines = map(clean_label, read_text(path).split("\n"))
                found[path] = dict(enumerate(lines))
    if not found:
        raise ValueError(
            f"{directory} must have the names of the classes, as `names: [...]`"
            " in data.yaml or one a line in classes.txt. Received: neither file"
        )
    lists = {
        path: {index: name for index, name in names.items() if name}
        for path, names in found.items()
    }
    first = next(iter(lists))
    for path in lists:
        if lists[path] != lists[first]:
            raise ValueError(
                f"{directory} must have one list of the names of the classes. "
                f"Received: {listed(lists[first].values())} in {first}, but "
                f"{listed(lists[path].values())} in {path}"
            )
    return found[first]


def _yamls(folder):
    """The files that have names of classes, data.yaml first."""
    yamls = find_files(folder, YAML_SUFFIXES, deep=False)
    return [
        path
        for path in sorted(yamls, key=lambda path: path.stem != "data")
        if path.stem == "data" or NAMES_KEY.search(path.read_bytes())
    ]


def _yaml(path):
    import yaml

    # The base loader leaves names like `no` and `01` as they are.
    return yaml.load(read_text(path), Loader=yaml.BaseLoader)


def _yaml_names(path):
    try:
        names = _yaml(path)["names"]
        if isinstance(names, list):
            names = dict(enumerate(names))
        indices = sorted(names, key=int)
        return {int(index): clean_label(names[index]) for index in indices}
    except Exception as error:  # whatever is missing or of another kind
        raise ValueError(
            f"{path} must have the names of the classes as `names`, a list or "
            f"a mapping from their numbers, but has not: {error}"
        ) from error


FORMAT = Format(
    "a *.txt for each picture, beside it or in labels/",
    _find,
    _read,
    image_sets=lambda directory: (
        image_sets(directory) or _image_sets(directory)
    ),
)
