"""How long the models of the recipes look at one picture, side by side.

    python tests/benchmarks/milliseconds.py [RECIPE ...] [--rounds 10] \
        [--folder FOLDER] [--out FILE.json]

The model of each recipe, by default of all that have results, looks at one
image of its data, with new weights, in a graph that TensorFlow has compiled.
All take turns of a few calls, because the speed of a machine drifts; what
counts of a turn is its best call. By default the figures are written to the
results of the recipes, from which `keras-edram table` takes its column; what
was not timed keeps its figures there. Recipes of pictures of one's own look at
those of `--folder`; those whose data cannot be had are left out.
"""

import argparse
import datetime
import os
import pathlib
import platform

import keras
import tensorflow as tf
from edram_training_step import wait_until_quiet
from one_picture import milliseconds

from keras_edram import files, recipes
from keras_edram.recipes import _tables


def compiled_look(recipe, source):
    """A function without arguments that looks at one image."""
    data = recipe.data(recipe.settings, "validation", source)
    model = recipe.model(recipe.settings, data)
    images = tf.constant(data.arrays(1)[0])
    graph = tf.function(
        lambda images: model(images, training=False),
        input_signature=[tf.TensorSpec(images.shape, images.dtype)],
    )
    return lambda: graph(images)["labels"].numpy()


def compiled_looks(names, folder):
    """`compiled_look` of each recipe whose data can be had, by name."""
    looks = {}
    for name in names:
        recipe = recipes.load(name)
        source = recipe.sources[0] if recipe.sources else folder
        keras.utils.set_random_seed(0)
        try:
            looks[name] = compiled_look(recipe, source)
        except (ValueError, RuntimeError, OSError) as error:
            print(f"{name} is left out: {str(error).splitlines()[0]}")
    return looks


def main():
    """Measures, writes, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipes", nargs="*", metavar="RECIPE")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--folder", default=".", help="annotated pictures")
    parser.add_argument(
        "--out", type=pathlib.Path, default=_tables.MILLISECONDS
    )
    options = parser.parse_args()
    looks = compiled_looks(
        options.recipes or filter(recipes.results, recipes.names()),
        options.folder,
    )
    wait_until_quiet()
    found = milliseconds(looks, options.rounds)
    before = files.read_json(options.out) if options.out.exists() else {}
    results = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        # What has no new figures keeps those that it has.
        "milliseconds": before.get("milliseconds", {}) | found,
    }
    files.write_json(options.out, results)
    for name, taken in found.items():
        print(name, taken)


if __name__ == "__main__":
    main()
