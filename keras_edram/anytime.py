"""A budget of glimpses: looks at each image no longer than it needs.

An image is done when nothing follows the current target and the latest glimpse
at it is sure:

    max_y p_j(y) >= confidence

Nothing follows the last target, nor the terminal label. The answer is the mean
of the predictions so far, as at the end; RAM and DRAM answer once a target,
with the latest. To ask the mean itself to be sure takes twice as many glimpses
for the same error, because the first look, from afar, drags on: cluttered
MNIST, 4,000 validation images, error 0.85 % with 61 % of the glimpses against
32 %. So p_j is what the network says at once; the temperature of a model is
for its answers, and was fitted to those of a whole look: of a few glimpses
alone it makes them too sure, or not sure enough.

Letters in shapes: B batch, S targets, N glimpses a target, T = S N, K classes.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_edram.checks import check_integer, check_number

MANY = 32  # images that are worth a graph at once
# Of one wording wherever it is asked for: the server's processes are told it.
ONLY_FOR = (
    "A budget of glimpses, `confidence` or `max_glimpses`, is for one model "
    "that looks step by step along one path, as EDRAM does, and RAM and DRAM "
    "without rollouts: not for crops, nor another `glimpses_per_target`"
)


class Graphs:
    """Compiled functions of a model, each made when it is asked for.

    To trace one takes seconds, and to look once without takes half of one. So
    they are `worth` it for many images, and from the second look on.

    Attributes:
        num_looks: Integer, how often the model was asked to look.
    """

    def __init__(self):
        self.num_looks = 0
        self._made = {}

    @classmethod
    def of(cls, model):
        """The graphs of a model, which keeps them."""
        if model.graphs is None:
            model.graphs = cls()
        return model.graphs

    @property
    def is_asked_again(self):
        """Whether the model has looked before the present look."""
        return keras.config.backend() == "tensorflow" and self.num_looks > 1

    def worth(self, num_images):
        """Whether the look that begins is to be compiled."""
        self.num_looks += 1
        return self.is_asked_again or (
            keras.config.backend() == "tensorflow" and num_images >= MANY
        )

    def get(self, key, make):
        """What `make()` returned when this was first asked for."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


class Glimpses(NamedTuple):
    """Glimpses at B images, of which each had as many as it needed.

    Attributes:
        logits: `(B, T, K)`, after each glimpse.
        transforms: `(B, T, 2, 3)`, the windows, and after the last that
            was read the one that would have been next.
        patches: `(B, T, g, g, C)`, what was seen there.
        taken: `(B,)`, how many glimpses there were; after them all is zeros.
    """

    logits: Any
    transforms: Any
    patches: Any
    taken: Any


def look_until_sure(model, images, confidence=None, max_glimpses=None):
    """Looks at each image until its answer is sure, or the budget is spent.

    No glimpse is computed for an image that is done: the batch shrinks.

    Args:
        model: One that looks step by step, EDRAM or RAM without rollouts,
            whose mean policy is followed.
        images: Array of shape `(B, H, W, C)`, uint8 or float in [0, 255].
        confidence: Float in [0, 1], how sure a glimpse has to be to be the
            last; by default none is.
        max_glimpses: Integer, glimpses an image at most; by default T. Targets
            that are not reached are as likely one label as another.

    Returns:
        A dictionary of NumPy arrays as of `model.glimpses`, for `decode`:
        where an image was done, the average so far stands for what would have
        followed, and the window that would have been next for all others:
        where the model believes the object to be. `patches` are zeros there.
        Also `num_glimpses` `(B,)`, int32, how many were taken.

    Raises:
        ValueError: For a model that cannot have a budget, see `why_no_budget`,
            a budget that is none, images of another shape, or pixels that are
            no numbers.

    Example:

    >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
    >>> images, _ = cluttered_mnist("test").arrays(2)
    >>> looks = look_until_sure(model, images, confidence=0.99)
    >>> answers = model.decode(looks)
    """
    check_budget(model, confidence, max_glimpses)
    images = model.seen_images(images)
    glimpses = take_glimpses(model, images, confidence, max_glimpses)
    return looks_of(model, glimpses)


