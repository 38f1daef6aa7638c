"""What every layer, model, loss and metric must do, as checks over one table.

A new class is one entry in `TABLE`: how it is made, with a value for each of
its arguments that is not the default, and what it is called with. The checks
ask the entry or the contract of models, never for the class.
"""

import importlib
import inspect
import itertools
import json
import pkgutil
import warnings
from collections.abc import Callable, Mapping
from typing import NamedTuple

import another_paper
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import tree

import keras_edram
from keras_edram import anytime
from keras_edram.layers import (
    ConvLSTMCore,
    GaussianAttention,
    LocallyConnected2D,
    RetinaGlimpse,
    SpatialSoftmax,
    SpatialTransformerAttention,
    StepwiseBatchNormalization,
)
from keras_edram.losses import LabelLoss, TransformLoss
from keras_edram.metrics import (
    Accuracy,
    AverageError,
    GlimpseError,
    SequenceError,
    WindowIoU,
)
from keras_edram.models import (
    DCN,
    DRAM,
    DRAW,
    EDRAM,
    RAM,
    RNNSPN,
    STCNN,
    Baseline,
    Ensemble,
    MultiDigitCNN,
)
from keras_edram.models.dcn import TopLayers
from keras_edram.models.glimpse_networks import InceptionGlimpse, VectorGlimpse
from keras_edram.models.rectified import Rectified
from keras_edram.models.sequence_head import SequenceHead
from keras_edram.models.st_cnn import LocalizationNetwork

B, S, N, K = 3, 2, 3, 4  # images, targets, glimpses a target, classes


def numbers(*shape, scale=1.0):
    generator = np.random.default_rng(shape)
    return (scale * generator.uniform(size=shape)).astype("float32")


LABELS = np.array([[0, 1], [3, -1], [2, 2]], "int32")
TRANSFORMS = numbers(B, S, 2, 3)
LABEL_CALL = (LABELS, numbers(B, S, N, K, scale=4))
TRANSFORM_CALL = (TRANSFORMS, numbers(B, S, N, 2, 3))
ATTENTION_CALL = (numbers(B, 9, 7, 2), numbers(B, 2, 3))
ATTENTION = dict(glimpse_size=(3, 5), antialias=False, fill_mode="nearest")
STEP = dict(step=1)
NORMALIZATION = dict(
    num_steps=2,
    momentum=0.5,
    epsilon=0.1,
    beta_initializer=keras.initializers.Constant(0.5),
)
NAMES = [f"class {index}" for index in range(K)]
EDRAM_SIZES = dict(
    image_shape=(40, 30, 2),
    num_classes=K,
    class_names=NAMES[:-1],
    terminal=True,
    reading_order="backward",
    num_targets=S,
    glimpses_per_target=1,
    glimpse_size=(16, 14),
    context_size=10,
    context_filters=(3, 5, 4),
    glimpse_filters=(3, 4, 5, 6, 7, 8),
    valid_convolutions=(0, 5),
    units=16,
    hidden_units=12,
    initial_transform="context",
    relative_emission=True,
    detach_transforms=False,
    antialias=False,
    standardize=True,
    initialization="paper",
)

CORE = dict(
    filters=2,
    kernel_size=(3, 2),
    peepholes=True,
    kernel_initializer=keras.initializers.HeNormal(seed=1),
    recurrent_initializer=keras.initializers.HeNormal(seed=2),
    bias_initializer=keras.initializers.Constant(0.5),
    unit_forget_bias=False,
)
CORE_CALL = (numbers(B, 5, 4, 3), [numbers(B, 5, 4, 2), numbers(B, 5, 4, 2)])

