"""Numbers in photographs: their truth, and what is apart between splits."""

import importlib
import json

import numpy as np
import pytest

from keras_edram import geometry
from keras_edram.datasets import (
    NumbersInPhotos,
    fonts,
    grounds,
    house_numbers,
    numbers_in_photos,
    painting,
)
from keras_edram.datasets.random_sequence import SPLITS

# The package has a function of the same name.
module = importlib.import_module("keras_edram.datasets.numbers_in_photos")
SIZE = (120, 160)
GREY = 120  # of a plain ground


@pytest.fixture(scope="module")
def faces():
    return fonts.load_faces("train", fonts.matplotlib_folder())


@pytest.fixture(scope="module")
def textures():
    return grounds.load_grounds("train", "texture")


@pytest.fixture
def plain(monkeypatch):
    """Nothing but a number of one colour on plain grey."""
    for name, value in {
        "MOST_THINGS": 0,
        "NOISE": (0,),
        "ON_BOARD": 0,
        "WITH_OUTLINE": 0,
        "WITH_SHADOW": 0,
        "GAIN": (1, 1),
        "BIAS": 0,
    }.items():
        monkeypatch.setattr(module, name, value)
    return [[np.full((90, 130), GREY, "uint8")]]


def boxes_of(targets, size=SIZE):
    return np.asarray(
        geometry.transforms_to_boxes(
            targets["transforms"], box_format="xyxy", image_size=size
        )
    )


def test_an_image_depends_on_its_number_alone(faces, textures):
    data = NumbersInPhotos(faces, textures, image_size=SIZE, seed=4)
    images, targets = data.arrays(12)
    assert images.shape == (12, *SIZE, 1) and images.dtype == np.uint8
    assert len({image.tobytes() for image in images}) == 12
    for start, stop in ((0, 1), (5, 12), (3, 4)):
        some, of_some = data.arrays(stop, start)
        np.testing.assert_array_equal(some, images[start:stop])
        for name in targets:
            np.testing.assert_array_equal(
                of_some[name], targets[name][start:stop]
            )
    again = NumbersInPhotos(faces, textures, image_size=SIZE, seed=4)
    np.testing.assert_array_equal(again.arrays(12)[0], images)
    other = NumbersInPhotos(faces, textures, image_size=SIZE, seed=5)
    assert (other.arrays(12)[0] != images).any(axis=(1, 2, 3)).all()


def test_tf_data_gives_the_same_images(faces, textures):
    data = NumbersInPhotos(faces, textures, image_size=SIZE)
    images, targets = data.arrays(16, 4)
    batches = list(data.dataset(4, 3, first_batch=1).as_numpy_iterator())
    np.testing.assert_array_equal(
        np.concatenate([batch for batch, _ in batches]), images
    )
    for name in targets:
        np.testing.assert_array_equal(
            np.concatenate([truth[name] for _, truth in batches]),
            targets[name],
        )


def test_the_boxes_are_those_of_the_ink(faces, plain):
    data = NumbersInPhotos(
        faces, plain, image_size=(240, 320), empty=0, width=(0.2, 0.35)
    )
    images, targets = data.arrays(40)
    for image, labels, boxes in zip(
        images[..., 0].astype(int),
        targets["labels"],
        boxes_of(targets, (240, 320)),
        strict=True,
    ):
        count = int(np.argmax(labels == 10))
        assert count >= 1
        ink = np.abs(image - GREY) > 10
        inside = np.zeros_like(ink)
        for left, top, right, bottom in boxes[:count]:
            # A pixel more for each side, half-covered ones and the blur.
            rows = slice(max(0, int(top) - 1), int(np.ceil(bottom)) + 1)
            columns = slice(max(0, int(left) - 1), int(np.ceil(right)) + 1)
            inside[rows, columns] = True
            # And no larger than the ink: some of it near each edge.
            part = ink[int(top) : int(bottom) + 1, int(left) : int(right) + 1]
            assert part[:4].any() and part[-4:].any()
            assert part[:, :4].any() and part[:, -4:].any()
        assert not ink[~inside].any()
        left, right = boxes[:count, 0].min(), boxes[:count, 2].max()
        # Wider is only what would be too high otherwise.
        assert right - left <= 0.35 * 320 + 1
        assert (boxes[:count] >= -1e-3).all()
        assert (boxes[:count, 2:] <= np.array([320, 240]) + 1e-3).all()


