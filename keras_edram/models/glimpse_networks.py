"""The glimpse networks of RAM: what is seen and where, in one.

Letters in shapes: B batch, g glimpse side, C channels of all scales, U units,
F maps of a branch.
"""

import keras
import numpy as np
from keras import layers, ops

from keras_edram.checks import check_integer, check_integers, check_shapes
from keras_edram.models import blocks
from keras_edram.models.blocks import Convolution


@keras.saving.register_keras_serializable(package="keras_edram")
class VectorGlimpse(layers.Layer):
    """What and where as one vector:

        g_t = relu(what_output(what(ρ)) + where_output(where(l_t)))

    `what` is a rectified fully connected layer of the patch ρ, or with
    `filters` of its maps after 3x3 convolutions with pooling after every
    second; `where` is one of the location l_t.

    Args:
        filters: Integers, of the convolutions; none for no convolution.
        hidden_units: Integer, of `what` and `where`.
        units: Integer U, of g_t.
        num_steps: Integer, see `StepwiseBatchNormalization`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        patches: Tensor of shape `(B, g, g, C)`.
        locations: Tensor of shape `(B, 2)`.
        step: As of `StepwiseBatchNormalization`.
        training: Boolean.

    Returns:
        Tensor of shape `(B, U)`.

    Raises:
        ValueError: For sizes that are none, or batches of two sizes.

    Example:

    >>> network = VectorGlimpse((8, 8), hidden_units=16, units=32, num_steps=6)
    >>> network(np.ones((3, 8, 8, 1)), np.zeros((3, 2)), step=0).shape
    (3, 32)

    Reference:
        - Mnih et al., 2014, section 4: "glimpse network".
    """

    def __init__(self, filters, hidden_units, units, num_steps, **kwargs):
        super().__init__(**kwargs)
        self.filters = check_integers(filters, None, "filters")
        self.hidden_units = check_integer(hidden_units, "hidden_units")
        self.units = check_integer(units, "units")
        self.num_steps = check_integer(num_steps, "num_steps")
        policy = self.dtype_policy
        self.convolutions = blocks.rectified_convolutions(
            "convolution", self._table(), num_steps, "he_normal", policy
        )
        self.pooling = blocks.pooling("pooling", padding="same", dtype=policy)
        self.flatten = blocks.flatten(policy)

        def dense(name, units, activation=None):
            return layers.Dense(
                units,
                activation=activation,
                kernel_initializer="he_normal",
                name=name,
                dtype=policy,
            )

        self.what = dense("what", self.hidden_units, "relu")
        self.where = dense("where", self.hidden_units, "relu")
        self.what_output = dense("what_output", self.units)
        self.where_output = dense("where_output", self.units)

    def build(self, patches_shape, locations_shape=(None, 2), step_shape=None):
        self.pooling.build(patches_shape)
        shape = blocks.build_stack(self._stack(), patches_shape)
        self.flatten.build(shape)
        self.what.build(self.flatten.compute_output_shape(shape))
        self.where.build(locations_shape)
        self.what_output.build((None, self.hidden_units))
        self.where_output.build((None, self.hidden_units))
        self.built = True

    def _table(self):
        return [
            Convolution(filters, pooled=index % 2 == 1)
            for index, filters in enumerate(self.filters)
        ]

    def _stack(self):
        return blocks.stack(self._table(), self.convolutions, self.pooling)

    def features(self, patches, locations, step, training=False):
        """All that the network computes, by name; "glimpse" is g_t.

        Args:
            patches, locations, step, training: As of a call.

        Returns:
            A dictionary of tensors.

        Raises:
            ValueError: If patches and locations are of other batches.
        """
        _check_batch(patches, locations)
        maps, features = blocks.call_stack(
            self._stack(), patches, step=step, training=training
        )
        features["what"] = self.what(self.flatten(maps))  # (B, hidden)
        features["where"] = self.where(locations)  # (B, hidden)
        features["what_output"] = self.what_output(features["what"])
        features["where_output"] = self.where_output(features["where"])
        # Not `ops.relu`: TensorFlow 2.21 tries to fuse it with the sum of two
        # fully connected layers, fails, and leaves the whole graph as it is.
        features["glimpse"] = ops.maximum(
            features["what_output"] + features["where_output"], 0
        )  # (B, U)
        return features

    def call(self, patches, locations, step, training=False):
        features = self.features(patches, locations, step, training)
        return features["glimpse"]

    def compute_output_shape(
        self, patches_shape, locations_shape=None, step_shape=None
    ):
        return (patches_shape[0], self.units)

    def get_config(self):
        config = super().get_config()
        config.update(
            filters=list(self.filters),
            hidden_units=self.hidden_units,
            units=self.units,
            num_steps=self.num_steps,
        )
        return config


