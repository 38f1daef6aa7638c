"""Geometry against slow NumPy: one number after the other, in float64.

Images and glimpses are nowhere square, and inputs are counted, so that no two
axes and no two elements can be exchanged without a difference.
"""

import itertools
import re

import numpy as np
import pytest
from keras import ops

from keras_edram import geometry

IMAGE = (10, 16)  # height, width
GLIMPSE = (2, 5)

# Moved and zoomed, skewed, rotated by 30 degrees, mirrored, outside.
TRANSFORMS = np.array(
    [
        [[0.5, 0.0, -0.25], [0.0, 0.75, 0.125]],
        [[0.5, 0.25, 0.1], [-0.125, 0.375, -0.3]],
        [[0.866, -0.5, 0.0], [0.5, 0.866, 0.2]],
        [[-0.4, 0.1, 0.3], [0.2, -0.6, 0.4]],
        [[0.1, 0.2, 3.0], [0.3, 0.4, -5.0]],
        [[0.01, 0.02, 0.03], [0.04, 0.05, 0.06]],
    ]
)
BOXES = np.array(
    [
        [[0.0, 0.0, 1.0, 1.0], [0.1, 0.2, 0.4, 0.8], [0.5, 0.25, 0.75, 1.0]],
        [[-0.5, 0.1, 0.2, 0.3], [0.7, 0.6, 1.5, 1.25], [0.3, 0.4, 0.3, 0.9]],
    ]
)
IDENTITY = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def assert_close(tensor, expected, atol=1e-6):
    assert tensor.dtype in ("float32", np.float32)
    assert tuple(tensor.shape) == np.shape(expected)
    np.testing.assert_allclose(tensor, expected, rtol=1e-5, atol=atol)


def point_of(transform, x, y):
    """Eq. 2 for one point."""
    (t1, t2, t3), (t4, t5, t6) = transform
    return t1 * x + t2 * y + t3, t4 * x + t5 * y + t6


def to_pixel(point, image_size):
    """Edges -1 and 1 are half a pixel outside of the first and last centre."""
    height, width = image_size
    x, y = point
    return (x + 1) / 2 * width - 0.5, (y + 1) / 2 * height - 0.5


def corners_of(transform):
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    return np.array([point_of(transform, x, y) for x, y in corners])


def box_of(transform):
    """Corner by corner, in fractions of the sides."""
    corners = (corners_of(transform) + 1) / 2
    return [*corners.min(axis=0), *corners.max(axis=0)]


def slow_iou(box_1, box_2):
    def area(left, top, right, bottom):
        return max(0, right - left) * max(0, bottom - top)

    shared = area(
        max(box_1[0], box_2[0]),
        max(box_1[1], box_2[1]),
        min(box_1[2], box_2[2]),
        min(box_1[3], box_2[3]),
    )
    union = area(*box_1) + area(*box_2) - shared
    return shared / union if union else 0.0


def test_the_corners_of_a_box_are_those_of_its_window():
    transforms = ops.convert_to_numpy(geometry.boxes_to_transforms(BOXES))
    assert transforms.shape == (2, 3, 2, 3)
    for index in np.ndindex(2, 3):
        left, top, right, bottom = 2 * BOXES[index] - 1
        expected = [(left, top), (right, top), (right, bottom), (left, bottom)]
        np.testing.assert_allclose(
            corners_of(transforms[index]), expected, atol=1e-6
        )


def test_boxes_to_transforms_follows_the_formula():
    expected = np.empty((2, 3, 2, 3))
    for index in np.ndindex(2, 3):
        left, top, right, bottom = BOXES[index]
        expected[index] = [
            [right - left, 0, left + right - 1],
            [0, bottom - top, top + bottom - 1],
        ]
    assert_close(geometry.boxes_to_transforms(BOXES), expected)


def test_boxes_in_pixels_are_divided_by_their_own_side():
    pixels = BOXES * [16, 10, 16, 10]
    assert_close(
        geometry.boxes_to_transforms(
            pixels, box_format="xyxy", image_size=IMAGE
        ),
        geometry.boxes_to_transforms(BOXES),
    )


def test_integer_boxes_are_taken_as_they_are():
    # Width 4 of 16, height 5 of 10; centre (4, 4.5) of (8, 5).
    assert_close(
        geometry.boxes_to_transforms(
            [[2, 2, 6, 7]], box_format="xyxy", image_size=IMAGE
        ),
        [[[0.25, 0, -0.5], [0, 0.5, -0.1]]],
    )


def test_the_box_of_a_window_holds_its_corners_and_no_more():
    expected = [box_of(transform) for transform in TRANSFORMS]
    assert_close(geometry.transforms_to_boxes(TRANSFORMS), expected)


