"""What every layer, model, loss and metric must do, as checks over one table.

A new class is one line in `TABLE`: how it is made, with a value for each of
its arguments that is not the default, and what it is called with.
"""

import inspect
import json
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import tree

from keras_edram import anytime, layers, losses, metrics, models
from keras_edram.layers import (
    ConvLSTMCore,
    RetinaGlimpse,
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
from keras_edram.models import EDRAM, RAM, Baseline, Ensemble

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
    units=16,
    hidden_units=12,
    initial_transform="context",
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
    location_deviation=0.3,
    detach_policy=False,
    reinforce_weight=0.5,
    baseline_weight=2.0,
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
)

ENSEMBLE = dict(
    members=[
        # Of one object: sequences are EDRAM's own, and an ensemble takes twice.
        EDRAM(**{**EDRAM_SIZES, "num_targets": 1, "reading_order": order})
        for order in ("forward", "backward")
    ]
)
EDRAM_CALL = (numbers(B, 40, 30, 2, scale=255),)

# Class, arguments, inputs, further arguments of a call.
TABLE = [
    (ConvLSTMCore, CORE, CORE_CALL, {}),
    (RetinaGlimpse, RETINA, RETINA_CALL, {}),
    (SpatialTransformerAttention, ATTENTION, ATTENTION_CALL, {}),
    (StepwiseBatchNormalization, NORMALIZATION, (numbers(B, 4, 5),), STEP),
    (EDRAM, EDRAM_SIZES, EDRAM_CALL, {}),
    (Ensemble, ENSEMBLE, EDRAM_CALL, {}),
    (RAM, RAM_SIZES, RAM_CALL, {}),
    (Baseline, BASELINE, (numbers(B, 12, 9, 2, scale=255),), {}),
    (LabelLoss, dict(reduction="sum"), LABEL_CALL, {}),
    (TransformLoss, dict(beta=(1, 2, 3, 4, 5, 6)), TRANSFORM_CALL, {}),
    (Accuracy, {}, LABEL_CALL, {}),
    (AverageError, {}, LABEL_CALL, {}),
    (SequenceError, {}, LABEL_CALL, {}),
    (GlimpseError, dict(glimpse=1), LABEL_CALL, {}),
    (WindowIoU, dict(glimpse=1), TRANSFORM_CALL, {}),
]
# Other networks of a class, to be called as well.
VARIANTS = {
    "RAM-dense-lstm": dict(glimpse_network="dense", core="lstm"),
    "RAM-convolution-rnn": dict(glimpse_network="convolution", core="rnn"),
}
# What must not lose digits in mixed precision, with the reason.
ALWAYS_FLOAT32 = {
    EDRAM: "logits for the loss, transforms as coordinates",
    RAM: "logits for the loss, transforms as coordinates",
    Baseline: "logits for the loss, transforms as coordinates",
    Ensemble: "logits for the loss, transforms as coordinates",
}
# What a call would draw: two calls could not be compared.
DRAWN = {RAM: dict(num_rollouts=0)}
# What only the losses of RAM's policy teach, so only in training.
POLICY = ("/location/", "/baseline/")


def rows(*kinds, variants=None):
    params = [
        pytest.param(*row, id=row[0].__name__)
        for row in TABLE
        if issubclass(row[0], kinds)
    ]
    for name, changes in (variants or {}).items():
        row = (RAM, {**RAM_SIZES, **changes}, RAM_CALL, {})
        params.append(pytest.param(*row, id=name))
    return pytest.mark.parametrize("cls, arguments, inputs, options", params)


EVERYTHING = rows(object)
LAYERS = rows(keras.layers.Layer, variants=VARIANTS)
MODELS = rows(keras.Model)
FUNCTIONS = rows(keras.losses.Loss, keras.metrics.Metric)


