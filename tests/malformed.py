"""Requests that a server of `tiny.reader` refuses, and words of the reason."""

import base64
import io
import struct
import zlib

import numpy as np
import tiny
from PIL import Image

SHAPE = (40, 50, 1)
IMAGE = np.zeros(SHAPE).tolist()
PICTURE = tiny.png(np.zeros(SHAPE, "uint8"))


def b64(content):
    return {"b64": base64.b64encode(content).decode()}


def png_head(width, height):
    """A PNG file that promises many pixels, and has none."""
    content = b"\x89PNG\r\n\x1a\n"
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    for name, data in ((b"IHDR", head), (b"IDAT", zlib.compress(b""))):
        content += struct.pack(">I", len(data)) + name + data
        content += struct.pack(">I", zlib.crc32(name + data))
    return content


def eps():
    buffer = io.BytesIO()
    Image.new("L", (5, 4)).save(buffer, "EPS")
    return buffer.getvalue()


def with_value(value):
    """An image, one of whose numbers is something else."""
    image = np.zeros(SHAPE).tolist()
    image[3][4][0] = value
    return {"instances": [image]}


def with_parameters(**parameters):
    return {"instances": [IMAGE], "parameters": parameters}


CASES = {
    "no object": ([1, 2], "The request must be a JSON object"),
    "null": (None, "must be a JSON object. Received: None"),
    "nothing": ({}, "`instances` must be a list .* Received: None"),
    "no images": ({"instances": []}, r"a row for each image. Received: \[\]"),
    "no list": ({"instances": "image"}, "Received: 'image'"),
    "columns": (
        {"inputs": [IMAGE]},
        r"Columns, `inputs`, are not read .* `instances`.* \['inputs'\]",
    ),
    "one image": ({"instances": IMAGE}, "put the image into a list"),
    "one file": ({"instances": b64(PICTURE)}, "put the image into a list"),
    "one grey image": (
        {"instances": np.zeros(SHAPE[:2]).tolist()},
        "put the image into a list",
    ),
    "a data URL in percents": (
        {"instances": [{"b64": "data:text/plain,a%20b"}]},
        "a data URL that is not in base64",
    ),
    "named otherwise": (
        {"instances": [{"pixels": [1]}]},
        'must be {"b64": "..."}',
    ),
    "too many": ({"instances": [0] * 65}, "at most 64 images. Received: 65"),
    "turned": (
        {"instances": [np.zeros((50, 40, 1)).tolist()]},
        r"shape \(40, 50, 1\) .* Received: an array of shape \(50, 40, 1\)",
    ),
    "of colour": (
        {"instances": [IMAGE, np.zeros((40, 50, 3)).tolist()]},
        r"instances\[1\] must be .* Received: an array of shape \(40, 50, 3\)",
    ),
    "a number": ({"instances": [5]}, r"an array of shape \(\)"),
    "an empty list": ({"instances": [[]]}, r"an array of shape \(0,\)"),
    "ragged": ({"instances": [[[1, 2], [3]]]}, "lists of different lengths"),
    "deep": ({"instances": [[[[[[1]]]]]]}, r"shape \(1, 1, 1, 1, 1\)"),
    "text": (with_value("many"), "what is no number"),
    "a number as text": (with_value("7"), "what is no number"),
    "null as number": (with_value(None), "what is no number|beyond that"),
    "true as number": (with_value(True), "what is no number"),
    "negative": (with_value(-1), r"in \[0, 255\].* Received: numbers beyond"),
    "too bright": (with_value(255.5), "numbers beyond that"),
    "enormous": (with_value(1e300), "numbers beyond that"),
    "another key": ({"instances": [{"url": "x"}]}, 'must be {"b64": "..."}'),
    "two keys": ({"instances": [{**b64(b""), "a": 1}]}, r"instances\[0\] must"),
    "bytes as list": (
        {"instances": [{"b64": [1]}]},
        "a picture file in base64",
    ),
    "no base64": ({"instances": [{"b64": "%%%"}]}, "picture file in base64:"),
    "not ASCII": ({"instances": [{"b64": "äöü"}]}, "picture file in base64:"),
    "no picture": ({"instances": [b64(b"text")]}, "it is none of PNG, JPEG"),
    "empty file": ({"instances": [b64(b"")]}, r"instances\[0\]: The content"),
    "a program": ({"instances": [b64(eps())]}, "it is none of PNG, JPEG"),
    "cut short": ({"instances": [b64(PICTURE[:50])]}, "cannot be read: "),
    "a bomb": (
        {"instances": [b64(png_head(8_000, 8_000))]},
        r"at most 25,000,000 pixels\. Received: 8000 x 8000",
    ),
    "a large bomb": (
        {"instances": [b64(png_head(2**30, 2**30))]},
        "cannot be read: ",
    ),
    "signature": (
        {"instances": [IMAGE], "signature_name": "serve"},
        "`signature_name` must be one of .*'serving_bytes'.* 'serve'",
    ),
    "parameters": (
        {"instances": [IMAGE], "parameters": [1]},
        r"`parameters` must be a JSON object. Received: \[1\]",
    ),
    "unknown": (
        with_parameters(confidance=1, glimpses=True),
        r"may have confidence, .* Received: \['confidance'\]",
    ),
    "too sure": (
        with_parameters(confidence=1.5),
        r"in \[0, 1\]. Received: 1.5",
    ),
    "sure as text": (with_parameters(confidence="0.9"), "`confidence` must be"),
    "sure as true": (with_parameters(confidence=True), "Received: True"),
    "no glimpses": (with_parameters(max_glimpses=0), "at least 1. Received: 0"),
    "half of one": (with_parameters(max_glimpses=2.5), "must be an integer"),
    "below 0": (with_parameters(refuse_below=-0.1), "`refuse_below` must be"),
    "perhaps": (
        with_parameters(glimpses=1),
        "`glimpses` must be true or false",
    ),
}
