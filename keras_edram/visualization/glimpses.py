"""Where a model looked, and what it saw there."""

import itertools
import math
import textwrap
from typing import NamedTuple
from unicodedata import east_asian_width

import numpy as np

from keras_edram import decoding, files, geometry, metrics, reading
from keras_edram.visualization.canvas import (
    ANSWER_COLOUR,
    DPI,
    WINDOW_COLOUR,
    draw_windows,
    new_figure,
    number_windows,
    save,
    show,
    shrunk,
    to_picture,
    written,
)

MILLISECONDS_A_GLIMPSE = 700
ANIMATION_SUFFIXES = (".gif", ".webp", ".png")  # of those that Pillow writes
COLUMNS = 18  # of text that is as wide as an image
# Pixels of the longer side of an image. A larger one is a photo, which is drawn
# in its own resolution: all photos of a figure have `ALL_PHOTOS` at most.
PHOTO = 256
LARGEST_PHOTO = 2000
ALL_PHOTOS = 8000
SMALL = 400  # of a photo in a picture of many
CELLS = 1.5, 3.0  # inches, of a patch beside a photo: the least and the most
TITLE = 0.4  # inches, above a photo or a patch
VIEW = 1.08  # what is shown of an image and around it, see `draw_windows`


def plot_glimpses(
    model,
    images,
    path,
    *,
    labels=None,
    titles=None,
    looks=None,
    answers=None,
):
    """Draws sequences of glimpses, a row an image, like the paper's Fig. 4.

    Each row has the image with the last window of each object, in the order of
    reading, and for each glimpse the image with its window drawn and the patch
    that was seen there, with the answer of that glimpse alone where the model
    gives one. What it sees after the end of a sequence is no part of the
    answer, and not drawn. The scales of a retina glimpse stand side by side;
    each member of an ensemble has a row.

    Photos, images with a side of more than 256 pixels, are drawn in their own
    resolution, but with 2000 pixels a side at most: each once, with all of its
    windows in the order of looking, numbered, and the patches beside it.

    Args:
        model: A model of this package.
        images: Array of shape `(B, H, W, C)` in [0, 255], or a list of B
            arrays `(H, W, C)`, which may be of several sizes.
        path: Path of the picture to write; its suffix gives the format.
        labels: True labels, `(B, S)`, written beside the answer.
        titles: B strings, written over the images.
        looks: What the model saw, from `keras_edram.reading.look` or
            `model.glimpses`; by default it looks now.
        answers: B dictionaries as of `keras_edram.reading.answer`, such as of
            crops, or with some refused; they are written, and their boxes
            drawn. By default the answers are those of `looks`.

    Example:

    >>> images, targets = cluttered_mnist("test").arrays(5)
    >>> plot_glimpses(model, images, "glimpses.png")
    """
    if looks is None:
        looks = _looks(model, images)
    if answers is None:
        answers = reading.answer(model, looks)
        windows = np.asarray(model.decode(looks)["transforms"])  # (B, S, 2, 3)
    else:
        windows = [_boxes_as_windows(answer["boxes"]) for answer in answers]
    by_member = {
        name: reading.by_member(looks[name], rank)
        for name, rank in (("transforms", 2), ("patches", 3), ("labels", 1))
    }  # (B, M, T, 2, 3), (B, M, T, g, g, C), (B, M, T or 1, K)
    rows, members, number = by_member["transforms"].shape[:3]
    lengths = [len(answer["labels"]) for answer in answers]
    counts = _which_count(model, looks, lengths)  # (B, T)
    said = [
        _said(model, answer, None if labels is None else labels[row])
        for row, answer in enumerate(answers)
    ]
    if any(max(image.shape[:2]) > PHOTO for image in images):
        photos = [
            _Photo(
                photo_of(image, rows),
                windows[row][: lengths[row]],
                answers[row],
                "  ".join([titles[row] if titles else "image", *said[row]]),
                {name: values[row] for name, values in by_member.items()},
                np.flatnonzero(counts[row]),
            )
            for row, image in enumerate(images)
        ]
        save(_photos_figure(model, photos), path)
        return
    figure = new_figure(figsize=(1.5 * (1 + number), 3.1 * rows * members))
    axes = figure.subplots(2 * rows * members, 1 + number, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    axes = axes.reshape(rows, members, 2, 1 + number)
    for row, (image, answer) in enumerate(zip(images, answers, strict=True)):
        above, below = axes[row, 0, :, 0]
        found = windows[row][: lengths[row]]
        title = titles[row] if titles else "image"
        _draw_found(above, model, image, found, answer, title)
        _write_answer(below, said[row])
        for member in range(members):
            of_member = {
                name: by_member[name][row, member] for name in by_member
            }
            for t in np.flatnonzero(counts[row]):
                _draw_glimpse(
                    axes[row, member, :, t + 1], model, image, of_member, t
                )
    save(figure, path)


def _draw_found(axis, model, image, windows, answer, title):
    """The image with the last window of each object that was found."""
    show(axis, image)
    draw_windows(axis, image, windows, ANSWER_COLOUR)
    if model.terminal and answer["sequence"] is not None:
        number_windows(axis, image, windows, answer["names"])
    _set_title(axis, title)


def _write_answer(axis, lines):
    """What was read, how sure it is, and what is true if that is known."""
    text = written("\n".join(lines))
    axis.text(
        0.5,
        0.6,
        _wrap(text["s"]),
        fontfamily=text["fontfamily"],
        ha="center",
        va="center",
        fontsize=10,
        parse_math=False,
        transform=axis.transAxes,
    )


def _said(model, answer, truth):
    """What was read, how sure it is, and what is true: lines of text."""
    lines = [
        f"reads: {reading.in_words(answer)}",
        f"{answer['probability']:.1%} sure",
    ]
    if truth is not None:
        lines.append(f"truth: {_true_sequence(model, truth)}")
    return lines


def photo_of(image, number):
    """An image as large as it is drawn, one of so many in a figure.

    Args:
        image: Array of shape `(H, W, C)` in [0, 255].
        number: Integer, images of the figure.

    Returns:
        Array of shape `(h, w, C)`, smaller if the image is too large.

    Example:

    >>> photo_of(np.zeros((3000, 4000, 1), "uint8"), 1).shape
    (1500, 2000, 1)
    """
    most = min(LARGEST_PHOTO, max(PHOTO, ALL_PHOTOS // number))
    return shrunk(image, most)


class _Photo(NamedTuple):
    """A photo of a figure, and what was seen in it."""

    image: np.ndarray  # (h, w, C), as large as it is drawn
    windows: np.ndarray  # (L, 2, 3), of the answer
    answer: dict
    title: str
    looks: dict  # of M members: (M, T, 2, 3), (M, T, g, g, C), (M, T or 1, K)
    glimpses: np.ndarray  # which of the T count

    @property
    def size(self):
        """Width and height in inches, with what is shown around it."""
        height, width = self.image.shape[:2]
        scale = max(1, PHOTO / max(height, width))  # no stamps beside photos
        return VIEW * scale * width / DPI, VIEW * scale * height / DPI

    @property
    def grid(self):
        """Columns of the patches beside it, and the side of one in inches."""
        number = max(1, len(self.looks["transforms"]) * len(self.glimpses))
        cell = float(np.clip(self.size[1] / number, *CELLS))
        rows = max(1, int(self.size[1] / cell + 1e-6))
        return -(-number // rows), cell

    @property
    def box(self):
        """Width and height in inches with patches and title."""
        width, height = self.size
        columns, cell = self.grid
        return width + columns * cell, max(height, cell) + TITLE


def _photos_figure(model, photos):
    """A figure of photos below each other, a pixel of theirs one of its own."""
    widths, heights = zip(*(photo.box for photo in photos), strict=True)
    figure = new_figure(figsize=(max(widths), sum(heights)))
    figure.set_layout_engine("none")
    bottom = sum(heights)
    for photo, high in zip(photos, heights, strict=True):
        bottom -= high
        _draw_photo(model, figure, photo, bottom, high)
    return figure


def _draw_photo(model, figure, photo, bottom, high):
    """A photo with its windows, and its patches, between two heights."""
    wide, total = figure.get_size_inches()

    def axis_at(left, top, width, height):
        place = left / wide, (bottom + high - top - height) / total
        axis = figure.add_axes((*place, width / wide, height / total))
        axis.axis("off")
        return axis

    width, height = photo.size
    axis = axis_at(0, TITLE, width, height)
    show(axis, photo.image)
    title = written(_clip(photo.title, max(COLUMNS, int(13 * photo.box[0]))))
    axis.text(
        0.01, 1.01, **title, fontsize=9, va="bottom", parse_math=False,
        transform=axis.transAxes,
    )  # fmt: skip
    columns, cell = photo.grid
    members = len(photo.looks["transforms"])
    for place, (member, t) in enumerate(
        itertools.product(range(members), photo.glimpses)
    ):
        of_member = {name: photo.looks[name][member] for name in photo.looks}
        tag = f"{member + 1}.{t + 1}" if members > 1 else f"{t + 1}"
        _draw_numbered(axis, photo.image, of_member["transforms"][t], tag)
        row, column = divmod(place, columns)
        below = axis_at(
            width + column * cell, TITLE * 2 + row * cell, cell - 0.1,
            cell - TITLE,
        )  # fmt: skip
        show(below, model.patch_picture(of_member["patches"][t]))
        sees = _sees(model, of_member, t)
        _set_title(below, f"{tag}: {sees}" if sees else tag)
    # Above the windows, of which the last is about the answer.
    draw_windows(axis, photo.image, photo.windows, ANSWER_COLOUR)
    if model.terminal and photo.answer["sequence"] is not None:
        names = photo.answer["names"]
        number_windows(axis, photo.image, photo.windows, names)


def _draw_numbered(axis, image, window, tag):
    """The outline of a window `(2, 3)`, and which it is."""
    draw_windows(axis, image, window[None], WINDOW_COLOUR)
    corners = np.asarray(geometry.window_corners(window, image.shape[:2]))
    # Where it can be seen, of a window that reaches beyond the image.
    corner = np.clip(corners[3], 0, np.array(image.shape[1::-1]) - 1)
    axis.text(
        *corner, tag, fontsize=9, color="white", va="bottom",
        bbox=dict(boxstyle="square,pad=0.1", fc=WINDOW_COLOUR, lw=0),
    )  # fmt: skip


def _sees(model, looks, t):
    """What the model says of glimpse t alone, if it does."""
    if len(looks["labels"]) != len(looks["transforms"]):
        return None
    return f"sees {model.label_name(looks['labels'][t].argmax())}"


def _looks(model, images):
    """What a model saw of images of one size, or of several."""
    if hasattr(images, "shape"):
        return model.glimpses(images)
    return reading.look(model, images)


def _draw_glimpse(axes, model, image, looks, t):
    """The image with the window of glimpse t, and below what was seen there."""
    above, below = axes
    show(above, image)
    draw_windows(above, image, looks["transforms"][t : t + 1], WINDOW_COLOUR)
    above.set_title(f"glimpse {t + 1}", fontsize=9)
    show(below, model.patch_picture(looks["patches"][t]))
    if sees := _sees(model, looks, t):
        _set_title(below, sees)


def animate_glimpses(model, images, path):
    """Writes an animated GIF: the windows, one glimpse after the other.

    Each frame has a column an image: the image with the window, the patch, and
    the answer to the target averaged over the glimpses so far; an answer that
    comes with the last glimpse is shown with that.

    Args:
        model: A model of this package, no ensemble.
        images: Array of shape `(B, H, W, C)` in [0, 255], or a list of B
            arrays `(H, W, C)`.
        path: Path of the GIF to write.

    Example:

    >>> images, targets = cluttered_mnist("test").arrays(3)
    >>> animate_glimpses(model, images, "glimpses.gif")
    """
    looks = _looks(model, images)
    images = [shrunk(image, SMALL) for image in images]
    frames = [
        _frame(model, images, looks, t)
        for t in range(math.prod(looks["transforms"].shape[1:3]))
    ]
    path = files.with_suffix(path, ANIMATION_SUFFIXES)
    with files.replacing(path) as partial:
        frames[0].save(
            partial,
            save_all=True,
            append_images=frames[1:],
            duration=[MILLISECONDS_A_GLIMPSE] * (len(frames) - 1)
            + [3 * MILLISECONDS_A_GLIMPSE],
            loop=0,
        )


def _frame(model, images, looks, t):
    """A picture of glimpse t at each image."""
    transforms = reading.by_member(looks["transforms"], 2)[:, 0, t]  # (B, 2, 3)
    patches = reading.by_member(looks["patches"], 3)[:, 0, t]  # (B, g, g, C)
    num_targets, per_target = looks["transforms"].shape[1:3]
    target, glimpse = divmod(t, per_target)
    # An answer that comes after the last glimpse is not given before.
    given = glimpse + 1 - (per_target - looks["labels"].shape[2])
    if given > 0:
        so_far = decoding.average_probabilities(
            looks["labels"][:, target : target + 1, :given]
        )
        so_far = np.asarray(so_far)[:, 0]  # (B, K)
    figure = new_figure(figsize=(2.4 * len(images), 4.9))
    axes = figure.subplots(2, len(images), squeeze=False)
    for column, image in enumerate(images):
        above, below = axes[:, column]
        show(above, image)
        window = transforms[column : column + 1]
        draw_windows(above, image, window, WINDOW_COLOUR)
        show(below, model.patch_picture(patches[column]))
        if given > 0:
            best = int(np.argmax(so_far[column]))
            title = f"{model.label_name(best)}  ({so_far[column, best]:.0%})"
            _set_title(below, title, 24, fontsize=11)
        above.axis("off")
        below.axis("off")
    title = f"glimpse {t + 1}"
    if num_targets > 1:
        title = f"target {target + 1}, glimpse {glimpse + 1}"
    figure.suptitle(title, fontsize=11)
    return to_picture(figure)


def plot_paths(model, images, path, *, labels=None):
    """Draws where the model looked, as a path over each image.

    The numbers are those of the glimpses, as far as the answer is made of them;
    the line joins the middles of their windows; each member of an ensemble has
    a line. The boxes are the windows that the answer is read from; the sharpest
    of a retina glimpse.

    Args:
        model: A model of this package.
        images: Array of shape `(B, H, W, C)` in [0, 255], or a list of B
            arrays `(H, W, C)`.
        path: Path of the picture to write.
        labels: True labels, `(B, S)`, written beside the answer.

    Example:

    >>> images, targets = mnist("test").arrays(12)
    >>> plot_paths(model, images, "paths.png")
    """
    looks = _looks(model, images)
    images = [shrunk(image, SMALL) for image in images]
    answers = reading.answer(model, looks)
    windows = np.asarray(model.decode(looks)["transforms"])  # (B, S, 2, 3)
    transforms = reading.by_member(looks["transforms"], 2)  # (B, M, T, 2, 3)
    lengths = [len(answer["labels"]) for answer in answers]
    counts = _which_count(model, looks, lengths)  # (B, T)
    columns = min(6, len(images))
    rows = -(-len(images) // columns)
    figure = new_figure(figsize=(2.3 * columns, 2.6 * rows))
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for index, image in enumerate(images):
        axis = axes.flat[index]
        show(axis, image)
        found = windows[index, : lengths[index]]
        draw_windows(axis, image, found, ANSWER_COLOUR)
        numbers = np.flatnonzero(counts[index])
        middles = transforms[index][:, numbers]  # (M, n, 2, 3)
        middles = geometry.centres(middles)  # (M, n, 2)
        for points in geometry.points_to_pixels(middles, image.shape[:2]):
            points = np.asarray(points)  # (n, 2)
            axis.plot(*points.T, color=WINDOW_COLOUR, linewidth=1.2)
            for number, point in zip(numbers, points, strict=True):
                axis.annotate(
                    str(number + 1), point, color="white", fontsize=7,
                    ha="center", va="center",
                    bbox=dict(
                        boxstyle="circle,pad=0.15", fc=WINDOW_COLOUR, lw=0
                    ),
                )  # fmt: skip
        truth = ""
        if labels is not None:
            truth = f", is {_true_sequence(model, labels[index])}"
        read = reading.in_words(answers[index])
        _set_title(axis, f"reads {read}{truth}", 28)
    save(figure, path)


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
    centres = np.asarray(geometry.centres(transforms))  # (B, S, N, 2)
    columns = min(4, len(spread))
    rows = -(-len(spread) // columns)
    figure = new_figure(figsize=(2.6 * columns, 2.8 * rows))
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
    save(figure, path)


def _set_title(axis, text, columns=COLUMNS, fontsize=9):
    """A title of any letters, no wider than so many columns."""
    title = written(text)
    axis.set_title(
        _clip(title["s"], columns),
        fontfamily=title["fontfamily"],
        fontsize=fontsize,
        parse_math=False,
    )


def _clip(text, columns):
    """The text in so many columns at most; a longer one lacks its middle."""
    if _columns(text) <= columns:
        return text
    begin, end = text[: len(text) // 2], text[len(text) // 2 :]
    while _columns(begin + end) >= columns:
        if len(begin) > len(end):
            begin = begin[:-1]
        else:
            end = end[1:]
    return f"{begin}…{end}"


def _columns(text):
    """How wide a text is: Chinese, Japanese and Korean letters take two."""
    return sum(1 + (east_asian_width(letter) in "FW") for letter in text)


def _wrap(text):
    """Lines as wide as an image, some for each of the text."""
    wrapped = (
        textwrap.wrap(line, COLUMNS, max_lines=4, placeholder=" …")
        for line in text.splitlines()
    )
    return "\n".join(itertools.chain.from_iterable(wrapped))


def _boxes_as_windows(boxes):
    """L lists of left, top, right, bottom -> `(L, 2, 3)`."""
    boxes = np.reshape(boxes, (-1, 4))  # (L, 4), even if L is 0
    return np.asarray(geometry.boxes_to_transforms(boxes))  # (L, 2, 3)


def _which_count(model, looks, lengths):
    """Which glimpses are part of the answer, `(B, T)`: those up to the end."""
    *_, targets, number, _, _ = looks["transforms"].shape
    looked_for = np.asarray(lengths)[:, None] + model.terminal  # (B, 1)
    counts = np.repeat(np.arange(targets) < looked_for, number, axis=1)
    if "num_glimpses" in looks:
        taken = np.asarray(looks["num_glimpses"])[:, None]
        counts &= np.arange(counts.shape[1]) < taken
    return counts


def _true_sequence(model, labels):
    """What is true in the words of the answer, in forward order."""
    known = range(len(model.label_names))
    labels = [int(label) for label in labels if int(label) in known]
    if model.reading_order == "backward":
        labels.reverse()
    names = [model.label_name(label) for label in labels]
    return decoding.join(names, model.label_names)
