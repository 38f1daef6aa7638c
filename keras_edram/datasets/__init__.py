"""Data: `tf.data` or NumPy, as `(images, {"labels", "transforms"})`."""

from keras_edram.datasets.cluttered_mnist import (
    ClutteredMNIST,
    cluttered_mnist,
)
from keras_edram.datasets.digits import Digits, load_digits
from keras_edram.datasets.pictures import read_picture

__all__ = [
    "ClutteredMNIST",
    "Digits",
    "cluttered_mnist",
    "load_digits",
    "read_picture",
]
