"""Where the single digits come from that images are composed of."""

import pathlib
from typing import NamedTuple

import numpy as np

from keras_edram.checks import check_choice, check_integer
from keras_edram.datasets.augmented_images import AugmentedImages
from keras_edram.datasets.random_sequence import SPLITS, split_seed
from keras_edram.datasets.tfds import part_of_split, read_tfds

SOURCES = ("bundled", "tfds")
DIGIT_NAMES = tuple("0123456789")
# This part of the training digits is set apart to choose models by.
VALIDATION_FRACTION = 1 / 12
INSTEAD_OF_TFDS = ', or use the digits that ship with the package: "bundled"'
# How a copy of a digit may differ from it, and how many are made at once.
MAX_TURN = np.deg2rad(12)
MAX_SHEAR = 0.15
MAX_SCALE = 1.12  # of each axis, and 1 / 1.12
BEND = 0.7  # pixels that an elastic copy moves its points by, on average
BEND_SMOOTHNESS = 4.0  # pixels, deviation of the Gaussian that smooths it
COPIES_AT_ONCE = 5_000
BUNDLED_FILE = pathlib.Path(__file__).with_name("mnist_sample.npz")


class Digits(NamedTuple):
    """Single digits to compose images of.

    Attributes:
        images: uint8 array of shape `(n, 28, 28)`, ink is 255.
        labels: int32 array of shape `(n,)`, 0 to 9.
    """

    images: np.ndarray
    labels: np.ndarray


def load_digits(source="bundled", split="train"):
    """The digits of one split of MNIST.

    `"validation"` is the last twelfth of the training digits and `"train"` the
    rest, so that nothing is ever chosen on test digits.

    Args:
        source: `"bundled"`, 6,000 training and 1,000 test digits that ship
            with the package, or `"tfds"`, all 70,000 through TensorFlow
            Datasets, which downloads them once.
        split: `"train"`, `"validation"` or `"test"`.

    Returns:
        `Digits`.

    Raises:
        ValueError: For an unknown source or split.
        RuntimeError: If TensorFlow Datasets has no MNIST and cannot get it.

    Example:

    >>> load_digits("bundled", "test").images.shape
    (1000, 28, 28)

    Reference:
        - LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to
          document recognition", 1998.
    """
    check_choice(source, SOURCES, "source")
    check_choice(split, SPLITS, "split")
    stored = "test" if split == "test" else "train"
    if source == "bundled":
        images, labels = _read_bundled(stored)
    else:
        images, labels = read_tfds("mnist", stored, otherwise=INSTEAD_OF_TFDS)
        images = images[..., 0]
    images, labels = part_of_split(images, labels, split, VALIDATION_FRACTION)
    return Digits(images, labels.astype("int32"))


def with_copies(digits, copies, seed=0):
    """The digits and copies of each, as if others had written them.

    A copy is turned, sheared and scaled a little about its middle, then bent:
    each of its points moves by a displacement that is smooth over the digit,

        copy(p) = digit(A p + (G * u)(p)),   u ~ N(0, σ² I),

    where `A` is the affine part, `G` a Gaussian and σ such that a point moves
    by `BEND` pixels on average. Networks that see each digit a hundred times
    learn the hand from them and not the digit by heart.

    Args:
        digits: `Digits` (n).
        copies: Integer, copies of each; 0 returns the digits as they are.
        seed: Non-negative integer.

    Returns:
        `Digits` of `(copies + 1) * n` pictures, the digits themselves first.

    Raises:
        ValueError: If `copies` or `seed` is negative or no integer.

    Example:

    >>> digits = Digits(*load_digits("bundled", "validation"))
    >>> len(with_copies(digits, 8).images) / len(digits.images)
    9.0

    Reference:
        - Simard, Steinkraus, Platt, "Best practices for convolutional neural
          networks applied to visual document analysis", 2003.
    """
    copies = check_integer(copies, "copies", 0)
    generator = np.random.default_rng(check_integer(seed, "seed", 0))
    images = [digits.images]
    for _ in range(copies):
        for first in range(0, len(digits.images), COPIES_AT_ONCE):
            part = digits.images[first : first + COPIES_AT_ONCE]
            images.append(_varied(part, generator))
    images = np.concatenate(images)  # (copies n + n, h, w)
    labels = np.tile(digits.labels, copies + 1)  # (copies n + n,)
    return Digits(images, labels)


