"""The read against Eq. 3 of the EDRAM paper, written as a slow NumPy loop."""

import importlib
import math

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_edram import geometry
from keras_edram.layers import SpatialTransformerAttention
from keras_edram.layers import image_pyramid as pyramids
from keras_edram.layers.image_pyramid import image_pyramid, num_pyramid_levels
from keras_edram.layers.spatial_transformer_attention import (
    read_points,
    read_whole,
    read_windows,
)

IMAGE = (7, 10)  # height, width
GLIMPSE = (4, 6)
WIDE_IMAGE = (23, 30)  # 7.7 times the next: a pyramid of four levels
SMALL_GLIMPSE = (3, 4)

WINDOWS = {
    "identity": [[1, 0, 0], [0, 1, 0]],
    "zoomed": [[0.5, 0, 0.2], [0, 0.3, -0.1]],
    "wider than the image": [[2, 0, 0.1], [0, 1.5, 0]],
    "rotated": [[0.866, -0.5, 0.05], [0.5, 0.866, -0.1]],
    "skewed": [[0.6, 0.3, 0.1], [-0.2, 0.7, 0.03]],
    "mirrored": [[-0.8, 0, 0.07], [0, 0.9, 0.1]],
    "turned by a quarter": [[0, 0.9, 0], [-0.7, 0, 0.1]],
    "partly outside": [[0.5, 0, 0.9], [0, 0.5, -0.8]],
    "wholly outside": [[0.2, 0, 3], [0, 0.2, -2]],
    "a point": [[0, 0, 0.3], [0, 0, -0.4]],
}


def counted(*shape):
    """Numbers 0 to 30 in an order without symmetry, neighbours far apart."""
    return (np.arange(math.prod(shape)) * 7 % 31).reshape(shape) * 1.0


def hats(position, side):
    """max(0, 1 - |position - m|) for each of `side` pixels m."""
    return np.maximum(0, 1 - np.abs(position - np.arange(side)))


def points_of(transform, glimpse_size, image_size):
    """Pixel indices, with fractions, that a glimpse is read at."""
    (height, width), (rows, columns) = glimpse_size, image_size
    points = np.empty((height, width, 2))
    for n, m in np.ndindex(height, width):
        x_g, y_g = (2 * m + 1) / width - 1, (2 * n + 1) / height - 1
        x_s, y_s = np.array(transform) @ [x_g, y_g, 1]
        points[n, m] = (x_s + 1) / 2 * columns, (y_s + 1) / 2 * rows
    return points - 0.5


def slow_read_at(image, points, fill_mode):
    """Eq. 3: Σ_n Σ_m I_nm max(0, 1 - |x - m|) max(0, 1 - |y - n|)."""
    height, width, channels = image.shape
    patch = np.zeros((*points.shape[:2], channels))
    for index in np.ndindex(*points.shape[:2]):
        x, y = points[index]
        if fill_mode == "nearest":
            x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
        patch[index] = np.einsum(
            "n,m,nmc->c", hats(y, height), hats(x, width), image
        )
    return patch


def slow_read(image, transform, glimpse_size, fill_mode="zeros"):
    points = points_of(transform, glimpse_size, image.shape[:2])
    return slow_read_at(image, points, fill_mode)


