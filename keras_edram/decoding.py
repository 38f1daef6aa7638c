"""From the predictions of each glimpse to one answer for each image.

A model gives probabilities p_i for each target i, in reading order. With a
terminal label, the last of the K classes, its answer is a sequence y_1 ... y_L
of any length below S, or of S objects and no room for the terminal:

    log p(y) = Σ_{i <= L} log p_i(y_i) + [L < S] log p_{L+1}(terminal)

Several models are independent witnesses: their log-probabilities are added.
One that reads backward says y_L first, so for each length L every object has
one term of each model, and the best is found object by object:

    log p(y) = Σ_{i <= L} [log p_i(y_i) + log q_{L+1-i}(y_i)] + ...

The most probable sequence is the best over all L. The probability of an answer
is normalised over all sequences, which takes the same sums of terms. It is to
be how often such answers are right, for which the terms are divided by a
temperature before; that changes no answer.

Letters in shapes: B batch, M members, S targets, N glimpses a target, A answers
of a target (N, or 1 of a model that answers once), K classes, L the length of a
sequence.
"""

import math

import numpy as np
from keras import ops

from keras_edram import geometry
from keras_edram.checks import (
    check_integer,
    check_keys,
    check_number,
    check_shapes,
    check_size,
)

READ_OUT = ("labels", "lengths", "probability", "boxes")


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
    check_shapes("logits (B, S, N, K)", logits)
    return ops.mean(ops.softmax(logits, axis=-1), axis=2)


def most_probable_sequence(forward, backward=None, *, terminal=True):
    """The sequence that is most probable to readers of both orders, exactly.

    For each length L the best label of object i maximises `forward_i(y) +
    backward_{L+1-i}(y)`; the length is that of the highest sum, the terms of
    the terminal label included.

    Args:
        forward: Tensor of shape `(B, S, K)`, log-probabilities of the target
            read i-th, added up over all who read forward.
        backward: The same of those who read backward; by default nobody.
        terminal: Boolean, whether the last class ends a sequence; otherwise
            all have S objects. Defaults to True.

    Returns:
        A dictionary: `labels` `(B, S)`, int32, from the first object to the
        last in the forward order, -1 after them; `lengths` `(B,)`, int32; and
        `probability` `(B,)` of the sequence among all that could be.

    Raises:
        ValueError: For shapes that do not belong together, S or K that are
            not known, or no class but the terminal.

    Example:

    >>> log_p = np.log([[[0.9, 0.1], [0.2, 0.8]]])  # "0", then the end
    >>> most_probable_sequence(log_p)["labels"]
    [[0, -1]]

    Reference:
        - Ablavatski et al., 2017, section 4.2.
    """
    forward = ops.cast(forward, "float32")
    check_shapes("forward (B, S, K)", forward)
    if backward is not None:
        backward = ops.cast(backward, "float32")
        check_shapes("forward (B, S, K), backward (B, S, K)", forward, backward)
    num_targets, num_classes = forward.shape[1:]
    if not (num_targets and num_classes) or num_classes <= terminal:
        raise ValueError(
            "S and K of `forward` must be known, and K have a class beside "
            f"the terminal. Received: forward of shape {tuple(forward.shape)}, "
            f"terminal={terminal}"
        )
    objects = num_classes - 1 if terminal else num_classes
    absent = ops.zeros_like(forward[:, :, 0])  # (B, S)
    best, mass, labels = [], [], []
    lengths = range(num_targets + 1) if terminal else [num_targets]
    for length in lengths:
        # Not the sum of a slice that may be empty: TFLite files that TensorFlow
        # 2.18 and 2.19 make of that give wrong numbers.
        end = absent[:, 0]
        terms = forward[:, :length, :objects]  # (B, L, objects)
        if length < num_targets:
            end = forward[:, length, -1]  # (B,)
        if backward is not None:
            turned = ops.flip(backward[:, :length, :objects], axis=1)
            terms = terms + turned  # (B, L, objects)
            if length < num_targets:
                end = end + backward[:, length, -1]
        if length == 0:
            best.append(end)
            mass.append(end)
            labels.append(absent - 1)
            continue
        # Not `ops.argmax`: it looks at the bits of -0.0, which TFLite cannot.
        highest, chosen = ops.top_k(terms, 1)  # (B, L, 1)
        best.append(end + ops.sum(highest, axis=(1, 2)))
        mass.append(end + ops.sum(_log_sum_exp(terms, axis=-1), axis=1))
        chosen = ops.cast(chosen[..., 0], absent.dtype)
        if length < num_targets:
            padded = [chosen, absent[:, length:] - 1]
            chosen = ops.concatenate(padded, axis=1)  # (B, S)
        labels.append(chosen)
    if len(best) == 1:  # nothing to choose from
        return {
            "labels": ops.cast(labels[0], "int32"),
            "lengths": ops.cast(end, "int32") + num_targets,
            "probability": ops.exp(best[0] - mass[0]),
        }
    best = ops.stack(best, axis=1)  # (B, lengths)
    mass = ops.stack(mass, axis=1)  # (B, lengths)
    highest, index = ops.top_k(best, 1)  # (B, 1)
    index = index[:, 0]
    of_length = ops.one_hot(index, len(labels), dtype=absent.dtype)
    labels = ops.stack(labels, axis=1)  # (B, lengths, S)
    labels = ops.sum(labels * of_length[..., None], axis=1)  # (B, S)
    return {
        "labels": ops.cast(ops.round(labels), "int32"),
        "lengths": ops.cast(index, "int32") + lengths[0],
        "probability": ops.exp(highest[:, 0] - _log_sum_exp(mass, axis=1)),
    }


