import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest

from keras_edram import files
from keras_edram.words import printable


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def replacing(path, is_folder, **options):
    """Files and folders alike; in a folder one that is there is ours."""
    if is_folder:
        return files.replacing_folder(path, lambda path: [], **options)
    return files.replacing(path, **options)


def write(path, is_folder, text):
    if is_folder:
        path.mkdir()
        path = path / "inside"
    path.write_text(text)


def read(path):
    return (path / "inside" if path.is_dir() else path).read_text()


both = pytest.mark.parametrize("is_folder", [False, True])


def test_a_file_gets_its_name_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "notes.txt"
    with files.replacing(path) as partial:
        partial.write_text("one")
        assert not path.exists() and partial.name == "notes.txt"
    assert path.read_text() == "one"
    assert names(path.parent) == ["notes.txt"]


@both
def test_what_was_there_stays_when_the_writing_fails(tmp_path, is_folder):
    path = tmp_path / "thing"
    with replacing(path, is_folder) as partial:
        write(partial, is_folder, "old")
    with (
        pytest.raises(OSError, match="disk full"),
        replacing(path, is_folder, overwrite=True) as partial,
    ):
        write(partial, is_folder, "new")
        raise OSError("disk full")
    assert read(path) == "old" and names(tmp_path) == ["thing"]
    with pytest.raises(ValueError, match="only if you say so"):
        replacing(path, is_folder, overwrite=False).__enter__()
    with pytest.raises(ValueError, match="replaced only if you say so"):
        replacing(path, is_folder, overwrite="no").__enter__()
    with replacing(path, is_folder, overwrite=True) as partial:
        write(partial, is_folder, "new")
    assert read(path) == "new" and names(tmp_path) == ["thing"]


@both
def test_folders_are_made_and_do_not_stay_when_the_writing_fails(
    tmp_path, is_folder
):
    with (
        pytest.raises(KeyboardInterrupt),
        replacing(tmp_path / "a" / "b" / "c", is_folder) as partial,
    ):
        write(partial, is_folder, "new")
        raise KeyboardInterrupt
    assert not names(tmp_path)


def test_what_may_not_be_replaced_is_refused(tmp_path):
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    (folder / "photo.png").write_text("mine")
    file.write_text("mine")
    os.mkfifo(tmp_path / "pipe")
    for refused, words in (
        (files.replacing(folder), "must not be a folder"),
        (files.replacing(file / "a" / "b"), "'.*file' is a file"),
        (files.replacing(tmp_path / "pipe"), "a device"),
        (replacing(file, True, overwrite=True), "must not be a file"),
        (replacing(file / "a", True), "is a file"),
        (replacing(folder, True), "only if you say so"),
        (
            files.replacing_folder(folder, names, overwrite=True),
            r"with \['photo.png'\]",
        ),
        (files.alone_in(file), "must not be a file"),
    ):
        with pytest.raises(ValueError, match=words), refused:
            pass
    assert names(tmp_path) == ["file", "folder", "pipe"]
    assert file.read_text() == (folder / "photo.png").read_text() == "mine"


def test_a_file_or_place_that_cannot_be_written_is_found_before(
    tmp_path, monkeypatch
):
    path = tmp_path / "notes.txt"
    (tmp_path / "closed").mkdir()
    monkeypatch.setattr(os, "access", lambda where, _: where == tmp_path)
    files.check_file(path)
    path.write_text("mine")
    with pytest.raises(ValueError, match="must be writable"):
        files.check_file(path)
    with pytest.raises(ValueError, match="where you may write"):
        files.check_file(tmp_path / "closed" / "new" / "notes.txt")


def test_a_link_is_followed(tmp_path):
    (tmp_path / "store").mkdir()
    target, link = tmp_path / "store" / "one", tmp_path / "link.json"
    link.symlink_to(target)
    for text in ("new", "newer"):  # the first when there is no such file yet
        with files.replacing(link) as partial:
            assert partial.suffix == ".json"
            partial.write_text(text)
        assert link.is_symlink() and target.read_text() == text


def test_the_error_of_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError) as caught, files.replacing(tmp_path / "a"):
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a")
    with (  # as TensorFlow words it
        pytest.raises(OSError) as caught,
        files.replacing(tmp_path / "a") as partial,
    ):
        raise Exception(f"{partial}/part-00000; No space left on device [Op:]")
    assert caught.value.filename == str(tmp_path / "a")
    another = tmp_path / "another"
    with (
        pytest.raises(FileNotFoundError) as caught,
        files.replacing(tmp_path / "a"),
    ):
        another.read_text()
    assert caught.value.filename == str(another)