def why_no_budget(model):
    """Why a model cannot look at an image no longer than it needs.

    Args:
        model: A model of this package.

    Returns:
        String, a sentence; `None` of a model that can.

    Example:

    >>> why_no_budget(EDRAM.from_preset("edram_small_cluttered_mnist"))
    """
    if not model.looks_step_by_step:
        return f"{ONLY_FOR}. Received: a {type(model).__name__}"
    if model.has_policy and model.num_rollouts:
        return f"{ONLY_FOR}. Received: num_rollouts={model.num_rollouts}"
    return None


def check_budget(model, confidence=None, max_glimpses=None, **how):
    """Checks that this is a budget that a model can keep.

    Args:
        model: A model of this package.
        confidence, max_glimpses: As of `look_until_sure`.
        **how: How else to look, `None` of what is not asked for.

    Raises:
        ValueError: For a model that cannot stop early, another way to look, or
            numbers out of range.

    Example:

    >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
    >>> check_budget(model, confidence=0.99, crops=None)
    """
    for name, value in how.items():
        if value is not None:
            raise ValueError(f"{ONLY_FOR}. Received: {name}={value!r}")
    if reason := why_no_budget(model):
        raise ValueError(reason)
    if confidence is not None:
        check_number(confidence, "confidence", 0, 1)
    if max_glimpses is not None:
        check_integer(max_glimpses, "max_glimpses")


def take_glimpses(model, images, confidence=None, max_glimpses=None):
    """The `Glimpses` of a model at images, see `look_until_sure`.

    Example:

    >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
    >>> take_glimpses(model, np.zeros((2, 100, 100, 1))).taken
    [6, 6]
    """
    number = model.num_glimpses
    budget = min(number, max_glimpses or number)
    if not len(images):  # Keras' layers cannot do with none
        one = take_glimpses(model, np.zeros((1, *images.shape[1:])))
        return Glimpses(*(values[:0] for values in one))
    start, step = model.start, model.step
    if Graphs.of(model).worth(len(images)):
        if confidence is None or len(images) == 1:  # no batch to shrink
            return _take_in_a_graph(model, images, confidence, budget)
        step = _compiled_step(model)
        if model.takes_any_size:  # or there would be a step for each size
            start = _compiled_start(model, images)
    pyramid, state = start(ops.convert_to_tensor(images))
    glimpses = None
    rows = np.arange(len(images))  # of the images that are not done
    for t in range(budget):
        glimpse, state = step(pyramid, state)
        if glimpses is None:
            glimpses = _no_glimpses(len(images), number, glimpse)
        for name in ("logits", "patches", "transforms"):
            values = ops.convert_to_numpy(getattr(glimpse, name))
            getattr(glimpses, name)[rows, t] = values
        if t + 1 < number:
            following = ops.convert_to_numpy(model.next_windows(pyramid, state))
            glimpses.transforms[rows, t + 1] = following
        glimpses.taken[rows] = t + 1
        if confidence is None or t + 1 == budget:
            continue
        unsure = ~is_sure(model, glimpses.logits[rows], t, confidence)
        if not unsure.any():
            break
        if not unsure.all():
            rows = rows[unsure]
            pyramid, state = _keep(np.flatnonzero(unsure), pyramid, state)
    return glimpses


def _take_in_a_graph(model, images, confidence, budget):
    """`take_glimpses` as one graph, which takes any budget."""
    images = np.asarray(images)
    if images.dtype != np.uint8:
        images = images.astype("float32")
    single = len(images) == 1
    # One for all sizes of a model that takes any: to trace takes seconds.
    size = (None, None) if model.takes_any_size else images.shape[1:3]
    shape = (1 if single else None, *size, images.shape[-1])
    spec = shape, images.dtype.name
    # The number of glimpses stands in the graph, and may change.
    graph = Graphs.of(model).get(
        (*spec, model.glimpses_per_target), lambda: _graph(model, *spec)
    )
    found = graph(
        images,
        np.float32(2 if confidence is None else confidence),
        np.int32(budget),
    )
    following, *seen = (ops.convert_to_numpy(values) for values in found)
    taken = len(seen[0])
    first = Glimpses(*(values[0] for values in seen), taken)
    glimpses = _no_glimpses(len(images), model.num_glimpses, first)
    for values, found in zip(glimpses, seen, strict=False):
        values[:, :taken] = np.moveaxis(found, 0, 1)
    if taken < model.num_glimpses:
        glimpses.transforms[:, taken] = following
    glimpses.taken[:] = taken
    return glimpses


