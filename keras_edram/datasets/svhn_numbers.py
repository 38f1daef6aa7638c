"""Street View House Numbers, the full pictures, for TensorFlow Datasets."""

import contextlib
import gzip
import io
import pathlib
import shutil
import tarfile
import tempfile
import zlib

import h5py
import numpy as np
import tensorflow_datasets as tfds  # slow: import this module where needed

HOMEPAGE = "http://ufldl.stanford.edu/housenumbers"
ARCHIVES = {split: f"{split}.tar.gz" for split in ("train", "test", "extra")}
DIGIT_STRUCT = "digitStruct.mat"
INSTRUCTIONS = f"""\
Download one or more of {", ".join(ARCHIVES.values())} ("format 1", the full
numbers) from {HOMEPAGE} and leave them packed: each becomes the split of its
name. They are for non-commercial use only."""
# What reading a damaged archive raises. No other OSError: a full disk or a
# missing permission is no fault of the archive.
BROKEN = (EOFError, gzip.BadGzipFile, tarfile.TarError, zlib.error)


class SvhnNumbers(tfds.core.GeneratorBasedBuilder):
    """Photographs of house numbers with a box around each digit.

    Built from the original archives of format 1, which must be downloaded by
    hand: `train.tar.gz` (33,402 pictures), `test.tar.gz` (13,068) and
    `extra.tar.gz` (202,353, easier ones). An archive that is absent is a split
    that is not built; to add it later, delete the prepared data first. The
    archives are streamed, no more than one picture is held in memory.

    An example has the features

    - `image`: uint8 of shape `(height, width, 3)`, sizes differ;
    - `name`: the name of the picture in its archive, like `1.png`;
    - `objects`: the digits in the order of the annotation, which is nearly
      always from left to right, with `label`, 0 to 9, and `bbox`, float32:
      left, top, right, bottom in pixels, the picture's corner being 0, 0.
      Boxes are as annotated: some reach beyond the picture.

    Args:
        data_dir: Path of the folder for the prepared data.
        **kwargs: Other arguments of a builder of TensorFlow Datasets.

    Raises:
        RuntimeError: By `download_and_prepare`, if the folder for manual
            downloads has none of the archives.
        AssertionError: By TensorFlow Datasets itself, with the same
            instructions, if that folder is empty or absent.
        ValueError: By `download_and_prepare`, if an archive is damaged, lacks
            pictures that it names, or has no `digitStruct.mat`.

    Example:

    >>> builder = SvhnNumbers(data_dir="data")
    >>> builder.download_and_prepare(
    ...     download_config=tfds.download.DownloadConfig(
    ...         manual_dir="downloads"
    ...     )
    ... )
    >>> for example in builder.as_dataset(split="train"):
    ...     boxes = example["objects"]["bbox"]

    Reference:
        - Netzer et al., "Reading Digits in Natural Images with Unsupervised
          Feature Learning", 2011.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS
    # Nothing is downloaded. Looked for, checksums need importlib_resources on
    # Python 3.9 and newer, which tensorflow-datasets 4.9.10 does not install.
    url_infos = None

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "Photographs of house numbers from Street View in their "
                "original size, with a box around each digit (format 1)."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(
                        shape=(None, None, 3), encoding_format="png"
                    ),
                    "name": tfds.features.Text(),
                    "objects": tfds.features.Sequence(
                        {
                            "label": tfds.features.ClassLabel(
                                names=[str(digit) for digit in range(10)]
                            ),
                            # No BBoxFeature: it refuses boxes that reach
                            # beyond the picture.
                            "bbox": tfds.features.Tensor(
                                shape=(4,), dtype=np.float32
                            ),
                        }
                    ),
                }
            ),
            homepage=HOMEPAGE,
            license="For non-commercial use only.",
            citation=(
                "Yuval Netzer, Tao Wang, Adam Coates, Alessandro Bissacco, Bo "
                "Wu, Andrew Y. Ng. Reading Digits in Natural Images with "
                "Unsupervised Feature Learning. NIPS Workshop on Deep "
                "Learning and Unsupervised Feature Learning, 2011."
            ),
        )

    def _split_generators(self, dl_manager):
        folder = pathlib.Path(dl_manager.manual_dir)
        present = {
            split: folder / name
            for split, name in ARCHIVES.items()
            if (folder / name).is_file()
        }
        if not present:
            raise RuntimeError(
                f"{folder} has none of the archives of the Street View House "
                f"Numbers. {INSTRUCTIONS}"
            )
        return {
            split: self._generate_examples(archive)
            for split, archive in present.items()
        }

    def _generate_examples(self, archive):
        truth = _read_truth(archive)
        with _reading(archive) as files:
            for name, file in files:
                if name not in truth:
                    continue  # digitStruct.mat, see_bboxes.m
                labels, boxes = truth.pop(name)
                objects = [
                    {"label": label, "bbox": box}
                    for label, box in zip(labels, boxes, strict=True)
                ]
                picture = io.BytesIO(file.read())
                yield name, {"image": picture, "name": name, "objects": objects}
        if truth:
            raise ValueError(
                f"{archive} must hold all pictures that its {DIGIT_STRUCT} "
                f"names, but lacks {len(truth)} of them, the first of which "
                f"is {next(iter(truth))}. Download it again."
            )


def read_digit_struct(path):
    """The labels and boxes of all pictures of an original `digitStruct.mat`.

    Args:
        path: Path of the file, which MATLAB 7.3 wrote as HDF5.

    Returns:
        List of `(name, labels, boxes)`, one for each picture in the order of
        the file: a string; a list of k integers, 0 to 9, where the file has 10
        for the digit 0; and a float32 array of shape `(k, 4)`: left, top,
        right, bottom in pixels, from the picture's corner to the right and
        downwards. Boxes that leave the picture are not cut.

    Raises:
        ValueError: If it is no such file, or has labels other than 1 to 10.

    Example:

    >>> name, labels, boxes = read_digit_struct("train/digitStruct.mat")[0]
    >>> name, labels
    ('1.png', [1, 9])
    >>> boxes.tolist()
    [[246.0, 77.0, 327.0, 296.0], [323.0, 81.0, 419.0, 300.0]]

    Reference:
        - `see_bboxes.m`, which the archives bring: the first row of a digit
          is `top + 1`, counted from 1, the last `top + height`.
    """
    try:
        with h5py.File(path, "r") as file:
            names = file["digitStruct/name"][()].ravel()
            digits = file["digitStruct/bbox"][()].ravel()
            return [
                _read_entry(file, *references)
                for references in zip(names, digits, strict=True)
            ]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} must be a digitStruct.mat of the Street View House "
            f"Numbers, but cannot be read as one: {error}"
        ) from error


def _read_entry(file, name, digits):
    """`(name, labels, boxes)` from the two references of a picture."""
    name = "".join(map(chr, file[name][()].ravel()))
    digits = file[digits]
    labels, left, top, width, height = (
        _read_field(file, digits[field])
        for field in ("label", "left", "top", "width", "height")
    )
    if not set(labels) <= set(range(1, 11)):
        raise ValueError(
            "labels must be 1 to 10, which is the digit 0. "
            f"Received: labels={labels} for {name}"
        )
    boxes = np.stack(
        [left, top, width, height], axis=-1, dtype="float32"
    )  # (k, 4)
    boxes[:, 2:] += boxes[:, :2]
    return name, [int(label) % 10 for label in labels], boxes


def _read_field(file, dataset):
    """One number a digit: of several digits there are only references."""
    values = dataset[()].ravel().tolist()
    if h5py.check_ref_dtype(dataset.dtype):
        values = [file[value][()].item() for value in values]
    return values


def _read_truth(archive):
    """What the `digitStruct.mat` of an archive says: name to labels, boxes."""
    with tempfile.TemporaryDirectory() as folder:
        # HDF5 needs a file that it can seek in.
        path = pathlib.Path(folder) / DIGIT_STRUCT
        with _reading(archive) as files:
            for name, file in files:
                if name == DIGIT_STRUCT:
                    with path.open("wb") as copy:
                        shutil.copyfileobj(file, copy)
                    break
            else:
                raise ValueError(
                    f"{archive} must hold a {DIGIT_STRUCT}, but does not. "
                    "Download the archive of format 1 again."
                )
        try:
            entries = read_digit_struct(path)
        except ValueError as error:
            raise ValueError(f"In {archive}: {error}") from error
    return {name: (labels, boxes) for name, labels, boxes in entries}


@contextlib.contextmanager
def _reading(archive):
    """Opens an archive to go once through its files, as (name, open file)."""
    place = "at its start"

    def files(tar):
        nonlocal place
        while (member := tar.next()) is not None:
            # The open archive would keep every member in memory.
            tar.members.clear()
            if member.isfile():
                place = f"at or after its member {member.name}"
                name = pathlib.PurePosixPath(member.name).name
                yield name, tar.extractfile(member)
        # What follows the end of the tar is gzip's checksum.
        while stream.read(2**20):
            pass

    try:
        # Not "r|gz", which takes a file that was cut for its end.
        with (
            gzip.open(archive) as stream,
            tarfile.open(fileobj=stream, mode="r|") as tar,
        ):
            yield files(tar)
    except BROKEN as error:
        raise ValueError(
            f"{archive} is damaged or not whole {place} ({error}). Download "
            "it again."
        ) from error