def test_digits_stand_out_by_the_contrast(faces, plain):
    data = NumbersInPhotos(
        faces, plain, image_size=(240, 320), empty=0, width=(0.3, 0.35),
        contrast=80,
    )  # fmt: skip
    images, _ = data.arrays(30)
    differences = np.abs(images.astype(int) - GREY)
    # Ink that covers a pixel wholly differs by no less.
    strongest = differences.max(axis=(1, 2, 3))
    assert (strongest >= 79).all()
    assert strongest.std() > 5  # not always the same


def test_a_ground_that_no_ink_stands_out_from_gets_a_board(faces, plain):
    half = np.zeros((90, 130), "uint8")
    half[::2] = 255  # of a deviation of 127
    data = NumbersInPhotos(faces, [[half]], image_size=SIZE, empty=0)
    painter = painting.Painter(np.tile(half, (2, 2)), np.random.default_rng(0))
    assert painter.contrasting(127, 60 + 127) is None
    images, targets = data.arrays(10)
    for image, labels, boxes in zip(
        images[..., 0], targets["labels"], boxes_of(targets), strict=True
    ):
        count = int(np.argmax(labels == 10))
        left, top = boxes[:count, :2].min(axis=0).astype(int)
        right, bottom = boxes[:count, 2:].max(axis=0).astype(int)
        # Beside the number is board: the stripes of the ground are gone.
        part = image[top:bottom, left : right + 1].astype(int)
        assert np.median(np.abs(np.diff(part, axis=0))) < 60


def test_the_most_contrast_is_to_be_had_in_any_style(
    faces, textures, monkeypatch
):
    monkeypatch.setattr(module, "NOISE", (8,))  # the narrowest levels
    monkeypatch.setattr(module, "WITH_OUTLINE", 0.5)
    monkeypatch.setattr(module, "WITH_SHADOW", 0.5)
    data = NumbersInPhotos(
        faces, textures, image_size=SIZE, empty=0, contrast=120
    )
    images, _ = data.arrays(40)
    assert (np.ptp(images.astype(int), axis=(1, 2, 3)) >= 100).all()
    painter = painting.Painter(
        np.zeros((2, 2), "uint8"), np.random.default_rng(0), (24, 231)
    )
    pairs = np.array([painter.apart(141) for _ in range(50)])
    assert (np.abs(np.diff(pairs, axis=1)) >= 141).all()
    assert pairs.min() >= 24 and pairs.max() <= 231
    assert (pairs[:, 0] > pairs[:, 1]).any()
    assert (pairs[:, 0] < pairs[:, 1]).any()


def test_none_at_all_is_the_label_that_ends(faces, textures):
    options = {"image_size": SIZE, "seed": 1}
    _, targets = NumbersInPhotos(faces, textures, empty=1, **options).arrays(8)
    assert targets["labels"].tolist() == [[10, -1, -1, -1, -1]] * 8
    assert not targets["transforms"].any()
    _, targets = NumbersInPhotos(faces, textures, empty=0, **options).arrays(8)
    assert (targets["labels"][:, 0] < 10).all()
    _, targets = NumbersInPhotos(
        faces, textures, empty=0.3, image_size=(40, 50), width=(0.3, 0.3)
    ).arrays(300)
    labels = targets["labels"]
    empty = (labels[:, 0] == 10).mean()
    assert 0.2 < empty < 0.4  # a deviation of 0.026
    counts = np.argmax(labels == 10, axis=1)
    # 210 numbers, of each length about 52, with a deviation of 6.
    assert (np.bincount(counts, minlength=5)[1:] > 25).all()
    digits = np.bincount(labels[(labels >= 0) & (labels < 10)], minlength=10)
    assert digits.min() > 0.6 * digits.mean()


