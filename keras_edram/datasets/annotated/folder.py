"""A folder of the user's own annotated pictures, and its splits."""

import hashlib
import pathlib
import re
import unicodedata

import numpy as np

from keras_edram.datasets.annotated.annotated_pictures import (
    AnnotatedPictures,
    most_objects,
)
from keras_edram.datasets.annotated.annotations import (
    Annotations,
    look_at_pictures,
    read_annotations,
)
from keras_edram.datasets.annotated.formats import (
    FORMATS,
    find_format,
    formats_in,
)
from keras_edram.datasets.annotated.formats.entries import (
    ANNOTATION_SUFFIXES,
    JUNK_FOLDERS,
    PICTURE_SUFFIXES,
    SPLIT_FOLDERS,
    WHOLE,
    Problem,
    find_files,
    sorted_names,
    without_entry,
)
from keras_edram.datasets.annotated.split_problems import split_problems
from keras_edram.datasets.random_sequence import SPLITS, split_seed
from keras_edram.reading_order import lines_order
from keras_edram.words import relative_name

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
            most that a picture of any split has.
        skip_broken: Boolean, whether pictures that cannot be used are left
            out; otherwise they are an error. Defaults to False.
        seed: Non-negative integer.
        **options: Arguments of `AnnotatedPictures`; usual for training are
            `random_crops=True, crop_fraction=0.84` or `jitter=0.1`.

    Returns:
        `AnnotatedPictures`.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: For an unknown split, one without pictures, or for training
            without objects, annotations that cannot be read, or options that
            do not fit.

    Warns:
        UserWarning: See `AnnotatedPictures`; for training also of what is odd
            about all splits together.

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
        max_objects = max(map(most_objects, parts.values()))
    part = parts[split]
    if not part.pictures and not any(
        problem.broken for problem in part.problems
    ):
        counts = {name: len(parts[name].pictures) for name in SPLITS}
        raise ValueError(
            f"{directory} must have pictures for the split {split!r}: put some "
            f"into folders of their own, or add more. Received: {counts}"
        )
    if split == "train":
        if part.pictures and not most_objects(part):
            raise ValueError(
                f"{directory} must have a picture for training with an object."
                f" Received: {len(part.pictures)} pictures without any"
            )
        part = _with_problems(part, split_problems(parts))
    if order == "annotated":
        part = _with_problems(part, _other_orders(part))
    return AnnotatedPictures(
        part,
        max_objects=max_objects,
        skip_broken=skip_broken,
        seed=seed,
        **options,
    )


def _file(picture, annotations):
    """What a `Problem` calls a picture."""
    return relative_name(picture.path, annotations.directory)


def _with_problems(annotations, problems):
    problems = (*annotations.problems, *problems)
    return annotations._replace(problems=problems)


def _other_orders(annotations):
    """Notes of pictures whose objects are listed in no order of reading."""
    for picture in annotations.pictures:
        read = lines_order(picture.boxes)
        if (np.diff(read) < 0).any():
            file = _file(picture, annotations)
            objects = ", ".join(str(index + 1) for index in read)
            what = f"is read {objects} line by line from the left"
            kind = (
                "pictures whose objects are listed in another order than that "
                "of reading, which `order=lines` (`--set order=lines`) takes"
            )
            yield Problem(file, what, False, kind)


