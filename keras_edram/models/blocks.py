"""What the networks of the models are made of: layers, and stacks of them.

Letters in shapes: B batch, H W C maps.
"""

from typing import NamedTuple

import keras
from keras import layers, ops

from keras_edram import geometry
from keras_edram.models.rectified import Rectified


class Convolution(NamedTuple):
    """A row of the table that a stack of convolutions is made from.

    Attributes:
        filters: Integer.
        size: Integer, side of the kernel.
        padding: `"same"` or `"valid"`.
        pooled: Boolean, whether the maximum of 2x2 follows.
        strides: Integer, pixels from one place of the kernel to the next.
    """

    filters: int
    size: int = 3
    padding: str = "same"
    pooled: bool = False
    strides: int = 1


def filters_of(table):
    """The filters of each row."""
    return tuple(row.filters for row in table)


def with_filters(table, filters):
    """The same rows with other filters."""
    return [
        row._replace(filters=number)
        for row, number in zip(table, filters, strict=True)
    ]


def smallest_input(table):
    """The side of the smallest map of which a stack leaves 1x1.

    Args:
        table: `Convolution`s, the first that is applied first.

    Returns:
        Integer.

    Example:

    >>> smallest_input([Convolution(8, 3, "valid", pooled=True)])
    4
    """
    side = 1
    for row in reversed(table):
        side *= 2 if row.pooled else 1
        side = (side - 1) * row.strides
        side += row.size if row.padding == "valid" else 1
    return side


def _convolution(name, row, initializer, dtype):
    """Without an offset: a batch normalisation follows, with β."""
    return layers.Conv2D(
        row.filters,
        row.size,
        row.strides,
        padding=row.padding,
        data_format="channels_last",
        use_bias=False,
        kernel_initializer=initializer,
        name=name,
        dtype=dtype,
    )


def normalized_convolutions(prefix, table, initializer, dtype):
    """A convolution and a batch normalisation of each row, as one layer."""
    made = keras.Sequential(name=prefix)
    for index, row in enumerate(table):
        name = f"{prefix}_{index}"
        made.add(_convolution(name, row, initializer, dtype))
        made.add(
            layers.BatchNormalization(name=f"{name}_normalization", dtype=dtype)
        )
    return made


def rectified_convolution(
    name, row, num_steps, initializer="he_normal", dtype=None
):
    """relu(bn(convolution)), normalised by step."""
    layer = _convolution(name, row, initializer, dtype)
    return Rectified(layer, num_steps, name=name, dtype=dtype)


def rectified_convolutions(prefix, table, *args):
    """A `rectified_convolution` of each row, of which the name ends so."""
    return [
        rectified_convolution(f"{prefix}_{index}", row, *args)
        for index, row in enumerate(table)
    ]


def rectified_dense(
    name, units, num_steps, initializer="he_normal", dtype=None, **kwargs
):
    """relu(bn(dense)), normalised by step."""
    layer = layers.Dense(
        units,
        use_bias=False,
        kernel_initializer=initializer,
        name=name,
        dtype=dtype,
    )
    return Rectified(layer, num_steps, name=name, dtype=dtype, **kwargs)


def pooling(name, size=2, **kwargs):
    """The maximum of each neighbourhood."""
    return layers.MaxPooling2D(
        size, data_format="channels_last", name=name, **kwargs
    )


def flatten(dtype=None):
    """Maps as vectors: `(B, H, W, C)` -> `(B, H W C)`."""
    return layers.Flatten(
        data_format="channels_last", name="flatten", dtype=dtype
    )


def stack(table, convolutions, pooling):
    """Convolutions that follow each other, with what follows each.

    Args:
        table: `Convolution`s.
        convolutions: `Rectified` layers, one of each row.
        pooling: The layer that follows those that are pooled.

    Returns:
        List of pairs, a layer of `convolutions` and `pooling` or `None`.
    """
    return [
        (convolution, pooling if row.pooled else None)
        for row, convolution in zip(table, convolutions, strict=True)
    ]


def build_stack(stack, shape):
    """Builds convolutions that follow each other.

    Args:
        stack: As of `stack`.
        shape: `(B, H, W, C)` of what the first is called with.

    Returns:
        The shape of what the last gives.
    """
    for convolution, pooling in stack:
        convolution.build(shape)
        shape = convolution.compute_output_shape(shape)
        if pooling is not None:
            pooling.build(shape)
            shape = pooling.compute_output_shape(shape)
    return shape


def call_stack(stack, maps, **options):
    """What convolutions that follow each other see, by their names.

    Args:
        stack: As of `stack`.
        maps: Tensor of shape `(B, H, W, C)`.
        **options: Arguments of `Rectified`, `step` and `training`.

    Returns:
        The maps that the last gives, and a dictionary of all.
    """
    seen = {}
    for convolution, pooling in stack:
        maps = seen[convolution.name] = convolution(maps, **options)
        if pooling is not None:
            maps = seen[f"{convolution.name}_pooled"] = pooling(maps)
    return maps, seen


def whole_image(shape, dtype=None):
    """The offsets of an emission whose first window is the image."""
    return ops.reshape(ops.cast(geometry.IDENTITY, dtype), shape)  # (6,)
