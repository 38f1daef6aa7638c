"""What an export computes: the answer, and its glimpses one by one."""

import functools

STEP_SIGNATURES = ["start", "look"]


def class_names(model):
    """Names of the classes of a model, but the terminal label: strings.

    Example:

    >>> class_names(model)[:3]
    ('0', '1', '2')
    """
    return model.label_names


def label_lines(model):
    """The same, a name a line, for programs that read them so.

    Args:
        model: As of `class_names`.

    Returns:
        String.

    Raises:
        ValueError: If a name is not one line: those after it would be others'.

    Example:

    >>> label_lines(model)[:3]
    '0\\n1'
    """
    names = class_names(model)
    lines = "\n".join(names)
    if lines.splitlines() != list(names):
        raise ValueError(
            "Names of classes must have no line breaks to be written a line "
            f"each. Received: class_names={names}"
        )
    return lines


def deployable(model):
    """The model itself, or its like that computes in float32, by the mean.

    Nothing is drawn when it serves: the same image, the same answer.

    Args:
        model: `EDRAM`, `Ensemble`, `RAM` or `Baseline`.

    Returns:
        Model of the same class.

    Example:

    >>> deployable(model).dtype_policy.compute_dtype
    'float32'
    """
    if model.members:
        members = [deployable(member) for member in model.members]
        return type(model)(members, temperature=model.temperature)
    draws = model.has_policy and model.num_rollouts
    if model.dtype_policy.compute_dtype == "float32" and not draws:
        return model
    config = {**model.get_config(), "dtype": "float32"}
    if draws:
        config["num_rollouts"] = 0
    copy = type(model).from_config(config)
    copy.set_weights(model.get_weights())
    return copy


def write_saved_model(
    model,
    path,
    keys=None,
    *,
    image_shape=None,
    with_names=True,
    in_a_loop=False,
):
    """Writes signatures as a SavedModel.

    Args:
        model: One that `deployable` returned.
        path: Path of the folder.
        keys: Names of the signatures; by default all that the model has.
        image_shape: `(height, width, channels)` of the images that they take;
            by default that of the model.
        with_names: Boolean, whether to answer with names, which are strings.
        in_a_loop: Boolean, whether glimpses are taken in a loop, whose body is
            there once, rather than one after the other.
    """
    import keras

    shape = (None, *(image_shape or model.image_shape))
    endpoints = _whole_images(model, shape, with_names, in_a_loop)
    if keys is None:
        keys = [*endpoints, *STEP_SIGNATURES * model.looks_step_by_step]
    if {*STEP_SIGNATURES} <= {*keys}:
        endpoints |= _steps(model, shape)
    archive = keras.export.ExportArchive()
    # Not `track`, which makes a graph of the model's own call too.
    for name in ("variables", "trainable_variables", "non_trainable_variables"):
        archive.add_variable_collection(name, getattr(model, name))
    for key in keys:
        archive.add_endpoint(key, endpoints[key])
    archive.write_out(str(path), verbose=False)


def _whole_images(model, shape, with_names, in_a_loop):
    """The signatures that read images `(B, H, W, C)` at once, by name."""
    import tensorflow as tf

    names = [*class_names(model), ""]  # label -1 is the last

    def answer(images):
        # A server does not compare shapes by itself: a picture whose height
        # and width are exchanged would get an answer.
        images = tf.ensure_shape(images, shape)
        if in_a_loop:
            return model.decode(look_in_a_loop(model, images))
        return model.decode(model(images, training=False))

    images_spec = tf.TensorSpec(shape, tf.float32, "images")
    bytes_spec = tf.TensorSpec((None,), tf.string, "image_bytes")
    # Traced once, all call it; and what no key asks for, never.
    answer = _graph(answer, images_spec)
    decode = _graph(
        lambda contents: _decode_pictures(contents, shape[1:]), bytes_spec
    )

    def serve(images):
        answers = answer()(images)
        if with_names:
            index = answers["labels"] % len(names)
            answers["names"] = tf.gather(names, index)  # (B, S)
        return answers

    def serve_uint8(images):
        return serve(tf.cast(images, tf.float32))

    def serve_bytes(image_bytes):
        return serve(decode()(image_bytes))

    return {
        "serving_default": _function(serve, images_spec),
        "serving_uint8": _function(
            serve_uint8, tf.TensorSpec(shape, tf.uint8, "images")
        ),
        "serving_bytes": _function(serve_bytes, bytes_spec),
    }


def _function(function, *specs):
    """A graph of it. Autograph is not needed, and would take seconds."""
    import tensorflow as tf

    return tf.function(function, input_signature=specs, autograph=False)


