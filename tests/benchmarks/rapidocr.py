"""Numbers in pictures: a model of ours beside RapidOCR, which finds text.

python tests/benchmarks/rapidocr.py [MODEL] [--images 300] [--empty 300]
    [--printed | --pictures FOLDER] [--out FILE.json]

Both read the same pictures, one after the other, each in turn, in one process
at the same number of threads: the test split of `numbers_in_photos`, of
`printed_numbers`, or of a folder of annotated pictures, whole. What was cut out
RapidOCR is not asked to find: it reads it as one line, four times as large,
which serves it best. MODEL is a preset, a `.keras` file or a run folder; a
model of a fixed size is given the picture stretched to it, one of any size the
picture itself.
Without MODEL there is RapidOCR alone, and without RapidOCR (`pip install
rapidocr-onnxruntime`) the model alone.

A number is right if all of its digits are, and no more. Of what RapidOCR reads,
letters and marks that look like ours count as those, and of several lines that
which is most a number counts; so it is not held against it that it knows words.
In a line that was cut out, what looks like none is left out. Both
claim a number in a picture without one if they give one with a probability of
at least 0.5 (RapidOCR's own threshold).
"""

import argparse
import datetime
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import re
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
SURE = 0.5  # from which probability on an answer counts as a claim
WIDTHS = {"below_10": (0, 0.1), "10_to_20": (0.1, 0.2), "above_20": (0.2, 1)}
LOOK_ALIKE = str.maketrans("OoQDIil|!ZzSsBbGgq", "000011111225588699")
MARKS_ALIKE = str.maketrans(
    {
        **dict.fromkeys(",·•。", "."),
        **dict.fromkeys("—–_~一", "-"),
        "\\": "/",
    }
)
ENLARGED = 4  # what was cut out is small
WARM_UP = 3  # pictures that are read before any counts


class RapidOCR:
    """RapidOCR as it comes, with a number of threads.

    Args:
        threads: Integer.
        names: What the characters of a line can be that was cut out; by
            default lines are found in the picture.
    """

    def __init__(self, threads, names=()):
        import rapidocr_onnxruntime

        self._read = rapidocr_onnxruntime.RapidOCR(
            intra_op_num_threads=threads, inter_op_num_threads=1
        )
        self._names = names
        folder = pathlib.Path(rapidocr_onnxruntime.__file__).parent / "models"
        files = list(folder.glob("*rec*.onnx" if names else "*.onnx"))
        self.megabytes = sum(file.stat().st_size for file in files) / 1e6

    def __call__(self, picture):
        """The number of a uint8 picture (H, W, 3), or `None`; the time."""
        start = time.perf_counter()
        picture = picture[..., ::-1]  # blue, green, red
        if self._names:
            lines, _ = self._read(
                enlarged(picture), use_det=False, use_cls=False
            )
            answer = line_of((lines or [("", 0)])[0], self._names)
        else:
            lines, _ = self._read(picture)
            answer = best_number([line[1:] for line in lines or []])
        return answer, time.perf_counter() - start


def enlarged(picture):
    """A uint8 picture `(H, W, 3)`, `ENLARGED` times as high and wide."""
    import numpy as np
    from PIL import Image

    height, width, _ = picture.shape
    size = (ENLARGED * width, ENLARGED * height)
    return np.array(Image.fromarray(picture).resize(size))


def line_of(line, names):
    """What a line says in these characters, or `None`.

    Args:
        line: `(text, score)`.
        names: Strings, the characters.
    """
    text, score = line
    text = text.translate(LOOK_ALIKE).translate(MARKS_ALIKE)
    found = "".join(letter for letter in text if letter in names)
    return found if found and float(score) >= SURE else None


def best_number(lines):
    """The digits of the line that is most a number, or `None`.

    Args:
        lines: List of `(text, score)`.

    Returns:
        String of digits, or `None` where no line has a digit.
    """
    found = []
    for text, score in lines:
        if float(score) < SURE:
            continue
        text = re.sub(r"[\W_]", "", text)
        digits = sum(letter in "0123456789" for letter in text)
        runs = re.findall("[0-9]+", text.translate(LOOK_ALIKE))
        if digits and runs:
            found.append((digits / len(text), float(score), max(runs, key=len)))
    return max(found)[2] if found else None


class Ours:
    """A model of ours that reads a sequence of digits."""

    def __init__(self, where):
        from keras_edram.presets import opening

        self._model = opening.open_model(where)
        self.megabytes = 4 * self._model.count_params() / 1e6

    def __call__(self, picture):
        """As of `RapidOCR`; an answer that is not sure is kept aside."""
        import numpy as np
        from PIL import Image

        start = time.perf_counter()
        height, width, channels = self._model.image_shape
        image = Image.fromarray(picture)
        if channels == 1:
            image = image.convert("L")
        if height is not None and image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        image = np.asarray(image)
        image = image.reshape(1, *image.shape[:2], channels)
        (answer,) = self._model.read(image)
        seconds = time.perf_counter() - start
        number = "".join(answer["names"])
        self.sure = answer["probability"] >= SURE
        return number or None, seconds


