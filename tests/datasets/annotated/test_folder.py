"""The splits of a folder, and pictures of what is in it."""

import doctest
import importlib
import pathlib
import unicodedata

import numpy as np
import pytest
from annotated_folders import (
    HEADER,
    PICTURES,
    WRITERS,
    broken_folder,
    counted,
    picture,
    tree_hash,
)
from PIL import Image

import keras_edram.datasets
from keras_edram import visualization
from keras_edram.datasets import (
    Annotations,
    Problem,
    folder,
    read_annotations,
    read_folder,
    read_splits,
)
from keras_edram.datasets.annotated.folder import hash_fraction
from keras_edram.visualization import canvas, contact_sheet

# Splits

# What the SHA-256 of their names says, for ever.
TEST_OF_60 = {f"{i}.png" for i in (0, 6, 8, 33, 40, 42)}
VALIDATION_OF_60 = {f"{i}.png" for i in (7, 14, 18, 34, 38, 44)}


def many(directory, count, prefix=""):
    """Pictures in a table, one of them with more objects than the others."""
    lines = [HEADER]
    for i in range(count):
        # No two are the same.
        pixels = counted((9, 7))
        pixels[0, 0] = i % 256, i // 256, sum(map(ord, prefix))
        picture(directory / f"{prefix}{i}.png", pixels)
        lines.append(f"{prefix}{i}.png,{prefix}x,1,1,5,5")
    lines.append(f"{prefix}0.png,{prefix}y,5,1,9,5")
    (directory / "boxes.csv").write_text("\n".join(lines))


def names(annotations):
    return {file.path.name for file in annotations.pictures}


def test_a_picture_stays_in_its_split_when_others_are_added(tmp_path):
    many(tmp_path, 60)
    few = read_splits(tmp_path)
    assert set.union(*map(names, few.values())) == {
        f"{i}.png" for i in range(60)
    }
    assert sum(len(part.pictures) for part in few.values()) == 60
    assert names(few["test"]) == TEST_OF_60
    assert names(few["validation"]) == VALIDATION_OF_60
    many(tmp_path, 300)
    for split, part in read_splits(tmp_path).items():
        assert names(few[split]) <= names(part)
        expected = 240 if split == "train" else 30
        # A tenth of 300 has a standard deviation of 5, the rest one of 7.
        assert abs(len(part.pictures) - expected) < 21
        assert part.class_names == ("x", "y")


def test_problems_are_of_the_split_of_their_picture(tmp_path):
    many(tmp_path, 60)
    with (tmp_path / "boxes.csv").open("a") as file:
        for name in (min(TEST_OF_60), min(VALIDATION_OF_60), ""):
            file.write(f"\n{name},x,1,1,1,1")
    parts = read_splits(tmp_path)
    files = {s: {p.file for p in part.problems} for s, part in parts.items()}
    assert files == {
        "train": {"boxes.csv"},
        "validation": {"boxes.csv", min(VALIDATION_OF_60)},
        "test": {"boxes.csv", min(TEST_OF_60)},
    }
    whole, annotations = read_folder(tmp_path), read_annotations(tmp_path)
    # The only object of that class is on a picture that cannot be used.
    unused = "no object that can be used has a class of y"
    assert {p for p in whole.problems if p.what != unused} == set(
        annotations.problems
    )
    assert len(whole.problems) == len(annotations.problems) + 1
    assert [p.path for p in whole.pictures] == [
        p.path for p in annotations.pictures
    ]


def test_the_split_of_a_name_does_not_depend_on_its_form():
    for i in range(40):
        name = f"Straße_ö{i}.png"
        forms = [unicodedata.normalize(form, name) for form in ("NFC", "NFD")]
        assert forms[0] != forms[1]
        assert len(set(map(hash_fraction, forms))) == 1


def test_no_picture_is_in_two_splits_whatever_it_is_called(tmp_path):
    lines = [HEADER]
    for i in range(40):
        file = picture(tmp_path / f"{i}.png", counted((9, 7)))
        file.path.rename(tmp_path / f"{i}.scan")  # not one of the suffixes
        lines.append(f"{i}.scan,x,1,1,5,5")
    (tmp_path / "boxes.csv").write_text("\n".join(lines))
    parts = read_splits(tmp_path)
    assert sum(len(part.pictures) for part in parts.values()) == 40
    assert len(set.union(*map(names, parts.values()))) == 40


