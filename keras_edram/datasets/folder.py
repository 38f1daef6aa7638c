"""A folder of the user's own annotated pictures, and its splits."""

import hashlib
import pathlib

from keras_edram.datasets.annotated_pictures import (
    AnnotatedPictures,
    most_objects,
)
from keras_edram.datasets.annotation_formats.entries import (
    ANNOTATION_SUFFIXES,
    SPLIT_FOLDERS,
    relative_name,
    sorted_names,
)
from keras_edram.datasets.annotations import read_annotations
from keras_edram.datasets.random_sequence import SPLITS, split_seed

# Which hashes of a file name, as fractions, belong to these splits; the others
# are for training.
HASHED_PARTS = {"test": (0.0, 0.1), "validation": (0.1, 0.2)}


def folder(
    directory,
    split,
    *,
    annotation_format=None,
    order="lines",
    max_objects=None,
    skip_broken=False,
    seed=0,
    **options,
):
    """The annotated pictures of one split of the user's own folder.

    Args:
        directory: Path of the folder, see `read_splits` for what belongs to
            which split.
        split: `"train"`, `"validation"` or `"test"`.
        annotation_format: String, see `read_annotations`.
        order: `"lines"` or `"annotated"`, see `read_annotations`.
        max_objects: Integer, the most objects of a picture. Defaults to the
            most that a picture for training has, in all splits.
        skip_broken: Boolean, whether pictures that cannot be used are left
            out; otherwise they are an error. Defaults to False.
        seed: Non-negative integer.
        **options: Arguments of `AnnotatedPictures`; usual for training are
            `random_crops=True, crop_fraction=0.84` or `jitter=0.1`.

    Returns:
        `AnnotatedPictures`.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: For an unknown split, one without pictures, annotations
            that cannot be read, or options that do not fit.

    Example:

    >>> train = folder("my_photos", "train", image_size=54, jitter=0.1)
    >>> train.arrays(8)[0].shape
    (8, 54, 54, 3)
    """
    seed = split_seed(split, seed)
    parts = read_splits(
        directory, annotation_format=annotation_format, order=order
    )
    if max_objects is None:
        max_objects = most_objects(parts["train"])
    part = parts[split]
    if not part.pictures and not any(
        problem.broken for problem in part.problems
    ):
        counts = {name: len(parts[name].pictures) for name in SPLITS}
        raise ValueError(
            f"{directory} must have pictures for the split {split!r}: put some "
            f"into folders of their own, or add more. Received: {counts}"
        )
    return AnnotatedPictures(
        part,
        max_objects=max_objects,
        skip_broken=skip_broken,
        seed=seed,
        **options,
    )


def read_splits(directory, *, annotation_format=None, order="lines"):
    """Reads the annotations of a folder, divided into splits.

    A folder with sub-folders `train` and `test`, or `train` and one of
    `validation`, `valid` and `val`, has the pictures and the annotations of
    each split in there; YOLO's may be `images/train` with `labels/train`, and
    so on. A split without such a folder is taken out of the training pictures.

    Without such folders all pictures are divided. Which split a picture
    belongs to depends on its name alone, so that it stays there when others
    are added: a tenth is for tests, a tenth for validation.

    Args:
        directory: Path of the folder.
        annotation_format: String, see `read_annotations`.
        order: `"lines"` or `"annotated"`, see `read_annotations`.

    Returns:
        Dictionary of `"train"`, `"validation"` and `"test"` -> `Annotations`,
        all with the classes of all. What is wrong but with no single picture is
        a problem of each.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: See `read_annotations`.

    Example:

    >>> sorted(read_splits("my_photos"))
    ['test', 'train', 'validation']
    """
    directory = pathlib.Path(directory)
    options = dict(annotation_format=annotation_format, order=order)
    folders = _split_folders(directory)
    if folders:
        parts = {
            split: _seen_from(directory, read_annotations(path, **options))
            for split, path in folders.items()
        }
    else:
        whole = read_annotations(directory, **options)
        if (directory / "labels" / "train").is_dir():
            folders = _split_folders(directory / "images")
        parts = {
            split: _part_in(path.name, whole) for split, path in folders.items()
        } or {"train": whole}
    for split, (low, high) in HASHED_PARTS.items():
        if split not in folders:
            parts[split] = _hashed_part(parts["train"], low, high)
    rest = [
        HASHED_PARTS[split] for split in HASHED_PARTS if split not in folders
    ]
    if rest:
        low, high = rest[0][0], rest[-1][1]
        parts["train"] = _hashed_part(parts["train"], low, high, within=False)
    return _same_classes(parts)


