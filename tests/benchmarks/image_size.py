"""What a larger image costs: latency and memory by the side of the image.

    python tests/benchmarks/image_size.py --out FILE.json --plot FILE.png

One square grey image from 100x100 to 3200x3200, a tensor of uint8 that is
already in memory; on the CPU, in one `tf.function`. Three models answer: EDRAM
with the paper's sizes ("base"), with a quarter of the widths ("small"), and a
plain convolutional network that sees all of the image, whose cost must grow
with the number of pixels. EDRAM is timed as a whole, from the uint8 pixels on:
with the image pyramid, the context network and its six glimpses.

Latency: all models at all sides are in one process and take turns of a few
calls, round by round, because the speed of a machine drifts; before each round
the command waits until nothing else runs. What counts is the ratio to the same
model at the smallest side, taken within each round.

Memory: each model at each side in a fresh process. It is the largest resident
memory from just before the image is made until after some calls, beyond what
was resident just before; the model was built and its graph traced by then. So
the image is part of it, and so are the threads, kernels and optimised graph
that TensorFlow makes at a first call, alike at all sides. The weights are not.
It is read from `/proc`, so this part needs Linux.
"""

import argparse
import datetime
import importlib.metadata
import json
import multiprocessing
import os
import pathlib
import platform
import statistics
import time

from edram_training_step import multiply_adds, processor, wait_until_quiet

SIDES = (100, 200, 400, 800, 1600, 3200)
MODELS = ("base", "small", "convolutional")
TITLES = ("EDRAM, base", "EDRAM, small", "convolutional network")
TARGET = 1.5  # of the latency at the smallest side, at the largest
FILTERS = (16, 32, 48, 64, 96)  # of the convolutional network
NUM_CLASSES = 10
MEMORY_CALLS = 3
PROCESS = pathlib.Path("/proc/self")


def convolutional_network(side):
    """Five blocks of a 3x3 convolution and a pooling, their mean, a label.

    Args:
        side: Integer, of the image.

    Returns:
        A Keras model and its multiplications for one image.
    """
    from keras import Input, Model, layers

    images = Input((side, side, 1), dtype="uint8")
    features = layers.Rescaling(1 / 255)(images)
    products = 0
    for filters in FILTERS:
        _, height, width, channels = features.shape
        # A convolution takes one product for each weight and pixel it makes.
        products += height * width * 9 * channels * filters
        features = layers.Conv2D(filters, 3, padding="same", activation="relu")(
            features
        )
        features = layers.MaxPooling2D(2)(features)
    features = layers.GlobalAveragePooling2D()(features)
    products += FILTERS[-1] * NUM_CLASSES
    return Model(images, layers.Dense(NUM_CLASSES)(features)), products


def make_model(name, side):
    """The model of that name for images of that side, and its products."""
    import keras

    from keras_edram.models.edram import EDRAM, SMALL_SIZES

    keras.utils.set_random_seed(0)
    if name == "convolutional":
        return convolutional_network(side)
    sizes = {"base": {}, "small": SMALL_SIZES}[name]
    model = EDRAM(image_shape=(side, side, 1), **sizes)
    return model, multiply_adds(model)


def make_answer(model, side):
    """The model as a traced function of one uint8 image."""
    import tensorflow as tf

    @tf.function(
        input_signature=[tf.TensorSpec((1, side, side, 1), tf.uint8)],
        autograph=False,
    )
    def answer(images):
        return model(images, training=False)

    answer.get_concrete_function()
    return answer


def make_image(side):
    """Plain grey: what an image shows does not change what it costs."""
    import tensorflow as tf

    # Made in place: a copy in NumPy would count as memory too.
    return tf.fill((1, side, side, 1), tf.constant(128, tf.uint8))


def peak_memory(name, side):
    """In a fresh process: megabytes that the calls take, see the top."""

    def megabytes(field):
        status = (PROCESS / "status").read_text()
        return int(status.split(f"{field}:")[1].split()[0]) * 1024 / 1e6

    model, _ = make_model(name, side)
    answer = make_answer(model, side)
    # Linux: the largest so far is forgotten. What imports needed for a moment
    # would hide what a small image needs.
    (PROCESS / "clear_refs").write_text("5")
    before = megabytes("VmRSS")
    image = make_image(side)
    for _ in range(MEMORY_CALLS):
        answer(image)
    return megabytes("VmHWM") - before


def measure_memory(sides):
    """`{model: {side: megabytes}}`, each from a process of its own."""
    pairs = [(name, side) for name in MODELS for side in sides]
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:
        peaks = pool.starmap(peak_memory, pairs, chunksize=1)
    by_model = {name: {} for name in MODELS}
    for (name, side), peak in zip(pairs, peaks, strict=True):
        by_model[name][str(side)] = round(peak, 1)
    return by_model


