"""Multiply-adds, against counts by hand."""

import importlib.util
import pathlib

import numpy as np
import pytest
import tiny
from keras import layers, ops

from keras_edram import costs
from keras_edram.models import DCN, EDRAM, Baseline
from keras_edram.models.base import BaseModel

SHAPE = (12, 9, 4)


class Wrapped(BaseModel):
    """What a function does to an image of 12 x 9 pixels of 4 channels."""

    def __init__(self, function):
        super().__init__(SHAPE, 2)
        self.function = function
        function(np.zeros((1, *SHAPE), "float32"))  # builds its layers

    def look(self, images, *args, **kwargs):
        return {"labels": self.function(images)}


def flat(images):
    return ops.reshape(images, (-1, 12 * 9 * 4))


def transposed(images):
    return ops.transpose(images, (0, 1, 3, 2))


def of_rows(cell):
    """A recurrent cell of one pixel after the other of the first row."""

    def call(images):
        state = cell.get_initial_state(batch_size=1)
        for column in range(9):
            _, state = cell(images[:, 0, column], state)
        return state[0]

    return call


def after_flattening(layer):
    return lambda images: layer(flat(images))


# Products of a layer: values of its output, weights of one of them.
BY_HAND = {
    "dense": (lambda: after_flattening(layers.Dense(7)), 432 * 7),
    "dense of pixels": (lambda: layers.Dense(7), 12 * 9 * 4 * 7),
    "same": (
        lambda: layers.Conv2D(5, 3, padding="same"),
        12 * 9 * 5 * 9 * 4,
    ),
    "valid": (lambda: layers.Conv2D(5, (3, 2)), 10 * 8 * 5 * 6 * 4),
    # (12 - 3) // 2 + 1 = 5, and (9 - 3) // 2 + 1 = 4.
    "strided": (lambda: layers.Conv2D(5, 3, 2), 5 * 4 * 5 * 9 * 4),
    "groups": (lambda: layers.Conv2D(6, 3, groups=2), 10 * 7 * 6 * 9 * 2),
    "depthwise": (
        lambda: layers.DepthwiseConv2D(3, depth_multiplier=2),
        10 * 7 * 8 * 9,
    ),
    # Each of the pixels gives to 3 x 3 of 5 channels.
    "transposed": (
        lambda: layers.Conv2DTranspose(5, 3, 2),
        12 * 9 * 4 * 9 * 5,
    ),
    # Nine steps of four gates of five units, from four inputs and five states.
    "lstm": (lambda: of_rows(layers.LSTMCell(5)), 9 * 4 * 5 * (4 + 5)),
    # Twelve times 9 x 4 by 4 x 9.
    "matmul": (lambda: lambda x: ops.matmul(x, transposed(x)), 12 * 9 * 4 * 9),
    "turned": (
        lambda: lambda x: ops.matmul(transposed(x), x),
        12 * 4 * 9 * 4,
    ),
    "einsum": (
        lambda: lambda x: ops.einsum("bhwc,bhvd->bhwd", x, x),
        12 * 9 * 9 * 4 * 4,
    ),
    "nothing": (lambda: lambda x: ops.relu(x * x) + ops.mean(x), 0),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_layer_has_what_is_counted_by_hand(name):
    make, expected = BY_HAND[name]
    assert costs.multiply_adds(Wrapped(make())) == expected


def test_edram_has_what_its_sizes_say():
    """The formula that the benchmark of a step of training goes by."""
    path = pathlib.Path(__file__).parent / "benchmarks/edram_training_step.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    sizes = dict(
        image_shape=(40, 50, 1),
        num_classes=3,
        glimpse_size=(16, 14),
        context_size=10,
        context_filters=(3, 5, 4),
        glimpse_filters=(3, 4, 5, 6, 7, 8),
        units=16,
        hidden_units=12,
    )
    for number in (1, 12):  # which is a loop in a graph otherwise
        model = EDRAM(**sizes, glimpses_per_target=number)
        assert costs.multiply_adds(model) == benchmark.multiply_adds(model)


def test_costs_are_of_as_many_glimpses_and_crops_as_were_looked_at():
    def count(number):
        return costs.multiply_adds(tiny.reader(glimpses_per_target=number))

    counts = [count(number) for number in range(1, 5)]
    assert counts == sorted(set(counts))  # each glimpse costs something
    model = tiny.reader(glimpses_per_target=3)
    parameters = model.count_params()
    assert costs.costs(model) == {
        "parameters": parameters,
        "multiply_adds": counts[2],
        "multiply_adds_by_glimpse": counts[:3],
    }
    assert costs.costs(model, 4)["multiply_adds_by_glimpse"] == counts
    # Glimpses at several crops are not told apart.
    assert costs.costs(model, crops=10) == {
        "parameters": parameters,
        "multiply_adds": 10 * counts[2],
    }
    for wrong in (dict(glimpses_per_target=0), dict(crops=2.5)):
        with pytest.raises(ValueError, match=f"Received: {[*wrong][0]}="):
            costs.costs(model, **wrong)


def test_dcn_has_what_its_sizes_say():
    model = DCN((31, 28, 2), num_classes=4, num_glimpses=3)
    coarse = 13 * 11 * 49 * 2 * 12 + 6 * 5 * 9 * 12 * 24
    # 14 -> 12 -> 12, pooled 6 -> 6 -> 6, pooled 3 -> 1.
    fine = 9 * (12**2 * 2 * 24 + (12**2 + 2 * 6**2 + 1) * 24 * 24)
    # Once forwards for each map, once backwards: 2 x 1 places of the top.
    top = 3 * 2 * 16 * 24 * 96
    # The answers to both maps and to 2 x 96 unit vectors and zeros; their
    # gradient.
    answer = (2 + 2 * 96 + 1) * 96 * 4
    # Coarse vectors taken out of 30 places, and fine ones put there.
    refined = 2 * 3 * 30 * 24
    expected = coarse + 3 * fine + top + answer + refined
    assert costs.multiply_adds(model) == expected


def test_a_model_of_any_size_is_counted_at_a_size():
    model = tiny.ram(image_shape=(None, None, 1))
    assert costs.multiply_adds(model, (60, 80, 1)) > 0
    for shape in ((None, None, 1), (60, 80)):
        with pytest.raises(ValueError, match="Received: image_shape"):
            costs.multiply_adds(model, shape)


def test_a_loop_of_a_model_s_own_is_refused():
    def loop(images):
        return ops.while_loop(
            lambda x: ops.max(x) < 5, lambda x: (x + 1,), (images,)
        )

    model = Wrapped(loop)
    model.built = True  # it has no weights
    with pytest.raises(ValueError, match="Received: an operation .*While"):
        costs.multiply_adds(model)
    # Its other figures are told all the same.
    with pytest.warns(UserWarning, match="Not counted: .*While"):
        assert costs.costs(model) == {"parameters": 0}


def test_parameters_stand_beside():
    # 784 and 256 inputs and an offset, of two layers; and ten outputs.
    assert costs.costs(Baseline()) == {
        "parameters": 785 * 256 + 257 * 256 + 257 * 10,
        "multiply_adds": 784 * 256 + 256 * 256 + 256 * 10,
    }
