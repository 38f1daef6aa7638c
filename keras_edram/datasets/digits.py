"""Where the single digits come from that images are composed of."""

import pathlib
from typing import NamedTuple

import numpy as np

from keras_edram.checks import check_choice
from keras_edram.datasets.augmented_images import AugmentedImages
from keras_edram.datasets.random_sequence import SPLITS, split_seed
from keras_edram.datasets.tfds import part_of_split, read_tfds

SOURCES = ("bundled", "tfds")
DIGIT_NAMES = tuple("0123456789")
# This part of the training digits is set apart to choose models by.
VALIDATION_FRACTION = 1 / 12
INSTEAD_OF_TFDS = ', or use the digits that ship with the package: "bundled"'
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
