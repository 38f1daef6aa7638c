"""What a model makes of images whose truth is known: its errors, by kind.

Letters in shapes: n images, H W C an image, S targets, N glimpses a target, or
1 of a model that answers with the last of them.
"""

import math

import keras
import numpy as np

from keras_edram import anytime, decoding, geometry, metrics, reading
from keras_edram.checks import (
    check_integer,
    check_keys,
    check_probabilities,
    check_shapes,
)
from keras_edram.reading_order import NO_LABEL, end_sequences
from keras_edram.words import listed

COVERAGES = (99, 95, 90)  # per cent of the answers
BATCH_SIZE = 250  # rollouts are drawn by the batch: figures depend on it
# Of an answer: float32 has no probability nearer to 1.
LEAST_DOUBT = 2.0**-24
TEMPERATURES = np.geomspace(0.1, 10, 101)  # to the usual one
CONFIDENCES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999)


def evaluate(
    model,
    images,
    targets,
    *,
    batch_size=BATCH_SIZE,
    glimpses_per_target=None,
    crops=None,
):
    """Errors and overlaps of a model on images with their truth.

    Args:
        model: A model of this package.
        images: Array of shape `(n, H, W, C)`, in [0, 255], or a list of n
            arrays `(H, W, C)`.
        targets: `{"labels": (n, S), "transforms": (n, S, 2, 3)}`, in the
            model's reading order; an ensemble's is forward.
        batch_size, glimpses_per_target, crops: As of
            `keras_edram.reading.look`.

    Returns:
        A dictionary. Of whole answers: `images`, n; `error`, the share of
        images that are not read exactly; `label_error`, the share of objects
        that are not read as what they are; `error_by_length`, `error` of
        images with 0, 1, ... objects; `iou`, mean overlap of the last window
        of an object with the true one; `calibration_error` of the probability
        of the answer, and what it would be by chance alone, see
        `keras_edram.metrics.calibration_error_by_chance`; `error_at_coverage`,
        `error` among the most probable 99, 95 and 90 % of the answers.

        Of the glimpses, unless the model is an ensemble, and of each target:
        `error_by_average`, of the prediction averaged over the first 1, 2, ...
        answers to a target, which EDRAM gives after each glimpse, RAM after
        the last; `error_by_glimpse`, of each alone; `iou_by_glimpse`;
        `spread` of the last window, see `keras_edram.metrics.location_spread`;
        `spread_by_glimpse`.

    Raises:
        ValueError: As of `keras_edram.reading.look`; also for targets that do
            not fit the images or the model, no image, or answers whose
            probability is no number.

    Example:

    >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
    >>> images, targets = cluttered_mnist("test").arrays(100)
    >>> evaluate(model, images, targets)["error"]
    """
    looks = reading.look(
        model,
        images,
        glimpses_per_target=glimpses_per_target,
        crops=crops,
        batch_size=batch_size,
        with_patches=False,
    )
    return figures(model, looks, targets)


def arrays_for(model, data, stop, start=0):
    """Images and targets of named data, as a model counts and orders them.

    What a label is called says which class of the model's it is, in whatever
    order data and model list their names. Targets are turned round for a model
    that reads in the other order, and are as many as the model's.

    Args:
        model: A model of this package.
        data: Sequence of images, as of `keras_edram.datasets`.
        stop: Integer, one after the last image.
        start: Integer, the first image. Defaults to 0.

    Returns:
        `(images, targets)`, see `evaluate`.

    Raises:
        ValueError: If there are objects of a class that the model lacks, or
            more of them in an image than it can tell.

    Example:

    >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
    >>> images, targets = arrays_for(model, cluttered_mnist("test"), 100)
    """
    images, targets = data.arrays(stop, start)
    names = data.class_names
    if not names:
        return images, targets
    labels, windows = targets["labels"], targets["transforms"]
    objects = (labels >= 0) & (labels < len(names))  # (n, S)
    counts = objects.sum(axis=1)
    _check_counts(counts, model.num_targets, model.terminal)
    classes = _classes_of(model, names, labels[objects])
    labels, windows = end_sequences(
        np.where(objects, classes[np.where(objects, labels, 0)], NO_LABEL),
        windows,
        counts,
        model.num_classes - 1 if model.terminal else NO_LABEL,
        "forward" if data.reading_order == model.reading_order else "backward",
    )
    return images, {
        "labels": _fitted(labels, model.num_targets, NO_LABEL),
        "transforms": _fitted(windows, model.num_targets, 0),
    }


