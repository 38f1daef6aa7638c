"""From signatures to the bytes of a TFLite file, with fewer bits."""

import contextlib
import io
import logging
import tempfile
import warnings

import numpy as np

from keras_edram.serving import formats, signatures
from keras_edram.serving.interpreter import open_tflite

NUM_CALIBRATION_IMAGES = 100  # more do not widen the ranges


def convert(model, keys, quantize=None, image_shape=None):
    """The TFLite file of a model, by TensorFlow's converter.

    Args:
        model: One that `signatures.deployable` returned.
        keys: Names of the signatures to write.
        quantize: `None`, `"float16"` or `"int8"`.
        image_shape: `(height, width, channels)` of the images that it takes;
            by default that of the model.

    Returns:
        Bytes.
    """
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        # A loop: the file has the operators of one glimpse, not of all.
        signatures.write_saved_model(
            model,
            folder,
            keys,
            image_shape=image_shape,
            with_names=False,
            in_a_loop=True,
        )
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=keys
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if quantize is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        return _default_first(converter.convert())


def _default_first(content):
    """The TFLite file with the graph of `serving_default` before the others.

    Programs that know no signatures run the first, and the converter orders
    them by their names.
    """
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    places = {
        signature.signatureKey: signature.subgraphIndex
        for signature in model.signatureDefs
    }
    place = places.get(b"serving_default", 0)
    if place == 0:
        return content
    moved = {0: place, place: 0}
    graphs = model.subgraphs
    graphs[0], graphs[place] = graphs[place], graphs[0]
    operators = [row for graph in graphs for row in graph.operators]
    for holder in (
        *model.signatureDefs,
        *(row.builtinOptions for row in operators),
        *(row.builtinOptions2 for row in operators),
    ):
        # Of a signature, and of loops their condition and their body.
        for name, value in vars(holder).items() if holder else ():
            if name.lower().endswith("subgraphindex"):
                setattr(holder, name, moved.get(value, value))
    return flatbuffer_utils.convert_object_to_bytearray(model)


def quantize_convolutions(model, keys, images):
    """The TFLite file of a model whose convolutions compute in 8 bits.

    TensorFlow's own calibration crashes on a loop, and that of the quantizer
    sees its last round only. So ranges are measured where glimpses are taken
    one by one, by `start` and `look`, and are carried over to the convolutions
    of the same weights.

    Args:
        model: One that `signatures.deployable` returned.
        keys: Names of the signatures to write.
        images: Array of shape `(B, H, W, C)`, in [0, 255].

    Returns:
        Bytes.

    Raises:
        RuntimeError: If the extra `tflite` is missing.
    """
    import_quantizer()
    images = np.asarray(images[:NUM_CALIBRATION_IMAGES], "float32")
    ranges = {}
    for member in model.members or [model]:
        ranges |= _ranges(member, images)
    content = convert(model, keys, image_shape=images.shape[1:])
    statistics = {}
    for weights, *tensors in _convolutions(content):
        statistics |= zip(tensors, ranges[weights], strict=True)
    with _quiet():
        result = _quantizer(content, bool(statistics)).quantize(
            statistics or None, enable_progress_report=False
        )
    return bytes(result.quantized_model)


def _ranges(model, images):
    """Of each convolution, by its weights: ranges of input and output."""
    has_steps = model.looks_step_by_step
    keys = signatures.STEP_SIGNATURES if has_steps else ["serving_default"]
    content = convert(model, keys, image_shape=images.shape[1:])
    samples = _glimpses(model, content, images) if has_steps else {}
    if not has_steps:
        samples = {"serving_default": [{"images": x[None]} for x in images]}
    with _quiet():
        statistics = _quantizer(content).calibrate(samples)
    return {
        weights: [statistics[name] for name in tensors]
        for weights, *tensors in _convolutions(content)
    }


def _glimpses(model, content, images):
    """What `start` and `look` are given, image by image, glimpse by glimpse."""
    run, _ = open_tflite(content)
    samples = {name: [] for name in signatures.STEP_SIGNATURES}
    for image in images:
        given = {"images": image[None]}
        samples["start"].append(given)
        state = run("start", **given)
        for _ in range(model.num_glimpses):
            samples["look"].append({**given, **state})
            outputs = run("look", **given, **state)
            state = {name: outputs[name] for name in state}
    return samples


def _quantizer(content, has_convolutions=True):
    """Convolutions in 8 bits; of dense layers the weights, dynamically."""
    from ai_edge_quantizer import qtyping, quantizer

    quantizer = quantizer.Quantizer(bytearray(content))
    quantizer.add_dynamic_config(
        regex=".*",
        operation_name=qtyping.TFLOperationName.FULLY_CONNECTED,
        num_bits=8,
    )
    if has_convolutions:
        quantizer.add_static_config(
            regex=".*",
            operation_name=qtyping.TFLOperationName.CONV_2D,
            activation_num_bits=8,
            weight_num_bits=8,
        )
    return quantizer


def _convolutions(content):
    """Of each: its weights as bytes, names of its input and its output."""
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    for graph in model.subgraphs:
        for operator in graph.operators:
            name = flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex)
            if name != "CONV_2D":
                continue
            read, weights, _ = (graph.tensors[i] for i in operator.inputs)
            written = graph.tensors[operator.outputs[0]]
            buffer = model.buffers[weights.buffer]
            data = buffer.data
            if data is None:  # a large one lies behind the graphs
                data = content[buffer.offset : buffer.offset + buffer.size]
            yield bytes(data), read.name.decode(), written.name.decode()


@contextlib.contextmanager
def _quiet():
    """The quantizer draws bars, and warns of what does no harm.

    That is the memory that it needs, and weights of several signatures which
    it writes again, the same.
    """
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def import_quantizer():
    """Raises a `RuntimeError` if the extra `tflite` is missing."""
    formats.require("8-bit convolution", "tflite", "ai_edge_quantizer")
