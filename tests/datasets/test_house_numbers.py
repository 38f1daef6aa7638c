"""The house numbers that models are measured on."""

import csv
import pathlib

import house_numbers
import numpy as np
import pytest

from keras_edram.datasets import read_folder

SVHN = pathlib.Path(__file__).parents[3] / "shared" / "data" / "svhn"


def test_a_composed_number_has_its_digits_in_their_boxes():
    # Crops of one colour each, brighter in the middle: digits of a kind.
    crops = []
    for level in (60, 120):
        crop = np.full((32, 32, 3), level, "uint8")
        crop[8:24, 10:22] = level + 100
        crops.append(crop)
    layout = np.array([[100.0, 50, 30, 64], [140, 60, 32, 60]])
    picture, boxes = house_numbers.compose(
        layout, crops, np.random.default_rng(0)
    )
    # The highest digit is 32 pixels high, the layout half as large, and there
    # are 4 pixels around it.
    np.testing.assert_allclose(boxes, [[4, 4, 19, 36], [24, 9, 40, 39]])
    assert picture.shape == (43, 44, 3)
    for left, top, right, bottom in boxes.astype(int):
        middle = picture[
            (top + bottom) // 2 - 2 : (top + bottom) // 2 + 3,
            (left + right) // 2 - 2 : (left + right) // 2 + 3,
        ]
        # Both in the colours of the first.
        np.testing.assert_allclose(middle.mean(), 160, atol=8)
    assert picture[:3].mean() < 90


def test_digits_that_are_darker_than_their_ground_are_inverted():
    bright = np.zeros((32, 32, 3))
    bright[8:24, 8:24] = 200
    crops = house_numbers.alike(np.stack([bright, 255 - bright]))
    np.testing.assert_allclose(crops[0], crops[1], atol=1)


@pytest.mark.parametrize(
    "name, split",
    [
        ("1.png", "train"),
        ("3299.png", "train"),
        ("3300.png", "validation"),
        ("3599.png", "validation"),
        ("3600.png", "test"),
        ("4500.png", "test"),
    ],
)
def test_a_picture_belongs_to_one_split(name, split):
    assert house_numbers.split_of(name) == split


@pytest.mark.skipif(not SVHN.exists(), reason="needs ../shared/data/svhn")
def test_the_folder_has_all_pictures_and_nothing_is_broken(tmp_path):
    out = tmp_path / "house_numbers"
    house_numbers.make(SVHN, out, num_composed=30)
    # One of the 3,299 for training has five digits.
    for split, number in (("train", 3328), ("validation", 300), ("test", 901)):
        assert len(list((out / split).glob("*.png"))) == number
        with (out / split / "annotations.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert {row["label"] for row in rows} == set("0123456789")
    annotations = read_folder(out)
    assert len(annotations.pictures) == 3328 + 300 + 901
    assert annotations.class_names == tuple("0123456789")
    assert not [p for p in annotations.problems if p.broken]
    counts = [len(picture.labels) for picture in annotations.pictures]
    assert max(counts) == house_numbers.MOST_DIGITS
