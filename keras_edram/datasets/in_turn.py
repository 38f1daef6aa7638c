"""Several sequences of images as one, such as images of several sizes."""

import numpy as np

from keras_edram.checks import check_integer
from keras_edram.datasets.random_sequence import RandomSequence

TOLD = ("class_names", "terminal", "num_targets", "reading_order")


class InTurn(RandomSequence):
    """Sequences of images that come in turn, so many of each at once.

    Images of several sizes make no batch together, so they come in runs:
    `run_length` images of the first sequence, then of the second, and so on,
    and from the beginning again where each was left. A model that takes images
    of any size trains on all of them. Those of one size may share a batch.

    Args:
        sequences: `RandomSequence`s with the same classes, targets, reading
            order and channels.
        run_length: Integer, images of a run; of several sizes what a batch has,
            or a multiple. Defaults to 64.

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
        self.run_length = check_integer(run_length, "run_length")
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
        length = self.run_length
        # Where runs end between the two.
        ends = range(start + length - start % length, stop, length)
        if None in self.image_shape and ends:
            raise ValueError(
                "Images of several sizes must be asked for run by run: a batch "
                f"must divide `run_length`={length}. Received: images {start} "
                f"to {stop}"
            )
        parts = zip([start, *ends], [*ends, stop], strict=True)
        images, labels, transforms = zip(
            *(self._compose_of_run(*part) for part in parts), strict=True
        )
        return tuple(map(np.concatenate, (images, labels, transforms)))

    def _compose_of_run(self, start, stop):
        run, first = divmod(start, self.run_length)
        turn, which = divmod(run, len(self.sequences))
        first += turn * self.run_length
        return self.sequences[which]._compose(first, first + stop - start)
