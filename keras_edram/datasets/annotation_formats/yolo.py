"""Annotations as YOLO text files, one a picture."""

from keras_edram.datasets.annotation_formats.entries import (
    SPLIT_FOLDERS,
    Entry,
    Format,
    Problem,
    Source,
    add_object,
    finite,
    read_text,
    relative_name,
)
from keras_edram.datasets.annotation_formats.paired_files import (
    NO_PICTURE,
    note_same_stem,
    pair,
    paired_folders,
)


def _folders(directory):
    return paired_folders(directory, "images", "labels")


def _find(directory):
    folders = _folders(directory)
    pictures, texts = pair(*folders, ".txt")
    if folders[1] != directory:
        return texts
    return pictures.keys() & texts.keys()  # other texts may lie there, too


def _read(directory):
    names = _names(directory)
    pictures, texts = pair(*_folders(directory), ".txt")
    entries = {
        path: _entry(path, texts.get(stem), names)
        for stem, same in pictures.items()
        for path in same
    }
    note_same_stem(entries, pictures.values())
    problems = [
        Problem(relative_name(text, directory), NO_PICTURE, True)
        for stem, text in texts.items()
        if stem not in pictures and _is_yolo(text)
    ]
    class_names = [name for name in names.values() if name]
    return Source(list(entries.values()), class_names, problems)


def _entry(path, text, names):
    entry = Entry(path, [], [], [], fractions=True)
    try:
        lines = read_text(text).split("\n") if text else []
    except ValueError:
        entry.problems.append(f"{text.name} is no text in UTF-8")
        return entry
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"line {number} of {text.name}"
            _add_line(entry, where, line.strip(), names)
    return entry


def _add_line(entry, where, line, names):
    values = finite(line.split(), 5)
    if values is None:
        entry.problems.append(
            f"{where} must be 5 numbers, class cx cy w h, but is {line[:40]!r}"
        )
        return
    index, x, y, width, height = values
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
    if directory.resolve().name in sum(SPLIT_FOLDERS.values(), ()):
        folders.append(directory / "..")  # all splits may have one list
    for folder in folders:
        if (folder / "data.yaml").is_file():
            return _yaml_names(folder / "data.yaml")
        if (folder / "classes.txt").is_file():
            lines = read_text(folder / "classes.txt").split("\n")
            return {index: line.strip() for index, line in enumerate(lines)}
    raise ValueError(
        f"{directory} must have the names of the classes, as `names: [...]` in "
        "data.yaml or one a line in classes.txt. Received: neither file"
    )


def _yaml_names(path):
    import yaml

    try:
        # The base loader leaves names like `no` and `01` as they are.
        content = yaml.load(read_text(path), Loader=yaml.BaseLoader)
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


FORMAT = Format(
    "a *.txt for each picture, beside it or in labels/", _find, _read
)