def _check_counts(counts, num_targets, terminal):
    """Raises `ValueError` if a model cannot tell so many objects, or so few."""
    most = num_targets - terminal
    if not terminal and (counts != most).any():
        raise ValueError(
            f"Each image must have as many objects as the model tells, {most}. "
            f"Received: {(counts != most).sum()} images with "
            f"{counts.min()} to {counts.max()}"
        )
    if counts.max(initial=0) > most:
        raise ValueError(
            f"The model can tell at most {most} objects in an image; of a "
            f"folder, `max_objects={most}` with `skip_broken=True` (`--set`) "
            f"leaves the others out. Received: {(counts > most).sum()} images "
            f"with up to {counts.max()}"
        )


def _classes_of(model, names, labels):
    """The model's classes by the data's, of those that these labels are."""
    known = model.label_names
    named = model.class_names is not None or set(names) <= set(known)
    if not named and len(names) == len(known):
        return np.arange(len(known))  # the model does not know their names
    found = {names[label] for label in np.unique(labels)}
    if unknown := found - set(known):
        raise ValueError(
            f"The model knows the classes {listed(known)}. Received: objects "
            f"of {listed(sorted(unknown))}, which are none of them"
        )
    return np.array([known.index(n) if n in found else NO_LABEL for n in names])


def _fitted(values, number, filler):
    """Values `(n, S, ...)` of `number` targets, cut or filled up."""
    values = values[:, :number]
    missing = number - values.shape[1]
    padding = [(0, 0), (0, missing), *[(0, 0)] * (values.ndim - 2)]
    return np.pad(values, padding, constant_values=filler)