def test_the_box_of_a_window_in_pixels():
    expected = [
        np.multiply(box_of(transform), [16, 10, 16, 10])
        for transform in TRANSFORMS
    ]
    boxes = geometry.transforms_to_boxes(
        TRANSFORMS, box_format="xyxy", image_size=IMAGE
    )
    assert_close(boxes, expected, atol=1e-5)


@pytest.mark.parametrize("box_format", geometry.BOX_FORMATS)
def test_boxes_come_back_from_transforms(box_format):
    options = dict(box_format=box_format, image_size=IMAGE)
    transforms = geometry.boxes_to_transforms(BOXES, **options)
    assert_close(geometry.transforms_to_boxes(transforms, **options), BOXES)


def test_the_identity_is_the_window_of_the_whole_image():
    assert_close(geometry.boxes_to_transforms([0, 0, 1, 1]), IDENTITY)
    assert_close(geometry.transforms_to_boxes(IDENTITY), [0, 0, 1, 1])
    np.testing.assert_array_equal(geometry.IDENTITY, IDENTITY)


def test_pixel_centres_lie_between_edges():
    assert_close(geometry.pixel_centres(4), [-0.75, -0.25, 0.25, 0.75])
    assert_close(geometry.pixel_centres(1), [0])


def test_pixel_offsets_are_from_the_middle_of_the_side():
    # Pixel 0 of 4 lies (4 - 1) / 2 before the middle.
    assert_close(geometry.pixel_offsets(4), [-1.5, -0.5, 0.5, 1.5])
    assert_close(geometry.pixel_offsets(3), [-1, 0, 1])


def test_resized_pixels_are_the_same_points():
    points = np.array([[-1, -1], [0.25, -0.5], [1, 1.5]])
    half, whole = (
        geometry.points_to_pixels(points, size) for size in ((5, 8), IMAGE)
    )
    assert_close(geometry.resized_pixels(whole, 0.5), half)


def test_centres_are_where_the_middle_of_a_glimpse_lies():
    expected = [point_of(transform, 0, 0) for transform in TRANSFORMS]
    assert_close(geometry.centres(TRANSFORMS), expected)
    assert_close(geometry.centres(TRANSFORMS.reshape(6, 6)), expected)
    assert_close(
        geometry.centres(TRANSFORMS.reshape(2, 3, 2, 3)),
        np.reshape(expected, (2, 3, 2)),
    )


def test_the_sampling_grid_follows_equation_2():
    height, width = GLIMPSE
    expected = np.empty((6, 2, height, width))
    for index, row, column in np.ndindex(6, height, width):
        x = (column + 0.5) / width * 2 - 1
        y = (row + 0.5) / height * 2 - 1
        expected[index, :, row, column] = point_of(TRANSFORMS[index], x, y)
    assert_close(geometry.sampling_grid(TRANSFORMS, GLIMPSE), expected)


def test_the_sampling_grid_keeps_leading_dimensions():
    transforms = TRANSFORMS.reshape(2, 3, 2, 3)
    grid = geometry.sampling_grid(transforms, GLIMPSE)
    assert grid.shape == (2, 3, 2, *GLIMPSE)
    assert_close(
        ops.reshape(grid, (6, 2, *GLIMPSE)),
        geometry.sampling_grid(TRANSFORMS, GLIMPSE),
    )


def test_the_identity_reads_each_pixel_at_its_index():
    height, width = IMAGE
    window = geometry.windows_in_pixels(IDENTITY, [[width], [height]])
    pixels = ops.convert_to_numpy(geometry.sampling_grid(window, IMAGE))
    for row, column in np.ndindex(*IMAGE):
        np.testing.assert_allclose(
            pixels[:, row, column], [column, row], atol=1e-5
        )


def test_windows_in_pixels_are_the_same_points():
    height, width = IMAGE
    points = geometry.sampling_grid(TRANSFORMS, GLIMPSE)
    windows = geometry.windows_in_pixels(TRANSFORMS, [[width], [height]])
    assert_close(
        ops.moveaxis(geometry.sampling_grid(windows, GLIMPSE), 1, -1),
        geometry.points_to_pixels(ops.moveaxis(points, 1, -1), IMAGE),
    )


def test_points_to_pixels_by_hand():
    # Left top edge, middle, right bottom edge, and a point outside.
    points = [[[-1, -1], [0, 0]], [[1, 1], [1.5, -2]]]
    expected = [[[-0.5, -0.5], [7.5, 4.5]], [[15.5, 9.5], [19.5, -5.5]]]
    assert_close(geometry.points_to_pixels(points, IMAGE), expected)


