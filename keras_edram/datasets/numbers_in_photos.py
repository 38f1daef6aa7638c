"""Numbers in photographs: small, anywhere, in any writing, on any ground.

Letters in shapes: S targets; h w of a mask, a strip or a part of an image.
"""

import hashlib
import itertools
import math

import keras
import numpy as np

from keras_edram import geometry
from keras_edram.checks import (
    check_boolean,
    check_choice,
    check_integers,
    check_number,
    check_size,
)
from keras_edram.datasets.digits import DIGIT_NAMES
from keras_edram.datasets.fonts import load_faces
from keras_edram.datasets.grounds import load_grounds
from keras_edram.datasets.painting import (
    Painter,
    Placed,
    letters_strip,
    overlap,
)
from keras_edram.datasets.random_sequence import RandomSequence, split_seed
from keras_edram.datasets.real_digits import RealDigits, load_real_digits
from keras_edram.reading_order import READING_ORDERS, end_sequences

LEAST_SIDE = 32  # pixels of an image
# There is no end of images; a pass, as others count, is so many.
IMAGES_A_PASS = 2_000
# Of a ground: the part of the largest window that is shown, and its look.
ZOOM = (0.45, 1.0)
GAIN, BIAS = (0.5, 1.2), 50
TINT = 0.3  # how much of the bias is of each channel alone
# Of a number: the least and the most of each.
TURN = np.deg2rad(12)
SLANT = 0.25
STRETCH = (0.8, 1.3)
SPACING = (-0.02, 0.25)  # between digits, by their height
TALLEST = 0.6  # of the image's height
OPACITY = (0.85, 1.0)
# How often a number is on a board, or has an outline or a shadow.
ON_BOARD, WITH_OUTLINE, WITH_SHADOW = 0.35, 0.1, 0.15
# A ground of this deviation takes as much more contrast.
UNREST = 1.2
# Of other things: their number, and the height of letters by the image's.
MOST_THINGS = 7
LETTER_HEIGHT = (0.03, 0.14)
MOST_LETTERS = 7
PLACES_TRIED = 4
# Deviations of the noise of a whole image: most have little.
NOISE = (0, 0, 1.5, 3, 5, 8)
NOISE_MOST = 3  # deviations
NOISE_ROOM = 64  # pixels by which a plane of noise is larger than an image
REAL = 0.5  # of the numbers are of real digits, if there are any
# Of the numbers that have room for them, those with marks, and with a sign.
MARKED, SIGNED = 0.6, 0.15
MARK_WIDTH = 0.35  # of the window of a mark, at least, by its height


