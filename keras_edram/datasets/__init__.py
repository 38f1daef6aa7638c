"""Data: `tf.data` or NumPy, as `(images, {"labels", "transforms"})`."""

from keras_edram.datasets.annotated.annotated_pictures import AnnotatedPictures
from keras_edram.datasets.annotated.annotations import (
    AnnotatedPicture,
    Annotations,
    check_pictures,
    read_annotations,
)
from keras_edram.datasets.annotated.folder import (
    folder,
    read_folder,
    read_splits,
)
from keras_edram.datasets.annotated.formats.entries import Problem
from keras_edram.datasets.augmented_images import AugmentedImages
from keras_edram.datasets.cifar10 import CIFAR10_CLASSES, cifar10
from keras_edram.datasets.cluttered_mnist import (
    ClutteredMNIST,
    cluttered_mnist,
)
from keras_edram.datasets.digits import Digits, load_digits, mnist
from keras_edram.datasets.distorted_images import DistortedImages
from keras_edram.datasets.in_turn import InTurn
from keras_edram.datasets.numbers_in_photos import (
    NumbersInPhotos,
    numbers_in_photos,
)
from keras_edram.datasets.printed_numbers import (
    PrintedNumbers,
    printed_numbers,
)
from keras_edram.datasets.random_sequence import RandomSequence
from keras_edram.datasets.svhn import svhn
from keras_edram.pictures import read_picture
from keras_edram.reading_order import end_sequences, lines_order

__all__ = [
    "CIFAR10_CLASSES",
    "AnnotatedPicture",
    "AnnotatedPictures",
    "Annotations",
    "AugmentedImages",
    "ClutteredMNIST",
    "Digits",
    "DistortedImages",
    "InTurn",
    "NumbersInPhotos",
    "PrintedNumbers",
    "Problem",
    "RandomSequence",
    "check_pictures",
    "cifar10",
    "cluttered_mnist",
    "end_sequences",
    "folder",
    "lines_order",
    "load_digits",
    "mnist",
    "numbers_in_photos",
    "printed_numbers",
    "read_annotations",
    "read_folder",
    "read_picture",
    "read_splits",
    "svhn",
]
