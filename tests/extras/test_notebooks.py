import pathlib
import re

import pytest

nbformat = pytest.importorskip("nbformat", reason='needs ".[notebooks]"')
nbclient = pytest.importorskip("nbclient", reason='needs ".[notebooks]"')
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
