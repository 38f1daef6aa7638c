"""Several sequences of images as one, such as images of several sizes."""

import numpy as np

from keras_edram.checks import check_integers
from keras_edram.datasets.random_sequence import RandomSequence

TOLD = ("class_names", "terminal", "num_targets", "reading_order")


class InTurn(RandomSequence):
    """Sequences of images that come in turn, so many of each at once.

    Images of several sizes make no batch together, so they come in runs:
    `run_length` images of the first sequence, then of the second, and so on,
    and from the beginning again where each was left. A model that takes images
    of any size trains on all of them. Those of one size may share a batch, of
    which each may have another part.

    Args:
        sequences: `RandomSequence`s with the same classes, targets, reading
            order and channels.
        run_length: Integer, images of a run, or one for each sequence; of
            several sizes what a batch has, or a multiple. Defaults to 64.

    Raises:
        ValueError: For no sequence, some that do not belong together, or a
            length that is none.

    Example:

    >>> sizes = InTurn(
    ...     [cluttered_mnist("train", image_size=size) for size in (100, 200)]
    ... )
    >>> [images.shape[1] for images, _ in sizes.dataset(64, 3)]
    [100, 200, 100]
    """

    def __init__(self, sequences, run_length=64):
        self.sequences = tuple(sequences)
        if not isinstance(run_length, (tuple, list)):
            run_length = [run_length] * len(self.sequences)
        self.run_lengths = check_integers(
            run_length, len(self.sequences), "run_length"
        )
        told = [
            (*(getattr(one, name) for name in TOLD), one.image_shape[-1])
            for one in self.sequences
        ]
        if len(set(told)) != 1:
            raise ValueError(
                "`sequences` must be of the same classes, targets, reading "
                f"order and channels, and at least one. Received: {told}"
            )
        shapes = {one.image_shape for one in self.sequences}
        first = self.sequences[0]
        super().__init__(
            num_pictures=sum(one.num_pictures for one in self.sequences),
            image_shape=first.image_shape
            if len(shapes) == 1
            else (None, None, first.image_shape[-1]),
            num_targets=first.num_targets,
            pictures_per_image=first.pictures_per_image,
            class_names=first.class_names,
            terminal=first.terminal,
        )
        self.reading_order = first.reading_order

    @property
    def fingerprint(self):
        """What the sequences hold, where they say it."""
        told = [one.fingerprint for one in self.sequences]
        return None if None in told else " ".join(told)

    def _compose(self, start, stop):
        parts = []
        while not parts or start < stop:
            which, first, left = self._place(start)
            count = min(left, stop - start)
            if None in self.image_shape and start + count < stop:
                raise ValueError(
                    "Images of several sizes must be asked for run by run: a "
                    f"batch must divide `run_length`={self.run_lengths[which]}."
                    f" Received: images {start} to {stop}"
                )
            sequence = self.sequences[which]
            parts.append(sequence._compose(first, first + count))
            start += count
        return tuple(map(np.concatenate, zip(*parts, strict=True)))

    def _place(self, index):
        """Which sequence an image is of, its number there, what is left."""
        ends = np.cumsum(self.run_lengths)
        turn, place = divmod(index, int(ends[-1]))
        which = int(np.searchsorted(ends, place, side="right"))
        length = self.run_lengths[which]
        left = int(ends[which]) - place
        return which, (turn + 1) * length - left, left