RETINA = dict(
    glimpse_size=3, num_scales=3, scale_factor=1.5, flatten_scales=False
)
RETINA_CALL = (numbers(B, 9, 7, 2), numbers(B, 2))
RAM_SIZES = dict(
    image_shape=(20, 14, 2),
    num_classes=K,
    class_names=NAMES,
    num_glimpses=2,
    glimpse_size=4,
    num_scales=2,
    scale_factor=1.5,
    glimpse_network="inception",
    core="conv_lstm",
    units=16,
    hidden_units=12,
    convolution_filters=(3, 4, 5),
    inception_filters=3,
    core_filters=5,
    core_kernel_size=2,
    location_hidden_units=6,
    location_deviation=0.3,
    detach_policy=False,
    reinforce_weight=0.5,
    baseline_weight=2.0,
    location_penalty=0.1,
    num_rollouts=2,
    seed=1,
)
RAM_CALL = (numbers(B, 20, 14, 2, scale=255),)
BASELINE = dict(
    image_shape=(12, 9, 2),
    num_classes=K,
    class_names=NAMES,
    network="convolution",
    units=16,
    filters=3,
    kernel_size=4,
    strides=2,
)
DCN_SIZES = dict(
    image_shape=(31, 27, 2),
    num_classes=K,
    class_names=NAMES,
    num_glimpses=2,
    coarse_filters=(3, 5),
    fine_filters=(3, 4, 6, 4, 5),
    top_filters=16,
    hint_weight=0.5,
)
DRAW_SIZES = dict(
    image_shape=(20, 14, 2),
    num_classes=K,
    class_names=NAMES,
    num_glimpses=2,
    glimpse_size=4,
    units=16,
    initial_deviation=2.0,
)
RNNSPN_SIZES = dict(
    image_shape=(40, 37, 2),
    num_classes=K,
    class_names=NAMES[:-1],
    terminal=True,
    reading_order="backward",
    num_targets=S,
    glimpse_size=(18, 19),
    localization_filters=(3, 4, 5),
    classification_filters=(4, 3, 5),
    units=16,
    hidden_units=12,
    antialias=False,
)
MULTI_DIGIT_SIZES = dict(
    image_shape=(18, 35, 2),
    num_classes=K,
    class_names=NAMES,
    terminal=False,
    reading_order="backward",
    num_targets=S,
    filters=(3, 4, 5, 3, 4, 5, 3, 4),
    local_filters=5,
    units=6,
)
ST_CNN_SIZES = dict(
    image_shape=(38, 43, 2),
    num_classes=K,
    class_names=NAMES,
    terminal=False,
    reading_order="backward",
    num_targets=S,
    layout="clutter",
    transformers="multi",
    glimpse_size=(24, 25),
    filters=(6, 12),
    units=(16,),
    localization_filters=(3,),
    localization_units=(5,),
    antialias=True,
)
DRAM_SIZES = dict(
    image_shape=(20, 14, 2),
    num_classes=K,
    class_names=NAMES,
    terminal=False,
    reading_order="backward",
    num_targets=S,
    glimpses_per_target=2,
    glimpse_size=10,
    num_scales=3,
    scale_factor=1.5,
    context_size=9,
    context_filters=(3, 4, 5),
    glimpse_filters=(4, 3, 5),
    units=16,
    hidden_units=12,
    location_deviation=0.3,
    detach_policy=False,
    reinforce_weight=0.5,
    baseline_weight=2.0,
    location_penalty=0.1,
    num_rollouts=2,
    seed=1,
)

GLIMPSE_CALL = (numbers(B, 5, 4, 2), numbers(B, 2))
EDRAM_CALL = (numbers(B, 40, 30, 2, scale=255),)
RASTER_CALL = (numbers(B, 20, 14, 2, scale=255),)


class Entry(NamedTuple):
    """What the checks know of a class.

    Attributes:
        cls: The class.
        arguments: Function that makes arguments, none of them the default.
        inputs: What it is called with.
        options: Further arguments of a call.
        variant: String, which other networks of the class these are.
        float32: Why it answers in float32 in mixed precision; by default it
            does not.
        repeatable: Changed arguments, with which two calls give the same.
        untaught: Parts of the paths of weights that an answer does not teach.
    """

    cls: type
    arguments: Callable
    inputs: tuple
    options: Mapping = {}
    variant: str = ""
    float32: str = ""
    repeatable: Mapping = {}
    untaught: tuple = ()

    def make(self, **changes):
        """The object as its constructor makes it."""
        return self.cls(**{**self.arguments(), **changes})

    def make_called(self, **changes):
        """The object, built, and as if it had learnt something.

        What starts at zero or one would hide mistakes, and zero weights stop
        the gradient of those before them.
        """
        made = self.make(**{**self.repeatable, **changes})
        if not made.built:  # as models are from the start
            made(*self.inputs, **self.options)
        generator = np.random.default_rng(0)
        for weight in made.weights:
            noise = 0.2 * generator.normal(size=weight.shape)
            if "variance" in weight.path:
                noise = np.abs(noise)
            weight.assign(weight + noise)
        return made

    def shared(self):
        """As `make_called`, once for all tests that leave it as it is."""
        return self._once(self.make_called)

    def shared_new(self):
        """As `make`, once for all tests that leave it as it is."""
        return self._once(self.make)

    def _once(self, make):
        key = id(self), make.__name__
        if key not in MADE:
            MADE[key] = make()
        return MADE[key]


