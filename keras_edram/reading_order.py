"""The order in which several objects are read, and the end of the sequence.

Letters in shapes: n images, or boxes of one; S targets.
"""

import numpy as np

from keras_edram.checks import check_choice

READING_ORDERS = ("forward", "backward")
# The label of a target that does not count: those after the terminal.
NO_LABEL = -1


def lines_order(boxes):
    """The order of a page: line by line from the top, each from the left.

    A box belongs to the line of the highest box that is not yet in one, where
    their middles differ by less than half of that box's height.

    Args:
        boxes: Array of shape `(n, 4)`: left, top, right, bottom in any unit, y
            downwards.

    Returns:
        Integer array of shape `(n,)`, indices of the boxes as they are read.

    Example:

    >>> lines_order([[9, 11, 12, 15], [0, 0, 3, 4], [9, 1, 12, 5]]).tolist()
    [1, 2, 0]
    """
    boxes = np.asarray(boxes, "float64").reshape(-1, 4)  # (n, 4)
    left, top, _, bottom = boxes.T
    middle, height = (top + bottom) / 2, bottom - top
    order = []
    left_over = np.argsort(middle, kind="stable")
    while len(left_over):
        first = left_over[0]
        in_line = middle[left_over] - middle[first] < height[first] / 2
        in_line[0] = True  # also where a box has no height
        line = left_over[in_line]
        order += line[np.argsort(left[line], kind="stable")].tolist()
        left_over = left_over[~in_line]
    return np.array(order, "int64")


def end_sequences(labels, transforms, counts, terminal, order="forward"):
    """Targets in reading order, then the terminal label, then nothing.

    Args:
        labels: Integer array of shape `(n, S - 1)`, labels of the objects from
            first to last; what follows the objects does not matter.
        transforms: Array of shape `(n, S - 1, 2, 3)`, their windows.
        counts: Integer array of shape `(n,)`, objects of each, at most S - 1.
        terminal: Integer, the label that ends a sequence.
        order: `"forward"`, or `"backward"` to read from the last object to the
            first.

    Returns:
        `(labels, transforms)`, int32 of shape `(n, S)` and float32 of shape
        `(n, S, 2, 3)`. After the terminal labels are -1; it and what follows
        has a transform of zeros: the losses leave both out.

    Raises:
        ValueError: For another order.

    Example:

    >>> windows = np.ones((1, 2, 2, 3))
    >>> labels, _ = end_sequences([[4, 2]], windows, [2], 10, "backward")
    >>> labels.tolist()
    [[2, 4, 10]]

    Reference:
        - Ablavatski et al., 2017, section 4.2: "the terminal label".
    """
    check_choice(order, READING_ORDERS, "order")
    labels, transforms = np.asarray(labels), np.asarray(transforms)
    counts = np.asarray(counts)[:, None]  # (n, 1)
    number, longest = labels.shape
    position = np.tile(np.arange(longest + 1), (number, 1))  # (n, S)
    of_object = position < counts
    source = counts - 1 - position if order == "backward" else position
    source = np.where(of_object, source, 0)
    ended_labels = np.full(position.shape, NO_LABEL, "int32")
    ended_transforms = np.zeros((*position.shape, 2, 3), "float32")
    if longest:
        chosen = np.take_along_axis(labels, source, axis=1)
        ended_labels[of_object] = chosen[of_object]
        chosen = np.take_along_axis(transforms, source[..., None, None], axis=1)
        ended_transforms[of_object] = chosen[of_object]
    ended_labels[position == counts] = terminal
    return ended_labels, ended_transforms
