"""How a model learnt, and what its answers are worth."""

import numpy as np

from keras_edram import metrics
from keras_edram.visualization.canvas import new_figure, save


def plot_history(history, path):
    """Draws what a run's history has of loss, error and overlap.

    Args:
        history: Rows of `keras_edram.run_folder.read_history`.
        path: Path of the picture to write.

    Example:

    >>> from keras_edram.run_folder import read_history
    >>> plot_history(read_history("run/history.csv"), "history.png")
    """
    panels = [
        (name, title)
        for name, title in (
            ("loss", "loss"),
            ("labels_error", "error"),
            ("labels_target_error", "error of a target"),
            ("transforms_iou", "overlap of the last window"),
        )
        if name in history[0]
    ]
    figure = new_figure(figsize=(3.7 * len(panels), 3.2))
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    epochs = [row["epoch"] + 1 for row in history]
    for axis, (name, title) in zip(axes, panels, strict=True):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            axis.plot(epochs, [row[key] for row in history], label=label)
        axis.set(xlabel="epoch", title=title)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[0].legend()
    save(figure, path)


def plot_curves(curves, path, metric="error"):
    """Draws the validation error of runs over the images they had seen.

    Args:
        curves: Dictionary of title -> name -> list of (images seen, error), as
            `validation_curve` in the `results.json` of a run; a panel has each
            title. Errors of 0 have no place on its logarithmic axis.
        path: Path of the picture to write.
        metric: String, what is drawn in place of the error, in [0, 1].
            Defaults to `"error"`.

    Raises:
        ValueError: If there is no curve.

    Example:

    >>> mine = {"first": [[1000, 0.5], [2000, 0.25]]}
    >>> plot_curves({"mine": mine}, "curves.png")
    """
    if not curves or not all(curves.values()):
        raise ValueError(
            "`curves` must have at least one run of each title. "
            f"Received: curves={curves}"
        )
    columns = min(2, len(curves))
    rows = -(-len(curves) // columns)
    figure = new_figure(figsize=(6.5 * columns, 4.2 * rows))
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for (title, runs), axis in zip(curves.items(), axes, strict=False):
        _draw_curves(axis, runs)
        axis.set(title=title, ylabel=f"validation {metric}, %")
    for axis in axes:  # that are left
        axis.remove()
    save(figure, path)


def _draw_curves(axis, runs):
    """One panel: name -> list of (images seen, error)."""
    most = max(images for curve in runs.values() for images, _ in curve)
    unit, unit_name = (1e6, "million") if most >= 1e5 else (1e3, "thousand")
    for number, (name, curve) in enumerate(runs.items()):
        images, errors = np.array(curve).T
        # There are ten colours.
        style = "-" if number < 10 else "--"
        axis.plot(images / unit, 100 * errors, style, label=name)
    axis.set(xlabel=f"{unit_name} training images seen", yscale="log")
    _write_plainly(axis.yaxis)
    axis.grid(alpha=0.3, which="both")
    axis.legend(fontsize=7, loc="best")


def plot_costs(models, path, images_seen=None):
    """Draws the error of models over what each costs, both logarithmic.

    Args:
        models: Dictionary of name -> list of (multiply-adds of an image, error
            in (0, 1]), in the order in which a line joins them.
        path: Path of the picture to write.
        images_seen: Integer, how many training images each saw, for the title.

    Raises:
        ValueError: If there is no model, or one without points that can be
            drawn.

    Example:

    >>> models = {"once": [(4e6, 0.1)], "looks": [(5e6, 0.2), (9e6, 0.02)]}
    >>> plot_costs(models, "costs.png")
    """
    if not models:
        raise ValueError("`models` must have at least one. Received: models={}")
    for name, points in models.items():
        if not points or not all(
            cost > 0 and 0 < error <= 1 for cost, error in points
        ):
            raise ValueError(
                "A model must have points of a cost above 0 and an error above "
                f"0, up to 1, to be drawn. Received: {name}={points!r}"
            )
    figure = new_figure(figsize=(8, 4.5))
    axis = figure.subplots()
    for number, (name, points) in enumerate(models.items()):
        marker = "os^Dv"[number // 10 % 5]  # there are ten colours
        axis.plot(
            [cost / 1e6 for cost, _ in points],
            [100 * error for _, error in points],
            f"{marker}-",
            label=name,
        )
    axis.set(
        xlabel="multiply-adds of an image, millions",
        ylabel="test error, %",
        xscale="log",
        yscale="log",
    )
    if images_seen is not None:
        axis.set_title(f"after {images_seen:,} training images each")
    _write_plainly(axis.xaxis, axis.yaxis)
    axis.grid(alpha=0.3, which="both")
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, path)


def _write_plainly(*axes):
    """Has logarithmic axes say 0.3 and 30 rather than 3 x 10^-1 and 10^1."""
    from matplotlib.ticker import LogFormatter  # slow to import

    class PlainFormatter(LogFormatter):
        def __call__(self, value, position=None):
            # Not all ticks have a number.
            return super().__call__(value, position) and f"{value:g}"

    for axis in axes:
        axis.set_major_formatter(PlainFormatter())
        axis.set_minor_formatter(PlainFormatter())


def plot_coverage(probabilities, errors, path):
    """Draws the error that is left when unsure answers are refused.

    Args:
        probabilities: Array of shape `(n,)` in [0, 1], of each answer.
        errors: Array of shape `(n,)`, 1 where the answer is wrong, else 0.
        path: Path of the picture to write.

    Example:

    >>> plot_coverage([0.6, 0.9], [1, 0], "coverage.png")
    """
    coverage, error, refuse_below = metrics.coverage_curve(
        probabilities, errors
    )
    figure = new_figure(figsize=(6, 3.8))
    axis = figure.subplots()
    axis.plot(100 * coverage, 100 * error, label="error of the answers given")
    axis.plot(
        100 * coverage,
        100 * refuse_below,
        label="refused below this probability",
        linestyle=":",
    )
    axis.set(
        xlabel="answers given, %",
        ylabel="%",
        title=f"{len(coverage):,} images",
    )
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend()
    save(figure, path)


def plot_anytime(curve, path):
    """Draws what it costs, and what it saves, to stop looking when sure.

    Args:
        curve: What `keras_edram.evaluation.anytime_curve` returns.
        path: Path of the picture to write.

    Example:

    >>> from keras_edram.evaluation import anytime_curve
    >>> plot_anytime(anytime_curve(model, images, targets), "anytime.png")
    """
    figure = new_figure(figsize=(7, 5))
    above, below = figure.subplots(2, sharex=True)
    position = np.arange(len(curve))
    for axis, values, label in (
        (above, [100 * row["error"] for row in curve], "error, %"),
        (below, [row["glimpses"] for row in curve], "glimpses an image, mean"),
    ):
        axis.plot(position, values, marker="o")
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    names = [
        "never" if row["confidence"] is None else f"{row['confidence']:g}"
        for row in curve
    ]
    below.set_xticks(position, names)
    below.set_xlabel("stops looking at this confidence")
    save(figure, path)


def plot_error_per_glimpse(figures, path):
    """Draws the error over the number of glimpses, like the paper's Fig. 5.

    Args:
        figures: What `keras_edram.evaluation.evaluate` returns.
        path: Path of the picture to write.

    Example:

    >>> from keras_edram.evaluation import evaluate
    >>> figures = evaluate(model, images, targets, glimpses_per_target=8)
    >>> plot_error_per_glimpse(figures, "error_per_glimpse.png")
    """
    figure = new_figure(figsize=(6, 3.8))
    axis = figure.subplots()
    numbers = np.arange(1, len(figures["error_by_glimpse"]) + 1)
    for key, label, marker in (
        ("error_by_glimpse", "this glimpse alone", "o"),
        ("error_by_average", "mean of the glimpses so far", "s"),
    ):
        values = 100 * np.array(figures[key])
        axis.plot(numbers, values, marker=marker, label=label)
        for number, value in zip(numbers, values, strict=True):
            if key == "error_by_glimpse":
                axis.annotate(
                    f"{value:.2f}", (number, value), fontsize=8,
                    textcoords="offset points", xytext=(0, -14), ha="center",
                )  # fmt: skip
    errors = [*figures["error_by_glimpse"], *figures["error_by_average"]]
    if all(errors):
        axis.set_yscale("log")
        _write_plainly(axis.yaxis)
    axis.set(
        xlabel="glimpses",
        ylabel="error, %",
        xticks=numbers,
        title=f"{figures['images']:,} {figures.get('split', 'test')} images",
    )
    axis.margins(y=0.15)
    axis.grid(alpha=0.3, which="both")
    axis.legend()
    save(figure, path)
