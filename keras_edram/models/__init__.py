"""The models: a paper is a file that reads like the paper."""

from keras_edram.models.edram import EDRAM

__all__ = ["EDRAM"]