def measure_latency(sides, rounds, calls):
    """Milliseconds of a call, and ratios to the smallest side.

    Args:
        sides: Integers, ascending.
        rounds: Integer, turns of each model at each side.
        calls: Integer, calls of one turn.

    Returns:
        Dictionary of figures, by model and side; from the quiet rounds, or
        from all of them where none was quiet.
    """
    parameters, products, turns = {}, {}, {}
    for name in MODELS:
        products[name] = {}
        for side in sides:
            model, products[name][str(side)] = make_model(name, side)
            parameters[name] = model.count_params()
            turns[name, side] = make_answer(model, side), make_image(side)
    for answer, image in turns.values():
        answer(image)  # the first call is slow
    print("models built", flush=True)
    rows = []
    for index in range(rounds):
        quiet = wait_until_quiet()
        print(f"round {index + 1} of {rounds}, quiet: {quiet}", flush=True)
        row = {
            turn: milliseconds(*function, calls)
            for turn, function in turns.items()
        }
        rows.append((quiet, row))
    counted = [row for quiet, row in rows if quiet] or [row for _, row in rows]

    def by_model(figure):
        return {
            name: {
                str(side): spread(figure(row, name, side) for row in counted)
                for side in sides
            }
            for name in MODELS
        }

    return {
        "parameters": parameters,
        "multiply_adds": products,
        "quiet_rounds": sum(quiet for quiet, _ in rows),
        "milliseconds": by_model(lambda row, *turn: row[turn]),
        "ratio_to_smallest": by_model(
            lambda row, name, side: row[name, side] / row[name, sides[0]]
        ),
    }


def milliseconds(answer, image, calls):
    """Of one call of a turn, whose first one is not counted.

    The model that had its turn before left its own data in the cache.
    """
    answer(image)
    start = time.perf_counter()
    for _ in range(calls):
        answer(image)
    return (time.perf_counter() - start) / calls * 1000


def spread(values):
    values = list(values)
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }


def plot(figures, path):
    """Draws the ratios and the memory over the side of the image.

    Args:
        figures: Dictionary, what the command writes as JSON.
        path: `pathlib.Path` of the PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    sides = figures["sides"]
    figure = Figure(figsize=(10, 4.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    latency, memory = figure.subplots(1, 2)
    grey = "0.45"
    for title, name in zip(TITLES, MODELS, strict=True):
        ratios = [
            figures["ratio_to_smallest"][name][str(side)] for side in sides
        ]
        (line,) = latency.plot(
            sides, [ratio["median"] for ratio in ratios], "o-", label=title
        )
        latency.fill_between(
            sides,
            [ratio["min"] for ratio in ratios],
            [ratio["max"] for ratio in ratios],
            color=line.get_color(),
            alpha=0.2,
            linewidth=0,
        )
        memory.plot(
            sides,
            [figures["peak_megabytes"][name][str(side)] for side in sides],
            "o-",
            label=title,
        )
    pixels = [(side / sides[0]) ** 2 for side in sides]
    latency.plot(sides, pixels, ":", color=grey, label="number of pixels")
    latency.axhline(TARGET, color=grey, linestyle="--", linewidth=1)
    latency.annotate(
        f"target for EDRAM, {TARGET:g}",
        (sides[-1], TARGET),
        xytext=(-60, 2),
        textcoords="offset points",
        horizontalalignment="right",
        verticalalignment="bottom",
        fontsize="small",
        color=grey,
    )
    latency.set_title(f"latency, relative to {sides[0]}x{sides[0]}")
    memory.set_title("peak memory, MB")
    for axis in (latency, memory):
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.xaxis.set_major_locator(FixedLocator(sides))
        axis.xaxis.set_minor_locator(NullLocator())
        for each in (axis.xaxis, axis.yaxis):
            each.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axis.set_xlabel("side of the image, pixels")
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    latency.legend(frameon=False, loc="upper left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--calls", type=int, default=5, help="in a turn")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--plot", type=pathlib.Path)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    sides = sorted(options.sides)
    memory = measure_memory(sides)  # before this process becomes large
    figures = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {processor()}",
        "versions": {
            "python": platform.python_version(),
            **{
                name: importlib.metadata.version(name)
                for name in ("tensorflow", "keras", "numpy")
            },
        },
        "sides": sides,
        "rounds": options.rounds,
        "calls_in_a_turn": options.calls,
        **measure_latency(sides, options.rounds, options.calls),
        "peak_megabytes": memory,
    }
    for name in MODELS:
        for side in sides:
            ratio = figures["ratio_to_smallest"][name][str(side)]
            spent = figures["milliseconds"][name][str(side)]
            print(
                f"{name:14} {side:5} {spent['median']:9.2f} ms  "
                f"{ratio['median']:8.2f} times "
                f"({ratio['min']:.2f} to {ratio['max']:.2f})  "
                f"{memory[name][str(side)]:8.1f} MB"
            )
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(figures, indent=2) + "\n")
    if options.plot:
        plot(figures, options.plot)


if __name__ == "__main__":
    main()
