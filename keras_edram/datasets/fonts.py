"""Faces of fonts to draw digits and letters in, apart for each split.

Letters in shapes: h w of a mask.
"""

import functools
import hashlib
import pathlib
import re
import unicodedata
from typing import NamedTuple

import numpy as np

from keras_edram.checks import check_choice
from keras_edram.datasets.random_sequence import SPLITS

DIGITS = "0123456789"
# Letters that nobody takes for a digit where they stand alone or turned.
LETTERS = "ACEFHKMNPRTUVWXYacdefhkmnprtuvwxy"
HEIGHT = 96  # pixels of the highest digit of a face
# A design has many faces and files; more of the same bring little.
FACES_OF_A_DESIGN = 6
# The designs that matplotlib brings, and what is drawn after them.
SPLIT_OF_DESIGN = {
    "cm": "train",
    "cmu": "train",
    "latin modern": "train",
    "lm": "train",
    "deja vu": "train",
    "bitstream vera": "train",
    "hack": "train",
    "deja vu serif": "validation",
    "bitstream vera serif": "validation",
    "stix": "test",
    "xits": "test",
}
# Names that hold the same digits as another, or hardly different ones.
SAME_DIGITS = {
    "arimo": "liberation",
    "cousine": "liberation",
    "tinos": "liberation",
    "carlito": "lato",
    "caladea": "cambo",
    "libertinus": "linux",
    "droid": "noto",
    "open": "noto",
    "nimbus": "urw",
    "free": "urw",
    "te": "urw",  # TeX Gyre
    "c059": "urw",
    "p052": "urw",
    "z003": "urw",
    "standard": "urw",
}
# Of a hundred designs that no table names.
SHARES = {"validation": 10, "test": 20}
# Of the box of a digit, on average, that its ink fills: hairlines vanish.
LEAST_INK = 0.2
INK = 64  # a mask's value from which on a pixel is ink
DIRECTIONS = 64  # that the outermost points of a glyph are looked for in
# How many of the ten are most like the same digit of a plain face.
LEAST_ALIKE = 8
ALIKE_SIZE = (16, 24)  # width and height that they are compared at
# How far the middle of a mark may be from that of a plain face, by the height
# of a digit, and how many times as high it may be: some draw another sign.
MARK_MOVED, MARK_GROWN = 0.25, 3


class Glyph(NamedTuple):
    """A letter as it is drawn.

    Attributes:
        mask: uint8 array of shape `(h, w)`, ink is 255.
        left: Integer, pixels from the pen to the mask.
        top: Integer, pixels from the baseline up to the mask's first row.
        advance: Integer, pixels from this pen to that of the next letter.
        outline: Float array of shape `(n, 2)`: x and y of the outermost points
            of the ink, from the mask's corner.
    """

    mask: np.ndarray
    left: int
    top: int
    advance: int
    outline: np.ndarray


class Face:
    """One face of a font: its digits, marks, and `LETTERS` that it has.

    Args:
        path: Path of a TrueType or OpenType file.

    Attributes:
        family: String, as the file names it.
        style: String, as the file names it.

    Raises:
        OSError: If the file cannot be read as a font.

    Example:

    >>> face = Face(matplotlib_folder() / "DejaVuSans.ttf")
    >>> face.glyph("7").mask.shape[0] <= HEIGHT + 1
    True
    """

    def __init__(self, path):
        from PIL import ImageFont

        self.path = pathlib.Path(path)
        self._font = _font(self.path, HEIGHT)
        family, style = self._font.getname()
        self.family, self.style = family or self.path.stem, style or ""
        left, top, right, bottom = self._font.getbbox(DIGITS, anchor="ls")
        if bottom > top and right > left:  # the digits as high as `HEIGHT`
            size = max(1, round(HEIGHT * HEIGHT / (bottom - top)))
            self._font = ImageFont.truetype(
                str(self.path),
                min(size, 4 * HEIGHT),
                layout_engine=ImageFont.Layout.BASIC,
            )
        self.glyph = functools.cache(self._glyph)

    @functools.cached_property
    def letters(self):
        """String of those of `LETTERS` that the face has."""
        return "".join(filter(self._has, LETTERS))

    @functools.cached_property
    def has_digits(self):
        """Whether its ten digits can be read as such, and are no hairlines."""
        glyphs = [self.glyph(digit) for digit in DIGITS]
        if not all(len(glyph.outline) for glyph in glyphs):
            return False
        masks = [glyph.mask for glyph in glyphs]
        # A 1 is narrow: its box is full of ink in any face.
        ink = np.mean([m.mean() / 255 for m in masks[:1] + masks[2:]])
        if ink < LEAST_INK:
            return False
        shapes = _shapes(masks)
        likeness = np.max(
            [shapes @ plain.T for plain in _plain_shapes()], axis=0
        )  # (digits, plain digits and the I)
        alike = likeness.argmax(axis=1) == np.arange(len(DIGITS))
        # Old figures have a 1 that is a small I.
        is_one = likeness[1, -1] < likeness[1, 1]
        return is_one and alike.sum() >= LEAST_ALIKE

    def has_marks(self, marks):
        """Whether these characters lie about where a plain face has them."""
        return all(
            self._has(mark) and _alike(self.glyph(mark), _plain().glyph(mark))
            for mark in marks
        )

    def _has(self, letter):
        """Whether it is drawn, and not as what the face has not."""
        glyph, missing = self.glyph(letter), self.glyph("\U0010fffe")
        return len(glyph.outline) and not np.array_equal(
            glyph.mask, missing.mask
        )

    def _glyph(self, letter):
        from PIL import Image, ImageDraw

        left, top, right, bottom = self._font.getbbox(letter, anchor="ls")
        size = max(1, right - left), max(1, bottom - top)
        image = Image.new("L", size)
        ImageDraw.Draw(image).text(
            (-left, -top), letter, 255, self._font, anchor="ls"
        )
        mask = np.asarray(image)
        advance = round(self._font.getlength(letter))
        rows, columns = mask.any(axis=1), mask.any(axis=0)
        if not rows.any():
            return Glyph(mask, left, -top, advance, np.zeros((0, 2)))
        first, before = int(rows.argmax()), int(columns.argmax())
        mask = mask[first : len(rows) - int(rows[::-1].argmax())]
        mask = mask[:, before : len(columns) - int(columns[::-1].argmax())]
        return Glyph(mask, left + before, -top - first, advance, _outline(mask))


