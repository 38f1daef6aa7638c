"""One photo as it is: `model.read` by megapixels, for a model of any size.

    python tests/benchmarks/large_photos.py [--rounds 10] [--out FILE.json]

One grey photo of 0.3, 3 and 12 megapixels, a uint8 array that is decoded
already, is read by EDRAM as the recipe `cluttered_mnist_edram_large` makes it,
which takes images of any size; its weights are not trained. All sizes take
turns in one process, round by round, and what counts is the ratio to the
smallest within a round. Beside the whole stands what is done once a photo:
looking for pixels that are none, and the image pyramid.

Memory: each size in a fresh process, the most that is resident while it reads,
less what was before: the photo itself, and what TensorFlow makes ready at a
first call, are part of it. It is read from `/proc`, so this needs Linux.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import pathlib
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
SIZES = ((480, 640), (1500, 2000), (3000, 4000))
TARGET = 1.5  # of the milliseconds at the smallest, at the largest
CALLS_A_TURN = 3
MEMORY_CALLS = 3
STATUS = pathlib.Path("/proc/self/status")
PEAK_RESET = pathlib.Path("/proc/self/clear_refs")


def make_model():
    """The recipe's model, without training."""
    import keras

    from keras_edram import recipes

    keras.utils.set_random_seed(0)
    recipe = recipes.load("cluttered_mnist_edram_large")
    data = recipe.data(recipe.settings, "validation", "bundled")
    return recipe.model(recipe.settings, data)


def make_photo(size):
    """Noise: what a photo shows does not change what it costs."""
    import numpy as np

    return np.random.default_rng(0).integers(0, 256, (*size, 1), "uint8")


def parts_of(model, photo):
    """What reading a photo takes, as functions without arguments."""
    import numpy as np
    import tensorflow as tf

    from keras_edram.checks import check_pixels

    images = photo[None]

    @tf.function(
        input_signature=[tf.TensorSpec((1, None, None, 1), tf.uint8)],
        autograph=False,
    )
    def pyramid(images):
        # Some of each part, or nothing would be made.
        return [part[:, -1:] for part in model.pyramid(images).parts]

    return {
        "read": lambda: model.read(images),
        "check": lambda: check_pixels(images),
        "pyramid": lambda: [np.asarray(part) for part in pyramid(images)],
    }


def measure_latency(sizes, rounds):
    """Milliseconds by part and size, and ratios of `read` to the smallest."""
    model = make_model()
    runs = {size: parts_of(model, make_photo(size)) for size in sizes}
    for parts in runs.values():
        for run in parts.values():
            for _ in range(3):  # the second is traced
                run()
    times = {size: {name: [] for name in runs[size]} for size in sizes}
    for _ in range(rounds):
        for size, parts in runs.items():
            for name, run in parts.items():
                took = []
                for _ in range(CALLS_A_TURN):
                    start = time.perf_counter()
                    run()
                    took.append(1000 * (time.perf_counter() - start))
                times[size][name].append(min(took))
    smallest = times[sizes[0]]["read"]
    return {
        name_of(size): {
            **{name: summary(values) for name, values in parts.items()},
            "ratio": summary(
                [b / a for a, b in zip(smallest, parts["read"], strict=True)]
            ),
        }
        for size, parts in times.items()
    }


def name_of(size):
    """A size in words."""
    return f"{size[1]}x{size[0]}"


def summary(values):
    """Median, least and most."""
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
    }


def resident(what):
    """A figure of this process in MB: `VmRSS` now, `VmHWM` at the most."""
    (line,) = (line for line in STATUS.read_text().splitlines() if what in line)
    return int(line.split()[1]) / 1024


def peak_memory(size):
    """MB that reading a photo of that size takes, in a process of its own."""
    model = make_model()
    before = resident("VmRSS")
    PEAK_RESET.write_text("5")  # the peak begins anew
    photo = make_photo(size)
    for _ in range(MEMORY_CALLS):
        model.read(photo[None])
    return resident("VmHWM") - before


def measure_memory(sizes):
    """MB by size, each in a fresh process."""
    found = {}
    for size in sizes:
        with concurrent.futures.ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn")
        ) as alone:
            found[name_of(size)] = alone.submit(peak_memory, size).result()
    return found


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    figures = {
        "peak_megabytes": measure_memory(SIZES),
        "milliseconds": measure_latency(SIZES, options.rounds),
    }
    for name, parts in figures["milliseconds"].items():
        shown = ", ".join(
            f"{part} {values['median']:.2f}" for part, values in parts.items()
        )
        print(f"{name:>10}: {shown}; {figures['peak_megabytes'][name]:.0f} MB")
    ratio = figures["milliseconds"][name_of(SIZES[-1])]["ratio"]["median"]
    print(f"The largest takes {ratio:.2f} times the smallest, of {TARGET}.")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
