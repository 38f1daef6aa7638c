"""DRAM: Deep Recurrent Attention Model.

Ba, Mnih, Kavukcuoglu, "Multiple object recognition with visual attention",
ICLR 2015. The file follows section 3.

    symbol           here                     what it is
    I_coarse         the image, `downsampling` what the context network sees
    l_n              locations                where glimpse n looks
    x_n              patches                  what the retina shows there
    g_n              glimpse                  what was seen, and where, in one
    r_n^(1)          state.what_hidden        of LSTM 1, says what it is
    r_n^(2)          state.where_hidden       of LSTM 2, says where to look
    y_s              logits                   label s, after its last glimpse
    b_n              baselines                the reward that is expected
    λ                reinforce_weight         of the gradient of the policy
    M                num_rollouts             paths averaged at test

At the defaults, the paper's sizes for house numbers, it has 13.9 million
trainable parameters; the paper says 14 million. The paper gives the LSTMs,
the fully connected layers and the convolutions of a glimpse. The sides of
patch and context and the deviation of a location are ours (the paper's patches
of house numbers are 12x12, at two scales, and the deviation 0.03), the context
network is given the layers of the glimpse network, and classification and
emission a hidden layer each.

Where we differ:

- The reward of a location is the number of right answers from its target on:
  it can change no earlier one. The paper adds up those until then. Both are 0
  or 1 for each target, in place of its log-probability, which has no bound.
- What the policy learns stops before r^(1) (`detach_policy`): the labels alone
  say what is remembered of what was seen. `False` is the paper's gradient.
- The mean of a location is bounded by tanh, so that it stays on the image, and
  can be held back from its border (`location_penalty`).
- Convolutions and fully connected layers that see or classify are
  batch-normalised, by step.
- The mean policy, not a drawn path, is followed at test if M is 0.

Letters in shapes: B batch, H W C image, g glimpse side, Z scales, U units,
D hidden units, S targets, N glimpses a target, K classes.
"""

from typing import Any, NamedTuple

import keras
from keras import layers, ops

from keras_edram import geometry
from keras_edram.checks import check_choice, check_integer, check_integers
from keras_edram.layers.image_pyramid import image_pyramid, num_pyramid_levels
from keras_edram.layers.retina_glimpse import RetinaGlimpse
from keras_edram.layers.spatial_transformer_attention import (
    SpatialTransformerAttention,
)
from keras_edram.models import blocks
from keras_edram.models.base import Glimpse
from keras_edram.models.glimpse_loop import first_step
from keras_edram.models.policy import PolicyModel
from keras_edram.reading_order import READING_ORDERS

# The paper's networks, section 4; filters can be others.
CONVOLUTIONS = (
    blocks.Convolution(64, 5, "valid"),
    blocks.Convolution(64, 3, "valid"),
    blocks.Convolution(128, 3, "valid"),
)
FILTERS = blocks.filters_of(CONVOLUTIONS)
SMALLEST = blocks.smallest_input(CONVOLUTIONS)  # 9


class DRAMState(NamedTuple):
    """What DRAM carries from one glimpse to the next.

    Attributes:
        step: Scalar int32, how many glimpses were taken.
        what_hidden: `(B, U)`, hidden state of LSTM 1.
        what_cell: `(B, U)`, cell state of LSTM 1.
        where_hidden: `(B, U)`, hidden state of LSTM 2.
        where_cell: `(B, U)`, cell state of LSTM 2.
    """

    step: Any
    what_hidden: Any
    what_cell: Any
    where_hidden: Any
    where_cell: Any


