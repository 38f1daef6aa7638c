"""The filters against the equations of the DRAW paper, as slow loops."""

import math

import numpy as np
import pytest
import tensorflow as tf

from keras_edram import geometry
from keras_edram.layers import GaussianAttention

SIDE = 4  # N
# Higher than wide and wider than high; g~X, g~Y, log σ², log δ~, log γ.
IMAGES = [(9, 13), (11, 6)]
GRIDS = {
    "the whole image": [0, 0, 0, 0, 0],
    "moved": [0.5, -0.25, -0.5, -1, 0.3],
    "narrow": [-0.2, 0.1, -2, -2, 1],
    "blurred": [0.1, 0.6, 2.5, -0.7, -1],
    "partly outside": [0.9, -1.1, 0.2, -0.4, 0.1],
}


def counted(*shape):
    """Numbers 0 to 30 in an order without symmetry, neighbours far apart."""
    return (np.arange(math.prod(shape)) * 7 % 31).reshape(shape) * 1.0


def slow_middles(g, log_stride, side, longer_side):
    """μ of Eq. 19 to 24 of an axis of `side` pixels, counted from 1."""
    middle = (side + 1) / 2 * (g + 1)
    stride = (longer_side - 1) / (SIDE - 1) * np.exp(log_stride)
    return [middle + (i - SIDE / 2 - 0.5) * stride for i in range(1, SIDE + 1)]


def slow_filters(middles, log_variance, side):
    """Eq. 25 and 26, `(N, side)`."""
    filters = np.empty((len(middles), side))
    for i, middle in enumerate(middles):
        for a in range(1, side + 1):
            square = (a - middle) ** 2
            filters[i, a - 1] = np.exp(-square / (2 * np.exp(log_variance)))
        filters[i] /= filters[i].sum()  # Z
    return filters


def slow_read(image, parameters):
    """Eq. 27, pixel by pixel."""
    height, width, channels = image.shape
    g_x, g_y, log_variance, log_stride, log_intensity = parameters
    longer = max(height, width)
    columns = slow_filters(
        slow_middles(g_x, log_stride, width, longer), log_variance, width
    )
    rows = slow_filters(
        slow_middles(g_y, log_stride, height, longer), log_variance, height
    )
    patch = np.zeros((SIDE, SIDE, channels))
    for j, i in np.ndindex(SIDE, SIDE):
        for b, a in np.ndindex(height, width):
            patch[j, i] += rows[j, b] * columns[i, a] * image[b, a]
    return np.exp(log_intensity) * patch