def slow_half(image):
    """Means of 2x2 pixels, of what is left of them at an odd side."""
    height, width, channels = image.shape
    half = np.empty(((height + 1) // 2, (width + 1) // 2, channels))
    for n, m in np.ndindex(*half.shape[:2]):
        half[n, m] = image[2 * n : 2 * n + 2, 2 * m : 2 * m + 2].mean((0, 1))
    return half


def slow_detail(transform, glimpse_size, image_size):
    """log2 of the longer way, in pixels, to a neighbour in the glimpse."""
    steps = np.array(transform)[:, :2] * np.array(image_size)[::-1, None]
    steps = steps / np.array(glimpse_size)[::-1]
    return np.log2(max(1, np.hypot(*steps[:, 0]), np.hypot(*steps[:, 1])))


def slow_antialiased_read(image, transform, glimpse_size, fill_mode="zeros"):
    levels = [image]
    while any(
        side > glimpse
        for side, glimpse in zip(
            np.array(image.shape[:2]) / 2 ** (len(levels) - 1),
            glimpse_size,
            strict=True,
        )
    ):
        levels.append(slow_half(levels[-1]))
    detail = slow_detail(transform, glimpse_size, image.shape[:2])
    detail = min(detail, len(levels) - 1)
    points = points_of(transform, glimpse_size, image.shape[:2])
    patch = 0.0
    for index, level in enumerate(levels):
        # A pixel of this level is as wide as 2**index of the image's.
        level_points = (points + 0.5) / 2**index - 0.5
        share = max(0, 1 - abs(detail - index))
        patch = patch + share * slow_read_at(level, level_points, fill_mode)
    return patch


def assert_close(values, expected):
    assert tuple(values.shape) == expected.shape
    np.testing.assert_allclose(
        ops.convert_to_numpy(values), expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("fill_mode", ["zeros", "nearest"])
@pytest.mark.parametrize("window", WINDOWS)
def test_the_plain_read_is_equation_3(window, fill_mode):
    image, transform = counted(*IMAGE, 3), WINDOWS[window]
    attention = SpatialTransformerAttention(
        GLIMPSE, antialias=False, fill_mode=fill_mode
    )
    patches = attention(image[None], np.array([transform], "float32"))
    expected = slow_read(image, transform, GLIMPSE, fill_mode)
    assert_close(patches, expected[None])


def test_nothing_is_read_wholly_outside_of_the_image():
    image = counted(*IMAGE, 2) + 1
    window = np.array([WINDOWS["wholly outside"]], "float32")
    for antialias in (False, True):
        attention = SpatialTransformerAttention(GLIMPSE, antialias=antialias)
        assert not np.any(attention(image[None], window))


@pytest.mark.parametrize("antialias", [False, True])
def test_each_image_of_a_batch_has_its_own_window(antialias):
    slow = slow_antialiased_read if antialias else slow_read
    windows = np.array(list(WINDOWS.values()), "float32")
    images = counted(len(windows), *WIDE_IMAGE, 2)
    attention = SpatialTransformerAttention(SMALL_GLIMPSE, antialias=antialias)
    expected = [
        slow(image, window, SMALL_GLIMPSE)
        for image, window in zip(images, windows, strict=True)
    ]
    assert_close(attention(images, windows), np.array(expected))


@pytest.mark.parametrize("fill_mode", ["zeros", "nearest"])
@pytest.mark.parametrize("zoom", [0.05, 0.13, 0.2, 0.4, 0.55, 0.9, 1.7])
def test_the_antialiased_read_blends_two_levels(zoom, fill_mode):
    image = counted(*WIDE_IMAGE, 2)
    transform = [[zoom, 0.1 * zoom, 0.07], [-0.2 * zoom, 0.8 * zoom, -0.11]]
    attention = SpatialTransformerAttention(SMALL_GLIMPSE, fill_mode=fill_mode)
    patches = attention(image[None], np.array([transform], "float32"))
    expected = slow_antialiased_read(image, transform, SMALL_GLIMPSE, fill_mode)
    assert_close(patches, expected[None])


def test_each_level_of_the_pyramid_is_the_mean_of_four():
    images = counted(2, *WIDE_IMAGE, 3)
    pyramid = image_pyramid(ops.cast(images, "float32"), 4)
    # 23x30, halved and rounded up.
    assert pyramid.sizes == ((23, 30), (12, 15), (6, 8), (3, 4))
    level = images
    for pixels in images_of(pyramid):
        assert_close(pixels, level)
        level = np.stack([slow_half(image) for image in level])


def images_of(pyramid):
    """The levels of a pyramid as images `(B, H_l, W_l, C)`."""
    pixels = np.concatenate(pyramid.parts, axis=1)
    areas = np.cumsum([height * width for height, width in pyramid.sizes])
    assert pixels.shape[1] == areas[-1]
    return [
        level.reshape(-1, height, width, pixels.shape[-1])
        for level, (height, width) in zip(
            np.split(pixels, areas[:-1], axis=1), pyramid.sizes, strict=True
        )
    ]


@pytest.mark.parametrize(
    "image_size, glimpse_size, expected",
    [
        ((26, 26), (26, 26), 1),
        ((10, 20), (26, 26), 1),
        ((26, 52), (26, 26), 2),
        ((26, 53), (26, 26), 3),
        ((100, 30), (26, 26), 3),
        ((30, 100), (26, 26), 3),
        (WIDE_IMAGE, SMALL_GLIMPSE, 4),
    ],
)
def test_the_pyramid_ends_where_the_glimpse_sees_all(
    image_size, glimpse_size, expected
):
    assert num_pyramid_levels(image_size, glimpse_size) == expected


def test_antialias_sees_the_grey_of_a_chequered_image():
    board = np.indices(WIDE_IMAGE).sum(axis=0)[None, ..., None] % 2 * 100.0
    whole = geometry.IDENTITY[None]
    soft = SpatialTransformerAttention(SMALL_GLIMPSE, fill_mode="nearest")
    hard = SpatialTransformerAttention(SMALL_GLIMPSE, antialias=False)
    assert np.abs(soft(board, whole) - 50).max() < 20
    assert np.abs(hard(board, whole) - 50).max() > 20


@pytest.mark.parametrize("fill_mode", ["zeros", "nearest"])
@pytest.mark.parametrize(
    "large, areas",
    [
        (600, [23 * 30, 12 * 15 + 6 * 8 + 3 * 4]),
        (100, [23 * 30, 12 * 15, 6 * 8 + 3 * 4]),
        (10, [23 * 30, 12 * 15, 6 * 8, 3 * 4]),
    ],
)
def test_large_levels_apart_from_the_others_are_read_alike(
    fill_mode, large, areas, monkeypatch
):
    images = counted(len(WINDOWS), *WIDE_IMAGE, 2)
    windows = np.array(list(WINDOWS.values()), "float32")
    attention = SpatialTransformerAttention(SMALL_GLIMPSE, fill_mode=fill_mode)
    expected = attention(images, windows)
    monkeypatch.setattr(pyramids, "LARGE_LEVEL", large)
    parts = attention.pyramid(images).parts
    assert [part.shape[1] for part in parts] == areas
    np.testing.assert_array_equal(attention(images, windows), expected)


@pytest.mark.parametrize("fill_mode", ["zeros", "nearest"])
@pytest.mark.parametrize(
    "shape", [(22, 40, 1), (16, 36, 3), (22, 30, 5), (23, 40, 1), (16, 31, 2)]
)
def test_a_large_image_is_halved_from_its_bytes_as_a_small_one_is(
    shape, fill_mode, monkeypatch
):
    images = np.random.default_rng(3).integers(0, 256, (2, *shape), "uint8")
    as_floats = images.astype("float32")
    small = image_pyramid(as_floats, 4, fill_mode)
    monkeypatch.setattr(pyramids, "LARGE_LEVEL", 100)
    monkeypatch.setattr(pyramids, "FEW_PIXELS", 0)
    pyramid = image_pyramid(images, 4, fill_mode)
    # It is never there as floats, which are four times as large.
    assert pyramid.parts[0].dtype == "uint8"
    assert all(part.dtype == "float32" for part in pyramid.parts[1:])
    for given in (pyramid, image_pyramid(as_floats, 4, fill_mode)):
        for found, expected in zip(
            images_of(given), images_of(small), strict=True
        ):
            np.testing.assert_allclose(found, expected, rtol=1e-6)
    windows = np.array([WINDOWS["zoomed"], WINDOWS["rotated"]], "float32")
    np.testing.assert_allclose(
        read_windows(pyramid, windows, SMALL_GLIMPSE),
        read_windows(small, windows, SMALL_GLIMPSE),
        rtol=1e-5,
    )


WHOLE_SIZES = {
    "no level": ((3, 4), 1),
    "the image itself": ((12, 20), 1),
    "between two levels": ((12, 20), 3),
    "a level": ((24, 32), 3),
    "the coarsest is too fine": ((96, 64), 2),
    "smaller than the patch": ((2, 3), 2),
}


@pytest.mark.parametrize(
    "size, num_levels", WHOLE_SIZES.values(), ids=WHOLE_SIZES
)
@pytest.mark.parametrize("large", [1, 2**20])
def test_a_whole_image_is_read_as_the_window_of_all_of_it(
    size, num_levels, large, monkeypatch
):
    """On pixels alone, and in a graph that does not know how many."""
    monkeypatch.setattr(pyramids, "LARGE_LEVEL", large)
    images = counted(2, *size, 2).astype("uint8")
    whole = np.stack([geometry.IDENTITY] * 2)
    expected = read_windows(
        image_pyramid(images, num_levels), whole, GLIMPSE, "nearest"
    )
    found = read_whole(image_pyramid(images, num_levels), GLIMPSE)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)

    @tf.function(
        input_signature=[tf.TensorSpec((None, None, None, 2), "uint8")]
    )
    def read(images):
        return read_whole(image_pyramid(images, num_levels), GLIMPSE)

    np.testing.assert_allclose(read(images), expected, rtol=1e-5, atol=1e-4)


def test_of_odd_sides_a_whole_image_is_read_within_a_pixel_of_the_level():
    columns = np.arange(331, dtype="float32")  # the level has 166, 165.5
    images = np.broadcast_to(columns[:, None], (1, 47, 331, 1))
    pyramid = image_pyramid(images, 2)
    patch = read_whole(pyramid, (20, 160))[0]
    expected = (np.arange(160) + 0.5) / 160 * 331 - 0.5
    np.testing.assert_allclose(patch[10, :, 0], expected, atol=2)


def test_the_gradient_of_a_whole_image_is_that_of_its_window():
    images = tf.constant(counted(2, 12, 20, 2), "float32")
    whole = np.stack([geometry.IDENTITY] * 2)
    weights = counted(2, *GLIMPSE, 2).astype("float32")
    gradients = []
    for read in (
        lambda pyramid: read_whole(pyramid, GLIMPSE),
        lambda pyramid: read_windows(pyramid, whole, GLIMPSE, "nearest"),
    ):
        with tf.GradientTape() as tape:
            tape.watch(images)
            total = tf.reduce_sum(read(image_pyramid(images, 3)) * weights)
        gradients.append(tape.gradient(total, images))
    np.testing.assert_allclose(*gradients, rtol=1e-3, atol=1e-3)


def test_a_large_image_has_the_gradient_of_a_small_one(monkeypatch):
    images = tf.constant(counted(1, 16, 24, 2), "float32")
    windows = np.array([WINDOWS["rotated"]], "float32")

    def gradient():
        with tf.GradientTape() as tape:
            tape.watch(images)
            patches = SpatialTransformerAttention(SMALL_GLIMPSE)(
                images, windows
            )
            total = tf.reduce_sum(tf.sin(patches))
        return tape.gradient(total, images)

    expected = gradient()
    assert np.abs(expected).max() > 0.01
    monkeypatch.setattr(pyramids, "LARGE_LEVEL", 50)
    monkeypatch.setattr(pyramids, "FEW_PIXELS", 0)
    np.testing.assert_allclose(gradient(), expected, atol=1e-6)


@pytest.mark.parametrize("antialias", [False, True])
def test_reading_twice_from_one_pyramid_is_reading_twice(antialias):
    images = counted(2, *WIDE_IMAGE, 2)
    attention = SpatialTransformerAttention(SMALL_GLIMPSE, antialias=antialias)
    pyramid = attention.pyramid(images)
    for name in ("zoomed", "rotated"):
        windows = np.array([WINDOWS[name]] * 2, "float32")
        np.testing.assert_array_equal(
            attention.read(pyramid, windows), attention(images, windows)
        )


# Nothing of these lies on the centre of a pixel, where the read has a kink
# and its gradient two values, nor on a whole level of the pyramid.
SMOOTH_WINDOWS = [
    [[0.43, 0.11, 0.07], [-0.13, 0.37, -0.09]],
    [[-0.61, 0.17, 0.23], [0.19, 0.53, 0.31]],
    [[0.91, -0.33, 0.41], [0.29, 1.07, -0.47]],
]


@pytest.mark.parametrize("fill_mode", ["zeros", "nearest"])
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("window", range(len(SMOOTH_WINDOWS)))
def test_the_gradient_is_that_of_central_differences(
    window, antialias, fill_mode
):
    slow = slow_antialiased_read if antialias else slow_read
    size, glimpse_size = (7, 9), (2, 3)
    image, transform = counted(*size, 2), np.array(SMOOTH_WINDOWS[window])
    weights = counted(*glimpse_size, 2) - 15

    points = points_of(transform, glimpse_size, size)
    for level in range(3 if antialias else 1):
        on_level = (points + 0.5) / 2**level - 0.5
        assert np.abs(on_level - np.round(on_level)).min() > 1e-3
    detail = slow_detail(transform, glimpse_size, size)
    assert np.abs(detail - np.round(detail)).min() > 1e-3

    def loss(image, transform):
        patch = slow(image, transform, glimpse_size, fill_mode)
        return (weights * patch).sum()

    def central_difference(function, values, step=1e-6):
        gradient = np.empty_like(values)
        for index in np.ndindex(*values.shape):
            change = np.zeros_like(values)
            change[index] = step
            gradient[index] = function(values + change) - function(
                values - change
            )
        return gradient / (2 * step)

    attention = SpatialTransformerAttention(
        glimpse_size, antialias=antialias, fill_mode=fill_mode
    )
    images = tf.constant(image[None], "float32")
    transforms = tf.constant(transform[None], "float32")
    with tf.GradientTape() as tape:
        tape.watch([images, transforms])
        total = tf.reduce_sum(weights * attention(images, transforms))
    to_images, to_transforms = tape.gradient(total, [images, transforms])

    expected = central_difference(lambda t: loss(image, t), transform)
    assert np.abs(expected).min() > 0.1  # all six count
    np.testing.assert_allclose(to_transforms[0], expected, rtol=1e-3, atol=0.01)
    expected = central_difference(lambda i: loss(i, transform), image)
    np.testing.assert_allclose(to_images[0], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("glimpse_size", [(7, 10), (4, 6), (9, 25)])
def test_the_identity_is_a_bilinear_resize(glimpse_size):
    image = counted(1, *IMAGE, 2)
    whole = geometry.IDENTITY[None]
    expected = tf.image.resize(image, glimpse_size, antialias=False).numpy()
    attention = SpatialTransformerAttention(
        glimpse_size, antialias=False, fill_mode="nearest"
    )
    assert_close(attention(image, whole), expected)
    # Eq. 3 has no pixels outside of the image, so what is read within half a
    # pixel of its edge fades to zero, where TensorFlow repeats the border.
    attention = SpatialTransformerAttention(glimpse_size, antialias=False)
    x, y = np.moveaxis(points_of(whole[0], glimpse_size, IMAGE), -1, 0)
    inner = (x >= 0) & (x <= IMAGE[1] - 1) & (y >= 0) & (y <= IMAGE[0] - 1)
    assert inner.any()
    patches = ops.convert_to_numpy(attention(image, whole))
    assert_close(patches[:, inner], expected[:, inner])


def test_a_pure_zoom_is_a_resize_of_the_crop():
    image = counted(1, *IMAGE, 2)
    left, top, right, bottom = 2, 1, 8, 6
    window = geometry.boxes_to_transforms(
        [[left, top, right, bottom]], box_format="xyxy", image_size=IMAGE
    )
    glimpse_size = (10, 18)
    patches = SpatialTransformerAttention(glimpse_size, antialias=False)(
        image, window
    )
    expected = tf.image.resize(
        image[:, top:bottom, left:right], glimpse_size, antialias=False
    ).numpy()
    # Near the edge of the window the read goes on to pixels that the crop has
    # not got: two pixels of the glimpse are one of the image in y, three in x.
    assert_close(patches[:, 1:-1, 2:-2], expected[:, 1:-1, 2:-2])


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_coordinates_stay_float32_under_every_policy(policy, antialias):
    # 1000 wide, columns counted up to 59: integers that half precision holds.
    columns = np.arange(1000) % 60
    image = np.broadcast_to(columns, (20, 1000)).reshape(1, 20, 1000, 1)
    attention = SpatialTransformerAttention(
        (8, 16), antialias=antialias, dtype=policy
    )
    window = geometry.boxes_to_transforms(
        [[984, 12, 1000, 20]], box_format="xyxy", image_size=(20, 1000)
    )
    patches = attention(image.astype("uint8"), window)
    assert patches.dtype == policy.removeprefix("mixed_")
    expected = np.broadcast_to(columns[984:], (8, 16))
    # A column is read 0.001 pixels beside, as its float32 index is rounded.
    np.testing.assert_allclose(
        ops.cast(patches[0, ..., 0], "float32"), expected, atol=0.13
    )


@pytest.mark.parametrize("antialias", [False, True])
def test_integers_are_read_as_floats_are(antialias):
    images = counted(2, *WIDE_IMAGE, 3)
    windows = np.array([WINDOWS["skewed"], WINDOWS["zoomed"]], "float32")
    attention = SpatialTransformerAttention(SMALL_GLIMPSE, antialias=antialias)
    np.testing.assert_array_equal(
        attention(images.astype("uint8"), windows),
        attention(images.astype("float32"), windows),
    )


@pytest.mark.parametrize("antialias", [False, True])
def test_one_graph_serves_batches_of_any_size(antialias):
    attention = SpatialTransformerAttention(SMALL_GLIMPSE, antialias=antialias)

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, *WIDE_IMAGE, 2)),
            tf.TensorSpec((None, 2, 3)),
        ]
    )
    def read(images, transforms):
        return attention(images, transforms)

    images = counted(3, *WIDE_IMAGE, 2).astype("float32")
    windows = np.array(
        [WINDOWS["rotated"], WINDOWS["zoomed"], WINDOWS["skewed"]], "float32"
    )
    expected = ops.convert_to_numpy(attention(images, windows))
    assert_close(read(images, windows), expected)
    assert_close(read(images[1:2], windows[1:2]), expected[1:2])