def measure(readers, data, number):
    """What each reader says of pictures, in turns.

    Args:
        readers: Dictionary of name -> reader.
        data: `NumbersInPhotos`.
        number: Integer, pictures.

    Returns:
        Dictionary of name -> list of `(said, sure, seconds)`, and the list of
        `(truth, width)`: digits, and their width by the picture's.
    """
    import numpy as np

    said = {name: [] for name in readers}
    truths = []
    for index in range(number):
        images, targets = data.arrays(index + 1, index)
        picture = np.repeat(images[0], 3 // images[0].shape[-1], axis=-1)
        labels = targets["labels"][0]
        count = int(np.argmax(labels == len(data.class_names)))
        # Windows span -1 to 1, so that half of it is the image's width.
        windows = targets["transforms"][0, :count]
        ends = windows[:, 0, 2] - windows[:, 0, 0]
        other_ends = windows[:, 0, 2] + windows[:, 0, 0]
        width = (other_ends.max() - ends.min()) / 2 if count else 0.0
        truth = "".join(data.class_names[label] for label in labels[:count])
        truths.append((truth, float(width)))
        for name, read in readers.items():
            answer, seconds = read(picture)
            said[name].append((answer, getattr(read, "sure", True), seconds))
    return said, truths


def figures(said, truths, said_of_empty):
    """Of one reader: right answers, claims, milliseconds."""
    right = [
        answer == truth
        for (answer, _, _), (truth, _) in zip(said, truths, strict=True)
    ]
    by_width = {}
    for name, (least, most) in WIDTHS.items():
        of_width = [
            is_right
            for is_right, (_, width) in zip(right, truths, strict=True)
            if least <= width < most
        ]
        if of_width:
            by_width[name] = {
                "pictures": len(of_width),
                "right": sum(of_width) / len(of_width),
            }
    claimed = [answer is not None and sure for answer, sure, _ in said_of_empty]
    return {
        "right": sum(right) / len(right),
        "right_by_width": by_width,
        "claimed_of_empty": sum(claimed) / len(claimed) if claimed else None,
        "milliseconds": 1000 * statistics.median(row[2] for row in said),
    }


def make_data(options):
    """The pictures of a number, and those of none, of which a folder has none.

    Args:
        options: What the command was told.
    """
    from keras_edram import datasets

    if options.pictures:
        whole = dict(image_size=None, base="picture", order="annotated")
        return datasets.folder(options.pictures, "test", **whole), None
    changes = {"colour": options.colour, "seed": options.seed}
    if options.printed:
        make, changes["fonts"] = datasets.printed_numbers, options.fonts
    else:
        make, changes["crops"] = datasets.numbers_in_photos, options.crops
    return make("test", empty=0, **changes), make("test", empty=1, **changes)


def make_readers(model, threads, names):
    """Those that there are: name -> reader."""
    readers = {}
    try:
        readers["rapidocr"] = RapidOCR(threads, names)
    except ModuleNotFoundError as error:
        print(f"Left out: RapidOCR, for there is no {error.name}")
    if model:
        readers["ours"] = Ours(model)
    return readers


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="?", metavar="MODEL")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--empty", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--colour", action="store_true")
    parser.add_argument("--crops", help="a file of real digits")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--printed", action="store_true", help="cut out")
    kind.add_argument("--pictures", help="a folder of annotated pictures")
    parser.add_argument("--fonts", help="a folder, of those that are cut out")
    parser.add_argument("--out", type=pathlib.Path, help="a file of results")
    options = parser.parse_args()
    if options.images < 1 or options.empty < 0:
        parser.error(
            "`images` must be at least 1 and `empty` at least 0. Received: "
            f"images={options.images}, empty={options.empty}"
        )
    if options.fonts and not options.printed:
        parser.error("`--fonts` is of `--printed` alone")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    try:
        numbers, nothing = make_data(options)
    except ValueError as error:
        parser.error(str(error))
    cut_out = options.printed or options.pictures
    readers = make_readers(
        options.model, options.threads, numbers.class_names if cut_out else ()
    )
    if not readers:
        parser.error("neither RapidOCR nor a MODEL is there")
    images = min(
        options.images, len(numbers.pictures) if options.pictures else math.inf
    )
    measure(readers, numbers, WARM_UP)
    said, truths = measure(readers, numbers, images)
    of_empty = dict.fromkeys(readers, [])
    if nothing is not None:
        of_empty, _ = measure(readers, nothing, options.empty)
    result = {
        "date": datetime.date.today().isoformat(),
        "processor": platform.processor() or platform.machine(),
        "threads": options.threads,
        "pictures": "whole pictures of a folder"
        if options.pictures
        else ("cut out" if options.printed else "photographs"),
        "images": images,
        "empty": len(next(iter(of_empty.values()))),
        "seed": options.seed,
        "colour": options.colour,
        "real_digits": options.crops is not None,
        "data": numbers.fingerprint,
        "model": options.model,
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("tensorflow", "keras", "rapidocr-onnxruntime")
            if name != "rapidocr-onnxruntime" or "rapidocr" in readers
        },
        "readers": {
            name: {
                **figures(said[name], truths, of_empty[name]),
                "megabytes": readers[name].megabytes,
            }
            for name in readers
        },
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
