"""Picture files as arrays that fit a model.

The reader of the whole package; `serving.decoding_graph` and the programs in
`export/` read alike, so that a picture has one answer everywhere.
"""

import contextlib
import io
import pathlib
import re
import threading
import warnings

import numpy as np

from keras_edram.checks import check_image_shape
from keras_edram.words import as_text

# Orientations of EXIF that turn a picture by a quarter, so that its stored
# width is its height when shown.
QUARTER_TURNS = (5, 6, 7, 8)
# Pillow reads many more, some by other programs: too much for a content that
# anyone may have sent.
FORMATS_OF_CONTENT = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
# Each scan of a progressive JPEG goes over all of its pixels, also one that is
# a few bytes long; encoders write some ten. Segments of metadata have up to 64
# kB each.
MAX_SCANS = 100
MAX_SEGMENTS = 2000
# A picture in 16 bits whose values need fewer is that of a camera or a scanner
# with so many; a picture of 16 whose largest is below that would be black.
DEPTHS = (8, 12, 16)
RAW = "a camera's raw file"
# What is often taken for a picture to be read. A raw file begins as a TIFF,
# whose picture is a small preview.
OTHER_KINDS = {
    "HEIC": (".heic", ".heif", ".hif"),
    "AVIF": (".avif",),
    "JPEG XL": (".jxl",),
    "PDF": (".pdf",),
    "SVG": (".svg", ".svgz"),
    RAW: (
        *(".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".iiq", ".kdc"),
        *(".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2"),
        *(".rwl", ".sr2", ".srf", ".srw", ".x3f"),
    ),
}
DNG_VERSION = 50706  # the tag of TIFF that makes it a raw file
# Notes of what is odd about a picture that can be read, as clauses.
SEVERAL_PAGES = "has several pages or frames: the first is read"
ONE_COLOUR = "is of one colour: there is nothing to read"

_JPEG_MARKER = re.compile(rb"\xff+([\x02-\xcf\xd8-\xfe])")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_QUIET = threading.Lock()  # the filter of warnings is that of all threads


class PictureWarning(UserWarning):
    """A picture was read, but may show something else than was meant."""


def read_picture(file, image_shape):
    """Reads a picture file, in the size and the colours that the model wants.

    A picture of another size is stretched or shrunk to that of the model, with
    anti-aliasing and without keeping its aspect; for a model that takes images
    of any size it stays as large as it is. Besides:

    - **Orientation**: the rotation that a camera notes (EXIF) is applied;
      broken notes, and those behind the pixels of a PNG, are not heeded.
    - **Ground**: transparent parts get one that the ink stands out from, white
      if `sum(alpha * (2 * luma - 255)) < 0` over all pixels, with alpha and
      luma in [0, 255], and black otherwise.
    - **Depth**: a picture of 16 or 32 bits has the fewest of 8, 12 and 16 that
      hold its largest value, and the highest 8 of these are taken; colours of
      16 bits must use more than 12 of them. Floats are in [0, 1] if none is
      larger; otherwise they are in [0, 255] and the largest is at least 16.
    - Of several pages or frames the first is read.

    Args:
        file: Path of a file in any format that Pillow reads: PNG, JPEG, BMP,
            GIF, TIFF, WebP, ...; or the content of a file as bytes, in one of
            `FORMATS_OF_CONTENT`.
        image_shape: `(height, width, channels)` of the model, with 1 channel
            for grey, which is the luma of colours, or 3 for colour;
            `(None, None, channels)` for a picture in its own size.

    Returns:
        uint8 array of that shape, `(height, width, channels)`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no picture, or none of a known depth; or for
            a shape that is none.

    Warns:
        PictureWarning: If the picture is of one colour, or has several pages.

    Example:

    >>> read_picture("digit.png", (100, 100, 1)).shape
    (100, 100, 1)
    """
    image, notes = look_at_image(file, image_shape)
    _warn_of(file, notes)
    return image


def look_at_image(file, image_shape):
    """Reads a picture file, and says what is odd about it, without a warning.

    Args:
        file, image_shape: As of `read_picture`.

    Returns:
        What `read_picture` returns, and a list of clauses without the name of
        the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: As of `read_picture`.

    Example:

    >>> image, notes = look_at_image("digit.png", (100, 100, 1))
    >>> image.shape
    (100, 100, 1)
    """
    from PIL import Image

    height, width, channels = check_image_shape(image_shape)
    if channels not in (1, 3):
        raise ValueError(
            "A model that reads picture files must have 1 or 3 channels. "
            f"Received: image_shape={tuple(image_shape)}"
        )
    picture, notes = look_at_picture(file, colour=channels == 3)
    if height is not None and picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    image = np.asarray(picture).reshape(
        *picture.size[::-1], channels
    )  # (H, W, C), of grey too
    return image, notes


def decode_picture(file, *, colour):
    """Decodes a picture file wholly, as it is shown, in its own size.

    Args:
        file: Path of the file or its content, see `read_picture`, which also
            says what becomes of transparent parts and of other depths.
        colour: Boolean, for red, green and blue; otherwise grey, their luma.

    Returns:
        `PIL.Image.Image` of mode `"RGB"` or `"L"`, 8 bits a channel.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no picture, or is cut short; what is wrong
            with it, as a clause, is the error's cause.

    Warns:
        PictureWarning: If the picture is of one colour, or has several pages.

    Example:

    >>> decode_picture("digit.png", colour=False).mode
    'L'
    """
    picture, notes = look_at_picture(file, colour=colour)
    _warn_of(file, notes)
    return picture


def _warn_of(file, notes):
    for note in notes:
        with _QUIET:  # or another thread's silence would be this one's
            warnings.warn(
                f"{file_name(file)} {note}", PictureWarning, stacklevel=3
            )


def look_at_picture(file, *, colour):
    """Decodes a picture file, and says what is odd about it, without a warning.

    Args:
        file, colour: As of `decode_picture`.

    Returns:
        What `decode_picture` returns, and a list of clauses without the name
        of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: As of `decode_picture`.

    Example:

    >>> picture, notes = look_at_picture("digit.png", colour=False)
    >>> picture.mode
    'L'
    """
    with _opened(file) as stored:
        size = _shown_size(stored)
        orientation = _orientation(stored)  # before the pixels are there
        stored_mode = _stored_mode(stored)
        stored.load()
        picture = stored
        if stored.format != "TIFF":  # Pillow has turned it already
            picture = _turned(stored, orientation)
        # Pillow 12.3 garbles a TIFF that is turned and not compressed.
        if picture.size != size:
            raise ValueError(
                f"its head promises {size} pixels, its data are {picture.size}."
                " Save it anew, without a rotation"
            )
        picture = _on_ground(_in_8_bits(picture, stored_mode))
        if picture.mode not in ("1", "L"):
            picture = _in_rgb(picture)
        picture = picture.convert("RGB" if colour else "L")
        # Last, for Pillow may lose the first frame in looking for another.
        has_more = _has_more(stored)
    notes = [SEVERAL_PAGES] * has_more
    notes += [ONE_COLOUR] * _is_of_one_colour(picture)
    return picture, notes


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


def check_content(content):
    """Refuses content whose decoder would work much longer than on pictures.

    That is a JPEG that repeats its scans or its segments of metadata. Its
    pixels are not decoded. The functions above call it for every content.

    Args:
        content: Content of a file as bytes.

    Raises:
        ValueError: If it has more scans than `MAX_SCANS`, or more segments
            than `MAX_SEGMENTS`.

    Example:

    >>> check_content(pathlib.Path("digit.png").read_bytes())
    """
    if not content.startswith(b"\xff\xd8"):
        return
    position, scans, segments = 2, 0, 0
    # Within a scan, 0xff is followed by what is no marker here.
    while found := _JPEG_MARKER.search(content, position):
        marker, position = found[1][0], found.end()
        if marker == _END_OF_IMAGE:
            return
        scans += marker == _START_OF_SCAN
        segments += 1
        if scans > MAX_SCANS or segments > MAX_SEGMENTS:
            raise ValueError(
                f"it is a JPEG of more than {MAX_SCANS} scans or "
                f"{MAX_SEGMENTS} segments, which takes too long: save it anew"
            )
        position += int.from_bytes(content[position : position + 2], "big")


@contextlib.contextmanager
def _opened(file):
    """The file as Pillow opens it; what goes wrong within names the file."""
    from PIL import Image

    if isinstance(file, bytes):
        source, formats, suffix = io.BytesIO(file), FORMATS_OF_CONTENT, ""
    else:
        source, formats = pathlib.Path(file), None  # all
        suffix = source.suffix
        if not source.is_file():
            raise FileNotFoundError(
                f"There is no picture file {file_name(file)}"
            )
    try:
        if isinstance(file, bytes):
            check_content(file)
        if suffix.lower() in OTHER_KINDS[RAW]:
            raise ValueError(_other_kind(RAW))
        # Pillow warns of what is no concern of those who read pictures, such
        # as of 90 megapixels.
        with _QUIET, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stored = Image.open(source, formats=formats)
            # Notes of programs, not of cameras: browsers do not heed them.
            for key in ("xmp", "XML:com.adobe.xmp", "Raw profile type exif"):
                stored.info.pop(key, None)
            _orientation(stored)  # may warn, and is kept
        with stored:
            if DNG_VERSION in getattr(stored, "tag_v2", ()):
                raise ValueError(_other_kind(RAW))
            yield stored
    except Exception as error:  # whatever the decoders raise for broken files
        clause = _clause(error, file, suffix)
        cause = error if clause is None else ValueError(clause)
        if formats:
            clause = clause or f"it is none of {', '.join(formats)}"
        raise ValueError(
            f"{file_name(file)} must be a picture file, but cannot be read: "
            f"{clause or 'it is of no kind that is read'}"
        ) from cause


def _clause(error, file, suffix):
    """What is wrong, in our words if we know; `None` if it is no picture."""
    from PIL import Image, UnidentifiedImageError

    text = str(error) or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        kind = _kind_of(file, suffix)
        return kind and _other_kind(kind)
    if isinstance(error, Image.DecompressionBombError):
        most = 2 * Image.MAX_IMAGE_PIXELS // 10**6
        return f"it has more than {most} megapixels: shrink it"
    if "Decompressed data too large" in text or "MAX_TEXT_MEMORY" in text:
        return (
            "it has more text beside its pixels than any picture needs: save "
            "it anew, without metadata"
        )
    if re.search("truncated|cut short|data stream|Truncated", text):
        return "it is cut short or damaged: save or copy it anew"
    return text


def _kind_of(file, suffix):
    """The name of a kind of `OTHER_KINDS`, by content or suffix, if any."""
    if isinstance(file, bytes):
        head = file[:1024]
    else:
        with open(file, "rb") as opened:
            head = opened.read(1024)
    if head[4:8] == b"ftyp":
        for brands, kind in (
            ((b"avif", b"avis"), "AVIF"),
            ((b"heic", b"heix", b"hevc", b"heim", b"mif1", b"msf1"), "HEIC"),
            ((b"crx ",), RAW),
        ):
            if any(brand in head[8:64] for brand in brands):
                return kind
    for beginnings, kind in (
        ((b"%PDF-",), "PDF"),
        ((b"\xff\x0a", b"\0\0\0\x0cJXL "), "JPEG XL"),
        ((b"FUJIFILMCCD-RAW", b"IIRO", b"IIU\0", b"FOVb"), RAW),
    ):
        if head.startswith(beginnings):
            return kind
    if b"<svg" in head:
        return "SVG"
    for kind, suffixes in OTHER_KINDS.items():
        if suffix.lower() in suffixes:
            return kind
    return None


def _other_kind(kind):
    return f"it is {kind}, which is not read: convert it to JPEG or PNG"


def file_name(file):
    """What messages call a file."""
    return "The content" if isinstance(file, bytes) else as_text(file)


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
    if file.format == "PNG" and "exif" not in file.info:
        return 1
    try:
        orientation = file.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # whatever Pillow raises for a broken note
        return 1
    return orientation if orientation in range(1, 9) else 1


def _turned(picture, orientation):
    from PIL import Image

    # Not by `ImageOps.exif_transpose`, which would mend the note as well, and
    # fail where the rest of it is broken.
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)
    if turn is None:
        return picture
    turned = picture.transpose(turn)
    turned.info = picture.info  # which colour is transparent
    return turned