def test_a_side_is_two_equal_sides():
    assert SpatialTransformerAttention(5).glimpse_size == (5, 5)
    assert SpatialTransformerAttention([3, 5]).glimpse_size == (3, 5)


@pytest.mark.parametrize(
    "arguments",
    [
        dict(glimpse_size=0),
        dict(glimpse_size=(3, -1)),
        dict(glimpse_size=(3, 4, 5)),
        dict(glimpse_size=2.5),
        dict(glimpse_size="26"),
        dict(glimpse_size=None),
        dict(glimpse_size=3, fill_mode="reflect"),
    ],
)
def test_a_wrong_argument_is_refused(arguments):
    with pytest.raises(ValueError, match="Received: "):
        SpatialTransformerAttention(**arguments)


@pytest.mark.parametrize(
    "images, transforms",
    [
        ((2, 7, 10), (2, 2, 3)),
        ((7, 10, 2), (2, 3)),
        ((2, 1, 7, 10, 2), (2, 2, 3)),
        ((2, 7, 10, 1), (2, 6)),
        ((2, 7, 10, 1), (2, 3, 2)),
        ((2, 7, 10, 1), (2, 3)),
        ((2, 7, 10, 1), (2, 1, 2, 3)),
    ],
)
@pytest.mark.parametrize("antialias", [False, True])
def test_inputs_of_another_shape_are_refused(images, transforms, antialias):
    attention = SpatialTransformerAttention(3, antialias=antialias)
    with pytest.raises(ValueError, match="Received: "):
        attention(np.zeros(images), np.zeros(transforms, "float32"))


