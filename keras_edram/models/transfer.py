"""What a trained model gives to a model of another task."""

import warnings

import numpy as np
from keras import ops

from keras_edram.checks import check_class_names, check_integer

STATISTICS = ("moving_mean", "moving_variance")

STEPS = "training_steps"  # of a policy whose deviation falls
# Layers with an output for each class; one has them for each target, without
# the terminal label.
PER_TARGET = "symbols"
HEADS = ("action", "answer", "classification_output", "output", PER_TARGET)


def adapt(trained, changes):
    """A model like a trained one but for some arguments, with its weights.

    A policy whose deviation falls goes on from the step that it had come to,
    unless `location_deviation` changes.

    Classes follow from each other: as many names make as many classes, with
    the terminal label one more; names of another number of classes are
    forgotten.

    Args:
        trained: `EDRAM`, `RAM` or `Baseline`.
        changes: Dictionary of arguments of its constructor.

    Returns:
        Model of the same class, see `take_weights`.

    Raises:
        ValueError: For arguments that the constructor refuses, or if no weight
            can be kept.

    Example:

    >>> adapt(EDRAM(), dict(image_shape=(64, 64, 3))).image_shape
    (64, 64, 3)
    """
    terminal = bool(changes.get("terminal", trained.terminal))
    objects = len(trained.label_names)
    names = changes.get("class_names", trained.class_names)
    if "num_classes" in changes:
        num_classes = check_integer(changes["num_classes"], "num_classes")
        if num_classes - terminal != objects:
            names = changes.get("class_names")
    else:
        if changes.get("class_names") is not None:
            names = check_class_names(names)
            objects = len(names)
        num_classes = objects + terminal
    model = type(trained).from_config(
        {
            **trained.get_config(),
            **changes,
            "num_classes": num_classes,
            "class_names": names,
        }
    )
    new = take_weights(model, trained)
    steps = getattr(trained, STEPS, None)
    if steps is not None and "location_deviation" not in changes:
        getattr(model, STEPS).assign(steps)
    if new and "temperature" not in changes:
        model.temperature = 1.0  # how sure it will be is to be learnt, too
    return model


def take_weights(model, trained):
    """Copies into a model the weights of a trained one that fit, by name.

    A weight of another shape is left as it is, and so are those that the
    trained model has not: a warning names them, for they are to be trained.
    Two kinds fit though their shapes differ:

    - statistics of batch normalisation by step: further steps begin with those
      of the last one known;
    - kernels that read pixels, between grey and several channels: they are
      divided among the channels, or added up, so that a grey picture in
      colours gets the answer that it gets in grey.

    Classes are known by their names, where both models have some in common: one
    that comes in another place takes its weights along, and a new one that has
    the place of one that is gone, among as many, is taken for that, renamed.
    Other new classes are to be trained, which a warning says.

    How many steps a policy was trained is left out: its schedule begins anew.

    Args:
        model: `EDRAM`, `RAM` or `Baseline`, whose weights are changed.
        trained: Model of the same class.

    Returns:
        List of strings, the weights that are to be trained.

    Raises:
        ValueError: If the classes differ, or no kernel fits.

    Example:

    >>> take_weights(EDRAM(num_targets=2), EDRAM())
    []
    """
    if type(model) is not type(trained):
        raise ValueError(
            "The weights must come from a model of the same class, "
            f"{type(model).__name__}. Received: a {type(trained).__name__}"
        )
    there = {
        _name(weight): ops.convert_to_numpy(weight)
        for weight in trained.weights
        if _name(weight) != STEPS
    }
    channels = trained.image_shape[-1], model.image_shape[-1]
    places = _places_of_classes(model, trained)
    new, kernels, of_classes = [], 0, []
    for weight in model.weights:
        name = _name(weight)
        if name == STEPS:
            continue
        values = there.pop(name, None)
        layer = name.split("/")[-2]
        if values is not None and places and layer in HEADS:
            values = _by_class(
                values,
                weight,
                places,
                len(trained.class_names),
                model.terminal and layer != PER_TARGET,
            )
            of_classes.append(name)
        elif values is not None:
            values = _fitted(values, weight, channels)
        if values is None:
            new.append(name)
            continue
        weight.assign(values)
        kernels += weight.trainable and values.ndim > 1
    if not kernels:
        raise ValueError(
            "A model must have the sizes of the trained one to begin with its "
            f"weights, but none fits. Received: {_sizes(model)} for those of "
            f"{_sizes(trained)}"
        )
    if new:
        _say(f"New, and to be trained: {_layers(new)}.")
    names = model.class_names or ()
    unknown = [
        repr(name)
        for name, place in zip(names, places or (), strict=False)
        if place is None
    ]
    if unknown:
        _say(f"New classes, and to be trained: {', '.join(unknown)}.")
        new += [name for name in of_classes if name not in new]
    if there:
        _say(f"The model has no place for what was trained: {_layers(there)}.")
    return new


