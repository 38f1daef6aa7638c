"""RNN-SPN, a spatial transformer that a recurrent network moves.

Sønderby, Sønderby, Maaløe, Winther, "Recurrent Spatial Transformer Networks",
2015.

    c = f_loc(x)                the whole image, once
    h_s = GRU(c, h_{s-1})       the same c for each target s
    A_s = W h_s + b             an affine window, any of them
    x_s = read(x, A_s)          at full resolution
    y_s = softmax(f_class(x_s))

What was seen does not change where it looks next: the image was seen as a
whole, and the state of the GRU counts the targets. There is one glimpse a
target. It learns by its labels alone, or by its windows besides.

| symbol | here | at the paper's sizes |
| --- | --- | --- |
| x | `images` | 100x100 |
| f_loc | `localization_convolutions` | maximum of 2x2; three of 3x3, 20 filters, the first two pooled |
| c | `features` | 9x9 places of 20 maps: 1620 |
| h | `units` | 256 |
| W, b | `emission` | 0, and the whole image |
| x_s | `patches` | 33x33: down-sampled by 3 |
| f_class | `classification_convolutions`, `hidden` | three of 3x3, 32 filters, the first two pooled; 400 units |

A factor d of the paper is a `glimpse_size` of the image's side over d. These
are 1,682,964 parameters, statistics of normalisations among them.

Where we differ:

- Each convolution, and the dense layer of 400 units, is normalised over the
  batch, that of the classifier by target, where the paper has offsets, and
  dropout against overfitting.
- The GRU has the offsets of Keras', two a gate.
- Where to look is computed in float32 under every precision policy: with fewer
  digits, other pixels would be read.
- A window wider than its patch reads averaged pixels; with `antialias=False`
  it skips some, as the paper's does.

Letters in shapes: B batch, H W C image, F features of it, U units, g glimpse
side, D hidden units, K classes.
"""  # noqa: E501

import math
from typing import Any, NamedTuple

import keras
from keras import layers, ops

from keras_edram.checks import (
    check_boolean,
    check_choice,
    check_integer,
    check_integers,
)
from keras_edram.layers import SpatialTransformerAttention
from keras_edram.models import blocks
from keras_edram.models.base import BaseModel, Glimpse
from keras_edram.models.glimpse_loop import first_step
from keras_edram.reading_order import READING_ORDERS


def _network(filters):
    """Two convolutions that are pooled, and a third."""
    return (
        blocks.Convolution(filters, 3, "valid", pooled=True),
        blocks.Convolution(filters, 3, "valid", pooled=True),
        blocks.Convolution(filters, 3, "valid"),
    )


LOCALIZATION_NETWORK = _network(20)
CLASSIFICATION_NETWORK = _network(32)
LOCALIZATION_FILTERS = blocks.filters_of(LOCALIZATION_NETWORK)
CLASSIFICATION_FILTERS = blocks.filters_of(CLASSIFICATION_NETWORK)
# 36 pixels, as a pooling stands before the first convolution.
MIN_IMAGE_SIDE = 2 * blocks.smallest_input(LOCALIZATION_NETWORK)
MIN_GLIMPSE_SIDE = blocks.smallest_input(CLASSIFICATION_NETWORK)  # 18 pixels


class RNNSPNState(NamedTuple):
    """What is kept from target to target.

    Attributes:
        step: Scalar int32 tensor, targets that were looked at.
        features: `(B, F)`, c, which stays as it is.
        hidden: `(B, U)`, h_s.
    """

    step: Any
    features: Any
    hidden: Any


