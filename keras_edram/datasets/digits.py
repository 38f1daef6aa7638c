"""Where the single digits come from that images are composed of."""

import pathlib
from typing import NamedTuple

import numpy as np

from keras_edram.datasets.augmented_images import AugmentedImages
from keras_edram.datasets.random_sequence import SPLITS, split_seed

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
    for name, value, known in (
        ("source", source, SOURCES),
        ("split", split, SPLITS),
    ):
        if value not in known:
            raise ValueError(
                f"`{name}` must be one of {known}. Received: {name}={value!r}"
            )
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


def read_tfds(name, split, otherwise=""):
    """All images and labels of a split, through TensorFlow Datasets.

    Args:
        name: String, the name of a data set of labelled images there.
        split: String, a split of it.
        otherwise: String, what else the user could do if it cannot be had, to
            end the error's message.

    Returns:
        `(images, labels)`: uint8 of shape `(n, h, w, C)`, int64 of shape
        `(n,)`.

    Raises:
        RuntimeError: If TensorFlow Datasets has it not and cannot get it, or
            is not installed as it should be.
    """
    try:
        import tensorflow_datasets as tfds  # slow to import

        builder = tfds.builder(name)
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f"All of {name} comes through TensorFlow Datasets, which needs "
            f'{error.name}: pip install "keras-edram[tfds]"{otherwise}'
        ) from error
    except Exception as error:  # beside an older protobuf it is half there
        raise RuntimeError(
            f"TensorFlow Datasets cannot be used here ({error}), most often "
            "because tensorflow-metadata is too new for protobuf, which must "
            'stay as TensorFlow needs it: pip install "tensorflow-metadata'
            f'<1.18" where protobuf is 5{otherwise}'
        ) from error
    try:
        builder.download_and_prepare()
    except Exception as error:  # whatever its download libraries raise
        raise RuntimeError(
            f"TensorFlow Datasets has no {name} in {builder.data_dir} and "
            f"could not download it ({error}). Set TFDS_DATA_DIR to a folder "
            f"that has it{otherwise}."
        ) from error
    examples = tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))
    return examples["image"], examples["label"]


def part_of_split(images, labels, split, validation_fraction):
    """What belongs to a split, of a stored training or test part.

    Args:
        images: Array of n images: the stored test part for `"test"`, the
            stored training part otherwise.
        labels: Array of n labels.
        split: `"train"`, `"validation"` or `"test"`.
        validation_fraction: Float, the part of the training images at the end
            that is set apart for `"validation"`.

    Returns:
        `(images, labels)` of the split.
    """
    first_validation = round(len(images) * (1 - validation_fraction))
    part = {
        "train": slice(0, first_validation),
        "validation": slice(first_validation, None),
        "test": slice(None),
    }[split]
    return images[part], labels[part]
