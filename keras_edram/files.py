"""Writing so that nothing is lost: the one place that replaces anything.

What is written lies in a folder of its own, `.partial-...` beside its place,
until it is whole. The process that writes holds a lock on that folder, which
ends with the process, however that ends: so it is known what a killed one
left, and the next that writes there mends it.
"""

import contextlib
import errno
import gzip
import json
import os
import pathlib
import shutil
import tempfile

try:
    import fcntl
except ImportError:  # on Windows, where leftovers stay
    fcntl = None

# Of what Matplotlib draws without other programs.
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
FIGURE_SUFFIXES = (*PICTURE_SUFFIXES, ".pdf", ".svg", ".svgz", ".eps", ".ps")
PREFIX = ".partial-keras-edram-"
# What figures of ours have in them, and photos and figures of others have not.
DRAWN_BY = "drawn by keras_edram"


@contextlib.contextmanager
def replacing(path, *, overwrite=True):
    """Gives a path to write a file to, then renames it to `path`.

    When the writing fails, what was at `path` before is still there. A link is
    followed. Of two processes that write the same file at once one is told.

    Args:
        path: The final path; its folder is made if need be.
        overwrite: Boolean, whether a file that is there may be replaced; a
            folder never is. Defaults to `True`.

    Yields:
        `pathlib.Path` of the same name in a folder of its own.

    Raises:
        ValueError: If no file may be written there, see `check_file`, or
            another process wrote it meanwhile.

    Example:

    >>> with replacing("runs/first/notes.txt") as partial:
    ...     partial.write_text("done")
    """

    def check():
        check_file(path, overwrite=overwrite)

    with _replacing(path, check) as partial:
        yield partial


@contextlib.contextmanager
def replacing_folder(path, strangers, *, overwrite=False):
    """Gives a path to write a folder to, then renames it to `path`.

    As `replacing`, but a folder that is there is replaced only if the user
    said so and it is what this package wrote: everything in it would go.

    Args:
        path: The final path; the folder around it is made if need be.
        strangers: Function of a path: a list of what in that folder was not
            written by this package.
        overwrite: Boolean, whether the user said so. Defaults to `False`.

    Yields:
        `pathlib.Path` of the same name in a folder of its own.

    Raises:
        ValueError: If no folder may be written there, or another process wrote
            it meanwhile.

    Example:

    >>> def strangers(folder):
    ...     return [path for path in folder.iterdir() if path.suffix != ".pb"]
    >>> with replacing_folder("serving/edram/1", strangers) as partial:
    ...     partial.mkdir()
    """
    path = pathlib.Path(path)

    def check():
        _check_folder(path)
        if path.exists() and any(path.iterdir()):
            _check_overwrite(path, overwrite)
            if found := strangers(path):
                raise ValueError(
                    "A folder is replaced only if this package wrote all that "
                    f"is in it. Received: {str(path)!r} with {found[:3]}"
                )

    with _replacing(path, check) as partial:
        yield partial


def check_file(path, *, overwrite=True):
    """Raises unless a file can be written there, as far as can be seen.

    Args:
        path: Path of the file.
        overwrite: Boolean, whether a file that is there may be replaced.
            Defaults to `True`.

    Raises:
        ValueError: If there is a folder, a device, or a file that may not be
            replaced, or if what should be a folder around it is a file.

    Example:

    >>> check_file("runs/first/notes.txt")
    """
    path = pathlib.Path(path)
    _check_parents(path)
    if path.is_dir():
        raise ValueError(
            "What is to be a file must not be a folder. Received: "
            f"{str(path)!r}"
        )
    if path.exists():
        if not path.is_file():
            raise ValueError(
                "What is to be a file must not be a device. Received: "
                f"{str(path)!r}"
            )
        _check_overwrite(path, overwrite)
        if not os.access(path, os.W_OK):
            raise ValueError(
                f"A file to replace must be writable. Received: {str(path)!r}"
            )


def is_drawn(path):
    """Whether a file is a figure that this package drew.

    Args:
        path: Path of the file.

    Returns:
        Boolean.

    Example:

    >>> is_drawn("digit.png")
    False
    """
    path = pathlib.Path(path)
    content = path.read_bytes()
    if path.suffix.lower() == ".svgz":
        with contextlib.suppress(OSError, EOFError):  # it is not packed
            content = gzip.decompress(content)
    return DRAWN_BY.encode() in content


def with_suffix(path, suffixes):
    """The path of a file, which has one of these suffixes.

    Args:
        path: Path of the file.
        suffixes: Strings in lower case; the path may have capitals.

    Returns:
        `pathlib.Path`.

    Raises:
        ValueError: If it has another suffix, or none.

    Example:

    >>> with_suffix("edram.onnx", [".onnx"]).name
    'edram.onnx'
    """
    path = pathlib.Path(path)
    if path.suffix.lower() not in suffixes:
        raise ValueError(
            f"What is to be written must end in {', '.join(suffixes)}. "
            f"Received: {str(path)!r}"
        )
    return path


@contextlib.contextmanager
def work_folder(parent):
    """A new folder in `parent` for what is not whole yet; then it is removed.

    What killed processes left in `parent` is mended first.

    Args:
        parent: Path of the folder around it, made if need be.

    Yields:
        `pathlib.Path`.

    Example:

    >>> with work_folder("runs/first") as folder:
    ...     model.save(folder / "last.keras")
    """
    parent = pathlib.Path(parent)
    with _made(parent):
        _mend_leftovers(parent)
        folder, lock = _new_work_folder(parent)
        try:
            yield folder
        finally:
            _mend(folder)
            _unlock(lock)


