"""Each recipe can be trained; its full training is too long for a test."""

import sys

import numpy as np
import pytest
from PIL import Image

from keras_edram import recipes
from keras_edram.datasets import cifar10


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch):
    """Noise for CIFAR-10, which is not on every machine."""
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (100, 32, 32, 3), "uint8")
    module = sys.modules[cifar10.__module__]
    monkeypatch.setattr(
        module, "read_tfds", lambda name, split: (pictures, np.arange(100) % 10)
    )


@pytest.fixture
def pictures(tmp_path):
    """A folder of two pictures of up to two objects, all of them in a split."""
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for index in range(2):
            picture = Image.new("RGB", (50, 30), (90 * index, 0, 200))
            picture.save(tmp_path / split / f"{index}.png")
        (tmp_path / split / "annotations.csv").write_text(
            "file,label,xmin,ymin,xmax,ymax\n0.png,7,5,5,15,25\n"
            "1.png,7,5,5,15,25\n1.png,3,20,5,30,25\n"
        )
    return tmp_path


# SVHN's need the original archives, see `datasets/test_svhn_numbers.py`.
@pytest.mark.parametrize(
    "name", [name for name in recipes.names() if "svhn" not in name]
)
def test_the_model_of_a_recipe_reads_its_data(name, pictures):
    recipe = recipes.load(name)
    source = recipe.sources[0] if recipe.sources else pictures
    data = recipe.data(recipe.settings, "test", source)
    model = recipe.model(recipe.settings, data)
    images, targets = data.arrays(2)
    assert images.shape[1:] == model.image_shape
    outputs, S = model(images), data.num_targets
    looks = recipe.settings.get("glimpses_per_target")  # EDRAM answers each
    answers, looks = looks or 1, looks or recipe.settings.get("num_glimpses", 1)
    assert outputs["labels"].shape == (2, S, answers, data.num_classes)
    assert outputs["transforms"].shape == (2, S, looks, 2, 3)
    assert targets["transforms"].shape == (2, S, 2, 3)


@pytest.mark.parametrize(
    "name",
    [
        "mnist_dense",
        pytest.param("translated_mnist_ram", marks=pytest.mark.slow),
        pytest.param("cifar10_inception_4_glimpses", marks=pytest.mark.slow),
        # No windows to learn from: the loss of the labels reaches all.
        pytest.param("cifar10_edram", marks=pytest.mark.slow),
    ],
)
def test_a_recipe_trains(name):
    recipe = recipes.load(name)
    settings = recipe.settings
    data = recipe.data(settings, "train", recipe.sources[0])
    model = recipe.model(settings, data)
    recipe.compile(model, settings, False)
    before = [weight.numpy().copy() for weight in model.trainable_weights]
    model.fit(data.dataset(4, num_batches=3), verbose=0, shuffle=False)
    changed = [
        (weight.numpy() != old).any()
        for weight, old in zip(model.trainable_weights, before, strict=True)
    ]
    assert all(changed)


def test_only_training_images_are_augmented():
    recipe = recipes.load("mnist_ram")
    splits = {
        split: recipe.data(recipe.settings, split, "bundled")
        for split in ("train", "validation", "test")
    }
    shifts = {split: data.max_shift for split, data in splits.items()}
    assert shifts == {"train": 1, "validation": 0, "test": 0}


def test_the_tables_of_the_report_have_its_figures():
    table = recipes.table("ram")
    # Jatakia, Rane, Rao, Tables 1 to 5: the best RAM of each.
    for row in (
        "| RAM, 8 glimpses, 1 scale | 94.21% |",
        "| RAM, 8 glimpses, 3 scales | 88.63% |",
        "| RAM, 8 glimpses, 3 scales | 82.01% |",
        "| RAM, 8 glimpses, 3 scales | 20.67% |",
        "| RAM with Inception and ConvLSTM, 8 glimpses | 25.37% |",
    ):
        assert row in table
    with pytest.raises(ValueError, match="Received: paper='none'"):
        recipes.table("none")


