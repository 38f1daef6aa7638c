"""The picture files that annotations name, wherever an export put them."""

import collections
import functools
import os
import posixpath

from keras_edram.datasets.annotated.formats.entries import (
    PICTURE_SUFFIXES,
    UNREAD_SUFFIXES,
    find_files,
    folded,
    new_entry,
)
from keras_edram.words import printable, relative_name

ELSEWHERE = "pictures that are elsewhere, or spelt otherwise, than annotated"


class Pictures:
    """The entries of pictures, by the names that annotations call them.

    A name is a path from the folder on, or from its `images/`. Exports bring
    names of other machines: one with `\\` for `/`, or with folders that are not
    there, is that of the picture whose path ends it, or ends with it; else of
    the only picture with its last part, and then of the only one that differs
    from that in case or Unicode's normal form alone, both of which is noted.

    Args:
        directory: `pathlib.Path` of the annotated folder.
    """

    def __init__(self, directory):
        self.directory = directory
        self._folders = (directory, directory / "images")
        self._entries = {}
        self._names = set()
        self._last = {}  # path -> last folder of a name that led there, and it

    def entry(self, name):
        """The entry of a name: of one picture always the same.

        It is broken if names of two pictures led to it, as those of two
        folders do that were copied into one.
        """
        new = self.new_entry(name)
        place = os.path.normpath(new.path)
        entry = self._entries.setdefault(place, new)
        entry.notes.extend(n for n in new.notes if n not in entry.notes)
        name = _cleaned(name)
        if name not in self._names:
            self._names.add(name)
            # Where it is there, it lies where the folder has it.
            known = relative_name(place, os.path.normpath(self.directory))
            last = _last_folder(known if self.has(name) else name)
            first, other = self._last.setdefault(place, (last, name))
            if not first:
                self._last[place] = last, name
            elif last and last != first and _is_file(new.path):
                entry.problems.append(
                    f"is what both {printable(other)} and {printable(name)} "
                    "name: which is it?"
                )
        return entry

    def entries(self):
        """All that `entry` gave."""
        return list(self._entries.values())

    def has(self, name):
        """Whether there is a file at a name, from the folder on."""
        name = _cleaned(name)
        return any(_is_file(folder / name) for folder in self._folders)

    def new_entry(self, name):
        """An entry of a name, with what is odd about it."""
        name = _cleaned(name)
        for folder in self._folders:
            if _is_file(folder / name):
                return new_entry(folder / name)
        parts = _parts(name)
        last = parts[-1] if parts else ""
        same = self._by_name[last]
        ends = [path for path in same if self._ends(path, parts)]
        if len(ends) == 1:
            return new_entry(ends[0])
        alike = same or self._by_folded_name[folded(last)]
        if len(alike) == 1:
            entry = new_entry(alike[0])
            what = f"is taken for {printable(name)}, which is not there"
            entry.notes.append((what, ELSEWHERE))
            return entry
        entry = new_entry(self.directory / name)
        alike = alike or self._by_stem[folded(os.path.splitext(last)[0])]
        for path in alike:
            what = f"{relative_name(path, self.directory)} is there"
            if path.suffix.lower() in UNREAD_SUFFIXES:
                what += ", of a kind that is not read: convert it"
            entry.problems.append(what)
        return entry

    def _ends(self, path, parts):
        """Whether a path from a folder on is the end of a name, or it of it."""
        return _is_end(parts, path.parts) or any(
            _is_end(path.relative_to(folder).parts, parts)
            for folder in self._folders
            if path.is_relative_to(folder)
        )

    @functools.cached_property
    def _by_name(self):
        return self._pictures_by(lambda path: path.name)

    @functools.cached_property
    def _by_folded_name(self):
        return self._pictures_by(lambda path: folded(path.name))

    @functools.cached_property
    def _by_stem(self):
        return self._pictures_by(lambda path: folded(path.stem))

    @functools.cached_property
    def _files(self):
        return find_files(self.directory, PICTURE_SUFFIXES | UNREAD_SUFFIXES)

    def _pictures_by(self, key):
        found = collections.defaultdict(list)
        for path in self._files:
            found[key(path)].append(path)
        return found


def _cleaned(name):
    return name.replace("\\", "/").replace("\0", "\\x00")  # in no path


def _last_folder(name):
    """The folder that a name is in, as far as it says one, but `images/`."""
    parts = _parts(folded(posixpath.normpath(name)))
    return parts[-2] if len(parts) > 1 and parts[-2] != "images" else ""


def _parts(name):
    return tuple(part for part in name.split("/") if part not in ("", "."))


def _is_end(parts, of):
    """Whether parts of a name are the last ones of another's."""
    return of[-len(parts) :] == parts


def _is_file(path):
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False
