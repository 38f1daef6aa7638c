"""Where a training step of EDRAM spends its time, by kind of operation.

    python tests/benchmarks/profile_step.py --sizes small --out FILE.json

TensorFlow's profiler records a few steps on one core, where an operation's
time is its own and not that of one that runs beside it. Of each operation
counts the quickest of all steps, which other programs disturb least.
`PYTHONPATH` chooses the checkout whose package is profiled.

`README.md` says what was found.
"""

import argparse
import collections
import datetime
import json
import os
import pathlib
import tempfile

WARM_UP_STEPS = 3
SHOWN_KINDS = 20


def record(run):
    """What TensorFlow's profiler says of the processor while `run` runs.

    Args:
        run: Function without arguments.

    Returns:
        The plane of the processor of the profiler's `XSpace`.
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
    """Milliseconds of each operation, without the operations in it.

    Args:
        plane: From `record`.

    Returns:
        Dictionary of an operation, "its/path:Kind", to a list of the times
        of all its runs.
    """
    times = collections.defaultdict(list)
    for line in plane.lines:  # a thread each
        around = []  # the open operations: their ends, their times
        for event in sorted(
            line.events, key=lambda event: (event.offset_ps, -event.duration_ps)
        ):
            name = plane.event_metadata[event.metadata_id].name
            if ":" not in name or "::" in name or " " in name:
                continue  # the executor's own
            while around and around[-1][0] <= event.offset_ps:
                around.pop()
            milliseconds = event.duration_ps / 1e9
            if around:
                around[-1][1][-1] -= milliseconds
            times[name].append(milliseconds)
            around.append((event.offset_ps + event.duration_ps, times[name]))
    return times


def by_kind(times, steps):
    """Of each kind of operation: milliseconds a step, and runs a step.

    Args:
        times: From `self_times`.
        steps: Integer, how many were recorded.

    Returns:
        Dictionary of the kind's name to both, the longest first.
    """
    kinds = collections.defaultdict(lambda: [0.0, 0.0])
    for name, runs in times.items():
        kind = kinds[name.rpartition(":")[2]]
        kind[0] += min(runs) * len(runs) / steps
        kind[1] += len(runs) / steps
    return dict(sorted(kinds.items(), key=lambda item: -item[1][0]))


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", choices=("base", "small"), default="base")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--mixed-precision", action="store_true")
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
    os.environ["TF_NUM_INTEROP_THREADS"] = "1"

    from edram_training_step import KerasSide, processor

    from keras_edram.datasets import cluttered_mnist
    from keras_edram.models.edram import SMALL_SIZES

    images, targets = cluttered_mnist("train").arrays(options.batch_size)
    side = KerasSide(
        {} if options.sizes == "base" else SMALL_SIZES,
        (images, targets["labels"][:, 0], targets["transforms"][:, 0]),
        dict(
            package=pathlib.Path(__file__).parents[2],
            jit=False,
            mixed_precision=options.mixed_precision,
            threads=None,
        ),
    )
    for _ in range(WARM_UP_STEPS):
        side.step()
    plane = record(lambda: [side.step() for _ in range(options.steps)])
    kinds = by_kind(self_times(plane), options.steps)
    total = sum(milliseconds for milliseconds, _ in kinds.values())
    print(
        f"{total:.1f} ms in {sum(n for _, n in kinds.values()):.0f} operations"
    )
    for kind, (milliseconds, runs) in list(kinds.items())[:SHOWN_KINDS]:
        print(
            f"{kind:36} {milliseconds:8.2f} ms {milliseconds / total:6.1%}"
            f" {runs:6.0f}"
        )
    if options.out:
        result = {
            "sizes": options.sizes,
            "batch_size": options.batch_size,
            "mixed_precision": options.mixed_precision,
            "date": datetime.date.today().isoformat(),
            "machine": f"{os.cpu_count()} cores, {processor()}",
            "steps": options.steps,
            "milliseconds": round(total, 2),
            "kinds": {
                kind: {"milliseconds": round(milliseconds, 3), "runs": runs}
                for kind, (milliseconds, runs) in kinds.items()
            },
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