def mnist(split, *, source="bundled", seed=0, **options):
    """The digits of one split of MNIST as images, varied as the options say.

    Args:
        split: `"train"`, `"validation"` or `"test"`.
        source: `"bundled"` or `"tfds"`, see `load_digits`.
        seed: Non-negative integer.
        **options: Arguments of `AugmentedImages`: `max_shift=2` moves the
            digits a little.

    Returns:
        `AugmentedImages` of shape `(28, 28, 1)`, unless an `image_size` is
        given.

    Raises:
        ValueError: For an unknown split or source, or options that do not fit.
        RuntimeError: If TensorFlow Datasets has no MNIST and cannot get it.

    Example:

    >>> train = mnist("train", source="bundled", max_shift=2)
    >>> train.arrays(1000)[0].shape
    (1000, 28, 28, 1)

    Reference:
        - LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to
          document recognition", 1998.
    """
    images, labels = load_digits(source, split)
    return AugmentedImages(
        images[..., None],
        labels,
        class_names=DIGIT_NAMES,
        seed=split_seed(split, seed),
        **options,
    )


def _read_bundled(split):
    with np.load(BUNDLED_FILE) as arrays:
        return arrays[f"{split}_images"], arrays[f"{split}_labels"]


def _varied(images, generator):
    """A copy of each image (n, h, w), of places that are a little elsewhere."""
    n, height, width = images.shape
    turn = generator.uniform(-MAX_TURN, MAX_TURN, n)
    shear = generator.uniform(-MAX_SHEAR, MAX_SHEAR, n)
    scale = MAX_SCALE ** generator.uniform(-1, 1, (2, n))
    cosine, sine = np.cos(turn), np.sin(turn)
    affine = np.array(
        [
            [cosine * scale[0], (shear * cosine - sine) * scale[0]],
            [sine * scale[1], (shear * sine + cosine) * scale[1]],
        ]
    )  # (2, 2, n), rows x and y
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    x, y = np.meshgrid(
        np.arange(width) - middle_x, np.arange(height) - middle_y
    )
    x, y = (
        row[0][:, None, None] * x + row[1][:, None, None] * y + bend
        for row, bend in zip(
            affine, _bends(generator, (2, *images.shape)), strict=True
        )
    )  # each (n, h, w)
    return _bilinear(images, x + middle_x, y + middle_y)


def _bends(generator, shape):
    """Smooth random displacements (..., h, w), in pixels."""
    height, width = shape[-2:]
    bends = generator.normal(size=shape).astype("float32")
    bends = _gaussian(height) @ bends @ _gaussian(width).T
    distance = np.sqrt(np.mean(np.square(bends)) * 2)
    return bends * (BEND / distance)


def _gaussian(number):
    """A matrix (number, number) that smooths a row of so many values."""
    places = np.arange(number, dtype="float32")
    weights = np.exp(
        -np.square((places[:, None] - places) / BEND_SMOOTHNESS) / 2
    )
    return weights / weights.sum(axis=1, keepdims=True)


def _bilinear(images, x, y):
    """Images (n, h, w) at places in pixels (n, h, w), black beyond them."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1))).astype("float32")
    height, width = padded.shape[1:]
    x = np.clip(x + 1, 0, width - 1.001).astype("float32")
    y = np.clip(y + 1, 0, height - 1.001).astype("float32")
    left, top = x.astype("int32"), y.astype("int32")
    x, y = x - left, y - top
    image = np.arange(len(images))[:, None, None]
    above = (
        padded[image, top, left] * (1 - x) + padded[image, top, left + 1] * x
    )
    top = top + 1
    below = (
        padded[image, top, left] * (1 - x) + padded[image, top, left + 1] * x
    )
    return np.rint(above * (1 - y) + below * y).astype("uint8")
