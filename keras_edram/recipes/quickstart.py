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

from keras_edram.models.edram import EDRAM
from keras_edram.recipes import _edram
from keras_edram.training import Recipe

recipe = Recipe(
    summary="EDRAM, a quarter of the widths, 4 glimpses, bundled digits",
    published="-",
    settings=dict(
        # Data
        protocol="held_out",
        batch_size=64,
        epochs=12,
        steps_per_epoch=125,
        validation_steps=16,
        test_images=1_000,
        seed=0,
        # Model
        glimpses_per_target=4,
        # Loss
        alpha_what=1.0,
        alpha_where=10.0,
        # Optimiser
        learning_rate=5e-3,
        weight_decay=4e-3,
        warmup_steps=100,
    ),
    data=_edram.data,
    model=lambda settings, data: EDRAM(
        glimpses_per_target=settings["glimpses_per_target"],
        **_edram.SMALL_SIZES,
    ),
    compile=_edram.compile_with_cosine_adamw,
)
