"""The same four pictures, annotated in each of the formats."""

import hashlib
import json

import numpy as np
from PIL import Image

from keras_edram.datasets import AnnotatedPicture

HEADER = "file,label,xmin,ymin,xmax,ymax"

# Width and height, then label and left, top, right, bottom in pixels, as they
# are read: line by line. No picture is square.
PICTURES = {
    "a.png": ((30, 20), [("7", (3, 2, 9, 12)), ("0", (12, 3, 20, 11))]),
    "b.bmp": (
        (17, 41),
        [("10", (8, 1, 17, 9)), ("7", (1, 20, 5, 30)), ("7", (9, 21, 12, 31))],
    ),
    "c.png": ((12, 13), []),
    "sub/d.png": ((50, 10), [("0", (0, 0, 50, 10))]),
}
# Of each format, so that the classes are in another order.
CATEGORIES = {1: "unused", 3: "7", 10: "0", 11: "10"}
NAMES = ["10", "0", "unused", "7"]
CLASSES = {
    "coco": ("7", "0", "10"),
    "yolo": tuple(NAMES),
    "voc": ("0", "7", "10"),
    "csv": ("0", "7", "10"),
}


def counted(size, channels=3):
    """A picture of which no pixel is like its neighbours."""
    width, height = size
    numbers = np.arange(width * height * channels) * 7 % 251
    return numbers.astype("uint8").reshape(height, width, channels)


def picture(path, pixels, *boxes, labels=None):
    """A picture file with its boxes; their labels are "0", "1", ..."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    labels = labels or tuple(str(i) for i in range(len(boxes)))
    return AnnotatedPicture(
        path, labels, np.array(boxes, "float64").reshape(-1, 4)
    )


def write_pictures(folder):
    for name, (size, _) in PICTURES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(counted(size)).save(path)


def annotated():
    """The objects as they are listed in the files: the last one first."""
    for name, (size, objects) in PICTURES.items():
        yield name, size, objects[::-1]


def write_csv(folder, apart):
    write_pictures(folder / "photos" if apart else folder)
    lines = [HEADER]
    for name, _, objects in annotated():
        name = f"photos/{name}" if apart else name
        for label, box in objects:
            lines.append(",".join(map(str, (name, label, *box))))
        if not objects:
            lines.append(f"{name},,,,,")
    (folder / "boxes.csv").write_text("\n".join(lines) + "\n")


def write_coco(folder, apart):
    write_pictures(folder / "images" if apart else folder)
    content = {
        "images": [],
        "annotations": [],
        "categories": [
            {"id": i, "name": name} for i, name in CATEGORIES.items()
        ],
    }
    for i, (name, (width, height), objects) in enumerate(annotated()):
        content["images"].append(
            {"id": i, "file_name": name, "width": width, "height": height}
        )
        for label, (left, top, right, bottom) in objects:
            content["annotations"].append(
                {
                    "id": len(content["annotations"]),
                    "image_id": i,
                    "category_id": next(
                        k for k, name in CATEGORIES.items() if name == label
                    ),
                    "bbox": [left, top, right - left, bottom - top],
                }
            )
    path = folder / "annotations" if apart else folder
    path.mkdir(exist_ok=True)
    (path / "objects.json").write_text(json.dumps(content))


def write_yolo(folder, apart):
    write_pictures(folder / "images" if apart else folder)
    for name, (width, height), objects in annotated():
        lines = []
        for label, (left, top, right, bottom) in objects:
            numbers = (
                (left + right) / 2 / width,
                (top + bottom) / 2 / height,
                (right - left) / width,
                (bottom - top) / height,
            )
            lines.append(f"{NAMES.index(label)} {' '.join(map(repr, numbers))}")
        path = folder / "labels" / name if apart else folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".txt").write_text("\n".join(lines) + "\n")
    if apart:
        names = "".join(f"  {i}: {name}\n" for i, name in enumerate(NAMES))
        (folder / "data.yaml").write_text(f"nc: 4\nnames:\n{names}")
    else:
        (folder / "classes.txt").write_text("\n".join(NAMES) + "\n")


def write_voc(folder, apart):
    write_pictures(folder / "JPEGImages" if apart else folder)
    for name, (width, height), objects in annotated():
        parts = [
            f"<size><width>{width}</width><height>{height}</height></size>"
        ]
        for label, (left, top, right, bottom) in objects:
            parts.append(
                f"<object><name>{label}</name><bndbox>"
                f"<xmin>{left + 1}</xmin><ymin>{top + 1}</ymin>"
                f"<xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
            )
        path = folder / "Annotations" / name if apart else folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".xml").write_text(
            f"<annotation>{''.join(parts)}</annotation>"
        )


WRITERS = {
    "coco": write_coco,
    "yolo": write_yolo,
    "voc": write_voc,
    "csv": write_csv,
}


def tree_hash(folder):
    """Of the names, the content and the times of all files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(f"{path} {path.stat().st_mtime_ns}".encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def broken_folder(directory):
    """Ten pictures of which 2 cannot be used, and one is cut short."""
    lines = [HEADER]
    for i in range(10):
        file = picture(directory / f"{i}.png", counted((40, 30)))
        lines.append(f"{i}.png,x,2,2,{2 if i == 3 else 9},9")
        if i == 5:
            content = file.path.read_bytes()
            file.path.write_bytes(content[: len(content) // 2])
    lines.append("none.png,x,1,1,2,2")
    (directory / "boxes.csv").write_text("\n".join(lines))
    return directory