@keras.saving.register_keras_serializable(package="keras_edram")
class RNNSPN(BaseModel):
    """Reads one window of the image for each target, all from one look at it.

    A convolutional network sees the whole image once; a GRU, which is given
    what that saw again and again, says an affine window of each target; and a
    second convolutional network classifies what is in the window:

        h_s = GRU(f_loc(x), h_{s-1}),  A_s = W h_s + b,
        y_s = softmax(f_class(read(x, A_s)))

    Args:
        image_shape: `(height, width, channels)`, at least 36 pixels high and
            wide. Defaults to `(100, 100, 1)`.
        num_classes: Integer, K. Defaults to 10.
        class_names: Strings, the names of the classes but the terminal label;
            by default their numbers.
        terminal: Boolean, whether the last class ends a sequence. Defaults to
            `False`.
        reading_order: `"forward"`, or `"backward"` if its targets are the
            objects from last to first. Defaults to `"forward"`.
        num_targets: Integer S, the terminal one among them. Defaults to 3.
        glimpse_size: Integer or `(height, width)`, a patch in pixels, at
            least 18. Defaults to 33.
        localization_filters: Three integers, of the convolutions that see the
            whole image. Defaults to `(20, 20, 20)`.
        classification_filters: Three integers, of those that see a patch.
            Defaults to `(32, 32, 32)`.
        units: Integer U, of the GRU. Defaults to 256.
        hidden_units: Integer D, of the dense layer before the answer. Defaults
            to 400.
        antialias: Boolean, whether wide windows read averaged pixels.
            Defaults to `True`.
        **kwargs: `temperature`, see `BaseModel`, and arguments of
            `keras.Model`.

    Call arguments:
        images: Tensor of shape `(B, H, W, C)`, uint8 or float in [0, 255].
        training: Boolean.

    Returns:
        A dictionary of float32 tensors: `labels`, logits of shape
        `(B, S, 1, K)`, and `transforms`, the windows that were read,
        `(B, S, 1, 2, 3)`.

    Raises:
        ValueError: For sizes that are none, an image or a patch that is too
            small, images of any size, an unknown order, what is no truth
            value, or another number of glimpses at a target than one.

    Example:

    >>> model = RNNSPN(image_shape=(40, 60, 1), glimpse_size=18, num_targets=2)
    >>> model.predict(np.zeros((2, 40, 60, 1)))["labels"].shape
    (2, 2, 1, 10)

    Reference:
        - Sønderby et al., "Recurrent Spatial Transformer Networks", 2015.
        - Jaderberg et al., "Spatial Transformer Networks", 2015.
    """

    looks_step_by_step = True

    def __init__(
        self,
        image_shape=(100, 100, 1),
        num_classes=10,
        *,
        class_names=None,
        terminal=False,
        reading_order="forward",
        num_targets=3,
        glimpse_size=33,
        localization_filters=LOCALIZATION_FILTERS,
        classification_filters=CLASSIFICATION_FILTERS,
        units=256,
        hidden_units=400,
        antialias=True,
        **kwargs,
    ):
        # The dtype policy must not touch where to look.
        super().__init__(
            image_shape,
            num_classes,
            class_names,
            terminal,
            autocast=False,
            **kwargs,
        )
        self._take_one_size(MIN_IMAGE_SIDE)
        check_choice(reading_order, READING_ORDERS, "reading_order")
        self.reading_order = reading_order
        self.num_targets = check_integer(num_targets, "num_targets")
        self.localization_filters = check_integers(
            localization_filters,
            len(LOCALIZATION_NETWORK),
            "localization_filters",
        )
        self.classification_filters = check_integers(
            classification_filters,
            len(CLASSIFICATION_NETWORK),
            "classification_filters",
        )
        self.units = check_integer(units, "units")
        self.hidden_units = check_integer(hidden_units, "hidden_units")
        self.antialias = check_boolean(antialias, "antialias")
        self._make_attention(glimpse_size)
        self._make_localization_network()
        self._make_classification_network()
        self.build((None, *self.image_shape))

    def _make_attention(self, glimpse_size):
        policy = self.dtype_policy
        self.attention = SpatialTransformerAttention(
            glimpse_size,
            antialias=self.antialias,
            name="attention",
            dtype=policy,
        )
        self.glimpse_size = self.attention.glimpse_size
        if min(self.glimpse_size) < MIN_GLIMPSE_SIDE:
            raise ValueError(
                f"`glimpse_size` must be at least {MIN_GLIMPSE_SIDE}. "
                f"Received: glimpse_size={glimpse_size!r}"
            )
        self.rescaling = layers.Rescaling(
            1 / 255, name="rescaling", dtype=policy
        )
        # Of both networks, in the type of each.
        self.pooling = blocks.pooling("pooling", dtype=policy, autocast=False)
        self.flatten = blocks.flatten(policy)

    def _make_localization_network(self):
        self.localization_convolutions = blocks.rectified_convolutions(
            "localization",
            blocks.with_filters(
                LOCALIZATION_NETWORK, self.localization_filters
            ),
            1,
            "he_normal",
            "float32",
        )
        self.gru = layers.GRUCell(self.units, name="gru", dtype="float32")
        self.emission = layers.Dense(
            6,
            kernel_initializer="zeros",
            bias_initializer=blocks.whole_image,
            name="emission",
            dtype="float32",
        )

    def _make_classification_network(self):
        shared = self.num_targets, "he_normal", self.dtype_policy
        self.classification_convolutions = blocks.rectified_convolutions(
            "classification",
            blocks.with_filters(
                CLASSIFICATION_NETWORK, self.classification_filters
            ),
            *shared,
        )
        self.hidden = blocks.rectified_dense(
            "hidden", self.hidden_units, *shared
        )
        self.answer = layers.Dense(
            self.num_classes, name="answer", dtype="float32"
        )

    def _localization_stack(self):
        return blocks.stack(
            LOCALIZATION_NETWORK, self.localization_convolutions, self.pooling
        )

    def _classification_stack(self):
        return blocks.stack(
            CLASSIFICATION_NETWORK,
            self.classification_convolutions,
            self.pooling,
        )

    def build(self, images_shape):
        if self.built:
            return
        self.attention.build(images_shape)
        self.rescaling.build(images_shape)
        self.pooling.build(images_shape)
        maps = blocks.build_stack(
            self._localization_stack(),
            self.pooling.compute_output_shape(images_shape),
        )
        self.gru.build((None, math.prod(maps[1:])))
        self.emission.build((None, self.units))
        maps = blocks.build_stack(
            self._classification_stack(),
            self.attention.compute_output_shape(images_shape),
        )
        self.flatten.build(maps)
        self.hidden.build(self.flatten.compute_output_shape(maps))
        self.answer.build((None, self.hidden_units))
        self.built = True

    def start(self, images, training=False):
        images = ops.convert_to_tensor(images)
        features = self.localization_network(images, training)
        hidden = self.gru.get_initial_state(batch_size=ops.shape(images)[0])
        if isinstance(hidden, (list, tuple)):
            (hidden,) = hidden
        state = RNNSPNState(first_step(hidden), features, hidden)
        return self.attention.pyramid(images), state

    def look(
        self, images, glimpses_per_target, training=False, with_patches=False
    ):
        if glimpses_per_target != 1:
            raise ValueError(
                f"{type(self).__name__} takes one glimpse a target. Received: "
                f"glimpses_per_target={glimpses_per_target}"
            )
        return super().look(images, 1, training, with_patches)

    def localization_network(self, images, training=False):
        """c, what the whole image says of where: -> `(B, F)`."""
        # The largest is the largest in any unit: so fewer are rescaled.
        maps = self.pooling(ops.cast(images, "float32")) / 255
        maps, _ = blocks.call_stack(
            self._localization_stack(), maps, step=0, training=training
        )
        return ops.reshape(maps, (-1, math.prod(maps.shape[1:])))  # (B, F)

    def classification_network(self, patches, step, training=False):
        """Logits of what is in patches: `(B, g, g, C)` -> `(B, K)`."""
        steps = dict(step=step, training=training)
        maps, _ = blocks.call_stack(
            self._classification_stack(), patches, **steps
        )
        return self.answer(self.hidden(self.flatten(maps), **steps))

    def _move(self, state):
        """The next h_s `(B, U)` and A_s `(B, 2, 3)`."""
        hidden, _ = self.gru(state.features, [state.hidden])
        windows = ops.reshape(self.emission(hidden), (-1, 2, 3))  # (B, 2, 3)
        return hidden, windows

    def step(self, pyramid, state, training=False):
        hidden, windows = self._move(state)
        # The patches are rescaled, not the image, which may be large.
        patches = self.rescaling(self.attention.read(pyramid, windows))
        logits = self.classification_network(patches, state.step, training)
        return (
            Glimpse(logits, windows, patches),
            state._replace(step=state.step + 1, hidden=hidden),
        )

    def next_windows(self, pyramid, state):
        _, windows = self._move(state)
        return windows

    def get_config(self):
        config = super().get_config()
        config.update(
            reading_order=self.reading_order,
            num_targets=self.num_targets,
            glimpse_size=list(self.glimpse_size),
            localization_filters=list(self.localization_filters),
            classification_filters=list(self.classification_filters),
            units=self.units,
            hidden_units=self.hidden_units,
            antialias=self.antialias,
        )
        return config
