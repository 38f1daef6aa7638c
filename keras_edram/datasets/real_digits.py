"""Numbers of real digits, each cut out of a photograph of its own.

Letters in shapes: h w of a strip.
"""

from typing import NamedTuple

import numpy as np

from keras_edram.datasets import house_numbers
from keras_edram.datasets.digits import DIGIT_NAMES
from keras_edram.datasets.painting import LUMA, Strip

INVERTED = 0.25  # of the numbers
MARGIN = 0.2  # of what is around a number, by its height
BESIDE = 0.04  # of these, at each side of a digit: there are other digits
GAIN = (0.7, 1.3)
LEVEL = (70, 185)  # of the middle of a number's brightness
LEAST_DEVIATION = 25  # of a digit that is used: others are hard to read
# The outermost points of a digit in half its box: digits are round.
ROUNDED = np.array(
    [
        *([0.6, -1], [1, -0.6], [1, 0.6], [0.6, 1]),
        *([-0.6, 1], [-1, 0.6], [-1, -0.6], [-0.6, -1]),
    ]
)


class RealDigits(NamedTuple):
    """Real digits, with what is around them.

    Attributes:
        images: uint8 array of shape `(n, 32, 32, 3)`: squares as high as their
            digits.
        labels: Integer array of shape `(n,)`, 0 to 9.
        aspects: Float array of shape `(n,)`, width by height of a digit.
    """

    images: np.ndarray
    labels: np.ndarray
    aspects: np.ndarray

    def strip(self, digits, generator, levels, contrast, colour):
        """Some of the digits beside each other, in alike colours.

        Args:
            digits: Integers from 0 to 9, the number.
            generator: `np.random.Generator`.
            levels: `(least, most)` brightness of a pixel.
            contrast: Float, the least difference of light and dark ones.
            colour: Boolean, whether the strip has colours.

        Returns:
            `Strip`.
        """
        from PIL import Image

        chosen = [self._one_of(digit, generator) for digit in digits]
        pixels, _ = house_numbers.alike(self.images[chosen].astype("float64"))
        side = pixels.shape[1]
        widths = self.aspects[chosen] * side
        halves = np.minimum(
            np.ceil(widths / 2 + generator.uniform(0, BESIDE) * side), side // 2
        ).astype(int)
        pixels = np.concatenate(
            [
                digit[:, side // 2 - half : side // 2 + half]
                for digit, half in zip(pixels, halves, strict=True)
            ],
            axis=1,
        )  # (h, w, 3)
        if not colour:
            pixels = pixels @ LUMA  # (h, w)
        spread = np.diff(np.quantile(pixels, (0.1, 0.9)))[0]
        gain = max(generator.uniform(*GAIN), contrast / (spread + 1))
        if generator.random() < INVERTED:
            gain = -gain
        pixels = gain * (pixels - pixels.mean()) + generator.uniform(*LEVEL)
        margin = round(MARGIN * side)
        pixels = np.pad(
            pixels.clip(*levels).astype("uint8"),
            ((margin, margin), (margin, margin), (0, 0))[: pixels.ndim],
            mode="edge",
        )
        mask = _fading(pixels.shape[:2], generator.uniform(1, margin))
        middles = margin + np.cumsum(2 * halves) - halves
        outlines = [
            ROUNDED * (width / 2, side / 2) + (middle, margin + side / 2)
            for width, middle in zip(widths, middles, strict=True)
        ]
        return Strip(
            Image.fromarray(mask), outlines, side, Image.fromarray(pixels)
        )

    def _one_of(self, digit, generator):
        """The index of one that shows this digit."""
        indices = np.flatnonzero(self.labels == digit)
        return indices[generator.integers(len(indices))]


def load_real_digits(split, path):
    """Real digits of one split that can be read.

    Args:
        split: `"train"`, `"validation"` or `"test"`: those of SVHN's pictures
            below 3300, to 3599, and from 3600 on.
        path: Path of a file as `keras_edram.datasets.house_numbers` describes
            it, the boxes beside it.

    Returns:
        `RealDigits`.

    Raises:
        ValueError: If one of the files is missing or broken, or some digit has
            no crop.
    """
    images, labels, aspects = house_numbers.read_split_digits(path, split)
    deviation = (images @ LUMA).std(axis=(1, 2))
    usable = (deviation >= LEAST_DEVIATION) & (aspects <= 1)
    digits = RealDigits(images[usable], labels[usable], aspects[usable])
    if len(set(digits.labels)) < len(DIGIT_NAMES):
        raise ValueError(
            "The file of real digits must have some of each of the ten. "
            f"Received: crops={str(path)!r}"
        )
    return digits


def _fading(size, margin):
    """A mask that is opaque but in a margin at its edges."""
    rows, columns = (
        np.minimum(np.arange(side) + 0.5, np.arange(side)[::-1] + 0.5)
        for side in size
    )
    nearest = np.minimum(rows[:, None], columns)
    return (255 * (nearest / margin).clip(0, 1)).astype("uint8")
