"""EDRAM: its parts, what may depend on what, and that it learns."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny
from tiny import shake

from keras_edram import EDRAM, geometry
from keras_edram.datasets import ClutteredMNIST, load_digits
from keras_edram.losses import LabelLoss, TransformLoss
from keras_edram.metrics import AverageError, GlimpseError, WindowIoU
from keras_edram.models import blocks
from keras_edram.recipes import _edram

B = 3
TINY = dict(
    image_shape=(40, 30, 2),
    num_classes=4,
    glimpses_per_target=2,
    glimpse_size=(16, 14),
    context_size=10,
    context_filters=(3, 5, 4),
    glimpse_filters=(3, 4, 5, 6, 7, 8),
    units=16,
    hidden_units=12,
)


def make_model(**changes):
    return EDRAM(**{**TINY, **changes})


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 256, (B, 40, 30, 2), "uint8")


@pytest.fixture(scope="module")
def model():
    """For all tests that leave it as it is."""
    keras.utils.set_random_seed(0)
    return shake(make_model())


# Size


def test_the_default_has_the_parameters_of_the_paper():
    # Section 4.1: the sizes; Table 3: 11 million for the larger digits of
    # SVHN. Each product is inputs times outputs of a layer.
    glimpse_convolutions = 9 * (
        1 * 64 + 64 * 64 + 64 * 128 + 128 * 128 + 128 * 160 + 160 * 192
    )
    what = 4 * 4 * 192 * 1024  # 26 -> 26 -> 24 -> 12 -> 12 -> 6 -> 6 -> 4
    where = 6 * 1024
    what_lstm = 4 * 512 * (1024 + 512 + 1)
    where_lstm = 4 * 512 * (512 + 512 + 1)
    classification = 512 * 1024 + 1024 * 1024 + 1024 * 10 + 10
    emission = 512 * 6 + 6
    context_convolutions = 25 * 1 * 16 + 9 * 16 * 16 + 9 * 16 * 32
    # γ, β, and mean and variance of each of 6 glimpses for the channels of
    # six convolutions and four fully connected layers; four for the context.
    channels = 64 + 64 + 128 + 128 + 160 + 192 + 4 * 1024
    normalizations = (2 + 2 * 6) * channels + 4 * (16 + 16 + 32)
    expected = (
        glimpse_convolutions
        + what
        + where
        + what_lstm
        + where_lstm
        + classification
        + emission
        + context_convolutions
        + normalizations
    )
    model = EDRAM()
    assert model.count_params() == expected == 10_779_680
    assert 10.5e6 < model.count_params() < 10.9e6


def test_glimpses_of_34_pixels_have_the_parameters_of_the_paper():
    # Table 3: 11 million on SVHN. The fifth convolution leaves 6x6 of 8x8, so
    # that 4x4 are left, as of the 26x26 of cluttered MNIST.
    sizes = dict(
        image_shape=(54, 54, 1),
        num_classes=11,
        terminal=True,
        num_targets=6,
        glimpses_per_target=3,
        glimpse_size=34,
    )
    wide = EDRAM(**sizes)
    narrow = EDRAM(**sizes, valid_convolutions=(1, 4, 5))
    assert abs(narrow.count_params() / 11e6 - 1) < 0.05
    # 6x6 instead of 4x4, each with 192 maps for 1024 units.
    fewer = (36 - 16) * 192 * 1024
    assert wide.count_params() - narrow.count_params() == fewer


def test_the_small_sizes_have_fewer_than_three_quarters_of_a_million():
    # The sum above with a quarter of the widths, see the recipe.
    assert EDRAM(**_edram.SMALL_SIZES).count_params() == 691_076 < 750_000


# Shapes


@pytest.mark.parametrize("num_targets", [1, 2, 3])
def test_the_output_is_ordered_by_target_then_glimpse(images, num_targets):
    model = make_model(num_targets=num_targets, glimpses_per_target=2)
    outputs = model(images)
    assert set(outputs) == {"labels", "transforms"}
    assert outputs["labels"].shape == (B, num_targets, 2, 4)
    assert outputs["transforms"].shape == (B, num_targets, 2, 2, 3)
    assert model.num_glimpses == 2 * num_targets


def test_the_targets_are_one_sequence_of_glimpses(images):
    """Target 2 goes on where target 1 has ended."""
    model = shake(make_model(num_targets=2))
    outputs = model(images)
    pyramid, state = model.start(images)
    for target in range(2):
        for glimpse in range(2):
            np.testing.assert_array_equal(
                outputs["transforms"][:, target, glimpse], state.transforms
            )
            step, state = model.step(pyramid, state)
            np.testing.assert_allclose(
                outputs["labels"][:, target, glimpse], step.logits, rtol=1e-5
            )
    assert int(state.step) == 4


def test_bytes_and_floats_are_read_alike(model, images):
    for name, expected in model(images).items():
        found = model(images.astype("float32"))[name]
        np.testing.assert_array_equal(found, expected)


def test_images_of_any_size_are_read(images):
    """The cost does not depend on the image, nor do the weights."""
    model = shake(
        make_model(initial_transform="context", glimpses_per_target=3)
    )
    larger = np.kron(images, np.ones((1, 2, 2, 1), "uint8"))
    for name, expected in model(images).items():
        # Twice the image, each pixel four times, is nearly the same sight.
        np.testing.assert_allclose(
            model(larger)[name], expected, rtol=0.3, atol=0.3
        )


# The first window


def test_the_first_window_is_the_whole_image(model, images):
    transforms = model(images)["transforms"]
    first = np.tile(geometry.IDENTITY, (B, 1, 1))
    np.testing.assert_array_equal(transforms[:, 0, 0], first)


def context_of(model, images):
    """The context network's output for an image that is read at 12x12."""
    whole = np.stack([geometry.IDENTITY] * len(images))
    small = model.downsampling(images, whole) / 255
    return model.flatten(model.context_layers(small))