def decode(outputs, *, terminal=False, num_forward=None, temperature=1.0):
    """The answer of a model: what each target is, where, and where it looked.

    Args:
        outputs: Dictionary that a model returns: `labels`, logits of shape
            `(B, S, A, K)`, and `transforms` `(B, S, N, 2, 3)`. A is the model's
            `answers_per_target`; an ensemble's has a further axis of M members
            before S.
        terminal: Boolean, whether the last class ends a sequence. Defaults to
            False.
        num_forward: Integer, the members from the first on that read forward;
            the others read backward. Defaults to all.
        temperature: Float above 0, which log-probabilities are divided by; the
            higher, the less sure are the same answers. Defaults to 1.

    Returns:
        A dictionary, targets in forward order:

        - `labels` `(B, S)`, int32, see `most_probable_sequence`; -1 after the
          last object;
        - `lengths` `(B,)`, int32, how many objects there are;
        - `probability` `(B,)`, that all of this is right;
        - `probabilities` `(B, S, K)` of each target alone, see
          `average_probabilities`; those of members are multiplied. To the
          power of 1 / `temperature`, and divided by their sum;
        - `boxes` `(B, S, 4)`, left, top, right, bottom of what the last
          window of each target shows of the image, fractions of its sides in
          [0, 1], the mean over the members; zeros after the last object;
        - `transforms` `(B, S, 2, 3)`, that window, wherever it is;
        - `locations` `(B, S, N, 2)`, x and y of the middle of each window, in
          the order of looking, the image being [-1, 1]; `(B, M, S, N, 2)` of
          members.

    Raises:
        ValueError: For outputs that are missing, shapes that do not belong
            together, more that read forward than there are, or a temperature
            that is not above 0.

    Example:

    >>> from keras_edram import EDRAM
    >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
    >>> answer = decode(model(ops.zeros((1, 100, 100, 1))))
    >>> answer["boxes"].shape
    (1, 1, 4)

    Reference:
        - Ablavatski et al., 2017, section 4.2.
        - Guo et al., "On Calibration of Modern Neural Networks", 2017, section
          4.2, for the temperature.
    """
    check_keys(outputs, ("labels", "transforms"), "outputs")
    logits = ops.cast(outputs["labels"], "float32")
    transforms = ops.cast(outputs["transforms"], "float32")
    of_target = "M, S" if len(logits.shape) == 5 else "S"
    check_shapes(
        f"labels (B, {of_target}, A, K), transforms (B, {of_target}, N, 2, 3)",
        logits, transforms,
    )  # fmt: skip
    # In rows of six: many a device takes apart five dimensions at most.
    shape = (-1, *transforms.shape[1:-2], 6)
    transforms = ops.reshape(transforms, shape)  # (B, S, N, 6)
    locations = geometry.centres(transforms)  # (B, S, N, 2)
    if len(logits.shape) == 4:
        logits = logits[:, None]  # (B, M, S, A, K)
        transforms = transforms[:, None]  # (B, M, S, N, 6)
    log_p = _log_probabilities(logits)  # (B, M, S, K)
    if check_number(temperature, "temperature", above=True) != 1:
        log_p = log_p / temperature
    windows = transforms[:, :, :, -1]  # (B, M, S, 6)
    members = log_p.shape[1]
    forward = members
    if num_forward is not None:
        forward = check_integer(num_forward, "num_forward", 0, members)

    total = ops.zeros_like(log_p[:, 0])  # (B, S, K)
    window = ops.zeros_like(windows[:, 0])  # (B, S, 6)
    backward = None
    if forward:
        total = ops.sum(log_p[:, :forward], axis=1)
        window = ops.sum(windows[:, :forward], axis=1)
    if forward < members:
        backward = ops.sum(log_p[:, forward:], axis=1)
    sequence = most_probable_sequence(total, backward, terminal=terminal)
    lengths = sequence["lengths"]
    num_targets = log_p.shape[2]
    # A tensor: PyTorch does not compare with an array.
    position = ops.convert_to_tensor(np.arange(num_targets, dtype="int32"))
    of_object = ops.cast(position < lengths[:, None], "float32")  # (B, S)
    if backward is not None:
        # Object i of L is what they read as number L + 1 - i; after the last
        # object they are in step again.
        read_as = ops.where(
            position < lengths[:, None],
            lengths[:, None] - 1 - position,
            position,
        )
        turn = ops.one_hot(read_as, num_targets, dtype="float32")  # (B, S, S)
        total = total + ops.matmul(turn, backward)
        turned = ops.sum(windows[:, forward:], axis=1)
        window = window + ops.matmul(turn, turned)
    window = ops.reshape(
        window / members, (-1, num_targets, 2, 3)
    )  # (B, S, 2, 3)
    boxes = ops.clip(geometry.transforms_to_boxes(window), 0, 1)
    return {
        **sequence,
        "probabilities": ops.softmax(total, axis=-1),
        "boxes": boxes * of_object[..., None],
        "transforms": window,
        "locations": locations,
    }


