"""What models share that draw where they look, and learn that by REINFORCE.

Letters in shapes: B batch, S targets, N glimpses a target, T = S N, U units,
K classes, M rollouts.
"""

import math
import threading
import warnings

import keras
from keras import layers, ops
from keras.optimizers import schedules
from keras.src.backend.common import global_state

from keras_edram import reinforce
from keras_edram.checks import check_boolean, check_integer, check_number
from keras_edram.losses import batch_mean
from keras_edram.models.base import BaseModel
from keras_edram.models.targets import name_targets, name_weights
from keras_edram.reinforce import Decision

SMALLEST_DEVIATION = 1e-3  # of a schedule: a thousandth of half the image
LARGEST = 7.0  # whose tanh is not 1 yet in float32


class PolicyModel(BaseModel):
    """A model whose policy, a Gaussian, says where it looks.

        μ_t = location(h)   l_t ~ Normal(μ_t, σ²)   b_t = baseline(h)

    What `compile` was given teaches the answers. Where to look has no
    gradient, and is learnt by REINFORCE with a learnt baseline. The reward of
    a target is 1 if its answer is right, and R_t is the sum of those of the
    targets that are still to come when l_t is drawn, which alone it can change:

        L = L^y - w_π Σ_t (R_t - b_t) log π(l_t | h) + w_b Σ_t (R_t - b_t)²
                + w_l Σ_t |artanh μ_t|²

    The mean is the tanh of what is learnt, which noise drives to the border of
    the image, where tanh has no slope and nothing more is learnt: w_l holds it
    back.

    In training locations are drawn; otherwise the mean is taken, or with
    `num_rollouts` the probabilities of several drawn paths are averaged.

    A model of it has a `step` that takes `sample`, asks `decide`, and gives
    the `Decision` in its `Glimpse`. It makes the networks of the policy by
    `_make_policy`, and builds them by `_build_policy` for the features that it
    asks of.

    Args:
        image_shape, num_classes, class_names: As of `BaseModel`.
        location_deviation: Float σ above 0, the image being 2 wide, or a
            schedule of `keras.optimizers.schedules`, of the training step; at
            the least 0.001, where a schedule comes to less.
        detach_policy: Boolean, whether the losses of policy and baseline stop
            before what the answer is read from.
        reinforce_weight: Float w_π of at least 0.
        baseline_weight: Float w_b of at least 0.
        location_penalty: Float w_l of at least 0.
        num_rollouts: Integer M, paths drawn at test; 0 takes the mean policy.
        seed: Integer, of what is drawn; by default a random one.
        **kwargs: Further arguments of `BaseModel`.

    Attributes:
        decides_ahead: Boolean, whether a glimpse comes with the decision of
            the next location, and not of its own.

    Call arguments:
        images: Tensor of shape `(B, H, W, C)`, uint8 or float in [0, 255].
        training: Boolean.

    Returns:
        As of `BaseModel`, with one answer a target.

    Raises:
        ValueError: For numbers out of range or what is no truth value.

    Reference:
        - Williams, "Simple statistical gradient-following algorithms for
          connectionist reinforcement learning", 1992.
    """

    answers_once = True
    looks_step_by_step = True
    has_policy = True
    decides_ahead = False

    def __init__(
        self,
        image_shape,
        num_classes,
        class_names=None,
        *,
        location_deviation,
        detach_policy,
        reinforce_weight,
        baseline_weight,
        location_penalty,
        num_rollouts,
        seed,
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, class_names, **kwargs)
        scheduled = isinstance(
            location_deviation, schedules.LearningRateSchedule
        )
        first = location_deviation
        if scheduled:
            first = float(location_deviation(0))
        first = check_number(first, "location_deviation", above=True)
        self.location_deviation = location_deviation if scheduled else first
        # Models of one deviation keep no number of steps.
        self.training_steps = None
        if scheduled:
            self.training_steps = self.add_weight(
                shape=(),
                dtype="int32",
                initializer="zeros",
                trainable=False,
                aggregation="only_first_replica",
                name="training_steps",
            )
        self.detach_policy = check_boolean(detach_policy, "detach_policy")
        self.reinforce_weight = check_number(
            reinforce_weight, "reinforce_weight"
        )
        self.baseline_weight = check_number(baseline_weight, "baseline_weight")
        self.location_penalty = check_number(
            location_penalty, "location_penalty"
        )
        self.num_rollouts = check_integer(num_rollouts, "num_rollouts", 0)
        self.seed = seed if seed is None else check_integer(seed, "seed", 0)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        # What the latest call in training decided, until its loss is computed;
        # of each thread, as each device of several has one.
        self._latest = threading.local()

    def _make_policy(self, hidden_units=0):
        self.location_hidden = None
        if hidden_units:
            self.location_hidden = layers.Dense(
                hidden_units,
                activation="relu",
                kernel_initializer="he_normal",
                name="location_hidden",
                dtype="float32",
            )
        # Small weights: the first policy looks about the middle.
        self.location = layers.Dense(
            2,
            activation=_bounded,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            # Of hidden features it is another layer than of what is remembered.
            name="location_of_hidden" if hidden_units else "location",
            dtype="float32",
        )
        self.baseline = layers.Dense(
            1, kernel_initializer="zeros", name="baseline", dtype="float32"
        )

    def _build_policy(self, features):
        """Builds the networks of the policy for `(B, features)`."""
        self.baseline.build((None, features))
        if self.location_hidden is not None:
            self.location_hidden.build((None, features))
            features = self.location_hidden.units
        self.location.build((None, features))

    def deviation(self):
        """σ of what is drawn now: a float, or a scalar tensor if it falls."""
        if self.training_steps is None:
            return self.location_deviation
        deviation = self.location_deviation(self.training_steps)
        # Many schedules end with 0 by default, by which it would be divided.
        return ops.maximum(ops.cast(deviation, "float32"), SMALLEST_DEVIATION)

    def decide(self, features, sample=False):
        """Where to look, by what is remembered.

        Args:
            features: Tensor of shape `(B, U)`.
            sample: Boolean, whether to draw, and not to take the mean.

        Returns:
            `Decision`, whose samples have no gradient.
        """
        baselines = self.baseline(features)[:, 0]  # (B,)
        if self.location_hidden is not None:
            features = self.location_hidden(features)
        means = samples = self.location(features)  # (B, 2)
        if sample:
            # Not in place: that would change the means.
            samples = samples + self.deviation() * keras.random.normal(
                ops.shape(means), dtype="float32", seed=self.seed_generator
            )
        # The mean learns by REINFORCE, never through what it drew.
        samples = ops.stop_gradient(samples)
        return Decision(means, samples, baselines)

    def look(
        self, images, glimpses_per_target, training=False, with_patches=False
    ):
        """As of `BaseModel.look`, by the policy.

        In training locations are drawn. Otherwise the mean of the policy is
        taken, or several drawn paths are averaged.
        """
        training = training and self.trainable
        rollouts = 0 if training else self.num_rollouts
        if rollouts:
            images = ops.repeat(images, rollouts, axis=0)  # (B M, H, W, C)
        path = self._take_glimpses(
            images,
            self.num_targets * glimpses_per_target,
            with_patches,
            training,
            sample=training or bool(rollouts),
        )
        decided = {name: path.pop(name) for name in Decision._fields}
        path = self._by_target(path)
        if training:
            self._warn_if_inside_another_model()
            if self.decides_ahead:
                # What is decided after the last glimpse is never looked at.
                decided = {name: one[:, :-1] for name, one in decided.items()}
            # No part of the answer, which a model around this one asks for.
            self._latest.call = path["labels"], Decision(**decided)
        return self._average(path, rollouts) if rollouts else path

    def _looks(self):
        return super()._looks(), self.num_rollouts

    def _average(self, drawn, rollouts):
        """The answer of M paths and the windows of the first."""
        drawn = {
            name: ops.reshape(value, (-1, rollouts, *value.shape[1:]))
            for name, value in drawn.items()
        }  # each (B, M, ...)
        # log 1/M Σ p, finite where a path is sure.
        log_p = ops.log_softmax(drawn.pop("labels"), axis=-1)
        labels = ops.logsumexp(log_p, axis=1) - math.log(rollouts)
        first = {name: value[:, 0] for name, value in drawn.items()}
        return {"labels": labels, **first}

    def _warn_if_inside_another_model(self):
        context = global_state.get_global_attribute("current_call_ctx")
        if context is not None and context.entry_layer is not self:
            name = type(self).__name__
            warnings.warn(
                f"Where to look is learnt by {name}'s own `fit` alone, for the "
                "loss of a model around it has no rewards: there only what "
                f"{name} answers is trained. Let what stands before {name} "
                f"change the data, or freeze {name} by `trainable = False`.",
                UserWarning,
                stacklevel=2,
            )

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if not training or not self.trainable:
            return loss
        logits, decisions = self._latest.__dict__.pop("call", (None, None))
        if logits is not y_pred["labels"]:
            raise ValueError(
                "The loss in training must be computed once, of what the "
                "latest call with `training=True` returned. Received: y_pred "
                "of another call"
            )
        labels = name_targets(y)["labels"]
        weights = name_weights(sample_weight)
        if isinstance(weights, dict):
            weights = weights["labels"]
        rewards = self._rewards(labels, logits, decisions)  # (B, decisions)
        policy = reinforce.reinforce_losses(
            decisions, rewards, self.deviation()
        )
        if self.training_steps is not None:
            self.training_steps.assign_add(1)
        baseline = reinforce.baseline_losses(decisions, rewards)
        loss = (
            loss
            + self.reinforce_weight * batch_mean(policy, weights)
            + self.baseline_weight * batch_mean(baseline, weights)
        )
        # A mean beyond the image, of a user's own location layer, has no
        # artanh: not even of weight 0 may it come in.
        if self.location_penalty:
            loss += self.location_penalty * batch_mean(
                _squares(decisions), weights
            )
        return loss

    def _rewards(self, labels, logits, decisions):
        """R_t of each decision, which are those of the last glimpses."""
        number = decisions.baselines.shape[1]
        glimpses = number + self.decides_ahead
        rewards = reinforce.rewards_to_come(
            reinforce.target_rewards(labels, logits),
            glimpses // self.num_targets,
        )  # (B, T)
        return rewards[:, glimpses - number :]

    def get_config(self):
        config = super().get_config()
        deviation = self.location_deviation
        if self.training_steps is not None:
            deviation = schedules.serialize(deviation)
        config.update(
            location_deviation=deviation,
            detach_policy=self.detach_policy,
            reinforce_weight=self.reinforce_weight,
            baseline_weight=self.baseline_weight,
            location_penalty=self.location_penalty,
            num_rollouts=self.num_rollouts,
            seed=self.seed,
        )
        return config

    @classmethod
    def from_config(cls, config):
        deviation = config.get("location_deviation")
        if isinstance(deviation, dict):
            deviation = schedules.deserialize(deviation)
            config = {**config, "location_deviation": deviation}
        return super().from_config(config)


def _bounded(values):
    """tanh, of at most `LARGEST`, beyond which a gradient passes as at it."""
    beyond = ops.clip(values, -LARGEST, LARGEST) - values
    return ops.tanh(values + ops.stop_gradient(beyond))


def _squares(decisions):
    """Σ_t |artanh μ_t|² of the means, `(B,)`."""
    squares = ops.square(ops.arctanh(decisions.means))
    return ops.sum(squares, axis=(1, 2))  # (B,)
