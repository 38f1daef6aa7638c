"""Runs what was written, and refuses it if it is not the model.

Nothing that an export answers may be another answer than the model's: labels
and lengths are the same, and numbers agree within a tolerance, on all images,
in batches of two sizes; where it takes images of any size, also of two of
those. There are three exceptions.

- A tie. Which of two labels wins may turn with the last digit where both are
  equally probable. An answer is accepted if it is the most probable one of
  some probabilities within the tolerance of the model's: for one target, if
  the two labels differ by no more than twice the tolerance.
- A policy. What RAM sees decides where it looks next, so a trained one enlarges
  the last digit, up to ten times a glimpse: `ram_cluttered_mnist_100` in TFLite
  looked elsewhere by 1e-6 at its second place, 1e-4 at its fourth and 0.2 at
  its eighth, the same places on 13 of 32 images. So all paths must agree in
  their first places; where they agree to the end the answers do; and of all
  images `MAX_OTHER` may have another label (there 1 of 32 had).
- Fewer bits. Quantised weights are another model; each kind has its tolerance,
  and a share of the images on which an output may be off by more.
"""

import importlib
import math
import pathlib
import signal
import subprocess
import sys
import tempfile
from typing import NamedTuple

import numpy as np

from keras_edram.serving import formats
from keras_edram.serving.signatures import STEP_SIGNATURES, class_names

NUM_IMAGES = 32
MAX_VALUES = 2**25  # of compared images: of large ones there are fewer
SECOND_BATCH = 3  # another than anything was traced with
DIGIT = 28  # side of a digit in pixels, where it fits
# Height and width of images where any are taken, wide and high, even and odd.
SIZES = (128, 192), (161, 100)
STEP_OUTPUTS = ("step_probabilities", "step_transforms")
MAX_OTHER = 0.1
# Places are the same within this part of the tolerance, for the answer to what
# is seen there is steep too; of exact exports on this share of the images.
SAME_PLACE = 0.25
MIN_SAME = 0.2


class Tolerance(NamedTuple):
    """By how much an export may differ.

    Attributes:
        probabilities: Float.
        windows: Float, of transforms, boxes and locations, the image being 2
            wide.
        share: Float, of the images on which an output may be off by more.
        places: Integer, of a policy: how many first places agree on all
            images; with a share: how many first glimpses are compared of
            those that are taken one by one.
    """

    probabilities: float
    windows: float
    share: float = 0.0
    places: int = 4


# Of TFLite, measured: the probabilities of one digit are off by 1e-6; those of
# `edram_small_house_numbers`, which looks ten times and is steep where it does
# not know, by 4e-3 on one of 32 images.
EXACT = Tolerance(0.01, 0.005)


def compare(
    model, path, open_export, tolerance=EXACT, *, images=None, steps=False
):
    """Raises unless what was written gives the model's own answers.

    Args:
        model: The model that was written.
        path: Path of what was written.
        open_export: `formats.Format.open` of its format.
        tolerance: `Tolerance`.
        images: Array of shape `(B, H, W, C)`, on which to compare; by default
            those of `compared_images`, of all `SIZES` if it takes any.
        steps: Boolean, whether it has to have `start` and `look` too.

    Raises:
        RuntimeError: If it gives other answers, or none.
    """
    if images is not None:
        of_sizes = [images]
    elif model.takes_any_size:
        of_sizes = [compared_images(model, size=size) for size in SIZES]
    else:
        of_sizes = [compared_images(model)]
    of_sizes = [
        np.asarray(images[:NUM_IMAGES], "float32") for images in of_sizes
    ]
    answers = iter(run_apart(open_export, path, *of_sizes))
    for images in of_sizes:
        _compare(model, images, answers, tolerance, steps)


