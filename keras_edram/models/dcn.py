"""DCN, which looks closer where a coarse look is least sure.

Almahairi, Ballas, Cooijmans, Zheng, Larochelle, Courville, "Dynamic Capacity
Networks", ICML 2016.

    c = f_c(x)                 coarse vectors, one for each place of a map
    o_c = softmax(g(c))        what they alone say
    H = -Σ_k o_c log o_c       how unsure that is
    M_ij = ‖∂H / ∂c_ij‖        saliency: how much place ij could change it
    X = the k places of the largest M
    f_ij = f_f(x_ij)           fine vectors of the windows of X alone
    r_ij = f_ij in X, else c_ij
    y = softmax(g(r))
    L = cross-entropy(y) + λ Σ_X ‖c_ij - f_ij‖²

The last sum, the hint, teaches the coarse network alone.

| symbol | here | at the paper's sizes |
| --- | --- | --- |
| x | `images` | 100x100 |
| f_c | `coarse_convolutions` | 7x7 and 3x3, 12 and 24 filters, strides of 2 |
| c | `coarse` | 23x23 places, each of 11x11 pixels, 4 pixels apart |
| f_f | `fine_convolutions` | 3x3, 24 filters: valid, same and pooled, same, same and pooled, valid |
| x_ij | `patches` | 14x14 pixels, of which the fine network leaves one vector |
| g | `top` | 4x4, 96 filters, strides of 2; maximum of all places; dense |
| k | `num_glimpses` | 8 |
| λ | `hint_weight` | |

These are 62,686 parameters, statistics of normalisations among them, and 23
million multiply-adds an image.

Where we differ:

- The gradient of the entropy is written out, so that it is a part of every
  export. For that g has no batch normalisation, whose gradient would depend on
  the other images of a batch.
- The window of a place is on whole pixels: the 11x11 that the coarse network
  sees, with two columns and rows before and one after. Beyond the image are
  zeros.
- Where to look is computed in float32 under every precision policy: with fewer
  digits, another window would be chosen.
- The λ of the paper's experiments is not known to us.

Letters in shapes: B batch, H W C image, h w places of the coarse map, F its
maps, U those of the top, N windows of fine looks, g their side, K classes.
"""  # noqa: E501

import math

import keras
import numpy as np
from keras import layers, ops

from keras_edram import geometry
from keras_edram.checks import check_integer, check_integers, check_number
from keras_edram.layers.image_pyramid import image_pyramid, take_rows
from keras_edram.layers.spatial_transformer_attention import read_points
from keras_edram.models import blocks
from keras_edram.models.base import BaseModel

COARSE_NETWORK = (
    blocks.Convolution(12, 7, "valid", strides=2),
    blocks.Convolution(24, 3, "valid", strides=2),
)
FINE_NETWORK = (
    blocks.Convolution(24, 3, "valid"),
    blocks.Convolution(24, 3, "same", pooled=True),
    blocks.Convolution(24, 3, "same"),
    blocks.Convolution(24, 3, "same", pooled=True),
    blocks.Convolution(24, 3, "valid"),
)
COARSE_FILTERS = blocks.filters_of(COARSE_NETWORK)
FINE_FILTERS = blocks.filters_of(FINE_NETWORK)
TOP = blocks.Convolution(96, 4, "valid", strides=2)
COARSE_FIELD = blocks.smallest_input(COARSE_NETWORK)  # 11 pixels
COARSE_STRIDE = math.prod(row.strides for row in COARSE_NETWORK)  # 4 pixels
WINDOW_SIDE = blocks.smallest_input(FINE_NETWORK)  # 14 pixels
MIN_IMAGE_SIDE = blocks.smallest_input([*COARSE_NETWORK, TOP])  # 23 pixels
# All convolutions are applied once a call: normalisations have one step.
ONCE = dict(step=0)


