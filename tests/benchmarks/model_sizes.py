"""Counts what the models of the EDRAM paper's Table 3 cost.

    python tests/benchmarks/model_sizes.py [--out FOLDER]

It writes a file for each, with its parameters and multiply-adds of an image,
by default to the results of the recipes, from which `keras-edram table edram`
is printed.
"""

import argparse
import pathlib

import keras

from keras_edram import files
from keras_edram.costs import costs
from keras_edram.recipes import _tables, model_sizes


def main():
    """Counts, writes, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out", type=pathlib.Path, default=_tables.RESULTS_FOLDER
    )
    options = parser.parse_args()
    for name, make in model_sizes.MODELS.items():
        keras.utils.clear_session()
        found = costs(make())
        files.write_json(options.out / f"{name}.json", found)
        print(name, found, flush=True)


if __name__ == "__main__":
    main()
