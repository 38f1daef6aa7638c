"""What the commands do; what takes long to import is imported by those."""

import json
import sys

from keras_edram.cli import printing

# Images in the figures of a run: the first four are all ones, as it happens.
DRAWN = dict(start=4, stop=9)
DRAWN_PATHS = 18
DRAWN_MANY = 2000  # images in a heat map
# The picture that crops are taken from, to the crop: 64 to 54 pixels in the
# paper's section 4.2.
CROPPED = 64 / 54


def _settings(options):
    settings = {}
    for text in options.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set must be NAME=VALUE. Received: {text!r}")
        settings[name] = value
    return settings


def train(options):
    """Trains a recipe into a run folder; started again, it goes on."""
    from keras_edram import presets, recipes, training

    settings = _settings(options)
    if options.epochs is not None:
        settings["epochs"] = options.epochs
    recipe = recipes.load(options.recipe).with_settings(settings)
    if options.weights is not None:
        recipe = presets.with_weights(recipe, options.weights)
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
    print(f"\n{printing.figures_table(results)}\n")
    printing.print_run_folder(options.out)


def quickstart(options):
    """Trains a small EDRAM, shows where it looks, and exports it.

    It takes a few minutes, and no network: the digits ship with the package.
    """
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
    print(f"\n{printing.figures_table(results)}\n\nExporting ...", flush=True)
    model = presets.open_model(out)
    saved_model = serving.export_saved_model(model, out / "saved_model")
    tflite = serving.export_tflite(model, out / "model.tflite")
    print("The SavedModel and the TFLite file agree with the model.\n")
    printing.print_run_folder(out)
    print(
        f"  {saved_model.relative_to(out)}/    for TensorFlow Serving\n"
        f"  {tflite.relative_to(out)}      for a device\n\n"
        "What to do next:\n"
        f"  keras-edram evaluate {out} --glimpses 8 --plot {out / 'fig5.png'}\n"
        f"  keras-edram predict {out} YOUR_PICTURE.png --plot answer.png\n"
        "  keras-edram recipes    longer trainings, and what they gave"
    )


def evaluate(options):
    """Errors of a model on a data set."""
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
        else printing.figures_table(figures)
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


def predict(options):
    """Reads picture files."""
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


def ensemble(options):
    """Joins trained models, of either reading order, into one."""
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


def check_data(options):
    """Lists what is wrong in a folder of pictures, and changes nothing."""
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


def export(options):
    """Writes a model for deployment."""
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


def serve(options):
    """Answers requests over HTTP, and shows a page to try the model.

    It needs the extra `serve`.
    """
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


def list_recipes(options):
    """Lists the recipes and what they gave."""
    from keras_edram import recipes

    for name in recipes.names():
        figures = recipes.results(name)
        given = (
            "not run" if figures is None else f"error {figures['error']:.2%}"
        )
        print(f"{name}: {recipes.load(name).summary}; {given}")


def table(options):
    """A paper's figures and ours, as Markdown."""
    from keras_edram import recipes, visualization

    print(recipes.table(options.paper))
    if options.plot:
        visualization.plot_curves(recipes.curves(options.paper), options.plot)


def list_presets(options):
    """Lists the trained models that ship."""
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
