"""Figures and animations of where a model looked, and of how it learnt."""

import io
import textwrap

import numpy as np

from keras_edram import decoding, files, geometry, metrics
from keras_edram.datasets.pictures import decode_picture

ANSWER_COLOUR = "#2ca02c"  # green, as the boxes of the paper's Fig. 1
WINDOW_COLOUR = "#d62728"  # red, as the windows of the paper's Fig. 4
MILLISECONDS_A_GLIMPSE = 700
NOTHING = "nothing"  # the answer that there is no object
CONTACT_PIXELS = 400  # the longer side of a picture on a contact sheet


def plot_glimpses(
    model, images, path, *, labels=None, titles=None, glimpses=None
):
    """Draws sequences of glimpses, a row an image, like the paper's Fig. 4.

    Each row has the image with the last window of each object, in the order of
    reading, and for each glimpse the image with its window drawn and the patch
    that was seen there, with the answer of that glimpse alone where the model
    gives one. The scales of a retina glimpse stand side by side; the members
    of an ensemble follow each other.

    Args:
        model: `EDRAM`, `Ensemble` or `RAM`.
        images: Array of shape `(B, H, W, C)` in [0, 255].
        path: Path of the picture to write; its suffix gives the format.
        labels: True labels, `(B, S)`, written beside the answer.
        titles: B strings, written over the images.
        glimpses: What the model saw, from `model.glimpses` or
            `keras_edram.anytime.look_until_sure`; by default it looks now.

    Example:

    >>> images, targets = cluttered_mnist("test").arrays(5)
    >>> plot_glimpses(model, images, "glimpses.png")
    """
    if glimpses is None:
        glimpses = model.glimpses(images)
    answers, read = _read(model, glimpses)
    windows = np.asarray(answers["transforms"])  # (B, S, 2, 3)
    transforms = steps(glimpses["transforms"], 2)  # (B, T, 2, 3)
    patches = steps(glimpses["patches"], 3)  # (B, T, g, g, C)
    seen = np.argmax(steps(glimpses["labels"], 1), axis=-1)  # (B, T) or fewer
    rows, columns = len(images), 1 + transforms.shape[1]
    taken = glimpses.get("num_glimpses", [columns - 1] * rows)
    figure = _figure(figsize=(1.5 * columns, 3.1 * rows))
    axes = figure.subplots(2 * rows, columns, squeeze=False)
    for row, image in enumerate(images):
        above, below = axes[2 * row], axes[2 * row + 1]
        answer = read[row]
        _show(above[0], image)
        found = windows[row, : len(answer["labels"])]
        _draw_windows(above[0], image, found, ANSWER_COLOUR)
        if model.terminal:
            _number_windows(above[0], image, found, answer["names"])
        above[0].set_title(titles[row] if titles else "image", fontsize=9)
        truth = ""
        if labels is not None:
            truth = f"\ntruth: {_true_sequence(model, labels[row])}"
        below[0].text(
            0.5,
            0.6,
            f"reads: {answer['sequence'] or NOTHING}\n"
            f"{answer['probability']:.1%} sure{truth}",
            ha="center",
            va="center",
            fontsize=10,
            parse_math=False,
            transform=below[0].transAxes,
        )
        for t in range(taken[row]):
            _show(above[t + 1], image)
            _draw_windows(
                above[t + 1], image, transforms[row, t : t + 1], WINDOW_COLOUR
            )
            above[t + 1].set_title(f"glimpse {t + 1}", fontsize=9)
            _show(below[t + 1], patch_picture(model, patches[row, t]))
            if seen.shape[1] == columns - 1:
                name = label_name(model, seen[row, t])
                below[t + 1].set_title(
                    f"sees {name}", fontsize=9, parse_math=False
                )
    for axis in axes.flat:
        axis.axis("off")
    _save(figure, path)


def animate_glimpses(model, images, path):
    """Writes an animated GIF: the windows, one glimpse after the other.

    Each frame has a column an image: the image with the window, the patch, and
    the answer to the target averaged over the glimpses so far; an answer that
    comes with the last glimpse is shown with that.

    Args:
        model: `EDRAM` or `RAM`.
        images: Array of shape `(B, H, W, C)` in [0, 255].
        path: Path of the GIF to write.

    Example:

    >>> images, targets = cluttered_mnist("test").arrays(3)
    >>> animate_glimpses(model, images, "glimpses.gif")
    """
    glimpses = model.glimpses(images)
    transforms = steps(glimpses["transforms"], 2)
    patches = steps(glimpses["patches"], 3)
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
            _show(below, patch_picture(model, patches[column, t]))
            if given:
                best = int(np.argmax(so_far[column]))
                below.set_title(
                    f"{label_name(model, best)}  ({so_far[column, best]:.0%})",
                    fontsize=11,
                    parse_math=False,
                )
            above.axis("off")
            below.axis("off")
        title = f"glimpse {t + 1}"
        if num_targets > 1:
            title = f"target {target + 1}, glimpse {glimpse + 1}"
        figure.suptitle(title, fontsize=11)
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


