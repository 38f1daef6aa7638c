import gzip
import pathlib

import numpy as np
import pytest
from fake_builder import FakeBuilder, UnreachableBuilder

from keras_edram.datasets import load_digits
from keras_edram.datasets.digits import BUNDLED_FILE

MNIST = pathlib.Path(__file__).parents[3] / "shared" / "data" / "mnist"


@pytest.mark.parametrize(
    "split, count", [("train", 5500), ("validation", 500), ("test", 1000)]
)
def test_the_bundled_digits_are_even_over_the_classes(split, count):
    images, labels = load_digits("bundled", split)
    assert images.shape == (count, 28, 28) and images.dtype == np.uint8
    assert labels.shape == (count,) and labels.dtype == np.int32
    np.testing.assert_array_equal(np.bincount(labels), [count // 10] * 10)
    assert images.max() == 255 and images.min() == 0


def test_no_digit_is_in_two_splits():
    seen = set()
    for split in ("train", "validation", "test"):
        images, _ = load_digits("bundled", split)
        of_split = {image.tobytes() for image in images}
        assert not seen & of_split
        seen |= of_split


def test_the_bundled_file_is_small_and_says_where_it_comes_from():
    assert BUNDLED_FILE.stat().st_size < 1_600_000
    terms = BUNDLED_FILE.with_suffix(".md").read_text()
    assert "LeCun" in terms and "CC BY-SA 3.0" in terms


@pytest.mark.skipif(not MNIST.is_dir(), reason="needs the original MNIST")
def test_the_bundled_digits_are_those_of_the_same_split_of_mnist():
    for split, prefix in (("train", "train"), ("test", "t10k")):
        path = MNIST / f"{prefix}-images-idx3-ubyte.gz"
        # An IDX file of images has a head of 16 bytes.
        original = np.frombuffer(gzip.decompress(path.read_bytes())[16:], "u1")
        known = {row.tobytes() for row in original.reshape(-1, 28 * 28)}
        images, _ = load_digits("bundled", split)
        assert {image.tobytes() for image in images} <= known


def test_wrong_names_are_refused():
    with pytest.raises(ValueError, match="Received: source='mnist'"):
        load_digits("mnist")
    with pytest.raises(ValueError, match="Received: split='val'"):
        load_digits("bundled", "val")


class FakeMnist(FakeBuilder):
    name = "mnist"
    counts = {"train": 24, "test": 12}

    def pictures(self, count):
        return np.zeros((count, 28, 28, 1), "uint8")


def test_digits_come_from_tfds_too(monkeypatch):
    monkeypatch.setattr("tensorflow_datasets.builder", FakeMnist)
    images, labels = load_digits("tfds", "train")
    assert images.shape == (22, 28, 28) and labels.dtype == np.int32
    np.testing.assert_array_equal(labels, np.arange(22) % 10)
    _, labels = load_digits("tfds", "validation")
    np.testing.assert_array_equal(labels, [2, 3])
    assert len(load_digits("tfds", "test").images) == 12


def test_without_a_network_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setattr("tensorflow_datasets.builder", UnreachableBuilder)
    with pytest.raises(RuntimeError, match="TFDS_DATA_DIR.*bundled"):
        load_digits("tfds", "train")