def test_the_context_chooses_the_first_window(images):
    model = shake(make_model(initial_transform="context"))
    first = model(images)["transforms"][:, 0, 0]
    whole = np.stack([geometry.IDENTITY] * B)
    expected = model.emission_network(context_of(model, images), whole)
    np.testing.assert_allclose(first, expected, rtol=1e-5, atol=1e-6)
    # Another image has another window.
    assert not np.allclose(first[0], first[1], rtol=1e-3)


def test_the_second_window_is_three_quarters_before_training(images):
    # The emission starts with a sigmoid(1) = 0.731 for both zooms.
    second = make_model()(images)["transforms"][:, 0, 1]
    expected = np.tile([[0.731059, 0, 0], [0, 0.731059, 0]], (B, 1, 1))
    np.testing.assert_allclose(second, expected, rtol=1e-5)


def test_the_emission_is_bounded_in_the_order_of_equation_1():
    model = make_model()
    model.emission.kernel.assign(np.zeros((16, 6)))
    bias = np.array([-2, -1, 0.5, 1, 2, 3])
    model.emission.bias.assign(bias)
    sigmoid, tanh = 1 / (1 + np.exp(-bias)), np.tanh(bias)
    expected = [
        [sigmoid[0], tanh[1], tanh[2]],
        [tanh[3], sigmoid[4], tanh[5]],
    ]
    transforms = model.emission_network(
        np.ones((1, 16), "float32"), geometry.IDENTITY[None]
    )
    np.testing.assert_allclose(transforms[0], expected, rtol=1e-5)


