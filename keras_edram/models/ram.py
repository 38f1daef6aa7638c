"""RAM: Recurrent Attention Model.

Jatakia, Rane, Rao, "Recurrent Attention Model for Image Classification", after
Mnih, Heess, Graves, Kavukcuoglu, "Recurrent Models of Visual Attention", 2014.
The file follows section 4 of the report.

    symbol           here                     what it is
    l_t              state.locations          where glimpse t looks
    ρ(x, l_t)        patches                  what the retina shows there
    g_t              features of `glimpse`    patch and location in one
    h_t              output of `core_cell`    what is remembered
    μ_t              means                    what the location network says
    π(u | h_t)       Normal(means, σ²)        the policy; u is l_{t+1}
    b_t              baselines                the reward that h_t expects
    R                rewards                  1 if the last answer is right

Where we depart from the report, and why:

- The policy and the baseline read h_t, but their losses do not train it
  (`detach_policy`): the cross entropy alone says what is remembered.
- The first glimpse looks at the middle of the image, so that the mean policy
  is a function of the image alone. Mnih et al. start at random.
- Means are bounded by tanh, so that they stay on the image.
- The convolutional networks are batch-normalised, by step.

Letters in shapes: B batch, N glimpses, H W C image, g glimpse side, Z scales,
U units, F maps, K classes, M rollouts.
"""

from typing import Any, NamedTuple

import keras
from keras import layers, ops

from keras_edram.checks import check_choice, check_integer, check_integers
from keras_edram.layers.conv_lstm_core import ConvLSTMCore
from keras_edram.layers.retina_glimpse import RetinaGlimpse
from keras_edram.models import blocks
from keras_edram.models.base import Glimpse
from keras_edram.models.glimpse_loop import first_step
from keras_edram.models.glimpse_networks import InceptionGlimpse, VectorGlimpse
from keras_edram.models.policy import PolicyModel

CORES = ("lstm", "rnn", "conv_lstm")
GLIMPSE_NETWORKS = ("dense", "convolution", "inception")


class RAMState(NamedTuple):
    """What RAM carries from one glimpse to the next.

    Attributes:
        step: Scalar int32, how many glimpses were taken.
        locations: `(B, 2)`, where the next glimpse looks.
        core: Tuple of tensors, the states of the core network.
    """

    step: Any
    locations: Any
    core: tuple


