"""Annotations of kinds that are not read: what they are, and what to do."""

import json

from keras_edram.datasets.annotated.formats.entries import (
    find_files,
    read_text,
)
from keras_edram.words import relative_name

LOOKED_AT = 100  # files, at most: all are of one kind, as a rule
EXPORT = "export it as COCO, YOLO or Pascal VOC"
BY_SUFFIX = {
    **dict.fromkeys((".tfrecord", ".tfrecords", ".record"), "TFRecord"),
    **dict.fromkeys((".parquet", ".arrow"), "a table of Arrow"),
    **dict.fromkeys((".jsonl", ".ndjson"), "JSON lines"),
    ".mat": "MATLAB",
}
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
TABLES = (".xls", ".xlsx", ".ods", ".tsv")
SUFFIXES = {".json", *BY_SUFFIX, *ARCHIVES, *TABLES}


def describe(directory):
    """What annotations of other kinds a folder has, as a sentence, if any.

    Args:
        directory: `pathlib.Path` of the folder.

    Returns:
        String, empty if nothing is known.

    Example:

    >>> describe(pathlib.Path("my_photos"))
    ''
    """
    found = {}
    for path in find_files(directory, SUFFIXES)[:LOOKED_AT]:
        kind = _kind(path)
        if kind:
            found.setdefault(kind, []).append(relative_name(path, directory))
    return "; ".join(
        f"{names[0]}{f' and {len(names) - 1} more' * (len(names) > 1)} {kind}"
        for kind, names in found.items()
    )


def _kind(path):
    suffix = path.suffix.lower()
    if suffix in ARCHIVES:
        return "is packed: unpack it"
    if suffix in TABLES:
        return "is a table of another kind: save it as CSV"
    if suffix in BY_SUFFIX:
        return f"is {BY_SUFFIX[suffix]}, which is not read: {EXPORT}"
    try:
        name = _json_kind(json.loads(read_text(path)))
    except (ValueError, RecursionError):
        return None  # said when it is read
    return name and f"is {name}, which is not read: {EXPORT}"


def _json_kind(content):
    """Whose JSON it is, by the names of its fields; `None` if unknown."""
    first = content
    if isinstance(content, list):
        first = content[0] if content else None
    if not isinstance(first, dict):
        return None
    if isinstance(content, list):
        of_studio = {"annotations", "completions", "annotator"}
        if first.keys() & {"data", "annotator"} and first.keys() & of_studio:
            return "Label Studio's own JSON"
        if "image" in first and "annotations" in first:
            return "JSON of Create ML"
        if "image_id" in first and "score" in first:
            return "a list of predictions"
        return None
    if "shapes" in first:
        return "JSON of LabelMe"
    if any("_via_" in key for key in first) or any(
        isinstance(value, dict) and "regions" in value
        for value in first.values()
    ):
        return "JSON of the VGG Image Annotator"
    if "objects" in first and "size" in first:
        return "JSON of Supervisely"
    return None
