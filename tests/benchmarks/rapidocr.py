"""Numbers in photographs: a model of ours beside RapidOCR, which finds text.

python tests/benchmarks/rapidocr.py [MODEL] [--images 300] [--empty 300]
    [--out FILE.json]

Both read the same pictures of the test split of `numbers_in_photos`, one
picture after the other, each in turn, in one process at the same number of
threads. MODEL is a preset, a `.keras` file or a run folder; a model of a fixed
size is given the picture stretched to it, one of any size the picture itself.
Without MODEL there is RapidOCR alone, and without RapidOCR (`pip install
rapidocr-onnxruntime`) the model alone.

A number is right if all of its digits are, and no more. Of what RapidOCR reads,
letters that look like digits count as those, and of several lines that which
is most a number counts; so it is not held against it that it knows words. Both
claim a number in a picture without one if they give one with a probability of
at least 0.5 (RapidOCR's own threshold).
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
RESULTS = pathlib.Path(__file__).parent / "results" / "rapidocr.json"
SURE = 0.5  # from which probability on an answer counts as a claim
WIDTHS = {"below_10": (0, 0.1), "10_to_20": (0.1, 0.2), "above_20": (0.2, 1)}
LOOK_ALIKE = str.maketrans("OoQDIil|!ZzSsBbGgq", "000011111225588699")
WARM_UP = 3  # pictures that are read before any counts


class RapidOCR:
    """RapidOCR as it comes, with a number of threads."""

    def __init__(self, threads):
        import rapidocr_onnxruntime

        self._read = rapidocr_onnxruntime.RapidOCR(
            intra_op_num_threads=threads, inter_op_num_threads=1
        )
        folder = pathlib.Path(rapidocr_onnxruntime.__file__).parent / "models"
        files = list(folder.glob("*.onnx"))
        self.megabytes = sum(file.stat().st_size for file in files) / 1e6

    def __call__(self, picture):
        """The number of a uint8 picture (H, W, 3), or `None`; the time."""
        start = time.perf_counter()
        lines, _ = self._read(picture[..., ::-1])  # blue, green, red
        seconds = time.perf_counter() - start
        return best_number([line[1:] for line in lines or []]), seconds


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
        picture = np.repeat(images[0], 3 // images.shape[-1], axis=-1)
        labels = targets["labels"][0]
        count = int(np.argmax(labels == len(data.class_names)))
        # Windows span -1 to 1, so that half of it is the image's width.
        windows = targets["transforms"][0, :count]
        ends = windows[:, 0, 2] - windows[:, 0, 0]
        other_ends = windows[:, 0, 2] + windows[:, 0, 0]
        width = (other_ends.max() - ends.min()) / 2 if count else 0.0
        truths.append(("".join(map(str, labels[:count])), float(width)))
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
        by_width[name] = {
            "pictures": len(of_width),
            "right": sum(of_width) / len(of_width) if of_width else None,
        }
    claimed = [answer is not None and sure for answer, sure, _ in said_of_empty]
    return {
        "right": sum(right) / len(right),
        "right_by_width": by_width,
        "claimed_of_empty": sum(claimed) / len(claimed) if claimed else None,
        "milliseconds": 1000 * statistics.median(row[2] for row in said),
    }


def make_readers(model, threads):
    """Those that there are: name -> reader."""
    readers = {}
    try:
        readers["rapidocr"] = RapidOCR(threads)
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
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS)
    options = parser.parse_args()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    from keras_edram.datasets import numbers_in_photos

    readers = make_readers(options.model, options.threads)
    if not readers:
        parser.error("neither RapidOCR nor a MODEL is there")
    of_test = {
        "colour": options.colour,
        "crops": options.crops,
        "seed": options.seed,
    }
    numbers = numbers_in_photos("test", empty=0, **of_test)
    nothing = numbers_in_photos("test", empty=1, **of_test)
    measure(readers, numbers, WARM_UP)
    said, truths = measure(readers, numbers, options.images)
    of_empty, _ = measure(readers, nothing, options.empty)
    result = {
        "date": datetime.date.today().isoformat(),
        "processor": platform.processor() or platform.machine(),
        "threads": options.threads,
        "images": options.images,
        "empty": options.empty,
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
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
