"""Annotated pictures as images of sequences of objects."""

import collections
import hashlib
import warnings
from typing import NamedTuple

import keras
import numpy as np

from keras_edram import geometry
from keras_edram.checks import (
    check_boolean,
    check_choice,
    check_integer,
    check_size,
)
from keras_edram.datasets.annotated.annotations import (
    Annotations,
    box_problems,
    why_broken,
)
from keras_edram.datasets.annotated.formats.entries import (
    WHOLE,
    Problem,
)
from keras_edram.datasets.random_sequence import RandomSequence
from keras_edram.pictures import look_at_picture
from keras_edram.reading_order import (
    READING_ORDERS,
    end_sequences,
)
from keras_edram.words import relative_name

BASES = ("objects", "picture", "between")
# How many times as wide and as high as an image its window is kept, at most:
# reading it blurs little, and takes the memory of about four images.
OVERSAMPLING = 2
# Pictures that an error names; `keras-edram check-data` lists all.
NAMED_AT_MOST = 3


class AnnotatedPictures(RandomSequence):
    """An endless, reproducible sequence of parts of annotated pictures.

    An image is a window of a picture, resized to `image_size` without keeping
    its aspect and anti-aliased. The window lies in the *base*: what holds all
    objects of the picture, each side moved outwards by `margin` of the base's
    width or height; or the whole picture, if there are no objects or `base`
    says so. It is `crop_fraction` of the base wide and high and lies in its
    middle, with `random_crops` anywhere in it. With the base `"between"` it is
    then moved, by a random part of the way, towards the whole picture, or three
    times the base where that is less: so a model learns to read pictures that
    nobody has cut, and cut ones too. Last, each edge is moved by up to `jitter`
    of the window's width or height. Beyond the picture, its outermost pixels
    are repeated.

    The truth of an image are the labels of the objects in reading order, then
    the label that ends the sequence (see `end_sequences`), and the windows of
    the objects' boxes, which may reach beyond the image.

    What an image depends on, see `RandomSequence`.

    Each picture is decoded once, at construction; what windows can reach is
    kept in memory, with about twice as many pixels along each side as images
    have; with `"between"` up to six times as many.

    With the `image_size` `None` an image has the pixels that its window has in
    the picture: with the base `"picture"` and none of the other options, it is
    the picture as it is. Images of several sizes make no batch, so those of
    one are brought to the largest height and width among them, by black on the
    right and below; the truth is that of the image with it. `arrays` leaves
    each as it is. Such pictures are not kept, but decoded whenever they come.

    Args:
        annotations: `Annotations` of `read_annotations`, or `AnnotatedPicture`
            in a list, or from a generator, one after the other.
        class_names: Strings, the names of the labels 0, 1, ... Defaults to
            those of `Annotations`.
        image_size: Integer or `(height, width)` of the images in pixels, or
            `None` for as many as there are.
        colour: Boolean, whether images have the channels red, green and blue;
            otherwise one, their luma. Defaults to True.
        max_objects: Integer, the most objects of a picture (S is
            `max_objects + 1`). Defaults to the most that a picture has; a
            generator needs it.
        reading_order: `"forward"` or `"backward"`. Defaults to `"forward"`.
        base: `"objects"`; `"picture"`, which needs no boxes where the model
            is used later; or `"between"`, in training for both. Defaults to
            `"objects"`.
        margin: Float, at least 0. Defaults to 0.12.
        crop_fraction: Float in (0, 1]. Defaults to 1.
        random_crops: Boolean. Defaults to False.
        jitter: Float in [0, 0.5). Defaults to 0.
        invert: Boolean, whether half of the images are inverted, `255 - value`.
            Defaults to False.
        skip_broken: Boolean, whether pictures that cannot be used are left
            out; otherwise they are an error. Defaults to False.
        seed: Non-negative integer.

    Attributes:
        pictures: Tuple of the `AnnotatedPicture` that are used.
        fingerprint: String, another one for other files or annotations.

    Raises:
        ValueError: If a picture cannot be used, or for options out of range.

    Warns:
        UserWarning: Once of each kind of what is noted of the pictures, and of
            those that are left out.

    Example:

    >>> data = AnnotatedPictures(read_annotations("my_photos"), image_size=54)
    >>> images, targets = data.arrays(8)
    >>> images.shape
    (8, 54, 54, 3)
    >>> targets["transforms"].shape
    (8, 3, 2, 3)
    """

    def __init__(
        self,
        annotations,
        class_names=None,
        *,
        image_size,
        colour=True,
        max_objects=None,
        reading_order="forward",
        base="objects",
        margin=0.12,
        crop_fraction=1.0,
        random_crops=False,
        jitter=0.0,
        invert=False,
        skip_broken=False,
        seed=0,
    ):
        if not isinstance(annotations, Annotations):
            annotations = Annotations(annotations, (), (), None)
        self.class_names = tuple(class_names or annotations.class_names)
        if image_size is not None:
            image_size = check_size(image_size, "image_size")
        self.image_size = image_size
        self.colour = check_boolean(colour, "colour")
        if max_objects is None:
            max_objects = most_objects(annotations)
        self.max_objects = max_objects
        check_choice(reading_order, READING_ORDERS, "reading_order")
        self.reading_order = reading_order
        self.base = base
        self.margin = margin
        self.crop_fraction = crop_fraction
        self.random_crops = check_boolean(random_crops, "random_crops")
        self.jitter = jitter
        self.invert = check_boolean(invert, "invert")
        self._check_options()
        skip_broken = check_boolean(skip_broken, "skip_broken")
        self.pictures = self._load(annotations, skip_broken)
        super().__init__(
            num_pictures=len(self.pictures),
            image_shape=(*(image_size or (None, None)), 3 if colour else 1),
            num_targets=max_objects + 1,
            class_names=self.class_names,
            terminal=True,
            seed=seed,
        )

    def _check_options(self):
        check_choice(self.base, BASES, "base")
        if (
            self.margin < 0
            or not 0 < self.crop_fraction <= 1
            or not 0 <= self.jitter < 0.5
        ):
            raise ValueError(
                "`margin` must be at least 0, `crop_fraction` in (0, 1] and "
                f"`jitter` in [0, 0.5). Received: margin={self.margin}, "
                f"crop_fraction={self.crop_fraction}, jitter={self.jitter}"
            )
        check_integer(self.max_objects, "max_objects", minimum=0)

    def _load(self, annotations, skip_broken):
        """Keeps what is needed of the pictures, and returns those used."""
        broken = [problem for problem in annotations.problems if problem.broken]
        notes = [p for p in annotations.problems if not p.broken]
        used, self._kept = [], []

        def is_fit(picture, what):
            if what is not None:
                file = relative_name(picture.path, annotations.directory)
                broken.append(Problem(file, what, True))
            return what is None

        pictures = annotations.pictures
        if isinstance(pictures, (list, tuple)):
            # Before they are decoded, which may take minutes.
            pictures = [p for p in pictures if is_fit(p, self._unfit(p))]
            _refuse(broken, annotations.directory, skip_broken)
        for picture in pictures:
            what = self._unfit(picture)
            found = []
            if is_fit(picture, what or self._keep(picture, found)):
                used.append(picture._replace(image=None))
                file = relative_name(picture.path, annotations.directory)
                notes += [Problem(file, note, False, note) for note in found]
        _refuse(broken, annotations.directory, skip_broken)
        if not used:
            raise ValueError(
                "`annotations` must have at least 1 picture that can be used. "
                f"Received: none, and {len(broken)} problems"
            )
        left_out = [p._replace(kind="files left out") for p in broken]
        _warn_of(notes + left_out, annotations.directory)
        _, corners, scales, bases, outers = zip(*self._kept, strict=True)
        self._corners = np.stack(corners)  # (pictures, 2)
        self._scales = np.stack(scales)  # (pictures, 2)
        self._bases = np.stack(bases)  # (pictures, 2, 2)
        self._outers = np.stack(outers)  # (pictures, 2, 2)
        self._labels, self._boxes, self._counts = self._tables(used)
        self.fingerprint = _fingerprint(used, annotations.directory)
        return tuple(used)

    def _unfit(self, picture):
        """What keeps a picture from being used here, as a clause, if any."""
        labels = picture.labels
        unknown = set(labels) - set(self.class_names)
        if unknown:
            return f"has labels that are no class: {sorted(unknown)}"
        if len(labels) > self.max_objects:
            return f"has {len(labels)} objects, {self.max_objects} are allowed"
        if len(labels) != len(picture.boxes):
            return f"has {len(labels)} labels and {len(picture.boxes)} boxes"
        return None

    def _keep(self, picture, notes):
        """Keeps of a picture what is needed; what is wrong with it, if any."""
        try:
            decoded, found = _decoded(picture, self.colour)
        except (OSError, ValueError) as error:
            return why_broken(picture.path, error)
        notes += found
        for what, broken, _ in box_problems(picture.boxes, decoded.size):
            if broken:
                return what
        whole = np.array([(0, 0), decoded.size], "float64")
        boxes = () if self.base == "picture" else picture.boxes
        base = _base(boxes, whole, self.margin)
        side = base[1] - base[0]
        window = self.crop_fraction * side
        # Were it larger, nothing could be read in it, and all would be kept.
        outer = np.clip(whole, base[0] - side, base[1] + side)
        least, most, area = window, window, base
        if self.base == "between":
            least, most = np.sort([window, outer[1] - outer[0]], axis=0)
            both = np.stack([base, outer])  # (2, 2, 2)
            low, high = both[:, 0].min(axis=0), both[:, 1].max(axis=0)
            area = np.stack([low, high])  # (2, 2)
        if self.image_size is None:
            # Of a file nothing: it is decoded again.
            origin, scale = np.zeros(2), np.ones(2)
            kept = _Kept(picture.image, origin, scale, base, outer)
            self._kept.append(kept)
            return None
        size = np.array(self.image_size[::-1])
        # What edges can move by, and what the filter of a resized pixel needs.
        reach = (self.jitter + (1 + 2 * self.jitter) / size) * most
        scale = np.minimum(1, OVERSAMPLING * size / least)
        area = area + np.stack([-reach, reach])  # (2, 2)
        self._kept.append(_Kept(*_cut(decoded, area, scale), base, outer))
        return None

    def _tables(self, pictures):
        """Labels (n, S - 1), boxes (n, S - 1, 4) and counts (n,)."""
        index = {name: label for label, name in enumerate(self.class_names)}
        labels = np.zeros((len(pictures), self.max_objects), "int32")
        boxes = np.zeros((*labels.shape, 4))
        for row, picture in enumerate(pictures):
            count = len(picture.labels)
            labels[row, :count] = [index[name] for name in picture.labels]
            boxes[row, :count] = picture.boxes
        return labels, boxes, np.array([len(p.labels) for p in pictures])

    def _compose(self, start, stop):
        count = stop - start
        # Always the same numbers, so that an option more or less leaves the
        # choices of the others as they were.
        numbers = self._uniform(start, count, 8)
        chosen = self._order(start, count)[:, 0]
        windows = self._windows(chosen, numbers)  # (n, 2, 2)
        inverted = self.invert & (numbers[:, 6] < 0.5)
        if self.image_size is None:
            windows = np.rint(windows)
            windows[:, 1] = np.maximum(windows[:, 1], windows[:, 0] + 1)
            images, windows = self._read_as_they_are(chosen, windows, inverted)
        else:
            images = self._read(chosen, windows)
            images[inverted] = 255 - images[inverted]
        low, high = windows[:, None, 0], windows[:, None, 1]  # (n, 1, 2)
        corners = self._boxes[chosen].reshape(
            count, self.max_objects, 2, 2
        )  # (n, S - 1, 2, 2)
        corners = (corners - low[:, :, None]) / (high - low)[:, :, None]
        # Where data are made in the background, the accelerator has other work.
        with keras.device("cpu:0"):
            transforms = geometry.boxes_to_transforms(
                corners.reshape(count, self.max_objects, 4)
            )  # (n, S - 1, 2, 3)
        labels, transforms = end_sequences(
            self._labels[chosen],
            keras.ops.convert_to_numpy(transforms),
            self._counts[chosen],
            len(self.class_names),
            self.reading_order,
        )
        return images, labels, transforms

    def _windows(self, chosen, numbers):
        """(left, top), (right, bottom) in pixels of the pictures: (n, 2, 2)."""
        low, high = self._bases[chosen, 0], self._bases[chosen, 1]  # (n, 2)
        side = self.crop_fraction * (high - low)
        place = numbers[:, :2] if self.random_crops else 0.5
        corner = low + place * (high - low - side)
        windows = np.stack([corner, corner + side], axis=1)  # (n, 2, 2)
        if self.base == "between":
            way = numbers[:, 7, None, None]
            windows += way * (self._outers[chosen] - windows)
        moves = 2 * numbers[:, 2:6].reshape(-1, 2, 2) - 1  # (n, 2, 2)
        return windows + self.jitter * moves * np.diff(windows, axis=1)

    def _read(self, chosen, windows):
        """The windows as images: (n, H, W, C)."""
        from PIL import Image

        windows = windows - self._corners[chosen, None]
        windows *= self._scales[chosen, None]
        height, width, _ = self.image_shape
        images = np.empty((len(chosen), *self.image_shape), "uint8")
        for image, picture, window in zip(images, chosen, windows, strict=True):
            resized = Image.fromarray(self._kept[picture].pixels).resize(
                (width, height),
                Image.Resampling.BILINEAR,
                box=tuple(window.ravel()),
            )
            image[:] = np.asarray(resized).reshape(
                self.image_shape
            )  # (H, W, C), of grey too
        return images

    def _read_as_they_are(self, chosen, windows, inverted):
        """The windows, in whole pixels, as images, and as those are filled up.

        Images `(n, H, W, C)` of the largest height and width, and the windows
        `(n, 2, 2)` that all of each image shows.
        """
        sides = np.diff(windows, axis=1)[:, 0].astype(int)  # (n, 2)
        width, height = sides.max(axis=0, initial=1)
        images = np.zeros(
            (len(chosen), height, width, self.image_shape[-1]), "uint8"
        )
        for image, picture, window, (wide, high), is_inverted in zip(
            images, chosen, windows, sides, inverted, strict=True
        ):
            pixels = self._kept[picture].pixels
            known = self.pictures[picture]._replace(image=pixels)
            decoded, _ = _decoded(known, self.colour)
            pixels, corner, _ = _cut(decoded, window, np.ones(2))
            left, top = (window[0] - corner).astype(int)
            pixels = pixels[top : top + high, left : left + wide]
            pixels = pixels.reshape(high, wide, -1)  # (h, w, C), of grey too
            image[:high, :wide] = 255 - pixels if is_inverted else pixels
        low = windows[:, 0]
        shown = np.stack([low, low + (width, height)], axis=1)  # (n, 2, 2)
        return images, shown


