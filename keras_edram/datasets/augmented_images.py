"""Whole pictures, moved and mirrored a little or put on a larger canvas."""

import numpy as np

from keras_edram.checks import check_boolean, check_integer, check_size
from keras_edram.datasets.random_sequence import (
    RandomSequence,
    transform_rows,
    windows,
)


class AugmentedImages(RandomSequence):
    """An endless, reproducible sequence of labelled pictures, varied.

    A picture is first mirrored, left to right, half of the time if `mirror`
    says so, and then moved: by up to `max_shift` pixels, where what leaves the
    image is cut and black comes in, or to any place of a larger black canvas
    of `image_size` ("translated").

    What an image depends on, see `RandomSequence`. A picture that comes again
    is varied anew.

    The truth of an image is the label, and the window of the whole picture:
    after a shift it reaches beyond the image; a mirrored picture has a window
    of positive zoom like any other.

    Args:
        images: uint8 array of shape `(n, height, width, C)`.
        labels: Array of n integers.
        image_size: Integer or `(height, width)` of the images in pixels, at
            least those of a picture. Defaults to those of a picture.
        max_shift: Integer, pixels to move by at most, in x and in y, each
            distance equally often. Only without a larger `image_size`, where
            pictures have random places anyway. Defaults to 0.
        mirror: Boolean, whether half of the pictures are mirrored. Defaults to
            False; letters and digits must not be.
        class_names: Strings, the names of the labels.
        seed: Non-negative integer.

    Raises:
        ValueError: If pictures and labels do not fit each other, or the
            options the pictures.

    Example:

    >>> pictures = np.zeros((50, 32, 32, 3), "uint8")
    >>> data = AugmentedImages(
    ...     pictures, np.arange(50) % 10, max_shift=4, mirror=True
    ... )
    >>> images, targets = data.arrays(64)
    >>> images.shape
    (64, 32, 32, 3)
    >>> targets["transforms"].shape
    (64, 1, 2, 3)
    """

    def __init__(
        self,
        images,
        labels,
        *,
        image_size=None,
        max_shift=0,
        mirror=False,
        class_names=(),
        seed=0,
    ):
        images, labels = np.asarray(images), np.asarray(labels)
        if images.ndim != 4 or images.dtype != np.uint8:
            raise ValueError(
                "`images` must be a uint8 array of shape (n, height, width, "
                f"channels). Received: images.shape={images.shape}, "
                f"images.dtype={images.dtype}"
            )
        if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
            raise ValueError(
                "`labels` must be one integer for each of the "
                f"{len(images)} images. Received: "
                f"labels.shape={labels.shape}, labels.dtype={labels.dtype}"
            )
        size = images.shape[1:3]
        self.image_size = check_size(
            size if image_size is None else image_size, "image_size"
        )
        if self.image_size[0] < size[0] or self.image_size[1] < size[1]:
            raise ValueError(
                f"A picture of {size} pixels must fit the image. "
                f"Received: image_size={image_size}"
            )
        # So that something of the picture stays.
        self.max_shift = check_integer(max_shift, "max_shift", 0, min(size) - 1)
        if self.max_shift and self.image_size != size:
            raise ValueError(
                "`max_shift` must be 0 with an `image_size` larger than the "
                f"pictures' {size}, where they have random places anyway. "
                f"Received: max_shift={max_shift}, image_size={image_size}"
            )
        super().__init__(
            num_pictures=len(images),
            image_shape=(*self.image_size, images.shape[3]),
            class_names=class_names,
            seed=seed,
        )
        self.images = images
        self.labels = labels.astype("int32")
        self.mirror = check_boolean(mirror, "mirror")
        # Where a picture may lie, its transform is known beforehand.
        self._x_rows, self._y_rows = transform_rows(
            size, self.image_size, self.max_shift
        )

    def _compose(self, start, stop):
        count = stop - start
        # Always the same numbers, so that an option more or less leaves the
        # choices of the others as they were.
        numbers = self._uniform(start, count, 3)
        x = (numbers[:, 0] * len(self._x_rows)).astype("int64")
        y = (numbers[:, 1] * len(self._y_rows)).astype("int64")
        chosen = self._order(start, count)  # (n, 1)
        images = self.images[chosen[:, 0]]
        if self.mirror:
            mirrored = numbers[:, 2] < 0.5
            images[mirrored] = images[mirrored, :, ::-1]
        transforms = np.stack(
            [self._x_rows[x], self._y_rows[y]], axis=-2
        )  # (n, 2, 3)
        return (
            self._place(images, y, x),
            self.labels[chosen],
            transforms[:, None],
        )

    def _place(self, images, y, x):
        """Each picture on a black canvas, cut where it leaves the image."""
        count, high, wide, channels = images.shape
        height, width = self.image_size
        margin = self.max_shift
        canvas = np.zeros(
            (count, height + 2 * margin, width + 2 * margin, channels), "uint8"
        )
        # Pixels and channels as one axis: rows are copied as a whole.
        places = windows(
            canvas.reshape(*canvas.shape[:2], -1), (high, wide * channels)
        )  # (n, places along y, along x, h, w C)
        places[np.arange(count), y, x * channels] = images.reshape(
            count, high, wide * channels
        )  # (n, h, w C)
        return canvas[:, margin : margin + height, margin : margin + width]