def test_window_corners_go_round_the_glimpse():
    expected = [
        [to_pixel(point, IMAGE) for point in corners_of(transform)]
        for transform in TRANSFORMS
    ]
    assert_close(
        geometry.window_corners(TRANSFORMS, IMAGE), expected, atol=1e-5
    )


def test_window_corners_in_fractions_of_the_sides():
    expected = [
        [((x + 1) / 2, (y + 1) / 2) for x, y in corners_of(transform)]
        for transform in TRANSFORMS
    ]
    assert_close(geometry.window_corners(TRANSFORMS), expected)


@pytest.mark.parametrize("number", [2, 3, 6])
def test_the_pixels_of_a_grid_s_window_are_its_filters(number):
    grids = np.array(
        [[[0, 0, 0], [0.5, -0.3, -1]], [[-1.2, 0.9, 0.4], [0.1, 0.2, -3]]]
    )
    windows = geometry.windows_of_grids(grids, number, IMAGE)
    assert_close(windows[..., 0, 1], np.zeros((2, 2)))
    assert_close(windows[..., 1, 0], np.zeros((2, 2)))
    points = geometry.sampling_grid(windows, (number, number))
    height, width = IMAGE
    expected = np.empty((2, 2, 2, number, number))
    for place in np.ndindex(2, 2):
        g_x, g_y, log_stride = grids[place]
        stride = (width - 1) / (number - 1) * np.exp(log_stride)
        for j, i in np.ndindex(number, number):
            # Pixels, counted from 1, whose first edge is at a half.
            x = (width + 1) / 2 * (g_x + 1) + (i - (number - 1) / 2) * stride
            y = (height + 1) / 2 * (g_y + 1) + (j - (number - 1) / 2) * stride
            expected[(*place, 0, j, i)] = (x - 0.5) / width * 2 - 1
            expected[(*place, 1, j, i)] = (y - 0.5) / height * 2 - 1
    assert_close(points, expected, atol=1e-5)


def test_the_window_of_a_grid_ends_half_a_distance_beyond_its_filters():
    # 15 pixels to 3 distances of 5: columns 0, 5, 10 and 15, and rows from
    # 4.5 - 7.5 on.
    windows = geometry.windows_of_grids([[0.0, 0.0, 0.0]], 4, IMAGE)
    corners = np.array(geometry.window_corners(windows, IMAGE))
    assert_close(corners[0, 0].astype("float32"), [-2.5, -5.5], atol=1e-5)
    assert_close(corners[0, 2].astype("float32"), [17.5, 14.5], atol=1e-5)


@pytest.mark.parametrize("number", [0, 1, 1.5])
def test_a_grid_of_fewer_than_two_filters_is_refused(number):
    with pytest.raises(ValueError, match="Received: grid_size="):
        geometry.windows_of_grids(np.zeros((1, 3)), number, IMAGE)


def test_the_pixel_step_is_the_longer_way_to_a_neighbour():
    height, width = GLIMPSE
    expected = []
    for transform in TRANSFORMS:
        here, right, below = (
            np.array(to_pixel(point_of(transform, x, y), IMAGE))
            for x, y in ((0, 0), (2 / width, 0), (0, 2 / height))
        )
        expected.append(
            max(((right - here) ** 2).sum(), ((below - here) ** 2).sum())
        )
    assert_close(
        geometry.squared_pixel_step(TRANSFORMS, GLIMPSE, IMAGE), expected
    )


def test_the_pixel_step_of_the_whole_image():
    # 16 columns to 5, 10 rows to 2: the step of 5 rows is the larger.
    assert_close(geometry.squared_pixel_step(IDENTITY, GLIMPSE, IMAGE), 25.0)
    assert_close(geometry.squared_pixel_step(IDENTITY, (10, 4), IMAGE), 16.0)


