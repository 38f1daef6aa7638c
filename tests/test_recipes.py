"""Each recipe can be trained; its full training is too long for a test."""

import ast
import importlib
import itertools
import pathlib
import re
import sys

import numpy as np
import pytest
from PIL import Image

from keras_edram import cli, files, recipes, run_folder, training
from keras_edram.datasets import DistortedImages, cifar10
from keras_edram.models.edram import SMALL_SIZES
from keras_edram.recipes import (
    _tables,
    cluttered_mnist_edram_wide,
    house_numbers,
    model_sizes,
)


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
    size = model.image_shape
    assert images.shape[1:] == size or model.takes_any_size
    outputs, S = model(images), data.num_targets
    settings = recipe.settings
    looks = settings.get("num_glimpses", settings.get("glimpses_per_target", 1))
    answers = (2, S, model.answers_per_target, data.num_classes)
    assert outputs["labels"].shape == answers
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


def test_dram_sees_small_clean_canvases_before_those_of_the_recipe():
    recipe = recipes.load("two_digits_dram").with_settings(
        dict(epochs="5", steps_per_epoch="2", batch_size="4", easy_epochs="2")
    )
    splits = {
        split: recipe.data(recipe.settings, split, "bundled")
        for split in ("train", "validation", "test")
    }
    # 2 epochs of 2 steps are easy.
    batches = list(splits["train"].dataset(4, num_batches=10))
    sides = [images.shape[1] for images, _ in batches]
    assert sides == 4 * [60] + 6 * [100]
    # The second part has other images than the third.
    assert not np.array_equal(batches[4][0], batches[8][0])
    for split in ("validation", "test"):
        images, targets = splits[split].arrays(8)
        assert images.shape == (8, 100, 100, 1)
        assert (targets["labels"][:, :2] < 10).all()
    model = recipe.model(recipe.settings, splits["train"])
    assert model.takes_any_size


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


@pytest.mark.parametrize(
    "name", [n for n in recipes.names() if recipes.results(n, "rollouts")]
)
def test_averaged_paths_are_of_the_recipe_and_of_ten(name):
    drawn = recipes.results(name, "rollouts")
    assert drawn["recipe"] == name
    assert drawn["split"] == "test"
    assert drawn["rollouts"] == 10
    assert drawn["images"] == recipes.results(name)["images"]
    # The same images, read by one path of means.
    assert drawn["error"] < recipes.results(name)["error"]


# What the commands of their files and cards set otherwise than the recipes do.
SET_BY_COMMAND = {
    "cluttered_mnist_edram_large": (
        *("training_sizes", "epochs", "seed"),
        *("learning_rate", "keep_statistics_from"),
    ),
    "house_numbers_edram_backward": ("drawn", "fonts"),
    "house_numbers_edram_forward": ("drawn", "fonts"),
    "numbers_in_photos_edram": (
        *("epochs", "seed", "learning_rate", "keep_statistics_from"),
    ),
    "printed_numbers_edram": ("fonts",),
}


def test_figures_are_of_what_the_recipes_train():
    for name in recipes.names():
        found, recipe = recipes.results(name), recipes.load(name)
        if not found:
            continue
        # Settings that came later are of no effect as they are.
        was = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in found["settings"].items()
        }
        changed = {
            key
            for key, value in recipe.settings.items()
            if was.get(key, value) != value
        }
        assert changed <= set(SET_BY_COMMAND.get(name, ())), name


@pytest.mark.parametrize("reader", ["forward", "backward", "ensemble"])
def test_house_numbers_were_read_as_the_table_says(reader):
    name = f"house_numbers_edram_{reader}"
    crops, no_boxes = (recipes.results(name, v) for v in ("crops", "no_boxes"))
    assert crops["crops"] == 10 and crops["settings"]["image_size"] == 64
    assert crops["multiply_adds"] == 10 * no_boxes["multiply_adds"]
    assert crops["settings"]["base"] == "objects"
    assert no_boxes["crops"] is None
    assert no_boxes["settings"]["base"] == "picture"
    for figures in (recipes.results(name), crops, no_boxes):
        # The pictures 3600.png to 4500.png, composed as the recipe does.
        assert figures["images"] == 901
        recipe = recipes.load(figures["recipe"])
        for setting in ("colour", "training_base", "jitter", "invert"):
            assert figures["settings"][setting] == recipe.settings[setting]


