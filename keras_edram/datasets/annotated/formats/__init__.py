"""Annotations as files, a module a format.

Each has a `Format`, which finds them in a folder, and reads them to an `Entry`
a picture and a list of `Problem`. The pictures are looked at later.
"""

from keras_edram.datasets.annotated.formats import (
    coco,
    csv_table,
    cvat,
    unread,
    voc,
    yolo,
)
from keras_edram.datasets.annotated.formats.entries import (
    ANNOTATION_SUFFIXES,
    find_files,
)
from keras_edram.words import listed, relative_name

FORMATS = {
    "coco": coco.FORMAT,
    "yolo": yolo.FORMAT,
    "voc": voc.FORMAT,
    "cvat": cvat.FORMAT,
    "csv": csv_table.FORMAT,
}


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
    found = formats_in(directory)
    others = "" if found else unread.describe(directory)
    if not found and not others:
        found = [name for name, f in FORMATS.items() if f.files(directory)]
    if len(found) == 1:
        return found[0]
    looked = "; ".join(
        f"{name}: {known.looks_like}" for name, known in FORMATS.items()
    )
    if not found:
        raise ValueError(
            f"{directory} must have annotations in one of these formats, but "
            f"has none. {looked}. Received: {others or _names(directory)}"
        )
    raise ValueError(
        "`annotation_format` must be given for a folder that has more than "
        "one: `--format NAME` of check-data, `--set annotation_format=NAME` "
        f"of train and evaluate. {looked}. Received: {directory} with "
        f"{', '.join(found)}"
    )


def formats_in(directory):
    """The names of all formats that there are annotations of in a folder.

    Example:

    >>> formats_in(pathlib.Path("my_photos"))
    ['csv']
    """
    return [name for name, known in FORMATS.items() if known.find(directory)]


def _names(directory):
    """The files that may be annotations, for an error."""
    files = find_files(directory, ANNOTATION_SUFFIXES)
    names = [relative_name(path, directory) for path in files]
    return listed(names, 3) if names else "no files of annotations"
