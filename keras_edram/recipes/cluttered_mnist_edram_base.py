"""EDRAM at the full widths of the paper on 100x100 cluttered MNIST.

Paper     Ablavatski et al., 2017, section 4.1, Table 1: 0.6 % test error, on
          digits that it trained on (see `keras_edram.datasets`).
Protocol  held_out: all MNIST digits, 8 distractors, test digits never trained
          on, the model chosen on a twelfth of the training digits.
Command   keras-edram train cluttered_mnist_edram_base --source tfds --out RUN
Duration  4 minutes beside four other trainings on an H100, by Keras on JAX;
          about 6 hours on 2 CPU cores, 600,000 images
Expected  below the 0.94 % of `cluttered_mnist_edram_small`
Measured  results/cluttered_mnist_edram_base.json beside this file

Ours: as `cluttered_mnist_edram_small`, at a lower learning rate.
"""

from keras_edram.recipes import Row, Table, _edram

recipe = _edram.one_digit(
    "EDRAM, full widths, on 100x100 cluttered MNIST",
    learning_rate=1e-3,
    **_edram.FULL_SIZES,
)
TABLE = Table(
    _edram.PAPER,
    _edram.ONE_DIGIT,
    {
        "cluttered_mnist_edram_base": Row(
            recipe, _edram.ONE_DIGIT_ERROR, "EDRAM, 6 glimpses, 26x26"
        )
    },
)
