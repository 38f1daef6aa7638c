"""EDRAM at the full widths of the paper on 100x100 cluttered MNIST.

Paper     Ablavatski et al., 2017, section 4.1, Table 1: 0.6 % test error, on
          digits that it trained on (see `keras_edram.datasets`).
Protocol  held_out: all MNIST digits, 8 distractors, test digits never trained
          on, the model chosen on a twelfth of the training digits.
Command   keras-edram train cluttered_mnist_edram_base --source tfds --out RUN
Duration  about 6 hours on 2 CPU cores for 600,000 images; meant for a GPU
Expected  below the 1.2 % of `cluttered_mnist_edram_small`
Measured  not run to its end yet

Ours: as `cluttered_mnist_edram_small`, at a lower learning rate.
"""

from keras_edram.models.edram import EDRAM
from keras_edram.recipes import _edram
from keras_edram.training import Recipe

recipe = Recipe(
    summary="EDRAM, full widths, on 100x100 cluttered MNIST",
    published="0.6 % (Table 1; training digits in the test images)",
    settings=dict(
        # Data
        protocol="held_out",
        batch_size=64,
        epochs=75,
        steps_per_epoch=125,
        validation_steps=40,
        test_images=10_000,
        seed=0,
        # Model
        glimpses_per_target=6,
        # Loss
        alpha_what=1.0,
        alpha_where=10.0,
        # Optimiser
        learning_rate=1e-3,
        weight_decay=4e-3,
        warmup_steps=100,
    ),
    data=_edram.data,
    model=lambda settings, data: EDRAM(
        glimpses_per_target=settings["glimpses_per_target"]
    ),
    compile=_edram.compile_with_cosine_adamw,
)
