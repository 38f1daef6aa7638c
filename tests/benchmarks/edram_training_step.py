"""Speed of a training step of EDRAM, beside the same model in PyTorch.

    python tests/benchmarks/edram_training_step.py --out FILE.json

Both run on the CPU, each in a process of its own, a few steps at a time in
turns (Keras, PyTorch, Keras, ...): the speed of a machine drifts, and only
figures taken next to each other can be compared. A large matrix product is
timed in the same turns; its speed is what the machine can reach at all.

With `--beside FOLDER` the other side is the package of another checkout, and
with `--beside plain` this one without the options of the first side.

`README.md` says how to read the result.
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
import sys
import time

MATRIX_SIDE = 3072
MOST_SECONDS = 120  # that the rounds take; the first steps come before
PROCESSOR_TIMES = pathlib.Path("/proc/stat")  # in hundredths of a second
CHECKED_STEPS = 3  # whose losses must agree
# Relative, of each of them: float32 sums in another order, which Adam's first
# steps, all of the same length, amplify.
TOLERANCES = (1e-4, 1e-2, 1e-2)
HALF_TOLERANCES = (1e-2, 2e-2, 2e-2)  # of bfloat16, which has eight bits


def multiply_adds(model):
    """Multiplications of one image in a forward pass of the Keras `EDRAM`.

    Counted from shapes; each goes with one addition. What is left out takes
    time but hardly multiplies: batch normalisation, activations, pooling, the
    bilinear reads, the losses.

    Args:
        model: `keras_edram.models.edram.EDRAM`.

    Returns:
        Integer.
    """

    filters = (model.image_shape[-1], *model.context_filters)
    context, side = 0, model.context_size
    # Once an image, three "valid" convolutions that shrink it. A convolution
    # takes one product for each weight and pixel that it makes.
    for inputs, outputs, size in zip(
        filters[:-1], filters[1:], (5, 3, 3), strict=True
    ):
        side -= size - 1
        context += side * side * size * size * inputs * outputs

    # A glimpse: six 3x3 convolutions, the second and the sixth "valid";
    # poolings after the second and the fourth.
    filters = (model.image_shape[-1], *model.glimpse_filters)
    glimpse, (height, width) = 0, model.glimpse_size
    for index in range(6):
        if index in (1, 5):
            height, width = height - 2, width - 2
        glimpse += height * width * 9 * filters[index] * filters[index + 1]
        if index in (1, 3):
            height, width = height // 2, width // 2
    hidden, units = model.hidden_units, model.units
    # "What" from the last feature maps, "where" from six numbers. A dense
    # layer takes one product for each weight.
    glimpse += height * width * filters[-1] * hidden + 6 * hidden
    # Two LSTMs: four gates each, from the inputs and the last hidden state.
    glimpse += 4 * units * (hidden + units) + 4 * units * (units + units)
    # Classifier: two hidden layers and the logits.
    glimpse += units * hidden + hidden * hidden + hidden * model.num_classes
    # Emission: six numbers from the hidden state of LSTM 2.
    glimpse += units * 6
    return context + model.num_glimpses * glimpse


def training_operations(model):
    """Floating-point operations of one image in a training step.

    Two for each multiply-add, three times: the forward pass, the gradient of
    the weights and the gradient of the inputs are products of the same size.
    (The first convolution needs no gradient of its input: 0.5 % too much.)
    """
    return 2 * 3 * multiply_adds(model)


class KerasSide:
    """The package's model, stepped as `model.fit` steps it."""

    def __init__(self, sizes, batch, options):
        sys.path.insert(0, str(options["package"]))
        if options["onednn"]:
            os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
        import keras
        import numpy as np
        import tensorflow as tf

        if options["threads"]:
            intra, inter = options["threads"]
            tf.config.threading.set_intra_op_parallelism_threads(intra)
            tf.config.threading.set_inter_op_parallelism_threads(inter)
        if options["mixed_precision"]:
            keras.config.set_dtype_policy("mixed_bfloat16")

        from keras_edram.losses import LabelLoss, TransformLoss
        from keras_edram.models.edram import EDRAM

        keras.utils.set_random_seed(0)
        self.model = EDRAM(**sizes)
        # At first all windows are the same and "where" is zero, which would
        # leave nothing to compare.
        generator = np.random.default_rng(0)
        for weight in self.model.trainable_variables:
            if len(weight.shape) == 1 or "emission" in weight.path:
                change = 0.02 * generator.standard_normal(weight.shape)
                weight.assign(weight + change.astype("float32"))
        self.model.compile(
            keras.optimizers.Adam(1e-4, global_clipnorm=10.0),
            loss={"labels": LabelLoss(), "transforms": TransformLoss()},
            jit_compile=options["jit"],
        )
        images, labels, transforms = batch
        targets = {
            "labels": labels[:, None],
            "transforms": transforms[:, None],
        }
        self.batches = iter(
            tf.data.Dataset.from_tensors((images, targets)).repeat()
        )
        # What `fit` calls for each step: `train_step` in a `tf.function`.
        self.model.make_train_function()
        self.matrix = tf.random.uniform((MATRIX_SIDE, MATRIX_SIDE))
        self.product = tf.linalg.matmul

    def weights(self):
        """`{(layer, weight): array}`, whatever the layers are nested in."""
        arrays = {}
        for variable in self.model.trainable_variables:
            *layers, weight = variable.path.split("/")
            # "edram/glimpse_0/normalization/gamma" belongs to "glimpse_0".
            name = layers[2] if layers[1] == "context" else layers[1]
            name = name.removesuffix("_normalization")
            arrays[name, weight] = variable.numpy()
        return arrays

    def describe(self):
        import keras_edram

        return {
            "parameters": sum(
                w.shape.num_elements() for w in self.model.trainable_variables
            ),
            "operations": training_operations(self.model),
            "threads": os.cpu_count(),
            "package": keras_edram.__file__,
        }

    def step(self):
        logs = self.model.train_function(self.batches)
        return float(logs["loss"])

    def losses(self, count):
        """Losses of the next steps, each of its own step."""
        losses = []
        for _ in range(count):
            self.model.reset_metrics()  # else means over the steps so far
            losses.append(self.step())
        return losses


