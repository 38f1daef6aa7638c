"""Answers, figures and folders, in words for people and for programs."""

import contextlib
import json
import math
import shlex
import sys
import textwrap

from keras_edram.words import listed, printable

PROGRESS_FROM = 200  # pictures; fewer are answered soon


def print_of_file(kind, file, what):
    """What is wrong with a file or odd about it, on standard error."""
    print(
        f"keras-edram: {kind}: {printable(file)}: {printable(what)}",
        file=sys.stderr,
    )


@contextlib.contextmanager
def json_array():
    """Gives a function that prints a row of a JSON array, one by one.

    The array is whole whatever ends it.
    """
    begun = False

    def add(row):
        nonlocal begun
        text = json.dumps(row, indent=2, allow_nan=False)
        text = textwrap.indent(text, "  ")
        print((",\n" if begun else "[\n") + text, end="")
        begun = True

    try:
        yield add
    finally:
        if begun:
            print("\n]")


@contextlib.contextmanager
def answer_lines():
    """Gives a function that prints an answer as a line; errors are not."""
    yield lambda row: None if "error" in row else print(_answer_line(row))


def _answer_line(answer):
    from keras_edram.reading import in_words

    line = f"{answer['file']}: {in_words(answer)}"
    line += f"  {answer['probability']:.1%} sure"
    if answer["boxes"]:
        boxes = (
            "(" + ", ".join(f"{side:.3f}" for side in box) + ")"
            for box in answer["boxes"]
        )
        line += f", at {' '.join(boxes)}"
    if "num_glimpses" in answer:
        number = answer["num_glimpses"]
        line += f", {number} glimpse{'s' * (number != 1)}"
    return printable(line)


@contextlib.contextmanager
def progress(total):
    """Gives a function that shows how many of `total` pictures are read.

    It takes their number, or `None` to make room for another line. Nothing is
    shown of few pictures, or if standard error is no terminal.
    """
    if total < PROGRESS_FROM or not sys.stderr.isatty():
        yield lambda number: None
        return

    def show(number):
        text = "" if number is None else f"{number:,}/{total:,}"
        print(f"\r{' ' * 24}\r{text}", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        show(None)


def print_next_steps(out):
    """What to do with what `quickstart` leaves."""
    run, plot = (shlex.quote(str(path)) for path in (out, out / "fig5.png"))
    print(
        "\nWhat to do next:\n"
        f"  keras-edram evaluate {run} --glimpses 8 --plot {plot}\n"
        f"  keras-edram predict {run} YOUR_PICTURE.png --plot answer.png\n"
        "  keras-edram recipes    longer trainings, and what they gave"
    )


def print_run_folder(out):
    """What `train` leaves."""
    print(
        f"In {out}:\n"
        "  model.keras     the model with the lowest validation error\n"
        "  results.json    its figures, and how they came about\n"
        "  history.csv     and history.png: how it learnt\n"
        "  glimpses.png    and glimpses.gif: where it looks\n"
        "  paths.png       the same as paths\n"
        "  heat_map.png    and over many images: does it depend on them?"
    )


def annotations_summary(annotations, problems):
    """What a folder has, in numbers."""
    from keras_edram.datasets.annotated.formats.entries import NO_LABEL_FILE

    pictures = annotations.pictures
    objects = [len(picture.labels) for picture in pictures]
    unlabelled = sum(problem.kind == NO_LABEL_FILE for problem in problems)
    broken = sum(problem.broken for problem in problems)
    return (
        f"{objects.count(0):,} pictures without objects, {unlabelled:,} of "
        "them without a label file\n"
        f"{len(pictures):,} pictures, {sum(objects):,} objects of "
        f"{len(annotations.class_names):,} classes "
        f"({listed(annotations.class_names)}), at most "
        f"{max(objects, default='-')} in a picture; "
        f"{broken:,} broken, {len(problems) - broken:,} notes"
    )


def figures_table(figures):
    """Errors in per cent, overlaps and spreads, for people; - for what is not.

    Of images without an object there is no overlap, for one.
    """
    lines = [
        f"{figures.get('split', 'test') + ' error':14} "
        f"{_form(figures['error'], '.2%')}   of "
        f"{figures['images']:,} images"
    ]
    if len(figures.get("error_by_average", ())) > 1:
        lines[0] += ", by the mean of all glimpses"
    if len(figures["error_by_length"]) > 1:
        by_length = ", ".join(
            f"{_form(error, '.2%')} of {length}"
            for length, error in figures["error_by_length"].items()
        )
        lines += [
            f"by length      {by_length}",
            f"each object    {_form(figures['label_error'], '.2%')}",
        ]
    refused = ", ".join(
        f"{_form(error, '.2%')} in {coverage}"
        for coverage, error in figures["error_at_coverage"].items()
    )
    # Results of before this figure was have none.
    by_chance = figures.get("calibration_error_by_chance")
    lines += [
        f"of the surest  {refused}",
        f"calibration    {_form(figures['calibration_error'], '.3f')}   "
        "between how sure it is and how right"
        + (f"; {by_chance:.3f} by chance" if by_chance is not None else ""),
        f"overlap        {_form(figures['iou'], '.3f')}   of the last window "
        "with the true one",
    ]
    if "multiply_adds" in figures:
        lines.append(
            f"an image costs {figures['multiply_adds'] / 1e6:,.1f} million "
            f"multiply-adds, with {figures['parameters']:,} parameters"
        )
    if "error_by_glimpse" in figures:
        lines += _glimpse_lines(figures)
    if "anytime" in figures:
        lines += ["", "stops when sure      error    glimpses"]
        lines += [
            f"{'never' if row['confidence'] is None else row['confidence']:>15}"
            f"   {_form(row['error'], '7.2%')}   "
            f"{row['glimpses']:5.2f} ({row['share']:.0%})"
            for row in figures["anytime"]
        ]
    return "\n".join(lines)


def _glimpse_lines(figures):
    """A column for each glimpse at a target."""
    number = len(figures["iou_by_glimpse"])
    lines = [
        f"spread         {_form(figures['spread'], '.3f')}   of the last "
        "window over the images, which are 2 wide",
        "",
        "glimpses           " + "".join(f"{n + 1:>8}" for n in range(number)),
    ]
    for name, key, form in (
        ("error, alone", "error_by_glimpse", "8.2%"),
        ("error, mean so far", "error_by_average", "8.2%"),
        ("overlap", "iou_by_glimpse", "8.3f"),
        ("spread", "spread_by_glimpse", "8.3f"),
    ):
        if len(figures[key]) == number:
            values = "".join(_form(value, form) for value in figures[key])
            lines.append(f"{name:19}{values}")
    if "multiply_adds_by_glimpse" in figures:
        counts = figures["multiply_adds_by_glimpse"]
        values = "".join(f"{count / 1e6:8.1f}" for count in counts)
        lines.append(f"{'multiply-adds, 1e6':19}{values}")
    return lines


def _form(value, form):
    """A number in a format, or a dash in its place."""
    if value is None or math.isnan(value):
        return f"{'-':>{form.partition('.')[0]}}"
    return format(value, form)
