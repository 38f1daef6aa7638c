"""Makes a folder of annotated house numbers, for training and for tests.

    python -m keras_edram.datasets.house_numbers SVHN_FILES house_numbers

reads `house_numbers.zip`, `house_numbers.json`, `digits_32x32.npz` and
`train_digitStruct.csv.gz`, and writes `train`, `validation` and `test`, each
with pictures and an `annotations.csv` as `keras_edram.datasets.folder` reads
it. The pictures are reconstructions of SVHN's (see the README beside them):
those below 3300.png are for training, to 3599.png for validation, from
3600.png on for testing. Further training pictures are composed: layouts of
SVHN's training pictures, filled with digits of the training pictures. SVHN is
for non-commercial use.
"""

import argparse
import csv
import gzip
import io
import json
import pathlib
import zipfile

import numpy as np
from PIL import Image

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


def split_of(name):
    """Where the picture `1.png` belongs."""
    number = int(name.split(".")[0])
    if number < FIRST_VALIDATION:
        return "train"
    return "validation" if number < FIRST_TEST else "test"


def read_layouts(path):
    """Boxes (left, top, width, height) of each picture of the CSV file."""
    layouts = {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter=";"):
            box = [
                float(row[key]) for key in ("left", "top", "width", "height")
            ]
            layouts.setdefault(row["name"], []).append(box)
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
    )
    width, height = np.ceil(corners[:, 2:].max(axis=0) + margins[1]).astype(int)
    # Digits are few, so each is seen in many colours.
    mix = generator.dirichlet([MIX] * 3, size=3)  # (new, old) channels
    crops = [crop @ mix.T for crop in crops]
    crops, ground = alike(np.stack(crops).astype("float64"))
    # A little of the ground everywhere, for where no crop reaches.
    weight = np.full((height, width, 1), GROUND_WEIGHT)
    total = np.tile(ground * GROUND_WEIGHT, (height, width, 1))
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
    lefts = np.concatenate([[0.0], np.cumsum(widths[:-1] + gaps)])
    return np.stack([lefts, top, widths, height], axis=1)


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
    places = (np.stack([x, y], axis=-1) - middle) @ turned.T
    outside = (np.abs(places) - half) / (FADE * half[1])
    weights = (1 - outside).clip(0, 1).prod(axis=-1)
    inside = (np.abs(places) < box[2:].max() / 2).all(axis=-1)
    return np.asarray(pixels, "float64"), (weights * inside)[..., None]


def alike(crops):
    """The crops in the colours of the first, and those of its ground: digit
    and ground change sides where they must, then ground and contrast are its
    own."""
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


def write_split(folder, pictures):
    """Writes pictures `(name, PNG bytes, labels, boxes)` and their CSV."""
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
    """Writes the folder.

    Args:
        source: Path of the folder with SVHN's files.
        out: Path of the folder to write, which must not be there.
        num_composed: Integer, pictures to compose.
        seed: Integer.
    """
    source, out = pathlib.Path(source), pathlib.Path(out)
    layouts = json.loads((source / "house_numbers.json").read_text())
    splits = {"train": [], "validation": [], "test": []}
    with zipfile.ZipFile(source / "house_numbers.zip") as archive:
        for name, entry in layouts.items():
            boxes = [
                (
                    box["left"],
                    box["top"],
                    box["left"] + box["width"],
                    box["top"] + box["height"],
                )
                for box in entry["boxes"]
            ]
            labels = [box["label"] for box in entry["boxes"]]
            splits[split_of(name)].append(
                (name, archive.read(name), labels, boxes)
            )
    # The crops are in the order of the pictures.
    aspects = np.array(
        [
            (right - left) / (bottom - top)
            for _, _, _, boxes in splits["train"]
            for left, top, right, bottom in boxes
        ]
    )
    known = len(aspects)
    splits["train"] = [
        picture for picture in splits["train"] if len(picture[2]) <= MOST_DIGITS
    ]
    with np.load(source / "digits_32x32.npz") as arrays:
        digits, digit_labels = arrays["x"][:known], arrays["y"][:known]
    generator = np.random.default_rng(seed)
    real = read_layouts(source / "train_digitStruct.csv.gz")
    for number in range(num_composed):
        layout = real[generator.integers(len(real))]
        chosen = generator.integers(known, size=len(layout))
        picture, boxes = compose(
            layout, digits[chosen], aspects[chosen], generator
        )
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        splits["train"].append(
            (
                f"composed_{number}.png",
                buffer.getvalue(),
                digit_labels[chosen].tolist(),
                boxes.tolist(),
            )
        )
    for split, pictures in splits.items():
        write_split(out / split, pictures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--composed", type=int, default=NUM_COMPOSED)
    options = parser.parse_args()
    make(options.source, options.out, options.composed)
