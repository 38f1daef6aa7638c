"""The models: a paper is a file that reads like the paper."""

from keras_edram.models.baselines import Baseline
from keras_edram.models.dcn import DCN
from keras_edram.models.dram import DRAM
from keras_edram.models.edram import EDRAM
from keras_edram.models.ensemble import Ensemble
from keras_edram.models.ram import RAM

__all__ = ["DCN", "DRAM", "EDRAM", "RAM", "Baseline", "Ensemble"]
