"""Grounds that numbers are put on: photographs, mosaics, texture; by split.

Letters in shapes: h w of a ground, which differ.
"""

import importlib.util
import pathlib

import numpy as np

from keras_edram.checks import check_choice
from keras_edram.datasets.cifar10 import VALIDATION_FRACTION
from keras_edram.datasets.fonts import split_of_name
from keras_edram.datasets.random_sequence import SPLITS
from keras_edram.datasets.tfds import part_of_split, read_tfds
from keras_edram.pictures import look_at_picture

KINDS = ("photographs", "cifar10", "texture")
# The photographs inside the wheel of scikit-image. Not there: those of text,
# drawings, and tables of anything else.
SPLIT_OF_PHOTOGRAPH = {
    "astronaut.png": "train",
    "brick.png": "train",
    "camera.png": "train",
    "cell.png": "train",
    "coffee.png": "train",
    "coins.png": "train",
    "grass.png": "train",
    "hubble_deep_field.jpg": "train",
    "moon.png": "train",
    "retina.jpg": "train",
    "chelsea.png": "validation",
    "clock_motion.png": "validation",
    "gravel.png": "validation",
    "ihc.png": "test",
    "motorcycle_left.png": "test",
    "motorcycle_right.png": "test",
    "rocket.jpg": "test",
}
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
LONGEST_SIDE = 800  # pixels that are kept of a photograph
MOST_PHOTOGRAPHS = 200  # of a folder: as many are kept in memory
NUM_MOSAICS = 100
MOST_TILES = 6  # pictures along a side of a mosaic
NUM_TEXTURES = 40
TEXTURE_SIZE = (360, 480)  # height and width
OCTAVES = (3, 7, 15, 40, 110, 300)  # cells along the width


def load_grounds(split, kinds=None, *, colour=False):
    """The grounds of one split, of each kind that is asked for.

    Args:
        split: `"train"`, `"validation"` or `"test"`. The name of a photograph's
            file says where it belongs.
        kinds: One or several of `"photographs"`, the sample pictures of
            scikit-image; `"cifar10"`, mosaics of pictures of CIFAR-10, from
            TensorFlow Datasets; `"texture"`, patterns that are computed; and
            paths of folders of photographs, of which at most
            `MOST_PHOTOGRAPHS` are used. By default texture, and photographs
            where scikit-image is installed.
        colour: Boolean, whether grounds have three channels. Defaults to
            False.

    Returns:
        List of lists of uint8 arrays of shape `(h, w)` or `(h, w, 3)`, one for
        each kind.

    Raises:
        ValueError: For an unknown split, what is neither a kind nor a folder,
            photographs without scikit-image, or a folder that has none of this
            split.
        RuntimeError: If TensorFlow Datasets has no CIFAR-10 and cannot get it.

    Example:

    >>> texture = load_grounds("test", "texture")
    >>> len(texture), len(texture[0])
    (1, 40)
    """
    check_choice(split, SPLITS, "split")
    if kinds is None:
        kinds = ["photographs"] if _sample_folder() else []
        kinds.append("texture")
    elif not isinstance(kinds, (list, tuple)):
        kinds = [kinds]
    loaders = {
        "photographs": _sample_photographs,
        "cifar10": _mosaics,
        "texture": _textures,
    }
    grounds = []
    for kind in kinds:
        if isinstance(kind, str) and kind in loaders:
            grounds.append(loaders[kind](split, colour))
        else:
            grounds.append(_photographs_of(kind, split, colour))
    if not grounds:
        raise ValueError(
            f"`grounds` must be one or several of {KINDS}, or folders. "
            f"Received: grounds={kinds!r}"
        )
    return grounds


def _sample_folder():
    """The folder of scikit-image's pictures, or `None`; imports nothing."""
    found = importlib.util.find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        return None
    folder = pathlib.Path(found.submodule_search_locations[0], "data")
    return folder if folder.is_dir() else None


def _sample_photographs(split, colour):
    folder = _sample_folder()
    if folder is None:
        raise ValueError(
            "The photographs of `grounds` are those of scikit-image: pip "
            'install "keras-edram[photos]". '
            "Received: grounds='photographs' without scikit-image"
        )
    return [
        _photograph(folder / name, colour)
        for name, its_split in SPLIT_OF_PHOTOGRAPH.items()
        if its_split == split and (folder / name).is_file()
    ]


