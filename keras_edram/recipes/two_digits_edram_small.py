"""EDRAM reads the two digits of a cluttered image, from left to right.

Paper     Ablavatski et al., 2017, section 4.2, reads sequences in SVHN; this
          is the same on synthetic images, a quick test of it.
Protocol  held_out: 100x100, 8 distractors, test images of MNIST's test digits,
          the model chosen on a twelfth of the training digits.
Command   keras-edram train two_digits_edram_small --source tfds --out RUN
          (--set num_digits=2,3 for two or three digits)
Duration  39 minutes on 2 CPU cores
Expected  both digits and the end right on at least 95 % of the test images
Measured  96.0 % of 10,000 test images, mean overlap of the windows 0.897:
          results/two_digits_edram_small.json beside this file
"""

import dataclasses

from keras_edram.datasets import cluttered_mnist
from keras_edram.recipes import Row, Table, _edram


def _data(settings, split, source):
    return cluttered_mnist(
        split,
        source=source,
        protocol=settings["protocol"],
        num_digits=settings["num_digits"],
        reading_order=settings["reading_order"],
        seed=settings["seed"],
    )


recipe = dataclasses.replace(
    _edram.one_digit(
        "EDRAM, a quarter of the widths, on two digits in 100x100",
        num_digits=(2, 2),
        reading_order="forward",
        epochs=60,
        glimpses_per_target=3,
    ),
    data=_data,
    compile=_edram.compile_reader,
)
TABLE = Table(
    _edram.PAPER,
    _edram.SEQUENCES,
    {
        "two_digits_edram_small": Row(
            recipe,
            model="EDRAM, a quarter, 3 glimpses a digit, 26x26; two digits in "
            "100x100",
        )
    },
)
