"""The glimpse networks of RAM: what is seen and where, in one.

Letters in shapes: B batch, g glimpse side, U units, F maps of a branch.
"""

import numpy as np
from keras import layers, ops

from keras_edram.models.rectified import Rectified


class VectorGlimpse(layers.Layer):
    """What and where as one vector: relu(fc(what) + fc(where)).

    `what` is a fully connected layer of the patch, or with `filters` of its
    maps after 3x3 convolutions with pooling after every second; `where` is one
    of the location.
    """

    def __init__(self, filters, hidden_units, units, num_steps, **kwargs):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.convolutions = [
            _convolution(f"convolution_{i}", number, 3, num_steps, policy)
            for i, number in enumerate(filters)
        ]
        self.pooling = layers.MaxPooling2D(
            2,
            padding="same",
            data_format="channels_last",
            name="pooling",
            dtype=policy,
        )
        self.flatten = layers.Flatten(
            data_format="channels_last", name="flatten", dtype=policy
        )

        def dense(name, size, activation=None):
            return layers.Dense(
                size,
                activation=activation,
                kernel_initializer="he_normal",
                name=name,
                dtype=policy,
            )

        self.what = dense("what", hidden_units, "relu")
        self.where = dense("where", hidden_units, "relu")
        self.what_output = dense("what_output", units)
        self.where_output = dense("where_output", units)

    def build(self, patches_shape):
        shape = patches_shape
        self.pooling.build(shape)
        for index, convolution in enumerate(self.convolutions):
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)
            if index % 2:
                shape = self.pooling.compute_output_shape(shape)
        self.flatten.build(shape)
        self.what.build(self.flatten.compute_output_shape(shape))
        self.where.build((None, 2))
        self.what_output.build((None, self.what.units))
        self.where_output.build((None, self.where.units))

    def call(self, patches, locations, step, training=False):
        features = patches
        for index, convolution in enumerate(self.convolutions):
            features = convolution(features, step=step, training=training)
            if index % 2:
                features = self.pooling(features)
        what = self.what_output(self.what(self.flatten(features)))
        where = self.where_output(self.where(locations))
        # Not `ops.relu`: TensorFlow 2.21 tries to fuse it with the sum of two
        # fully connected layers, fails, and leaves the whole graph as it is.
        return ops.maximum(what + where, 0)  # (B, U)

    def compute_output_shape(self, patches_shape):
        return (patches_shape[0], self.what_output.units)


class InceptionGlimpse(layers.Layer):
    """What and where as maps: an inception module plus the location's maps.

    Four branches of F maps see the patch: 1x1; 1x1 and 1x1; 1x1 and 3x3; a
    maximum of 3x3 and 1x1. The location grows to the size of the patch in two
    steps, by up-sampling and a convolution each.
    """

    def __init__(self, filters, num_steps, **kwargs):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.filters = filters

        def convolution(name, number, size):
            return _convolution(name, number, size, num_steps, policy)

        self.maximum = layers.MaxPooling2D(
            3,
            strides=1,
            padding="same",
            data_format="channels_last",
            name="maximum",
            dtype=policy,
        )
        # Flat lists: Keras 3.12 does not save layers in lists of lists.
        self.branches = [
            convolution(f"branch_{i}", filters, 1) for i in range(4)
        ]
        self.second_layers = [
            convolution("branch_1_second", filters, 1),
            convolution("branch_2_second", filters, 3),
        ]
        self.where = [
            convolution(f"where_{i}", 4 * filters, 3) for i in range(2)
        ]

    def build(self, patches_shape):
        batch, height, width, _ = patches_shape
        self.maximum.build(patches_shape)
        for branch in self.branches:
            branch.build(patches_shape)
        for second in self.second_layers:
            second.build((batch, height, width, self.filters))
        self.where[0].build((batch, 1, 1, 2))
        self.where[1].build((batch, height, width, 4 * self.filters))

    def call(self, patches, locations, step, training=False):
        shared = dict(step=step, training=training)
        seen = [patches, patches, patches, self.maximum(patches)]
        maps = [
            branch(features, **shared)
            for branch, features in zip(self.branches, seen, strict=True)
        ]  # each (B, g, g, F)
        for index, second in enumerate(self.second_layers, start=1):
            maps[index] = second(maps[index], **shared)
        what = ops.concatenate(maps, axis=-1)  # (B, g, g, 4 F)
        height, width = patches.shape[1:3]
        where = locations[:, None, None]  # (B, 1, 1, 2)
        for convolution, size in zip(
            self.where,
            (((height + 1) // 2, (width + 1) // 2), (height, width)),
            strict=True,
        ):
            where = convolution(_grow(where, size), **shared)
        return what + where  # (B, g, g, 4 F)

    def compute_output_shape(self, patches_shape):
        return (*patches_shape[:3], 4 * self.filters)


def _grow(maps, size):
    """Maps up-sampled to the size, each pixel the nearest one's value.

    `ops.image.resize` has no gradient that XLA compiles, and `ops.repeat` no
    shape that TFLite knows.
    """
    for axis, length in zip((1, 2), size, strict=True):
        nearest = np.arange(length) * maps.shape[axis] // length
        maps = ops.take(maps, nearest, axis=axis)
    return maps


def _convolution(name, filters, size, num_steps, policy):
    """relu(bn(convolution)) of the same size, normalised by step."""
    return Rectified(
        layers.Conv2D(
            filters,
            size,
            padding="same",
            data_format="channels_last",
            use_bias=False,  # a batch normalisation follows, with β
            kernel_initializer="he_normal",
            name=name,
            dtype=policy,
        ),
        num_steps,
        name=name,
        dtype=policy,
    )
