"""Folders of annotated pictures that several tests read."""

import pytest
from annotated_folders import WRITERS, counted, picture


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    directory = tmp_path_factory.mktemp("four")
    WRITERS["csv"](directory, False)
    return directory


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A counted picture with a box that is the whole of it."""
    path = tmp_path_factory.mktemp("one") / "a.png"
    return [picture(path, counted((23, 14)), (0, 0, 23, 14))]
