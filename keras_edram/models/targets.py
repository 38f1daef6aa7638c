"""What `compile` and `fit` are given, by the output that it belongs to.

An output has an axis of glimpses that its target has not. Losses and metrics
of Keras do not know that: they would broadcast one against the other, and
compare each image with all others of the batch.
"""

from collections.abc import Mapping

import keras
import numpy as np

from keras_edram.checks import check_images, check_labels, check_pixels
from keras_edram.metrics import Accuracy

OUTPUTS = ("labels", "transforms")
ACCURACY = ("accuracy", "acc")
DEFAULT_BATCH_SIZE = 32  # of `fit`, `evaluate` and `predict`


def by_output(judges, argument):
    """Losses or metrics as a dictionary by output.

    Args:
        judges: What `compile` takes: a dictionary, a list with an entry for
            each output, or what is meant for the labels; or `None`.
        argument: String, the argument's name.

    Returns:
        Dictionary or `None`.

    Raises:
        ValueError: For an unknown output, or losses and metrics of Keras.
    """
    if judges is None:
        return None
    judges = _named(judges, argument)
    return {
        name: [_known(judge, name, argument) for judge in of_output]
        if isinstance(of_output, (list, tuple))
        else _known(of_output, name, argument)
        for name, of_output in judges.items()
    }


def _named(values, argument):
    """Values by output: a dictionary, one for each output, or the labels'."""
    if isinstance(values, (list, tuple)) and len(values) == len(OUTPUTS):
        values = dict(zip(OUTPUTS, values, strict=True))
    elif not isinstance(values, Mapping):
        values = {"labels": values}
    if not set(values) <= set(OUTPUTS):
        raise ValueError(
            f"The outputs are {OUTPUTS}. Received: {argument} of "
            f"{tuple(values)}"
        )
    return {name: value for name, value in values.items() if value is not None}


def _known(judge, output, argument):
    """A loss or metric that knows the axis of glimpses."""
    is_class = isinstance(judge, type)
    if is_class and judge.__module__.startswith("keras_edram."):
        return judge()  # Keras would take the class, but could not save it
    if judge in ACCURACY and output == "labels" and argument != "loss":
        return Accuracy(name=judge)
    # A user's own function is one of Keras' classes too.
    if type(judge) is keras.metrics.MeanMetricWrapper:
        return judge
    if isinstance(judge, str) or judge.__module__.startswith("keras."):
        raise ValueError(
            "Losses and metrics of Keras do not know the axis of glimpses: "
            "take those of `keras_edram.losses` and `keras_edram.metrics`, or "
            f'the metric "accuracy" of the labels. Received: {argument}='
            f"{judge!r} for the {output}"
        )
    return judge


def name_targets(y):
    """Targets by output, those that there are; labels are `(B, S)`.

    Args:
        y: What `fit` takes: labels, or a dictionary of targets by output.

    Returns:
        A dictionary.

    Raises:
        ValueError: For an unknown output, or labels that are no array.
    """
    if y is None:
        return {}
    if isinstance(y, (list, tuple)) and len(y) == 1:
        (y,) = y
    y = _named(y, "y")
    labels = y.get("labels")
    if labels is None:
        return y
    if not hasattr(labels, "shape"):
        raise ValueError(
            "Labels must be an array or a tensor. "
            f"Received: {type(labels).__name__}"
        )
    if len(labels.shape) == 1:
        if not keras.ops.is_tensor(labels):
            labels = np.asarray(labels)  # such as a column of a table
        y["labels"] = labels[:, None]  # (B, 1)
    return y


def name_weights(sample_weight):
    """Weights as Keras takes them: for all outputs, or a dictionary of all."""
    if not isinstance(sample_weight, (Mapping, list, tuple)):
        return sample_weight
    weights = _named(sample_weight, "sample_weight")
    return {name: weights.get(name) for name in OUTPUTS}


def check_judged(y, outputs, what):
    """Raises unless there is a target for each loss or metric."""
    missing = [name for name in outputs if name not in y]
    if missing:
        raise ValueError(
            f"`y` must have a target for each output with {what}. Received: "
            f"targets of {tuple(y)}, {what} of {tuple(outputs)}"
        )


def class_weights(y, class_weight):
    """The weight `(B,)` of each image, by its label.

    Args:
        y: What `fit` takes, with a label for each image.
        class_weight: Dictionary of label -> weight; of others it is 1.

    Returns:
        float32 array of shape `(B,)`.

    Raises:
        ValueError: For images of several labels.
    """
    labels = np.asarray(name_targets(y).get("labels"))
    if labels.ndim != 2 or labels.shape[1] != 1:
        raise ValueError(
            "`class_weight` needs one label for each image. "
            f"Received: labels of shape {labels.shape}"
        )
    weights = [class_weight.get(int(label), 1.0) for label in labels[:, 0]]
    return np.array(weights, "float32")


def check_first_batch(model, x, y=None, *, batch_size=None, **kwargs):
    """Checks the images and labels that come first, where they can be seen.

    Args:
        model: Any model of this package.
        x: What `fit` takes. Generators are not looked into, as that would
            take something from them.
        y: What `fit` takes.
        batch_size: Integer, as of `fit`.
        **kwargs: Further arguments of `fit`, which do not matter.

    Returns:
        The images and what `y` is with them, `None` if they cannot be seen.

    Raises:
        ValueError: For images of another shape, pixels that are no numbers,
            and labels that are none of the classes.
    """
    first = None
    if hasattr(x, "as_numpy_iterator"):  # of `tf.data.Dataset` alone
        first = next(x.take(1).as_numpy_iterator(), None)
    elif isinstance(x, keras.utils.PyDataset):
        first = x[0]
    if first is not None:
        x, y, _ = keras.utils.unpack_x_y_sample_weight(first)
    if isinstance(x, (list, tuple)) and len(x) > 1:
        raise ValueError(
            "Images must be one array of shape (batch, height, width, "
            f"{model.image_shape[-1]}): `np.stack` makes it of a list. "
            f"Received: a {type(x).__name__} of {len(x)}"
        )
    if not hasattr(x, "shape"):
        return None, None
    check_images(x, model.image_shape[-1])
    number = batch_size or DEFAULT_BATCH_SIZE
    check_pixels(x[:number])
    labels = name_targets(y).get("labels")
    if labels is not None:
        check_labels(labels[:number], model.num_classes)
    return x, y
