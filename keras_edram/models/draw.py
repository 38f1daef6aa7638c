"""DRAW's reader: a RAM that learns where to look by the gradient alone.

Gregor, Danihelka, Graves, Rezende, Wierstra, "DRAW: A Recurrent Neural Network
For Image Generation", ICML 2015, section 4.1 (the "differentiable RAM").

    p_t = W h_{t-1} + b               where to look: g~X, g~Y, log σ², log δ~,
                                      log γ
    r_t = γ F_Y(p_t) x F_X(p_t)^T     N x N Gaussian filters, Eq. 27
    h_t = LSTM(r_t, h_{t-1})
    y = softmax(V h_T + c)            after the last glimpse

There is no loss of where it looks, and nothing is drawn: the gradient of the
answer runs through the filters to the five numbers.

| symbol | here | at the paper's sizes |
| --- | --- | --- |
| x | `images` | 100x100 |
| N | `glimpse_size` | 12 |
| T | `num_glimpses` | 8, or 4 |
| h | `units` | 256 |
| W, b | `emission` | |
| r_t | `attention` | |
| V, c | `answer` | |

These are 414,479 parameters.

Where we differ:

- The weights of a filter are a softmax over all pixels, which is Eq. 25 and 26
  but for a filter so far off the image that all its weights would vanish.
- `emission` starts with small weights, so that the first glimpses are of the
  whole image, whose filters have a deviation σ of `initial_deviation`. At one
  pixel, offsets of zero, they leave out most of a large image.

Letters in shapes: B batch, H W C image, N side of the grid, U units, K classes.
"""

import math
from typing import Any, NamedTuple

import keras
from keras import layers, ops

from keras_edram.checks import check_integer, check_number
from keras_edram.layers.gaussian_attention import (
    NUM_PARAMETERS,
    GaussianAttention,
)
from keras_edram.layers.image_pyramid import image_pyramid
from keras_edram.models import blocks
from keras_edram.models.base import BaseModel, Glimpse
from keras_edram.models.glimpse_loop import first_step


class DRAWState(NamedTuple):
    """What is kept from glimpse to glimpse.

    Attributes:
        step: Scalar int32 tensor, glimpses that were taken.
        hidden: `(B, U)`, h_t.
        cell: `(B, U)`, the cell of the LSTM.
    """

    step: Any
    hidden: Any
    cell: Any


@keras.saving.register_keras_serializable(package="keras_edram")
class DRAW(BaseModel):
    """Classifies an image after a few glimpses through Gaussian filters.

    Each glimpse is a grid of N x N filters, which the state of an LSTM places,
    and which the LSTM then reads; the last state gives the answer:

        r_t = γ F_Y x F_X^T,  h_t = LSTM(r_t, h_{t-1}),  y = softmax(V h_T + c)

    It learns by the loss of its labels alone, through all glimpses.

    Args:
        image_shape: `(height, width, channels)`, known. Defaults to
            `(100, 100, 1)`.
        num_classes: Integer, K. Defaults to 10.
        class_names: Strings, the names of the K classes; by default their
            numbers.
        num_glimpses: Integer T. Defaults to 8.
        glimpse_size: Integer N of at least 2, filters in a row and in a
            column. Defaults to 12.
        units: Integer U, of the LSTM. Defaults to 256.
        initial_deviation: Float from 0.01 to 100, σ in pixels of the filters of
            a new model. Defaults to 1.
        **kwargs: `terminal` and `temperature`, see `BaseModel`, and arguments
            of `keras.Model`.

    Call arguments:
        images: Tensor of shape `(B, H, W, C)`, uint8 or float in [0, 255].
        training: Boolean.

    Returns:
        A dictionary of float32 tensors: `labels`, logits of shape
        `(B, 1, 1, K)`, the one answer after all glimpses, and `transforms`
        `(B, 1, T, 2, 3)`, the windows of the grids.

    Raises:
        ValueError: For sizes or a deviation that are none, or images of any
            size.

    Example:

    >>> model = DRAW(image_shape=(40, 30, 1), num_glimpses=3, units=16)
    >>> model.predict(np.zeros((2, 40, 30, 1)))["transforms"].shape
    (2, 1, 3, 2, 3)

    Reference:
        - Gregor et al., "DRAW: A Recurrent Neural Network For Image
          Generation", 2015, sections 3.2 and 4.1.
    """

    answers_once = True
    looks_step_by_step = True

    def __init__(
        self,
        image_shape=(100, 100, 1),
        num_classes=10,
        *,
        class_names=None,
        num_glimpses=8,
        glimpse_size=12,
        units=256,
        initial_deviation=1.0,
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, class_names, **kwargs)
        self._take_one_size()
        self.glimpses_per_target = check_integer(num_glimpses, "num_glimpses")
        self.units = check_integer(units, "units")
        self.initial_deviation = check_number(
            initial_deviation, "initial_deviation", 0.01, 100
        )
        self._make_layers(glimpse_size)
        self.build((None, *self.image_shape))

    def _make_layers(self, glimpse_size):
        policy = self.dtype_policy
        self.attention = GaussianAttention(
            glimpse_size, name="attention", dtype=policy
        )
        self.glimpse_size = self.attention.glimpse_size
        self.rescaling = layers.Rescaling(
            1 / 255, name="rescaling", dtype=policy
        )
        self.flatten = blocks.flatten(policy)
        self.lstm = layers.LSTMCell(self.units, name="lstm", dtype=policy)
        # Small weights: the first glimpses are of the whole image.
        self.emission = layers.Dense(
            NUM_PARAMETERS,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            bias_initializer=self._first_parameters,
            name="emission",
            dtype="float32",
        )
        self.answer = layers.Dense(
            self.num_classes, name="answer", dtype="float32"
        )

    def _first_parameters(self, shape, dtype=None):
        """The offsets of an emission whose first window is the image."""
        log_variance = 2 * math.log(self.initial_deviation)
        return ops.convert_to_tensor([0.0, 0.0, log_variance, 0.0, 0.0], dtype)

    def build(self, images_shape):
        if self.built:
            return
        self.emission.build((None, self.units))
        self.attention.build(images_shape)
        shape = self.attention.compute_output_shape(images_shape)
        self.rescaling.build(shape)
        self.flatten.build(shape)
        self.lstm.build(self.flatten.compute_output_shape(shape))
        self.answer.build((None, self.units))
        self.built = True

    def start(self, images, training=False):
        images = ops.convert_to_tensor(images)
        hidden, cell = self.lstm.get_initial_state(
            batch_size=ops.shape(images)[0]
        )
        state = DRAWState(first_step(hidden), hidden, cell)
        return image_pyramid(images, 1), state

    def step(self, pyramid, state, training=False):
        parameters = self.emission(state.hidden)  # p_t, (B, 5)
        windows = self.attention.windows(parameters, pyramid.sizes[0])
        patches = self.attention.read(pyramid, parameters)  # (B, N, N, C)
        patches = self.rescaling(patches)  # r_t
        output, (hidden, cell) = self.lstm(
            self.flatten(patches), [state.hidden, state.cell]
        )
        return (
            Glimpse(self.answer(output), windows, patches),
            DRAWState(state.step + 1, hidden, cell),
        )

    def next_windows(self, pyramid, state):
        parameters = self.emission(state.hidden)
        return self.attention.windows(parameters, pyramid.sizes[0])

    def get_config(self):
        config = super().get_config()
        config.update(
            num_glimpses=self.num_glimpses,
            glimpse_size=self.glimpse_size,
            units=self.units,
            initial_deviation=self.initial_deviation,
        )
        return config
