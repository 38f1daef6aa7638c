"""The 11-layer CNN, which reads a number in one look at the whole image.

Goodfellow, Bulatov, Ibarz, Arnoud, Shet, "Multi-digit Number Recognition from
Street View Imagery using Deep Convolutional Neural Networks", 2014.

    H = network(X)
    p(S | X) = p(L = n | H) Π_{s < n} p_s(k_s | H)

| symbol | here | at the paper's sizes |
| --- | --- | --- |
| X | `images` | 54x54, of three colours |
| H | `features` | 3072 |
| | `convolutions` | eight of 5x5: 48 (the largest of 3 each), 64, 128, 160, 192, ... |
| | `poolings` | the maximum of 2x2, each other one at half the size |
| | `local` | locally connected, 5x5, 192 |
| | `dense` | two of 3072 |
| L, S | `head` | six lengths, and five softmaxes of ten digits |

So these are 38.1 million trainable parameters: 4.3 in convolutions, 14.7 in
4x4 places that the locally connected layer has, 18.9 in dense ones. Others give
it 51 million (Ba et al., 2015; Ablavatski et al., 2017, Table 3), which no
reading of the paper that we tried has: the sizes halve four times, 54 to 4,
whichever poolings they are. On images of 65 to 80 pixels it has 51.8, as the
last maps are 5x5 there.

Where we differ:

- Convolutions and dense layers are normalised over the batch, where the paper
  subtracts local means in windows of 3x3, and has offsets and dropout.
- The product is told place by place, with a terminal label for the length, see
  `SequenceHead`: the loss of all places is the paper's.
- There is a length for each number of symbols up to S - 1, and none for longer
  ones.

Letters in shapes: B batch, H W C image, F features, S targets, K classes.
"""  # noqa: E501

import functools

import keras
from keras import layers, ops

from keras_edram.checks import check_integer, check_integers
from keras_edram.layers import LocallyConnected2D
from keras_edram.models import blocks
from keras_edram.models.rectified import Rectified
from keras_edram.models.whole_image import WholeSequenceModel

FILTERS = (48, 64, 128, 160, 192, 192, 192, 192)
KERNEL_SIZE = 5
PIECES = 3  # of a unit of the first layer: linear ones, of which the largest
NUM_DENSE = 2
MIN_IMAGE_SIDE = 16  # of which four halvings leave a pixel


