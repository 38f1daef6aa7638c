"""What the commands do; what takes long to import is imported by those."""

import collections
import json
import sys

from keras_edram.cli import printing

# Images in the figures of a run: the first four are all ones, as it happens.
DRAWN = dict(start=4, stop=9)
DRAWN_PATHS = 18
DRAWN_MANY = 2000  # images in a heat map
REPORTED_IMAGES = 2000  # of a report of exports


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
    from keras_edram import recipes, training
    from keras_edram.presets import opening

    settings = _settings(options)
    if options.epochs is not None:
        settings["epochs"] = options.epochs
    recipe = recipes.load(options.recipe).with_settings(settings)
    if options.weights is not None:
        recipe = opening.with_weights(recipe, options.weights)
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
    from keras_edram import recipes, serving, training
    from keras_edram.presets import opening

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
    model = opening.open_model(out)
    # Those of a run that ended before it was through are replaced.
    saved_model = serving.export_saved_model(
        model, out / "saved_model", overwrite=True
    )
    tflite = serving.export_tflite(model, out / "model.tflite", overwrite=True)
    print("The SavedModel and the TFLite file agree with the model.\n")
    printing.print_run_folder(out)
    print(
        f"  {saved_model.relative_to(out)}/    for TensorFlow Serving\n"
        f"  {tflite.relative_to(out)}      for a device\n"
    )
    printing.print_next_steps(out)


def evaluate(options):
    """Errors of a model on a data set, and what its answers cost."""
    from keras_edram import (
        anytime,
        costs,
        evaluation,
        files,
        reading,
        training,
    )
    from keras_edram.presets import opening

    if options.images is not None and options.images < 1:
        raise ValueError(
            f"--images must be at least 1. Received: images={options.images}"
        )
    _check_figures(options.out)
    model = opening.open_model(options.model)
    if options.rollouts:
        _draw_rollouts(model, options.rollouts)
    if options.anytime:
        anytime.check_budget(
            model,
            crops=options.crops,
            glimpses_per_target=options.glimpses,
        )
    recipe, experiment, source = _experiment(options)
    if options.split != "test":
        run = opening.run_of(options.model) or {}
        training.warn_of_source(experiment, source, run.get("source"))
    data = _read_data(options, experiment, options.split, source)
    if options.crops is None:
        _check_shape(model, data, recipe)
    images, targets = evaluation.arrays_for(
        model, data, options.images or data.num_pictures
    )
    looks = reading.look(
        model,
        images,
        glimpses_per_target=options.glimpses,
        crops=options.crops,
        batch_size=evaluation.BATCH_SIZE,
        with_patches=False,
    )
    figures = {
        "model": options.model,
        "recipe": recipe,
        "split": options.split,
        "source": source,
        "settings": dict(experiment.settings),
        "rollouts": options.rollouts,
        "crops": options.crops,
        "glimpses": options.glimpses,
        **costs.costs(model, options.glimpses, options.crops),
        **evaluation.figures(model, looks, targets),
        "temperature": model.temperature,
    }
    if options.anytime:
        figures["anytime"] = evaluation.anytime_curve(model, images, targets)
    _draw_figures(options, model, figures, looks, targets)
    if options.out:
        files.write_json(options.out, figures)
    print(
        json.dumps(figures, indent=2)
        if options.json
        else printing.figures_table(figures)
    )


def _draw_figures(options, model, figures, looks, targets):
    """Draws what `evaluate` was asked to draw."""
    import numpy as np

    from keras_edram import evaluation, visualization

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
        if model.members:  # one after the other
            windows = np.concatenate(windows.swapaxes(0, 1), axis=1)
        visualization.plot_heat_map(windows, options.heat_map)
    if options.coverage:
        visualization.plot_coverage(
            *evaluation.sure_and_wrong(model, looks, targets), options.coverage
        )
    if options.anytime:
        visualization.plot_anytime(figures["anytime"], options.anytime)


def _check_figures(path):
    """Raises if it is another's JSON file, such as annotations."""
    from keras_edram import files

    if path is None or not path.exists():
        return
    there = files.read_json(path)
    if not isinstance(there, dict) or not {"model", "error"} <= set(there):
        raise ValueError(
            "--out must be a new file, or one that `evaluate` wrote. "
            f"Received: {str(path)!r}"
        )


