import io
import struct
import warnings

import numpy as np
import picture_files
import pytest
import tensorflow as tf
from PIL import Image

from keras_edram.datasets import read_picture
from keras_edram.serving import decoding_graph

FILES = picture_files.files()
OTHER_FILES = picture_files.other_files()


def knows_webp():
    """Whether TensorFlow reads WebP, as it does not up to 2.19."""
    try:
        tf.io.decode_image(FILES["photo.webp"])
    except tf.errors.InvalidArgumentError:
        return False
    return True


if not knows_webp():  # those are refused
    WEBP = {name for name in FILES if name.endswith(".webp")}
    OTHER_FILES |= {name: FILES.pop(name) for name in WEBP}


@pytest.fixture(scope="module")
def decode():
    """Decodes contents in the size and the colours of a model."""
    functions = {}

    def decode(content, shape):
        if shape not in functions:
            functions[shape] = tf.function(
                lambda content: decoding_graph.decode_picture(content, shape),
                input_signature=[tf.TensorSpec((), tf.string)],
            )
        return functions[shape](content).numpy()

    return decode


def read(content, shape):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a picture of several
        return read_picture(content, shape).astype(int)


@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "bmp"])
def test_a_bomb_is_refused_before_it_is_decoded(kind, decode):
    picture = io.BytesIO()
    name = {"jpg": "JPEG"}.get(kind, kind)
    Image.new("L", (5, 4)).save(picture, name)
    content = bytearray(picture.getvalue())
    place, side = {
        "png": (16, ">I"),
        "jpg": (content.find(b"\xff\xc0") + 5, ">H"),
        "gif": (6, "<H"),
        "bmp": (18, "<i"),
    }[kind]
    side = struct.pack(side, 60_000)
    content[place : place + 2 * len(side)] = 2 * side
    with pytest.raises(tf.errors.InvalidArgumentError, match="178 megapixels"):
        decode(bytes(content), (9, 31, 1))


# In its own size, and shrunk on one side and enlarged on the other.
@pytest.mark.parametrize("shape", [(24, 18, 3), (9, 31, 1), (None, None, 3)])
def test_a_picture_is_the_same_in_a_graph(shape, decode):
    for name, content in FILES.items():
        expected = read(content, shape)
        assert np.ptp(expected) > 20, name
        found = decode(content, shape)
        assert found.dtype == np.float32 and found.shape == expected.shape
        # Both round; transparent parts and resized pictures more than once.
        np.testing.assert_allclose(found, expected, atol=1, err_msg=name)


def test_what_would_look_otherwise_is_refused(decode):
    for name, content in OTHER_FILES.items():
        with pytest.raises(tf.errors.InvalidArgumentError) as error:
            decode(content, (24, 18, 3))
        words = ("A GIF", "A BMP", "A WebP", "CMYK", "Unknown image")
        assert any(word in error.value.message for word in words), name


def test_a_file_that_is_cut_short_is_refused(decode):
    for name in ("colour.png", "photo.jpg", "palette.gif"):
        content = FILES[name]
        for length in (0, 4, 12, 40, len(content) // 2):
            with pytest.raises(tf.errors.InvalidArgumentError):
                decode(content[:length], (24, 18, 3))


def test_colours_of_few_bits_in_16_are_refused(decode):
    content = picture_files.png(picture_files.DEEP // 256, 16, 6)
    with pytest.raises(tf.errors.InvalidArgumentError, match="16 bits"):
        decode(content, (24, 18, 3))
    with pytest.raises(ValueError, match="16 bits"):
        read_picture(content, (24, 18, 3))


def test_a_note_may_be_anywhere_before_the_pixels(decode):
    content = FILES["turned 6.jpg"]
    expected = decode(content, (24, 18, 3))
    comment = b"\xff\xfe\x01\x00" + b"\xff\xda" * 127
    filled = b"\xff\xd8" + comment + b"\xff\xff" + content[2:]
    np.testing.assert_array_equal(decode(filled, (24, 18, 3)), expected)
    np.testing.assert_allclose(read(filled, (24, 18, 3)), expected, atol=1)


def test_a_broken_note_says_nothing(decode):
    plain = decode(FILES["photo.jpg"], (24, 18, 3))
    for exif in (b"", b"II*\0", b"garbage" * 9, b"MM\0*" + b"\xff" * 6):
        content = picture_files.encode(
            picture_files.COLOUR, "JPEG", exif=b"Exif\0\0" + exif
        )
        np.testing.assert_array_equal(decode(content, (24, 18, 3)), plain)
        np.testing.assert_array_equal(read(content, (24, 18, 3)), plain)
