"""From the predictions of each glimpse to one answer for each target.

Letters in shapes: B batch, S targets, N glimpses a target, K classes.
"""

from keras import ops

from keras_edram import geometry


def average_probabilities(logits):
    """Class probabilities of each target: the mean over its glimpses.

    `p_i = 1/N Σ_j softmax(logits_ij)`: "the network produces a final class
    prediction for the given object by averaging the predictions".

    Args:
        logits: Tensor of shape `(B, S, N, K)`.

    Returns:
        Tensor of shape `(B, S, K)` in [0, 1].

    Raises:
        ValueError: If `logits` has not four dimensions.

    Example:

    >>> average_probabilities(ops.zeros((1, 1, 6, 4)))
    [[[0.25, 0.25, 0.25, 0.25]]]

    Reference:
        - Ablavatski et al., 2017, section 3.3.
    """
    logits = ops.convert_to_tensor(logits)
    if len(logits.shape) != 4:
        raise ValueError(
            "`logits` must have the shape (batch, targets, glimpses, "
            f"classes). Received: logits of shape {tuple(logits.shape)}"
        )
    return ops.mean(ops.softmax(logits, axis=-1), axis=2)


def decode(outputs):
    """The answer of a model: what each target is, where, and where it looked.

    Args:
        outputs: Dictionary that EDRAM returns: `labels`, logits of shape
            `(B, S, N, K)`, and `transforms` `(B, S, N, 2, 3)`. RAM's is
            alike, but has one answer in place of N.

    Returns:
        A dictionary:

        - `probabilities` `(B, S, K)`, see `average_probabilities`;
        - `labels` `(B, S)`, int32, the most probable class;
        - `boxes` `(B, S, 4)`, left, top, right, bottom of what the last
          window of each target shows of the image, fractions of its sides in
          [0, 1];
        - `transforms` `(B, S, 2, 3)`, that window, wherever it is;
        - `locations` `(B, S, N, 2)`, x and y of the middle of each window, in
          the order of looking, the image being [-1, 1].

    Example:

    >>> from keras_edram import EDRAM
    >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
    >>> answer = decode(model(ops.zeros((1, 100, 100, 1))))
    >>> answer["boxes"].shape
    (1, 1, 4)
    """
    probabilities = average_probabilities(outputs["labels"])
    # Not `ops.argmax`: it looks at the bits of -0.0, which TFLite cannot.
    _, labels = ops.top_k(probabilities, 1)  # (B, S, 1)
    transforms = outputs["transforms"][:, :, -1]  # (B, S, 2, 3)
    return {
        "probabilities": probabilities,
        "labels": ops.cast(labels[..., 0], "int32"),
        "boxes": ops.clip(geometry.transforms_to_boxes(transforms), 0, 1),
        "transforms": transforms,
        "locations": outputs["transforms"][..., 2],
    }


def read_out(answers):
    """The answers in plain Python values, one dictionary an image.

    Args:
        answers: What `decode` returns.

    Returns:
        List of B dictionaries: `sequence`, the labels as one string; `labels`,
        S integers; `probability`, that all of them are right, the product of
        theirs; `boxes`, S lists of four fractions of the image's sides.

    Example:

    >>> read_out(
    ...     decode(
    ...         {
    ...             "labels": ops.zeros((1, 2, 6, 4)),
    ...             "transforms": ops.ones((1, 2, 6, 2, 3)),
    ...         }
    ...     )
    ... )[0]["probability"]
    0.0625
    """
    answers = {
        name: ops.convert_to_numpy(value) for name, value in answers.items()
    }
    sure = answers["probabilities"].max(axis=-1).prod(axis=-1)  # (B,)
    return [
        {
            "sequence": "".join(str(label) for label in labels.tolist()),
            "labels": labels.tolist(),
            "probability": float(probability),
            "boxes": boxes.tolist(),
        }
        for labels, probability, boxes in zip(
            answers["labels"], sure, answers["boxes"], strict=True
        )
    ]
