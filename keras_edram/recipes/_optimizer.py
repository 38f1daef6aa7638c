"""The optimiser of our own recipes."""

import keras


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
