"""What the EDRAM recipes have in common."""

import functools
import pathlib
import statistics

import keras

from keras_edram.checks import check_integer
from keras_edram.datasets import cluttered_mnist
from keras_edram.losses import BOX_BETA, LabelLoss, TransformLoss
from keras_edram.metrics import (
    AverageError,
    GlimpseError,
    SequenceError,
    WindowIoU,
)
from keras_edram.models.edram import EDRAM, SMALL_SIZES
from keras_edram.recipes import _training
from keras_edram.recipes._tables import (
    Paper,
    images_seen,
    milliseconds,
    minutes,
    multiply_adds,
    parameters,
)
from keras_edram.training import Recipe

# The paper's own, which are EDRAM's defaults.
FULL_SIZES = _training.defaults(EDRAM, *SMALL_SIZES)
LOOKS = _training.defaults(EDRAM, "glimpse_size", "context_size")
# A quarter of the widths, and a context network that finds what is small.
SEARCHING_SIZES = SMALL_SIZES | dict(
    context_filters=(8, 16, 32, 48, 48),
    context_layout="strided_search",
    glimpse_size=LOOKS["glimpse_size"],
    initial_transform="context",
    relative_emission=True,
)
# A quarter of the widths, to read a number that was cut out.
READER = dict(
    # Model
    glimpses_per_target=2,
    **LOOKS,
    **SMALL_SIZES,
    standardize=True,
    # Loss
    alpha_what=1.0,
    alpha_where=10.0,
    # Optimiser
    learning_rate=3e-3,
    weight_decay=4e-3,
    warmup_steps=200,
)
# With one glimpse a character the first must lie on the first character: the
# context network chooses it, and must see where that is.
SEARCHING_READER = READER | dict(
    glimpses_per_target=1,
    context_layout="strided_search",
    context_size=64,
    context_filters=(8, 16, 32),
    initial_transform="context",
)
# Where EDRAM's defaults depart from the paper.
AS_PUBLISHED = dict(
    detach_transforms=False, antialias=False, initialization="paper"
)
OTHER_SEEDS = (1, 2)  # that a recipe may have been trained with too
# The titles of its tables, and what its Table 1 has.
ONE_DIGIT = "Table 1: one digit in clutter, 100x100"
FEWER_DISTRACTORS = "Table 1b: one digit, 5 distractors, 100x100"
ONE_DIGIT_ERROR = "0.6 % (training digits in the test images)"
LARGE = "Beyond the paper: large images"
PRINTED = "Beyond the paper: printed numbers"
SEQUENCES = "Table 2: sequences, all of it right"


def _error(variant=None):
    """A column: the errors of runs, or those of a variant."""

    def cell(run):
        figures = run.figures if variant is None else run.of_variant(variant)
        error = (figures or {}).get("error")
        return None if error is None else f"{error:.2%}"

    return cell


def _error_of_seeds(run):
    """A column: mean and deviation of the seeds, where others were trained."""
    others = [run.of_variant(f"seed_{seed}") for seed in OTHER_SEEDS]
    if None in others:
        return None
    errors = [figures["error"] for figures in (run.figures, *others)]
    deviation = statistics.stdev(errors)
    return f"{statistics.mean(errors):.2%} ± {100 * deviation:.2f}"


def _overlap(run):
    """A column: of the last window with the box; of what was trained."""
    overlap = run.figures.get("iou")
    return None if overlap is None else f"{overlap:.3f}"


def _name(run):
    """A column: of the recipe or the ensemble; what is counted has none."""
    return f"`{run.name}`" if "error" in run.figures else None


def _protocol(run):
    if "settings" not in run.figures:
        return None
    protocol = run.figures["settings"].get("protocol", "own split")
    return f"{protocol}, {pathlib.PurePath(run.figures['source']).name}"


PAPER = Paper(
    name="edram",
    reference="Ablavatski, Lu, Cai, Enriched Deep Recurrent Visual Attention "
    "Model for Multiple Object Recognition, WACV 2017",
    columns={
        "model": lambda run: run.row.model,
        "published": lambda run: run.row.published,
        "ours: test error": _error(),
        "three seeds": _error_of_seeds,
        "10 paths": _error("rollouts"),
        "10 crops": _error("crops"),
        "no boxes": _error("no_boxes"),
        "overlap": _overlap,
        "parameters": parameters,
        "multiply-adds (millions)": multiply_adds,
        "ms": milliseconds,
        "images seen": images_seen,
        "minutes": minutes,
        "protocol, source": _protocol,
        "recipe": _name,
    },
)

