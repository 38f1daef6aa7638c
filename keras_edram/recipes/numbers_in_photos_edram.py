"""EDRAM finds numbers in photographs, and reads them where they are.

Paper     none: section 4.2 of Ablavatski et al., 2017, reads numbers that were
          cut out.
Protocol  `keras_edram.datasets.numbers_in_photos`: numbers of 1 to 4 digits,
          6 to 35 % as wide as a photograph of 640x480, a tenth of them without;
          grounds, fonts and digits of training, validation and test are apart.
Command   pip install "keras_edram[photos]"
          keras-edram train numbers_in_photos_edram --out RUN
Duration  about two hours on 2 CPU cores, 512,000 images
Expected  at least half of the numbers right
Measured  not run to its end yet

Numbers are written in fonts, so that the weights are free of the terms of any
pictures; `--set crops=DIGITS_FILE` makes half of them of SVHN's digits. The
model takes grey images of any size. Its first window is chosen by the context
network and is to be twice as large as the first digit, likewise the first at
each further digit; what is seen is standardised glimpse by glimpse.
"""

from keras_edram.datasets import numbers_in_photos
from keras_edram.recipes import Row, Table, _edram
from keras_edram.training import Recipe


def _data(settings, split, source):
    return numbers_in_photos(
        split,
        crops=settings["crops"] or None,
        image_size=(settings["image_height"], settings["image_width"]),
        empty=settings["empty"],
        seed=settings["seed"],
    )


RECIPE = Recipe(
    summary="EDRAM on numbers in photographs of 640x480, images of any size",
    settings=dict(
        # Data
        crops="",
        image_height=480,
        image_width=640,
        empty=0.1,
        batch_size=64,
        epochs=40,
        steps_per_epoch=200,
        validation_steps=12,
        test_images=2_000,
        seed=0,
        # Model
        **_edram.SEARCHING_SIZES,
        glimpses_per_target=2,
        context_size=192,
        standardize="patches",
        # Loss
        alpha_what=1.0,
        alpha_where=1.0,
        relative_windows=True,
        enlarged_windows=(2.0, 1.0),
        # Optimiser
        learning_rate=3e-3,
        weight_decay=4e-3,
        warmup_steps=200,
    ),
    data=_data,
    model=_edram.model_of_any_size,
    compile=_edram.compile_reader,
    sources=("drawn",),
)
TABLE = Table(
    _edram.PAPER,
    _edram.LARGE,
    {
        "numbers_in_photos_edram": Row(
            RECIPE,
            model="EDRAM that searches, 2 glimpses a digit, 26x26",
        )
    },
)
