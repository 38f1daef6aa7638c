"""A training step of RAM, beside one that reads its glimpses image by image.

    python tests/benchmarks/ram_training_step.py --out FILE.json

MNIST, 128 images, 6 glimpses of 8x8, the dense glimpse network and the LSTM of
256 units; stepped by what `model.fit` calls, in turns with two others:

- the same model but for its sensor, which cuts the patch of each image out of
  the padded picture in a loop over the batch, in TensorFlow's graph;
- the same network in plain PyTorch, with that loop in Python, as the public
  implementations are (needs PyTorch).

The matrix products of the step are timed at their shapes, in the same turns:
what the step takes beyond them went elsewhere.
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

from keras_edram import geometry
from keras_edram.datasets import mnist
from keras_edram.layers import RetinaGlimpse
from keras_edram.losses import LabelLoss
from keras_edram.models import RAM

BATCH_SIZE = 128
NUM_GLIMPSES = 6
UNITS, HIDDEN_UNITS, GLIMPSE_SIZE = 256, 128, 8


class LoopedGlimpse(RetinaGlimpse):
    """One scale, cut at whole pixels from one image after the other."""

    def pyramid(self, images):
        side = self.glimpse_size
        return tf.pad(images, [(0, 0), (side, side), (side, side), (0, 0)])

    def read(self, padded, locations):
        side = self.glimpse_size
        height, width = (size - 2 * side for size in padded.shape[1:3])
        centre = geometry.points_to_pixels(locations, (height, width))
        corner = tf.cast(tf.round(centre + 0.5), tf.int32) + side - side // 2
        patches = []
        for image in range(BATCH_SIZE):
            x, y = corner[image, 0], corner[image, 1]
            patches.append(padded[image, y : y + side, x : x + side])
        return tf.ensure_shape(tf.stack(patches), (None, side, side, 1))


def make_step(looped=False):
    """A function that trains one batch, after a first time."""
    keras.utils.set_random_seed(0)
    model = RAM(
        num_glimpses=NUM_GLIMPSES,
        glimpse_size=GLIMPSE_SIZE,
        units=UNITS,
        hidden_units=HIDDEN_UNITS,
        seed=0,
    )
    if looped:
        model.glimpse_sensor.__class__ = LoopedGlimpse
    model.compile("adam", loss={"labels": LabelLoss()})
    images, targets = mnist("train").arrays(BATCH_SIZE)
    labels = {"labels": targets["labels"]}

    def step():
        model.train_on_batch(images, labels)

    step()
    return step


def make_torch_step():
    """The same for PyTorch."""
    images, targets = mnist("train").arrays(BATCH_SIZE)
    return ram_torch.make_step(
        images,
        targets["labels"][:, 0],
        num_glimpses=NUM_GLIMPSES,
        glimpse_size=GLIMPSE_SIZE,
        units=UNITS,
        hidden_units=HIDDEN_UNITS,
    )


def make_products():
    """A function that computes the matrix products of one step, no more."""
    shapes = [
        (GLIMPSE_SIZE**2, HIDDEN_UNITS),
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
        for _ in range(NUM_GLIMPSES):
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


def seconds(step, number):
    start = time.perf_counter()
    for _ in range(number):
        step()
    return (time.perf_counter() - start) / number


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20, help="a turn")
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    steps = {
        "ours": make_step(),
        "looped": make_step(looped=True),
        "torch": make_torch_step(),
        "products": make_products(),
    }
    rounds = [
        {name: seconds(step, options.steps) for name, step in steps.items()}
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
        "rounds": options.rounds,
        "batch_size": BATCH_SIZE,
        "num_glimpses": NUM_GLIMPSES,
        "images_per_second": summary(
            [BATCH_SIZE / turn["ours"] for turn in rounds]
        ),
        "looped_images_per_second": summary(
            [BATCH_SIZE / turn["looped"] for turn in rounds]
        ),
        "torch_images_per_second": summary(
            [BATCH_SIZE / turn["torch"] for turn in rounds]
        ),
        "ratio_to_looped": summary(
            [turn["looped"] / turn["ours"] for turn in rounds]
        ),
        "ratio_to_torch": summary(
            [turn["torch"] / turn["ours"] for turn in rounds]
        ),
        "share_not_matrix_products": summary(
            [1 - turn["products"] / turn["ours"] for turn in rounds]
        ),
    }
    text = json.dumps(figures, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