def _graph(function, *specs):
    """Gives the one graph of it, for functions of `_function` to call.

    TensorFlow traces what it saves a second time and would write both graphs,
    but for those that are called as they are.
    """
    import tensorflow as tf

    @functools.cache
    def graph():
        with tf.init_scope():  # not within the graph that calls it
            return _function(function, *specs).get_concrete_function()

    return graph


def _decode_pictures(contents, image_shape):
    """Picture files `(B,)` as images `(B, H, W, C)`."""
    import tensorflow as tf

    from keras_edram.serving import decoding_graph

    if image_shape[0] is None:
        return decoding_graph.decode_pictures_of_one_size(
            contents, image_shape[-1]
        )
    return tf.map_fn(
        lambda content: decoding_graph.decode_picture(content, image_shape),
        contents,
        fn_output_signature=tf.float32,
    )


def look_in_a_loop(model, images):
    """What a call of the model returns, with a loop over the glimpses."""
    import tensorflow as tf

    if model.members:
        outputs = [look_in_a_loop(member, images) for member in model.members]
        return {
            name: tf.stack([output[name] for output in outputs], axis=1)
            for name in outputs[0]
        }  # (B, M, S, ...)
    if not model.looks_step_by_step:
        return model(images, training=False)
    number = model.num_glimpses

    def write(values, value, t):
        """`value` at place t of `(B, T, ...)`, which TFLite can do so."""
        is_there = tf.reshape(
            tf.range(number) == t, (1, -1, *[1] * (len(value.shape) - 1))
        )  # (1, T, 1, ...)
        written = tf.where(is_there, value[:, None], values)
        return tf.ensure_shape(written, values.shape)

    def look(t, state, logits, transforms):
        glimpse, state = model.step(seen, state)
        logits = write(logits, glimpse.logits, t)
        return t + 1, state, logits, write(transforms, glimpse.transforms, t)

    seen, state = model.start(images)
    batch = tf.shape(images)[0]
    _, _, logits, transforms = tf.while_loop(
        lambda t, *_: t < number,
        look,
        (
            0,
            state,
            tf.zeros((batch, number, model.num_classes)),
            tf.zeros((batch, number, 2, 3)),
        ),
    )
    targets = (-1, model.num_targets, model.glimpses_per_target)
    logits = tf.reshape(logits, (*targets, model.num_classes))  # (B, S, N, K)
    return {
        # RAM answers with its last glimpse.
        "labels": logits[:, :, -model.answers_per_target :],
        "transforms": tf.reshape(
            transforms, (*targets, 2, 3)
        ),  # (B, S, N, 2, 3)
    }


def first_state(model, images):
    """The state before the first glimpse: tensors `state_...` by name."""
    import tensorflow as tf

    _, state = model.start(images)
    # A step for each image: a server joins requests to batches.
    steps = tf.fill(tf.shape(images)[:1], state.step)  # (B,)
    return _named(state._replace(step=steps))


def _steps(model, shape):
    """The signatures `start` and `look` of images `(B, H, W, C)`, by name."""
    import tensorflow as tf

    from keras_edram import geometry

    images_spec = tf.TensorSpec(shape, tf.float32)

    def start(images):
        return first_state(model, tf.ensure_shape(images, images_spec.shape))

    def look(images, *tensors):
        images = tf.ensure_shape(images, images_spec.shape)
        seen, like = model.start(images)
        state = tf.nest.pack_sequence_as(like, tensors)
        glimpse, state = model.step(seen, state)
        return {
            **_named(state),
            "step_probabilities": tf.nn.softmax(glimpse.logits),
            "step_transforms": glimpse.transforms,
            "step_boxes": shown(glimpse.transforms),
            "next_boxes": shown(model.next_windows(seen, state)),
        }

    def shown(windows):
        return tf.clip_by_value(geometry.transforms_to_boxes(windows), 0, 1)

    specs = [_spec("images", images_spec)]
    start = _graph(start, *specs)
    state = start().structured_outputs.items()
    state_specs = [_spec(name, like) for name, like in state]
    look = _graph(look, *specs, *state_specs)
    return {
        "start": _function(lambda *tensors: start()(*tensors), *specs),
        "look": _function(
            lambda *tensors: look()(*tensors), *specs, *state_specs
        ),
    }


def _spec(name, like):
    import tensorflow as tf

    return tf.TensorSpec((None, *like.shape[1:]), like.dtype, name)


def _named(state):
    """The tensors of a state by name, in the order of its fields."""
    named = {}
    for name, value in state._asdict().items():
        if isinstance(value, tuple):
            for index, part in enumerate(value):
                named[f"state_{name}_{index}"] = part
        else:
            named[f"state_{name}"] = value
    return named