MADE = {}  # by the entry of the table, which stays where it is
LOGITS = "logits for the loss, transforms as coordinates"
RAM_ENTRY = Entry(
    RAM,
    lambda: RAM_SIZES,
    RAM_CALL,
    float32=LOGITS,
    # A call would draw.
    repeatable=dict(num_rollouts=0),
    # Only the losses of the policy teach it.
    untaught=("/location", "/baseline/"),
)
DRAM_ENTRY = Entry(
    DRAM,
    lambda: DRAM_SIZES,
    RAM_CALL,
    float32=LOGITS,
    # A call would draw.
    repeatable=dict(num_rollouts=0),
    # Only the losses of the policy teach where to look.
    untaught=(
        "/location/",
        "/baseline/",
        "/emission/",
        "/where_lstm/",
        "/context",
    ),
)
EDRAM_ENTRY = Entry(
    EDRAM,
    lambda: {
        **EDRAM_SIZES,
        "context_layout": "search",
        "context_filters": (3, 5),
        "context_halvings": 1,
    },
    EDRAM_CALL,
    float32=LOGITS,
)
TABLE = [
    Entry(ConvLSTMCore, lambda: CORE, CORE_CALL),
    Entry(
        GaussianAttention,
        lambda: dict(glimpse_size=3),
        (numbers(B, 9, 7, 2), numbers(B, 5)),
    ),
    Entry(
        LocallyConnected2D,
        lambda: dict(
            filters=3,
            kernel_size=5,
            kernel_initializer=keras.initializers.HeNormal(seed=1),
        ),
        (numbers(B, 5, 4, 2),),
    ),
    Entry(RetinaGlimpse, lambda: RETINA, RETINA_CALL),
    Entry(
        SpatialSoftmax,
        lambda: dict(num_searches=3),
        (numbers(B, 5, 4, 2),),
        float32="places as coordinates",
    ),
    Entry(SpatialTransformerAttention, lambda: ATTENTION, ATTENTION_CALL),
    Entry(
        StepwiseBatchNormalization,
        lambda: NORMALIZATION,
        (numbers(B, 4, 5),),
        STEP,
    ),
    Entry(
        Rectified,
        lambda: dict(
            layer=keras.layers.Conv2D(
                3, 2, name="inner", data_format="channels_last", use_bias=False
            ),
            num_steps=2,
            beta_initializer=keras.initializers.Constant(0.5),
        ),
        (numbers(B, 4, 5, 2),),
        STEP,
    ),
    Entry(
        VectorGlimpse,
        lambda: dict(filters=(3, 4), hidden_units=5, units=6, num_steps=2),
        GLIMPSE_CALL,
        STEP,
    ),
    Entry(
        InceptionGlimpse,
        lambda: dict(filters=3, num_steps=2),
        GLIMPSE_CALL,
        STEP,
    ),
    Entry(
        LocalizationNetwork,
        lambda: dict(filters=(2, 3), units=(4,), down_sampling=2),
        (numbers(B, 12, 8, 2),),
        float32="where to look",
    ),
    Entry(
        SequenceHead,
        lambda: dict(num_targets=S, num_classes=K, terminal=False),
        (numbers(B, 5),),
        float32=LOGITS,
    ),
    Entry(
        TopLayers,
        lambda: dict(filters=3, num_classes=K),
        (numbers(B, 7, 4, 2),),
        dict(with_saliency=True),
    ),
    EDRAM_ENTRY,
    Entry(
        Ensemble,
        lambda: dict(
            # Models that look step by step, of few operations.
            members=[
                another_paper.RasterReader(
                    **{**another_paper.SIZES, "raster": 2, "name": name}
                )
                for name in ("one", "two")
            ],
            temperature=1.5,
        ),
        RASTER_CALL,
        float32=LOGITS,
    ),
    RAM_ENTRY,
    DRAM_ENTRY,
    Entry(
        Baseline,
        lambda: BASELINE,
        (numbers(B, 12, 9, 2, scale=255),),
        float32=LOGITS,
    ),
    Entry(
        DCN,
        lambda: DCN_SIZES,
        (numbers(B, 31, 27, 2, scale=255),),
        float32=LOGITS,
    ),
    Entry(DRAW, lambda: DRAW_SIZES, RAM_CALL, float32=LOGITS),
    Entry(
        RNNSPN,
        lambda: RNNSPN_SIZES,
        (numbers(B, 40, 37, 2, scale=255),),
        float32=LOGITS,
    ),
    Entry(
        MultiDigitCNN,
        lambda: MULTI_DIGIT_SIZES,
        (numbers(B, 18, 35, 2, scale=255),),
        float32=LOGITS,
    ),
    Entry(
        STCNN,
        lambda: ST_CNN_SIZES,
        (numbers(B, 38, 43, 2, scale=255),),
        float32=LOGITS,
    ),
    Entry(
        another_paper.RasterReader,
        lambda: another_paper.SIZES,
        RASTER_CALL,
        float32=LOGITS,
    ),
    Entry(LabelLoss, lambda: dict(reduction="sum"), LABEL_CALL),
    Entry(
        TransformLoss,
        lambda: dict(
            beta=(1, 2, 3, 4, 5, 6), relative=True, enlarged=(3, 2, 1)
        ),
        TRANSFORM_CALL,
    ),
    Entry(Accuracy, dict, LABEL_CALL),
    Entry(AverageError, dict, LABEL_CALL),
    Entry(SequenceError, dict, LABEL_CALL),
    Entry(GlimpseError, lambda: dict(glimpse=1), LABEL_CALL),
    Entry(WindowIoU, lambda: dict(glimpse=1), TRANSFORM_CALL),
]
# Models of images of any size.
ANY_SIZE = [
    DRAM_ENTRY._replace(
        variant="-any-size",
        arguments=lambda: {**DRAM_SIZES, "image_shape": (None, None, 2)},
    ),
    RAM_ENTRY._replace(
        variant="-any-size",
        arguments=lambda: {**RAM_SIZES, "image_shape": (None, None, 2)},
    ),
    EDRAM_ENTRY._replace(
        variant="-any-size",
        arguments=lambda: {
            **EDRAM_ENTRY.arguments(),
            "image_shape": (None, None, 1),
        },
        inputs=(EDRAM_CALL[0][..., :1],),
    ),
]
# Other networks of a class, to be called as well.
VARIANTS = [
    *ANY_SIZE,
    EDRAM_ENTRY._replace(variant="-paper", arguments=lambda: EDRAM_SIZES),
    EDRAM_ENTRY._replace(
        variant="-strided",
        arguments=lambda: {
            **EDRAM_ENTRY.arguments(),
            "context_layout": "strided_search",
        },
    ),
    *(
        RAM_ENTRY._replace(
            variant=f"-{network}-{core}",
            arguments=lambda network=network, core=core: {
                **RAM_SIZES,
                "glimpse_network": network,
                "core": core,
            },
        )
        for network, core in (("dense", "lstm"), ("convolution", "rnn"))
    ),
]
# What others are made from, as are losses and metrics with an underscore.
ABSTRACT = {
    *("KerasModel", "BaseModel", "PolicyModel"),
    *("WholeImageModel", "WholeSequenceModel"),
}