def test_backward_is_forward_from_the_other_end(faces, textures):
    forward, backward = (
        NumbersInPhotos(
            faces, textures, image_size=SIZE, reading_order=order
        ).arrays(10)
        for order in ("forward", "backward")
    )
    np.testing.assert_array_equal(forward[0], backward[0])
    for one, other, of_one, of_other in zip(
        forward[1]["labels"],
        backward[1]["labels"],
        forward[1]["transforms"],
        backward[1]["transforms"],
        strict=True,
    ):
        count = int(np.argmax(one == 10))
        assert one[count] == other[count] == 10
        np.testing.assert_array_equal(one[:count], other[:count][::-1])
        np.testing.assert_array_equal(of_one[:count], of_other[:count][::-1])
        # Forward is from the left to the right.
        assert (np.diff(of_one[:count, 0, 2]) > 0).all()


def test_the_noise_never_goes_round(faces, textures, monkeypatch):
    monkeypatch.setattr(module, "NOISE", (8,))
    data = NumbersInPhotos(
        faces, textures, some_crops(), image_size=SIZE, empty=0
    )
    # A sum in uint8 that goes beyond 255 would begin at 0 again.
    assert np.abs(data._noise[8].view("int8").astype(int)).max() <= 24
    data._noise[8][:] = 0
    images, _ = data.arrays(30)
    assert images.min() >= 24 and images.max() <= 231


def some_crops():
    images = np.full((20, 32, 32, 3), 100, "uint8")
    images[:, :, 12:20] = 200
    return images, np.arange(20) % 10, np.full(20, 0.25)


def test_real_digits_are_where_their_boxes_say(faces, plain, monkeypatch):
    monkeypatch.setattr(module, "REAL", 1)
    monkeypatch.setattr(module, "TURN", 0)
    monkeypatch.setattr(module, "SLANT", 0)
    data = NumbersInPhotos(
        faces, plain, some_crops(), image_size=(240, 320), empty=0,
        width=(0.2, 0.3),
    )  # fmt: skip
    images, targets = data.arrays(20)
    for image, labels, boxes in zip(
        images[..., 0].astype(float),
        targets["labels"],
        boxes_of(targets, (240, 320)),
        strict=True,
    ):
        count = int(np.argmax(labels == 10))
        for left, top, right, bottom in boxes[:count]:
            middle = round((top + bottom) / 2)
            wide = right - left
            at = [left - 0.1 * wide, left + 0.1 * wide, right - 0.1 * wide]
            outside, *inside = (image[middle, int(x)] for x in at)
            # A bar of one brightness, beside it another.
            assert abs(inside[0] - inside[1]) < abs(inside[0] - outside)


def test_images_in_colour_have_colours(faces):
    data = NumbersInPhotos(
        faces, grounds.load_grounds("test", "texture", colour=True),
        image_size=SIZE,
    )  # fmt: skip
    images, _ = data.arrays(4)
    assert images.shape == (4, *SIZE, 3)
    assert (images.max(axis=-1) != images.min(axis=-1)).any()


def test_a_colour_has_the_brightness_that_was_asked_for():
    painter = painting.Painter(
        np.zeros((2, 2, 3), "uint8"), np.random.default_rng(0), (9, 246)
    )
    for level in (9, 40, 128, 200, 246):
        colour = painter.colour(level)
        assert (colour >= 8.9).all() and (colour <= 246.1).all()
        # ITU-R BT.601
        np.testing.assert_allclose(
            colour @ [0.299, 0.587, 0.114], level, atol=1e-2
        )


