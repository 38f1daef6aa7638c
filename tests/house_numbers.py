"""Makes a folder of annotated house numbers, for training and for tests.

    python tests/house_numbers.py ../shared/data/svhn house_numbers

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
DIGIT_HEIGHT = 32  # pixels of the highest digit of a composed picture
MARGIN = 4  # pixels around the boxes of a composed picture
CROP = 32


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


def compose(layout, crops, generator):
    """A picture with a crop at each box of the layout, and the boxes in it.

    Args:
        layout: Array of shape `(n, 4)`: left, top, width, height.
        crops: n uint8 arrays of shape `(32, 32, 3)`, a digit and what is
            around it: a square about the middle of its box.
        generator: `numpy.random.Generator`.

    Returns:
        uint8 array of shape `(h, w, 3)`, and left, top, right, bottom of the
        boxes in it, `(n, 4)`.
    """
    boxes = layout * (DIGIT_HEIGHT / layout[:, 3].max())
    boxes[:, :2] += MARGIN - boxes[:, :2].min(axis=0)
    right = np.ceil((boxes[:, 0] + boxes[:, 2]).max() + MARGIN)
    bottom = np.ceil((boxes[:, 1] + boxes[:, 3]).max() + MARGIN)
    height, width = int(bottom), int(right)
    crops = alike(np.stack(crops).astype("float64"))
    border = np.concatenate([crops[:, 0], crops[:, -1]], axis=1)
    ground = border.mean(axis=(0, 1))
    # A little of the ground everywhere, for where no crop reaches.
    weight = np.full((height, width, 1), 1e-3)
    total = np.tile(ground * 1e-3, (height, width, 1))
    for (left, top, wide, high), crop in zip(boxes, crops, strict=True):
        side = max(2, round(max(wide, high)))
        x, y = round(left + (wide - side) / 2), round(top + (high - side) / 2)
        picture = Image.fromarray(crop.clip(0, 255).astype("uint8"))
        pixels = np.asarray(picture.resize((side, side)), "float64")
        # Most weight in the digit's own box, none at the edge of the crop.
        fade = np.linspace(-1, 1, side + 2)[1:-1]
        fade_x = (1 - fade**2) ** (1 + 2 * side / max(wide, 1))
        fade_y = (1 - fade**2) ** (1 + 2 * side / max(high, 1))
        shape = np.outer(fade_y, fade_x)[..., None]
        rows = slice(max(y, 0), min(y + side, height))
        columns = slice(max(x, 0), min(x + side, width))
        part = (
            slice(rows.start - y, rows.stop - y),
            slice(columns.start - x, columns.stop - x),
        )
        total[rows, columns] += (pixels * shape)[part]
        weight[rows, columns] += shape[part]
    picture = total / weight + generator.normal(scale=2, size=total.shape)
    corners = np.concatenate(
        [boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1
    )
    return picture.clip(0, 255).astype("uint8"), corners


def alike(crops):
    """The crops in the colours of the first: digit and ground change sides
    where they must, then mean and deviation of each channel are its own."""
    middle = crops[:, 8:24, 12:20].mean(axis=(1, 2, 3))
    edge = (crops[:, 0].mean(axis=(1, 2)) + crops[:, -1].mean(axis=(1, 2))) / 2
    bright = middle > edge
    crops = np.where(
        (bright != bright[0])[:, None, None, None], 255 - crops, crops
    )
    mean = crops.mean(axis=(1, 2), keepdims=True)
    deviation = crops.std(axis=(1, 2), keepdims=True) + 1
    return (crops - mean) / deviation * deviation[:1] + mean[:1]


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
    known = sum(len(labels) for _, _, labels, _ in splits["train"])
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
        picture, boxes = compose(layout, digits[chosen], generator)
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
