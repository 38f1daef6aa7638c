import json
import pathlib

import numpy as np
import pytest

from keras_edram import (
    EDRAM,
    RAM,
    Ensemble,
    evaluation,
    files,
    presets,
    recipes,
)
from keras_edram.datasets import cluttered_mnist, house_numbers
from keras_edram.presets import opening

NAME = "edram_small_cluttered_mnist"
PRINTED = "edram_small_printed_numbers"
SVHN = pathlib.Path(__file__).parents[2] / "shared" / "data" / "svhn"


def test_the_presets_of_a_class_are_listed():
    assert NAME in EDRAM.presets
    assert EDRAM.presets == presets.names(EDRAM)
    listed = EDRAM.presets + Ensemble.presets + RAM.presets
    assert sorted(listed) == presets.names()


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_is_small_and_has_a_card_with_its_figures(name):
    folder = presets.FOLDER / name
    figures = presets.results(name)
    card = (folder / "README.md").read_text()
    texts = [
        f"{figures['error']:.2%}",
        f"{figures['parameters']:,}",
        f"keras-edram train {figures['recipe']}",
    ]
    if name in Ensemble.presets:
        assert not (folder / presets.WEIGHTS_FILE).exists()
        texts += [f"{figures['iou']:.3f}", "keras-edram ensemble"]
    else:
        size = (folder / presets.WEIGHTS_FILE).stat().st_size
        assert size < (1_500_000 if name in RAM.presets else 4_000_000)
        texts += [
            f"{figures['validation_error']:.2%}",
            f"{figures['images_seen']:,}",
        ]
    if name in RAM.presets:
        texts.append(f"{figures['spread']:.2f}")
    elif name in EDRAM.presets:
        texts += [
            f"{figures['error_by_glimpse'][-1]:.2%}",
            f"{figures['iou']:.3f}",
        ]
    if "house_numbers" in name:
        texts += ["non-commercial", "Netzer et al., 2011", "3600.png"]
        # The paper's Table 2: of two models, and of one.
        texts.append("3.6 %" if name in Ensemble.presets else "4.36 %")
    elif "photos" in name:
        texts += ["numbers_in_photos", "CC0"]
    elif "printed" in name:
        texts += ["printed_numbers", "Apache 2.0"]
    elif name in EDRAM.presets:
        texts.append(figures["settings"]["protocol"])
    for text in texts:
        assert text in card, text


@pytest.fixture(scope="module")
def house_number_folder(tmp_path_factory):
    if not SVHN.exists():
        pytest.skip("needs ../shared/data/svhn")
    folder = tmp_path_factory.mktemp("house_numbers") / "made"
    house_numbers.make(SVHN, folder, num_composed=0)
    return folder


# On slanted numbers line by line is not the order that is annotated.
@pytest.mark.filterwarnings("ignore:pictures whose objects are listed")
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*presets.names()} - {PRINTED}))
def test_a_preset_reaches_its_figures_on_held_out_images(name, request):
    figures = presets.results(name)
    recipe = recipes.load(figures["recipe"])
    source, number = "bundled", 2000
    if "photos" in name:
        pytest.importorskip("skimage", reason="needs pip install -e .[photos]")
        source, number = "drawn", 400
    if not recipe.sources:
        source = request.getfixturevalue("house_number_folder")
        number = figures["images"]
    data = recipe.data(figures["settings"], "test", source)
    images, targets = data.arrays(number)
    measured = evaluation.evaluate(presets.load(name), images, targets)
    # The figure of the card, and three standard errors of the 1,000 digits
    # that ship, each seen twice, of the 901 house numbers, or of 400 photos.
    allowed = 3 * np.sqrt(figures["error"] / min(number, 1000))
    assert abs(measured["error"] - figures["error"]) < allowed
    assert measured["iou"] == pytest.approx(figures["iou"], abs=0.01)
    calibrated = figures.get("on_cpu", figures)
    if "temperature" in calibrated:
        assert measured["calibration_error"] == pytest.approx(
            calibrated["calibration_error"], abs=1 / np.sqrt(number)
        )
    if "spread" in figures:
        assert measured["spread"] == pytest.approx(figures["spread"], abs=0.03)


@pytest.mark.slow
def test_printed_numbers_are_read_in_the_fonts_of_this_machine():
    figures = presets.results(PRINTED)
    recipe = recipes.load(figures["recipe"])
    # Those of its figures are in a folder that only who trained it has.
    data = recipe.data({**figures["settings"], "fonts": ""}, "test", "drawn")
    images, targets = data.arrays(1000)
    measured = evaluation.evaluate(presets.load(PRINTED), images, targets)
    # Plainer than those, so that three standard errors are allowed above alone.
    allowed = 3 * np.sqrt(figures["error"] / 1000)
    assert measured["error"] < figures["error"] + allowed
    assert measured["iou"] > figures["iou"] - 0.03


