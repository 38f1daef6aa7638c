"""Annotations as a CSV file, an object a line."""

import csv
import io
import os

from keras_edram.datasets.annotation_formats.entries import (
    Entry,
    Format,
    Problem,
    Source,
    add_object,
    find_files,
    finite,
    only,
    read_text,
    without_entry,
)

CSV_HEADER = ["file", "label", "xmin", "ymin", "xmax", "ymax"]


def _find(directory):
    return find_files(directory, {".csv"}, deep=False)


def _read(directory):
    path = only(_find(directory), directory, "CSV")
    rows = csv.reader(io.StringIO(read_text(path)))
    entries, problems = {}, []
    try:
        header = [name.strip() for name in next(rows, [])]
        if header != CSV_HEADER:
            raise ValueError(
                f"{path} must have the header {','.join(CSV_HEADER)}. "
                f"Received: {','.join(header)}"
            )
        for row in rows:
            where = f"line {rows.line_num} of {path.name}"
            name, *values = [cell.strip() for cell in row] or [""]
            if name:
                picture = directory / name
                entry = entries.setdefault(
                    os.path.normpath(picture), Entry(picture, [], [], [])
                )
                if any(values):
                    add_object(entry, where, values[0], finite(values[1:], 4))
            elif any(values):
                problems.append(
                    Problem(path.name, f"{where} has no file", True)
                )
    except csv.Error as error:
        raise ValueError(
            f"{path} must be a CSV file, but line {rows.line_num} is broken "
            f"({error}). Mend it, or restore it from where it came."
        ) from error
    entries = list(entries.values())
    return Source(entries, None, problems + without_entry(directory, entries))


FORMAT = Format("a *.csv in it", _find, _read)
