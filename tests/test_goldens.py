"""What must stay: names and shapes of weights, and the answers of presets.

`tests/goldens.json` has them as text. When they are meant to change,

    python tests/test_goldens.py

renews it; its difference says what users' files would notice.
"""

import collections
import json
import pathlib
import sys
import tempfile

import h5py
import keras
import numpy as np
import pytest

from keras_edram import EDRAM, Ensemble, presets

FILE = pathlib.Path(__file__).with_name("goldens.json")
RENEW = (
    "Not as in tests/goldens.json. If this is meant, which users' saved models "
    "may not survive, renew it by `python tests/test_goldens.py`."
)
# RAM's policies enlarge what another TensorFlow rounds otherwise, from glimpse
# to glimpse: 2.19 and 2.21 differ in logits by up to 0.02.
TOLERANCE = dict(rtol=0.01, atol=0.04)


def models():
    """Makers of each class that is saved, by name."""
    from test_conformance import EDRAM_SIZES, TABLE, VARIANTS

    makers = {
        entry.cls.__name__ + entry.variant: entry.make
        for entry in (*TABLE, *VARIANTS)
        if issubclass(entry.cls, keras.Model)
    }
    # The table has one of fewer operations.
    sizes = {**EDRAM_SIZES, "num_targets": 1, "glimpses_per_target": 2}
    return makers | {
        "Ensemble": lambda: Ensemble(
            [
                EDRAM(**{**sizes, "reading_order": order, "name": order})
                for order in ("forward", "backward")
            ]
        )
    }


def weights_of(model):
    """Two lists of lines: by the path in a model's own order, and in a file."""
    own = collections.defaultdict(list)
    for weight in model.weights:
        layer, _, name = weight.path.partition("/")[2].rpartition("/")
        own[layer].append(f"{name} {_shape(weight)}")
    saved = collections.defaultdict(list)

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            saved[name.rpartition("/")[0]].append(_shape(item))

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.weights.h5"
        model.save_weights(path)
        with h5py.File(path) as file:
            file.visititems(visit)
    return {
        "model": [f"{name}: {', '.join(own[name])}" for name in own],
        "file": [f"{name}: {', '.join(saved[name])}" for name in saved],
    }


def _shape(values):
    return "x".join(map(str, values.shape)) or "scalar"


def answers_of(model):
    """What a model reads in a picture of counted pixels, and from its end."""
    shape = model.some_image_shape
    counted = np.arange(np.prod(shape)) * 255 / np.prod(shape)
    counted = counted.reshape(shape)
    images = np.stack([counted, counted[::-1, ::-1]]).astype("uint8")
    looks = model.glimpses(images)
    # Of the first member, target and image; after the last glimpse.
    of_first = {name: values[0] for name, values in looks.items()}
    if model.members:
        of_first = {name: values[0] for name, values in of_first.items()}
    return {
        "labels": keras.ops.convert_to_numpy(
            model.decode(looks)["labels"]
        ).tolist(),
        "logits": _rounded(of_first["labels"][0, -1]),
        "window": _rounded(of_first["transforms"][0, -1]),
        "pixels": _rounded(of_first["patches"][0, -1].mean(axis=(0, 1))),
    }


def _rounded(values):
    return [float(f"{value:.4g}") for value in np.ravel(values)]


def known():
    return json.loads(FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", known()["classes"] if FILE.exists() else [])
def test_the_weights_of_a_class_have_the_names_they_had(name):
    assert weights_of(models()[name]()) == known()["classes"][name], RENEW


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_is_what_it_was(name):
    model, golden = presets.load(name), known()["presets"][name]
    assert model.count_params() == presets.results(name)["parameters"]
    assert weights_of(model)["file"] == golden["file"], RENEW
    found, expected = answers_of(model), golden["answers"]
    assert found["labels"] == expected["labels"], RENEW
    for part in ("logits", "window", "pixels"):
        np.testing.assert_allclose(
            found[part], expected[part], **TOLERANCE, err_msg=RENEW
        )


def test_every_class_has_a_golden():
    assert set(known()["classes"]) == set(models()), RENEW
    assert FILE.stat().st_size < 70_000


def renew():
    """Writes what is now."""
    makers = models()
    loaded = {name: presets.load(name) for name in presets.names()}
    goldens = {
        "classes": {name: weights_of(make()) for name, make in makers.items()},
        "presets": {
            name: dict(
                file=weights_of(model)["file"], answers=answers_of(model)
            )
            for name, model in loaded.items()
        },
    }
    text = json.dumps(goldens, indent=0, ensure_ascii=False)
    FILE.write_text(text + "\n", encoding="utf-8")
    print(f"{FILE}: {FILE.stat().st_size} bytes", file=sys.stderr)


if __name__ == "__main__":
    renew()
