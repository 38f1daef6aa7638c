"""SVHN's house numbers as images of sequences of digits."""

import pathlib

from keras_edram.datasets.annotated.annotated_pictures import AnnotatedPictures
from keras_edram.datasets.annotated.annotations import AnnotatedPicture
from keras_edram.datasets.annotated.folder import hash_fraction
from keras_edram.datasets.digits import DIGIT_NAMES
from keras_edram.datasets.random_sequence import split_seed

# Of the pictures in "train" and "extra", the rest is for training: about 4,700
# of all 235,755.
VALIDATION_FRACTION = 0.02
# "There are between 1 and 5 digits in each image": one has six.
MAX_DIGITS = 5


def svhn(split, *, max_objects=MAX_DIGITS, seed=0, **options):
    """The house numbers of one split of SVHN, varied as the options say.

    As in the paper the training pictures are SVHN's "train" and "extra"
    together, as far as they are there; one in fifty, by its name, is set apart
    for `"validation"`. They come through TensorFlow Datasets from the original
    archives, see `keras_edram.datasets.svhn_numbers.SvhnNumbers`.

    Args:
        split: `"train"`, `"validation"` or `"test"`.
        max_objects: Integer, the most digits of a number; pictures with more
            are left out, but for tests, where they are an error. Defaults
            to 5.
        seed: Non-negative integer.
        **options: Arguments of `AnnotatedPictures`. The paper's are
            `image_size=54, margin=0, crop_fraction=54 / 64, colour=False`, and
            `random_crops=True` in training.

    Returns:
        `AnnotatedPictures`, of which there are no more in memory than what
        images need.

    Raises:
        ValueError: For an unknown split, damaged archives, or options that do
            not fit.
        RuntimeError: If the archives are not there, or TensorFlow Datasets.

    Example:

    >>> test = svhn("test", image_size=54, colour=False)
    >>> test.arrays(64)[0].shape
    (64, 54, 54, 1)

    Reference:
        - Netzer et al., "Reading Digits in Natural Images with Unsupervised
          Feature Learning", 2011.
        - Ablavatski et al., 2017, section 4.2.
    """
    try:
        from keras_edram.datasets.svhn_numbers import SvhnNumbers  # slow
    except (ImportError, AttributeError) as error:  # it may be half there
        raise RuntimeError(
            "SVHN comes through TensorFlow Datasets, which cannot be used "
            f'here ({error}): pip install "keras-edram[tfds]"'
        ) from error
    seed = split_seed(split, seed)
    builder = SvhnNumbers()
    builder.download_and_prepare()
    stored = ("test",) if split == "test" else ("train", "extra")
    return AnnotatedPictures(
        _pictures(
            builder, split, [s for s in stored if s in builder.info.splits]
        ),
        DIGIT_NAMES,
        max_objects=max_objects,
        skip_broken=split != "test",
        seed=seed,
        **options,
    )


def _pictures(builder, split, stored):
    """The pictures of a split, decoded one by one."""
    import tensorflow_datasets as tfds

    for part in stored:
        for example in tfds.as_numpy(builder.as_dataset(split=part)):
            name = f"{part}/{example['name'].decode()}"
            apart = hash_fraction(name) < VALIDATION_FRACTION
            if split != "test" and apart != (split == "validation"):
                continue
            objects = example["objects"]
            yield AnnotatedPicture(
                pathlib.Path(name),
                tuple(DIGIT_NAMES[label] for label in objects["label"]),
                objects["bbox"].astype("float64"),
                example["image"],
            )
