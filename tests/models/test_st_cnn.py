"""ST-CNN: sizes, what it looks at, and what teaches it where to look."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from keras_edram import geometry, visualization
from keras_edram.layers import SpatialTransformerAttention
from keras_edram.losses import LabelLoss, TransformLoss
from keras_edram.models import STCNN
from keras_edram.models.st_cnn import LocalizationNetwork

B, S, K = 3, 2, 4
CLUTTER = dict(
    image_shape=(38, 43, 2),
    num_classes=K,
    terminal=False,
    num_targets=1,
    layout="clutter",
    glimpse_size=(24, 25),
    filters=(6, 12),
    units=(16,),
    localization_filters=(3, 4),
    localization_units=(5,),
)
NUMBERS = dict(
    image_shape=(18, 33, 2),
    num_classes=K,
    num_targets=S,
    filters=(3, 4, 5, 3, 4, 5, 3, 4),
    units=(6, 5),
    localization_filters=(3, 4),
    localization_units=(5, 3),
)
FORMS = {
    "clutter, single": CLUTTER,
    "clutter, multi": dict(CLUTTER, transformers="multi"),
    "numbers, single": NUMBERS,
    "numbers, multi": dict(NUMBERS, transformers="multi"),
}


def make_model(form, **changes):
    """A model whose weights are all something, and always the same."""
    keras.utils.set_random_seed(0)
    return tiny.shake(STCNN(**{**FORMS[form], **changes}))


def images_of(model):
    generator = np.random.default_rng(1)
    return generator.integers(0, 256, (B, *model.image_shape), "uint8")


@pytest.mark.parametrize(
    ("transformers", "published"), [("single", 33), ("multi", 37)]
)
def test_the_paper_s_sizes_have_these_parameters(transformers, published):
    model = STCNN(transformers=transformers)
    # Kernels of 5x5, and a slope and an offset of each filter.
    filters = (3, 48, 64, 128, 160, 192, 192, 192, 192)
    expected = sum(
        25 * before * after + 2 * after
        for before, after in zip(filters, filters[1:], strict=False)
    )
    # 64 pixels are pooled to 4.
    expected += 4 * 4 * 192 * 3072 + 2 * 3072 * 3072 + 3 * 2 * 3072
    expected += 3073 * (5 * 10 + 6)
    if transformers == "single":
        expected += 25 * 3 * 32 + 25 * 32 * 32 + 2 * 2 * 32
        features = [32 * 32 * 32]
    else:
        features = [64 * 64 * 3, 32 * 32 * 48, 32 * 32 * 64, 16 * 16 * 128]
    for number in features:
        expected += number * 32 + 32 * 32 + 2 * 2 * 32 + 33 * 6
    counted = sum(np.prod(w.shape) for w in model.trainable_weights)
    assert counted == expected
    # Ablavatski et al., 2017, Table 3, in millions.
    assert abs(expected / 1e6 / published - 1) < 0.05


@pytest.mark.parametrize("form", FORMS)
def test_a_new_model_sees_its_images_and_maps_as_they_are(form):
    model = STCNN(**FORMS[form])
    assert len(model.localizations) == {
        "clutter, multi": 2,
        "numbers, multi": 4,
    }.get(form, 1)
    images = images_of(model)
    looks = model.glimpses(images)
    windows = np.tile(geometry.IDENTITY, (B, model.num_targets, 1, 1, 1))
    np.testing.assert_array_equal(looks["transforms"], windows)
    for attention in model.attentions[1:]:
        height, width = attention.glimpse_size
        maps = np.random.default_rng(2).random((B, height, width, 3))
        seen = attention(maps, windows[:, 0, 0])
        np.testing.assert_allclose(seen, maps, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_seen_is_what_the_windows_show(form):
    model = make_model(form)
    images = images_of(model)
    looks = model.glimpses(images)
    assert np.abs(looks["transforms"] - geometry.IDENTITY).max() > 1e-2
    read = SpatialTransformerAttention(model.glimpse_size, antialias=False)
    for s in range(model.num_targets):
        expected = read(images / np.float32(255), looks["transforms"][:, s, 0])
        np.testing.assert_allclose(
            looks["patches"][:, s, 0], expected, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("form", ["clutter, multi", "numbers, multi"])
def test_each_transformer_moves_what_the_next_convolution_sees(form):
    model = make_model(form)
    images = images_of(model)
    before = np.array(model(images)["labels"])
    for localization in model.localizations:
        kernel, bias = kept = localization.emission.get_weights()
        localization.emission.set_weights([kernel, bias + 0.3])
        assert np.abs(np.array(model(images)["labels"]) - before).max() > 1e-4
        localization.emission.set_weights(kept)


def test_a_localization_network_is_that_of_its_table():
    """Pooled, convolved, pooled, convolved; then dense, and a window."""
    network = LocalizationNetwork(filters=(2, 3), units=(4,), down_sampling=2)
    maps = np.random.default_rng(0).random((B, 12, 8, 2)).astype("float32")
    network(maps)
    tiny.shake(network)
    shrunk = maps.reshape(B, 6, 2, 4, 2, 2).max(axis=(2, 4))
    first, second = network.convolutions
    seen = np.array(first(shrunk, step=0))
    seen = seen.reshape(B, 3, 2, 2, 2, 2).max(axis=(2, 4))
    seen = np.array(second(seen, step=0)).reshape(B, -1)
    vectors = network.dense[0](seen, step=0)
    np.testing.assert_allclose(
        network(maps),
        np.array(network.emission(vectors)).reshape(B, 2, 3),
        rtol=1e-5,
        atol=1e-6,
    )


def test_it_looks_at_nearly_the_same_in_every_precision():
    full = make_model("clutter, single")
    mixed = make_model("clutter, single", dtype="mixed_bfloat16")
    images = images_of(full)
    np.testing.assert_allclose(
        full(images)["transforms"], mixed(images)["transforms"], atol=1e-5
    )
    assert mixed.convolutions[0].compute_dtype == "bfloat16"


@pytest.mark.parametrize("with_windows", [False, True])
@pytest.mark.parametrize("form", ["clutter, single", "numbers, multi"])
def test_labels_alone_teach_where_to_look_or_windows_besides(
    form, with_windows
):
    model = make_model(form)
    images = images_of(model)
    labels = np.array([[0, 1], [2, 3], [3, -1]], "int32")
    truth = np.tile(geometry.IDENTITY * 0.4, (B, model.num_targets, 1, 1))
    taught = model.localizations[: 1 if with_windows else None]
    with tf.GradientTape() as tape:
        outputs = model(images, training=True)
        if with_windows:
            loss = TransformLoss()(
                truth.astype("float32"), outputs["transforms"]
            )
        else:
            loss = LabelLoss()(
                labels[:, : model.num_targets], outputs["labels"]
            )
    weights = [network.emission.kernel for network in taught]
    for gradient in tape.gradient(loss, weights):
        assert np.abs(gradient).max() > 1e-7


def test_it_is_read_and_drawn(tmp_path):
    model = make_model("numbers, single", image_shape=(18, 33, 1))
    images = images_of(model)
    assert len(model.read(images)) == B
    visualization.plot_glimpses(model, images[:1], tmp_path / "1.png")
    assert (tmp_path / "1.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="glimpses_per_target=2"):
        model.glimpses(images, 2)


@pytest.mark.slow
@pytest.mark.usefixtures("compares_here")
@pytest.mark.parametrize("form", ["clutter, single", "numbers, multi"])
def test_exports_answer_as_the_model_does(form, tmp_path):
    shape = (*FORMS[form]["image_shape"][:2], 1)
    model = make_model(form, image_shape=shape)
    tiny.assert_exports_answer(model, images_of(model), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("transformers", ["single", "multi"])
def test_64_pictures_are_learnt(transformers):
    """Each of one of 4 bright 9x9 patterns, somewhere."""
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(5)
    patterns = generator.integers(0, 2, (4, 9, 9)) * 255
    labels = generator.integers(0, 4, (64, 1))
    images = np.zeros((64, 36, 40, 1), "uint8")
    for image, (label,) in zip(images, labels, strict=True):
        row, column = generator.integers(0, (28, 32))
        image[row : row + 9, column : column + 9, 0] = patterns[label]
    model = STCNN(
        (36, 40, 1),
        4,
        terminal=False,
        num_targets=1,
        layout="clutter",
        transformers=transformers,
        filters=(16, 16),
        units=(64,),
        localization_filters=(8, 8),
        localization_units=(16,),
    )
    model.compile(
        keras.optimizers.Adam(3e-3), LabelLoss(), metrics=["accuracy"]
    )
    reached = tiny.learn_by_heart(
        model, images, labels, epochs=80, accuracy=1.0
    )
    assert reached == 1


@pytest.mark.parametrize(
    "changes",
    [
        dict(image_shape=(22, 38, 2)),
        dict(image_shape=(None, None, 2)),
        dict(num_targets=0),
        dict(reading_order="upward"),
        dict(layout="paper"),
        dict(transformers="none"),
        dict(glimpse_size=22),
        dict(glimpse_size=0),
        dict(filters=(3,)),
        dict(filters=()),
        dict(units=(0,)),
        dict(localization_filters=(3, 0)),
        dict(localization_filters=9 * (2,)),
        dict(localization_units=4),
        dict(antialias="no"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused(changes):
    with pytest.raises(ValueError, match="Received"):
        STCNN(**{**CLUTTER, **changes})
