"""Checks that no class of the conformance table shows by itself."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_edram import checks

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 1), "uint8")
IMAGES[0, 0, :2, 0] = 0, 255


@pytest.mark.parametrize(
    "images, message",
    [
        ((IMAGES > 99).astype("uint8"), "the largest of these is 1: multiply"),
        (IMAGES > 99, "the largest of these is 1: multiply"),
        (IMAGES / 512, "multiply them by 255"),
        (IMAGES / 127.5 - 1, "between -1 and 1"),
        (IMAGES * 257.0, "between 0 and 65535"),
        (tf.constant(IMAGES / 255, "float32"), "multiply them by 255"),
        (tf.constant(IMAGES / 255, "bfloat16"), "multiply them by 255"),
    ],
)
def test_a_range_that_is_another_is_said(images, message):
    with pytest.warns(UserWarning, match=message):
        checks.check_pixels(images)


@pytest.mark.parametrize(
    "images",
    [IMAGES, IMAGES * 1.0, np.zeros((2, 3, 3, 1)), IMAGES[:0], IMAGES // 100],
)
def test_images_that_are_right_or_black_are_not_spoken_of(images):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checks.check_pixels(images)


def test_what_is_not_known_in_a_graph_is_not_asked_for():
    @tf.function
    def call(values):
        assert checks.concrete(values) is None
        checks.check_labels(values, 2)
        return values

    call(tf.constant([3.0]))
    assert checks.concrete(keras.KerasTensor((2, 3))) is None
    np.testing.assert_array_equal(checks.concrete(tf.constant([3])), [3])


@pytest.mark.parametrize("value", [True, False, 1, 0, np.bool_(1), np.int64(0)])
def test_a_truth_value_becomes_pythons_own(value):
    assert checks.check_boolean(value, "colour") is bool(value)


@pytest.mark.parametrize(
    "value", ["no", "", None, 2, -1, 1.0, [True], np.ones(2)]
)
def test_what_is_no_truth_value_is_refused(value):
    with pytest.raises(ValueError, match="`colour` must be True or False. Rec"):
        checks.check_boolean(value, "colour")


@pytest.mark.parametrize("label", [4, 9, 1.5, np.nan])
def test_a_label_that_is_no_class_is_refused(label):
    checks.check_labels(np.array([[0, 3], [-1, 2]]), 4)
    with pytest.raises(ValueError, match=f"from 0 to 3.* a label {label}"):
        checks.check_labels(np.array([[0.0, label]]), 4)


def symbol(*shape):
    """A tensor as in a graph, where a size may be unknown."""
    return keras.KerasTensor(shape)


PAIR = "labels (B, S), logits (B, S, N, K)"


@pytest.mark.parametrize(
    "pattern, shapes",
    [
        (PAIR, [(3, 2), (3, 2, 4, 5)]),
        (PAIR, [(None, 2), (3, 2, None, 5)]),
        (PAIR, [(0, 2), (0, 2, 4, 5)]),
        ("samples (..., 2), means (..., 2)", [(3, 4, 2), (3, None, 2)]),
        ("outer (..., 2, 3), inner (..., 2, 3)", [(2, 3), (5, 4, 2, 3)]),
        ("inputs (B, ...), step (B)", [(3, 4, 5), (3,)]),
        ("labels (B, S), p (B, S, ..., K)", [(3, 2), (3, 2, 6, 7, 5)]),
        ("labels (B, S), p (B, S, ..., K)", [(3, 2), (3, 2, 5)]),
    ],
)
def test_shapes_of_the_same_letters_fit(pattern, shapes):
    checks.check_shapes(pattern, *(symbol(*shape) for shape in shapes))


@pytest.mark.parametrize(
    "pattern, shapes",
    [
        # Another batch, targets, rank; what would broadcast among them.
        (PAIR, [(1, 2), (3, 2, 4, 5)]),
        (PAIR, [(3, 1), (3, 2, 4, 5)]),
        (PAIR, [(3,), (3, 2, 4, 5)]),
        (PAIR, [(3, 2), (3, 2, 5)]),
        # What is known of a graph's tensors.
        (PAIR, [(None, 1), (None, 2, None, None)]),
        (PAIR, [(3, None), (2, None, 4, 5)]),
        ("samples (..., 2), means (..., 2)", [(3, 4, 2), (3, 1, 2)]),
        ("samples (..., 2), means (..., 2)", [(3, 4, 2), (4, 2)]),
        ("samples (..., 2), means (..., 2)", [(3, 2), (3, 3)]),
        ("inputs (B, ...), step (B)", [(3, 4, 5), (1,)]),
        ("labels (B, S), p (B, S, ..., K)", [(3, 2), (3, 2)]),
        ("points (..., 2)", [()]),
    ],
)
def test_shapes_of_other_letters_are_refused(pattern, shapes):
    with pytest.raises(ValueError, match="The shapes must be"):
        checks.check_shapes(pattern, *(symbol(*shape) for shape in shapes))


def test_a_refused_shape_says_what_was_expected_and_what_came():
    with pytest.raises(ValueError) as found:
        checks.check_shapes(PAIR, np.zeros((1, 2)), np.zeros((3, 2, 4, 5)))
    assert str(found.value) == (
        "The shapes must be `labels` (B, S), `logits` (B, S, N, K), of B "
        "images, S targets, N glimpses a target, K classes. Received: labels "
        "of shape (1, 2), logits of shape (3, 2, 4, 5)"
    )


def test_a_tensor_of_unknown_rank_is_refused():
    @tf.function
    def call(values):
        with pytest.raises(ValueError, match="labels of shape <unknown>"):
            checks.check_shapes("labels (B, S)", values)
        return values

    call.get_concrete_function(tf.TensorSpec(None))


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), tf.constant(3)])
def test_integers_of_any_library_become_pythons_own(value):
    integer = checks.check_integer(value, "number", 1, 3)
    assert integer == 3 and type(integer) is int
    assert checks.check_integer(-integer, "number", None) == -3


@pytest.mark.parametrize("value", [0, 4, 1.0, True, "2", None, [2]])
def test_other_integers_are_refused(value):
    with pytest.raises(
        ValueError, match="an integer from 1 to 3. Received: number="
    ):
        checks.check_integer(value, "number", 1, 3)


@pytest.mark.parametrize(
    "value", [0, 1, 0.25, np.float32(0.25), np.float64(1), np.int32(1)]
)
def test_numbers_of_any_library_become_pythons_own(value):
    number = checks.check_number(value, "share", 0, 1)
    assert number == value and type(number) in (int, float)


@pytest.mark.parametrize(
    "value", [-0.1, 1.1, np.nan, np.inf, -np.inf, True, "0.5", None, [0.5]]
)
def test_other_numbers_are_refused(value):
    with pytest.raises(
        ValueError, match="a finite number from 0 to 1. Received: share="
    ):
        checks.check_number(value, "share", 0, 1)


@pytest.mark.parametrize("value", [0, 0.0, -1, np.nan, np.inf])
def test_a_number_that_must_be_above_zero_is_not_zero(value):
    assert checks.check_number(1e-9, "epsilon", above=True) == 1e-9
    with pytest.raises(
        ValueError, match="a finite number above 0. Received: epsilon="
    ):
        checks.check_number(value, "epsilon", above=True)


def test_what_is_missing_is_said():
    checks.check_keys({"labels": 1, "more": 2}, ["labels"], "outputs")
    with pytest.raises(ValueError, match="transforms is missing.*with labels"):
        checks.check_keys({"labels": 1}, ["labels", "transforms"], "outputs")


@pytest.mark.parametrize("names", ["ab", 3, ["a", "a", "b"], ["a", "b"]])
def test_names_that_are_none_or_not_enough_are_refused(names):
    with pytest.raises(ValueError, match="Received: class_names="):
        checks.check_class_names(names, 3)
