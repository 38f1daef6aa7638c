"""Distorted images: what moves, what changes, and what stays as it was."""

import numpy as np
import pytest

from keras_edram.datasets import (
    DistortedImages,
    InTurn,
    RandomSequence,
    cluttered_mnist,
    printed_numbers,
)

NONE = dict(turn=0, slant=0, contrast=0, blur=0, noise=0)
SIZE = (60, 90)  # height and width


class Spots(RandomSequence):
    """An upright ellipse an image, which fills the window of its target."""

    fingerprint = "spots"

    def __init__(self, channels=1, size=SIZE):
        super().__init__(
            num_pictures=5,
            image_shape=(*size, channels),
            num_targets=2,
            class_names=["spot"],
            terminal=True,
        )

    def _compose(self, start, stop):
        count = stop - start
        images = np.full((count, *self.image_shape), 40, "uint8")
        labels = np.tile(np.array([[0, 1]], "int32"), (count, 1))
        transforms = np.zeros((count, 2, 2, 3), "float32")
        height, width = self.image_shape[:2]
        y, x = np.indices((height, width)) + 0.5
        x, y = 2 * x / width - 1, 2 * y / height - 1
        for row, index in enumerate(range(start, stop)):
            wide, high = 0.15 + 0.01 * (index % 4), 0.45
            left, down = -0.3 + 0.1 * (index % 5), 0.1
            inside = ((x - left) / wide) ** 2 + ((y - down) / high) ** 2 < 1
            images[row][inside] = 220
            transforms[row, 0] = [[wide, 0, left], [0, high, down]]
        return images, labels, transforms


def window_of(image):
    """What the bright part of an image fills, as a transform."""
    rows, columns = np.nonzero(image[..., 0] > 130)
    height, width = SIZE
    left, right = 2 * np.array([columns.min(), columns.max() + 1]) / width - 1
    top, bottom = 2 * np.array([rows.min(), rows.max() + 1]) / height - 1
    return [
        [(right - left) / 2, 0, (right + left) / 2],
        [0, (bottom - top) / 2, (bottom + top) / 2],
    ]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("options", [dict(turn=30), dict(slant=30)])
def test_a_window_goes_with_what_fills_it(options, channels):
    data = DistortedImages(Spots(channels), **NONE | options)
    images, targets = data.arrays(20)
    before, _ = Spots(channels).arrays(20)
    assert images.shape == before.shape and images.dtype == np.uint8
    for image, transform in zip(images, targets["transforms"], strict=True):
        # To two pixels: the edge of an ellipse is not on the pixels'.
        np.testing.assert_allclose(
            transform[0], window_of(image), atol=2 * 2 / min(SIZE)
        )
    moved = np.abs(images.astype(int) - before).mean(axis=(1, 2, 3))
    assert (moved > 0).mean() > 0.8
    # What ends the sequence has no window, as before.
    assert not targets["transforms"][:, 1].any()
    np.testing.assert_array_equal(
        targets["labels"], Spots().arrays(20)[1]["labels"]
    )


def test_a_turn_is_one_of_pixels_though_images_are_not_square():
    """Against the ellipse itself, turned by each angle that there is."""
    height, width = SIZE
    y, x = np.indices(SIZE) + 0.5 - np.array(SIZE)[:, None, None] / 2
    images, _ = DistortedImages(Spots(), **NONE | dict(turn=30)).arrays(8)
    _, before = Spots().arrays(8)
    for image, window in zip(images, before["transforms"][:, 0], strict=True):
        wrong = []
        for angle in np.deg2rad(np.arange(-30, 30.5, 0.5)):
            # Where each pixel was.
            across = np.cos(angle) * x + np.sin(angle) * y
            along = np.cos(angle) * y - np.sin(angle) * x
            across = (2 * across / width - window[0, 2]) / window[0, 0]
            along = (2 * along / height - window[1, 2]) / window[1, 1]
            inside = across**2 + along**2 < 1
            wrong.append((inside != (image[..., 0] > 130)).sum())
        assert min(wrong) < 0.08 * inside.sum() < max(wrong)


