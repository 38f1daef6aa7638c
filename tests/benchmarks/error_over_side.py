"""What a large image costs and loses: error and time by its side.

    python tests/benchmarks/error_over_side.py MODEL --source tfds \
        --out FILE.json --plot FILE.png

MODEL is a preset, a `.keras` file or a run folder: a model of any size that
reads one digit. Cluttered MNIST of the protocol "held_out", test digits, with
8 distractors on each 100x100 pixels, on square canvases from 100x100 on; the
digits stay as they are.

Error: of `--images` images of each side, the last answer `model.decode` gives,
and of each glimpse alone. Time: `model.read` of one picture, that is in memory
as uint8, after two calls that are not counted; all sides take turns, round by
round, because the speed of a machine drifts. What counts is the ratio to the
smallest side, taken within each round.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import time

import numpy as np
from edram_training_step import wait_until_quiet

SIDES = (100, 200, 400, 800, 1600)
DENSITY = 8.0
BATCH_SIZE = 50


def errors(model, side, source, images):
    """Errors of the answer and of each glimpse at images of one side."""
    from keras_edram.datasets import cluttered_mnist

    data = cluttered_mnist(
        "test", source=source, image_size=side, density=DENSITY
    )
    wrong, by_glimpse = 0, 0
    for start in range(0, images, BATCH_SIZE):
        stop = min(start + BATCH_SIZE, images)
        pictures, targets = data.arrays(stop, start)
        labels = targets["labels"][:, 0]  # (n,)
        outputs = model.predict_on_batch(pictures)
        answers = np.asarray(model.decode(outputs)["labels"])[:, 0]
        glimpses = outputs["labels"][:, 0].argmax(-1)  # (n, N)
        wrong += (answers != labels).sum()
        by_glimpse += (glimpses != labels[:, None]).sum(axis=0)
    return wrong / images, (by_glimpse / images).tolist()


def milliseconds(model, sides, rounds, calls):
    """`{side: [milliseconds of each round]}` of one picture."""
    from keras_edram.datasets import cluttered_mnist

    pictures = {
        side: cluttered_mnist("test", image_size=side, density=DENSITY).arrays(
            1
        )[0]
        for side in sides
    }
    for picture in pictures.values():
        for _ in range(2):
            model.read(picture)
    times = {side: [] for side in sides}
    for _ in range(rounds):
        wait_until_quiet()
        for side, picture in pictures.items():
            taken = []
            for _ in range(calls):
                start = time.perf_counter()
                model.read(picture)
                taken.append(1000 * (time.perf_counter() - start))
            times[side].append(statistics.median(taken))
    return times


def plot(rows, path):
    """Error and milliseconds over the side, as PNG."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    sides = [row["side"] for row in rows]
    figure, left = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
    left.plot(sides, [100 * row["error"] for row in rows], "o-", color="C0")
    left.set_xscale("log", base=2)
    left.set_xticks(sides, [f"{side}²" for side in sides])
    left.minorticks_off()
    left.set_xlabel("pixels of the image")
    left.set_ylabel("test error, %", color="C0")
    left.set_ylim(bottom=0)
    right = left.twinx()
    times = [row["milliseconds"] for row in rows]
    right.plot(sides, times, "s--", color="C1")
    right.set_ylabel("milliseconds a picture", color="C1")
    right.set_ylim(bottom=0, top=2 * max(times))
    figure.savefig(path, dpi=120)


def main():
    """Measures, writes, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model")
    parser.add_argument("--source", default="bundled")
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=7)
    parser.add_argument("--out", required=True)
    parser.add_argument("--plot")
    options = parser.parse_args()
    from keras_edram.presets import opening

    model = opening.open_model(options.model)
    times = milliseconds(model, options.sides, options.rounds, options.calls)
    first = times[options.sides[0]]
    rows = []
    for side in options.sides:
        error, by_glimpse = errors(model, side, options.source, options.images)
        ratios = [
            one / other for one, other in zip(times[side], first, strict=True)
        ]
        rows.append(
            {
                "side": side,
                "images": options.images,
                "error": error,
                "error_per_glimpse": by_glimpse,
                "milliseconds": round(statistics.median(times[side]), 2),
                "ratio": round(statistics.median(ratios), 3),
                "ratios": [round(min(ratios), 3), round(max(ratios), 3)],
            }
        )
        print(rows[-1], flush=True)
    results = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "model": pathlib.Path(options.model).name,
        "source": options.source,
        "density": DENSITY,
        "sides": rows,
    }
    with open(options.out, "w", encoding="utf-8") as file:
        json.dump(results, file, indent=2)
        file.write("\n")
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
