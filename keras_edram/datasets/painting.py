"""Lines of letters, boards and shapes painted onto an image of uint8.

Letters in shapes: n letters of a line; h w of a mask or a part of an image.
"""

import math
from typing import NamedTuple

import numpy as np

from keras_edram.datasets import fonts
from keras_edram.datasets.cifar10 import LUMA as LUMA_IN_THOUSANDTHS

LUMA = np.array(LUMA_IN_THOUSANDTHS) / 1000
BLUR = (0.6, 1.4)  # pixels of the image that a pixel is averaged over
OPAQUE = 255
# A board reaches beyond what is on it, and its frame beyond that.
BOARD_MARGIN = (0.1, 0.7)  # by the height of a digit
FRAME = (0.06, 0.15)
FRAMED = 0.4  # of the boards
EDGE = 0.07  # of an outline, by the height of a digit
NEAR = [min(255, 8 * value) for value in range(256)]
SHADOW = 0.09  # how far it is moved, by the height of a digit
SHADOW_OPACITY = 0.6
FREE = 0.4  # around a line, by its height: no other one is nearer
LONG = 0.4  # of a bar, at least, by the image's width: a short one is a 1


class Strip(NamedTuple):
    """A line of letters, upright and as large as they were drawn.

    Attributes:
        mask: `PIL.Image.Image` of mode `"L"`: where it covers the ground.
        outlines: List of n arrays of shape `(points, 2)`: x and y of the
            outermost points of each letter in pixels of the mask.
        height: Float, pixels of a digit.
        pixels: `PIL.Image.Image` of what covers, if it is not of one colour.
    """

    mask: object
    outlines: list
    height: float
    pixels: object = None


def letters_strip(face, letters, spacing):
    """The strip of a line of letters.

    Args:
        face: `Face`.
        letters: Strings of one letter each, that the face has.
        spacing: Float, what is between letters beyond their usual distance, by
            the height of a digit.

    Returns:
        `Strip`.

    Example:

    >>> faces = fonts.load_faces("train", fonts.matplotlib_folder())
    >>> strip = letters_strip(faces[0][0], "2026", 0.1)
    >>> len(strip.outlines)
    4
    """
    from PIL import Image

    glyphs = [face.glyph(letter) for letter in letters]
    pens = np.cumsum([0] + [g.advance for g in glyphs[:-1]])
    pens = pens + np.round(spacing * fonts.HEIGHT * np.arange(len(glyphs)))
    lefts = [int(pen) + g.left for pen, g in zip(pens, glyphs, strict=True)]
    # A border of nothing, which what is turned fades into.
    left = min(lefts) - 1
    top = max(g.top for g in glyphs) + 1
    high = top + 1 + max(g.mask.shape[0] - g.top for g in glyphs)
    wide = 1 + max(
        x - left + g.mask.shape[1] for x, g in zip(lefts, glyphs, strict=True)
    )
    mask = np.zeros((high, wide), "uint8")
    outlines = []
    for x, glyph in zip(lefts, glyphs, strict=True):
        x, y = x - left, top - glyph.top
        rows, columns = glyph.mask.shape
        place = mask[y : y + rows, x : x + columns]
        np.maximum(place, glyph.mask, out=place)
        outlines.append(glyph.outline + (x, y))
    return Strip(Image.fromarray(mask), outlines, fonts.HEIGHT)


class Placed:
    """A strip at a random place of an image, all of its letters within.

    Args:
        strip: `Strip`.
        matrix: Array of shape `(2, 2)`, which maps x and y on the strip to
            those on the image, but for a shift.
        image_size: `(height, width)` of the image in pixels.
        generator: `numpy.random.Generator`.

    Attributes:
        box: Left, top, right and bottom of all of it in pixels of the image.
        height: Float, pixels of a digit on the image.
    """

    def __init__(self, strip, matrix, image_size, generator):
        self.strip = strip
        self.matrix = matrix
        points = np.concatenate(strip.outlines) @ matrix.T  # (points, 2)
        least, most = points.min(axis=0), points.max(axis=0)
        room = np.array(image_size[::-1]) - (most - least)
        # What is too wide, a word, begins at the left.
        self.shift = generator.random(2) * np.maximum(room, 0) - least
        self._points = points
        self.box = np.concatenate([least, most]) + np.tile(
            self.shift, 2
        )  # (4,)
        self.scale = _scale(matrix)
        self.height = strip.height * self.scale

    @property
    def boxes(self):
        """Left, top, right and bottom of each letter, (n, 4)."""
        numbers = [len(outline) for outline in self.strip.outlines]
        first = np.cumsum([0, *numbers[:-1]])
        least = np.minimum.reduceat(self._points, first)
        most = np.maximum.reduceat(self._points, first)
        return np.concatenate([least, most], axis=1) + np.tile(
            self.shift, 2
        )  # (n, 4)

    @property
    def surroundings(self):
        """The box with what must stay free of other lines around it."""
        return self.box + FREE * self.height * np.array([-1, -1, 1, 1])


