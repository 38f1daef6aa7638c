"""The retina against means of an image with zeros around it, in slow NumPy."""

import math

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_edram.layers import RetinaGlimpse, SpatialTransformerAttention

# Height and width, odd again and again: 13, 7, 4, 2 and 21, 11, 6, 3.
IMAGE = (13, 21)
G = 4


def counted(*shape):
    """Numbers 0 to 1 in an order without symmetry, neighbours far apart."""
    return (np.arange(math.prod(shape)) * 7 % 31).reshape(shape) / 31


def to_location(x, y, image_size=IMAGE):
    """From pixels, 0 being the edge of the image, to [-1, 1]."""
    height, width = image_size
    return [2 * x / width - 1, 2 * y / height - 1]


def mean_of_box(image, left, top, side):
    """Mean of `side` x `side` whole pixels, zeros outside of the image."""
    total = np.zeros(image.shape[-1])
    for row, column in np.ndindex(side, side):
        row, column = top + row, left + column
        if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
            total += image[row, column]
    return total / side**2


def slow_patch(image, x, y, side, glimpse_size=G):
    """Boxes of `side` whole pixels around (x, y) in pixels from the edge."""
    left, top = (value - glimpse_size * side / 2 for value in (x, y))
    assert left == int(left) and top == int(top)
    patch = np.empty((glimpse_size, glimpse_size, image.shape[-1]))
    for i, j in np.ndindex(glimpse_size, glimpse_size):
        patch[i, j] = mean_of_box(
            image, int(left) + j * side, int(top) + i * side, side
        )
    return patch


def hats(position, side):
    """max(0, 1 - |position - m|) for each of `side` pixels m."""
    return np.maximum(0, 1 - np.abs(position - np.arange(side)))


def slow_halves(image, num_levels):
    """The image and means of 2x2, 4x4, ... of its pixels, zeros outside."""
    levels = []
    for level in range(num_levels):
        side = 2**level
        height, width = (math.ceil(n / side) for n in image.shape[:2])
        levels.append(np.empty((height, width, image.shape[-1])))
        for i, j in np.ndindex(height, width):
            levels[-1][i, j] = mean_of_box(image, j * side, i * side, side)
    return levels


def slow_interpolation(image, x, y, factor, scale, glimpse_size=G):
    """Bilinear reads of two levels, blended by the fraction of log2 s^z."""
    step = factor**scale
    detail = math.log2(step)
    levels = slow_halves(image, 2 + math.floor(detail))
    patch = np.zeros((glimpse_size, glimpse_size, image.shape[-1]))
    for i, j in np.ndindex(glimpse_size, glimpse_size):
        column = x + step * (j - (glimpse_size - 1) / 2)
        row = y + step * (i - (glimpse_size - 1) / 2)
        for index, level in enumerate(levels):
            share = max(0, 1 - abs(detail - index))
            patch[i, j] += share * np.einsum(
                "n,m,nmc->c",
                hats(row / 2**index - 0.5, level.shape[0]),
                hats(column / 2**index - 0.5, level.shape[1]),
                level,
            )
    return patch


def look(images, locations, *args, flatten_scales=False, **kwargs):
    """Patches `(B, Z, g, g, C)` as NumPy."""
    retina = RetinaGlimpse(*args, flatten_scales=flatten_scales, **kwargs)
    patches = retina(
        np.array(images, "float32"), np.array(locations, "float32")
    )
    return ops.convert_to_numpy(patches)


# Multiples of 8 pixels, so that windows of 4 scales fall on whole pixels of
# the levels that they are read from; the later ones on the border, half
# outside, outside at the finest scale, and outside at all.
PLACES = [(8, 8), (16, 8), (0, 0), (24, 16), (-8, 8), (16, -16), (-40, 88)]


