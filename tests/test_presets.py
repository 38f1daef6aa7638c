import json

import numpy as np
import pytest

from keras_edram import EDRAM, RAM, evaluation, files, presets, recipes

NAME = "edram_small_cluttered_mnist"


def test_the_presets_of_a_class_are_listed():
    assert NAME in EDRAM.presets
    assert EDRAM.presets == presets.names(EDRAM)
    assert sorted(EDRAM.presets + RAM.presets) == presets.names()


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_is_small_and_has_a_card_with_its_figures(name):
    folder = presets.FOLDER / name
    size = (folder / presets.WEIGHTS_FILE).stat().st_size
    figures = presets.results(name)
    card = (folder / "README.md").read_text()
    texts = [
        f"{figures['error']:.2%}",
        f"{figures['validation_error']:.2%}",
        f"{figures['parameters']:,}",
        f"{figures['images_seen']:,}",
        f"keras-edram train {figures['recipe']}",
    ]
    if name in RAM.presets:
        assert size < 1_500_000
        texts.append(f"{figures['spread']:.2f}")
    else:
        assert size < 3_000_000
        texts += [
            f"{figures['error_by_glimpse'][-1]:.2%}",
            f"{figures['iou']:.3f}",
            figures["settings"]["protocol"],
        ]
    for text in texts:
        assert text in card, text
    assert presets.load(name).count_params() == figures["parameters"]


@pytest.mark.slow
@pytest.mark.parametrize("name", presets.names())
def test_a_preset_reaches_its_figures_on_held_out_images(name):
    figures = presets.results(name)
    data = recipes.load(figures["recipe"]).data(
        figures["settings"], "test", "bundled"
    )
    images, targets = data.arrays(2000)
    measured = evaluation.evaluate(presets.load(name), images, targets)
    # The figure of the card, and three standard errors of the 1,000 digits
    # that ship, each seen twice.
    allowed = 3 * np.sqrt(figures["error"] / 1000)
    assert abs(measured["error"] - figures["error"]) < allowed
    assert measured["iou"] == pytest.approx(figures["iou"], abs=0.01)
    assert measured["spread"] == pytest.approx(
        figures.get("spread", measured["spread"]), abs=0.03
    )


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="Received: preset='none'"):
        EDRAM.from_preset("none")


def test_a_model_is_opened_by_preset_file_or_run_folder(tmp_path):
    model = presets.open_model(NAME)
    model.save(tmp_path / "model.keras")
    for where in (tmp_path, str(tmp_path / "model.keras")):
        for one, other in zip(
            model.get_weights(),
            presets.open_model(where).get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)


def test_what_is_no_model_is_refused_in_words(tmp_path):
    with pytest.raises(ValueError, match="Received: 'none'"):
        presets.open_model("none")
    with pytest.raises(ValueError, match="must be a preset"):
        presets.open_model(tmp_path)  # a run that is not finished
    broken = tmp_path / "broken.keras"
    broken.write_bytes(b"no zip file")
    with pytest.raises(ValueError, match="broken.keras"):
        presets.open_model(broken)


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
