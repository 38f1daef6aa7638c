"""What the commands can be told."""

import argparse
import pathlib

from keras_edram.cli import commands

MODEL_HELP = "a preset, a .keras file or a run folder"


def parser():
    """The parser of all commands; `run` of what it parses carries one out."""
    parsed = argparse.ArgumentParser(
        prog="keras-edram",
        description="Models that look at an image in a few glimpses and read "
        "what they find.",
    )
    parsed.add_argument("--version", action=_Version)
    added_to = parsed.add_subparsers(required=True, metavar="COMMAND")

    def command(name, run):
        description = " ".join(run.__doc__.split())
        added = added_to.add_parser(
            name, help=description, description=description
        )
        added.set_defaults(run=run)
        return added

    added = command("quickstart", commands.quickstart)
    added.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("runs/quickstart")
    )
    _add_settings(added)

    added = command("train", commands.train)
    added.add_argument("recipe", help="one of those that `recipes` lists")
    added.add_argument("--out", type=pathlib.Path, required=True)
    _add_source(added)
    added.add_argument(
        "--weights",
        metavar="MODEL",
        help="begin with those of a trained model that fit: " + MODEL_HELP,
    )
    added.add_argument("--epochs", type=int)
    added.add_argument(
        "--jit", action="store_true", help="compile the step with XLA"
    )
    added.add_argument(
        "--mixed-precision", action="store_true", help="compute in bfloat16"
    )
    added.add_argument(
        "--strategy",
        choices=("mirrored",),
        help="train on all GPUs of the machine, each with a part of the batch",
    )
    _add_settings(added)

    added = command("evaluate", commands.evaluate)
    _add_model(added)
    _add_recipe(added)
    added.add_argument(
        "--split", choices=("train", "validation", "test"), default="test"
    )
    added.add_argument(
        "--images", type=int, help="how many; as many as there are pictures"
    )
    added.add_argument(
        "--glimpses", type=int, help="look this often at each target"
    )
    added.add_argument(
        "--rollouts",
        type=int,
        default=0,
        help="of RAM: average this many drawn paths; 0 takes the mean policy",
    )
    added.add_argument(
        "--crops",
        type=int,
        help="average this many crops of each image, which must be larger than "
        "the model's, as by --set image_size=64",
    )
    added.add_argument(
        "--plot",
        type=pathlib.Path,
        metavar="FILE",
        help="draw the error over the number of glimpses",
    )
    added.add_argument(
        "--coverage",
        type=pathlib.Path,
        metavar="FILE",
        help="draw the error that is left when unsure answers are refused",
    )
    added.add_argument(
        "--anytime",
        type=pathlib.Path,
        metavar="FILE",
        help="draw error and glimpses over the confidence to stop looking at",
    )
    added.add_argument(
        "--heat-map",
        type=pathlib.Path,
        metavar="FILE",
        help="draw how often it looked where",
    )
    added.add_argument(
        "--out", type=pathlib.Path, metavar="FILE", help="write JSON to a file"
    )
    added.add_argument(
        "--json", action="store_true", help="print JSON, not a table"
    )

    added = command("predict", commands.predict)
    _add_model(added)
    added.add_argument("images", type=pathlib.Path, nargs="+", metavar="IMAGE")
    added.add_argument(
        "--refuse-below",
        type=float,
        default=0.0,
        metavar="PROBABILITY",
        help="say that you do not know when less sure than this, 0 to 1",
    )
    added.add_argument(
        "--confidence",
        type=float,
        metavar="PROBABILITY",
        help="stop looking at a picture when a glimpse is this sure, 0 to 1",
    )
    added.add_argument(
        "--max-glimpses", type=int, help="look at a picture this often at most"
    )
    added.add_argument(
        "--crops",
        type=int,
        help="average the answers to this many crops of each picture",
    )
    added.add_argument(
        "--plot",
        type=pathlib.Path,
        metavar="FILE",
        help="draw where the model looked",
    )
    added.add_argument(
        "--json", action="store_true", help="print JSON, not a table"
    )

    added = command("export", commands.export)
    _add_model(added)
    added.add_argument(
        "--format", choices=("saved_model", "tflite", "onnx"), required=True
    )
    added.add_argument(
        "--out",
        type=pathlib.Path,
        required=True,
        help="the folder NAME of NAME/VERSION, or the .tflite or .onnx file; "
        "with --report, a folder",
    )
    added.add_argument(
        "--model-version",
        type=int,
        metavar="VERSION",
        default=1,
        help="of a SavedModel",
    )
    added.add_argument(
        "--warmup",
        action="store_true",
        help="of a SavedModel: add requests that TensorFlow Serving plays when "
        "it loads it; needs the extra `tf-serving`",
    )
    added.add_argument(
        "--quantize",
        choices=("float16", "int8", "static_int8"),
        help="of TFLite: half the size, or a quarter; with static_int8 the "
        "convolutions compute in 8 bits too, in ranges measured on validation "
        "images; needs the extra `tflite`",
    )
    added.add_argument(
        "--no-steps",
        action="store_true",
        help="of TFLite: leave out the signatures `start` and `look`",
    )
    added.add_argument(
        "--report",
        action="store_true",
        help="of TFLite: write all of these, run them on test images, and "
        "write a table of sizes, errors and milliseconds",
    )
    added.add_argument(
        "--images",
        type=int,
        default=2000,
        help="how many test images of a report",
    )
    _add_recipe(added)

    added = command("serve", commands.serve)
    _add_model(added)
    added.add_argument(
        "--port", type=int, default=8501, help="0 takes any free one"
    )
    added.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen at; by default this machine alone",
    )
    added.add_argument(
        "--name", help="in URLs; by default that of the preset, or `model`"
    )

    added = command("ensemble", commands.ensemble)
    added.add_argument("models", nargs="+", metavar="MODEL", help=MODEL_HELP)
    added.add_argument(
        "--out", type=pathlib.Path, required=True, metavar="FILE.keras"
    )

    added = command("check-data", commands.check_data)
    added.add_argument("directory", type=pathlib.Path, metavar="DIR")
    added.add_argument(
        "--format",
        choices=("coco", "yolo", "voc", "csv"),
        help="found out by itself if there is only one",
    )
    added.add_argument(
        "--sheet",
        type=pathlib.Path,
        metavar="FILE",
        help="draw pictures with their boxes in the order of reading",
    )

    added = command("table", commands.table)
    added.add_argument("paper", choices=("edram", "ram"))
    added.add_argument(
        "--plot",
        type=pathlib.Path,
        metavar="FILE",
        help="draw the validation error over the images seen",
    )
    command("recipes", commands.list_recipes)
    command("presets", commands.list_presets)
    return parsed


class _Version(argparse.Action):
    """Prints the version; imported only then."""

    def __init__(self, **kwargs):
        super().__init__(nargs=0, help="print the version", **kwargs)

    def __call__(self, parser, namespace, values, option_string=None):
        from keras_edram import __version__

        print(f"keras-edram {__version__}")
        parser.exit()


def _add_model(parser):
    parser.add_argument("model", help=MODEL_HELP)


def _add_source(parser):
    parser.add_argument(
        "--source",
        help="where the data come from: bundled, tfds, or the folder of "
        "pictures of a recipe that reads one",
    )


def _add_recipe(parser):
    parser.add_argument(
        "--recipe",
        help="the recipe whose data it is; that of the model, if it is known",
    )
    _add_settings(parser)
    _add_source(parser)


def _add_settings(parser):
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a setting of the recipe; can be given more than once",
    )