def test_house_numbers_were_read_in_grey_too():
    name = "house_numbers_edram_forward"
    found = [
        recipes.results(name, f"grey{kind}")
        for kind in ("", "_crops", "_no_boxes")
    ]
    for figures in found:
        assert figures["images"] == 901
        assert not figures["settings"]["colour"]
        # The recipe's file says so.
        assert f"{figures['error']:.2%}".replace("%", " %") in (
            pathlib.Path(house_numbers.__file__).read_text()
        )
    assert found[1]["crops"] == 10
    assert found[2]["settings"]["base"] == "picture"
    # Chosen by validation, not by these 901.
    assert (
        found[0]["validation_error"] > recipes.results(name)["validation_error"]
    )


def test_a_short_training_comes_as_far_as_the_file_says():
    name = "cluttered_mnist_edram_wide"
    found, recipe = recipes.results(name, "short"), recipes.load(name)
    changed = {
        key: value
        for key, value in found["settings"].items()
        if not np.array_equal(value, recipe.settings[key])
    }
    text = pathlib.Path(cluttered_mnist_edram_wide.__file__).read_text()
    assert "epochs" in changed
    assert all(f"--set {key}={changed[key]}" in text for key in changed)
    reached = next(
        images for images, error in found["validation_curve"] if error < 0.02
    )
    assert reached < found["images_seen"] < 150_000
    root = pathlib.Path(__file__).parents[1]
    readme = (root / "README.md").read_text()
    for figure in (
        f"{reached:,} images",
        f"{100 * found['error']:.2f} % of test",
    ):
        assert figure in text and figure in readme
    validation_error = 100 * found["validation_error"]
    assert f"at {validation_error:.2f} %" in text


def test_models_are_compared_at_equal_training():
    images_seen, models = recipes.costs("edram")
    assert "cluttered_mnist_edram_small" in models
    for name, points in models.items():
        assert name.startswith("cluttered_mnist")  # as Table 1 has it
        run = recipes.results(name)
        assert run["images_seen"] == images_seen
        expected = (run["multiply_adds"], run["error"])
        assert points[-1] == pytest.approx(expected)
    # EDRAM answers after each of six glimpses, at about the same cost each.
    multiply_adds, errors = zip(
        *models["cluttered_mnist_edram_small"], strict=True
    )
    assert len(errors) == 6 and errors[0] > 5 * errors[2] > 5 * errors[5]
    np.testing.assert_allclose(np.diff(multiply_adds), multiply_adds[0], 0.01)


@pytest.mark.parametrize("name", ["st_cnn_single_size", "edram_size"])
def test_models_of_the_papers_sizes_have_the_parameters_of_the_table(name):
    assert recipes.results(name)["parameters"] == (
        model_sizes.MODELS[name]().count_params()
    )


def test_the_papers_parameters_are_had_within_5_percent():
    """Ablavatski et al., 2017, Table 3."""
    assert set(model_sizes.MODELS) == set(model_sizes.TABLE.rows)
    for name, row in model_sizes.TABLE.rows.items():
        millions = recipes.results(name)["parameters"] / 1e6
        published = int(row.published.removesuffix(" million"))
        # Of the CNN the header of its file says why.
        within = name == "cnn_size" or abs(millions / published - 1) < 0.05
        assert within, name


def test_models_were_timed_together():
    """Each by the name of its recipe, in the file that the column is from."""
    timed = files.read_json(_tables.MILLISECONDS)["milliseconds"]
    assert set(timed) <= set(recipes.names())
    for name in ("cluttered_mnist_edram_small", "mnist_ram"):
        run = recipes.Run(name, recipes.Row(None), {})
        assert float(recipes.milliseconds(run)) == pytest.approx(
            timed[name]["median"], abs=0.051
        )
    assert recipes.milliseconds(recipes.Run("none", recipes.Row(None), {})) is (
        None
    )


