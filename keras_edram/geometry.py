"""The coordinate convention of the package, and nothing else knows it.

An image, and likewise a glimpse, spans [-1, 1] in x (to the right) and in y
(downwards); -1 and +1 are its *edges*, so the centre of pixel `i` of `W` lies
at `(2 i + 1) / W - 1`. A transform

    A = [[θ1, θ2, θ3],      (x_s, y_s) = A (x_g, y_g, 1)
         [θ4, θ5, θ6]]

maps a point of the glimpse to the point of the image that is read there
(EDRAM, Eq. 1 and 2). The window of a transform is the image of the glimpse's
square. A box of width `w` around `c_x` in an image `W` wide has `θ1 = w / W`
and `θ3 = 2 c_x / W - 1`; θ5 and θ6 likewise for height.

Letters in shapes: h w glimpse, H W image, `...` any leading dimensions; of two
arguments they must be the same, or one has none and serves all.
"""

import numpy as np
from keras import ops

from keras_edram.checks import (
    check_choice,
    check_integer,
    check_integers,
    check_number,
    check_shapes,
)

BOX_FORMATS = ("rel_xyxy", "xyxy")

# A NumPy constant: `ops.eye` inside a model breaks TFLite and ONNX converters.
IDENTITY = np.array([[1, 0, 0], [0, 1, 0]], "float32")


def boxes_to_transforms(boxes, *, box_format="rel_xyxy", image_size=None):
    """Transforms whose windows are the given boxes, without skew.

    `θ1 = x2 - x1`, `θ3 = x1 + x2 - 1` in relative coordinates, likewise θ5 and
    θ6; `θ2 = θ4 = 0`. The exact inverse of `transforms_to_boxes` there.

    Args:
        boxes: Tensor of shape `(..., 4)`: left, top, right, bottom.
        box_format: `"rel_xyxy"`, fractions of the image's sides in [0, 1], or
            `"xyxy"`, pixels between 0 and the side.
        image_size: `(height, width)` in pixels, needed by `"xyxy"`.

    Returns:
        Tensor of shape `(..., 2, 3)`, float32.

    Raises:
        ValueError: If the last dimension is not 4, or for an unknown format or
            a size that is none.

    Example:

    >>> boxes_to_transforms([[0.0, 0.0, 0.5, 1.0]])  # the left half
    [[[0.5, 0.0, -0.5], [0.0, 1.0, 0.0]]]
    """
    boxes = _to_float32(boxes)
    check_shapes("boxes (..., 4)", boxes)
    scale = _box_scale(box_format, image_size)
    left, top, right, bottom = ops.unstack(
        boxes / scale, axis=-1
    )  # each (...,)
    zero = ops.zeros_like(left)
    rows = [
        ops.stack([right - left, zero, left + right - 1.0], axis=-1),
        ops.stack([zero, bottom - top, top + bottom - 1.0], axis=-1),
    ]  # each (..., 3)
    return ops.stack(rows, axis=-2)  # (..., 2, 3)


def transforms_to_boxes(transforms, *, box_format="rel_xyxy", image_size=None):
    """Smallest upright boxes that hold the windows of the transforms.

    The corners of a window are `(±θ1 ± θ2 + θ3, ±θ4 ± θ5 + θ6)`, so it spans
    `θ3 ± (|θ1| + |θ2|)` in x and `θ6 ± (|θ4| + |θ5|)` in y. Boxes of windows
    that leave the image leave [0, 1] too.

    Args:
        transforms: Tensor of shape `(..., 2, 3)`.
        box_format: `"rel_xyxy"` or `"xyxy"`, see `boxes_to_transforms`.
        image_size: `(height, width)` in pixels, needed by `"xyxy"`.

    Returns:
        Tensor of shape `(..., 4)`, float32: left, top, right, bottom.

    Raises:
        ValueError: If the last dimensions are not (2, 3), or for an unknown
            format or a size that is none.

    Example:

    >>> transforms_to_boxes([[[0.5, 0.0, -0.5], [0.0, 1.0, 0.0]]])
    [[0.0, 0.0, 0.5, 1.0]]
    """
    transforms = _to_float32(transforms)
    check_shapes("transforms (..., 2, 3)", transforms)
    centre = centres(transforms)  # (..., 2)
    reach = ops.sum(ops.absolute(transforms[..., :2]), axis=-1)  # (..., 2)
    boxes = ops.concatenate(
        [centre - reach, centre + reach], axis=-1
    )  # (..., 4)
    return (boxes + 1.0) / 2.0 * _box_scale(box_format, image_size)


