"""Models that can be made from the trained weights that ship."""


class _ClassProperty:
    """A property of the class itself, not of its instances."""

    def __init__(self, method):
        self.method = method

    def __get__(self, instance, owner):
        return self.method(owner)


class Preset:
    """Gives a model class `from_preset` and `presets`."""

    @classmethod
    def from_preset(cls, name):
        """A trained model that ships with the package.

        Args:
            name: String, one of `presets`.

        Returns:
            Model of this class, not compiled.

        Raises:
            ValueError: For an unknown name.

        Example:

        >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
        """
        from keras_edram import presets  # which stand above the models

        return presets.load(name, cls)

    @_ClassProperty
    def presets(cls):  # noqa: N805
        """Names of the presets of this class."""
        from keras_edram import presets

        return presets.names(cls)
