"""Printed numbers: where they are, and that they stay legible."""

import importlib

import numpy as np
import pytest

from keras_edram import geometry
from keras_edram.datasets import PrintedNumbers, fonts, grounds, printed_numbers

# The package has a function of the same name.
module = importlib.import_module("keras_edram.datasets.printed_numbers")


@pytest.fixture(scope="module")
def faces():
    return fonts.load_faces("train", fonts.matplotlib_folder(), ".-/")


@pytest.fixture(scope="module")
def textures():
    return grounds.load_grounds("train", "texture")


def boxes_of(targets, size):
    return np.asarray(
        geometry.transforms_to_boxes(
            targets["transforms"], box_format="xyxy", image_size=size
        )
    )


@pytest.mark.parametrize("size", [(40, 128), (54, 54), (64, 48)])
def test_a_number_fills_its_image_but_for_margins(faces, textures, size):
    data = PrintedNumbers(faces, textures, image_size=size, empty=0)
    images, targets = data.arrays(60)
    assert images.shape == (60, *size, 1)
    labels = targets["labels"]
    margins = []
    for of_image, boxes in zip(labels, boxes_of(targets, size), strict=True):
        boxes = boxes[: np.argmax(of_image == 13)]
        assert (boxes >= -1e-3).all()
        assert (boxes[:, 2:] <= np.array(size[::-1]) + 1e-3).all()
        filled = boxes[:, 2:].max(axis=0) - boxes[:, :2].min(axis=0)
        margins.append(1 - filled / size[::-1])
    margins = np.array(margins)
    # A single digit is as high as wide: both margins are at most 0.9 of it.
    assert margins.max() < 0.7
    assert margins.min() < 0.1 and margins[:, 1].max() > 0.3


def test_an_image_depends_on_its_number_alone(faces, textures):
    data = PrintedNumbers(faces, textures, seed=3)
    images, targets = data.arrays(40)
    some, of_some = data.arrays(33, 20)
    np.testing.assert_array_equal(some, images[20:33])
    np.testing.assert_array_equal(
        of_some["transforms"], targets["transforms"][20:33]
    )


def sharpness(images):
    images = images[..., 0].astype(float)
    return np.abs(np.diff(images, axis=2)).max(axis=(1, 2)).mean()


def test_smaller_ones_are_less_sharp_but_legible(faces, textures, monkeypatch):
    monkeypatch.setattr(module, "COMPRESSED", 0)
    made = {}
    for part in (0, 1):
        monkeypatch.setattr(module, "COARSE", part)
        made[part] = PrintedNumbers(faces, textures, empty=0).arrays(60)
    for name, values in made[0][1].items():  # the same numbers
        np.testing.assert_array_equal(values, made[1][1][name])
    assert sharpness(made[1][0]) < 0.9 * sharpness(made[0][0])
    # Of characters this small nothing is taken.
    data = PrintedNumbers(faces, textures)
    image = np.random.default_rng(0).integers(0, 256, (40, 128, 1), "uint8")
    coarse = image.copy()
    boxes = np.array([[0, 0, 6, 10], [9, 0, 15, 10]])
    data._coarsen(coarse, boxes, np.random.default_rng(0))
    np.testing.assert_array_equal(coarse, image)


def test_some_are_compressed(faces, textures, monkeypatch):
    monkeypatch.setattr(module, "COARSE", 0)
    made = []
    for part in (0, 1):
        monkeypatch.setattr(module, "COMPRESSED", part)
        made.append(PrintedNumbers(faces, textures).arrays(20)[0].astype(int))
    difference = np.abs(made[0] - made[1])
    assert difference.any(axis=(1, 2, 3)).all()
    assert difference.mean() < 8


def test_images_in_colour_have_colours():
    data = printed_numbers(
        "train", fonts=fonts.matplotlib_folder(), colour=True, marks=""
    )
    images, _ = data.arrays(8)
    assert images.shape == (8, 40, 128, 3)
    assert data.num_classes == 11
    assert (images.max(axis=-1) != images.min(axis=-1)).any()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"colour": "no"}, "colour='no'"),
        ({"marks": None}, "marks=None"),
        ({"split": "all"}, "split"),
        ({"image_size": 28}, "at least 32 pixels"),
        ({"num_digits": (0, 3)}, "num_digits"),
    ],
)
def test_other_options_are_refused(options, message):
    options = {"split": "test", "fonts": fonts.matplotlib_folder()} | options
    with pytest.raises(ValueError, match=message):
        printed_numbers(**options)


def test_a_face_without_the_marks_is_left_out():
    # Its dot is a sign of mathematics.
    names = [
        {face.path.name for design in faces for face in design}
        for faces in (
            fonts.load_faces("train", fonts.matplotlib_folder(), marks)
            for marks in ("", ".-/")
        )
    ]
    assert names[0] - names[1] == {"cmmi10.ttf"}
