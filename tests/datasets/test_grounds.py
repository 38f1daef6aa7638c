"""Grounds: photographs and patterns, apart for each split."""

import importlib.util
import itertools

import numpy as np
import pytest
from PIL import Image

from keras_edram.datasets import fonts, grounds
from keras_edram.datasets.random_sequence import SPLITS

needs_photographs = pytest.mark.skipif(
    importlib.util.find_spec("skimage") is None,
    reason="the photographs are those of scikit-image",
)


def test_texture_is_varied_and_the_same_every_time():
    ((*textures,),) = grounds.load_grounds("train", "texture")
    ((*again,),) = grounds.load_grounds("train", ["texture"])
    for one, other in zip(textures, again, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.shape == grounds.TEXTURE_SIZE and one.dtype == np.uint8
    assert len({texture.tobytes() for texture in textures}) == len(textures)
    assert np.median([texture.std() for texture in textures]) > 5


@needs_photographs
def test_each_split_has_photographs_of_its_own():
    found = {
        split: grounds.load_grounds(split, "photographs")[0] for split in SPLITS
    }
    for split, photographs in found.items():
        named = list(grounds.SPLIT_OF_PHOTOGRAPH.values()).count(split)
        assert len(photographs) == named >= 3
        for photograph in photographs:
            assert photograph.ndim == 2 and min(photograph.shape) >= 200
            assert max(photograph.shape) <= grounds.LONGEST_SIDE
    (colour,) = grounds.load_grounds("test", "photographs", colour=True)
    assert all(photograph.shape[2:] == (3,) for photograph in colour)


def test_the_two_of_a_pair_are_in_one_split():
    sides = {
        grounds.SPLIT_OF_PHOTOGRAPH[f"motorcycle_{side}.png"]
        for side in ("left", "right")
    }
    assert len(sides) == 1


def test_without_scikit_image_there_is_texture(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert len(grounds.load_grounds("train")) == 1
    with pytest.raises(ValueError, match=r'"keras-edram\[photos\]"'):
        grounds.load_grounds("train", "photographs")


def test_a_folder_is_split_by_the_names_of_its_files(tmp_path):
    values = {}
    (tmp_path / "inner").mkdir()
    for i, folder in zip(range(60), itertools.cycle(["", "inner"])):
        pixels = np.full((40, 50, 3), i, "uint8")
        pixels[0, 0] = 255
        Image.fromarray(pixels).save(tmp_path / folder / f"{i}.png")
        values[i] = fonts.split_of_name(f"{i}.png")
    (tmp_path / "notes.txt").write_text("no photograph")
    for split in SPLITS:
        ((*found,),) = grounds.load_grounds(split, tmp_path)
        expected = {i for i, its_split in values.items() if its_split == split}
        assert {int(ground[-1, -1]) for ground in found} == expected
        assert expected


def test_a_large_photograph_is_shrunk(tmp_path):
    for i in range(30):  # some of which belongs to training
        Image.fromarray(np.eye(64, dtype="uint8") * 200).resize(
            (1500, 900)
        ).save(tmp_path / f"{i}.png")
    (found,) = grounds.load_grounds("train", tmp_path)
    assert {ground.shape for ground in found} == {(480, 800)}


def test_mosaics_are_of_cifar10(monkeypatch):
    pictures = np.zeros((100, 32, 32, 3), "uint8")
    pictures += np.arange(100, dtype="uint8")[:, None, None, None]
    asked = []

    def read(name, split):
        asked.append((name, split))
        return pictures, np.zeros(100, "int64")

    monkeypatch.setattr(grounds, "read_tfds", read)
    expected = {
        "train": set(range(90)),
        "validation": set(range(90, 100)),
        "test": set(range(100)),
    }
    for split in SPLITS:
        ((*mosaics,),) = grounds.load_grounds(split, "cifar10", colour=True)
        seen = set()
        for mosaic in mosaics:
            assert mosaic.shape[0] % 32 == mosaic.shape[1] % 32 == 0
            tiles = mosaic[::32, ::32, 0]
            np.testing.assert_array_equal(
                mosaic[..., 0], np.kron(tiles, np.ones((32, 32)))
            )
            seen |= set(tiles.ravel().tolist())
        assert seen <= expected[split]
    assert asked == [
        ("cifar10", "train"),
        ("cifar10", "train"),
        ("cifar10", "test"),
    ]


@pytest.mark.parametrize("kinds", ["sand", "no/folder", 3, []])
def test_other_grounds_are_refused(kinds):
    with pytest.raises(ValueError, match="Received: grounds="):
        grounds.load_grounds("train", kinds)


def test_a_folder_without_photographs_is_refused(tmp_path):
    with pytest.raises(ValueError, match="belong to 'test' by their names"):
        grounds.load_grounds("test", tmp_path)
