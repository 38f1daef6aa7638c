"""DCN: where it looks, what it sees there, and what it learns from it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from keras_edram import visualization
from keras_edram.losses import LabelLoss
from keras_edram.models import DCN, blocks, dcn

B, K = 3, 4
# A map of 6 x 5 places: (31 - 11) // 4 + 1 and (28 - 11) // 4 + 1.
TINY = dict(
    image_shape=(31, 28, 2),
    num_classes=K,
    num_glimpses=3,
    coarse_filters=(3, 5),
    fine_filters=(3, 4, 6, 4, 5),
    top_filters=16,
)
MAP = (6, 5)


def make_model(**changes):
    """A model whose weights are all something, and always the same."""
    keras.utils.set_random_seed(0)
    return tiny.shake(DCN(**{**TINY, **changes}))


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture
def images():
    generator = np.random.default_rng(1)
    return generator.integers(0, 256, (B, *TINY["image_shape"]), "uint8")


@pytest.fixture
def coarse():
    """Maps, at least 0 as a rectifier leaves them."""
    maps = np.random.default_rng(2).normal(size=(B, *MAP, 5))
    return np.maximum(maps, 0).astype("float32")


def saliency(model, maps):
    return model.top(maps, with_saliency=True)[1]


def first_pixels(places):
    """Row and column of the first pixel of the windows of places.

    The coarse vector (i, j) sees 11 pixels from 4 i and 4 j on: 7, and two
    strides of 2 more. Two pixels of the window stand before them, one after.
    """
    return np.stack(np.unravel_index(places, MAP), axis=-1) * 4 - 2


def test_the_paper_s_sizes_have_these_parameters():
    model = DCN()
    assert model.map_size == (23, 23)
    assert model.num_glimpses == 8
    assert model.glimpse_size == (14, 14)
    # Kernels, and four numbers of each normalised filter; with the top's and
    # the answer's offsets.
    coarse = 49 * 12 + 9 * 12 * 24 + 4 * (12 + 24)
    fine = 9 * 24 + 4 * 9 * 24 * 24 + 4 * 5 * 24
    top = (16 * 24 + 1) * 96 + 97 * 10
    assert model.count_params() == coarse + fine + top == 62_686


def test_sizes_follow_from_the_tables():
    assert (dcn.COARSE_FIELD, dcn.COARSE_STRIDE) == (11, 4)
    assert dcn.WINDOW_SIDE == 14
    assert dcn.MIN_IMAGE_SIDE == 23  # 4 places of 11 pixels, 4 apart
    strided = blocks.Convolution(1, 3, "same", strides=2)
    assert blocks.smallest_input([strided, strided]) == 1


@pytest.mark.parametrize("name", ["saliency of a tie", "saliency"])
def test_saliency_is_the_gradient_of_the_entropy(model, coarse, name):
    if "tie" in name:  # the largest value stands in several places
        coarse = np.tile(coarse[:, :1, :1], (1, *MAP, 1))
    maps = tf.constant(coarse)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        logits = model.top(maps)
        p = tf.nn.softmax(logits)
        entropy = -tf.reduce_sum(p * tf.math.log(p))
    gradient = tape.gradient(entropy, maps)
    expected = np.linalg.norm(gradient, axis=-1)
    assert expected.max() > 0
    np.testing.assert_allclose(
        saliency(model, coarse), expected, rtol=1e-4, atol=1e-7
    )


def test_the_most_salient_places_come_first(model, coarse):
    values = np.reshape(saliency(model, coarse), (B, -1))
    expected = np.argsort(-values, axis=1)[:, :3]
    np.testing.assert_array_equal(model.most_salient(coarse, 3), expected)


def test_windows_are_pixels_of_the_image(model, images):
    """Around what the coarse vector of the place sees, zeros beyond."""
    outputs = model.glimpses(images)
    maps, _ = blocks.call_stack(
        model._coarse_stack(), images / np.float32(255), step=0
    )
    places = np.array(model.most_salient(maps, 3))
    padded = np.pad(images, [(0, 0), (2, 14), (2, 14), (0, 0)]) / 255
    for image, place in np.ndindex(places.shape):
        row, column = first_pixels(places[image, place]) + 2
        np.testing.assert_allclose(
            outputs["patches"][image, 0, place],
            padded[image, row : row + 14, column : column + 14],
            rtol=1e-5,
            atol=1e-5,
        )


@pytest.mark.parametrize("place", [0, 13, 29])
def test_a_coarse_vector_sees_11_pixels_in_its_window(model, place):
    i, j = np.unravel_index(place, MAP)
    pixels = tf.Variable(
        np.random.default_rng(3).random((1, 31, 28, 2)), dtype="float32"
    )
    with tf.GradientTape() as tape:
        maps = pixels
        for convolution in model.coarse_convolutions:
            maps = convolution.layer(maps)
        vector = tf.reduce_sum(maps[0, i, j])
    seen = np.any(tape.gradient(vector, pixels)[0], axis=-1)
    row, column = first_pixels(place) + 2
    expected = np.zeros((31, 28), bool)
    expected[row : row + 11, column : column + 11] = True
    np.testing.assert_array_equal(seen, expected)


def test_a_fine_vector_sees_its_whole_window_and_nothing_else(model):
    """A pixel outside of the window changes nothing, each inside may."""
    place = 13
    windows = model.windows_of_places()[place][None, None]  # (1, 1, 2, 3)
    pixels = tf.Variable(
        np.random.default_rng(3).random((1, 31, 28, 2)), dtype="float32"
    )
    with tf.GradientTape() as tape:
        maps = model.patches_of(pixels, windows)[:, 0]
        # Without rectifiers and maxima, which hide what they do not take.
        for row, convolution in zip(
            dcn.FINE_NETWORK, model.fine_convolutions, strict=True
        ):
            maps = convolution.layer(maps)
            if row.pooled:
                maps = keras.ops.average_pool(
                    maps, 2, data_format="channels_last"
                )
        assert maps.shape == (1, 1, 1, 5)
        vector = tf.reduce_sum(maps)
    seen = np.abs(tape.gradient(vector, pixels)[0]).sum(axis=-1)
    row, column = first_pixels(place)
    expected = np.zeros((31, 28), bool)
    expected[row : row + 14, column : column + 14] = True
    # The read's last digit is of the pixel beside.
    np.testing.assert_array_equal(seen > 1e-5 * seen.max(), expected)


def test_fine_vectors_stand_in_the_chosen_places(model, coarse):
    fine = np.random.default_rng(4).random((B, 2, 5)).astype("float32")
    indices = np.array([[0, 7], [29, 3], [12, 11]], "int32")
    refined, hint = model.refine(coarse, fine, indices)
    expected, distance = coarse.copy(), 0
    for image, place in np.ndindex(indices.shape):
        i, j = np.unravel_index(indices[image, place], MAP)
        distance += np.sum((coarse[image, i, j] - fine[image, place]) ** 2)
        expected[image, i, j] = fine[image, place]
    np.testing.assert_allclose(refined, expected, rtol=1e-6)
    assert float(hint) == pytest.approx(distance / B, rel=1e-5)


def test_the_hint_teaches_the_coarse_network_alone(images):
    model = make_model()
    with tf.GradientTape() as tape:
        model(images, training=True)
        (hint,) = model.losses
    for weight, gradient in zip(
        model.trainable_variables,
        tape.gradient(hint, model.trainable_variables),
        strict=True,
    ):
        is_taught = gradient is not None and np.any(gradient)
        assert is_taught == ("coarse" in weight.path), weight.path


def test_the_hint_is_a_part_of_the_loss_of_training_alone(images):
    labels = np.zeros((B, 1), "int32")
    losses = {}
    for weight in (0.0, 1.0, 3.0):
        model = make_model(hint_weight=weight)
        model.compile(
            keras.optimizers.SGD(0.0),
            {"labels": LabelLoss()},
            run_eagerly=True,  # a step takes less time than to compile it
        )
        history = model.fit(images, labels, batch_size=B, verbose=0)
        evaluated = model.evaluate(images, labels, verbose=0)
        losses[weight] = history.history["loss"][0], evaluated
    hint = losses[1.0][0] - losses[0.0][0]
    assert hint > 0
    assert losses[3.0][0] - losses[0.0][0] == pytest.approx(3 * hint, rel=1e-3)
    assert len({loss for _, loss in losses.values()}) == 1


def test_it_can_be_compiled_and_fitted_again(images):
    model = make_model()
    for optimizer, eager in (("sgd", True), ("adam", False)):
        loss = {"labels": LabelLoss()}
        model.compile(optimizer, loss, run_eagerly=eager)
        model.fit(images, np.zeros((B, 1), "int32"), verbose=0)


def test_the_answer_is_that_of_the_refined_map(model, images):
    maps, _ = blocks.call_stack(
        model._coarse_stack(), images / np.float32(255), step=0
    )
    looks = model.glimpses(images)
    fine = model.see(looks["patches"][:, 0])
    refined, _ = model.refine(maps, fine, model.most_salient(maps, 3))
    logits = model.top(refined)
    np.testing.assert_allclose(
        looks["labels"][:, 0, 0], logits, rtol=1e-4, atol=1e-5
    )
    coarse_logits = model.top(maps)
    assert not np.allclose(logits, coarse_logits, atol=1e-3)


def test_it_looks_more_or_less_often_than_in_training(model, images):
    usual = model.glimpses(images)
    for number in (1, 30):
        looks = model.glimpses(images, number)
        assert looks["labels"].shape == (B, 1, 1, K)
        assert looks["transforms"].shape == (B, 1, number, 2, 3)
    np.testing.assert_array_equal(
        looks["transforms"][:, :, :3], usual["transforms"]
    )
    with pytest.raises(ValueError, match="Received: glimpses_per_target=31"):
        model.glimpses(images, 31)


def test_it_looks_at_the_same_in_every_precision(images):
    full = make_model()
    mixed = make_model(dtype="mixed_bfloat16")
    np.testing.assert_array_equal(
        full(images)["transforms"], mixed(images)["transforms"]
    )


def test_it_learns_in_double_precision_of_keras(images):
    keras.config.set_floatx("float64")
    try:
        model = make_model()
        model.compile("sgd", {"labels": LabelLoss()})
        history = model.fit(images, np.zeros((B, 1)), verbose=0).history
    finally:
        keras.config.set_floatx("float32")
    assert np.isfinite(history["loss"]).all()


@pytest.mark.slow
@pytest.mark.usefixtures("compares_here")
def test_exports_answer_as_the_model_does(tmp_path, images):
    model = make_model(image_shape=(31, 28, 1))
    tiny.assert_exports_answer(model, images[..., :1], tmp_path)


def test_it_is_read_and_drawn(tmp_path, images):
    model, images = make_model(image_shape=(31, 28, 1)), images[..., :1]
    assert len(model.read(images)) == B
    visualization.plot_glimpses(model, images[:1], tmp_path / "1.png")
    assert (tmp_path / "1.png").stat().st_size > 1000


@pytest.mark.slow
def test_64_pictures_are_learnt():
    """Of 10 kinds of bright 5x7 patterns, somewhere in the image."""
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(5)
    labels = generator.integers(0, 10, (64, 1))
    patterns = generator.integers(0, 2, (10, 7, 5)) * 255
    images = np.zeros((64, 40, 36, 1), "uint8")
    for image, (label,) in zip(images, labels, strict=True):
        row, column = generator.integers(0, (33, 31))
        image[row : row + 7, column : column + 5, 0] = patterns[label]
    model = DCN((40, 36, 1), num_glimpses=3)
    model.compile(
        keras.optimizers.Adam(3e-3), LabelLoss(), metrics=["accuracy"]
    )
    reached = tiny.learn_by_heart(
        model, images, labels, epochs=40, accuracy=0.96
    )
    assert reached > 0.95


@pytest.mark.parametrize(
    "changes",
    [
        dict(image_shape=(22, 28, 1)),
        dict(image_shape=(31, 22, 1)),
        dict(image_shape=(None, None, 1)),
        dict(num_glimpses=0),
        dict(num_glimpses=31),
        dict(coarse_filters=(3,)),
        dict(coarse_filters=(3, 6)),
        dict(fine_filters=(3, 4, 6, 4)),
        dict(top_filters=0),
        dict(hint_weight=-1),
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused(changes):
    with pytest.raises(ValueError, match="Received"):
        DCN(**{**TINY, **changes})
