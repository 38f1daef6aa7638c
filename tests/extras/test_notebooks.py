import importlib.util
import pathlib
import re

import pytest

nbformat = pytest.importorskip("nbformat", reason='needs ".[notebooks]"')
nbclient = pytest.importorskip("nbclient", reason='needs ".[notebooks]"')
from IPython.core.interactiveshell import InteractiveShell

NOTEBOOKS = sorted(
    (pathlib.Path(__file__).parents[2] / "notebooks").glob("*.ipynb")
)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_EDRAM_NOTEBOOK_SIZE", "small")
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": tmp_path}}
    )
    client.execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_kept_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    for cell in code:
        assert cell.outputs == [] and cell.execution_count is None
    assert not re.search(r"(?<!\w)/(home|root|Users)/", path.read_text())


@pytest.fixture
def first_cell(monkeypatch, capsys):
    """Runs a notebook's first cell where some packages are missing.

    It gives what pip is asked for, the error, and what was printed.
    """
    find = importlib.util.find_spec

    def run(path, *missing):
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name: None if name in missing else find(name),
        )
        shell, asked = InteractiveShell(), []
        shell.register_magic_function(asked.append, magic_name="pip")
        cells = nbformat.read(path, as_version=4).cells
        source = next(cell.source for cell in cells if cell.cell_type == "code")
        error = shell.run_cell(source).error_in_exec
        return asked, error, capsys.readouterr().out

    return run


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_nothing_is_installed_where_the_package_is(path, first_cell):
    asked, error, printed = first_cell(path)
    assert asked == [] and error is None
    assert printed.startswith("GPU: ")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_what_cannot_be_installed_says_what_to_do(path, first_cell):
    import tensorflow as tf

    (line,), error, _ = first_cell(path, "keras_edram")
    package = re.match(r'install -q "(keras-edram(\[tflite\])?)" ', line)[1]
    # The TensorFlow that is there is never replaced.
    assert line.split()[-1] == f"tensorflow=={tf.__version__}"
    assert isinstance(error, ImportError)
    assert f"{package} could not be installed" in str(error)
    assert "PACKAGE" in str(error)
    (line,), error, _ = first_cell(path, "keras_edram", "tensorflow")
    assert line.split() == ["install", "-q", f'"{package}"']
    assert isinstance(error, ImportError)