def most_objects(annotations):
    """The most objects that a picture of `Annotations` has, 0 without any.

    Example:

    >>> most_objects(read_annotations("my_photos"))
    2
    """
    return max((len(p.labels) for p in annotations.pictures), default=0)


def _fingerprint(pictures, directory):
    """A string that says which pictures these are, and how annotated."""
    digest = hashlib.sha256()
    for picture in pictures:
        path = picture.path
        # Files of many kinds are as long as before when others are put there.
        content = path.read_bytes() if path.is_file() else b""
        content = hashlib.sha256(content).hexdigest()
        labels, boxes = list(picture.labels), picture.boxes.round(3).tolist()
        name = relative_name(path, directory)
        digest.update(f"{name}\n{content}\n{labels}\n{boxes}\n".encode())
    return digest.hexdigest()[:16]


class _Kept(NamedTuple):
    """What is kept of a picture, and where that lies on it."""

    pixels: np.ndarray  # uint8, (h, w) or (h, w, 3); None if not kept
    corner: np.ndarray  # of the picture's pixels, x and y of the left upper one
    scale: np.ndarray  # kept pixels a pixel of the picture, along x and y
    base: np.ndarray  # (left, top), (right, bottom)
    outer: np.ndarray  # the same of what windows between are moved towards


def _decoded(picture, colour):
    """The picture as `PIL.Image.Image`, in colour or grey, and notes on it."""
    from PIL import Image

    if picture.image is None:
        return look_at_picture(picture.path, colour=colour)
    return Image.fromarray(picture.image).convert("RGB" if colour else "L"), []