def make(cls, arguments, inputs=None, options=None, **kwargs):
    """The object; a layer is built, and all its weights count."""
    if inputs is not None:
        arguments = {**arguments, **DRAWN.get(cls, {})}
    if cls is Ensemble:  # of members of its own
        members = [
            EDRAM.from_config(member.get_config())
            for member in arguments["members"]
        ]
        arguments = dict(members=members)
    made = cls(**arguments, **kwargs)
    if inputs is not None:
        made(*inputs, **options)
        # What starts at zero or one would hide mistakes, and zero weights
        # stop the gradient of those before them.
        generator = np.random.default_rng(0)
        for weight in made.weights:
            noise = 0.2 * generator.normal(size=weight.shape)
            if "variance" in weight.path:
                noise = np.abs(noise)
            weight.assign(weight + noise)
    return made


MADE = {}  # by the arguments of the table, which stay where they are


def shared(cls, arguments, inputs, options):
    """As `make`, once for all tests that leave it as it is."""
    key = cls, id(arguments)
    if key not in MADE:
        MADE[key] = make(cls, arguments, inputs, options)
    return MADE[key]


def arguments_of(cls):
    return {
        name: parameter.default
        for name, parameter in inspect.signature(cls).parameters.items()
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


def classes_of(module, base):
    return {
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__.startswith("keras_edram")
        and not value.__name__.startswith("_")
    }


def test_the_table_has_each_public_class_once():
    public = [
        *classes_of(layers, keras.layers.Layer),
        *classes_of(models, keras.Model),
        *classes_of(losses, keras.losses.Loss),
        *classes_of(metrics, keras.metrics.Metric),
    ]
    listed = [row[0] for row in TABLE]
    assert sorted(cls.__name__ for cls in public) == sorted(
        cls.__name__ for cls in listed
    )


@EVERYTHING
def test_the_table_has_no_default(cls, arguments, inputs, options):
    defaults = arguments_of(cls)
    assert set(defaults) <= set(arguments)
    for name in defaults:
        assert as_lists(arguments[name]) != defaults[name]
        if isinstance(defaults[name], (tuple, list)):
            assert as_lists(arguments[name]) != as_lists(defaults[name])


@EVERYTHING
def test_the_configuration_has_every_argument(cls, arguments, inputs, options):
    config = make(cls, arguments).get_config()
    for name in arguments:
        assert as_lists(config[name]) == as_lists(arguments[name])


@EVERYTHING
def test_an_attribute_is_called_like_its_argument(
    cls, arguments, inputs, options
):
    made = make(cls, arguments)
    for name in arguments_of(cls):
        assert as_lists(getattr(made, name)) == as_lists(arguments[name])


@EVERYTHING
def test_the_object_comes_back_from_its_configuration(
    cls, arguments, inputs, options
):
    made = make(cls, arguments, name="some_name")
    revived = cls.from_config(made.get_config())
    assert revived.name == "some_name"
    assert revived.get_config() == made.get_config()
    for name in arguments_of(cls):
        assert as_lists(getattr(revived, name)) == as_lists(arguments[name])


@EVERYTHING
def test_the_object_comes_back_from_json(cls, arguments, inputs, options):
    made = make(cls, arguments)
    text = json.dumps(keras.saving.serialize_keras_object(made))
    revived = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(revived) is cls
    assert as_lists(revived.get_config()) == as_lists(made.get_config())


@LAYERS
def test_a_saved_layer_gives_the_same(
    cls, arguments, inputs, options, tmp_path
):
    made = shared(cls, arguments, inputs, options)
    model = made
    if not isinstance(made, keras.Model):
        symbols = symbols_of(inputs)
        model = keras.Model(symbols, made(*symbols, **options))
    expected = made(*inputs, **options)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    if isinstance(made, keras.Model):
        assert_same(loaded(*inputs), expected)
    else:
        # A tuple comes back from JSON as a list.
        assert_same(tree.flatten(loaded(list(inputs))), tree.flatten(expected))


@LAYERS
def test_symbolic_eager_and_graph_calls_agree(cls, arguments, inputs, options):
    made = shared(cls, arguments, inputs, options)
    expected = made(*inputs, **options)
    symbols = tree.map_structure(
        lambda values: keras.Input(
            batch_shape=values.shape, dtype=values.dtype
        ),
        list(inputs),
    )
    outputs = made(*symbols, **options)
    tree.assert_same_structure(outputs, expected)
    for symbol, value in zip(
        tree.flatten(outputs), tree.flatten(expected), strict=True
    ):
        assert tuple(symbol.shape) == tuple(value.shape)
        assert symbol.dtype == value.dtype
    assert_same(keras.Model(symbols, outputs)(list(inputs)), expected)
    assert_same(tf.function(made)(*inputs, **options), expected)


@LAYERS
def test_the_size_of_the_batch_is_free(cls, arguments, inputs, options):
    made = shared(cls, arguments, inputs, options)
    call = tf.function(
        lambda *inputs: made(*inputs, **options),
        input_signature=tree.map_structure(
            lambda values: tf.TensorSpec((None, *values.shape[1:])),
            list(inputs),
        ),
    )
    assert_same(call(*inputs), made(*inputs, **options))
    one = tree.map_structure(lambda values: values[:1], inputs)
    assert_same(call(*one), made(*one, **options))


@FUNCTIONS
def test_a_loss_or_metric_gives_the_same_in_a_graph(
    cls, arguments, inputs, options
):
    eager, graph = make(cls, arguments), make(cls, arguments)
    expected = eager(*inputs)
    assert expected.shape == ()
    assert expected > 0
    assert_same(tf.function(lambda *args: graph(*args))(*inputs), expected)


@LAYERS
@pytest.mark.parametrize("training", [False, True])
def test_the_gradient_reaches_every_weight(
    cls, arguments, inputs, options, training
):
    # Training changes means and variances.
    made = (make if training else shared)(cls, arguments, inputs, options)
    if training and "training" in inspect.signature(made.call).parameters:
        options = {**options, "training": True}
    with tf.GradientTape() as tape:
        outputs = made(*inputs, **options)
        loss = sum(
            tf.reduce_sum(values * numbers(*values.shape))
            for values in tree.flatten(outputs)
        )
    weights = [
        weight
        for weight in made.trainable_variables
        # What the policy learns from is no part of the answer.
        if cls is not RAM or not any(name in weight.path for name in POLICY)
    ]
    assert_all_reached(tape.gradient(loss, weights), weights)


@pytest.mark.parametrize("initial_transform", ["identity", "context"])
@pytest.mark.parametrize("detach_transforms", [False, True])
def test_the_gradient_of_both_losses_reaches_every_weight_of_edram(
    detach_transforms, initial_transform
):
    images = numbers(B, 40, 30, 2, scale=255)
    model = make(
        EDRAM,
        {
            **EDRAM_SIZES,
            "detach_transforms": detach_transforms,
            "initial_transform": initial_transform,
        },
        (images,),
        {},
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
def test_mixed_precision_keeps_weights_in_float32(
    cls, arguments, inputs, options, policy
):
    made = make(cls, arguments, inputs, options, dtype=policy)
    assert {weight.dtype for weight in made.weights} <= {"float32"}
    dtype = (
        "float32" if cls in ALWAYS_FLOAT32 else policy.removeprefix("mixed_")
    )
    outputs = made(*inputs, **options)
    assert {value.dtype.name for value in tree.flatten(outputs)} == {dtype}
    symbols = symbols_of(inputs)
    outputs = made(*symbols, **options)
    assert {value.dtype for value in tree.flatten(outputs)} == {dtype}


@LAYERS
def test_mixed_precision_is_near_to_full_precision(
    cls, arguments, inputs, options
):
    full = shared(cls, arguments, inputs, options)
    mixed = make(cls, arguments, inputs, options, dtype="mixed_bfloat16")
    mixed.set_weights(full.get_weights())
    for value, other in zip(
        tree.flatten(mixed(*inputs, **options)),
        tree.flatten(full(*inputs, **options)),
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
    """The value with NumPy's integers in place of Python's."""
    if isinstance(value, int) and not isinstance(value, bool):
        return np.int64(value)
    return tuple(map(as_numpy, value)) if isinstance(value, tuple) else value


@EVERYTHING
def test_integers_of_numpy_are_taken(cls, arguments, inputs, options):
    changed = {name: as_numpy(value) for name, value in arguments.items()}
    made = make(cls, changed)
    expected = json.dumps(as_lists(make(cls, arguments, name="x").get_config()))
    found = make(cls, changed, name="x").get_config()
    assert json.dumps(found, default=serialized) == expected
    assert cls.from_config(made.get_config()).get_config() == made.get_config()


def serialized(value):
    """Only what is an object: an integer of NumPy is none."""
    assert not isinstance(value, np.generic)
    return keras.saving.serialize_keras_object(value)


@LAYERS
def test_a_truth_value_is_no_size(cls, arguments, inputs, options):
    sizes = [
        name
        for name, value in arguments.items()
        if isinstance(value, int) and not isinstance(value, bool)
    ]
    for name in sizes:
        with pytest.raises(ValueError, match=f"Received: {name}=True"):
            make(cls, {**arguments, name: True})


WRONG_IMAGES = {
    "one image": lambda images: images[0],
    "no channel axis": lambda images: images[..., 0],
    "more channels": lambda images: np.concatenate([images, images], axis=-1),
    "channels first": lambda images: np.moveaxis(images, -1, 1),
}


@MODELS
@pytest.mark.parametrize("change", WRONG_IMAGES.values(), ids=WRONG_IMAGES)
def test_other_images_are_refused_by_whoever_gets_them(
    cls, arguments, inputs, options, change
):
    model, images = make(cls, arguments), change(*inputs)
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
def test_a_frozen_layer_does_in_training_what_it_does_without(
    cls, arguments, inputs, options
):
    made = make(cls, arguments, inputs, options)
    if "training" not in inspect.signature(made.call).parameters:
        return
    expected = made(*inputs, **options)
    made.trainable = False
    before = [weight.numpy() for weight in made.weights]
    assert_same(made(*inputs, **options, training=True), expected)
    for old, weight in zip(before, made.weights, strict=True):
        np.testing.assert_array_equal(weight, old)


@MODELS
def test_a_call_in_training_returns_what_it_says(
    cls, arguments, inputs, options
):
    made = make(cls, arguments)
    expected = made.compute_output_spec(
        keras.KerasTensor(inputs[0].shape), training=True
    )
    outputs = made(*inputs, training=True)
    tree.assert_same_structure(outputs, expected)
    for name, value in outputs.items():
        assert value.shape == expected[name].shape
        assert value.dtype == expected[name].dtype


@MODELS
def test_no_image_has_no_answer(cls, arguments, inputs, options):
    model = make(cls, arguments)
    images = inputs[0][:0]
    like = model.glimpses(*inputs)
    for found in (model(images), model.predict(images), model.glimpses(images)):
        for name, value in found.items():
            assert value.shape == (0, *like[name].shape[1:])
    for name, value in model.decode(model(images)).items():
        assert value.shape == (0, *model.decode(like)[name].shape[1:])
    assert model.read(images) == []
    if model.looks_step_by_step:
        assert model.read(images, confidence=0.5) == []


@FUNCTIONS
def test_no_image_is_no_error(cls, arguments, inputs, options):
    none = [values[:0] for values in inputs]
    assert make(cls, arguments)(*none) == 0
    graph = make(cls, arguments)
    call = tf.function(
        lambda *args: graph(*args),
        input_signature=[
            tf.TensorSpec((None, *values.shape[1:]), values.dtype)
            for values in none
        ],
    )
    assert call(*none) == 0


@MODELS
@pytest.mark.parametrize("scale, notes", [(1 / 255, 1), (1, 0)])
def test_images_between_0_and_1_are_noted_once(
    cls, arguments, inputs, options, scale, notes
):
    model = make(cls, arguments)
    model.compile("sgd", {"labels": LabelLoss()}, run_eagerly=True)
    images = scale * inputs[0]
    labels = np.zeros((len(images), S), "int32")
    if cls in (RAM, Baseline):
        labels = labels[:, 0]
    asked = [model.predict, model.read, model.glimpses]
    if cls is not Ensemble:
        asked.append(lambda images: model.evaluate(images, labels, verbose=0))
        asked.append(lambda images: model.fit(images, labels, verbose=0))
    if model.looks_step_by_step:
        asked.append(lambda images: model.read(images, max_glimpses=1))
    for ask in asked:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ask(images)
        found = [str(one.message) for one in caught]
        assert sum("multiply them by 255" in note for note in found) == notes


@MODELS
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_no_numbers_are_refused(
    cls, arguments, inputs, options, value
):
    model = make(cls, arguments)
    images = inputs[0].copy()
    images[1, 2, 3, 0] = value
    for ask in (model.read, model.glimpses, model.predict):
        with pytest.raises(ValueError, match="finite numbers"):
            ask(images)


@MODELS
@pytest.mark.parametrize("dtype", ["float64", "float16"])
@pytest.mark.parametrize("everywhere", [False, True])
def test_every_precision_answers_in_float32(
    cls, arguments, inputs, options, dtype, everywhere
):
    policy = {} if everywhere else {"dtype": dtype}
    if everywhere:
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)
    try:
        model = make(cls, arguments, **policy)
        for training in (True, False):
            outputs = model(*inputs, training=training)
            dtypes = {value.dtype.name for value in outputs.values()}
            assert dtypes == {"float32"}
        assert len(model.read(*inputs)) == B
    finally:
        keras.config.set_floatx("float32")


def test_weights_of_few_digits_are_refused():
    with pytest.raises(ValueError, match="mixed_bfloat16"):
        Baseline(**BASELINE, dtype="bfloat16")


@LAYERS
def test_channels_come_last_whatever_keras_is_told(
    cls, arguments, inputs, options
):
    made = shared(cls, arguments, inputs, options)
    expected = made(*inputs, **options)
    keras.config.set_image_data_format("channels_first")
    try:
        again = make(cls, arguments, inputs, options)
        again.set_weights(made.get_weights())
        assert_same(again(*inputs, **options), expected)
    finally:
        keras.config.set_image_data_format("channels_last")


@LAYERS
def test_batches_of_two_sizes_are_refused(cls, arguments, inputs, options):
    made = shared(cls, arguments, inputs, options)
    for index in range(1, len(inputs)):
        for size in (1, 2):
            fewer = list(inputs)
            fewer[index] = tree.map_structure(
                lambda values, size=size: values[:size], inputs[index]
            )
            with pytest.raises(ValueError, match="The shapes must be"):
                made(*fewer, **options)


@FUNCTIONS
def test_targets_and_weights_of_another_batch_are_refused(
    cls, arguments, inputs, options
):
    made = make(cls, arguments)
    true, predicted = inputs
    for size in (1, 2):
        with pytest.raises(ValueError, match="Received: "):
            made(true[:size], predicted)
    for shape in ((1,), (B + 1,), (B, S), (B, 1, 1)):
        with pytest.raises(ValueError, match="sample_weight of shape"):
            made(true, predicted, sample_weight=np.ones(shape, "float32"))


@FUNCTIONS
def test_an_image_of_no_weight_does_not_count(cls, arguments, inputs, options):
    weights = np.array([0, 2, 1], "float32")
    expected = make(cls, arguments)(
        *(values[[1, 1, 2]] for values in inputs),
        sample_weight=np.ones(B),
    )
    for shape in ((B,), (B, 1)):
        found = make(cls, arguments)(
            *inputs, sample_weight=weights.reshape(shape)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@MODELS
def test_all_layers_are_built(cls, arguments, inputs, options):
    model = make(cls, arguments)
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
    cls, arguments, inputs, options, tmp_path
):
    model = make(cls, arguments, inputs, options)
    full = model(*inputs)
    model.quantize("int8")
    expected = model(*inputs)
    assert_same(expected, full, rtol=0.2, atol=0.3)
    assert np.any(expected["labels"] != full["labels"])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_same(loaded(*inputs), expected)
    clone = cls.from_config({**loaded.get_config(), "name": "other"})
    clone.set_weights(model.get_weights())
    assert_same(clone(*inputs), expected)
