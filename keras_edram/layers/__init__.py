"""The reusable layers, one public class a file."""

from keras_edram.layers.spatial_transformer_attention import (
    SpatialTransformerAttention,
)
from keras_edram.layers.stepwise_batch_normalization import (
    StepwiseBatchNormalization,
)

__all__ = ["SpatialTransformerAttention", "StepwiseBatchNormalization"]