def _base(boxes, whole, margin):
    """What windows lie in: (left, top), (right, bottom) as (2, 2)."""
    if not len(boxes):
        return whole
    corners = np.reshape(boxes, (-1, 2, 2))  # (objects, 2, 2)
    low, high = corners[:, 0].min(axis=0), corners[:, 1].max(axis=0)
    side = high - low
    base = np.stack([low - margin * side, high + margin * side])  # (2, 2)
    # A wrong box may lie miles away: that shall not cost memory.
    return np.clip(base, -whole[1], 2 * whole[1])


def _cut(picture, area, scale):
    """The area of a picture, reduced; beyond the picture its edge is repeated.

    Args:
        picture: `PIL.Image.Image`.
        area: Array (2, 2): left and top, right and bottom in pixels.
        scale: Array (2,), at most 1: what to multiply width and height by.

    Returns:
        `(pixels, corner, scale)`, see `_Kept`; the scale is about the one that
        was asked for, so that pixels are whole.
    """
    from PIL import Image

    low, high = np.floor(area[0]) - 1, np.ceil(area[1]) + 1
    inside_low = np.clip(low, 0, np.array(picture.size) - 1)
    inside_high = np.clip(high, inside_low + 1, picture.size)
    side = inside_high - inside_low
    reduced = np.maximum(1, np.round(side * scale))
    scale = reduced / side
    part = picture.resize(
        tuple(reduced.astype(int)),
        Image.Resampling.BILINEAR,
        box=(*inside_low, *inside_high),
    )
    before = np.ceil(np.maximum(0, inside_low - low) * scale).astype(int)
    after = np.ceil(np.maximum(0, high - inside_high) * scale).astype(int)
    pixels = np.asarray(part)
    padding = [(before[1], after[1]), (before[0], after[0]), (0, 0)]
    pixels = np.pad(pixels, padding[: pixels.ndim], mode="edge")
    return pixels, inside_low - before / scale, scale


