"""What is odd about the splits of a folder together, and with no one file."""

import collections
import hashlib
import unicodedata

from keras_edram.datasets.annotated.annotated_pictures import most_objects
from keras_edram.datasets.annotated.formats.entries import (
    WHOLE,
    Problem,
)
from keras_edram.words import listed, relative_name

QUOTES = "\"'`"


def split_problems(parts):
    """What is to be said of the splits of a folder as a whole.

    Args:
        parts: Dictionary of split -> `Annotations`, see `read_splits`.

    Returns:
        List of `Problem`: classes that are hardly meant to be two, or have no
        objects, or none for training; more objects in a picture than any for
        training has; the same picture in two splits; no object at all.

    Example:

    >>> split_problems(read_splits("my_photos"))
    []
    """
    return [
        *_without_objects(parts),
        *_like_classes(parts["train"].class_names),
        *_unused_classes(parts),
        *_more_objects(parts),
        *_same_pictures(parts),
    ]


def _without_objects(parts):
    broken = any(p.broken for part in parts.values() for p in part.problems)
    usable = any(part.pictures for part in parts.values())
    # Where all are broken, that is what is to be said.
    if not max(map(most_objects, parts.values())) and (usable or not broken):
        yield Problem(WHOLE, "no picture has an object", True)


def _like_classes(class_names):
    """Classes whose names are read as the same by people."""
    alike = collections.defaultdict(list)
    for name in class_names:
        # Full-width letters are the same as others in this form.
        form = unicodedata.normalize("NFKC", name).casefold()
        # Of category Cf are soft hyphens and the like, which nobody sees.
        seen = [one for one in form if unicodedata.category(one) != "Cf"]
        form = "".join("".join(seen).split()).strip(QUOTES)
        alike[form].append(repr(name))
    for names in alike.values():
        if len(names) > 1:
            what = (
                f"the classes {', '.join(names)} differ in case, white space, "
                "width, quotes or what cannot be seen alone: are they one?"
            )
            yield Problem(WHOLE, what, False)


def _unused_classes(parts):
    used = {
        split: {label for picture in part.pictures for label in picture.labels}
        for split, part in parts.items()
    }
    every = set().union(*used.values())
    names = parts["train"].class_names
    unused = [name for name in names if name not in every]
    if every and unused:
        what = f"no object that can be used has a class of {listed(unused)}"
        yield Problem(WHOLE, what, False)
    unlearnt = [name for name in names if name in every - used["train"]]
    if used["train"] and unlearnt:
        what = (
            f"no picture for training has an object of {listed(unlearnt)}, "
            "others have: no model learns to read that"
        )
        yield Problem(WHOLE, what, False)


def _more_objects(parts):
    most = most_objects(parts["train"])
    for split, part in parts.items():
        for picture in part.pictures if split != "train" and most else ():
            count = len(picture.labels)
            if count > most:
                file = relative_name(picture.path, part.directory)
                what = (
                    f"has {count} objects, no picture for training more than "
                    f"{most}: no model learns to read so many"
                )
                kind = "pictures with more objects than any for training"
                yield Problem(file, what, False, kind)


def _same_pictures(parts):
    """Pictures that have the content of one in another split."""
    by_size = collections.defaultdict(list)
    for split, part in parts.items():
        for picture in part.pictures:
            size = picture.path.stat().st_size
            by_size[size].append((split, picture.path, part.directory))
    for files in by_size.values():
        if len({split for split, *_ in files}) == 1:
            continue
        first = {}
        for split, path, directory in files:
            digest = hashlib.sha256(path.read_bytes()).digest()
            of_first, other = first.setdefault(digest, (split, path))
            if of_first != split:
                name = relative_name(other, directory)
                what = f"is the same picture as {name}, which is for {of_first}"
                file = relative_name(path, directory)
                kind = "pictures that are in another split, too"
                yield Problem(file, what, False, kind)