def _stored_mode(file):
    """How the pixels are stored, in Pillow's words, such as "RGB;16B"."""
    for tile in file.tile:
        mode = tile[3][0] if isinstance(tile[3], tuple) else tile[3]
        if isinstance(mode, str):
            return mode
    return file.mode


def _in_8_bits(picture, stored_mode):
    """A picture of any depth in 8 bits a channel, see `read_picture`."""
    from PIL import Image

    transparent = picture.info.get("transparency")
    if picture.mode == "F" or picture.mode.startswith("I"):
        values = np.asarray(picture)
        grey = Image.fromarray(_scaled(values))
        if transparent is not None:
            is_drawn = np.where(values == transparent, 0, 255)
            grey.putalpha(Image.fromarray(is_drawn.astype("uint8")))
        return grey
    # Pillow gives the higher 8 bits, and no others.
    is_deep = re.match("(LA|RGB[AaX]?);16", stored_mode)
    if is_deep and max(high for _, high in picture.getextrema()) < 16:
        raise ValueError(
            "its colours have 16 bits, but its values need 12 or fewer: save "
            "it with 8 bits"
        )
    if transparent is not None:  # as it is stored
        if is_deep:
            transparent = tuple(value // 256 for value in transparent)
        elif stored_mode in ("L;2", "L;4"):
            transparent *= 255 // (2 ** int(stored_mode[2:]) - 1)
        picture.info["transparency"] = transparent
    return picture


def _scaled(values):
    """Values of more than 8 bits, or floats, as uint8; see `read_picture`."""
    low, high = values.min(), values.max()
    if values.dtype.kind == "f":
        if low >= 0 and high <= 1:
            return np.rint(255 * values).astype("uint8")
        if low >= 0 and 16 <= high <= 255:
            return np.rint(values).astype("uint8")
        expected = "floats must be in [0, 1], or in [0, 255] and reach 16"
    else:
        for depth in DEPTHS:
            if low >= 0 and high < 2**depth:
                return (values >> depth - 8).astype("uint8")
        expected = "values must be in [0, 65535]"
    raise ValueError(f"its {expected}. Received: {low:g} to {high:g}")


def _on_ground(picture):
    """Transparent parts filled, so that what is drawn stands out."""
    from PIL import Image

    if not picture.has_transparency_data:
        return picture
    picture = picture.convert("RGBA")
    alpha = np.asarray(picture.getchannel("A"))
    luma = np.asarray(picture.convert("L"))
    # By `einsum`, which makes no array of integers as large as the picture.
    weighted = np.einsum("ij,ij->", alpha, luma, dtype="int64")
    is_dark = 2 * weighted < 255 * alpha.sum(dtype="int64")
    ground = Image.new("RGBA", picture.size, "white" if is_dark else "black")
    return Image.alpha_composite(ground, picture)


def _in_rgb(picture):
    if picture.mode != "LAB":
        return picture.convert("RGB")
    from PIL import Image, ImageCms

    # The profile of the file, if any, is that of what it was converted from.
    lab, rgb = (ImageCms.createProfile(space) for space in ("LAB", "sRGB"))
    picture = Image.merge("LAB", picture.split())  # without that profile
    return ImageCms.profileToProfile(picture, lab, rgb, outputMode="RGB")


def _has_more(file):
    """Whether there are other pages or frames than that which was read.

    Layers are none, nor is what phones put behind a JPEG: a smaller picture of
    the same, or how bright it is.
    """
    if file.format in ("MPO", "PSD"):
        return False
    try:
        return getattr(file, "is_animated", False)
    except Exception:  # what comes after the first is broken
        return True


def _is_of_one_colour(picture):
    extrema = picture.getextrema()
    if picture.mode == "L":
        extrema = (extrema,)
    return all(low == high for low, high in extrema)
