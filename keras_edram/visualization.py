"""Figures and animations of where a model looked, and of how it learnt."""

import io

import numpy as np

from keras_edram import decoding, files, geometry, metrics

ANSWER_COLOUR = "#2ca02c"  # green, as the boxes of the paper's Fig. 1
WINDOW_COLOUR = "#d62728"  # red, as the windows of the paper's Fig. 4
MILLISECONDS_A_GLIMPSE = 700


def plot_glimpses(images, glimpses, path, *, labels=None, titles=None):
    """Draws sequences of glimpses, a row an image, like the paper's Fig. 4.

    Each row has the image with the last window of each target, and for each
    glimpse the image with its window drawn and the patch that was seen there,
    with the answer of that glimpse alone where the model gives one. The scales
    of a retina glimpse stand side by side.

    Args:
        images: Array of shape `(B, H, W, C)` in [0, 255].
        glimpses: What `EDRAM.glimpses(images)` or `RAM.glimpses(images)`
            returns.
        path: Path of the picture to write; its suffix gives the format.
        labels: True labels, `(B, S)`, written beside the answer.
        titles: B strings, written over the images.

    Example:

    >>> images, targets = cluttered_mnist("test").arrays(5)
    >>> plot_glimpses(images, model.glimpses(images), "glimpses.png")
    """
    answers = decoding.decode(glimpses)
    read = decoding.read_out(answers)
    windows = np.asarray(answers["transforms"])  # (B, S, 2, 3)
    transforms = _steps(glimpses["transforms"])  # (B, T, 2, 3)
    patches = _steps(glimpses["patches"])  # (B, T, g, g, C)
    seen = np.argmax(_steps(glimpses["labels"]), axis=-1)  # (B, T) or (B, S)
    rows, columns = len(images), 1 + transforms.shape[1]
    figure = _figure(figsize=(1.5 * columns, 3.1 * rows))
    axes = figure.subplots(2 * rows, columns, squeeze=False)
    for row, image in enumerate(images):
        above, below = axes[2 * row], axes[2 * row + 1]
        answer = read[row]
        _show(above[0], image)
        _draw_windows(above[0], image, windows[row], ANSWER_COLOUR)
        above[0].set_title(titles[row] if titles else "image", fontsize=9)
        truth = ""
        if labels is not None:
            truth = "\ntruth: " + "".join(str(int(y)) for y in labels[row])
        below[0].text(
            0.5,
            0.6,
            f"reads: {answer['sequence']}\n"
            f"{answer['probability']:.1%} sure{truth}",
            ha="center",
            va="center",
            fontsize=10,
            transform=below[0].transAxes,
        )
        for t in range(columns - 1):
            _show(above[t + 1], image)
            _draw_windows(
                above[t + 1], image, transforms[row, t : t + 1], WINDOW_COLOUR
            )
            above[t + 1].set_title(f"glimpse {t + 1}", fontsize=9)
            _show(below[t + 1], _scales(patches[row, t], image) * 255)
            if seen.shape[1] == columns - 1:
                below[t + 1].set_title(f"sees {seen[row, t]}", fontsize=9)
    for axis in axes.flat:
        axis.axis("off")
    _save(figure, path)


def animate_glimpses(images, glimpses, path):
    """Writes an animated GIF: the windows, one glimpse after the other.

    Each frame has a column an image: the image with the window, the patch, and
    the answer averaged over the glimpses so far; an answer that comes with the
    last glimpse is shown with that.

    Args:
        images: Array of shape `(B, H, W, C)` in [0, 255].
        glimpses: What `EDRAM.glimpses(images)` or `RAM.glimpses(images)`
            returns.
        path: Path of the GIF to write.

    Example:

    >>> images, targets = cluttered_mnist("test").arrays(3)
    >>> animate_glimpses(images, model.glimpses(images), "glimpses.gif")
    """
    transforms = _steps(glimpses["transforms"])
    patches = _steps(glimpses["patches"])
    num_targets, per_target = glimpses["transforms"].shape[1:3]
    answers = glimpses["labels"].shape[2]
    frames = []
    for t in range(num_targets * per_target):
        figure = _figure(figsize=(2.4 * len(images), 4.9))
        axes = figure.subplots(2, len(images), squeeze=False)
        target, glimpse = divmod(t, per_target)
        given = max(0, glimpse + 1 - (per_target - answers))
        if given:
            so_far = decoding.average_probabilities(
                glimpses["labels"][:, target : target + 1, :given]
            )
            so_far = np.asarray(so_far)[:, 0]  # (B, K)
        for column, image in enumerate(images):
            above, below = axes[:, column]
            _show(above, image)
            _draw_windows(
                above, image, transforms[column, t : t + 1], WINDOW_COLOUR
            )
            _show(below, _scales(patches[column, t], image) * 255)
            if given:
                best = int(np.argmax(so_far[column]))
                below.set_title(
                    f"{best}  ({so_far[column, best]:.0%})", fontsize=11
                )
            above.axis("off")
            below.axis("off")
        figure.suptitle(f"glimpse {t + 1}", fontsize=11)
        frames.append(_to_picture(figure))
    with files.replacing(path) as partial:
        frames[0].save(
            partial,
            save_all=True,
            append_images=frames[1:],
            duration=[MILLISECONDS_A_GLIMPSE] * (len(frames) - 1)
            + [3 * MILLISECONDS_A_GLIMPSE],
            loop=0,
        )