def windows_around(points, window_size, image_size):
    """Transforms whose windows lie around points of the image.

    `θ1 = w / W`, `θ5 = h / H`, `(θ3, θ6) = (x, y)`, no skew.

    Args:
        points: Tensor of shape `(..., 2)`, x and y in the image's [-1, 1].
        window_size: `(height, width)` of the windows in pixels of the image.
        image_size: `(height, width)` of the image in pixels.

    Returns:
        Tensor of shape `(..., 2, 3)`, float32.

    Raises:
        ValueError: If the last dimension is not 2, or for sizes that are none.

    Example:

    >>> windows_around([[0.0, 0.5]], (8, 8), (16, 32))
    [[[0.25, 0.0, 0.0], [0.0, 0.5, 0.5]]]
    """
    points = _to_float32(points)
    check_shapes("points (..., 2)", points)
    window = _width_height(window_size, "window_size")[:, None]
    image = _width_height(image_size, "image_size")[:, None]
    zooms = _constant(np.eye(2, dtype="float32") * (window / image))
    zooms = ops.zeros_like(points)[..., None] + zooms  # (..., 2, 2)
    return ops.concatenate([zooms, points[..., None]], axis=-1)  # (..., 2, 3)


def windows_of_grids(grids, grid_size, image_size):
    """Transforms whose windows are cut into the cells of square grids.

    DRAW's filters stand in N rows and columns, `δ = (max(W, H) - 1) / (N - 1)
    δ~` pixels apart, about the pixel `g_X = (W + 1) / 2 (g~X + 1)`, counted
    from 1, likewise g_Y. A pixel of the patch is as wide as that, with its
    filter in the middle: `θ1 = N δ / W`, `θ3 = (W + 1) / W g~X`, likewise θ5
    and θ6; `θ2 = θ4 = 0`.

    Args:
        grids: Tensor of shape `(..., 3)`: g~X and g~Y, from -1 to 1 in the
            image, and log δ~.
        grid_size: Integer N of at least 2, filters in a row and in a column.
        image_size: `(height, width)` of the image in pixels.

    Returns:
        Tensor of shape `(..., 2, 3)`, float32. `sampling_grid` has the filters.

    Raises:
        ValueError: If the last dimension is not 3, or for sizes that are none.

    Example:

    >>> windows_of_grids([[0.0, 0.0, 0.0]], 5, (9, 9))  # two pixels apart
    [[[1.1111112, 0.0, 0.0], [0.0, 1.1111112, 0.0]]]

    Reference:
        - Gregor et al., "DRAW: A Recurrent Neural Network For Image
          Generation", 2015, section 3.2, Eq. 19 to 24.
    """
    grids = _to_float32(grids)
    check_shapes("grids (..., 3)", grids)
    number = check_integer(grid_size, "grid_size", 2)
    size = _width_height(image_size, "image_size")
    stride = (size.max() - 1) / (number - 1) * ops.exp(grids[..., 2:])
    zooms = stride * _constant(number / size)  # (..., 2)
    middles = grids[..., :2] * _constant((size + 1) / size)  # (..., 2)
    upright = _constant(np.eye(2))
    return ops.concatenate(
        [zooms[..., None] * upright, middles[..., None]], axis=-1
    )  # (..., 2, 3)


def compose(outer, inner):
    """The transform of a window of a window: first `inner`, then `outer`.

    `A = [L_o L_i, L_o t_i + t_o]` for transforms `[L, t]`: what `inner` shows
    of the picture that `outer` shows of the image.

    Args:
        outer: Tensor of shape `(..., 2, 3)`.
        inner: Tensor of the same shape; or one of both is `(2, 3)`, for all.

    Returns:
        Tensor of shape `(..., 2, 3)`, float32.

    Raises:
        ValueError: For other shapes.

    Example:

    >>> left = [[0.5, 0.0, -0.5], [0.0, 1.0, 0.0]]
    >>> compose(left, left)  # the left half of the left half
    [[0.25, 0.0, -0.75], [0.0, 1.0, 0.0]]
    """
    outer, inner = _to_float32(outer), _to_float32(inner)
    check_shapes("outer (..., 2, 3), inner (..., 2, 3)", outer, inner)
    product = ops.matmul(outer[..., :2], inner)  # (..., 2, 3)
    return product + outer[..., 2:] * _constant([0, 0, 1])


