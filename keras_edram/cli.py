"""The command `keras-edram`: parses its arguments, calls the rest, prints."""

import argparse
import json
import os
import pathlib
import sys

# Before TensorFlow is imported: its notes on the machine help nobody here.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def main(arguments=None):
    """Runs the command; its exit status is 2 for anything wrong."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, OSError, RuntimeError) as error:
        message = " ".join(str(error).split())
        print(f"keras-edram: error: {message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("keras-edram: interrupted", file=sys.stderr)
        return 130
    return 0


def _parser():
    parser = argparse.ArgumentParser(
        prog="keras-edram",
        description="Models that look at an image in a few glimpses and read "
        "what they find.",
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, run, description):
        added = commands.add_parser(
            name, help=description, description=description
        )
        added.set_defaults(run=run)
        return added

    added = command(
        "quickstart",
        _quickstart,
        "Trains a small EDRAM on the digits that ship with the package, shows "
        "where it looks, and exports it: a few minutes, no network.",
    )
    added.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("runs/quickstart")
    )
    _add_settings(added)

    added = command(
        "train",
        _train,
        "Trains a recipe into a run folder; started again, it goes on.",
    )
    added.add_argument("recipe", help="one of those that `recipes` lists")
    added.add_argument("--out", type=pathlib.Path, required=True)
    added.add_argument(
        "--digits", choices=("bundled", "tfds"), default="bundled"
    )
    added.add_argument("--epochs", type=int)
    added.add_argument(
        "--jit", action="store_true", help="compile the step with XLA"
    )
    added.add_argument(
        "--mixed-precision", action="store_true", help="compute in bfloat16"
    )
    _add_settings(added)

    added = command("evaluate", _evaluate, "Errors of a model on a data set.")
    _add_model(added)
    added.add_argument(
        "--dataset", choices=("cluttered_mnist",), default="cluttered_mnist"
    )
    added.add_argument(
        "--digits", choices=("bundled", "tfds"), default="bundled"
    )
    added.add_argument(
        "--split", choices=("train", "validation", "test"), default="test"
    )
    added.add_argument(
        "--protocol",
        choices=("held_out", "released_script"),
        default="held_out",
    )
    added.add_argument(
        "--images", type=int, help="how many; as many as there are digits"
    )
    added.add_argument("--seed", type=int, default=0)
    added.add_argument(
        "--glimpses", type=int, help="look this often at each target"
    )
    added.add_argument(
        "--plot",
        type=pathlib.Path,
        metavar="FILE",
        help="draw the error over the number of glimpses",
    )
    added.add_argument(
        "--json", action="store_true", help="print JSON, not a table"
    )

    added = command("predict", _predict, "Reads picture files.")
    _add_model(added)
    added.add_argument("images", type=pathlib.Path, nargs="+", metavar="IMAGE")
    added.add_argument(
        "--plot",
        type=pathlib.Path,
        metavar="FILE",
        help="draw where the model looked",
    )
    added.add_argument(
        "--json", action="store_true", help="print JSON, not a table"
    )

    added = command("export", _export, "Writes a model for deployment.")
    _add_model(added)
    added.add_argument(
        "--format", choices=("saved_model", "tflite"), required=True
    )
    added.add_argument(
        "--out",
        type=pathlib.Path,
        required=True,
        help="the folder NAME of NAME/VERSION, or the .tflite file",
    )
    added.add_argument(
        "--model-version",
        type=int,
        metavar="VERSION",
        default=1,
        help="of a SavedModel",
    )
    added.add_argument(
        "--quantize",
        choices=("float16", "int8"),
        help="of TFLite: half the size, or a quarter",
    )

    command("recipes", _recipes, "Lists the recipes and what they gave.")
    command("presets", _presets, "Lists the trained models that ship.")
    return parser


class _Version(argparse.Action):
    """Prints the version; imported only then."""

    def __init__(self, **kwargs):
        super().__init__(nargs=0, help="print the version", **kwargs)

    def __call__(self, parser, namespace, values, option_string=None):
        from importlib.metadata import version

        print(f"keras-edram {version('keras-edram')}")
        parser.exit()


def _add_model(parser):
    parser.add_argument("model", help="a preset, a .keras file or a run folder")


def _add_settings(parser):
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a setting of the recipe; can be given more than once",
    )


def _settings(options):
    settings = {}
    for text in options.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set must be NAME=VALUE. Received: {text!r}")
        settings[name] = value
    return settings


def _train(options):
    from keras_edram import recipes, training

    settings = _settings(options)
    if options.epochs is not None:
        settings["epochs"] = options.epochs
    recipe = recipes.load(options.recipe).recipe.with_settings(settings)
    results = training.train(
        recipe,
        options.out,
        name=options.recipe,
        source=options.digits,
        jit=options.jit,
        mixed_precision=options.mixed_precision,
    )
    _print_results(results)
    print(f"\nThe run is in {options.out}: model.keras, history.csv, ...")
