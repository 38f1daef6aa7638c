"""CIFAR-10: small photographs of ten kinds of things."""

import numpy as np

from keras_edram.checks import check_boolean
from keras_edram.datasets.augmented_images import AugmentedImages
from keras_edram.datasets.random_sequence import split_seed
from keras_edram.datasets.tfds import part_of_split, read_tfds

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
# The last 5,000 of the 50,000 training pictures, to choose models by.
VALIDATION_FRACTION = 1 / 10
# Thousandths of red, green and blue in the luma of ITU-R BT.601: whole
# numbers, so that every machine rounds alike.
LUMA = (299, 587, 114)


def cifar10(split, *, colour=True, seed=0, **options):
    """The pictures of one split of CIFAR-10, varied as the options say.

    `"validation"` is the last tenth of the training pictures and `"train"` the
    rest, so that nothing is ever chosen on test pictures. They come through
    TensorFlow Datasets, which downloads them once; reading them takes seconds.

    Args:
        split: `"train"`, `"validation"` or `"test"`: 45,000, 5,000 and 10,000
            pictures of 32x32.
        colour: Boolean, whether images have the channels red, green and blue;
            otherwise one, their luma `0.299 R + 0.587 G + 0.114 B` (ITU-R
            BT.601), rounded. Defaults to True.
        seed: Non-negative integer.
        **options: Arguments of `AugmentedImages`; usual for training are
            `max_shift=4, mirror=True`, and `image_size=60` is translated
            CIFAR-10.

    Returns:
        `AugmentedImages`. Its labels index `CIFAR10_CLASSES`.

    Raises:
        ValueError: For an unknown split, or options that do not fit.
        RuntimeError: If TensorFlow Datasets has no CIFAR-10 and cannot get it.

    Example:

    >>> test = cifar10("test", colour=False)
    >>> test.arrays(1000)[0].shape
    (1000, 32, 32, 1)

    Reference:
        - Krizhevsky, "Learning Multiple Layers of Features from Tiny Images",
          2009.
    """
    seed = split_seed(split, seed)
    check_boolean(colour, "colour")
    images, labels = part_of_split(
        *read_tfds("cifar10", "test" if split == "test" else "train"),
        split,
        VALIDATION_FRACTION,
    )
    if not colour:
        images = _luma(images)
    return AugmentedImages(
        images, labels, class_names=CIFAR10_CLASSES, seed=seed, **options
    )


def _luma(images):
    """Grey (n, h, w, 1) of colour (n, h, w, 3), both uint8."""
    luma = np.full(images.shape[:-1], 500, "uint32")  # half: to be rounded
    for channel, weight in enumerate(LUMA):
        luma += np.multiply(images[..., channel], weight, dtype="uint32")
    return (luma // 1000).astype("uint8")[..., None]