@pytest.mark.parametrize("fill_mode", ["zeros", "nearest"])
def test_images_of_unknown_size_are_read_as_those_of_a_known_one(fill_mode):
    attention = SpatialTransformerAttention((3, 4), fill_mode=fill_mode)
    read = tf.function(
        attention,
        input_signature=(
            tf.TensorSpec((None, None, None, 2)),
            tf.TensorSpec((2, 2, 3)),
        ),
    )
    windows = np.array([[[0.9, 0.1, 0.2], [0, 1.2, -0.3]]] * 2, "float32")
    for size in ((1, 1), (7, 10), (31, 64), (201, 3)):
        images = counted(2, *size, 2)
        np.testing.assert_allclose(
            read(images, windows), attention(images, windows), atol=1e-4
        )


def test_a_large_image_of_unknown_size_stays_of_its_type():
    make = tf.function(
        lambda images: tuple(image_pyramid(images, 3)),
        input_signature=(tf.TensorSpec((None, None, None, 1), tf.uint8),),
    )
    (finest, others), sizes = make(np.full((1, 6, 9, 1), 8, "uint8"))
    assert finest.dtype == tf.uint8
    np.testing.assert_array_equal(sizes, [(6, 9), (3, 5), (2, 3)])
    np.testing.assert_array_equal(others, np.full((1, 3 * 5 + 2 * 3, 1), 8.0))


