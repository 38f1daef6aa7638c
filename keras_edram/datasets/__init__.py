"""Data: `tf.data` or NumPy, as `(images, {"labels", "transforms"})`."""

from keras_edram.datasets.augmented_images import AugmentedImages
from keras_edram.datasets.cifar10 import CIFAR10_CLASSES, cifar10
from keras_edram.datasets.cluttered_mnist import (
    ClutteredMNIST,
    cluttered_mnist,
)
from keras_edram.datasets.digits import Digits, load_digits, mnist
from keras_edram.datasets.pictures import read_picture
from keras_edram.datasets.random_sequence import RandomSequence

__all__ = [
    "CIFAR10_CLASSES",
    "AugmentedImages",
    "ClutteredMNIST",
    "Digits",
    "RandomSequence",
    "cifar10",
    "cluttered_mnist",
    "load_digits",
    "mnist",
    "read_picture",
]
