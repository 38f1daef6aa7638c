"""Trains on two devices; run by `test_mirrored.py` in a process.

    python train_mirrored.py FOLDER PART ...

A process has its devices from the start, so this cannot be a part of another
test: it makes two of the CPU before TensorFlow begins.
"""

import contextlib
import dataclasses
import pathlib
import shutil
import sys

import keras
import numpy as np
import tensorflow as tf
import tiny
from test_training import KillAt, train

from keras_edram import training
from keras_edram.models import EDRAM, Baseline, glimpse_loop
from keras_edram.recipes import _edram, _ram

# Which is half of the time of two.
ONE_GLIMPSE = {**tiny.SIZES, "glimpses_per_target": 1}


def compare(folder):
    """A run on one device and a run on two, of a model that has no parts."""
    recipe = dataclasses.replace(
        tiny.recipe(),
        model=lambda settings, data: Baseline(data.image_shape),
        compile=compile_with_plain_steps,
    )
    train(recipe, folder / "one")
    train(recipe, folder / "two", strategy="mirrored")


def repeat(folder):
    """One device with a batch, and two of which each has that batch.

    So each part has the statistics of the batch, and its random numbers.
    """
    images, targets = tiny.data(dict(seed=3), "train", "bundled").arrays(4)
    batch = (images, targets["labels"], targets["transforms"])
    for name, make in {
        "edram": lambda: EDRAM(**ONE_GLIMPSE),
        "ram": lambda: tiny.ram(seed=5, num_glimpses=2),
    }.items():
        found = {}
        for number, strategy in ((1, None), (2, "mirrored")):
            strategy = training._strategy(strategy, 8, jit=False)
            keras.utils.set_random_seed(1)
            with strategy.scope() if strategy else contextlib.nullcontext():
                model = make()
                compile_with_plain_steps(model)
            x, labels, transforms = (
                np.concatenate([part] * number) for part in batch
            )
            y = {"labels": labels, "transforms": transforms}
            history = model.fit(
                x, y, batch_size=4 * number, epochs=3, shuffle=False
            )
            found[f"losses_{number}"] = history.history["loss"]
            found[f"weights_{number}"] = np.concatenate(
                [value.flatten() for value in model.get_weights()]
            )
        np.savez(folder / f"{name}.npz", **found)


class CopyAt(KillAt):
    """Copies the folder where it would kill: this is what would be left."""

    def __init__(self, epoch, folder, *copies):
        super().__init__(epoch)
        self.folder = folder
        self.copies = copies

    def kill(self):
        for copy in self.copies:
            shutil.copytree(self.folder, copy)


def resume(folder):
    """EDRAM on two devices, whole and killed; gone on with two or one."""
    # As long a sequence as a loop is made for: not on several devices.
    glimpse_loop.MOST_WRITTEN_OUT = 0
    recipe = tiny.recipe(ONE_GLIMPSE, epochs=2)
    whole, killed, alone = (
        folder / name for name in ("whole", "killed", "alone")
    )
    train(
        recipe,
        whole,
        callback=lambda: CopyAt(1, whole, killed, alone),
        strategy="mirrored",
    )
    train(recipe, killed, strategy="mirrored")
    train(recipe, alone)


def compile_with_plain_steps(model, settings=None, jit_compile=False):
    """With steps in proportion to the gradient, unlike those of Adam."""
    losses = {"labels": _ram.LabelLoss()}
    if model.looks_step_by_step and not model.has_policy:
        losses["transforms"] = _edram.TransformLoss()
    model.compile(
        keras.optimizers.SGD(1e-2),
        loss=losses,
        metrics={"labels": [_ram.AverageError()]},
        jit_compile=jit_compile,
    )


def main(folder, *parts):
    """Does the parts above, each in a folder of its name."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )
    if "compare" not in parts:  # whose graph is as users have it
        # TensorFlow's own simplifications take a quarter of the time.
        tf.config.optimizer.set_experimental_options(
            {"disable_meta_optimizer": True}
        )
    for part in parts:
        (folder / part).mkdir()
        {"compare": compare, "repeat": repeat, "resume": resume}[part](
            folder / part
        )


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), *sys.argv[2:])
