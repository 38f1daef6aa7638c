"""EDRAM on large cluttered MNIST: finds a digit and reads it where it is.

Paper     none: Ablavatski et al., 2017, have 100x100 pixels at most.
Protocol  held_out: all MNIST digits, 8 distractors on each 100x100 pixels,
          test digits never trained on, the model chosen on a twelfth of the
          training digits, on 400x400.
Command   keras-edram train cluttered_mnist_edram_large --source tfds --out RUN
Duration  about two hours on 2 CPU cores, 480,000 images, by the time of a
          step: it was not run so, but in three trainings of 111 minutes
Expected  at most 2 % test error on 400x400
Measured  1.26 % on 400x400, overlap 0.908, by the three, of 480,000,
          112,000 and 112,000 images, each begun with the weights of the one
          before. The first had `--set context_size=256`, and ended at 3.18 %;
          the second `--set seed=10 --set epochs=7
          --set keep_statistics_from=2 --set learning_rate=0.0025`: 1.46 %; the
          third `--set seed=20 --set epochs=7 --set keep_statistics_from=0
          --set learning_rate=0.002 --set training_sizes=100,200,400,800`.
          results/cluttered_mnist_edram_large.json beside this file; other
          sizes by `keras-edram evaluate RUN --set image_size=200`

Batches of 100x100 to 800x800 in turn, for a model that takes images of any
size. The context network sees the image at 512x512 and chooses the first
window, which is taught as all others; each further one is said by its change.
"""

from keras_edram import callbacks
from keras_edram.datasets import InTurn, cluttered_mnist
from keras_edram.recipes import Row, Table, _edram
from keras_edram.training import Recipe


def _data(settings, split, source):
    sizes = settings["training_sizes"] if split == "train" else ()
    sequences = [
        cluttered_mnist(
            split,
            source=source,
            protocol=settings["protocol"],
            image_size=size,
            density=settings["density"],
            # Images of one size have other digits than those of the next;
            # those of validation and test are the same, whatever the seed.
            seed=settings["seed"] + index if sizes else 0,
        )
        for index, size in enumerate(sizes or (settings["image_size"],))
    ]
    return (
        InTurn(sequences, run_length=settings["batch_size"])
        if sizes
        else sequences[0]
    )


RECIPE = Recipe(
    summary="EDRAM on 100x100 to 800x800 cluttered MNIST, images of any size",
    settings=dict(
        # Data; `image_size` of validation and test images
        protocol="held_out",
        density=8.0,
        training_sizes=(100, 800, 400, 200, 800, 400),
        image_size=400,
        batch_size=64,
        epochs=30,
        steps_per_epoch=250,
        validation_steps=20,
        test_images=5_000,
        seed=0,
        # Model
        **_edram.SEARCHING_SIZES,
        glimpses_per_target=4,
        context_size=512,
        context_halvings=4,
        # Loss
        alpha_what=1.0,
        alpha_where=1.0,
        relative_windows=True,
        # Optimiser
        learning_rate=4e-3,
        weight_decay=4e-3,
        warmup_steps=100,
        keep_statistics_from=20,
    ),
    data=_data,
    model=_edram.model_of_any_size,
    compile=_edram.compile_with_cosine_adamw,
    callbacks=lambda settings: [
        callbacks.KeepStatistics(settings["keep_statistics_from"])
    ],
)
TABLE = Table(
    _edram.PAPER,
    _edram.LARGE,
    {
        "cluttered_mnist_edram_large": Row(
            RECIPE, model="EDRAM that searches, 4 glimpses, 26x26"
        )
    },
)
