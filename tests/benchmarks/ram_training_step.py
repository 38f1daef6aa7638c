"""A training step of RAM, beside one that reads its glimpses image by image.

    python tests/benchmarks/ram_training_step.py --out FILE.json

128 images of MNIST, 6 glimpses of 8x8, or with `--task cluttered_60` of 60x60
with clutter, 8 glimpses of 12x12 in three scales; the dense glimpse network
and the LSTM of 256 units; stepped by what `model.fit` calls, in turns with two
others:

- the same network in plain PyTorch, which cuts the patch of each image out of
  the padded picture in a Python loop over the batch, as the public
  implementations do (needs PyTorch);
- for one scale, our model with that loop unrolled into TensorFlow's graph.

The matrix products of the step are timed at their shapes, in the same turns:
what the step takes beyond them went elsewhere. With `--one-core` all have one
thread each and seconds are those of the process, which other programs disturb
less than a clock on the wall.
"""

import argparse
import json
import os
import pathlib
import platform
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import ram_torch
import tensorflow as tf
import torch

from keras_edram import geometry
from keras_edram.datasets import cluttered_mnist, mnist
from keras_edram.layers import RetinaGlimpse
from keras_edram.layers.image_pyramid import ImagePyramid
from keras_edram.losses import LabelLoss
from keras_edram.models import RAM

BATCH_SIZE = 128
UNITS, HIDDEN_UNITS = 256, 128
TASKS = {
    "mnist": dict(num_glimpses=6, glimpse_size=8, num_scales=1),
    "cluttered_60": dict(num_glimpses=8, glimpse_size=12, num_scales=3),
}


class LoopedGlimpse(RetinaGlimpse):
    """One scale, cut at whole pixels from one image after the other."""

    def pyramid(self, images):
        side = self.glimpse_size
        padded = tf.pad(images, [(0, 0), (side, side), (side, side), (0, 0)])
        return ImagePyramid((padded,), (images.shape[1:3],))

    def read(self, pyramid, locations):
        side = self.glimpse_size
        (padded,) = pyramid.parts
        centre = geometry.points_to_pixels(locations, pyramid.sizes[0])
        corner = tf.cast(tf.round(centre + 0.5), tf.int32) + side - side // 2
        patches = []
        for image in range(BATCH_SIZE):
            x, y = corner[image, 0], corner[image, 1]
            patches.append(padded[image, y : y + side, x : x + side])
        patches = tf.cast(tf.stack(patches), "float32")
        return tf.ensure_shape(patches, (None, side, side, 1))


def read_batch(task):
    """Images and their labels `(B, 1)`."""
    if task == "mnist":
        data = mnist("train")
    else:
        data = cluttered_mnist("train", image_size=60, num_distractors=4)
    images, targets = data.arrays(BATCH_SIZE)
    return images, targets["labels"]


def make_step(task="mnist", looped=False):
    """A function that trains one batch, after a first time."""
    keras.utils.set_random_seed(0)
    images, labels = read_batch(task)
    model = RAM(
        image_shape=images.shape[1:],
        units=UNITS,
        hidden_units=HIDDEN_UNITS,
        seed=0,
        **TASKS[task],
    )
    if looped:
        model.glimpse_sensor.__class__ = LoopedGlimpse
    model.compile("adam", loss={"labels": LabelLoss()})

    def step():
        model.train_on_batch(images, {"labels": labels})

    step()
    return step


def make_torch_step(task="mnist"):
    """The same for PyTorch."""
    images, labels = read_batch(task)
    return ram_torch.make_step(
        images,
        labels[:, 0],
        units=UNITS,
        hidden_units=HIDDEN_UNITS,
        **TASKS[task],
    )


def make_products(task="mnist"):
    """A function that computes the matrix products of one step, no more."""
    sizes = TASKS[task]
    shapes = [
        (sizes["num_scales"] * sizes["glimpse_size"] ** 2, HIDDEN_UNITS),
        (2, HIDDEN_UNITS),
        (HIDDEN_UNITS, UNITS),
        (HIDDEN_UNITS, UNITS),
        (UNITS, 4 * UNITS),
        (UNITS, 4 * UNITS),
        (UNITS, 2),
        (UNITS, 1),
    ]
    generator = np.random.default_rng(0)

    def normal(*shape):
        return tf.constant(generator.normal(size=shape), tf.float32)

    operands = [
        (normal(BATCH_SIZE, rows), normal(rows, columns))
        for rows, columns in shapes
    ]

    @tf.function(autograph=False)
    def products(operands):
        results = []
        for _ in range(sizes["num_glimpses"]):
            for inputs, kernel in operands:
                # Each depends on the last, or equal ones are computed once.
                inputs += results[-1] * 0.0 if results else 0.0
                outputs = inputs @ kernel
                by_inputs = tf.matmul(outputs, kernel, transpose_b=True)
                by_kernel = tf.matmul(inputs, outputs, transpose_a=True)
                results.append(by_kernel[0, 0] + by_inputs[0, 0])
        return tf.add_n(results)

    def step():
        products(operands).numpy()

    step()
    return step


def seconds(step, number, clock):
    start = clock()
    for _ in range(number):
        step()
    return (clock() - start) / number


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--task", choices=TASKS, default="mnist")
    parser.add_argument("--one-core", action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20, help="a turn")
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    clock = time.perf_counter
    if options.one_core:
        clock = time.process_time
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        torch.set_num_threads(1)
    steps = {
        "ours": make_step(options.task),
        "torch": make_torch_step(options.task),
        "products": make_products(options.task),
    }
    if TASKS[options.task]["num_scales"] == 1:
        steps["looped"] = make_step(options.task, looped=True)
    rounds = [
        {
            name: seconds(step, options.steps, clock)
            for name, step in steps.items()
        }
        for _ in range(options.rounds)
    ]

    def summary(values):
        return {
            "median": float(np.median(values)),
            "smallest": float(np.min(values)),
            "largest": float(np.max(values)),
        }

    figures = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "task": options.task,
        "one_core": options.one_core,
        "rounds": options.rounds,
        "batch_size": BATCH_SIZE,
        **TASKS[options.task],
        "images_per_second": summary(
            [BATCH_SIZE / turn["ours"] for turn in rounds]
        ),
    }
    for other in ("torch", "looped"):
        if other in steps:
            figures[f"{other}_images_per_second"] = summary(
                [BATCH_SIZE / turn[other] for turn in rounds]
            )
            figures[f"ratio_to_{other}"] = summary(
                [turn[other] / turn["ours"] for turn in rounds]
            )
    figures["share_not_matrix_products"] = summary(
        [1 - turn["products"] / turn["ours"] for turn in rounds]
    )
    text = json.dumps(figures, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
