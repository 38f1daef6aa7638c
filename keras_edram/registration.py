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


class _WhenKerasComes(importlib.abc.MetaPathFinder):
    """Loads Keras as it is loaded otherwise, and registers the classes.

    Not before the modules of this package are complete that have asked for
    Keras: who imports `keras_edram.losses` first of all loads it from there.
    """

    def __init__(self):
        self._sought = set()
        self._loading = 0

    def find_spec(self, name, path=None, target=None):
        if name != "keras" and not name.startswith("keras_edram."):
            return None
        if name in self._sought:  # by this finder
            return None
        self._sought.add(name)
        spec = importlib.util.find_spec(name)
        self._sought.discard(name)
        if spec is not None:
            spec.loader = _Loader(spec.loader, self)
        return spec

    def load(self, loader, module):
        """Executes a module; the outermost one registers."""
        self._loading += 1
        try:
            loader.exec_module(module)
        finally:
            self._loading -= 1
        is_through = not self._loading and "keras" in sys.modules
        if is_through and self in sys.meta_path:
            sys.meta_path.remove(self)
            register()


class _Loader(importlib.abc.Loader):
    """The loader of a module, watched by a `_WhenKerasComes`."""

    def __init__(self, loader, finder):
        self._loader, self._finder = loader, finder

    def __getattr__(self, name):
        return getattr(self._loader, name)  # such as the code, for `python -m`

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        self._finder.load(self._loader, module)
