"""The command `predict`: pictures and folders of them in, answers out."""

import glob
import os
import pathlib

from keras_edram import words
from keras_edram.cli import printing

PLOTTED = 20  # pictures in a figure: each takes half a second, and a row
# In a folder they are listed as what cannot be read; others are no pictures.
UNREAD_KINDS = ("HEIC", "JPEG XL")


def predict(options):
    """Reads picture files, and those in folders.

    Its exit status is 1 if some cannot be read, which are listed, and 2 if
    none can.
    """
    from keras_edram import reading
    from keras_edram.presets import opening

    given = picture_files(options.images)
    _check_plot(options.plot, given)
    model = opening.open_model(options.model)
    readings = reading.read_pictures(
        model,
        given,
        crops=options.crops,
        invert=options.invert,
        light_on_dark=opening.learnt_light_on_dark(options.model),
        refuse_below=options.refuse_below,
        **_budget(options),
    )
    good, shown = _print(readings, len(given), options.json)
    if options.plot and good:
        _plot(model, good, shown, options)
    if good == len(given):
        return 0
    return 1 if good else 2


def _print(readings, number, as_json):
    """Prints what became of each picture.

    Returns how many were answered, and the first of those, to be drawn.
    """
    from keras_edram.picture_notes import DARK_ON_LIGHT

    give = printing.json_array if as_json else printing.answer_lines
    good, shown = 0, []
    with printing.progress(number) as progress, give() as add:
        progress(0)
        for read, reading in enumerate(readings, 1):
            file, answer, error, notes = reading
            progress(None)
            for note in notes:
                if note == DARK_ON_LIGHT:
                    note += ", by --invert"
                printing.print_of_file("note", file, note)
            if error is None:
                good += 1
                shown += [reading] * (good <= PLOTTED)
                if notes:
                    said = [f"This image {note}." for note in notes]
                    answer = {**answer, "notes": said}
                add({"file": words.as_text(file), **answer})
            else:
                printing.print_of_file("error", file, error)
                error = words.as_text(error)
                add({"file": words.as_text(file), "error": error})
            progress(read)
    return good, shown


def _budget(options):
    return dict(
        confidence=options.confidence, max_glimpses=options.max_glimpses
    )


def picture_files(paths):
    """The files that are meant, in order, each as often as it is named.

    Of a folder all pictures in it and in its folders, sorted; a pattern that
    no shell has expanded, as on Windows, is expanded here. What is not there
    stays as it is: reading it says so.

    Args:
        paths: List of `pathlib.Path`, of files, of folders, or patterns.

    Returns:
        List of `pathlib.Path`.

    Raises:
        ValueError: For `-`, standard input.

    Example:

    >>> picture_files([pathlib.Path("photos"), pathlib.Path("a.png")])
    [PosixPath('photos/1.png'), PosixPath('photos/2.jpg'), PosixPath('a.png')]
    """
    found = []
    for path in paths:
        matches = [path]
        if not os.path.lexists(path):
            if str(path) == "-":
                raise ValueError(
                    "A picture must be a file: standard input is not read. "
                    "Received: '-'"
                )
            expanded = sorted(glob.glob(str(path), recursive=True))
            matches = [pathlib.Path(name) for name in expanded] or [path]
        for match in matches:
            inside = _pictures_in(match) if os.path.isdir(match) else []
            found += inside or [match]
    return found


def _pictures_in(folder):
    """Its pictures, sorted, and folders in it that may not be opened.

    Also what only has the name of a picture, such as a link to nothing: so it
    is not passed over in silence.
    """
    from keras_edram.datasets.annotated.formats.entries import (
        PICTURE_SUFFIXES,
    )
    from keras_edram.pictures import OTHER_KINDS

    unread = (OTHER_KINDS[kind] for kind in UNREAD_KINDS)
    suffixes = PICTURE_SUFFIXES.union(*unread)
    found, closed, seen = [], [], set()
    for where, folders, names in os.walk(
        folder, followlinks=True, onerror=closed.append
    ):
        real = os.path.realpath(where)
        if real in seen:  # by a link, perhaps in a circle
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            pathlib.Path(where, name)
            for name in names
            if not name.startswith(".")
            and os.path.splitext(name)[1].lower() in suffixes
        ]
    return sorted(found + [pathlib.Path(error.filename) for error in closed])


def _check_plot(plot, given):
    """Raises if the figure would be written over a picture."""
    if plot is None or not plot.exists():
        return
    for file in given:
        if os.path.exists(file) and os.path.samefile(file, plot):
            raise ValueError(
                "--plot must be a file that is not one of the pictures to "
                f"read. Received: {str(plot)!r}"
            )


def _plot(model, good, shown, options):
    """Draws the first answers, of `good`, and where the model looked."""
    import numpy as np

    from keras_edram import visualization
    from keras_edram.picture_notes import read_with_notes
    from keras_edram.reading import look
    from keras_edram.visualization.glimpses import photo_of

    notes = []
    if good > len(shown):
        notes.append(f"shows the first {PLOTTED} of {good:,} pictures")
    if options.crops is not None:
        notes.append("shows the answers of the crops, but glimpses at wholes")
    for note in notes:
        printing.print_of_file("note", options.plot, note)
    given = [reading.file for reading in shown]
    images, looks = [], []
    for file in given:  # one by one: all photos together may be large
        image, _ = read_with_notes(
            file, model.image_shape, invert=options.invert
        )
        looks.append(look(model, image[None], **_budget(options)))
        images.append(photo_of(image, len(given)))
    visualization.plot_glimpses(
        model,
        images,
        options.plot,
        titles=[words.printable(file.name) for file in given],
        looks={
            name: np.concatenate([looks_at[name] for looks_at in looks])
            for name in looks[0]
        },
        answers=[reading.answer for reading in shown],
    )