@keras.saving.register_keras_serializable(package="keras_edram")
class InceptionGlimpse(layers.Layer):
    """What and where as maps: an inception module plus the location's maps.

    Four branches of F maps see the patch: 1x1; 1x1 and 1x1; 1x1 and 3x3; a
    maximum of 3x3 and 1x1. The location grows to the size of the patch in two
    steps, by up-sampling and a convolution each:

        g_t = [branch_0(ρ), ..., branch_3(ρ)] + where(l_t)

    Args:
        filters: Integer F.
        num_steps: Integer, see `StepwiseBatchNormalization`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        patches: Tensor of shape `(B, g, g, C)`.
        locations: Tensor of shape `(B, 2)`.
        step: As of `StepwiseBatchNormalization`.
        training: Boolean.

    Returns:
        Tensor of shape `(B, g, g, 4 F)`.

    Raises:
        ValueError: For sizes that are none, or batches of two sizes.

    Example:

    >>> network = InceptionGlimpse(filters=6, num_steps=6)
    >>> network(np.ones((3, 8, 8, 1)), np.zeros((3, 2)), step=0).shape
    (3, 8, 8, 24)

    Reference:
        - Jatakia, Rane, Rao, "Recurrent Attention Model for Image
          Classification", Fig. 3.
    """

    def __init__(self, filters, num_steps, **kwargs):
        super().__init__(**kwargs)
        self.filters = check_integer(filters, "filters")
        self.num_steps = check_integer(num_steps, "num_steps")
        policy = self.dtype_policy

        def block(name, number, size):
            row = Convolution(number, size)
            return blocks.rectified_convolution(
                name, row, num_steps, dtype=policy
            )

        self.maximum = blocks.pooling(
            "maximum", 3, strides=1, padding="same", dtype=policy
        )
        # Flat lists: Keras 3.12 does not save layers in lists of lists.
        self.branches = [
            block(f"branch_{index}", self.filters, 1) for index in range(4)
        ]
        self.second_layers = [
            block("branch_1_second", self.filters, 1),
            block("branch_2_second", self.filters, 3),
        ]
        self.where = [
            block(f"where_{index}", 4 * self.filters, 3) for index in range(2)
        ]

    def build(self, patches_shape, locations_shape=(None, 2), step_shape=None):
        batch, height, width, _ = patches_shape
        self.maximum.build(patches_shape)
        for branch in self.branches:
            branch.build(patches_shape)
        for second in self.second_layers:
            second.build((batch, height, width, self.filters))
        self.where[0].build((batch, 1, 1, locations_shape[-1]))
        self.where[1].build((batch, height, width, 4 * self.filters))
        self.built = True

    def features(self, patches, locations, step, training=False):
        """All that the network computes, by name; "glimpse" is g_t.

        Args:
            patches, locations, step, training: As of a call.

        Returns:
            A dictionary of tensors.

        Raises:
            ValueError: If patches and locations are of other batches.
        """
        _check_batch(patches, locations)
        steps = dict(step=step, training=training)
        inputs = [patches, patches, patches, self.maximum(patches)]
        features = {"maximum": inputs[-1]}
        ends = [
            branch(maps, **steps)
            for branch, maps in zip(self.branches, inputs, strict=True)
        ]  # each (B, g, g, F)
        for branch, maps in zip(self.branches, ends, strict=True):
            features[branch.name] = maps
        for index, second in enumerate(self.second_layers, start=1):
            ends[index] = second(ends[index], **steps)
            features[second.name] = ends[index]
        features["what"] = ops.concatenate(ends, axis=-1)  # (B, g, g, 4 F)
        height, width = patches.shape[1:3]
        sizes = ((height + 1) // 2, (width + 1) // 2), (height, width)
        maps = locations[:, None, None]  # (B, 1, 1, 2)
        for where, size in zip(self.where, sizes, strict=True):
            maps = where(_grow(maps, size), **steps)  # (B, size, 4 F)
            features[where.name] = maps
        features["glimpse"] = features["what"] + maps  # (B, g, g, 4 F)
        return features

    def call(self, patches, locations, step, training=False):
        features = self.features(patches, locations, step, training)
        return features["glimpse"]

    def compute_output_shape(
        self, patches_shape, locations_shape=None, step_shape=None
    ):
        return (*patches_shape[:3], 4 * self.filters)

    def get_config(self):
        config = super().get_config()
        config.update(filters=self.filters, num_steps=self.num_steps)
        return config


def _check_batch(patches, locations):
    check_shapes("patches (B, H, W, C), locations (B, 2)", patches, locations)


def _grow(maps, size):
    """Maps up-sampled to the size, each pixel the nearest one's value.

    `ops.image.resize` has no gradient that XLA compiles, and `ops.repeat` no
    shape that TFLite knows.
    """
    for axis, length in zip((1, 2), size, strict=True):
        nearest = np.arange(length) * maps.shape[axis] // length
        maps = ops.take(maps, nearest, axis=axis)
    return maps  # (B, height, width, C)