def test_curves_end_where_the_results_say():
    for paper, title, run in (
        ("ram", "Table 2: translated MNIST, 60x60", "translated_mnist_ram"),
        ("edram", "Table 2: sequences, all of it right", "two_digits_dram"),
    ):
        curves = recipes.curves(paper)
        assert run in curves[title]
        for name, curve in itertools.chain(*map(dict.items, curves.values())):
            figures = recipes.results(name)
            # With those that the weights had seen with which it began.
            assert curve[-1][0] == figures["images_seen"]
            best = min(error for _, error in curve)
            assert best == pytest.approx(figures["validation_error"])


@pytest.mark.parametrize("paper", recipes.papers())
def test_what_was_not_run_stands_apart_from_figures(paper):
    lines = recipes.table(paper).splitlines()
    rows = {name for line in lines if line[:1] == "|" for name in named(line)}
    others = {name for line in lines if line[:1] == "-" for name in named(line)}
    assert rows and not rows & others
    assert bool(others) == ("Not run:" in lines)
    assert all(recipes.results(name) for name in rows)
    assert not any(recipes.results(name) for name in others)
    known = {name for name in recipes.names() if name in rows | others}
    ensembles = {name for name in rows | others if name.endswith("ensemble")}
    assert known | ensembles == rows | others
    # Each recipe is in the table of one paper.
    assert all(f"`{name}`" not in recipes.table(other)
               for other in recipes.papers() if other != paper
               for name in known)  # fmt: skip


def named(line):
    """The recipe that a line of a table or a list is of."""
    return [word.strip("`") for word in re.findall("`.*?`", line)]


def test_each_recipe_is_in_a_table():
    tables = "".join(recipes.table(paper) for paper in recipes.papers())
    for name in recipes.names():
        assert tables.count(f"`{name}`") == 1, name


def test_results_are_of_recipes_that_there_are():
    counted = {f"{name}.json" for name in model_sizes.MODELS}
    for path in _tables.RESULTS_FOLDER.glob("*.json"):
        if path.name in counted | {_tables.MILLISECONDS.name}:
            continue  # which are of no training
        figures = files.read_json(path)
        # Settings that there were are settings still.
        recipes.load(figures["recipe"]).with_settings(figures["settings"])


@pytest.mark.parametrize(
    "path",
    sorted(_tables.RESULTS_FOLDER.parent.glob("[!_]*.py")),
    ids=lambda path: path.stem,
)
def test_a_header_says_what_an_experiment_is_and_gives(path):
    header = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    said = re.findall(r"^([A-Z][a-z]+) +\S", header, re.MULTILINE)
    asked = ["Paper", "Protocol", "Command", "Duration", "Expected", "Measured"]
    assert [word for word in said if word in asked] == asked


TOY = """
import keras

from keras_edram.datasets import mnist
from keras_edram.losses import LabelLoss
from keras_edram.metrics import Accuracy
from keras_edram.models import Baseline
from keras_edram.recipes import Paper, Row, Table, images_seen
from keras_edram.training import Monitor, Recipe

PAPER = Paper(
    "toy",
    "Nobody, A toy, 2026",
    {
        "recipe": lambda run: f"`{run.name}`",
        "ours": lambda run: f"{run.figures['error']:.0%}",
        "never": lambda run: None,
        "images seen": images_seen,
    },
)
recipe = Recipe(
    summary="A toy",
    settings=dict(batch_size=4, epochs=2, steps_per_epoch=1, test_images=8,
                  validation_steps=1, seed=0, units=2),
    data=lambda settings, split, source: mnist(split),
    model=lambda settings, data: Baseline(units=settings["units"]),
    compile=lambda model, settings, jit: model.compile(
        "sgd", loss={"labels": LabelLoss()}, metrics={"labels": [Accuracy()]}
    ),
    sources=("bundled",),
    monitor=Monitor("accuracy", mode="max"),
)
TABLE = Table(
    PAPER,
    "Table 1: toys",
    {"toy": Row(recipe), "large_toy": Row(recipe, "1 %", "Toy", "too large")},
)
"""


