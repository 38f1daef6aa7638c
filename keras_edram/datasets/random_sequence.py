"""What the endless, reproducible sequences of images have in common."""

import abc
import functools

import keras
import numpy as np

from keras_edram import geometry
from keras_edram.checks import check_choice, check_integer

SPLITS = ("train", "validation", "test")
PHILOX_WORDS = 4  # 64-bit numbers that one count of the generator gives


class RandomSequence(abc.ABC):
    """Base of endless, reproducible sequences of images with their truth.

    Image i depends on the seed and on i alone, not on how it is asked for: the
    same images come as arrays, in batches of any size, and after a restart in
    the middle. Each picture of the source is used once before any comes again.
    Images of several sizes are asked for one by one, or in batches, in which
    the sequence makes them equally large.

    A subclass gives `_compose(start, stop)`: the images of that part, their
    labels and their transforms, as `arrays` returns them. It takes random
    numbers from `_uniform`, and which pictures to use from `_order`. One whose
    targets are in an order of the user's choice sets `reading_order`; one that
    knows what its source holds sets `fingerprint`, a string, by which a
    training that goes on tells whether it has the same data.

    Args:
        num_pictures: Integer, pictures of the source.
        image_shape: `(height, width, channels)` of an image (H, W, C);
            `(None, None, channels)` of images of several sizes.
        num_targets: Integer, targets of an image (S). Defaults to 1.
        pictures_per_image: Integer, pictures that an image is made of (P).
            Defaults to 1.
        class_names: Strings, the names of the labels 0, 1, ... of objects.
        terminal: Boolean, whether one more label ends the targets of an image,
            see `end_sequences`. Defaults to False.
        seed: Non-negative integer.

    Raises:
        ValueError: For a source without pictures, or a seed that is negative or
            no integer.

    Example:

    >>> class Levels(RandomSequence):
    ...     def _compose(self, start, stop):
    ...         chosen = self._order(start, stop - start)
    ...         images = np.zeros((stop - start, *self.image_shape), "uint8")
    ...         images += chosen.astype("uint8")[..., None, None]
    ...         whole = np.tile(geometry.IDENTITY, (*chosen.shape, 1, 1))
    ...         return images, chosen.astype("int32"), whole
    >>> levels = Levels(num_pictures=3, image_shape=(8, 8, 1))
    >>> sorted(levels.arrays(3)[1]["labels"][:, 0].tolist())
    [0, 1, 2]
    """

    reading_order = "forward"
    fingerprint = None

    def __init__(
        self,
        *,
        num_pictures,
        image_shape,
        num_targets=1,
        pictures_per_image=1,
        class_names=(),
        terminal=False,
        seed=0,
    ):
        self.num_pictures = check_integer(num_pictures, "num_pictures")
        self.image_shape = tuple(image_shape)
        self.num_targets = num_targets
        self.pictures_per_image = pictures_per_image
        self.class_names = tuple(class_names)
        self.terminal = terminal
        self.seed = check_integer(seed, "seed", 0)

    @property
    def num_classes(self):
        """Labels that there are, the terminal among them."""
        return len(self.class_names) + self.terminal

    def arrays(self, stop, start=0):
        """Images `start` to `stop` of the sequence.

        Args:
            stop: Integer, one after the last image; from 0, their number.
            start: Integer, the first image.

        Returns:
            `(images, targets)`: uint8 images of shape `(n, H, W, C)`, and a
            dictionary of `labels`, int32 of shape `(n, S)`, and `transforms`,
            float32 of shape `(n, S, 2, 3)`: the windows that hold the
            pictures. Images of several sizes are a list of n arrays
            `(H, W, C)`.

        Raises:
            ValueError: If `start` is negative or beyond `stop`, or one of both
                no integer.
        """
        stop = check_integer(stop, "stop", None)
        start = check_integer(start, "start", None)
        if not 0 <= start <= stop:
            raise ValueError(
                "`start` must be at least 0 and at most `stop`. "
                f"Received: stop={stop}, start={start}"
            )
        if None not in self.image_shape or start == stop:
            images, labels, transforms = self._compose(start, stop)
        else:
            images, labels, transforms = zip(
                *(self._compose(i, i + 1) for i in range(start, stop)),
                strict=True,
            )
            images = [image[0] for image in images]  # each (H, W, C)
            labels, transforms = map(np.concatenate, (labels, transforms))
        return images, {"labels": labels, "transforms": transforms}

    @property
    def images_a_pass(self):
        """Images that use each picture of the source once, if it goes up."""
        return max(1, self.num_pictures // self.pictures_per_image)

    def dataset(self, batch_size, num_batches=None, first_batch=0):
        """The sequence as a `tf.data.Dataset`, in batches.

        Each time that it is gone through it begins at the same image. For
        other images in each epoch, ask for an endless one, and `fit` for
        `steps_per_epoch`.

        Args:
            batch_size: Integer, images a batch (B).
            num_batches: Integer; -1 never ends. By default as many as take
                each picture of the source once, the last batch being smaller
                if need be.
            first_batch: Integer, where in the sequence to begin: what a
                training that goes on has already seen is left out.

        Returns:
            `tf.data.Dataset` of `(images, {"labels", "transforms"})` as from
            `arrays`. It knows its number of batches.

        Raises:
            ValueError: For numbers that are out of range.

        Example:

        >>> len(mnist("test").dataset(32))  # 1,000 digits
        32
        """
        batch_size = check_integer(batch_size, "batch_size")
        first_batch = check_integer(first_batch, "first_batch", 0)
        stop = None  # one after the last image
        if num_batches is None:
            num_batches = -(-self.images_a_pass // batch_size)
            stop = first_batch * batch_size + self.images_a_pass
        num_batches = check_integer(num_batches, "num_batches", -1)
        import tensorflow as tf

        def compose(batch):
            start = int(batch) * batch_size
            end = start + batch_size
            return self._compose(start, end if stop is None else min(end, stop))

        def batch(index):
            images, labels, transforms = tf.numpy_function(
                compose, [index], [tf.uint8, tf.int32, tf.float32]
            )
            size = batch_size if stop is None else None
            targets = (size, self.num_targets)
            images = tf.ensure_shape(images, (size, *self.image_shape))
            return images, {
                "labels": tf.ensure_shape(labels, targets),
                "transforms": tf.ensure_shape(transforms, (*targets, 2, 3)),
            }

        return (
            tf.data.Dataset.counter(first_batch)
            .take(num_batches)
            .map(batch, num_parallel_calls=2)
            .prefetch(4)
        )

    @abc.abstractmethod
    def _compose(self, start, stop):
        """Images, labels and transforms of `start` to `stop`."""

    def _uniform(self, start, count, needed):
        """Numbers in [0, 1), a fixed row an image, at least `needed` in it."""
        counts = -(-needed // PHILOX_WORDS)
        generator = np.random.Philox(key=[self.seed, 0])
        generator.advance(start * counts)
        return np.random.Generator(generator).random(
            (count, counts * PHILOX_WORDS)
        )

    def _order(self, start, count):
        """Indices (count, P) of pictures: shuffled anew for each pass."""
        shape = (count, self.pictures_per_image)
        first = start * self.pictures_per_image
        position = first + np.arange(np.prod(shape))
        turn, place = np.divmod(position, self.num_pictures)
        chosen = np.empty_like(place)
        for value in np.unique(turn):
            of_turn = turn == value
            chosen[of_turn] = self._permutation(int(value))[place[of_turn]]
        return chosen.reshape(shape)  # (count, P)

    @functools.lru_cache(maxsize=2)  # noqa: B019 - two passes are small
    def _permutation(self, turn):
        generator = np.random.Generator(
            np.random.Philox(key=[self.seed, turn + 1])
        )
        return generator.permutation(self.num_pictures)


def split_seed(split, seed):
    """The seed of one split: its images never come back in another split.

    Args:
        split: `"train"`, `"validation"` or `"test"`.
        seed: Non-negative integer, the user's.

    Returns:
        Integer, another one for each split and seed.

    Raises:
        ValueError: For an unknown split, or a seed that is negative or no
            integer.

    Example:

    >>> split_seed("train", 0), split_seed("test", 0)
    (0, 2)
    """
    check_choice(split, SPLITS, "split")
    seed = check_integer(seed, "seed", 0)
    return len(SPLITS) * seed + SPLITS.index(split)


def windows(images, size):
    """All windows of `size` (h, w) of (n, H, W), as a view [image, y, x]."""
    return np.lib.stride_tricks.sliding_window_view(
        images, size, axis=(1, 2), writeable=True
    )


def transform_rows(size, image_size, margin=0):
    """Rows of the transforms of a picture by the place of its corner.

    Args:
        size: `(height, width)` of the picture in pixels.
        image_size: `(height, width)` of the image in pixels.
        margin: Integer, pixels that the picture may reach beyond the image;
            the first row is that of the corner `-margin`.

    Returns:
        `(x_rows, y_rows)`, float32 arrays of shape `(n, 3)`: the first and
        the second row of the transforms of all places along x and along y.
    """
    height, width = size
    rows = []
    for axis, side in enumerate((width, height)):
        last = image_size[1 - axis] - side + margin
        corner = np.arange(-margin, last + 1)
        boxes = np.stack(
            [corner, corner, corner + width, corner + height], axis=-1
        )  # (n, 4)
        transforms = geometry.boxes_to_transforms(
            boxes, box_format="xyxy", image_size=image_size
        )
        rows.append(keras.ops.convert_to_numpy(transforms)[:, axis])
    return tuple(rows)
