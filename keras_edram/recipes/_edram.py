"""What the EDRAM recipes on cluttered MNIST have in common."""

import keras

from keras_edram.datasets import cluttered_mnist
from keras_edram.losses import LabelLoss, TransformLoss
from keras_edram.metrics import AverageError, GlimpseError, WindowIoU

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


def compile_edram(model, optimizer, settings, jit_compile):
    """Compiles EDRAM with the losses of Eq. 6 to 9 and its metrics."""
    model.compile(
        optimizer,
        loss={"labels": LabelLoss(), "transforms": TransformLoss()},
        loss_weights={
            "labels": settings["alpha_what"],
            "transforms": settings["alpha_where"],
        },
        metrics={
            "labels": [AverageError(), GlimpseError()],
            "transforms": [WindowIoU()],
        },
        jit_compile=jit_compile,
    )


def cosine_adamw(settings):
    """AdamW whose rate rises for `warmup_steps`, then falls to zero."""
    steps = settings["epochs"] * settings["steps_per_epoch"]
    warmup = min(settings["warmup_steps"], steps // 2)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        steps - warmup,
        warmup_target=settings["learning_rate"],
        warmup_steps=warmup,
    )
    return keras.optimizers.AdamW(
        rate, weight_decay=settings["weight_decay"], global_clipnorm=10.0
    )


def compile_with_cosine_adamw(model, settings, jit_compile):
    """How the recipes of our own compile EDRAM."""
    compile_edram(model, cosine_adamw(settings), settings, jit_compile)
