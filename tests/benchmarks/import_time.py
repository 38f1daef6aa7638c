"""Seconds that importing `keras_edram` takes beyond importing Keras.

python tests/benchmarks/import_time.py [--rounds 7] [--out FILE.json]

Fresh processes in turns, one that imports Keras with its backend and one that
imports the package too; each tells how long its imports took.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

SCRIPT = """
import time
start = time.perf_counter()
import keras
{more}
print(time.perf_counter() - start)
"""


def seconds(more):
    """How long a fresh process needs for its imports."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(more=more)],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    seconds("import keras_edram")  # fills the disk's cache
    rounds = [
        {"keras": seconds(""), "keras_edram": seconds("import keras_edram")}
        for _ in range(options.rounds)
    ]
    beyond = [row["keras_edram"] - row["keras"] for row in rounds]
    figures = {
        "keras": statistics.median(row["keras"] for row in rounds),
        "beyond_keras": {
            "median": statistics.median(beyond),
            "min": min(beyond),
            "max": max(beyond),
        },
    }
    print(json.dumps(figures, indent=2))
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
