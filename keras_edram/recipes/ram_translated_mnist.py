"""The report's Table 2, and our best: RAM on translated MNIST.

Paper     Jatakia, Rane, Rao, Table 2: 88.63 % accuracy at most. Elsewhere RAM
          of 8 glimpses of 12x12 at 3 scales has 1.2 to 1.8 % error.
Protocol  Digits somewhere on an empty canvas of 60x60; test images of MNIST's
          test digits, the model chosen on a twelfth of the training digits.
Command   keras-edram train translated_mnist_ram --source tfds --out RUN
Duration  about 25 minutes on 2 CPU cores for `translated_mnist_ram`
Expected  at most 1.6 % error of `translated_mnist_ram`
Measured  results/translated_mnist_*.json beside this file
"""

from keras_edram.recipes import Table, _ram
from keras_edram.recipes._ram import Model

TITLE = "Table 2: translated MNIST, 60x60"
_models = {
    **_ram.baselines("translated_mnist", 70.62, 81.2),
    **_ram.looks_on_60("translated_mnist", 85.17, 88.63),
    "translated_mnist_ram": Model(
        "RAM, convolution, 8 glimpses, 3 scales (ours)",
        None,
        dict(
            _ram.CONVOLUTIONAL,
            num_glimpses=8,
            glimpse_size=12,
            num_scales=3,
            location_deviation=0.3,
            epochs=22,
        ),
    ),
}
TABLE = Table(
    _ram.PAPER,
    TITLE,
    _ram.rows(TITLE, _models, _ram.cluttered, image_size=60, num_distractors=0),
)
