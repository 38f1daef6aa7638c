"""What an answer costs: parameters, and multiply-adds of one image.

Letters in shapes: H W C image.
"""

import math

import keras
import numpy as np

from keras_edram.checks import check_image_shape

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


def costs(model, glimpses_per_target=None, crops=None):
    """The figures of a model that its errors stand beside.

    Args:
        model: A model of this package.
        glimpses_per_target: Integer N; by default the model's own.
        crops: Integer, of how many crops an answer is the mean; by default it
            is of the image.

    Returns:
        Dictionary of integers, `parameters` and `multiply_adds`, see
        `multiply_adds`; and `multiply_adds_by_glimpse`, a list of those with
        1, 2, ... N glimpses at a target, of one model that answers after each.
        `parameters` alone without TensorFlow.

    Example:

    >>> costs(EDRAM.from_preset("edram_small_cluttered_mnist"))["parameters"]
    691076
    """
    found = {"parameters": model.count_params()}
    if keras.config.backend() != "tensorflow":
        return found
    number = glimpses_per_target or model.glimpses_per_target
    together = model.answers_once or model.members or crops
    if number == 1 or together:
        count = multiply_adds(model, glimpses_per_target=number)
        return found | {"multiply_adds": count * (crops or 1)}
    counts = [
        multiply_adds(model, glimpses_per_target=glimpses)
        for glimpses in range(1, number + 1)
    ]
    return found | {
        "multiply_adds": counts[-1],
        "multiply_adds_by_glimpse": counts,
    }


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
            much is done.

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
    if glimpses_per_target is None:
        glimpses_per_target = model.glimpses_per_target
    image_shape = check_image_shape(image_shape)
    if None in image_shape:
        raise ValueError(
            "What an image costs depends on its size. Received: "
            f"image_shape={image_shape}"
        )
    model.seen_images(np.zeros((1, *image_shape), "uint8"))
    # With what it saw: then no model loops in the graph.
    look = tf.function(
        lambda images: model.look(
            images, glimpses_per_target, with_patches=True
        ),
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
        raise ValueError(
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
