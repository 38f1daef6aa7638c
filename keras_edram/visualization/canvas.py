"""What all pictures have in common: figures, images, windows, files."""

import functools
import io

import numpy as np

from keras_edram import files, geometry

DPI = 110  # pixels of a figure an inch
ANSWER_COLOUR = "#2ca02c"  # green, as the boxes of the paper's Fig. 1
# Matplotlib brings a font that has a box for every letter.
NO_LETTERS = {"Last Resort High-Efficiency"}
PLAIN = ("normal", 400, "normal")  # style, weight and width of a font
WINDOW_COLOUR = "#d62728"  # red, as the windows of the paper's Fig. 4
# The formats that Pillow writes, to which Matplotlib hands on no metadata.
BY_PILLOW = {"jpg", "jpeg", "webp", "tif", "tiff"}


def new_figure(figsize):
    """A figure of (width, height) in inches that is drawn without a display."""
    # Not pyplot: it keeps figures alive and may ask for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=figsize, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def show(axis, image):
    """Shows one picture of shape (h, w, C) in [0, 255]."""
    image = np.clip(np.asarray(image), 0, 255).astype("uint8")
    if image.shape[-1] == 1:
        image = np.repeat(image, 3, axis=-1)
    axis.imshow(image, interpolation="nearest")


def shrunk(image, most):
    """An image, its longer side shrunk to so many pixels if it has more.

    Args:
        image: Array of shape `(H, W, C)` in [0, 255].
        most: Integer, pixels.

    Returns:
        uint8 array of shape `(h, w, C)`, or the image itself if it is no
        larger.

    Example:

    >>> shrunk(np.zeros((3000, 4000, 1), "uint8"), 400).shape
    (300, 400, 1)
    """
    from PIL import Image

    height, width, channels = image.shape
    scale = most / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    pixels = np.clip(np.asarray(image), 0, 255).astype("uint8")
    planes = [
        Image.fromarray(pixels[..., channel]).resize(
            size, Image.Resampling.BILINEAR
        )
        for channel in range(channels)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


def draw_windows(axis, image, transforms, colour):
    """Outlines of windows `(n, 2, 3)`, and a little around the image."""
    from matplotlib.patches import Polygon

    corners = np.asarray(geometry.window_corners(transforms, image.shape[:2]))
    for window in corners:  # (4, 2)
        axis.add_patch(
            Polygon(window, fill=False, edgecolor=colour, linewidth=1.6)
        )
    # A window may reach beyond the image: show a little of that.
    view = 1.08 * geometry.IDENTITY
    (left, top), _, (right, bottom), _ = np.asarray(
        geometry.window_corners(view, image.shape[:2])
    )
    axis.set_xlim(left, right)
    axis.set_ylim(bottom, top)


def number_windows(axis, image, transforms, names):
    """Writes at each window which it is in the order of reading, and what."""
    corners = np.asarray(geometry.window_corners(transforms, image.shape[:2]))
    for number, (corner, name) in enumerate(
        zip(corners[:, 0], names, strict=True), start=1
    ):
        axis.text(
            *corner, **written(f"{number}: {name}"), fontsize=6, color="white",
            va="top", parse_math=False, clip_on=True,
            bbox=dict(boxstyle="square,pad=0.1", fc=ANSWER_COLOUR, lw=0),
        )  # fmt: skip


def written(text):
    """Text as it can be drawn, and the fonts that have its letters.

    Letters that the usual font lacks, as those of many scripts, are taken from
    the installed fonts; those that none has are written as their numbers.

    Args:
        text: String.

    Returns:
        Dictionary of `s` and `fontfamily`, arguments of `Axes.text`.

    Example:

    >>> written("nut")["s"]
    'nut'
    """
    from matplotlib import font_manager

    usual = font_manager.FontProperties()
    families = list(usual.get_family())
    missing = set(text) - _letters(font_manager.findfont(usual)) - {"\n"}
    for font in font_manager.fontManager.ttflist if missing else ():
        # Others of a family are found only with their style.
        if (font.style, font.weight, font.stretch) != PLAIN:
            continue
        found = missing & _letters(font.fname)
        if found and font.name not in NO_LETTERS:
            families.append(font.name)
            missing -= found
    return {
        "s": "".join(
            letter.encode("unicode_escape").decode()
            if letter in missing
            else letter
            for letter in text
        ),
        "fontfamily": families,
    }


@functools.cache
def _letters(path):
    """The letters that a file of a font has."""
    from matplotlib import font_manager

    return frozenset(map(chr, font_manager.get_font(path).get_charmap()))


def save(figure, path):
    """Writes a figure; its path has the old one until the new one is whole."""
    path = files.with_suffix(path, files.FIGURE_SUFFIXES)
    with files.replacing(path) as partial:
        # By way of memory: on a full disk Pillow would cut a JPEG short and
        # say nothing.
        buffer = io.BytesIO()
        kind = path.suffix[1:].lower()
        figure.savefig(buffer, dpi=DPI, format=kind, **_mark(kind))
        partial.write_bytes(buffer.getvalue())


def _mark(kind):
    """Arguments that say in a figure of that kind who drew it."""
    if kind not in BY_PILLOW:
        key = "Software" if kind == "png" else "Creator"
        return {"metadata": {key: files.DRAWN_BY}}
    from PIL import ExifTags, Image

    exif = Image.Exif()
    exif[ExifTags.Base.Software] = files.DRAWN_BY
    return {"pil_kwargs": {"exif": exif}}


def to_picture(figure):
    """A figure as `PIL.Image.Image` of few colours, a frame of a GIF."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=80, format="png")
    buffer.seek(0)
    picture = Image.open(buffer).convert("P", palette=Image.Palette.ADAPTIVE)
    return picture
