"""The command `keras-edram`: parses its arguments, calls the rest, prints."""

import argparse
import json
import os
import pathlib
import sys

# Images in the figures of a run: the first four are all ones, as it happens.
DRAWN = dict(start=4, stop=9)
DRAWN_PATHS = 18
DRAWN_MANY = 2000  # images in a heat map
# The picture that crops are taken from, to the crop: 64 to 54 pixels in the
# paper's section 4.2.
CROPPED = 64 / 54
MODEL_HELP = "a preset, a .keras file or a run folder"


def main(arguments=None):
    """Runs the command; its exit status is 2 for anything wrong.

    `check-data` has 1 for data that are broken.
    """
    options = _parser().parse_args(arguments)
    _load_tensorflow_quietly()
    try:
        return options.run(options) or 0
    except (ValueError, OSError, RuntimeError) as error:
        message = " ".join(str(error).split())
        print(f"keras-edram: error: {message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("keras-edram: interrupted", file=sys.stderr)
        return 130


def _load_tensorflow_quietly():
    """Imports Keras without TensorFlow's notes on the machine.

    They come from its C++ code before any setting of it counts, so standard
    error is closed to them for the time of the import.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    standard_error = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import keras  # noqa: F401

        if keras.config.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.list_physical_devices()  # looks for a GPU, and says so
    finally:
        os.dup2(standard_error, 2)
        os.close(nowhere)
        os.close(standard_error)


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
    _add_source(added)
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

    added = command("evaluate", _evaluate, "Errors of a model on a data set.")
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

    added = command("predict", _predict, "Reads picture files.")
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

    added = command("export", _export, "Writes a model for deployment.")
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

    added = command(
        "serve",
        _serve,
        "Answers requests over HTTP, and shows a page to try the model; needs "
        "the extra `serve`.",
    )
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

    added = command(
        "ensemble",
        _ensemble,
        "Joins trained models, of either reading order, into one.",
    )
    added.add_argument("models", nargs="+", metavar="MODEL", help=MODEL_HELP)
    added.add_argument(
        "--out", type=pathlib.Path, required=True, metavar="FILE.keras"
    )

    added = command(
        "check-data",
        _check_data,
        "Lists what is wrong in a folder of annotated pictures; changes "
        "nothing.",
    )
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

    added = command("table", _table, "A paper's figures and ours, as Markdown.")
    added.add_argument("paper", choices=("edram", "ram"))
    added.add_argument(
        "--plot",
        type=pathlib.Path,
        metavar="FILE",
        help="draw the validation error over the images seen",
    )
    command("recipes", _recipes, "Lists the recipes and what they gave.")
    command("presets", _presets, "Lists the trained models that ship.")
    return parser


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
    recipe = recipes.load(options.recipe).with_settings(settings)
    results = training.train(
        recipe,
        options.out,
        name=options.recipe,
        source=options.source,
        jit=options.jit,
        mixed_precision=options.mixed_precision,
        strategy=options.strategy,
    )
    _draw_run(options.out, results)
    print(f"\n{_figures_table(results)}\n")
    _print_run_folder(options.out)


def _quickstart(options):
    from keras_edram import presets, recipes, serving, training

    out = options.out
    recipe = recipes.load("quickstart").with_settings(_settings(options))
    print(
        f"Training a small EDRAM into {out}: it learns to find and read a "
        "digit in\n100x100 cluttered images. The digits ship with the package, "
        "the images are\ncomposed on the fly.\n"
    )
    results = training.train(recipe, out, name="quickstart")
    _draw_run(out, results)
    print(f"\n{_figures_table(results)}\n\nExporting ...", flush=True)
    model = presets.open_model(out)
    saved_model = serving.export_saved_model(model, out / "saved_model")
    tflite = serving.export_tflite(model, out / "model.tflite")
    print("The SavedModel and the TFLite file agree with the model.\n")
    _print_run_folder(out)
    print(
        f"  {saved_model.relative_to(out)}/    for TensorFlow Serving\n"
        f"  {tflite.relative_to(out)}      for a device\n\n"
        "What to do next:\n"
        f"  keras-edram evaluate {out} --glimpses 8 --plot {out / 'fig5.png'}\n"
        f"  keras-edram predict {out} YOUR_PICTURE.png --plot answer.png\n"
        "  keras-edram recipes    longer trainings, and what they gave"
    )


def _evaluate(options):
    import numpy as np

    from keras_edram import (
        evaluation,
        files,
        presets,
        visualization,
    )

    if options.images is not None and options.images < 1:
        raise ValueError(
            f"--images must be at least 1. Received: images={options.images}"
        )
    model = presets.open_model(options.model)
    if options.rollouts:
        _draw_rollouts(model, options.rollouts)
    recipe, experiment, source = _experiment(options)
    data = experiment.data(experiment.settings, options.split, source)
    if options.crops is None and data.image_shape != model.image_shape:
        raise ValueError(
            f"The model reads images of shape {model.image_shape}, but those "
            f"of the recipe are of another. Received: recipe={recipe!r} with "
            f"images of shape {data.image_shape}"
        )
    images, targets = data.arrays(options.images or data.num_pictures)
    looks = evaluation.look(
        model, images, options.glimpses, crops=options.crops
    )
    figures = {
        "model": options.model,
        "recipe": recipe,
        "split": options.split,
        "source": source,
        "settings": dict(experiment.settings),
        "rollouts": options.rollouts,
        "crops": options.crops,
        "parameters": model.count_params(),
        **evaluation.figures(model, looks, targets),
    }
    if options.plot:
        if "error_by_glimpse" not in figures:
            raise ValueError(
                "--plot needs one model without --crops, whose glimpses can "
                f"be told apart. Received: model={options.model!r}, "
                f"crops={options.crops}"
            )
        visualization.plot_error_per_glimpse(figures, options.plot)
    if options.heat_map:
        windows = looks["transforms"]
        if windows.ndim == 6:  # of members, one after the other
            windows = np.concatenate(windows.swapaxes(0, 1), axis=1)
        visualization.plot_heat_map(windows, options.heat_map)
    if options.coverage:
        visualization.plot_coverage(
            *evaluation.sure_and_wrong(model, looks, targets), options.coverage
        )
    if options.anytime:
        figures["anytime"] = evaluation.anytime_curve(model, images, targets)
        visualization.plot_anytime(figures["anytime"], options.anytime)
    if options.out:
        files.write_json(options.out, figures)
    print(
        json.dumps(figures, indent=2)
        if options.json
        else _figures_table(figures)
    )


def _experiment(options):
    """The recipe whose data a model is to read, and where those come from."""
    from keras_edram import presets, recipes, training

    run = presets.run_of(options.model)
    recipe, settings = options.recipe, {}
    if recipe is None:
        if run is None:
            raise ValueError(
                "--recipe must say whose data it is, for a file does not tell "
                f"how it was trained. Received: model={options.model!r}"
            )
        recipe, settings = run["recipe"], run["settings"]
    experiment = (
        recipes.load(recipe)
        .with_settings(settings)
        .with_settings(_settings(options))
    )
    source = options.source or training.default_source(experiment, run)
    return recipe, experiment, source


def _draw_rollouts(model, number):
    if not hasattr(model, "num_rollouts") or number < 0:
        raise ValueError(
            "--rollouts must be positive, and the model a RAM, whose policy "
            f"draws. Received: rollouts={number} of a {type(model).__name__}"
        )
    model.num_rollouts = number


def _predict(options):
    import numpy as np

    from keras_edram import (
        anytime,
        decoding,
        evaluation,
        presets,
        visualization,
    )
    from keras_edram.datasets import read_picture

    model = presets.open_model(options.model)
    height, width, channels = model.image_shape
    if options.crops is not None:
        height, width = round(height * CROPPED), round(width * CROPPED)
    images = np.stack(
        [
            read_picture(path, (height, width, channels))
            for path in options.images
        ]
    )
    with_budget = options.confidence, options.max_glimpses
    if with_budget == (None, None):
        looks = evaluation.look(model, images, crops=options.crops)
    elif options.crops is None:
        looks = anytime.look_until_sure(model, images, *with_budget)
    else:
        raise ValueError(
            "--confidence and --max-glimpses are for one look at a picture, "
            f"not for several crops. Received: crops={options.crops}"
        )
    answers = [
        {"file": str(path), **answer}
        for path, answer in zip(
            options.images,
            decoding.read_out(
                {**looks, **model.decode(looks)},
                model.class_names,
                options.refuse_below,
            ),
            strict=True,
        )
    ]
    if options.plot:
        visualization.plot_glimpses(
            model,
            np.stack(
                [
                    read_picture(path, model.image_shape)
                    for path in options.images
                ]
            ),
            options.plot,
            titles=[path.name for path in options.images],
            glimpses=looks if "num_glimpses" in looks else None,
        )
    if options.json:
        print(json.dumps(answers, indent=2))
        return
    for answer in answers:
        boxes = " ".join(
            "(" + ", ".join(f"{side:.3f}" for side in box) + ")"
            for box in answer["boxes"]
        )
        text = answer["sequence"]
        if text is None:
            text = "I do not know"
        elif not answer["names"]:
            text = visualization.NOTHING
        print(
            f"{answer['file']}: {text}  {answer['probability']:.1%} sure"
            + (f", at {boxes}" if boxes else "")
            + (
                f", {answer['num_glimpses']} glimpses"
                if "num_glimpses" in answer
                else ""
            )
        )


def _ensemble(options):
    from keras_edram import files, presets
    from keras_edram.models import Ensemble

    if options.out.suffix != ".keras":
        raise ValueError(
            f"--out must be a .keras file. Received: {str(options.out)!r}"
        )
    model = Ensemble([presets.open_model(where) for where in options.models])
    with files.replacing(options.out) as partial:
        model.save(partial)
    print(
        f"{options.out}: {len(model.members)} models, "
        f"{model.count_params():,} parameters"
    )


def _check_data(options):
    from keras_edram import visualization
    from keras_edram.datasets import check_pictures, read_folder

    annotations = read_folder(
        options.directory, annotation_format=options.format
    )
    problems = [*annotations.problems, *check_pictures(annotations)]
    for problem in problems:
        kind = "broken" if problem.broken else "note"
        print(f"{kind}: {problem.file}: {problem.what}")
    if options.sheet:
        visualization.plot_contact_sheet(annotations, options.sheet)
    pictures = annotations.pictures
    objects = [len(picture.labels) for picture in pictures]
    print(
        f"{len(pictures):,} pictures, {sum(objects):,} objects of "
        f"{len(annotations.class_names)} classes "
        f"({', '.join(annotations.class_names)}), at most "
        f"{max(objects, default=0)} in a picture; "
        f"{sum(problem.broken for problem in problems)} broken, "
        f"{sum(not problem.broken for problem in problems)} notes"
    )
    return 1 if any(problem.broken for problem in problems) else 0


def _export(options):
    from keras_edram import presets, serving

    for name in ("quantize", "no_steps", "report"):
        if getattr(options, name) and options.format != "tflite":
            option = name.replace("_", "-")
            raise ValueError(f"--{option} is for --format tflite")
    if options.warmup and options.format != "saved_model":
        raise ValueError("--warmup is for --format saved_model")
    model = presets.open_model(options.model)
    if options.format == "saved_model":
        path = serving.export_saved_model(
            model, options.out, options.model_version, warmup=options.warmup
        )
    elif options.format == "tflite":
        if options.report:
            return _report(options, model)
        images = None
        if options.quantize == "static_int8":
            images, _ = _data(options, "validation").arrays(100)
        path = serving.export_tflite(
            model,
            options.out,
            options.quantize,
            images=images,
            steps=not options.no_steps,
        )
    else:
        path = serving.export_onnx(model, options.out)
    print(f"{path} was written, loaded again, and agrees with the model.")


def _data(options, split):
    _, experiment, source = _experiment(options)
    return experiment.data(experiment.settings, split, source)


def _report(options, model):
    from keras_edram.serving import report

    images, targets = _data(options, "test").arrays(options.images)
    others, _ = _data(options, "validation").arrays(100)
    figures = report.report_tflite(model, options.out, images, targets, others)
    print(report.table(figures), end="")


def _serve(options):
    # KServe would take arguments of the command for its own.
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        from keras_edram import server
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f'The server lacks {error.name}: pip install "keras-edram[serve]"'
        ) from error
    finally:
        sys.argv = arguments
    server.serve(
        options.model, name=options.name, host=options.host, port=options.port
    )


def _recipes(options):
    from keras_edram import recipes

    for name in recipes.names():
        figures = recipes.results(name)
        given = (
            "not run" if figures is None else f"error {figures['error']:.2%}"
        )
        print(f"{name}: {recipes.load(name).summary}; {given}")


def _table(options):
    from keras_edram import recipes, visualization

    print(recipes.table(options.paper))
    if options.plot:
        visualization.plot_curves(recipes.curves(options.paper), options.plot)


def _presets(options):
    from keras_edram import presets

    for name in presets.names():
        figures = presets.results(name)
        print(
            f"{name}: {figures['parameters']:,} parameters, "
            f"{figures['recipe']}, error {figures['error']:.2%}"
        )


def _draw_run(out, results):
    """History, glimpses and animation of a finished run."""
    from keras_edram import (
        evaluation,
        presets,
        recipes,
        training,
        visualization,
    )

    visualization.plot_history(
        training.read_history(out / "history.csv"), out / "history.png"
    )
    settings = results["settings"]
    data = recipes.load(results["recipe"]).data(
        settings, "test", results["source"]
    )
    images, targets = data.arrays(**DRAWN)
    model = presets.open_model(out)
    visualization.plot_glimpses(
        model, images, out / "glimpses.png", labels=targets["labels"]
    )
    visualization.animate_glimpses(model, images, out / "glimpses.gif")
    images, targets = data.arrays(
        min(DRAWN_MANY, settings["test_images"] or data.num_pictures)
    )
    looks = evaluation.look(model, images)
    visualization.plot_heat_map(looks["transforms"], out / "heat_map.png")
    visualization.plot_paths(
        model,
        images[:DRAWN_PATHS],
        out / "paths.png",
        labels=targets["labels"][:DRAWN_PATHS],
    )


def _print_run_folder(out):
    print(
        f"In {out}:\n"
        "  model.keras     the model with the lowest validation error\n"
        "  results.json    its figures, and how they came about\n"
        "  history.csv     and history.png: how it learnt\n"
        "  glimpses.png    and glimpses.gif: where it looks\n"
        "  paths.png       the same as paths\n"
        "  heat_map.png    and over many images: does it depend on them?"
    )


def _figures_table(figures):
    """Errors in per cent, overlaps and spreads, for people."""
    lines = [
        f"test error     {figures['error']:.2%}   of {figures['images']:,} "
        "images, by the mean of all glimpses"
    ]
    if len(figures["error_by_length"]) > 1:
        by_length = ", ".join(
            f"{error:.2%} of {length}"
            for length, error in figures["error_by_length"].items()
        )
        lines += [
            f"by length      {by_length}",
            f"each object    {figures['label_error']:.2%}",
        ]
    refused = ", ".join(
        f"{error:.2%} in {coverage}"
        for coverage, error in figures["error_at_coverage"].items()
    )
    lines += [
        f"of the surest  {refused}",
        f"calibration    {figures['calibration_error']:.3f}   between how sure "
        "it is and how right",
        f"overlap        {figures['iou']:.3f}   of the last window with the "
        "true one",
    ]
    if "error_by_glimpse" in figures:
        lines += _glimpse_lines(figures)
    if "anytime" in figures:
        lines += ["", "stops when sure      error    glimpses"]
        lines += [
            f"{row['confidence'] or 'never':>15}   {row['error']:7.2%}   "
            f"{row['glimpses']:5.2f} ({row['share']:.0%})"
            for row in figures["anytime"]
        ]
    return "\n".join(lines)


def _glimpse_lines(figures):
    """A column for each glimpse at a target."""
    number = len(figures["iou_by_glimpse"])
    lines = [
        f"spread         {figures['spread']:.3f}   of the last window over the "
        "images, which are 2 wide",
        "",
        "glimpses           " + "".join(f"{n + 1:>8}" for n in range(number)),
    ]
    for name, key, form in (
        ("error, alone", "error_by_glimpse", "{:8.2%}"),
        ("error, mean so far", "error_by_average", "{:8.2%}"),
        ("overlap", "iou_by_glimpse", "{:8.3f}"),
        ("spread", "spread_by_glimpse", "{:8.3f}"),
    ):
        if len(figures[key]) == number:
            values = "".join(map(form.format, figures[key]))
            lines.append(f"{name:19}{values}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