@contextlib.contextmanager
def alone_in(folder):
    """Holds a folder, so that no other process works in it at the same time.

    The lock ends with the process, so that a killed one holds up nobody.

    Args:
        folder: Path of the folder, made if need be; if it stays empty, it is
            removed.

    Raises:
        ValueError: If another process holds it, or if it is a file.

    Example:

    >>> with alone_in("runs/first"):
    ...     write_json("runs/first/run.json", {})
    """
    folder = pathlib.Path(folder)
    _check_folder(folder)
    with _made(folder):
        try:
            lock = _lock(folder)
        except BlockingIOError as error:
            raise ValueError(
                "The folder must be one that no other process writes to at "
                f"the same time. Received: {str(folder)!r}"
            ) from error
        try:
            yield
        finally:
            _unlock(lock)


def write_json(path, value):
    """Writes `value` as indented JSON, see `replacing`."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path):
    """Reads JSON, in any of Unicode's encodings.

    Args:
        path: Path of the file.

    Returns:
        What is in it.

    Raises:
        ValueError: If it is broken; names the file.

    Example:

    >>> write_json("figures.json", {"error": 0.1})
    >>> read_json("figures.json")
    {'error': 0.1}
    """
    path = pathlib.Path(path)
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} must be a JSON file, but it is broken ({error}). Restore "
            "it from where it came, or export it again."
        ) from error


@contextlib.contextmanager
def _replacing(path, check):
    """What `replacing` does, of files and folders; `check` raises."""
    path = pathlib.Path(path)
    check()
    final = pathlib.Path(os.path.realpath(path))
    before = _identity(final)
    try:
        with work_folder(final.parent) as work:
            (work / "new").mkdir()
            partial = work / "new" / path.name
            yield partial
            if _identity(final) != before:
                raise _written_meanwhile(path)
            if before is None:
                _place(partial, final, path)
            elif partial.is_dir():
                check()  # nothing else may have come into it
                (work / "old").mkdir()
                os.rename(final, work / "old" / final.name)
                _place(partial, final, path)
            else:
                os.replace(partial, final)
    except OSError as error:
        # Of a file that nobody knows, or of none, as that the disk is full.
        if error.errno and PREFIX in str(error.filename or PREFIX):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    except Exception as error:
        # TensorFlow has errors of its own.
        full = os.strerror(errno.ENOSPC)
        if full in str(error) and PREFIX in str(error):
            raise OSError(errno.ENOSPC, full, str(path)) from error
        raise


def _place(partial, final, path):
    """Renames to where nothing is, or says that there is something now."""
    try:
        if partial.is_dir():
            os.rename(partial, final)  # never replaces a folder with content
        else:
            os.link(partial, final)  # never replaces anything
    except OSError as error:
        if _identity(final) is not None:
            raise _written_meanwhile(path) from error
        os.replace(partial, final)  # the file system has no links


def _written_meanwhile(path):
    return ValueError(
        "What is written must not be written by another process at the same "
        f"time; that one's stays. Received: {str(path)!r}"
    )


def _identity(path):
    """Tells whether something was replaced or changed; `None` if not there."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _check_overwrite(path, overwrite):
    if overwrite not in (True,):  # the string "no" is true, too
        raise ValueError(
            "What is there is replaced only if you say so, by `overwrite=True` "
            f"or --overwrite. Received: {str(path)!r}, which exists"
        )


def _check_folder(path):
    _check_parents(path)
    if path.exists() and not path.is_dir():
        raise ValueError(
            "What is to be a folder must not be a file. Received: "
            f"{str(path)!r}"
        )


def _check_parents(path):
    parents = (parent for parent in path.parents if parent.exists())
    parent = next(parents, path)
    if not parent.is_dir():
        raise ValueError(
            "What is to be written must lie in a folder. Received: "
            f"{str(path)!r}, but {str(parent)!r} is a file"
        )
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ValueError(
            "What is to be written must lie where you may write. Received: "
            f"{str(path)!r}"
        )


@contextlib.contextmanager
def _made(folder):
    """Makes a folder and those around it; what stays empty is removed."""
    made = [part for part in (folder, *folder.parents) if not part.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # something is in it
            for part in made:
                part.rmdir()


def _new_work_folder(parent):
    """A folder and the lock on it."""
    while True:
        folder = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        # Another process may take it for a leftover before it is locked.
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            lock = _lock(folder)
            if folder.exists():
                return folder, lock
            _unlock(lock)


def _mend_leftovers(parent):
    """Ends what processes began that were killed."""
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            lock = _lock(folder)
        except OSError:  # its process is alive
            continue
        if lock is not None:
            _mend(folder)
            _unlock(lock)


def _mend(folder):
    """Puts back what was not replaced after all, and removes a work folder."""
    for old in folder.glob("old/*"):
        if _identity(folder.parent / old.name) is None:
            os.rename(old, folder.parent / old.name)
    shutil.rmtree(folder, ignore_errors=True)


def _lock(folder):
    """A descriptor that locks a folder; `None` where that cannot be.

    Raises:
        BlockingIOError: If another has it.
    """
    if fcntl is None:
        return None
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise
    except OSError:  # a file system over a network may have no locks
        os.close(lock)
        return None
    return lock


def _unlock(lock):
    if lock is not None:
        os.close(lock)
