"""Where in a map of features what is sought lies, and what is there.

Letters in shapes: B batch, H W C maps, P = H W places, M searches.
"""

import keras
import numpy as np
from keras import layers, ops

from keras_edram.checks import check_integer


@keras.saving.register_keras_serializable(package="keras_edram")
class SpatialSoftmax(keras.layers.Layer):
    """Looks at few places of a map of features, chosen by what is there.

    Each of M searches says how much each place is what it seeks, and gives
    the mean place, in the image's [-1, 1], and the mean features there:

        a_m = softmax over all places p of w_m · f(p)
        y_m = Σ_p a_m(p) (f(p), x(p), y(p))

    What is sought is known wherever it lies, once it was learnt anywhere, which
    a dense layer of the whole map has to learn of each place by itself; and it
    has as many weights as a map of any size.

    Args:
        num_searches: Integer, M.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        maps: Tensor of shape `(B, H, W, C)`, with static H, W and C.

    Returns:
        Float32 tensor of shape `(B, M, C + 2)`: of each search C features, x
        and y.

    Raises:
        ValueError: For a number of searches that is none.

    Example:

    >>> search = SpatialSoftmax(4)
    >>> search(keras.random.uniform((8, 6, 6, 32))).shape
    (8, 4, 34)

    Reference:
        - Levine, Finn, Darrell, Abbeel, "End-to-end training of deep
          visuomotor policies", 2016, section 5.1.
    """

    def __init__(self, num_searches, **kwargs):
        super().__init__(**kwargs)
        self.num_searches = check_integer(num_searches, "num_searches")
        self.scores = layers.Dense(
            self.num_searches,
            use_bias=False,  # the same everywhere, so that it changes nothing
            name="scores",
            dtype=self.dtype_policy,
        )

    def build(self, maps_shape):
        self.scores.build(maps_shape)
        self.built = True

    def call(self, maps):
        _, height, width, channels = maps.shape
        places = height * width
        scores = ops.cast(self.scores(maps), "float32")  # (B, H, W, M)
        scores = ops.reshape(
            scores, (-1, places, self.num_searches)
        )  # (B, P, M)
        weights = ops.softmax(ops.transpose(scores, (0, 2, 1)))  # (B, M, P)
        features = ops.reshape(maps, (-1, places, channels))  # (B, P, C)
        return ops.concatenate(
            [
                ops.cast(
                    ops.matmul(ops.cast(weights, self.compute_dtype), features),
                    "float32",
                ),
                ops.matmul(weights, _places(height, width)),
            ],
            axis=-1,
        )  # (B, M, C + 2)

    def compute_output_shape(self, maps_shape):
        return maps_shape[0], self.num_searches, maps_shape[-1] + 2

    def compute_output_spec(self, maps):
        # Under every precision policy, as the places are coordinates.
        shape = self.compute_output_shape(maps.shape)
        return keras.KerasTensor(shape, "float32")

    def get_config(self):
        config = super().get_config()
        config.update(num_searches=self.num_searches)
        return config


def _places(height, width):
    """x and y of the centres of all places, row by row, `(P, 2)`."""
    x, y = (
        (2 * np.arange(side, dtype="float32") + 1) / side - 1
        for side in (width, height)
    )
    places = np.stack(np.meshgrid(x, y), axis=-1)  # (H, W, 2)
    places = places.reshape(-1, 2)  # (P, 2)
    return ops.convert_to_tensor(places)