class _Asked(collections.UserDict):
    """Settings that remember which of them were asked for."""

    def __init__(self, settings):
        super().__init__(settings)
        self.names = set()

    def __getitem__(self, name):
        self.names.add(name)
        return super().__getitem__(name)


def _read_data(options, experiment, split, source):
    """Data of a split; raises if they do not depend on what was set."""
    settings = _Asked(experiment.settings)
    data = experiment.data(settings, split, source)
    for name in _settings(options):
        if name not in settings.names:
            raise ValueError(
                "--set must name what the data depend on, for the model is "
                f"there already: one of {sorted(settings.names)}. Received: "
                f"{name}"
            )
    return data


def _experiment(options):
    """The recipe whose data a model is to read, and where those come from."""
    from keras_edram import recipes, training
    from keras_edram.presets import opening

    run = opening.run_of(options.model)
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


def _check_shape(model, data, recipe):
    given, wanted = data.image_shape, model.image_shape
    if model.takes_any_size:
        given, wanted = given[-1], wanted[-1]
    if given != wanted:
        raise ValueError(
            f"The model reads images of shape {model.image_shape}, but those "
            f"of the recipe are of another. Received: recipe={recipe!r} with "
            f"images of shape {data.image_shape}"
        )


def _draw_rollouts(model, number):
    if not model.has_policy or number < 0:
        raise ValueError(
            "--rollouts must be positive, and the model one with a policy that "
            f"draws. Received: rollouts={number} of a {type(model).__name__}"
        )
    for reader in model.members or (model,):
        if reader.has_policy:
            reader.num_rollouts = number


def ensemble(options):
    """Joins trained models, of either reading order, into one."""
    from keras_edram import files
    from keras_edram.models import Ensemble
    from keras_edram.presets import opening

    files.check_file(options.out, overwrite=options.overwrite)
    model = Ensemble([opening.open_model(where) for where in options.models])
    with files.replacing(options.out, overwrite=options.overwrite) as partial:
        model.save(partial)
    print(
        f"{options.out}: {len(model.members)} models, "
        f"{model.count_params():,} parameters"
    )


def check_data(options):
    """Lists what is wrong in a folder of pictures, and changes nothing."""
    from keras_edram import visualization
    from keras_edram.datasets import check_pictures, read_folder
    from keras_edram.datasets.annotated.formats.entries import WHOLE

    annotations = read_folder(
        options.directory, annotation_format=options.format
    )
    problems = [*annotations.problems, *check_pictures(annotations)]
    for problem in problems:
        kind = "broken" if problem.broken else "note"
        whole = problem.file == WHOLE
        file = options.directory if whole else problem.file
        print(f"{kind}: {file}: {problem.what}")
    if options.sheet:
        visualization.plot_contact_sheet(annotations, options.sheet)
    print(printing.annotations_summary(annotations, problems))
    return 1 if any(problem.broken for problem in problems) else 0


def export(options):
    """Writes a model for deployment."""
    from keras_edram import files
    from keras_edram.presets import opening
    from keras_edram.serving import registry

    chosen = registry.FORMATS[options.format]
    given = _export_options(options, chosen)
    if chosen.suffix and not options.report:
        files.check_file(
            files.with_suffix(options.out, [chosen.suffix]),
            overwrite=options.overwrite,
        )
    model = opening.open_model(options.model)
    if options.report:
        return _report(options, chosen, model)
    if chosen.wants_images(**given):
        given["images"] = _calibration_images(options, model)
    path = chosen.write(
        model, options.out, **given, overwrite=options.overwrite
    )
    print(f"{path} was written, loaded again, and agrees with the model.")