@keras.saving.register_keras_serializable(package="keras_edram")
class DRAM(PolicyModel):
    """Reads the objects of an image one by one, taught by their labels alone.

    A context network sees the whole image, but coarsely, and starts LSTM 2,
    which says where to look. There a retina sees a small window, sharp in the
    middle; what it sees times where that is goes to LSTM 1, which after N
    glimpses says the label of a target:

        r_0^(2) = context(I_coarse)
        l_n ~ Normal(emission(r_{n-1}^(2)), σ²)
        g_n     = what(x_n) * where(l_n)
        r_n^(1) = LSTM1(g_n, r_{n-1}^(1))      y_s = classification(r_{sN}^(1))
        r_n^(2) = LSTM2(r_n^(1), r_{n-1}^(2))

    LSTM 1 knows nothing of the context, so that what it says is seen in the
    glimpses. Choosing a place has no gradient: `fit` minimises what `compile`
    was given on the answers, and REINFORCE with a learnt baseline,

        L = L^y - λ Σ_n (R_n - b_n) log π(l_n | r_{n-1}^(2))
                + w_b Σ_n (R_n - b_n)² + w_l Σ_n |artanh μ_n|²

    R_n being how many targets are right of those still to come at glimpse n.
    Noise drives the mean μ_n to the border of the image, where tanh has no
    slope; w_l holds it back.
    In training locations are drawn; otherwise the mean is taken, or with
    `num_rollouts` the probabilities of several drawn paths are averaged. Two
    models of opposite `reading_order` are joined by `Ensemble`.

    The defaults are the paper's sizes for house numbers: 13.9 million
    parameters.

    Args:
        image_shape: `(height, width, channels)`, or `(None, None, channels)`
            for images of any size. Defaults to `(54, 54, 1)`.
        num_classes: Integer, K, with the terminal label. Defaults to 11.
        class_names: Strings, the names of the classes but the terminal label;
            by default their numbers.
        terminal: Boolean, whether the last class is the terminal label, which
            ends a sequence of objects. Defaults to `True`.
        reading_order: `"forward"`, or `"backward"` for a model that is taught
            its targets from last to first; `decode` turns its answers round.
            Defaults to `"forward"`.
        num_targets: Integer, S, the terminal one among them. Defaults to 6.
        glimpses_per_target: Integer, N. Defaults to 3.
        glimpse_size: Integer g of at least 9, side of a patch in pixels.
            Defaults to 14.
        num_scales: Integer Z, patches of a glimpse, see `RetinaGlimpse`.
            Defaults to 2.
        scale_factor: Float, see `RetinaGlimpse`. Defaults to 2.
        context_size: Integer of at least 9, side of the image that the context
            network sees. Defaults to 12.
        context_filters: Three integers, filters of its convolutions, of size
            5, 3 and 3. Defaults to `(64, 64, 128)`.
        glimpse_filters: Three integers, likewise of the glimpse network.
            Defaults to `(64, 64, 128)`.
        units: Integer U, units of each LSTM. Defaults to 512.
        hidden_units: Integer D, of each fully connected layer. Defaults to
            1024.
        location_deviation: Float σ above 0, of the policy, the image being 2
            wide; or a schedule of `keras.optimizers.schedules`, by which it
            falls over the steps of training, to no less than 0.001. Drawn
            paths at test have what it has then come to. Defaults to 0.15.
        detach_policy: Boolean, whether the losses of policy and baseline stop
            before r^(1). Defaults to `True`.
        reinforce_weight: Float λ of at least 0. Defaults to 1.
        baseline_weight: Float w_b of at least 0. Defaults to 1.
        location_penalty: Float w_l of at least 0, by which the means of the
            policy are held back from the border of the image. Defaults to 0.
        num_rollouts: Integer M, paths drawn at test; 0 takes the mean policy.
            Defaults to 0.
        seed: Integer, of what is drawn; by default a random one.
        **kwargs: `temperature`, see `BaseModel`, and arguments of
            `keras.Model`.

    Call arguments:
        images: Tensor of shape `(B, H, W, C)`, uint8 or float in [0, 255].
        training: Boolean.

    Returns:
        A dictionary: `labels`, logits of shape `(B, S, 1, K)`, one answer a
        target, and `transforms` `(B, S, N, 2, 3)`, the sharpest windows, whose
        last column is l_n.

    Raises:
        ValueError: For sizes that are too small, numbers out of range, unknown
            choices or what is no truth value.

    Example:

    >>> sizes = dict(context_filters=(4, 4, 8), glimpse_filters=(4, 4, 8))
    >>> model = DRAM((40, 60, 1), units=16, hidden_units=32, **sizes)
    >>> model.compile("adam", loss={"labels": losses.LabelLoss()})
    >>> model.predict(np.zeros((2, 40, 60, 1), "uint8"))["labels"].shape
    (2, 6, 1, 11)

    Reference:
        - Ba, Mnih, Kavukcuoglu, "Multiple object recognition with visual
          attention", 2015, section 3.
    """

    def __init__(
        self,
        image_shape=(54, 54, 1),
        num_classes=11,
        *,
        class_names=None,
        terminal=True,
        reading_order="forward",
        num_targets=6,
        glimpses_per_target=3,
        glimpse_size=14,
        num_scales=2,
        scale_factor=2,
        context_size=12,
        context_filters=FILTERS,
        glimpse_filters=FILTERS,
        units=512,
        hidden_units=1024,
        location_deviation=0.15,
        detach_policy=True,
        reinforce_weight=1.0,
        baseline_weight=1.0,
        location_penalty=0.0,
        num_rollouts=0,
        seed=None,
        **kwargs,
    ):
        super().__init__(
            image_shape,
            num_classes,
            class_names,
            terminal=terminal,
            location_deviation=location_deviation,
            detach_policy=detach_policy,
            reinforce_weight=reinforce_weight,
            baseline_weight=baseline_weight,
            location_penalty=location_penalty,
            num_rollouts=num_rollouts,
            seed=seed,
            **kwargs,
        )
        check_choice(reading_order, READING_ORDERS, "reading_order")
        self.reading_order = reading_order
        self.num_targets = check_integer(num_targets, "num_targets")
        self.glimpses_per_target = check_integer(
            glimpses_per_target, "glimpses_per_target"
        )
        self.context_size = check_integer(
            context_size, "context_size", SMALLEST
        )
        self.context_filters = check_integers(
            context_filters, len(CONVOLUTIONS), "context_filters"
        )
        self.glimpse_filters = check_integers(
            glimpse_filters, len(CONVOLUTIONS), "glimpse_filters"
        )
        self.units = check_integer(units, "units")
        self.hidden_units = check_integer(hidden_units, "hidden_units")
        check_integer(glimpse_size, "glimpse_size", SMALLEST)
        self._make_retina(glimpse_size, num_scales, scale_factor)
        self._make_context_network()
        self._make_glimpse_network()
        self._make_recurrent_networks()
        self._make_output_networks()
        self.build((None, *self.image_shape))

    # All layers have names of their own: automatic ones count up with every
    # model that is made.

    def _make_retina(self, *sizes):
        policy = self.dtype_policy
        self.rescaling = layers.Rescaling(
            1 / 255, name="rescaling", dtype=policy
        )
        self.retina = RetinaGlimpse(*sizes, name="retina", dtype=policy)
        self.glimpse_size = self.retina.glimpse_size
        self.num_scales = self.retina.num_scales
        self.scale_factor = self.retina.scale_factor

    def _convolutions(self, prefix, filters, num_steps):
        rows = blocks.with_filters(CONVOLUTIONS, filters)
        return blocks.rectified_convolutions(
            prefix, rows, num_steps, "he_normal", self.dtype_policy
        )

    def _dense(self, name, num_steps, **kwargs):
        return blocks.rectified_dense(
            name,
            self.hidden_units,
            num_steps,
            dtype=self.dtype_policy,
            **kwargs,
        )

    def _make_context_network(self):
        self.downsampling = SpatialTransformerAttention(
            self.context_size, name="downsampling", dtype=self.dtype_policy
        )
        self.context_convolutions = self._convolutions(
            "context", self.context_filters, 1
        )
        self.context = self._dense("context", 1)
        self.context_output = layers.Dense(
            self.units, name="context_output", dtype=self.dtype_policy
        )

    def _make_glimpse_network(self):
        self.glimpse_convolutions = self._convolutions(
            "glimpse", self.glimpse_filters, self.num_glimpses
        )
        self.flatten = blocks.flatten(self.dtype_policy)
        self.what = self._dense("what", self.num_glimpses)
        # As long as all locations are equal they normalise to 0: with a β of 0
        # their product with "what" would pass no gradient to either.
        self.where = self._dense(
            "where", self.num_glimpses, beta_initializer="ones"
        )

    def _make_recurrent_networks(self):
        self.what_lstm, self.where_lstm = (
            layers.LSTMCell(self.units, name=name, dtype=self.dtype_policy)
            for name in ("what_lstm", "where_lstm")
        )

    def _make_output_networks(self):
        self.classification = self._dense("classification", self.num_glimpses)
        self.classification_output = layers.Dense(
            self.num_classes, name="classification_output", dtype="float32"
        )
        # Not normalised: where to look next is asked after any glimpse.
        self.emission = layers.Dense(
            self.hidden_units,
            activation="relu",
            kernel_initializer="he_normal",
            name="emission",
            dtype=self.dtype_policy,
        )
        self._make_policy()

    def build(self, images_shape):
        if self.built:
            return
        self.retina.build(images_shape)
        self.downsampling.build(images_shape)
        side = self.context_size
        self._build_vision(
            self._context_stack(),
            self.context,
            (None, side, side, images_shape[-1]),
        )
        self.context_output.build((None, self.hidden_units))
        self._build_vision(
            self._glimpse_stack(),
            self.what,
            self.retina.compute_output_shape(images_shape),
        )
        self.where.build((None, 2))
        self.what_lstm.build((None, self.hidden_units))
        self.where_lstm.build((None, self.units))
        self.classification.build((None, self.units))
        self.emission.build((None, self.units))
        self.classification_output.build((None, self.hidden_units))
        self._build_policy(self.hidden_units)
        self.built = True

    def _build_vision(self, stack, dense, shape):
        """Builds convolutions of `(B, g, g, C)` and what they end in."""
        if not self.rescaling.built:
            self.rescaling.build(shape)
        shape = blocks.build_stack(stack, shape)
        self.flatten.build(shape)
        dense.build(self.flatten.compute_output_shape(shape))

    def _context_stack(self):
        return blocks.stack(CONVOLUTIONS, self.context_convolutions, None)

    def _glimpse_stack(self):
        return blocks.stack(CONVOLUTIONS, self.glimpse_convolutions, None)

    def pyramid(self, images):
        """The `ImagePyramid` that retina and context share."""
        sides = (self.context_size, self.context_size)
        # Of images of any size, as many as the largest needs.
        levels = num_pyramid_levels(self.image_shape[:2], sides)
        return image_pyramid(
            images, max(levels, self.retina.num_levels), fill_mode="zeros"
        )

    def context_network(self, pyramid, training=False):
        """The first state r_0^(2) of LSTM 2: an image -> `(B, U)`."""
        zeros = ops.zeros((ops.shape(pyramid.parts[0])[0], 1, 1), "float32")
        whole = zeros + ops.convert_to_tensor(geometry.IDENTITY)  # (B, 2, 3)
        coarse = self.rescaling(self.downsampling.read(pyramid, whole))
        steps = dict(step=0, training=training)
        maps, _ = blocks.call_stack(self._context_stack(), coarse, **steps)
        return self.context_output(self.context(self.flatten(maps), **steps))

    def glimpse_features(self, patches, locations, step, training=False):
        """All that the glimpse network computes, by name.

        Locations `(B, 2)` and what is seen there, `(B, g, g, Z C)`, give
        "what" and "where", and "glimpse", g_n, all `(B, D)`.
        """
        steps = dict(step=step, training=training)
        maps, features = blocks.call_stack(
            self._glimpse_stack(), patches, **steps
        )
        features["what"] = self.what(self.flatten(maps), **steps)
        features["where"] = self.where(locations, **steps)
        features["glimpse"] = features["what"] * features["where"]
        return features

    def classification_network(self, features, step, training=False):
        """Logits of the labels: `(B, U)` -> `(B, K)`."""
        features = self.classification(features, step=step, training=training)
        return self.classification_output(features)

    def start(self, images, training=False):
        pyramid = self.pyramid(ops.convert_to_tensor(images))
        context = self.context_network(pyramid, training)
        zeros = ops.zeros_like(context)
        return pyramid, DRAMState(
            first_step(zeros), zeros, zeros, context, zeros
        )

    def step(self, pyramid, state, training=False, sample=False):
        """One glimpse, see `BaseModel.step`.

        Args:
            pyramid: `ImagePyramid` of the images, from `start`.
            state: `DRAMState`.
            training: Boolean.
            sample: Boolean, whether to draw the location.

        Returns:
            The `Glimpse` with its `Decision`, and the next `DRAMState`.
        """
        decision = self.decide(self.emission(state.where_hidden), sample)
        locations = ops.clip(decision.samples, -1, 1)
        patches = self.rescaling(self.retina.read(pyramid, locations))
        features = self.glimpse_features(
            patches, locations, state.step, training
        )
        what, what_states = self.what_lstm(
            features["glimpse"], [state.what_hidden, state.what_cell]
        )
        logits = self.classification_network(what, state.step, training)
        if self.detach_policy:
            what = ops.stop_gradient(what)
        _, where_states = self.where_lstm(
            what, [state.where_hidden, state.where_cell]
        )
        windows = self.retina.windows(locations, pyramid.sizes[0])
        return (
            Glimpse(logits, windows, patches, decision),
            DRAMState(state.step + 1, *what_states, *where_states),
        )

    def next_windows(self, pyramid, state):
        decision = self.decide(self.emission(state.where_hidden))
        return self.retina.windows(decision.means, pyramid.sizes[0])

    def get_config(self):
        config = super().get_config()
        config.update(
            reading_order=self.reading_order,
            num_targets=self.num_targets,
            glimpses_per_target=self.glimpses_per_target,
            glimpse_size=self.glimpse_size,
            num_scales=self.num_scales,
            scale_factor=self.scale_factor,
            context_size=self.context_size,
            context_filters=list(self.context_filters),
            glimpse_filters=list(self.glimpse_filters),
            units=self.units,
            hidden_units=self.hidden_units,
        )
        return config