class NumbersInPhotos(RandomSequence):
    """An endless, reproducible sequence of photographs with a number or none.

    An image is a random window of a ground, brighter or darker, with words,
    bars, discs and boards, and on top of it, anywhere, a number: digits of one
    face of a font, or real ones, of any colour, stretched, slanted and turned
    a little, some with an outline or a shadow, some on a board. All of the
    image may be noisy. The digits stand out from what is around them by
    `contrast`, and more where that is restless; where it cannot be had, they
    are on a board. Words have no digits, no letter that could be taken for one
    (I, O, S, ...), and do not touch the number.

    The truth of an image are its digits from left to right, or `"backward"`,
    then the label after that of the last class; and the windows of the boxes
    around their ink. Those of marks are at least as high as the digits beside,
    or a dot and a dash would look alike.

    What an image depends on, see `RandomSequence`; here ground, face
    and digits are drawn anew for each image, so that a pass, of `IMAGES_A_PASS`
    images, is no more than a number.

    Args:
        faces: List of lists of `Face`, as from `load_faces`; each inner list
            is taken equally often.
        grounds: List of lists of uint8 arrays of shape `(h, w)`, or
            `(h, w, 3)` for images in colour, as from `load_grounds`; each
            inner list is taken equally often.
        crops: `RealDigits`, of which half of the numbers are; `None` for faces
            alone.
        image_size: Integer or `(height, width)` of an image in pixels. Defaults
            to `(480, 640)`.
        num_digits: `(least, most)` digits of a number, with its marks, each
            equally often; S is `most + 1`. Defaults to `(1, 4)`.
        marks: String of the characters that may stand before and between the
            digits, never last; their labels follow on those of the digits, as
            of `".-/"` 10, 11 and 12. Defaults to none.
        empty: Float in [0, 1], the part of the images without a number.
            Defaults to 0.1.
        reading_order: `"forward"` or `"backward"`. Defaults to `"forward"`.
        width: `(least, most)` of a number by the image's width, in (0, 0.9];
            the logarithm is uniform. A number that would be higher than 0.6 of
            the image is smaller. Defaults to `(0.06, 0.35)`.
        contrast: Float in [10, 120], the least difference of the brightness
            of digits and ground, out of 255. Defaults to 60.
        seed: Non-negative integer.

    Attributes:
        fingerprint: String, another one for other faces, grounds or crops.

    Raises:
        ValueError: For options out of range, no faces or such without the
            marks, no grounds, or marks beside crops.

    Example:

    >>> data = NumbersInPhotos(
    ...     load_faces("train"), load_grounds("train", "texture"), seed=1
    ... )
    >>> images, targets = data.arrays(8)
    >>> images.shape
    (8, 480, 640, 1)
    >>> targets["transforms"].shape
    (8, 5, 2, 3)
    """

    def __init__(
        self,
        faces,
        grounds,
        crops=None,
        *,
        image_size=(480, 640),
        num_digits=(1, 4),
        marks="",
        empty=0.1,
        reading_order="forward",
        width=(0.06, 0.35),
        contrast=60.0,
        seed=0,
    ):
        self.image_size = check_size(image_size, "image_size")
        if min(self.image_size) < LEAST_SIDE:
            raise ValueError(
                f"An image must have at least {LEAST_SIDE} pixels a side. "
                f"Received: image_size={image_size!r}"
            )
        self.num_digits = check_integers(num_digits, 2, "num_digits")
        if self.num_digits[0] > self.num_digits[1]:
            raise ValueError(
                "`num_digits` must be two integers in order. "
                f"Received: num_digits={num_digits!r}"
            )
        self.empty = check_number(empty, "empty", maximum=1)
        check_choice(reading_order, READING_ORDERS, "reading_order")
        self.reading_order = reading_order
        self.width = _check_range(width, "width", 0.9)
        self.contrast = check_number(contrast, "contrast", 10, 120)
        self.faces = _check_lists(faces, "faces")
        self.grounds = _check_lists(grounds, "grounds")
        self.crops = None if crops is None else RealDigits(*crops)
        self.marks = check_marks(marks)
        _check_can_be_drawn(marks, crops, self.faces)
        channels = set(map(_channels, itertools.chain(*self.grounds)))
        if channels not in ({1}, {3}):
            raise ValueError(
                "`grounds` must be uint8 arrays of shape (h, w), or all of "
                f"(h, w, 3). Received: grounds with {sorted(channels)} channels"
            )
        self.colour = channels == {3}
        super().__init__(
            num_pictures=IMAGES_A_PASS,
            image_shape=(*self.image_size, *channels),
            num_targets=self.num_digits[1] + 1,
            class_names=(*DIGIT_NAMES, *self.marks),
            terminal=True,
            seed=seed,
        )
        self.fingerprint = self._fingerprint()
        self._noise = _noise_planes(self.image_shape)

    def _compose(self, start, stop):
        count, most = stop - start, self.num_digits[1]
        images = np.empty((count, *self.image_shape), "uint8")
        labels = np.zeros((count, most), "int64")
        boxes = np.zeros((count, most, 4))
        boxes[..., 2:] = 1  # what is not there is not degenerate
        counts = np.zeros(count, "int64")
        for row, index in enumerate(range(start, stop)):
            digits, of_digits = self._draw(images[row], index)
            counts[row] = len(digits)
            labels[row, : len(digits)] = digits
            boxes[row, : len(digits)] = of_digits
        transforms = keras.ops.convert_to_numpy(
            geometry.boxes_to_transforms(
                boxes, box_format="xyxy", image_size=self.image_size
            )
        )  # (n, S - 1, 2, 3)
        return images, *end_sequences(
            labels,
            transforms,
            counts,
            len(self.class_names),
            self.reading_order,
        )

    def _draw(self, image, index):
        """Fills an image; the digits of its number, and their boxes (n, 4)."""
        generator = np.random.Generator(
            np.random.Philox(key=[self.seed, 0], counter=[0, 0, 0, index])
        )
        deviation = NOISE[generator.integers(len(NOISE))]
        # What is drawn stays in reach of the noise, whose sum is not clipped.
        least = NOISE_MOST * deviation
        canvas = image if self.colour else image[..., 0]
        canvas[:] = self._ground(generator, least)
        painter = Painter(canvas, generator, (least, 255 - least))
        digits, number = [], None
        if generator.random() >= self.empty:
            digits, strip = self._number(generator, painter.levels)
            number = self._place(painter, strip)
        self._add_things(painter, number)
        boxes = np.zeros((0, 4))
        if number is not None:
            self._add_number(painter, number)
            boxes = number.boxes
        if deviation:
            plane = self._noise[deviation]
            top, left = generator.integers(NOISE_ROOM, size=2)
            height, width = self.image_size
            canvas += plane[top : top + height, left : left + width]
        return digits, boxes

    def _ground(self, generator, least):
        """A window of a random ground in the size of the image."""
        from PIL import Image

        height, width = self.image_size
        ground = _choose(generator, _choose(generator, self.grounds))
        high, wide = ground.shape[:2]
        largest = min(high / height, wide / width)
        zoom = _log_uniform(generator, ZOOM) * largest
        x = generator.uniform(0, wide - zoom * width)
        y = generator.uniform(0, high - zoom * height)
        window = ground[
            int(y) : int(np.ceil(y + zoom * height)),
            int(x) : int(np.ceil(x + zoom * width)),
        ]
        if generator.random() < 0.5:
            window = window[:, ::-1]
        gain = _log_uniform(generator, GAIN)
        bias = generator.uniform(-BIAS, BIAS, 1 + 2 * self.colour)
        bias = bias.mean() + TINT * (bias - bias.mean())
        table = gain * (np.arange(256) - 128.0) + 128 + bias[:, None]
        table = table.clip(least, 255 - least).astype("uint8")
        # Before it is enlarged, which most are.
        image = Image.fromarray(np.ascontiguousarray(window)).point(
            table.ravel().tolist()
        )
        return np.asarray(
            image.resize((width, height), Image.Resampling.BILINEAR)
        )

    def _number(self, generator, levels):
        """Digits and their strip."""
        least, most = self.num_digits
        count = generator.integers(least, most + 1)
        labels = generator.integers(len(DIGIT_NAMES), size=count)
        if self.crops is not None and generator.random() < REAL:
            strip = self.crops.strip(
                labels, generator, levels, self.contrast, self.colour
            )
            return labels, strip
        if self.marks:
            self._put_marks(labels, generator)
        face = _choose(generator, _choose(generator, self.faces))
        text = "".join(self.class_names[label] for label in labels)
        strip = letters_strip(face, text, generator.uniform(*SPACING))
        if self.marks:
            strip = _with_high_marks(strip, labels >= len(DIGIT_NAMES))
        return labels, strip

    def _put_marks(self, labels, generator):
        """Makes some of a number's digits marks, none of them the last."""
        among = len(DIGIT_NAMES), len(self.class_names)
        if len(labels) > 1 and generator.random() < SIGNED:
            labels[0] = generator.integers(*among)
        if len(labels) > 2 and generator.random() < MARKED:
            # Not beside each other, nor beside the sign.
            first, step = generator.integers((1, 2), (len(labels) - 1, 6))
            first += labels[0] >= among[0] and first == 1
            for place in range(first, len(labels) - 1, step):
                labels[place] = generator.integers(*among)

    def _place(self, painter, strip):
        """The strip of a number anywhere on the image."""
        generator = painter.generator
        height, width = self.image_size
        shape = random_shape(generator, TURN, SLANT)
        ends = np.concatenate(strip.outlines) @ shape.T  # (points, 2)
        wide, high = np.ptp(ends, axis=0)
        scale = min(
            _log_uniform(generator, self.width) * width / wide,
            TALLEST * height / high,
        )
        return Placed(strip, scale * shape, self.image_size, generator)

    def _add_things(self, painter, number):
        """Words, boards, bars and discs, none of them too near to a number."""
        generator = painter.generator
        taken = []
        if number is not None:
            taken.append(number.surroundings)
        for _ in range(generator.integers(MOST_THINGS + 1)):
            kind = generator.random()
            if kind < 0.5:
                self._add_word(painter, taken)
            elif kind < 0.75:
                painter.add_bar()
            elif kind < 0.9:
                self._add_board(painter)
            else:
                painter.add_disc()

    def _add_word(self, painter, taken):
        """A word on the ground or on a board, where nothing is yet."""
        generator = painter.generator
        face = _choose(generator, _choose(generator, self.faces))
        if not face.letters:
            return
        letters = [
            _choose(generator, face.letters)
            for _ in range(generator.integers(1, MOST_LETTERS + 1))
        ]
        strip = letters_strip(face, letters, generator.uniform(*SPACING))
        scale = _log_uniform(generator, LETTER_HEIGHT) * self.image_size[0]
        scale /= strip.height
        matrix = scale * random_shape(generator, TURN, SLANT)
        for _ in range(PLACES_TRIED):
            word = Placed(strip, matrix, self.image_size, generator)
            around = word.surroundings
            if not any(overlap(around, other) for other in taken):
                taken.append(around)
                if generator.random() < ON_BOARD:
                    level = generator.uniform(*painter.levels)
                    painter.add_board(word, level)
                painter.paint(word, painter.any_colour())
                return

    def _add_board(self, painter):
        """An empty board, or one that shows another ground."""
        generator = painter.generator
        height, width = self.image_size
        size = np.exp(generator.uniform(np.log(0.08), np.log(0.7), 2))
        wide, high = np.maximum(size * (width, height), 4).astype(int)
        left = generator.integers(-wide // 2, width - wide // 2)
        top = generator.integers(-high // 2, height - high // 2)
        first_y, first_x = max(top, 0), max(left, 0)
        part = painter.canvas[first_y : top + high, first_x : left + wide]
        ground = _choose(generator, _choose(generator, self.grounds))
        if (
            generator.random() < 0.5
            and part.shape[0] < ground.shape[0]
            and part.shape[1] < ground.shape[1]
        ):
            y = generator.integers(ground.shape[0] - part.shape[0])
            x = generator.integers(ground.shape[1] - part.shape[1])
            part[:] = ground[y : y + part.shape[0], x : x + part.shape[1]].clip(
                *painter.levels
            )
        else:
            part[:] = painter.any_colour()

    def _add_number(self, painter, number):
        """Paints a number so that it can be read."""
        generator = painter.generator
        strip = number.strip
        if strip.pixels is not None:
            painter.paint(number)
            return
        opacity = generator.uniform(*OPACITY)
        needed = self.contrast / opacity
        level, unrest = painter.level(number)
        ink = painter.contrasting(level, needed + UNREST * unrest)
        if ink is None or generator.random() < ON_BOARD:
            level, ink = painter.apart(needed)
            painter.add_board(number, level)
        style = generator.random()
        colour = painter.colour(ink)
        edge = painter.contrasting(ink, self.contrast)
        if style < WITH_OUTLINE and edge is not None:
            painter.paint_edge(number, painter.colour(edge))
        elif WITH_OUTLINE <= style < WITH_OUTLINE + WITH_SHADOW:
            # On the other side of the ground than the ink.
            shadow = painter.levels[int(ink < level)]
            painter.paint_shadow(number, painter.colour(shadow))
        painter.paint(number, colour, opacity)

    def _fingerprint(self):
        """A string that says of what images are composed."""
        digest = hashlib.sha256()
        for face in itertools.chain(*self.faces):
            digest.update(face.path.read_bytes())
        arrays = list(itertools.chain(*self.grounds))
        arrays += [] if self.crops is None else list(self.crops)
        for array in arrays:
            digest.update(f"{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]


def numbers_in_photos(
    split,
    *,
    fonts=None,
    grounds=None,
    crops=None,
    colour=False,
    marks="",
    seed=0,
    **options,
):
    """The photographs with numbers of one split.

    Grounds, designs of fonts and real digits of the splits are apart, by their
    names: which split has one is the same on every machine, see `load_faces`
    and `load_grounds`. What there is depends on the machine, and with it the
    images: `fingerprint` says whether two have the same.

    Args:
        split: `"train"`, `"validation"` or `"test"`.
        fonts: Path of a folder of font files, or several. By default
            matplotlib's own and those of the system.
        grounds: `"photographs"`, `"cifar10"`, `"texture"`, or paths of folders
            of photographs; one or several. By default texture, and the
            photographs of scikit-image where it is installed.
        crops: Path of a file of SVHN's digits, as
            `keras_edram.datasets.house_numbers` describes it, the boxes beside
            it: half of the numbers are of them. By default all are written in
            fonts, whose terms are free.
        colour: Boolean, whether images have three channels; otherwise one.
            Defaults to False.
        marks: See `NumbersInPhotos`; faces without them are left out.
        seed: Non-negative integer.
        **options: Further arguments of `NumbersInPhotos`.

    Returns:
        `NumbersInPhotos`.

    Raises:
        ValueError: For an unknown split, options out of range, fonts, grounds
            or crops that are not there, or none of this split.
        RuntimeError: If TensorFlow Datasets has no CIFAR-10 and cannot get it.

    Example:

    >>> test = numbers_in_photos("test", image_size=(240, 320))
    >>> test.arrays(10)[0].shape
    (10, 240, 320, 1)

    Reference:
        - Gupta, Vedaldi, Zisserman, "Synthetic Data for Text Localisation in
          Natural Images", 2016, who put words into photographs.
    """
    seed = split_seed(split, seed)
    check_boolean(colour, "colour")
    check_marks(marks)
    return NumbersInPhotos(
        load_faces(split, fonts, marks),
        load_grounds(split, grounds, colour=colour),
        None if crops is None else load_real_digits(split, crops),
        marks=marks,
        seed=seed,
        **options,
    )


def _with_high_marks(strip, is_mark):
    """A strip whose marks have outlines as high as those of its digits."""
    digits = np.concatenate(
        [
            outline
            for outline, mark in zip(strip.outlines, is_mark, strict=True)
            if not mark
        ]
    )  # (points, 2)
    top, bottom = digits[:, 1].min(), digits[:, 1].max()
    outlines = []
    for outline, mark in zip(strip.outlines, is_mark, strict=True):
        if mark:
            left, right = outline[:, 0].min(), outline[:, 0].max()
            more = max(0, MARK_WIDTH * (bottom - top) - (right - left)) / 2
            left, right = left - more, right + more
            cell = [[left, top], [right, top], [right, bottom], [left, bottom]]
            outline = np.concatenate([outline, cell])  # (points, 2)
        outlines.append(outline)
    return strip._replace(outlines=outlines)


def random_shape(generator, turn, slant):
    """A matrix that stretches, and slants and turns by at most, (2, 2)."""
    stretch = _log_uniform(generator, STRETCH)
    slant = generator.uniform(-slant, slant)
    turn = generator.uniform(-turn, turn)
    cosine, sine = math.cos(turn), math.sin(turn)
    # The turn, times ((stretch, slant), (0, 1)).
    return np.array(
        [
            [cosine * stretch, cosine * slant - sine],
            [sine * stretch, sine * slant + cosine],
        ]
    )


def _noise_planes(shape):
    """Noise of each deviation, to be added in uint8, where -1 is 255."""
    generator = np.random.default_rng(0)
    plane = generator.normal(
        size=(shape[0] + NOISE_ROOM, shape[1] + NOISE_ROOM, *shape[2:])
    ).astype("float32")
    plane = plane.clip(-NOISE_MOST, NOISE_MOST)
    if shape[2] == 1:
        plane = plane[..., 0]
    return {
        deviation: (plane * deviation).astype("int8").view("uint8")
        for deviation in NOISE
        if deviation
    }


def _log_uniform(generator, limits):
    """A number between two, whose logarithm is uniform."""
    return math.exp(generator.uniform(math.log(limits[0]), math.log(limits[1])))


def _choose(generator, choices):
    return choices[generator.integers(len(choices))]


def _channels(ground):
    """Of a ground: 1 or 3, or `None` if it is none."""
    ground = np.asarray(ground)
    if ground.dtype == np.uint8 and ground.ndim == 2 and ground.size:
        return 1
    if ground.dtype == np.uint8 and ground.ndim == 3 and ground.size:
        return ground.shape[2]
    return 0


def check_marks(marks):
    """The marks, if they are some that digits can have.

    Args:
        marks: String.

    Raises:
        ValueError: Unless all are other characters than digits, each once.
    """
    if (
        not isinstance(marks, str)
        or len(set(marks)) < len(marks)
        or any(mark in DIGIT_NAMES or mark.isspace() for mark in marks)
    ):
        raise ValueError(
            "`marks` must be a string of characters that are no digits, each "
            f"of them once. Received: marks={marks!r}"
        )
    return marks


def _check_can_be_drawn(marks, crops, faces):
    if marks and crops is not None:
        raise ValueError(
            "`marks` are drawn in fonts: there must be no `crops` beside them. "
            f"Received: marks={marks!r} and crops"
        )
    for face in itertools.chain(*faces):
        if not face.has_marks(marks):
            raise ValueError(
                "Each of the `faces` must have the marks. Received: "
                f"marks={marks!r}, a face of {face.path.name} without"
            )


def _check_lists(lists, name):
    """Lists of lists as tuples, none of them empty."""
    try:
        found = tuple(tuple(inner) for inner in lists)
    except TypeError:
        found = ()
    if not found or not all(found):
        raise ValueError(
            f"`{name}` must be lists of at least one each, at least one list. "
            f"Received: {name} of {len(found)} lists"
        )
    return found


def _check_range(limits, name, maximum):
    """Two numbers in order, above zero."""
    try:
        least, most = (
            check_number(limit, name, 0, maximum, above=True)
            for limit in limits
        )
    except (TypeError, ValueError):
        least, most = 1, 0
    if least > most:
        raise ValueError(
            f"`{name}` must be two numbers in order, above 0 and at most "
            f"{maximum}. Received: {name}={limits!r}"
        )
    return least, most
