"""Printed numbers that were cut out: of meters, labels, prices, dates."""

import io

import numpy as np

from keras_edram.checks import check_boolean
from keras_edram.datasets.fonts import load_faces
from keras_edram.datasets.grounds import load_grounds
from keras_edram.datasets.numbers_in_photos import (
    NumbersInPhotos,
    check_marks,
    random_shape,
)
from keras_edram.datasets.painting import Placed
from keras_edram.datasets.random_sequence import split_seed

MARKS = ".-/"
IMAGE_SIZE = (40, 128)
MOST_CHARACTERS = 8
# Of a number, at most: a slash must not stand upright.
TURN, SLANT = np.deg2rad(8), 0.15
MARGINS = (0.04, 0.9)  # left and right together, or above and below, by height
MOST_BOARDS = 2
# How often an image was smaller, or compressed; and how much.
COARSE, LEAST_PART = 0.5, 0.3
LEAST_PIXELS = np.array([6, 10])  # width and height of a character then
COMPRESSED, QUALITY = 0.3, (25, 90)


class PrintedNumbers(NumbersInPhotos):
    """An endless, reproducible sequence of numbers that were cut out.

    An image is what `keras_edram.read_picture` makes of a picture of a number
    and a little around it: stretched to one size, whatever its aspect. Digits
    and marks are painted as by `NumbersInPhotos`, in any colour, on a ground,
    a board or several; half of the images were smaller before, and some were
    compressed.

    Args:
        faces, grounds: As of `NumbersInPhotos`.
        image_size: Integer or `(height, width)` of an image in pixels. Defaults
            to `(40, 128)`.
        num_digits: `(least, most)` digits and marks of a number, each equally
            often; S is `most + 1`. Defaults to `(1, 8)`.
        marks: As of `NumbersInPhotos`. Defaults to `".-/"`.
        empty: Float in [0, 1], the part of the images without a number.
            Defaults to 0.05.
        reading_order, contrast, seed: As of `NumbersInPhotos`.

    Raises:
        ValueError: As of `NumbersInPhotos`.

    Example:

    >>> data = PrintedNumbers(
    ...     load_faces("train", marks=".-/"), load_grounds("train", "texture")
    ... )
    >>> images, targets = data.arrays(8)
    >>> images.shape, targets["labels"].shape
    ((8, 40, 128, 1), (8, 9))
    >>> data.class_names[10:], data.num_classes
    (('.', '-', '/'), 14)
    """

    def __init__(
        self,
        faces,
        grounds,
        *,
        image_size=IMAGE_SIZE,
        num_digits=(1, MOST_CHARACTERS),
        marks=MARKS,
        empty=0.05,
        reading_order="forward",
        contrast=60.0,
        seed=0,
    ):
        super().__init__(
            faces,
            grounds,
            image_size=image_size,
            num_digits=num_digits,
            marks=marks,
            empty=empty,
            reading_order=reading_order,
            contrast=contrast,
            seed=seed,
        )

    def _place(self, painter, strip):
        """The strip of a number, in margins of any width."""
        generator = painter.generator
        shape = random_shape(generator, TURN, SLANT)
        ends = np.concatenate(strip.outlines) @ shape.T  # (points, 2)
        size = np.ptp(ends, axis=0)
        margins = generator.uniform(*MARGINS, 2)
        scales = self.image_size[::-1] / (size + margins * strip.height)
        matrix = scales[:, None] * shape
        return Placed(strip, matrix, self.image_size, generator)

    def _add_things(self, painter, number):
        """Boards alone: a bar may be a slash, and a disc a dot."""
        for _ in range(painter.generator.integers(MOST_BOARDS + 1)):
            self._add_board(painter)

    def _draw(self, image, index):
        labels, boxes = super()._draw(image, index)
        generator = np.random.Generator(
            np.random.Philox(key=[self.seed, 1], counter=[0, 0, 0, index])
        )
        if generator.random() < COARSE:
            self._coarsen(image, boxes, generator)
        if generator.random() < COMPRESSED:
            _compress(image, int(generator.integers(*QUALITY)))
        return labels, boxes

    def _coarsen(self, image, boxes, generator):
        """Makes an image of a smaller one, not too small to be read."""
        from PIL import Image

        least = np.full(2, LEAST_PART)
        if len(boxes):
            size = (boxes[:, 2:] - boxes[:, :2]).mean(axis=0)
            least = np.clip(LEAST_PIXELS / size, LEAST_PART, 1)
        part = np.exp(generator.uniform(np.log(least), 0))
        height, width = self.image_size
        small = np.round(part * (width, height)).astype(int).tolist()
        pixels = image if self.colour else image[..., 0]
        picture = Image.fromarray(pixels)
        for size in (small, (width, height)):
            picture = picture.resize(size, Image.Resampling.BILINEAR)
        pixels[:] = picture


def printed_numbers(
    split,
    *,
    fonts=None,
    grounds="texture",
    colour=False,
    marks=MARKS,
    seed=0,
    **options,
):
    """The printed numbers of one split.

    Designs of fonts and grounds of the splits are apart, by their names, as of
    `numbers_in_photos`: a test is on faces that no training has seen.

    Args:
        split: `"train"`, `"validation"` or `"test"`.
        fonts: Path of a folder of font files, or several. By default
            matplotlib's own and those of the system.
        grounds: As of `numbers_in_photos`. Defaults to `"texture"`.
        colour: Boolean, whether images have three channels; otherwise one.
            Defaults to False.
        marks: As of `PrintedNumbers`; faces without them are left out.
        seed: Non-negative integer.
        **options: Further arguments of `PrintedNumbers`.

    Returns:
        `PrintedNumbers`.

    Raises:
        ValueError: For an unknown split, options out of range, or fonts or
            grounds that are not there, or none of this split.

    Example:

    >>> test = printed_numbers("test", image_size=(48, 160))
    >>> test.arrays(10)[0].shape
    (10, 48, 160, 1)
    """
    seed = split_seed(split, seed)
    check_boolean(colour, "colour")
    check_marks(marks)
    return PrintedNumbers(
        load_faces(split, fonts, marks),
        load_grounds(split, grounds, colour=colour),
        marks=marks,
        seed=seed,
        **options,
    )


def _compress(image, quality):
    """What JPEG makes of an image."""
    from PIL import Image

    pixels = image[..., 0] if image.shape[2] == 1 else image
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        pixels[:] = Image.open(file)
