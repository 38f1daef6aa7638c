import numpy as np
import pytest
from fake_builder import FakeBuilder, UnreachableBuilder

from keras_edram.datasets import CIFAR10_CLASSES, cifar10


def colours(count):
    """Pictures of one colour each, no channel like another."""
    levels = np.arange(count)[:, None] * [1, 2, 4] + [1, 2, 3]
    images = np.broadcast_to(levels[:, None, None], (count, 32, 32, 3))
    return images.astype("uint8")


class FakeCifar10(FakeBuilder):
    name = "cifar10"
    counts = {"train": 60, "test": 12}

    def pictures(self, count):
        return colours(count)


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr("tensorflow_datasets.builder", FakeCifar10)


@pytest.mark.parametrize(
    "split, part", [("train", np.s_[:54]), ("validation", np.s_[54:60])]
)
def test_the_last_tenth_of_the_training_pictures_is_for_validation(
    fake, split, part
):
    data = cifar10(split)  # of 60 pictures 54 and 6
    np.testing.assert_array_equal(data.images, colours(60)[part])
    np.testing.assert_array_equal(data.labels, (np.arange(60) % 10)[part])


def test_test_pictures_are_those_of_the_test_part(fake):
    images, targets = cifar10("test").arrays(12)
    labels = targets["labels"][:, 0]
    # Twelve pictures with ten labels: sort by the first channel instead.
    order = np.argsort(images[:, 0, 0, 0])
    np.testing.assert_array_equal(images[order], colours(12))
    np.testing.assert_array_equal(labels[order], np.arange(12) % 10)


def test_grey_is_the_rounded_luma(fake):
    data = cifar10("train", colour=False)
    assert data.images.shape == (54, 32, 32, 1)
    assert data.images.dtype == np.uint8
    # The luma of ITU-R BT.601; halves are rounded up.
    expected = colours(54) @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_array_equal(
        data.images[..., 0], np.floor(expected + 0.5).astype("uint8")
    )


def test_white_and_black_stay_white_and_black(monkeypatch):
    class Extremes(FakeCifar10):
        counts = {"test": 2}

        def pictures(self, count):
            levels = np.array([0, 255], "uint8")[:, None, None, None]
            return np.broadcast_to(levels, (count, 32, 32, 3))

    monkeypatch.setattr("tensorflow_datasets.builder", Extremes)
    grey = cifar10("test", colour=False).images
    # The weights of red, green and blue sum to 1.
    assert (grey[0] == 0).all() and (grey[1] == 255).all()


def test_options_and_seeds_reach_the_sequence(fake):
    data = cifar10("train", max_shift=4, mirror=True, seed=2)
    assert data.max_shift == 4 and data.mirror
    images, targets = cifar10("test", image_size=60).arrays(5)
    assert images.shape == (5, 60, 60, 3)
    zoom = targets["transforms"][:, 0, [0, 1], [0, 1]]
    # Pictures of 32 pixels, somewhere on images of 60.
    np.testing.assert_allclose(zoom, 32 / 60, rtol=1e-5)
    seeds = {
        cifar10(split, seed=seed).seed
        for split in ("train", "validation", "test")
        for seed in range(3)
    }
    assert len(seeds) == 3 * 3  # another one for each split and seed


def test_an_unknown_split_is_refused_before_anything_is_read():
    with pytest.raises(ValueError, match="Received: split='dev'"):
        cifar10("dev")


def test_without_a_network_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setattr("tensorflow_datasets.builder", UnreachableBuilder)
    with pytest.raises(RuntimeError, match="cifar10.*no route.*TFDS_DATA_DIR"):
        cifar10("train")


@pytest.fixture(scope="module")
def prepared():
    """Skips unless the real data set is there: no test downloads it."""
    import tensorflow_datasets as tfds

    builder = tfds.builder("cifar10")
    if not builder.is_prepared():
        pytest.skip(f"needs CIFAR-10 in {builder.data_dir} (TFDS_DATA_DIR)")
    return builder


def test_the_real_pictures_are_cifar_10(prepared):
    assert prepared.info.splits["train"].num_examples == 50_000
    names = tuple(prepared.info.features["label"].names)
    # A copy that was prepared by hand may have numbers for names.
    assert names in (CIFAR10_CLASSES, tuple("0123456789"))
    data = cifar10("test", mirror=True)
    assert data.images.shape == (10_000, 32, 32, 3)
    np.testing.assert_array_equal(np.bincount(data.labels), [1000] * 10)
    # The usual figures for the test part: 0.4942, 0.4851 and 0.4504 of 255.
    np.testing.assert_allclose(
        data.images.mean(axis=(0, 1, 2)), [126.02, 123.71, 114.85], atol=0.01
    )


def test_the_real_grey_pictures_have_the_mean_of_their_luma(prepared):
    grey = cifar10("test", colour=False).images
    assert grey.shape == (10_000, 32, 32, 1)
    # The means of the channels, see the test above, as the luma weighs them.
    expected = np.dot([126.02, 123.71, 114.85], [0.299, 0.587, 0.114])
    np.testing.assert_allclose(grey.mean(), expected, atol=0.02)