@pytest.mark.parametrize("size", [(54, 54), (40, 160), (160, 40)])
def test_what_was_beyond_the_image_is_as_its_border(size):
    class Grey(Spots):
        def _compose(self, start, stop):
            images, labels, transforms = super()._compose(start, stop)
            return np.full_like(images, 200), labels, transforms

    data = DistortedImages(Grey(size=size), **NONE | dict(turn=45, slant=45))
    # Steep ones too are among 200.
    assert (data.arrays(200)[0] == 200).all()


def test_with_nothing_to_change_images_stay_as_they_are():
    data = DistortedImages(Spots(3), **NONE)
    images, targets = data.arrays(7, 2)
    expected, told = Spots(3).arrays(7, 2)
    np.testing.assert_array_equal(images, expected)
    np.testing.assert_allclose(
        targets["transforms"], told["transforms"], atol=1e-6
    )


def test_noise_is_a_part_of_the_contrast_and_blur_takes_edges():
    (plain,), _ = Spots().arrays(1)
    images, _ = DistortedImages(Spots(), **NONE | dict(noise=0.4)).arrays(400)
    differences = images[::20].astype("float32") - plain
    deviations = differences.std(axis=(1, 2, 3)) / plain.std()
    # From none to all of it, each as often: 0.2 on the mean.
    assert 0.15 < deviations.mean() < 0.25 and deviations.max() < 0.41
    images, _ = DistortedImages(Spots(), **NONE | dict(blur=3)).arrays(20)
    steps = np.abs(np.diff(images.astype(int), axis=2)).max(axis=(1, 2, 3))
    assert steps.max() <= 180 and steps.min() < 60


def test_contrast_leaves_black_and_white():
    data = DistortedImages(cluttered_mnist("train"), **NONE | dict(contrast=1))
    images, _ = data.arrays(16)
    before, _ = data.sequence.arrays(16)
    for value in (0, 255):
        np.testing.assert_array_equal(images[before == value], value)
    grey = before == 128
    assert images[grey].min() < 90 and images[grey].max() > 165
    # It keeps the order of brightness.
    for image, old in zip(images, before, strict=True):
        order = np.argsort(old.ravel(), kind="stable")
        assert (np.diff(image.ravel()[order].astype(int)) >= 0).all()


def test_an_image_depends_on_its_number_and_the_seed_alone():
    data = DistortedImages(Spots())
    images, _ = data.arrays(9)
    np.testing.assert_array_equal(data.arrays(9, 6)[0], images[6:])
    (_, _), (batch, _) = data.dataset(4, 2)
    np.testing.assert_array_equal(batch, images[4:8])
    assert (DistortedImages(Spots(), seed=1).arrays(9)[0] != images).any()
    assert len(data.arrays(3, 3)[0]) == 0
    # What is distorted stays as it was.
    np.testing.assert_array_equal(
        data.sequence.arrays(9)[0], Spots().arrays(9)[0]
    )


def test_it_tells_what_the_sequence_tells():
    numbers = printed_numbers("train", reading_order="backward")
    data = DistortedImages(numbers)
    for name in ("reading_order", "class_names", "terminal", "num_targets"):
        assert getattr(data, name) == getattr(numbers, name)
    assert data.num_classes == numbers.num_classes
    assert data.fingerprint == numbers.fingerprint
    assert DistortedImages(Spots()).fingerprint == "spots"


@pytest.mark.parametrize(
    "options",
    [
        dict(turn=46),
        dict(turn=-1),
        dict(slant=90),
        dict(contrast=-0.1),
        dict(contrast=4),
        dict(blur="much"),
        dict(blur=101),
        dict(noise=11),
        dict(noise=float("nan")),
        dict(seed=-1),
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="Received: "):
        DistortedImages(Spots(), **options)


def test_images_of_several_sizes_are_refused():
    sizes = InTurn(
        [cluttered_mnist("train", image_size=size) for size in (40, 50)]
    )
    with pytest.raises(ValueError, match="must have images of one size"):
        DistortedImages(sizes)


def test_what_is_no_sequence_of_pictures_is_refused():
    class Floats(Spots):
        def _compose(self, start, stop):
            images, *targets = super()._compose(start, stop)
            return images / 255, *targets

    with pytest.raises(ValueError, match="Received: NoneType"):
        DistortedImages(None)
    for channels in (2, 4):
        with pytest.raises(ValueError, match="one or three channels. Received"):
            DistortedImages(Spots(channels))
    with pytest.raises(ValueError, match="Received: dtype=float64"):
        DistortedImages(Floats()).arrays(1)
