"""Annotation files that belong to pictures by their names."""

import collections

from keras_edram.datasets.annotation_formats.entries import (
    PICTURE_SUFFIXES,
    find_files,
)

NO_PICTURE = "there is no picture of its name"


def pair(pictures_folder, texts_folder, suffix):
    """Pictures and annotation files by what they share of their paths.

    Returns:
        `(pictures, texts)`, dictionaries of the path without its suffix ->
        list of pictures, and -> annotation file.
    """
    pictures = collections.defaultdict(list)
    for path in find_files(pictures_folder, PICTURE_SUFFIXES):
        stem = path.relative_to(pictures_folder).with_suffix("")
        pictures[stem].append(path)
    texts = {
        path.relative_to(texts_folder).with_suffix(""): path
        for path in find_files(texts_folder, {suffix})
    }
    return pictures, texts


def paired_folders(directory, pictures, texts):
    """Where the pictures and the annotations are: apart, or side by side."""
    if not (directory / texts).is_dir():
        return directory, directory
    if not (directory / pictures).is_dir():
        return directory, directory / texts
    return directory / pictures, directory / texts


def note_same_stem(entries, pictures):
    """Breaks the entries of pictures that share their annotations."""
    for same in pictures:
        for path in same if len(same) > 1 else ():
            others = ", ".join(other.name for other in same if other != path)
            entries[path].problems.append(
                f"has the name of {others}, too: whose are the annotations?"
            )