@pytest.mark.parametrize("name", sorted(recipes.names()))
def test_averaged_paths_are_of_the_recipe_and_of_ten(name):
    drawn = recipes.results(name, "rollouts")
    if drawn is None:
        pytest.skip("only the mean policy was evaluated")
    assert drawn["recipe"] == name
    assert drawn["split"] == "test"
    assert drawn["rollouts"] == 10
    assert drawn["images"] == recipes.results(name)["images"] == 10_000
    # The same images, read by one path of means.
    assert drawn["error"] < recipes.results(name)["error"]


@pytest.mark.parametrize("reader", ["forward", "backward", "ensemble"])
def test_house_numbers_were_read_as_the_table_says(reader):
    name = f"house_numbers_edram_{reader}"
    crops, no_boxes = (recipes.results(name, v) for v in ("crops", "no_boxes"))
    assert crops["crops"] == 10 and crops["settings"]["image_size"] == 64
    assert crops["settings"]["base"] == "objects"
    assert no_boxes["crops"] is None
    assert no_boxes["settings"]["base"] == "picture"
    for figures in (recipes.results(name), crops, no_boxes):
        # The pictures 3600.png to 4500.png, read by the recipe as it is.
        assert figures["images"] == 901
        recipe = recipes.load(figures["recipe"])
        for setting in ("epochs", "training_base", "jitter", "weight_decay"):
            assert figures["settings"][setting] == recipe.settings[setting]


def test_curves_end_where_the_results_say():
    curves = recipes.curves("ram")
    assert "translated_mnist_ram" in curves
    for name, curve in curves.items():
        figures = recipes.results(name)
        assert curve[-1][0] == figures["images_seen"]
        best = min(error for _, error in curve)
        assert best == pytest.approx(figures["validation_error"])
    assert not set(curves) & set(recipes.curves("edram"))


def test_an_unknown_recipe_is_refused():
    with pytest.raises(ValueError, match="Received: recipe='none'"):
        recipes.load("none")


def test_a_recipe_of_a_folder_can_be_told_how_to_read_it(tmp_path):
    recipe = recipes.load("house_numbers_edram_forward")
    for split, number in (("train", 2), ("valid", 1), ("test", 1)):
        (tmp_path / split).mkdir()
        rows = ["file,label,xmin,ymin,xmax,ymax"]
        for index in range(number):
            name = f"{split}{index}"
            pixels = np.full((30, 40), 9 * index + ord(split[1]), "uint8")
            Image.fromarray(pixels).save(tmp_path / split / f"{name}.png")
            rows += [f"{name}.png,{i},{2 + 9 * i},2,{9 + 9 * i},9"
                     for i in range(1 + index)]  # fmt: skip
            (tmp_path / split / f"{name}.txt").write_text("0 .5 .5 .5 .5")
        (tmp_path / split / "boxes.csv").write_text("\n".join(rows))
    (tmp_path / "classes.txt").write_text("digit")

    def data(**settings):
        settings = recipe.with_settings(settings).settings
        return recipe.data(settings, "train", str(tmp_path))

    with pytest.raises(ValueError, match="--set annotation_format=NAME"):
        data()
    assert data(annotation_format="yolo").class_names == ("digit",)
    table = dict(annotation_format="csv")
    assert data(**table).num_targets == 3
    with pytest.raises(
        ValueError, match="--set skip_broken.* 2 objects, 1 are"
    ):
        data(max_objects="1", **table)
    with pytest.warns(UserWarning, match="files left out: 1"):
        few = data(max_objects="1", skip_broken="True", **table)
    assert few.num_targets == 2 and few.num_pictures == 1
    # Older runs have settings without these.
    (tmp_path / "classes.txt").unlink()
    for text in tmp_path.rglob("*.txt"):
        text.unlink()
    new = ("annotation_format", "max_objects", "skip_broken")
    old = {k: v for k, v in recipe.settings.items() if k not in new}
    assert recipe.data(old, "train", str(tmp_path)).num_targets == 3
