import gzip
import pathlib

import numpy as np
import pytest
from fake_builder import FakeBuilder, UnreachableBuilder

from keras_edram.datasets import load_digits
from keras_edram.datasets.digits import (
    BUNDLED_FILE,
    Digits,
    _bilinear,
    with_copies,
)

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


def test_copies_of_a_digit_are_like_it_but_not_it():
    digits = Digits(*(part[:40] for part in load_digits("bundled", "test")))
    varied = with_copies(digits, 2, seed=3)
    np.testing.assert_array_equal(varied.images[:40], digits.images)
    np.testing.assert_array_equal(varied.labels, np.tile(digits.labels, 3))
    y, x = np.mgrid[:28, :28]

    def ink_and_middle(images):
        ink = images.sum(axis=(1, 2), dtype="float64")
        middle = [(images * axis).sum(axis=(1, 2)) / ink for axis in (x, y)]
        return ink, np.stack(middle)

    ink, middle = ink_and_middle(digits.images)
    for copies in (varied.images[40:80], varied.images[80:]):
        its_ink, its_middle = ink_and_middle(copies)
        changed = (copies != digits.images).any(axis=(1, 2))
        assert changed.all()
        assert np.abs(its_ink / ink - 1).max() < 0.35  # 1.12**2 of its area
        assert np.abs(its_middle - middle).max() < 2.5
    same = with_copies(digits, 2, seed=3)
    np.testing.assert_array_equal(varied.images, same.images)
    other = with_copies(digits, 2, seed=4).images[40:]
    assert (other != varied.images[40:]).any(axis=(1, 2)).all()
    assert with_copies(digits, 0).images.shape == digits.images.shape


def test_a_copy_is_read_between_pixels_and_is_black_beyond_them():
    images = np.arange(12, dtype="uint8").reshape(1, 3, 4) * 20
    x = np.array([[[0.0, 3.0, 1.5, -1.0, 3.5]]])
    y = np.array([[[0.0, 2.0, 0.5, 1.0, 1.0]]])
    # 1.5, 0.5 lies in the middle of the pixels 1, 2, 5 and 6; half a pixel
    # beyond the last of its row is half of it.
    expected = [[[0, 220, 70, 0, 70]]]
    np.testing.assert_array_equal(_bilinear(images, x, y), expected)


@pytest.mark.parametrize("copies", [-1, 0.5])
def test_wrong_numbers_of_copies_are_refused(copies):
    with pytest.raises(ValueError, match="`copies`.*Received: copies="):
        with_copies(load_digits("bundled", "test"), copies)