def sampling_grid(transforms, glimpse_size):
    """Points of the image that the pixels of a glimpse are read at (Eq. 2).

    Args:
        transforms: Tensor of shape `(..., 2, 3)`.
        glimpse_size: `(height, width)` of the glimpse in pixels.

    Returns:
        Tensor of shape `(..., 2, height, width)`, float32: x and y in the
        image's [-1, 1], one point for the centre of each glimpse pixel; of
        `windows_in_pixels`, in pixels.

    Raises:
        ValueError: If the last dimensions are not (2, 3), or for sizes that are
            none.

    Example:

    >>> sampling_grid([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]], (1, 2))
    [[[[-0.5, 0.5]], [[0.0, 0.0]]]]
    """
    transforms = _to_float32(transforms)
    check_shapes("transforms (..., 2, 3)", transforms)
    height, width = check_integers(glimpse_size, 2, "glimpse_size")
    y, x = np.meshgrid(
        pixel_centres(height), pixel_centres(width), indexing="ij"
    )  # (h, w)
    # A plane for x and one for y: few numbers in a row make slow loops.
    of_x, of_y, middle = (
        ops.expand_dims(transforms[..., column : column + 1], -1)
        for column in range(3)
    )  # each (..., 2, 1, 1)
    return of_x * _constant(x) + of_y * _constant(y) + middle


def centres(transforms):
    """Middles of the windows: `(θ3, θ6)`, where (0, 0) of the glimpse lies.

    Args:
        transforms: Tensor of shape `(..., 2, 3)`, or `(..., 6)`, θ1 to θ6 in a
            row, as many a device takes apart five dimensions at most.

    Returns:
        Tensor of shape `(..., 2)`, float32: x and y in the image's [-1, 1].

    Raises:
        ValueError: For other shapes.

    Example:

    >>> centres([[[0.5, 0.0, -0.5], [0.0, 1.0, 0.25]]])
    [[-0.5, 0.25]]
    """
    transforms = _to_float32(transforms)
    if transforms.shape[-1:] == (6,):
        return transforms[..., 2::3]
    check_shapes("transforms (..., 2, 3)", transforms)
    return transforms[..., 2]


def pixel_centres(side):
    """Coordinates in [-1, 1] of the centres of `side` pixels, as NumPy."""
    return ((2 * np.arange(side) + 1) / side - 1).astype("float32")


def pixel_offsets(side):
    """Pixels from the middle of `side` pixels to the centre of each, as NumPy.

    `i - (side - 1) / 2` for pixel i.

    Example:

    >>> pixel_offsets(4)
    [-1.5, -0.5, 0.5, 1.5]
    """
    return pixel_centres(side) * (side / 2)


def resized_pixels(pixels, factor):
    """Pixel indices, with fractions, in the same image of another size.

    `(X + ½) f - ½`: the edge of the image is half a pixel before the first.

    Args:
        pixels: Float tensor or array, X or Y.
        factor: Number or tensor f, how often as wide or high the image is.

    Returns:
        Of the same shape.

    Example:

    >>> resized_pixels(np.array([0.5, 2.5]), 0.5)  # between two pixels
    [0.0, 1.0]
    """
    return (pixels + 0.5) * factor - 0.5


def points_to_pixels(points, image_size):
    """Pixel indices, with fractions, of points of the image.

    `X = ((x + 1) W - 1) / 2`, likewise Y: the centre of the first pixel is 0.

    Args:
        points: Tensor of shape `(..., 2)`, x and y in the image's [-1, 1].
        image_size: `(height, width)` in pixels.

    Returns:
        Tensor of shape `(..., 2)`, float32: X and Y.

    Raises:
        ValueError: If the last dimension is not 2, or for sizes that are none.

    Example:

    >>> points_to_pixels([[-1.0, 0.0]], (10, 20))  # left edge, middle
    [[-0.5, 4.5]]
    """
    points = _to_float32(points)
    check_shapes("points (..., 2)", points)
    size = _constant(_width_height(image_size, "image_size"))
    return ((points + 1.0) * size - 1.0) / 2.0