@keras.saving.register_keras_serializable(package="keras_edram")
class RAM(PolicyModel):
    """Looks at an image in a few retina glimpses and says what it is.

    A glimpse is sharp in the middle and blurred around it. The glimpse network
    joins what is seen with where it was seen, the core remembers, the location
    network says where to look next, and after the last glimpse the action
    network answers:

        g_t     = glimpse(ρ(x, l_t), l_t)
        h_t     = core(g_t, h_{t-1})
        μ_t     = location(h_t)         l_{t+1} ~ Normal(μ_t, σ²)
        b_t     = baseline(h_t)
        p(y|x)  = softmax(action(h_N))

    Choosing a place to look at has no gradient, so `fit` minimises a hybrid
    loss: what `compile` was given on the answer, and for the policy REINFORCE
    with a learnt baseline, the reward R being 1 for a right answer:

        L = L^y - w_π Σ_t (R - b_t) log π(l_{t+1} | h_t) + w_b Σ_t (R - b_t)²
                + w_l Σ_t |artanh μ_t|²

    Noise drives the mean to the border of the image, where tanh has no slope;
    w_l, which is 0 in the report, holds it back. Each term is the mean over the
    images, which `sample_weight` weighs, or that of the labels if it is given
    by output, in all of them.
    No other gradient reaches the location and the baseline network, and with
    `detach_policy` none of theirs leaves them. In training locations are drawn;
    otherwise the mean is taken, or with `num_rollouts` the probabilities of
    several drawn paths are averaged (Monte-Carlo averaging).

    The report's own variant for coloured images is
    `RAM(glimpse_network="inception", core="conv_lstm")`.

    Args:
        image_shape: `(height, width, channels)`. Defaults to `(28, 28, 1)`.
        num_classes: Integer, K. Defaults to 10.
        class_names: Strings, the names of the K classes; by default their
            numbers.
        num_glimpses: Integer, N. Defaults to 6.
        glimpse_size: Integer g, side of a patch in pixels. Defaults to 8.
        num_scales: Integer Z, patches of a glimpse, see `RetinaGlimpse`.
            Defaults to 1.
        scale_factor: Float, see `RetinaGlimpse`. Defaults to 2.
        glimpse_network: `"dense"`, fully connected; `"convolution"`, a small
            convolutional network on the patch, scales as channels; or
            `"inception"`, the report's module of four branches, with the
            location brought to its maps and added. Defaults to `"dense"`.
        core: `"lstm"`; `"rnn"`, rectified units as of Mnih et al.; or
            `"conv_lstm"`, which needs the maps of `"inception"`. Defaults to
            `"lstm"`.
        units: Integer U, of the core and of g_t. Defaults to 256.
        hidden_units: Integer, of the first layers for patch and location.
            Defaults to 128.
        convolution_filters: Integers, filters of the 3x3 convolutions, with
            pooling after every second. Defaults to `(16, 16, 32, 32)`.
        inception_filters: Integer, maps of each of the four branches.
            Defaults to 6.
        core_filters: Integer F, maps of `"conv_lstm"`. Defaults to 24.
        core_kernel_size: Integer, of `"conv_lstm"`. Defaults to 3.
        location_hidden_units: Integer, of a rectified layer of the location
            network before its mean; 0 for none, as in the report. Defaults to
            0.
        location_deviation: Float σ above 0, of the policy, the image being 2
            wide; or a schedule of `keras.optimizers.schedules`, by which it
            falls over the steps of training, to no less than 0.001. Drawn
            paths at test have what it has then come to. Defaults to 0.15.
        detach_policy: Boolean, whether the losses of policy and baseline stop
            at h_t. Defaults to `True`.
        reinforce_weight: Float w_π of at least 0. Defaults to 1.
        baseline_weight: Float w_b of at least 0. Defaults to 1.
        location_penalty: Float w_l of at least 0, by which the means of the
            policy are held back from the border of the image. Defaults to 0.
        num_rollouts: Integer M, paths drawn at test; 0 takes the mean policy.
            Defaults to 0.
        seed: Integer, of what is drawn; by default a random one.
        **kwargs: `terminal` and `temperature`, see `BaseModel`, and arguments
            of `keras.Model`.

    Call arguments:
        images: Tensor of shape `(B, H, W, C)`, uint8 or float in [0, 255].
        training: Boolean.

    Returns:
        A dictionary: `labels`, logits of shape `(B, 1, 1, K)`, the one answer
        for the one target, and `transforms` `(B, 1, N, 2, 3)`, the sharpest
        windows, whose last column is l_t.

    Raises:
        ValueError: For sizes that do not fit together, numbers out of range,
            unknown choices or what is no truth value.

    Example:

    >>> model = RAM(image_shape=(28, 28, 1), num_glimpses=6, glimpse_size=8)
    >>> model.compile("adam", loss={"labels": losses.LabelLoss()})
    >>> model.predict(np.zeros((2, 28, 28, 1), "uint8"))["labels"].shape
    (2, 1, 1, 10)

    Reference:
        - Jatakia, Rane, Rao, "Recurrent Attention Model for Image
          Classification", section 4 and Eq. 1, 2.
        - Mnih et al., "Recurrent Models of Visual Attention", 2014.
        - Williams, "Simple statistical gradient-following algorithms for
          connectionist reinforcement learning", 1992.
    """

    decides_ahead = True

    def __init__(
        self,
        image_shape=(28, 28, 1),
        num_classes=10,
        *,
        class_names=None,
        num_glimpses=6,
        glimpse_size=8,
        num_scales=1,
        scale_factor=2,
        glimpse_network="dense",
        core="lstm",
        units=256,
        hidden_units=128,
        convolution_filters=(16, 16, 32, 32),
        inception_filters=6,
        core_filters=24,
        core_kernel_size=3,
        location_hidden_units=0,
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
            location_deviation=location_deviation,
            detach_policy=detach_policy,
            reinforce_weight=reinforce_weight,
            baseline_weight=baseline_weight,
            location_penalty=location_penalty,
            num_rollouts=num_rollouts,
            seed=seed,
            **kwargs,
        )
        self.glimpses_per_target = check_integer(num_glimpses, "num_glimpses")
        self.units = check_integer(units, "units")
        self.hidden_units = check_integer(hidden_units, "hidden_units")
        self.convolution_filters = check_integers(
            convolution_filters, None, "convolution_filters"
        )
        self.inception_filters = check_integer(
            inception_filters, "inception_filters"
        )
        self.core_filters = check_integer(core_filters, "core_filters")
        self.core_kernel_size = check_integer(
            core_kernel_size, "core_kernel_size"
        )
        self.location_hidden_units = check_integer(
            location_hidden_units, "location_hidden_units", 0
        )
        check_choice(glimpse_network, GLIMPSE_NETWORKS, "glimpse_network")
        check_choice(core, CORES, "core")
        if core == "conv_lstm" and glimpse_network != "inception":
            raise ValueError(
                '`core="conv_lstm"` needs the maps of `glimpse_network='
                f'"inception"`. Received: glimpse_network={glimpse_network!r}'
            )
        self.glimpse_network = glimpse_network
        self.core = core
        self._make_glimpse_network(glimpse_size, num_scales, scale_factor)
        self._make_core()
        self._make_output_networks()
        self.build((None, *self.image_shape))

    def _make_glimpse_network(self, glimpse_size, num_scales, scale_factor):
        policy = self.dtype_policy  # which need not be the global one
        self.rescaling = layers.Rescaling(
            1 / 255, name="rescaling", dtype=policy
        )
        self.glimpse_sensor = RetinaGlimpse(
            glimpse_size,
            num_scales,
            scale_factor,
            name="glimpse_sensor",
            dtype=policy,
        )
        self.glimpse_size = self.glimpse_sensor.glimpse_size
        self.num_scales = self.glimpse_sensor.num_scales
        self.scale_factor = self.glimpse_sensor.scale_factor
        shared = dict(num_steps=self.num_glimpses, name="glimpse", dtype=policy)
        if self.glimpse_network == "inception":
            self.glimpse = InceptionGlimpse(self.inception_filters, **shared)
        else:
            convolves = self.glimpse_network == "convolution"
            self.glimpse = VectorGlimpse(
                self.convolution_filters if convolves else (),
                self.hidden_units,
                self.units,
                **shared,
            )

    def _make_core(self):
        shared = dict(name="core", dtype=self.dtype_policy)
        if self.core == "lstm":
            self.core_cell = layers.LSTMCell(self.units, **shared)
        elif self.core == "rnn":
            self.core_cell = layers.SimpleRNNCell(
                self.units, activation="relu", **shared
            )
        else:
            self.core_cell = ConvLSTMCore(
                self.core_filters, self.core_kernel_size, **shared
            )

    def _make_output_networks(self):
        self.flatten = blocks.flatten(self.dtype_policy)
        self.action = layers.Dense(
            self.num_classes, name="action", dtype="float32"
        )
        self._make_policy(self.location_hidden_units)

    def build(self, images_shape):
        if self.built:
            return
        self.glimpse_sensor.build(images_shape)
        patches_shape = self.glimpse_sensor.compute_output_shape(
            images_shape, (None, 2)
        )
        self.rescaling.build(patches_shape)
        self.glimpse.build(patches_shape)
        shape = self.glimpse.compute_output_shape(patches_shape)
        self.flatten.build(shape)
        if self.core != "conv_lstm":
            shape = self.flatten.compute_output_shape(shape)
            features = self.units
        else:
            features = shape[1] * shape[2] * self.core_filters
        self.core_cell.build(shape)
        self.action.build((None, features))
        self._build_policy(features)
        self.built = True

    def start(self, images, training=False):
        images = ops.convert_to_tensor(images)
        core = self.core_cell.get_initial_state(batch_size=ops.shape(images)[0])
        core = tuple(core) if isinstance(core, (list, tuple)) else (core,)
        # At first it looks at the middle.
        locations = ops.zeros((ops.shape(images)[0], 2), "float32")
        state = RAMState(first_step(locations), locations, core)
        return self.glimpse_sensor.pyramid(images), state

    def step(self, pyramid, state, training=False, sample=False):
        """One glimpse, see `BaseModel.step`.

        Args:
            pyramid: `ImagePyramid` of the images, from `start`.
            state: `RAMState`.
            training: Boolean.
            sample: Boolean, whether to draw the next location.

        Returns:
            The `Glimpse` with its `Decision`, and the next `RAMState`.
        """
        patches = self.glimpse_sensor.read(pyramid, state.locations)
        # The patches are rescaled, not the image, which may be large.
        patches = self.rescaling(patches)
        features = self.glimpse(
            patches, state.locations, step=state.step, training=training
        )
        if self.core != "conv_lstm":
            features = self.flatten(features)  # (B, U)
        output, core = self.core_cell(features, list(state.core))
        output = self.flatten(output)  # (B, U), or of maps (B, g g F)
        logits = self.action(output)
        if self.detach_policy:
            output = ops.stop_gradient(output)
        decision = self.decide(output, sample)
        locations = ops.clip(decision.samples, -1, 1)
        windows = self.next_windows(pyramid, state)
        return (
            Glimpse(logits, windows, patches, decision),
            RAMState(state.step + 1, locations, tuple(core)),
        )

    def next_windows(self, pyramid, state):
        return self.glimpse_sensor.windows(state.locations, pyramid.sizes[0])

    def get_config(self):
        config = super().get_config()
        config.update(
            num_glimpses=self.num_glimpses,
            glimpse_size=self.glimpse_size,
            num_scales=self.num_scales,
            scale_factor=self.scale_factor,
            glimpse_network=self.glimpse_network,
            core=self.core,
            units=self.units,
            hidden_units=self.hidden_units,
            convolution_filters=list(self.convolution_filters),
            inception_filters=self.inception_filters,
            core_filters=self.core_filters,
            core_kernel_size=self.core_kernel_size,
            location_hidden_units=self.location_hidden_units,
        )
        return config
