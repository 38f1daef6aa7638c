"""Makes the folder of house numbers that our readers were trained on.

    python -m keras_edram.datasets.house_numbers SVHN_FILES house_numbers

reads a folder with

    house_numbers.zip           pictures 1.png, 2.png, ..., each a house number
    house_numbers.json          {"1.png": {"boxes": [{"label", "left", "top",
                                "width", "height"}, ...]}, ...}, in pixels
    digits_32x32.npz            `x` (n, 32, 32, 3) and `y` (n,), uint8: crop and
                                label of each digit in the order of the boxes
    train_digitStruct.csv.gz    name;label;top;left;height;width of each digit
                                of SVHN's training pictures

and writes a new folder with `train`, `validation` and `test`, each with
pictures and an `annotations.csv`, as `keras_edram.datasets.folder` reads it and
`keras-edram train house_numbers_edram_forward --source house_numbers` trains
on. The pictures that ours were measured on are SVHN's test pictures 1.png to
4500.png, put together again from their digits' crops. Those below 3300.png are
for training, to 3599.png for validation, from 3600.png on for testing. Further
training pictures are composed: layouts of SVHN's training pictures, filled with
digits of the training pictures. SVHN is for non-commercial use.
"""

import argparse
import contextlib
import csv
import gzip
import io
import json
import pathlib
import sys
import zipfile
import zlib
from typing import NamedTuple

import numpy as np
from PIL import Image

from keras_edram import files
from keras_edram.checks import check_integer