def pixels_to_points(pixels, image_size):
    """Points of the image at pixel indices, with fractions.

    `x = (2 X + 1) / W - 1`, likewise y: the inverse of `points_to_pixels`.

    Args:
        pixels: Tensor of shape `(..., 2)`: X and Y.
        image_size: `(height, width)` in pixels.

    Returns:
        Tensor of shape `(..., 2)`, float32: x and y in the image's [-1, 1].

    Raises:
        ValueError: If the last dimension is not 2, or for sizes that are none.

    Example:

    >>> pixels_to_points([[-0.5, 4.5]], (10, 20))  # left edge, middle
    [[-1.0, 0.0]]
    """
    pixels = _to_float32(pixels)
    check_shapes("pixels (..., 2)", pixels)
    size = _constant(_width_height(image_size, "image_size"))
    return (2.0 * pixels + 1.0) / size - 1.0


def windows_in_pixels(transforms, image_size):
    """Windows as maps to pixel indices, with fractions, rather than to points.

    `points_to_pixels` and the window in one: `X = ((θ1 x + θ2 y + θ3) + 1) W/2
    - ½`, likewise Y.

    Args:
        transforms: Tensor of shape `(..., 2, 3)`.
        image_size: Tensor or array of shape `(..., 2, 1)`: width and height in
            pixels, whole or not.

    Returns:
        Tensor of shape `(..., 2, 3)`, float32.

    Raises:
        ValueError: If the last dimensions are not (2, 3).

    Example:

    >>> whole = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    >>> windows_in_pixels(whole, np.array([[20.0], [10.0]]))
    [[10.0, 0.0, 9.5], [0.0, 5.0, 4.5]]
    """
    transforms = _to_float32(transforms)
    check_shapes("transforms (..., 2, 3)", transforms)
    halves = _to_float32(image_size) * 0.5
    middle = _constant([0, 0, 1])
    return (transforms + middle) * halves - middle * 0.5


def window_corners(transforms, image_size=None):
    """Corners of the windows as pixel indices, to draw them on an image.

    Args:
        transforms: Tensor of shape `(..., 2, 3)`.
        image_size: `(height, width)` in pixels; by default the corners are
            fractions of the image's sides, 0 to 1 inside of it.

    Returns:
        Tensor of shape `(..., 4, 2)`, float32: X and Y of the corners, in the
        order left top, right top, right bottom, left bottom of the glimpse.
        Pixels are in the coordinates of `matplotlib.pyplot.imshow`, where 0 is
        the centre of the first.

    Raises:
        ValueError: If the last dimensions are not (2, 3), or for sizes that are
            none.

    Example:

    >>> window_corners([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]], (10, 20))
    [[[-0.5, -0.5], [19.5, -0.5], [19.5, 9.5], [-0.5, 9.5]]]
    """
    transforms = _to_float32(transforms)
    check_shapes("transforms (..., 2, 3)", transforms)
    corners = _constant([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]])
    transposed = ops.swapaxes(transforms, -1, -2)  # (..., 3, 2)
    points = ops.matmul(corners, transposed)  # (..., 4, 2)
    if image_size is None:
        return (points + 1.0) / 2.0
    return points_to_pixels(points, image_size)


def squared_pixel_step(transforms, glimpse_size, image_size):
    """Square of the way from one glimpse pixel to the next, in image pixels.

    Of the two ways, to the right and down, the longer; above 1 the read skips
    pixels. Half of its log2 is the level of detail of a mip-map. It is the
    square, as that has a gradient everywhere.

    Args:
        transforms: Tensor of shape `(..., 2, 3)`.
        glimpse_size: `(height, width)` of the glimpse in pixels.
        image_size: `(height, width)` of the image in pixels.

    Returns:
        Tensor of shape `(...,)`, float32.

    Raises:
        ValueError: If the last dimensions are not (2, 3), or for sizes that are
            none.

    Example:

    >>> whole = [[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]
    >>> squared_pixel_step(whole, (5, 5), (10, 20))  # 20 columns to 5
    [16.0]
    """
    transforms = _to_float32(transforms)
    check_shapes("transforms (..., 2, 3)", transforms)
    image = _width_height(image_size, "image_size")[:, None]  # a row each
    glimpse = _width_height(glimpse_size, "glimpse_size")  # a column each
    steps = transforms[..., :2] * _constant(image / glimpse)  # (..., 2, 2)
    # Not the largest of an axis, whose gradient is divided by how many are the
    # largest: XLA may find none to be.
    squares = ops.sum(ops.square(steps), axis=-2)  # (..., 2)
    return ops.maximum(*ops.unstack(squares, axis=-1))  # (...,)


