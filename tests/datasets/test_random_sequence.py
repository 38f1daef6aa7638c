import numpy as np
import pytest
import tensorflow as tf

from keras_edram.datasets import RandomSequence
from keras_edram.datasets.random_sequence import (
    SPLITS,
    split_seed,
    transform_rows,
    windows,
)
from keras_edram.losses import LabelLoss
from keras_edram.models import Baseline


class Noise(RandomSequence):
    """Images of noise, with other noise for their transforms."""

    def _compose(self, start, stop):
        count = stop - start
        pixels = int(np.prod(self.image_shape))
        numbers = self._uniform(start, count, pixels + 6 * self.num_targets)
        images = (256 * numbers[:, :pixels]).astype("uint8")
        rest = numbers[:, pixels : pixels + 6 * self.num_targets]
        return (
            images.reshape(count, *self.image_shape),
            self._order(start, count).astype("int32"),
            rest.reshape(count, self.num_targets, 2, 3).astype("float32"),
        )


def noise(**options):
    options = {
        "num_pictures": 7,
        "image_shape": (3, 5, 2),
        "pictures_per_image": options.get("num_targets", 1),
        **options,
    }
    return Noise(**options)


def test_an_image_depends_on_its_number_alone():
    data = noise(num_targets=2, seed=4)
    images, targets = data.arrays(30)
    for start, stop in ((0, 1), (13, 30), (6, 8), (9, 9)):
        some, of_some = data.arrays(stop, start)
        np.testing.assert_array_equal(some, images[start:stop])
        for name in targets:
            np.testing.assert_array_equal(
                of_some[name], targets[name][start:stop]
            )


@pytest.mark.parametrize("batch_size, first_batch", [(5, 0), (5, 2), (3, 7)])
def test_tf_data_gives_the_same_images_from_any_batch_on(
    batch_size, first_batch
):
    data = noise(num_targets=2, seed=4)
    start, stop = batch_size * first_batch, batch_size * (first_batch + 4)
    images, targets = data.arrays(stop, start)
    dataset = data.dataset(batch_size, num_batches=4, first_batch=first_batch)
    batches = list(dataset.as_numpy_iterator())
    assert len(batches) == 4
    np.testing.assert_array_equal(
        np.concatenate([batch for batch, _ in batches]), images
    )
    for name in targets:
        np.testing.assert_array_equal(
            np.concatenate([truth[name] for _, truth in batches]),
            targets[name],
        )


def test_the_dataset_tells_its_shapes_and_does_not_end():
    dataset = noise(num_targets=2).dataset(4, num_batches=-1)
    assert dataset.element_spec == (
        tf.TensorSpec((4, 3, 5, 2), tf.uint8),
        {
            "labels": tf.TensorSpec((4, 2), tf.int32),
            "transforms": tf.TensorSpec((4, 2, 2, 3), tf.float32),
        },
    )
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY


@pytest.mark.parametrize(
    "num_targets, batch_size, sizes",
    # 7 pictures; three an image make two images.
    [(1, 3, [3, 3, 1]), (1, 7, [7]), (1, 9, [7]), (3, 1, [1, 1])],
)
@pytest.mark.parametrize("first_batch", [0, 2])
def test_an_epoch_is_once_through_the_pictures(
    num_targets, batch_size, sizes, first_batch
):
    data = noise(num_targets=num_targets)
    dataset = data.dataset(batch_size, first_batch=first_batch)
    assert len(dataset) == len(sizes)
    start = batch_size * first_batch
    expected, _ = data.arrays(start + sum(sizes), start)
    for _ in range(2):  # each time the same
        batches = [batch for batch, _ in dataset.as_numpy_iterator()]
        assert [len(batch) for batch in batches] == sizes
        np.testing.assert_array_equal(np.concatenate(batches), expected)


def test_fit_knows_how_many_batches_an_epoch_has():
    model = Baseline((3, 5, 2), num_classes=7, units=2)
    model.compile("sgd", {"labels": LabelLoss()}, run_eagerly=True)
    model.fit(noise().dataset(2), epochs=2, verbose=0, shuffle=False)
    assert model.optimizer.iterations == 2 * 4


@pytest.mark.parametrize(
    "numbers", [(0,), (2.5,), (4, -2), (4, 2.0), (4, 2, -1)]
)
def test_numbers_of_batches_that_are_none_are_refused(numbers):
    with pytest.raises(ValueError, match="Received: "):
        noise().dataset(*numbers)


