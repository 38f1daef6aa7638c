"""Annotations as a CSV file, an object a line."""

import csv
import io
import re

from keras_edram.datasets.annotated.formats.entries import (
    Format,
    Problem,
    Source,
    add_object,
    clean_label,
    find_files,
    finite,
    only,
    read_text,
    without_entry,
)
from keras_edram.datasets.annotated.formats.lookup import Pictures

CSV_HEADER = ("file", "label", "xmin", "ymin", "xmax", "ymax")
SIDES = CSV_HEADER[2:]
# What others call the same, as TensorFlow's and Roboflow's tables do.
SYNONYMS = {
    "filename": "file",
    "file_name": "file",
    "image": "file",
    "path": "file",
    "class": "label",
    "name": "label",
    "left": "xmin",
    "top": "ymin",
    "right": "xmax",
    "bottom": "ymax",
    "x1": "xmin",
    "y1": "ymin",
    "x2": "xmax",
    "y2": "ymax",
}
DELIMITERS = ",;\t"
DECIMAL_COMMA = re.compile(r"-?\d+,\d+")


def _tables(directory):
    return find_files(directory, {".csv"}, deep=False)


def _find(directory):
    return [path for path in _tables(directory) if _is_ours(path)]


def _is_ours(path):
    """Whether a table has our header; others may lie there, too."""
    try:
        next(_rows(path), None)
    except ValueError as error:
        return "header" not in str(error)
    return True


def _read(directory):
    paths = _find(directory) or _tables(directory)
    path = only(paths, directory, "CSV")
    pictures, problems = Pictures(directory), []
    for where, row in _rows(path):
        entry = pictures.entry(row["file"]) if row.get("file") else None
        if entry is None:
            problems.append(Problem(path.name, f"{where} has no file", True))
            continue
        size = finite([row.get("width"), row.get("height")], 2)
        if size:
            entry.sizes.append(tuple(size))
        if any(row.get(name) for name in (*CSV_HEADER[1:], None)):
            # There may be more cells than the header has names.
            sides = [] if row.get(None) else list(map(row.get, SIDES))
            add_object(
                entry,
                where,
                row.get("label"),
                finite(sides, 4),
                no_box=_no_box(sides),
            )
    entries = pictures.entries()
    return Source(entries, None, problems + without_entry(directory, entries))


def _no_box(sides):
    """What a row has whose sides are no four numbers."""
    if any(DECIMAL_COMMA.fullmatch(side or "") for side in sides):
        return "decimal commas: write 0.5 for 0,5"
    return "no box of 4 numbers"


def _rows(path):
    """Where each row stands, and its cells by our names of the columns.

    Cells beyond the header are those of the name `None`.
    """
    text = read_text(path)
    header = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=header.count)
    rows = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    try:
        columns = _columns(path, next(rows, []))
        first = rows.line_num + 1
        for cells in rows:
            _check_lines(path, cells, first, rows.line_num)
            cells = [clean_label(cell) for cell in cells]
            if any(cells):
                row = dict(zip(columns, cells, strict=False))
                row[None] = any(cells[len(columns) :])
                yield f"line {first} of {path.name}", row
            first = rows.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f"{path} must be a CSV file, but line {rows.line_num} is broken "
            f"({error}). Mend it, or restore it from where it came."
        ) from error


def _columns(path, header):
    """The names of the header, as we call them."""
    names = [name.strip().lower() for name in header]
    columns = []
    for name in names:
        ours = SYNONYMS.get(name, name)
        columns.append(name if ours in names + columns else ours)
    if any(columns.count(name) != 1 for name in CSV_HEADER):
        raise ValueError(
            f"{path} must have the header {','.join(CSV_HEADER)}. "
            f"Received: {','.join(header)}"
        )
    return columns


def _check_lines(path, cells, first, last):
    """Raises `ValueError` if a cell goes on over the end of its line."""
    if any("\n" in cell.strip() for cell in cells):
        raise ValueError(
            f"{path} must have an object a line, but a cell of line {first} "
            f'goes on to line {last}: a quote (") in line {first} is not '
            "closed, or one too many"
        )


FORMAT = Format("a *.csv in it", _find, _read, _tables)