def _refuse(broken, directory, skip_broken):
    """Raises `ValueError` if there is anything broken that is not skipped."""
    if not broken or skip_broken:
        return
    files = {}
    for problem in broken:
        files.setdefault(problem.file, problem.what)
    named = [f"{file}: {what}" for file, what in files.items()]
    if len(named) > NAMED_AT_MOST:
        named[NAMED_AT_MOST:] = ["..."]
    raise ValueError(
        "All pictures must be such that they can be used. "
        f"{_check_data(directory)} lists what is wrong, and `skip_broken=True`,"
        " for commands `--set skip_broken=True`, leaves those out. "
        f"Received: {len(files)} broken. {'; '.join(named)}"
    )


def _warn_of(problems, directory):
    """Warns once of each kind of problems."""
    kinds = collections.defaultdict(list)
    for problem in problems:
        kinds[problem.kind or problem.what].append(problem)
    for kind, found in kinds.items():
        first = found[0]
        of_one = first.file != WHOLE
        example = f": {len(found):,}, as {first.file}" * of_one
        example += f" ({first.what})" * (first.what != kind)
        rest = f"; {_check_data(directory)} lists all" * (directory is not None)
        warnings.warn(f"{kind}{example}{rest}", stacklevel=2)


def _check_data(directory):
    where = "DIR" if directory is None else directory
    return f"`keras-edram check-data {where}`"