PICTURES_FILE = "house_numbers.zip"
BOXES_FILE = "house_numbers.json"
DIGITS_FILE = "digits_32x32.npz"
LAYOUTS_FILE = "train_digitStruct.csv.gz"
FILES = (PICTURES_FILE, BOXES_FILE, DIGITS_FILE, LAYOUTS_FILE)
# What reading a file raises that is broken, or another than it should be.
BROKEN = (
    EOFError,
    LookupError,
    OSError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
FIRST_VALIDATION, FIRST_TEST = 3300, 3600
NUM_COMPOSED = 10_000
# One of the 3,300 pictures for training has more; all others have at most four.
MOST_DIGITS = 4
CROP = 32  # pixels
# Of a composed picture:
DIGIT_HEIGHTS = (14, 40)  # pixels of its highest digit
MARGINS = (0.4, 0.15)  # beside and above the boxes, at most, by its height
FADE = 0.15  # how far beyond its box a crop shows, by half its height
TURN, SLANT = 0.2, 0.3  # at most, in radians and by the height
GROUND_WEIGHT = 0.02
MIX = 0.6  # how much its channels are mixed: the less the more


class Picture(NamedTuple):
    """A picture to write.

    Attributes:
        name: String, of its file.
        content: Bytes, its PNG file.
        labels: List of k integers, 0 to 9.
        boxes: List of k boxes: left, top, right, bottom in pixels.
    """

    name: str
    content: bytes
    labels: list
    boxes: list


def split_of(name):
    """Where the picture `1.png` belongs."""
    number = int(name.split(".")[0])
    if number < FIRST_VALIDATION:
        return "train"
    return "validation" if number < FIRST_TEST else "test"


@contextlib.contextmanager
def _reading(path):
    """Says which file it is that cannot be read."""
    try:
        yield
    except BROKEN as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(
            f"{path} must be a file as the description of this program says, "
            f"but cannot be read as one. Received: {what}"
        ) from error


def read_pictures(source):
    """The pictures of each split, in their order.

    Args:
        source: Path of the folder with SVHN's files.

    Returns:
        Dictionary of split -> list of `Picture`.

    Raises:
        ValueError: If a file is broken; names it.
    """
    splits = {"train": [], "validation": [], "test": []}
    with _reading(source / BOXES_FILE):
        entries = json.loads((source / BOXES_FILE).read_bytes())
        for name, entry in entries.items():
            labels = [int(box["label"]) for box in entry["boxes"]]
            boxes = [_corners(box) for box in entry["boxes"]]
            splits[split_of(name)].append(Picture(name, b"", labels, boxes))
    with (
        _reading(source / PICTURES_FILE),
        zipfile.ZipFile(source / PICTURES_FILE) as archive,
    ):
        return {
            split: [p._replace(content=archive.read(p.name)) for p in pictures]
            for split, pictures in splits.items()
        }


def _corners(box):
    """Left, top, right, bottom of a box of the JSON file."""
    left, top = box["left"], box["top"]
    return left, top, left + box["width"], top + box["height"]


def read_digits(path, number):
    """The first crops of digits and their labels.

    Args:
        path: Path of the file.
        number: Integer, how many.

    Returns:
        uint8 arrays of shapes `(number, 32, 32, 3)` and `(number,)`.

    Raises:
        ValueError: If it is broken, or has fewer.
    """
    with _reading(path), np.load(path) as arrays:
        digits, labels = arrays["x"][:number], arrays["y"][:number]
        if digits.shape != (number, CROP, CROP, 3) or labels.shape != (number,):
            raise ValueError(
                f"digits of shape {digits.shape} and labels of shape "
                f"{labels.shape} for {number} boxes"
            )
    return digits, labels


def read_split_digits(path, split):
    """The crops of the digits of one split, with the shapes of their boxes.

    Args:
        path: Path of the file with the crops; the JSON file with the boxes
            lies beside it.
        split: `"train"`, `"validation"` or `"test"`, see `split_of`.

    Returns:
        `(digits, labels, aspects)`: uint8 arrays of shapes `(n, 32, 32, 3)`
        and `(n,)`, and n floats: width by height of each digit's box.

    Raises:
        ValueError: If one of the files is broken.
    """
    path = pathlib.Path(path)
    boxes_file = path.with_name(BOXES_FILE)
    with _reading(boxes_file):
        splits, aspects = [], []
        for name, entry in json.loads(boxes_file.read_bytes()).items():
            for box in entry["boxes"]:
                splits.append(split_of(name))
                aspects.append(box["width"] / box["height"])
    digits, labels = read_digits(path, len(splits))
    chosen = np.array(splits) == split
    return digits[chosen], labels[chosen], np.array(aspects)[chosen]


def read_layouts(path):
    """Boxes (left, top, width, height) of each picture of the CSV file.

    Args:
        path: Path of the file, packed by gzip.

    Returns:
        List of float arrays of shape `(n, 4)`.

    Raises:
        ValueError: If the file is damaged, or says no box.
    """
    layouts = {}
    with _reading(path), gzip.open(path, "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter=";"):
            box = [
                float(row[key]) for key in ("left", "top", "width", "height")
            ]
            layouts.setdefault(row["name"], []).append(box)
        if not layouts:
            raise ValueError("no box")
    return [
        np.array(boxes)
        for boxes in layouts.values()
        if len(boxes) <= MOST_DIGITS
    ]


def compose(layout, crops, aspects, generator):
    """A picture with a crop at each place of the layout, and the boxes in it.

    Heights, vertical places and gaps are the layout's, widths those of the
    digits. Each digit is turned and slanted a little, and all have new colours;
    the picture is as fine as any of the real ones.

    Args:
        layout: Array of shape `(n, 4)`: left, top, width, height.
        crops: n uint8 arrays of shape `(32, 32, 3)`, a digit and what is
            around it: a square about the middle of its box.
        aspects: n floats, width by height of each crop's digit.
        generator: `numpy.random.Generator`.

    Returns:
        uint8 array of shape `(h, w, 3)`, and left, top, right, bottom of the
        boxes in it, `(n, 4)`.
    """
    boxes = place(layout, aspects)
    boxes *= generator.uniform(*DIGIT_HEIGHTS) / boxes[:, 3].max()
    margins = generator.uniform(0, MARGINS, (2, 2)) * boxes[:, 3].max()
    boxes[:, :2] += margins[0] - boxes[:, :2].min(axis=0)
    corners = np.concatenate(
        [boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1
    )  # (n, 4)
    width, height = np.ceil(corners[:, 2:].max(axis=0) + margins[1]).astype(int)
    # Digits are few, so each is seen in many colours.
    mix = generator.dirichlet([MIX] * 3, size=3)  # (new, old) channels
    crops = [crop @ mix.T for crop in crops]
    crops = np.stack(crops).astype("float64")  # (n, 32, 32, 3)
    crops, ground = alike(crops)
    # A little of the ground everywhere, for where no crop reaches.
    weight = np.full((height, width, 1), GROUND_WEIGHT)
    total = np.tile(ground * GROUND_WEIGHT, (height, width, 1))  # (h, w, 3)
    for box, crop in zip(boxes, crops, strict=True):
        pixels, weights = paste(box, crop, (height, width), generator)
        total += pixels * weights
        weight += weights
    picture = total / weight + generator.normal(scale=2, size=total.shape)
    return picture.clip(0, 255).astype("uint8"), corners


def place(layout, aspects):
    """The layout with the widths that its digits have, and its own gaps."""
    left, top, width, height = layout.T
    gaps = left[1:] - (left + width)[:-1]
    widths = height * aspects
    lefts = np.concatenate([[0.0], np.cumsum(widths[:-1] + gaps)])  # (n,)
    return np.stack([lefts, top, widths, height], axis=1)  # (n, 4)


def paste(box, crop, size, generator):
    """A crop where its digit's box is in an empty picture, and its weights.

    Args:
        box: Array of shape `(4,)`: left, top, width, height.
        crop: Array of shape `(32, 32, 3)`.
        size: `(height, width)` of the picture.
        generator: `numpy.random.Generator`.

    Returns:
        Arrays of shapes `(height, width, 3)` and `(height, width, 1)`; most
        weight is in the digit's own box.
    """
    middle, half = box[:2] + box[2:] / 2, box[2:] / 2
    turn, slant = generator.uniform(-1, 1, 2) * (TURN, SLANT)
    cos, sin = np.cos(turn), np.sin(turn)
    turned = np.array([[1, slant], [0, 1]]) @ [[cos, sin], [-sin, cos]]
    # The square crop shows as much as the box is wide or high.
    scale = CROP / box[2:].max()
    crop = Image.fromarray(crop.clip(0, 255).astype("uint8"))
    if scale > 1:  # what shrinks is blurred
        crop = crop.resize([round(CROP / scale)] * 2, Image.Resampling.BOX)
        crop = crop.resize([CROP] * 2, Image.Resampling.BILINEAR)
    shift = CROP / 2 - scale * turned @ middle
    pixels = crop.transform(
        size[::-1],
        Image.Transform.AFFINE,
        np.column_stack([scale * turned, shift]).ravel(),
        Image.Resampling.BILINEAR,
    )
    y, x = np.indices(size) + 0.5
    places = (np.stack([x, y], axis=-1) - middle) @ turned.T  # (h, w, 2)
    outside = (np.abs(places) - half) / (FADE * half[1])
    weights = (1 - outside).clip(0, 1).prod(axis=-1)
    inside = (np.abs(places) < box[2:].max() / 2).all(axis=-1)
    return np.asarray(pixels, "float64"), (weights * inside)[..., None]


def alike(crops):
    """The crops in the colours of the first.

    Digit and ground change sides where they must, then ground and contrast are
    those of the first.

    Args:
        crops: Float array of shape `(n, 32, 32, 3)`.

    Returns:
        Such an array, and the colour of the ground, `(3,)`.
    """
    middle = crops[:, 8:24, 12:20].mean(axis=(1, 2, 3))
    # Digits touch the edges above and below, others those at the sides.
    ground = np.median(crops[:, [0, -1]], axis=(1, 2))
    bright = middle > ground.mean(axis=1)
    other = bright != bright[0]
    crops = np.where(other[:, None, None, None], 255 - crops, crops)
    ground = np.where(other[:, None], 255 - ground, ground)[:, None, None]
    contrast = crops.std(axis=(1, 2, 3), keepdims=True) + 1
    crops = (crops - ground) / contrast * contrast[0] + ground[0]
    return crops, ground[0, 0, 0]


def compose_pictures(pictures, source, number, seed):
    """Further training pictures, of the digits of those that there are.

    Args:
        pictures: List of `Picture`, all that are for training, which the
            crops of digits begin with.
        source: Path of the folder with SVHN's files.
        number: Integer, how many.
        seed: Integer.

    Yields:
        `Picture`.
    """
    aspects = np.array(
        [
            (right - left) / (bottom - top)
            for picture in pictures
            for left, top, right, bottom in picture.boxes
        ]
    )
    digits, labels = read_digits(source / DIGITS_FILE, len(aspects))
    layouts = read_layouts(source / LAYOUTS_FILE)
    generator = np.random.default_rng(seed)
    for index in range(number):
        layout = layouts[generator.integers(len(layouts))]
        chosen = generator.integers(len(aspects), size=len(layout))
        pixels, boxes = compose(
            layout, digits[chosen], aspects[chosen], generator
        )
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        yield Picture(
            f"composed_{index}.png",
            buffer.getvalue(),
            labels[chosen].tolist(),
            boxes.tolist(),
        )


def write_split(folder, pictures):
    """Writes pictures and their CSV file into a new folder."""
    folder.mkdir(parents=True)
    with (folder / "annotations.csv").open(
        "w", newline="", encoding="utf-8"
    ) as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "xmin", "ymin", "xmax", "ymax"])
        for name, content, labels, boxes in pictures:
            (folder / name).write_bytes(content)
            for label, box in zip(labels, boxes, strict=True):
                writer.writerow([name, label, *(round(x, 2) for x in box)])


def make(source, out, num_composed=NUM_COMPOSED, seed=0):
    """Writes the folder of house numbers, see the module's description.

    Args:
        source: Path of the folder with SVHN's files.
        out: Path of the folder to write: a new one, or an empty one.
        num_composed: Integer, pictures to compose.
        seed: Integer.

    Raises:
        ValueError: If a file is missing or broken, or something is in the
            folder; nothing is written then.

    Example:

    >>> make("SVHN_FILES", "house_numbers", num_composed=100)
    """
    source, out = pathlib.Path(source), pathlib.Path(out)
    check_integer(num_composed, "num_composed", minimum=0)
    missing = [name for name in FILES if not (source / name).is_file()]
    if missing:
        raise ValueError(
            f"The folder of SVHN's files must have {', '.join(FILES)}. "
            f"Received: {str(source)!r} without {', '.join(missing)}"
        )
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(
            "The folder to write must be a new one, or empty. "
            f"Received: {str(out)!r}"
        )
    with files.replacing_folder(out, strangers=lambda folder: []) as partial:
        splits = read_pictures(source)
        composed = list(
            compose_pictures(splits["train"], source, num_composed, seed)
        )
        splits["train"] = [
            picture
            for picture in splits["train"]
            if len(picture.labels) <= MOST_DIGITS
        ]
        splits["train"] += composed
        for split, pictures in splits.items():
            write_split(partial / split, pictures)


def main(arguments=None):
    """The program; its exit status is 2 for anything wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SVHN_FILES")
    parser.add_argument("out", metavar="FOLDER", help="the folder to write")
    parser.add_argument(
        "--composed",
        type=int,
        default=NUM_COMPOSED,
        help="how many further training pictures",
    )
    options = parser.parse_args(arguments)
    try:
        make(options.source, options.out, options.composed)
    except (OSError, ValueError) as error:
        print(f"house_numbers: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
