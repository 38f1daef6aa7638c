"""Four formats say the same, and each kind of problem is found."""

import json
import re

import annotated_folders
import numpy as np
import pytest
from annotated_folders import CLASSES, PICTURES, WRITERS
from PIL import Image

from keras_edram import cli
from keras_edram.datasets import check_pictures, read_annotations
from keras_edram.datasets.annotated.formats import FORMATS
from keras_edram.datasets.annotated.formats.entries import (
    Format,
    Source,
    add_object,
    sorted_names,
)
from keras_edram.datasets.annotated.formats.lookup import Pictures

HEADER = "file,label,xmin,ymin,xmax,ymax\n"


def write(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content, encoding="utf-8")


def write_picture(folder, name, size=(30, 20), **options):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(annotated_folders.counted(size))
    picture.save(path, **options)
    return path


def names(annotations):
    return [picture.path.name for picture in annotations.pictures]


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("name", WRITERS)
def test_all_formats_say_the_same(tmp_path, name, apart):
    WRITERS[name](tmp_path, apart)
    before = annotated_folders.tree_hash(tmp_path)
    annotations = read_annotations(tmp_path)
    assert check_pictures(annotations) == []
    assert annotated_folders.tree_hash(tmp_path) == before
    assert annotations.problems == ()
    assert annotations.class_names == CLASSES[name]
    assert annotations.directory == tmp_path
    assert len(annotations.pictures) == len(PICTURES)
    for picture, (file, (_, objects)) in zip(
        annotations.pictures, PICTURES.items(), strict=True
    ):
        assert picture.path.as_posix().endswith(file) and picture.path.is_file()
        assert picture.labels == tuple(label for label, _ in objects)
        expected = np.reshape([box for _, box in objects], (-1, 4))
        assert picture.boxes.shape == expected.shape
        np.testing.assert_allclose(picture.boxes, expected, atol=1e-9)


@pytest.mark.parametrize("name", WRITERS)
def test_objects_can_keep_the_order_they_are_listed_in(tmp_path, name):
    WRITERS[name](tmp_path, True)
    annotations = read_annotations(
        tmp_path, order="annotated", annotation_format=name
    )
    for picture, (_, objects) in zip(
        annotations.pictures, PICTURES.values(), strict=True
    ):
        listed = objects[::-1]
        assert picture.labels == tuple(label for label, _ in listed)
        if listed:
            boxes = [box for _, box in listed]
            np.testing.assert_allclose(picture.boxes, boxes, atol=1e-9)


