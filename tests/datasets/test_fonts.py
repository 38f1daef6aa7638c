"""Faces of fonts: which split has them, and which can be read."""

import re
import shutil

import numpy as np
import pytest

from keras_edram.datasets import fonts
from keras_edram.datasets.random_sequence import SPLITS


@pytest.fixture(scope="module")
def of_matplotlib():
    return {
        split: [
            face
            for design in fonts.load_faces(split, fonts.matplotlib_folder())
            for face in design
        ]
        for split in SPLITS
    }


def test_each_split_has_some_of_the_fonts_of_matplotlib(of_matplotlib):
    numbers = {split: len(faces) for split, faces in of_matplotlib.items()}
    assert numbers["train"] >= 8
    assert numbers["validation"] >= 2 and numbers["test"] >= 2
    names = [f.path.name for faces in of_matplotlib.values() for f in faces]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "relatives, split",
    [
        (("DejaVu Sans", "DejaVu Sans Mono", "Hack", "Bitstream Vera Sans"),
         "train"),
        (("cmr10", "cmss10", "CMU Serif", "LM Roman 10", "Latin Modern Math"),
         "train"),
        (("DejaVu Serif", "DejaVu Serif Condensed", "Bitstream Vera Serif"),
         "validation"),
        (("STIXGeneral", "STIX Two Text", "XITS"), "test"),
        # Which of the three is all the same for the others.
        (("Liberation Sans", "Arimo", "Tinos", "Cousine", "Liberation Mono"),
         None),
        (("Nimbus Sans", "FreeSans", "TeX Gyre Heros", "URW Gothic", "C059"),
         None),
        (("Lato", "Lato Black", "Carlito"), None),
        (("Noto Sans", "Noto Sans Thai", "Open Sans", "Droid Sans Mono"), None),
        (("Gentium", "GentiumAlt", "Gentium Basic"), None),
    ],
)  # fmt: skip
def test_relatives_are_in_one_split(relatives, split):
    splits = {fonts.split_of_family(family) for family in relatives}
    assert len(splits) == 1
    assert split in (None, *splits)


def test_names_are_split_by_their_hash():
    names = [f"font{i}" for i in range(2000)]
    splits = [fonts.split_of_name(name) for name in names]
    shares = [splits.count(split) / len(names) for split in SPLITS]
    np.testing.assert_allclose(shares, [0.7, 0.1, 0.2], atol=0.04)
    # For ever: int(hashlib.sha256(name.encode()).hexdigest(), 16) % 100 of
    # these is 0, 9, 10, 29, 30 and 99.
    at_the_ends = [splits[i] for i in (104, 110, 14, 157, 72, 234)]
    assert at_the_ends == [
        *("validation", "validation", "test", "test", "train", "train")
    ]


@pytest.mark.parametrize("name", ["cmsy10.ttf", "cmex10.ttf"])
def test_a_font_of_symbols_is_left_out(name, of_matplotlib):
    assert not fonts.Face(fonts.matplotlib_folder() / name).has_digits
    kept = {f.path.name for faces in of_matplotlib.values() for f in faces}
    assert not [
        name for name in kept if re.match("cmsy|cmex|Last|STIXSiz", name)
    ]


def test_a_glyph_is_its_ink():
    face = fonts.Face(fonts.matplotlib_folder() / "DejaVuSans.ttf")
    heights = [face.glyph(digit).mask.shape[0] for digit in fonts.DIGITS]
    assert abs(max(heights) - fonts.HEIGHT) <= 3
    glyph = face.glyph("4")
    for edge in (glyph.mask[0], glyph.mask[-1], *glyph.mask.T[[0, -1]]):
        assert edge.any()
    ink = np.argwhere(glyph.mask >= fonts.INK)
    np.testing.assert_array_equal(
        glyph.outline.min(axis=0), ink.min(axis=0)[::-1]
    )
    np.testing.assert_array_equal(
        glyph.outline.max(axis=0), ink.max(axis=0)[::-1] + 1
    )
    assert face.letters == fonts.LETTERS


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match="a folder of font files"):
        fonts.load_faces("train", tmp_path / "nothing")
    with pytest.raises(ValueError, match="a folder of font files.*fonts='3'"):
        fonts.load_faces("train", 3)
    with pytest.raises(ValueError, match="belongs to 'test' by its name"):
        fonts.load_faces("test", tmp_path)
    with pytest.raises(ValueError, match="split='all'"):
        fonts.load_faces("all")


def test_a_users_folder_has_a_broken_file(tmp_path):
    shutil.copy(fonts.matplotlib_folder() / "cmr10.ttf", tmp_path)
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    ((face,),) = fonts.load_faces("train", [tmp_path])
    assert face.family == "cmr10"