@both
@pytest.mark.parametrize("is_there", [False, True])
def test_of_two_that_write_at_once_one_is_told(tmp_path, is_folder, is_there):
    path = tmp_path / "thing"
    if is_there:
        write(path, is_folder, "old")
    with contextlib.ExitStack() as first:
        one = first.enter_context(replacing(path, is_folder, overwrite=True))
        write(one, is_folder, "one")
        with (
            pytest.raises(ValueError, match="by another process"),
            replacing(path, is_folder, overwrite=True) as other,
        ):
            assert other.parent != one.parent
            write(other, is_folder, "other")
            first.close()
    assert read(path) == "one" and names(tmp_path) == ["thing"]


@both
def test_nothing_is_replaced_that_came_at_the_last_moment(
    tmp_path, is_folder, monkeypatch
):
    path = tmp_path / "thing"
    identity, calls = files._identity, []

    def late(of):
        calls.append(of)
        found = identity(of)
        if len(calls) == 2:  # the last look before the renaming
            write(path, is_folder, "theirs")
        return found

    monkeypatch.setattr(files, "_identity", late)
    with (
        pytest.raises(ValueError, match="by another process"),
        replacing(path, is_folder) as partial,
    ):
        write(partial, is_folder, "ours")
    assert read(path) == "theirs"


def test_a_file_system_without_links_will_do(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", no_links)
    files.write_json(tmp_path / "a.json", 1)
    assert files.read_json(tmp_path / "a.json") == 1


KILLED = """
import pathlib, sys, time
sys.argv[0] = "keras-edram"  # which does without TensorFlow
from keras_edram import files
path, where = pathlib.Path(sys.argv[1]), sys.argv[2]
def stop(*_):
    print("here", flush=True)
    time.sleep(60)
if where == "between":
    files._place = stop
with files.replacing_folder(path, lambda path: [], overwrite=True) as partial:
    partial.mkdir()
    if where == "writing":
        stop()
"""


@pytest.mark.parametrize("where", ["writing", "between"])
def test_what_a_killed_process_left_is_mended_by_the_next(tmp_path, where):
    path = tmp_path / "thing"
    write(path, True, "old")
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), where], stdout=subprocess.PIPE
    )
    process.stdout.readline()
    assert path.exists() == (where == "writing")
    # As long as it is alive, nothing of it is touched.
    files.write_json(tmp_path / "a.json", 1)
    assert len(names(tmp_path)) == 2 + path.exists()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    # Whatever is written there next.
    files.write_json(tmp_path / "b.json", 1)
    assert names(tmp_path) == ["a.json", "b.json", "thing"]
    assert read(path) == "old"


def test_a_folder_is_held_by_one_process_until_it_ends(tmp_path):
    folder = tmp_path / "run"
    script = (
        "import sys, time\nsys.argv[0] = 'keras-edram'\n"
        "from keras_edram import files\n"
        "with files.alone_in(sys.argv[1]):\n"
        "    print('here', flush=True)\n    time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE
    )
    process.stdout.readline()
    with pytest.raises(ValueError, match="no other process"):
        files.alone_in(folder).__enter__()
    process.kill()
    process.wait()
    process.stdout.close()
    with files.alone_in(folder):
        files.write_json(folder / "run.json", 1)  # which it may write to
    assert names(folder) == ["run.json"]


def test_without_locks_all_works_and_nothing_is_taken_for_a_leftover(
    tmp_path, monkeypatch
):
    (tmp_path / f"{files.PREFIX}abc").mkdir()
    monkeypatch.setattr(files, "fcntl", None)
    with files.alone_in(tmp_path):
        files.write_json(tmp_path / "a.json", 1)
    assert names(tmp_path) == [f"{files.PREFIX}abc", "a.json"]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"]
)
def test_json_is_read_in_any_encoding_of_unicode(tmp_path, encoding):
    path = tmp_path / "annotations.json"
    path.write_text('{"name": "größer"}', encoding=encoding)
    assert files.read_json(path) == {"name": "größer"}


@pytest.mark.parametrize(
    "content",
    [b'{"a": [1,', b"", b'{"a": "\xfc"}', b"[" * 100_000],
    ids=["cut", "empty", "latin", "deep"],
)
def test_a_broken_json_file_is_named_and_not_to_be_deleted(tmp_path, content):
    path = tmp_path / "annotations.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="annotations.json") as caught:
        files.read_json(path)
    assert "broken" in str(caught.value)
    assert "elete" not in str(caught.value)
    files.write_json(path, {"a": [1, 2]})
    assert json.loads(path.read_text()) == {"a": [1, 2]}


@pytest.mark.parametrize(
    "text, expected",
    [
        ("größe 數.png", "größe 數.png"),
        ("a\nb\x1b\u2028.png", "a\\nb\\x1b\\u2028.png"),
        # Bytes of a name that is not UTF-8, and half a letter of Windows.
        ("\udcff\udce9\ud83d", "\\xff\\xe9\\ud83d"),
        ("\u200b\ufeff", "\\u200b\\ufeff"),
    ],
)
def test_a_name_stays_on_its_line_and_nothing_of_it_is_hidden(text, expected):
    assert printable(text) == expected
