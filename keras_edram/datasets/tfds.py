"""Data sets of labelled images through TensorFlow Datasets."""


def read_tfds(name, split, otherwise=""):
    """All images and labels of a split, through TensorFlow Datasets.

    Args:
        name: String, the name of a data set of labelled images there.
        split: String, a split of it.
        otherwise: String, what else the user could do if it cannot be had, to
            end the error's message.

    Returns:
        `(images, labels)`: uint8 of shape `(n, h, w, C)`, int64 of shape
        `(n,)`.

    Raises:
        RuntimeError: If TensorFlow Datasets has it not and cannot get it, or
            is not installed as it should be.
    """
    try:
        import tensorflow_datasets as tfds  # slow to import

        builder = tfds.builder(name)
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f"All of {name} comes through TensorFlow Datasets, which needs "
            f'{error.name}: pip install "keras-edram[tfds]"{otherwise}'
        ) from error
    except Exception as error:  # beside an older protobuf it is half there
        raise RuntimeError(
            f"TensorFlow Datasets cannot be used here ({error}), most often "
            "because tensorflow-metadata is too new for protobuf, which must "
            'stay as TensorFlow needs it: pip install "tensorflow-metadata'
            f'<1.18" where protobuf is 5{otherwise}'
        ) from error
    try:
        builder.download_and_prepare()
    except Exception as error:  # whatever its download libraries raise
        raise RuntimeError(
            f"TensorFlow Datasets has no {name} in {builder.data_dir} and "
            f"could not download it ({error}). Set TFDS_DATA_DIR to a folder "
            f"that has it{otherwise}."
        ) from error
    examples = tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))
    return examples["image"], examples["label"]


def part_of_split(images, labels, split, validation_fraction):
    """What belongs to a split, of a stored training or test part.

    Args:
        images: Array of n images: the stored test part for `"test"`, the
            stored training part otherwise.
        labels: Array of n labels.
        split: `"train"`, `"validation"` or `"test"`.
        validation_fraction: Float, the part of the training images at the end
            that is set apart for `"validation"`.

    Returns:
        `(images, labels)` of the split.
    """
    first_validation = round(len(images) * (1 - validation_fraction))
    part = {
        "train": slice(0, first_validation),
        "validation": slice(first_validation, None),
        "test": slice(None),
    }[split]
    return images[part], labels[part]
