"""Reading order and terminal labels, on few numbers counted by hand."""

import numpy as np
import pytest

from keras_edram.reading_order import end_sequences, lines_order

TERMINAL = 10
# A window is as good as its number here.
WINDOWS = np.arange(1, 7).reshape(2, 3, 1, 1) * np.ones((2, 3))
LABELS = np.array([[4, 2, 7], [5, 9, 9]])


@pytest.mark.parametrize(
    "order, labels, windows",
    [
        (
            "forward",
            [[4, 2, 7, TERMINAL], [5, TERMINAL, -1, -1]],
            [[1, 2, 3, 0], [4, 0, 0, 0]],
        ),
        (
            "backward",
            [[7, 2, 4, TERMINAL], [5, TERMINAL, -1, -1]],
            [[3, 2, 1, 0], [4, 0, 0, 0]],
        ),
    ],
)
def test_a_sequence_ends_with_the_terminal(order, labels, windows):
    ended, transforms = end_sequences(LABELS, WINDOWS, [3, 1], TERMINAL, order)
    assert ended.dtype == "int32" and transforms.dtype == "float32"
    assert transforms.shape == (2, 4, 2, 3)
    np.testing.assert_array_equal(ended, labels)
    np.testing.assert_array_equal(transforms[..., 1, 2], windows)


def test_an_image_without_objects_has_the_terminal_alone():
    for longest in (0, 2):
        labels, transforms = end_sequences(
            np.zeros((1, longest)), np.ones((1, longest, 2, 3)), [0], TERMINAL
        )
        np.testing.assert_array_equal(labels, [[TERMINAL] + [-1] * longest])
        assert not transforms.any()


def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match="Received: order='upward'"):
        end_sequences(LABELS, WINDOWS, [3, 1], TERMINAL, "upward")


def test_lines_are_read_from_the_top_and_each_from_the_left():
    # Two lines of a slanted page; the boxes of a line differ in height.
    boxes = [
        [30, 3, 39, 15],  # 0: first line, last
        [0, 0, 9, 10],  # 1: first line, first
        [10, 2, 19, 11],  # 2
        [12, 22, 21, 30],  # 3: second line, last
        [1, 20, 9, 31],  # 4
    ]
    assert lines_order(boxes).tolist() == [1, 2, 0, 4, 3]
    assert lines_order(np.array(boxes) / 100).tolist() == [1, 2, 0, 4, 3]


def test_boxes_without_height_or_none_at_all_are_ordered_too():
    assert lines_order([[5, 1, 6, 1], [0, 1, 1, 1]]).tolist() in (
        [0, 1],
        [1, 0],
    )
    assert lines_order([]).tolist() == []
