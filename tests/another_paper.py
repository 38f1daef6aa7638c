"""A small model of another paper, to see how much it takes to add one.

It reads the cells of a raster, row by row, as Mnih et al. say of a network
that cannot choose where to look. This file is the model; nothing of the
package knows it.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from keras_edram.checks import check_integer
from keras_edram.layers import SpatialTransformerAttention
from keras_edram.layers.image_pyramid import image_pyramid
from keras_edram.models.base import BaseModel, Glimpse
from keras_edram.models.glimpse_loop import first_step

SIZES = dict(
    image_shape=(20, 14, 2),
    num_classes=4,
    class_names=["a", "b", "c", "d"],
    raster=3,
    glimpse_size=(5, 4),
    units=6,
)


class RasterState(NamedTuple):
    """How many cells were read, and what is remembered of them."""

    step: Any
    hidden: Any
    cell: Any


@keras.saving.register_keras_serializable(package="another_paper")
class RasterReader(BaseModel):
    """Reads a raster of R x R windows with an LSTM, and then answers."""

    answers_once = True
    looks_step_by_step = True

    def __init__(
        self,
        image_shape=(28, 28, 1),
        num_classes=10,
        *,
        class_names=None,
        raster=2,
        glimpse_size=8,
        units=32,
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, class_names, **kwargs)
        self.raster = check_integer(raster, "raster")
        self.units = check_integer(units, "units")
        self.glimpses_per_target = self.raster**2
        policy = self.dtype_policy
        self.attention = SpatialTransformerAttention(
            glimpse_size, name="attention", dtype=policy
        )
        self.glimpse_size = self.attention.glimpse_size
        self.flatten = layers.Flatten("channels_last", dtype=policy)
        self.lstm = layers.LSTMCell(self.units, name="lstm", dtype=policy)
        self.answer = layers.Dense(
            self.num_classes, name="answer", dtype="float32"
        )
        self.build((None, *self.image_shape))

    def build(self, images_shape):
        if self.built:
            return
        patches_shape = (None, *self.glimpse_size, images_shape[-1])
        self.attention.build(images_shape)
        self.flatten.build(patches_shape)
        self.lstm.build(self.flatten.compute_output_shape(patches_shape))
        self.answer.build((None, self.units))
        self.built = True

    def start(self, images, training=False):
        images = ops.cast(images, "float32") / 255
        batch = ops.shape(images)[0]
        hidden, cell = self.lstm.get_initial_state(batch_size=batch)
        state = RasterState(first_step(hidden), hidden, cell)
        return image_pyramid(images, 1), state

    def step(self, pyramid, state, training=False):
        windows = self.next_windows(pyramid, state)
        patches = self.attention.read(pyramid, windows)
        output, (hidden, cell) = self.lstm(
            self.flatten(patches), [state.hidden, state.cell]
        )
        return (
            Glimpse(self.answer(output), windows, patches),
            RasterState(state.step + 1, hidden, cell),
        )

    def next_windows(self, pyramid, state):
        rows, columns = np.divmod(np.arange(self.raster**2), self.raster)
        windows = np.zeros((self.raster**2, 2, 3), "float32")
        windows[:, 0, 0] = windows[:, 1, 1] = 1 / self.raster
        windows[:, 0, 2] = (2 * columns + 1) / self.raster - 1
        windows[:, 1, 2] = (2 * rows + 1) / self.raster - 1
        window = ops.take(windows, state.step % self.raster**2, axis=0)
        zeros = ops.zeros((ops.shape(state.hidden)[0], 1, 1), "float32")
        return zeros + window  # (B, 2, 3)

    def get_config(self):
        config = super().get_config()
        config.update(
            raster=self.raster,
            glimpse_size=list(self.glimpse_size),
            units=self.units,
        )
        return config
