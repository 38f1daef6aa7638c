"""What EDRAM is compared with, asked and taught on any backend of Keras.

    KERAS_BACKEND=jax python train_comparators_on_backend.py FOLDER

`test_backends.py` runs it in a process. Weights are read from the folder,
`CLASS.weights.h5`; what each model answers, and its losses of two steps, are
written to `CLASS.npz`.
"""

import pathlib
import sys

import keras
import numpy as np

from keras_edram.losses import LabelLoss
from keras_edram.models import DCN, DRAM, DRAW, RNNSPN, STCNN, MultiDigitCNN

SHARED = dict(image_shape=(40, 44, 1), num_classes=4)
MODELS = {
    DCN: dict(num_glimpses=2, top_filters=16),
    DRAM: dict(
        glimpses_per_target=2,
        context_filters=(3, 4, 5),
        glimpse_filters=(4, 3, 5),
        units=16,
        hidden_units=16,
    ),
    DRAW: dict(num_glimpses=2, glimpse_size=4, units=16),
    RNNSPN: dict(glimpse_size=18, units=16, hidden_units=16),
    STCNN: dict(layout="clutter", glimpse_size=24, filters=(4, 6), units=(16,)),
    MultiDigitCNN: dict(filters=(4,) * 8, local_filters=4, units=16),
}


def answers(cls, images, weights):
    """What a model with these weights says, and its losses, as arrays."""
    model = cls(**SHARED, **MODELS[cls])
    model.load_weights(weights)
    outputs = model.predict(images, verbose=0)
    model.compile(keras.optimizers.SGD(1e-3), {"labels": LabelLoss()})
    labels = np.zeros((len(images), model.num_targets), "int32")
    losses = [model.train_on_batch(images, {"labels": labels}) for _ in "12"]
    return outputs | {"losses": np.array(losses, "float32")}


def main(folder):
    """Writes what the test compares."""
    images = np.load(folder / "images.npy")
    for cls in MODELS:
        name = cls.__name__
        found = answers(cls, images, folder / f"{name}.weights.h5")
        found["backend"] = keras.config.backend()
        np.savez(folder / f"{name}.npz", **found)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
