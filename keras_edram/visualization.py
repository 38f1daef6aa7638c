"""Figures and animations of where a model looked, and of how it learnt."""

import io

import numpy as np

from keras_edram import decoding, files, geometry

ANSWER_COLOUR = "#2ca02c"  # green, as the boxes of the paper's Fig. 1
WINDOW_COLOUR = "#d62728"  # red, as the windows of the paper's Fig. 4
MILLISECONDS_A_GLIMPSE = 700


def plot_glimpses(images, glimpses, path, *, labels=None, titles=None):
    """Draws sequences of glimpses, a row an image, like the paper's Fig. 4.

    Each row has the image with the last window of each target, and for each
    glimpse the image with its window drawn and the patch that was seen there,
    with the answer of that glimpse alone.

    Args:
        images: Array of shape `(B, H, W, C)` in [0, 255].
        glimpses: What `EDRAM.glimpses(images)` returns.
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
    seen = np.argmax(_steps(glimpses["labels"]), axis=-1)  # (B, T)
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
            _show(below[t + 1], patches[row, t] * 255)
            below[t + 1].set_title(f"sees {seen[row, t]}", fontsize=9)
    for axis in axes.flat:
        axis.axis("off")
    _save(figure, path)


def animate_glimpses(images, glimpses, path):
    """Writes an animated GIF: the windows, one glimpse after the other.

    Each frame has a row an image: the image with the window, the patch, and
    the answer averaged over the glimpses so far.

    Args:
        images: Array of shape `(B, H, W, C)` in [0, 255].
        glimpses: What `EDRAM.glimpses(images)` returns.
        path: Path of the GIF to write.

    Example:

    >>> images, targets = cluttered_mnist("test").arrays(3)
    >>> animate_glimpses(images, model.glimpses(images), "glimpses.gif")
    """
    transforms = _steps(glimpses["transforms"])
    patches = _steps(glimpses["patches"])
    num_targets, per_target = glimpses["labels"].shape[1:3]
    frames = []
    for t in range(num_targets * per_target):
        figure = _figure(figsize=(2.4 * len(images), 4.9))
        axes = figure.subplots(2, len(images), squeeze=False)
        target, glimpse = divmod(t, per_target)
        so_far = decoding.average_probabilities(
            glimpses["labels"][:, target : target + 1, : glimpse + 1]
        )
        so_far = np.asarray(so_far)[:, 0]  # (B, K)
        for column, image in enumerate(images):
            above, below = axes[:, column]
            _show(above, image)
            _draw_windows(
                above, image, transforms[column, t : t + 1], WINDOW_COLOUR
            )
            _show(below, patches[column, t] * 255)
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


def plot_history(history, path):
    """Draws loss, error and overlap over the epochs of a run.

    Args:
        history: Rows of `keras_edram.training.read_history`.
        path: Path of the picture to write.

    Example:

    >>> plot_history(read_history("run/history.csv"), "history.png")
    """
    figure = _figure(figsize=(11, 3.2))
    axes = figure.subplots(1, 3)
    epochs = [row["epoch"] + 1 for row in history]
    for axis, name, title in zip(
        axes,
        ("loss", "labels_error", "transforms_iou"),
        ("loss", "error", "overlap of the last window"),
        strict=True,
    ):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            axis.plot(epochs, [row[key] for row in history], label=label)
        axis.set(xlabel="epoch", title=title)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[0].legend()
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
