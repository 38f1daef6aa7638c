"""How recipes make a model of their settings, and what optimises it."""

import inspect

import keras

from keras_edram.checks import check_number


def model(model_class, settings, data):
    """A model that reads the data; settings are arguments of their names.

    With a `final_location_deviation` above 0 a policy draws by less and less:
    its deviation falls to that as a cosine, over all steps.

    Args:
        model_class: Class of the model.
        settings: Dictionary of the recipe's settings; those that are no
            arguments of the model are left out.
        data: Data of `keras_edram.datasets`.

    Returns:
        Keras model.

    Raises:
        ValueError: For a deviation that is not above 0, or a final one below.
    """
    told = dict(
        image_shape=data.image_shape,
        num_classes=data.num_classes,
        class_names=data.class_names,
        terminal=data.terminal,
        num_targets=data.num_targets,
    )
    arguments = {**told, **settings}
    final = settings.get("final_location_deviation", 0)
    if check_number(final, "final_location_deviation"):
        first = check_number(
            settings["location_deviation"], "location_deviation", above=True
        )
        arguments["location_deviation"] = (
            keras.optimizers.schedules.CosineDecay(
                first,
                settings["epochs"] * settings["steps_per_epoch"],
                alpha=final / first,
            )
        )
    known = inspect.signature(model_class.__init__).parameters
    return model_class(
        **{name: arguments[name] for name in arguments if name in known}
    )


def defaults(model_class, *names):
    """Arguments of a model at their defaults, to be settings of a recipe."""
    parameters = inspect.signature(model_class.__init__).parameters
    return {name: parameters[name].default for name in names}


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
