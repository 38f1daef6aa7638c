"""Ways to halve large images, on one core, with the memory kept or given back.

    python tests/benchmarks/halving.py --out FILE.json

Milliseconds of the processor for a million pixels, the least of some runs of
each way, which other programs disturb least; and the pages that the system
finds in a run, of which a process that keeps its memory needs hardly any.
`README.md` says what was found.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import resource
import time

import numpy as np

SHAPES = ((8, 480, 640, 1), (1, 3000, 4000, 1), (8, 240, 320, 3))
RUNS = 5


def pooling(pixels):
    import tensorflow as tf

    return tf.nn.avg_pool2d(tf.cast(pixels, "float32"), 2, 2, "VALID")


def slices(pixels):
    import tensorflow as tf

    pixels = tf.cast(pixels, "float32")
    rows = pixels[:, ::2] + pixels[:, 1::2]
    return 0.25 * (rows[:, :, ::2] + rows[:, :, 1::2])


def reduce_mean(pixels):
    import tensorflow as tf

    images, height, width, channels = pixels.shape
    shape = (images, height // 2, 2, width // 2, 2, channels)
    pixels = tf.reshape(tf.cast(pixels, "float32"), shape)
    return tf.reduce_mean(pixels, (2, 4))


def convolution(pixels, pairs=4):
    """Of a few neighbours at once, as if they were channels."""
    import tensorflow as tf

    images, height, width, channels = pixels.shape
    means = np.kron(np.eye(pairs), np.full((2, 1), 0.25))
    means = np.kron(means, np.eye(channels)).astype("float32")
    shape = (images, height, width // (2 * pairs), len(means))
    maps = tf.nn.conv2d(
        tf.reshape(tf.cast(pixels, "float32"), shape),
        np.stack([means, means])[:, None],
        (2, 1),
        "VALID",
    )
    return tf.reshape(maps, (images, height // 2, width // 2, channels))


def ours(pixels):
    from keras_edram.layers import image_pyramid

    return image_pyramid._means_of_four(pixels)


WAYS = (pooling, slices, reduce_mean, convolution, ours)


def measure(way, pixels):
    """Milliseconds a million pixels, and page faults, of a run."""
    import tensorflow as tf

    run = tf.function(way, autograph=False)
    np.testing.assert_allclose(run(pixels), pooling(pixels), rtol=1e-5)
    seconds, faults = [], []
    for _ in range(RUNS):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        start = time.process_time()
        run(pixels)
        seconds.append(time.process_time() - start)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        faults.append(after - before)
    return {
        "milliseconds": round(1e9 * min(seconds) / pixels[..., 0].size, 2),
        "page_faults": int(np.median(faults)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--given-back", action="store_true", help="leave memory to glibc"
    )
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not options.given_back:
        from keras_edram import cli

        cli._keep_memory()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    figures = {
        "date": datetime.date.today().isoformat(),
        "machine": platform.processor() or platform.machine(),
        "memory": "given back" if options.given_back else "kept",
    }
    generator = np.random.default_rng(0)
    for shape in SHAPES:
        pixels = generator.integers(0, 256, shape, "uint8")
        found = {way.__name__: measure(way, pixels) for way in WAYS}
        figures["x".join(map(str, shape))] = found
        print(shape)
        for name, of_way in found.items():
            print(f"    {name:12} {of_way['milliseconds']:6.2f} ms", end="")
            print(f" {of_way['page_faults']:8} page faults")
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
