"""Models that look at an image in a few glimpses and read what they find."""

from keras_edram._version import __version__
from keras_edram.models.edram import EDRAM

__all__ = ["EDRAM", "__version__"]