@pytest.mark.parametrize("num_scales", [1, 2, 3, 4])
def test_each_scale_is_the_mean_over_boxes_twice_as_wide(num_scales):
    images = counted(len(PLACES), *IMAGE, 2)
    locations = [to_location(*place) for place in PLACES]
    patches = look(images, locations, G, num_scales)
    assert patches.shape == (len(PLACES), num_scales, G, G, 2)
    for index, (x, y) in enumerate(PLACES):
        for scale in range(num_scales):
            np.testing.assert_allclose(
                patches[index, scale],
                slow_patch(images[index], x, y, 2**scale),
                atol=1e-5,
            )
    assert not patches[-1].any()
    assert patches[:3].any(axis=(1, 2, 3, 4)).all()


@pytest.mark.parametrize("scale", [0, 1, 2])
def test_a_glimpse_with_an_odd_side_is_centred(scale):
    # Its middle pixel lies around the location, which for windows on whole
    # pixels of that level is half a box from their corners.
    image, side = counted(*IMAGE, 2), 2**scale
    places = [(2.5 * side, 1.5 * side), (0.5 * side, 3.5 * side)]
    patches = look([image] * 2, [to_location(*place) for place in places], 3, 3)
    for index, place in enumerate(places):
        np.testing.assert_allclose(
            patches[index, scale],
            slow_patch(image, *place, side, glimpse_size=3),
            atol=1e-5,
        )


ANYWHERE = [(7.3, 4.9), (13.75, 9.2), (0.4, 12.8), (22.1, 6.0), (-3.3, -1.7)]


@pytest.mark.parametrize("factor", [1, 1.5, 2, 3])
def test_between_pixels_the_read_interpolates(factor):
    images = counted(len(ANYWHERE), *IMAGE, 2)
    locations = [to_location(*place) for place in ANYWHERE]
    patches = look(images, locations, G, 3, factor)
    for index, place in enumerate(ANYWHERE):
        for scale in range(3):
            np.testing.assert_allclose(
                patches[index, scale],
                slow_interpolation(images[index], *place, factor, scale),
                atol=1e-5,
            )


def test_x_goes_to_the_right_and_y_downwards():
    rows, columns = np.indices(IMAGE)
    image = np.stack([columns, rows], axis=-1)
    patch = look([image], [to_location(12, 5)], 2)[0, 0]
    np.testing.assert_allclose(patch[..., 0], [[11, 12], [11, 12]], atol=1e-5)
    np.testing.assert_allclose(patch[..., 1], [[4, 4], [5, 5]], atol=1e-5)


def test_a_batch_is_read_as_its_images_one_by_one():
    images = counted(len(ANYWHERE), *IMAGE, 2)
    locations = [to_location(*place) for place in ANYWHERE]
    together = look(images, locations, G, 3, 1.5)
    for index in range(len(ANYWHERE)):
        alone = look(images[index, None], [locations[index]], G, 3, 1.5)
        np.testing.assert_allclose(together[index], alone[0], atol=1e-6)


def test_all_channels_of_the_finest_scale_come_first():
    images = counted(2, *IMAGE, 3)
    locations = [to_location(*place) for place in ANYWHERE[:2]]
    apart = look(images, locations, G, 4)
    channels = look(images, locations, G, 4, flatten_scales=True)
    assert channels.shape == (2, G, G, 12)
    for scale in range(4):
        np.testing.assert_array_equal(
            channels[..., 3 * scale : 3 * scale + 3], apart[:, scale]
        )


@pytest.mark.parametrize("factor", [1, 1.5, 2, 3])
def test_a_constant_image_stays_constant_inside(factor):
    # Far enough from the border for the pixels around the widest window.
    patches = look(np.full((1, 80, 70, 1), 5.0), [[0.1, -0.05]], G, 3, factor)
    np.testing.assert_allclose(patches, np.full_like(patches, 5), rtol=1e-5)


def test_without_growth_all_scales_are_one():
    images = counted(1, *IMAGE, 2)
    patches = look(images, [to_location(7.3, 4.9)], G, 3, scale_factor=1)
    np.testing.assert_array_equal(patches[:, 1], patches[:, 0])
    np.testing.assert_array_equal(patches[:, 2], patches[:, 0])


