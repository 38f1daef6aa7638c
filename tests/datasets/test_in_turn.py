"""Sequences of several sizes in one."""

import numpy as np
import pytest

from keras_edram.datasets import InTurn, cluttered_mnist


def sequences(*sizes):
    return [
        cluttered_mnist("train", image_size=size, seed=seed)
        for seed, size in enumerate(sizes)
    ]


def test_each_goes_on_where_it_was_left():
    first, second = both = sequences(40, (50, 60))
    data = InTurn(both, run_length=3)
    assert data.image_shape == (None, None, 1)
    images, targets = data.arrays(11)
    runs = [
        first.arrays(3),
        second.arrays(3),
        first.arrays(6, 3),
        second.arrays(5, 3),
    ]
    expected = [image for run, _ in runs for image in run]
    assert [image.shape for image in images] == [i.shape for i in expected]
    for image, other in zip(images, expected, strict=True):
        np.testing.assert_array_equal(image, other)
    for name in ("labels", "transforms"):
        np.testing.assert_array_equal(
            targets[name], np.concatenate([told[name] for _, told in runs])
        )
    # From anywhere the same, and of none there is none.
    np.testing.assert_array_equal(data.arrays(5, 4)[0][0], expected[4])
    assert len(data.arrays(4, 4)[0]) == 0


def test_a_batch_is_of_one_size():
    data = InTurn(sequences(40, 50), run_length=4)
    batches = list(data.dataset(4, 4))
    assert [batch.shape[1] for batch, _ in batches] == [40, 50, 40, 50]
    assert batches[0][0].shape == (4, 40, 40, 1)
    images, targets = data.arrays(16)
    for number, (batch, told) in enumerate(batches):
        part = slice(4 * number, 4 * number + 4)
        np.testing.assert_array_equal(batch, np.stack(images[part]))
        for name, values in told.items():
            np.testing.assert_array_equal(values, targets[name][part])
    # After a restart in the middle too, and of parts of a run.
    (rest,) = data.dataset(2, 1, first_batch=3)
    np.testing.assert_array_equal(rest[0], np.stack(images[6:8]))
    with pytest.raises(ValueError, match="must divide `run_length`=4"):
        data._compose(0, 5)


def test_sizes_that_are_one_have_a_shape_and_share_a_batch():
    first, second = both = sequences(40, 40)
    data = InTurn(both, run_length=2)
    assert data.image_shape == (40, 40, 1)
    images, targets = data.arrays(9, 1)
    assert images.shape == (8, 40, 40, 1)
    order = [(first, 1), (second, 0), (second, 1), (first, 2), (first, 3)]
    order += [(second, 2), (second, 3), (first, 4)]
    for row, (one, index) in enumerate(order):
        image, told = one.arrays(index + 1, index)
        np.testing.assert_array_equal(images[row], image[0])
        for name, values in told.items():
            np.testing.assert_array_equal(targets[name][row], values[0])
    (batch, _), _ = data.dataset(5, 2)
    np.testing.assert_array_equal(batch, data.arrays(5)[0])
    assert len(data.arrays(3, 3)[0]) == 0


def test_each_may_have_a_run_of_its_own_length():
    first, second, third = every = sequences(40, 40, 40)
    images, _ = InTurn(every, run_length=(3, 1, 2)).arrays(12)
    rows = [0, 1, 2, 6, 7, 8], [3, 9], [4, 5, 10, 11]
    for one, of_one in zip(every, rows, strict=True):
        np.testing.assert_array_equal(
            images[of_one], one.arrays(len(of_one))[0]
        )


def test_it_is_told_by_what_it_is_made_of():
    first, second = both = sequences(40, 50)
    assert InTurn(both).fingerprint is None
    first.fingerprint, second.fingerprint = "one", "two"
    assert InTurn(both).fingerprint == "one two"
    assert InTurn(both[::-1]).fingerprint == "two one"


@pytest.mark.parametrize(
    "sequences, run_length",
    [
        ([], 4),
        (sequences(40), 0),
        (sequences(40), 1.5),
        (sequences(40, 40), (4, 0)),
        (sequences(40, 40), (4, 4, 4)),
        (
            [
                *sequences(40),
                cluttered_mnist("train", image_size=80, num_digits=2),
            ],
            4,
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(sequences, run_length):
    with pytest.raises(ValueError, match="Received: "):
        InTurn(sequences, run_length)