def read_out(answers, class_names=None, refuse_below=0.0):
    """The answers in plain Python values, one dictionary an image.

    Args:
        answers: What `decode` returns; it may also have `num_glimpses`, see
            `keras_edram.anytime`, which is handed on.
        class_names: Strings, the names of the labels; by default their
            numbers.
        refuse_below: Float in [0, 1]: an answer that is less probable is
            refused, "I do not know". Defaults to 0, all are given.

    Returns:
        List of B dictionaries: `sequence`, the names as one string, with
        spaces between them unless all classes have names of one character,
        or `None` if it is refused; `labels`, L integers; `names`, L strings;
        `probability`, that all of them are right; `boxes`, L lists of four
        fractions of the image's sides.

    Raises:
        ValueError: If `refuse_below` is not in [0, 1], an answer is missing,
            shapes do not belong together, or a label has no name.

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
    check_number(refuse_below, "refuse_below", 0, 1)
    check_keys(answers, READ_OUT, "answers")
    number = ("num_glimpses",) if "num_glimpses" in answers else ()
    answers = {
        name: ops.convert_to_numpy(answers[name])
        for name in (*READ_OUT, *number)
    }
    check_shapes(
        "labels (B, S), lengths (B), probability (B), boxes (B, S, 4)"
        + ", num_glimpses (B)" * len(number),
        *answers.values(),
    )
    highest = answers["labels"].max(initial=-1)
    if class_names and highest >= len(class_names):
        raise ValueError(
            "`class_names` must have a name for each label. Received: "
            f"class_names={class_names!r}, a label {highest}"
        )
    answers = {name: values.tolist() for name, values in answers.items()}
    rows = []
    for i, length in enumerate(answers["lengths"]):
        labels = answers["labels"][i][:length]
        probability = answers["probability"][i]
        names = [class_names[y] if class_names else str(y) for y in labels]
        sequence = join(names, class_names)
        row = {
            "sequence": sequence if probability >= refuse_below else None,
            "labels": labels,
            "names": names,
            "probability": probability,
            "boxes": answers["boxes"][i][:length],
        }
        if "num_glimpses" in answers:
            row["num_glimpses"] = answers["num_glimpses"][i]
        rows.append(row)
    return rows


def join(names, class_names=None):
    """Names as one string: digits and letters closely, words with spaces.

    Args:
        names: Strings, those that were read.
        class_names: Strings, the names of all classes, which decide; by
            default those that were read.

    Returns:
        String.

    Example:

    >>> join(["cat", "dog"], ["cat", "dog", "horse"])
    'cat dog'
    """
    close = all(len(name) == 1 for name in class_names or names)
    return ("" if close else " ").join(names)


def look_at_crops(look, images, image_size, num_crops, *, seed=0):
    """Looks at several crops of each image, to be averaged as one answer.

    Args:
        look: Function of images `(B, h, w, C)` that returns a model's
            `labels` and `transforms`, such as `model.glimpses`.
        images: Array of shape `(B, H, W, C)`.
        image_size: `(h, w)` of the crops, at most `(H, W)`.
        num_crops: Positive integer. The first is the middle, the others lie
            anywhere, at the same places in all images.
        seed: Integer, of the places.

    Returns:
        A dictionary as from `look`, of arrays: the `labels` of all crops
        follow each other as if they were further glimpses, `(B, S, num_crops
        N, K)`, so that `decode` averages them; `transforms` `(B, S, N, 2, 3)`
        are the mean windows, of the whole images.

    Raises:
        ValueError: For images of another shape, no crop, or crops that do not
            fit the images.

    Example:

    >>> from keras_edram import EDRAM
    >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
    >>> images = np.zeros((2, 120, 120, 1))
    >>> looks = look_at_crops(model.glimpses, images, (100, 100), 5)
    >>> decode(looks)["labels"].shape
    (2, 1)

    Reference:
        - Ablavatski et al., 2017, section 4.2, for the sizes of the crops;
          Table 2 names Monte-Carlo averaging of others' models.
    """
    images = np.asarray(images)
    check_shapes("images (B, H, W, C)", images)
    num_crops = check_integer(num_crops, "num_crops")
    image_size = check_size(image_size, "image_size")
    size, crop = np.array(images.shape[1:3]), np.array(image_size)
    if (crop > size).any():
        raise ValueError(
            "Crops must fit the images. Received: image_size="
            f"{image_size}, images of shape {images.shape}"
        )
    generator = np.random.default_rng(seed)
    corners = generator.integers(0, size - crop + 1, (num_crops, 2))
    corners[0] = (size - crop) // 2
    labels, transforms = [], []
    for top, left in corners:
        high, wide = crop
        looks = look(images[:, top : top + high, left : left + wide])
        box = np.array([left, top, left + wide, top + high], "float32")
        outer = geometry.boxes_to_transforms(
            box, box_format="xyxy", image_size=size
        )
        labels.append(looks["labels"])
        transforms.append(geometry.compose(outer, looks["transforms"]))
    labels = np.concatenate(labels, axis=-2)  # (B, S, num_crops N, K)
    return {"labels": labels, "transforms": np.mean(transforms, axis=0)}


def _log_probabilities(logits):
    """`log 1/A Σ_j softmax(logits_j)`: (..., A, K) -> (..., K)"""
    log_p = ops.log_softmax(logits, axis=-1)
    return _log_sum_exp(log_p, axis=-2) - math.log(logits.shape[-2])


def _log_sum_exp(values, axis):
    """`log Σ exp`, of values that may be -∞ but not ∞.

    Keras' own asks for either in ten operations more, which a single image
    notices.
    """
    # Without an `initial` Keras has no maximum of no values.
    highest = ops.max(
        values, axis=axis, keepdims=True, initial=np.finfo("float32").min
    )
    total = ops.sum(ops.exp(values - highest), axis=axis)
    highest = ops.squeeze(highest, axis)  # (...)
    return ops.log(total) + highest