def _compare(model, images, answers, tolerance, steps):
    """`compare` of images of one size, to the next of the answers."""
    # Not `predict`: its graph might have the faults of that of an export.
    looks = {
        name: np.asarray(value)
        for name, value in model(images, training=False).items()
    }
    expected = {
        name: np.asarray(value) for name, value in model.decode(looks).items()
    }
    if steps:
        expected |= _glimpse_by_glimpse(looks)
    for batch, found in zip(_batches(images), answers, strict=False):
        number = len(batch)
        _Comparison(
            model,
            looks["labels"][:number],
            {name: value[:number] for name, value in expected.items()},
            found,
            tolerance,
        ).check()


class _Comparison:
    """Of the answers to one batch; arguments as of `compare`.

    Args:
        logits: The model's, `(B, [M,] S, A, K)`.
        expected, found: Dictionaries of arrays, of the model and of the export.
    """

    def __init__(self, model, logits, expected, found, tolerance):
        self.model = model
        self.logits = logits
        self.expected = expected
        self.found = dict(found)
        self.tolerance = tolerance

    def check(self):
        self._check_outputs()
        self._check_names()
        self._check_labels()
        compared = self._of_same_path()
        same_length = self.expected["lengths"] == self.found["lengths"]
        for name, value in self.expected.items():
            if value.dtype.kind == "i":
                continue
            # How long an answer is decides which objects have a box, and which
            # target of a member that reads backward is which object.
            by_length = name in ("probabilities", "transforms", "boxes")
            self._check_values(
                name, compared & same_length if by_length else compared
            )

    def _check_outputs(self):
        names = set(self.found) - {"names"}
        if names != set(self.expected):
            raise RuntimeError(
                f"The export must have the outputs {sorted(self.expected)}. "
                f"It has {sorted(names)}"
            )
        for name in STEP_OUTPUTS:
            if name in self.expected:
                # Models that answer once do so after a target's last glimpse.
                every = (
                    self.found[name].shape[1] // self.expected[name].shape[1]
                )
                self.found[name] = self.found[name][:, every - 1 :: every]
        for name, value in self.expected.items():
            found = self.found[name]
            if (found.shape, found.dtype) != (value.shape, value.dtype):
                raise RuntimeError(
                    f"The {name} of the export must be {value.dtype} of shape "
                    f"{value.shape}. They are {found.dtype} of {found.shape}"
                )
            if not np.isfinite(found).all():
                raise RuntimeError(
                    f"The {name} of the export must be finite. They are not"
                )

    def _check_names(self):
        """Names and lengths say what the labels say."""
        labels = self.found["labels"]
        names = class_names(self.model)
        there = np.arange(labels.shape[1]) < self.found["lengths"][:, None]
        if ((labels >= 0) != there).any() or (labels >= len(names)).any():
            raise RuntimeError(
                "The labels of the export must be classes, as many as its "
                "lengths say. They are not"
            )
        names = np.array([*names, ""])[labels]  # (B, S)
        if (self.found.get("names", names) != names).any():
            raise RuntimeError(
                "The names of the export must be those of its labels. "
                "They are not"
            )

    def _of_same_path(self):
        """Images on which both looked at the same places: Booleans, `(B,)`."""
        if not self.model.has_policy:
            return np.ones(len(self.logits), bool)
        allowed, places = self.tolerance.windows, self.tolerance.places
        differences = self._differences("locations")  # (B, ..., S, N, 2)
        first = differences[..., :places, :].max()
        if not first <= allowed:
            raise RuntimeError(
                f"The export must look at the first {places} places of the "
                f"model, within {allowed}. It is off by {first}"
            )
        of_image = differences.reshape(len(differences), -1).max(axis=1)  # (B,)
        same = of_image <= allowed * SAME_PLACE
        # Of the few images of the second batch it may be none.
        if (
            not self.tolerance.share
            and len(same) > SECOND_BATCH
            and same.mean() < MIN_SAME
        ):
            raise RuntimeError(
                "The export must look where the model looks, on at least "
                f"{MIN_SAME:.0%} of the images. It does on {same.mean():.0%}"
            )
        return same

    def _check_labels(self):
        probabilities = self._of_each_target()
        mine, others = self.expected["labels"], self.found["labels"]
        wrong = [
            index
            for index in np.flatnonzero((mine != others).any(axis=1))
            if not self._is_tie(
                probabilities[index], mine[index], others[index]
            )
        ]
        share = MAX_OTHER if self.model.has_policy else self.tolerance.share
        if not _are_few(len(wrong), len(mine), share):
            first = wrong[0]
            raise RuntimeError(
                "The export must give the labels of the model. On "
                f"{len(wrong)} of {len(mine)} images it gives others, such as "
                f"{others[first].tolist()} for {mine[first].tolist()}"
            )

    def _of_each_target(self):
        """The model's probabilities, member by member: `(B, M, S, K)`."""
        values = _softmax(self.logits).mean(axis=-2)  # (B, [M,] S, K)
        return values if self.model.members else values[:, None]

    def _is_tie(self, probabilities, mine, other):
        """Whether the labels `other` win within the tolerance.

        The logarithms of what both answers say alike cancel out.
        """
        mine, other = self._terms(mine), self._terms(other)
        allowed = self.tolerance.probabilities
        least = [max(probabilities[term] - allowed, 0) for term in mine - other]
        most = [min(probabilities[term] + allowed, 1) for term in other - mine]
        return math.prod(most) >= math.prod(least)

    def _terms(self, labels):
        """What an answer `(S,)` consists of, see `decoding`.

        A set of (member, target, class).
        """
        objects = [label for label in labels.tolist() if label >= 0]
        end = [self.model.num_classes - 1] * (len(objects) < len(labels))
        terms = set()
        for member, reader in enumerate(self.model.members or [self.model]):
            forward = reader.reading_order == "forward"
            read = [*(objects if forward else objects[::-1]), *end]
            terms |= {(member, *said) for said in enumerate(read)}
        return terms

    def _check_values(self, name, compared):
        allowed = self.tolerance.windows
        if "probabilit" in name:
            allowed = self.tolerance.probabilities
        differences = self._differences(name)[compared]
        if name in STEP_OUTPUTS and self.tolerance.share:
            # The later ones carry what all that were before are off by.
            differences = differences[:, : self.tolerance.places]
        axes = tuple(range(1, differences.ndim))
        differences = differences.max(axis=axes, initial=0)  # (B,)
        beyond = (~(differences <= allowed)).sum()
        if not _are_few(beyond, len(differences), self.tolerance.share):
            raise RuntimeError(
                f"The export must agree with the model within {allowed}. Its "
                f"{name} are off by {differences.max()}, and by too much on "
                f"{beyond} of {len(differences)} images"
            )

    def _differences(self, name):
        return np.abs(self.found[name] - self.expected[name])


