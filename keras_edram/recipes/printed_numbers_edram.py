"""EDRAM reads printed numbers with marks: meters, labels, prices, dates.

Paper     none: section 4.2 of Ablavatski et al., 2017, reads house numbers.
Protocol  `keras_edram.datasets.printed_numbers`: up to eight digits and marks,
          cut out with a little around them; the designs of fonts of training,
          validation and test are apart, and so are the grounds. What fonts
          there are depends on the machine: ours were those that matplotlib and
          Debian's packages bring.
Command   keras-edram train printed_numbers_edram --out RUN
Duration  not known yet
Expected  at least 97 % of the numbers right, in faces that it never saw
Measured  not run yet

Fonts alone teach it, so that the weights are free of the terms of any pictures.
A picture is stretched to 40x128 whatever its aspect, as `predict` does with
what was cut out.
"""

from keras_edram.datasets import printed_numbers
from keras_edram.recipes import Row, Table, _edram
from keras_edram.training import Recipe


def _data(settings, split, source):
    return printed_numbers(
        split,
        fonts=settings["fonts"] or None,
        marks=settings["marks"],
        image_size=(settings["image_height"], settings["image_width"]),
        num_digits=settings["num_digits"],
        empty=settings["empty"],
        reading_order=settings["reading_order"],
        # The images of validation and test are the same for all trainings.
        seed=settings["seed"] if split == "train" else 0,
    )


RECIPE = Recipe(
    summary="EDRAM, a quarter of the widths, on printed numbers with marks",
    settings=dict(
        # Data; the system's fonts if no folder is given
        fonts="",
        marks=".-/",
        image_height=40,
        image_width=128,
        num_digits=(1, 8),
        empty=0.05,
        reading_order="forward",
        batch_size=64,
        epochs=80,
        steps_per_epoch=125,
        validation_steps=24,
        test_images=5_000,
        seed=0,
        **_edram.READER,
    ),
    data=_data,
    model=_edram.model,
    compile=_edram.compile_reader,
    sources=("drawn",),
)
TABLE = Table(
    _edram.PAPER,
    _edram.PRINTED,
    {
        "printed_numbers_edram": Row(
            RECIPE, model="EDRAM, a quarter, 2 glimpses a character, 26x26"
        )
    },
)
