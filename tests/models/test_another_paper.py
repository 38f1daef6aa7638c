"""A model of another paper, from training to export, added by its file alone.

The class stands in `tests/another_paper.py`, and keeps the contract of
`keras_edram.models.base`. Of files that are not its own it touches one: an
entry in the table of `tests/test_conformance.py`.
"""

import pathlib
import re

import another_paper
import keras
import numpy as np
import pytest
import tiny

import keras_edram
from keras_edram import (
    anytime,
    evaluation,
    presets,
    serving,
    training,
    visualization,
)
from keras_edram.losses import LabelLoss
from keras_edram.metrics import AverageError
from keras_edram.presets import opening
from keras_edram.training import Recipe

SIZES = dict(image_shape=(40, 50, 1), num_classes=3, class_names=tiny.NAMES)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return another_paper.RasterReader(**SIZES, glimpse_size=6, units=8)


@pytest.fixture(scope="module")
def targets():
    windows = np.tile([[0.5, 0, 0.1], [0, 0.5, -0.2]], (3, 1, 1, 1))
    labels = np.array([[0], [2], [1]], "int32")
    return {"labels": labels, "transforms": windows.astype("float32")}


def test_it_reads_its_cells_row_by_row(model, images):
    looks = model.glimpses(images)
    assert looks["labels"].shape == (3, 1, 1, 3)
    assert looks["patches"].shape == (3, 1, 4, 6, 6, 1)
    places = looks["transforms"][:, 0, :, :, 2]
    # Halves of the image: columns at -0.5 and 0.5, rows likewise.
    expected = [[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]]
    np.testing.assert_allclose(places, [expected] * 3)


def test_it_is_fitted(images, targets):
    keras.utils.set_random_seed(0)
    model = another_paper.RasterReader(**SIZES, glimpse_size=6, units=8)
    model.compile(
        keras.optimizers.Adam(0.05),
        LabelLoss(),
        metrics=[AverageError()],
        run_eagerly=True,
    )
    history = model.fit(images, targets["labels"], epochs=4, verbose=0).history
    assert history["loss"][-1] < 0.9 * history["loss"][0]
    assert set(history) == {"loss", "labels_error"}


def test_it_is_trained_as_a_recipe(tmp_path):
    """As a table of its paper would hold it, see `tests/test_recipes.py`."""
    recipe = Recipe(
        summary="A raster of cells",
        settings=dict(
            batch_size=4,
            epochs=1,
            steps_per_epoch=2,
            validation_steps=1,
            test_images=4,
            seed=0,
            units=4,
        ),
        data=tiny.data,
        model=lambda settings, data: another_paper.RasterReader(
            (40, 50, 1), units=settings["units"]
        ),
        compile=lambda model, settings, jit_compile: model.compile(
            "adam", LabelLoss(), metrics=[AverageError()], run_eagerly=True
        ),
    )
    results = training.train(recipe, tmp_path / "run", verbose=0)
    assert 0 <= results["error"] <= 1
    opened = opening.open_model(tmp_path / "run")
    assert type(opened) is another_paper.RasterReader


def test_it_is_read_with_a_budget(model, images):
    everything = model.read(images)
    assert [answer["sequence"] for answer in everything]
    assert set(everything[0]) >= {"labels", "boxes", "probability"}
    some = model.read(images, max_glimpses=2)
    assert [answer["num_glimpses"] for answer in some] == [2, 2, 2]
    sure = anytime.look_until_sure(model, images, confidence=0.0)
    assert sure["num_glimpses"].tolist() == [1, 1, 1]
    first = model.glimpses(images, 1)["labels"]
    np.testing.assert_allclose(sure["labels"], first, rtol=1e-5, atol=1e-6)


def test_it_is_saved_and_opened(model, images, tmp_path):
    model.save(tmp_path / "model.keras")
    opened = opening.open_model(tmp_path / "model.keras")
    assert type(opened) is another_paper.RasterReader
    # The first look is without a graph, which rounds otherwise.
    for found, expected in zip(
        opened.read(images), model.read(images), strict=True
    ):
        probability = pytest.approx(expected["probability"], rel=1e-5)
        assert found == expected | {"probability": probability}
    presets.save(model, tmp_path / "preset")
    assert (tmp_path / "preset" / "config.json").is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("compares_here")
def test_it_is_exported(model, images, tmp_path):
    serving.export_saved_model(model, tmp_path)
    import tensorflow as tf

    signatures = tf.saved_model.load(tmp_path / "1").signatures
    found = signatures["serving_default"](images=tf.cast(images, tf.float32))
    for name, expected in tiny.answers(model, images).items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-5)
    assert {"start", "look"} <= set(signatures)


def test_it_is_evaluated(model, images, targets):
    figures = evaluation.evaluate(model, images, targets)
    wrong = [
        answer["labels"] != truth.tolist()
        for answer, truth in zip(
            model.read(images), targets["labels"], strict=True
        )
    ]
    assert figures["error"] == pytest.approx(np.mean(wrong))


def test_it_is_drawn(model, images, tmp_path):
    visualization.plot_glimpses(model, images[:1], tmp_path / "glimpses.png")
    assert (tmp_path / "glimpses.png").stat().st_size > 1000


def test_no_file_of_the_package_knows_it():
    folder = pathlib.Path(keras_edram.__file__).parent
    names = re.compile("RasterReader|another_paper")
    knowing = [
        path
        for path in folder.rglob("*.py")
        if names.search(path.read_text(encoding="utf-8"))
    ]
    assert not knowing