class Painter:
    """Paints onto an image, with the numbers of a random generator.

    Args:
        canvas: uint8 array of shape `(H, W)` or `(H, W, 3)`, which it changes.
        generator: `numpy.random.Generator`.
        levels: `(least, most)` that a channel may have.
    """

    def __init__(self, canvas, generator, levels=(0, 255)):
        self.canvas = canvas
        self.generator = generator
        self.levels = levels

    def colour(self, level):
        """A random colour of this brightness, or the brightness itself."""
        if self.canvas.ndim == 2:
            return np.array(level, "float32")
        colour = self.generator.uniform(*self.levels, 3)
        own = colour @ LUMA
        # Towards black or white, so that its luma is the level.
        end = self.levels[int(level > own)]
        part = (level - end) / (own - end) if own != end else 1.0
        return (end + part * (colour - end)).astype("float32")

    def any_colour(self):
        """A random colour."""
        return self.colour(self.generator.uniform(*self.levels))

    def contrasting(self, level, least):
        """A random brightness that differs by at least so much, or `None`."""
        bottom, top = self.levels
        darker, brighter = level - least - bottom, top - level - least
        darker, brighter = max(darker, 0), max(brighter, 0)
        if not darker + brighter:
            return None
        chosen = self.generator.uniform(0, darker + brighter)
        return bottom + chosen if chosen < darker else top - chosen + darker

    def apart(self, least):
        """Two random brightnesses that differ by at least so much."""
        bottom, top = self.levels
        difference = self.generator.uniform(least, top - bottom)
        darker = self.generator.uniform(bottom, top - difference)
        pair = darker, darker + difference
        return pair if self.generator.random() < 0.5 else pair[::-1]

    def level(self, placed):
        """Mean and deviation of the brightness where a strip is to be."""
        left, top, right, bottom = placed.box.astype(int)
        part = self.canvas[top : bottom + 1 : 2, left : right + 1 : 2]
        if part.ndim == 3:
            part = part @ LUMA
        return part.mean(), part.std()

    def paint(self, placed, colour=None, opacity=1.0, moved=(0, 0)):
        """Paints a strip in one colour, or as its own pixels are."""
        self._paint(
            placed.strip.mask,
            placed.strip.pixels if colour is None else colour,
            placed.matrix,
            placed.shift + moved,
            opacity,
        )

    def paint_edge(self, placed, colour):
        """Paints a strip a little bolder: what shows is its outline."""
        from PIL import Image, ImageFilter

        edge = round(EDGE * placed.strip.height)
        mask = Image.fromarray(np.pad(np.asarray(placed.strip.mask), edge))
        # Where some ink is near; a maximum takes ten times as long.
        mask = mask.filter(ImageFilter.BoxBlur(edge)).point(NEAR)
        shift = placed.shift - placed.matrix @ [edge, edge]
        self._paint(mask, colour, placed.matrix, shift, 1.0)

    def paint_shadow(self, placed, colour):
        """Paints a strip a little aside."""
        moved = SHADOW * placed.height * self.generator.choice([-1, 1], 2)
        self.paint(placed, colour, SHADOW_OPACITY, moved)

    def add_board(self, placed, level):
        """A board of this brightness where a strip is to be, turned as it."""
        wide, high = placed.strip.mask.size
        margins = self.generator.uniform(*BOARD_MARGIN, 2) * placed.strip.height
        if self.generator.random() < FRAMED:
            frame = self.generator.uniform(*FRAME) * placed.strip.height
            self._rectangle(
                placed,
                -margins - frame,
                margins + frame + (wide, high),
                self.any_colour(),
            )
        self._rectangle(
            placed, -margins, margins + (wide, high), self.colour(level)
        )

    def add_bar(self):
        """A long bar across the image."""
        height, width = self.canvas.shape[:2]
        start = self.generator.random(2) * (width, height)
        turn = self.generator.uniform(0, 2 * np.pi)
        length = self.generator.uniform(LONG, 1.5) * width
        thick = np.exp(self.generator.uniform(0, np.log(0.06 * width)))
        along = np.array([np.cos(turn), np.sin(turn)])
        across = np.array([-along[1], along[0]]) * thick / 2
        end = start + along * length
        self._polygon(
            [start + across, end + across, end - across, start - across]
        )

    def add_disc(self):
        """A disc or a part of an ellipse."""
        height, width = self.canvas.shape[:2]
        middle = self.generator.random(2) * (width, height)
        radii = np.exp(self.generator.uniform(np.log(4), np.log(width / 6), 2))
        angles = np.arange(0, 2 * np.pi, 0.15)
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)  # (n, 2)
        self._polygon(middle + circle * radii)

    def _polygon(self, corners):
        """Fills a polygon, hard at its edges, in any colour."""
        from PIL import Image, ImageDraw

        corners = np.asarray(corners)
        size = self.canvas.shape[1::-1]
        first = np.floor(corners.min(axis=0)).clip(0, size).astype(int)
        last = np.ceil(corners.max(axis=0)).clip(0, size).astype(int)
        if (first >= last).any():
            return
        part = self.canvas[first[1] : last[1], first[0] : last[0]]
        image = Image.fromarray(part)
        colour = self.any_colour().astype("uint8")
        ImageDraw.Draw(image).polygon(
            (corners - first).ravel().tolist(),
            fill=tuple(colour.ravel().tolist()) if colour.ndim else int(colour),
        )
        part[:] = np.asarray(image)

    def _rectangle(self, placed, first, last, colour):
        """Fills a rectangle between two corners on a strip."""
        from PIL import Image

        # One pixel of it for several of the image is enough: it is plain.
        wide, high = np.maximum(np.round(last - first), 3).astype(int)
        mask = Image.new("L", (wide + 2, high + 2))
        mask.paste(OPAQUE, (1, 1, wide + 1, high + 1))
        shift = placed.shift + placed.matrix @ (first - 1)
        self._paint(mask, colour, placed.matrix, shift, 1.0)

    def _paint(self, mask, colour, matrix, shift, opacity):
        """Lays a colour, or a picture, over the image where a mask says."""
        from PIL import Image

        # A pixel of the image is the mean of about as many of the mask.
        scale = _scale(matrix)
        blur = self.generator.uniform(*BLUR)
        reduced = max(1, round(blur / scale))
        is_picture = isinstance(colour, Image.Image)
        if reduced > 1:
            mask = mask.reduce(reduced)
            colour = colour.reduce(reduced) if is_picture else colour
        matrix = reduced * matrix
        wide, high = mask.size
        # In plain numbers, which NumPy would take ten times as long for.
        (a, b), (c, d) = matrix.tolist()
        x, y = shift.tolist()
        height, width = self.canvas.shape[:2]
        left = max(0, math.floor(x + min(a * wide, 0) + min(b * high, 0)))
        top = max(0, math.floor(y + min(c * wide, 0) + min(d * high, 0)))
        right = min(width, math.ceil(x + max(a * wide, 0) + max(b * high, 0)))
        bottom = min(height, math.ceil(y + max(c * wide, 0) + max(d * high, 0)))
        if left >= right or top >= bottom:
            return
        x, y, area = left - x, top - y, a * d - b * c
        # From a place on the image to one on the mask.
        back = [d, -b, d * x - b * y, -c, a, a * y - c * x]
        back = [number / area for number in back]
        mask, *pictures = (
            np.asarray(
                image.transform(
                    (right - left, bottom - top),
                    Image.Transform.AFFINE,
                    back,
                    Image.Resampling.BILINEAR,
                )
            )
            for image in ([mask, colour] if is_picture else [mask])
        )
        part = self.canvas[top:bottom, left:right]
        weights = mask * np.float32(opacity / OPAQUE)
        if part.ndim == 3:
            weights = weights[..., None]
        colour = pictures[0] if is_picture else colour
        part[:] = part + (colour - part.astype("float32")) * weights + 0.5


def _scale(matrix):
    """How many times as high and wide as before, on the mean of both."""
    (a, b), (c, d) = matrix.tolist()
    return math.sqrt(abs(a * d - b * c))


def overlap(box, other):
    """Whether two boxes have a point in common."""
    return (box[:2] < other[2:]).all() and (other[:2] < box[2:]).all()
