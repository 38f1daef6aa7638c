"""The models: a paper is a file that reads like the paper."""

from keras_edram.models.baselines import Baseline
from keras_edram.models.dcn import DCN
from keras_edram.models.dram import DRAM
from keras_edram.models.draw import DRAW
from keras_edram.models.edram import EDRAM
from keras_edram.models.ensemble import Ensemble
from keras_edram.models.multi_digit_cnn import MultiDigitCNN
from keras_edram.models.ram import RAM
from keras_edram.models.rnn_spn import RNNSPN
from keras_edram.models.st_cnn import STCNN

__all__ = [
    "DCN",
    "DRAM",
    "DRAW",
    "EDRAM",
    "RAM",
    "RNNSPN",
    "STCNN",
    "Baseline",
    "Ensemble",
    "MultiDigitCNN",
]
