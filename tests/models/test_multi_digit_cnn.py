"""The 11-layer CNN: sizes, its probabilities, and that it learns."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from keras_edram import geometry
from keras_edram.losses import LabelLoss, label_losses
from keras_edram.models import MultiDigitCNN
from keras_edram.models.sequence_head import NEVER, SequenceHead

B, S, K = 3, 3, 4
TINY = dict(
    image_shape=(35, 18, 2),
    num_classes=K,
    num_targets=S,
    filters=(3, 4, 5, 3, 4, 5, 3, 4),
    local_filters=5,
    units=6,
)


def make_model(**changes):
    """A model whose weights are all something, and always the same."""
    keras.utils.set_random_seed(0)
    return tiny.shake(MultiDigitCNN(**{**TINY, **changes}))


@pytest.fixture
def images():
    generator = np.random.default_rng(1)
    return generator.integers(0, 256, (B, *TINY["image_shape"]), "uint8")


@pytest.mark.parametrize(("side", "places"), [(54, 4), (64, 4), (80, 5)])
def test_the_paper_s_sizes_have_these_parameters(side, places):
    model = MultiDigitCNN((side, side, 3))
    filters = (3, 3 * 48, 64, 128, 160, 192, 192, 192, 192)  # 3 colours
    inputs = (3, 48, *filters[2:])
    # Kernels of 5x5, and a slope and an offset of each filter.
    expected = sum(
        25 * before * after + 2 * after
        for before, after in zip(inputs, filters[1:], strict=False)
    )
    expected += places**2 * (25 * 192 + 1) * 192 + 2 * 192
    expected += places**2 * 192 * 3072 + 2 * 3072 + 3072 * 3072 + 2 * 3072
    expected += 3073 * (5 * 10 + 6)
    counted = sum(np.prod(w.shape) for w in model.trainable_weights)
    assert counted == expected
    assert round(expected / 1e6) == {4: 38, 5: 52}[places]


def probability_of(symbols, lengths, sequence):
    """Goodfellow et al., section 4: of a sequence, from two softmaxes."""
    return lengths[len(sequence)] * np.prod(
        [symbols[s, k] for s, k in enumerate(sequence)]
    )


def softmax(values):
    values = np.exp(values - values.max(axis=-1, keepdims=True))
    return values / values.sum(axis=-1, keepdims=True)


def sequences():
    """All of up to S - 1 of K - 1 symbols."""
    for length in range(S):
        yield from itertools.product(range(K - 1), repeat=length)


def test_the_product_of_what_is_told_is_the_probability_of_the_paper():
    head = SequenceHead(S, K)
    features = np.random.default_rng(0).normal(size=(1, 5)).astype("float32")
    head.build(features.shape)
    for weight in head.weights:
        weight.assign(np.random.default_rng(1).normal(size=weight.shape))
    symbols = softmax(np.array(head.symbols(features)).reshape(S - 1, K - 1))
    lengths = softmax(np.array(head.lengths(features))[0])
    told = np.exp(np.array(head(features))[0])  # (S, K)
    np.testing.assert_allclose(told.sum(axis=-1), 1, rtol=1e-5)
    total = 0
    for sequence in sequences():
        labels = [*sequence, K - 1]
        expected = probability_of(symbols, lengths, sequence)
        product = np.prod([told[s, k] for s, k in enumerate(labels)])
        np.testing.assert_allclose(product, expected, rtol=1e-5)
        total += expected
    np.testing.assert_allclose(total, 1, rtol=1e-6)


def test_a_length_that_cannot_be_leaves_finite_numbers():
    head = SequenceHead(S, K)
    features = np.array([[1.0], [-1.0], [0.0]], "float32")
    head.build(features.shape)
    head.lengths.set_weights([np.array([[90.0, 0, -90]]), np.zeros(S)])
    told = np.array(head(features))
    assert np.isfinite(told).all()
    # Of no symbol, surely; of two, surely; and no more than two ever.
    np.testing.assert_allclose(told[0, 0, -1], 0, atol=1e-6)
    np.testing.assert_allclose(told[1, :, -1], [-180, -90, 0], atol=1e-4)
    assert (told[:, -1, :-1] <= NEVER).all()


def test_a_length_that_is_far_wrong_is_still_taught():
    head = SequenceHead(S, K)
    head.build((None, 1))
    head.lengths.bias.assign([60.0, 0.0, 0.0])
    with tf.GradientTape() as tape:
        told = head(np.zeros((1, 1), "float32"))[:, :, None]
        losses = label_losses(np.array([[1, K - 1, -1]]), told)
        loss = tf.reduce_sum(losses)
    assert float(loss) > 60
    (gradient,) = tape.gradient(loss, [head.lengths.bias])
    np.testing.assert_allclose(gradient, [1, -1, 0], atol=1e-5)


def test_the_loss_is_that_of_the_paper(images):
    model = make_model()
    features = []
    call = model.head.call
    model.head.call = lambda values: features.append(values) or call(values)
    logits = model(images)["labels"]
    symbols = softmax(
        np.array(model.head.symbols(features[0])).reshape(B, S - 1, K - 1)
    )
    lengths = softmax(np.array(model.head.lengths(features[0])))
    sequences = [(0,), (1, 2), ()]
    expected = [
        -np.log(probability_of(*values))
        for values in zip(symbols, lengths, sequences, strict=True)
    ]
    truth = np.array([[0, 3, -1], [1, 2, 3], [3, -1, -1]], "int32")
    losses = np.sum(label_losses(truth, logits), axis=(1, 2))
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


def test_a_unit_of_the_first_layer_is_the_largest_of_three(images):
    model = make_model()
    pieces = np.array(model.maxout(images / np.float32(255)))
    height, width = TINY["image_shape"][:2]
    largest = pieces.reshape(B, height, width, 3, 3).max(axis=-1)
    # The maximum of 2x2 at half the size, with a last row by itself.
    expected = np.full((B, 18, 9, 3), -np.inf)
    for i, j in np.ndindex(height, width):
        place = expected[:, i // 2, j // 2]
        expected[:, i // 2, j // 2] = np.maximum(place, largest[:, i, j])
    seen = []
    for layer in (*model.convolutions, model.local):
        layer.call = lambda maps, call=layer.call, **options: (
            seen.append(maps) or call(maps, **options)
        )
    model.see(images)
    np.testing.assert_allclose(seen[0], expected, rtol=1e-4, atol=1e-5)
    # Each other pooling halves, a last row or column by itself.
    assert [maps.shape[1:3] for maps in seen] == [
        (18, 9),
        *((18, 9), (9, 5), (9, 5), (5, 3), (5, 3), (3, 2), (3, 2)),
    ]


def test_it_looks_once_at_the_whole_image(images):
    model = make_model()
    looks = model.glimpses(images)
    assert looks["labels"].shape == (B, S, 1, K)
    np.testing.assert_array_equal(
        looks["transforms"], np.tile(geometry.IDENTITY, (B, S, 1, 1, 1))
    )
    for s in range(S):
        np.testing.assert_allclose(
            looks["patches"][:, s, 0], images / 255, rtol=1e-6
        )
    with pytest.raises(ValueError, match="glimpses_per_target=2"):
        model.glimpses(images, 2)


def test_without_a_terminal_label_there_is_no_length(images):
    model = make_model(terminal=False)
    assert not hasattr(model.head, "lengths")
    assert model(images)["labels"].shape == (B, S, 1, K)
    assert [len(answer["labels"]) for answer in model.read(images)] == B * [S]


@pytest.mark.slow
@pytest.mark.usefixtures("compares_here")
def test_exports_answer_as_the_model_does(tmp_path, images):
    model, images = make_model(image_shape=(35, 18, 1)), images[..., :1]
    tiny.assert_exports_answer(model, images, tmp_path)


@pytest.mark.slow
def test_64_pictures_are_learnt():
    """Of none to two of 4 bright 7x7 patterns, from left to right."""
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(5)
    patterns = generator.integers(0, 2, (4, 7, 7)) * 255
    images = np.zeros((64, 16, 32, 1), "uint8")
    labels = np.full((64, 3), -1)
    for image, targets in zip(images, labels, strict=True):
        number = generator.integers(0, 3)
        targets[:number] = generator.integers(0, 4, number)
        targets[number] = 4
        for place in range(number):
            row, column = generator.integers(0, 9, 2)
            column += 16 * place
            image[row : row + 7, column : column + 7, 0] = patterns[
                targets[place]
            ]
    model = MultiDigitCNN(
        (16, 32, 1),
        5,
        num_targets=3,
        filters=8 * (8,),
        local_filters=8,
        units=32,
    )
    model.compile(
        keras.optimizers.Adam(3e-3), LabelLoss(), metrics=["accuracy"]
    )
    reached = tiny.learn_by_heart(
        model, images, labels, epochs=60, accuracy=1.0
    )
    assert reached == 1


@pytest.mark.parametrize(
    "changes",
    [
        dict(image_shape=(15, 38, 1)),
        dict(image_shape=(None, None, 1)),
        dict(num_targets=0),
        dict(num_targets=1),
        dict(reading_order="upward"),
        dict(filters=(3, 4)),
        dict(local_filters=0),
        dict(units=0),
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused(changes):
    with pytest.raises(ValueError, match="Received"):
        MultiDigitCNN(**{**TINY, **changes})
