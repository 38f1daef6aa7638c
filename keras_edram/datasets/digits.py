"""Where the single digits come from that images are composed of."""

import pathlib
from typing import NamedTuple

import numpy as np

SOURCES = ("bundled", "tfds")
SPLITS = ("train", "validation", "test")
# This part of the training digits is set apart to choose models by.
VALIDATION_FRACTION = 1 / 12
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
    read = _read_bundled if source == "bundled" else _read_tfds
    images, labels = read("test" if split == "test" else "train")
    first_validation = round(len(images) * (1 - VALIDATION_FRACTION))
    part = {
        "train": slice(0, first_validation),
        "validation": slice(first_validation, None),
        "test": slice(None),
    }[split]
    return Digits(images[part], labels[part].astype("int32"))


def _read_bundled(split):
    with np.load(BUNDLED_FILE) as arrays:
        return arrays[f"{split}_images"], arrays[f"{split}_labels"]


def _read_tfds(split):
    import tensorflow_datasets as tfds  # slow to import

    builder = tfds.builder("mnist")
    try:
        builder.download_and_prepare()
    except Exception as error:  # whatever its download libraries raise
        raise RuntimeError(
            f"TensorFlow Datasets has no MNIST in {builder.data_dir} and could "
            f"not download it ({error}). Set TFDS_DATA_DIR to a folder that "
            'has it, or use the digits that ship with the package: "bundled".'
        ) from error
    examples = tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))
    return examples["image"][..., 0], examples["label"]
