"""Looking no longer than needed: live, afterwards, and by hand."""

import numpy as np
import pytest
import tiny

from keras_edram import anytime, reading
from keras_edram.models import Baseline, Ensemble


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 256, (12, 40, 50, 1), "uint8")


@pytest.fixture(params=tiny.MODELS)
def model(request):
    return tiny.MODELS[request.param]()


def test_without_a_budget_it_looks_as_often_as_the_model(model, images):
    looks = anytime.look_until_sure(model, images)
    expected = model.glimpses(images)
    num_glimpses = expected["transforms"].shape[1:3]
    assert looks.pop("num_glimpses").tolist() == [np.prod(num_glimpses)] * 12
    assert set(looks) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(looks[name], values, rtol=1e-4, atol=1e-4)


def confidence_that_divides(model, images):
    """With it some images are done early, and some are not."""
    looks = anytime.take_glimpses(model, images)
    for confidence in np.linspace(0.3, 0.99, 70):
        taken = anytime.stop_when_sure(model, looks, confidence).taken
        if len(np.unique(taken)) > 1:
            return looks, confidence
    raise AssertionError("All images are alike to this model.")


def test_stopping_gives_what_stopping_afterwards_would_have(model, images):
    all_looks, confidence = confidence_that_divides(model, images)
    expected = anytime.looks_of(
        model, anytime.stop_when_sure(model, all_looks, confidence)
    )
    looks = anytime.look_until_sure(model, images, confidence)
    np.testing.assert_array_equal(
        looks["num_glimpses"], expected["num_glimpses"]
    )
    for name in ("labels", "transforms"):
        np.testing.assert_allclose(
            looks[name], expected[name], rtol=1e-4, atol=1e-5
        )


def test_no_glimpse_is_computed_for_images_that_are_done(
    model, images, monkeypatch
):
    _, confidence = confidence_that_divides(model, images)
    sizes, step = [], model.step
    monkeypatch.setattr(
        model,
        "compiled_step",
        lambda pyramid, state: (
            sizes.append(len(pyramid.parts[0])) or step(pyramid, state)
        ),
    )
    anytime.Graphs.of(model).num_looks = 1
    looks = anytime.look_until_sure(model, images, confidence)
    assert sum(sizes) == looks["num_glimpses"].sum()
    assert sizes[-1] < sizes[0] == 12


def test_a_budget_of_glimpses_is_kept(model, images):
    looks = anytime.look_until_sure(model, images, max_glimpses=2)
    assert set(looks["num_glimpses"]) == {2}
    full = anytime.take_glimpses(model, images)
    np.testing.assert_allclose(
        looks["transforms"].reshape(12, -1, 2, 3)[:, 2:],
        # The window that would have been next.
        np.repeat(full.transforms[:, 2:3], full.logits.shape[1] - 2, axis=1),
        atol=1e-5,
    )
    patches = looks["patches"].reshape(12, full.logits.shape[1], -1)
    assert patches[:, :2].any() and not patches[:, 2:].any()
    assert np.isfinite(looks["labels"]).all()


def given_looks(probabilities, taken):
    logits = np.log(np.array(probabilities, "float32"))
    number = logits.shape[1]
    # Glimpse t reads the window at t / 10.
    transforms = np.zeros((len(logits), number, 2, 3), "float32")
    transforms[..., 0, 2] = np.arange(number) / 10
    return anytime.Glimpses(
        logits, transforms, np.ones((len(logits), number, 1)), np.array(taken)
    )


def test_the_answer_is_the_average_so_far():
    model = tiny.reader(terminal=False, num_targets=1)  # of 2 glimpses
    looks = given_looks([[[0.2, 0.5, 0.2, 0.1], [0.9, 0.05, 0.03, 0.02]]], [1])
    answer = model.decode(anytime.looks_of(model, looks))
    np.testing.assert_allclose(
        answer["probabilities"], [[[0.2, 0.5, 0.2, 0.1]]], rtol=1e-5
    )
    # It was seen at 0, and the next look would have been at 0.1.
    np.testing.assert_allclose(answer["locations"][0, 0, :, 0], [0, 0.1])
    answer = model.decode(
        anytime.looks_of(model, looks._replace(taken=np.array([2])))
    )
    np.testing.assert_allclose(
        answer["probabilities"], [[[0.55, 0.275, 0.115, 0.06]]], rtol=1e-5
    )
    np.testing.assert_allclose(answer["locations"][0, 0, :, 0], [0, 0.1])