def test_words_keep_away_from_the_number_and_have_no_digits():
    assert not set(fonts.LETTERS) & set("BDGIJLOQSZbgijloqsz")
    assert fonts.LETTERS.isalpha()


@pytest.mark.parametrize(
    "box, other, expected",
    [
        ([0, 0, 2, 2], [1, 1, 3, 3], True),
        ([0, 0, 2, 2], [2, 0, 3, 2], False),
        ([0, 0, 2, 2], [0, 3, 2, 4], False),
    ],
)
def test_boxes_overlap(box, other, expected):
    assert painting.overlap(np.array(box), np.array(other)) == expected


def test_the_fingerprint_is_of_what_images_are_made_of(faces, textures):
    first, second = (
        NumbersInPhotos(faces, textures, seed=seed, image_size=SIZE).fingerprint
        for seed in (0, 1)
    )
    assert first == second
    for other in (
        NumbersInPhotos(faces[:1], textures),
        NumbersInPhotos(faces, [textures[0][:1]]),
        NumbersInPhotos(faces, textures, some_crops()),
    ):
        assert other.fingerprint != first


def test_splits_are_apart():
    made = [
        numbers_in_photos(
            split, fonts=fonts.matplotlib_folder(), grounds="texture"
        )
        for split in SPLITS
    ]
    families, textures = [], []
    for data in made:
        families.append({face.family for f in data.faces for face in f})
        textures.append({t.tobytes() for kind in data.grounds for t in kind})
        assert families[-1]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not families[one] & families[other]
        assert not textures[one] & textures[other]
        assert made[one].seed != made[other].seed


def test_marks_stand_before_and_between_digits(textures):
    data = NumbersInPhotos(
        fonts.load_faces("train", fonts.matplotlib_folder(), "-/"), textures,
        image_size=SIZE, empty=0, num_digits=(1, 6), marks="-/",
    )  # fmt: skip
    assert data.class_names == (*"0123456789", "-", "/")
    assert data.num_classes == 13  # and the label that ends
    labels = data.arrays(200)[1]["labels"]
    counts = np.argmax(labels == 12, axis=1)
    assert set(counts) == {1, 2, 3, 4, 5, 6}
    is_mark = (labels == 10) | (labels == 11)
    assert is_mark.any(axis=1).mean() > 0.3
    assert set(labels[is_mark]) == {10, 11}
    for row, count in zip(is_mark, counts, strict=True):
        assert not row[count - 1 :].any()
        assert not (row[:-1] & row[1:]).any()