def rows(*kinds, but=(), variants=()):
    params = [
        pytest.param(entry, id=entry.cls.__name__ + entry.variant)
        for entry in (*TABLE, *variants)
        if issubclass(entry.cls, kinds) and not issubclass(entry.cls, but)
    ]
    return pytest.mark.parametrize("entry", params)


EVERYTHING = rows(object)
LAYERS = rows(keras.layers.Layer, variants=VARIANTS)
PLAIN_LAYERS = rows(keras.layers.Layer, but=keras.Model)
MODELS = rows(keras.Model, variants=ANY_SIZE)
MODELS_AND_VARIANTS = rows(keras.Model, variants=VARIANTS)
FUNCTIONS = rows(keras.losses.Loss, keras.metrics.Metric)


def arguments_of(entry):
    return {
        name: parameter.default
        for name, parameter in inspect.signature(entry.cls).parameters.items()
        if name not in ("kwargs", "name")
    }


def as_lists(value):
    """Tuples and lists are one in JSON, and an object is its configuration."""
    text = json.dumps(value, default=keras.saving.serialize_keras_object)
    return json.loads(text)


def symbols_of(inputs):
    return tree.map_structure(
        lambda values: keras.Input(values.shape[1:]), list(inputs)
    )


def assert_same(values, expected, rtol=1e-5, atol=1e-5):
    tree.assert_same_structure(values, expected)
    for value, other in zip(
        tree.flatten(values), tree.flatten(expected), strict=True
    ):
        assert value.dtype == other.dtype
        assert value.shape == other.shape
        np.testing.assert_allclose(
            keras.ops.cast(value, "float32"),
            keras.ops.cast(other, "float32"),
            rtol=rtol,
            atol=atol,
        )


