"""Annotations as files: COCO, YOLO, Pascal VOC and CSV, a module each.

Each has a `Format`, which finds them in a folder, and reads them to an `Entry`
a picture and a list of `Problem`. The pictures are looked at later.
"""

from keras_edram.datasets.annotation_formats import coco, csv_table, voc, yolo

FORMATS = {
    "coco": coco.FORMAT,
    "yolo": yolo.FORMAT,
    "voc": voc.FORMAT,
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
