"""The report's Table 4: RAM on grey CIFAR-10.

Paper     Jatakia, Rane, Rao, Table 4: 20.67 % accuracy at most.
Protocol  CIFAR-10's test pictures as luma; the model chosen on a tenth of the
          training pictures, which are shifted and mirrored.
Command   keras-edram train cifar10_grey_ram_8_glimpses --out RUN
Duration  about 10 minutes on 2 CPU cores
Expected  at least 42 % of the command's, 43 % with 4 glimpses, 39 % of
          `cifar10_grey_dense`, 54 % of `cifar10_grey_convolution`
Measured  results/cifar10_grey_*.json beside this file
"""

from keras_edram.datasets import cifar10
from keras_edram.recipes import Table, _ram
from keras_edram.recipes._ram import Model

TITLE = "Table 4: CIFAR-10, grey"
_models = {
    **_ram.baselines("cifar10_grey", 41.4, 55.35),
    **{
        f"cifar10_grey_ram_{number}_glimpses": Model(
            f"RAM, {number} glimpses, 3 scales",
            accuracy,
            dict(
                _ram.DENSE,
                num_glimpses=number,
                glimpse_size=12,
                num_scales=3,
            ),
        )
        for number, accuracy in ((4, 15.45), (8, 20.67))
    },
}


def _data(settings, split, source):
    return cifar10(
        split,
        colour=False,
        seed=settings["seed"],
        **_ram.augmentation(settings, split),
    )


TABLE = Table(
    _ram.PAPER,
    TITLE,
    _ram.rows(
        TITLE,
        _models,
        _data,
        sources=("tfds",),
        image_size=32,
        max_shift=4,
        mirror=True,
    ),
)
