import pytest

from keras_edram import files


def test_a_file_gets_its_name_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "notes.txt"
    with files.replacing(path) as partial:
        partial.write_text("one")
        assert not path.exists() and partial.suffix == ".txt"
    assert path.read_text() == "one"
    assert [one.name for one in path.parent.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("is_folder", [False, True])
def test_what_was_there_stays_when_the_writing_fails(tmp_path, is_folder):
    path = tmp_path / "thing"

    def write(target, text):
        if is_folder:
            target.mkdir()
            target = target / "inside"
        target.write_text(text)

    with files.replacing(path) as partial:
        write(partial, "old")
    with pytest.raises(OSError), files.replacing(path) as partial:
        write(partial, "new")
        raise OSError("disk full")
    assert (path / "inside" if is_folder else path).read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["thing"]
    with files.replacing(path) as partial:
        write(partial, "new")
    assert (path / "inside" if is_folder else path).read_text() == "new"


def test_a_broken_json_file_is_named(tmp_path):
    path = tmp_path / "run.json"
    files.write_json(path, {"a": [1, 2]})
    assert files.read_json(path) == {"a": [1, 2]}
    path.write_text('{"a": [1,')
    with pytest.raises(ValueError, match="run.json"):
        files.read_json(path)