@pytest.mark.filterwarnings("ignore::UserWarning:tensorflow_addons")
def test_the_read_agrees_with_tensorflow_addons():
    # tfa-nightly 0.23.0.dev20240415222534, the last there will ever be; its
    # operators in Python work beside today's TensorFlow, but it warns of that.
    try:
        addons = importlib.import_module("tensorflow_addons.image")
    except Exception as error:
        pytest.skip(f"tensorflow_addons cannot be imported: {error!r}")
    images = counted(3, *IMAGE, 2).astype("float32")
    names = ("rotated", "skewed", "partly outside")
    windows = np.array([WINDOWS[name] for name in names], "float32")
    points = np.stack([points_of(one, GLIMPSE, IMAGE) for one in windows])
    # "xy" is our order, the default is row and column; a point outside is
    # moved to the border, which is our "nearest".
    expected = addons.interpolate_bilinear(
        images, points.reshape(3, -1, 2).astype("float32"), indexing="xy"
    ).numpy()
    attention = SpatialTransformerAttention(
        GLIMPSE, antialias=False, fill_mode="nearest"
    )
    assert_close(attention(images, windows), expected.reshape(3, *GLIMPSE, 2))


def test_a_pyramid_with_zeros_outside_averages_them_too():
    images = counted(2, *WIDE_IMAGE, 3) + 1
    pyramid = image_pyramid(ops.cast(images, "float32"), 4, fill_mode="zeros")
    assert pyramid.sizes == ((23, 30), (12, 15), (6, 8), (3, 4))
    for level, pixels in enumerate(images_of(pyramid)):
        side = 2**level
        height, width = pyramid.sizes[level]
        padded = np.zeros((2, height * side, width * side, 3))
        padded[:, :23, :30] = images
        expected = padded.reshape(2, height, side, width, side, 3).mean((2, 4))
        assert_close(pixels, expected)


