"""The report's Table 3, and our bests: RAM on cluttered MNIST.

Paper     Jatakia, Rane, Rao, Table 3: 82.01 % accuracy at most, with up to 60
          distractors and digits cut off. Elsewhere RAM has 4.0 to 5.2 % error
          on 60x60 with 4 distractors, and 8.1 % on 100x100 with 8.
Protocol  held_out: 4 or 8 distractors, test images of MNIST's test digits, the
          model chosen on a twelfth of the training digits.
Command   keras-edram train cluttered_mnist_60_ram --source tfds --out RUN
Duration  about 30 minutes on 2 CPU cores for `cluttered_mnist_60_ram`, 45 for
          `cluttered_mnist_100_ram`
Expected  at most 4 % error on 60x60; 8 % on 100x100 elsewhere, which ours
          has not reached
Measured  results/cluttered_mnist_60_*.json, cluttered_mnist_100_ram.json

On 60x60 a location network of 128 hidden units and a deviation that fell from
0.3 to 0.05 had 2.48 % validation error (2.34 without, which was chosen) and
2.61 % of test, and the training error was no lower than 2.4: noise is not what
it lacks.

On 100x100 the blurred view of the first glimpse reads two digits of three, so
that the policy has little to learn from. In trials on validation images, with
a schedule of 24 epochs, a deviation of 0.2 had 33 % error after 256,000 images
and never found the digit (23 % and 23 pixels off it after 576,000); 0.35 had
26 % after 256,000, 19 pixels off and coming closer. The whole schedule ends at
11.1 % on test images, and 11.3 % on the paths that are drawn in training: what
it sees through so much noise does not suffice. Ten more epochs at 0.15 from
there, begun at a rate of 1e-3, had 14.8 % after three and were given up.
"""

from keras_edram.recipes import Table, _ram
from keras_edram.recipes._ram import Model

TITLE = "Table 3: cluttered MNIST, 60x60"
_models = {
    **_ram.baselines("cluttered_mnist_60", 42.5, 54.9),
    **_ram.looks_on_60("cluttered_mnist_60", 77.5, 82.01),
    "cluttered_mnist_60_ram": Model(
        "RAM, convolution, 8 glimpses, 3 scales (ours)",
        None,
        dict(
            _ram.CONVOLUTIONAL,
            num_glimpses=8,
            glimpse_size=12,
            num_scales=3,
            location_deviation=0.3,
            epochs=36,
        ),
    ),
    "cluttered_mnist_100_ram": Model(
        "RAM, convolution, 8 glimpses, 4 scales, on 100x100 (ours)",
        None,
        dict(
            _ram.CONVOLUTIONAL,
            num_glimpses=8,
            glimpse_size=12,
            num_scales=4,
            location_deviation=0.35,
            epochs=56,
            image_size=100,
            num_distractors=8,
        ),
    ),
}
TABLE = Table(
    _ram.PAPER,
    TITLE,
    _ram.rows(TITLE, _models, _ram.cluttered, image_size=60, num_distractors=4),
)