@pytest.fixture
def add_module(tmp_path, monkeypatch):
    """Adds modules of recipes as somebody would who puts a file there."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.setattr(recipes, "__path__", [*recipes.__path__, str(folder)])
    added = []

    def add(name, text):
        (folder / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        added.append(name)

    yield add
    for name in added:
        sys.modules.pop(f"{recipes.__name__}.{name}", None)
        vars(recipes).pop(name, None)


def test_a_paper_more_is_a_module_more(
    add_module, tmp_path, monkeypatch, capsys
):
    add_module("a_toy", TOY)
    assert list(recipes.papers()) == ["edram", "ram", "toy"]
    results = training.train(
        recipes.load("toy"), tmp_path / "run", name="toy", verbose=0
    )
    history = run_folder.read_history(tmp_path / "run" / "history.csv")
    accuracies = [row["val_labels_accuracy"] for row in history]
    assert results["validation_accuracy"] == max(accuracies)
    assert "validation_error" not in results
    monkeypatch.setattr(_tables, "RESULTS_FOLDER", tmp_path)
    files.write_json(tmp_path / "toy.json", results)
    curve = [[4, accuracies[0]], [8, accuracies[1]]]
    assert recipes.curves("toy") == {"Table 1: toys": {"toy": curve}}
    assert recipes.monitored("toy") == ["accuracy"]
    assert cli.main(["table", "toy", "--plot", str(tmp_path / "a.svg")]) == 0
    assert capsys.readouterr().out == (
        "**Table 1: toys**\n\n"
        "| recipe | ours | images seen |\n"
        "| --- | --- | --- |\n"
        f"| `toy` | {results['error']:.0%} | 8 |\n\n"
        "Not run:\n\n"
        "- `large_toy`: Toy; published: 1 %; too large\n"
    )
    # What it costs is counted, of the one of its models that was run.
    assert recipes.costs("toy")[0] == 8
    assert cli.main(["recipes"]) == 0
    assert "toy: Nobody, A toy, 2026" in capsys.readouterr().out


def test_names_of_papers_and_recipes_differ(add_module):
    add_module("a_toy", TOY)
    add_module("another_toy", TOY)
    with pytest.raises(
        ValueError, match="Received: .'large_toy', 'toy'. twice"
    ):
        recipes.names()
    add_module("another_toy", TOY.replace('toy": Row', 'toy_2": Row'))
    sys.modules.pop(f"{recipes.__name__}.another_toy")
    with pytest.raises(ValueError, match="both of name='toy'"):
        recipes.papers()


WIDTHS = {
    "quickstart": dict(
        units=64,
        context_filters=(4, 4, 4),
        glimpse_filters=(2, 2, 2, 2, 2, 2),
        hidden_units=8,
        glimpse_size=14,
    ),
    "cifar10_edram": dict(units=4, context_filters=(1, 1, 1), context_size=10),
    "mnist_ram": dict(units=64, hidden_units=8, convolution_filters=(2, 2)),
    "cifar10_inception_4_glimpses": dict(inception_filters=1, core_filters=2),
    "mnist_convolution": dict(units=64, filters=1, kernel_size=3),
    "cluttered_mnist_60_ram": dict(
        location_hidden_units=8, location_penalty=0.5
    ),
}


@pytest.mark.parametrize("name", WIDTHS)
def test_widths_are_settings(name):
    changes = {key: str(value) for key, value in WIDTHS[name].items()}
    recipe = recipes.load(name).with_settings(changes)
    data = recipe.data(recipe.settings, "test", recipe.sources[0])
    config = recipe.model(recipe.settings, data).get_config()
    for key, value in WIDTHS[name].items():
        assert np.all(np.equal(config[key], value)), key


@pytest.mark.parametrize("final", [0.1, 0])
def test_a_deviation_falls_in_training_if_it_is_set_to(final):
    recipe = recipes.load("mnist_ram").with_settings(
        dict(final_location_deviation=str(final), epochs=2, steps_per_epoch=4)
    )
    data = recipe.data(recipe.settings, "test", "bundled")
    deviation = recipe.model(recipe.settings, data).location_deviation
    if not final:
        assert deviation == recipe.settings["location_deviation"]
    else:
        # Half a cosine from 0.15 to 0.1 over eight steps.
        falling = [float(deviation(step)) for step in (0, 4, 8, 12)]
        assert falling == pytest.approx([0.15, 0.125, 0.1, 0.1])


def test_widths_that_do_not_fit_are_refused_in_a_line(tmp_path, capsys):
    out = tmp_path / "run"
    command = ["train", "quickstart", "--out", str(out), "--set", "units=64"]
    assert cli.main(command) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "units=64" in error
    assert not out.exists()


@pytest.mark.parametrize(
    "name, change, told",
    [
        (
            "cluttered_mnist_ram",
            "final_location_deviation=-0.1",
            "must be a finite number of at least 0",
        ),
        (
            "cluttered_mnist_ram",
            "location_deviation=0",
            "must be a finite number above",
        ),
        (
            "two_digits_dram",
            "easy_epochs=0",
            "must be an integer of at least 1",
        ),
        ("two_digits_dram", "epochs=12", "must be below `epochs`"),
    ],
    ids=str,
)
def test_what_is_no_setting_of_a_recipe_is_refused_in_a_line(
    name, change, told, tmp_path, capsys
):
    out = tmp_path / "run"
    command = ["train", name, "--out", str(out), "--set", change]
    assert cli.main(command) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and told in error
    assert not out.exists()


def test_the_small_sizes_have_one_home():
    recipe = recipes.load("cluttered_mnist_edram_small")
    assert recipe.settings.items() >= SMALL_SIZES.items()
    notebooks = pathlib.Path(__file__).parents[1] / "notebooks"
    for path in notebooks.glob("*.ipynb"):
        assert "glimpse_filters=" not in path.read_text(), path


def test_a_paper_that_there_is_not_is_refused_in_a_line(capsys):
    assert cli.main(["table", "none"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "one of ['edram', 'ram']" in error


def test_an_unknown_recipe_is_refused():
    with pytest.raises(ValueError, match="Received: recipe='none'"):
        recipes.load("none")


def test_some_training_house_numbers_are_drawn_in_fonts(tmp_path):
    for grey, split in ((50, "train"), (100, "validation"), (150, "test")):
        (tmp_path / split).mkdir()
        rows = ["file,label,xmin,ymin,xmax,ymax"]
        for index in range(5):  # 01, 23, 45, 67, 89, each on one grey
            pixels = np.full((30, 40), grey + index, "uint8")
            Image.fromarray(pixels).save(tmp_path / split / f"{index}.png")
            rows += [
                f"{index}.png,{2 * index + i},{2 + 9 * i},2,{9 + 9 * i},20"
                for i in range(2)
            ]
        (tmp_path / split / "boxes.csv").write_text("\n".join(rows))
    recipe = recipes.load("house_numbers_edram_backward").with_settings(
        dict(drawn="2", batch_size="8", jitter="0.0", invert="False")
    )

    def data(split):
        return recipe.data(recipe.settings, split, str(tmp_path))

    (images, targets), *_ = data("train").dataset(8, 1)
    is_drawn = np.ptp(images, axis=(1, 2, 3)) > 0
    assert is_drawn.tolist() == [False] * 6 + [True] * 2
    assert targets["labels"].shape == (8, 3)
    # From the last digit to the first: 1, 0 and so on of those of the folder.
    labels = np.asarray(targets["labels"])
    assert (labels[:6, 0] == labels[:6, 1] + 1).all()
    assert data("train").reading_order == "backward"
    for split in ("validation", "test"):
        assert not np.ptp(data(split).arrays(5)[0], axis=(1, 2, 3)).any()
    # Training images alone are distorted, and not where they stay as they are.
    assert isinstance(data("train"), DistortedImages)
    assert not isinstance(data("validation"), DistortedImages)
    plain = recipe.settings | {"image_size": None, "drawn": 0}
    plain = recipe.data(plain, "train", str(tmp_path))
    assert not isinstance(plain, DistortedImages)
    for wrong, words in (
        ({"drawn": 8}, "`drawn` must be .* from 0 to 7. Received: drawn=8"),
        ({"drawn": -1}, "`drawn` must be .* from 0 to 7. Received: drawn=-1"),
        ({"image_size": None}, "`drawn` must be 0 where"),
        ({"drawn": 0, "fonts": "fonts"}, "drawn=0, fonts='fonts'"),
    ):
        # Before any picture is read: there is none.
        with pytest.raises(ValueError, match=words):
            recipe.data(recipe.settings | wrong, "train", "none")
    with pytest.raises(ValueError, match="`base_size` .*Received: base_size=0"):
        wrong = recipe.settings | {"base_size": 0}
        recipe.data(wrong, "train", str(tmp_path))


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