def iou(boxes_1, boxes_2):
    """Intersection over union of boxes, element by element.

    Args:
        boxes_1: Tensor of shape `(..., 4)`: left, top, right, bottom.
        boxes_2: Tensor of the same shape and unit; or one of both is `(4,)`,
            for all. For all pairs, broadcast both before.

    Returns:
        Tensor of shape `(...,)`, float32 in [0, 1]; 0 for two empty boxes.

    Raises:
        ValueError: For other shapes.

    Example:

    >>> iou([[0.0, 0.0, 2.0, 1.0]], [[1.0, 0.0, 3.0, 1.0]])
    [0.33333334]
    """
    boxes_1, boxes_2 = _to_float32(boxes_1), _to_float32(boxes_2)
    check_shapes("boxes_1 (..., 4), boxes_2 (..., 4)", boxes_1, boxes_2)
    left_top = ops.maximum(boxes_1[..., :2], boxes_2[..., :2])
    right_bottom = ops.minimum(boxes_1[..., 2:], boxes_2[..., 2:])
    shared = ops.concatenate([left_top, right_bottom], axis=-1)  # (..., 4)
    shared = _area(shared)
    union = _area(boxes_1) + _area(boxes_2) - shared
    return ops.where(union > 0, shared / ops.maximum(union, 1e-12), 0.0)


def window_iou(transforms_1, transforms_2):
    """Intersection over union of the boxes that hold two windows.

    Exact for windows without skew; a skewed window counts as its upright box.

    Args:
        transforms_1: Tensor of shape `(..., 2, 3)`.
        transforms_2: Tensor of the same shape; or one of both is `(2, 3)`,
            for all.

    Returns:
        Tensor of shape `(...,)`, float32 in [0, 1].

    Raises:
        ValueError: For other shapes.

    Example:

    >>> half = [[[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]]]
    >>> window_iou(half, [[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    [0.25]
    """
    transforms_1 = _to_float32(transforms_1)
    transforms_2 = _to_float32(transforms_2)
    check_shapes(
        "transforms_1 (..., 2, 3), transforms_2 (..., 2, 3)",
        transforms_1, transforms_2,
    )  # fmt: skip
    return iou(
        transforms_to_boxes(transforms_1), transforms_to_boxes(transforms_2)
    )


def _area(boxes):
    sides = ops.maximum(boxes[..., 2:] - boxes[..., :2], 0.0)
    return sides[..., 0] * sides[..., 1]


def _constant(values):
    # A tensor: PyTorch computes with no array beside one that has a gradient.
    if ops.is_tensor(values):
        return values
    return ops.convert_to_tensor(np.asarray(values, "float32"))


def _to_float32(values):
    # Half precision is off by up to 0.43 pixels on a side of 100.
    return ops.cast(ops.convert_to_tensor(values), "float32")


def _box_scale(box_format, image_size):
    check_choice(box_format, BOX_FORMATS, "box_format")
    if box_format == "rel_xyxy":
        return 1.0
    height, width = _sides(image_size, "image_size")
    return _constant([width, height, width, height])


def _width_height(size, name):
    """`(2,)`, float32: of numbers, or of a tensor that only a graph knows."""
    if ops.is_tensor(size):
        return ops.cast(ops.flip(size), "float32")
    height, width = _sides(size, name)
    return np.array([width, height], "float32")


def _sides(size, name):
    """`(height, width)` in pixels, whole or not; or raises."""
    try:
        height, width = (check_number(side, name, above=True) for side in size)
    except (TypeError, ValueError):
        raise ValueError(
            f"`{name}` must be (height, width), two numbers above 0. "
            f"Received: {name}={size!r}"
        ) from None
    return height, width
