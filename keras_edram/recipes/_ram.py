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

from typing import NamedTuple

from keras_edram.datasets import cluttered_mnist
from keras_edram.losses import LabelLoss
from keras_edram.metrics import AverageError
from keras_edram.models.baselines import Baseline
from keras_edram.models.ram import RAM
from keras_edram.recipes._optimizer import cosine_adamw
from keras_edram.training import Recipe

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
    location_deviation=0.15,
    reinforce_weight=1.0,
    baseline_weight=1.0,
)
# Our own: 0.3 million parameters.
CONVOLUTIONAL = dict(DENSE, glimpse_network="convolution", units=160)


class Row(NamedTuple):
    """A row of a table: a model, and what the report says of it.

    Attributes:
        name: String, the model in the words of the report.
        accuracy: Float, the report's, in per cent; `None` for our own.
        settings: Dictionary, what is special to this row: settings of the
            model, and changes of the training.
    """

    name: str
    accuracy: float | None
    settings: dict


def baselines(prefix, dense, convolution):
    """The report's two baselines with their accuracies, as rows."""
    return {
        f"{prefix}_dense": Row("FC 2 layers", dense, dict(network="dense")),
        f"{prefix}_convolution": Row(
            "Convolutional, 2 layers", convolution, dict(network="convolution")
        ),
    }


def looks_on_60(prefix, six, eight):
    """The report's two RAMs on 60x60 with their accuracies, as rows."""
    return {
        f"{prefix}_ram_{glimpses}_glimpses": Row(
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


def recipes(title, rows, data, sources=("bundled", "tfds"), **own):
    """The recipes of one table.

    Args:
        title: String, title of the table.
        rows: Dictionary of recipe name -> `Row`.
        data: See `Recipe`.
        sources: See `Recipe`.
        **own: Settings of this table's data, `image_size` among them, and
            changes of `TRAINING`.

    Returns:
        Dictionary of recipe name -> `Recipe`.
    """
    return {
        name: Recipe(
            summary=f"{row.name}; {title}",
            published="-"
            if row.accuracy is None
            else f"{100 - row.accuracy:.2f} % ({title.partition(':')[0]})",
            settings={**TRAINING, **own, **row.settings},
            data=data,
            model=model,
            compile=compile_model,
            sources=sources,
        )
        for name, row in rows.items()
    }


def model(settings, data):
    """A baseline where `network` is a setting, else RAM."""
    reads = dict(
        image_shape=data.image_shape,
        num_classes=data.num_classes,
        class_names=data.class_names,
    )
    if "network" in settings:
        return Baseline(**reads, network=settings["network"])
    sizes = {name: settings[name] for name in SIZES if name in settings}
    return RAM(**reads, seed=settings["seed"], **sizes)


# Settings that are arguments of RAM.
SIZES = (
    "num_glimpses",
    "glimpse_size",
    "num_scales",
    "convolution_filters",
    "core_filters",
    *DENSE,
)


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
        cosine_adamw(settings),
        loss={"labels": LabelLoss()},
        metrics={"labels": [AverageError()]},
        jit_compile=jit_compile,
    )
