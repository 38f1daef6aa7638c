"""Models that look at an image in a few glimpses and read what they find."""

import pathlib
import sys

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

# Imported at once, so that Keras knows the classes when it loads a model. Only
# the command does without: it answers `--help` before TensorFlow is loaded.
_is_command = "keras_edram.cli" in sys.orig_argv or [
    pathlib.PurePath(name).stem for name in sys.argv[:1]
] == ["keras-edram"]
if not _is_command:
    from keras_edram import layers, losses, metrics, models
    from keras_edram.models import EDRAM, RAM, Ensemble