def _graph(model, images_shape, dtype):
    """Of images, a confidence and a number of glimpses: looks until then.

    Its answers are the next windows, and what was seen, the glimpses first.
    A single image has a graph of its own, in which no shape is computed.
    """
    import tensorflow as tf

    num_classes, last = model.num_classes, model.num_targets - 1

    def is_sure(logits, t, confidence):
        probabilities = tf.nn.softmax(logits)
        sure = tf.reduce_max(probabilities, axis=-1) >= confidence
        done = t // model.glimpses_per_target >= last
        if model.terminal:
            label = tf.argmax(logits, axis=-1, output_type=tf.int32)
            done |= label == num_classes - 1
        return tf.reduce_all(sure & done) & answers_after(model, t)

    def look(images, confidence, budget):
        pyramid, state = model.start(images)

        def take(t, sure, state, arrays):
            glimpse, state = model.step(pyramid, state)
            seen = glimpse.logits, glimpse.transforms, glimpse.patches
            arrays = [
                array.write(t, tf.cast(value, array.dtype))
                for array, value in zip(arrays, seen, strict=True)
            ]
            sure = is_sure(glimpse.logits, t, confidence)
            return t + 1, sure, state, arrays

        arrays = [
            tf.TensorArray(dtype, size=budget)
            for dtype in (tf.float32, tf.float32, model.compute_dtype)
        ]
        t, _, state, arrays = tf.while_loop(
            lambda t, sure, *_: (t < budget) & tf.logical_not(sure),
            take,
            (0, False, state, arrays),
        )
        seen = [array.gather(tf.range(t)) for array in arrays]  # (t, B, ...)
        return model.next_windows(pyramid, state), *seen

    specs = (
        tf.TensorSpec(images_shape, dtype),
        tf.TensorSpec((), tf.float32),
        tf.TensorSpec((), tf.int32),
    )
    return tf.function(look, input_signature=specs, autograph=False)


def graph_of(function, shapes):
    """A graph of a function of a dictionary of float32 tensors `(B, ...)`.

    Args:
        function: The function.
        shapes: Dictionary of what follows B.

    Returns:
        The function, compiled.

    Example:

    >>> graph = graph_of(lambda given: given["a"] + 1, {"a": (2,)})
    >>> graph({"a": np.array([[1.0, 2.0]])})
    [[2.0, 3.0]]
    """
    import tensorflow as tf

    spec = {
        name: tf.TensorSpec((None, *shape), tf.float32)
        for name, shape in shapes.items()
    }
    return tf.function(function, input_signature=(spec,), autograph=False)


def _no_glimpses(num_images, number, glimpse):
    def zeros(like):
        dtype = keras.backend.standardize_dtype(like.dtype)
        return np.zeros((num_images, number, *like.shape[1:]), dtype)

    return Glimpses(
        logits=zeros(glimpse.logits),
        transforms=zeros(glimpse.transforms),
        patches=zeros(glimpse.patches),
        taken=np.zeros(num_images, "int32"),
    )


def _keep(index, pyramid, state):
    """A pyramid and a state of these images alone."""

    def of_those(values):
        is_step = not len(values.shape)  # which is one for all
        return values if is_step else ops.take(values, index, axis=0)

    pyramid = pyramid._replace(parts=tuple(map(of_those, pyramid.parts)))
    return pyramid, keras.tree.map_structure(of_those, state)


def is_sure(model, logits, t, confidence):
    """Whether images are done after glimpse t: `(B, T, K)` -> `(B,)`."""
    probabilities = _softmax(logits[:, t])  # (B, K)
    sure = probabilities.max(axis=-1) >= confidence
    if t // model.glimpses_per_target < model.num_targets - 1:
        sure &= _ends(model, probabilities)
    return sure & answers_after(model, t)


def answers_after(model, t):
    """Whether what a model says after glimpse t is an answer.

    One that answers once for each of several targets is taught so after the
    last glimpse of each, and before that may still say the target before.
    """
    if not model.answers_once or model.num_targets == 1:
        return True
    return (t + 1) % model.glimpses_per_target == 0


def stop_when_sure(model, glimpses, confidence):
    """What `Glimpses` without a budget would have been with a confidence."""
    taken = glimpses.taken.copy()
    for t in reversed(range(taken.max(initial=0) - 1)):
        taken[is_sure(model, glimpses.logits, t, confidence)] = t + 1
    return glimpses._replace(taken=taken)


