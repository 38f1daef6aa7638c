"""Picture files of every kind that readers have to agree on."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

SIDES = (24, 18)  # height, width
ORIENTATION = 0x112  # the tag of EXIF


def encode(array, file_format="PNG", mode=None, **options):
    """An array, or a `PIL.Image.Image`, as the bytes of a file."""
    picture = array
    if not isinstance(array, Image.Image):
        picture = Image.fromarray(array)
    if mode is not None:
        picture = picture.convert(mode)
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def png(values, bits, kind, transparent=()):
    """A PNG as Pillow writes none: values of any depth, `(H, W)` or more."""

    def chunk(name, content):
        check = zlib.crc32(name + content)
        length = struct.pack(">I", len(content))
        return length + name + content + struct.pack(">I", check)

    height, width = values.shape[:2]
    lines = b""
    for line in values.reshape(height, -1):
        line = "".join(format(value, f"0{bits}b") for value in line)
        line = "0" * 8 + line + "0" * (-len(line) % 8)  # 0: not filtered
        lines += int(line, 2).to_bytes(len(line) // 8, "big")
    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    if len(transparent):
        content += chunk(
            b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)
        )
    content += chunk(b"IDAT", zlib.compress(lines))
    return content + chunk(b"IEND", b"")


def note(orientation, byte_order="<"):
    """The note of a camera that was held so."""
    exif = Image.Exif()
    exif.endian = byte_order
    exif[0x10F] = "Maker of cameras"
    exif[ORIENTATION] = orientation
    return exif


def blocks(high, *channels):
    """Random values below `high` in blocks of 3 x 2: `(24, 18, ...)`."""
    generator = np.random.default_rng(len(channels) + sum(channels))
    height, width = SIDES
    values = generator.integers(0, high, (height // 3, width // 2, *channels))
    return values.repeat(3, axis=0).repeat(2, axis=1)


GREY = blocks(256).astype("uint8")
COLOUR = blocks(256, 3).astype("uint8")
SOFT = blocks(256, 4).astype("uint8")  # with an alpha of all values
DEEP = blocks(2**16, 4)
PALETTE = Image.fromarray(COLOUR).quantize(16)


def drawn(shade):
    """A figure of one shade on nothing, with soft edges."""
    alpha = np.zeros(SIDES, "uint8")
    alpha[4:20, 6:12] = 128
    alpha[5:19, 7:11] = 255
    return np.dstack([np.full((*SIDES, 3), shade, "uint8"), alpha])


def files():
    """Contents of picture files by name, that all readers read alike."""
    contents = {
        "grey.png": encode(GREY),
        "colour.png": encode(COLOUR),
        "one bit.png": encode(GREY, mode="1"),
        "palette.png": encode(PALETTE),
        "black on nothing.png": encode(drawn(0)),
        "white on nothing.png": encode(drawn(255)),
        "grey and alpha.png": encode(drawn(30), mode="LA"),
        "soft.png": encode(SOFT),
        "opaque.png": encode(np.dstack([COLOUR, np.full(SIDES, 255, "u1")])),
        "transparent palette.png": encode(
            PALETTE, transparency=bytes(range(0, 256, 16))
        ),
        "transparent colour.png": encode(
            COLOUR, transparency=tuple(map(int, COLOUR[0, 0]))
        ),
        "several.png": encode(
            Image.fromarray(GREY),
            save_all=True,
            append_images=[Image.fromarray(255 - GREY)],
        ),
        "photo.jpg": encode(COLOUR, "JPEG"),
        "grey.jpg": encode(GREY, "JPEG"),
        "progressive.jpg": encode(COLOUR, "JPEG", progressive=True),
        "print.jpg": encode(COLOUR, "JPEG", "CMYK"),
        "palette.gif": encode(PALETTE, "GIF"),
        "grey.gif": encode(GREY, "GIF"),
        "colour.bmp": encode(COLOUR, "BMP"),
        "grey.bmp": encode(GREY, "BMP"),
        "photo.webp": encode(COLOUR, "WEBP"),
        "colour.webp": encode(COLOUR, "WEBP", lossless=True),
        "a line.png": encode(COLOUR[:1].repeat(100, axis=1)),
        "12 bits.png": encode(GREY.astype("uint16") * 16),
        "8 bits in 16.png": encode(GREY.astype("uint16")),
        "16 bits, colour.png": png(DEEP[..., :3], 16, 2),
        "16 bits, transparent colour.png": png(
            DEEP[..., :3], 16, 2, DEEP[0, 0, :3]
        ),
        "16 bits, grey and alpha.png": png(DEEP[..., 2:], 16, 4),
        "16 bits, colour and alpha.png": png(DEEP, 16, 6),
        "16 bits, black and alpha.png": png(DEEP * (0, 0, 0, 1), 16, 6),
    }
    for bits in (1, 2, 4, 8, 16):
        values = blocks(2**bits)
        contents[f"{bits} bits.png"] = png(values, bits, 0)
        contents[f"{bits} bits, one transparent.png"] = png(
            values, bits, 0, values[0, :1]
        )
    for orientation in range(10):  # 0 and 9 mean nothing
        exif = note(orientation, "<>"[orientation % 2])
        contents[f"turned {orientation}.jpg"] = encode(
            COLOUR, "JPEG", exif=exif
        )
        contents[f"turned {orientation}.png"] = encode(COLOUR, exif=exif)
    return contents


def other_files():
    """Those that TensorFlow's decoders lack, or would show otherwise."""
    return {
        "transparent.gif": encode(PALETTE, "GIF", transparency=3),
        "palette.bmp": encode(PALETTE, "BMP"),
        "soft.webp": encode(SOFT, "WEBP"),
        "turned.webp": encode(COLOUR, "WEBP", exif=note(6)),
        "print without note.jpg": encode(COLOUR, "JPEG", "CMYK").replace(
            b"Adobe", b"adobe"
        ),
    }
