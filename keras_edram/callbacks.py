"""What `training` gives to `fit` beside Keras' own callbacks."""

import math
import os
import time

import keras
import numpy as np

from keras_edram import files
from keras_edram.checks import check_integer
from keras_edram.layers.stepwise_batch_normalization import keep_statistics


class CheckMonitor(keras.callbacks.Callback):
    """Raises after the first epoch if nothing gives what is monitored."""

    def __init__(self, monitor):
        super().__init__()
        self.monitor = monitor

    def on_epoch_end(self, epoch, logs=None):
        if self.monitor.column not in logs:
            raise ValueError(
                "A recipe must monitor a metric that its model is compiled "
                f"with: one of {sorted(n for n in logs if 'val_' in n)}. "
                f"Received: {self.monitor}, which is {self.monitor.column!r}"
            )


class Replay(keras.callbacks.Callback):
    """Tells callbacks what happened before a run was killed.

    Keras' callbacks forget all when `fit` begins. After that this one, which
    must stand behind them, shows them the epochs that are past, from the
    learning rate that the first of them had; they leave it as it was.
    """

    def __init__(self, callbacks, history):
        super().__init__()
        self.callbacks = callbacks
        self.history = history

    def on_train_begin(self, logs=None):
        for epoch, row in enumerate(self.history):
            if epoch == 0 and "learning_rate" in row:
                self.model.optimizer.learning_rate = row["learning_rate"]
            for callback in self.callbacks:
                callback.on_epoch_end(epoch, dict(row))


class EpochSeeds(keras.callbacks.Callback):
    """Draws in each epoch what belongs to that epoch.

    What a policy or a dropout draws comes from generators whose state no file
    of a model keeps. With one that each epoch sets, a run that was killed
    draws what it would have drawn.
    """

    def __init__(self, seed):
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch, logs=None):
        states = [
            variable
            for variable in self.model.variables
            if variable.name == "seed_generator_state"
        ]
        for index, state in enumerate(states):
            generator = np.random.default_rng((self.seed, epoch, index))
            # The second number counts what is drawn; of PyTorch both have 31
            # bits.
            state.assign([int(generator.integers(2**31)), 0])


class KeepStatistics(keras.callbacks.Callback):
    """From an epoch on, normalises in training as at inference.

    Batches of one size each have the statistics of that size, and what is
    learnt with them does not hold for the mean of all sizes, by which an image
    is read that comes alone. In the last epochs the statistics stay what they
    are, and the weights learn to do with them.

    Args:
        first_epoch: Integer, the first that keeps them, counted from 0.

    Raises:
        ValueError: For a negative number.

    Example:

    >>> model = EDRAM()
    >>> model.compile("adam", {"labels": losses.LabelLoss()})
    >>> kept = KeepStatistics(20)  # for `model.fit(..., callbacks=[kept])`
    """

    def __init__(self, first_epoch):
        super().__init__()
        self.first_epoch = check_integer(first_epoch, "first_epoch", 0)

    def on_epoch_begin(self, epoch, logs=None):
        if epoch >= self.first_epoch:
            keep_statistics(self.model, True)

    def on_train_end(self, logs=None):
        keep_statistics(self.model, False)


class Checkpoint(keras.callbacks.ModelCheckpoint):
    """Keras' checkpoint, written in a folder of its own and then renamed."""

    def __init__(self, path, **kwargs):
        super().__init__(path, **kwargs)
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        monitored = logs.get(self.monitor, 0) if self.save_best_only else 0
        if not math.isfinite(logs["loss"]) or not math.isfinite(monitored):
            return  # or Keras would keep it as the best for ever
        with files.work_folder(self.path.parent) as work:
            partial = work / self.path.name
            # Keras puts the epoch's figures where braces are.
            self.filepath = str(partial).replace("{", "{{").replace("}", "}}")
            super().on_epoch_end(epoch, logs)
            if partial.exists():
                os.replace(partial, self.path)


class EpochSeconds(keras.callbacks.Callback):
    """Adds the seconds that an epoch took to its logs."""

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        logs["seconds"] = round(time.monotonic() - self._start, 2)
