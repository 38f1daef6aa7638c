"""Where a training step of EDRAM spends its time, by kind of operation.

    python tests/benchmarks/profile_step.py --sizes small --out FILE.json

TensorFlow's profiler records a few steps. They run on one core, so that an
operation's time is its own, and not that of one that runs beside it.

`README.md` says what was found.
"""

import argparse
import collections
import datetime
import json
import os
import pathlib
import statistics
import tempfile

STEPS = 4
WARM_UP_STEPS = 3
MARK = "step_to_profile"


def record(run):
    """What TensorFlow's profiler says of the processor while `run` runs.

    Args:
        run: Function without arguments.

    Returns:
        The plane of the processor of TensorFlow's `XSpace`.
    """
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    options = tf.profiler.experimental.ProfilerOptions(
        host_tracer_level=2, python_tracer_level=0, device_tracer_level=0
    )
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder, options=options):
            run()
        (path,) = pathlib.Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(path.read_bytes())
    (plane,) = (plane for plane in space.planes if plane.name == "/host:CPU")
    return plane


def self_times(plane):
    """Seconds of each kind of operation, without those that it called.

    Args:
        plane: From `record`.

    Returns:
        Two counters by the name of the operation's kind: seconds, and how
        often it ran.
    """
    seconds, calls = collections.Counter(), collections.Counter()
    for line in plane.lines:
        open_operations = []  # [kind, end], the innermost last
        for event in sorted(
            line.events, key=lambda e: (e.offset_ps, -e.duration_ps)
        ):
            # An operation's event is called "its/path:Kind".
            name = plane.event_metadata[event.metadata_id].name
            _, separator, kind = name.rpartition(":")
            if not separator or " " in name or not kind or "::" in name:
                continue
            while open_operations and open_operations[-1][1] <= event.offset_ps:
                open_operations.pop()
            if open_operations:
                seconds[open_operations[-1][0]] -= event.duration_ps / 1e12
            seconds[kind] += event.duration_ps / 1e12
            calls[kind] += 1
            open_operations.append((kind, event.offset_ps + event.duration_ps))
    return seconds, calls


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", choices=("full", "small"), default="full")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--mixed-precision", action="store_true")
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    import time
    import keras
    import tensorflow as tf
    from edram_training_step import KerasSide

    from keras_edram.datasets import cluttered_mnist
    from keras_edram.models.edram import SMALL_SIZES

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if options.mixed_precision:
        keras.config.set_dtype_policy("mixed_bfloat16")
    sizes = SMALL_SIZES if options.sizes == "small" else {}
    images, targets = cluttered_mnist("train").arrays(options.batch_size)
    batch = images, targets["labels"][:, 0], targets["transforms"][:, 0]
    side = KerasSide(sizes, batch, False)
    for _ in range(WARM_UP_STEPS):
        side.step()
    t = time.process_time()
    for _ in range(STEPS):
        side.step()
    cpu = (time.process_time() - t) / STEPS
    plane = record(lambda: [side.step() for _ in range(STEPS)])
    seconds, calls = self_times(plane)
    total = sum(seconds.values())
    print("cpu per step", cpu * 1e3, "profiled", total * 1e3 / STEPS)
    for kind, s in seconds.most_common(32):
        print(
            f"{kind:40} {1e3 * s / STEPS:9.2f} ms {s / total:6.1%} {calls[kind] / STEPS:7.0f}"
        )


if __name__ == "__main__":
    main()
