"""Several sequences of images as one, such as images of several sizes."""

from keras_edram.checks import check_integer
from keras_edram.datasets.random_sequence import RandomSequence

TOLD = ("class_names", "terminal", "num_targets", "reading_order")


class InTurn(RandomSequence):
    """Sequences of images that come in turn, so many of each at once.

    Images of several sizes make no batch together, so they come in runs:
    `run_length` images of the first sequence, then of the second, and so on,
    and from the beginning again where each was left. A model that takes images
    of any size trains on all of them.

    Args:
        sequences: `RandomSequence`s with the same classes, targets, reading
            order and channels.
        run_length: Integer, images of a run: what a batch has, or a multiple.
            Defaults to 64.

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
        run, first = divmod(start, self.run_length)
        count = stop - start
        if first + count > self.run_length:
            raise ValueError(
                "Images in turn must be asked for run by run: a batch must "
                f"divide `run_length`={self.run_length}. Received: images "
                f"{start} to {stop}"
            )
        turn, which = divmod(run, len(self.sequences))
        first += turn * self.run_length
        return self.sequences[which]._compose(first, first + count)
