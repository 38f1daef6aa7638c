import csv
import functools
import gc
import gzip
import io
import json
import pathlib
import sys
import tarfile
import warnings

import h5py
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from svhn_files import digit_struct, png, write_archive
from test_docstrings import eagerly

from keras_edram import cli, geometry
from keras_edram.datasets import svhn, svhn_numbers
from keras_edram.datasets.annotated.folder import hash_fraction
from keras_edram.datasets.svhn_numbers import SvhnNumbers, read_digit_struct

svhn_module = sys.modules[svhn.__module__]
SVHN = pathlib.Path(__file__).parents[3] / "shared" / "data" / "svhn"

# What the files say: name, then label, left, top, width, height of each digit.
ONE_DIGIT = ("1.png", [(7, 3, 2, 5, 9)])
TWO_DIGITS = ("2.png", [(1, 2, 3, 4, 6), (10, 7, 4, 5, 7)])
# Beyond the left and the upper edge, then beyond the right and the lower.
OUTSIDE = ("3.png", [(10, -3, -1, 5, 6), (4, 17, 8, 9, 11)])
SIX_DIGITS = (
    "10.png",
    [(label, 3 * i, 5, 3, 8 + i) for i, label in enumerate([1, 3, 5, 4, 5, 8])],
)
ENTRIES = [SIX_DIGITS, TWO_DIGITS, ONE_DIGIT, OUTSIDE]
# What is to come back: labels, then left, top, right, bottom.
EXPECTED = {
    "1.png": ([7], [[3, 2, 8, 11]]),
    "2.png": ([1, 0], [[2, 3, 6, 9], [7, 4, 12, 11]]),
    "3.png": ([0, 4], [[-3, -1, 2, 5], [17, 8, 26, 19]]),
    "10.png": (
        [1, 3, 5, 4, 5, 8],
        [
            [0, 5, 3, 13],
            [3, 5, 6, 14],
            [6, 5, 9, 15],
            [9, 5, 12, 16],
            [12, 5, 15, 17],
            [15, 5, 18, 18],
        ],
    ),
}


def pixels(name, salt=0):
    """A picture that no other name has, of a size of its own, not square."""
    number = int(name.removesuffix(".png"))
    generator = np.random.default_rng([number, salt])
    return generator.integers(0, 256, (12 + number, 20 + number, 3), "uint8")


def files_of(entries, salt=0):
    """The pictures, not in the order of the entries, with see_bboxes.m."""
    names = sorted(name for name, _ in entries)
    pictures = [(name, png(pixels(name, salt))) for name in names]
    return [*pictures, ("see_bboxes.m", b"load digitStruct.mat")]


def build(data_dir, manual_dir):
    builder = SvhnNumbers(data_dir=data_dir)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
    )
    return builder


def examples(builder, split):
    """The examples of a split by their names."""
    found = list(tfds.as_numpy(builder.as_dataset(split=split)))
    by_name = {example["name"].decode(): example for example in found}
    assert len(by_name) == len(found)
    return by_name


