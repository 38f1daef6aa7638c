"""Files as those that SVHN comes in, small ones."""

import gzip
import io
import json
import tarfile
import zipfile

import h5py
import numpy as np
from PIL import Image

from keras_edram.datasets import house_numbers


def png(picture):
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "PNG")
    return data.getvalue()


def digit_struct(entries):
    """The bytes of a digitStruct.mat, laid out as MATLAB 7.3 does."""
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        store = file.create_group("#refs#")

        def column(references):
            values = np.empty((len(references), 1), h5py.ref_dtype)
            values[:, 0] = references
            return values

        def stored(value):
            return store.create_dataset(str(len(store)), data=value).ref

        def bbox(digits):
            group = store.create_group(str(len(store)))
            fields = ("label", "left", "top", "width", "height")
            for field, *values in zip(fields, *digits, strict=True):
                values = [np.array([[value]], "float64") for value in values]
                group[field] = (
                    values[0]
                    if len(values) == 1
                    else column([stored(value) for value in values])
                )
            return group.ref

        names = [
            stored(np.array([[ord(letter)] for letter in name], "uint16"))
            for name, _ in entries
        ]
        file["digitStruct/name"] = column(names)
        file["digitStruct/bbox"] = column([bbox(boxes) for _, boxes in entries])
    return data.getvalue()


def write_archive(path, files):
    """An archive like train.tar.gz of `files`, (name, bytes) in their order."""
    folder = path.name.removesuffix(".tar.gz")
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        directory = tarfile.TarInfo(folder)
        directory.type = tarfile.DIRTYPE
        tar.addfile(directory)
        for name, data in files:
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def write_house_numbers(folder):
    """Files as SVHN's, of two pictures with a digit each."""
    folder.mkdir()
    box = {"label": 3, "left": 4, "top": 0, "width": 20, "height": 32}
    entries = {name: {"boxes": [box]} for name in ("1.png", "3600.png")}
    (folder / house_numbers.BOXES_FILE).write_text(json.dumps(entries))
    content = io.BytesIO()
    Image.new("RGB", (32, 32)).save(content, "PNG")
    with zipfile.ZipFile(folder / house_numbers.PICTURES_FILE, "w") as archive:
        for name in entries:
            archive.writestr(name, content.getvalue())
    np.savez(
        folder / house_numbers.DIGITS_FILE,
        x=np.full((2, 32, 32, 3), 9, "uint8"),
        y=np.full(2, 3, "uint8"),
    )
    with gzip.open(folder / house_numbers.LAYOUTS_FILE, "wt") as file:
        file.write("name;label;top;left;height;width\n1.png;3;0;4;32;20\n")
