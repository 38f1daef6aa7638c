"""Speed of the image sequences: images a second, without any model.

    python tests/benchmarks/datasets.py --out FILE.json

100x100 images with 8 distractors, composed of the bundled digits: as NumPy
arrays in batches and in one large request, and as a `tf.data.Dataset`. They
are measured in turns, because the speed of a machine drifts; and with them a
dataset of 32x32 colour pictures of noise, moved and mirrored like CIFAR-10.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import pathlib
import statistics
import time

TARGET = 20_000  # images/s on two cores, of each dataset


def measure(batch_size, images, rounds):
    """Images a second of each way to ask for them.

    Args:
        batch_size: Integer.
        images: Integer, images of one turn.
        rounds: Integer, turns of each way.

    Returns:
        Dictionary of name -> `{"median", "min", "max"}`.
    """
    import numpy as np

    from keras_edram.datasets import AugmentedImages, cluttered_mnist

    cluttered = cluttered_mnist("train")
    pictures = np.random.default_rng(0).integers(
        0, 256, (45_000, 32, 32, 3), "uint8"
    )
    labels = np.arange(len(pictures)) % 10
    augmented = AugmentedImages(pictures, labels, max_shift=4, mirror=True)
    batches = images // batch_size

    def arrays_in_batches():
        for start in range(0, images, batch_size):
            cluttered.arrays(start + batch_size, start)

    def arrays_at_once():
        cluttered.arrays(images)

    def dataset():
        for _ in cluttered.dataset(batch_size, batches):
            pass

    def augmented_dataset():
        for _ in augmented.dataset(batch_size, batches):
            pass

    ways = (arrays_in_batches, arrays_at_once, dataset, augmented_dataset)
    speeds = {way.__name__: [] for way in ways}
    for way in ways:
        way()  # the first call is slow
    for _ in range(rounds):
        for way in ways:
            start = time.perf_counter()
            way()
            seconds = time.perf_counter() - start
            speeds[way.__name__].append(images / seconds)
    return {
        name: {
            "median": round(statistics.median(values)),
            "min": round(min(values)),
            "max": round(max(values)),
        }
        for name, values in speeds.items()
    }


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--images", type=int, default=12_800)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    speeds = measure(options.batch_size, options.images, options.rounds)
    for name, spread in speeds.items():
        print(
            f"{name:18} {spread['median']:8,}  "
            f"({spread['min']:,} to {spread['max']:,}) images/s"
        )
    reached = all(
        speeds[name]["median"] >= TARGET
        for name in ("dataset", "augmented_dataset")
    )
    print(f"target of {TARGET:,} {'reached' if reached else 'missed'}")
    if options.out:
        result = {
            "batch_size": options.batch_size,
            "images_in_a_turn": options.images,
            "date": datetime.date.today().isoformat(),
            "cores": os.cpu_count(),
            "versions": {
                name: importlib.metadata.version(name)
                for name in ("tensorflow", "keras", "numpy")
            },
            "images_per_second": speeds,
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