def test_sure_is_the_latest_glimpse():
    model = tiny.reader(terminal=False, num_targets=1)
    looks = given_looks([[[0.4, 0.6], [0.1, 0.9]], [[0.9, 0.1], [0.8, 0.2]]], 2)
    for confidence, expected in (
        (0.55, [1, 1]),
        (0.85, [2, 1]),
        (0.95, [2, 2]),  # all there are, though not sure
    ):
        stopped = anytime.stop_when_sure(
            model, looks._replace(taken=np.array([2, 2])), confidence
        )
        assert stopped.taken.tolist() == expected


def test_a_sequence_is_done_when_its_end_is_sure():
    model = tiny.reader(num_targets=3)  # 2 glimpses each; the last class ends
    sure, end = [0.97, 0.01, 0.01, 0.01], [0.01, 0.01, 0.01, 0.97]
    unsure_end = [0.2, 0.1, 0.1, 0.6]
    looks = given_looks(
        [
            [sure, sure, end, end, sure, sure],  # one object, and the end
            [end, end, sure, sure, sure, sure],  # nothing there
            [sure, sure, unsure_end, end, sure, sure],
            [sure, sure, sure, sure, sure, end],  # three objects, no room
        ],
        [6, 6, 6, 6],
    )
    stopped = anytime.stop_when_sure(model, looks, 0.9)
    assert stopped.taken.tolist() == [3, 1, 4, 5]
    answers = model.decode(anytime.looks_of(model, stopped))
    assert answers["lengths"].numpy().tolist() == [1, 0, 1, 3]
    # 0.97 of the object, 0.97 of the end, and what follows is the end again.
    np.testing.assert_allclose(answers["probability"][0], 0.97**2, atol=0.03)


def test_what_was_not_looked_at_is_not_known():
    model = tiny.reader(num_targets=3)
    sure = [0.97, 0.01, 0.01, 0.01]
    looks = given_looks([[sure] * 6], [2])
    answers = model.decode(anytime.looks_of(model, looks))
    np.testing.assert_allclose(answers["probabilities"][0, 1:], 0.25, rtol=1e-5)
    assert answers["probability"][0] < 0.5


def test_read_takes_the_budget(model, images):
    _, confidence = confidence_that_divides(model, images)
    looks = anytime.look_until_sure(model, images, confidence)
    rows = model.read(images, confidence=confidence)
    assert [row["num_glimpses"] for row in rows] == list(looks["num_glimpses"])
    for row, expected in zip(rows, reading.answer(model, looks), strict=True):
        boxes = row.pop("boxes")
        np.testing.assert_allclose(boxes, expected.pop("boxes"), 1e-5)
        probability = pytest.approx(expected["probability"], 1e-5)
        assert row == expected | {"probability": probability}
    assert "num_glimpses" not in model.read(images)[0]
    assert model.read(images, max_glimpses=1)[0]["num_glimpses"] == 1


@pytest.mark.parametrize(
    "budget, received",
    [
        (dict(confidence=1.5), "confidence=1.5"),
        (dict(max_glimpses=0), "max_glimpses=0"),
    ],
)
def test_a_budget_that_is_none_is_refused(budget, received, images):
    with pytest.raises(ValueError, match=f"Received: {received}"):
        tiny.ram().read(images, **budget)


def test_models_without_steps_are_refused(images):
    for model in (Baseline(image_shape=(40, 50, 1)), Ensemble([tiny.reader()])):
        with pytest.raises(ValueError, match="Received: a "):
            model.read(images, confidence=0.9)


@pytest.mark.parametrize("glimpses", [1, 2])
def test_looking_to_the_end_is_looking_as_in_training(images, glimpses):
    model = tiny.reader(glimpses_per_target=glimpses)
    for one, other in zip(
        model.read(images), model.read(images, confidence=1.0), strict=True
    ):
        assert other["labels"] == one["labels"]
        assert other["probability"] == pytest.approx(one["probability"], 1e-4)


@pytest.mark.filterwarnings("ignore")  # of layers without weights
def test_what_is_quantized_looks_with_its_new_weights(images):
    model = tiny.reader()
    before = anytime.look_until_sure(model, images)["labels"]
    model.quantize("int8")
    after = anytime.look_until_sure(model, images)["labels"]
    np.testing.assert_allclose(
        after, model.glimpses(images)["labels"], atol=1e-4
    )
    assert np.abs(after - before).max() > 1e-4