def load_faces(split, folders=None, marks=""):
    """The faces of one split whose digits can be read.

    Which split a face belongs to its design decides, that is, the first word of
    its family's name, on every machine alike: no split has a face whose
    relative another one has.

    Args:
        split: `"train"`, `"validation"` or `"test"`.
        folders: Path of a folder of font files, or several. By default
            matplotlib's own fonts and those of the system.
        marks: String of characters that each face must have. Defaults to none.

    Returns:
        List of lists of `Face`, one for each design, in the order of their
        names.

    Raises:
        ValueError: For an unknown split, a folder that is none, or folders
            without a face of this split that has the marks.

    Example:

    >>> len(load_faces("test", folders=matplotlib_folder()))
    1
    """
    check_choice(split, SPLITS, "split")
    designs = {}
    designs_of = {one: set() for one in SPLITS}
    for path in _font_files(folders):
        try:
            family = _font(path, 8).getname()[0] or path.stem
        except OSError:
            continue  # a broken file is no face
        designs_of[split_of_family(family)].add(_design(family))
        if split_of_family(family) == split:
            designs.setdefault(_design(family), []).append(path)
    faces = []
    for _, paths in sorted(designs.items()):
        kept = []
        # By name, so that another folder's files change nothing.
        for path in sorted(paths, key=lambda path: _hash(path.name)):
            if len(kept) == FACES_OF_A_DESIGN:
                break
            try:
                face = Face(path)
                if face.has_digits and face.has_marks(marks):
                    kept.append(face)
            except (OSError, ValueError):
                continue
        if kept:
            faces.append(kept)
    if not faces:
        raise ValueError(
            "There must be a font with digits, and with the marks, of a design "
            f"that belongs to {split!r} by its name, as about 70 of 100 do to "
            "train, 10 to validation and 20 to test. Received: "
            f"fonts={folders!r}, marks={marks!r}; designs found: "
            + ", ".join(f"{len(of)} of {one}" for one, of in designs_of.items())
        )
    return faces


def split_of_family(family):
    """The split that the name of a family belongs to.

    Args:
        family: String, such as `"DejaVu Sans Mono"`.

    Returns:
        `"train"`, `"validation"` or `"test"`.

    Example:

    >>> split_of_family("DejaVu Sans"), split_of_family("STIXGeneral")
    ('train', 'test')
    """
    design = _design(family)
    return SPLIT_OF_DESIGN.get(design) or split_of_name(design)


def split_of_name(name):
    """The split that a name belongs to, on every machine the same.

    Args:
        name: String.

    Returns:
        `"validation"` for about 10, `"test"` for about 20 of a hundred names,
        `"train"` otherwise.
    """
    number = int(_hash(name), 16) % 100
    for split, share in SHARES.items():
        if number < share:
            return split
        number -= share
    return "train"


def matplotlib_folder():
    """Path of the folder of the fonts that matplotlib brings."""
    import matplotlib

    return pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf")