class TorchSide:
    """The same in PyTorch."""

    def __init__(self, sizes, batch):
        import edram_torch
        import torch

        self.loss = edram_torch.loss
        self.model = edram_torch.EDRAM(**sizes).train()
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), 1e-4, eps=1e-7, fused=True
        )
        self.clip = torch.nn.utils.clip_grad_norm_
        images, labels, transforms = batch
        self.images = torch.from_numpy(images).permute(0, 3, 1, 2)
        self.labels = torch.from_numpy(labels).long()
        self.transforms = torch.from_numpy(transforms)
        self.matrix = torch.rand(MATRIX_SIDE, MATRIX_SIDE)
        self.product = torch.matmul
        self.threads = torch.get_num_threads()

    def load(self, weights):
        """Takes those of a Keras side; a Keras side makes the same itself."""
        self.model.load_keras_weights(weights)

    def describe(self):
        return {
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "threads": self.threads,
        }

    def step(self):
        self.optimizer.zero_grad()
        logits, windows = self.model(self.images)
        loss = self.loss(logits, windows, self.labels, self.transforms)
        loss.backward()
        self.clip(self.model.parameters(), 10.0)
        self.optimizer.step()
        return loss.item()

    def losses(self, count):
        return [self.step() for _ in range(count)]


def serve(connection, side, arguments):
    """In a worker: answers `(method, *arguments)` until the parent ends."""
    side = (TorchSide if side == "torch" else KerasSide)(*arguments)

    def seconds(function, *inputs):
        """Of the clock, and of the processors."""
        start, busy = time.perf_counter(), time.process_time()
        function(*inputs)
        return time.perf_counter() - start, time.process_time() - busy

    def steps(count):
        return seconds(lambda: [side.step() for _ in range(count)])

    def matrix_product():
        # Reading one number waits for the product, wherever it is computed.
        return seconds(
            lambda: float(side.product(side.matrix, side.matrix)[0, 0])
        )

    own = {"steps": steps, "matrix_product": matrix_product}
    while True:
        try:
            method, *inputs = connection.recv()
        except EOFError:
            return
        function = own.get(method) or getattr(side, method)
        connection.send(function(*inputs))


