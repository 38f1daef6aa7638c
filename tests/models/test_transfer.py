import warnings

import keras
import numpy as np
import pytest
import tiny

from keras_edram.datasets import cluttered_mnist
from keras_edram.models import EDRAM, RAM, Baseline
from keras_edram.models.multi_digit_cnn import MultiDigitCNN
from keras_edram.models.transfer import adapt, take_weights


def weights(model):
    return {
        weight.path.partition("/")[2]: np.array(weight)
        for weight in model.weights
    }


def assert_kept(model, trained, new=()):
    """All weights are those of the trained model, but of these layers."""
    before = weights(trained)
    for name, values in weights(model).items():
        if name.rpartition("/")[0] not in new:
            np.testing.assert_array_equal(values, before[name], err_msg=name)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 40, 50, 1), "uint8")


@pytest.fixture(scope="module")
def reader():
    return tiny.reader()  # three names and the terminal label


def quietly(trained, **changes):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return adapt(trained, changes)


def test_other_classes_get_a_new_head_that_is_named(reader):
    with pytest.warns(UserWarning, match=": classification_output.$"):
        model = adapt(reader, dict(num_classes=26))
    assert (model.num_classes, model.class_names) == (26, None)
    assert model.terminal
    assert_kept(model, reader, new=["classification_output"])


@pytest.mark.parametrize(
    "changes, num_classes, names, terminal",
    [
        (dict(class_names=["a", "b"]), 3, ("a", "b"), True),
        (dict(class_names="abc"), 4, ("a", "b", "c"), True),
        (dict(terminal=False), 3, tuple(tiny.NAMES), False),
        (dict(terminal=False, num_classes=3), 3, tuple(tiny.NAMES), False),
        (dict(num_classes=9, terminal=False), 9, None, False),
        (dict(class_names=None), 4, None, True),
    ],
)
@pytest.mark.filterwarnings("ignore:New, and to be trained")
def test_classes_follow_from_each_other(
    reader, changes, num_classes, names, terminal
):
    model = adapt(reader, changes)
    assert model.num_classes == num_classes
    assert model.class_names == names
    assert model.terminal == terminal


def test_other_names_alone_only_rename(reader, images):
    model = quietly(reader, class_names=["x", "y", "z"])
    np.testing.assert_array_equal(
        model(images)["labels"], reader(images)["labels"]
    )


def classes(names, terminal):
    return dict(
        num_classes=len(names) + terminal,
        class_names=names,
        terminal=terminal,
    )


MADE = {
    "EDRAM": lambda names, terminal: EDRAM(
        **tiny.SIZES,
        num_targets=2,
        **classes(names, terminal),
    ),
    "RAM": lambda names, terminal: RAM(
        (40, 50, 1),
        num_classes=len(names),
        class_names=names,
        units=8,
        hidden_units=8,
    ),
    "MultiDigitCNN": lambda names, terminal: MultiDigitCNN(
        (40, 50, 1),
        num_targets=2,
        **classes(names, terminal),
        filters=(2,) * 8,
        local_filters=2,
        units=4,
    ),
    "Baseline": lambda names, terminal: Baseline(
        (40, 50, 1),
        num_classes=len(names),
        class_names=names,
        units=8,
        filters=2,
        kernel_size=5,
    ),
}


def of_classes(model, images, names):
    """The scores of the classes of these names, but for a common shift."""
    scores = np.array(model(images)["labels"])[
        ..., [model.class_names.index(name) for name in names]
    ]
    return scores - scores.max(axis=-1, keepdims=True)


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("terminal", [False, True])
def test_a_class_takes_its_weights_to_another_place(name, terminal, images):
    if name in ("RAM", "Baseline") and terminal:
        pytest.skip("answers with one class")
    trained = MADE[name]([*"abcd"], terminal)
    for names, common in (("dcab", "abcd"), ("bd", "bd"), ("ax", "a")):
        new = set(names) - set(common)
        model = MADE[name]([*names], terminal)
        fresh = weights(model)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", UserWarning)
            untrained = take_weights(model, trained)
        told = [str(warning.message) for warning in caught]
        assert told == ["New classes, and to be trained: 'x'."] * bool(new)
        assert bool(untrained) == bool(new)
        np.testing.assert_allclose(
            of_classes(model, images, common),
            of_classes(trained, images, common),
            atol=1e-5,
        )
        kept = [
            layer
            for layer, values in weights(model).items()
            if layer in untrained and values.ndim > 1
        ]
        for layer in kept:  # the new class is as it was made
            place = names.index("x")
            np.testing.assert_array_equal(
                weights(model)[layer][..., place], fresh[layer][..., place]
            )


def test_one_name_among_as_many_is_renamed_where_it_is(reader, images):
    model = quietly(reader, class_names=[*tiny.NAMES[:2], "deux"])
    assert_kept(model, reader)
    # Here its place is that of another, which is still there.
    with pytest.warns(UserWarning, match="New classes.* 'deux'.$"):
        adapt(reader, dict(class_names=["two", "one", "deux"]))