def _export_options(options, chosen):
    """Those of a format that were given; raises if another's were."""
    from keras_edram.serving import registry

    given = {}
    for flag, option in registry.options().items():
        name = f"export_{option.argument}"
        if name not in options:
            continue
        if chosen.name not in registry.takers(flag):
            raise ValueError(
                f"{flag} is for --format {' or '.join(registry.takers(flag))}. "
                f"Received: --format {chosen.name}"
            )
        if options.report:
            raise ValueError(
                "--report writes a model in all ways, and takes no option of "
                f"one of them. Received: {flag}"
            )
        given[option.argument] = getattr(options, name)
    if options.report and not chosen.variants:
        reported = [f.name for f in registry.FORMATS.values() if f.variants]
        raise ValueError(
            f"--report is for --format {' or '.join(reported)}. "
            f"Received: --format {chosen.name}"
        )
    if options.images is not None and (
        options.images < 1 or not options.report
    ):
        raise ValueError(
            "--images must be at least 1, and is for --report. "
            f"Received: images={options.images}"
        )
    return given


def _data(options, model, split):
    recipe, experiment, source = _experiment(options)
    data = _read_data(options, experiment, split, source)
    _check_shape(model, data, recipe)
    return data


def _calibration_images(options, model):
    from keras_edram.serving.quantization import NUM_CALIBRATION_IMAGES

    data = _data(options, model, "validation")
    return data.arrays(NUM_CALIBRATION_IMAGES)[0]


def _report(options, chosen, model):
    from keras_edram import evaluation
    from keras_edram.serving import report

    images, targets = evaluation.arrays_for(
        model, _data(options, model, "test"), options.images or REPORTED_IMAGES
    )
    figures = report.report_tflite(
        model,
        options.out,
        images,
        targets,
        _calibration_images(options, model),
        format=chosen,
        overwrite=options.overwrite,
    )
    print(report.table(figures), end="")


def serve(options):
    """Answers requests over HTTP, and shows a page to try the model.

    It needs the extra `serve`.
    """
    # KServe would take arguments of the command for its own.
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        from keras_edram.server import application
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f'The server lacks {error.name}: pip install "keras-edram[serve]"'
        ) from error
    finally:
        sys.argv = arguments
    limits = application.Limits(
        seconds=options.deadline, checking=options.deadline / 2
    )
    application.serve(
        options.model,
        name=options.name,
        host=options.host,
        port=options.port,
        allow_hosts=options.allow_host,
        limits=limits,
    )


def list_recipes(options):
    """Lists the recipes, what they gave, and their papers."""
    from keras_edram import recipes

    for name in recipes.names():
        figures = recipes.results(name)
        given = (
            "not run" if figures is None else f"error {figures['error']:.2%}"
        )
        print(f"{name}: {recipes.load(name).summary}; {given}")
    print("\nTheir papers, of which `keras-edram table` shows the tables:")
    for name, paper in recipes.papers().items():
        print(f"{name}: {paper.reference}")


def table(options):
    """A paper's figures and ours, as Markdown."""
    from keras_edram import recipes, visualization

    print(recipes.table(options.paper))
    if options.plot:
        visualization.plot_curves(
            recipes.curves(options.paper),
            options.plot,
            metric=" or ".join(recipes.monitored(options.paper)),
        )
    if options.plot_costs:
        images_seen, models = recipes.costs(options.paper)
        visualization.plot_costs(models, options.plot_costs, images_seen)


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
        reading,
        recipes,
        run_folder,
        visualization,
    )
    from keras_edram.presets import opening

    visualization.plot_history(
        run_folder.read_history(out / "history.csv"), out / "history.png"
    )
    settings = results["settings"]
    data = recipes.load(results["recipe"]).data(
        settings, "test", results["source"]
    )
    model = opening.open_model(out)
    images, targets = evaluation.arrays_for(model, data, **DRAWN)
    visualization.plot_glimpses(
        model, images, out / "glimpses.png", labels=targets["labels"]
    )
    visualization.animate_glimpses(model, images, out / "glimpses.gif")
    images, targets = evaluation.arrays_for(
        model,
        data,
        min(DRAWN_MANY, settings["test_images"] or data.num_pictures),
    )
    looks = reading.look(model, images, with_patches=False)
    visualization.plot_heat_map(looks["transforms"], out / "heat_map.png")
    visualization.plot_paths(
        model,
        images[:DRAWN_PATHS],
        out / "paths.png",
        labels=targets["labels"][:DRAWN_PATHS],
    )