def classes_of_the_package():
    """Its layers, models, losses and metrics, wherever they are defined."""
    judges = (keras.losses.Loss, keras.metrics.Metric)
    for module in pkgutil.walk_packages(keras_edram.__path__, "keras_edram."):
        if module.name.endswith("__main__"):  # that is the command
            continue
        try:
            content = vars(importlib.import_module(module.name))
        except ModuleNotFoundError as error:  # of an extra: the server's
            assert error.name.partition(".")[0] != "keras_edram"
            continue
        for value in content.values():
            if not isinstance(value, type) or value.__module__ != module.name:
                continue
            is_judge = issubclass(value, judges)
            if issubclass(value, keras.layers.Layer) or (
                is_judge and not value.__name__.startswith("_")
            ):
                yield value


def test_the_table_has_each_class_of_the_package_once():
    listed = [entry.cls for entry in TABLE]
    assert len(set(listed)) == len(listed)
    found = {
        cls for cls in classes_of_the_package() if cls.__name__ not in ABSTRACT
    }
    assert {Rectified, EDRAM, WindowIoU} <= found
    missing = {cls.__name__ for cls in found - set(listed)}
    assert not missing, f"Without an entry in TABLE: {sorted(missing)}"


@EVERYTHING
def test_the_table_has_no_default(entry):
    arguments, defaults = entry.arguments(), arguments_of(entry)
    assert set(defaults) <= set(arguments)
    for name in defaults:
        assert as_lists(arguments[name]) != defaults[name]
        if isinstance(defaults[name], (tuple, list)):
            assert as_lists(arguments[name]) != as_lists(defaults[name])


@EVERYTHING
def test_the_configuration_has_every_argument(entry):
    arguments, config = entry.arguments(), entry.shared_new().get_config()
    for name in arguments:
        assert as_lists(config[name]) == as_lists(arguments[name])


@EVERYTHING
def test_an_attribute_is_called_like_its_argument(entry):
    made, arguments = entry.shared_new(), entry.arguments()
    for name in arguments_of(entry):
        assert as_lists(getattr(made, name)) == as_lists(arguments[name])


@EVERYTHING
def test_the_object_comes_back_from_its_configuration(entry):
    made, arguments = entry.make(name="some_name"), entry.arguments()
    revived = entry.cls.from_config(made.get_config())
    assert revived.name == "some_name"
    assert revived.get_config() == made.get_config()
    for name in arguments_of(entry):
        assert as_lists(getattr(revived, name)) == as_lists(arguments[name])


@EVERYTHING
def test_the_object_comes_back_from_json(entry):
    made = entry.shared_new()
    text = json.dumps(keras.saving.serialize_keras_object(made))
    revived = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(revived) is entry.cls
    assert as_lists(revived.get_config()) == as_lists(made.get_config())


