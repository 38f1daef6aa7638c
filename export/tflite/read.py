"""Reads picture files with a TFLite model, on a device.

    python read.py model.tflite photo.png --confidence 0.99

Needs ai-edge-litert, NumPy and Pillow, nothing else.
"""

import argparse
import json
import zipfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps


def load(path, num_threads=None):
    """Opens a model: its signatures, and what `metadata.json` says of it."""
    interpreter = Interpreter(path, num_threads=num_threads)
    with zipfile.ZipFile(path) as archive:  # at the end of the file
        return interpreter, json.loads(archive.read("metadata.json"))


def read(model, picture, confidence=None):
    """What is in a picture file, how sure that is, and where.

    With a confidence it stops looking when a glimpse is that sure.
    """
    interpreter, about = model
    height, width, channels = about["image_shape"]
    with Image.open(picture) as opened:
        image = ImageOps.exif_transpose(opened)
        image = image.convert("L" if channels == 1 else "RGB")
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    images = np.reshape(image, (1, height, width, channels)).astype("float32")
    if confidence is not None:
        return look_until_sure(model, images, confidence)
    answer = interpreter.get_signature_runner("serving_default")(images=images)
    length = answer["lengths"][0]
    labels = answer["labels"][0, :length]
    return {
        "names": [about["class_names"][label] for label in labels],
        "probability": float(answer["probability"][0]),
        "boxes": answer["boxes"][0, :length].tolist(),
        "num_glimpses": about["num_glimpses"],
    }


def look_until_sure(model, images, confidence):
    """One glimpse after the other, until the answer is sure."""
    interpreter, about = model
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
        if len(seen) == about["num_glimpses"]:
            boxes = outputs["step_boxes"]
            break
        if seen[-1].max() >= confidence:
            boxes = outputs["next_boxes"]  # where it would have looked
            break
    return {
        "names": [about["class_names"][mean.argmax()]],
        "probability": float(mean.max()),
        "boxes": boxes.tolist(),
        "num_glimpses": len(seen),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a .tflite file")
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--confidence", type=float)
    options = parser.parse_args()
    loaded = load(options.model)
    for path in options.pictures:
        answer = read(loaded, path, options.confidence)
        print(json.dumps({"file": path, **answer}))
