"""What an export must agree in: spoilt answers are refused, ties are not."""

import keras
import numpy as np
import pytest
import tiny

from keras_edram.models import Baseline, Ensemble
from keras_edram.serving import comparison


def sure(*seed, **arguments):
    """A tiny EDRAM of which hardly an answer is nearly a tie."""
    model = tiny.reader(*seed, **arguments)
    kernel = model.classification_output.kernel
    kernel.assign(20 * kernel)
    return model


MAKERS = {
    "sequences": sure,
    "one target": lambda: sure(terminal=False, num_targets=1),
    "ensemble": lambda: Ensemble([sure(4), sure(7, reading_order="backward")]),
}
POLICIES = {
    "RAM": tiny.sure_ram,
    "ensemble of RAMs": lambda: Ensemble([tiny.sure_ram(), tiny.sure_ram()]),
}


@pytest.fixture(scope="module")
def answered():
    """Of each model, once: itself and what a right export answers."""
    made = {}

    def answer(name):
        if name not in made:
            model = {**MAKERS, **POLICIES}[name]()
            images = comparison.compared_images(model)
            looks = {
                name: keras.ops.convert_to_numpy(value)
                for name, value in model(images).items()
            }
            found = {
                name: keras.ops.convert_to_numpy(value)
                for name, value in model.decode(looks).items()
            }
            order = found["probability"].argsort()  # the surest is the last
            made[name] = (
                model,
                looks["labels"][order],
                {name: value[order] for name, value in found.items()},
            )
        return made[name]

    return answer


def check(answered, name, tolerance=comparison.EXACT, **spoilt):
    model, logits, expected = answered(name)
    found = {key: value.copy() for key, value in expected.items()}
    for key, spoil in spoilt.items():
        found[key] = spoil(found[key]).astype(found[key].dtype)
    comparison._Comparison(model, logits, expected, found, tolerance).check()


def of_one(change):
    """Changes the answer to the last image alone, of which it is surest."""

    def spoil(values):
        values = values.copy()
        values[-1] = change(values[-1])
        return values

    return spoil


def another(labels):
    """The first label is another class."""
    return np.concatenate([[(labels[0] + 1) % 3], labels[1:]])


SPOILT = {
    "a wrong order of classes": dict(probabilities=lambda p: p[..., ::-1]),
    "another label": dict(
        labels=lambda labels: np.where(labels >= 0, (labels + 1) % 3, -1)
    ),
    "one wrong image": dict(labels=of_one(another)),
    "a wrong length": dict(lengths=of_one(lambda length: length - 1)),
    "boxes off by a pixel": dict(boxes=lambda boxes: boxes + 1 / 50),
    "one box off by a pixel": dict(boxes=of_one(lambda box: box + 1 / 50)),
    "windows off": dict(transforms=lambda windows: windows + 0.01),
    "one location off": dict(locations=of_one(lambda place: place + 0.01)),
    "probabilities off": dict(probabilities=lambda p: np.abs(p - 0.15)),
    "a few probabilities off": dict(
        probabilities=lambda p: p + np.reshape([0.15, 0.0] * 16, (-1, 1, 1))
    ),
    "no number": dict(probability=of_one(lambda p: np.nan)),
}  # fmt: skip


@pytest.mark.parametrize("spoilt", SPOILT)
@pytest.mark.parametrize("name", MAKERS)
def test_a_spoilt_export_is_refused(name, spoilt, answered):
    check(answered, name)
    with pytest.raises(RuntimeError, match="The .*export"):
        check(answered, name, **SPOILT[spoilt])


def test_names_are_those_of_the_labels(answered):
    model, logits, expected = answered("sequences")
    names = np.array([*tiny.NAMES, ""])[expected["labels"]]
    for right, found in ((True, names), (False, np.roll(names, 1))):
        compared = comparison._Comparison(
            model,
            logits,
            expected,
            {**expected, "names": found},
            comparison.EXACT,
        )
        if right:
            compared.check()
        else:
            with pytest.raises(RuntimeError, match="names"):
                compared.check()


@pytest.mark.parametrize(
    "name, probabilities, mine, other, margin",
    [
        # One target: the margin is the difference of the probabilities.
        ("one target", [[[0.5, 0.3, 0.2, 0]]], [0], [1], 0.2),
        ("one target", [[[0.4, 0.3, 0.3, 0]]], [1], [2], 0),
        # The first object is said alike and does not count.
        (
            "sequences",
            [[[0.9, 0.1, 0, 0], [0.5, 0.4, 0, 0.1]]],
            [0, 0],
            [0, 1],
            0.1,
        ),
        # The second target is a 1 or the end.
        (
            "sequences",
            [[[0.9, 0.1, 0, 0], [0, 0.6, 0, 0.4]]],
            [0, 1],
            [0, -1],
            0.2,
        ),
        # One object or none: (0.5 - t) (0.9 - t) <= 0.4 + t.
        (
            "sequences",
            [[[0.5, 0.1, 0, 0.4], [0.1, 0, 0, 0.9]]],
            [0, -1],
            [-1, -1],
            0.042,
        ),
    ],
)
def test_a_tie_is_a_margin_of_twice_the_tolerance(
    name, probabilities, mine, other, margin, answered
):
    model, logits, expected = answered(name)
    for factor in (0.9, 1.1):
        allowed = comparison.Tolerance(factor * margin / 2, 1)
        compared = comparison._Comparison(
            model, logits, expected, expected, allowed
        )
        is_tie = compared._is_tie(
            np.array(probabilities), np.array(mine), np.array(other)
        )
        assert is_tie == (factor > 1 or margin == 0)