@MODELS_AND_VARIANTS
def test_a_saved_model_gives_the_same(entry, tmp_path):
    model = entry.shared()
    expected = model(*entry.inputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_same(loaded(*entry.inputs), expected)


@PLAIN_LAYERS
def test_a_saved_layer_gives_the_same(entry, tmp_path):
    made = entry.shared()
    expected = made(*entry.inputs, **entry.options)
    symbols = symbols_of(entry.inputs)
    model = keras.Model(symbols, made(*symbols, **entry.options))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    # A tuple comes back from JSON as a list.
    assert_same(
        tree.flatten(loaded(list(entry.inputs))), tree.flatten(expected)
    )


@LAYERS
def test_symbolic_and_eager_calls_agree(entry):
    made = entry.shared()
    expected = made(*entry.inputs, **entry.options)
    symbols = tree.map_structure(
        lambda values: keras.Input(
            batch_shape=values.shape, dtype=values.dtype
        ),
        list(entry.inputs),
    )
    outputs = made(*symbols, **entry.options)
    tree.assert_same_structure(outputs, expected)
    for symbol, value in zip(
        tree.flatten(outputs), tree.flatten(expected), strict=True
    ):
        assert tuple(symbol.shape) == tuple(value.shape)
        assert symbol.dtype == value.dtype
    assert_same(keras.Model(symbols, outputs)(list(entry.inputs)), expected)


@LAYERS
def test_a_graph_for_any_batch_gives_the_same(entry):
    made = entry.shared()
    call = tf.function(
        lambda *inputs: made(*inputs, **entry.options),
        input_signature=tree.map_structure(
            lambda values: tf.TensorSpec((None, *values.shape[1:])),
            list(entry.inputs),
        ),
    )
    assert_same(call(*entry.inputs), made(*entry.inputs, **entry.options))
    one = tree.map_structure(lambda values: values[:1], entry.inputs)
    assert_same(call(*one), made(*one, **entry.options))


@FUNCTIONS
def test_a_loss_or_metric_gives_the_same_in_a_graph(entry):
    eager, graph = entry.make(), entry.make()
    expected = eager(*entry.inputs)
    assert expected.shape == ()
    assert expected > 0
    assert_same(
        tf.function(lambda *args: graph(*args))(*entry.inputs), expected
    )


@LAYERS
@pytest.mark.parametrize("training", [False, True])
def test_the_gradient_reaches_every_weight(entry, training):
    # Training changes means and variances.
    made = entry.make_called() if training else entry.shared()
    options = entry.options
    if training and "training" in inspect.signature(made.call).parameters:
        options = {**options, "training": True}
    with tf.GradientTape() as tape:
        outputs = made(*entry.inputs, **options)
        loss = sum(
            tf.reduce_sum(values * numbers(*values.shape))
            for values in tree.flatten(outputs)
        )
    weights = [
        weight
        for weight in made.trainable_variables
        if not any(part in weight.path for part in entry.untaught)
    ]
    assert_all_reached(tape.gradient(loss, weights), weights)


@pytest.mark.parametrize("initial_transform", ["identity", "context"])
@pytest.mark.parametrize("detach_transforms", [False, True])
def test_the_gradient_of_both_losses_reaches_every_weight_of_edram(
    detach_transforms, initial_transform
):
    images = numbers(B, 40, 30, 2, scale=255)
    edram = next(entry for entry in TABLE if entry.cls is EDRAM)
    model = edram.make_called(
        detach_transforms=detach_transforms, initial_transform=initial_transform
    )
    weights = model.trainable_variables
    with tf.GradientTape() as tape:
        outputs = model(images, training=True)
        loss = LabelLoss()(LABELS, outputs["labels"])
        loss += TransformLoss()(TRANSFORMS, outputs["transforms"])
    assert_all_reached(tape.gradient(loss, weights), weights)


def assert_all_reached(gradients, weights):
    missed = [
        weight.path
        for weight, gradient in zip(weights, gradients, strict=True)
        if gradient is None or not np.any(gradient)
    ]
    assert not missed
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@LAYERS
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_weights_in_float32(entry, policy):
    made = entry.make_called(dtype=policy)
    assert {weight.dtype for weight in made.weights} <= {"float32"}
    dtype = "float32" if entry.float32 else policy.removeprefix("mixed_")
    outputs = made(*entry.inputs, **entry.options)
    assert {value.dtype.name for value in tree.flatten(outputs)} == {dtype}
    symbols = symbols_of(entry.inputs)
    outputs = made(*symbols, **entry.options)
    assert {value.dtype for value in tree.flatten(outputs)} == {dtype}


@LAYERS
def test_mixed_precision_is_near_to_full_precision(entry):
    full = entry.shared()
    mixed = entry.make_called(dtype="mixed_bfloat16")
    mixed.set_weights(full.get_weights())
    for value, other in zip(
        tree.flatten(mixed(*entry.inputs, **entry.options)),
        tree.flatten(full(*entry.inputs, **entry.options)),
        strict=True,
    ):
        # bfloat16 has seven bits: 2**-8 at each of the products.
        np.testing.assert_allclose(
            keras.ops.cast(value, "float32"), other, rtol=0.05, atol=0.05
        )


def test_edram_in_mixed_precision_uses_the_global_policy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = EDRAM(**EDRAM_SIZES)
    assert model.what.compute_dtype == "bfloat16"
    assert model.what_lstm.compute_dtype == "bfloat16"
    outputs = model(numbers(B, 40, 30, 2, scale=255), training=True)
    assert outputs["labels"].dtype == "float32"
    assert outputs["transforms"].dtype == "float32"


def test_a_compiled_model_is_saved_with_its_losses_and_metrics(tmp_path):
    model = EDRAM(**EDRAM_SIZES)
    model.compile(
        "adam",
        loss={
            "labels": LabelLoss(),
            "transforms": TransformLoss((1, 2, 3, 4, 5, 6)),
        },
        metrics={
            "labels": [AverageError(), GlimpseError(0)],
            "transforms": [WindowIoU(0)],
        },
        run_eagerly=True,  # quicker than to trace it twice
    )
    model.optimizer.build(model.trainable_variables)
    images = numbers(B, 40, 30, 2, scale=255)
    truth = {"labels": LABELS, "transforms": TRANSFORMS}
    expected = model.evaluate(images, truth, return_dict=True, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    found = loaded.evaluate(images, truth, return_dict=True, verbose=0)
    assert found == pytest.approx(expected, rel=1e-5)
    assert set(found) >= {"labels_error", "labels_glimpse_error"}
    assert set(found) >= {"loss", "labels_loss", "transforms_iou"}


# What users hand over


def as_numpy(value):
    """The value with NumPy's integers and truth values for Python's."""
    if isinstance(value, bool):
        return np.bool_(value)
    if isinstance(value, int):
        return np.int64(value)
    return tuple(map(as_numpy, value)) if isinstance(value, tuple) else value


@EVERYTHING
def test_integers_and_truth_values_of_numpy_are_taken(entry):
    changed = {
        name: as_numpy(value) for name, value in entry.arguments().items()
    }
    made = entry.make(**changed, name="x")
    expected = {**entry.shared_new().get_config(), "name": "x"}
    expected = json.dumps(as_lists(expected))
    found = made.get_config()
    assert json.dumps(found, default=serialized) == expected
    revived = entry.cls.from_config(made.get_config())
    assert revived.get_config() == made.get_config()


def serialized(value):
    """Only what is an object: a value of NumPy is none."""
    assert not isinstance(value, np.generic)
    return keras.saving.serialize_keras_object(value)


@EVERYTHING
def test_a_word_is_no_truth_value(entry):
    for name, default in arguments_of(entry).items():
        if not isinstance(default, bool):
            continue
        for value in ("no", None, 2):
            with pytest.raises(ValueError, match=f"Received: {name}={value!r}"):
                entry.make(**{name: value})


@LAYERS
def test_a_truth_value_is_no_size(entry):
    sizes = [
        name
        for name, value in entry.arguments().items()
        if isinstance(value, int) and not isinstance(value, bool)
    ]
    for name in sizes:
        with pytest.raises(ValueError, match=f"Received: {name}=True"):
            entry.make(**{name: True})


WRONG_IMAGES = {
    "one image": lambda images: images[0],
    "no channel axis": lambda images: images[..., 0],
    "more channels": lambda images: np.concatenate([images, images], axis=-1),
    "channels first": lambda images: np.moveaxis(images, -1, 1),
}


@MODELS
@pytest.mark.parametrize("change", WRONG_IMAGES.values(), ids=WRONG_IMAGES)
def test_other_images_are_refused_by_whoever_gets_them(entry, change):
    model, images = entry.make(), change(*entry.inputs)
    model.compile("sgd", {"labels": LabelLoss()}, run_eagerly=True)
    labels = np.zeros((len(images), S), "int32")
    for ask in (
        model,
        model.predict,
        model.read,
        model.glimpses,
        model.predict_on_batch,
        lambda images: model.fit(images, labels),
        lambda images: model.evaluate(images, labels),
        lambda images: anytime.look_until_sure(model, images, 0.5),
    ):
        with pytest.raises(
            ValueError, match="incompatible with|of shape|glimpses"
        ):
            ask(images)


@LAYERS
def test_a_frozen_layer_does_in_training_what_it_does_without(entry):
    made = entry.make_called()
    if "training" not in inspect.signature(made.call).parameters:
        return
    expected = made(*entry.inputs, **entry.options)
    made.trainable = False
    before = [weight.numpy() for weight in made.weights]
    assert_same(made(*entry.inputs, **entry.options, training=True), expected)
    for old, weight in zip(before, made.weights, strict=True):
        np.testing.assert_array_equal(weight, old)


@MODELS
def test_a_call_in_training_returns_what_it_says(entry):
    made = entry.make()
    expected = made.compute_output_spec(
        keras.KerasTensor(entry.inputs[0].shape), training=True
    )
    outputs = made(*entry.inputs, training=True)
    tree.assert_same_structure(outputs, expected)
    for name, value in outputs.items():
        assert value.shape == expected[name].shape
        assert value.dtype == expected[name].dtype


@MODELS
def test_no_image_has_no_answer(entry):
    model = entry.shared()
    images = entry.inputs[0][:0]
    like = model.glimpses(*entry.inputs)
    for found in (model(images), model.predict(images), model.glimpses(images)):
        for name, value in found.items():
            assert value.shape == (0, *like[name].shape[1:])
    for name, value in model.decode(model(images)).items():
        assert value.shape == (0, *model.decode(like)[name].shape[1:])
    assert model.read(images) == []
    if not anytime.why_no_budget(model):
        assert model.read(images, confidence=0.5) == []


@FUNCTIONS
def test_no_image_is_no_error(entry):
    none = [values[:0] for values in entry.inputs]
    assert entry.make()(*none) == 0
    graph = entry.make()
    call = tf.function(
        lambda *args: graph(*args),
        input_signature=[
            tf.TensorSpec((None, *values.shape[1:]), values.dtype)
            for values in none
        ],
    )
    assert call(*none) == 0


@MODELS
def test_images_between_0_and_1_are_noted_once(entry):
    model = entry.make()
    model.compile("sgd", {"labels": LabelLoss()}, run_eagerly=True)
    all_images = entry.inputs[0]
    labels = np.zeros((len(all_images), model.num_targets), "int32")
    asked = [model.predict, model.read, model.glimpses]
    if not model.members:  # which are trained apart
        asked.append(lambda images: model.evaluate(images, labels, verbose=0))
        asked.append(lambda images: model.fit(images, labels, verbose=0))
    if not anytime.why_no_budget(model):
        # Whose steps are compiled once for all tests.
        shared = entry.shared()
        asked.append(lambda images: shared.read(images, max_glimpses=1))
    for ask, (images, notes) in itertools.product(
        asked, ((all_images / 255, 1), (all_images, 0))
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ask(images)
        found = [str(one.message) for one in caught]
        assert sum("multiply them by 255" in note for note in found) == notes


@MODELS
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_no_numbers_are_refused(entry, value):
    model = entry.shared_new()
    images = entry.inputs[0].copy()
    images[1, 2, 3, 0] = value
    for ask in (model.read, model.glimpses, model.predict):
        with pytest.raises(ValueError, match="finite numbers"):
            ask(images)


@MODELS
@pytest.mark.parametrize("dtype", ["float64", "float16"])
@pytest.mark.parametrize("everywhere", [False, True])
def test_every_precision_answers_in_float32(entry, dtype, everywhere):
    policy = {} if everywhere else {"dtype": dtype}
    if everywhere:
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)
    try:
        model = entry.make(**policy)
        for training in (True, False):
            outputs = model(*entry.inputs, training=training)
            dtypes = {value.dtype.name for value in outputs.values()}
            assert dtypes == {"float32"}
        assert len(model.read(*entry.inputs)) == B
    finally:
        keras.config.set_floatx("float32")


def test_weights_of_few_digits_are_refused():
    with pytest.raises(ValueError, match="mixed_bfloat16"):
        Baseline(**BASELINE, dtype="bfloat16")


@LAYERS
def test_channels_come_last_whatever_keras_is_told(entry):
    made = entry.shared()
    expected = made(*entry.inputs, **entry.options)
    keras.config.set_image_data_format("channels_first")
    try:
        again = entry.make_called()
        again.set_weights(made.get_weights())
        assert_same(again(*entry.inputs, **entry.options), expected)
    finally:
        keras.config.set_image_data_format("channels_last")


@LAYERS
def test_batches_of_two_sizes_are_refused(entry):
    made = entry.shared()
    for index in range(1, len(entry.inputs)):
        for size in (1, 2):
            fewer = list(entry.inputs)
            fewer[index] = tree.map_structure(
                lambda values, size=size: values[:size],
                entry.inputs[index],
            )
            with pytest.raises(ValueError, match="The shapes must be"):
                made(*fewer, **entry.options)


@FUNCTIONS
def test_targets_and_weights_of_another_batch_are_refused(entry):
    made = entry.make()
    true, predicted = entry.inputs
    for size in (1, 2):
        with pytest.raises(ValueError, match="Received: "):
            made(true[:size], predicted)
    for shape in ((1,), (B + 1,), (B, S), (B, 1, 1)):
        with pytest.raises(ValueError, match="sample_weight of shape"):
            made(true, predicted, sample_weight=np.ones(shape, "float32"))


@FUNCTIONS
def test_an_image_of_no_weight_does_not_count(entry):
    weights = np.array([0, 2, 1], "float32")
    expected = entry.make()(
        *(values[[1, 1, 2]] for values in entry.inputs),
        sample_weight=np.ones(B),
    )
    for shape in ((B,), (B, 1)):
        found = entry.make()(
            *entry.inputs, sample_weight=weights.reshape(shape)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@MODELS
def test_all_layers_are_built(entry):
    model = entry.shared_new()
    unbuilt = [
        layer.path for layer in model._flatten_layers() if not layer.built
    ]
    assert not unbuilt
    lines = []
    model.summary(print_fn=lines.append)
    assert "unbuilt" not in "".join(lines)


@MODELS
@pytest.mark.filterwarnings("ignore")  # of layers without weights
def test_weights_in_8_bits_answer_nearly_the_same_and_are_saved(
    entry, tmp_path
):
    model = entry.make_called()
    full = model(*entry.inputs)
    model.quantize("int8")
    expected = model(*entry.inputs)
    assert_same(expected, full, rtol=0.2, atol=0.3)
    assert np.any(expected["labels"] != full["labels"])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_same(loaded(*entry.inputs), expected)
    clone = entry.cls.from_config({**loaded.get_config(), "name": "other"})
    clone.set_weights(model.get_weights())
    assert_same(clone(*entry.inputs), expected)