def test_the_window_of_a_mark_has_its_ink_and_is_as_high_as_digits(
    faces, plain
):
    data = NumbersInPhotos(
        faces[-1:], plain, image_size=(240, 320), empty=0, width=(0.3, 0.35),
        num_digits=(6, 6), marks=",",
    )  # fmt: skip
    images, targets = data.arrays(30)
    boxes = boxes_of(targets, (240, 320))
    with_dots = 0
    for image, labels, of_image in zip(
        images[..., 0].astype(int), targets["labels"], boxes, strict=True
    ):
        heights = of_image[:, 3] - of_image[:, 1]
        for label, box, height in zip(labels, of_image, heights, strict=True):
            if label != 10:
                continue
            with_dots += 1
            # Its corners are turned and slanted, those of round digits are not.
            assert height >= 0.9 * heights[labels < 10].max()
            left, top, right, bottom = box.astype(int)
            ink = np.abs(image[:, left + 2 : right - 2] - GREY) > 40
            # All of a comma, which reaches below the digits.
            assert ink[(top + bottom) // 2 : bottom].any()
            assert not ink[bottom + 3 :].any()
    assert with_dots > 10


def test_marks_are_not_among_real_digits(faces, textures):
    with pytest.raises(ValueError, match="`crops` beside"):
        NumbersInPhotos(faces, textures, some_crops(), marks=".")


def test_marks_are_looked_at_before_any_font(monkeypatch):
    monkeypatch.setattr(module, "load_faces", None)
    with pytest.raises(ValueError, match="marks=5"):
        numbers_in_photos("test", marks=5)
    with pytest.raises(ValueError, match="marks='\u4e00'"):
        fonts.load_faces("test", fonts.matplotlib_folder(), "\u4e00")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_digits": (3, 2)}, "two integers in order"),
        ({"num_digits": 3}, "num_digits=3"),
        ({"empty": 1.5}, "empty=1.5"),
        ({"reading_order": "up"}, "reading_order='up'"),
        ({"width": (0.5, 0.1)}, r"width=\(0.5, 0.1\)"),
        ({"width": (0, 0.1)}, r"width=\(0, 0.1\)"),
        ({"width": 0.1}, "width=0.1"),
        ({"contrast": 200}, "contrast=200"),
        ({"image_size": 0}, "image_size=0"),
        ({"image_size": (480, 31)}, r"image_size=\(480, 31\)"),
        ({"seed": -1}, "seed=-1"),
        ({"marks": "1-"}, "marks='1-'"),
        ({"marks": "--"}, "marks='--'"),
        ({"marks": "\u00a0"}, "no digits"),
        ({"marks": 5}, "marks=5"),
        ({"marks": "\u4e00"}, "without"),  # no face of these has it
    ],
)
def test_other_options_are_refused(faces, textures, options, message):
    with pytest.raises(ValueError, match=message):
        NumbersInPhotos(faces, textures, **options)


def test_no_faces_and_no_grounds_are_refused(faces, textures):
    with pytest.raises(ValueError, match="faces of 0 lists"):
        NumbersInPhotos([], textures)
    with pytest.raises(ValueError, match="faces of 0 lists"):
        NumbersInPhotos(faces[0], textures)
    with pytest.raises(ValueError, match="grounds of 1 lists"):
        NumbersInPhotos(faces, [[]])
    with pytest.raises(ValueError, match=r"\[1, 3\] channels"):
        NumbersInPhotos(faces, [[*textures[0], np.zeros((9, 9, 3), "uint8")]])
    with pytest.raises(ValueError, match="channels"):
        NumbersInPhotos(faces, [[np.zeros((9, 9))]])
    with pytest.raises(ValueError, match="split"):
        numbers_in_photos("all")
    with pytest.raises(ValueError, match="colour='no'"):
        numbers_in_photos("test", colour="no")


def test_real_digits_are_apart_by_the_pictures_they_are_of(tmp_path):
    names = ["1.png", "3299.png", "3300.png", "3599.png", "3600.png"]
    box = {"label": 1, "left": 0, "top": 0, "width": 8, "height": 16}
    entries = {name: {"boxes": [box, box]} for name in names}
    (tmp_path / "house_numbers.json").write_text(json.dumps(entries))
    x = np.zeros((10, 32, 32, 3), "uint8") + np.arange(
        10, dtype="uint8"
    ).reshape(10, 1, 1, 1)  # (10, 1, 1, 1)
    path = tmp_path / "digits_32x32.npz"
    np.savez(path, x=x, y=np.arange(10, dtype="uint8"))
    for split, chosen in (
        ("train", [0, 1, 2, 3]),
        ("validation", [4, 5, 6, 7]),
        ("test", [8, 9]),
    ):
        digits, labels, aspects = house_numbers.read_split_digits(path, split)
        assert labels.tolist() == digits[:, 0, 0, 0].tolist() == chosen
        assert aspects.tolist() == [0.5] * len(chosen)
    with pytest.raises(ValueError, match="some of each of the ten"):
        numbers_in_photos("test", grounds="texture", crops=path)
    with pytest.raises(ValueError, match=r"nothing\.npz|house_numbers\.json"):
        numbers_in_photos("test", grounds="texture", crops=tmp_path / "a" / "b")
