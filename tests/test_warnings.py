"""A warning from our own code is an error in every test, see `conftest`."""

import warnings

import pytest

WARN = "def warn(): warnings.warn('ours', category, stacklevel=2)"


def warn_of(category):
    """A function of a module of ours, which blames its caller."""
    names = {"__name__": "keras_edram.models.edram", "category": category}
    exec(WARN, names | {"warnings": warnings}, names)
    return names["warn"]


@pytest.mark.parametrize(
    "blamed, category",
    [
        ("keras_edram.layers.conv_lstm_core", DeprecationWarning),
        ("keras.src.layers.layer", UserWarning),
        (__name__, UserWarning),
        (__name__, DeprecationWarning),
        ("tiny", RuntimeWarning),
    ],
)
def test_a_warning_of_ours_is_an_error_whomever_it_blames(blamed, category):
    with pytest.raises(category, match="ours"):
        exec("warn()", {"__name__": blamed, "warn": warn_of(category)})


def test_what_libraries_warn_each_other_of_is_none():
    with warnings.catch_warnings(record=True) as said:
        exec("warn()", {"__name__": "numpy", "warn": warn_of(UserWarning)})
    assert [str(one.message) for one in said] == ["ours"]
