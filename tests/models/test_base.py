"""The contract of models: what each answers, and what it refuses."""

import numpy as np
import pytest
import tiny

from keras_edram import costs
from keras_edram.losses import LabelLoss
from keras_edram.models import (
    DCN,
    DRAW,
    RNNSPN,
    STCNN,
    Baseline,
    Ensemble,
    MultiDigitCNN,
    blocks,
    edram,
)


@pytest.fixture(scope="module")
def baseline():
    return Baseline((40, 50, 1), num_classes=3, units=4)


def test_a_model_that_does_not_look_step_by_step_says_so(baseline, images):
    assert not baseline.looks_step_by_step
    for ask in (
        lambda: baseline.start(images),
        lambda: baseline.step(None, None),
        lambda: baseline.next_windows(None, None),
    ):
        with pytest.raises(ValueError, match="Received: a Baseline"):
            ask()


@pytest.mark.parametrize("number", [0, 2, 1.0, True])
def test_a_model_of_one_glimpse_takes_no_other_number(baseline, images, number):
    with pytest.raises(ValueError, match="Received: glimpses_per_target="):
        baseline.glimpses(images, number)


def test_how_often_a_model_answers():
    model = tiny.reader(num_targets=2, glimpses_per_target=2)
    assert (model.num_glimpses, model.answers_per_target) == (4, 2)
    policy = tiny.ram()
    assert (policy.num_glimpses, policy.answers_per_target) == (3, 1)


def test_a_label_that_is_no_class_has_no_name(baseline):
    model = tiny.reader()
    names = [model.label_name(label) for label in np.arange(4)]
    assert names == [*tiny.NAMES, "end"]
    assert baseline.label_name(2) == "2"
    for asked, label in ((model, -1), (model, 4), (baseline, 3), (model, 1.5)):
        with pytest.raises(ValueError, match=f"Received: label={label}"):
            asked.label_name(label)


def test_members_must_be_models_that_are_no_ensembles(baseline):
    for members in ([Ensemble([baseline])], ["edram_small"], [None]):
        with pytest.raises(ValueError, match="none of them an ensemble"):
            Ensemble(members)


def test_the_smallest_inputs_follow_from_the_tables():
    # 1 -> 3 by a "valid" 3x3, 6 by a pooling, 12 by another, 14 by a "valid".
    assert blocks.smallest_input(edram.GLIMPSE_NETWORK) == 14
    # 1 + 2 + 2 + 4, of kernels of 3, 3 and 5.
    assert edram.MIN_CONTEXT_SIZE == 9
    assert blocks.smallest_input([]) == 1


def test_all_features_of_a_glimpse_can_be_read_by_name(images):
    model = tiny.reader()
    pyramid, state = model.start(images)
    patches = model.attention.read(pyramid, state.transforms)
    features = model.glimpse_features(patches, state.transforms, 0)
    assert list(features) == [
        "glimpse_0",
        "glimpse_1",
        "glimpse_1_pooled",
        "glimpse_2",
        "glimpse_3",
        "glimpse_3_pooled",
        "glimpse_4",
        "glimpse_5",
        "what",
        "where",
        "glimpse",
    ]
    # 14 pixels -> 14 -> 12 -> pool 6 -> 6 -> 6 -> pool 3 -> 3 -> 1.
    sides = [maps.shape[1] for maps in list(features.values())[:8]]
    assert sides == [14, 12, 6, 6, 6, 3, 3, 1]
    np.testing.assert_array_equal(
        features["glimpse"], features["what"] * features["where"]
    )


def test_a_step_of_training_is_traced_once(images):
    calls = []

    class Counted(Baseline):
        def look(self, *args, **kwargs):
            calls.append(1)
            return super().look(*args, **kwargs)

    model = Counted((40, 50, 1), num_classes=3, units=4)
    model.compile("adam", {"labels": LabelLoss()}, metrics=["accuracy"])
    history = model.fit(images, np.zeros((3, 1)), batch_size=1, verbose=0)
    assert len(calls) == 1
    assert set(history.history) == {"labels_accuracy", "loss"}


def test_a_generator_can_be_fitted_and_validated_on_arrays(images):
    """What is validated is seen, and what a generator gives is not."""
    model = Baseline((40, 50, 1), num_classes=3, units=4)
    model.compile("adam", {"labels": LabelLoss()}, metrics=["accuracy"])
    labels = np.zeros((3, 1))
    history = model.fit(
        ((images, labels) for _ in range(4)),
        epochs=2,
        steps_per_epoch=2,
        validation_data=(images, labels),
        shuffle=False,  # or Keras warns that a generator is not shuffled
        verbose=0,
    )
    assert len(history.history["val_loss"]) == 2


SIZED = {
    "Baseline": lambda: Baseline(image_shape=(40, 50, 1), units=4),
    "DCN": lambda: DCN((40, 50, 1), num_glimpses=2),
    "DRAW": lambda: DRAW((40, 50, 1), num_glimpses=2, units=4),
    "MultiDigitCNN": lambda: MultiDigitCNN(
        (40, 50, 1), filters=8 * (4,), local_filters=4, units=4
    ),
    "RNNSPN": lambda: RNNSPN(
        (40, 50, 1), glimpse_size=18, units=4, hidden_units=4
    ),
    "STCNN": lambda: STCNN((40, 50, 1), layout="clutter", num_targets=2),
    "Ensemble": lambda: Ensemble(
        [Baseline(image_shape=(40, 50, 1), units=4)] * 2
    ),
}


@pytest.mark.parametrize("name", SIZED)
def test_a_model_of_one_size_looks_at_no_other(name):
    model = SIZED[name]()
    # As many pixels and places, but the other way round.
    turned = np.zeros((2, 50, 40, 1), "uint8")
    for look in (model.read, model.glimpses, model.predict):
        with pytest.raises(ValueError):
            look(turned)
    with pytest.raises(ValueError, match="Received: images of 50x40"):
        model.read(turned)
    with pytest.raises(ValueError, match="Received: images of 60x60"):
        costs.multiply_adds(model, (60, 60, 1))
    with pytest.raises(ValueError, match="[Cc]hannel|Received: "):
        costs.multiply_adds(model, (40, 50, 3))
