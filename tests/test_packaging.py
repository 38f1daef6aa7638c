"""What pip is told about the package."""

import configparser
import pathlib
import re

from keras_edram import __version__

CHECKOUT = pathlib.Path(__file__).parents[1]
# What the quick tests need, in the least versions too.
EXTRAS = ("test", "tfds")


def pinned(text, sign):
    """Versions by name, of lines `name{sign}version`."""
    lines = re.findall(rf"^([a-z0-9_-]+){sign}([0-9.]+)$", text, re.MULTILINE)
    return {
        name: tuple(int(part) for part in version.split("."))
        for name, version in lines
    }


def test_the_lower_bounds_that_are_tested_are_those_of_the_package():
    setup = configparser.ConfigParser()
    setup.read(CHECKOUT / "setup.cfg")
    required = setup["options"]["install_requires"]
    for extra in EXTRAS:
        required += setup["options.extras_require"][extra]
    lines = required.split()
    own = [line for line in lines if line.startswith("keras-edram[")]
    bounds = pinned("\n".join(lines), ">=")
    assert len(bounds) + len(own) == len(lines)
    tested = pinned((CHECKOUT / ".ci/lower-bounds.txt").read_text(), "==")
    assert tested.keys() == bounds.keys()
    for name, bound in bounds.items():
        # "3.8" is 3.8.0, of which there is no other.
        padded = bound + (0,) * (len(tested[name]) - len(bound))
        assert tested[name] == padded, name


def test_the_citation_is_of_this_version():
    citation = (CHECKOUT / "CITATION.cff").read_text()
    assert f"\nversion: {__version__}\n" in citation