def plot_paths(model, images, path, *, labels=None):
    """Draws where the model looked, as a path over each image.

    The numbers are those of the glimpses; the line joins the middles of their
    windows. The boxes are the windows that the answer is read from; the
    sharpest of a retina glimpse.

    Args:
        model: `EDRAM` or `RAM`.
        images: Array of shape `(B, H, W, C)` in [0, 255].
        path: Path of the picture to write.
        labels: True labels, `(B, S)`, written beside the answer.

    Example:

    >>> images, targets = mnist("test").arrays(12)
    >>> plot_paths(model, images, "paths.png")
    """
    glimpses = model.glimpses(images)
    answers, read = _read(model, glimpses)
    windows = np.asarray(answers["transforms"])  # (B, S, 2, 3)
    transforms = steps(glimpses["transforms"], 2)  # (B, T, 2, 3)
    columns = min(6, len(images))
    rows = -(-len(images) // columns)
    figure = _figure(figsize=(2.3 * columns, 2.6 * rows))
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for index, image in enumerate(images):
        axis = axes.flat[index]
        _show(axis, image)
        found = windows[index, : len(read[index]["labels"])]
        _draw_windows(axis, image, found, ANSWER_COLOUR)
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
            truth = f", is {_true_sequence(model, labels[index])}"
        sequence = read[index]["sequence"] or NOTHING
        axis.set_title(f"reads {sequence}{truth}", fontsize=9, parse_math=False)
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
    transforms = np.asarray(transforms)
    spread = np.asarray(metrics.location_spread(transforms))  # (N,)
    centres = transforms[..., 2]  # (B, S, N, 2)
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


def plot_contact_sheet(annotations, path, *, number=24):
    """Draws annotated pictures in a grid, to see whether the boxes are right.

    Boxes have the object's place in the reading order and its label. Pictures
    are taken evenly from all. Those that cannot be used come first, as grey
    tiles with their name and what is wrong; they leave half of the tiles to
    the others.

    Args:
        annotations: `Annotations` of `keras_edram.datasets.read_annotations`.
        path: Path of the picture to write.
        number: Integer, pictures to draw at most.

    Raises:
        ValueError: If there is no picture, not even a broken one.

    Example:

    >>> plot_contact_sheet(read_annotations("my_photos"), "contact_sheet.png")
    """
    broken, pictures = _contact_tiles(annotations, number)
    tiles = len(broken) + len(pictures)
    if not tiles:
        raise ValueError(
            "`annotations` must have a picture, and `number` be at least 1. "
            f"Received: {len(annotations.pictures)} pictures, number={number}"
        )
    columns = min(6, tiles)
    rows = -(-tiles // columns)
    figure = _figure(figsize=(2.6 * columns, 2.4 * rows))
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, (name, what) in zip(axes.flat, broken, strict=False):
        _draw_broken(axis, name, what)
    for axis, picture in zip(axes.flat[len(broken) :], pictures, strict=False):
        _draw_annotated(axis, picture)
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
            ("labels_target_error", "error of a target"),
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
    for number, (name, curve) in enumerate(curves.items()):
        images, errors = np.array(curve).T
        # There are ten colours.
        style = "-" if number < 10 else "--"
        axis.plot(images / 1e6, 100 * errors, style, label=name)
    axis.set(
        xlabel="million training images seen",
        ylabel="validation error, %",
        yscale="log",
    )
    axis.grid(alpha=0.3, which="both")
    axis.legend(fontsize=8)
    _save(figure, path)


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
    figure = _figure(figsize=(6, 3.8))
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
    _save(figure, path)


def plot_anytime(curve, path):
    """Draws what it costs, and what it saves, to stop looking when sure.

    Args:
        curve: What `keras_edram.evaluation.anytime_curve` returns.
        path: Path of the picture to write.

    Example:

    >>> plot_anytime(anytime_curve(model, images, targets), "anytime.png")
    """
    figure = _figure(figsize=(7, 5))
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
    _save(figure, path)


def plot_error_per_glimpse(figures, path):
    """Draws the error over the number of glimpses, like the paper's Fig. 5.

    Args:
        figures: What `keras_edram.evaluation.evaluate` returns.
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


def label_name(model, label):
    """The name of a class; the terminal label is called "end".

    Args:
        model: A model of this package.
        label: Integer.

    Returns:
        String.

    Example:

    >>> label_name(RAM.from_preset("ram_mnist"), 7)
    '7'
    """
    if model.terminal and label == model.num_classes - 1:
        return "end"
    return model.class_names[label] if model.class_names else str(label)


def steps(values, rank):
    """Glimpses in the order of looking, those of members after each other.

    Args:
        values: Array of shape `(B, S, N, *)`, or `(B, M, S, N, *)` of members.
        rank: Integer, how many axes `*` are.

    Returns:
        Array of shape `(B, T, *)`.

    Example:

    >>> steps(model.glimpses(images)["transforms"], 2)[:, 0]  # the first look
    """
    return values.reshape(len(values), -1, *values.shape[values.ndim - rank :])


def patch_picture(model, patch):
    """A patch as a picture, the scales of a retina glimpse side by side.

    Args:
        model: The model that saw it.
        patch: Array of shape `(g, g, K C)`, of K scales, from `glimpses`.

    Returns:
        uint8 array of shape `(g, K g, C)`.

    Example:

    >>> patch_picture(model, model.glimpses(images)["patches"][0, 0, 0])
    """
    if getattr(model, "standardize", False):  # any values, not [0, 1]
        low, high = patch.min(), patch.max()
        patch = (patch - low) / max(high - low, 1e-6)
    channels = model.image_shape[-1]
    scales = np.split(patch * 255, patch.shape[-1] // channels, axis=-1)
    picture = np.concatenate(scales, axis=1)
    return np.clip(picture, 0, 255).astype("uint8")


def _contact_tiles(annotations, number):
    """Broken files as (name, what), and pictures, together `number`."""
    broken = {}
    for problem in annotations.problems:
        if problem.broken:
            broken.setdefault(problem.file, problem.what)
    pictures = annotations.pictures
    places = max(number // 2, number - len(pictures))
    broken = list(broken.items())[:places]
    count = min(number - len(broken), len(pictures))
    chosen = np.linspace(0, len(pictures) - 1, count).round().astype(int)
    return broken, [pictures[index] for index in chosen]


def _draw_broken(axis, name, what):
    _show(axis, np.full((3, 4, 3), 200))
    axis.set_title(name[-36:], fontsize=7, parse_math=False)
    axis.text(
        0.5, 0.5, textwrap.fill(what, 32), fontsize=7, parse_math=False,
        ha="center", va="center", transform=axis.transAxes,
    )  # fmt: skip


def _draw_annotated(axis, picture):
    name = picture.path.name
    try:
        decoded = decode_picture(picture.path, colour=True)
    except (FileNotFoundError, ValueError):
        _draw_broken(axis, name, "cannot be read to its end")
        return
    transforms = geometry.boxes_to_transforms(
        picture.boxes, box_format="xyxy", image_size=decoded.size[::-1]
    )
    decoded.thumbnail((CONTACT_PIXELS, CONTACT_PIXELS))
    image = np.asarray(decoded)
    _show(axis, image)
    _draw_windows(axis, image, transforms, ANSWER_COLOUR)
    _number_windows(axis, image, transforms, picture.labels)
    axis.set_title(name[-36:], fontsize=7, parse_math=False)


def _read(model, glimpses):
    """The decoded answers, and the same read out."""
    answers = model.decode(glimpses)
    return answers, decoding.read_out(answers, model.class_names)


def _true_sequence(model, labels):
    """What is true in the words of the answer, in forward order."""
    last = model.num_classes - model.terminal
    labels = [int(label) for label in labels if 0 <= label < last]
    if model.reading_order == "backward":
        labels.reverse()
    names = [label_name(model, label) for label in labels]
    return decoding.join(names, model.class_names)


def _number_windows(axis, image, transforms, names):
    """Writes at each window which it is in the order of reading, and what."""
    corners = np.asarray(geometry.window_corners(transforms, image.shape[:2]))
    for number, (corner, name) in enumerate(
        zip(corners[:, 0], names, strict=True), start=1
    ):
        axis.text(
            *corner, f"{number}: {name}", fontsize=6, color="white",
            va="top", parse_math=False, clip_on=True,
            bbox=dict(boxstyle="square,pad=0.1", fc=ANSWER_COLOUR, lw=0),
        )  # fmt: skip


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
