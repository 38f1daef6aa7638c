"""Trains RAM for some steps on any backend of Keras.

    KERAS_BACKEND=jax python train_ram_on_backend.py FOLDER

`test_backends.py` runs it in a process. It reads `images.npy` and the weights
of the models from the folder, and writes to `NAME.npz` the answers of each
model before, and its losses and the changes of its weights in, a training.
"""

import pathlib
import sys

import keras
import numpy as np

from keras_edram import RAM
from keras_edram.losses import LabelLoss
from keras_edram.metrics import AverageError

SIZES = dict(
    image_shape=(30, 24, 1),
    num_classes=4,
    num_glimpses=2,
    glimpse_size=6,
    num_scales=2,
    units=16,
    hidden_units=12,
    seed=1,
)
MODELS = {
    "dense": dict(
        SIZES,
        core="lstm",
        location_hidden_units=5,
        location_deviation=keras.optimizers.schedules.CosineDecay(0.3, 20),
        location_penalty=0.1,
    ),
    "inception": dict(
        SIZES, glimpse_network="inception", core="conv_lstm", core_filters=5
    ),
}


def train(model, images):
    """The losses of a `fit`, and the largest change of each weight."""
    model.compile(
        keras.optimizers.Adam(1e-3),
        loss={"labels": LabelLoss()},
        metrics={"labels": [AverageError()]},
    )
    truth = {
        "labels": np.arange(len(images))[:, None] % SIZES["num_classes"],
        "transforms": np.zeros((len(images), 1, 2, 3), "float32"),
    }
    before = model.get_weights()
    history = model.fit(images, truth, batch_size=4, epochs=3, verbose=0)
    changes = {
        weight.path.split("/", 1)[1]: np.abs(after - old).max()
        for weight, old, after in zip(
            model.weights, before, model.get_weights(), strict=True
        )
    }
    return history.history["loss"], changes


def main(folder):
    """Writes what the test compares."""
    images = np.load(folder / "images.npy")
    for name, sizes in MODELS.items():
        model = RAM(**sizes)
        model.load_weights(folder / f"{name}.weights.h5")
        outputs = model.predict(images, verbose=0)
        losses, changes = train(model, images)
        np.savez(
            folder / f"{name}.npz",
            losses=losses,
            backend=keras.config.backend(),
            **outputs,
            **changes,
        )


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
