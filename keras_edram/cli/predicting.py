"""The command `predict`: pictures and folders of them in, answers out."""

import glob
import os
import pathlib

from keras_edram.cli import printing

PLOTTED = 20  # pictures in a figure: each takes half a second, and a row
# In a folder they are listed as what cannot be read; others are no pictures.
UNREAD_SUFFIXES = {".heic", ".heif", ".hif", ".jxl"}


def predict(options):
    """Reads picture files, and those in folders.

    Its exit status is 1 if some cannot be read, which are listed, and 2 if
    none can.
    """
    from keras_edram import reading
    from keras_edram.presets import opening

    files = picture_files(options.images)
    _check_plot(options.plot, files)
    model = opening.open_model(options.model)
    readings = reading.read_pictures(
        model,
        files,
        crops=options.crops,
        invert=options.invert,
        light_on_dark=_learnt_light_on_dark(options.model),
        refuse_below=options.refuse_below,
        confidence=options.confidence,
        max_glimpses=options.max_glimpses,
    )
    give = printing.json_array if options.json else printing.answer_lines
    good = []
    with printing.progress(len(files)) as progress, give() as add:
        progress(0)
        for number, (file, answer, error, notes) in enumerate(readings, 1):
            progress(None)
            for note in notes:
                printing.print_of_file("note", file, note)
            if error is None:
                good.append(file)
                add({"file": printing.as_text(file), **answer})
            else:
                printing.print_of_file("error", file, error)
                error = printing.as_text(error)
                add({"file": printing.as_text(file), "error": error})
            progress(number)
    if options.plot and good:
        _plot(model, good, options)
    if len(good) == len(files):
        return 0
    return 1 if good else 2


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
    files = []
    for path in paths:
        matches = [path]
        if not os.path.lexists(path):
            if str(path) == "-":
                raise ValueError(
                    "A picture must be a file: standard input is not read. "
                    "Received: '-'"
                )
            found = sorted(glob.glob(str(path), recursive=True))
            matches = [pathlib.Path(name) for name in found] or [path]
        for match in matches:
            inside = _pictures_in(match) if os.path.isdir(match) else []
            files += inside or [match]
    return files


def _pictures_in(folder):
    """Its pictures, sorted, and folders in it that may not be opened.

    Also what only has the name of a picture, such as a link to nothing: so it
    is not passed over in silence.
    """
    from keras_edram.datasets.annotated.formats.entries import (
        PICTURE_SUFFIXES,
    )

    suffixes = PICTURE_SUFFIXES | UNREAD_SUFFIXES
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


def _check_plot(plot, files):
    """Raises if the figure would be written over a picture."""
    if plot is None or not plot.exists():
        return
    for file in files:
        if os.path.exists(file) and os.path.samefile(file, plot):
            raise ValueError(
                "--plot must be a file that is not one of the pictures to "
                f"read. Received: {str(plot)!r}"
            )


def _learnt_light_on_dark(where):
    """Whether a model is known to have learnt from light digits alone."""
    from keras_edram import recipes
    from keras_edram.presets import opening

    try:
        run = opening.run_of(where)
        # Those that ship, or the others of MNIST.
        return "bundled" in recipes.load(run["recipe"]).sources
    except (ValueError, KeyError, TypeError):  # nothing is known of it
        return False


def _plot(model, files, options):
    """Draws where the model looked in the first pictures."""
    import numpy as np

    from keras_edram import reading, visualization

    if len(files) > PLOTTED:
        printing.print_of_file(
            "note",
            options.plot,
            f"shows the first {PLOTTED} of {len(files):,} pictures",
        )
        files = files[:PLOTTED]
    images = [
        reading.read_image(file, model.image_shape, invert=options.invert)[0]
        for file in files
    ]
    images = np.stack(images)
    visualization.plot_glimpses(
        model,
        images,
        options.plot,
        titles=[printing.one_line(file.name) for file in files],
        glimpses=reading.look(
            model, images, options.confidence, options.max_glimpses
        ),
    )
