"""What models share that see the whole image, and answer all at once.

Letters in shapes: B batch, H W C image, S targets, K classes.
"""

from keras import ops

from keras_edram import geometry
from keras_edram.models.base import BaseModel, Glimpse


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
