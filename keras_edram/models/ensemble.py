"""Several models that read the same objects, as one model."""

import keras
from keras import ops

from keras_edram import decoding
from keras_edram.models.base import BaseModel
from keras_edram.reading_order import READING_ORDERS

# What members must have in common.
SHARED = (
    "image_shape",
    "num_classes",
    "class_names",
    "terminal",
    "num_targets",
    "glimpses_per_target",
    "answers_once",
    "glimpse_size",
    "standardize",
)
# What the configurations of the members say.
OF_MEMBERS = (
    "image_shape",
    "num_classes",
    "class_names",
    "terminal",
    "quantized",
)


@keras.saving.register_keras_serializable(package="keras_edram")
class Ensemble(BaseModel):
    """Reads with several models, in both orders, and joins what they say.

    The log-probabilities of all members are added, those of a member that
    reads backward in the opposite order, and the most probable sequence is
    found exactly:

        log p(y) = Σ_m log p_m(y) + Σ_n log q_n(y_L ... y_1) + constant

    See `keras_edram.decoding`. Members err alike, so that their sum is too
    sure: it is divided by the sum of their temperatures, by which an ensemble
    of copies is as sure as one of them. The members are trained apart; an
    ensemble is saved, exported and served as one model.

    Args:
        members: List of models of this package, at least one, of either
            `reading_order`; they must have the same images, classes, targets
            and glimpses.
        temperature: Float above 0, see `BaseModel`; by default the sum of those
            of the members.
        **kwargs: Arguments of `keras.Model`.

    Call arguments:
        images: Tensor of shape `(B, H, W, C)`, uint8 or float in [0, 255].
        training: Boolean.

    Returns:
        A dictionary as of a member with an axis of M members, those that read
        forward first: `labels`, logits of shape `(B, M, S, A, K)`, and
        `transforms` `(B, M, S, N, 2, 3)`.

    Raises:
        ValueError: If there is no member, or they differ in what they read.

    Example:

    >>> forward = EDRAM.from_preset("edram_small_house_numbers")
    >>> backward = EDRAM.from_preset("edram_small_house_numbers_backward")
    >>> ensemble = Ensemble([forward, backward])
    >>> images = np.zeros((1, *forward.image_shape))
    >>> answers = ensemble.decode(ensemble(images))
    >>> answers["labels"].shape
    (1, 5)

    Reference:
        - Ablavatski et al., 2017, section 4.2: "forward and backward models".
    """

    def __init__(self, members, temperature=None, **kwargs):
        if not isinstance(members, (list, tuple)) or not members:
            raise ValueError(
                "`members` must be a list of at least one model. "
                f"Received: members={members!r}"
            )
        if any(
            not isinstance(member, BaseModel) or member.members
            for member in members
        ):
            kinds = [type(member).__name__ for member in members]
            raise ValueError(
                "`members` must be models of this package, none of them an "
                f"ensemble. Received: {kinds}"
            )
        for name in SHARED:
            values = [getattr(member, name) for member in members]
            if any(value != values[0] for value in values):
                raise ValueError(
                    f"The members must have the same `{name}`. "
                    f"Received: {values}"
                )
        first = members[0]
        super().__init__(
            first.image_shape,
            first.num_classes,
            first.class_names,
            first.terminal,
            sum(member.temperature for member in members)
            if temperature is None
            else temperature,
            **kwargs,
        )
        self.num_targets = first.num_targets
        self.answers_once = first.answers_once
        if any(member.takes_one_size for member in members):
            self._take_one_size()
        # Those that read forward come first, else in the order given.
        self.members = sorted(
            members,
            key=lambda member: READING_ORDERS.index(member.reading_order),
        )
        self.build((None, *self.image_shape))

    @property
    def glimpses_per_target(self):
        """Integer N of all members; to set it is to set theirs."""
        return self.members[0].glimpses_per_target

    @glimpses_per_target.setter
    def glimpses_per_target(self, number):
        for member in self.members:
            member.glimpses_per_target = number

    @property
    def has_policy(self):
        return any(member.has_policy for member in self.members)

    def build(self, images_shape):
        self.built = True  # all weights are those of members, which are built

    def _looks(self):
        members = tuple(member._looks() for member in self.members)
        return super()._looks(), members

    def patch_picture(self, patch):
        return self.members[0].patch_picture(patch)

    def look(
        self, images, glimpses_per_target, training=False, with_patches=False
    ):
        looks = [
            member.look(images, glimpses_per_target, training, with_patches)
            for member in self.members
        ]
        return {
            name: ops.stack([look[name] for look in looks], axis=1)
            for name in looks[0]
        }  # each (B, M, ...)

    def decode(self, outputs):
        orders = [member.reading_order for member in self.members]
        return decoding.decode(
            outputs,
            terminal=self.terminal,
            num_forward=orders.count("forward"),
            temperature=self.temperature,
        )

    def compute_output_shape(self, images_shape):
        shapes = self.members[0].compute_output_shape(images_shape)
        return {
            name: (batch, len(self.members), *rest)
            for name, (batch, *rest) in shapes.items()
        }

    def get_config(self):
        config = super().get_config()
        for name in OF_MEMBERS:
            config.pop(name, None)
        config["members"] = [
            keras.saving.serialize_keras_object(member)
            for member in self.members
        ]
        return config

    @classmethod
    def from_config(cls, config):
        members = [
            keras.saving.deserialize_keras_object(member)
            for member in config["members"]
        ]
        # Those saved before there were temperatures answer as they did.
        return super().from_config(
            {"temperature": 1.0, **config, "members": members}
        )
