"""Models that look at an image in a few glimpses and read what they find."""

import importlib

from keras_edram import registration
from keras_edram._version import __version__

__all__ = [
    "EDRAM",
    "RAM",
    "Ensemble",
    "__version__",
    "layers",
    "losses",
    "metrics",
    "models",
]


registration.register()


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name[0].islower():
        return importlib.import_module(f"{__name__}.{name}")
    return getattr(importlib.import_module(f"{__name__}.models"), name)


def __dir__():
    return __all__
