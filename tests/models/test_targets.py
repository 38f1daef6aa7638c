"""What `compile` and `fit` take, for all models: targets and their judges."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from keras_edram.losses import LabelLoss, TransformLoss
from keras_edram.metrics import AverageError, WindowIoU
from keras_edram.models import RAM, Baseline, Ensemble, targets

B, K = 4, 4
IMAGES = np.random.default_rng(0).integers(0, 256, (B, 40, 50, 1), "uint8")
LABELS = np.array([[0], [3], [1], [2]])
MAKERS = {
    "EDRAM": lambda: tiny.reader(
        terminal=False, num_targets=1, detach_transforms=False
    ),
    "RAM": lambda: RAM(
        (40, 50, 1), K, num_glimpses=2, units=8, hidden_units=8, seed=1
    ),
    "Baseline": lambda: Baseline((40, 50, 1), K, units=8),
}
MODELS = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def compiled(make, **arguments):
    """A model of fixed weights that is trained without a graph."""
    keras.utils.set_random_seed(3)
    model = make()
    arguments = {"loss": {"labels": LabelLoss()}, **arguments}
    model.compile(keras.optimizers.SGD(0.1), **arguments, run_eagerly=True)
    return model


def trained(make, y, **options):
    model = compiled(make)
    model.fit(IMAGES, y, batch_size=B, shuffle=False, verbose=0, **options)
    return np.concatenate([w.numpy().flatten() for w in model.weights])


@MODELS
@pytest.mark.parametrize("name", ["accuracy", "acc"])
def test_accuracy_counts_right_answers(make, name):
    model = compiled(make, metrics={"labels": [name, AverageError()]})
    outputs = model.predict(IMAGES, verbose=0)
    probabilities = np.asarray(keras.ops.softmax(outputs["labels"])).mean(2)
    answers = probabilities.argmax(-1)  # (B, 1)
    for wrong in (0, 1):
        labels = answers.copy()
        labels[:wrong] = (labels[:wrong] + 1) % K
        found = model.evaluate(
            IMAGES, {"labels": labels}, return_dict=True, verbose=0
        )
        assert found[f"labels_{name}"] == 1 - wrong / B
        assert found["labels_error"] == wrong / B


@MODELS
def test_a_list_of_metrics_is_that_of_the_labels(make):
    model = compiled(make, loss=LabelLoss(), metrics=["accuracy"])
    history = model.fit(
        IMAGES, LABELS, validation_data=(IMAGES, LABELS), verbose=0
    ).history
    assert {"loss", "labels_accuracy", "val_labels_accuracy"} <= set(history)


@pytest.mark.parametrize(
    "arguments",
    [
        dict(loss={"labels": "sparse_categorical_crossentropy"}),
        dict(loss={"labels": keras.losses.SparseCategoricalCrossentropy()}),
        dict(loss=keras.losses.sparse_categorical_crossentropy),
        dict(loss={"transforms": "mse"}),
        dict(loss=[LabelLoss(), keras.losses.Huber()]),
        dict(metrics={"labels": ["sparse_categorical_accuracy"]}),
        dict(metrics={"labels": keras.metrics.SparseCategoricalAccuracy()}),
        dict(metrics={"transforms": ["accuracy"]}),
        dict(weighted_metrics={"transforms": ["mae"]}),
        dict(loss={"label": LabelLoss()}),
        dict(metrics={"windows": [WindowIoU()]}),
    ],
)
def test_what_would_broadcast_is_refused_by_compile(arguments):
    with pytest.raises(ValueError, match="Received: (loss|(weigh.*_)?metric)"):
        compiled(MAKERS["Baseline"], **arguments)


def test_losses_and_metrics_of_ones_own_are_taken():
    def loss(y_true, y_pred):
        return keras.ops.mean(y_pred, axis=(1, 2, 3))

    def first_logit(y_true, y_pred):
        return y_pred[:, 0, 0, 0]

    model = compiled(
        MAKERS["Baseline"], loss={"labels": loss}, metrics=[first_logit]
    )
    found = model.evaluate(IMAGES, LABELS, return_dict=True, verbose=0)
    logits = model.predict(IMAGES, verbose=0)["labels"]
    assert found["loss"] == pytest.approx(logits.mean(), rel=1e-4)
    expected = logits[:, 0, 0, 0].mean()
    assert found["labels_first_logit"] == pytest.approx(expected, rel=1e-4)


@MODELS
def test_labels_may_be_an_array(make):
    expected = trained(make, {"labels": LABELS})
    for y in (LABELS, LABELS[:, 0], [LABELS], {"labels": LABELS[:, 0]}):
        np.testing.assert_array_equal(trained(make, y), expected)
    with pytest.raises(ValueError, match="Received: labels of shape"):
        trained(make, np.eye(K)[LABELS[:, 0]])
    with pytest.raises(ValueError, match="Received: labels of shape"):
        trained(make, LABELS[..., None])


def test_an_array_of_sequences_is_that_of_the_labels():
    model = compiled(tiny.reader)
    labels = np.array([[0, 3], [1, 2], [3, -1], [2, 3]])
    expected = model.evaluate(IMAGES, {"labels": labels}, verbose=0)
    assert model.evaluate(IMAGES, labels, verbose=0) == expected
    with pytest.raises(ValueError, match="Received: labels of shape"):
        model.evaluate(IMAGES, labels[:, 0], verbose=0)


@MODELS
def test_metrics_see_the_outputs_that_have_targets(make):
    model = compiled(make, metrics={"labels": [AverageError()]})
    y = {"labels": LABELS}
    history = model.fit(
        IMAGES, y, validation_data=(IMAGES, y), verbose=0
    ).history
    assert {"labels_error", "val_labels_error"} <= set(history)


def test_a_judge_without_a_target_is_refused():
    losses = {"labels": LabelLoss(), "transforms": TransformLoss()}
    model = compiled(MAKERS["EDRAM"], loss=losses)
    with pytest.raises(ValueError, match="a target for each .* with a loss"):
        model.fit(IMAGES, LABELS, verbose=0)
    model = compiled(MAKERS["EDRAM"], metrics={"transforms": [WindowIoU()]})
    with pytest.raises(ValueError, match="each .* with a metric"):
        model.fit(IMAGES, LABELS, verbose=0)
    with pytest.raises(ValueError, match=r"Received: y of \('label',\)"):
        model.fit(IMAGES, {"label": LABELS}, verbose=0)


@MODELS
def test_an_image_without_weight_teaches_nothing(make):
    """Neither its label, nor in RAM its reward."""
    weights = np.array([1.0, 0.0, 2.0, 0.5], "float32")
    other = LABELS.copy()
    other[1] = (LABELS[1] + 1) % K
    expected = trained(make, LABELS, sample_weight=weights)
    assert (expected != trained(make, LABELS)).any()
    for given in (weights, weights[:, None], {"labels": weights}):
        for labels in (LABELS, other):
            y = {"labels": labels} if isinstance(given, dict) else labels
            found = trained(make, y, sample_weight=given)
            np.testing.assert_allclose(found, expected, atol=1e-6)
    by_class = {0: 1.0, 3: 0.0, 1: 2.0, 2: 0.5}
    for y in (LABELS, LABELS[:, 0], {"labels": LABELS}):
        found = trained(make, y, class_weight=by_class)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_weights_of_classes_are_for_training_alone():
    model = compiled(MAKERS["Baseline"])
    model.optimizer.learning_rate = 0.0
    images, labels = np.repeat(IMAGES, 2, axis=0), np.repeat(LABELS, 2, axis=0)
    kept = 3  # of 8, which Keras validates on
    expected = model.evaluate(
        images[-kept:], labels[-kept:], return_dict=True, verbose=0
    )
    for given in (
        dict(validation_split=0.3),
        dict(
            validation_split=0.1,  # without effect beside the data
            validation_data=(images[-kept:], labels[-kept:]),
        ),
        dict(
            validation_split=None,
            validation_data=(images[-kept:], labels[-kept:]),
        ),
    ):
        by_class = {label: 10.0 for label in range(K)}
        found = model.fit(
            images, labels, class_weight=by_class, verbose=0, **given
        ).history
        assert found["val_loss"][0] == pytest.approx(expected["loss"], rel=1e-5)
        assert found["loss"][0] > 5 * expected["loss"]


def test_no_weight_at_all_teaches_no_policy_either():
    """The weights of RAM's policy stay as they were."""
    model = compiled(MAKERS["RAM"])
    before = [weight.numpy() for weight in model.weights]
    model.fit(IMAGES, LABELS, sample_weight=np.zeros(B), verbose=0)
    for old, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(weight, old)