def read_splits(directory, *, annotation_format=None, order="lines"):
    """Reads the annotations of a folder, divided into splits.

    A folder with sub-folders `train` and `test`, or `train` and one of
    `validation`, `valid` and `val`, has the pictures of each split in there,
    and the annotations, too, or they are in the folder itself. The sub-folders
    may be in `images`, and YOLO's also in `labels`; they may have a year, as
    `train2017`, and be the only ones. COCO's annotations may be a file a
    split, named after it, as `annotations/instances_val2017.json`; VOC's may
    have lists in `ImageSets/Main`, and YOLO's may lie where `data.yaml` says,
    or be listed in `train.txt` and the like. A picture of two lists is in the
    split of the shorter one, which is noted; if that leaves none to train on,
    no list is heeded. A split without any of that is taken out of the training
    pictures.

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
    if not directory.is_dir():
        raise FileNotFoundError(f"There is no folder {directory}")
    parts = _found_parts(directory, annotation_format, order)
    given = set(parts)
    nothing = Annotations((), (), (), directory)
    whole = parts.setdefault("train", nothing)
    for split, (low, high) in HASHED_PARTS.items():
        if split not in given:
            parts[split] = _hashed_part(whole, low, high)
    rest = [HASHED_PARTS[split] for split in HASHED_PARTS if split not in given]
    if rest:
        low, high = rest[0][0], rest[-1][1]
        parts["train"] = _hashed_part(whole, low, high, within=False)
    return _same_classes(parts)


def _found_parts(directory, annotation_format, order):
    """The splits that have folders or files of their own; or all as train."""
    options = dict(annotation_format=annotation_format, order=order)
    for name in FORMATS if annotation_format is None else [annotation_format]:
        sources = name in FORMATS and FORMATS[name].split_sources(directory)
        if sources:
            return _parts_of_files(directory, sources, order)
    folders = _split_folders(directory)
    if any(_has(path, annotation_format) for path in folders.values()):
        return {
            split: _seen_from(directory, read_annotations(path, **options))
            for split, path in folders.items()
        }
    inner = _only_folder(directory)
    if inner and not _has(directory, annotation_format):
        parts = _found_parts(inner, annotation_format, order)
        return {
            split: _seen_from(directory, part) for split, part in parts.items()
        }
    whole = read_annotations(directory, **options)
    folders = folders or _split_folders(directory / "images")
    if folders:
        return _parts_in(folders, whole)
    known = FORMATS[annotation_format or find_format(directory)]
    return _parts_of_lists(known.image_sets(directory), whole)


def _has(directory, annotation_format):
    """Whether there are annotations, of a format or of any, in a folder."""
    if annotation_format is None:
        return bool(formats_in(directory))
    if annotation_format not in FORMATS:
        return True  # so that they are read, which says what is unknown
    return bool(FORMATS[annotation_format].find(directory))


def _parts_of_files(directory, sources, order):
    """The splits that have a file of annotations each."""
    first = sources[min(sources, key=SPLITS.index)]
    every = [entry for part in sources.values() for entry in part.entries]
    first.problems.extend(without_entry(directory, every))
    return {
        split: look_at_pictures(source, directory, order)
        for split, source in sources.items()
    }


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
    )
    pictures = [p for part in parts.values() for p in part.pictures]
    problems = [p for part in parts.values() for p in part.problems]
    problems += split_problems(parts)
    return parts["train"]._replace(
        pictures=tuple(sorted(pictures, key=lambda picture: picture.path)),
        problems=tuple(dict.fromkeys(sorted(problems))),
    )


def hash_fraction(name):
    """A number in [0, 1) that depends on a name alone, evenly spread.

    Whichever of Unicode's forms the disk has it in.

    Example:

    >>> 0 <= hash_fraction("1.png") < 1
    True
    """
    name = unicodedata.normalize("NFC", name)
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _split_folders(directory):
    """The folders of the splits: for training and another, or no others."""
    found = {}
    inner = _folders_in(directory)
    for path in inner:
        name = re.fullmatch(r"(\D+)(\d{4})?", path.name.lower())
        for split, names in SPLIT_FOLDERS.items():
            if name and name[1] in names:
                found.setdefault(split, []).append(path)
    for split, paths in found.items():
        if len(paths) > 1:
            raise ValueError(
                f"{directory} must have one folder for the split {split!r}. "
                f"Received: {', '.join(path.name for path in paths)}"
            )
    alone = len(found) == len(inner) and not find_files(
        directory, PICTURE_SUFFIXES, deep=False
    )
    if alone or "train" in found and len(found) > 1:
        return {split: path for split, (path,) in found.items()}
    return {}


def _folders_in(directory):
    """The folders in a folder that are not hidden."""
    if not directory.is_dir():
        return []
    return [
        path
        for path in sorted(directory.iterdir())
        if path.is_dir()
        and not path.name.startswith(".")
        and path.name not in JUNK_FOLDERS
    ]


def _only_folder(directory):
    """The folder that an archive was packed with, if there is nothing else."""
    folders = _folders_in(directory)
    if len(folders) == 1 and not find_files(
        directory, PICTURE_SUFFIXES, deep=False
    ):
        return folders[0]
    return None


def _seen_from(directory, annotations):
    """The same annotations, with files named from another folder on."""
    problems = tuple(
        problem._replace(
            file=relative_name(annotations.directory / problem.file, directory)
        )
        for problem in annotations.problems
    )
    return annotations._replace(problems=problems, directory=directory)


def _parts_in(folders, whole):
    """The splits of pictures that lie in folders, annotated together."""
    of_folder = {path.name: split for split, path in folders.items()}

    def split_of(file):
        found = [n for n in pathlib.PurePath(file).parts[:2] if n in of_folder]
        return of_folder[found[0]] if found else None

    return _parts_by(split_of, folders, whole)


def _parts_of_lists(lists, whole):
    """The splits of pictures whose names are listed; or all as train.

    A name is that of a file, or without its suffix, and from any folder on. Of
    the lists that name a picture the one of fewest has it: so what all of a
    folder is trained on but for a few is not, and a list that is twice there
    is one.
    """
    files = [_file(picture, whole) for picture in whole.pictures]
    files += [problem.file for problem in whole.problems]
    called = {file: _called(file) for file in files}
    named = {
        split: {file for file in called if called[file] & names}
        for split, names in lists.items()
    }
    by_size = sorted(named, key=lambda split: len(named[split]))
    found = {file: [s for s in by_size if file in named[s]] for file in called}
    kept = {splits[0] for splits in found.values() if splits}
    if named.get("train") and "train" not in kept:
        what = "all that is listed for training is so for other splits too"
        note = Problem(WHOLE, f"{what}: no list is heeded", False)
        return {"train": _with_problems(whole, [note])}
    if not lists:
        return {"train": whole}
    notes = [
        Problem(
            file,
            f"is listed for {' and '.join(s for s in SPLITS if s in splits)}, "
            f"and taken for {splits[0]}",
            False,
            "pictures that are listed for two splits, and taken for one",
        )
        for file, splits in found.items()
        if len(splits) > 1
    ]
    return _parts_by(
        lambda file: next(iter(found.get(file, ())), None),
        [split for split in lists if split in kept or not named[split]],
        _with_problems(whole, notes),
    )


def _called(file):
    """What lists may call a file, without its suffix from any folder on."""
    path = pathlib.PurePath(file)
    parts = (*path.parts[:-1], path.stem)
    return {"/".join(parts[i:]) for i in range(len(parts))} | {file}


def _parts_by(split_of, splits, whole):
    """The splits by a function of a file; what is in none is noted."""
    parts = {}
    for split in (*splits, None):

        def belongs(file, split=split):
            return split_of(file) == split

        parts[split] = _part(whole, belongs, belongs)
    rest = parts.pop(None)
    lost = [
        Problem(_file(picture, whole), "is in no split, and left out", False)
        for picture in rest.pictures
    ]
    return {
        split: _with_problems(part, (*rest.problems, *lost))
        for split, part in parts.items()
    }


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
            if belongs(_file(picture, annotations))
        ),
        problems=tuple(
            problem
            for problem in annotations.problems
            if problem_belongs(problem.file)
        ),
    )


def _same_classes(parts):
    """Gives all parts the classes of all."""
    lists = [part.class_names for part in parts.values() if part.class_names]
    class_names = lists[0] if lists else ()
    if any(names != class_names for names in lists):
        class_names = tuple(sorted_names(sum(lists, ())))
    return {
        split: parts[split]._replace(class_names=class_names)
        for split in SPLITS
    }
