"""Windows of annotated pictures, and their truth."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from annotated_folders import (
    PICTURES,
    broken_folder,
    counted,
    picture,
    tree_hash,
)
from PIL import Image

from keras_edram import geometry
from keras_edram.datasets import (
    AnnotatedPicture,
    AnnotatedPictures,
    Annotations,
    Problem,
    read_annotations,
    read_picture,
)

WIDTH, HEIGHT = SIZE = (23, 14)


def smooth(size):
    """A picture whose values change slowly, so that resizing keeps them."""
    x, y = np.meshgrid(np.linspace(0, 3, size[0]), np.linspace(0, 2, size[1]))
    waves = [np.sin(x + k) * np.cos(y - k) for k in range(3)]
    return (127 + 120 * np.stack(waves, axis=-1)).astype("uint8")


def boxes_of(targets, image_size):
    """Left, top, right, bottom of all objects in pixels of the images."""
    return np.asarray(
        geometry.transforms_to_boxes(
            targets["transforms"], box_format="xyxy", image_size=image_size
        )
    )


@pytest.fixture(scope="module")
def white(tmp_path_factory):
    """Large black pictures, one white rectangle an object."""
    directory = tmp_path_factory.mktemp("white")
    pictures = []
    for name, size, boxes in (
        ("a.png", (400, 250), [(40, 60, 130, 200), (150, 30, 330, 190)]),
        ("b.png", (300, 420), [(100, 20, 290, 120), (20, 200, 170, 400)]),
        ("c.png", (260, 200), [(50, 50, 210, 170)]),
    ):
        pixels = np.zeros((*size[::-1], 3), "uint8")
        for left, top, right, bottom in boxes:
            pixels[top:bottom, left:right] = 255
        pictures.append(picture(directory / name, pixels, *boxes))
    return pictures


# Geometry


def test_a_window_as_large_as_the_picture_is_the_picture(one):
    data = AnnotatedPictures(one, "0", image_size=(HEIGHT, WIDTH), margin=0)
    images, targets = data.arrays(2)
    np.testing.assert_array_equal(images, [counted(SIZE)] * 2)
    np.testing.assert_array_equal(targets["labels"], [[0, 1]] * 2)
    whole = [[[1, 0, 0], [0, 1, 0]], np.zeros((2, 3))]
    np.testing.assert_allclose(targets["transforms"], [whole] * 2, atol=1e-6)


def test_beyond_the_picture_its_edge_is_repeated(one):
    # With a margin of 1 on each side the base is thrice as wide and high.
    data = AnnotatedPictures(
        one, "0", image_size=(3 * HEIGHT, 3 * WIDTH), margin=1
    )
    images, targets = data.arrays(1)
    padding = [(HEIGHT, HEIGHT), (WIDTH, WIDTH), (0, 0)]
    padded = np.pad(counted(SIZE), padding, mode="edge")
    np.testing.assert_array_equal(images[0], padded)
    np.testing.assert_allclose(
        boxes_of(targets, data.image_size)[0, 0],
        [WIDTH, HEIGHT, 2 * WIDTH, 2 * HEIGHT],
        atol=1e-4,
    )


def test_the_middle_of_the_base_is_cropped(tmp_path):
    pixels = counted((40, 24))
    data = AnnotatedPictures(
        [picture(tmp_path / "a.png", pixels, (6, 2, 36, 22))],
        "0",
        image_size=(12, 18),
        margin=0,
        crop_fraction=0.6,
    )
    images, targets = data.arrays(1)
    # The base is 30x20, the window 18x12 in its middle.
    np.testing.assert_array_equal(images[0], pixels[6:18, 12:30])
    np.testing.assert_allclose(
        boxes_of(targets, (12, 18))[0, 0], [-6, -4, 24, 16], atol=1e-4
    )


def test_the_margin_is_a_part_of_what_holds_all_objects(tmp_path):
    pixels = counted((60, 50))
    boxes = [(10, 10, 14, 30), (22, 20, 30, 40)]  # together 20 wide, 30 high
    data = AnnotatedPictures(
        [picture(tmp_path / "a.png", pixels, *boxes)],
        "01",
        image_size=(36, 24),
        margin=0.1,
    )
    images, targets = data.arrays(1)
    np.testing.assert_array_equal(images[0], pixels[7:43, 8:32])
    np.testing.assert_allclose(
        boxes_of(targets, (36, 24))[0, :2],
        [[2, 3, 6, 23], [14, 13, 22, 33]],
        atol=1e-4,
    )


@pytest.mark.parametrize("objects", [0, 1])
def test_the_whole_picture_can_be_the_base(tmp_path, objects):
    pixels = counted(SIZE)
    boxes = [(5, 3, 9, 11)][:objects]
    base = "picture" if objects else "objects"
    data = AnnotatedPictures(
        [picture(tmp_path / "a.png", pixels, *boxes)],
        "0",
        image_size=(HEIGHT, WIDTH),
        base=base,
    )
    images, targets = data.arrays(1)
    np.testing.assert_array_equal(images[0], pixels)
    assert targets["labels"].tolist() == [[0, 1]] if objects else [[1]]
    if objects:
        np.testing.assert_allclose(
            boxes_of(targets, (HEIGHT, WIDTH))[0, 0], boxes[0], atol=1e-4
        )


def test_windows_lie_between_the_objects_and_the_whole_picture(tmp_path):
    box = (10, 4, 20, 34)
    file = picture(tmp_path / "a.png", counted((40, 60)), box)
    options = dict(image_size=30, margin=0.4, crop_fraction=0.5)
    (tight,) = AnnotatedPictures([file], "0", **options)._windows(
        np.array([0]), np.zeros((1, 8))
    )
    np.testing.assert_allclose(tight, [[10.5, 5.5], [19.5, 32.5]])
    data = AnnotatedPictures([file], "0", base="between", **options)
    images, targets = data.arrays(200)
    left, top, right, bottom = boxes_of(targets, (1, 1))[:, 0].T
    width, height = 10 / (right - left), 30 / (bottom - top)
    assert width.min() < 10 and width.max() > 39
    assert height.min() < 28 and height.max() > 58
    # Each edge goes the same part of its way.
    way = (width - 9) / (40 - 9)
    np.testing.assert_allclose(way, (height - 27) / (60 - 27), atol=1e-3)
    np.testing.assert_allclose(10 - left * width, 10.5 * (1 - way), atol=1e-2)


def test_windows_are_no_more_than_three_times_what_holds_the_objects(tmp_path):
    box = (500, 100, 540, 130)
    file = picture(tmp_path / "a.png", smooth((1200, 900)), box)
    data = AnnotatedPictures(
        [file], "0", image_size=20, margin=0, base="between", colour=False
    )
    # Three times the base, at twice the pixels along each side, and a margin
    # for the filter.
    assert data._kept[0].pixels.size < (3 * 2) ** 2 * 1.3 * 20 * 20
    _, targets = data.arrays(200)
    left, top, right, bottom = boxes_of(targets, (1, 1))[:, 0].T
    # In the widest window the object is a third.
    assert 0.3 < (right - left).min() < 0.36
    assert 0.3 < (bottom - top).min() < 0.36


@pytest.mark.parametrize("colour", [False, True])
def test_a_whole_picture_is_as_a_model_is_given_one(tmp_path, colour):
    file = picture(tmp_path / "a.png", smooth((301, 207)))
    data = AnnotatedPictures([file], "0", image_size=(40, 50), colour=colour)
    images, _ = data.arrays(1)
    given = read_picture(file.path, data.image_shape)
    assert images.shape == (1, 40, 50, 3 if colour else 1)
    # It was reduced twice, for memory and for the image: three levels of 256.
    assert np.abs(images[0].astype(int) - given).max() <= 3


OPTIONS = dict(crop_fraction=0.8, random_crops=True, jitter=0.15)


# So much margin that no object leaves the image.
INSIDE = dict(margin=0.4, crop_fraction=0.9, random_crops=True, jitter=0.1)


BETWEEN = dict(base="between", jitter=0.1)


@pytest.mark.parametrize("options", [{}, INSIDE, OPTIONS, BETWEEN])
def test_where_the_truth_says_an_object_is_it_is(white, options):
    height, width = 44, 70
    data = AnnotatedPictures(
        white, "01", image_size=(height, width), colour=False, **options
    )
    images, targets = data.arrays(120)
    boxes = boxes_of(targets, (height, width))
    checked = 0
    for image, labels, truth in zip(
        images[..., 0], targets["labels"], boxes, strict=True
    ):
        seen = np.zeros((height, width))
        y, x = np.mgrid[:height, :width]
        for left, top, right, bottom in truth[: labels.tolist().index(2)]:
            # How much of each pixel is in the box, the slow way.
            inside_x = np.clip(
                np.minimum(x + 1, right) - np.maximum(x, left), 0, 1
            )
            inside_y = np.clip(
                np.minimum(y + 1, bottom) - np.maximum(y, top), 0, 1
            )
            seen += inside_x * inside_y
            window = image[
                max(0, int(np.ceil(top)) + 1) : max(0, int(bottom) - 1),
                max(0, int(np.ceil(left)) + 1) : max(0, int(right) - 1),
            ]
            assert (window >= 250).all()
            checked += window.size
        if options in (OPTIONS, BETWEEN):
            continue
        # Edges are blurred, but to both sides alike: area and middle are those
        # of the boxes, to a small part of a pixel.
        white_part = image / 255
        assert white_part.sum() == pytest.approx(seen.sum(), rel=3e-3)
        for axis in (x, y):
            middle = (axis * white_part).sum() / white_part.sum()
            true_middle = (axis * seen).sum() / seen.sum()
            assert middle == pytest.approx(true_middle, abs=0.05)
        edge = (np.abs(np.gradient(seen)) > 0).any(axis=0)
        assert np.abs(white_part - seen)[~edge].max() < 0.08
    assert checked > 100 * 40


def test_pictures_are_kept_about_twice_as_large_as_images(tmp_path):
    pixels = smooth((1300, 900))
    file = picture(tmp_path / "a.png", pixels, (300, 200, 1000, 700))
    small = dict(image_size=(20, 30), colour=False)
    # Limits: the area that windows reach by that of the least window, and a
    # tenth or more for the filter. (1 + 2 * 0.2)² = 2.0 and 1 / 0.5² = 4; of
    # the picture to the base 1300 * 900 / (868 * 620) = 2.2.
    for options, limit in (
        ({}, 1.3),
        (dict(jitter=0.2), 2.4),
        (dict(crop_fraction=0.5), 4.4),
        (dict(base="picture"), 1.3),
        (dict(base="between"), 3.2),
    ):
        data = AnnotatedPictures([file], "0", **small, **options)
        kept = data._kept[0].pixels
        # Twice along each side.
        assert 4 <= kept.size / (20 * 30) < 4 * limit
        assert (np.array(kept.shape) / (20, 30) < 2.1 * limit**0.5).all()
        assert kept.dtype == np.uint8
    few = AnnotatedPictures([file], "0", image_size=(900, 900), colour=False)
    # No more than there is.
    assert few._kept[0].pixels.size < 900 * 1300


def test_a_box_that_is_miles_away_costs_no_memory(tmp_path):
    file = picture(
        tmp_path / "a.png", smooth((60, 40)), (-1e7, -1e7, 1, 1), (5, 5, 9, 9)
    )
    data = AnnotatedPictures([file], "01", image_size=20)
    # At most three times the picture: 180 * 120 * 3 bytes are 64,800.
    assert data._kept[0].pixels.nbytes < 100_000
    assert data.arrays(1)[0].shape == (1, 20, 20, 3)


def test_the_edge_of_an_image_is_read_with_what_lies_beyond_it(tmp_path):
    box = (20, 15, 40, 35)  # twice as large as the image
    file = picture(tmp_path / "a.png", counted((60, 50)), box)
    data = AnnotatedPictures([file], "0", image_size=10, margin=0)
    images, _ = data.arrays(1)
    with Image.open(file.path) as whole:
        expected = whole.resize((10, 10), Image.Resampling.BILINEAR, box)
    np.testing.assert_array_equal(images[0], expected)


def test_so_is_the_edge_of_a_picture_that_was_reduced(tmp_path):
    pixels = np.full((400, 600), 255, "uint8")
    pixels[100:300, 100:500] = 0
    file = picture(tmp_path / "a.png", pixels, (100, 100, 500, 300))
    data = AnnotatedPictures(
        [file], "0", image_size=(10, 20), margin=0, colour=False
    )
    image = data.arrays(1)[0][0, ..., 0]
    # A triangle twice as wide as a pixel has an eighth beyond its edge; it was
    # blurred before, when it was reduced.
    for edge in (image[0], image[-1], image[:, 0], image[:, -1]):
        np.testing.assert_allclose(edge[1:-1], 255 / 8, atol=10)
    assert image[1:-1, 1:-1].max() < 8


def windows_of(targets, box):
    """The windows of images, in pixels of the picture, by the truth."""
    left, top, right, bottom = boxes_of(targets, (1, 1))[:, 0].T
    wide, high = (
        (box[2] - box[0]) / (right - left),
        (box[3] - box[1]) / (bottom - top),
    )
    x, y = box[0] - left * wide, box[1] - top * high
    return np.stack([x, y, x + wide, y + high], axis=-1)


def test_random_crops_lie_anywhere_in_the_base(tmp_path):
    box = (20, 10, 60, 30)
    file = picture(tmp_path / "a.png", smooth((100, 60)), box)
    data = AnnotatedPictures(
        [file],
        "0",
        image_size=8,
        margin=0.25,
        crop_fraction=0.8,
        random_crops=True,
    )
    _, targets = data.arrays(3000)
    windows = windows_of(targets, box)
    # The base is 10 to 70 and 5 to 35, windows are 48x24.
    np.testing.assert_allclose(windows[:, 2] - windows[:, 0], 48, atol=1e-3)
    np.testing.assert_allclose(windows[:, 3] - windows[:, 1], 24, atol=1e-3)
    for corner, (first, last) in zip(
        windows.T[:2], ((10, 22), (5, 11)), strict=True
    ):
        assert corner.min() >= first - 1e-3 and corner.max() <= last + 1e-3
        counts, _ = np.histogram(corner, bins=6, range=(first, last))
        # 500 each, with a standard deviation of 20.
        np.testing.assert_allclose(counts, 500, atol=100)
    assert abs(np.corrcoef(windows.T[:2])[0, 1]) < 0.08


def test_each_edge_moves_by_itself(tmp_path):
    box = (20, 10, 60, 30)
    file = picture(tmp_path / "a.png", smooth((100, 60)), box)
    data = AnnotatedPictures([file], "0", image_size=8, margin=0, jitter=0.2)
    _, targets = data.arrays(3000)
    moves = (windows_of(targets, box) - box) / [40, 20, 40, 20]
    assert np.abs(moves).max() <= 0.2 + 1e-4
    for edge in moves.T:
        counts, _ = np.histogram(edge, bins=6, range=(-0.2, 0.2))
        np.testing.assert_allclose(counts, 500, atol=100)
    # Not even with where a crop would be.
    crops = AnnotatedPictures(
        [file], "0", image_size=8, crop_fraction=0.5, random_crops=True
    )
    _, targets = crops.arrays(3000)
    corners = windows_of(targets, box)[:, :2]
    others = np.corrcoef([*moves.T, *corners.T]) - np.eye(6)
    assert np.abs(others).max() < 0.08


def test_half_of_the_images_are_inverted(one):
    options = dict(image_size=12, **OPTIONS)
    plain, truth = AnnotatedPictures(one, "0", **options).arrays(100)
    data = AnnotatedPictures(one, "0", invert=True, **options)
    images, targets = data.arrays(100)
    inverted = (images == 255 - plain).all(axis=(1, 2, 3))
    assert ((images == plain).all(axis=(1, 2, 3)) != inverted).all()
    assert 30 < inverted.sum() < 70  # 50 with a standard deviation of 5
    for name in truth:
        np.testing.assert_array_equal(targets[name], truth[name])


# Sequences


@pytest.mark.parametrize("order", ["forward", "backward"])
def test_objects_come_in_reading_order_then_the_terminal(four, order):
    annotations = read_annotations(four)
    data = AnnotatedPictures(annotations, image_size=9, reading_order=order)
    images, targets = data.arrays(4)
    assert data.class_names == ("0", "7", "10") and data.terminal
    assert data.num_classes == 4 and data.num_targets == 4
    step = 1 if order == "forward" else -1
    chosen = data._order(0, 4)[:, 0]
    for index, labels, transforms in zip(
        chosen, targets["labels"], targets["transforms"], strict=True
    ):
        _, objects = list(PICTURES.values())[index]
        names = [label for label, _ in objects][::step]
        expected = [data.class_names.index(name) for name in names] + [3]
        assert labels.tolist() == expected + [-1] * (4 - len(expected))
        assert not transforms[len(objects) :].any()
        # From left to right, and the last of b.bmp is below the others.
        found = windows = transforms[: len(objects), :, 2]
        boxes = np.reshape([box for _, box in objects[::step]], (-1, 2, 2))
        middles = boxes.mean(axis=1)
        for axis in (0, 1) if len(objects) > 1 else ():
            np.testing.assert_array_equal(
                np.argsort(found[:, axis]), np.argsort(middles[:, axis])
            )
        assert windows.dtype == np.float32


def test_more_objects_make_longer_sequences(four):
    annotations = read_annotations(four)
    data = AnnotatedPictures(annotations, image_size=9, max_objects=5)
    labels = data.arrays(4)[1]["labels"]
    # Room for 5 and the terminal; there are 3 at most, and the terminal.
    assert labels.shape == (4, 5 + 1) and (labels[:, 3 + 1 :] == -1).all()
    with pytest.raises(ValueError, match="b.bmp: has 3 objects, 2 are allowed"):
        AnnotatedPictures(annotations, image_size=9, max_objects=2)
    with pytest.warns(UserWarning, match="files left out: 1, as b.bmp "):
        data = AnnotatedPictures(
            annotations, image_size=9, max_objects=2, skip_broken=True
        )
    assert data.num_pictures == 3 and data.num_targets == 3
    assert [p.path.name for p in data.pictures] == ["a.png", "c.png", "d.png"]


def test_there_may_be_no_objects_and_no_images(tmp_path, one):
    file = picture(tmp_path / "a.png", counted(SIZE))
    images, targets = AnnotatedPictures([file], "0", image_size=9).arrays(2)
    assert images.shape == (2, 9, 9, 3)
    assert targets["labels"].tolist() == [[1], [1]]  # the terminal, after "0"
    assert targets["transforms"].shape == (2, 1, 2, 3)
    images, targets = AnnotatedPictures(one, "0", image_size=9).arrays(5, 5)
    assert images.shape == (0, 9, 9, 3)
    assert targets["transforms"].shape == (0, 2, 2, 3)


def test_each_picture_comes_once_before_any_comes_again(four):
    data = AnnotatedPictures(read_annotations(four), image_size=9)
    images, _ = data.arrays(8)
    first, second = images[:4], images[4:]
    assert len(np.unique(first, axis=0)) == 4
    np.testing.assert_array_equal(
        np.unique(first, axis=0), np.unique(second, axis=0)
    )


def test_the_same_images_come_in_whatever_way_they_are_asked_for(four):
    before = tree_hash(four)
    annotations = read_annotations(four)
    options = dict(image_size=(9, 12), invert=True, seed=5, **OPTIONS)
    data = AnnotatedPictures(annotations, **options)
    images, targets = data.arrays(24)
    some, of_some = data.arrays(17, 5)
    np.testing.assert_array_equal(some, images[5:17])
    again = AnnotatedPictures(annotations, **options)
    dataset = again.dataset(4, num_batches=4, first_batch=2)
    batches = list(dataset.as_numpy_iterator())
    # Two batches of 4 are left out.
    np.testing.assert_array_equal(
        np.concatenate([batch for batch, _ in batches]), images[8:]
    )
    for name in targets:
        np.testing.assert_array_equal(of_some[name], targets[name][5:17])
        np.testing.assert_array_equal(
            np.concatenate([truth[name] for _, truth in batches]),
            targets[name][8:],
        )
    spec = dataset.element_spec
    assert spec[0] == tf.TensorSpec((4, 9, 12, 3), tf.uint8)
    # Of each image of a batch 3 objects at most, and the terminal.
    assert spec[1]["transforms"] == tf.TensorSpec((4, 4, 2, 3), tf.float32)
    other = AnnotatedPictures(annotations, **{**options, "seed": 6})
    assert (other.arrays(24)[0] != images).any(axis=(1, 2, 3)).all()
    assert tree_hash(four) == before


def test_an_option_more_leaves_the_other_choices_as_they_were(one):
    box = one[0].boxes[0]
    crops = dict(image_size=9, crop_fraction=0.7, random_crops=True)
    _, plain = AnnotatedPictures(one, "0", **crops).arrays(20)
    _, moved = AnnotatedPictures(one, "0", jitter=1e-4, **crops).arrays(20)
    # Of windows of 20 pixels at most, 1e-4 are 0.002; a crop moves by many.
    np.testing.assert_allclose(
        windows_of(plain, box), windows_of(moved, box), atol=0.02
    )


# What cannot be used


def test_broken_pictures_are_an_error_or_left_out(tmp_path):
    annotations = read_annotations(broken_folder(tmp_path))
    with pytest.raises(ValueError) as error:
        AnnotatedPictures(annotations, image_size=9)
    message = str(error.value)
    assert f"`keras-edram check-data {tmp_path}` lists" in message
    assert "`skip_broken=True`" in message and "Received: 2 broken." in message
    assert "3.png: box 1 (2, 2, 2, 9) has no area" in message
    assert "none.png: there is no such file" in message
    without = annotations._replace(problems=())
    with pytest.raises(ValueError, match="1 broken. 5.png: cannot be read"):
        AnnotatedPictures(without, image_size=9)
    with pytest.warns(UserWarning, match="files left out: 3, as 3.png "):
        data = AnnotatedPictures(annotations, image_size=9, skip_broken=True)
    # Of ten, 3 has a box without area, and 5 is cut short.
    assert data.num_pictures == 8
    names = [int(file.path.stem) for file in data.pictures]
    assert names == [0, 1, 2, 4, 6, 7, 8, 9]


def test_only_the_first_few_are_named(one):
    problems = [Problem(f"{i}.png", "bad", True) for i in range(9)]
    problems += [Problem("0.png", "worse", True), Problem("w.png", "w", False)]
    annotations = Annotations(tuple(one), ("0",), tuple(problems), None)
    with pytest.raises(ValueError) as error:
        AnnotatedPictures(annotations, image_size=9)
    # Nine files, one of them for two reasons; w.png is usable.
    assert str(error.value).endswith(
        "Received: 9 broken. 0.png: bad; 1.png: bad; 2.png: bad; ..."
    )
    notes = [Problem(f"{i}.png", f"odd {i}", False, "odd ones") for i in "abc"]
    notes += [Problem("d.png", "is new", False)]
    with pytest.warns(UserWarning) as said:
        warned = annotations._replace(problems=tuple(notes))
        assert AnnotatedPictures(warned, image_size=9).num_pictures == 1
    assert [str(warning.message) for warning in said] == [
        "odd ones: 3, as a.png (odd a)",
        "is new: 1, as d.png",
    ]


def test_what_does_not_fit_is_refused(tmp_path, one):
    file = one[0]
    for wrong, words in (
        (file._replace(labels=("9",)), r"labels that are no class: \['9'\]"),
        (file._replace(labels=("0", "0")), "2 labels and 1 boxes"),
        (file._replace(boxes=np.array([[1, 2, np.nan, 4]])), "has no area"),
        (file._replace(path=tmp_path / "none.png"), "no such file"),
    ):
        with pytest.raises(ValueError, match=f"1 broken.*{words}"):
            AnnotatedPictures([wrong], "0", image_size=9)
        with pytest.raises(ValueError, match="at least 1 .*: none, and 1 pr"):
            AnnotatedPictures([wrong], "0", image_size=9, skip_broken=True)


@pytest.mark.parametrize(
    "options, received",
    [
        (dict(reading_order="up"), "'up'"),
        (dict(base="boxes"), "base='boxes'"),
        (dict(margin=-0.1), "margin=-0.1"),
        (dict(crop_fraction=0), "crop_fraction=0"),
        (dict(crop_fraction=1.1), "crop_fraction=1.1"),
        (dict(jitter=0.5), "jitter=0.5"),
        (dict(jitter=-0.1), "jitter=-0.1"),
        (dict(image_size=0), "image_size=0"),
        (dict(max_objects=-1), "max_objects=-1"),
        (dict(seed=-1), "seed=-1"),
        *(
            ({name: "no"}, f"{name}='no'")
            for name in ("colour", "random_crops", "invert", "skip_broken")
        ),
    ],
)
def test_options_out_of_range_are_refused(one, options, received):
    with pytest.raises(ValueError, match=f"Received: .*{received}"):
        AnnotatedPictures(one, "0", **{"image_size": 9, **options})


# Pictures as they are


AS_THEY_ARE = dict(image_size=None, base="picture", colour=False)


def test_pictures_as_they_are_are_those_of_their_files(white):
    data = AnnotatedPictures(white, "01", **AS_THEY_ARE)
    assert data.image_shape == (None, None, 1)
    images, targets = data.arrays(3)
    order = [data.pictures[row].path for row in data._order(0, 3)[:, 0]]
    assert sorted(order) == sorted(one.path for one in white)
    for row, (path, image) in enumerate(zip(order, images, strict=True)):
        np.testing.assert_array_equal(
            image, read_picture(path, data.image_shape)
        )
        boxes = next(one.boxes for one in white if one.path == path)
        told = {name: values[row] for name, values in targets.items()}
        np.testing.assert_allclose(
            boxes_of(told, image.shape[:2])[: len(boxes)], boxes, atol=1e-3
        )
        assert told["labels"][: len(boxes) + 1].tolist() == [
            *range(len(boxes)),
            2,
        ]


def test_a_batch_of_several_sizes_is_filled_up(white):
    data = AnnotatedPictures(white, "01", **AS_THEY_ARE)
    ((batch, told),) = data.dataset(3, 1)
    images, targets = data.arrays(3)
    assert batch.shape == (3, 420, 400, 1)  # the largest of each side
    for row, image in enumerate(images):
        height, width, _ = image.shape
        np.testing.assert_array_equal(batch[row, :height, :width], image)
        assert not np.any(batch[row, height:])
        assert not np.any(batch[row, :, width:])
        # The objects are where they were, in pixels.
        objects = np.isin(targets["labels"][row], (0, 1))
        np.testing.assert_allclose(
            boxes_of({"transforms": told["transforms"][row]}, batch.shape[1:3])[
                objects
            ],
            boxes_of(
                {"transforms": targets["transforms"][row]}, image.shape[:2]
            )[objects],
            atol=1e-2,
        )
    # In the same batch, it is the same again.
    ((again, _),) = data.dataset(3, 1)
    np.testing.assert_array_equal(again, batch)


def test_windows_have_the_pixels_of_their_pictures(white):
    data = AnnotatedPictures(
        white[:1],
        "01",
        **{**AS_THEY_ARE, "base": "objects"},
        margin=0.5,
        jitter=0.3,
        invert=True,
    )
    whole = read_picture(white[0].path, (None, None, 1))
    images, targets = data.arrays(6)
    assert len({image.shape for image in images}) > 3
    inverted = 0
    for row, image in enumerate(images):
        if image[0, 0] == 255:
            image = 255 - image
            inverted += 1
        told = {"transforms": targets["transforms"][row, :2]}
        boxes = boxes_of(told, image.shape[:2])
        np.testing.assert_allclose(boxes, boxes.round(), atol=1e-2)
        # The objects have the sides that they have in the picture, and white
        # is what is in one of them.
        sides = boxes[:, 2:] - boxes[:, :2]
        expected = white[0].boxes[:, 2:] - white[0].boxes[:, :2]
        np.testing.assert_allclose(sides, expected, atol=1e-2)
        found = np.zeros(image.shape[:2], bool)
        for left, top, right, bottom in boxes.round().astype(int):
            found[max(0, top) : bottom, max(0, left) : right] = True
        np.testing.assert_array_equal(image[..., 0] == 255, found)
    assert 0 < inverted < 6
    assert set(np.unique(whole)) == {0, 255}


def test_pictures_in_memory_are_taken_as_they_are():
    pixels = counted((9, 7))
    file = AnnotatedPicture(
        pathlib.Path("none.png"), ("0",), np.array([[1.0, 1, 5, 6]]), pixels
    )
    data = AnnotatedPictures(
        iter([file]), "0", image_size=None, base="picture", max_objects=1
    )
    np.testing.assert_array_equal(data.arrays(1)[0][0], pixels)


def test_a_picture_that_breaks_later_is_named(tmp_path):
    file = picture(tmp_path / "p.png", counted((30, 20)), (1, 2, 9, 9))
    data = AnnotatedPictures([file], "0", **AS_THEY_ARE)
    file.path.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="p.png must be a picture file"):
        data.arrays(1)