def test_a_relative_emission_changes_the_last_window():
    model = make_model(relative_emission=True)
    window = np.array([[[0.2, 0.1, -0.4], [0.0, 0.3, 0.5]]], "float32")
    features = np.ones((1, 16), "float32")
    # Before training it stays.
    np.testing.assert_allclose(
        model.emission_network(features, window), window, rtol=1e-6
    )
    model.emission.kernel.assign(np.zeros((16, 6)))
    x, zoom_x, y, zoom_y = 1.5, -0.5, -0.7, 0.2
    model.emission.bias.assign([zoom_x, 0, x, 0, zoom_y, y])
    # The zooms are e to the numbers, bounded by e³; halves of it by 16.
    zooms = [np.exp(3 * np.tanh(zoom / 3)) for zoom in (zoom_x, zoom_y)]
    moved = [16 * np.tanh(halves / 16) for halves in (x, y)]
    linear, middle = window[0, :, :2], window[0, :, 2]
    expected = np.concatenate(
        [linear * zooms, (middle + linear @ moved)[:, None]], axis=1
    )
    np.testing.assert_allclose(
        model.emission_network(features, window)[0], expected, rtol=1e-5
    )


def test_a_relative_emission_stays_in_the_image_and_can_come_back():
    model = make_model(relative_emission=True)
    model.emission.bias.assign([2, 0, 3, 0, -3, -3])
    features = tf.ones((1, 16))
    window = tf.constant([[[0.9, 0, 0.5], [0, 2.0**-9, -0.999]]])
    with tf.GradientTape() as tape:
        moved = model.emission_network(features, window)
        x = moved[0, 0, 2]
    np.testing.assert_allclose(
        moved[0], [[1, 0, 1], [0, 2.0**-10, -1]], atol=0.01
    )
    assert tape.gradient(x, model.emission.bias)[2] > 0.5


def test_a_relative_emission_starts_at_the_place_that_is_found():
    """Wherever it is: a search finds a spot of light."""
    model = make_model(
        image_shape=(None, None, 1),
        initial_transform="context",
        relative_emission=True,
        context_layout="strided_search",
        context_size=32,
        context_filters=(2, 2),
    )
    for convolution in model.context_convolutions:
        kernel = np.ones(convolution.layer.kernel.shape)
        convolution.layer.kernel.assign(kernel / 9)
    scores = np.zeros(model.search.scores.kernel.shape)
    scores[:, 0] = 100
    model.search.scores.kernel.assign(scores)
    for height, width, x, y in ((48, 64, 0.5, -0.5), (160, 96, -0.25, 0.75)):
        images = np.zeros((1, height, width, 1), "uint8")
        row, column = (y + 1) / 2 * height, (x + 1) / 2 * width
        size = height // 12
        images[
            0,
            int(row) - size : int(row) + size,
            int(column) - size : int(column) + size,
        ] = 255
        first = model(images)["transforms"][0, 0, 0]
        # By half a pixel of the context, of 32, to the upper left.
        x, y = x - 1 / 32, y - 1 / 32
        np.testing.assert_allclose(
            first, [[0.25, 0, x], [0, 0.25, y]], atol=1 / 32
        )


def test_xla_compiles_a_model_of_any_size():
    """Keras does so by itself on a GPU; the second size makes one graph."""
    model = tiny.reader_of_any_size(glimpses_per_target=1)
    model.compile(jit_compile=True)
    generator = np.random.default_rng(0)
    for size in ((40, 50), (33, 64), (48, 48)):
        images = generator.uniform(0, 255, (2, *size, 1)).astype("float32")
        np.testing.assert_allclose(
            model.predict(images, verbose=0)["labels"],
            model(images, training=False)["labels"],
            atol=1e-4,
        )


@pytest.mark.parametrize(
    "layout, halvings, side",
    [
        # Of 32 pixels, halved after each of two convolutions, or fewer.
        ("search", None, 8),
        ("search", 1, 16),
        ("search", 0, 32),
        ("strided_search", None, 16),
        ("strided_search", 2, 8),
        ("strided_search", 0, 32),
    ],
)
def test_a_search_has_as_many_places_as_its_halvings_leave(
    layout, halvings, side
):
    model = make_model(
        context_layout=layout,
        context_size=32,
        context_filters=(2, 3),
        context_halvings=halvings,
    )
    maps, _ = blocks.call_stack(
        model._context_stack(), np.ones((1, 32, 32, 2)), step=0
    )
    assert maps.shape == (1, side, side, 3)
    again = EDRAM.from_config(model.get_config())
    assert again.context_halvings == model.context_halvings