def test_no_piece_of_a_pyramid_of_known_size_is_empty():
    # A copy of no rows becomes a reshape that ONNX Runtime refuses.
    graph = tf.function(lambda images: image_pyramid(images, 4).parts)
    graph = graph.get_concrete_function(tf.TensorSpec((None, 40, 50, 1))).graph
    shapes = [
        output.shape.as_list()
        for operation in graph.get_operations()
        for output in operation.outputs
    ]
    assert [None, 20, 1, 1] in shapes  # the column that is repeated
    assert not [shape for shape in shapes if 0 in shape[1:]]


def test_the_border_of_a_pyramid_is_repeated_unless_told():
    images = ops.ones((1, *WIDE_IMAGE, 1))
    (repeated,) = image_pyramid(images, 4).parts
    (nearest,) = image_pyramid(images, 4, fill_mode="nearest").parts
    np.testing.assert_array_equal(repeated, nearest)
    assert np.all(np.isclose(repeated, 1))
    (zeros,) = image_pyramid(images, 4, fill_mode="zeros").parts
    # The last of 3x4 is 8x8 pixels, of which 23 - 16 and 30 - 24 are there.
    np.testing.assert_allclose(zeros[0, -1, 0], 7 / 8 * 6 / 8, rtol=1e-5)


# On the image, half a pixel beside it, and far outside.
COLUMNS = np.array([-9.0, -0.75, 0.0, 3.3, 16.0, 29.4, 41.0])
ROWS = np.array([-0.5, 2.0, 7.7, 22.25, 50.0])
POINTS = np.stack(np.meshgrid(COLUMNS, ROWS), axis=-1).reshape(-1, 1, 2)