@pytest.mark.parametrize(
    "box_1, box_2, expected",
    [
        pytest.param([0, 0, 4, 2], [0, 0, 4, 2], 1.0, id="equal"),
        pytest.param([0, 0, 1, 1], [5, 5, 6, 7], 0.0, id="disjoint"),
        pytest.param([0, 0, 1, 1], [0, 5, 1, 7], 0.0, id="apart in y"),
        pytest.param([0, 0, 4, 4], [1, 1, 3, 2], 2 / 16, id="nested"),
        pytest.param([0, 0, 2, 3], [2, 0, 4, 3], 0.0, id="touching"),
        pytest.param([0, 0, 2, 1], [1, 0, 3, 1], 1 / 3, id="half in x"),
        pytest.param([0, 0, 1, 4], [0, 3, 1, 7], 1 / 7, id="a row in y"),
        pytest.param([1, 1, 1, 5], [0, 0, 4, 4], 0.0, id="no width"),
        pytest.param([1, 1, 1, 1], [1, 1, 1, 1], 0.0, id="both empty"),
        pytest.param([2, 2, 1, 1], [0, 0, 4, 4], 0.0, id="turned over"),
        pytest.param([-3, -2, -1, -1], [-2, -2, 0, -1], 1 / 3, id="negative"),
    ],
)
def test_iou_by_hand(box_1, box_2, expected):
    assert_close(geometry.iou(box_1, box_2), expected)
    assert_close(geometry.iou(box_2, box_1), expected)


def test_iou_of_pairs_and_of_one_with_all():
    boxes = BOXES.reshape(6, 4)
    pairs = [slow_iou(*pair) for pair in zip(boxes, boxes[::-1], strict=True)]
    assert_close(geometry.iou(boxes, boxes[::-1]), pairs)
    with_first = [slow_iou(boxes[0], box) for box in boxes]
    assert_close(geometry.iou(boxes[0], boxes), with_first)
    assert_close(geometry.iou(boxes, boxes[0]), with_first)


@pytest.mark.parametrize(
    "first, second",
    [((3, 1), (3, 6)), ((1,), (6,)), ((6,), (3, 6)), ((2,), (3,))],
)
@pytest.mark.parametrize(
    "function, last",
    [
        (geometry.iou, (4,)),
        (geometry.window_iou, (2, 3)),
        (geometry.compose, (2, 3)),
    ],
)
def test_nothing_is_broadcast_in_silence(function, last, first, second):
    for one, other in ((first, second), (second, first)):
        with pytest.raises(ValueError, match="Received: .* of shape"):
            function(np.ones((*one, *last)), np.ones((*other, *last)))


def test_window_iou_is_that_of_the_upright_boxes():
    pairs = list(itertools.product(TRANSFORMS, TRANSFORMS))
    first, second = (np.array(windows) for windows in zip(*pairs, strict=True))
    expected = [slow_iou(box_of(a), box_of(b)) for a, b in pairs]
    assert_close(geometry.window_iou(first, second), expected)


def test_half_precision_is_widened_before_it_is_used():
    # Between 1024 and 2048 float16 has whole numbers alone.
    points = np.array([[0.5, 0.25]], "float16")
    assert_close(
        geometry.points_to_pixels(points, (1999, 2001)), [[1500.25, 1248.875]]
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda: geometry.boxes_to_transforms(np.zeros((2, 5))),
        lambda: geometry.boxes_to_transforms(np.zeros((4, 2))),
        lambda: geometry.boxes_to_transforms(np.zeros(4), box_format="xywh"),
        lambda: geometry.boxes_to_transforms(np.zeros(4), box_format="xyxy"),
        lambda: geometry.transforms_to_boxes(np.zeros((3, 2))),
        lambda: geometry.transforms_to_boxes(np.zeros((4, 6))),
        lambda: geometry.transforms_to_boxes(IDENTITY, box_format="yxyx"),
        lambda: geometry.transforms_to_boxes(IDENTITY, box_format="xyxy"),
        lambda: geometry.sampling_grid(np.zeros((5, 3, 2)), GLIMPSE),
        lambda: geometry.points_to_pixels(np.zeros((2, 3)), IMAGE),
        lambda: geometry.window_corners(np.zeros((3, 3)), IMAGE),
        lambda: geometry.windows_in_pixels(np.zeros((3, 2)), [[1], [1]]),
        lambda: geometry.squared_pixel_step(np.zeros(6), GLIMPSE, IMAGE),
        lambda: geometry.centres(np.zeros((2, 3, 2))),
        lambda: geometry.centres(np.zeros(())),
        lambda: geometry.iou(np.zeros((2, 4)), np.zeros((2, 3))),
        lambda: geometry.iou(np.zeros((4, 2)), np.zeros((2, 4))),
        lambda: geometry.window_iou(np.zeros((3, 2)), IDENTITY),
        lambda: geometry.window_iou(IDENTITY, np.zeros(())),
    ],
)
def test_a_wrong_shape_or_format_is_refused(call):
    with pytest.raises(ValueError, match="Received: "):
        call()


