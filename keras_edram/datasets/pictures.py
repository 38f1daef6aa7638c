"""Picture files as arrays that fit a model."""

import contextlib
import io
import pathlib

import numpy as np

# Orientations of EXIF that turn a picture by a quarter, so that its stored
# width is its height when shown.
QUARTER_TURNS = (5, 6, 7, 8)
# Pillow reads many more, some by other programs: too much for a content that
# anyone may have sent.
FORMATS_OF_CONTENT = ("PNG", "JPEG", "WEBP", "GIF", "BMP")


def read_picture(file, image_shape):
    """Reads a picture file, in the size and the colours that the model wants.

    A picture of another size is stretched or shrunk to that of the model, with
    anti-aliasing and without keeping its aspect.

    Args:
        file: Path of a file in any format that Pillow reads: PNG, JPEG, BMP,
            GIF, TIFF, WebP, ...; or the content of a file as bytes, in one of
            `FORMATS_OF_CONTENT`. Transparent parts become black; the rotation
            that a camera notes is applied.
        image_shape: `(height, width, channels)` of the model, with 1 channel
            for grey or 3 for colour.

    Returns:
        uint8 array of that shape.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no picture.

    Example:

    >>> read_picture("digit.png", (100, 100, 1)).shape
    (100, 100, 1)
    """
    from PIL import Image

    height, width, channels = image_shape
    if channels not in (1, 3):
        raise ValueError(
            "A model that reads picture files must have 1 or 3 channels. "
            f"Received: image_shape={tuple(image_shape)}"
        )
    picture = decode_picture(file, colour=channels == 3)
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(image_shape)


def decode_picture(file, *, colour):
    """Decodes a picture file wholly, as it is shown, in its own size.

    Args:
        file: Path of the file or its content, see `read_picture`.
        colour: Boolean, for red, green and blue; otherwise grey, their luma.

    Returns:
        `PIL.Image.Image` of mode `"RGB"` or `"L"`, 8 bits a channel.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no picture, or is cut short; what its
            decoder said is the error's cause.

    Example:

    >>> decode_picture("digit.png", colour=False).mode
    'L'
    """
    from PIL import Image, ImageOps

    with _opened(file) as stored:
        size = _shown_size(stored)
        turned = _orientation(stored) != 1  # before the pixels are there
        stored.load()
        picture = ImageOps.exif_transpose(stored) if turned else stored.copy()
        # Pillow 12.3 garbles a TIFF that is turned and not compressed.
        if picture.size != size:
            raise ValueError(
                f"its head promises {size} pixels, its data are {picture.size}."
                " Save it anew, without a rotation"
            )
    if picture.mode.startswith("I"):  # 16 bits; `convert` would clip them
        values = np.asarray(picture).astype("int64") // 256
        picture = Image.fromarray(values.clip(0, 255).astype("uint8"))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, "black")
        picture = Image.alpha_composite(ground, picture)
    return picture.convert("RGB" if colour else "L")


def picture_size(file):
    """The size of a picture as it is shown, from the head of its file alone.

    Args:
        file: Path of the file or its content, see `read_picture`.

    Returns:
        `(width, height)` in pixels, that of what `decode_picture` returns.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file does not begin as a picture.

    Example:

    >>> picture_size("digit.png")
    (100, 100)
    """
    with _opened(file) as stored:
        return _shown_size(stored)


@contextlib.contextmanager
def _opened(file):
    """The file as Pillow opens it; what goes wrong within names the file."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(file, bytes):
        name, source = "The content", io.BytesIO(file)
        formats = FORMATS_OF_CONTENT
    else:
        name = source = pathlib.Path(file)
        formats = None  # all
        if not source.is_file():
            raise FileNotFoundError(f"There is no picture file {name}")
    try:
        with Image.open(source, formats=formats) as stored:
            yield stored
    except Exception as error:  # whatever the decoders raise for broken files
        reason = error
        if formats and isinstance(error, UnidentifiedImageError):
            reason = f"it is none of {', '.join(formats)}"
        raise ValueError(
            f"{name} must be a picture file, but cannot be read: {reason}"
        ) from error


def _shown_size(file):
    width, height = file.size
    # Pillow gives the size of a TIFF as it is shown, of others as stored.
    if file.format != "TIFF" and _orientation(file) in QUARTER_TURNS:
        return height, width
    return width, height


def _orientation(file):
    """How the camera was held, 1 to 8, by what stands before the pixels."""
    from PIL import ExifTags

    # Pillow would decode a PNG to look for the note behind the pixels, where
    # browsers do not heed it either.
    if file.format == "PNG" and not any("exif" in key for key in file.info):
        return 1
    return file.getexif().get(ExifTags.Base.Orientation, 1)