@MODELS
def test_labels_that_are_no_classes_are_refused_where_they_are_seen(make):
    model = compiled(make)
    data = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS + 1)).batch(B)
    for ask in (model.fit, model.evaluate):
        for given in ((IMAGES, LABELS + 1), (data,)):
            with pytest.raises(ValueError, match="from 0 to 3.*a label 4"):
                ask(*given, verbose=0)


def test_labels_that_are_no_classes_have_no_loss_in_a_graph():
    logits = tf.zeros((B, 1, 2, K))
    call = tf.function(lambda labels: LabelLoss()(labels, logits))
    assert np.isfinite(call(tf.constant(LABELS)))
    assert np.isfinite(call(tf.constant(LABELS - 1)))  # -1 is no target
    assert np.isnan(call(tf.constant(LABELS + 1)))


def test_a_model_that_was_saved_with_a_loss_of_keras_is_loaded(
    tmp_path, monkeypatch
):
    from keras_edram.models import targets

    loss = {"labels": keras.losses.SparseCategoricalCrossentropy()}
    with monkeypatch.context() as patch:
        patch.setattr(targets, "by_output", lambda judges, argument: judges)
        model = compiled(MAKERS["Baseline"], loss=loss)
        model.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match="not compiled as it was saved"):
        loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        loaded(IMAGES)["labels"], model(IMAGES)["labels"]
    )