def _say(message):
    warnings.warn(message, UserWarning, stacklevel=3)


def _name(weight):
    """The path of a weight below the model, whose own name is the user's."""
    return weight.path.partition("/")[2]


def _layers(names):
    """The layers that have these weights, each once."""
    return ", ".join(dict.fromkeys(name.rpartition("/")[0] for name in names))


def _sizes(model):
    shapes = {_name(weight): tuple(weight.shape) for weight in model.weights}
    name, shape = max(shapes.items(), key=lambda item: np.prod(item[1]))
    return f"{name} of shape {shape}"


def _places_of_classes(model, trained):
    """Where each class was, `None` if it is new; `None` if all are there.

    Of classes without names, or of which none is known, nothing can be said.
    """
    before, after = trained.class_names, model.class_names
    if not before or not after or before == after:
        return None
    if model.terminal != trained.terminal or not {*before} & {*after}:
        return None
    places = [before.index(name) if name in before else None for name in after]
    if len(before) == len(after):
        gone = [index not in places for index in range(len(before))]
        places = [
            index if place is None and gone[index] else place
            for index, place in enumerate(places)
        ]
    return places if places != [*range(len(before))] else None


def _by_class(values, weight, places, num_before, terminal):
    """The values of each class in its new place; `None` if they do not fit.

    The last axis has a class after the other, for each target if there are
    several; the terminal label, where it is among them, stays the last.
    """
    if terminal:
        places, num_before = [*places, num_before], num_before + 1
    fresh = ops.convert_to_numpy(weight)
    if (
        values.shape[:-1] != fresh.shape[:-1]
        or values.shape[-1] * len(places) != fresh.shape[-1] * num_before
    ):
        return None
    before = values.reshape(
        *values.shape[:-1], -1, num_before
    )  # (..., S or 1, classes before)
    after = fresh.reshape(
        *fresh.shape[:-1], -1, len(places)
    ).copy()  # (..., S or 1, classes)
    for place, old in enumerate(places):
        if old is not None:
            after[..., place] = before[..., old]
    return after.reshape(fresh.shape)  # (..., outputs)


def _fitted(values, weight, channels):
    """The values in the shape of the weight, `None` if they do not fit."""
    shape = tuple(weight.shape)
    if values.shape == shape:
        return values
    if values.ndim != len(shape) or values.ndim < 2:
        return None
    if values.shape[1:] == shape[1:] and weight.name in STATISTICS:
        return values[np.minimum(np.arange(shape[0]), len(values) - 1)]
    before, after = channels
    pixels = values.shape[:-2] + values.shape[-1:] == shape[:-2] + shape[-1:]
    of_channels = values.shape[-2] * after == shape[-2] * before
    if pixels and of_channels and 1 in channels:
        if before == 1:
            return np.repeat(values, after, axis=-2) / after  # (..., after, F)
        grouped = (*shape[:-1], before, shape[-1])
        return values.reshape(grouped).sum(axis=-2)  # (..., after, F)
    return None