@pytest.mark.parametrize("num_targets", [1, 3])
def test_each_picture_comes_once_before_any_comes_again(num_targets):
    _, targets = noise(num_targets=num_targets).arrays(7 * 10)
    passes = targets["labels"].reshape(-1, 7)
    np.testing.assert_array_equal(
        np.sort(passes), np.broadcast_to(np.arange(7), passes.shape)
    )
    assert len(np.unique(passes, axis=0)) > len(passes) / 2  # shuffled anew


def test_another_seed_gives_other_images_and_another_order():
    (one, of_one), (other, of_other) = (
        noise(seed=seed).arrays(20) for seed in (0, 1)
    )
    assert (one != other).any(axis=(1, 2, 3)).all()
    assert (of_one["labels"] != of_other["labels"]).any()


def test_numbers_are_even_and_of_no_image_before():
    numbers = noise()._uniform(100, 5000, 6)
    assert numbers.shape[1] >= 6
    assert len(np.unique(numbers)) == numbers.size
    # A mean of 5000 uniform numbers has a standard deviation of 0.004.
    np.testing.assert_allclose(numbers.mean(axis=0), 0.5, atol=0.02)


def test_splits_and_seeds_have_random_streams_of_their_own():
    seeds = [split_seed(split, seed) for split in SPLITS for seed in range(4)]
    assert sorted(seeds) == list(range(len(seeds)))
    with pytest.raises(ValueError, match="Received: split='dev'"):
        split_seed("dev", 0)
    for seed in ("a", 1.5, -1):  # "a" times 3 is "aaa"
        with pytest.raises(ValueError, match=f"Received: seed={seed!r}"):
            split_seed("train", seed)


def test_windows_are_all_places_of_each_image_and_can_be_written_to():
    images = np.arange(2 * 4 * 5).reshape(2, 4, 5)
    places = windows(images, (2, 3))
    assert places.shape == (2, 3, 3, 2, 3)
    np.testing.assert_array_equal(places[1, 2, 1], images[1, 2:4, 1:4])
    places[1, 2, 1] = -1
    assert (images[1, 2:4, 1:4] == -1).all() and (images < 0).sum() == 6


def test_rows_of_transforms_follow_the_corner_of_the_picture():
    x_rows, y_rows = transform_rows((2, 4), (6, 10), margin=1)
    # Corners from -1 on; zoom w / W, centre 2 (x + w / 2) / W - 1.
    corners = np.arange(-1, 10 - 4 + 1 + 1)
    expected = [[0.4, 0, 2 * (x + 2) / 10 - 1] for x in corners]
    np.testing.assert_allclose(x_rows, expected, atol=1e-6)
    corners = np.arange(-1, 6 - 2 + 1 + 1)
    expected = [[0, 1 / 3, 2 * (y + 1) / 6 - 1] for y in corners]
    np.testing.assert_allclose(y_rows, expected, atol=1e-6)


@pytest.mark.parametrize(
    "options, received",
    [
        (dict(seed=-1), "seed=-1"),
        (dict(seed="a"), "seed='a'"),
        (dict(seed=1.5), "seed=1.5"),
        (dict(seed=None), "seed=None"),
        (dict(num_pictures=0), "num_pictures=0"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, received):
    with pytest.raises(ValueError, match=f"Received: .*{received}"):
        noise(**options)


@pytest.mark.parametrize("stop, start", [(3, 5), (3, -1), (-1, 0)])
def test_a_part_that_is_none_is_refused(stop, start):
    with pytest.raises(ValueError, match=f"Received: stop={stop}, start="):
        noise().arrays(stop, start)


@pytest.mark.parametrize("name", ["stop", "start"])
@pytest.mark.parametrize("value", [2.5, "2", None, True])
def test_a_part_of_no_integers_is_refused(name, value):
    with pytest.raises(ValueError, match=f"Received: {name}={value!r}"):
        noise().arrays(**{"stop": 3, "start": 1, name: value})


def test_integers_of_numpy_say_a_seed_and_a_part():
    images, _ = noise(seed=np.int64(2)).arrays(np.int32(3), np.uint8(1))
    expected, _ = noise(seed=2).arrays(3, 1)
    np.testing.assert_array_equal(images, expected)