@pytest.mark.parametrize("validation", [None, "validation", "valid", "val"])
def test_splits_have_folders_of_their_own(tmp_path, validation):
    many(tmp_path / "train", 50)
    many(tmp_path / "test", 3, "t")
    if validation:
        many(tmp_path / validation, 4, "v")
    (tmp_path / "test" / "more.png").write_bytes(b"")
    parts = read_splits(tmp_path)
    assert names(parts["test"]) == {"t0.png", "t1.png", "t2.png"}
    found = names(parts["validation"])
    assert names(parts["train"]) == {f"{i}.png" for i in range(50)} - found
    if validation:
        assert found == {f"v{i}.png" for i in range(4)}
        classes = ("tx", "ty", "vx", "vy", "x", "y")
    else:
        assert 0 < len(found) < 12  # 5 with a standard deviation of 2
        classes = ("tx", "ty", "x", "y")
    for part in parts.values():
        assert part.class_names == classes and part.directory == tmp_path
    assert parts["test"].problems == (
        Problem("test/more.png", "has no annotations", False),
    )
    whole = read_folder(tmp_path)
    unlearnt, *others = whole.problems
    assert f"has an object of {', '.join(classes[:-2])}, " in unlearnt.what
    assert tuple(others) == parts["test"].problems
    assert whole.class_names == classes and whole.directory == tmp_path
    assert names(whole) == set.union(*map(names, parts.values()))


def test_without_a_folder_for_tests_they_are_taken_out_of_training(tmp_path):
    many(tmp_path / "train", 50)
    many(tmp_path / "val", 4, "v")
    parts = read_splits(tmp_path)
    assert len(parts["validation"].pictures) == 4
    assert 0 < len(parts["test"].pictures) < 12
    assert not names(parts["test"]) & names(parts["train"])
    assert len(parts["test"].pictures) + len(parts["train"].pictures) == 50
    many(tmp_path / "valid", 4, "w")
    with pytest.raises(ValueError, match="Received: val, valid"):
        read_splits(tmp_path)


def test_splits_of_yolo_may_be_inside_of_images_and_labels(tmp_path):
    WRITERS["yolo"](tmp_path, True)
    for kind in ("images", "labels"):
        whole = tmp_path / kind
        whole.rename(tmp_path / "train")
        whole.mkdir()
        (tmp_path / "train").rename(whole / "train")
    for split, name in (("test", "a"), ("val", "b")):
        picture(tmp_path / "images" / split / f"{name}.png", counted((9, 7)))
        (tmp_path / "labels" / split).mkdir()
        text = "0 .5 .5 .5 0" if split == "test" else "0 .5 .5 .5 .5"
        (tmp_path / "labels" / split / f"{name}.txt").write_text(text)
    parts = read_splits(tmp_path)
    assert [len(parts[split].pictures) for split in parts] == [4, 1, 0]
    assert [len(parts[split].problems) for split in parts] == [0, 0, 1]
    assert parts["test"].problems[0].file == "images/test/a.png"
    with pytest.warns(UserWarning, match="no object that .* class of unused;"):
        assert folder(tmp_path, "train", image_size=9).num_pictures == 4


def test_all_splits_have_sequences_and_classes_alike(tmp_path):
    many(tmp_path / "train", 20)
    many(tmp_path / "test", 3, "t")
    options = dict(image_size=9, seed=2, jitter=0.1)
    with pytest.warns(UserWarning, match="for training .* object of tx, ty"):
        train = folder(tmp_path, "train", **options)
    test = folder(tmp_path, "test", **options)
    assert train.class_names == test.class_names == ("tx", "ty", "x", "y")
    assert train.num_targets == test.num_targets == 3
    assert train.seed != test.seed and train.jitter == 0.1
    assert test.num_pictures == 3
    with (tmp_path / "test" / "boxes.csv").open("a") as file:
        file.write("\nt0.png,ty,1,3,5,7")
    # The most of all splits, which is more than in training: that is said.
    test = folder(tmp_path, "test", image_size=9)
    assert test.num_targets == 4
    what = "more objects than any for training: 1, as test/t0.png "
    with pytest.warns(UserWarning) as said:
        train = folder(tmp_path, "train", image_size=9)
    assert what in str(said[1].message) and len(said) == 2
    assert train.num_targets == 4
    few = dict(image_size=9, max_objects=2)
    with pytest.raises(ValueError, match="test/t0.png: has 3 objects, 2 are"):
        folder(tmp_path, "test", **few)
    with pytest.warns(UserWarning, match="files left out: 1, as test/t0.png "):
        test = folder(tmp_path, "test", skip_broken=True, **few)
    assert test.num_pictures == 2 and test.num_targets == 3


def test_a_split_that_is_unknown_or_empty_is_refused(tmp_path, four):
    with pytest.raises(ValueError, match="Received: split='val'"):
        folder(four, "val", image_size=9)
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        folder(tmp_path / "none", "test", image_size=9)
    empty = [s for s, part in read_splits(four).items() if not part.pictures]
    with pytest.raises(ValueError, match="'train': .*'validation': .*'test':"):
        folder(four, empty[0], image_size=9)