model = functools.partial(_training.model, EDRAM)


def model_of_any_size(settings, data):
    """As `model`, for images of any size, whatever size the data have."""
    image_shape = (None, None, data.image_shape[-1])
    return model({**settings, "image_shape": image_shape}, data)


def one_digit(summary, **changes):
    """A recipe of our own on one digit in 100x100 cluttered images.

    Args:
        summary: See `Recipe`.
        **changes: Settings that are others.

    Returns:
        `Recipe`.
    """
    return Recipe(
        summary=summary,
        settings=dict(
            # Data
            protocol="held_out",
            batch_size=64,
            epochs=75,
            steps_per_epoch=125,
            validation_steps=40,
            test_images=10_000,
            seed=0,
            # Model
            glimpses_per_target=6,
            **LOOKS,
            **SMALL_SIZES,
            # Loss
            alpha_what=1.0,
            alpha_where=10.0,
            # Optimiser
            learning_rate=4e-3,
            weight_decay=4e-3,
            warmup_steps=100,
        )
        | changes,
        data=data,
        model=model,
        compile=compile_with_cosine_adamw,
    )


def data(settings, split, source):
    """Cluttered MNIST of one split, by the recipe's protocol and seed."""
    return cluttered_mnist(
        split,
        source=source,
        protocol=settings["protocol"],
        seed=settings["seed"],
        **{
            name: settings[name]
            for name in ("digit_copies", "num_distractors")
            if name in settings
        },
    )


def crop_fraction(settings):
    """The part of a base's side that an image has, as 54 of 64 in the paper."""
    base_size = check_integer(settings["base_size"], "base_size")
    return min(1.0, settings["image_size"] / base_size)


def compile_edram(model, optimizer, settings, jit_compile):
    """Compiles EDRAM with the losses of Eq. 6 to 9 and its metrics."""
    where = TransformLoss(relative=settings.get("relative_windows", False))
    model.compile(
        optimizer,
        loss={"labels": LabelLoss(), "transforms": where},
        loss_weights=loss_weights(settings),
        metrics={
            "labels": [AverageError(), GlimpseError()],
            "transforms": [WindowIoU()],
        },
        jit_compile=jit_compile,
    )


def compile_with_cosine_adamw(model, settings, jit_compile):
    """How the recipes of our own compile EDRAM."""
    compile_edram(
        model, _training.cosine_adamw(settings), settings, jit_compile
    )


def compile_as_published(model, settings, jit_compile):
    """How the paper compiles EDRAM."""
    compile_edram(model, adam(settings), settings, jit_compile)


def compile_reader(model, settings, jit_compile, optimizer=None):
    """How the recipes of sequences compile EDRAM: boxes leave skew free."""
    where = TransformLoss(
        BOX_BETA,
        relative=settings.get("relative_windows", False),
        enlarged=settings.get("enlarged_windows"),
    )
    model.compile(
        optimizer or _training.cosine_adamw(settings),
        loss={
            "labels": LabelLoss(),
            "transforms": where,
        },
        loss_weights=loss_weights(settings),
        metrics={
            "labels": [SequenceError(), AverageError("target_error")],
            "transforms": [WindowIoU()],
        },
        jit_compile=jit_compile,
    )


def compile_reader_as_published(model, settings, jit_compile):
    """How the paper compiles EDRAM for sequences."""
    compile_reader(model, settings, jit_compile, adam(settings))


def loss_weights(settings):
    """α1 and α2 of Eq. 7."""
    return {
        "labels": settings["alpha_what"],
        "transforms": settings["alpha_where"],
    }


def adam(settings):
    """The paper's optimiser."""
    return keras.optimizers.Adam(
        settings["learning_rate"], global_clipnorm=10.0
    )


def plateau(settings):
    """The paper's schedule: a tenth of the rate when the loss stays."""
    return [
        keras.callbacks.ReduceLROnPlateau(
            monitor="loss", factor=0.1, patience=settings["plateau_patience"]
        )
    ]
