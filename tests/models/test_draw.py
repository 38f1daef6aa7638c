"""DRAW: its equations, what it looks at, and that it learns where to look."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from keras_edram import visualization
from keras_edram.layers import GaussianAttention
from keras_edram.losses import LabelLoss
from keras_edram.models import DRAW

B, K = 3, 4
TINY = dict(
    image_shape=(17, 14, 2),
    num_classes=K,
    num_glimpses=3,
    glimpse_size=4,
    units=6,
)


def make_model(**changes):
    """A model whose weights are all something, and always the same."""
    keras.utils.set_random_seed(0)
    return tiny.shake(DRAW(**{**TINY, **changes}))


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture
def images():
    generator = np.random.default_rng(1)
    return generator.integers(0, 256, (B, *TINY["image_shape"]), "uint8")


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def slow_lstm(cell, inputs, hidden, carry):
    gates = inputs @ cell.kernel + hidden @ cell.recurrent_kernel + cell.bias
    i, f, c, o = np.split(np.array(gates), 4, axis=-1)
    carry = sigmoid(f) * carry + sigmoid(i) * np.tanh(c)
    return sigmoid(o) * np.tanh(carry), carry


def test_the_paper_s_sizes_have_these_parameters():
    model = DRAW()
    assert (model.num_glimpses, model.glimpse_size) == (8, 12)
    # Four gates of 144 pixels, 256 states and an offset; five numbers of where
    # to look, and ten of what there is, each with its offset.
    lstm = 4 * 256 * (12 * 12 + 256 + 1)
    assert model.count_params() == lstm + 257 * 5 + 257 * 10 == 414_479


def test_glimpses_are_those_of_the_paper_s_equations(model, images):
    looks = model.glimpses(images)
    read = GaussianAttention(TINY["glimpse_size"])
    hidden = carry = np.zeros((B, TINY["units"]), "float32")
    for t in range(TINY["num_glimpses"]):
        emission = model.emission
        parameters = np.array(hidden @ emission.kernel + emission.bias)
        windows = read.windows(parameters, images.shape[1:3])
        patches = read(images, parameters) / 255
        np.testing.assert_allclose(
            looks["transforms"][:, 0, t], windows, rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(
            looks["patches"][:, 0, t], patches, rtol=1e-4, atol=1e-5
        )
        inputs = np.reshape(patches, (B, -1))
        hidden, carry = slow_lstm(model.lstm, inputs, hidden, carry)
    logits = hidden @ model.answer.kernel + model.answer.bias
    np.testing.assert_allclose(
        looks["labels"][:, 0, 0], logits, rtol=1e-4, atol=1e-5
    )
    # And where it looks depends on what it saw.
    assert np.ptp(looks["transforms"][:, 0, -1], axis=0).max() > 1e-3


def test_a_new_model_looks_at_the_whole_image_first():
    windows = DRAW((20, 30, 1), num_glimpses=4, glimpse_size=6).glimpses(
        np.zeros((1, 20, 30, 1))
    )["transforms"]
    # 29 pixels to 5 distances; a pixel of the patch is as wide as one.
    expected = [[6 * 29 / 5 / 30, 0, 0], [0, 6 * 29 / 5 / 20, 0]]
    np.testing.assert_allclose(windows[0, 0, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(windows[0, 0, 3], expected, atol=0.1)


def test_the_filters_of_a_new_model_are_as_wide_as_told():
    model = DRAW((20, 30, 1), glimpse_size=6, initial_deviation=3.0)
    parameters = model.emission(np.zeros((1, model.units)))
    # In the middle of so many pixels nothing is cut off.
    sides = (1001, 1501)
    for filters, side in zip(
        model.attention.filters(parameters, sides), sides, strict=True
    ):
        weights, places = np.array(filters[0, 2], "float64"), np.arange(side)
        variance = np.sum(weights * (places - np.sum(weights * places)) ** 2)
        assert np.sqrt(variance) == pytest.approx(3, 1e-4)


def test_the_next_windows_are_those_that_are_read_next(model, images):
    pyramid, state = model.start(images)
    for _ in range(2):
        expected = model.next_windows(pyramid, state)
        glimpse, state = model.step(pyramid, state)
        np.testing.assert_array_equal(glimpse.transforms, expected)


def test_the_answer_is_the_last_of_any_number_of_glimpses(model, images):
    looks = model.glimpses(images, 5)
    assert looks["labels"].shape == (B, 1, 1, K)
    assert looks["transforms"].shape == (B, 1, 5, 2, 3)
    usual = model.glimpses(images)
    np.testing.assert_allclose(
        looks["transforms"][:, :, :3], usual["transforms"], rtol=1e-5
    )
    assert not np.allclose(looks["labels"], usual["labels"], atol=1e-3)


def test_the_loss_of_the_labels_teaches_where_to_look(model, images):
    with tf.GradientTape() as tape:
        outputs = model(images, training=True)
        loss = LabelLoss()(np.zeros((B, 1), "int32"), outputs["labels"])
    gradient = tape.gradient(loss, model.emission.kernel)
    # Of each of the five numbers.
    assert (np.abs(gradient).max(axis=0) > 1e-6).all()


def test_it_is_read_with_a_budget_and_drawn(images, tmp_path):
    model, images = make_model(image_shape=(17, 14, 1)), images[..., :1]
    (answer, *_) = model.read(images, max_glimpses=1)
    assert answer["num_glimpses"] == 1
    visualization.plot_glimpses(model, images[:1], tmp_path / "1.png")
    assert (tmp_path / "1.png").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.usefixtures("compares_here")
def test_exports_answer_as_the_model_does(tmp_path, images):
    model, images = make_model(image_shape=(17, 14, 1)), images[..., :1]
    tiny.assert_exports_answer(model, images, tmp_path)


@pytest.mark.slow
def test_64_pictures_are_learnt():
    """Of 10 kinds of bright 5x7 patterns, somewhere in the image."""
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(5)
    labels = generator.integers(0, 10, (64, 1))
    patterns = generator.integers(0, 2, (10, 7, 5)) * 255
    images = np.zeros((64, 20, 16, 1), "uint8")
    for image, (label,) in zip(images, labels, strict=True):
        row, column = generator.integers(0, (13, 11))
        image[row : row + 7, column : column + 5, 0] = patterns[label]
    model = DRAW((20, 16, 1), num_glimpses=3, glimpse_size=6, units=64)
    model.compile(
        keras.optimizers.Adam(1e-2, clipnorm=1.0),
        LabelLoss(),
        metrics=["accuracy"],
    )
    reached = tiny.learn_by_heart(
        model, images, labels, epochs=80, accuracy=0.96
    )
    assert reached > 0.95


@pytest.mark.parametrize(
    "changes",
    [
        dict(image_shape=(None, None, 1)),
        dict(image_shape=(0, 20, 1)),
        dict(num_glimpses=0),
        dict(glimpse_size=1),
        dict(glimpse_size=(4, 5)),
        dict(units=0),
        dict(initial_deviation=0.0),
        dict(initial_deviation="wide"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused(changes):
    with pytest.raises(ValueError, match="Received"):
        DRAW(**{**TINY, **changes})
