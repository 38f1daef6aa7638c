"""Cluttered MNIST: digits somewhere on a canvas, among pieces of others."""

import numpy as np

from keras_edram.checks import (
    check_choice,
    check_integer,
    check_integers,
    check_number,
    check_size,
)
from keras_edram.datasets.digits import (
    DIGIT_NAMES,
    Digits,
    load_digits,
    with_copies,
)
from keras_edram.datasets.random_sequence import (
    SPLITS,
    RandomSequence,
    split_seed,
    transform_rows,
    windows,
)
from keras_edram.reading_order import (
    READING_ORDERS,
    end_sequences,
)

PROTOCOLS = ("held_out", "released_script")
# Where each protocol takes the digits of a split from, and its distractors.
PROTOCOL_DIGITS = {
    "held_out": {split: split for split in SPLITS},
    "released_script": {split: "train" for split in SPLITS},
}
PROTOCOL_DISTRACTORS = {"held_out": 8, "released_script": 5}
# Candidates for places of several digits, the first without overlap is taken:
# three digits of 28 on a canvas of 100 fail all of them once in 10,000 times.
NUM_PLACEMENTS = 64


class ClutteredMNIST(RandomSequence):
    """An endless, reproducible sequence of cluttered images with their truth.

    On an empty canvas, `num_distractors` pieces of random digits are added at
    random places, each a random square window of `distractor_size` pixels,
    possibly blank; then the whole digits, unscaled, at random places. Sums are
    clipped at white. Several digits do not overlap. They are read from left to
    right, or "backward"; where their number varies, the label 10 ends them.

    What an image depends on, see `RandomSequence`.

    Args:
        digits: `Digits` to compose from.
        image_size: Integer or `(height, width)` of the canvas in pixels.
            Defaults to 100.
        num_digits: Integer, whole digits on an image (S), or `(least, most)`:
            each number between them equally often, with a terminal label after
            the last (S is `most + 1`). Defaults to 1.
        reading_order: `"forward"` or `"backward"`. Defaults to `"forward"`.
        num_distractors: Integer. Defaults to 8, which belongs to 100x100; the
            field takes 4 for 60x60.
        distractor_size: Integer, side of a distractor. Defaults to 8.
        seed: Non-negative integer.

    Raises:
        ValueError: For counts that are none, or sizes that do not fit.

    Example:

    >>> cluttered = ClutteredMNIST(load_digits("bundled", "train"), seed=1)
    >>> images, targets = cluttered.arrays(64)
    >>> images.shape
    (64, 100, 100, 1)
    >>> targets["transforms"].shape
    (64, 1, 2, 3)

    Reference:
        - Mnih et al., "Recurrent Models of Visual Attention", 2014; the
          parameters are those of the authors' published generator.
    """

    def __init__(
        self,
        digits,
        *,
        image_size=100,
        num_digits=1,
        reading_order="forward",
        num_distractors=8,
        distractor_size=8,
        seed=0,
    ):
        self.digits = Digits(*digits)
        self.image_size = check_size(image_size, "image_size")
        terminal = np.ndim(num_digits) > 0  # `(least, most)`
        if terminal:
            least, most = check_integers(num_digits, 2, "num_digits")
        else:
            least = most = check_integer(num_digits, "num_digits")
        if least > most:
            raise ValueError(
                "`num_digits` must be two integers in order. "
                f"Received: num_digits={num_digits!r}"
            )
        self.num_digits = (least, most)
        check_choice(reading_order, READING_ORDERS, "reading_order")
        self.reading_order = reading_order
        self.num_distractors = check_integer(
            num_distractors, "num_distractors", 0
        )
        side = self.digits.images.shape[1]
        # A piece of a digit is no larger than the digit.
        self.distractor_size = check_integer(
            distractor_size, "distractor_size", 1, side
        )
        rows, columns = (length // side for length in self.image_size)
        if rows * columns < most:
            raise ValueError(
                f"{most} digits of {side} pixels must fit the image side by "
                f"side. Received: image_size={image_size}"
            )
        super().__init__(
            num_pictures=len(self.digits.images),
            image_shape=(*self.image_size, 1),
            num_targets=most + terminal,
            pictures_per_image=most,
            class_names=DIGIT_NAMES,
            terminal=terminal,
            seed=seed,
        )
        # Where a digit may lie, its transform is known beforehand.
        self._x_rows, self._y_rows = transform_rows(
            (side, side), self.image_size
        )

    def _compose(self, start, stop):
        count = stop - start
        height, width = self.image_size
        side = self.digits.images.shape[1]
        size = self.distractor_size
        least, most = self.num_digits
        placements = 1 if most == 1 else NUM_PLACEMENTS
        needed = 5 * self.num_distractors + 2 * placements * most
        needed += most > least
        numbers = self._uniform(start, count, needed)
        canvas = np.zeros((count, height, width), "uint8")

        def choose(shape, choices):
            """Uniform integers of shape (count, *shape) below `choices`."""
            nonlocal numbers
            taken = int(np.prod(shape))
            chosen, numbers = numbers[:, :taken], numbers[:, taken:]
            chosen = (chosen * choices).astype("int64")
            return chosen.reshape(count, *shape)  # (n, *shape)

        shape = (self.num_distractors,)
        piece = choose(shape, len(self.digits.images))
        piece_y = choose(shape, side - size + 1)
        piece_x = choose(shape, side - size + 1)
        pieces = windows(self.digits.images, (size, size))[
            piece, piece_y, piece_x
        ]
        y = choose(shape, height - size + 1)
        x = choose(shape, width - size + 1)
        for i in range(self.num_distractors):
            _add_clipped(canvas, pieces[:, i], y[:, i], x[:, i])

        shape = (placements, most)
        y = choose(shape, height - side + 1)
        x = choose(shape, width - side + 1)
        counts = np.full(count, most)
        if most > least:
            counts = least + choose((), most - least + 1)
        y, x = _first_without_overlap(
            y, x, counts, side, self.image_size
        )  # (n, most)
        absent = np.arange(most) >= counts[:, None]
        order = np.argsort(np.where(absent, width, x), axis=1, kind="stable")
        y = np.take_along_axis(y, order, axis=1)
        x = np.take_along_axis(x, order, axis=1)
        chosen = self._order(start, count)
        for i in range(most):
            digits = self.digits.images[chosen[:, i]]
            digits[absent[:, i]] = 0
            _add_clipped(canvas, digits, y[:, i], x[:, i])
        labels = self.digits.labels[chosen]
        transforms = np.stack(
            [self._x_rows[x], self._y_rows[y]], axis=-2
        )  # (n, most, 2, 3)
        labels, transforms = end_sequences(
            labels, transforms, counts, len(DIGIT_NAMES), self.reading_order
        )
        targets = self.num_targets
        return canvas[..., None], labels[:, :targets], transforms[:, :targets]


def cluttered_mnist(
    split,
    *,
    source="bundled",
    protocol="held_out",
    digit_copies=0,
    density=None,
    seed=0,
    **options,
):
    """The cluttered images of one split, under a named protocol.

    Args:
        split: `"train"`, `"validation"` or `"test"`.
        source: `"bundled"` or `"tfds"`, see `load_digits`.
        protocol: `"held_out"`: each split has digits of its own, the test
            images only MNIST's test digits, and 8 distractors. Or
            `"released_script"`, what the paper's authors published: 5
            distractors, and training digits in all splits, which says little
            of digits that were never seen. Figures of the two must not be
            mixed.
        digit_copies: Integer, varied copies of each training digit, see
            `digits.with_copies`; those of other splits stay as they are.
            Defaults to 0.
        density: Number, distractors on 100x100 pixels of the canvas, so that
            one of any `image_size` is as cluttered; the protocol's number of
            them belongs to 100x100. By default that number, whatever the size.
        seed: Non-negative integer.
        **options: Arguments of `ClutteredMNIST`.

    Returns:
        `ClutteredMNIST`.

    Raises:
        ValueError: For an unknown split, source or protocol, a number of
            copies or a density that is none, or both `density` and
            `num_distractors`.

    Example:

    >>> test = cluttered_mnist("test", source="bundled")
    >>> test.arrays(1000)[0].shape
    (1000, 100, 100, 1)
    >>> cluttered_mnist("test", image_size=200, density=8).num_distractors
    32
    """
    check_choice(protocol, PROTOCOLS, "protocol")
    check_integer(digit_copies, "digit_copies", 0)
    seed = split_seed(split, seed)
    if density is not None:
        options["num_distractors"] = _number_of(density, **options)
    options.setdefault("num_distractors", PROTOCOL_DISTRACTORS[protocol])
    digits = load_digits(source, PROTOCOL_DIGITS[protocol][split])
    if split == "train":
        digits = with_copies(digits, digit_copies, seed)
    return ClutteredMNIST(digits, seed=seed, **options)


def _number_of(density, image_size=100, num_distractors=None, **_):
    """Distractors of a canvas, `density` of them on 100x100 pixels."""
    if num_distractors is not None:
        raise ValueError(
            "`density` says how many distractors there are, so "
            f"`num_distractors` cannot. Received: density={density!r}, "
            f"num_distractors={num_distractors!r}"
        )
    height, width = check_size(image_size, "image_size")
    return round(check_number(density, "density") * height * width / 100**2)


def _add_clipped(canvas, patches, y, x):
    """Adds one patch to each canvas at (y, x), uint8, clipped at 255."""
    places = windows(canvas, patches.shape[1:])
    image = np.arange(len(canvas))
    total = places[image, y, x] + patches
    total[total < patches] = 255  # a uint8 sum that went beyond 255 wraps
    places[image, y, x] = total


def _first_without_overlap(y, x, counts, side, size):
    """The first placement whose squares are apart: (n, P, S) -> (n, S).

    Or the first `counts` of them, which are drawn; on a grid where none is,
    for want of room.
    """
    every = np.ones(y.shape[:2], bool)  # (n, P)
    drawn = np.ones(y.shape[:2], bool)
    for i in range(y.shape[2]):
        for j in range(i):
            apart = (np.abs(y[..., i] - y[..., j]) >= side) | (
                np.abs(x[..., i] - x[..., j]) >= side
            )
            every &= apart
            drawn &= apart | (i >= counts[:, None])
    apart = np.where(every.any(axis=1, keepdims=True), every, drawn)
    first = np.argmax(apart, axis=1)[:, None, None]  # (n, 1, 1)
    y = np.take_along_axis(y, first, axis=1)[:, 0]  # (n, S)
    x = np.take_along_axis(x, first, axis=1)[:, 0]
    return np.where(
        apart.any(axis=1, keepdims=True), (y, x), _on_grid(y, x, side, size)
    )  # (2, n, S)


def _on_grid(y, x, side, size):
    """Squares in cells that follow each other from any on: (n, S) -> (2, n, S).

    The grid lies anywhere.
    """
    rows, columns = (length // side for length in size)
    cells = (x[:, :1] + np.arange(x.shape[1])) % (rows * columns)
    top = y[:, :1] % (size[0] - rows * side + 1)
    left = x[:, -1:] % (size[1] - columns * side + 1)
    return np.stack(
        [top + cells // columns * side, left + cells % columns * side]
    )  # (2, n, S)