@pytest.mark.parametrize(
    "size", [(0, -3), (4, 0), (4,), (4, 5, 6), (4, np.nan), ("4", 5), 4, None]
)
@pytest.mark.parametrize(
    "name, call",
    [
        (
            "window_size",
            lambda size: geometry.windows_around(np.zeros(2), size, IMAGE),
        ),
        (
            "image_size",
            lambda size: geometry.windows_around(np.zeros(2), (3, 5), size),
        ),
        ("glimpse_size", lambda size: geometry.sampling_grid(IDENTITY, size)),
        (
            "glimpse_size",
            lambda size: geometry.squared_pixel_step(IDENTITY, size, IMAGE),
        ),
        (
            "image_size",
            lambda size: geometry.squared_pixel_step(IDENTITY, GLIMPSE, size),
        ),
        (
            "image_size",
            lambda size: geometry.points_to_pixels(np.zeros(2), size),
        ),
        (
            "image_size",
            lambda size: geometry.boxes_to_transforms(
                np.zeros(4), box_format="xyxy", image_size=size
            ),
        ),
    ],
)
def test_a_size_that_is_none_is_refused(name, call, size):
    with pytest.raises(
        ValueError, match=re.escape(f"Received: {name}={size!r}")
    ):
        call(size)


def test_half_a_pixel_of_a_glimpse_is_refused():
    with pytest.raises(ValueError, match="Received: glimpse_size="):
        geometry.sampling_grid(IDENTITY, (2.5, 3))


POINTS = np.array(
    [
        [[0.0, 0.0], [0.5, -0.25], [-1.0, 1.0]],
        [[0.125, 0.75], [3.0, -5.0], [-0.3, -0.7]],
    ]
)


def test_windows_around_points_have_the_size_in_pixels():
    height, width = 3, 5
    windows = geometry.windows_around(POINTS, (height, width), IMAGE)
    assert windows.shape == (2, 3, 2, 3)
    for index in np.ndindex(2, 3):
        x, y = to_pixel(POINTS[index], IMAGE)
        left, top, right, bottom = box_of(ops.convert_to_numpy(windows[index]))
        np.testing.assert_allclose(
            [left * 16, top * 10, right * 16, bottom * 10],
            # The index of a pixel's centre is half a pixel from its edge.
            np.add([x, y, x, y], 0.5)
            + np.array([-width, -height, width, height]) / 2,
            atol=1e-5,
        )


def test_windows_around_points_follow_the_formula():
    expected = np.empty((2, 3, 2, 3))
    for index in np.ndindex(2, 3):
        x, y = POINTS[index]
        expected[index] = [[5 / 16, 0, x], [0, 3 / 10, y]]
    assert_close(geometry.windows_around(POINTS, (3, 5), IMAGE), expected)
    assert_close(
        geometry.windows_around(POINTS[0, 1], (3, 5), IMAGE), expected[0, 1]
    )


def test_windows_around_points_of_half_precision_are_widened():
    points = np.array([[0.5, -0.25]], "float16")
    expected = [[[8 / 1999, 0, 0.5], [0, 8 / 2001, -0.25]]]
    windows = geometry.windows_around(points, (8, 8), (2001, 1999))
    assert_close(windows, expected)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 1), (2, 2, 4)])
def test_points_that_are_not_pairs_are_refused(shape):
    with pytest.raises(ValueError, match="Received: "):
        geometry.windows_around(np.zeros(shape), (3, 5), IMAGE)


def test_a_window_of_a_window_maps_points_through_both():
    generator = np.random.default_rng(5)
    outer, inner = generator.normal(size=(2, 4, 2, 3)).astype("float32")
    points = generator.normal(size=(4, 2)).astype("float32")
    both = np.asarray(geometry.compose(outer, inner))

    def apply(transform, point):
        return transform[:, :2] @ point + transform[:, 2]

    for i, point in enumerate(points):
        np.testing.assert_allclose(
            apply(both[i], point),
            apply(outer[i], apply(inner[i], point)),
            rtol=1e-4,
            atol=1e-5,
        )
    # One outer window for many.
    many = geometry.compose(outer[0], inner)
    np.testing.assert_allclose(
        many[2], geometry.compose(outer[0], inner[2]), rtol=1e-5
    )
    with pytest.raises(ValueError, match="Received: outer of shape"):
        geometry.compose(outer[..., :2], inner)


def test_pixels_to_points_is_the_inverse_of_points_to_pixels():
    # A quarter of 10 rows and three quarters of 20 columns from the edges.
    pixels = [[14.5, 2.0], [-0.5, 9.5]]
    points = geometry.pixels_to_points(pixels, (10, 20))
    np.testing.assert_allclose(points, [[0.5, -0.5], [-1, 1]], atol=1e-6)
    np.testing.assert_allclose(
        geometry.points_to_pixels(points, (10, 20)), pixels, atol=1e-5
    )