@keras.saving.register_keras_serializable(package="keras_edram")
class MultiDigitCNN(WholeSequenceModel):
    """Reads a sequence in one look, by a deep convolutional network.

    Eight convolutions, a locally connected layer and two dense ones; a softmax
    for each place and one for the length, which know of each other only by
    what they share:

        p(S | X) = p(L = n | H) Π_{s < n} p_s(k_s | H)

    Args:
        image_shape: `(height, width, channels)`, at least 16 pixels high and
            wide. Defaults to `(54, 54, 3)`.
        num_classes: Integer, K, the terminal label among them. Defaults to 11.
        class_names: Strings, the names of the classes but the terminal label;
            by default their numbers.
        terminal: Boolean, whether the last class ends a sequence. Defaults to
            `True`; without, there is no length.
        reading_order: `"forward"`, or `"backward"` if its targets are the
            objects from last to first. Defaults to `"forward"`.
        num_targets: Integer S, the terminal one among them. Defaults to 6.
        filters: Eight integers, of the convolutions. Defaults to
            `(48, 64, 128, 160, 192, 192, 192, 192)`.
        local_filters: Integer, of the locally connected layer. Defaults to
            192.
        units: Integer F, of each dense layer. Defaults to 3072.
        **kwargs: `temperature`, see `BaseModel`, and arguments of
            `keras.Model`.

    Call arguments:
        images: Tensor of shape `(B, H, W, C)`, uint8 or float in [0, 255].
        training: Boolean.

    Returns:
        A dictionary of float32 tensors: `labels`, logits of shape
        `(B, S, 1, K)`, and `transforms`, `(B, S, 1, 2, 3)`, the whole image.

    Raises:
        ValueError: For sizes that are none, images that are too small or of
            any size, an unknown order, or another number of glimpses than one.

    Example:

    >>> model = MultiDigitCNN(
    ...     (32, 40, 1), filters=8 * (4,), local_filters=4, units=16
    ... )
    >>> model.predict(np.zeros((2, 32, 40, 1)))["labels"].shape
    (2, 6, 1, 11)

    Reference:
        - Goodfellow et al., "Multi-digit Number Recognition from Street View
          Imagery using Deep Convolutional Neural Networks", 2014, sections 4
          and 5.1.
    """

    def __init__(
        self,
        image_shape=(54, 54, 3),
        num_classes=11,
        *,
        class_names=None,
        terminal=True,
        reading_order="forward",
        num_targets=6,
        filters=FILTERS,
        local_filters=192,
        units=3072,
        **kwargs,
    ):
        super().__init__(
            image_shape,
            num_classes,
            class_names,
            terminal,
            reading_order=reading_order,
            num_targets=num_targets,
            **kwargs,
        )
        self._take_one_size(MIN_IMAGE_SIDE)
        self.filters = check_integers(filters, len(FILTERS), "filters")
        self.local_filters = check_integer(local_filters, "local_filters")
        self.units = check_integer(units, "units")
        self._make_layers(self.dtype_policy)
        self.build((None, *self.image_shape))

    def _make_layers(self, policy):
        shared = 1, "he_normal", policy  # normalised at its one step
        self.rescaling = layers.Rescaling(
            1 / 255, name="rescaling", dtype=policy
        )
        first, *others = (
            blocks.Convolution(filters, KERNEL_SIZE) for filters in self.filters
        )
        self.maxout = blocks.normalized_convolutions(
            "maxout",
            [first._replace(filters=PIECES * first.filters)],
            *shared[1:],
        )
        self.convolutions = blocks.rectified_convolutions(
            "convolution", others, *shared
        )
        self.poolings = [
            layers.MaxPooling2D(
                2,
                strides,
                padding="same",
                data_format="channels_last",
                name=f"pooling_{strides}",
                dtype=policy,
            )
            for strides in (2, 1)
        ]
        self.local = Rectified(
            LocallyConnected2D(
                self.local_filters, KERNEL_SIZE, name="local", dtype=policy
            ),
            1,
            name="local",
            dtype=policy,
        )
        self._make_answer(NUM_DENSE * (self.units,))

    def _stack(self):
        """The convolutions after the first, and the pooling after each."""
        halving, keeping = self.poolings
        return [
            (convolution, halving if index % 2 else keeping)
            for index, convolution in enumerate(self.convolutions)
        ]

    def build(self, images_shape):
        if self.built:
            return
        halving, keeping = self.poolings
        self.rescaling.build(images_shape)
        self.maxout.build(images_shape)
        maps = (*images_shape[:-1], self.filters[0])
        halving.build(maps)
        maps = halving.compute_output_shape(maps)
        maps = blocks.build_stack(self._stack(), maps)
        self.local.build(maps)
        self._build_answer(self.local.compute_output_shape(maps))
        self.built = True

    def see(self, images, training=False):
        at = dict(step=0, training=training)
        halving, _ = self.poolings
        pieces = self.maxout(self.rescaling(images), training=training)
        maps = halving(_largest_of_pieces(pieces))
        maps, _ = blocks.call_stack(self._stack(), maps, **at)
        logits = self._answer(self.local(maps, **at), **at)
        return self.whole_image(images, logits)

    def get_config(self):
        config = super().get_config()
        config.update(
            filters=list(self.filters),
            local_filters=self.local_filters,
            units=self.units,
        )
        return config


def _largest_of_pieces(maps):
    """Maxout: `(B, H, W, pieces C)` -> `(B, H, W, C)`."""
    _, height, width, channels = maps.shape
    maps = ops.reshape(
        maps, (-1, height, width, channels // PIECES, PIECES)
    )  # (B, H, W, C, pieces)
    # One after the other: the gradient of the largest of all is divided by how
    # many are the largest, which XLA may find to be none.
    return functools.reduce(
        ops.maximum, ops.unstack(maps, axis=-1)
    )  # (B, H, W, C)
