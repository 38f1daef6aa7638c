"""What the commands can be told."""

import argparse
import pathlib

from keras_edram import files
from keras_edram.cli import commands
from keras_edram.cli.predicting import predict
from keras_edram.serving import registry

MODEL_HELP = "a preset, a .keras file or a run folder"


def parser():
    """The parser of all commands; `run` of what it parses carries one out."""
    parsed = argparse.ArgumentParser(
        prog="keras-edram",
        description="Models that look at an image in a few glimpses and read "
        "what they find.",
    )
    parsed.add_argument("--version", action=_Version)
    _add_debug(parsed)
    added_to = parsed.add_subparsers(required=True, metavar="COMMAND")
    for name, run, add_arguments in (
        ("quickstart", commands.quickstart, _of_quickstart),
        ("train", commands.train, _of_train),
        ("evaluate", commands.evaluate, _of_evaluate),
        ("predict", predict, _of_predict),
        ("export", commands.export, _of_export),
        ("serve", commands.serve, _of_serve),
        ("ensemble", commands.ensemble, _of_ensemble),
        ("check-data", commands.check_data, _of_check_data),
        ("table", commands.table, _of_table),
        ("recipes", commands.list_recipes, _of_none),
        ("presets", commands.list_presets, _of_none),
    ):
        description = " ".join(run.__doc__.split())
        added = added_to.add_parser(
            name, help=description, description=description
        )
        # Not to forget that `--debug` stood before the command.
        _add_debug(added, default=argparse.SUPPRESS)
        added.set_defaults(run=run, written={})
        add_arguments(added)
    return parsed


def _of_quickstart(added):
    """The arguments of `quickstart`."""
    added.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("runs/quickstart")
    )
    _add_settings(added)


def _of_train(added):
    """The arguments of `train`."""
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
        "--mixed-precision",
        action="store_true",
        help="compute in bfloat16, which only GPUs and processors with "
        "avx512_bf16 or amx_bf16 are fast at",
    )
    added.add_argument(
        "--strategy",
        choices=("mirrored",),
        help="train on all GPUs of the machine, each with a part of the batch",
    )
    _add_settings(added)


def _of_evaluate(added):
    """The arguments of `evaluate`."""
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
        help="of a model with a policy, such as RAM: average this many drawn "
        "paths; 0 takes the mean policy",
    )
    added.add_argument(
        "--crops",
        type=int,
        help="average this many crops of each image, which must be larger than "
        "the model's, as by --set image_size=64",
    )
    _add_written(
        added,
        "--plot",
        files.FIGURE_SUFFIXES,
        "draw the error over the number of glimpses",
    )
    _add_written(
        added,
        "--coverage",
        files.FIGURE_SUFFIXES,
        "draw the error that is left when unsure answers are refused",
    )
    _add_written(
        added,
        "--anytime",
        files.FIGURE_SUFFIXES,
        "draw error and glimpses over the confidence to stop looking at",
    )
    _add_written(
        added,
        "--heat-map",
        files.FIGURE_SUFFIXES,
        "draw how often it looked where",
    )
    _add_written(added, "--out", (".json",), "write JSON to a file")
    added.add_argument(
        "--json", action="store_true", help="print JSON, not a table"
    )


def _of_predict(added):
    """The arguments of `predict`."""
    _add_model(added)
    added.add_argument(
        "images",
        type=pathlib.Path,
        nargs="+",
        metavar="IMAGE",
        help="a picture, or a folder: all pictures in it and in its folders "
        "that are not hidden, sorted. What is named twice is read twice; a "
        "name that begins with - is written ./-NAME",
    )
    added.add_argument(
        "--invert",
        action="store_true",
        help="turn light and dark round, for a model that has learnt from "
        "light on dark and ink on paper",
    )
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
    _add_written(
        added, "--plot", files.FIGURE_SUFFIXES, "draw where the model looked"
    )
    added.add_argument(
        "--json",
        action="store_true",
        help="print a JSON array, with an error in place of an answer for what "
        "cannot be read",
    )