@keras.saving.register_keras_serializable(package="keras_edram")
class TopLayers(layers.Layer):
    """g: what maps say, and which of their places could change how sure it is.

    A convolution with a rectifier, the largest of each of its maps, and a
    dense layer give the logits z. With p = softmax(z) and H = -Σ p log p, the
    gradient `∂H / ∂z = -p (log p + H)` goes back the same way: to the places
    where the largest values are, and to all that the convolution sees there.

    Args:
        filters: Integer U, of the convolution.
        num_classes: Integer, K.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        maps: Tensor of shape `(B, h, w, F)`, coarse or refined, at least 4
            high and wide.
        with_saliency: Boolean, whether to return M, too.

    Returns:
        Logits `(B, K)`; or these and M_ij = ‖∂H / ∂c_ij‖, `(B, h, w)`, at least
        0, which has no gradient of its own.

    Raises:
        ValueError: For numbers that are no positive integers.

    Example:

    >>> layer = TopLayers(filters=16, num_classes=3)
    >>> logits, saliency = layer(np.ones((2, 6, 5, 4)), with_saliency=True)
    >>> saliency.shape
    (2, 6, 5)
    """

    def __init__(self, filters, num_classes, **kwargs):
        super().__init__(**kwargs)
        self.filters = check_integer(filters, "filters")
        self.num_classes = check_integer(num_classes, "num_classes")
        self.convolution = layers.Conv2D(
            self.filters,
            TOP.size,
            TOP.strides,
            padding=TOP.padding,
            data_format="channels_last",
            activation="relu",
            kernel_initializer="he_normal",
            name="convolution",
            dtype=self.dtype_policy,
        )
        self.answer = layers.Dense(
            self.num_classes, name="answer", dtype=self.dtype_policy
        )

    def build(self, maps_shape):
        self.convolution.build(maps_shape)
        self.answer.build((None, self.filters))
        self.built = True

    def call(self, maps, with_saliency=False):
        seen = self.convolution(maps)  # (B, h', w', U)
        largest = ops.max(seen, axis=(1, 2), keepdims=True)  # (B, 1, 1, U)
        logits = self.answer(largest[:, 0, 0])  # (B, K)
        if not with_saliency:
            return logits
        d_largest = ops.matmul(
            _entropy_gradient(logits), ops.transpose(self._answer_weights())
        )  # (B, U)
        is_largest = ops.cast(
            ops.logical_and(seen == largest, largest > 0), seen.dtype
        )
        # Of several that are as large, each has its share.
        number = ops.sum(is_largest, axis=(1, 2), keepdims=True)
        shares = is_largest / ops.maximum(number, 1)
        d_maps = ops.conv_transpose(
            shares * d_largest[:, None, None],
            self.convolution.kernel,
            strides=TOP.strides,
            padding=TOP.padding,
            data_format="channels_last",
        )
        saliency = ops.sqrt(
            ops.sum(ops.square(ops.stop_gradient(d_maps)), axis=-1)
        )
        # Places that the strides leave out at the end change nothing.
        left_out = [
            (0, side - covered)
            for side, covered in zip(
                maps.shape[1:3], saliency.shape[1:], strict=True
            )
        ]
        return logits, ops.pad(saliency, [(0, 0), *left_out])  # (B, h, w)

    def _answer_weights(self):
        """W `(U, K)`, also where they are kept in 8 bits."""
        units = ops.convert_to_tensor(np.eye(self.filters, dtype="float32"))
        units = ops.cast(units, self.compute_dtype)
        return self.answer(units) - self.answer(ops.zeros_like(units))

    def get_config(self):
        config = super().get_config()
        config.update(filters=self.filters, num_classes=self.num_classes)
        return config


def _entropy_gradient(logits):
    """∂H / ∂z: `(B, K)` -> `(B, K)`."""
    log_p = ops.log_softmax(logits, axis=-1)
    p = ops.exp(log_p)
    entropy = -ops.sum(p * log_p, axis=-1, keepdims=True)  # H, (B, 1)
    return -p * (log_p + entropy)