# What depends on what


def random_state(model, images):
    """A state with another value everywhere."""
    pyramid, state = model.start(images)
    generator = np.random.default_rng(2)
    window = [[0.6, 0.1, 0.2], [-0.1, 0.5, -0.3]]
    names = ("what_hidden", "what_cell", "where_hidden", "where_cell")
    return pyramid, state._replace(
        transforms=tf.constant([window] * B, "float32"),
        **{
            name: tf.constant(generator.normal(size=(B, 16)), "float32")
            for name in names
        },
    )


def glimpse_of(model, patches, transforms, step):
    """g_t of the docstring."""
    return model.glimpse_features(patches, transforms, step)["glimpse"]


def slow_lstm(cell, inputs, hidden, carry):
    """Gates in Keras' order: input, forget, cell, output."""
    kernel, recurrent, bias = cell.get_weights()
    i, f, c, o = np.split(inputs @ kernel + hidden @ recurrent + bias, 4, -1)
    i, f, o = (0.5 + 0.5 * np.tanh(gate / 2) for gate in (i, f, o))  # sigmoid
    carry = f * carry + i * np.tanh(c)
    return o * np.tanh(carry), carry


def test_a_step_is_the_equations_of_the_docstring(model, images):
    pyramid, state = random_state(model, images)
    glimpse, after = model.step(pyramid, state)
    logits, patches = glimpse.logits, glimpse.patches

    np.testing.assert_array_equal(glimpse.transforms, state.transforms)
    np.testing.assert_allclose(
        patches, model.attention(images, state.transforms) / 255, atol=1e-6
    )
    g = glimpse_of(model, patches, state.transforms, state.step).numpy()
    what, what_cell = slow_lstm(
        model.what_lstm, g, state.what_hidden.numpy(), state.what_cell.numpy()
    )
    where, where_cell = slow_lstm(
        model.where_lstm,
        what,
        state.where_hidden.numpy(),
        state.where_cell.numpy(),
    )
    close = dict(rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(after.what_hidden, what, **close)
    np.testing.assert_allclose(after.what_cell, what_cell, **close)
    np.testing.assert_allclose(after.where_hidden, where, **close)
    np.testing.assert_allclose(after.where_cell, where_cell, **close)
    expected = model.classification_network(after.what_hidden, state.step)
    np.testing.assert_allclose(logits, expected, **close)
    expected = model.emission_network(after.where_hidden, state.transforms)
    np.testing.assert_allclose(after.transforms, expected, **close)
    assert int(after.step) == int(state.step) + 1


def test_the_context_is_the_first_state_of_lstm_2_alone(model, images):
    _, state = model.start(images)
    context = context_of(model, images)
    assert np.any(context)
    np.testing.assert_allclose(state.where_hidden, context, atol=1e-5)
    for values in (state.what_hidden, state.what_cell, state.where_cell):
        np.testing.assert_array_equal(values, np.zeros((B, 16)))
    assert int(state.step) == 0


def test_images_can_be_at_different_steps(model, images):
    """What a server needs to answer several clients at once."""
    pyramid, first = model.start(images)
    _, second = model.step(pyramid, first)
    expected = [model.step(pyramid, state) for state in (first, second)]
    turn = np.array([0, 1, 0])
    mixed = type(first)(
        *(
            np.stack([pair[i][b] for b, i in enumerate(turn)])
            for pair in zip(
                first._replace(step=np.zeros(B, "int32")),
                second._replace(step=np.ones(B, "int32")),
                strict=True,
            )
        )
    )
    glimpse, after = model.step(pyramid, mixed)
    np.testing.assert_array_equal(after.step, [1, 2, 1])
    for image, step in enumerate(turn):
        glimpse_alone, after_alone = expected[step]
        np.testing.assert_allclose(
            glimpse.logits[image], glimpse_alone.logits[image], rtol=1e-5
        )
        np.testing.assert_allclose(
            after.transforms[image], after_alone.transforms[image], rtol=1e-5
        )


@pytest.mark.parametrize("changed", ["where_hidden", "where_cell"])
def test_lstm_1_does_not_see_the_state_of_lstm_2(model, images, changed):
    """Section 3.1: r^(1) is independent of r^(2)."""
    pyramid, state = random_state(model, images)
    other = state._replace(**{changed: getattr(state, changed) + 1})
    glimpse, after = model.step(pyramid, state)
    other_glimpse, other_after = model.step(pyramid, other)
    np.testing.assert_array_equal(other_glimpse.logits, glimpse.logits)
    np.testing.assert_array_equal(other_glimpse.patches, glimpse.patches)
    for name in ("what_hidden", "what_cell"):
        np.testing.assert_array_equal(
            getattr(other_after, name), getattr(after, name)
        )
    for name in ("where_hidden", "where_cell", "transforms"):
        assert differ(getattr(other_after, name), getattr(after, name))


@pytest.mark.parametrize("changed", ["what_hidden", "what_cell"])
def test_everything_sees_the_state_of_lstm_1(model, images, changed):
    pyramid, state = random_state(model, images)
    other = state._replace(**{changed: getattr(state, changed) + 1})
    glimpse, after = model.step(pyramid, state)
    other_glimpse, other_after = model.step(pyramid, other)
    np.testing.assert_array_equal(other_glimpse.patches, glimpse.patches)
    assert differ(other_glimpse.logits, glimpse.logits)
    for name in after._fields[1:]:
        assert differ(getattr(other_after, name), getattr(after, name))


def differ(values, others):
    """In each image of the batch."""
    difference = np.abs(np.asarray(values) - np.asarray(others))
    return (difference.reshape(B, -1).max(axis=-1) > 1e-4).all()


def test_what_is_seen_is_multiplied_by_where_it_was_seen(images):
    model = shake(make_model())
    pyramid, state = random_state(model, images)
    patches = model.attention.read(pyramid, state.transforms)
    both = glimpse_of(model, patches, state.transforms, 0)
    assert differ(both, glimpse_of(model, patches * 0, state.transforms, 0))
    assert differ(both, glimpse_of(model, patches, state.transforms * 2, 0))
    model.where.normalization.gamma.assign(np.zeros(12))
    model.where.normalization.beta.assign(np.zeros(12))
    none = glimpse_of(model, patches, state.transforms, 0)
    np.testing.assert_array_equal(none, np.zeros((B, 12)))


def label_gradient_of_emission(images, **changes):
    model = shake(make_model(**changes))
    with tf.GradientTape() as tape:
        outputs = model(images, training=True)
        loss = LabelLoss()(np.zeros((B, 1), "int32"), outputs["labels"])
    gradients = tape.gradient(loss, model.emission.trainable_variables)
    return [0.0 if one is None else np.abs(one).max() for one in gradients]


@pytest.mark.parametrize("initial_transform", ["identity", "context"])
def test_detached_windows_are_not_taught_by_labels(images, initial_transform):
    changes = dict(initial_transform=initial_transform)
    detached = label_gradient_of_emission(
        images, detach_transforms=True, **changes
    )
    assert detached == [0, 0]
    attached = label_gradient_of_emission(
        images, detach_transforms=False, **changes
    )
    assert min(attached) > 0


def test_detached_windows_do_not_change_what_is_computed(images):
    detached = shake(make_model(detach_transforms=True))
    attached = make_model(detach_transforms=False)
    attached.set_weights(detached.get_weights())
    for name, expected in detached(images).items():
        np.testing.assert_array_equal(attached(images)[name], expected)


def test_each_glimpse_has_statistics_of_its_own(images):
    model = shake(make_model())
    before = model.what.normalization.moving_mean.numpy()
    model(images, training=True)
    after = model.what.normalization.moving_mean.numpy()
    assert (np.abs(after - before).max(axis=1) > 0).all()
    assert len(np.unique(after, axis=0)) == 2


# Looking into it


@pytest.mark.parametrize("num_targets", [1, 2])
def test_glimpses_are_those_of_a_call(images, num_targets):
    model = shake(make_model(num_targets=num_targets))
    glimpses = model.glimpses(images)
    for name, expected in model(images).items():
        assert isinstance(glimpses[name], np.ndarray)
        np.testing.assert_array_equal(glimpses[name], expected)
    patches = glimpses["patches"]
    assert patches.shape == (B, num_targets, 2, 16, 14, 2)
    assert 0 <= patches.min() < patches.max() <= 1
    pixels = images.astype("float32") / 255
    for target, glimpse in np.ndindex(num_targets, 2):
        window = glimpses["transforms"][:, target, glimpse]
        np.testing.assert_allclose(
            patches[:, target, glimpse],
            model.attention(pixels, window),
            atol=1e-6,
        )


def test_looking_more_or_less_often_than_in_training(model, images):
    expected = model.glimpses(images)
    for glimpses_per_target in (1, 4):
        found = model.glimpses(images, glimpses_per_target)
        known = min(2, glimpses_per_target)
        for name in ("labels", "transforms", "patches"):
            assert found[name].shape[:3] == (B, 1, glimpses_per_target)
            np.testing.assert_allclose(
                found[name][:, :, :known],
                expected[name][:, :, :known],
                rtol=1e-4,
                atol=1e-5,
            )
            assert np.isfinite(found[name]).all()


# Choices reach the layers


def test_antialias_reaches_the_read():
    # A fine chequered image, 4 pixels to one of the glimpse: its mean is 0.5.
    board = np.indices((64, 56)).sum(axis=0)[None, ..., None] % 2 * 255.0
    board = np.repeat(board, 2, axis=-1)
    contrast = {
        antialias: make_model(antialias=antialias)
        .glimpses(board, 1)["patches"][0, 0, 0, 1:-1, 1:-1]
        .std()
        for antialias in (False, True)
    }
    assert contrast[True] < 1e-6
    # Points of the paper's read lie on the corners of four pixels.
    odd = make_model(antialias=False, glimpse_size=(15, 17))
    assert odd.glimpses(board, 1)["patches"].std() > 0.1
    even = make_model(antialias=True, glimpse_size=(15, 17))
    patches = even.glimpses(board, 1)["patches"][0, 0, 0, 1:-1, 1:-1]
    assert patches.std() < 0.05


def kernels(model, *parts):
    """All values of the kernels of layers, not their biases."""
    layers = [layer for part in parts for layer in keras.tree.flatten(part)]
    return [
        weight.numpy()
        for layer in layers
        for weight in layer.weights
        if "kernel" in weight.path
    ]


def test_the_paper_initialisation_reaches_the_layers():
    # Section 4.1: uniform in [-0.01, 0.01] for recurrent and convolutional
    # units, whose deviation is 0.01 / √3; Gaussian of variance 0.001 else.
    model = EDRAM(**_edram.SMALL_SIZES, initialization="paper")
    uniform = kernels(
        model,
        model.context_layers,
        model.glimpse_convolutions,
        model.what_lstm,
        model.where_lstm,
    )
    assert len(uniform) == 3 + 6 + 2 * 2
    for values in uniform:
        assert np.abs(values).max() <= 0.01
        np.testing.assert_allclose(values.std(), 0.01 / 3**0.5, rtol=0.2)
    gaussian = kernels(
        model,
        model.what,
        model.where,
        model.classification_layers,
        model.classification_output,
    )
    assert len(gaussian) == 2 + 2 + 1
    for values in gaussian:
        np.testing.assert_allclose(values.std(), 0.001**0.5, rtol=0.1)
        assert np.abs(values).max() > 2.5 * 0.001**0.5  # not cut off


def test_the_he_initialisation_reaches_the_layers():
    # He et al., 2015: variance 2 / fan_in.
    model = EDRAM(**_edram.SMALL_SIZES)
    for values in kernels(
        model,
        model.context_layers,
        model.glimpse_convolutions,
        model.what,
        model.where,
        model.classification_layers,
    ):
        fan_in = values.size / values.shape[-1]
        np.testing.assert_allclose(values.std(), (2 / fan_in) ** 0.5, rtol=0.2)


def test_the_same_seed_gives_the_same_model():
    def weights(seed):
        keras.utils.set_random_seed(seed)
        return make_model().get_weights()

    for ours, theirs in zip(weights(3), weights(3), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert any(
        not np.array_equal(ours, theirs)
        for ours, theirs in zip(weights(3), weights(4), strict=True)
    )


@pytest.mark.parametrize(
    "changes",
    [
        dict(num_classes=0),
        dict(num_targets=0),
        dict(num_targets=1.5),
        dict(glimpses_per_target=-1),
        dict(units=0),
        dict(hidden_units=None),
        dict(image_shape=(40, 30)),
        dict(image_shape=(40, 30, 0)),
        dict(image_shape=(None, 30, 1)),
        dict(image_shape=(None, None, None)),
        dict(image_shape=(None, None, 0)),
        dict(image_shape=40),
        dict(context_filters=(3, 4)),
        dict(context_filters=4),
        dict(context_layout="search", context_filters=()),
        dict(context_layout="strided_search", context_filters=()),
        dict(context_halvings=2),  # the paper's has none
        *(
            dict(context_layout=layout, context_halvings=halvings)
            for layout in ("search", "strided_search")
            for halvings in (-1, 4, 1.5)
        ),
        dict(glimpse_filters=(3, 4, 5)),
        dict(glimpse_size=13),
        dict(glimpse_size=16, valid_convolutions=(1, 4, 5)),
        dict(valid_convolutions=(6,)),
        dict(valid_convolutions=(-1,)),
        dict(valid_convolutions=1),
        dict(glimpse_size=(14, 13)),
        dict(glimpse_size=0),
        dict(glimpse_size=20.5),
        dict(units=17),
        dict(context_size=12),
        # (6 - 8)² = 4, but two 3x3 convolutions do not fit into 2x2.
        dict(context_size=6),
        dict(context_size=9.0, context_filters=(3, 4, 16)),
        dict(initial_transform="centre"),
        dict(initialization="glorot"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused(changes):
    with pytest.raises(ValueError, match="Received: "):
        make_model(**changes)


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="Received: preset='none such'"):
        EDRAM.from_preset("none such")


# Learning


@pytest.mark.slow
def test_two_cluttered_digits_are_learnt():
    data = ClutteredMNIST(
        load_digits("bundled", "train"),
        image_size=(40, 64),
        num_digits=2,
        num_distractors=2,
        seed=1,
    )
    images, targets = data.arrays(32)
    model = EDRAM(
        image_shape=(40, 64, 1),
        num_targets=2,
        glimpses_per_target=1,
        glimpse_size=14,
        context_size=10,
        context_filters=(4, 4, 8),
        glimpse_filters=(8, 8, 8, 8, 16, 16),
        units=32,
        hidden_units=32,
    )
    model.compile(
        keras.optimizers.Adam(0.01),
        loss={"labels": LabelLoss(), "transforms": TransformLoss()},
        loss_weights={"labels": 1.0, "transforms": 1.0},
        metrics={
            "labels": [AverageError(), GlimpseError()],
            "transforms": [WindowIoU()],
        },
    )
    history = model.fit(images, targets, epochs=15, verbose=0).history
    # Two digits of ten classes that are guessed: 2 log 10 = 4.6.
    assert history["labels_loss"][0] > 3.5
    assert history["labels_loss"][-1] < 0.8 * history["labels_loss"][0]
    assert history["transforms_loss"][-1] < history["transforms_loss"][0]
    assert history["labels_error"][-1] < history["labels_error"][0]
    for name in ("labels_error", "labels_glimpse_error", "transforms_iou"):
        assert 0 <= min(history[name]) <= max(history[name]) <= 1