class Worker:
    """A process with one side in it, kept alive between its turns."""

    def __init__(self, side, *arguments):
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(
            target=serve, args=(other, side, arguments), daemon=True
        )
        self.process.start()
        other.close()

    def __call__(self, method, *inputs):
        self.connection.send((method, *inputs))
        return self.connection.recv()


def check(keras_side, other_side, other, tolerances):
    """Both are the same model: parameters, weights, losses.

    Raises:
        RuntimeError: If they are not.
    """
    ours, theirs = keras_side("describe"), other_side("describe")
    if ours["parameters"] != theirs["parameters"]:
        raise RuntimeError(
            "Both models must have the same number of parameters. Received: "
            f"{ours['parameters']} in Keras, {theirs['parameters']} in {other}"
        )
    if other == "torch":  # a Keras side draws the same weights itself
        other_side("load", keras_side("weights"))
    ours = keras_side("losses", CHECKED_STEPS)
    theirs = other_side("losses", CHECKED_STEPS)
    for our, their, tolerance in zip(ours, theirs, tolerances, strict=True):
        if abs(our - their) > tolerance * abs(their):
            raise RuntimeError(
                "Both models must have the same losses from the same weights. "
                f"Received: {ours} in Keras, {theirs} in {other}"
            )
    return {"keras": ours, other: theirs}


def measure(sides, batch_size, rounds, burst):
    """Figures of the quiet rounds; of all of them where none was quiet.

    Args:
        sides: Name of each side, "keras" the first of two -> `Worker`.
        batch_size: Integer.
        rounds: Integer, rounds at most.
        burst: Integer, steps of each side in a round.

    Returns:
        Dictionary.
    """
    operations = sides["keras"]("describe")["operations"]
    products = 2 * MATRIX_SIDE**3
    other = list(sides)[1]
    end = time.monotonic() + MOST_SECONDS
    rows = []
    while len(rows) < rounds and (not rows or time.monotonic() < end):
        # Whatever else runs hurts one side more than the other.
        row = {"quiet": wait_until_quiet(limit=5.0)}
        for name, side in sides.items():
            seconds, busy = side("steps", burst)
            row[name] = batch_size * burst / seconds  # images/s
            row[f"{name}_busy"] = busy / burst  # s a step
        for name, side in sides.items():
            row[f"{name}_peak"] = products / side("matrix_product")[0] / 1e9
        rows.append(row)
    counted = [row for row in rows if row["quiet"]] or rows

    def spread(values):
        values = list(values)
        return {
            "median": round(statistics.median(values), 3),
            "min": round(min(values), 3),
            "max": round(max(values), 3),
        }

    def peak(row):
        return max(row["keras_peak"], row[f"{other}_peak"])

    gigas = operations / 1e9
    return {
        "keras_images_per_second": spread(row["keras"] for row in counted),
        f"{other}_images_per_second": spread(row[other] for row in counted),
        "ratio": spread(row["keras"] / row[other] for row in counted),
        # What other programs hardly disturb; waiting may count as work.
        "processor_ratio": spread(
            row[f"{other}_busy"] / row["keras_busy"] for row in counted
        ),
        "peak_gflops": spread(peak(row) for row in counted),
        "keras_share_of_peak": spread(
            row["keras"] * gigas / peak(row) for row in counted
        ),
        f"{other}_share_of_peak": spread(
            row[other] * gigas / peak(row) for row in counted
        ),
        "quiet_rounds": sum(row["quiet"] for row in rows),
        "rounds": [
            {name: round(value, 3) for name, value in row.items()}
            for row in rows
        ],
    }