def test_boxes_of_three_pixels_are_nearly_averaged():
    """A blend of boxes of 2 and 4 pixels, where the image is smooth."""
    rows, columns = np.indices((60, 70))
    image = np.sin(columns / 8 + rows / 18)[..., None]
    places = [(30, 30), (33, 27), (41, 32)]
    locations = [to_location(*place, (60, 70)) for place in places]
    patches = look([image] * 3, locations, G, 2, scale_factor=3)
    for index, place in enumerate(places):
        expected = slow_patch(image, *place, 3)
        error = np.abs(patches[index, 1] - expected).max()
        # 0.023: interpolation blurs too. The coarser level alone has 0.038.
        assert error < 0.03


@pytest.mark.parametrize("scale", [0, 1, 2])
def test_windows_are_what_the_scales_show(scale):
    retina = RetinaGlimpse(6, 3, scale_factor=1.5)
    locations = np.array([to_location(*place) for place in ANYWHERE])
    windows = ops.convert_to_numpy(retina.windows(locations, IMAGE, scale))
    assert windows.shape == (len(ANYWHERE), 2, 3)
    for window, (x, y) in zip(windows, ANYWHERE, strict=True):
        side = 6 * 1.5**scale  # in pixels
        edges = window @ [[-1, 1], [-1, 1], [1, 1]]
        in_pixels = (edges + 1) / 2 * np.array(IMAGE)[::-1, None]
        expected = [[x - side / 2, x + side / 2], [y - side / 2, y + side / 2]]
        np.testing.assert_allclose(in_pixels, expected, atol=1e-5)


def test_the_sharpest_window_is_read_alike_by_the_attention():
    images = counted(len(ANYWHERE), *IMAGE, 2).astype("float32")
    locations = np.array([to_location(*place) for place in ANYWHERE])
    windows = RetinaGlimpse(G, 3).windows(locations, IMAGE)
    attention = SpatialTransformerAttention(G, antialias=False)
    patches = look(images, locations, G, 3)
    np.testing.assert_allclose(
        attention(images, windows), patches[:, 0], atol=1e-5
    )


def test_windows_keep_leading_dimensions():
    locations = np.array([to_location(*place) for place in ANYWHERE[:4]])
    retina = RetinaGlimpse(G)
    np.testing.assert_array_equal(
        retina.windows(locations.reshape(2, 2, 2), IMAGE),
        ops.reshape(retina.windows(locations, IMAGE), (2, 2, 2, 3)),
    )


def test_reading_twice_from_one_pyramid_is_reading_twice():
    retina = RetinaGlimpse(G, 3)
    images = counted(2, *IMAGE, 2).astype("float32")
    pyramid = retina.pyramid(images)
    for place in ANYWHERE[:2]:
        locations = np.array([to_location(*place)] * 2, "float32")
        np.testing.assert_array_equal(
            retina.read(pyramid, locations), retina(images, locations)
        )


def test_integers_are_read_as_floats_are():
    images = (counted(2, *IMAGE, 3) * 255).astype("uint8")
    locations = [to_location(*place) for place in ANYWHERE[:2]]
    retina = RetinaGlimpse(G, 3)
    np.testing.assert_array_equal(
        retina(images, np.array(locations, "float32")),
        look(images, locations, G, 3, flatten_scales=True),
    )


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_coordinates_stay_float32_under_every_policy(policy):
    # 1000 wide: half precision cannot tell its right columns apart.
    images = counted(2, 20, 1000, 1).astype("float32")
    places = [(984.5, 8), (991, 11.5)]
    locations = [to_location(*place, (20, 1000)) for place in places]
    locations = np.array(locations, "float32")
    half = RetinaGlimpse(8, 2, dtype=policy)(images, locations)
    assert half.dtype == policy.removeprefix("mixed_")
    full = RetinaGlimpse(8, 2)(images, locations)
    assert full.dtype == "float32"
    np.testing.assert_array_equal(
        ops.cast(half, "float32"),
        ops.cast(ops.cast(full, half.dtype), "float32"),
    )


