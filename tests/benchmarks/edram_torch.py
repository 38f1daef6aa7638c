"""EDRAM in plain PyTorch, to measure `keras_edram.EDRAM` against.

The same network with one target, operation by operation and with the same
names: it takes the weights of the Keras model and then gives the same losses.
Convolutions run in PyTorch's "channels last" layout, its fastest on a CPU.

Letters in shapes: B batch, T glimpses, C channels, g glimpse side, U units, K
classes.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

MOMENTUM, EPSILON = 0.01, 1e-3  # Keras' 0.99 is PyTorch's 0.01
BETA = ((1.0, 0.5, 1.0), (0.5, 1.0, 1.0))  # of Eq. 9


class StepwiseBatchNorm(nn.Module):
    """Batch normalisation whose statistics are kept apart for each step."""

    def __init__(self, num_steps, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        shape = (num_steps, channels)
        self.register_buffer("running_mean", torch.zeros(shape))
        self.register_buffer("running_var", torch.ones(shape))

    def forward(self, inputs, step):
        return F.batch_norm(
            inputs,
            self.running_mean[step],
            self.running_var[step],
            self.weight,
            self.bias,
            self.training,
            MOMENTUM,
            EPSILON,
        )


class Rectified(nn.Module):
    """relu(bn(layer(inputs))), the batch normalisation kept by step."""

    def __init__(self, layer, num_steps):
        super().__init__()
        self.layer = layer
        self.normalization = StepwiseBatchNorm(num_steps, len(layer.weight))

    def forward(self, inputs, step):
        outputs = self.normalization(self.layer(inputs), step)
        return F.relu(outputs, inplace=True)


class EDRAM(nn.Module):
    """Looks at an image in a few glimpses; the arguments are Keras EDRAM's."""

    def __init__(
        self,
        num_classes=10,
        num_glimpses=6,
        image_size=100,
        glimpse_size=26,
        context_size=12,
        context_filters=(16, 16, 32),
        glimpse_filters=(64, 64, 128, 128, 160, 192),
        units=512,
        hidden_units=1024,
    ):
        super().__init__()
        self.num_glimpses = num_glimpses
        self.image_size = image_size
        self.glimpse_size = glimpse_size
        self.context_size = context_size

        def rectified(layer):
            return Rectified(layer, num_glimpses)

        # Context network
        inputs = (1, *context_filters[:-1])
        self.context_layers = nn.Sequential()
        for channels, filters, size in zip(
            inputs, context_filters, (5, 3, 3), strict=True
        ):
            self.context_layers.append(
                nn.Conv2d(channels, filters, size, bias=False)
            )
            self.context_layers.append(
                nn.BatchNorm2d(filters, EPSILON, MOMENTUM)
            )
        # Glimpse network
        inputs = (1, *glimpse_filters[:-1])
        self.glimpse_convolutions = nn.ModuleList(
            rectified(
                nn.Conv2d(channels, filters, 3, padding=padding, bias=False)
            )
            for channels, filters, padding in zip(
                inputs, glimpse_filters, (1, 0, 1, 1, 1, 0), strict=True
            )
        )
        side = ((glimpse_size - 2) // 2) // 2 - 2
        features = glimpse_filters[-1] * side * side
        self.what = rectified(nn.Linear(features, hidden_units, bias=False))
        self.where = rectified(nn.Linear(6, hidden_units, bias=False))
        # Recurrent network
        self.what_lstm = _lstm_cell(hidden_units, units)
        self.where_lstm = _lstm_cell(units, units)
        # Classification and emission network
        self.classification_layers = nn.ModuleList(
            rectified(nn.Linear(inputs, hidden_units, bias=False))
            for inputs in (units, hidden_units)
        )
        self.classification_output = nn.Linear(hidden_units, num_classes)
        self.emission = nn.Linear(units, 6)
        self.to(memory_format=torch.channels_last)

    def load_keras_weights(self, arrays):
        """Takes `{(layer, weight): array}`, by the names of the Keras model."""
        context = self.context_layers
        layers = {
            **{f"context_{i}": context[2 * i : 2 * i + 2] for i in range(3)},
            **{f"glimpse_{i}": self.glimpse_convolutions[i] for i in range(6)},
            **{
                f"classification_{i}": self.classification_layers[i]
                for i in range(2)
            },
            "what": self.what,
            "where": self.where,
            "what_lstm": self.what_lstm,
            "where_lstm": self.where_lstm,
            "classification_output": self.classification_output,
            "emission": self.emission,
        }
        weights = ("kernel", "recurrent_kernel", "gamma", "beta", "bias")
        arrays = dict(arrays)
        for name, layer in layers.items():
            # PyTorch keeps the weights of each layer in the same order.
            ours = [w for w in weights if (name, w) in arrays]
            for weight, parameter in zip(ours, layer.parameters(), strict=True):
                array = torch.from_numpy(arrays.pop((name, weight)))
                if array.ndim == 4:  # height, width, inputs, outputs
                    array = array.permute(3, 2, 0, 1)
                elif array.ndim == 2:
                    array = array.T
                assert array.shape == parameter.shape
                parameter.data.copy_(array)
        assert not arrays, arrays.keys()

    def context_network(self, images):
        levels = 1 + math.ceil(math.log2(self.image_size / self.context_size))
        context = read_windows(
            image_pyramid(images, levels),
            _identity(images),
            self.context_size,
        )
        return _flatten(self.context_layers(context))

    def glimpse_network(self, patches, transforms, step):
        features = patches
        for index, convolution in enumerate(self.glimpse_convolutions):
            features = convolution(features, step)
            if index in (1, 3):
                features = F.max_pool2d(features, 2)
        what = self.what(_flatten(features), step)
        return what * self.where(transforms.flatten(1), step)

    def classification_network(self, features, step):
        for dense in self.classification_layers:
            features = dense(features, step)
        return self.classification_output(features)

    def emission_network(self, features):
        theta = self.emission(features).view(-1, 2, 3)
        zoom = torch.eye(2, 3, dtype=torch.bool)
        return torch.where(zoom, torch.sigmoid(theta), torch.tanh(theta))

    def forward(self, images):
        """`(B, 1, H, W)` -> logits `(B, T, K)`, windows `(B, T, 2, 3)`."""
        images = images.float() / 255
        context = self.context_network(images)
        zeros = torch.zeros_like(context)
        what, where = (zeros, zeros), (context, zeros)
        transforms = _identity(images)
        levels = 1 + math.ceil(math.log2(self.image_size / self.glimpse_size))
        pyramid = image_pyramid(images, levels)
        logits, windows = [], []
        for step in range(self.num_glimpses):
            windows.append(transforms)
            transforms = transforms.detach()
            patches = read_windows(pyramid, transforms, self.glimpse_size)
            glimpse = self.glimpse_network(patches, transforms, step)
            what = self.what_lstm(glimpse, what)
            where = self.where_lstm(what[0], where)
            logits.append(self.classification_network(what[0], step))
            transforms = self.emission_network(where[0])
        return torch.stack(logits, 1), torch.stack(windows, 1)


def loss(logits, windows, labels, true_transforms):
    """Eq. 6 for one target: `(B,)` labels, `(B, 2, 3)` true windows."""
    labels = labels[:, None].expand(logits.shape[:2])
    label_loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    squares = (windows - true_transforms[:, None]) ** 2
    return label_loss + (squares * torch.tensor(BETA)).sum((-2, -1)).mean()


def image_pyramid(images, num_levels):
    """Halves images again and again, each pixel the mean of four."""
    levels = [images]
    for _ in range(num_levels - 1):
        levels.append(
            F.avg_pool2d(levels[-1], 2, ceil_mode=True, count_include_pad=False)
        )
    return levels


def read_windows(pyramid, transforms, size):
    """Bilinear reads of the two levels next to the window's step, blended."""
    batch, channels, height, width = pyramid[0].shape
    shape = (batch, channels, size, size)
    grid = F.affine_grid(transforms, shape, align_corners=False)
    sides = torch.tensor([[width], [height]]) / size
    step = ((transforms[..., :2] * sides) ** 2).sum(-2).amax(-1)  # a square
    coarsest = len(pyramid) - 1
    detail = torch.log2(step.clamp(1, 4**coarsest)) / 2  # (B,)
    patches = 0
    for level, image in enumerate(pyramid):
        # A level of an odd one reaches beyond its edge by half a pixel.
        covered = torch.tensor([image.shape[3], image.shape[2]]) * 2**level
        points = (grid + 1) * (torch.tensor([width, height]) / covered) - 1
        weight = F.relu(1 - (detail - level).abs())[:, None, None, None]
        patches = patches + weight * F.grid_sample(
            image, points, align_corners=False
        )
    return patches.contiguous(memory_format=torch.channels_last)


def _identity(images):
    return torch.eye(2, 3).expand(images.shape[0], 2, 3)


def _flatten(features):
    # In the order of memory, which is Keras' order too.
    return features.permute(0, 2, 3, 1).flatten(1)


def _lstm_cell(inputs, units):
    """An LSTM cell with one bias, as Keras' and the papers'; PyTorch has two.

    The other one stays zero.
    """
    cell = nn.LSTMCell(inputs, units)
    del cell.bias_hh
    cell.register_buffer("bias_hh", torch.zeros(4 * units), persistent=False)
    return cell
