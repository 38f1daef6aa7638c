"""Reads picture files with a TFLite model, on a device.

    python read.py model.tflite photo.png --confidence 0.99

Needs ai-edge-litert, NumPy and Pillow, nothing else.
"""

import argparse
import json
import sys
import threading
import zipfile
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps


class Model(NamedTuple):
    """What `load` opens; an interpreter has one caller at a time: `lock`."""

    interpreter: Interpreter
    about: dict
    lock: Any


def load(path, num_threads=None):
    """Opens a model: its signatures, and what `metadata.json` says of it."""
    interpreter = Interpreter(path, num_threads=num_threads)
    with zipfile.ZipFile(path) as archive:  # at the end of the file
        about = json.loads(archive.read("metadata.json"))
    return Model(interpreter, about, threading.Lock())


def read(model, picture, confidence=None):
    """What is in a picture file, how sure that is, and where.

    With a confidence it stops looking when a glimpse is that sure.
    """
    height, width, channels = model.about["image_shape"]
    image = open_picture(picture).convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    images = np.reshape(image, (1, height, width, channels)).astype("float32")
    with model.lock:
        if confidence is not None:
            return look_until_sure(model, images, confidence)
        answer = model.interpreter.get_signature_runner("serving_default")(
            images=images
        )
    length = answer["lengths"][0]
    labels = answer["labels"][0, :length]
    return {
        "names": [model.about["class_names"][label] for label in labels],
        "probability": float(answer["probability"][0]),
        "boxes": answer["boxes"][0, :length].tolist(),
        "num_glimpses": model.about["num_glimpses"],
    }


def look_until_sure(model, images, confidence):
    """One glimpse after the other, until the answer is sure."""
    interpreter, about, _ = model
    if about["num_targets"] > 1:
        raise ValueError("A sequence is read to its end, without a confidence.")
    if "start" not in interpreter.get_signature_list():
        raise ValueError("A file without `start` and `look` reads at once.")
    state = interpreter.get_signature_runner("start")(images=images)
    look = interpreter.get_signature_runner("look")
    seen = []
    while True:
        outputs = look(images=images, **state)
        state = {name: outputs[name] for name in state}
        seen.append(outputs["step_probabilities"][0])
        # EDRAM's answer is the mean so far, RAM's the last one.
        mean = np.mean(seen if about["averages"] else seen[-1:], axis=0)
        # As sure as it is right; files of before 0.3 had no temperature.
        powers = mean ** (1 / about.get("temperature", 1.0))
        if len(seen) == about["num_glimpses"]:
            boxes = outputs["step_boxes"]
            break
        if seen[-1].max() >= confidence:
            boxes = outputs["next_boxes"]  # where it would have looked
            break
    return {
        "names": [about["class_names"][mean.argmax()]],
        "probability": float(powers.max() / powers.sum()),
        "boxes": boxes.tolist(),
        "num_glimpses": len(seen),
    }


def open_picture(path):
    """A picture as it is shown: turned, in 8 bits, on a ground, RGB or grey.

    By the rules of `keras_edram.datasets.read_picture`, so that it has the same
    answer here.
    """
    with Image.open(path) as stored:
        for note in ("xmp", "XML:com.adobe.xmp", "Raw profile type exif"):
            stored.info.pop(note, None)  # no camera's
        (*_, mode), *_ = stored.tile or [[stored.mode]]
        mode = mode[0] if isinstance(mode, tuple) else mode
        image = stored
        if stored.format != "PNG" or "exif" in stored.info:
            try:
                image = ImageOps.exif_transpose(stored)
            except (ValueError, SyntaxError, OSError):  # a broken note
                stored.load()
        clear = image.info.get("transparency")
        if image.mode[0] in "FI":
            values = np.asarray(image)
            image = Image.fromarray(in_8_bits(values))
            if clear is not None:
                image.putalpha(Image.fromarray(values != clear))
        elif str(mode).startswith(("RGB;16", "RGBA;16", "RGBX;16", "LA;16")):
            if max(high for _, high in image.getextrema()) < 16:
                raise ValueError("Colours of 16 bits that need 12 or fewer.")
            if clear is not None:
                image.info["transparency"] = tuple(v // 256 for v in clear)
        elif clear is not None and mode in ("L;2", "L;4"):
            image.info["transparency"] = clear * (85 if mode == "L;2" else 17)
        if not image.has_transparency_data:
            return image.convert("L" if image.mode in "1L" else "RGB")
        image = image.convert("RGBA")
    alpha, luma = np.array(image.getchannel("A"), int), image.convert("L")
    is_dark = (alpha * (2 * np.array(luma, int) - 255)).sum() < 0
    ground = Image.new("RGBA", image.size, "white" if is_dark else "black")
    return Image.alpha_composite(ground, image).convert("RGB")


def in_8_bits(values):
    """Values of 16 bits, or floats, by the depth that the largest needs."""
    low, high = values.min(), values.max()
    if values.dtype.kind == "f":
        if low >= 0 and (high <= 1 or 16 <= high <= 255):
            return np.rint(values * (255 if high <= 1 else 1)).astype("uint8")
    elif low >= 0 and high < 65536:
        surplus = 0 if high < 256 else 4 if high < 4096 else 8
        return (values >> surplus).astype("uint8")
    raise ValueError(f"Values of an unknown range: {low:g} to {high:g}.")


def main():
    """The command: a line for each picture; those that are none are listed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a .tflite file")
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--confidence", type=float, help="0 to 1")
    options = parser.parse_args()
    confidence = options.confidence
    if confidence is not None and not 0 <= confidence <= 1:
        parser.error(f"--confidence must be in [0, 1], not {confidence}")
    try:
        model = load(options.model)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        parser.error(f"{options.model} is no model of this package: {error}")
    status = 0
    for path in options.pictures:
        try:
            answer = read(model, path, confidence)
        except Exception as error:  # whatever is wrong with one file
            print(f"{path}: {error}", file=sys.stderr)
            status = 1
        else:
            print(json.dumps({"file": path, **answer}))
    return status


if __name__ == "__main__":
    sys.exit(main())