def slow_read_points(image, level, points, fill_mode="zeros"):
    """Points `(P, 1, 2)` -> `(P, C)`."""
    for _ in range(level):
        image = slow_half(image)
    points = (points + 0.5) / 2**level - 0.5
    return slow_read_at(image, points, fill_mode)[:, 0]


@pytest.mark.parametrize("fill_mode", ["zeros", "nearest"])
@pytest.mark.parametrize(
    "levels", [[[0]], [[1]], [[2, 0, 3]], [[3, 0], [1, 2]]]
)
def test_points_are_read_at_pixels_of_the_finest_level(levels, fill_mode):
    """Some levels for all images, or others for each of them."""
    images = counted(2, *WIDE_IMAGE, 3)
    pyramid = image_pyramid(ops.cast(images, "float32"), 4)
    levels = np.array(levels, "int32")
    points = geometry.resized_pixels(
        np.moveaxis(POINTS, 0, -1)[None, None, 0],
        0.5 ** levels[..., None, None],
    )  # (B, L, 2, P)
    found = read_points(pyramid, ops.cast(points, "float32"), levels, fill_mode)
    expected = [
        [slow_read_points(image, level, POINTS, fill_mode) for level in row]
        for image, row in zip(
            images, np.broadcast_to(levels, (2, len(levels[0]))), strict=True
        )
    ]
    assert_close(found, np.array(expected))


