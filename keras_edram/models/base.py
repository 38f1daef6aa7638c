"""What all models share: presets, and the type of their answers."""

import keras


class _ClassProperty:
    """A property of the class itself, not of its instances."""

    def __init__(self, method):
        self.method = method

    def __get__(self, instance, owner):
        return self.method(owner)


class BaseModel(keras.Model):
    """A model that answers with a dictionary, and can come from a preset."""

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

    def compute_output_spec(self, images, training=False):
        # float32 under every precision policy, which Keras does not assume.
        return {
            name: keras.KerasTensor(shape, "float32")
            for name, shape in self.compute_output_shape(images.shape).items()
        }
