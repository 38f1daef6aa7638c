"""Annotation files that belong to pictures by their names."""

import collections

from keras_edram.datasets.annotated.formats.entries import (
    PICTURE_SUFFIXES,
    UNREAD,
    UNREAD_SUFFIXES,
    Problem,
    find_files,
    folded,
)
from keras_edram.words import relative_name


def pair(pictures_folder, texts_folder, suffix, apart=()):
    """Pictures and annotation files by what they share of their paths.

    What differs in case or Unicode's normal form alone is shared, too, where
    no other is meant.

    Args:
        pictures_folder: `pathlib.Path` of the folder of the pictures.
        texts_folder: Path of the folder of the annotation files.
        suffix: String, that of the annotation files.
        apart: Names of folders that keep the two apart, further down.

    Returns:
        `(pictures, texts)`, dictionaries of the path without its suffix ->
        list of pictures, and -> list of annotation files.
    """
    pictures = collections.defaultdict(list)
    for path in find_files(pictures_folder, PICTURE_SUFFIXES):
        pictures[_stem(path, pictures_folder, apart)].append(path)
    texts = collections.defaultdict(list)
    for path in find_files(texts_folder, {suffix}):
        texts[_stem(path, texts_folder, apart)].append(path)
    paired = pictures.keys() & texts.keys()
    lonely = collections.defaultdict(lambda: ([], []))
    for place, stems in enumerate((pictures, texts)):
        for stem in stems.keys() - paired:
            lonely[folded(stem)][place].append(stem)
    for of_pictures, of_texts in lonely.values():
        if len(of_pictures) == len(of_texts) == 1:
            texts[of_pictures[0]] = texts.pop(of_texts[0])
    return pictures, texts


def _stem(path, folder, apart=()):
    *folders, name = path.relative_to(folder).with_suffix("").parts
    return "/".join([*(f for f in folders if f not in apart), name])


def paired_folders(directory, pictures, texts):
    """Where the pictures and the annotations are: apart, or side by side.

    Args:
        directory: `pathlib.Path` of the folder.
        pictures: Names that the folder of the pictures may have in there.
        texts: Names that the folder of the annotations may have.
    """
    of_pictures = _first_folder(directory, pictures)
    of_texts = _first_folder(directory, texts)
    if of_texts == directory:
        return directory, directory
    return of_pictures, of_texts


def _first_folder(directory, names):
    folders = [directory / name for name in names]
    return next((path for path in folders if path.is_dir()), directory)


def note_same_stem(entries, pictures, texts):
    """Breaks the entries of pictures with one annotation file, or with two.

    Args:
        entries: Dictionary of the path of a picture -> `Entry`.
        pictures, texts: What `pair` returned.
    """
    for stem, same in pictures.items():
        for path in same:
            problems = entries[path].problems if path in entries else []
            if len(same) > 1:
                others = ", ".join(p.name for p in same if p != path)
                problems.append(
                    f"has the name of {others}, too: whose are the annotations?"
                )
            if len({text.read_bytes() for text in texts.get(stem, ())}) > 1:
                names = " and ".join(
                    "/".join(p.parts[-2:]) for p in texts[stem]
                )
                problems.append(f"has two annotation files, {names}")


def without_picture(texts, directory, pictures_folder, texts_folder):
    """Problems of annotation files that belong to no picture that is read.

    Args:
        texts: Paths of these files.
        directory: `pathlib.Path` of the folder.
        pictures_folder: Path of the folder of the pictures.
        texts_folder: Path of the folder of the annotation files.
    """
    unread = {
        folded(_stem(path, pictures_folder)): path
        for path in find_files(pictures_folder, UNREAD_SUFFIXES)
    }
    problems = []
    for text in texts:
        path = unread.get(folded(_stem(text, texts_folder)))
        what = "there is no picture of its name" if path is None else UNREAD
        file = relative_name(path or text, directory)
        problems.append(Problem(file, what, True))
    return problems
