"""The report's baselines: their sizes, what they give, and that they learn."""

import keras
import numpy as np
import pytest

from keras_edram import geometry
from keras_edram.losses import LabelLoss
from keras_edram.models import Baseline

B = 3
TINY = dict(
    image_shape=(12, 9, 2), num_classes=4, units=16, filters=3, kernel_size=4
)
NETWORKS = pytest.mark.parametrize("network", ["dense", "convolution"])


def make_model(**changes):
    return Baseline(**{**TINY, **changes})


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 256, (B, 12, 9, 2), "uint8")


def relu(values):
    return np.maximum(0, values)


# Section 5: two fully connected layers of 256 units; 8 filters of 10x10, and a
# fully connected layer of 256 units. Inputs of a layer and one bias, times its
# outputs.
@pytest.mark.parametrize(
    "network, image_shape, expected",
    [
        ("dense", (28, 28, 1), 785 * 256 + 257 * 256 + 257 * 10),
        ("dense", (32, 32, 3), 3073 * 256 + 257 * 256 + 257 * 10),
        # 28 - 10 + 1 = 19, and 60 - 10 + 1 = 51: no padding.
        (
            "convolution",
            (28, 28, 1),
            101 * 8 + (19 * 19 * 8 + 1) * 256 + 257 * 10,
        ),
        (
            "convolution",
            (60, 60, 3),
            301 * 8 + (51 * 51 * 8 + 1) * 256 + 257 * 10,
        ),
    ],
)
def test_the_default_has_the_parameters_of_the_report(
    network, image_shape, expected
):
    model = Baseline(image_shape, network=network)
    assert model.count_params() == expected


def test_the_dense_network_is_the_equation_of_the_docstring(images):
    model = make_model()
    generator = np.random.default_rng(0)
    weights = [generator.normal(size=w.shape) for w in model.get_weights()]
    model.set_weights(weights)
    w_1, b_1, w_2, b_2, w_3, b_3 = weights
    features = relu(images.reshape(B, -1) / 255 @ w_1 + b_1)
    expected = relu(features @ w_2 + b_2) @ w_3 + b_3
    np.testing.assert_allclose(
        model(images)["labels"], expected[:, None, None], rtol=1e-3, atol=1e-3
    )


def test_the_convolution_sees_whole_windows_alone(images):
    model = make_model(network="convolution")
    generator = np.random.default_rng(0)
    weights = [generator.normal(size=w.shape) for w in model.get_weights()]
    model.set_weights(weights)
    kernel, bias, w_2, b_2, w_3, b_3 = weights
    maps = np.empty((B, 12 - 4 + 1, 9 - 4 + 1, 3))
    for i, j in np.ndindex(maps.shape[1:3]):
        window = images[:, i : i + 4, j : j + 4] / 255
        maps[:, i, j] = np.einsum("bijc,ijcf->bf", window, kernel) + bias
    features = relu(maps).reshape(B, -1)
    expected = relu(features @ w_2 + b_2) @ w_3 + b_3
    np.testing.assert_allclose(
        model(images)["labels"], expected[:, None, None], rtol=1e-3, atol=1e-3
    )


@NETWORKS
def test_the_one_window_is_the_whole_image(images, network):
    outputs = make_model(network=network)(images)
    assert set(outputs) == {"labels", "transforms"}
    assert outputs["labels"].shape == (B, 1, 1, 4)
    np.testing.assert_array_equal(
        outputs["transforms"], np.tile(geometry.IDENTITY, (B, 1, 1, 1, 1))
    )


@NETWORKS
def test_the_one_glimpse_is_the_image(images, network):
    model = make_model(network=network)
    glimpses = model.glimpses(images)
    for name, expected in model(images).items():
        assert isinstance(glimpses[name], np.ndarray)
        np.testing.assert_array_equal(glimpses[name], expected)
    assert glimpses["patches"].shape == (B, 1, 1, 12, 9, 2)
    np.testing.assert_allclose(
        glimpses["patches"][:, 0, 0], images / 255, rtol=1e-6
    )


@NETWORKS
def test_bytes_and_floats_are_read_alike(images, network):
    model = make_model(network=network)
    np.testing.assert_array_equal(
        model(images)["labels"], model(images.astype("float32"))["labels"]
    )


@NETWORKS
def test_three_kinds_of_stripes_are_learnt(network):
    generator = np.random.default_rng(2)
    labels = generator.integers(0, 3, (256, 1))
    rows, columns = np.indices((12, 9))
    stripes = np.stack([rows % 2, columns % 2, (rows + columns) % 2])
    images = 60 * stripes[labels[:, 0], ..., None] + generator.integers(
        0, 120, (256, 12, 9, 2)
    )
    model = make_model(network=network, num_classes=3)
    model.compile(keras.optimizers.Adam(0.01), loss={"labels": LabelLoss()})
    model.fit(images[:192], {"labels": labels[:192]}, epochs=8, verbose=0)
    answers = model.predict(images[192:], verbose=0)["labels"].argmax(-1)
    assert (answers[:, 0] == labels[192:]).mean() > 0.9


@NETWORKS
def test_a_saved_model_answers_alike(images, network, tmp_path):
    model = make_model(network=network)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    for name, expected in model(images).items():
        np.testing.assert_array_equal(loaded(images)[name], expected)


@pytest.mark.parametrize(
    "changes",
    [
        dict(image_shape=(12, 9)),
        dict(image_shape=(12, 9, 0)),
        dict(image_shape=(None, None, 1)),
        dict(image_shape=12),
        dict(network="lstm"),
        dict(network=None),
        dict(units=0),
        dict(network="convolution", filters=0),
        dict(network="convolution", kernel_size=10),
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused(changes):
    with pytest.raises(ValueError, match="Received"):
        make_model(**changes)


def test_the_convolution_of_mnih_takes_each_fifth_place():
    # (100 - 10) / 5 + 1 = 19 places a side, of 8 filters, for 256 units.
    model = Baseline(
        image_shape=(100, 100, 1), network="convolution", strides=5
    )
    convolution = 8 * (10 * 10 + 1)
    dense = 256 * (19 * 19 * 8 + 1)
    assert model.count_params() == convolution + dense + 10 * (256 + 1)
