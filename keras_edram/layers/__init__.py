"""The reusable layers, one public class a file."""

from keras_edram.layers.conv_lstm_core import ConvLSTMCore
from keras_edram.layers.gaussian_attention import GaussianAttention
from keras_edram.layers.locally_connected import LocallyConnected2D
from keras_edram.layers.retina_glimpse import RetinaGlimpse
from keras_edram.layers.spatial_softmax import SpatialSoftmax
from keras_edram.layers.spatial_transformer_attention import (
    SpatialTransformerAttention,
)
from keras_edram.layers.stepwise_batch_normalization import (
    StepwiseBatchNormalization,
)

__all__ = [
    "ConvLSTMCore",
    "GaussianAttention",
    "LocallyConnected2D",
    "RetinaGlimpse",
    "SpatialSoftmax",
    "SpatialTransformerAttention",
    "StepwiseBatchNormalization",
]
