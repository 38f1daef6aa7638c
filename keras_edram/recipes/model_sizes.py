"""What the models of the EDRAM paper's Table 3 cost, at their papers' sizes.

Paper     Ablavatski et al., 2017, Table 3, models for SVHN's house numbers.
Protocol  none: nothing is trained, so all of SVHN is not needed. Parameters and
          multiply-adds are counted, see `keras_edram.costs`.
Command   python tests/benchmarks/model_sizes.py
Duration  a minute
Expected  as many parameters as in the paper, within 5 %
Measured  results/*_size.json beside this file. Of the CNN the header of
          `keras_edram.models.multi_digit_cnn` says why it has fewer.

Each model is as its class makes it, on the images of its paper: 54x54, 64x64
for ST-CNN, in colour, grey for EDRAM; numbers of five digits and the end.
"""

from keras_edram import recipes
from keras_edram.models.dram import DRAM
from keras_edram.models.edram import EDRAM
from keras_edram.models.ensemble import Ensemble
from keras_edram.models.multi_digit_cnn import MultiDigitCNN
from keras_edram.models.st_cnn import STCNN
from keras_edram.recipes import Row, Table, _edram


def _edram_model(order):
    settings = recipes.load(f"svhn_edram_paper_{order}").settings
    names = ("glimpse_size", "glimpses_per_target", "valid_convolutions")
    return EDRAM(
        (54, 54, 1),
        num_classes=11,
        terminal=True,
        num_targets=6,
        reading_order=order,
        **{name: settings[name] for name in names},
    )


def _dram_model(order):
    return DRAM((54, 54, 3), num_classes=11, num_targets=6, reading_order=order)


def _both(make):
    return Ensemble([make("forward"), make("backward")])


MODELS = {
    "cnn_size": lambda: MultiDigitCNN((54, 54, 3)),
    "dram_size": lambda: _dram_model("forward"),
    "dram_ensemble_size": lambda: _both(_dram_model),
    "st_cnn_single_size": lambda: STCNN(transformers="single"),
    "st_cnn_multi_size": lambda: STCNN(transformers="multi"),
    "edram_size": lambda: _edram_model("forward"),
    "edram_ensemble_size": lambda: _both(_edram_model),
}
TABLE = Table(
    _edram.PAPER,
    "Table 3: parameters at the papers' sizes, house numbers",
    {
        "cnn_size": Row(None, "51 million", "CNN of 10 layers; we count 11"),
        "dram_size": Row(None, "14 million", "DRAM, single model"),
        "dram_ensemble_size": Row(None, "28 million", "DRAM, both orders"),
        "st_cnn_single_size": Row(None, "33 million", "ST-CNN, single"),
        "st_cnn_multi_size": Row(None, "37 million", "ST-CNN, multi"),
        "edram_size": Row(None, "11 million", "EDRAM, single model"),
        "edram_ensemble_size": Row(None, "22 million", "EDRAM, both orders"),
    },
)
