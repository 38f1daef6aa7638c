"""An ensemble: its members, joined."""

import another_paper
import numpy as np
import pytest
import tiny

from keras_edram import decoding, reading, serving
from keras_edram.models import EDRAM, Baseline, Ensemble


def make_member(seed=0, **arguments):
    """A tiny reader of up to two objects, with weights of its own."""
    member = EDRAM(
        **{
            **dict(
                num_classes=4,
                class_names=["a", "b", "c"],
                terminal=True,
                num_targets=3,
                **{**tiny.SIZES, "glimpses_per_target": 1},
            ),
            **arguments,
        }
    )
    generator = np.random.default_rng(seed)
    for weight in member.weights:
        noise = 0.3 * generator.normal(size=weight.shape)
        if "variance" in weight.path:
            noise = np.abs(noise)
        weight.assign(weight + noise)
    return member


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 256, (3, 40, 50, 1), "uint8")


def test_members_answer_as_they_do_alone(images):
    members = [
        make_member(1, reading_order="backward"),
        make_member(2),
        make_member(3),
    ]
    ensemble = Ensemble(members)
    assert ensemble.members == [members[1], members[2], members[0]]
    outputs = ensemble(images)
    assert outputs["labels"].shape == (3, 3, 3, 1, 4)
    assert outputs["transforms"].shape == (3, 3, 3, 1, 2, 3)
    for index, member in enumerate(ensemble.members):
        alone = member(images)
        for name, values in outputs.items():
            np.testing.assert_allclose(
                values[:, index], alone[name], rtol=1e-5, atol=1e-5
            )
    looks = ensemble.glimpses(images, 2)
    assert looks["labels"].shape == (3, 3, 3, 2, 4)
    assert looks["patches"].shape[:4] == (3, 3, 3, 2)
    expected = decoding.decode(
        outputs, terminal=True, num_forward=2, temperature=3.0
    )
    for name, value in ensemble.decode(outputs).items():
        np.testing.assert_array_equal(value, expected[name])


def test_one_member_reads_as_it_does_alone(images):
    for order in ("forward", "backward"):
        member = make_member(4, reading_order=order)
        assert Ensemble([member]).read(images) == member.read(images)


def test_members_look_as_often_as_the_ensemble_is_told(images):
    ensemble = Ensemble([make_member(0), make_member(1)])
    ensemble.glimpses_per_target = 2
    expected = ensemble.predict(images, verbose=0)
    assert expected["labels"].shape[3] == 2
    for _ in range(3):  # at the second it is compiled
        found = reading.look(ensemble, images)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, atol=1e-5)
    copy = Ensemble.from_config(ensemble.get_config())
    assert copy.glimpses_per_target == 2


def test_two_of_the_same_are_as_sure_as_one(images):
    member = make_member(5)
    member.temperature = 1.5
    ensemble = Ensemble([member, member])
    assert ensemble.temperature == 3.0
    for one, two in zip(
        member.read(images), ensemble.read(images), strict=True
    ):
        assert one["sequence"] == two["sequence"]
        assert two["probability"] == pytest.approx(one["probability"])
    assert serving.signatures.deployable(ensemble).temperature == 3.0
    # One that was saved before answers as it did.
    config = ensemble.get_config()
    del config["temperature"]
    assert Ensemble.from_config(config).temperature == 1.0
    surer = Ensemble([member, member], temperature=1.0)
    assert serving.signatures.deployable(surer).temperature == 1.0
    surer = surer.read(images)
    for one, two in zip(member.read(images), surer, strict=True):
        assert two["probability"] > one["probability"]


def test_a_backward_reader_reads_the_same_from_the_other_end(images):
    # The same weights: what one calls first, the other calls last.
    forward, backward = (
        make_member(8, reading_order=order) for order in ("forward", "backward")
    )
    forward.classification_output.bias.assign([0, 0, 0, -2])  # seldom ends
    backward.set_weights(forward.get_weights())
    lengths = set()
    for one, other in zip(
        forward.read(images), backward.read(images), strict=True
    ):
        assert one["labels"] == other["labels"][::-1]
        np.testing.assert_allclose(one["boxes"], other["boxes"][::-1])
        assert one["probability"] == pytest.approx(other["probability"])
        lengths.add(len(one["labels"]))
    assert max(lengths) > 1


def test_an_ensemble_draws_if_a_member_does():
    assert not Ensemble([make_member()]).has_policy
    assert Ensemble([tiny.ram(name="one"), tiny.ram(name="two")]).has_policy


def test_members_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"Received: members=\[\]"):
        Ensemble([])
    for members in (make_member(), None, 3, iter([make_member()])):
        with pytest.raises(ValueError, match="must be a list.*Received: mem"):
            Ensemble(members)
    with pytest.raises(ValueError, match=r"the same `num_targets`.*\[3, 2\]"):
        Ensemble([make_member(), make_member(num_targets=2)])
    with pytest.raises(ValueError, match="the same `class_names`"):
        Ensemble([make_member(), make_member(class_names=["a", "b", "d"])])


def test_members_of_other_papers_are_compared_by_the_contract():
    sizes = dict(image_shape=(40, 50, 1), glimpse_size=(14, 14))
    raster = another_paper.RasterReader(**sizes)  # 4 glimpses, one answer
    reader = EDRAM(**{**tiny.SIZES, **sizes, "glimpses_per_target": 4})
    with pytest.raises(ValueError, match=r"`answers_once`.*\[True, False\]"):
        Ensemble([raster, reader])
    baseline = Baseline((40, 50, 1))
    with pytest.raises(ValueError, match=r"`glimpse_size`.*\[None, \(14, 14\)"):
        Ensemble(
            [
                baseline,
                EDRAM(**{**tiny.SIZES, **sizes, "glimpses_per_target": 1}),
            ]
        )
    always = another_paper.RasterReader(**sizes, raster=1)
    always.answers_once = False
    once = EDRAM(**{**tiny.SIZES, **sizes, "glimpses_per_target": 1})
    images = np.zeros((2, 40, 50, 1), "uint8")
    assert Ensemble([always, once])(images)["labels"].shape == (2, 2, 1, 1, 10)


def test_standardised_images_may_be_brighter_or_inverted_in_contrast(images):
    member = make_member(standardize=True)
    dim = images // 4  # to be scaled up without loss
    expected = member(dim)["labels"]
    np.testing.assert_allclose(
        member(dim * 2.0 + 60)["labels"], expected, rtol=1e-2, atol=1e-3
    )
    flat = member(np.full_like(images, 77))["labels"]
    assert np.isfinite(flat).all()
    plain = make_member()
    assert (
        np.abs(plain(dim)["labels"] - plain(dim * 2.0 + 60)["labels"]).max()
        > 0.01
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(class_names=["a", "b"]), "each of the 3 classes"),
        (dict(class_names=["a", "b", "a"]), "a different string"),
        (dict(class_names=["a", "b", 3]), "a different string"),
        (dict(num_classes=1, class_names=None), "at least 2"),
        (dict(reading_order="up"), "reading_order='up'"),
    ],
)
def test_wrong_classes_and_orders_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_member(**arguments)