def test_an_ensemble_is_joined_of_presets(tmp_path, monkeypatch):
    member = presets.load(NAME)
    presets.save(member, tmp_path / "one")
    files.write_json(
        tmp_path / "both" / presets.CONFIG_FILE,
        {"class_name": "Ensemble", "members": ["one", "one"]},
    )
    monkeypatch.setattr(presets, "FOLDER", tmp_path)
    assert presets.names(Ensemble) == Ensemble.presets == ["both"]
    ensemble = Ensemble.from_preset("both")
    assert len(ensemble.members) == 2
    images = np.random.default_rng(0).uniform(0, 255, (2, 100, 100, 1))
    np.testing.assert_array_equal(
        ensemble(images)["labels"][:, 1], member(images)["labels"]
    )


def test_a_preset_begins_another_task():
    with pytest.warns(UserWarning, match="to be trained: classification"):
        letters = EDRAM.from_preset(NAME, num_classes=26)
    assert letters.compute_output_shape((1, 100, 100, 1))["labels"][-1] == 26
    np.testing.assert_array_equal(
        letters.what_lstm.kernel, presets.load(NAME).what_lstm.kernel
    )
    with pytest.raises(ValueError, match="num_classes=0"):
        EDRAM.from_preset(NAME, num_classes=0)


@pytest.mark.parametrize(
    "changes, words",
    [
        (dict(num_classes="26"), "`num_classes` .*'26'"),
        (dict(num_classes=None), "`num_classes` .*None"),
        (dict(class_names=5), "`class_names` .*5"),
    ],
)
def test_what_cannot_be_changed_so_is_refused_in_words(changes, words):
    with pytest.raises(ValueError, match=words):
        EDRAM.from_preset(NAME, **changes)


def test_an_ensemble_is_not_changed():
    (name, *_) = Ensemble.presets
    with pytest.raises(
        ValueError, match=r"Received: .* with \['num_classes'\]"
    ):
        Ensemble.from_preset(name, num_classes=26)


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="Received: preset='none'"):
        EDRAM.from_preset("none")


def test_a_model_is_opened_by_preset_file_or_run_folder(tmp_path):
    model = opening.open_model(NAME)
    model.save(tmp_path / "model.keras")
    for where in (tmp_path, str(tmp_path / "model.keras")):
        for one, other in zip(
            model.get_weights(),
            opening.open_model(where).get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)


def test_what_is_no_model_is_refused_in_words(tmp_path):
    with pytest.raises(ValueError, match="Received: 'none'"):
        opening.open_model("none")
    with pytest.raises(ValueError, match="must be a preset"):
        opening.open_model(tmp_path)  # a run that is not finished
    broken = tmp_path / "broken.keras"
    broken.write_bytes(b"no zip file")
    with pytest.raises(ValueError, match="broken.keras"):
        opening.open_model(broken)


def test_a_saved_preset_is_the_model(tmp_path, monkeypatch):
    model = presets.load(NAME)
    presets.save(model, tmp_path / "mine")
    files.write_json(tmp_path / "mine" / presets.RESULTS_FILE, {})
    monkeypatch.setattr(presets, "FOLDER", tmp_path)
    assert presets.names() == ["mine"]
    for one, other in zip(
        model.get_weights(), presets.load("mine").get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    saved = (tmp_path / "mine" / presets.CONFIG_FILE).read_text()
    assert json.loads(saved)["class_name"] == "EDRAM"


# Eight bits, and a preset that is not to be trained, on images that ship


@pytest.fixture(scope="module")
def digits():
    return cluttered_mnist("test").arrays(200)


def errors(model, digits):
    images, targets = digits
    labels = model.decode(model.predict(images, verbose=0))["labels"]
    return int((np.asarray(labels) != targets["labels"]).sum())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of layers without weights
def test_weights_in_8_bits_read_as_well(digits):
    model = presets.load(NAME)
    before = errors(model, digits)
    model.quantize("int8")
    assert before <= 5 and errors(model, digits) <= before + 2


def test_a_frozen_preset_keeps_its_error_in_training(digits):
    model = presets.load(NAME)
    before = errors(model, digits)
    model.trainable = False
    model(digits[0][:32], training=True)
    assert errors(model, digits) == before
    model = presets.load(NAME)
    model.what.trainable = False
    statistics = model.what.normalization.moving_mean.numpy()
    model(digits[0][:32], training=True)
    found = model.what.normalization.moving_mean.numpy()
    np.testing.assert_array_equal(found, statistics)


@pytest.mark.slow
def test_a_preset_is_exported_by_keras_itself(digits, tmp_path):
    import tensorflow as tf

    images = digits[0][:3].astype("float32")
    for name in (NAME, "ram_mnist"):
        model = presets.load(name)
        height, width, _ = model.image_shape
        model.export(tmp_path / name, format="tf_saved_model", verbose=False)
        loaded = tf.saved_model.load(tmp_path / name)
        seen = images[:, :height, :width]
        found = loaded.serve(tf.constant(seen))
        for output, expected in model(seen).items():
            np.testing.assert_allclose(found[output], expected, atol=1e-4)