def _are_few(number, of, share):
    """Whether so many of the images may differ; if any, then one of a few."""
    return number <= (max(1, int(share * of)) if share else 0)


def _glimpse_by_glimpse(looks):
    """What `run_steps` has to give: `(B, S, N, ...)` -> `(B, T, ...)`."""
    probabilities = _softmax(looks["labels"])  # (B, S, A, K)
    number, *_, num_classes = probabilities.shape
    return {
        "step_probabilities": probabilities.reshape(number, -1, num_classes),
        "step_transforms": looks["transforms"].reshape(number, -1, 2, 3),
    }  # (B, T, ...)


def _softmax(logits):
    """In NumPy: the process that runs an export loads no Keras."""
    values = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return values / values.sum(axis=-1, keepdims=True)


def compared_images(model, number=NUM_IMAGES, size=None):
    """Images whose answers differ: `(n, H, W, C)` in [0, 255].

    Rows of the digits that ship, as many in a row as the model reads, from one
    on, anywhere in the image; every third has a cloudy ground.

    Args:
        model: Any.
        number: Integer n.
        size: `(height, width)`; by default that of the model's images.

    Returns:
        float32 array of whole numbers.

    Example:

    >>> compared_images(RAM.from_preset("ram_mnist")).shape
    (32, 28, 28, 1)
    """
    from PIL import Image

    from keras_edram.datasets import load_digits

    def resize(picture, wide, high):
        return np.asarray(Image.fromarray(picture).resize((wide, high)))

    height, width, channels = model.some_image_shape
    height, width = size or (height, width)
    digits = iter(load_digits("bundled", "test").images)  # 0 to 9, again
    most = min(max(model.num_targets - model.terminal, 1), width)
    generator = np.random.default_rng(0)
    images = []
    for index in range(number):
        count = index % most + 1
        high, wide = min(DIGIT, height), min(DIGIT, width // count)
        row = [resize(next(digits), wide, high) for _ in range(count)]
        clouds = generator.integers(0, 60 * (index % 3 == 2) + 1, (6, 6))
        image = resize(clouds.astype("uint8"), width, height).copy()
        top = generator.integers(0, height - high + 1)
        left = generator.integers(0, width - wide * count + 1)
        part = image[top : top + high, left : left + wide * count]
        digits_in_row = np.concatenate(row, axis=1)  # (h, w)
        np.maximum(part, digits_in_row, out=part)
        images.append(image)
    images = np.stack(images)[..., None].astype("float32")  # (n, H, W, 1)
    return images.repeat(channels, axis=-1)  # (n, H, W, C)


def run_apart(open_export, path, *images):
    """What `run` gives, in a process that never saw the model.

    Args:
        open_export, path, images: As of `run`.

    Returns:
        What `run` returns.

    Raises:
        RuntimeError: If that process fails; with its last words.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, answers = f"{folder}/images.npz", f"{folder}/outputs.npz"
        np.savez(given, *images)
        opener = (open_export.__module__, open_export.__name__)
        done = subprocess.run(
            [sys.executable, "-m", __name__, *opener, path, given, answers],
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode:
            raise RuntimeError(
                "The export must run in another process, to be compared with "
                f"the model. {_last_words(done)}"
            )
        batches = []
        with np.load(answers) as arrays:
            for key, value in arrays.items():
                number, _, name = key.partition(" ")
                if int(number) == len(batches):
                    batches.append({})
                batches[-1][name] = value
        return batches


def _last_words(done):
    """Why a process ended that failed."""
    if done.returncode < 0:
        number = -done.returncode
        names = {member.value: member.name for member in signal.Signals}
        return (
            f"It was ended by {names.get(number, f'signal {number}')}; it may "
            "have had too little memory"
        )
    lines = [line.strip() for line in done.stderr.splitlines()]
    return next(
        (f"It says: {line}" for line in reversed(lines) if line),
        f"It ended with status {done.returncode}",
    )


def run(open_export, path, *images):
    """All that is compared, of an export opened once.

    Args:
        open_export: `formats.Format.open` of its format.
        path: Path of the export.
        *images: Arrays of shape `(B, H, W, C)`, in [0, 255].

    Returns:
        List of dictionaries of arrays, one for each of `_batches` of each.
    """
    run_signature, signatures = open_export(path)
    return [
        _run(run_signature, signatures, batch)
        for of_one_size in images
        for batch in _batches(of_one_size)
    ]


def _batches(images):
    """All images, and the first few as a batch of another size."""
    few = SECOND_BATCH if len(images) > SECOND_BATCH else 1
    return images, images[:few]


def _run(run_signature, signatures, images):
    outputs = run_signature("serving_default", images=formats.finite(images))
    if {*STEP_SIGNATURES} <= signatures:
        _, num_targets, glimpses_per_target, _ = outputs["locations"].shape
        number = num_targets * glimpses_per_target
        steps = formats.take_steps(run_signature, images, number)
        outputs = outputs | {name: steps[name] for name in STEP_OUTPUTS}
    return outputs


def _main(module, function, path, given, answers):
    opener = getattr(importlib.import_module(module), function)
    with np.load(given) as images:
        batches = run(opener, pathlib.Path(path), *images.values())
    np.savez(
        answers,
        **{
            f"{number} {name}": value
            for number, outputs in enumerate(batches)
            for name, value in outputs.items()
        },
    )


if __name__ == "__main__":
    _main(*sys.argv[1:])
