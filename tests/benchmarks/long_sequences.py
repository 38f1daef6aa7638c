"""What a training step costs by the number of glimpses, and by their loop.

    python tests/benchmarks/long_sequences.py --out FILE.json

The small EDRAM, 16 images of 100x100, glimpses written out in a Python loop,
or in a loop of TensorFlow's graph; each in a process of its own. The first
step traces the graph, so its time is what a user waits for; steps after it are
the training. Seconds are those of the process on one core, which other
programs disturb less than a clock on the wall. Memory is the largest resident
memory at the end.
"""

import argparse
import datetime
import json
import multiprocessing
import pathlib
import resource
import time

from edram_training_step import processor

GLIMPSES = (6, 18, 31, 62, 124)
WAYS = {"written out": 10**6, "loop": 1}
STEPS = 3


def measure(number, most_written_out):
    """Figures of one model, in a fresh process."""
    import keras
    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    from keras_edram.models import glimpse_loop
    from keras_edram.models.edram import EDRAM, SMALL_SIZES
    from keras_edram.recipes import _edram

    glimpse_loop.MOST_WRITTEN_OUT = most_written_out
    keras.utils.set_random_seed(0)
    model = EDRAM(num_targets=number, glimpses_per_target=1, **SMALL_SIZES)
    weights = dict(alpha_what=1.0, alpha_where=1.0)
    _edram.compile_edram(model, "adam", weights, jit_compile=False)
    images = np.random.default_rng(0).uniform(0, 255, (16, 100, 100, 1))
    truth = {
        "labels": np.zeros((16, number), "int32"),
        "transforms": np.ones((16, number, 2, 3), "float32"),
    }

    def seconds(steps):
        start = time.process_time()
        for _ in range(steps):
            model.train_on_batch(images.astype("uint8"), truth)
        return time.process_time() - start

    first = seconds(1)
    return {
        "first_step_seconds": round(first, 1),
        "step_seconds": round(seconds(STEPS) / STEPS, 2),
        "megabytes": round(
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        ),
    }


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--glimpses", type=int, nargs="+", default=GLIMPSES)
    parser.add_argument("--ways", choices=WAYS, nargs="+", default=list(WAYS))
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    figures = {
        "date": datetime.date.today().isoformat(),
        "processor": processor(),
    }
    for way in options.ways:
        figures[way] = {}
        for number in options.glimpses:
            with context.Pool(1) as pool:
                row = pool.apply(measure, (number, WAYS[way]))
            figures[way][str(number)] = row
            print(f"{way:12} {number:4} {row}", flush=True)
            if options.out:
                options.out.parent.mkdir(parents=True, exist_ok=True)
                options.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
