"""What fewer bits cost and save: the TFLite files of a model, compared."""

import functools
import os
import pathlib
import platform
import statistics
import time

import numpy as np

from keras_edram import files, markdown
from keras_edram.serving import formats, signatures
from keras_edram.serving.tflite import TFLITE

JSON_FILE = "report.json"
TABLE_FILE = "report.md"
NUM_THREADS = (1, 2)
NUM_TURNS = 10
CALLS_A_TURN = 10
BATCH_SIZE = 50
COLUMNS = (
    "file",
    "kB",
    "same answers",
    "error",
    *(f"ms, {number} thread{'s' * (number > 1)}" for number in NUM_THREADS),
)


def report_tflite(
    model,
    folder,
    images,
    targets,
    calibration_images,
    *,
    format=TFLITE,
    overwrite=False,
):
    """Writes a model in all ways that `export_tflite` knows, and compares.

    Each file is run on all images; a single image is timed, in turns, for the
    speed of a machine drifts. Into the folder go the files, the figures as
    `report.json` and the table as `report.md`.

    Args:
        model: `EDRAM`, `Ensemble`, `RAM` (its mean policy) or `Baseline`.
        folder: Path of the folder.
        images: Array of shape `(n, H, W, C)`, in [0, 255]; for a model of
            images of any size, of that which the files are for.
        targets: `{"labels": (n, S), "transforms": (n, S, 2, 3)}`.
        calibration_images: See `export_tflite`; others than `images`.
        format: `formats.Format` that has `variants`. Defaults to TFLite.
        overwrite: Boolean, whether to replace files of these names that are
            there. Defaults to False.

    Returns:
        Dictionary: `images`, n; `machine`; `error` of the model itself, the
        share of images that are not read exactly; and `files`, a list of
        dictionaries: `file`; `quantize`; `steps`; `bytes`; `agreement`, the
        share of images that are read as by the model; `error`; `milliseconds`
        of an image, the median, by number of threads.

    Raises:
        ValueError: If there are files that may not be replaced.
        RuntimeError: If the extra `tflite` is missing.

    Example:

    >>> others, _ = cluttered_mnist("validation").arrays(5)
    >>> report_tflite(model, "edram", images, targets, others)["images"]
    5
    """
    from keras_edram import evaluation

    folder = pathlib.Path(folder)
    size = {"image_size": images.shape[1:3]} if model.takes_any_size else {}
    model = signatures.deployable(model)
    variants = format.variants(model)
    for name in (JSON_FILE, TABLE_FILE, *variants):
        files.check_file(folder / name, overwrite=overwrite)
    truth, _ = evaluation.true_answers(model, targets)
    expected = _labels(
        lambda batch: model.decode(model(batch, training=False)), images
    )
    rows = []
    for name, options in variants.items():
        given = {**size}
        if format.wants_images(**options):
            given["images"] = calibration_images
        path = format.write(
            model, folder / name, **options, **given, overwrite=overwrite
        )
        run, _ = format.open(path)
        labels = _labels(functools.partial(_answers, run), images)
        rows.append(
            {
                "file": name,
                **options,
                "bytes": path.stat().st_size,
                "agreement": 1 - _differ(labels, expected),
                "error": _differ(labels, truth),
            }
        )
    _time(format, folder, images[:1], rows)
    figures = {
        "images": len(images),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "error": _differ(expected, truth),
        "files": rows,
    }
    files.write_json(folder / JSON_FILE, figures)
    with files.replacing(folder / TABLE_FILE) as partial:
        partial.write_text(table(figures), encoding="utf-8")
    return figures


def table(figures):
    """The figures of `report_tflite` as a table in Markdown."""
    rows = [
        [
            f"`{row['file']}`",
            f"{row['bytes'] / 1000:,.0f}",
            f"{row['agreement']:.2%}",
            f"{row['error']:.2%}",
            *(f"{value:.1f}" for value in row["milliseconds"].values()),
        ]
        for row in figures["files"]
    ]
    return markdown.table(COLUMNS, rows) + "\n"


def _answers(run, images):
    return run("serving_default", images=formats.finite(images))


def _labels(answer, images):
    """The answered labels, `(n, S)`, of a function of a batch."""
    return np.concatenate(
        [
            np.asarray(answer(images[i : i + BATCH_SIZE])["labels"])
            for i in range(0, len(images), BATCH_SIZE)
        ]
    )  # (n, S)


def _differ(labels, others):
    """Share of images whose answers are not exactly the same."""
    return float((labels != others).any(axis=1).mean())


def _time(format, folder, image, rows):
    """Adds to each row the milliseconds of an image, by number of threads."""
    for row in rows:
        row["milliseconds"] = {}
    for number in NUM_THREADS:
        runs = [format.open(folder / row["file"], number)[0] for row in rows]
        seconds = [[] for _ in runs]
        for turn in range(NUM_TURNS + 1):
            for run, found in zip(runs, seconds, strict=True):
                for _ in range(CALLS_A_TURN):
                    start = time.perf_counter()
                    _answers(run, image)
                    if turn:  # the first is to warm up
                        found.append(time.perf_counter() - start)
        for row, found in zip(rows, seconds, strict=True):
            median = statistics.median(found)
            row["milliseconds"][str(number)] = 1000 * median