def test_a_backward_reader_says_its_objects_from_the_last(answered):
    model, logits, expected = answered("ensemble")
    compared = comparison._Comparison(
        model, logits, expected, expected, comparison.EXACT
    )
    # Members forward and backward, of 2 targets; class 3 is the end.
    assert compared._terms(np.array([0, 1])) == {
        (0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0),
    }  # fmt: skip
    assert compared._terms(np.array([2, -1])) == {
        (0, 0, 2), (0, 1, 3), (1, 0, 2), (1, 1, 3),
    }  # fmt: skip


@pytest.mark.parametrize("name", POLICIES)
def test_only_the_paths_of_a_policy_may_part(name, answered):
    model, _, expected = answered(name)
    assert model.has_policy and expected["locations"].shape[-2] == 3

    def parted(share, place=-1):
        def spoil(values):
            values = values.copy()
            values[: int(share * len(values)), ..., place, :] += 0.5
            return values

        return spoil

    allowed = comparison.EXACT._replace(places=2)
    check(answered, name, allowed, locations=parted(0.5))
    for tolerance, spoil, words in (
        (allowed, parted(1), "on at least 20%"),
        (allowed, parted(0.1, 1), "first 2 places"),
        (comparison.EXACT, parted(0.1), "first 4 places"),
    ):
        with pytest.raises(RuntimeError, match=words):
            check(answered, name, tolerance, locations=spoil)
    for output in ("probability", "transforms", "boxes", "probabilities"):
        with pytest.raises(RuntimeError, match=f"Its {output} are off"):
            check(answered, name, **{output: lambda values: values + 0.02})
    three = np.arange(32) < 3
    check(answered, name, labels=lambda y: (y + three[:, None]) % 10)
    four = np.arange(32) < 4
    with pytest.raises(RuntimeError, match="On 4 of 32 images"):
        check(answered, name, labels=lambda y: (y + four[:, None]) % 10)


def test_fewer_bits_may_differ_on_a_share_of_the_images(answered):
    quantised = comparison.Tolerance(0.05, 0.05, share=0.25)

    def off(number):
        few = np.arange(32) < number
        return lambda values: values + 0.2 * few[:, None, None]

    check(answered, "sequences", quantised, probabilities=off(8))
    with pytest.raises(RuntimeError, match="too much on 9 of 32"):
        check(answered, "sequences", quantised, probabilities=off(9))


@pytest.mark.parametrize("name", ["sequences", "one target", "RAM"])
def test_the_answers_to_the_compared_images_differ(name, answered):
    model, _, found = answered(name)
    images = comparison.compared_images(model)
    assert images.shape == (32, *model.image_shape)
    assert images.min() == 0 and images.max() == 255
    assert (images == images.round()).all()
    assert len(np.unique(found["labels"], axis=0)) > 2


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 3, 3), (54, 54, 3)])
def test_there_are_images_of_every_size(shape):
    model = type("model", (), {})
    model.some_image_shape, model.num_targets, model.terminal = shape, 6, True
    assert comparison.compared_images(model, 7).shape == (7, *shape)
    found = comparison.compared_images(model, 7, (9, 8))
    assert found.shape == (7, 9, 8, shape[-1])


@pytest.mark.parametrize("wrong", [None, *comparison.SIZES])
def test_an_export_for_any_size_is_asked_in_several(wrong, monkeypatch):
    model = tiny.reader_of_any_size(glimpses_per_target=1)
    monkeypatch.setattr(comparison, "run_apart", comparison.run)
    few = {
        size: comparison.compared_images(model, 4, size)
        for size in comparison.SIZES
    }
    monkeypatch.setattr(
        comparison, "compared_images", lambda model, size: few[size]
    )
    asked = []

    def open_export(path):
        def run(signature, images):
            asked.append(images.shape)
            found = tiny.answers(model, images)
            if images.shape[1:3] == wrong:
                found["boxes"] = found["boxes"] + 0.1
            return found

        return run, {"serving_default"}

    if wrong:
        with pytest.raises(RuntimeError, match="boxes are off by 0.1"):
            comparison.compare(model, "path", open_export)
    else:
        comparison.compare(model, "path", open_export)
        assert asked == [
            (number, *size, 1) for size in comparison.SIZES for number in (4, 3)
        ]


def test_an_export_is_asked_in_batches_of_two_sizes(monkeypatch):
    model = Baseline((9, 9, 1), units=2)
    sizes = []

    def open_export(path):
        def run(signature, images):
            sizes.append(len(images))
            found = tiny.answers(model, images)
            if path == "of one size" and len(images) != 32:
                found["boxes"] = found["boxes"] + 0.1
            return found

        return run, {"serving_default"}

    monkeypatch.setattr(comparison, "run_apart", comparison.run)
    comparison.compare(model, "right", open_export)
    assert sizes == [32, 3]
    few = comparison.compared_images(model, 2)
    comparison.compare(model, "right", open_export, images=few)
    assert sizes == [32, 3, 2, 1]
    with pytest.raises(RuntimeError, match="boxes are off"):
        comparison.compare(model, "of one size", open_export)
