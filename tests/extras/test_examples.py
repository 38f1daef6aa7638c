"""Examples of docstrings and pages that need what an extra brings."""

import importlib.util

import pytest
import test_docstrings
import test_readmes
from test_docstrings import stand_ins  # noqa: F401
from test_readmes import one_step, onnx_file  # noqa: F401

MODULES = ("keras_edram.server.", "keras_edram.serving.onnx")
MODULES += ("keras_edram.serving.report",)


@pytest.mark.parametrize(
    "module, lines",
    [p for p in test_docstrings.EXAMPLES if p.values[0].startswith(MODULES)],
)
def test_the_example_gives_what_it_says(
    module, lines, tmp_path, monkeypatch, request
):
    test_docstrings.test_the_example_gives_what_it_says(
        module, lines, tmp_path, monkeypatch, request
    )


@pytest.mark.parametrize("extra", test_readmes.EXTRAS)
def test_the_python_of_a_page_runs(extra, tmp_path, monkeypatch, request):
    if not importlib.util.find_spec(extra):
        pytest.skip(f"needs {extra}")
    for page in test_readmes.PAGES:
        if any(extra in block for block in test_readmes.blocks(page)):
            test_readmes.test_the_python_of_a_page_runs(
                page, tmp_path, monkeypatch, request
            )