def _design(family):
    """The key of those of the tables that begins it, or the first word."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", family)  # "GentiumAlt"
    name = re.sub(r"[^a-z0-9]+", " ", words.lower()).strip()
    named = [key for key in SPLIT_OF_DESIGN if _begins(name, key)]
    if named:
        return max(named, key=len)
    word = name.split(" ")[0]
    return SAME_DIGITS.get(word, word)


def _begins(name, key):
    """Whether a name begins with a key, and goes on with another word.

    Computer Modern's families are called cmr10, cmss10, STIX's STIXGeneral.
    """
    if key in ("cm", "lm"):
        return re.match(rf"{key}(\w{{1,4}}\d|roman|sans|mono| )", name)
    if key in ("stix", "xits"):
        return name.startswith(key)
    return name == key or name.startswith(f"{key} ")


def _font_files(folders):
    """Paths of all font files, a file of the same name once, sorted."""
    from matplotlib import font_manager

    if folders is None:
        folders, others = [matplotlib_folder()], font_manager.findSystemFonts()
    else:
        if not isinstance(folders, (list, tuple)):
            folders = [folders]
        others = []
        for folder in folders:
            if (
                not isinstance(folder, (str, pathlib.PurePath))
                or not pathlib.Path(folder).is_dir()
            ):
                raise ValueError(
                    "`fonts` must be a folder of font files, or several; of a "
                    "recipe, `--set fonts=FOLDER`, or `--set fonts=` for those "
                    f"of the system. Received: fonts={str(folder)!r}"
                )
    found = {pathlib.Path(path).name: path for path in sorted(others)}
    for folder in folders:
        for path in sorted(font_manager.findSystemFonts([str(folder)])):
            found[pathlib.Path(path).name] = path
    return [pathlib.Path(path) for _, path in sorted(found.items())]


def _font(path, size):
    from PIL import ImageFont

    # The basic layout is in every build of Pillow.
    return ImageFont.truetype(
        str(path), size, layout_engine=ImageFont.Layout.BASIC
    )


def _hash(name):
    name = unicodedata.normalize("NFC", name)  # as some disks have it not
    return hashlib.sha256(name.encode()).hexdigest()


def _outline(mask):
    """The outermost points of the ink in many directions, (n, 2)."""
    ink = mask >= INK
    rows = np.flatnonzero(ink.any(axis=1))
    if not len(rows):  # all of it is pale
        return np.zeros((0, 2))
    left = ink[rows].argmax(axis=1)
    right = ink.shape[1] - ink[rows, ::-1].argmax(axis=1)
    x = np.concatenate([left, left, right, right])  # (4 rows,)
    y = np.concatenate([rows, rows + 1, rows, rows + 1])  # (4 rows,)
    points = np.stack([x, y], axis=1).astype("float64")  # (4 rows, 2)
    angles = np.arange(DIRECTIONS) * (2 * np.pi / DIRECTIONS)
    directions = np.stack([np.cos(angles), np.sin(angles)])  # (2, directions)
    return points[np.unique((points @ directions).argmax(axis=0))]


def _alike(glyph, plain):
    """Whether two glyphs are at about the same height, and as high."""
    high, as_high = len(glyph.mask), len(plain.mask)
    moved = glyph.top - high / 2 - (plain.top - as_high / 2)
    return (
        abs(moved) < MARK_MOVED * HEIGHT
        and 1 / MARK_GROWN < high / as_high < MARK_GROWN
    )


@functools.cache
def _plain():
    return Face(matplotlib_folder() / "DejaVuSans.ttf")


def _shapes(masks):
    """Masks in one size, without their mean, of length 1."""
    from PIL import Image

    shapes = np.stack(
        [
            np.asarray(
                Image.fromarray(mask).resize(ALIKE_SIZE, Image.Resampling.BOX),
                "float32",
            ).ravel()
            for mask in masks
        ]
    )  # (n, h w)
    shapes -= shapes.mean(axis=1, keepdims=True)
    return shapes / (np.linalg.norm(shapes, axis=1, keepdims=True) + 1e-6)


@functools.cache
def _plain_shapes():
    """Those of the digits of some of matplotlib's faces, and of the letter I.

    All have serifs on their I: a plain bar is taken for a 1.
    """
    return tuple(
        _shapes([face.glyph(letter).mask for letter in DIGITS + "I"])
        for face in (
            Face(matplotlib_folder() / name)
            for name in (
                "DejaVuSansMono.ttf",
                "DejaVuSansMono-Bold.ttf",
                "DejaVuSerif.ttf",
                "STIXGeneral.ttf",
                "cmr10.ttf",
                "cmtt10.ttf",
            )
        )
    )
