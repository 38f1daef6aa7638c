"""What the recipes of the RAM report have in common.

A module is a table of the report. Its rows have the report's models; one more
is our own. All are trained alike, by AdamW with a cosine schedule on augmented
or fresh images. (The report: 100,000 steps of 20 images, Adam at 1e-4; the
baselines by gradient descent at 1e-3.)

What is our own was chosen on validation images in short trials, one run each.
Cluttered 60x60, 154,000 images: a rate of 2e-3 gave an error of 11.9 %, 5e-3
one of 20.8 % and a policy that lost the digit; a deviation of 0.3 gave 11.0 %
against 11.9 % with 0.15. Translated, 128,000 images: convolutions at 2e-3 gave
4.8 %, the dense network at 3e-3 11.7 %; at 1e-3, 16.4 % with `detach_policy`
and 20.0 % without.
"""

import functools
from typing import NamedTuple

from keras_edram.datasets import cluttered_mnist
from keras_edram.losses import LabelLoss
from keras_edram.metrics import AverageError
from keras_edram.models.baselines import Baseline
from keras_edram.models.ram import RAM
from keras_edram.recipes import _training
from keras_edram.recipes._tables import (
    Paper,
    Row,
    images_seen,
    milliseconds,
    minutes,
    multiply_adds,
    parameters,
)
from keras_edram.training import Recipe


def _accuracy_of_paths(run):
    """A column: ten drawn paths averaged, where that was tried."""
    drawn = run.of_variant("rollouts")
    return drawn and f"{1 - drawn['error']:.2%}"


PAPER = Paper(
    name="ram",
    reference="Jatakia, Rane, Rao, Recurrent Attention Model for Image "
    "Classification",
    columns={
        "model": lambda run: run.row.model,
        "the report: accuracy": lambda run: run.row.published,
        "ours: accuracy": lambda run: f"{1 - run.figures['error']:.2%}",
        "10 paths": _accuracy_of_paths,
        "spread": lambda run: f"{run.figures['spread']:.2f}",
        "parameters": parameters,
        "multiply-adds (millions)": multiply_adds,
        "ms": milliseconds,
        "images seen": images_seen,
        "minutes": minutes,
        "recipe": lambda run: f"`{run.name}`",
    },
)
TRAINING = dict(
    batch_size=128,
    epochs=16,
    steps_per_epoch=500,
    validation_steps=39,
    test_images=10_000,
    seed=0,
    learning_rate=2e-3,
    weight_decay=4e-3,
    warmup_steps=200,
)
# The RAM of the report's Tables 1 to 4, at the sizes of Mnih et al.
DENSE = dict(
    glimpse_network="dense",
    core="lstm",
    units=256,
    hidden_units=128,
    location_hidden_units=0,
    location_deviation=0.15,
    final_location_deviation=0.0,  # it stays
    location_penalty=0.0,
    reinforce_weight=1.0,
    baseline_weight=1.0,
)
# Our own: 0.3 million parameters.
CONVOLUTIONAL = dict(
    DENSE,
    glimpse_network="convolution",
    units=160,
    **_training.defaults(RAM, "convolution_filters"),
)


class Model(NamedTuple):
    """A model of a table, and what the report says of it.

    Attributes:
        name: String, the model in the words of the report.
        accuracy: Float, the report's, in per cent; `None` for our own.
        settings: Dictionary, what is special to this model: its arguments,
            and changes of the training.
        model_class: Its class.
    """

    name: str
    accuracy: float | None
    settings: dict
    model_class: type = RAM


def baselines(prefix, dense, convolution):
    """The report's two baselines with their accuracies."""
    sizes = _training.defaults(Baseline, "units", "filters", "kernel_size")
    return {
        f"{prefix}_dense": Model(
            "FC 2 layers",
            dense,
            dict(network="dense", units=sizes["units"]),
            Baseline,
        ),
        f"{prefix}_convolution": Model(
            "Convolutional, 2 layers",
            convolution,
            dict(network="convolution", **sizes),
            Baseline,
        ),
    }


def looks_on_60(prefix, six, eight):
    """The report's two RAMs on 60x60 with their accuracies."""
    return {
        f"{prefix}_ram_{glimpses}_glimpses": Model(
            f"RAM, {glimpses} glimpses, {scales} scales",
            accuracy,
            dict(
                DENSE,
                num_glimpses=glimpses,
                glimpse_size=12,
                num_scales=scales,
            ),
        )
        for glimpses, scales, accuracy in ((6, 2, six), (8, 3, eight))
    }


def rows(title, models, data, sources=("bundled", "tfds"), **own):
    """The rows of one table.

    Args:
        title: String, title of the table.
        models: Dictionary of recipe name -> `Model`.
        data: See `Recipe`.
        sources: See `Recipe`.
        **own: Settings of this table's data, `image_size` among them, and
            changes of `TRAINING`.

    Returns:
        Dictionary of recipe name -> `Row`.
    """
    return {
        name: Row(
            Recipe(
                summary=f"{model.name}; {title}",
                settings={**TRAINING, **own, **model.settings},
                data=data,
                model=functools.partial(_training.model, model.model_class),
                compile=compile_model,
                sources=sources,
            ),
            "-" if model.accuracy is None else f"{model.accuracy:.2f}%",
            model.name,
        )
        for name, model in models.items()
    }


def augmentation(settings, split):
    """Options of `AugmentedImages`: only training images are varied.

    A larger canvas is part of the task, so all splits have it.
    """
    options = dict(image_size=settings["image_size"])
    if split == "train":
        for name in ("max_shift", "mirror"):
            if name in settings:
                options[name] = settings[name]
    return options


def cluttered(settings, split, source):
    """Translated or cluttered MNIST of one split."""
    return cluttered_mnist(
        split,
        source=source,
        seed=settings["seed"],
        image_size=settings["image_size"],
        num_distractors=settings["num_distractors"],
    )


def compile_model(model, settings, jit_compile):
    """Cross entropy of the answer; RAM adds the losses of its policy."""
    model.compile(
        _training.cosine_adamw(settings),
        loss={"labels": LabelLoss()},
        metrics={"labels": [AverageError()]},
        jit_compile=jit_compile,
    )
