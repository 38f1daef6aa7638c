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


@pytest.mark.parametrize("label", [4, 9, 1.5, np.nan])
def test_a_label_that_is_no_class_is_refused(label):
    checks.check_labels(np.array([[0, 3], [-1, 2]]), 4)
    with pytest.raises(ValueError, match=f"from 0 to 3.* a label {label}"):
        checks.check_labels(np.array([[0.0, label]]), 4)
