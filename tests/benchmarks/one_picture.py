"""One picture: `model.read` beside TFLite and ONNX Runtime, and cold starts.

python tests/benchmarks/one_picture.py [--rounds 10] [--before FOLDER]
    [--out FILE.json]

Every preset reads the same picture in turns: by `model.read`, by its TFLite
file and by its ONNX file, each at one thread. Then fresh processes take turns:
`import tensorflow`, and the command `predict` of one picture. With `--before`,
a checkout of other code, the TFLite files of both are run in turns too.

Needs the extras `onnx` and `tflite`; what is not installed is left out.
"""

import argparse
import collections
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = pathlib.Path(__file__).parents[2]
PRESET = "edram_small_cluttered_mnist"
CALLS_A_TURN = 8
# Of one signature, without the comparison that an export ends with.
EXPORT = """
import sys
from keras_edram.presets import opening
from keras_edram.serving import quantization, signatures
model = signatures.deployable(opening.open_model(sys.argv[1]))
for path, quantize in zip(sys.argv[2:], (None, "int8")):
    content = quantization.convert(model, ["serving_default"], quantize)
    open(path, "wb").write(content)
"""


def export(code, preset, *paths):
    """TFLite files, float32 and int8, of a preset by the package in `code`."""
    subprocess.run(
        [sys.executable, "-c", EXPORT, preset, *map(str, paths)],
        cwd=code,  # which Python looks into first
        env={**os.environ, "PYTHONPATH": str(code)},
        capture_output=True,
        check=True,
    )


def milliseconds(runs, rounds):
    """The best call of each turn, by name: median, least and most."""
    for run in runs.values():
        for _ in range(3):  # the second is traced
            run()
    turns = collections.defaultdict(list)
    for _ in range(rounds):
        for name, run in runs.items():
            took = []
            for _ in range(CALLS_A_TURN):
                start = time.perf_counter()
                run()
                took.append(1000 * (time.perf_counter() - start))
            turns[name].append(min(took))
    return {name: summary(values) for name, values in turns.items()}


def summary(values):
    """Median, least and most."""
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
    }


def tflite(path, images):
    """What runs a TFLite file once."""
    from keras_edram.serving.interpreter import open_tflite

    run, _ = open_tflite(path, num_threads=1)
    return lambda: run("serving_default", images=images)


def onnx(model, folder, images):
    """What runs a model's ONNX file once."""
    from keras_edram.serving import formats, signatures
    from keras_edram.serving import onnx as onnx_files

    onnx, converter, onnxruntime = formats.require(
        "ONNX", "onnx", "onnx", "tf2onnx", "onnxruntime"
    )
    # Not `export_onnx`, which compares for half a minute.
    model = signatures.deployable(model)
    path = folder / "model.onnx"
    onnx.save(onnx_files._convert(model, converter.convert), path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options)
    return lambda: session.run(None, {"images": images})


def operators(path):
    """How many operators a TFLite file has, by their names."""
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(path))
    return dict(
        collections.Counter(
            flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex)
            for graph in model.subgraphs
            for operator in graph.operators
        ).most_common()
    )


def of_preset(preset, folder, rounds):
    """Milliseconds of each way to read one picture."""
    import numpy as np

    from keras_edram.presets import opening

    model = opening.open_model(preset)
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (1, *model.image_shape), "uint8")
    images = image.astype("float32")
    runs = {"read": lambda: model.read(image)}
    path = folder / "model.tflite"
    export(ROOT, preset, path)
    try:
        runs["tflite"] = tflite(path, images)
        runs["onnx"] = onnx(model, folder, images)
    except RuntimeError as error:
        print(f"Left out: {error}", file=sys.stderr)
    figures = milliseconds(runs, rounds)
    others = [figures[name]["median"] for name in figures if name != "read"]
    if others:
        figures["read_to_faster"] = figures["read"]["median"] / min(others)
    return figures


def tflite_before_and_after(before, folder, rounds):
    """The files of other code and of this one, in turns."""
    import numpy as np

    paths = {
        code: [folder / f"{code}_{kind}.tflite" for kind in ("float32", "int8")]
        for code in ("before", "after")
    }
    export(before, PRESET, *paths["before"])
    export(ROOT, PRESET, *paths["after"])
    images = np.random.default_rng(0).uniform(0, 255, (1, 100, 100, 1))
    images = images.astype("float32")
    files = [*paths["before"], *paths["after"]]
    figures = milliseconds(
        {path.stem: tflite(path, images) for path in files}, rounds
    )
    for kind in ("float32", "int8"):
        figures[f"{kind}_ratio"] = (
            figures[f"after_{kind}"]["median"]
            / figures[f"before_{kind}"]["median"]
        )
    figures["operators"] = {path.stem: operators(path) for path in files}
    return figures


def cold_starts(folder, rounds):
    """Seconds of fresh processes, of the wall and of the processor."""
    import numpy as np
    from PIL import Image

    picture = folder / "picture.png"
    Image.fromarray(np.zeros((100, 100), "uint8")).save(picture)
    commands = {
        "import tensorflow": ["-c", "import tensorflow"],
        "predict": ["-m", "keras_edram.cli", "predict", PRESET, str(picture)],
    }
    wall, cpu = (collections.defaultdict(list) for _ in range(2))
    for turn in range(rounds + 1):
        for name, arguments in commands.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, *arguments],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                check=True,
            )
            if not turn:  # which fills the disk's cache
                continue
            wall[name].append(time.perf_counter() - start)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu[name].append(
                after.ru_utime
                + after.ru_stime
                - before.ru_utime
                - before.ru_stime
            )
    return {
        kind: {
            **{name: summary(values) for name, values in seconds.items()},
            "ratio": summary(
                [
                    b / a
                    for a, b in zip(
                        seconds["import tensorflow"],
                        seconds["predict"],
                        strict=True,
                    )
                ]
            ),
        }
        for kind, seconds in (("wall", wall), ("processor", cpu))
    }


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--before", type=pathlib.Path)
    parser.add_argument("--presets", nargs="+")
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    from keras_edram import presets

    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        figures["cold_starts"] = cold_starts(
            folder, max(3, options.rounds // 2)
        )
        figures["milliseconds"] = {
            preset: of_preset(preset, folder, options.rounds)
            for preset in options.presets or presets.names()
        }
        if options.before:
            figures["tflite"] = tflite_before_and_after(
                options.before, folder, options.rounds
            )
    print(json.dumps(figures, indent=2))
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
