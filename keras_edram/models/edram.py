"""EDRAM: Enriched Deep Recurrent Visual Attention Model.

Ablavatski, Lu, Cai, "Enriched Deep Recurrent Visual Attention Model for
Multiple Object Recognition", WACV 2017. The file follows section 3.

    symbol           here                     what it is
    A_θ,t            state.transforms         the window read at glimpse t
    x_t              patches                  what is seen there
    g_t              glimpse                  what was seen, and where, in one
    r_t^(1)          state.what_hidden        of LSTM 1, says what it is
    r_t^(2)          state.where_hidden       of LSTM 2, says where to look
    y_t              logits                   the label read at glimpse t
    S, N, T = S N    num_targets, glimpses_per_target, num_glimpses

Where we depart from the paper, and why:

- The emission is bounded: zooms by a sigmoid to (0, 1), the rest by tanh to
  (-1, 1). An unbounded emission diverged in our trials.
- `detach_transforms`: gradients do not flow from a glimpse into the window it
  was read from, so the window is taught by the box alone. This is what made
  training quick and sure; `False` is the paper's end-to-end gradient.
- Wide windows read averaged pixels (`antialias`); `False` is Eq. 3 exactly.
- `initialization="he"` is Keras' practice today; `"paper"` is the paper's.
- `context_layout="search"`: what is small in a large image is lost at 12x12,
  and with it the first windows. So the context network can be one that sees
  more, and finds things wherever they lie; `"strided_search"` sees most.
- `relative_emission`: a window is said by what it is to the last one, of which
  it is a window: A_{t+1} = A_t B_t. What is small in a large image is so found
  and followed by the same numbers as what is large. The first is relative to a
  window at the place that a search has found. (Strides of 2 have a column more
  on the right and a row more below, so that a place is said too far to the
  upper left, always by as much: the emission learns that.)
- The down-sampled image of the context network is read by the attention too,
  always anti-aliased; the paper does not say how it down-samples.

θ_i,j of Eq. 9 is taken as the window that glimpse j of target i *reads*, as
A_θ,t is in section 3.1: so the answer of a glimpse and its window belong
together, and what is emitted after the last glimpse is never read.

Letters in shapes: B batch, H W C image, g glimpse side, U units, D hidden
units, S targets, N glimpses a target, K classes.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from keras_edram import geometry
from keras_edram.checks import (
    check_boolean,
    check_choice,
    check_integer,
    check_integers,
)
from keras_edram.layers.image_pyramid import image_pyramid, num_pyramid_levels
from keras_edram.layers.spatial_softmax import SpatialSoftmax
from keras_edram.layers.spatial_transformer_attention import (
    SpatialTransformerAttention,
    read_whole,
)
from keras_edram.models import blocks, emission
from keras_edram.models.base import BaseModel, Glimpse
from keras_edram.models.glimpse_loop import first_step
from keras_edram.reading_order import READING_ORDERS

CONTEXT_LAYOUTS = ("paper", "search", "strided_search")
INITIAL_TRANSFORMS = ("identity", "context")
INITIALIZATIONS = ("he", "paper")
# The paper's networks, section 4.1; filters can be others.
CONTEXT_NETWORK = (
    blocks.Convolution(16, 5, "valid"),
    blocks.Convolution(16, 3, "valid"),
    blocks.Convolution(32, 3, "valid"),
)
GLIMPSE_NETWORK = (
    blocks.Convolution(64, 3, "same"),
    blocks.Convolution(64, 3, "valid", pooled=True),
    blocks.Convolution(128, 3, "same"),
    blocks.Convolution(128, 3, "same", pooled=True),
    blocks.Convolution(160, 3, "same"),
    blocks.Convolution(192, 3, "valid"),
)
CONTEXT_FILTERS = blocks.filters_of(CONTEXT_NETWORK)
GLIMPSE_FILTERS = blocks.filters_of(GLIMPSE_NETWORK)
VALID_CONVOLUTIONS = tuple(
    index for index, row in enumerate(GLIMPSE_NETWORK) if row.padding == "valid"
)  # (1, 5)
MIN_CONTEXT_SIZE = blocks.smallest_input(CONTEXT_NETWORK)  # 9
# Places that a context network which searches looks for.
NUM_SEARCHES = 8
# Where a relative emission starts: at a place that is found, so large.
FOUND_ZOOM = 0.25
PATCHES = "patches"  # are standardised, not images
# Of values in [0, 255]: against a division by 0, in images of one grey.
STANDARD_EPSILON = 1.0


class EDRAMState(NamedTuple):
    """What EDRAM carries from one glimpse to the next.

    Attributes:
        step: Scalar int32, how many glimpses were taken.
        transforms: `(B, 2, 3)`, the window that the next glimpse reads.
        what_hidden: `(B, U)`, hidden state of LSTM 1.
        what_cell: `(B, U)`, cell state of LSTM 1.
        where_hidden: `(B, U)`, hidden state of LSTM 2.
        where_cell: `(B, U)`, cell state of LSTM 2.
    """

    step: Any
    transforms: Any
    what_hidden: Any
    what_cell: Any
    where_hidden: Any
    where_cell: Any


# A quarter of the paper's widths: 0.69 million parameters at 10 classes.
SMALL_SIZES = dict(
    context_filters=(4, 4, 8),
    glimpse_filters=(16, 16, 32, 32, 40, 48),
    units=128,
    hidden_units=256,
)


@keras.saving.register_keras_serializable(package="keras_edram")
class EDRAM(BaseModel):
    """Looks at an image in a few glimpses and reads the objects it finds.

    Each glimpse reads the window `A_t` of the image as a small patch. The
    glimpse network multiplies what is seen with where it was seen; LSTM 1
    turns that into a label, LSTM 2 into the next window:

        x_t       = attention(image, A_t)
        g_t       = what(x_t) * where(A_t)
        r_t^(1)   = LSTM1(g_t, r_{t-1}^(1))      y_t = classification(r_t^(1))
        r_t^(2)   = LSTM2(r_t^(1), r_{t-1}^(2))  A_{t+1} = emission(r_t^(2))

    `r_0^(2)` comes from a context network that sees the image at 12x12; the
    first window is the whole image. To find what is small in large images, the
    network can see more (`context_layout`, `context_size`) and choose the first
    window too (`initial_transform`). The model makes `glimpses_per_target`
    predictions for each of `num_targets` objects, which are averaged. Its cost
    does not depend on the size of the image, but for reading it.

    The defaults are the paper's sizes for cluttered MNIST: 10.7 million
    parameters.

    Args:
        image_shape: `(height, width, channels)`, or `(None, None, channels)`
            for images of any size, which are read as they are. Defaults to
            `(100, 100, 1)`.
        num_classes: Integer, K, with the terminal label. Defaults to 10.
        class_names: Strings, the names of the classes but the terminal label;
            by default their numbers.
        terminal: Boolean, whether the last class is the terminal label, which
            ends a sequence of objects (section 4.2). Defaults to `False`.
        reading_order: `"forward"`, or `"backward"` for a model that is taught
            its targets from last to first; `decode` turns its answers round.
            Defaults to `"forward"`.
        num_targets: Integer, S, the terminal one among them. Defaults to 1.
        glimpses_per_target: Integer, N. Defaults to 6.
        glimpse_size: Integer or `(height, width)` of the patch, at least as
            large as the glimpse network needs: 14. Defaults to 26.
        context_size: Integer, side of the image that the context network
            sees. Defaults to 12.
        context_layout: `"paper"`; or for what is small in large images, with a
            larger `context_size`, `"search"` or `"strided_search"`, which costs
            a quarter with the same filters. Defaults to `"paper"`.
        context_filters: Integers, filters of its convolutions. The paper's are
            three, of size 5, 3 and 3. Their output is LSTM 2's first state, so
            that `context_filters[-1] * (context_size - 8)**2` must be `units`.
            Those of a search, any number, are of size 3, rectified and halved
            by pooling or by strides of 2; a `SpatialSoftmax` and a dense layer
            of `units` follow. Defaults to `(16, 16, 32)`.
        context_halvings: Integer, after how many of the convolutions of a
            search the maps are halved; fewer tell what is small and close
            together apart. Defaults to all, or with strides to all but the
            last.
        glimpse_filters: Six integers, filters of the 3x3 convolutions of the
            glimpse network, with pooling after the second and the fourth.
            Defaults to `(64, 64, 128, 128, 160, 192)`.
        valid_convolutions: Integers, which of these, counted from 0, leave the
            border of their maps out. With the default, `(1, 5)`, glimpses of
            26x26 end as maps of 4x4; with `(1, 4, 5)` those of 34x34 do, which
            gives the paper's 11 million parameters on SVHN too.
        units: Integer, units of each LSTM. Defaults to 512.
        hidden_units: Integer, of each fully connected layer. Defaults to 1024.
        initial_transform: `"identity"`, the first glimpse sees the whole
            image (the default), or `"context"`, the context network chooses;
            so it must with one glimpse a target, or the first target is never
            looked at by itself.
        relative_emission: Boolean, whether the emission says by what a window
            differs from the last one. The first that is emitted differs from
            the whole image; with a search and `initial_transform="context"`
            from a window at the place that is found. Defaults to `False`, as
            the paper.
        detach_transforms: Boolean, whether to stop the gradient between a
            glimpse and its window. Defaults to `True`.
        antialias: Boolean, see `SpatialTransformerAttention`. Defaults to
            `True`.
        standardize: Boolean, whether each image is shifted and scaled to a
            mean of 0 and a deviation of 1, against light and contrast, rather
            than only scaled to [0, 1]; or `"patches"`, what is seen of it at
            each glimpse: in a large image light and contrast differ from place
            to place. Defaults to `False`.
        initialization: `"he"` or `"paper"` (uniform ±0.01 for convolutions
            and LSTMs, Gaussian of variance 0.001 for the others). Defaults to
            `"he"`.
        **kwargs: `temperature`, see `BaseModel`, and arguments of
            `keras.Model`.

    Call arguments:
        images: Tensor of shape `(B, H, W, C)`, uint8 or float in [0, 255].
        training: Boolean.

    Returns:
        A dictionary: `labels`, logits of shape `(B, S, N, K)`, and
        `transforms`, the windows that were read, `(B, S, N, 2, 3)`.

    Raises:
        ValueError: For sizes that do not fit together or unknown choices.

    Example:

    >>> model = EDRAM(image_shape=(100, 100, 1), **SMALL_SIZES)
    >>> model.predict(np.zeros((2, 100, 100, 1), "uint8"))["labels"].shape
    (2, 1, 6, 10)

    Reference:
        - Ablavatski et al., "Enriched Deep Recurrent Visual Attention Model",
          2017, section 3.
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
        num_targets=1,
        glimpses_per_target=6,
        glimpse_size=26,
        context_size=12,
        context_layout="paper",
        context_filters=CONTEXT_FILTERS,
        context_halvings=None,
        glimpse_filters=GLIMPSE_FILTERS,
        valid_convolutions=VALID_CONVOLUTIONS,
        units=512,
        hidden_units=1024,
        initial_transform="identity",
        relative_emission=False,
        detach_transforms=True,
        antialias=True,
        standardize=False,
        initialization="he",
        **kwargs,
    ):
        super().__init__(
            image_shape, num_classes, class_names, terminal, **kwargs
        )
        self.num_targets = check_integer(num_targets, "num_targets")
        self.glimpses_per_target = check_integer(
            glimpses_per_target, "glimpses_per_target"
        )
        self.units = check_integer(units, "units")
        self.hidden_units = check_integer(hidden_units, "hidden_units")
        check_choice(context_layout, CONTEXT_LAYOUTS, "context_layout")
        self.context_layout = context_layout
        searches = context_layout != "paper"
        if searches and not len(context_filters):
            raise ValueError(
                "A search must have a convolution. "
                f"Received: context_filters={context_filters!r}"
            )
        self.context_filters = check_integers(
            context_filters,
            None if searches else len(CONTEXT_NETWORK),
            "context_filters",
        )
        self.context_halvings = self._checked_halvings(context_halvings)
        self.context_size = check_integer(
            context_size,
            "context_size",
            # A search needs more than one place to look at.
            2 ** (self.context_halvings + 1) if searches else MIN_CONTEXT_SIZE,
        )
        self.glimpse_filters = check_integers(
            glimpse_filters, len(GLIMPSE_NETWORK), "glimpse_filters"
        )
        valid_convolutions = check_integers(
            valid_convolutions,
            None,
            "valid_convolutions",
            minimum=0,
            maximum=len(GLIMPSE_NETWORK) - 1,
        )
        self.valid_convolutions = tuple(sorted(set(valid_convolutions)))
        check_choice(reading_order, READING_ORDERS, "reading_order")
        check_choice(initial_transform, INITIAL_TRANSFORMS, "initial_transform")
        check_choice(initialization, INITIALIZATIONS, "initialization")
        self.reading_order = reading_order
        self.initial_transform = initial_transform
        self.relative_emission = check_boolean(
            relative_emission, "relative_emission"
        )
        self.detach_transforms = check_boolean(
            detach_transforms, "detach_transforms"
        )
        self.antialias = check_boolean(antialias, "antialias")
        if standardize != PATCHES:
            standardize = check_boolean(standardize, "standardize")
        self.standardize = standardize
        self.initialization = initialization
        side = self.context_size - MIN_CONTEXT_SIZE + 1
        if not searches and self.context_filters[-1] * side**2 != self.units:
            raise ValueError(
                "`context_filters[-1] * (context_size - 8)**2` must be "
                "`units`: the context network makes the first state of LSTM "
                f"2. Received: context_filters={self.context_filters}, "
                f"context_size={self.context_size}, units={self.units}"
            )
        convolution, dense, output, lstm = _initializers(initialization)
        self._make_attention(glimpse_size)
        self._make_context_network(convolution, dense)
        self._make_glimpse_network(convolution, dense)
        self._make_recurrent_networks(lstm)
        self._make_output_networks(dense, output)
        self.build((None, *self.image_shape))

    # All layers have names of their own: automatic ones count up with every
    # model that is made, and the order in which TensorFlow adds up gradients,
    # so their last digit, depends on names.

    def _make_attention(self, glimpse_size):
        self.rescaling = layers.Rescaling(
            1 / 255, name="rescaling", dtype=self.dtype_policy
        )
        self.attention = SpatialTransformerAttention(
            glimpse_size,
            antialias=self.antialias,
            name="attention",
            dtype=self.dtype_policy,
        )
        self.glimpse_size = self.attention.glimpse_size
        smallest = blocks.smallest_input(self._glimpse_table())
        if min(self.glimpse_size) < smallest:
            raise ValueError(
                f"`glimpse_size` must be at least {smallest}. "
                f"Received: glimpse_size={glimpse_size!r}"
            )

    def _make_context_network(self, convolution, dense):
        policy = self.dtype_policy
        self.downsampling = SpatialTransformerAttention(
            self.context_size, name="downsampling", dtype=policy
        )
        if self.context_layout == "paper":
            rows = blocks.with_filters(CONTEXT_NETWORK, self.context_filters)
            self.context_layers = blocks.normalized_convolutions(
                "context", rows, convolution, policy
            )
            return
        self.context_convolutions = blocks.rectified_convolutions(
            "context", self._search_table(), 1, convolution, policy
        )
        self.search = SpatialSoftmax(NUM_SEARCHES, name="search", dtype=policy)
        self.context_output = layers.Dense(
            self.units,
            kernel_initializer=dense,
            name="context_output",
            dtype=policy,
        )

    def _checked_halvings(self, halvings):
        """Those of a search, or `None`."""
        if self.context_layout == "paper":
            if halvings is not None:
                raise ValueError(
                    "`context_halvings` is for a `context_layout` of "
                    "'search' or 'strided_search'. Received: "
                    f"context_halvings={halvings!r}, context_layout='paper'"
                )
            return None
        convolutions = len(self.context_filters)
        most = convolutions - (self.context_layout == "strided_search")
        if halvings is None:
            return most
        return check_integer(
            halvings, "context_halvings", minimum=0, maximum=convolutions
        )

    def _search_table(self):
        strided = self.context_layout == "strided_search"
        halved = dict(strides=2) if strided else dict(pooled=True)
        return [
            blocks.Convolution(
                filters, **(halved if index < self.context_halvings else {})
            )
            for index, filters in enumerate(self.context_filters)
        ]

    def _context_stack(self):
        return blocks.stack(
            self._search_table(), self.context_convolutions, self.pooling
        )

    def _make_glimpse_network(self, convolution, dense):
        policy = self.dtype_policy
        self.glimpse_convolutions = blocks.rectified_convolutions(
            "glimpse",
            self._glimpse_table(),
            self.num_glimpses,
            convolution,
            policy,
        )
        self.pooling = blocks.pooling("pooling", dtype=policy)
        self.flatten = blocks.flatten(policy)
        self.what = self._dense("what", dense)
        # At the start all windows are equal, so they normalise to 0: with a β
        # of 0 their product with "what" would pass no gradient to either.
        self.where = self._dense("where", dense, beta_initializer="ones")

    def _glimpse_table(self):
        rows = blocks.with_filters(GLIMPSE_NETWORK, self.glimpse_filters)
        paddings = [
            "valid" if index in self.valid_convolutions else "same"
            for index in range(len(rows))
        ]
        return [
            row._replace(padding=padding)
            for row, padding in zip(rows, paddings, strict=True)
        ]

    def _dense(self, name, initializer, **kwargs):
        sizes = self.hidden_units, self.num_glimpses
        return blocks.rectified_dense(
            name, *sizes, initializer, self.dtype_policy, **kwargs
        )

    def _make_recurrent_networks(self, initializers):
        shared = dict(**initializers, dtype=self.dtype_policy)
        self.what_lstm = layers.LSTMCell(self.units, name="what_lstm", **shared)
        self.where_lstm = layers.LSTMCell(
            self.units, name="where_lstm", **shared
        )

    def _make_output_networks(self, dense, output):
        self.classification_layers = [
            self._dense(f"classification_{index}", dense) for index in range(2)
        ]
        self.classification_output = layers.Dense(
            self.num_classes,
            kernel_initializer=output,
            dtype="float32",
            name="classification_output",
        )
        # Two names: what says a window says no change of one.
        relative = self.relative_emission
        self.emission = layers.Dense(
            6,
            kernel_initializer="zeros",
            bias_initializer="zeros" if relative else emission.absolute_bias,
            dtype="float32",
            name="relative_emission" if relative else "emission",
        )

    def build(self, images_shape):
        if self.built:
            return
        channels = images_shape[-1]
        self.attention.build(images_shape)
        self.downsampling.build(images_shape)
        shape = (None, self.context_size, self.context_size, channels)
        if self.context_layout == "paper":
            self.context_layers.build(shape)
        else:
            shape = blocks.build_stack(self._context_stack(), shape)
            self.search.build(shape)
            _, searches, features = self.search.compute_output_shape(shape)
            self.context_output.build((None, searches * features))
        shape = (None, *self.glimpse_size, channels)
        self.rescaling.build(shape)
        shape = blocks.build_stack(self._glimpse_stack(), shape)
        self.flatten.build(shape)
        self.what.build(self.flatten.compute_output_shape(shape))
        self.where.build((None, 6))
        self.what_lstm.build((None, self.hidden_units))
        self.where_lstm.build((None, self.units))
        first, second = self.classification_layers
        first.build((None, self.units))
        second.build((None, self.hidden_units))
        self.classification_output.build((None, self.hidden_units))
        self.emission.build((None, self.units))
        self.built = True

    def _glimpse_stack(self):
        return blocks.stack(
            GLIMPSE_NETWORK, self.glimpse_convolutions, self.pooling
        )

    def pyramid(self, images):
        """The `ImagePyramid` that all reads of `(B, H, W, C)` share."""
        if self.standardize is True:
            images = _standardized(ops.cast(images, "float32"))
        smallest = [min(side, self.context_size) for side in self.glimpse_size]
        if self.takes_any_size:
            # A window that is skewed has up to √2 times the step of the image:
            # a level more, which a graph for any size has too.
            levels = 1 + num_pyramid_levels(images.shape[1:3], smallest)
        else:
            levels = num_pyramid_levels(self.image_shape[:2], smallest)
        return image_pyramid(images, levels)

    def see(self, attention, pyramid, transforms):
        """Patches of the windows: `(B, 2, 3)` -> `(B, g, g, C)`."""
        return self._seen(attention.read(pyramid, transforms))

    def _seen(self, patches):
        # The patches are rescaled, not the image, which may be large.
        if not self.standardize:
            return self.rescaling(patches)
        if self.standardize == PATCHES:
            patches = ops.cast(patches, "float32")
            patches = _standardized(patches)
        return ops.cast(patches, self.compute_dtype)

    def patch_picture(self, patch):
        if self.standardize:  # any values, not [0, 1]
            patch = (patch - patch.min()) / max(np.ptp(patch), 1e-6)
        return super().patch_picture(patch)

    def context_network(self, pyramid, training=False):
        """The first state r_0^(2) of LSTM 2, and where something was found.

        An image -> `(B, U)`, and the window that a relative emission starts
        from, `(B, 2, 3)`: the whole image if nothing is searched.
        """
        whole = _repeat_identity(pyramid.parts[0])
        if self.context_layout == "strided_search":
            size = self.downsampling.glimpse_size
            context = self._seen(read_whole(pyramid, size))
        else:
            context = self.see(self.downsampling, pyramid, whole)
        if self.context_layout == "paper":
            state = self.context_layers(context, training=training)
            return self.flatten(state), whole
        maps, _ = blocks.call_stack(
            self._context_stack(), context, step=0, training=training
        )
        found = self.search(maps)  # (B, searches, features)
        place = found[:, 0, -2:, None]  # (B, 2, 1)
        window = ops.concatenate(
            [FOUND_ZOOM * whole[..., :2], place], axis=-1
        )  # (B, 2, 3)
        return self.context_output(self.flatten(found)), window

    def glimpse_features(self, patches, transforms, step, training=False):
        """All that the glimpse network computes, by name.

        Windows `(B, 2, 3)` and what they show, `(B, g, g, C)`, give "what" and
        "where", and "glimpse", g_t, all `(B, D)`.
        """
        steps = dict(step=step, training=training)
        stack = self._glimpse_stack()
        maps, features = blocks.call_stack(stack, patches, **steps)
        features["what"] = self.what(self.flatten(maps), **steps)
        features["where"] = self.where(self.flatten(transforms), **steps)
        features["glimpse"] = features["what"] * features["where"]
        return features

    def classification_network(self, features, step, training=False):
        """Logits of the labels: `(B, U)` -> `(B, K)`."""
        for dense in self.classification_layers:
            features = dense(features, step=step, training=training)
        return self.classification_output(features)

    def emission_network(self, features, window):
        """The next window A_{t+1}: `(B, U)` -> `(B, 2, 3)`, float32.

        Of a relative emission, that of the last one, `(B, 2, 3)`.
        """
        numbers = self.emission(features)  # (B, 6)
        if self.relative_emission:
            return emission.relative_windows(numbers, window)
        return emission.absolute_windows(numbers)

    def start(self, images, training=False):
        pyramid = self.pyramid(images)
        context, transforms = self.context_network(pyramid, training)
        zeros = ops.zeros_like(context)
        if self.initial_transform == "context":
            transforms = self.emission_network(context, transforms)
        else:
            transforms = _repeat_identity(context)
        return pyramid, EDRAMState(
            first_step(zeros), transforms, zeros, zeros, context, zeros
        )

    def step(self, pyramid, state, training=False):
        step, transforms = state.step, state.transforms
        if self.detach_transforms:
            transforms = ops.stop_gradient(transforms)
        patches = self.see(self.attention, pyramid, transforms)
        features = self.glimpse_features(patches, transforms, step, training)
        what_hidden, what_states = self.what_lstm(
            features["glimpse"], [state.what_hidden, state.what_cell]
        )
        where_hidden, where_states = self.where_lstm(
            what_hidden, [state.where_hidden, state.where_cell]
        )
        logits = self.classification_network(what_hidden, step, training)
        emitted = self.emission_network(where_hidden, transforms)
        return (
            Glimpse(logits, state.transforms, patches),
            EDRAMState(step + 1, emitted, *what_states, *where_states),
        )

    def next_windows(self, pyramid, state):
        return state.transforms

    def get_config(self):
        config = super().get_config()
        config.update(
            reading_order=self.reading_order,
            num_targets=self.num_targets,
            glimpses_per_target=self.glimpses_per_target,
            glimpse_size=list(self.glimpse_size),
            context_size=self.context_size,
            context_layout=self.context_layout,
            context_filters=list(self.context_filters),
            context_halvings=self.context_halvings,
            glimpse_filters=list(self.glimpse_filters),
            valid_convolutions=list(self.valid_convolutions),
            units=self.units,
            hidden_units=self.hidden_units,
            initial_transform=self.initial_transform,
            relative_emission=self.relative_emission,
            detach_transforms=self.detach_transforms,
            antialias=self.antialias,
            standardize=self.standardize,
            initialization=self.initialization,
        )
        return config


def _initializers(initialization):
    """Of convolutions, dense layers, the output, and arguments of LSTMs."""
    if initialization == "he":
        return "he_normal", "he_normal", "glorot_uniform", {}
    uniform = keras.initializers.RandomUniform(-0.01, 0.01)
    gaussian = keras.initializers.RandomNormal(stddev=0.001**0.5)
    lstm = dict(kernel_initializer=uniform, recurrent_initializer=uniform)
    return uniform, gaussian, gaussian, lstm


def _standardized(images):
    """Each of `(B, H, W, C)` with a mean of 0 and a deviation of 1."""
    mean, variance = ops.moments(images, (1, 2, 3), keepdims=True)
    return (images - mean) * ops.rsqrt(variance + STANDARD_EPSILON)


def _repeat_identity(batch):
    """The whole-image window for each of a batch: `(B, 2, 3)`."""
    zeros = ops.zeros((ops.shape(batch)[0], 1, 1), "float32")
    return zeros + ops.convert_to_tensor(geometry.IDENTITY)