def assert_objects(example, labels, boxes):
    objects = example["objects"]
    assert objects["label"].dtype == np.int64
    assert objects["bbox"].dtype == np.float32
    np.testing.assert_array_equal(objects["label"], labels)
    np.testing.assert_array_equal(objects["bbox"], boxes)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Built of train.tar.gz, boxes first, and extra.tar.gz, boxes last."""
    folder = tmp_path_factory.mktemp("svhn")
    boxes = ("digitStruct.mat", digit_struct(ENTRIES))
    downloads = folder / "downloads"
    write_archive(downloads / "train.tar.gz", [boxes, *files_of(ENTRIES)])
    # An easier part of the data: other pictures under the same names.
    write_archive(
        downloads / "extra.tar.gz", [*files_of(ENTRIES, salt=1), boxes]
    )
    return build(folder / "data", downloads)


def test_digit_struct_gives_digits_in_the_order_of_the_file(tmp_path):
    path = tmp_path / "digitStruct.mat"
    path.write_bytes(digit_struct(ENTRIES))
    entries = read_digit_struct(path)
    assert [name for name, _, _ in entries] == [name for name, _ in ENTRIES]
    for name, labels, boxes in entries:
        assert labels == EXPECTED[name][0]
        assert all(type(label) is int for label in labels)
        assert boxes.dtype == np.float32
        np.testing.assert_array_equal(boxes, EXPECTED[name][1])


def test_the_written_file_has_the_layout_of_the_original():
    # Otherwise the other tests would read what only these tests write.
    with h5py.File(io.BytesIO(digit_struct(ENTRIES))) as file:
        bbox = file["digitStruct/bbox"]
        assert bbox.shape == file["digitStruct/name"].shape == (4, 1)
        six, _, one, _ = (file[reference] for reference in bbox[:, 0])
        assert six["label"].shape == (6, 1)
        assert file[six["label"][5, 0]][()].tolist() == [[8.0]]
        assert one["label"][()].tolist() == [[7.0]]
        name = file[file["digitStruct/name"][0, 0]]
        assert name.dtype == np.uint16 and name.shape == (6, 1)
        assert list(file) == ["#refs#", "digitStruct"]


@pytest.mark.parametrize("split, salt", [("train", 0), ("extra", 1)])
def test_pictures_come_back_to_the_pixel_with_their_digits(built, split, salt):
    found = examples(built, split)
    assert set(found) == set(EXPECTED)
    for name, (labels, boxes) in EXPECTED.items():
        np.testing.assert_array_equal(found[name]["image"], pixels(name, salt))
        assert_objects(found[name], labels, boxes)


def test_boxes_that_leave_the_picture_are_not_cut(built):
    example = examples(built, "train")["3.png"]
    height, width, _ = example["image"].shape
    first, last = example["objects"]["bbox"]
    assert first[0] < 0 and first[1] < 0
    assert last[2] > width and last[3] > height


def test_only_archives_that_are_there_become_splits(built):
    assert set(built.info.splits) == {"train", "extra"}
    assert built.info.splits["train"].num_examples == 4


def test_name_version_and_classes_are_known(built):
    assert built.info.full_name == "svhn_numbers/1.0.0"
    labels = built.info.features["objects"]["label"]
    assert labels.names == list("0123456789")
    assert "non-commercial" in built.info.redistribution_info.license


def test_members_may_have_any_folder_and_companions(tmp_path):
    # As macOS packs: a leading "./", and a "._" file beside each file.
    path = tmp_path / "test.tar.gz"
    files = [("digitStruct.mat", digit_struct([ONE_DIGIT]))]
    files += files_of([ONE_DIGIT])
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files:
            for prefix, content in (("._", b"Mac OS X"), ("", data)):
                member = tarfile.TarInfo(f"./test/{prefix}{name}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    builder = SvhnNumbers(data_dir=tmp_path / "data")
    [(key, example)] = builder._generate_examples(path)
    assert key == example["name"] == "1.png"
    assert example["image"].read() == files[1][1]


def test_one_picture_at_a_time_is_held(tmp_path):
    entries = [(f"{i}.png", ONE_DIGIT[1]) for i in range(1, 41)]
    files = [("digitStruct.mat", digit_struct(entries)), *files_of(entries)]
    path = write_archive(tmp_path / "train.tar.gz", files)
    builder = SvhnNumbers(data_dir=tmp_path / "data")
    gc.collect()
    generator = builder._generate_examples(path)
    for _ in range(39):
        next(generator)
    held = [
        value
        for value in gc.get_objects()
        if isinstance(value, (tarfile.TarInfo, tarfile.ExFileObject))
    ]
    assert 0 < len(held) < 10
    generator.close()


def test_a_missing_folder_and_an_empty_one_are_named(tmp_path):
    downloads = tmp_path / "downloads"
    for _ in range(2):
        with pytest.raises(AssertionError, match="train.tar.gz") as caught:
            build(tmp_path / "data", downloads)
        assert str(downloads) in str(caught.value)
        downloads.mkdir(exist_ok=True)


def test_without_any_archive_the_error_says_what_to_place_where(tmp_path):
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    # Format 2, the single digits, is another thing.
    (downloads / "train_32x32.mat").touch()
    with pytest.raises(RuntimeError) as caught:
        build(tmp_path / "data", downloads)
    for part in (
        str(downloads),
        "train.tar.gz, test.tar.gz, extra.tar.gz",
        "http://ufldl.stanford.edu/housenumbers",
        "non-commercial",
    ):
        assert part in str(caught.value)


def generate(path):
    """All examples of an archive, without writing them anywhere."""
    builder = SvhnNumbers(data_dir=path.parent / "data")
    return list(builder._generate_examples(path))


def test_an_archive_without_boxes_is_refused(tmp_path):
    path = write_archive(tmp_path / "test.tar.gz", files_of(ENTRIES))
    with pytest.raises(ValueError, match="test.tar.gz.*digitStruct.mat"):
        generate(path)


def test_a_failed_build_leaves_no_data_set_behind(tmp_path):
    files = files_of([ONE_DIGIT, TWO_DIGITS])
    files.append(("digitStruct.mat", digit_struct(ENTRIES)))
    downloads = tmp_path / "downloads"
    write_archive(downloads / "train.tar.gz", files)
    lacking = "train.tar.gz.*lacks 2 of them, the first of which is 10.png"
    with pytest.raises(ValueError, match=lacking):
        build(tmp_path / "data", downloads)
    assert not SvhnNumbers(data_dir=tmp_path / "data").is_prepared()


@pytest.fixture
def whole(tmp_path):
    """An archive with its boxes first, to be damaged."""
    files = [("digitStruct.mat", digit_struct(ENTRIES)), *files_of(ENTRIES)]
    return write_archive(tmp_path / "train.tar.gz", files)


def test_a_truncated_archive_names_the_member_where_it_ends(tmp_path):
    entries = [(f"{i}.png", ONE_DIGIT[1]) for i in (1, 2, 3)]
    # Larger than what is read ahead.
    files = [(name, bytes(300_000)) for name, _ in entries]
    files.insert(0, ("digitStruct.mat", digit_struct(entries)))
    path = write_archive(tmp_path / "train.tar.gz", files)
    with tarfile.open(path) as tar:
        start = tar.getmember("train/3.png").offset_data
    # Not compressed, so that the cut is inside of 3.png.
    data = gzip.compress(gzip.decompress(path.read_bytes()), 0)
    path.write_bytes(data[: start + 150_000])
    builder = SvhnNumbers(data_dir=tmp_path / "data")
    generator = builder._generate_examples(path)
    # Those before it were given already: pictures are not collected first.
    assert [next(generator)[0] for _ in range(2)] == ["1.png", "2.png"]
    with pytest.raises(ValueError, match="train.tar.gz.*member train/3.png"):
        next(generator)


def test_a_tar_that_ends_between_members_lacks_pictures(whole):
    with tarfile.open(whole) as tar:
        start = tar.getmember("train/2.png").offset
    whole.write_bytes(
        gzip.compress(gzip.decompress(whole.read_bytes())[:start])
    )
    with pytest.raises(ValueError, match="train.tar.gz.* lacks 2 .*2.png"):
        generate(whole)


def test_a_wrong_checksum_is_noticed(whole):
    data = bytearray(whole.read_bytes())
    data[-8] ^= 1
    whole.write_bytes(data)
    with pytest.raises(ValueError, match="train.tar.gz.*damaged.*CRC"):
        generate(whole)


@pytest.mark.parametrize("data", [b"<html>Not found</html>", b""])
def test_a_file_that_is_no_archive_is_named(tmp_path, data):
    path = tmp_path / "train.tar.gz"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="train.tar.gz.*at its start"):
        generate(path)


def test_boxes_that_cannot_be_read_name_the_archive(tmp_path):
    files = [("digitStruct.mat", digit_struct(ENTRIES)[:3000])]
    path = write_archive(tmp_path / "extra.tar.gz", files)
    with pytest.raises(ValueError, match="extra.tar.gz.*digitStruct.mat must"):
        generate(path)


@pytest.mark.parametrize("label", [0, 11, 2.5])
def test_labels_that_are_no_digits_are_refused(tmp_path, label):
    path = tmp_path / "digitStruct.mat"
    path.write_bytes(digit_struct([("5.png", [(label, 1, 2, 3, 4)])]))
    with pytest.raises(ValueError, match=r"Received: labels=\[.*for 5.png"):
        read_digit_struct(path)


def test_another_file_of_numbers_is_refused(tmp_path):
    path = tmp_path / "digitStruct.mat"
    with h5py.File(path, "w") as file:
        file["X"] = np.zeros(3)
    with pytest.raises(ValueError, match="digitStruct.mat must be"):
        read_digit_struct(path)


def test_svhn_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    monkeypatch.delitem(sys.modules, svhn_numbers.__name__)
    with pytest.raises(RuntimeError, match=r"keras-edram\[tfds\]"):
        svhn("test")


@pytest.fixture(scope="module")
def original_boxes():
    """The true digits of train/1.png to 3.png, as the files have them."""
    if not (SVHN / "format1_samples").is_dir():
        pytest.skip("needs original pictures of the Street View House Numbers")
    entries = {}
    columns = ("label", "left", "top", "width", "height")
    with gzip.open(SVHN / "train_digitStruct.csv.gz", "rt") as file:
        for row in csv.DictReader(file, delimiter=";"):
            digit = tuple(float(row[column]) for column in columns)
            entries.setdefault(row["name"], []).append(digit)
    return entries


def test_original_pictures_come_back_with_their_digits(
    original_boxes, tmp_path
):
    names = ("1.png", "2.png", "3.png")
    originals = {}
    for split in ("train", "extra"):
        for name in names:
            path = SVHN / "format1_samples" / f"{split}_{name}"
            originals[split, name] = path.read_bytes()
        entries = [(name, original_boxes[name]) for name in names]
        if split == "extra":  # no true boxes of these
            entries = [(name, ONE_DIGIT[1]) for name in names]
        write_archive(
            tmp_path / "downloads" / f"{split}.tar.gz",
            [(name, originals[split, name]) for name in names]
            + [("digitStruct.mat", digit_struct(entries))],
        )
    builder = build(tmp_path / "data", tmp_path / "downloads")
    found = {split: examples(builder, split) for split in ("train", "extra")}
    for (split, name), data in originals.items():
        expected = np.asarray(Image.open(io.BytesIO(data)))
        np.testing.assert_array_equal(found[split][name]["image"], expected)
    # Read off train_digitStruct.csv.gz by hand.
    train = found["train"]
    assert_objects(
        train["1.png"], [1, 9], [[246, 77, 327, 296], [323, 81, 419, 300]]
    )
    assert_objects(
        train["2.png"], [2, 3], [[77, 29, 100, 61], [98, 25, 124, 57]]
    )
    assert_objects(train["3.png"], [2, 5], [[17, 5, 25, 20], [25, 5, 34, 20]])


def test_original_boxes_are_read_alike_whatever_their_number(
    original_boxes, tmp_path
):
    chosen = {}  # the first layouts of each number of digits
    for name, digits in original_boxes.items():
        of_number = chosen.setdefault(len(digits), [])
        if len(of_number) < 20:
            of_number.append((name, digits))
    assert sorted(chosen) == [1, 2, 3, 4, 5, 6]
    entries = [entry for number in chosen.values() for entry in number]
    path = tmp_path / "digitStruct.mat"
    path.write_bytes(digit_struct(entries))
    for (name, digits), entry in zip(
        entries, read_digit_struct(path), strict=True
    ):
        label, left, top, width, height = np.transpose(digits)
        assert entry[:2] == (name, np.where(label == 10, 0, label).tolist())
        expected = np.stack([left, top, left + width, top + height], axis=-1)
        np.testing.assert_array_equal(entry[2], expected)


@pytest.mark.slow
def test_the_paper_s_recipe_runs_from_the_original_archives(
    tmp_path, monkeypatch
):
    """The whole command, from archives in the format of the originals."""
    manual = tmp_path / "downloads" / "manual"
    manual.parent.mkdir()
    for split, number in (("train", 150), ("extra", 60), ("test", 5)):
        entries = [
            (f"{index}.png", [(1 + index % 10, 3, 2, 5, 9)] * (1 + index % 2))
            for index in range(1, number + 1)
        ]
        if split == "train":
            entries.append(SIX_DIGITS)  # left out
            entries = [
                e for e in entries if e is SIX_DIGITS or e[0] != "10.png"
            ]
        write_archive(
            manual / f"{split}.tar.gz",
            [
                *files_of(entries),
                ("digitStruct.mat", digit_struct(entries)),
            ],
        )
    # What TensorFlow Datasets reads from TFDS_DATA_DIR it has read already.
    monkeypatch.setattr(
        svhn_numbers,
        "SvhnNumbers",
        functools.partial(SvhnNumbers, data_dir=tmp_path),
    )
    settings = (
        "epochs=1 steps_per_epoch=1 batch_size=2 validation_steps=1 "
        "glimpses_per_target=1"
    )
    out = tmp_path / "run"
    arguments = ["train", "svhn_edram_paper_backward", "--out", str(out)]
    for setting in settings.split():
        arguments += ["--set", setting]
    with eagerly():  # a step takes less time than to compile it
        assert cli.main(arguments) == 0
    results = json.loads((out / "results.json").read_text())
    assert results["images"] == 5 and results["source"] == "tfds"
    assert set(results["error_by_length"]) == {"1", "2"}
    assert results["parameters"] > 10e6


def test_splits_of_svhn_are_apart_and_leave_out_six_digits(
    tmp_path, monkeypatch
):
    manual = tmp_path / "manual"
    entries = [SIX_DIGITS, TWO_DIGITS, ONE_DIGIT, OUTSIDE]
    for split in ("train", "test"):
        of_split = entries if split == "train" else entries[1:]
        write_archive(
            manual / f"{split}.tar.gz",
            [*files_of(of_split), ("digitStruct.mat", digit_struct(of_split))],
        )
    builder = build(tmp_path / "data", manual)
    monkeypatch.setattr(svhn_numbers, "SvhnNumbers", lambda: builder)
    # So that one of three is for validation.
    fractions = sorted(hash_fraction(f"train/{i}.png") for i in (1, 2, 3))
    monkeypatch.setattr(svhn_module, "VALIDATION_FRACTION", fractions[1])
    options = dict(image_size=(12, 16), margin=0.0)
    names, said = {}, []
    for split in ("train", "validation", "test"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            data = svhn(split, **options)
        said += [str(warning.message) for warning in caught]
        assert data.num_targets == 6 and data.num_classes == 11
        names[split] = [picture.path.as_posix() for picture in data.pictures]
        assert all(picture.image is None for picture in data.pictures)
    left_out = "files left out: 1, as train/10.png (has 6 objects, 5 are"
    assert [text.startswith(left_out) for text in said] == [True]
    assert sorted(names["train"] + names["validation"]) == [
        "train/1.png",
        "train/2.png",
        "train/3.png",
    ]
    assert len(names["validation"]) == 1
    assert sorted(names["test"]) == ["test/1.png", "test/2.png", "test/3.png"]
    # The two digits are 3, 4, 4, 6 and 7, 4... : the base is 2 to 12 wide.
    data = svhn("test", **options)
    images, targets = data.arrays(3)
    row = [list(labels[:3]) for labels in targets["labels"]].index([1, 0, 10])
    boxes = geometry.transforms_to_boxes(targets["transforms"][row, :2])
    np.testing.assert_allclose(
        boxes, [[0, 0, 0.4, 0.75], [0.5, 0.125, 1, 1]], atol=1e-6
    )
    with pytest.raises(ValueError, match="6 objects, 5 are allowed"):
        write_archive(
            manual / "test.tar.gz",
            [*files_of(entries), ("digitStruct.mat", digit_struct(entries))],
        )
        six = build(tmp_path / "six", manual)
        monkeypatch.setattr(svhn_numbers, "SvhnNumbers", lambda: six)
        svhn("test", **options)