def plot_paths(images, glimpses, path, *, labels=None):
    """Draws where the model looked, as a path over each image.

    The numbers are those of the glimpses; the line joins the middles of their
    windows. The square is the last window, the sharpest of a retina glimpse.

    Args:
        images: Array of shape `(B, H, W, C)` in [0, 255].
        glimpses: What `RAM.glimpses(images)` or `EDRAM.glimpses(images)`
            returns.
        path: Path of the picture to write.
        labels: True labels, `(B, S)`, written beside the answer.

    Example:

    >>> images, targets = mnist("test").arrays(12)
    >>> plot_paths(images, model.glimpses(images), "paths.png")
    """
    read = decoding.read_out(decoding.decode(glimpses))
    transforms = _steps(glimpses["transforms"])  # (B, T, 2, 3)
    columns = min(6, len(images))
    rows = -(-len(images) // columns)
    figure = _figure(figsize=(2.3 * columns, 2.6 * rows))
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for index, image in enumerate(images):
        axis = axes.flat[index]
        _show(axis, image)
        _draw_windows(axis, image, transforms[index, -1:], ANSWER_COLOUR)
        points = np.asarray(
            geometry.points_to_pixels(
                transforms[index, :, :, 2], image.shape[:2]
            )
        )  # (T, 2)
        axis.plot(*points.T, color=WINDOW_COLOUR, linewidth=1.2)
        for number, (x, y) in enumerate(points, start=1):
            axis.annotate(
                str(number), (x, y), color="white", fontsize=7,
                ha="center", va="center",
                bbox=dict(boxstyle="circle,pad=0.15", fc=WINDOW_COLOUR, lw=0),
            )  # fmt: skip
        truth = ""
        if labels is not None:
            truth = ", is " + "".join(str(int(y)) for y in labels[index])
        axis.set_title(f"reads {read[index]['sequence']}{truth}", fontsize=9)
    _save(figure, path)


def plot_heat_map(transforms, path, *, bins=30):
    """Draws how often the model looked where, glimpse by glimpse.

    A policy that does not depend on the image shows as one point a glimpse,
    and as a spread of 0, see `keras_edram.metrics.location_spread`.

    Args:
        transforms: Array of shape `(B, S, N, 2, 3)`, the windows of many
            images, best of a whole test set.
        path: Path of the picture to write.
        bins: Integer, squares of the map on a side.

    Example:

    >>> images, targets = mnist("test").arrays(1000)
    >>> plot_heat_map(model.glimpses(images)["transforms"], "heat_map.png")
    """
    spread = np.asarray(metrics.location_spread(transforms))  # (N,)
    centres = np.asarray(transforms)[..., 2]  # (B, S, N, 2)
    columns = min(4, len(spread))
    rows = -(-len(spread) // columns)
    figure = _figure(figsize=(2.6 * columns, 2.8 * rows))
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for n, axis in enumerate(axes.flat[: len(spread)]):
        counts, _, _ = np.histogram2d(
            centres[:, :, n, 1].ravel(),
            centres[:, :, n, 0].ravel(),
            bins=bins,
            range=((-1, 1), (-1, 1)),
        )  # rows are y, downwards as in an image
        # Roots, or the peak of a glimpse hides all the rest.
        axis.imshow(np.sqrt(counts), extent=(-1, 1, 1, -1), cmap="magma")
        axis.set_title(f"glimpse {n + 1}, spread {spread[n]:.2f}", fontsize=9)
    figure.suptitle(f"where it looked, {len(centres):,} images", fontsize=10)
    _save(figure, path)


def plot_history(history, path):
    """Draws what a run's history has of loss, error and overlap.

    Args:
        history: Rows of `keras_edram.training.read_history`.
        path: Path of the picture to write.

    Example:

    >>> plot_history(read_history("run/history.csv"), "history.png")
    """
    panels = [
        (name, title)
        for name, title in (
            ("loss", "loss"),
            ("labels_error", "error"),
            ("transforms_iou", "overlap of the last window"),
        )
        if name in history[0]
    ]
    figure = _figure(figsize=(3.7 * len(panels), 3.2))
    axes = figure.subplots(1, len(panels))
    epochs = [row["epoch"] + 1 for row in history]
    for axis, (name, title) in zip(axes, panels, strict=True):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            axis.plot(epochs, [row[key] for row in history], label=label)
        axis.set(xlabel="epoch", title=title)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[0].legend()
    _save(figure, path)


def plot_curves(curves, path):
    """Draws the validation error of runs over the images they had seen.

    Args:
        curves: Dictionary of name -> list of (images seen, error), as
            `validation_curve` in the `results.json` of a run.
        path: Path of the picture to write.

    Raises:
        ValueError: If there is no curve.

    Example:

    >>> plot_curves({"mine": [[1000, 0.5], [2000, 0.25]]}, "curves.png")
    """
    if not curves:
        raise ValueError(
            "`curves` must have at least one run. Received: curves={}"
        )
    figure = _figure(figsize=(8, 4.5))
    axis = figure.subplots()
    for name, curve in curves.items():
        images, errors = np.array(curve).T
        axis.plot(images / 1e6, 100 * errors, label=name)
    axis.set(
        xlabel="million training images seen",
        ylabel="validation error, %",
        yscale="log",
    )
    axis.grid(alpha=0.3, which="both")
    axis.legend(fontsize=8)
    _save(figure, path)


def plot_error_per_glimpse(figures, path):
    """Draws the error over the number of glimpses, like the paper's Fig. 5.

    Args:
        figures: What `keras_edram.training.evaluate` returns.
        path: Path of the picture to write.

    Example:

    >>> figures = evaluate(model, images, targets, glimpses=8)
    >>> plot_error_per_glimpse(figures, "error_per_glimpse.png")
    """
    figure = _figure(figsize=(6, 3.8))
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
    axis.set_yscale("log")
    axis.set(
        xlabel="glimpses",
        ylabel="test error, %",
        xticks=numbers,
        title=f"{figures['images']:,} images",
    )
    axis.margins(y=0.15)
    axis.grid(alpha=0.3, which="both")
    axis.legend()
    _save(figure, path)


def _steps(values):
    """(B, S, N, ...) -> (B, T, ...)"""
    return values.reshape(len(values), -1, *values.shape[3:])


def _scales(patch, image):
    """The scales of a glimpse side by side: (g, g, K C) -> (g, K g, C)."""
    parts = np.split(patch, patch.shape[-1] // image.shape[-1], axis=-1)
    return np.concatenate(parts, axis=1)


def _figure(figsize):
    # Not pyplot: it keeps figures alive and may ask for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=figsize, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _show(axis, image):
    """Shows one picture of shape (h, w, C) in [0, 255]."""
    image = np.clip(np.asarray(image), 0, 255).astype("uint8")
    if image.shape[-1] == 1:
        image = np.repeat(image, 3, axis=-1)
    axis.imshow(image, interpolation="nearest")


def _draw_windows(axis, image, transforms, colour):
    from matplotlib.patches import Polygon

    height, width = image.shape[:2]
    corners = np.asarray(geometry.window_corners(transforms, (height, width)))
    for window in corners:  # (4, 2)
        axis.add_patch(
            Polygon(window, fill=False, edgecolor=colour, linewidth=1.6)
        )
    # A window may reach beyond the image: show a little of that.
    margin = 0.04
    axis.set_xlim(-0.5 - margin * width, width * (1 + margin) - 0.5)
    axis.set_ylim(height * (1 + margin) - 0.5, -0.5 - margin * height)


def _save(figure, path):
    with files.replacing(path) as partial:
        figure.savefig(partial, dpi=110)


def _to_picture(figure):
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=80, format="png")
    buffer.seek(0)
    picture = Image.open(buffer).convert("P", palette=Image.Palette.ADAPTIVE)
    return picture
