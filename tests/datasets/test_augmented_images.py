import numpy as np
import pytest
import tensorflow as tf

from keras_edram import geometry
from keras_edram.datasets import AugmentedImages, load_digits, mnist

HEIGHT, WIDTH, CHANNELS = SHAPE = (5, 7, 3)


def pictures(count=6, shape=SHAPE):
    """Counted pictures, none like another or its mirror image, none black."""
    numbers = np.arange(count * np.prod(shape)) % 251  # a prime number
    images = (1 + numbers).astype("uint8").reshape(count, *shape)
    return images, np.arange(count)


def boxes(transforms, image_size):
    """Left, top, right, bottom of the only target, in whole pixels."""
    found = np.asarray(
        geometry.transforms_to_boxes(
            transforms[:, 0], box_format="xyxy", image_size=image_size
        )
    )
    np.testing.assert_allclose(found, found.round(), atol=1e-4)
    return found.round().astype(int)


def put(picture, left, top, image_size):
    """Slow: each pixel of a picture on a black image, if it is in there."""
    image = np.zeros((*image_size, picture.shape[-1]), "uint8")
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            if 0 <= top + y < image_size[0] and 0 <= left + x < image_size[1]:
                image[top + y, left + x] = picture[y, x]
    return image


@pytest.mark.parametrize(
    "options, image_size",
    [
        (dict(), (5, 7)),
        (dict(max_shift=2), (5, 7)),
        (dict(mirror=True), (5, 7)),
        (dict(max_shift=4, mirror=True), (5, 7)),
        (dict(image_size=(9, 12), mirror=True), (9, 12)),
        (dict(image_size=(5, 12)), (5, 12)),
        (dict(image_size=11), (11, 11)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_is_where_its_window_says(options, image_size, channels):
    images, labels = pictures(shape=(HEIGHT, WIDTH, channels))
    data = AugmentedImages(images, labels, **options)
    result, targets = data.arrays(60)
    assert result.shape == (60, *image_size, channels)
    assert result.dtype == np.uint8
    mirrored = 0
    for image, label, (left, top, right, bottom) in zip(
        result,
        targets["labels"][:, 0],
        boxes(targets["transforms"], image_size),
        strict=True,
    ):
        assert (right - left, bottom - top) == (WIDTH, HEIGHT)
        plain = put(images[label], left, top, image_size)
        other = put(images[label, :, ::-1], left, top, image_size)
        if (image == plain).all():
            continue
        np.testing.assert_array_equal(image, other)
        mirrored += 1
    # Of 60 with a probability of a half: 30 with a standard deviation of 4.
    assert 14 < mirrored < 46 if options.get("mirror") else mirrored == 0


def test_a_window_on_a_larger_canvas_gives_the_picture_back():
    images, labels = pictures()
    result, targets = AugmentedImages(
        images, labels, image_size=(20, 30)
    ).arrays(20)
    for image, label, (left, top, right, bottom) in zip(
        result,
        targets["labels"][:, 0],
        boxes(targets["transforms"], (20, 30)),
        strict=True,
    ):
        np.testing.assert_array_equal(
            image[top:bottom, left:right], images[label]
        )
        assert (image > 0).sum() == images[label].size


def test_a_mirrored_picture_has_a_window_of_positive_zoom():
    images, labels = pictures()
    _, targets = AugmentedImages(
        images, labels, mirror=True, max_shift=2
    ).arrays(40)
    transforms = targets["transforms"]
    assert transforms.dtype == np.float32
    np.testing.assert_allclose(
        transforms[:, 0, :, :2], np.broadcast_to(np.eye(2), (40, 2, 2))
    )


@pytest.mark.parametrize(
    "options, across, down",
    [
        # (first, last) corner along x and along y
        (dict(max_shift=2), (-2, 2), (-2, 2)),
        (dict(image_size=(8, 11)), (0, 4), (0, 3)),
    ],
)
def test_every_place_comes_about_equally_often(options, across, down):
    images, labels = pictures()
    data = AugmentedImages(images, labels, mirror=True, **options)
    _, targets = data.arrays(4000)
    corners = boxes(targets["transforms"], data.image_size)[:, :2]
    for corner, (first, last) in zip(corners.T, (across, down), strict=True):
        counts = np.bincount(corner - first)
        assert len(counts) == last - first + 1
        # 800 or 1000 each, with a standard deviation below 30.
        np.testing.assert_allclose(counts, 4000 / len(counts), atol=150)
    # Independent of each other.
    assert abs(np.corrcoef(corners.T)[0, 1]) < 0.06


def test_each_picture_comes_once_before_any_comes_again():
    images, labels = pictures(6)
    _, targets = AugmentedImages(images, labels, max_shift=1).arrays(30)
    passes = targets["labels"].reshape(5, 6)
    np.testing.assert_array_equal(np.sort(passes), [np.arange(6)] * 5)


def test_an_option_more_leaves_order_and_places_as_they_were():
    _, one = AugmentedImages(*pictures(), max_shift=2).arrays(20)
    _, other = AugmentedImages(*pictures(), max_shift=2, mirror=True).arrays(20)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize(
    "options",
    [dict(max_shift=2, mirror=True), dict(image_size=(9, 12), mirror=True)],
)
def test_the_same_images_come_in_whatever_way_they_are_asked_for(options):
    data = AugmentedImages(*pictures(), seed=3, **options)
    images, targets = data.arrays(24)
    some, of_some = data.arrays(17, 5)
    np.testing.assert_array_equal(some, images[5:17])
    again = AugmentedImages(*pictures(), seed=3, **options)
    dataset = again.dataset(4, num_batches=4, first_batch=2)
    batches = list(dataset.as_numpy_iterator())
    np.testing.assert_array_equal(
        np.concatenate([batch for batch, _ in batches]), images[8:]
    )
    for name in targets:
        np.testing.assert_array_equal(of_some[name], targets[name][5:17])
        np.testing.assert_array_equal(
            np.concatenate([truth[name] for _, truth in batches]),
            targets[name][8:],
        )
    height, width = data.image_size
    spec = dataset.element_spec
    assert spec[0] == tf.TensorSpec((4, height, width, 3), tf.uint8)
    assert spec[1]["labels"] == tf.TensorSpec((4, 1), tf.int32)


def test_the_pictures_themselves_are_left_as_they_are():
    images, labels = pictures()
    kept = images.copy()
    data = AugmentedImages(images, labels, max_shift=2, mirror=True)
    given, _ = data.arrays(12)
    given[:] = 0
    np.testing.assert_array_equal(images, kept)


@pytest.mark.parametrize(
    "options, received",
    [
        (dict(images=np.zeros((6, 5, 7), "uint8")), "images.shape"),
        (dict(images=np.zeros((6, 5, 7, 1), "float32")), "images.dtype"),
        (dict(labels=np.zeros(5, int)), "labels.shape"),
        (dict(labels=np.zeros((6, 10), int)), "labels.shape"),
        (dict(labels=np.zeros(6)), "labels.dtype"),
        (dict(image_size=0), "image_size=0"),
        (dict(image_size=(9, 12, 3)), "image_size="),
        (dict(image_size=6), "image_size=6"),
        (dict(image_size=(4, 20)), "image_size="),
        (dict(mirror="no"), "mirror='no'"),
        (dict(max_shift=-1), "max_shift=-1"),
        (dict(max_shift=1.5), "max_shift=1.5"),
        (dict(max_shift=5), "max_shift=5"),
        (dict(max_shift=1, image_size=20), "max_shift=1, image_size=20"),
        (dict(seed=-1), "seed=-1"),
    ],
)
def test_what_does_not_fit_is_refused(options, received):
    images, labels = pictures()
    arguments = {"images": images, "labels": labels, **options}
    with pytest.raises(ValueError, match=f"Received: .*{received}"):
        AugmentedImages(**arguments)


def test_a_shift_within_an_image_of_the_pictures_size_is_fine():
    AugmentedImages(*pictures(), max_shift=1, image_size=(HEIGHT, WIDTH))


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_mnist_has_the_digits_of_its_split(split):
    data = mnist(split)
    digits = load_digits("bundled", split)
    images, targets = data.arrays(len(digits.images))
    assert images.shape[1:] == (28, 28, 1)
    # One pass: each digit once, in another order.
    given = {image.tobytes() for image in images}
    assert given == {image.tobytes() for image in digits.images}
    np.testing.assert_array_equal(
        np.bincount(targets["labels"][:, 0]), np.bincount(digits.labels)
    )


def test_mnist_takes_the_options_and_seeds_of_all():
    images, _ = mnist("test", image_size=60).arrays(3)
    assert images.shape == (3, 60, 60, 1)
    assert mnist("train", max_shift=2).max_shift == 2
    seeds = {
        mnist(split, seed=seed).seed
        for split in ("train", "validation", "test")
        for seed in range(3)
    }
    assert len(seeds) == 9
    with pytest.raises(ValueError, match="Received: split='dev'"):
        mnist("dev")
    with pytest.raises(ValueError, match="Received: source='web'"):
        mnist("test", source="web")
