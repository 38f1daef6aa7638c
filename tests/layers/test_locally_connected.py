"""The locally connected layer against slow loops."""

import math

import keras
import numpy as np
import pytest

from keras_edram.layers import LocallyConnected2D

B, C, F = 2, 3, 4


def counted(*shape):
    """Numbers 0 to 30 in an order without symmetry, neighbours far apart."""
    return (np.arange(math.prod(shape)) * 7 % 31).reshape(shape) / 31


# Higher than wide and wider than high, and lower than the kernel.
@pytest.mark.parametrize("size", [(4, 6), (5, 3), (2, 7)])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_each_place_has_its_own_kernel(size, kernel_size):
    height, width = size
    layer = LocallyConnected2D(F, kernel_size)
    maps = counted(B, height, width, C).astype("float32")
    layer.build(maps.shape)
    k = kernel_size
    kernel = counted(k, k, C, height, width, F) - 0.5
    bias = counted(height, width, F)
    layer.set_weights(
        [kernel.reshape(k * k * C, -1), bias.reshape(height * width, F)]
    )
    expected = np.zeros((B, height, width, F))
    for i, j in np.ndindex(height, width):
        expected[:, i, j] = bias[i, j]
        for u, v in np.ndindex(k, k):
            row, column = i + u - k // 2, j + v - k // 2
            if 0 <= row < height and 0 <= column < width:
                pixels = maps[:, row, column]
                expected[:, i, j] += pixels @ kernel[u, v, :, i, j]
    np.testing.assert_allclose(layer(maps), expected, rtol=1e-5, atol=1e-5)


def test_its_weights_have_the_deviation_of_a_convolution_s():
    layer = LocallyConnected2D(16, 3)
    layer.build((None, 6, 5, 32))
    # He et al.: variance 2 / inputs.
    np.testing.assert_allclose(
        np.std(layer.kernel), math.sqrt(2 / (3 * 3 * 32)), rtol=0.02
    )


def test_maps_of_unknown_or_another_size_are_refused():
    for shape in ((None, 5, 2), (4, 6)):
        with pytest.raises(ValueError, match="Received: maps of shape"):
            LocallyConnected2D(2, 3)(keras.Input(shape))
    layer = LocallyConnected2D(2, 3)
    layer(np.zeros((1, 4, 6, 2)))
    with pytest.raises(ValueError, match="incompatible"):
        layer(np.zeros((1, 6, 4, 2)))


@pytest.mark.parametrize("wrong", [(0, 3), (4, 0), (4, 2), (4, 2.5)])
def test_wrong_sizes_are_refused(wrong):
    with pytest.raises(ValueError, match="Received: "):
        LocallyConnected2D(*wrong)
