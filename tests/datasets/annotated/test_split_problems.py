"""What is odd about all splits of a folder together."""

import numpy as np
import pytest
from annotated_folders import HEADER, picture

from keras_edram.datasets import folder, read_folder

NAMES = ("train", "valid", "test")


def write(directory, **rows):
    """Pictures and a table of each split; rows as (file, seed, labels...)."""
    for split in NAMES:
        lines = [HEADER]
        for name, seed, *labels in rows.get(split, [("a.png", split, "x")]):
            seed = sum(map(ord, str(seed)))
            pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3))
            picture(directory / split / name, pixels.astype("uint8"))
            lines += [
                f'{name},"{label}",2,{2 + 3 * i},9,{5 + 3 * i}'
                for i, label in enumerate(labels)
            ] or [f"{name},,,,,"]
        text = "\n".join(lines)
        (directory / split / "boxes.csv").write_text(text, "utf-8")
    return directory


def problems(directory):
    found = read_folder(directory).problems
    return [(p.file, p.what, p.broken) for p in found]


def test_nothing_is_odd_about_most_folders(tmp_path):
    assert problems(write(tmp_path)) == []
    assert folder(tmp_path, "train", image_size=9).num_pictures == 1


def test_the_same_picture_in_two_splits_is_noted_whatever_its_name(tmp_path):
    rows = [("a.png", "train", "x"), ("b.png", "train", "x")]
    write(
        tmp_path,
        train=rows,  # twice in one split is the user's choice
        test=[("other.png", "train", "x"), ("c.png", 5, "x")],
    )
    what = "is the same picture as train/a.png, which is for train"
    assert problems(tmp_path) == [("test/other.png", what, False)]
    said = r"in another split, too: 1, as test/other.png \(is the same"
    with pytest.warns(UserWarning, match=said):
        folder(tmp_path, "train", image_size=9)
    folder(tmp_path, "test", image_size=9)  # said once is enough


def test_classes_that_people_read_as_one_are_noted(tmp_path):
    labels = ("dog", "Dog", "d og", "１2", "12", "12'")
    others = {split: [("a.png", split, "dog")] for split in ("valid", "test")}
    write(tmp_path, train=[("a.png", 1, *labels)], **others)
    found = problems(tmp_path)
    assert [file for file, *_ in found] == [".", "."]
    assert """classes '12', '１2', "12'" differ in case, white""" in found[0][1]
    assert "classes 'Dog', 'd og', 'dog' differ in case" in found[1][1]
    with pytest.warns(UserWarning) as said:
        folder(tmp_path, "train", image_size=9)
    assert "'Dog', 'd og', 'dog' differ" in str(said[1].message)
    assert "are they one?; `keras-edram check-data" in str(said[1].message)


def test_white_space_and_marks_around_a_label_are_none_of_it(tmp_path):
    train = [("a.png", 1, "x ", "\ufeffx", " x")]
    assert problems(write(tmp_path, train=train)) == []
    assert read_folder(tmp_path).class_names == ("x",)


def test_more_objects_than_for_training_are_noted(tmp_path):
    write(tmp_path, valid=[("a.png", 1, "x", "x", "x"), ("b.png", 2, "x")])
    what = "has 3 objects, no picture for training more than 1: no model learns"
    assert problems(tmp_path) == [
        ("valid/a.png", f"{what} to read so many", False)
    ]
    with pytest.warns(UserWarning, match="1, as valid/a.png .has 3 objects"):
        train = folder(tmp_path, "train", image_size=9)
    assert train.num_targets == 4


def test_without_any_object_nothing_is_trained(tmp_path):
    nothing = {split: [("a.png", split)] for split in NAMES}
    write(tmp_path, **nothing)
    assert problems(tmp_path) == [(".", "no picture has an object", True)]
    with pytest.raises(ValueError, match="an object. Received: 1 pictures"):
        folder(tmp_path, "train", image_size=9)
    assert folder(tmp_path, "test", image_size=9).num_targets == 1


def test_letters_that_nobody_sees_make_no_other_class_unnoticed(tmp_path):
    labels = ("x", "dog", "d\u00adog", "do\u200dg", "\u202edog")
    write(tmp_path, train=[("a.png", 1, *labels)])
    ((_, what, broken),) = problems(tmp_path)
    assert not broken and "what cannot be seen alone: are they one?" in what


def test_a_class_that_only_others_than_training_have_is_noted(tmp_path):
    train = [("a.png", 1, "x", "x")]
    write(tmp_path, train=train, test=[("a.png", 5, "x", "dgo")])
    what = "no picture for training has an object of dgo, others have: no "
    assert problems(tmp_path) == [
        (".", f"{what}model learns to read that", False)
    ]
    with pytest.warns(UserWarning, match="an object of dgo"):
        folder(tmp_path, "train", image_size=9)


def test_a_table_without_a_line_is_no_data(tmp_path):
    picture(tmp_path / "a.png", np.zeros((9, 9, 3), "uint8"))
    (tmp_path / "boxes.csv").write_text(HEADER)
    assert (".", "no picture has an object", True) in problems(tmp_path)