@pytest.mark.parametrize("size", IMAGES, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_patch_is_that_of_the_paper_s_equations(size, channels):
    parameters = np.array(list(GRIDS.values()), "float32")
    images = counted(len(parameters), *size, channels)
    patches = GaussianAttention(SIDE)(images, parameters)
    expected = [
        slow_read(image, row)
        for image, row in zip(images, parameters, strict=True)
    ]
    np.testing.assert_allclose(patches, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("grid", GRIDS)
def test_gradients_are_those_of_finite_differences(grid):
    image = counted(*IMAGES[0], 2) / 31
    weights = counted(SIDE, SIDE, 2) / 31 - 0.4
    parameters = np.array(GRIDS[grid], "float64")

    def loss(image, parameters):
        return np.sum(weights * slow_read(image, parameters))

    def slope(step, *where):
        image_step, parameter_step = np.zeros(image.shape), np.zeros(5)
        (image_step if len(where) == 3 else parameter_step)[where] = step
        up = loss(image + image_step, parameters + parameter_step)
        down = loss(image - image_step, parameters - parameter_step)
        return (up - down) / (2 * step)

    inputs = [
        tf.constant(values[None], "float32") for values in (image, parameters)
    ]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        patches = GaussianAttention(SIDE)(*inputs)
        total = tf.reduce_sum(patches * weights.astype("float32"))
    of_image, of_parameters = tape.gradient(total, inputs)
    expected = [slope(1e-5, index) for index in range(5)]
    np.testing.assert_allclose(of_parameters[0], expected, rtol=1e-3, atol=1e-4)
    for place in [(0, 0, 0), (4, 7, 1), (8, 12, 0)]:
        assert float(of_image[0][place]) == pytest.approx(
            slope(1e-3, *place), rel=1e-3, abs=1e-5
        )


@pytest.mark.parametrize("size", IMAGES, ids=str)
def test_a_filter_is_the_middle_of_a_pixel_of_its_window(size):
    parameters = np.array(list(GRIDS.values()), "float32")
    windows = GaussianAttention(SIDE).windows(parameters, size)
    points = geometry.sampling_grid(windows, (SIDE, SIDE))
    height, width = size
    for (x, y), (g_x, g_y, _, log_stride, _) in zip(
        np.array(points), parameters, strict=True
    ):
        middles = slow_middles(g_x, log_stride, width, max(size))
        # From pixels, counted from 1, to the image's [-1, 1].
        expected = [(2 * middle - 1) / width - 1 for middle in middles]
        np.testing.assert_allclose(
            x, np.tile(expected, (SIDE, 1)), rtol=1e-5, atol=1e-6
        )
        middles = slow_middles(g_y, log_stride, height, max(size))
        expected = [(2 * middle - 1) / height - 1 for middle in middles]
        np.testing.assert_allclose(
            y, np.tile(expected, (SIDE, 1)).T, rtol=1e-5, atol=1e-6
        )


def test_an_image_of_one_colour_is_that_colour_wherever_the_filters_are():
    images = np.full((2, *IMAGES[0], 1), 7, "uint8")
    far = np.array([[5, -9, -6, 1, 0], [-40, 30, -4, 2, math.log(2)]])
    patches = GaussianAttention(SIDE)(images, far.astype("float32"))
    np.testing.assert_allclose(patches[0], 7, rtol=1e-5)
    np.testing.assert_allclose(patches[1], 14, rtol=1e-5)


def test_narrow_filters_on_pixels_are_those_pixels():
    # 10 columns and rows, 4 filters, three pixels apart: δ = 9 / 3.
    image = counted(10, 10, 2)
    parameters = np.array([[0, 0, -8, 0, 0]], "float32")
    patches = GaussianAttention(SIDE)(image[None], parameters)
    np.testing.assert_allclose(patches[0], image[::3, ::3], rtol=1e-5)


def test_half_precision_does_not_move_the_filters():
    images = counted(1, *IMAGES[0], 1).astype("uint8")
    parameters = np.array([GRIDS["moved"]], "float32")
    full = GaussianAttention(SIDE)(images, parameters)
    half = GaussianAttention(SIDE, dtype="mixed_float16")(images, parameters)
    assert half.dtype == "float16"
    np.testing.assert_allclose(half, full, rtol=1e-3)


@pytest.mark.parametrize("size", [0, 1, 2.5, True, (3, 4)])
def test_a_grid_of_no_distance_is_refused(size):
    with pytest.raises(ValueError, match="Received: glimpse_size="):
        GaussianAttention(size)


@pytest.mark.parametrize(
    "images, parameters",
    [
        ((2, 9, 7, 1), (2, 6)),
        ((2, 9, 7, 1), (2, 5, 1)),
        ((2, 9, 7, 1), (3, 5)),
        ((9, 7, 1), (9, 5)),
    ],
)
def test_other_shapes_are_refused(images, parameters):
    with pytest.raises(ValueError, match="Received: "):
        GaussianAttention(SIDE)(np.zeros(images), np.zeros(parameters))


def test_images_of_unknown_size_are_refused():
    signature = [tf.TensorSpec((1, None, None, 1)), tf.TensorSpec((1, 5))]
    call = tf.function(GaussianAttention(SIDE), input_signature=signature)
    with pytest.raises(ValueError, match="known height and width"):
        call.get_concrete_function()


@pytest.mark.parametrize("index", range(5))
@pytest.mark.parametrize("value", [-1e30, -89.0, 60.0, 1e30])
def test_what_diverges_stays_a_number(index, value):
    parameters = np.zeros((1, 5), "float32")
    parameters[0, index] = value
    parameters = tf.constant(parameters)
    images = np.random.default_rng(0).uniform(size=(1, 9, 7, 1))
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        patches = GaussianAttention(4)(images.astype("float32"), parameters)
    assert np.isfinite(patches).all()
    assert np.isfinite(tape.gradient(patches, parameters)).all()