def test_from_the_second_on_a_look_at_one_image_is_a_graph(
    model, images, monkeypatch
):
    """Of any budget the same, and no operation is run outside of graphs."""
    from tensorflow.python.framework import op_callbacks

    steps, step = [], model.step
    monkeypatch.setattr(
        model,
        "step",
        lambda *given, **how: steps.append(1) or step(*given, **how),
    )
    (first,) = model.read(images[:1])
    assert len(steps) == model.num_glimpses  # without a graph
    (second,) = model.read(images[:1])
    assert second["labels"] == first["labels"]
    np.testing.assert_allclose(second["boxes"], first["boxes"], atol=1e-5)
    traced, ran = len(steps), []

    def note(op_type, *args, graph=None, **kwargs):
        ran.append(op_type)

    op_callbacks.add_op_callback(note)
    try:
        for budget in ({}, dict(max_glimpses=1), dict(confidence=0.5)):
            model.read(images[1:2], **budget)
    finally:
        op_callbacks.remove_op_callback(note)
    assert len(steps) == traced
    assert len(ran) == 6  # a look and a decoding, thrice
    assert all("__inference_" in name for name in ran)


MODELS_OF_ANY_SIZE = {
    "EDRAM": lambda: tiny.reader(
        image_shape=(None, None, 1),
        context_layout="search",
        context_size=16,
        context_filters=(2, 3),
        initial_transform="context",
    ),
    "EDRAM, strided": tiny.reader_of_any_size,
    "RAM": lambda: tiny.ram(image_shape=(None, None, 1)),
}


@pytest.mark.parametrize("name", MODELS_OF_ANY_SIZE)
def test_one_graph_is_for_images_of_all_sizes(name, monkeypatch):
    model = MODELS_OF_ANY_SIZE[name]()
    generator = np.random.default_rng(0)
    images = [
        generator.integers(0, 256, (height, width, 1), "uint8")
        for height, width in ((40, 50), (40, 50), (31, 90), (200, 7), (1, 1))
    ]
    expected = [model.glimpses(image[None]) for image in images]
    steps, step = [], model.step
    monkeypatch.setattr(
        model,
        "step",
        lambda *given, **how: steps.append(1) or step(*given, **how),
    )
    model.read(images[:1])  # without a graph
    model.read(images[:1])  # which makes it
    traced = len(steps)
    for image, looks in zip(images, expected, strict=True):
        found = reading.look(model, [image])
        model.read(image[None], confidence=0.5)
        for name, values in looks.items():
            np.testing.assert_allclose(found[name], values, atol=1e-3)
    assert len(steps) == traced
    looks = [key for key in model.graphs._made if key[0] != "decode"]
    # No float32 of a photo.
    number = model.glimpses_per_target
    assert looks == [((1, None, None, 1), "uint8", number)]


@pytest.mark.parametrize("name", MODELS_OF_ANY_SIZE)
def test_a_shrinking_batch_has_no_step_for_each_size(name, monkeypatch):
    model = MODELS_OF_ANY_SIZE[name]()
    model.graphs = anytime.Graphs()
    model.graphs.num_looks = 2
    shape = (4, 40, 50, 1)
    many = np.random.default_rng(1).integers(0, 256, shape, "uint8")
    for width in (50, 49, 48, 47, 46, 45):
        images = many[:, :, :width]
        found = anytime.look_until_sure(model, images, 1.0)
        expected = model.glimpses(images)
        np.testing.assert_allclose(
            found["labels"], expected["labels"], atol=1e-3
        )
    # TensorFlow needs some to see what changes.
    assert model.compiled_step.experimental_get_tracing_count() <= 3


@pytest.mark.parametrize("in_a_graph", [False, True])
def test_one_answer_a_target_is_waited_for(in_a_graph):
    # What DRAM says before a target's last glimpse is not taught to be of it:
    # however sure, of 2 glimpses a target it stops after the second.
    model = tiny.dram(terminal=False, class_names=None)
    images = np.zeros((1, 40, 50, 1), "uint8")
    look = anytime._take_in_a_graph if in_a_graph else anytime.take_glimpses
    budget = (0.0, model.num_glimpses) if in_a_graph else (0.0,)
    assert look(model, images, *budget).taken.tolist() == [4]
    sure = [
        bool(anytime.answers_after(model, t)) for t in range(model.num_glimpses)
    ]
    assert sure == [False, True, False, True]


def test_one_image_is_looked_at_as_often_as_the_model_does_now(images):
    model, one = tiny.reader(num_targets=3), images[:1]
    for _ in range(3):  # from the second on in a graph
        anytime.look_until_sure(model, one, confidence=0.3)
    model.glimpses_per_target = 5
    found = anytime.look_until_sure(model, one, confidence=0.3)
    expected = anytime.look_until_sure(model, images[:2], confidence=0.3)
    assert expected["num_glimpses"][0] > 6  # two of each, as it was
    for name in ("num_glimpses", "labels", "transforms"):
        np.testing.assert_allclose(
            found[name][0], expected[name][0], rtol=1e-3, atol=1e-4
        )