@pytest.mark.parametrize(
    "y, words",
    [
        (np.array(["a", "b", "c", "d"]), "class_names"),
        ([0, 3, 1, 2], "array"),
        (np.array([0, 3, 1, 2], object), "numbers"),
    ],
    ids=["names", "list", "objects"],
)
def test_labels_that_are_no_numbers_are_refused_in_words(y, words):
    with pytest.raises(ValueError, match=words):
        compiled(MAKERS["Baseline"]).fit(IMAGES, y, verbose=0)


def test_a_column_of_a_table_is_an_array_of_labels():
    class Column:  # as of pandas, which does not take an axis more
        def __init__(self, values):
            self.values = values
            self.shape = values.shape

        def __getitem__(self, key):
            assert not isinstance(key, tuple)
            return self.values[key]

        def __array__(self, dtype=None, copy=None):
            return self.values.astype(dtype or self.values.dtype)

    named = targets.name_targets(Column(LABELS[:, 0]))
    np.testing.assert_array_equal(named["labels"], LABELS)


@MODELS
def test_images_in_a_list_are_refused_in_words(make):
    with pytest.raises(ValueError, match="np.stack"):
        make().predict(list(IMAGES), verbose=0)


def test_the_class_of_a_loss_stands_for_it_and_can_be_saved(tmp_path):
    model = compiled(
        MAKERS["Baseline"], loss=LabelLoss, metrics={"labels": [AverageError]}
    )
    before = model.evaluate(IMAGES, LABELS, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(IMAGES, LABELS, verbose=0) == before


@pytest.mark.parametrize("make", [MAKERS["RAM"]], ids=["RAM"])
def test_images_of_many_sizes_follow_each_other(make):
    model = make()
    for size in ((40, 50), (30, 20), (1, 1), (40, 50), (70, 9)):
        images = np.zeros((2, *size, 1), "uint8")
        found = model.predict(images, verbose=0)["transforms"]
        np.testing.assert_allclose(found, model(images)["transforms"], 1e-4)
    unknown = tf.data.Dataset.from_generator(
        lambda: iter([images, images[:, :5]]),
        output_signature=tf.TensorSpec((None, None, None, 1), tf.uint8),
    ).apply(tf.data.experimental.assert_cardinality(2))
    found = model.predict(unknown, verbose=0)["transforms"]
    np.testing.assert_allclose(found[:2], model(images)["transforms"], 1e-4)


@MODELS
def test_a_batch_of_none_after_others_has_no_answers(make):
    model = make()
    model.predict_on_batch(IMAGES)
    model.predict_on_batch(IMAGES[:3])
    found = model.predict_on_batch(IMAGES[:0])
    assert {len(value) for value in found.values()} == {0}


@pytest.mark.parametrize("size", [(40, 50), (None, None)])
def test_a_graph_looks_as_often_as_the_model_does_now(size):
    images = np.random.default_rng(0).integers(0, 256, (4, 40, 50, 1), "uint8")
    model = tiny.reader(image_shape=(*size, 1))
    model.compile("sgd", {"labels": LabelLoss()})
    labels = np.zeros((4, model.num_targets), "int32")
    before = model.predict(images, verbose=0)
    loss = model.evaluate(images, labels, verbose=0)
    model.glimpses_per_target = 1
    after = model.predict(images, verbose=0)
    for name, values in before.items():
        np.testing.assert_allclose(after[name][:, 0], values[:, 0, :1], 1e-4)
    assert model.evaluate(images, labels, verbose=0) != loss
    model.glimpses_per_target = 0
    with pytest.raises(ValueError, match="Received: glimpses_per_target=0"):
        model.predict(images, verbose=0)


def test_a_graph_draws_as_many_paths_as_the_policy_does_now():
    images = np.random.default_rng(0).integers(0, 256, (4, 40, 50, 1), "uint8")
    ram = tiny.ram(num_rollouts=3)
    for model in (ram, Ensemble([ram])):
        ram.num_rollouts = 3
        model.predict(images, verbose=0)
        ram.num_rollouts = 0
        found = model.predict(images, verbose=0)
        np.testing.assert_allclose(
            found["labels"], model(images)["labels"], rtol=1e-3, atol=1e-4
        )
