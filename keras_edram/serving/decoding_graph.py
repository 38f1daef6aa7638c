"""Picture files in a graph: `datasets.read_picture`, in TensorFlow's operators.

TensorFlow's decoders turn no photo and drop what is transparent. They are given
what they decode as Pillow does, and the rest is done around them; a file that
would look otherwise is refused.

Positions in files are in bytes; what is behind the end is 0. Import this module
where it is needed: it needs TensorFlow.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

# A photo has some ten segments; each takes a step of a loop.
MAX_SEGMENTS = 2000
# Pillow refuses more as well. A file of a megabyte can promise many times as
# many, which TensorFlow would find memory for.
MAX_PIXELS = 2**30 // 4 // 3 * 2
# Of red, green and blue, in 1 / 65536: as Pillow has them.
LUMA = (19595.0, 38470.0, 7471.0)
GREY_PALETTE = b"".join(bytes([shade] * 3 + [0]) for shade in range(256))
# The fourth byte does not count; Pillow up to 11 repeats the grey there.
OLD_GREY_PALETTE = bytes(value for value in range(256) for _ in range(4))
ORIENTATION = 0x112  # the tag of EXIF
SHORT, LONG = 3, 4  # types of EXIF, of 2 and of 4 bytes


class _File(NamedTuple):
    """The content of a file.

    Attributes:
        content: String tensor.
        data: The same and a 0, as a vector of uint8.
        size: int64 tensor, the place of that 0.
    """

    content: tf.Tensor
    data: tf.Tensor
    size: tf.Tensor


@tf.autograph.experimental.do_not_convert  # which would take seconds
def decode_picture(content, image_shape):
    """Decodes a picture file as `datasets.read_picture` does.

    Args:
        content: String tensor, the content of a file: PNG, JPEG, GIF, BMP or
            WebP.
        image_shape: `(height, width, channels)` of the model;
            `(None, None, channels)` for the picture's own size.

    Returns:
        float32 tensor of that shape, of whole numbers in [0, 255], those of
        `read_picture` but for a rounding. A file that cannot be read so fails
        with `tf.errors.InvalidArgumentError`.

    Example:

    >>> decode_picture(tf.io.read_file("digit.png"), (100, 100, 1)).shape
    TensorShape([100, 100, 1])
    """
    height, width, channels = image_shape
    data = tf.io.decode_raw(tf.strings.join([content, b"\0"]), tf.uint8)
    file = _File(content, data, tf.size(data, tf.int64) - 1)
    content = _checked(
        content,
        _num_pixels(file) <= MAX_PIXELS,
        f"At most {MAX_PIXELS // 10**6} megapixels are decoded: shrink it",
    )
    file = file._replace(content=content)
    picture = tf.case(
        [
            (_has(file, 0, b"\x89PNG"), lambda: _png(file)),
            (_has(file, 0, b"\xff\xd8\xff"), lambda: _jpeg(file)),
            (_has(file, 0, b"GIF8"), lambda: _gif(file)),
            (_has(file, 0, b"BM"), lambda: _bmp(file)),
            (_has(file, 8, b"WEBP"), lambda: _webp(file)),
        ],
        lambda: _checked(
            tf.zeros((1, 1, 3), tf.uint8),
            False,
            "Unknown image file format: PNG, JPEG, GIF, BMP or WebP required",
        ),
    )
    picture = tf.ensure_shape(picture, (None, None, 3))
    picture = _luma(picture) if channels == 1 else tf.cast(picture, tf.float32)
    if height is not None:
        picture = tf.image.resize(picture, (height, width), antialias=True)
    return tf.ensure_shape(tf.round(picture), image_shape)


def decode_pictures_of_one_size(contents, channels):
    """Decodes picture files as they are, which must make a batch together.

    Args:
        contents: String tensor of shape `(B,)`, contents of files, see
            `decode_picture`.
        channels: Integer C.

    Returns:
        float32 tensor of shape `(B, H, W, C)`. Pictures of several sizes, or
        none, fail with `tf.errors.InvalidArgumentError`.

    Example:

    >>> digit = tf.io.read_file("digit.png")
    >>> decode_pictures_of_one_size(tf.stack([digit, digit]), 1).shape
    TensorShape([2, 100, 100, 1])
    """
    image_shape = (None, None, channels)
    number = tf.size(contents)
    contents = _checked(contents, number > 0, "At least one picture required")

    def decode(at, size, pictures):
        picture = decode_picture(contents[at], image_shape)
        found = tf.shape(picture)[:2]
        size = tf.where(at == 0, found, size)
        picture = _checked(
            picture,
            tf.reduce_all(found == size),
            "Pictures of a batch must be of one height and width: send others "
            "in a batch of their own",
            (size, found),
        )
        # A quarter of the memory until there is the batch.
        pictures = pictures.write(at, tf.cast(picture, tf.uint8))
        return at + 1, size, pictures

    _, _, pictures = tf.while_loop(
        lambda at, *_: at < number,
        decode,
        (
            0,
            tf.zeros(2, tf.int32),
            tf.TensorArray(
                tf.uint8, number, infer_shape=False, element_shape=image_shape
            ),
        ),
    )
    return tf.cast(pictures.stack(), tf.float32)  # (B, H, W, C)


def _num_pixels(file):
    """As its head says, before any are decoded: int64."""

    def product(width, height, size, is_big=False):
        width = _number(file, width, size, is_big)
        return width * _number(file, height, size, is_big)

    def of_bmp():
        height = _number(file, 22, 4, False)
        # It is negative if the rows go down.
        height = tf.minimum(height, 2**32 - height)
        return height * _number(file, 18, 4, False)

    def of_jpeg():
        sides = tf.io.extract_jpeg_shape(file.content, tf.int64)[:2]
        return tf.reduce_prod(sides)

    return tf.case(
        [
            (_has(file, 0, b"\x89PNG"), lambda: product(16, 20, 4, True)),
            (_has(file, 0, b"\xff\xd8\xff"), of_jpeg),
            (_has(file, 0, b"GIF8"), lambda: product(6, 8, 2)),
            (_has(file, 0, b"BM"), of_bmp),
        ],
        lambda: tf.constant(0, tf.int64),  # of WebP there are not many more
    )


def _png(file):
    def find(name):
        """A chunk before the pixels: length, name, content, check sum."""
        at = _walk(
            8,
            lambda at: _has(file, at + 4, name) | _has(file, at + 4, b"IDAT"),
            lambda at: at + 12 + _number(file, at, 4),
        )
        return at + 8, _has(file, at + 4, name)

    kind = _number(file, 25)
    picture = tf.cond(
        _number(file, 24) == 16,
        lambda: _png_of_16_bits(file, kind),
        lambda: tf.io.decode_png(file.content, channels=4),
    )
    _, has_transparent_colours = find(b"tRNS")
    picture = tf.cond(
        has_transparent_colours | (kind >= 4),
        lambda: _on_ground(picture),
        # With fewer than 8 bits its made-up alpha is not 255.
        lambda: picture[..., :3],
    )
    return _turned(picture, _orientation(file, *find(b"eXIf")))


def _png_of_16_bits(file, kind):
    """The depth is that which the largest value needs, see `read_picture`."""
    values = tf.io.decode_png(file.content, channels=4, dtype=tf.uint16)
    values = tf.cast(values, tf.int32)
    # Of kind 4 and 6 the last is stored, of the others it is made up.
    stored = tf.cond(kind >= 4, lambda: values, lambda: values[..., :3])
    largest = tf.reduce_max(stored)
    values = _checked(
        values,
        (kind == 0) | (largest >= 4096),
        "Colours of 16 bits that need 12 or fewer: save it with 8 bits",
    )
    surplus = tf.where(largest < 256, 0, tf.where(largest < 4096, 4, 8))
    values = tf.bitwise.right_shift(values, [surplus] * 3 + [8])
    return tf.cast(values, tf.uint8)


def _jpeg(file):
    def is_last(at):  # or no segment at all
        return _has(file, at, b"\xff\xda") | (_number(file, at) != 0xFF)

    def next_segment(at):
        is_filling = _has(file, at, b"\xff\xff")  # a byte before a marker
        length = 2 + _number(file, at + 2, 2)
        return tf.where(is_filling, at + 1, at + length)

    def find(marker, name):
        def is_found(at):
            return _has(file, at, marker) & _has(file, at + 4, name)

        at = _walk(2, lambda at: is_found(at) | is_last(at), next_segment)
        return at, is_found(at)

    note, has_note = find(b"\xff\xe1", b"Exif\0\0")
    _, has_adobe = find(b"\xff\xee", b"Adobe")
    picture = tf.io.decode_jpeg(
        file.content,
        channels=3,
        dct_method="INTEGER_ACCURATE",  # as Pillow
    )
    picture = _checked(
        picture,
        has_adobe | (tf.io.extract_jpeg_shape(file.content)[2] != 4),
        "CMYK without the note of Adobe: save it in RGB",
    )
    return _turned(picture, _orientation(file, note + 10, has_note))


def _gif(file):
    def behind(extension):
        """Skips its parts, each with its length, and the 0 at their end."""
        return 1 + _walk(
            extension + 2,
            lambda at: _number(file, at) == 0,
            lambda at: at + 1 + _number(file, at),
        )

    def is_transparent(at):
        return _has(file, at, b"!\xf9") & (_number(file, at + 3) % 2 == 1)

    flags = _number(file, 10)
    palette = tf.where(flags >= 128, 6 * 2 ** (flags % 8), 0)
    frame = _walk(
        13 + palette,
        lambda at: is_transparent(at) | ~_has(file, at, b"!"),
        behind,
    )
    fills = (_number(file, frame + 1, 4) == 0) & (
        _number(file, frame + 5, 4) == _number(file, 6, 4)
    )
    picture = tf.io.decode_image(
        file.content, channels=3, expand_animations=False
    )
    return _checked(
        picture,
        _has(file, frame, b",") & fills,
        "A GIF with transparent parts, or whose first frame does not fill it",
    )


def _bmp(file):
    depth = _number(file, 28, 2, False)
    is_grey = (_number(file, 14) == 40) & (
        _has(file, 54, GREY_PALETTE) | _has(file, 54, OLD_GREY_PALETTE)
    )
    is_known = (_number(file, 30, 4) == 0) & (
        (depth == 24) | ((depth == 8) & is_grey)
    )
    picture = tf.io.decode_bmp(file.content)  # 1 or 3 channels
    shape = tf.concat([tf.shape(picture)[:2], [3]], axis=0)
    return _checked(
        tf.broadcast_to(picture, shape),  # (h, w, 3)
        is_known,
        "A BMP that is not plain, grey or of 24 bits a pixel",
    )


def _webp(file):
    is_known = (
        _has(file, 12, b"VP8 ")
        | (_has(file, 12, b"VP8L") & (_number(file, 24) & 0x10 == 0))
        # Neither transparent nor turned nor animated.
        | (_has(file, 12, b"VP8X") & (_number(file, 20) & 0x1A == 0))
    )
    picture = tf.io.decode_image(
        file.content, channels=3, expand_animations=False
    )
    return _checked(
        picture, is_known, "A WebP with transparent parts, a rotation or frames"
    )


def _on_ground(picture):
    """Transparent parts filled, so that what is drawn stands out."""
    picture = tf.cast(picture, tf.float32)
    colours, alpha = picture[..., :3], picture[..., 3:]
    # Whole numbers: a sum of floats would be rounded.
    drawn = tf.cast(alpha * (2 * _luma(colours) - 255), tf.int64)
    ground = tf.where(tf.reduce_sum(drawn) < 0, 255.0, 0.0)
    filled = (colours * alpha + ground * (255 - alpha)) / 255
    return tf.cast(tf.round(filled), tf.uint8)


def _luma(picture):
    """`(H, W, 3)` -> `(H, W, 1)`, rounded as Pillow does."""
    luma = tf.tensordot(tf.cast(picture, tf.float32), LUMA, 1)
    return tf.floor((luma + 32768) / 65536)[..., None]


def _orientation(file, note, has_note):
    """How the camera was held, 1 to 8, by its note: a little TIFF."""
    is_big = _has(file, note, b"MM")
    table = note + _number(file, note + 4, 4, is_big)
    entries = table + 2 + 12 * tf.range(_number(file, table, 2, is_big))
    kinds = _number(file, entries + 2, 2, is_big)
    is_there = (
        has_note
        & (is_big | _has(file, note, b"II"))
        & (_number(file, entries, 2, is_big) == ORIENTATION)
        & ((kinds == SHORT) | (kinds == LONG))
    )
    values = tf.where(
        kinds == LONG,
        _number(file, entries + 8, 4, is_big),
        _number(file, entries + 8, 2, is_big),
    )
    orientation = tf.reduce_max(tf.where(is_there, values, 1))
    is_known = (orientation >= 1) & (orientation <= 8)  # without entries not
    return tf.where(is_known, orientation, 1)


def _turned(picture, orientation):
    for orientations, turn in (
        ((5, 6, 7, 8), lambda x: tf.transpose(x, (1, 0, 2))),  # (w, h, 3)
        ((2, 3, 6, 7), lambda x: x[:, ::-1]),
        ((3, 4, 7, 8), lambda x: x[::-1]),
    ):
        picture = tf.cond(
            tf.reduce_any(orientation == tf.constant(orientations, tf.int64)),
            lambda turn=turn, picture=picture: turn(picture),
            lambda picture=picture: picture,
        )
    return picture


def _walk(start, is_there, following):
    """The first of the places from `start` on that is the one."""
    start = tf.cast(start, tf.int64)
    (at,) = tf.while_loop(
        lambda at: ~is_there(at),
        lambda at: (following(at),),
        (start,),
        maximum_iterations=MAX_SEGMENTS,
    )
    return _checked(at, is_there(at), "A file without end, or without pixels")


def _has(file, at, content):
    """Whether `content`, bytes, is at that place."""
    at = tf.minimum(tf.cast(at, tf.int64), file.size)
    found = tf.strings.substr(file.content, at, np.int64(len(content)))
    return found == content


def _number(file, at, size=1, is_big=True):
    """The whole number of `size` bytes at a place, or at each of many."""
    places = tf.cast(at, tf.int64)[..., None] + np.arange(size)
    values = tf.gather(file.data, tf.minimum(places, file.size))
    weights = 256 ** np.arange(size)
    if is_big is True:
        weights = weights[::-1]
    elif is_big is not False:
        weights = tf.where(is_big, weights[::-1], weights)
    return tf.reduce_sum(tf.cast(values, tf.int64) * weights, axis=-1)


def _checked(value, is_right, message, seen=()):
    """The value, unless there is something wrong with what was `seen`."""
    check = tf.debugging.Assert(is_right, [message, *seen])
    with tf.control_dependencies([check]):
        return tf.identity(value)