def read_folder(directory, *, annotation_format=None, order="lines"):
    """Reads the annotations of all splits of a folder as one, to check them.

    Args:
        directory: Path of the folder, see `read_splits`.
        annotation_format: String, see `read_annotations`.
        order: `"lines"` or `"annotated"`, see `read_annotations`.

    Returns:
        `Annotations`.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: See `read_annotations`.

    Example:

    >>> len(read_folder("my_photos").pictures)
    12
    """
    parts = read_splits(
        directory, annotation_format=annotation_format, order=order
    ).values()
    pictures = [picture for part in parts for picture in part.pictures]
    problems = [problem for part in parts for problem in part.problems]
    return next(iter(parts))._replace(
        pictures=tuple(sorted(pictures, key=lambda picture: picture.path)),
        problems=tuple(dict.fromkeys(sorted(problems))),
    )


def hash_fraction(name):
    """A number in [0, 1) that depends on a name alone, evenly spread.

    Example:

    >>> 0 <= hash_fraction("1.png") < 1
    True
    """
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _split_folders(directory):
    """The folders of the splits, if there is one for training and another."""
    found = {}
    for split, names in SPLIT_FOLDERS.items():
        paths = [directory / name for name in names]
        paths = [path for path in paths if path.is_dir()]
        if len(paths) > 1:
            raise ValueError(
                f"{directory} must have one folder for the split {split!r}. "
                f"Received: {', '.join(path.name for path in paths)}"
            )
        if paths:
            found[split] = paths[0]
    return found if "train" in found and len(found) > 1 else {}


def _seen_from(directory, annotations):
    """The same annotations, with files named from another folder on."""
    problems = tuple(
        problem._replace(
            file=relative_name(annotations.directory / problem.file, directory)
        )
        for problem in annotations.problems
    )
    return annotations._replace(problems=problems, directory=directory)


def _part_in(name, annotations):
    """The part in `images/<name>` and `labels/<name>`."""

    def belongs(file):
        top, sub, *_ = *pathlib.PurePath(file).parts, ""
        return top in ("images", "labels") and sub == name

    return _part(annotations, belongs, belongs)


def _hashed_part(annotations, low, high, within=True):
    """The part whose names have hashes in [low, high), or the others."""

    def belongs(file):
        fraction = hash_fraction(file)
        return (low <= fraction < high) == within

    def problem_belongs(file):
        suffix = pathlib.PurePath(file).suffix.lower()
        return suffix in ANNOTATION_SUFFIXES or belongs(file)

    return _part(annotations, belongs, problem_belongs)


def _part(annotations, belongs, problem_belongs):
    """The pictures and the problems of the files that belong to a part."""
    return annotations._replace(
        pictures=tuple(
            picture
            for picture in annotations.pictures
            if belongs(relative_name(picture.path, annotations.directory))
        ),
        problems=tuple(
            problem
            for problem in annotations.problems
            if problem_belongs(problem.file)
        ),
    )


def _same_classes(parts):
    """Gives all parts the classes of all."""
    lists = [part.class_names for part in parts.values()]
    class_names = lists[0]
    if any(names != class_names for names in lists):
        class_names = tuple(sorted_names(sum(lists, ())))
    return {
        split: parts[split]._replace(class_names=class_names)
        for split in SPLITS
    }