def _of_export(added):
    """The arguments of `export`: of each format its own, by their table."""
    formats = registry.FORMATS.values()
    titles = [
        f"{format.name}: {format.title}"
        + (f"; needs {format.needs}" if format.needs else "")
        for format in formats
    ]
    _add_model(added)
    added.add_argument(
        "--format",
        choices=tuple(registry.FORMATS),
        required=True,
        help=". ".join(titles),
    )
    added.add_argument(
        "--out",
        type=pathlib.Path,
        required=True,
        help="the file, with the suffix of its format, or the folder; with "
        "--report, a folder",
    )
    _add_overwrite(added)
    for flag, option in registry.options().items():
        # Without a default: only what was given reaches the writer.
        added.add_argument(
            flag,
            dest=f"export_{option.argument}",
            default=argparse.SUPPRESS,
            help=f"of {' and '.join(registry.takers(flag))}: {option.help}",
            **option.arguments,
        )
    reported = [format.name for format in formats if format.variants]
    added.add_argument(
        "--report",
        action="store_true",
        help=f"of {' and '.join(reported)}: write all that its options offer, "
        "run it on test images, and write a table of sizes, errors and "
        "milliseconds",
    )
    added.add_argument(
        "--images",
        type=int,
        help="how many test images of a report, 2000 by default",
    )
    _add_recipe(added)


def _of_serve(added):
    """The arguments of `serve`."""
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
    added.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name by which the server is asked, as by a proxy; can "
        "be given more than once",
    )
    added.add_argument(
        "--deadline",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="to wait for a request, and again for its answer; half of that "
        "to decode its pictures",
    )


def _of_ensemble(added):
    """The arguments of `ensemble`."""
    added.add_argument("models", nargs="+", metavar="MODEL", help=MODEL_HELP)
    _add_written(added, "--out", (".keras",), "of the ensemble", required=True)
    _add_overwrite(added)


def _of_check_data(added):
    """The arguments of `check-data`."""
    added.add_argument("directory", type=pathlib.Path, metavar="DIR")
    added.add_argument(
        "--format",
        metavar="NAME",
        help="of the annotations: coco, yolo and so on; found out by itself if "
        "there is only one",
    )
    _add_written(
        added,
        "--sheet",
        files.FIGURE_SUFFIXES,
        "draw pictures with their boxes in the order of reading",
    )


def _of_table(added):
    """The arguments of `table`."""
    added.add_argument("paper", help="one of those that `recipes` lists")
    _add_written(
        added,
        "--plot",
        files.FIGURE_SUFFIXES,
        "draw the validation error over the images seen",
    )
    _add_written(
        added,
        "--plot-costs",
        files.FIGURE_SUFFIXES,
        "draw the test error over the multiply-adds of an image, of the first "
        "table's models after the number of training images that most had",
    )


def _of_none(added):
    """A command without arguments has none to add."""


def check_written(options):
    """Raises unless what is to be written can be, before the work begins.

    No file may be written twice, or over a file that is read; and no figure
    over a photo, or as a picture among those that are read.
    """
    seen = []
    for name, suffixes in options.written.items():
        path = getattr(options, name)
        if path is None:
            continue
        option = f"--{name.replace('_', '-')}"
        files.check_file(files.with_suffix(path, suffixes))
        is_figure = suffixes == files.FIGURE_SUFFIXES
        for other in (*_read(options), *seen):
            other = pathlib.Path(other).resolve()
            place = path.resolve()
            is_within = other in place.parents
            # A new picture would be read, the next time.
            is_read = path.suffix.lower() in files.PICTURE_SUFFIXES
            if other == place or is_within and (path.exists() or is_read):
                raise ValueError(
                    f"{option} must be a file that is not read, nor in a "
                    "folder that is, nor written by another option. Received: "
                    f"{str(path)!r}"
                )
        if is_figure and path.exists() and not files.is_drawn(path):
            raise ValueError(
                f"{option} must be a new file, or a figure that this package "
                f"drew. Received: {str(path)!r}, which is another's"
            )
        seen.append(path)


def _read(options):
    """Files and folders that a command reads; not the folder of a model."""
    read = [getattr(options, "model", None), *getattr(options, "models", [])]
    read = [name for name in read if name and pathlib.Path(name).is_file()]
    if isinstance(getattr(options, "images", None), list):
        read += options.images
    for name in ("source", "directory"):
        folder = getattr(options, name, None)
        if folder and pathlib.Path(folder).is_dir():  # it may be a name
            read.append(folder)
    return read


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


def _add_written(parser, option, suffixes, help, **arguments):
    """An option that names a file to write, see `check_written`."""
    parser.add_argument(
        option, type=pathlib.Path, metavar="FILE", help=help, **arguments
    )
    name = option.strip("-").replace("-", "_")
    parser.get_default("written")[name] = suffixes


def _add_overwrite(parser):
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace what was written there before",
    )


def _add_debug(parser, **arguments):
    parser.add_argument(
        "--debug",
        action="store_true",
        help="show where in the program an error came about, and what other "
        "libraries warn of",
        **arguments,
    )


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
