"""RNN-SPN: its equations, what it looks at, and what teaches it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from keras_edram import geometry, visualization
from keras_edram.layers import SpatialTransformerAttention
from keras_edram.losses import LabelLoss, TransformLoss
from keras_edram.models import RNNSPN

B, S, K = 3, 2, 4
TINY = dict(
    image_shape=(43, 38, 2),
    num_classes=K,
    num_targets=S,
    glimpse_size=(19, 18),
    localization_filters=(3, 4, 5),
    classification_filters=(4, 3, 5),
    units=6,
    hidden_units=12,
)


def make_model(**changes):
    """A model whose weights are all something, and always the same."""
    keras.utils.set_random_seed(0)
    return tiny.shake(RNNSPN(**{**TINY, **changes}))


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture
def images():
    generator = np.random.default_rng(1)
    return generator.integers(0, 256, (B, *TINY["image_shape"]), "uint8")


def slow_convolution(maps, layer, step):
    """relu(bn(convolution)), one place of the kernel after the other."""
    kernel = np.array(layer.layer.kernel)
    height, width = (side - 2 for side in maps.shape[1:3])
    seen = sum(
        maps[:, i : i + height, j : j + width] @ kernel[i, j]
        for i, j in np.ndindex(3, 3)
    )
    return np.maximum(layer.normalization(seen, step=step), 0)


def slow_pooling(maps):
    """Without the last row or column of a side that is odd."""
    height, width = (side // 2 * 2 for side in maps.shape[1:3])
    rows = np.maximum(maps[:, 0:height:2], maps[:, 1:height:2])
    return np.maximum(rows[:, :, 0:width:2], rows[:, :, 1:width:2])


def slow_network(maps, convolutions, step):
    """Two convolutions that are pooled, and a third: vectors."""
    first, second, third = convolutions
    maps = slow_pooling(slow_convolution(maps, first, step))
    maps = slow_pooling(slow_convolution(maps, second, step))
    return slow_convolution(maps, third, step).reshape(len(maps), -1)


def slow_gru(cell, inputs, hidden):
    of_inputs, of_hidden = np.array(cell.bias)
    of_inputs = of_inputs + inputs @ np.array(cell.kernel)
    of_hidden = of_hidden + hidden @ np.array(cell.recurrent_kernel)
    (z_x, r_x, h_x), (z_h, r_h, h_h) = (
        np.split(values, 3, axis=-1) for values in (of_inputs, of_hidden)
    )
    z, r = (1 / (1 + np.exp(-gate)) for gate in (z_x + z_h, r_x + r_h))
    return z * hidden + (1 - z) * np.tanh(h_x + r * h_h)


def test_the_paper_s_sizes_have_these_parameters():
    model = RNNSPN()
    # Kernels, and of each filter four numbers of its normalisation; or eight:
    # a slope and an offset, and mean and variance of each of 3 targets.
    localization = 9 * 20 + 2 * 9 * 20 * 20 + 4 * 3 * 20
    # Three gates of 9 x 9 x 20 features, 256 states and two offsets.
    recurrent = 3 * 256 * (9 * 9 * 20 + 256 + 2) + 257 * 6
    classifier = 9 * 32 + 2 * 9 * 32 * 32 + 8 * 3 * 32
    # Of 33 pixels 4 places: ((33 - 2) // 2 - 2) // 2 - 2.
    answer = 4 * 4 * 32 * 400 + 8 * 400 + 401 * 10
    expected = localization + recurrent + classifier + answer
    assert model.count_params() == expected == 1_682_964


@pytest.mark.parametrize("antialias", [False, True])
def test_glimpses_are_those_of_the_paper_s_equations(images, antialias):
    model = make_model(antialias=antialias)
    looks = model.glimpses(images)
    pixels = images / np.float32(255)
    features = slow_network(
        slow_pooling(pixels), model.localization_convolutions, 0
    )
    read = SpatialTransformerAttention(
        TINY["glimpse_size"], antialias=antialias
    )
    hidden = np.zeros((B, TINY["units"]), "float32")
    for s in range(S):
        hidden = slow_gru(model.gru, features, hidden)
        windows = hidden @ np.array(model.emission.kernel)
        windows = (windows + np.array(model.emission.bias)).reshape(-1, 2, 3)
        np.testing.assert_allclose(
            looks["transforms"][:, s, 0], windows, rtol=1e-4, atol=1e-5
        )
        patches = np.array(read(pixels, windows))
        np.testing.assert_allclose(
            looks["patches"][:, s, 0], patches, rtol=1e-3, atol=1e-4
        )
        vectors = slow_network(patches, model.classification_convolutions, s)
        vectors = vectors @ np.array(model.hidden.layer.kernel)
        vectors = np.maximum(model.hidden.normalization(vectors, step=s), 0)
        logits = vectors @ np.array(model.answer.kernel) + model.answer.bias
        np.testing.assert_allclose(
            looks["labels"][:, s, 0], logits, rtol=1e-3, atol=1e-4
        )
    assert np.abs(np.diff(looks["transforms"], axis=1)).max() > 1e-2


def test_a_new_model_looks_at_the_whole_image():
    model = RNNSPN(**TINY)
    images = np.random.default_rng(0).random((B, *TINY["image_shape"])) * 255
    windows = model(images)["transforms"]
    np.testing.assert_array_equal(
        windows, np.tile(geometry.IDENTITY, (B, S, 1, 1, 1))
    )


def test_the_next_windows_are_those_that_are_read_next(model, images):
    pyramid, state = model.start(images)
    for _ in range(S):
        expected = model.next_windows(pyramid, state)
        glimpse, state = model.step(pyramid, state)
        np.testing.assert_array_equal(glimpse.transforms, expected)


def test_it_looks_at_nearly_the_same_in_every_precision(images):
    full, mixed = make_model(), make_model(dtype="mixed_bfloat16")
    np.testing.assert_allclose(
        full(images)["transforms"], mixed(images)["transforms"], atol=1e-5
    )
    hidden = mixed.hidden(np.ones((B, 5), "float32"), step=0)
    assert hidden.dtype == "bfloat16"


@pytest.mark.parametrize("with_windows", [False, True])
def test_labels_alone_teach_where_to_look_or_windows_besides(
    model, images, with_windows
):
    labels = np.array([[0, 1], [3, -1], [2, 2]], "int32")
    truth = np.tile(geometry.IDENTITY * 0.4, (B, S, 1, 1)).astype("float32")
    with tf.GradientTape() as tape:
        outputs = model(images, training=True)
        if with_windows:
            loss = TransformLoss()(truth, outputs["transforms"])
        else:
            loss = LabelLoss()(labels, outputs["labels"])
    weights = [
        model.emission.kernel,
        model.gru.kernel,
        model.localization_convolutions[0].layer.kernel,
    ]
    for gradient in tape.gradient(loss, weights):
        assert np.abs(gradient).max() > 1e-6


def test_sequences_that_end_are_read_in_their_order(images):
    model = make_model(terminal=True, reading_order="backward", num_targets=3)
    assert model.label_names == ("0", "1", "2")
    assert model(images)["labels"].shape == (B, 3, 1, K)
    assert len(model.read(images)) == B
    model.compile("sgd", {"labels": LabelLoss(), "transforms": TransformLoss()})
    truth = {
        "labels": np.array([[0, 3, -1], [1, 2, 3], [3, -1, -1]], "int32"),
        "transforms": np.full((B, 3, 2, 3), 0.1, "float32"),
    }
    history = model.fit(images, truth, verbose=0).history
    assert np.isfinite(history["loss"][0])


def test_it_is_read_with_a_budget_and_drawn(images, tmp_path):
    model, images = make_model(image_shape=(43, 38, 1)), images[..., :1]
    (answer, *_) = model.read(images, max_glimpses=1)
    assert answer["num_glimpses"] == 1
    visualization.plot_glimpses(model, images[:1], tmp_path / "1.png")
    assert (tmp_path / "1.png").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.usefixtures("compares_here")
def test_exports_answer_as_the_model_does(tmp_path, images):
    model, images = make_model(image_shape=(43, 38, 1)), images[..., :1]
    tiny.assert_exports_answer(model, images, tmp_path)


@pytest.mark.slow
def test_64_pictures_are_learnt():
    """Of two of 5 bright 7x7 patterns, one in each half of the image."""
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(5)
    labels = generator.integers(0, 5, (64, 2))
    patterns = generator.integers(0, 2, (5, 7, 7)) * 255
    images = np.zeros((64, 36, 44, 1), "uint8")
    for image, targets in zip(images, labels, strict=True):
        for target, label in enumerate(targets):
            row, column = generator.integers(0, (29, 15))
            column += 22 * target
            image[row : row + 7, column : column + 7, 0] = patterns[label]
    model = RNNSPN(
        (36, 44, 1),
        5,
        num_targets=2,
        glimpse_size=18,
        localization_filters=(8, 8, 8),
        classification_filters=(8, 8, 8),
        units=32,
        hidden_units=32,
    )
    model.compile(
        keras.optimizers.Adam(1e-2, clipnorm=1.0),
        LabelLoss(),
        metrics=["accuracy"],
    )
    reached = tiny.learn_by_heart(
        model, images, labels, epochs=60, accuracy=0.96
    )
    assert reached > 0.95


@pytest.mark.parametrize(
    "changes",
    [
        dict(image_shape=(35, 38, 1)),
        dict(image_shape=(43, 35, 1)),
        dict(image_shape=(None, None, 1)),
        dict(num_targets=0),
        dict(reading_order="upward"),
        dict(glimpse_size=17),
        dict(glimpse_size=(18, 17)),
        dict(localization_filters=(3, 4)),
        dict(classification_filters=(3, 4, 5, 6)),
        dict(units=0),
        dict(hidden_units=0),
        dict(antialias="no"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused(changes):
    with pytest.raises(ValueError, match="Received"):
        RNNSPN(**{**TINY, **changes})


def test_another_glimpse_at_a_target_is_refused():
    """It would be that of the next target."""
    model = RNNSPN(**TINY)
    images = np.zeros((1, *TINY["image_shape"]))
    with pytest.raises(ValueError, match="one glimpse a target. Received"):
        model.glimpses(images, 2)
