"""A model that answers at once: its label is the first pixel's value mod 3."""

import numpy as np

from keras_edram import decoding


class Model:
    """Looks once at images of 4x4.

    Args:
        shapes: List, gets the shapes of the batches that it saw.
    """

    image_shape = (4, 4, 1)
    class_names = label_names = ("nought", "日本", "two")
    num_classes = 3
    terminal = False
    members = ()
    graphs = None
    looks_step_by_step = False

    def __init__(self, shapes=None):
        self.shapes = [] if shapes is None else shapes

    def glimpses(self, images, glimpses_per_target=None):
        self.shapes.append(images.shape)
        first = images[:, 0, 0, 0] % 3
        return {
            "labels": 9.0 * np.eye(3)[first][:, None, None],
            "transforms": np.tile(np.eye(2, 3), (len(images), 1, 1, 1, 1)),
        }

    def decode(self, outputs):
        return decoding.decode(outputs)