@keras.saving.register_keras_serializable(package="keras_edram")
class DCN(BaseModel):
    """Classifies by a coarse look at the whole image and k fine ones.

    The fine look is taken where the entropy of the coarse answer changes most
    with what is there, `M_ij = ‖∂H / ∂c_ij‖`, and its vectors stand in the
    place of the coarse ones:

        p(y|x) = softmax(g(r)),  r_ij = f_f(x_ij) in the k places, else c_ij

    It learns by the loss of its labels, and by the hint, which keeps coarse
    vectors near to the fine ones that replace them: a mean over the images of
    a batch, whatever weights these have.

    Args:
        image_shape: `(height, width, channels)`, at least 23 pixels high and
            wide. Defaults to `(100, 100, 1)`.
        num_classes: Integer, K. Defaults to 10.
        class_names: Strings, the names of the K classes; by default their
            numbers.
        num_glimpses: Integer k, the fine looks, at most as many as there are
            places. Defaults to 8.
        coarse_filters: Two integers, of the coarse convolutions. Defaults to
            `(12, 24)`.
        fine_filters: Five integers, of the fine convolutions, the last as that
            of `coarse_filters`. Defaults to `(24, 24, 24, 24, 24)`.
        top_filters: Integer, of the convolution of both. Defaults to 96.
        hint_weight: Float λ of at least 0. Defaults to 0.01.
        **kwargs: `terminal` and `temperature`, see `BaseModel`, and arguments
            of `keras.Model`.

    Call arguments:
        images: Tensor of shape `(B, H, W, C)`, uint8 or float in [0, 255].
        training: Boolean.

    Returns:
        A dictionary of float32 tensors: `labels`, logits of shape
        `(B, 1, 1, K)`, the one answer after all looks, and `transforms`
        `(B, 1, N, 2, 3)`, the windows of the fine looks, the most salient
        first.

    Raises:
        ValueError: For sizes that are none or do not fit each other, an image
            that is too small, or more looks than places.

    Example:

    >>> model = DCN(image_shape=(40, 30, 1), num_glimpses=3)
    >>> model.predict(np.zeros((2, 40, 30, 1)))["transforms"].shape
    (2, 1, 3, 2, 3)

    Reference:
        - Almahairi et al., "Dynamic Capacity Networks", 2016, sections 2 and
          4.1.
    """

    answers_once = True
    glimpse_size = (WINDOW_SIDE, WINDOW_SIDE)

    def __init__(
        self,
        image_shape=(100, 100, 1),
        num_classes=10,
        *,
        class_names=None,
        num_glimpses=8,
        coarse_filters=COARSE_FILTERS,
        fine_filters=FINE_FILTERS,
        top_filters=TOP.filters,
        hint_weight=0.01,
        **kwargs,
    ):
        # The dtype policy must not touch where to look.
        super().__init__(
            image_shape, num_classes, class_names, autocast=False, **kwargs
        )
        self._take_one_size(MIN_IMAGE_SIDE)
        self.map_size = tuple(
            (side - COARSE_FIELD) // COARSE_STRIDE + 1
            for side in self.image_shape[:2]
        )
        self.glimpses_per_target = self._check_glimpses(
            num_glimpses, "num_glimpses"
        )
        self.coarse_filters = check_integers(
            coarse_filters, len(COARSE_NETWORK), "coarse_filters"
        )
        self.fine_filters = check_integers(
            fine_filters, len(FINE_NETWORK), "fine_filters"
        )
        if self.fine_filters[-1] != self.coarse_filters[-1]:
            raise ValueError(
                "Fine vectors stand in the place of coarse ones: the last "
                "filters of both must be as many. Received: "
                f"coarse_filters={self.coarse_filters}, "
                f"fine_filters={self.fine_filters}"
            )
        self.top_filters = check_integer(top_filters, "top_filters")
        self.hint_weight = check_number(hint_weight, "hint_weight")
        self._make_layers()
        self.build((None, *self.image_shape))

    def _check_glimpses(self, number, name):
        return check_integer(number, name, 1, math.prod(self.map_size))

    def _make_layers(self):
        self.rescaling = layers.Rescaling(
            1 / 255, name="rescaling", dtype="float32"
        )
        self.coarse_convolutions = blocks.rectified_convolutions(
            "coarse",
            blocks.with_filters(COARSE_NETWORK, self.coarse_filters),
            1,
            "he_normal",
            "float32",
        )
        self.fine_convolutions = blocks.rectified_convolutions(
            "fine",
            blocks.with_filters(FINE_NETWORK, self.fine_filters),
            1,
            "he_normal",
            self.dtype_policy,
        )
        self.pooling = blocks.pooling("pooling", dtype=self.dtype_policy)
        self.top = TopLayers(
            self.top_filters, self.num_classes, name="top", dtype="float32"
        )

    def build(self, images_shape):
        if self.built:
            return
        self.rescaling.build(images_shape)
        self.top.build(blocks.build_stack(self._coarse_stack(), images_shape))
        blocks.build_stack(
            self._fine_stack(), (None, *self.glimpse_size, images_shape[-1])
        )
        self.built = True

    def _coarse_stack(self):
        return blocks.stack(COARSE_NETWORK, self.coarse_convolutions, None)

    def _fine_stack(self):
        return blocks.stack(FINE_NETWORK, self.fine_convolutions, self.pooling)

    def look(
        self, images, glimpses_per_target, training=False, with_patches=False
    ):
        number = self._check_glimpses(
            glimpses_per_target, "glimpses_per_target"
        )
        images = self.rescaling(images)
        coarse, _ = blocks.call_stack(
            self._coarse_stack(), images, training=training, **ONCE
        )  # c, (B, h, w, F)
        indices = self.most_salient(coarse, number)  # X, (B, N)
        windows = take_rows(self.windows_of_places(), indices)  # (B, N, 2, 3)
        patches = self.patches_of(images, windows)  # x_ij, (B, N, g, g, C)
        fine = self.see(patches, training)  # f_ij, (B, N, F)
        refined, hint = self.refine(coarse, fine, indices)
        if training:
            # In the type of the other losses.
            hint = ops.cast(hint, keras.config.floatx())
            self.add_loss(self.hint_weight * hint)
        logits = self.top(refined)  # (B, K)
        looks = {
            "labels": logits[:, None, None],  # (B, 1, 1, K)
            "transforms": windows[:, None],  # (B, 1, N, 2, 3)
        }
        if with_patches:
            looks["patches"] = patches[:, None]  # (B, 1, N, g, g, C)
        return looks

    def most_salient(self, maps, number):
        """X: the places `(B, N)` of the largest saliency, counted by rows."""
        _, saliency = self.top(maps, with_saliency=True)
        saliency = ops.reshape(
            saliency, (-1, math.prod(self.map_size))
        )  # (B, h w)
        return ops.cast(ops.top_k(saliency, number)[1], "int32")

    def windows_of_places(self):
        """The window of each place, row by row: tensor `(h w, 2, 3)`."""
        places = np.indices(self.map_size).reshape(2, -1)  # (2, h w)
        # The middle of the pixels from `first` on, of place 0.
        first = COARSE_FIELD // 2 - WINDOW_SIDE // 2
        middle = first + (WINDOW_SIDE - 1) / 2
        pixels = COARSE_STRIDE * places[::-1].T + middle  # x and y, (h w, 2)
        size = self.image_shape[:2]
        points = geometry.pixels_to_points(pixels, size)  # (h w, 2)
        return geometry.windows_around(points, self.glimpse_size, size)

    def patches_of(self, images, windows):
        """x_ij: patches of N windows of each image.

        Args:
            images: Tensor of shape `(B, H, W, C)`.
            windows: Tensor of shape `(B, N, 2, 3)`.

        Returns:
            Float32 tensor of shape `(B, N, g, g, C)`.
        """
        number = windows.shape[1]
        height, width = self.image_shape[:2]
        windows = geometry.windows_in_pixels(
            windows, np.array([[width], [height]], "float32")
        )
        points = ops.reshape(
            geometry.sampling_grid(windows, self.glimpse_size),
            (-1, number, 2, WINDOW_SIDE**2),
        )  # (B, N, 2, g g)
        # Each window is read as if it were another level of the pyramid.
        levels = np.zeros((1, number), "int32")
        patches = read_points(image_pyramid(images, 1), points, levels)
        return ops.reshape(
            patches, (-1, number, *self.glimpse_size, self.image_shape[-1])
        )  # (B, N, g, g, C)

    def see(self, patches, training=False):
        """f_ij: fine vectors, `(B, N, g, g, C)` -> float32 `(B, N, F)`."""
        number, *shape = patches.shape[1:]
        vectors, _ = blocks.call_stack(
            self._fine_stack(),
            ops.reshape(patches, (-1, *shape)),  # (B N, g, g, C)
            training=training,
            **ONCE,
        )  # (B N, 1, 1, F)
        vectors = ops.cast(vectors, "float32")
        shape = (-1, number, self.fine_filters[-1])
        return ops.reshape(vectors, shape)  # (B, N, F)

    def refine(self, coarse, fine, indices):
        """r, and the hint of the coarse vectors that were replaced.

        Args:
            coarse: c, tensor of shape `(B, h, w, F)`.
            fine: f, tensor of shape `(B, N, F)`.
            indices: Integer tensor of shape `(B, N)`, the places X.

        Returns:
            Tensor of shape `(B, h, w, F)`, and `Σ_X ‖c_ij - f_ij‖²`, the mean
            of all images, which teaches only what c is made from.
        """
        places, features = math.prod(self.map_size), coarse.shape[-1]
        vectors = ops.reshape(coarse, (-1, places, features))  # (B, h w, F)
        chosen = ops.one_hot(indices, places, dtype="float32")  # (B, N, h w)
        replaced = ops.matmul(chosen, vectors)  # (B, N, F)
        hint = ops.square(replaced - ops.stop_gradient(fine))
        hint = ops.mean(ops.sum(hint, axis=(1, 2)))
        kept = 1.0 - ops.sum(chosen, axis=1)[..., None]  # (B, h w, 1)
        chosen = ops.transpose(chosen, (0, 2, 1))  # (B, h w, N)
        refined = kept * vectors + ops.matmul(chosen, fine)
        shape = (-1, *self.map_size, features)
        return ops.reshape(refined, shape), hint  # (B, h, w, F)

    def get_config(self):
        config = super().get_config()
        config.update(
            num_glimpses=self.num_glimpses,
            coarse_filters=list(self.coarse_filters),
            fine_filters=list(self.fine_filters),
            top_filters=self.top_filters,
            hint_weight=self.hint_weight,
        )
        return config