def looks_of(model, glimpses):
    """`Glimpses`, which may have ended early, as `model.glimpses` gives them.

    Args:
        model: The model that took them.
        glimpses: `Glimpses`.

    Returns:
        Dictionary of NumPy arrays, see `look_until_sure`.

    Example:

    >>> model = EDRAM.from_preset("edram_small_cluttered_mnist")
    >>> glimpses = take_glimpses(model, np.zeros((2, 100, 100, 1)))
    >>> looks_of(model, glimpses)["labels"].shape
    (2, 1, 6, 10)
    """
    num_targets = model.num_targets
    glimpses_per_target = model.glimpses_per_target
    logits, transforms, patches, taken = glimpses
    targets = (len(taken), num_targets, glimpses_per_target)
    t = np.arange(logits.shape[1])
    seen = t < taken[:, None]  # (B, T)
    last = np.maximum(taken - 1, 0)
    images = np.arange(len(taken))
    following = transforms[images, np.minimum(taken, len(t) - 1)]  # (B, 2, 3)
    windows = np.where(seen[..., None, None], transforms, following[:, None])
    if model.answers_per_target < glimpses_per_target:  # after the last one
        labels = _latest_answers(model, logits, last)  # (B, S, 1, K)
    else:
        seen = seen.reshape(targets)[..., None]  # (B, S, N, 1)
        labels = logits.reshape(*targets, logits.shape[-1])  # (B, S, N, K)
        average = (_softmax(labels) * seen).sum(axis=2)
        average /= np.maximum(seen.sum(axis=2), 1)  # (B, S, K)
        target = last // glimpses_per_target
        final = average[images, target][:, None]  # (B, 1, K)
        # Targets that were not looked at: after the terminal label it comes
        # again, else all classes are as probable.
        beyond = np.where(
            _ends(model, final)[..., None], final, 1 / final.shape[-1]
        )
        reached = np.arange(num_targets) <= target[:, None]  # (B, S)
        average = np.where(reached[..., None], average, beyond)
        tiny = np.finfo("float32").tiny
        average = np.log(np.maximum(average, tiny))[:, :, None]
        labels = np.where(seen, labels, average).astype("float32")
    return {
        "labels": labels,
        "transforms": windows.reshape(*targets, 2, 3),  # (B, S, N, 2, 3)
        "patches": patches.reshape(
            *targets, *patches.shape[2:]
        ),  # (B, S, N, g, g, C)
        "num_glimpses": taken,
    }


def _latest_answers(model, logits, last):
    """Of each target after the latest glimpse: `(B, T, K)` -> `(B, S, 1, K)`.

    After the terminal label it comes again; of other targets that were not
    looked at all classes are as probable.
    """
    images, num_glimpses = np.arange(len(last)), model.glimpses_per_target
    ends = np.arange(num_glimpses - 1, logits.shape[1], num_glimpses)  # (S,)
    labels = logits[images[:, None], np.minimum(ends, last[:, None])]
    final = labels[:, -1:]  # (B, 1, K), of the latest glimpse
    beyond = np.where(_ends(model, final)[..., None], final, 0)
    reached = last[:, None] // num_glimpses >= np.arange(len(ends))  # (B, S)
    return np.where(reached[..., None], labels, beyond)[:, :, None]


def _ends(model, probabilities):
    """Whether the terminal label is the most probable: (..., K) -> (...)"""
    last = probabilities.shape[-1] - 1
    return model.terminal & (probabilities.argmax(axis=-1) == last)


def _softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def _compiled_start(model, images):
    """`start` of a model that takes images of any size, as one graph."""
    import tensorflow as tf

    shape = (None, None, None, images.shape[-1])
    dtype = keras.backend.standardize_dtype(images.dtype)
    specs = (tf.TensorSpec(shape, dtype),)
    return Graphs.of(model).get(
        ("start", dtype),
        lambda: tf.function(
            model.start, input_signature=specs, autograph=False
        ),
    )


def _compiled_step(model):
    """`step` of a model, as a graph where that can be."""
    if keras.config.backend() != "tensorflow":
        return model.step
    if model.compiled_step is None:
        import tensorflow as tf

        # Eager, a step takes tens of times as long for a single image.
        model.compiled_step = tf.function(model.step, reduce_retracing=True)
    return model.compiled_step
