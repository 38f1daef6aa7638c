"""Folders as the tools of others export them."""

import json
import os
import unicodedata
import zlib

import numpy as np
import pytest
from annotated_folders import HEADER, counted, picture
from PIL import Image

from keras_edram.datasets import read_annotations, read_folder, read_splits

SIZE = (30, 20)  # of all pictures
BOX = [2, 2, 7, 5]  # left, top, width, height


def write_pictures(folder, *names):
    """Pictures of which no two are the same."""
    for name in names:
        seed = zlib.crc32(str(folder / name).encode())
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3))
        picture(folder / name, pixels.astype("uint8"))


def write_coco(path, *names, categories=("cat",)):
    """COCO's annotations, an object on each picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = range(len(names))
    content = {
        "images": [
            {"id": i, "file_name": names[i], "width": 30, "height": 20}
            for i in rows
        ],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 0, "bbox": BOX}
            for i in rows
        ],
        "categories": [
            {"id": i, "name": name} for i, name in enumerate(categories)
        ],
    }
    path.write_text(json.dumps(content), encoding="utf-8")


def names(annotations):
    return [file.path.name for file in annotations.pictures]


def counts(directory):
    parts = read_splits(directory)
    assert all(part.directory == directory for part in parts.values())
    return {split: len(part.pictures) for split, part in parts.items()}


# Names of pictures


@pytest.mark.parametrize(
    "name, place, noted",
    [
        ("images\\a.png", "images/a.png", False),
        ("images/a.png", "a.png", False),
        ("../../label-studio/data/media/upload/4/a.png", "images/a.png", False),
        ("/data/upload/4/a.png", "a.png", False),
        ("C:\\photos\\new\\a.png", "new/a.png", False),
        ("a.png", "photos/new/a.png", False),
        ("new/a.png", "photos/new/a.png", False),
        ("old/a.png", "new/a.png", True),
        ("A.PNG", "a.png", True),
        (
            unicodedata.normalize("NFD", "é.png"),
            unicodedata.normalize("NFC", "é.png"),
            True,
        ),
    ],
)
def test_pictures_are_found_by_the_names_of_other_machines(
    tmp_path, name, place, noted
):
    coco, table = tmp_path / "coco", tmp_path / "table"
    for folder in (coco, table):
        write_pictures(folder, place)
    write_coco(coco / "result.json", name)
    (table / "c.csv").write_text(f"{HEADER}\n{name},cat,2,2,9,7\n", "utf-8")
    for folder in (coco, table):
        annotations = read_annotations(folder)
        (file,) = annotations.pictures
        assert file.path == folder / place
        assert file.labels == ("cat",)
        np.testing.assert_array_equal(file.boxes, [[2, 2, 9, 7]])
        said = [problem.what for problem in annotations.problems]
        assert len(said) == noted
        assert all("is taken for " in what for what in said)


def test_of_two_pictures_of_the_name_none_is_taken(tmp_path):
    write_pictures(tmp_path, "x/a.png", "y/a.png", "z/b.png")
    write_coco(tmp_path / "c.json", "old/a.png", "/upload/y/a.png", "z/b.png")
    annotations = read_annotations(tmp_path)
    assert names(annotations) == ["a.png", "b.png"]
    assert annotations.pictures[0].path == tmp_path / "y" / "a.png"
    broken = [p for p in annotations.problems if p.broken]
    assert {p.file for p in broken} == {"old/a.png"}
    assert [p.what for p in broken] == [
        "x/a.png is there",
        "y/a.png is there",
        "there is no such file",
    ]


@pytest.mark.parametrize("suffix", [".txt", ".xml"])
def test_pairs_may_differ_in_case_or_form(tmp_path, suffix):
    text = {
        ".txt": "0 .5 .5 .5 .5",
        ".xml": "<annotation><object><name>x</name><bndbox><xmin>9</xmin><ymin>"
        "6</ymin><xmax>22</xmax><ymax>15</ymax></bndbox></object></annotation>",
    }[suffix]
    composed, apart = (unicodedata.normalize(f, "é") for f in ("NFC", "NFD"))
    write_pictures(tmp_path, "IMG.JPG", f"{composed}.png", "b.png", "B.png")
    for stem in ("img", apart, "b", "B"):
        (tmp_path / f"{stem}{suffix.upper()}").write_text(text)
    (tmp_path / "classes.txt").write_text("x")
    annotations = read_annotations(tmp_path)
    assert annotations.problems == ()
    assert len(annotations.pictures) == 4
    assert all(file.labels == ("x",) for file in annotations.pictures)


def test_a_name_that_is_not_utf_8_is_said(tmp_path):
    write_pictures(tmp_path, "a.png", "b.png")
    for stem in "ab":
        (tmp_path / f"{stem}.txt").write_text("0 .5 .5 .5 .5")
    (tmp_path / "classes.txt").write_text("x")
    for suffix in (".png", ".txt"):
        other = os.fsencode(tmp_path) + b"/\xe9" + suffix.encode()
        try:
            os.rename(tmp_path / f"a{suffix}", other)
        except OSError:
            pytest.skip("the file system wants UTF-8")
    annotations = read_folder(tmp_path)  # which hashes the names
    assert names(annotations) == ["b.png"]
    (problem,) = annotations.problems
    assert problem.broken and problem.file == "\\xe9.png"
    assert problem.what == "has a name that is not UTF-8: rename it"


def test_links_to_folders_are_followed_once(tmp_path):
    write_pictures(tmp_path / "elsewhere", "a.png", "b.png")
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    (data / "labels" / "more").mkdir(parents=True)
    (data / "images" / "more").symlink_to(tmp_path / "elsewhere")
    (data / "images" / "loop").symlink_to(data / "images")
    for stem in "ab":
        (data / "labels" / "more" / f"{stem}.txt").write_text("0 .5 .5 .5 .5")
    (data / "classes.txt").write_text("x")
    annotations = read_annotations(data)
    assert annotations.problems == ()
    assert [file.path for file in annotations.pictures] == [
        data / "images" / "more" / f"{stem}.png" for stem in "ab"
    ]


# Formats


def test_tables_of_tensorflow_are_read_with_any_separator(tmp_path):
    lines = [
        "filename,width,height,class,xmin,ymin,xmax,ymax",
        "a.png,30,20,cat,2,2,9,7",
        "a.png,30,20,dog,12,2,19,7",
    ]
    for number, separator in enumerate(",;\t"):
        folder = tmp_path / str(number)
        write_pictures(folder, "a.png")
        text = "\n".join(lines).replace(",", separator)
        (folder / "_annotations.csv").write_text(text)
        annotations = read_annotations(folder)
        assert annotations.problems == ()
        (file,) = annotations.pictures
        assert file.labels == ("cat", "dog")
        np.testing.assert_array_equal(
            file.boxes, [[2, 2, 9, 7], [12, 2, 19, 7]]
        )


def test_cvat_has_boxes_turned_ones_and_polygons(tmp_path):
    write_pictures(tmp_path / "images", "a.png", "sub/b.png")
    (tmp_path / "annotations.xml").write_text(
        '<annotations><image id="0" name="a.png" width="30" height="20">'
        '<box label="cat" xtl="2" ytl="3" xbr="9.5" ybr="8" occluded="0">'
        '<attribute name="old">yes</attribute></box>'
        '<polygon label="dog" points="12,4;20,3;15,9"/>'
        '<tag label="street"/></image>'
        '<image id="1" name="sub/b.png" width="30" height="20">'
        '<box label="cat" xtl="5" ytl="8" xbr="15" ybr="12" rotation="90"/>'
        '<ellipse label="cat" cx="5" cy="5" rx="2" ry="2"/></image>'
        "</annotations>"
    )
    annotations = read_annotations(tmp_path)
    assert annotations.class_names == ("cat", "dog")
    (file,) = annotations.pictures
    assert file.labels == ("cat", "dog")
    np.testing.assert_allclose(file.boxes, [[2, 3, 9.5, 8], [12, 3, 20, 9]])
    (problem,) = annotations.problems
    assert problem.file == "images/sub/b.png" and problem.broken
    where = "ellipse 2 of image 1 in annotations.xml"
    assert problem.what == f"{where} has no box of 4 numbers"
    text = (tmp_path / "annotations.xml").read_text()
    text = text.replace(
        '<ellipse label="cat" cx="5" cy="5" rx="2" ry="2"/>', ""
    )
    (tmp_path / "annotations.xml").write_text(text)
    _, file = read_annotations(tmp_path).pictures
    # A quarter turn about the middle, (10, 10).
    np.testing.assert_allclose(file.boxes, [[8, 5, 12, 15]])


@pytest.mark.parametrize(
    "folders",
    [("JPEGImages", "Annotations"), ("images", "annotations"), ("", "xmls")],
)
@pytest.mark.parametrize("inner", ["", "VOCdevkit/VOC2007"])
def test_voc_lies_apart_from_its_pictures(tmp_path, folders, inner):
    pictures, texts = (tmp_path / inner / folder for folder in folders)
    write_pictures(pictures, *(f"{i}.png" for i in range(7)))
    texts.mkdir(exist_ok=True)
    for index in range(7):
        (texts / f"{index}.xml").write_text(
            "<annotation><object><name>x</name><bndbox><xmin>3</xmin>"
            "<ymin>3</ymin><xmax>9</xmax><ymax>7</ymax></bndbox></object>"
            "</annotation>"
        )
    annotations = read_folder(tmp_path)
    assert annotations.problems == () and len(annotations.pictures) == 7
    np.testing.assert_array_equal(annotations.pictures[0].boxes, [[2, 2, 9, 7]])
    lists = tmp_path / inner / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for split, text in (
        ("train", "0\n1\n2 1"),
        ("val", "3\n4"),
        ("test", "5\n"),
    ):
        (lists / f"{split}.txt").write_text(text)
    assert counts(tmp_path) == {"train": 3, "validation": 2, "test": 1}
    (problem,) = read_folder(tmp_path).problems
    assert problem.file.endswith("6.png") and "in no split" in problem.what


def test_without_a_box_coco_has_that_of_its_polygons(tmp_path):
    write_pictures(tmp_path, "a.png", "b.png")
    write_coco(tmp_path / "c.json", "a.png", "b.png")
    content = json.loads((tmp_path / "c.json").read_text())
    first, second = content["annotations"]
    first.update(bbox=[], segmentation=[[3, 4, 9, 1, 5, 8], [2, 6, 3, 7]])
    second.update(bbox=None, segmentation={"counts": [0, 9], "size": [3, 3]})
    (tmp_path / "c.json").write_text(json.dumps(content))
    annotations = read_annotations(tmp_path)
    (file,) = annotations.pictures
    np.testing.assert_array_equal(file.boxes, [[2, 1, 9, 8]])
    (problem,) = annotations.problems
    assert problem.file == "b.png" and "has no box of 4" in problem.what


def test_a_mark_at_the_beginning_of_json_is_none_of_it(tmp_path):
    write_pictures(tmp_path, "a.png")
    write_coco(tmp_path / "c.json", "a.png")
    text = (tmp_path / "c.json").read_text()
    (tmp_path / "c.json").write_text(text, encoding="utf-8-sig")
    assert names(read_annotations(tmp_path)) == ["a.png"]


@pytest.mark.parametrize(
    "file, text",
    [
        ("obj.names", "x\ny\n"),
        ("_darknet.labels", "x\ny"),
        ("dataset.yaml", "path: ..\nnames: [x, y]"),
        ("data.yml", "names:\n  0: x\n  1: y"),
    ],
)
def test_names_of_yolo_are_in_other_files_too(tmp_path, file, text):
    write_pictures(tmp_path, "a.png")
    (tmp_path / "a.txt").write_text("1 .5 .5 .5 .5")
    (tmp_path / file).write_text(text)
    annotations = read_annotations(tmp_path)
    assert annotations.class_names == ("x", "y")
    assert annotations.pictures[0].labels == ("y",)


def test_boxes_of_a_picture_before_it_was_turned_are_told_apart(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(counted(SIZE)).save(tmp_path / "a.jpg", exif=exif)
    Image.fromarray(counted(SIZE)).save(tmp_path / "b.jpg")
    write_coco(tmp_path / "c.json", "a.jpg", "b.jpg")  # 30x20, as stored
    (problem,) = read_annotations(tmp_path).problems
    assert problem.file == "a.jpg" and problem.broken
    assert "has 20x30 pixels, annotated are 30x20, its size before" in (
        problem.what
    )
    content = json.loads((tmp_path / "c.json").read_text())
    content["images"][0].update(width=20, height=30)
    (tmp_path / "c.json").write_text(json.dumps(content))
    assert read_annotations(tmp_path).problems == ()


# Layouts


def test_roboflow_has_a_file_of_coco_in_each_folder(tmp_path):
    for split, number in (("train", 3), ("valid", 2), ("test", 1)):
        files = [f"{split}{i}_jpg.rf.0a.jpg" for i in range(number)]
        write_pictures(tmp_path / split, *files)
        write_coco(tmp_path / split / "_annotations.coco.json", *files)
    (tmp_path / "README.roboflow.txt").write_text("x")
    assert counts(tmp_path) == {"train": 3, "validation": 2, "test": 1}
    for split in ("valid", "test"):
        (tmp_path / split).rename(tmp_path / f".{split}")
    assert sum(counts(tmp_path).values()) == 3  # train alone is divided
    (tmp_path / ".test").rename(tmp_path / "test")
    (tmp_path / "train").rename(tmp_path / ".train")
    assert counts(tmp_path) == {"train": 0, "validation": 0, "test": 1}


@pytest.mark.parametrize("images", ["", "images"])
def test_coco_2017_has_a_file_for_each_split(tmp_path, images):
    for split, number in (("train", 3), ("val", 2)):
        files = [f"{i:03}.jpg" for i in range(number)]  # the same names
        write_pictures(tmp_path / images / f"{split}2017", *files)
        folder = tmp_path / "annotations"
        write_coco(folder / f"instances_{split}2017.json", *files)
        write_coco(folder / f"person_keypoints_{split}2017.json", *files)
    (tmp_path / "annotations" / "captions_val2017.json").write_text("{}")
    parts = read_splits(tmp_path)
    assert names(parts["validation"]) == ["000.jpg", "001.jpg"]
    place = tmp_path / images / "val2017"
    assert parts["validation"].pictures[0].path.parent == place
    assert len(parts["train"].pictures) + len(parts["test"].pictures) == 3
    assert read_folder(tmp_path).problems == ()
    write_pictures(place, "more.jpg")
    (problem,) = read_folder(tmp_path).problems
    assert problem.file.endswith("val2017/more.jpg")
    # A picture of another split is none of this one.
    (place / "001.jpg").unlink()
    write_pictures(tmp_path / images / "train2017", "only.jpg")
    files = ("000.jpg", "only.jpg")
    write_coco(tmp_path / "annotations" / "instances_val2017.json", *files)
    assert names(read_splits(tmp_path)["validation"]) == ["000.jpg"]


def test_one_file_may_annotate_folders_of_splits(tmp_path):
    files = [f"{split}/{i}.png" for split in ("train", "val") for i in "ab"]
    write_pictures(tmp_path, *files, "other/c.png")
    write_coco(tmp_path / "all.json", *files, "other/c.png")
    parts = read_splits(tmp_path)
    assert len(parts["validation"].pictures) == 2
    assert len(parts["train"].pictures) + len(parts["test"].pictures) == 2
    (problem,) = read_folder(tmp_path).problems
    assert problem.file == "other/c.png" and "left out" in problem.what


def test_other_json_is_no_second_format(tmp_path):
    write_pictures(tmp_path / "images", "a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 .5 .5 .5 .5")
    (tmp_path / "classes.txt").write_text("x")
    (tmp_path / "notes.json").write_text('{"categories": [], "info": {}}')
    assert read_annotations(tmp_path).problems == ()


def test_the_folder_of_an_archive_is_looked_into(tmp_path):
    inner = tmp_path / "export-1" / "data"
    write_pictures(inner, "a.png", "b.png")
    write_coco(inner / "c.json", "a.png", "b.png")
    (tmp_path / "__MACOSX").mkdir()
    assert sum(counts(tmp_path).values()) == 2


def change(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_an_id_of_coco_is_of_one_category(tmp_path):
    write_pictures(tmp_path, "a.png")
    path = tmp_path / "c.json"
    write_coco(path, "a.png", categories=("cat", "dog"))
    change(path, lambda c: c["categories"][1].update(id=0))
    with pytest.raises(ValueError, match="'cat' and 'dog' of the id 0"):
        read_annotations(tmp_path)
    change(path, lambda c: c["categories"][1].update(name="cat "))
    assert read_annotations(tmp_path).class_names == ("cat",)
    change(path, lambda c: c.update(categories=[{"id": 0, "name": None}]))
    (problem,) = read_annotations(tmp_path).problems
    assert problem.broken and problem.what.endswith("without a name, 0")


@pytest.mark.parametrize("mark", [1, True, 1.0, "1", "True", "true"])
def test_a_crowd_is_left_out_however_it_is_marked(mark, tmp_path):
    write_pictures(tmp_path, "a.png")
    write_coco(tmp_path / "c.json", "a.png")
    change(
        tmp_path / "c.json", lambda c: c["annotations"][0].update(iscrowd=mark)
    )
    assert read_annotations(tmp_path).pictures[0].labels == ()


def test_a_name_that_no_file_can_have_is_that_of_one_picture(tmp_path):
    write_pictures(tmp_path, "a.png")
    write_coco(tmp_path / "c.json", "a.png", "b\0.png", "x" * 300)
    annotations = read_annotations(tmp_path)
    assert names(annotations) == ["a.png"]
    broken = [p.file for p in annotations.problems if p.broken]
    assert broken == ["b\\x00.png", "x" * 300]


def test_two_lists_of_yolo_that_differ_are_refused(tmp_path):
    write_pictures(tmp_path, "a.png")
    (tmp_path / "a.txt").write_text("0 .5 .5 .2 .2")
    (tmp_path / "data.yaml").write_text("names: [dog, cat]")
    (tmp_path / "classes.txt").write_text("dog\ncat\n\n")
    assert read_annotations(tmp_path).class_names == ("dog", "cat")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(ValueError, match=r"dog, cat in .*, but cat, dog in "):
        read_annotations(tmp_path)


def test_a_number_with_an_underscore_is_none(tmp_path):
    write_pictures(tmp_path, "a.png")
    (tmp_path / "a.csv").write_text(f"{HEADER}\na.png,x,1_5,2,29,9")
    (problem,) = read_annotations(tmp_path).problems
    assert problem.broken and "no box of 4 numbers" in problem.what


@pytest.mark.parametrize(
    "file, text",
    [
        ("data.yaml", "path: /home/me/set\ntrain: images/one\nval: images/two"),
        ("data.yaml", "train: ../images/one\nval: [../images/two]"),
        ("mine.yaml", "path: .\ntrain: images\\one\nval: holdout.txt"),
        ("data.yaml", "train: lists/train.txt\nval: lists/val.txt"),
        ("data.yaml", "nc: 1"),  # with train.txt and val.txt
    ],
)
def test_splits_of_yolo_are_where_its_lists_say(file, text, tmp_path):
    for i in range(6):
        place = f"{'one' if i < 4 else 'two'}/{i}"
        write_pictures(tmp_path, f"images/{place}.png")
        path = tmp_path / f"labels/{place}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("0 .5 .5 .2 .2")
    (tmp_path / file).write_text(f"names: [cat]\n{text}\n")
    val = "./images/two/4.png\nC:\\me\\images\\two\\5.png\n"
    (tmp_path / "holdout.txt").write_text(val)
    where = tmp_path
    if "lists" in text:
        where = tmp_path / "lists"
        where.mkdir()
    (where / "val.txt").write_text(val)
    lines = [f"/data/images/one/{i}.png" for i in range(4)]
    (where / "train.txt").write_text("\n".join(lines))
    parts = read_splits(tmp_path)
    assert set(names(parts["validation"])) == {"4.png", "5.png"}
    learnt = names(parts["train"]) + names(parts["test"])
    assert sorted(learnt) == [f"{i}.png" for i in range(4)]


def write_yolo(folder, train, val, test=None):
    """Twelve pictures by day and six by night, and where splits are."""
    for place, number in (("day", 12), ("night", 6)):
        files = [f"{place}/{i}" for i in range(number)]
        write_pictures(folder / "images", *(f"{file}.png" for file in files))
        for file in files:
            path = folder / f"labels/{file}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("0 .5 .5 .2 .2")
    text = f"names: [cat]\ntrain: {train}\nval: {val}\n"
    text += f"test: {test}\n" if test else ""
    (folder / "data.yaml").write_text(text)


def test_lists_of_yolo_that_name_the_same_pictures_are_one(tmp_path):
    write_yolo(tmp_path, "images", "images")
    assert sum(counts(tmp_path).values()) == 18
    problems = read_folder(tmp_path).problems
    assert len(problems) == 18 and not any(p.broken for p in problems)
    assert all("for train and validation, " in p.what for p in problems)


def test_what_validation_and_test_share_is_never_trained_on(tmp_path):
    write_yolo(tmp_path, "images/day", "images/night", "images/night")
    parts = read_splits(tmp_path)
    for split, place in (
        ("train", "day"),
        ("validation", "night"),
        ("test", "day"),  # no other is left
    ):
        places = {file.path.parent.name for file in parts[split].pictures}
        assert places == {place}
    assert len(parts["validation"].pictures) == 6
    assert [p.what for p in read_folder(tmp_path).problems] == 6 * [
        "is listed for validation and test, and taken for validation"
    ]


def test_a_picture_of_two_lists_is_of_the_shorter_one(tmp_path):
    write_yolo(tmp_path, "images", "images/night")
    parts = read_splits(tmp_path)
    assert len(parts["validation"].pictures) == 6
    assert sum(len(part.pictures) for part in parts.values()) == 18
    assert {file.path.parent.name for file in parts["train"].pictures} == {
        "day"
    }
    problems = read_folder(tmp_path).problems
    assert {p.what for p in problems} == {
        "is listed for train and validation, and taken for validation"
    }


def test_where_lists_leave_none_to_train_on_none_is_heeded(tmp_path):
    write_yolo(tmp_path, "images", "images/day", "images/night")
    parts = counts(tmp_path)
    assert sum(parts.values()) == 18 and parts["train"] > 9
    (problem,) = read_folder(tmp_path).problems
    assert problem.file == "." and "no list is heeded" in problem.what


def test_what_is_odd_about_a_whole_folder_is_in_no_list(tmp_path):
    for i in range(6):
        picture(tmp_path / f"JPEGImages/{i}.png", counted((400, 300)))
        path = tmp_path / f"Annotations/{i}.xml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(VOC.format("x"))
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("0\n1\n2\n3\n")
    (lists / "val.txt").write_text("4\n5\n")
    assert counts(tmp_path)["validation"] == 2
    problems = read_folder(tmp_path).problems
    assert "." in [p.file for p in problems if "per cent" in p.what]


VOC = (
    "<annotation><object><name>{}</name><bndbox><xmin>3</xmin><ymin>3</ymin>"
    "<xmax>9</xmax><ymax>7</ymax></bndbox></object></annotation>"
)


def write_voc(folder, *stems):
    for stem in stems:
        write_pictures(folder / "JPEGImages", f"{stem}.png")
        path = folder / f"Annotations/{stem}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(VOC.format("x"))


def test_lists_of_voc_name_pictures_with_blanks_and_folders(tmp_path):
    write_voc(tmp_path, "my a", "p", "x/1", "y/1", "img 1", "q")
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("my a  1\nx/1\nimg 1\n")
    (lists / "val.txt").write_text("y/1 -1\nq 2 of three\n")
    (lists / "test.txt").write_text("p\n")
    assert read_folder(tmp_path).problems == ()
    parts = read_splits(tmp_path)
    assert names(parts["train"]) == ["img 1.png", "my a.png", "1.png"]
    assert names(parts["validation"]) == ["q.png", "1.png"]
    assert parts["validation"].pictures[1].path.parent.name == "y"
    (lists / "test.txt").write_text("p\nmy a\n")
    (problem,) = read_folder(tmp_path).problems
    assert problem.what == "is listed for train and test, and taken for test"


@pytest.mark.parametrize("other", ["xmls/1.xml", "Annotations/1.XML"])
def test_a_picture_with_two_annotation_files_is_broken(tmp_path, other):
    write_voc(tmp_path, "1", "2")
    path = tmp_path / other
    path.parent.mkdir(exist_ok=True)
    path.write_text(VOC.format("y"))
    if other.startswith("xmls"):  # both are looked for from the folder on
        (tmp_path / "Annotations").rename(tmp_path / "JPEGImages/Annotations")
        path.parent.rename(tmp_path / "JPEGImages/xmls")
    (problem,) = read_annotations(tmp_path).problems
    assert problem.file == "JPEGImages/1.png" and problem.broken
    assert "has two annotation files, " in problem.what
    for path in tmp_path.rglob("1.[xX][mM][lL]"):
        path.write_text(VOC.format("z"))  # which say the same
    assert read_annotations(tmp_path).problems == ()


def test_pictures_of_two_folders_that_became_one_are_broken(tmp_path):
    write_pictures(tmp_path, "1.png", "2.png")
    rows = "{}/1.png,cat,1,1,9,9\n{}/1.png,dog,3,5,9,9\n{}/2.png,cat,1,1,9,9\n"
    table = tmp_path / "a.csv"
    table.write_text(f"{HEADER}\n{rows.format('cam1', 'cam2', 'cam1')}")
    annotations = read_annotations(tmp_path)
    assert names(annotations) == ["2.png"]
    (problem,) = annotations.problems
    assert problem.file == "1.png" and problem.broken
    assert "is what both cam1/1.png and cam2/1.png name" in problem.what
    # In any order, and by a name that could be of both.
    extra = "1.png,cat,12,1,19,9\n"
    for lines in (
        extra + rows.format("cam1", "cam2", "cam1"),
        rows.format("cam1", "cam2", "cam1") + extra,
    ):
        table.write_text(f"{HEADER}\n{lines}")
        assert names(read_annotations(tmp_path)) == ["2.png"]
    # These are one picture, on machines of two people.
    for one, two in (
        ("cam1", "a/cam1"),
        ("/home/ann/set/train", "C:\\bob\\train"),
        (".", "images"),
        ("cam1", "cam2/../cam1"),
        ("cam1", str(tmp_path)),
    ):
        table.write_text(f"{HEADER}\n{rows.format(one, two, one)}")
        for folder in (tmp_path, tmp_path / ".." / tmp_path.name):
            assert read_annotations(folder).problems == (), (one, two)


def test_subsets_of_cvat_may_have_pictures_of_the_same_name(tmp_path):
    image = (
        '<image id="{}" name="1.png" subset="{}"><box label="{}" xtl="{}" '
        'ytl="2" xbr="19" ybr="8"/></image>'
    )
    images = [image.format(0, "train", "a", 1), image.format(1, "val", "b", 12)]
    text = f"<annotations>{''.join(images)}</annotations>"
    (tmp_path / "annotations.xml").write_text(text)
    write_pictures(tmp_path / "images", "train/1.png")
    (problem,) = read_annotations(tmp_path).problems
    assert problem.file == "images/train/1.png" and problem.broken
    assert "has more than one <image>" in problem.what
    write_pictures(tmp_path / "images", "val/1.png")
    annotations = read_annotations(tmp_path)
    assert annotations.problems == ()
    assert [
        (file.path.parent.name, file.labels) for file in annotations.pictures
    ] == [("train", ("a",)), ("val", ("b",))]
    # A name as it is there is no name in a subset.
    images = [image.format(0, "train", "a", 1).replace("1.png", "train/1.png")]
    images.append(image.format(1, "train", "b", 12))
    text = f"<annotations>{''.join(images)}</annotations>"
    (tmp_path / "annotations.xml").write_text(text)
    write_pictures(tmp_path, "1.png")
    annotations = read_annotations(tmp_path)
    assert names(annotations) == ["1.png", "1.png"]
    assert not any(problem.broken for problem in annotations.problems)


def test_pictures_without_objects_may_have_those_of_no_image(tmp_path):
    write_pictures(tmp_path, "a.png", "b.png", "c.png")
    write_coco(tmp_path / "c.json", "a.png", "b.png", "c.png")
    content = json.loads((tmp_path / "c.json").read_text())
    content["annotations"][2]["image_id"] = 99
    (tmp_path / "c.json").write_text(json.dumps(content))
    annotations = read_annotations(tmp_path)
    assert names(annotations) == ["a.png", "b.png"]
    assert [p.file for p in annotations.problems if p.broken] == [
        "c.json",
        "c.png",
    ]
    content["annotations"][2]["iscrowd"] = 1  # which is left out anyway
    (tmp_path / "c.json").write_text(json.dumps(content))
    assert len(read_annotations(tmp_path).pictures) == 3