def test_points_can_be_others_in_each_image_and_level():
    images = counted(2, *WIDE_IMAGE, 3)
    pyramid = image_pyramid(ops.cast(images, "float32"), 2)
    rows = np.array([[[3.25, 4.0]], [[17.5, -2.0]]])  # by image
    columns = np.array([[[8.5, 21.0], [0.0, 9.25]]])  # by level
    points = np.stack(np.broadcast_arrays(columns, rows), 2)  # (B, L, 2, P)
    shrink = np.array([0.5, 1])[:, None, None]
    found = read_points(
        pyramid,
        ops.cast(geometry.resized_pixels(points, shrink), "float32"),
        np.array([[1, 0]], "int32"),
    )
    expected = [
        [
            slow_read_points(
                images[image],
                level,
                np.stack([columns[0, place], rows[image, 0]], -1)[:, None],
            )
            for place, level in enumerate([1, 0])
        ]
        for image in range(2)
    ]
    assert_close(found, np.array(expected))


@pytest.mark.parametrize("number", [1, 3])
def test_windows_of_another_batch_than_the_pyramid_are_refused(number):
    attention = SpatialTransformerAttention(GLIMPSE)
    pyramid = attention.pyramid(counted(2, *IMAGE, 1))
    windows = np.tile(geometry.IDENTITY, (number, 1, 1))
    with pytest.raises(ValueError, match="Received: pyramid of shape"):
        attention.read(pyramid, windows)


@pytest.mark.parametrize("num_levels", [1, 2])
def test_a_border_that_is_none_is_refused_where_windows_are_read(num_levels):
    pyramid = image_pyramid(ops.ones((1, *IMAGE, 1)), num_levels)
    with pytest.raises(ValueError, match="Received: fill_mode='mirror'"):
        read_windows(pyramid, geometry.IDENTITY[None], GLIMPSE, "mirror")


@pytest.mark.parametrize(
    "changes",
    [dict(num_levels=0), dict(num_levels=1.5), dict(fill_mode="zero")],
)
def test_a_pyramid_of_no_level_or_unknown_border_is_refused(changes):
    arguments = {"num_levels": 2, **changes}
    with pytest.raises(ValueError, match="Received: "):
        image_pyramid(ops.ones((1, *IMAGE, 1)), **arguments)


@pytest.mark.parametrize("fill_mode", ["zeros", "nearest"])
@pytest.mark.parametrize("image_size", [(1, 6), (5, 1), (1, 1), (2, 3)])
def test_sides_of_a_pixel_have_no_second_one(image_size, fill_mode):
    images = counted(2, *image_size, 1)
    pyramid = image_pyramid(ops.cast(images, "float32"), 2)
    points = np.array([[-0.5, 0.25, 0.75, 1.5], [0.5, 0, -0.25, 3]])
    found = read_points(
        pyramid,
        ops.cast([[points, points]], "float32"),
        np.array([[1, 0]], "int32"),
        fill_mode,
    )
    expected = [
        [
            slow_read_at(level, points.T[:, None], fill_mode)[:, 0]
            for level in (slow_half(image), image)
        ]
        for image in images
    ]
    assert_close(found, np.array(expected))


@pytest.mark.parametrize("antialias", [True, False])
def test_a_window_that_is_the_image_itself_has_a_gradient(antialias):
    """All its points lie on the centres of pixels, where slopes differ."""
    layer = SpatialTransformerAttention(IMAGE, antialias=antialias)
    ramp = np.tile(np.arange(IMAGE[1]), (IMAGE[0], 1))[None, ..., None] * 2.0
    transforms = tf.constant(geometry.IDENTITY[None])
    with tf.GradientTape() as tape:
        tape.watch(transforms)
        patches = layer(ramp, transforms)
        total = tf.reduce_sum(patches[:, :, :-1])  # the last has no right one
    # θ3 moves a point by half of the image's width, 5 pixels of 2 each.
    points = IMAGE[0] * (IMAGE[1] - 1)
    gradient = tape.gradient(total, transforms)
    np.testing.assert_allclose(gradient[0, 0, 2], points * 5 * 2, rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_pixel_that_is_no_number_stays_in_its_image(channels):
    make = tf.function(
        lambda images: image_pyramid(images, 3)[0],
        input_signature=(tf.TensorSpec((None, None, None, channels)),),
    )
    images = np.ones((2, 201, 131, channels), "float32")
    images[0, -1, -1] = np.nan
    _, halves = make(images)
    assert np.isnan(halves[0]).any()
    assert np.isfinite(halves[1]).all()
