"""EDRAM reads printed numbers with marks: meters, labels, prices, dates.

Paper     none: section 4.2 of Ablavatski et al., 2017, reads house numbers.
Protocol  `keras_edram.datasets.printed_numbers`: up to eight digits and marks,
          cut out with a little around them; the designs of fonts of training,
          validation and test are apart, and so are the grounds. What fonts
          there are depends on the machine: ours were those of 412 packages of
          Debian, in a folder.
Command   keras-edram train printed_numbers_edram --mixed-precision \\
              --set fonts=debian_fonts --out RUN
Duration  about an hour on 2 CPU cores that compute in bfloat16
Expected  at least 94 % of the numbers right, in faces that it never saw; 97 %
          was the aim
Measured  results/printed_numbers_edram.json beside this file; the card of the
          preset `edram_small_printed_numbers` says which fonts, and compares

Fonts alone teach it, so that the weights are free of the terms of any pictures.
A picture is stretched to 40x128 whatever its aspect, as `predict` does with
what was cut out.

Tried before, each given up after some epochs of 8,000 images: one glimpse a
character whose first sees the whole image, the default, had a validation error
of 83 % after four epochs and 32 % after 27 (this: 76 after three, 20 after 14);
changes of windows (`relative_emission`, `relative_windows`) 96 % after four.
Two glimpses a character, the first of the whole image, were no sooner there by
images in two epochs, which took twice the time.
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
        epochs=70,
        steps_per_epoch=125,
        validation_steps=24,
        test_images=5_000,
        seed=0,
        **_edram.SEARCHING_READER,
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
            RECIPE, model="EDRAM, a quarter, 1 glimpse a character, 26x26"
        )
    },
)
