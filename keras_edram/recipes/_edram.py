"""What the EDRAM recipes on cluttered MNIST have in common."""

from keras_edram.datasets import cluttered_mnist
from keras_edram.losses import BOX_BETA, LabelLoss, TransformLoss
from keras_edram.metrics import (
    AverageError,
    GlimpseError,
    SequenceError,
    WindowIoU,
)
from keras_edram.recipes._optimizer import cosine_adamw

# A quarter of the paper's widths: 0.69 million parameters.
SMALL_SIZES = dict(
    context_filters=(4, 4, 8),
    glimpse_filters=(16, 16, 32, 32, 40, 48),
    units=128,
    hidden_units=256,
)


def data(settings, split, source):
    """Cluttered MNIST of one split, by the recipe's protocol and seed."""
    return cluttered_mnist(
        split,
        source=source,
        protocol=settings["protocol"],
        seed=settings["seed"],
    )


def reads(data):
    """What a model must be told of the data that it is to read."""
    return dict(
        image_shape=data.image_shape,
        num_classes=data.num_classes,
        class_names=data.class_names,
        terminal=data.terminal,
        num_targets=data.num_targets,
    )


def compile_edram(model, optimizer, settings, jit_compile):
    """Compiles EDRAM with the losses of Eq. 6 to 9 and its metrics."""
    model.compile(
        optimizer,
        loss={"labels": LabelLoss(), "transforms": TransformLoss()},
        loss_weights=loss_weights(settings),
        metrics={
            "labels": [AverageError(), GlimpseError()],
            "transforms": [WindowIoU()],
        },
        jit_compile=jit_compile,
    )


def compile_with_cosine_adamw(model, settings, jit_compile):
    """How the recipes of our own compile EDRAM."""
    compile_edram(model, cosine_adamw(settings), settings, jit_compile)


def compile_reader(model, settings, jit_compile, optimizer=None):
    """How the recipes of sequences compile EDRAM: boxes leave skew free."""
    model.compile(
        optimizer or cosine_adamw(settings),
        loss={
            "labels": LabelLoss(),
            "transforms": TransformLoss(BOX_BETA),
        },
        loss_weights=loss_weights(settings),
        metrics={
            "labels": [SequenceError(), AverageError("target_error")],
            "transforms": [WindowIoU()],
        },
        jit_compile=jit_compile,
    )


def loss_weights(settings):
    """α1 and α2 of Eq. 7."""
    return {
        "labels": settings["alpha_what"],
        "transforms": settings["alpha_where"],
    }