def _photographs_of(folder, split, colour):
    """Those of a user's folder that belong to a split."""
    path = (
        pathlib.Path(folder)
        if isinstance(folder, (str, pathlib.PurePath))
        else None
    )
    if path is None or not path.is_dir():
        raise ValueError(
            f"`grounds` must be one or several of {KINDS}, or folders of "
            f"photographs. Received: grounds={folder!r}"
        )
    files = [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix.lower() in SUFFIXES and split_of_name(file.name) == split
    ]
    if not files:
        raise ValueError(
            f"The folder of `grounds` must have photographs that belong to "
            f"{split!r} by their names, which about 70 of 100 do to train, 10 "
            f"to validation and 20 to test. Received: grounds={str(folder)!r}"
        )
    return [_photograph(file, colour) for file in files[:MOST_PHOTOGRAPHS]]


def _photograph(path, colour):
    from PIL import Image

    picture, _ = look_at_picture(path, colour=colour)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BOX)
    return np.asarray(picture)


def _mosaics(split, colour):
    """Pictures of CIFAR-10 side by side: the fewer, the more enlarged."""
    images, labels = read_tfds(
        "cifar10", "test" if split == "test" else "train"
    )
    images, _ = part_of_split(images, labels, split, VALIDATION_FRACTION)
    generator = _generator(split)
    mosaics = []
    for _ in range(NUM_MOSAICS):
        rows, columns = generator.integers(1, MOST_TILES + 1, 2)
        chosen = images[generator.integers(len(images), size=(rows, columns))]
        mosaic = chosen.swapaxes(1, 2)  # (rows, h, columns, w, 3)
        mosaic = mosaic.reshape(rows * 32, columns * 32, 3)  # (h, w, 3)
        mosaics.append(_grey(mosaic) if not colour else mosaic)
    return mosaics


def _textures(split, colour):
    """Smooth noise of several sizes, stripes and hard edges, mixed."""
    generator = _generator(split)
    textures = []
    for _ in range(NUM_TEXTURES):
        level = _pattern(generator)[..., None]
        colours = generator.uniform(0, 255, (2, 3))
        # Two colours and what is between them.
        texture = colours[0] + (colours[1] - colours[0]) * level
        texture += generator.normal(0, generator.uniform(0, 8), level.shape)
        texture = texture.clip(0, 255).astype("uint8")
        textures.append(texture if colour else _grey(texture))
    return textures


def _pattern(generator):
    """Values in [0, 1] at each place of a texture."""
    from PIL import Image

    height, width = TEXTURE_SIZE
    stretch = np.exp(generator.uniform(-1.2, 1.2))
    steepness = generator.uniform(0.4, 1.6)
    pattern = np.zeros(TEXTURE_SIZE, "float32")
    for cells in OCTAVES:
        shape = (
            max(2, round(cells * height / width * stretch)),
            max(2, round(cells / stretch)),
        )
        noise = generator.normal(size=shape).astype("float32")
        noise *= (OCTAVES[0] / cells) ** steepness * generator.uniform(0, 1)
        pattern += np.asarray(
            Image.fromarray(noise).resize(
                (width, height), Image.Resampling.BICUBIC
            )
        )
    if generator.random() < 0.3:  # stripes, straight or bent by the noise
        y, x = np.indices(TEXTURE_SIZE) / height
        turn, waves = generator.uniform(0, np.pi), generator.uniform(5, 60)
        across = np.cos(turn) * x + np.sin(turn) * y
        bend = generator.uniform(0, 2)
        pattern = np.sin(waves * across + bend * pattern).astype("float32")
    pattern = (pattern - pattern.mean()) / (pattern.std() + 1e-6)
    # Smooth, or in two levels with an edge between them.
    sharpness = np.exp(generator.uniform(-0.7, 2))
    return 1 / (1 + np.exp(-sharpness * pattern))


def _generator(split):
    return np.random.default_rng([20, SPLITS.index(split)])


def _grey(picture):
    from PIL import Image

    return np.asarray(Image.fromarray(picture).convert("L"))