def test_what_changes_no_shape_keeps_all(reader):
    model = quietly(
        reader,
        image_shape=(64, 30, 1),
        reading_order="backward",
        standardize=True,
        name="mine",
    )
    assert model.image_shape == (64, 30, 1)
    assert model.reading_order == "backward"
    assert_kept(model, reader)


def test_further_steps_begin_with_the_statistics_of_the_last(reader):
    model = quietly(reader, num_targets=3, glimpses_per_target=3)
    before, after = weights(reader), weights(model)
    for name, values in before.items():
        if values.shape != after[name].shape:
            values = values[[0, 1, 2, 3, 3, 3, 3, 3, 3]]
        np.testing.assert_array_equal(after[name], values, err_msg=name)
    fewer = weights(quietly(reader, num_targets=1))
    name = "what/normalization/moving_mean"
    np.testing.assert_array_equal(fewer[name], before[name][:2])


MAKERS = {
    "edram": tiny.reader,
    "ram": tiny.ram,
    "ram of maps": lambda: tiny.ram(
        glimpse_network="inception", core="conv_lstm"
    ),
    "ram that convolves": lambda: tiny.ram(glimpse_network="convolution"),
    "dense": lambda: Baseline((40, 50, 1), units=4),
    "convolution": lambda: Baseline((40, 50, 1), network="convolution"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_grey_picture_in_colours_gets_the_same_answer(name, images):
    grey = MAKERS[name]()
    colours = quietly(grey, image_shape=(40, 50, 3))
    answer = np.array(grey(images)["labels"])
    assert np.ptp(answer) > 1e-3
    np.testing.assert_allclose(
        colours(np.repeat(images, 3, axis=-1))["labels"], answer, atol=1e-4
    )
    again = quietly(colours, image_shape=(40, 50, 1))
    np.testing.assert_allclose(again(images)["labels"], answer, atol=1e-4)


def test_what_a_network_of_another_kind_lacks_is_named():
    trained = tiny.ram(glimpse_network="convolution")
    with pytest.warns(UserWarning) as said:
        model = adapt(trained, dict(glimpse_network="dense"))
    messages = [str(one.message) for one in said]
    assert any("glimpse/what" in message for message in messages)
    assert any("no place" in message and "convolution_0" in message
               for message in messages)  # fmt: skip
    assert_kept(model, trained, new=["glimpse/what"])


def test_a_schedule_begins_anew_but_for_the_same_model():
    falling = keras.optimizers.schedules.PolynomialDecay(0.4, 10, 0.1)
    constant = RAM(num_glimpses=2)
    trained = RAM(num_glimpses=2, location_deviation=falling)
    assert quietly(trained).training_steps == 0
    trained.training_steps.assign(5)
    assert quietly(trained, num_rollouts=3).training_steps == 5
    assert quietly(trained, location_deviation=0.2).training_steps is None
    begun = RAM(num_glimpses=2, location_deviation=falling)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for other in (trained, constant):
            assert take_weights(begun, other) == []
            assert begun.training_steps == 0
        assert take_weights(constant, trained) == []


def test_a_location_of_hidden_features_is_none_of_what_is_remembered():
    sizes = dict(num_glimpses=2, units=16)
    plain, hidden = RAM(**sizes), RAM(location_hidden_units=16, **sizes)
    for model, trained in ((plain, hidden), (hidden, plain)):
        before = model.location.kernel.numpy()
        with pytest.warns(UserWarning, match="to be trained: .*location"):
            take_weights(model, trained)
        np.testing.assert_array_equal(model.location.kernel, before)


def test_weights_of_another_class_or_other_sizes_are_refused(reader):
    with pytest.raises(ValueError, match="Received: a RAM"):
        take_weights(reader, tiny.ram())
    sizes = {**tiny.SIZES, "units": 9, "context_filters": (3, 3, 9)}
    sizes.update(hidden_units=9, glimpse_filters=(5, 5, 5, 5, 5, 5))
    with pytest.raises(ValueError, match="none fits"):
        take_weights(EDRAM(**sizes), reader)


def test_the_terminal_label_is_not_lost():
    model = RAM.from_config(
        RAM(num_classes=11, terminal=True, num_glimpses=1).get_config()
    )
    assert model.terminal


def test_a_preset_of_any_size_reads_its_own_size_as_before():
    before = EDRAM.from_preset("edram_small_cluttered_mnist")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = EDRAM.from_preset(
            "edram_small_cluttered_mnist", image_shape=(None, None, 1)
        )
    assert model.takes_any_size
    assert_kept(model, before)
    images, _ = cluttered_mnist("test").arrays(4)
    for found, expected in zip(
        model.read(images), before.read(images), strict=True
    ):
        assert found["sequence"] == expected["sequence"]
        for name in ("probability", "boxes"):
            np.testing.assert_allclose(found[name], expected[name], atol=0.01)
    # And others beside them.
    wide = np.pad(images[0], [(0, 30), (0, 60), (0, 0)])
    assert len(model.read([images[0], wide])) == 2