def figures(model, looks, targets):
    """What `evaluate` returns, of looks that were taken before.

    Args:
        model: A model of this package.
        looks: What `keras_edram.reading.look` returns of n images.
        targets: `{"labels": (n, S), "transforms": (n, S, 2, 3)}`.

    Returns:
        Dictionary, see `evaluate`.

    Raises:
        ValueError: For targets that do not fit the looks, no image, or answers
            whose probability is no number.

    Example:

    >>> looks = reading.look(model, images)
    >>> figures(model, looks, targets)["images"]
    5
    """
    answers, labels, windows = _forward(model, looks, targets)
    objects = labels != NO_LABEL  # (n, S)
    lengths = objects.sum(axis=1)
    wrong = answers["labels"] != labels
    errors = wrong.any(axis=1)  # (n,)
    overlap = keras.ops.convert_to_numpy(
        geometry.window_iou(windows, answers["transforms"])
    )
    probability = answers["probability"]
    _, error, _ = metrics.coverage_curve(probability, errors)
    found = {
        "images": len(errors),
        "error": float(errors.mean()),
        "label_error": _mean(wrong[objects]),
        "error_by_length": {
            str(length): _mean(errors[lengths == length])
            for length in np.unique(lengths)
        },
        "iou": _mean(overlap[objects]),
        "calibration_error": metrics.calibration_error(probability, errors),
        "calibration_error_by_chance": metrics.calibration_error_by_chance(
            probability
        ),
        "error_at_coverage": {
            f"{coverage}%": float(error[len(error) * coverage // 100 - 1])
            for coverage in COVERAGES
        },
    }
    # Those of crops have more answers, as if of further glimpses.
    expected = looks["transforms"].shape[-3]  # N
    if model.answers_per_target < model.glimpses_per_target:
        expected = model.answers_per_target
    if not model.members and looks["labels"].shape[-2] == expected:
        found |= _by_glimpse(looks, targets)
    return found


def sure_and_wrong(model, looks, targets):
    """How sure each answer is, and whether it is wrong.

    Args:
        model, looks, targets: As of `figures`.

    Returns:
        Two arrays of shape `(n,)`: the probabilities of the answers, and 1
        where one is wrong, else 0.

    Raises:
        ValueError: As of `figures`.

    Example:

    >>> looks = reading.look(model, images)
    >>> probability, wrong = sure_and_wrong(model, looks, targets)
    >>> wrong.shape
    (5,)
    """
    answers, labels, _ = _forward(model, looks, targets)
    return answers["probability"], (answers["labels"] != labels).any(axis=1)


def fit_temperature(model, looks, targets):
    """Makes the probabilities of a model's answers those of their being right.

    Its `temperature` T becomes the one that makes what came true most probable.
    Of n answers that are right and m that are wrong, each with a probability p:

        max_T Σ_right H(p, (n + 1) / (n + 2)) + Σ_wrong H(p, 1 / (m + 2))
              - log²(T / T_0) / 2,    H(p, q) = q log p + (1 - q) log(1 - p)

    So few answers that are all right do not make it sure. The last term is what
    is known before: T_0 is 1, of an ensemble its default. The answers stay the
    same; which are refused does not. It is for as many glimpses as are taken in
    `looks`.

    Args:
        model: A model of this package, which is changed.
        looks, targets: As of `figures`, of images that it was not trained on.

    Returns:
        Float, the temperature.

    Raises:
        ValueError: As of `figures`; also for answers whose probability is no
            number. The model stays as it was.

    Example:

    >>> images, targets = cluttered_mnist("validation").arrays(100)
    >>> fit_temperature(model, reading.look(model, images), targets) > 0
    True

    Reference:
        - Guo et al., "On Calibration of Modern Neural Networks", 2017, section
          4.2; Platt, "Probabilistic outputs for support vector machines", 1999,
          section 2.2, for the fit to what is right.
    """
    before = model.temperature
    usual = float(sum(member.temperature for member in model.members) or 1)

    def log_probability(temperature):
        model.temperature = float(temperature)
        p, wrong = sure_and_wrong(model, looks, targets)
        check_probabilities(p)
        p = np.clip(np.asarray(p, "float64"), LEAST_DOUBT, 1 - LEAST_DOUBT)
        right = len(wrong) - wrong.sum()
        q = np.where(wrong, 1 / (wrong.sum() + 2), (right + 1) / (right + 2))
        of_answers = np.sum(q * np.log(p) + (1 - q) * np.log(1 - p))
        return of_answers - math.log(temperature / usual) ** 2 / 2

    try:
        best = float(max(usual * TEMPERATURES, key=log_probability))
    except BaseException:
        model.temperature = before
        raise
    model.temperature = best
    return best


def anytime_curve(
    model, images, targets, confidences=CONFIDENCES, *, batch_size=BATCH_SIZE
):
    """What stopping when sure costs in errors, and saves in glimpses.

    Args:
        model: One that can have a budget of glimpses, see
            `keras_edram.anytime`.
        images: As of `evaluate`.
        targets: As of `evaluate`.
        confidences: Floats in [0, 1], when to stop.
        batch_size: Integer.

    Returns:
        List of a dictionary for each confidence and, last, for looking as
        often as in training: `confidence`, `None` the last; `error`, the share
        of images that are not read exactly; `glimpses`, the mean taken of an
        image; `share` of all glimpses.

    Raises:
        ValueError: For a model that can have none, targets that do not fit, or
            no image.

    Example:

    >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
    >>> images, targets = cluttered_mnist("validation").arrays(100)
    >>> anytime_curve(model, images, targets)[-1]["share"]
    1.0
    """
    anytime.check_budget(model)
    batch_size = check_integer(batch_size, "batch_size")
    _check_any(images)
    parts = []
    for part in reading.batches(images, model.image_shape[-1], batch_size):
        batch = anytime.take_glimpses(model, part)
        parts.append(batch._replace(patches=batch.patches[..., :0]))
    glimpses = anytime.Glimpses(*map(np.concatenate, zip(*parts, strict=True)))
    curve = []
    for confidence in (*confidences, None):
        stopped = glimpses
        if confidence is not None:
            stopped = anytime.stop_when_sure(model, glimpses, confidence)
        _, wrong = sure_and_wrong(
            model, anytime.looks_of(model, stopped), targets
        )
        curve.append(
            {
                "confidence": confidence,
                "error": float(wrong.mean()),
                "glimpses": float(stopped.taken.mean()),
                "share": float(stopped.taken.mean() / glimpses.taken.mean()),
            }
        )
    return curve


def true_answers(model, targets):
    """What a model should answer: labels in forward order, and windows.

    Args:
        model: A model of this package.
        targets: `{"labels": (n, S), "transforms": (n, S, 2, 3)}`.

    Returns:
        Labels `(n, S)`, -1 after the last object, and windows `(n, S, 2, 3)`.

    Raises:
        ValueError: If one of both is missing, or they do not fit each other;
            or labels are missing that the model answers for.

    Example:

    >>> labels, windows = true_answers(model, targets)
    >>> labels.shape, windows.shape
    ((5, 1), (5, 1, 2, 3))
    """
    check_keys(targets, ("labels", "transforms"), "targets")
    labels, windows = targets["labels"], targets["transforms"]
    check_shapes("labels (B, S), transforms (B, S, 2, 3)", labels, windows)
    objects = (labels >= 0) & (labels < len(model.label_names))
    _check_objects(objects, model.terminal)
    # Turned round if the model reads backward; the terminal is cut off again.
    labels, windows = end_sequences(
        labels, windows, objects.sum(axis=1), NO_LABEL, model.reading_order
    )
    return labels[:, :-1], windows[:, :-1]


def _check_objects(objects, terminal):
    """Raises if a model has an answer where there is no object (n, S)."""
    following = objects[:, 1:] & ~objects[:, :-1]
    missing = following if terminal else ~objects
    if missing.any():
        raise ValueError(
            "`labels` must be of the objects of an image, one after the other"
            + (
                "; then the terminal label. "
                if terminal
                else ", as many as the model has targets. "
            )
            + f"Received: {missing.any(axis=1).sum()} images without one"
        )


def _check_any(images):
    if not len(images):
        raise ValueError(
            "There must be at least 1 image to judge a model by. "
            "Received: 0 images"
        )


def _forward(model, looks, targets):
    """Answers, true labels and windows."""
    true_labels, true_windows = true_answers(model, targets)
    members = "M, " * bool(model.members)
    check_shapes(
        f"labels (B, S), looks (B, {members}S, N, 2, 3)",
        true_labels,
        looks["transforms"],
    )
    _check_any(true_labels)
    answers = {
        name: keras.ops.convert_to_numpy(value)
        for name, value in model.decode(looks).items()
    }
    return answers, true_labels, true_windows


def _mean(values):
    """The mean, or `None` of nothing: JSON has no NaN."""
    return float(values.mean()) if len(values) else None


def _means(values):
    """The mean of each column of (n, N), see `_mean`."""
    return [_mean(column) for column in values.T]


def _by_glimpse(looks, targets):
    """Figures of the targets, glimpse by glimpse."""
    labels, logits = targets["labels"], looks["labels"]
    known = labels >= 0  # (n, S)
    placed = targets["transforms"].any(axis=(2, 3))
    by_average = keras.ops.stack(
        [
            metrics.label_errors(
                labels, decoding.average_probabilities(logits[:, :, : n + 1])
            )
            for n in range(logits.shape[2])
        ],
        axis=-1,
    )  # (n, S, N)
    by_glimpse = metrics.label_errors(labels, logits)  # (n, S, N)
    windows = looks["transforms"]  # (n, S, N, 2, 3)
    true = np.broadcast_to(targets["transforms"][:, :, None], windows.shape)
    overlap = geometry.window_iou(true, windows)  # (n, S, N)
    spread = keras.ops.convert_to_numpy(
        metrics.location_spread(looks["transforms"])
    )
    return {
        **{
            name: _means(keras.ops.convert_to_numpy(values)[chosen])
            for name, values, chosen in (
                ("error_by_average", by_average, known),
                ("error_by_glimpse", by_glimpse, known),
                ("iou_by_glimpse", overlap, placed),
            )
        },
        "spread": float(spread[-1]),
        "spread_by_glimpse": spread.tolist(),
    }
