"""What models share that see the whole image, and answer all at once.

Letters in shapes: B batch, H W C image, S targets, K classes.
"""

from keras import ops

from keras_edram import geometry
from keras_edram.checks import check_choice, check_integer
from keras_edram.models import blocks
from keras_edram.models.base import BaseModel, Glimpse
from keras_edram.models.sequence_head import SequenceHead
from keras_edram.reading_order import READING_ORDERS


class WholeImageModel(BaseModel):
    """A model that looks once, for all targets: it has `see` alone to say.

    Args:
        *args: Arguments of `BaseModel`.
        **kwargs: Likewise.

    Raises:
        ValueError: By a look of another number of glimpses than one.
    """

    def see(self, images, training=False):
        """The one look at the images.

        Args:
            images: Tensor of shape `(B, H, W, C)`, in [0, 255].
            training: Boolean.

        Returns:
            A `Glimpse` whose logits are those of all targets, `(B, S, K)`.

        Raises:
            NotImplementedError: By a class that does not say it.
        """
        raise NotImplementedError

    def whole_image(self, images, logits):
        """A look that read no window but the image: see `see`."""
        zeros = ops.zeros_like(logits[:, :1, :1], dtype="float32")  # (B, 1, 1)
        windows = zeros + ops.convert_to_tensor(geometry.IDENTITY)  # (B, 2, 3)
        return Glimpse(logits, windows, ops.cast(images, "float32") / 255)

    def look(
        self, images, glimpses_per_target, training=False, with_patches=False
    ):
        if glimpses_per_target != 1:
            raise ValueError(
                f"{type(self).__name__} takes one glimpse, the whole image. "
                f"Received: glimpses_per_target={glimpses_per_target}"
            )
        images = ops.convert_to_tensor(images)
        glimpse = self.see(images, training)
        looks = {
            "labels": glimpse.logits[:, :, None],  # (B, S, 1, K)
            "transforms": self._of_all_targets(glimpse.transforms),
        }
        if with_patches:
            looks["patches"] = self._of_all_targets(glimpse.patches)
        return looks

    def _of_all_targets(self, values):
        """`(B, ...)` -> `(B, S, 1, ...)`."""
        return ops.repeat(
            values[:, None, None], self.num_targets, axis=1
        )  # (B, S, 1, ...)


class WholeSequenceModel(WholeImageModel):
    """A model that reads a sequence at once, by dense layers and a head.

    Args:
        *args: Arguments of `BaseModel`.
        reading_order: `"forward"`, or `"backward"` if its targets are the
            objects from last to first.
        num_targets: Integer S, the terminal one among them.
        **kwargs: Arguments of `BaseModel`.

    Raises:
        ValueError: For an unknown order, or no target.
    """

    def __init__(self, *args, reading_order, num_targets, **kwargs):
        super().__init__(*args, **kwargs)
        check_choice(reading_order, READING_ORDERS, "reading_order")
        self.reading_order = reading_order
        self.num_targets = check_integer(num_targets, "num_targets")

    def _make_answer(self, units):
        """What follows the maps: dense layers of so many units, the head."""
        policy = self.dtype_policy
        self.flatten = blocks.flatten(policy)
        self.dense = [
            # Normalised at its one step.
            blocks.rectified_dense(
                f"dense_{index}", number, 1, "he_normal", policy
            )
            for index, number in enumerate(units)
        ]
        self.head = SequenceHead(
            self.num_targets,
            self.num_classes,
            self.terminal,
            name="head",
            dtype="float32",
        )

    def _build_answer(self, maps_shape):
        self.flatten.build(maps_shape)
        vectors = self.flatten.compute_output_shape(maps_shape)
        for dense in self.dense:
            dense.build(vectors)
            vectors = dense.compute_output_shape(vectors)
        self.head.build(vectors)

    def _answer(self, maps, **at):
        """Logits of all targets: `(B, H, W, C)` -> `(B, S, K)`."""
        features = self.flatten(maps)
        for dense in self.dense:
            features = dense(features, **at)
        return self.head(features)

    def get_config(self):
        config = super().get_config()
        config.update(
            reading_order=self.reading_order, num_targets=self.num_targets
        )
        return config