def test_options_reach_the_annotations(four):
    options = dict(image_size=9, annotation_format="csv", order="annotated")
    with pytest.warns(UserWarning) as said:
        train = folder(four, "train", **options)
    said = [str(warning.message) for warning in said]
    assert "an object of 10, others have" in said[0] and len(said) == 3
    assert "more objects than any" in said[1]
    # They are listed with the last one first.
    assert (
        "`--set order=lines`) takes: 1, as a.png (is read 2, 1 line" in said[2]
    )
    for file in train.pictures:
        _, objects = PICTURES[file.path.relative_to(four).as_posix()]
        assert file.labels == tuple(label for label, _ in objects[::-1])
    with pytest.raises(ValueError, match="must have the names"):
        folder(four, "train", image_size=9, annotation_format="yolo")


# Pictures of it, and its examples


def pixels(path):
    with Image.open(path) as file:
        return np.asarray(file.convert("RGB")).astype(int)


def count_of(colour, path):
    colour = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return (np.abs(pixels(path) - colour).sum(axis=-1) < 6).sum()


def test_a_contact_sheet_shows_boxes_and_what_is_broken(tmp_path, four):
    sheet = tmp_path / "sheet.png"
    green = canvas.ANSWER_COLOUR
    annotations = read_annotations(four)
    before = tree_hash(four)
    visualization.plot_contact_sheet(annotations, sheet)
    assert tree_hash(four) == before
    drawn = count_of(green, sheet)
    assert drawn > 2000 and count_of("#c8c8c8", sheet) < 100
    bare = [p._replace(labels=(), boxes=p.boxes[:0]) for p in annotations[0]]
    visualization.plot_contact_sheet(
        annotations._replace(pictures=tuple(bare)), sheet
    )
    assert count_of(green, sheet) < drawn / 10
    annotations = read_annotations(broken_folder(tmp_path / "broken"))
    visualization.plot_contact_sheet(annotations, sheet)
    # Two that are broken, and one that turns out to be: of 12 tiles.
    grey = count_of("#c8c8c8", sheet)
    visualization.plot_contact_sheet(annotations, sheet, number=2)
    few = pixels(sheet)
    assert few.shape[0] * 1.5 < few.shape[1]  # one row of two
    tile = count_of("#c8c8c8", sheet)
    assert tile > 5000 and 2.5 * tile < grey < 3.5 * tile
    with pytest.raises(ValueError, match="Received: 0 pictures"):
        visualization.plot_contact_sheet(
            annotations._replace(pictures=(), problems=()), sheet
        )


def test_the_pictures_of_a_contact_sheet_are_taken_evenly(one):
    files = tuple(one[0]._replace(labels=(str(i),)) for i in range(10))
    annotations = Annotations(files, ("0",), (), None)
    for number, expected in ((3, [0, 4, 9]), (10, range(10)), (99, range(10))):
        _, chosen = contact_sheet._tiles(annotations, number)
        assert [int(file.labels[0]) for file in chosen] == list(expected)
    problems = tuple(Problem(f"{i}", "bad", True) for i in range(20))
    annotations = annotations._replace(problems=problems)
    for number, tiles in ((6, (3, 3)), (30, (20, 10)), (24, (14, 10))):
        found = contact_sheet._tiles(annotations, number)
        assert tuple(map(len, found)) == tiles


def test_the_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [HEADER]
    for i in range(12):
        pixels = counted((30, 20)) + np.uint8(i)
        picture(pathlib.Path("my_photos", f"{i}.png"), pixels)
        lines += [f"{i}.png,0,12,2,19,9", f"{i}.png,7,2,2,9,9"]
    pathlib.Path("my_photos", "boxes.csv").write_text("\n".join(lines))
    Image.new("L", (100, 100)).save("digit.png")
    Image.new("L", (100, 100)).save("photo.jpg")
    shared = dict(vars(keras_edram.datasets), np=np, pathlib=pathlib)
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner()
    for name in (
        *("pictures", "datasets.annotated.formats"),
        "datasets.annotated.formats.entries",
        *(
            "datasets.annotated.annotations",
            "datasets.annotated.annotated_pictures",
        ),
        *("datasets.annotated.folder", "datasets.annotated.split_problems"),
        "datasets.annotated.formats.unread",
        *("visualization.canvas", "visualization.contact_sheet"),
    ):
        module = importlib.import_module(f"keras_edram.{name}")
        for example in finder.find(module, globs={**shared, **vars(module)}):
            runner.run(example)
    results = runner.summarize(verbose=False)
    assert results.failed == 0 and results.attempted > 20
    assert pathlib.Path("contact_sheet.png").is_file()
