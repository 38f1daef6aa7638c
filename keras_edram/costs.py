"""What an answer costs: parameters, and multiply-adds of one image.

Letters in shapes: H W C image.
"""

import math
import warnings

import keras
import numpy as np

from keras_edram.checks import check_image_shape, check_integer

# Operations in which others are hidden, as often as only a run would tell.
HIDING = {
    "Case",
    "If",
    "PartitionedCall",
    "StatefulPartitionedCall",
    "StatelessCase",
    "StatelessIf",
    "StatelessWhile",
    "While",
}


class UncountableError(ValueError):
    """What a model does is hidden in its graph."""


def costs(model, glimpses_per_target=None, crops=None):
    """The figures of a model that its errors stand beside.

    Args:
        model: A model of this package.
        glimpses_per_target: Integer N; by default the model's own.
        crops: Integer, of how many crops an answer is the mean; by default it
            is of the image.

    Returns:
        Dictionary of `parameters`, an integer, and with TensorFlow
        `multiply_adds`, another, see `multiply_adds`. A model whose loops hide
        what it does has none of these, and a warning says so. One that answers
        after each glimpse, and takes N times the same, has
        `multiply_adds_by_glimpse`, a list of those with 1, 2, ... N of them.

    Raises:
        ValueError: For numbers that are none, or that the model cannot look.

    Example:

    >>> costs(EDRAM.from_preset("edram_small_cluttered_mnist"))["parameters"]
    691076
    """
    number = _number_of_glimpses(model, glimpses_per_target)
    crops = 1 if crops is None else check_integer(crops, "crops")
    found = {"parameters": model.count_params()}
    if keras.config.backend() != "tensorflow":
        return found

    def count(glimpses):
        return multiply_adds(model, glimpses_per_target=glimpses)

    try:
        found["multiply_adds"] = crops * count(number)
    except UncountableError as error:
        warnings.warn(f"Not counted: {error}", UserWarning, stacklevel=2)
        return found
    if number > 1 and crops == 1 and not (model.answers_once or model.members):
        first = count(1)
        each = count(2) - first
        by_glimpse = [first + n * each for n in range(number)]
        if by_glimpse[-1] == found["multiply_adds"]:
            found["multiply_adds_by_glimpse"] = by_glimpse
    return found


def _number_of_glimpses(model, number):
    """N, the model's own if it is `None`."""
    if number is None:
        return model.glimpses_per_target
    return check_integer(number, "glimpses_per_target")


def multiply_adds(model, image_shape=None, glimpses_per_target=None):
    """Multiplications of one image in a look, each with one addition.

    Those of all convolutions and products of matrices, counted from the
    operations of the model as TensorFlow traces it for one image. A product
    `(m, n) x (n, p)` has `m n p`; a convolution one for each weight of the
    kernel and place. What is left out takes time but hardly multiplies: batch
    normalisation, activations, pooling, the bilinear reads.

    Args:
        model: A model of this package, on TensorFlow.
        image_shape: `(H, W, C)` of the image, of models that take any size;
            by default the model's own.
        glimpses_per_target: Integer N; by default the model's own.

    Returns:
        Integer.

    Raises:
        ValueError: For another backend, a shape that is none, or a model with
            loops or branches of its own, in which only a run would tell how
            much is done (`UncountableError`).

    Example:

    >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
    >>> multiply_adds(model) > 10_000_000
    True
    """
    if keras.config.backend() != "tensorflow":
        raise ValueError(
            "Multiply-adds are counted in TensorFlow's graph of the model. "
            f"Received: backend={keras.config.backend()!r}"
        )
    import tensorflow as tf  # for it is its graph

    if image_shape is None:
        image_shape = model.some_image_shape
    number = _number_of_glimpses(model, glimpses_per_target)
    image_shape = check_image_shape(image_shape)
    if None in image_shape:
        raise ValueError(
            "What an image costs depends on its size. Received: "
            f"image_shape={image_shape}"
        )
    model.seen_images(np.zeros((1, *image_shape), "uint8"))
    # With what it saw: then no model loops in the graph.
    look = tf.function(
        lambda images: model.look(images, number, with_patches=True),
        input_signature=[tf.TensorSpec((1, *image_shape), "float32")],
        autograph=False,
    )
    eagerly = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)  # those within are written out
    try:
        graph = look.get_concrete_function().graph
    finally:
        tf.config.run_functions_eagerly(eagerly)
    return sum(map(_multiplications, graph.get_operations()))


def _multiplications(operation):
    """How many one operation of a graph has."""
    if operation.type in HIDING:
        raise UncountableError(
            "A model must be traced without loops, branches and functions to "
            f"count what it does. Received: an operation {operation.type!r}, "
            f"{operation.name!r}"
        )
    count = COUNTS.get(operation.type)
    if count is None:
        return 0
    shapes = [tuple(tensor.shape) for tensor in operation.inputs]
    output = tuple(operation.outputs[0].shape)
    return count(operation, shapes, output)


def _of_convolution(operation, shapes, output):
    """Kernel `(h, w, inputs of a group, outputs)`, at each place."""
    return math.prod(output) * math.prod(shapes[1][:-1])


def _of_depthwise_convolution(operation, shapes, output):
    """Kernel `(h, w, inputs, multiplier)`, each of its outputs from one."""
    return math.prod(output) * math.prod(shapes[1][:2])


def _of_transposed_convolution(operation, shapes, output):
    """Inputs are sizes, kernel `(h, w, outputs, inputs)`, and maps."""
    return math.prod(shapes[2]) * math.prod(shapes[1][:-1])


def _of_product(operation, shapes, output):
    """`(m, n) x (n, p)`, the first perhaps turned, and perhaps many."""
    first = shapes[0]
    turned = any(
        operation.get_attr(name)
        for name in ("transpose_a", "adj_x")
        if name in operation.node_def.attr
    )
    return math.prod(output) * first[-2 if turned else -1]


def _of_einsum(operation, shapes, output):
    """A multiplication for each value of all letters together."""
    if len(shapes) == 1:
        return 0
    equation = operation.get_attr("equation").decode()
    sides = {}
    for letters, shape in zip(
        equation.partition("->")[0].split(","), shapes, strict=True
    ):
        sides.update(zip(letters.strip(), shape, strict=True))
    return math.prod(sides.values())


COUNTS = {
    "BatchMatMul": _of_product,
    "BatchMatMulV2": _of_product,
    "BatchMatMulV3": _of_product,
    "Conv2D": _of_convolution,
    "Conv2DBackpropInput": _of_transposed_convolution,
    "DepthwiseConv2dNative": _of_depthwise_convolution,
    "Einsum": _of_einsum,
    "MatMul": _of_product,
}