def test_the_gradient_to_the_location_is_the_slope_of_the_image():
    rows, columns = np.indices((40, 60))
    image = (3.0 * columns + 5.0 * rows)[None, ..., None]
    retina = RetinaGlimpse(G, 2)
    locations = tf.constant([[0.03, -0.11]])
    with tf.GradientTape() as tape:
        tape.watch(locations)
        mean = tf.reduce_mean(retina(image, locations))
    # Half of the width is 30 pixels, half of the height 20.
    gradient = tape.gradient(mean, locations)
    np.testing.assert_allclose(gradient, [[3 * 30, 5 * 20]], rtol=1e-4)


def test_the_gradient_to_the_image_is_what_each_pixel_counts():
    image = tf.constant(counted(1, *IMAGE, 1), "float32")
    retina = RetinaGlimpse(G, 2, flatten_scales=False)
    location = np.array([to_location(8, 8)], "float32")
    with tf.GradientTape() as tape:
        tape.watch(image)
        total = tf.reduce_sum(retina(image, location)[:, 1])
    expected = np.zeros(IMAGE)
    expected[4:12, 4:12] = 1 / 4  # boxes of 2x2 around (8, 8)
    np.testing.assert_allclose(
        tape.gradient(total, image)[0, ..., 0], expected, atol=1e-5
    )


@pytest.mark.parametrize(
    "arguments",
    [
        dict(glimpse_size=0),
        dict(glimpse_size=2.5),
        dict(glimpse_size=(3, 4)),
        dict(glimpse_size=None),
        dict(glimpse_size=3, num_scales=0),
        dict(glimpse_size=3, num_scales=1.5),
        dict(glimpse_size=3, scale_factor=0.9),
        dict(glimpse_size=3, scale_factor="2"),
        dict(glimpse_size=3, scale_factor=None),
        dict(glimpse_size=3, scale_factor=np.nan),
        dict(glimpse_size=3, scale_factor=np.inf),
        dict(glimpse_size=3, scale_factor=True),
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused(arguments):
    with pytest.raises(ValueError, match="Received: "):
        RetinaGlimpse(**arguments)


@pytest.mark.parametrize(
    "images, locations",
    [
        ((2, 7, 10), (2, 2)),
        ((2, 1, 7, 10, 2), (2, 2)),
        ((2, 7, 10, 1), (2, 3)),
        ((2, 7, 10, 1), (2,)),
        ((2, 7, 10, 1), (2, 1, 2)),
        ((2, 7, 10, 1), (1, 2)),
    ],
)
def test_inputs_of_another_shape_are_refused(images, locations):
    with pytest.raises(ValueError, match="Received: "):
        RetinaGlimpse(3)(np.zeros(images), np.zeros(locations, "float32"))


@pytest.mark.parametrize("number", [1, 3])
def test_locations_of_another_batch_than_the_pyramid_are_refused(number):
    retina = RetinaGlimpse(3)
    pyramid = retina.pyramid(counted(2, 7, 10, 1))
    with pytest.raises(ValueError, match="Received: pyramid of shape"):
        retina.read(pyramid, np.zeros((number, 2), "float32"))


@pytest.mark.parametrize("scale", [-1, 3, 0.5])
def test_a_window_of_no_scale_is_refused(scale):
    with pytest.raises(ValueError, match="from 0 to 2. Received: scale="):
        RetinaGlimpse(3, 3).windows(np.zeros((1, 2)), IMAGE, scale)


@pytest.mark.parametrize("scale_factor", [1.5, 2])
def test_images_of_unknown_size_are_read_as_those_of_a_known_one(scale_factor):
    retina = RetinaGlimpse(3, 3, scale_factor)
    images = tf.TensorSpec((None, None, None, 1))
    read = tf.function(retina, input_signature=(images, tf.TensorSpec((2, 2))))
    generator = np.random.default_rng(0)
    for size in ((1, 1), (7, 10), (31, 64), (201, 3)):
        images = generator.uniform(size=(2, *size, 1)).astype("float32")
        places = generator.uniform(-1, 1, (2, 2)).astype("float32")
        np.testing.assert_allclose(
            read(images, places), retina(images, places), atol=1e-5
        )