def wait_until_quiet(limit=20.0):
    """Waits until other programs use hardly more than a tenth of a core.

    Args:
        limit: Float, seconds to wait at most.

    Returns:
        Boolean, whether it became quiet. Always true where the system does
        not tell.
    """
    if not PROCESSOR_TIMES.exists():
        return True

    def busy():
        times = PROCESSOR_TIMES.read_text().split("\n")[0].split()[1:9]
        user, nice, system, _, _, *interrupts = map(int, times)
        return (user + nice + system + sum(interrupts)) / 100

    end = time.monotonic() + limit
    while time.monotonic() < end:
        before = busy()
        time.sleep(0.4)
        if busy() - before <= 0.05:
            return True
    return False


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", choices=("base", "small"), default="base")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--burst", type=int, help="steps in a turn")
    parser.add_argument("--jit", action="store_true", help="Keras with XLA")
    parser.add_argument(
        "--mixed-precision", action="store_true", help="Keras in bfloat16"
    )
    parser.add_argument(
        "--onednn",
        action="store_true",
        help="TensorFlow's convolutions by oneDNN, as the command has them",
    )
    parser.add_argument(
        "--threads", type=int, nargs=2, metavar=("INTRA", "INTER")
    )
    parser.add_argument(
        "--beside",
        default="torch",
        help="`torch`, `plain`, or the folder of another checkout",
    )
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    from keras_edram.datasets import cluttered_mnist
    from keras_edram.models.edram import SMALL_SIZES

    sizes = {} if options.sizes == "base" else SMALL_SIZES
    burst = options.burst or (1 if options.sizes == "base" else 6)
    images, targets = cluttered_mnist("train").arrays(options.batch_size)
    batch = images, targets["labels"][:, 0], targets["transforms"][:, 0]

    here = pathlib.Path(__file__).parents[2]
    chosen = ("jit", "mixed_precision", "onednn", "threads")
    plain = {"package": here} | dict.fromkeys(chosen)
    ours = plain | {name: getattr(options, name) for name in chosen}
    other = {"torch": "torch", "plain": "plain"}.get(options.beside, "before")
    sides = {"keras": Worker("keras", sizes, batch, ours)}
    if other == "torch":
        sides[other] = Worker(other, sizes, batch)
    elif other == "plain":
        sides[other] = Worker(other, sizes, batch, plain)
    else:
        package = pathlib.Path(options.beside).resolve()
        sides[other] = Worker(other, sizes, batch, ours | {"package": package})
    losses = check(  # also the first, slow steps
        *sides.values(),
        other,
        HALF_TOLERANCES if options.mixed_precision else TOLERANCES,
    )
    descriptions = {name: side("describe") for name, side in sides.items()}
    packages = {
        description.get("package") for description in descriptions.values()
    }
    if other == "before" and len(packages) != 2:
        raise RuntimeError(
            "`--beside` must be the folder of another checkout. Received: "
            f"{options.beside}"
        )
    result = {
        "sizes": options.sizes,
        "batch_size": options.batch_size,
        "jit": options.jit,
        "mixed_precision": options.mixed_precision,
        "onednn": options.onednn,
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {processor()}",
        "versions": {
            "python": platform.python_version(),
            **{
                name: importlib.metadata.version(name)
                for name in ("tensorflow", "keras", "torch", "numpy")
                if name != "torch" or other == "torch"
            },
        },
        "threads": {
            name: description["threads"]
            for name, description in descriptions.items()
        },
        "parameters": descriptions["keras"]["parameters"],
        "gigaoperations_per_image": descriptions["keras"]["operations"] / 1e9,
        "first_losses": losses,
        "steps_in_a_turn": burst,
        **measure(sides, options.batch_size, options.rounds, burst),
    }
    for name, unit in (
        ("keras_images_per_second", "images/s"),
        (f"{other}_images_per_second", "images/s"),
        ("ratio", f"Keras to {other}"),
        ("processor_ratio", "the same, of processor time"),
        ("peak_gflops", "GFLOP/s"),
        ("keras_share_of_peak", "of the peak"),
        (f"{other}_share_of_peak", "of the peak"),
    ):
        spread = result[name]
        print(
            f"{name:25} {spread['median']:8.2f}  "
            f"({spread['min']:.2f} to {spread['max']:.2f}) {unit}"
        )
    print(f"{result['quiet_rounds']} of {len(result['rounds'])} rounds quiet")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=2) + "\n")


def processor():
    """The processor's name, and whether it has AVX-512."""
    path = pathlib.Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor() or platform.machine()
    lines = dict(
        map(str.strip, line.split(":", 1))
        for line in path.read_text().splitlines()
        if ":" in line
    )
    name = lines.get("model name", platform.machine())
    return name + (", AVX-512" if "avx512f" in lines.get("flags", "") else "")


if __name__ == "__main__":
    main()
