"""The house numbers that models are measured on."""

import csv
import pathlib

import numpy as np
import pytest
from svhn_files import write_house_numbers

from keras_edram.datasets import house_numbers, read_folder

SVHN = pathlib.Path(__file__).parents[3] / "shared" / "data" / "svhn"


def crop_of(level, width=14, height=32):
    """A digit of a kind: brighter by 100 in a box about the middle."""
    crop = np.full((32, 32, 3), level, "uint8")
    top, left = (32 - height) // 2, (32 - width) // 2
    crop[top : top + height, left : left + width] = level + 100
    return crop


def test_digits_are_as_wide_as_theirs_and_have_the_gaps_of_the_layout():
    layout = np.array([[100.0, 50, 30, 60], [140, 60, 32, 40]])
    places = house_numbers.place(layout, np.array([0.25, 0.5]))
    np.testing.assert_allclose(places, [[0, 50, 15, 60], [25, 60, 20, 40]])


def test_a_composed_number_has_its_digits_in_their_boxes():
    crops = [crop_of(60), crop_of(120)]
    layout = np.array([[100.0, 50, 30, 64], [140, 60, 32, 60]])
    aspects = np.array([0.4, 0.4])
    generator = np.random.default_rng(0)
    for _ in range(8):
        picture, boxes = house_numbers.compose(
            layout, crops, aspects, generator
        )
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= picture.shape[1::-1]).all()
        sizes = boxes[:, 2:] - boxes[:, :2]
        low, high = house_numbers.DIGIT_HEIGHTS
        assert low <= sizes[:, 1].max() <= high
        np.testing.assert_allclose(sizes[:, 0] / sizes[:, 1], aspects)
        for left, top, right, bottom in boxes:
            x, y = (left + right) / 2, (top + bottom) / 2
            middle = picture[round(y) - 2 : round(y) + 2, round(x) - 1 :][:, :2]
            # Both in the colours of the first.
            np.testing.assert_allclose(middle.mean(), 160, atol=8)
        ground = np.percentile(picture, 5)
        np.testing.assert_allclose(ground, 60, atol=10)


def test_digits_turn_about_their_middle_and_get_finer_and_coarser():
    class Generator:
        def uniform(self, low, high, size):
            return np.array([1.0, 0.0])  # turned by the most, not slanted

    box = np.array([10.0, 10, 12, 30])
    pixels, weights = house_numbers.paste(
        box, crop_of(60, width=8).astype("float64"), (50, 32), Generator()
    )
    bright = (pixels[..., 0] > 110) & (weights[..., 0] > 0.5)
    y, x = np.argwhere(bright).T
    np.testing.assert_allclose([x.mean(), y.mean()], [15.5, 24.5], atol=0.3)
    turn = np.arctan(np.polyfit(y, x, 1)[0])
    np.testing.assert_allclose(abs(turn), house_numbers.TURN, atol=0.03)


def test_digits_that_are_darker_than_their_ground_are_inverted():
    bright = np.zeros((32, 32, 3))
    bright[8:24, 8:24] = 200
    crops, ground = house_numbers.alike(np.stack([bright, 255 - bright]))
    np.testing.assert_allclose(crops[0], crops[1], atol=1)
    np.testing.assert_allclose(ground, [0, 0, 0])


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


def test_the_program_writes_a_folder_once(tmp_path, capsys):
    source, out = tmp_path / "svhn", tmp_path / "out"
    write_house_numbers(source)
    command = [str(source), str(out), "--composed", "2"]
    assert house_numbers.main(command) == 0
    pictures = read_folder(out).pictures
    assert sorted(pathlib.Path(picture.path).name for picture in pictures) == [
        "1.png",
        "3600.png",
        "composed_0.png",
        "composed_1.png",
    ]
    assert all(picture.labels == ("3",) for picture in pictures)
    (out / "notes.txt").write_text("mine")
    assert house_numbers.main(command) == 2
    assert "must be a new one" in capsys.readouterr().err
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", house_numbers.FILES)
@pytest.mark.parametrize("content", [None, b"", b"broken"])
def test_files_that_cannot_be_read_are_named_in_a_line(
    name, content, tmp_path, capsys
):
    source, out = tmp_path / "svhn", tmp_path / "out"
    write_house_numbers(source)
    (source / name).unlink()
    if content is not None:
        (source / name).write_bytes(content)
    assert house_numbers.main([str(source), str(out), "--composed", "1"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and name in error
    assert [path.name for path in tmp_path.iterdir()] == ["svhn"]


def test_digits_fewer_than_boxes_are_refused(tmp_path):
    write_house_numbers(tmp_path / "svhn")
    with pytest.raises(ValueError, match="digits of shape .*for 5 boxes"):
        house_numbers.read_digits(
            tmp_path / "svhn" / house_numbers.DIGITS_FILE, 5
        )
    with pytest.raises(ValueError, match="num_composed=-1"):
        house_numbers.make(tmp_path / "svhn", tmp_path / "out", -1)
