"""Makes the classes known to Keras, which opens saved models by their names.

Keras must know them before it opens a model, and this package alone must load
neither Keras nor TensorFlow: the command answers `--help` without, and so do
the server's helpers. So they are registered as soon as Keras is there.
"""

import importlib
import importlib.abc
import importlib.util
import sys

MODULES = ("layers", "losses", "metrics", "models")


def register():
    """Registers the classes now if Keras is there, or else when it comes."""
    if "keras" in sys.modules:
        for name in MODULES:
            importlib.import_module(f"keras_edram.{name}")
    else:
        sys.meta_path.insert(0, _WhenKerasComes())


class _WhenKerasComes(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads Keras as it is loaded otherwise, and registers the classes."""

    def find_spec(self, name, path=None, target=None):
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        register()