def test_the_first_pixel_of_voc_is_one_and_the_last_belongs_to_the_box(
    tmp_path,
):
    write_picture(tmp_path, "a.png", (30, 20))
    # The box of the whole picture, as the development kit of VOC has it.
    write(
        tmp_path,
        "a.xml",
        "<annotation><object><name>x</name><bndbox><xmin>1</xmin><ymin>1"
        "</ymin><xmax>30</xmax><ymax>20</ymax></bndbox></object></annotation>",
    )
    annotations = read_annotations(tmp_path)
    assert annotations.problems == ()
    np.testing.assert_array_equal(
        annotations.pictures[0].boxes, [[0, 0, 30, 20]]
    )


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_boxes_are_on_the_picture_as_it_is_shown(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter: it is shown 20 wide, 30 high
    write_picture(tmp_path, f"a.{suffix}", (30, 20), exif=exif)
    write(tmp_path, "a.txt", "0 0.5 0.5 1 0.5\n")
    write(tmp_path, "classes.txt", "x\n")
    annotations = read_annotations(tmp_path)
    np.testing.assert_allclose(
        annotations.pictures[0].boxes, [[0, 7.5, 20, 22.5]]
    )
    (tmp_path / "a.txt").unlink()
    write(tmp_path, "a.csv", f"{HEADER}a.{suffix},x,2,21,19,29\n")
    assert read_annotations(tmp_path).problems == ()


def test_a_folder_without_annotations_or_with_two_kinds_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder .*none"):
        read_annotations(tmp_path / "none")
    write_picture(tmp_path, "a.png")
    with pytest.raises(ValueError) as error:
        read_annotations(tmp_path)
    for looked_for in (
        "coco: a *.json",
        "yolo: a *.txt",
        "voc: a *.xml",
        "csv",
    ):
        assert looked_for in str(error.value)
    annotated_folders.write_csv(tmp_path, False)
    annotated_folders.write_yolo(tmp_path, False)
    with pytest.raises(ValueError, match="Received: .* with yolo, csv"):
        read_annotations(tmp_path)
    for name in ("yolo", "csv"):
        annotations = read_annotations(tmp_path, annotation_format=name)
        assert annotations.class_names == CLASSES[name]


@pytest.mark.parametrize(
    "options, received",
    [
        (dict(order="random"), "order='random'"),
        (dict(annotation_format="xml"), "annotation_format='xml'"),
    ],
)
def test_unknown_options_are_refused(tmp_path, options, received):
    with pytest.raises(ValueError, match=f"Received: {received}"):
        read_annotations(tmp_path, **options)


# Files to write into a folder with the pictures a.png and sub/b.png of 30x20
# pixels, the format, and what is then to be found: file, words, broken.
OBJECT = "<object><name>x</name><bndbox>{}</bndbox></object>"
BOX = "<xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>"
VOC = f"<annotation>{OBJECT.format(BOX)}</annotation>"
COCO = {
    "images": [
        {"id": 1, "file_name": "a.png"},
        {"id": 2, "file_name": "sub/b.png"},
    ],
    "annotations": [],
    "categories": [{"id": 5, "name": "x"}, {"id": 6, "name": ""}],
}


def coco(*annotations, **images):
    content = {**COCO, "annotations": []}
    for i, annotation in enumerate(annotations):
        annotation = {"id": i, "image_id": 1, "category_id": 5, **annotation}
        content["annotations"].append(annotation)
    content["images"] = COCO["images"] + images.get("images", [])
    return {"c.json": json.dumps(content)}


COCO_SIZES = json.dumps(
    {
        **COCO,
        "images": [
            {"id": 1, "file_name": "a.png", "width": 30, "height": 20},
            {"id": 2, "file_name": "sub/b.png", "width": 20, "height": 30},
        ],
    }
)


def table(*lines):
    return {"c.csv": HEADER + "sub/b.png,,,,,\n" + "\n".join(lines)}


def yolo(*lines, **files):
    texts = {"a.txt": "\n".join(lines), "sub/b.txt": ""}
    return {**texts, "classes.txt": "x\n\ny\n", **files}


CVAT_BOX = '<box label="x" xtl="2" ytl="2" xbr="9" ybr="9"/>'


def cvat(shapes, width=30, height=20):
    size = f'width="{width}" height="{height}"'
    return {
        "annotations.xml": "<annotations><version>1.1</version>"
        f'<image id="0" name="a.png" {size}>{shapes}</image>'
        '<image id="1" name="sub/b.png" width="30" height="20"/></annotations>'
    }


CASES = {
    "csv, no such file": (
        table("a.png,,,,,", "none.png,x,1,1,2,2"),
        [("none.png", "no such file", True)],
    ),
    "coco, no such file": (
        coco(images=[{"id": 3, "file_name": "none.png"}]),
        [("none.png", "no such file", True)],
    ),
    "voc, no such file": (
        {"a.xml": VOC, "sub/b.xml": VOC, "none.xml": VOC},
        [("none.xml", "no picture of its name", True)],
    ),
    "yolo, no such file": (
        yolo("0 .5 .5 1 1", **{"none.txt": "0 .5 .5 1 1"}),
        [("none.txt", "no picture of its name", True)],
    ),
    "unreadable": (
        {**table("a.png,x,1,1,2,2"), "a.png": "no picture"},
        [("a.png", "is no picture", True)],
    ),
    "cut in its head": (
        {**table("a.png,x,1,1,2,2"), "a.png": b"\x89PNG\r\n\x1a\n"},
        [("a.png", "is (no|a) picture", True)],
    ),
    "empty boxes": (
        table("a.png,x,1,1,1,5", "a.png,x,1,5,5,5", "a.png,x,9,1,5,5"),
        [
            ("a.png", r"box 1 \(1, 1, 1, 5\) has no area", True),
            ("a.png", "box 2 .* has no area", True),
            ("a.png", "box 3 .* has no area", True),
        ],
    ),
    "outside on each side": (
        table(
            *("a.png,x,-9,1,0,9", "a.png,x,30,1,39,9"),
            *("a.png,x,1,-9,9,0", "a.png,x,1,20,9,29"),
        ),
        [
            ("a.png", f"box {i} .* is outside the 30x20", True)
            for i in range(1, 5)
        ],
    ),
    "beyond on each side": (
        table(
            *("a.png,x,-1.1,1,9,9", "a.png,x,1,1,31.1,9"),
            *("a.png,x,1,-1.1,9,9", "a.png,x,1,1,9,21.1"),
        ),
        [("a.png", "reaches beyond the 30x20", False)] * 4,
    ),
    "a pixel beyond is rounding": (table("a.png,x,-1,-1,31,21"), []),
    "csv, no label": (
        table("a.png,,1,1,9,9"),
        [("a.png", "line 3 of c.csv has no label", True)],
    ),
    "csv, no number": (
        table("a.png,x,1,1,9,9", "a.png,x,1,one,9,9", "a.png,x,1,nan,9,9"),
        [
            ("a.png", "line 4 of c.csv has no box of 4", True),
            ("a.png", "line 5 of c.csv has no box of 4", True),
        ],
    ),
    "csv, too few and too many": (
        table("a.png,x,1,1,9", "a.png,x,1,1,9,9,9", "a.png,x,,,,"),
        [("a.png", f"line {i} of c.csv has no box", True) for i in (3, 4, 5)],
    ),
    "csv, no file": (
        table("a.png,,,,,", ",x,1,1,9,9", ",,,,,", ""),
        [("c.csv", "line 4 of c.csv has no file", True)],
    ),
    "csv, no line": (table(), [("a.png", "has no annotations", False)]),
    "coco, unknown category": (
        coco({"category_id": 7, "bbox": [1, 1, 9, 9]}),
        [("a.png", "annotation 0 .* category without a name, 7", True)],
    ),
    "coco, empty category": (
        coco({"category_id": 6, "bbox": [1, 1, 9, 9]}),
        [("a.png", "category without a name, 6", True)],
    ),
    "coco, no box": (
        coco(
            {}, {"bbox": [1, 1, 9]}, {"bbox": "1199"}, {"bbox": [1, 1, 9, None]}
        ),
        [
            ("a.png", f"annotation {i} of c.json has no box", True)
            for i in range(4)
        ],
    ),
    "coco, no such image": (
        coco({"image_id": 9, "bbox": [1, 1, 9, 9]}),
        [
            ("a.png", "may have objects that are of no listed image", True),
            ("c.json", "annotation 0 is of image 9", True),
            ("sub/b.png", "may have objects that are of no listed", True),
        ],
    ),
    "coco, malformed image": (
        coco(images=[{"id": 3}, {"file_name": "a.png"}]),
        [
            ("c.json", "image 3 must have a file_name and an id", True),
            ("c.json", "image 4 must have a file_name and an id", True),
        ],
    ),
    "coco, the same file twice": (
        coco(images=[{"id": 3, "file_name": "sub/../a.png"}]),
        [("a.png", "more than once", True)],
    ),
    "coco, the same id twice": (
        coco(images=[{"id": 1, "file_name": "c.png"}]),
        [
            ("a.png", "shares its id 1 with image 3", True),
            ("c.png", "shares its id 1", True),
            ("c.png", "no such file", True),
        ],
    ),
    "coco, another size": (
        {"c.json": COCO_SIZES},
        [("sub/b.png", "has 30x20 pixels, annotated are 20x30", True)],
    ),
    "voc, broken": (
        {"a.xml": "<annotation>\n<object>", "sub/b.xml": VOC},
        [("a.png", "a.xml is broken XML: .*line 2", True)],
    ),
    "voc, something else": (
        {"a.xml": "<svg/>", "sub/b.xml": VOC},
        [("a.png", "must be an <annotation>, but is a <svg>", True)],
    ),
    "voc, no number and no label": (
        {
            "a.xml": VOC.replace("<xmax>9</xmax>", ""),
            "sub/b.xml": VOC.replace(">x<", "> <"),
        },
        [
            ("a.png", "object 1 of a.xml has no box", True),
            ("sub/b.png", "object 1 of b.xml has no label", True),
        ],
    ),
    "voc, another size": (
        {
            "a.xml": VOC.replace(
                "<object>",
                "<size><width>20</width><height>30</height></size><object>",
            ),
            "sub/b.xml": VOC,
        },
        [("a.png", "has 30x20 pixels, annotated are 20x30", True)],
    ),
    "voc, no file": (
        {"a.xml": VOC},
        [("sub/b.png", "has no annotations", False)],
    ),
    "yolo, unknown classes": (
        yolo("0 .5 .5 1 1", "1 .5 .5 1 1", "3 .5 .5 1 1", "-1 .5 .5 1 1"),
        [
            ("a.png", "line 2 of a.txt has a class without a name, 1", True),
            ("a.png", "line 3 of a.txt has a class without a name, 3", True),
            ("a.png", "line 4 of a.txt has a class without a name, -1", True),
        ],
    ),
    "yolo, malformed lines": (
        yolo("0 .5 .5 1", "", "x .5 .5 1 1", "0 .5 .5 1 1 .9", "0 .5 .5 inf 1"),
        [
            ("a.png", f"line {i} of a.txt must be 5 numbers", True)
            for i in (1, 3, 4, 5)
        ],
    ),
    "yolo, pixels": (
        yolo("0 15 10 6 4", "0 50 50 25 50", "0 .5 .5 1.0005 .3"),
        [
            (
                "a.png",
                "line 1 of a.txt must be fractions .* 0 to 1, .*15",
                True,
            ),
            ("a.png", "line 2 of a.txt must be fractions", True),
        ],
    ),
    "yolo, polygons": (
        yolo("0 .1 .1 .5 .1 .5 .5", "0 .1 .1 .5 .1 .5 .5 .1 .5"),
        [
            ("a.png", f"line {i} of a.txt .* a polygon: export boxes", True)
            for i in (1, 2)
        ],
    ),
    "yolo, no label file": (
        {"a.txt": "0 .5 .5 1 1", "classes.txt": "x"},
        [("sub/b.png", "has no label file, and is taken to have no", False)],
    ),
    "csv, fractions": (
        table("a.png,x,0.25,0.25,0.5,0.75", "a.png,x,0,0,1,1"),
        [
            ("a.png", rf"line {i} of c.csv .* \({box}\) look like", True)
            for i, box in ((3, "0.25, 0.25, 0.5, 0.75"), (4, "0, 0, 1, 1"))
        ],
    ),
    "coco, fractions": (
        coco({"bbox": [0.25, 0.25, 0.25, 0.5]}),
        [("a.png", r"annotation 0 .*\(0.25, 0.25, 0.5, 0.75\) look", True)],
    ),
    "voc, fractions": (
        {
            "a.xml": VOC.replace(">1<", ">0.25<").replace(">9<", ">0.75<"),
            "sub/b.xml": VOC,
        },
        [("a.png", r"object 1 .*\(0.25, 0.25, 0.75, 0.75\) look", True)],
    ),
    "cvat, fractions": (
        cvat(CVAT_BOX.replace('"2"', '"0.2"').replace('"9"', '"0.9"')),
        [("a.png", r"box 1 of image 0 .*\(0.2, 0.2, 0.9, 0.9\) look", True)],
    ),
    "csv, twice": (
        table("a.png,x,2,2,9,9", "a.png,x,2.0,2,9,9.0", "a.png,y,2,2,9,19"),
        [("a.png", "object 2 is object 1 again, and left out", False)],
    ),
    "coco, twice": (
        coco({"bbox": [2, 2, 9, 9]}, {"bbox": [2, 2, 9, 9]}),
        [("a.png", "object 2 is object 1 again, and left out", False)],
    ),
    "yolo, twice": (
        yolo("0 .5 .5 .5 .5", "0 0.50 0.5 0.5 0.5"),
        [("a.png", "object 2 is object 1 again, and left out", False)],
    ),
    "voc, twice": (
        {
            "a.xml": VOC.replace(OBJECT.format(BOX), 2 * OBJECT.format(BOX)),
            "sub/b.xml": VOC,
        },
        [("a.png", "object 2 is object 1 again, and left out", False)],
    ),
    "cvat, twice": (
        cvat(2 * CVAT_BOX),
        [("a.png", "object 2 is object 1 again, and left out", False)],
    ),
    "nearly twice": (
        table("a.png,x,2,2,22,18", "a.png,y,2,2,22,17.5", "a.png,x,2,2,9,9"),
        [("a.png", "1 and 2, x and y, are at nearly the same", False)],
    ),
    "coco, a crowd": (
        coco(
            {"bbox": [2, 2, 9, 9]},
            {"bbox": [0, 0, 30, 20], "iscrowd": 1},
            {"bbox": [0, 0, 20, 20], "ignore": 1},
        ),
        [
            ("a.png", f"annotation {i} .* marked as a crowd .*left out", False)
            for i in (1, 2)
        ],
    ),
    "coco, tables make floats and strings of ids": (
        coco({"bbox": [2, 2, 9, 9], "image_id": 1.0, "category_id": "5"}),
        [],
    ),
    "hardly a pixel": (
        table("a.png,x,1,1,2.9,9", "a.png,x,1,1,9,2.5", "a.png,x,1,1,3,3"),
        [
            ("a.png", f"box {i} .* is less than 2 pixels wide or high", False)
            for i in (1, 2)
        ],
    ),
    "corners the other way round": (
        table("a.png,x,9,1,2,9"),
        [("a.png", "box 1 .* no area: its right is left of its left", True)],
    ),
    "another size in a table": (
        {
            "c.csv": "filename,width,height,class,xmin,ymin,xmax,ymax\n"
            "a.png,300,200,x,1,1,9,9\nsub/b.png,30,20,x,1,1,9,9\n"
        },
        [("a.png", "has 30x20 pixels, annotated are 300x200", True)],
    ),
    "another size in CVAT's": (
        cvat(CVAT_BOX, width=60, height=40),
        [("a.png", "has 30x20 pixels, annotated are 60x40", True)],
    ),
    "a size that is rounded": (
        cvat(CVAT_BOX, width=29, height=20),
        [("a.png", "has 30x20 pixels, annotated are 29x20", False)],
    ),
    "labels that cannot be seen": (
        table("a.png,x\x01y,2,2,9,9", "a.png,x\u200b,2,9,9,19"),
        [
            ("a.png", r"line 3 .* cannot be seen, 'x\\x01y'", True),
            ("a.png", r"line 4 .* cannot be seen, 'x\\u200b'", True),
        ],
    ),
    "decimal commas": (
        {
            "c.csv": HEADER.replace(",", ";")
            + "sub/b.png;;;;;\na.png;x;0,5;1;9;9\n"
        },
        [("a.png", "line 3 .* decimal commas: write 0.5 for 0,5", True)],
    ),
    "a kind that is not read": (
        yolo("0 .5 .5 1 1", **{"c.HEIC": b"ftypheic", "c.txt": "0 .5 .5 1 1"}),
        [("c.HEIC", "is there, of a kind that is not read: convert", True)],
    ),
    "a listed kind that is not read": (
        {**table("c.HEIC,x,1,1,9,9", "a.png,,,,,"), "c.HEIC": b"ftypheic"},
        [("c.HEIC", "is there, of a kind that is not read: convert", True)],
    ),
    "a kind that is not read, and no annotations": (
        {**table("a.png,,,,,"), "c.heif": b"ftypheic"},
        [("c.heif", "a kind that is not read.* no annotations", False)],
    ),
    "a raw file of a rarer camera": (
        {**table("a.png,,,,,"), "c.pef": b"II*"},
        [("c.pef", "a kind that is not read.* no annotations", False)],
    ),
    "no bytes": (
        {**table("a.png,x,1,1,9,9"), "a.png": b""},
        [("a.png", "is an empty file", True)],
    ),
    "another suffix": (
        table("a.png,,,,,", "a.jpg,x,1,1,9,9"),
        [
            ("a.jpg", "a.png is there", True),
            ("a.jpg", "there is no such file", True),
        ],
    ),
    "a name that no file can have": (
        coco(images=[{"id": 3, "file_name": "n" * 300 + ".png"}]),
        [("n" * 300 + ".png", "cannot be read: File name too long", True)],
    ),
    "yolo, no text": (
        {**yolo(), "a.txt": b"\xff\xfe0 1"},
        [("a.png", "a.txt is no text in UTF-8", True)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_listed(tmp_path, name):
    files, expected = CASES[name]
    write_picture(tmp_path, "a.png")
    write_picture(tmp_path, "sub/b.png")
    for file, content in files.items():
        write(tmp_path, file, content)
    annotations = read_annotations(tmp_path)
    problems = sorted(annotations.problems, key=lambda problem: problem.file)
    assert len(problems) == len(expected), problems
    for (file, words, broken), problem in zip(expected, problems, strict=True):
        assert problem.file == file and problem.broken == broken
        assert re.search(words, problem.what), problem
    # The others can still be used, and those with a warning.
    broken = {problem.file for problem in problems if problem.broken}
    without = {p.file for p in problems if p.what == "has no annotations"}
    used = {
        picture.path.relative_to(tmp_path).as_posix()
        for picture in annotations.pictures
    }
    assert used == {"a.png", "sub/b.png"} - broken - without


@pytest.mark.parametrize("name", ["voc", "yolo"])
def test_two_pictures_of_one_name_are_not_told_apart(tmp_path, name):
    write_picture(tmp_path, "a.png")
    write_picture(tmp_path, "a.jpg")
    write_picture(tmp_path, "sub/a.png")  # another folder, another name
    for folder in ("", "sub/"):
        write(tmp_path, f"{folder}a.xml", VOC)
        write(tmp_path, f"{folder}a.txt", "0 .5 .5 1 1")
    write(tmp_path, "classes.txt", "x")
    annotations = read_annotations(tmp_path, annotation_format=name)
    assert [(p.file, p.broken) for p in annotations.problems] == [
        ("a.jpg", True),
        ("a.png", True),
    ]
    assert "has the name of a.png, too" in annotations.problems[0].what
    assert names(annotations) == ["a.png"]


def test_a_picture_that_is_cut_short_is_found_by_decoding_it(tmp_path):
    for name in ("a.png", "b.png", "c.jpg"):
        write_picture(tmp_path, name, (200, 100))
    lines = [f"{name},x,1,1,90,90" for name in ("a.png", "b.png", "c.jpg")]
    write(tmp_path, "c.csv", HEADER + "\n".join(lines))
    for name in ("b.png", "c.jpg"):
        path = tmp_path / name
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
    annotations = read_annotations(tmp_path)
    assert annotations.problems == ()
    problems = check_pictures(annotations)
    assert [problem.file for problem in problems] == ["b.png", "c.jpg"]
    assert all(problem.broken for problem in problems)
    assert "cannot be read: " in problems[0].what
    assert str(tmp_path) not in problems[0].what
    (tmp_path / "a.png").unlink()
    assert check_pictures(annotations)[0].what == "there is no such file"


@pytest.mark.parametrize(
    "files, words",
    [
        ({"c.csv": "file,label,x,y,w,h\n"}, "c.csv must have the header file,"),
        ({"c.csv": ""}, "c.csv must have the header"),
        (
            {"c.csv": HEADER.encode("utf-16")},
            "c.csv must be a text file in UTF-8, but is in UTF-16. Save",
        ),
        ({"c.csv": f"{HEADER}{'x' * 200_000}"}, "c.csv must be a CSV .*line 2"),
        (
            {"c.csv": f'{HEADER}a.png,"x,1,1,9,9\na.png,y",1,1,9,9\n'},
            r'a cell of line 2 goes on to line 3: a quote \("\) in line 2',
        ),
        (
            {"c.csv": f'{HEADER}a.png,x,1,1,9,9\na.png,"x,1,1,9,9'},
            "c.csv must be a CSV .*line 3",
        ),
        (
            {"annotations.xml": "<annotations>"},
            "annotations.xml must be an XML",
        ),
        (
            {"annotations.xml": "<annotations><track/></annotations>"},
            "an <image> for each .* 'CVAT for images 1.1'.*<track>",
        ),
        (
            {"a.json": '{"shapes": [], "imagePath": "a.png"}', "b.json": "{}"},
            "Received: a.json is JSON of LabelMe, which is not read: export it",
        ),
        (
            {f"{i}.json": '{"shapes": []}' for i in range(3)},
            "Received: 0.json and 2 more is JSON of LabelMe",
        ),
        ({"c.json": '{"_via_settings": {}}'}, "VGG Image Annotator, which"),
        ({"c.json": '{"a.png1": {"regions": []}}'}, "VGG Image Annotator"),
        ({"c.json": '[{"data": {}, "annotations": []}]'}, "Label Studio's own"),
        ({"c.json": '[{"image": "", "annotations": []}]'}, "Create ML, which"),
        ({"c.json": '[{"image_id": 1, "score": 1}]'}, "a list of predictions"),
        ({"ann/a.png.json": '{"objects": [], "size": {}}'}, "Supervisely"),
        ({"train.tfrecord": b"\x00"}, "train.tfrecord is TFRecord, which"),
        ({"x.zip": b"PK"}, "Received: x.zip is packed: unpack it"),
        ({"x.xlsx": b"PK"}, "Received: x.xlsx is a table .* save it as CSV"),
        ({"sub/c.csv": HEADER}, "Received: sub/c.csv"),
        (
            {"c.csv": HEADER, "d.csv": HEADER},
            "one CSV .*Received: c.csv, d.csv",
        ),
        (
            {"c.json": "{}", "d.json": "{}"},
            "one JSON .*Received: c.json, d.json",
        ),
        ({"c.json": "{"}, "c.json must be a JSON file, but it is broken"),
        ({"c.json": b'{"\xff": 1}'}, "c.json must be a JSON file"),
        (
            {"c.json": '{"images": [{"id": 1, "file_name": "a.png"}], "ann'},
            "c.json must be a JSON file, but it is broken",
        ),
        ({"c.json": "[]"}, "Received: no list of objects 'images'"),
        ({"c.json": '{"images": []}'}, "no list of objects 'annotations'"),
        ({"c.json": '{"images": [1]}'}, "no list of objects 'images'"),
        ({"a.txt": ""}, "must have the names .*Received: neither file"),
        ({"a.txt": "", "data.yaml": "nc: 3"}, "data.yaml must have the names"),
        ({"a.txt": "", "data.yaml": "names: ["}, "data.yaml must have"),
        ({"a.txt": "", "data.yaml": "names: {a: b}"}, "data.yaml must have"),
        ({"a.txt": "", "data.yaml": "names: [[]]"}, "data.yaml must have"),
    ],
)
def test_annotations_that_are_broken_as_a_whole_are_named(
    tmp_path, files, words
):
    write_picture(tmp_path, "a.png")
    for file, content in files.items():
        write(tmp_path, file, content)
    with pytest.raises(ValueError, match=words):
        read_annotations(tmp_path)


@pytest.mark.parametrize(
    "file, content",
    [
        ("data.yaml", "names: ['01', no, x y]"),
        ("data.yaml", "names:\n  2: x y\n  0: 01\n  1: no\n"),
        ("classes.txt", "01\r\nno\r\nx y\r\n\r\n"),
        ("labels/classes.txt", "01\nno\nx y"),
        ("../data.yaml", "names: [01, no, x y]"),
    ],
)
def test_names_of_yolo_are_taken_as_they_are_written(tmp_path, file, content):
    folder = tmp_path / "val"
    write_picture(folder, "images/a.png")
    write(folder, "labels/a.txt", "2 .5 .5 1 1\n0.0 .5 .5 1 1")
    write(folder, file, content)
    annotations = read_annotations(folder, order="annotated")
    assert annotations.class_names == ("01", "no", "x y")
    assert annotations.pictures[0].labels == ("x y", "01")


def test_classes_of_the_same_name_are_one(tmp_path):
    write_picture(tmp_path, "a.png")
    lines = "2 .5 .1 1 .1\n1 .5 .5 1 .1\n0 .5 .9 1 .1"
    write(tmp_path, "a.txt", lines)
    write(tmp_path, "classes.txt", "x\ny\nx")
    annotations = read_annotations(tmp_path, order="annotated")
    assert annotations.class_names == ("x", "y")
    assert annotations.pictures[0].labels == ("x", "y", "x")


def test_the_folder_above_has_the_names_of_a_split_only(tmp_path):
    write_picture(tmp_path, "mine/images/a.png")
    write(tmp_path, "mine/labels/a.txt", "0 .5 .5 1 1")
    write(tmp_path, "classes.txt", "of something else")
    with pytest.raises(ValueError, match="mine must have the names"):
        read_annotations(tmp_path / "mine")


def test_what_is_no_annotation_is_left_alone(tmp_path):
    write_picture(tmp_path, "a.png")
    for file, content in yolo("0 .5 .5 1 1").items():
        write(tmp_path, file, content)
    (tmp_path / "sub/b.txt").unlink()
    write(tmp_path, "README.txt", "These are photographs.")
    write(tmp_path, "notes.md", "x")
    write(tmp_path, "notes.json", '{"categories": []}')
    write(tmp_path, "losses.csv", "epoch,loss")
    write(tmp_path, "Thumbs.db", "what Windows leaves")
    write(tmp_path, "__MACOSX/._a.png", "what a Mac packs")
    write_picture(tmp_path, ".ipynb_checkpoints/a.png")
    write_picture(tmp_path, "__MACOSX/b.png")
    write(tmp_path, "._b.png", "what a Mac leaves")
    write(tmp_path, ".cache/c.txt", "0 .5 .5 1 1")
    annotations = read_annotations(tmp_path)
    assert annotations.problems == () and names(annotations) == ["a.png"]


def test_a_table_of_a_spreadsheet_is_read(tmp_path):
    write_picture(tmp_path, "a, b.png")
    header = HEADER.replace("\n", "\r\n")
    content = f'{header}"a, b.png","say ""x""",1,1,3.5,4\r\n'
    write(tmp_path, "c.csv", content.encode("utf-8-sig"))
    annotations = read_annotations(tmp_path)
    assert annotations.problems == ()
    assert annotations.pictures[0].labels == ('say "x"',)
    np.testing.assert_array_equal(
        annotations.pictures[0].boxes, [[1, 1, 3.5, 4]]
    )


def test_boxes_in_per_cent_are_noted(tmp_path):
    rows = [f"{i}.png,x,25,10,{60 + 10 * i},100\n" for i in range(5)]
    for i in range(5):
        write_picture(tmp_path, f"{i}.png", (600, 201))
    write(tmp_path, "c.csv", HEADER + "".join(rows))
    (problem,) = read_annotations(tmp_path).problems
    assert problem.file == "." and not problem.broken
    assert "are they per cent" in problem.what
    # A picture that is no larger, or a box beyond, is reason to doubt it.
    write(tmp_path, "c.csv", HEADER + "".join(rows[1:] + ["0.png,x,1,1,9,101"]))
    assert read_annotations(tmp_path).problems == ()


def test_names_are_sorted_as_people_do():
    names = ["10", "9", "b2", "b10", "B", "-1", "", "9", "ä1b"]
    assert sorted_names(names) == ["", "9", "10", "-1", "B", "b2", "b10", "ä1b"]
    assert sorted_names("0123456789") == list("0123456789")


def test_a_further_format_is_a_module_and_a_line_of_the_table(
    tmp_path, monkeypatch, capsys
):
    def find(directory):
        return sorted(directory.glob("*.boxes"))

    def read(directory):
        pictures = Pictures(directory)
        for line in find(directory)[0].read_text("utf-8").splitlines():
            name, label, *box = line.split()
            add_object(
                pictures.entry(name), "a line", label, [*map(float, box)]
            )
        return Source(pictures.entries(), None, [])

    monkeypatch.setitem(FORMATS, "boxes", Format("a *.boxes in it", find, read))
    for name in "ab":
        write_picture(tmp_path, f"{name}.png")
    lines = "a.png nut 1 2 9 19\na.png bolt 12 2 29 19\nb.png nut 0 0 30 20\n"
    write(tmp_path, "all.boxes", lines)
    annotations = read_annotations(tmp_path)
    assert [picture.labels for picture in annotations.pictures] == [
        ("nut", "bolt"),
        ("nut",),
    ]
    assert annotations.class_names == ("bolt", "nut")
    for arguments in ([], ["--format", "boxes"]):
        assert cli.main(["check-data", str(tmp_path), *arguments]) == 0
        assert "bolt" in capsys.readouterr().out
    with pytest.raises(ValueError, match="must be one of .*'boxes'"):
        read_annotations(tmp_path, annotation_format="none")
