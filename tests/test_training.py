import dataclasses
import itertools
import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tiny
from PIL import Image

from keras_edram import (
    callbacks,
    evaluation,
    files,
    reading,
    recipes,
    run_folder,
    training,
)
from keras_edram.datasets import folder
from keras_edram.losses import LabelLoss, TransformLoss
from keras_edram.metrics import AverageError
from keras_edram.models import EDRAM, RAM, Baseline
from keras_edram.presets import opening


def weights(path):
    return keras.models.load_model(path, compile=False).get_weights()


def assert_same_weights(path_1, path_2):
    for one, other in zip(weights(path_1), weights(path_2), strict=True):
        np.testing.assert_array_equal(one, other)


class Killed(Exception):
    pass


def killed(*args, **kwargs):
    """In place of a method that gives the first images."""
    raise Killed


class KillAt(keras.callbacks.Callback):
    """Ends the training as a signal does: in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch and batch == 1:
            self.kill()

    def kill(self):
        raise Killed


def train(recipe, out, kill_at=None, callback=None, **options):
    """Trains; `callback()` makes a callback, as a recipe's own does."""
    made = [callback] if callback else []
    if kill_at is not None:
        made.append(lambda: KillAt(kill_at))
    recipe = dataclasses.replace(
        recipe, callbacks=lambda settings: [make() for make in made]
    )
    return training.train(recipe, out, name="tiny", verbose=0, **options)


def quick_recipe(optimizer=keras.optimizers.Adam, **settings):
    """A tiny recipe of a baseline, whose graph is made in no time."""

    def compile_baseline(model, settings, jit_compile):
        model.compile(
            optimizer(settings["learning_rate"]),
            loss={"labels": LabelLoss()},
            metrics={"labels": [AverageError()]},
        )

    return dataclasses.replace(
        tiny.recipe(**settings),
        model=lambda settings, data: Baseline(data.image_shape),
        compile=compile_baseline,
    )


def test_a_plateau_is_remembered_by_a_run_that_was_killed(tmp_path):
    recipe = quick_recipe(epochs=5, learning_rate=0.5)

    def plateau():
        # Nothing is ever good enough: the rate falls every second epoch.
        return keras.callbacks.ReduceLROnPlateau(
            "loss", factor=0.1, patience=2, min_delta=1e9
        )

    train(recipe, tmp_path / "whole", callback=plateau)
    with pytest.raises(Killed):
        train(recipe, tmp_path / "killed", kill_at=3, callback=plateau)
    train(recipe, tmp_path / "killed", callback=plateau)
    rates = [
        row["learning_rate"]
        for row in run_folder.read_history(tmp_path / "killed/history.csv")
    ]
    # The first epoch is the best so far, the second and third are waited for.
    np.testing.assert_allclose(rates, [0.5, 0.5, 0.5, 0.05, 0.05], rtol=1e-6)
    assert_same_weights(
        tmp_path / "whole/last.keras", tmp_path / "killed/last.keras"
    )


def test_a_policy_that_was_killed_draws_what_it_would_have_drawn(tmp_path):
    def ram(settings, data):
        return RAM(
            data.image_shape,
            glimpse_network="dense",
            glimpse_size=6,
            num_glimpses=2,
            units=4,
            hidden_units=4,
        )

    recipe = dataclasses.replace(quick_recipe(epochs=3), model=ram)
    train(recipe, tmp_path / "whole")
    with pytest.raises(Killed):
        train(recipe, tmp_path / "killed", kill_at=2)
    train(recipe, tmp_path / "killed")
    assert_same_weights(
        tmp_path / "whole/last.keras", tmp_path / "killed/last.keras"
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two epochs, with what `train` returned."""
    out = tmp_path_factory.mktemp("finished")
    return out, train(quick_recipe(epochs=2), out)


def test_the_run_folder_holds_what_its_description_says(finished):
    out, results = finished
    assert {path.name for path in out.iterdir()} == {
        "run.json",
        "history.csv",
        "last.keras",
        "best.keras",
        "model.keras",
        "tensorboard",
        "results.json",
    }
    assert results == files.read_json(out / "results.json")
    assert results["settings"]["epochs"] == 2
    history = run_folder.read_history(out / "history.csv")
    errors = [row["val_labels_error"] for row in history]
    assert results["validation_error"] == min(errors)
    assert results["best_epoch"] == 1 + errors.index(min(errors))


def test_the_best_model_is_calibrated_on_validation_images(finished):
    out, results = finished
    load = keras.models.load_model
    model = load(out / "model.keras", compile=False)
    assert model.temperature == results["temperature"] != 1
    # Never on those of the test.
    recipe = quick_recipe(epochs=2)
    data = recipe.data(recipe.settings, "validation", results["source"])
    size, steps = (
        recipe.settings[name] for name in ("batch_size", "validation_steps")
    )
    images, targets = data.arrays(size * steps)
    fitted = load(out / "best.keras", compile=False)
    looks = reading.look(fitted, images)
    evaluation.fit_temperature(fitted, looks, targets)
    assert fitted.temperature == model.temperature


def test_a_finished_run_is_not_trained_again(finished):
    out, results = finished
    before = (out / "last.keras").stat().st_mtime_ns
    assert train(quick_recipe(epochs=2), out) == results
    assert (out / "last.keras").stat().st_mtime_ns == before


def test_a_folder_with_another_run_is_refused(finished):
    out, _ = finished
    with pytest.raises(ValueError, match="Received: .*settings"):
        train(quick_recipe(epochs=3), out)


def test_a_run_goes_on_with_its_own_widths_only(tmp_path):
    def data(settings, split, source):
        data = tiny.data(settings, split, source)
        data.dataset = killed
        return data

    # Of a tuple JSON makes a list.
    settings = {**quick_recipe().settings, "units": 4, "filters": (1, 2)}
    recipe = dataclasses.replace(
        quick_recipe(), settings=settings, defaults=settings, data=data
    )
    other = {
        name: recipe.with_settings({name: value})
        for name, value in dict(units=8, filters=(1, 3)).items()
    }
    for _ in range(2):
        with pytest.raises(Killed):
            train(recipe, tmp_path)
    run = files.read_json(tmp_path / "run.json")
    assert run["settings"]["units"] == 4
    for name, changed in other.items():
        with pytest.raises(ValueError, match=rf"\['settings.{name}'\]"):
            train(changed, tmp_path)
    # A run of before there was such a setting has its default.
    del run["settings"]["units"]
    files.write_json(tmp_path / "run.json", run)
    with pytest.raises(Killed):
        train(recipe, tmp_path)
    with pytest.raises(ValueError, match=r"\['settings.units'\]"):
        train(other["units"], tmp_path)


def test_statistics_are_kept_from_an_epoch_on_and_the_weights_go_on():
    keras.utils.set_random_seed(0)
    model = EDRAM(**tiny.SIZES)
    model.compile("sgd", {"labels": LabelLoss(), "transforms": TransformLoss()})
    shape = (4, *model.image_shape)
    images = np.random.default_rng(0).uniform(0, 255, shape)
    windows = np.full((4, 1, 2, 3), 0.2, "float32")
    seen = []

    class See(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            layer = model.what.normalization
            seen.append([np.array(v) for v in (layer.moving_mean, layer.beta)])

    model.fit(
        images,
        dict(labels=np.zeros((4, 1), "int32"), transforms=windows),
        epochs=4,
        callbacks=[callbacks.KeepStatistics(2), See()],
        verbose=0,
    )
    moved = [
        [(after != before).any() for before, after in zip(*pair, strict=True)]
        for pair in itertools.pairwise(seen)
    ]
    assert moved == [[True, True], [False, True], [False, True]]
    assert not model.what.normalization.keeps_statistics


def test_statistics_are_learnt_again_after_a_training_was_interrupted():
    model = EDRAM(**tiny.SIZES)
    model.compile("sgd", {"labels": LabelLoss(), "transforms": TransformLoss()})
    images = np.random.default_rng(0).uniform(0, 255, (4, *model.image_shape))
    windows = np.full((4, 1, 2, 3), 0.2, "float32")
    truth = dict(labels=np.zeros((4, 1), "int32"), transforms=windows)

    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(
            images,
            truth,
            callbacks=[callbacks.KeepStatistics(0), Interrupt()],
            verbose=0,
        )
    mean = model.what.normalization.moving_mean
    before = np.array(mean)
    model.fit(images, truth, verbose=0)
    assert (np.array(mean) != before).any()


def test_what_is_monitored_is_a_metric_of_the_model(tmp_path):
    recipe = quick_recipe(epochs=1, steps_per_epoch=1)
    wrong = dataclasses.replace(recipe, monitor=training.Monitor("accuracy"))
    with pytest.raises(
        ValueError, match="one of .*'val_labels_error'.*metric='accuracy'"
    ):
        train(wrong, tmp_path)
    assert not (tmp_path / "last.keras").exists()
    wrong = dataclasses.replace(recipe, monitor=training.Monitor(mode="most"))
    with pytest.raises(ValueError, match="Received: monitor.mode='most'"):
        train(wrong, tmp_path)


def test_the_best_row_is_the_lowest_or_the_highest():
    rows = [{"val_labels_error": error} for error in (0.5, 0.25, 0.75)]
    assert training.Monitor().best(rows) is rows[1]
    assert training.Monitor(mode="max").best(rows) is rows[2]
    assert training.Monitor().best([]) is None


def test_a_training_that_diverges_says_so_and_keeps_the_last_good_model(
    tmp_path,
):
    recipe = quick_recipe(keras.optimizers.SGD, epochs=2, learning_rate=1e30)
    with pytest.raises(RuntimeError, match="diverged") as error:
        train(recipe, tmp_path)
    assert "last.keras" not in str(error.value)  # there is none
    assert not (tmp_path / "results.json").exists()
    assert not (tmp_path / "last.keras").exists()


def test_what_is_no_number_is_never_the_best(tmp_path):
    monitor = training.Monitor("error")
    rows = [
        {"epoch": epoch, monitor.column: value}
        for epoch, value in enumerate((np.nan, 0.3, 0.1, np.nan, 0.2))
    ]
    assert monitor.best(rows)["epoch"] == 2
    assert monitor.best(rows[:1]) is None
    model = Baseline((4, 4, 1), num_classes=2)
    checkpoint = callbacks.Checkpoint(
        tmp_path / "best.keras",
        monitor=monitor.column,
        mode="min",
        save_best_only=True,
    )
    checkpoint.set_model(model)
    written = []
    for row in rows:
        (tmp_path / "best.keras").unlink(missing_ok=True)
        logs = {"loss": 1.0, monitor.column: row[monitor.column]}
        checkpoint.on_epoch_end(row["epoch"], logs)
        written.append((tmp_path / "best.keras").exists())
    assert written == [False, True, True, False, False]


def test_settings_are_read_as_the_type_of_their_default():
    recipe = tiny.recipe().with_settings({"epochs": "7", "learning_rate": "1"})
    assert recipe.settings["epochs"] == 7
    assert recipe.settings["learning_rate"] == 1.0
    assert isinstance(recipe.settings["learning_rate"], float)


@pytest.mark.parametrize(
    "changes", [{"epoch": "7"}, {"epochs": "many"}, {"epochs": "1.5"}]
)
def test_a_wrong_setting_is_refused(changes):
    with pytest.raises(ValueError, match="Received: "):
        tiny.recipe().with_settings(changes)


def test_a_history_that_was_cut_short_loses_its_last_row_only(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("epoch,loss,error\n0,1.5,0.5\n1,1.2")
    assert run_folder.read_history(path) == [
        {"epoch": 0.0, "loss": 1.5, "error": 0.5}
    ]
    assert run_folder.read_history(tmp_path / "none.csv") == []


@pytest.mark.slow
def test_a_run_can_be_compiled_and_computed_in_less(tmp_path):
    results = training.train(
        tiny.recipe(epochs=2),
        tmp_path,
        jit=True,
        mixed_precision=True,
        verbose=0,
    )
    assert 0 <= results["error"] <= 1 and results["jit"]
    model = keras.models.load_model(tmp_path / "last.keras")
    assert model.jit_compile
    assert model.what.layer.compute_dtype == "bfloat16"
    assert model.emission.compute_dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"


def test_a_run_begins_with_trained_weights_and_goes_on(finished, tmp_path):
    trained, of_trained = finished
    # At a rate of 0 what it begins with is what it ends with.
    recipe = opening.with_weights(
        quick_recipe(epochs=2, learning_rate=0.0), trained
    )
    with pytest.raises(Killed):
        train(recipe, tmp_path / "run", kill_at=1)
    results = train(recipe, tmp_path / "run")
    assert_same_weights(tmp_path / "run/model.keras", trained / "model.keras")
    assert results["weights"] == str(trained)
    # What the weights took counts too; a model that came alone says nothing.
    settings = recipe.settings
    own = 2 * settings["steps_per_epoch"] * settings["batch_size"]
    assert results["images_seen"] == of_trained["images_seen"] + own
    assert results["minutes"] >= of_trained["minutes"]
    (_, first), (seen, last) = results["validation_curve"]
    assert seen == results["images_seen"] and first == last
    alone = opening.with_weights(quick_recipe(), trained / "model.keras")
    assert alone.taken == {}
    of_preset = opening.with_weights(
        quick_recipe(), "edram_small_cluttered_mnist"
    ).taken
    assert of_preset["images_seen"] == 600_000
    assert files.read_json(tmp_path / "run/run.json")["weights"] == str(trained)
    with pytest.raises(ValueError, match=r"other values for \['weights'\]"):
        train(quick_recipe(epochs=2, learning_rate=0.0), tmp_path / "run")


def test_it_says_that_weights_have_learnt_from_another_source(tmp_path):
    recipe = opening.with_weights(quick_recipe(), "edram_small_cluttered_mnist")
    # Which do not fit, so that nothing is trained here.
    with (
        pytest.raises(ValueError, match="same"),
        pytest.warns(UserWarning, match="Take the source 'tfds'"),
    ):
        training.train(recipe, tmp_path, source="bundled", verbose=0)
    assert training._source(recipe, "tfds") == "tfds"


def test_weights_that_do_not_fit_leave_no_run_behind(tmp_path):
    tiny.ram().save(tmp_path / "ram.keras")
    recipe = opening.with_weights(quick_recipe(), tmp_path / "ram.keras")
    with pytest.raises(ValueError, match="same class, Baseline"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_data_that_cannot_be_read_leave_no_run_behind(tmp_path):
    def unreadable(settings, split, source):
        raise FileNotFoundError("There is no folder nowhere")

    recipe = dataclasses.replace(tiny.recipe(), data=unreadable)
    with pytest.raises(FileNotFoundError):
        training.train(recipe, tmp_path / "run", verbose=0)
    # The folder can be used with other data.
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("unreadable", ["train", "validation", "test"])
def test_all_splits_are_read_before_anything_is_written(tmp_path, unreadable):
    def data(settings, split, source):
        if split == unreadable:
            raise ValueError(f"{split} is broken")
        return tiny.data(settings, split, source)

    recipe = dataclasses.replace(quick_recipe(), data=data)
    with pytest.raises(ValueError, match=f"{unreadable} is broken"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def write_folder(directory, *labels):
    """A picture of each label for training, one for each other split."""
    for split, number in (("train", len(labels)), ("valid", 1), ("test", 1)):
        (directory / split).mkdir(parents=True, exist_ok=True)
        rows = ["file,label,xmin,ymin,xmax,ymax"]
        for index in range(number):
            # No two are the same.
            pixels = np.full((9, 12), 40 * index + ord(split[1]), "uint8")
            Image.fromarray(pixels).save(directory / split / f"{index}.png")
            rows.append(f"{index}.png,{labels[index]},2,2,6,6")
        (directory / split / "boxes.csv").write_text("\n".join(rows))


def folder_recipe(**options):
    """Its training is killed when it asks for the first images."""

    def data(settings, split, source):
        data = folder(source, split, image_size=8, **options)
        data.dataset = killed
        return data

    def model(settings, data):
        return Baseline(data.image_shape, len(data.class_names) + 1)

    return dataclasses.replace(
        quick_recipe(), data=data, model=model, sources=()
    )


def test_a_run_does_not_go_on_with_other_data(tmp_path):
    out, source = tmp_path / "run", tmp_path / "data"
    write_folder(source, "cat", "dog", "dgo")
    options = dict(recipe=folder_recipe(), out=out, source=str(source))
    with pytest.raises(Killed):
        train(**options)
    run = files.read_json(out / "run.json")["data"]
    assert run["class_names"] == ["cat", "dgo", "dog"]
    assert run["num_targets"] == 2
    assert run["num_pictures"] == {"train": 3, "validation": 1, "test": 1}
    with pytest.raises(Killed):  # it goes on
        train(**options)
    write_folder(source, "cat", "dog", "dog")
    names = "other data, .* classes cat, dog, before cat, dgo, dog"
    with pytest.raises(ValueError, match=names):
        train(**options)
    write_folder(source, "cat", "dgo", "dog")
    with pytest.raises(ValueError, match="other annotations, or other files"):
        train(**options)
    write_folder(source, "cat", "dog", "dgo", "dog")
    with pytest.raises(ValueError, match="num_pictures={'train': 4, .*'train'"):
        train(**options)
    (source / "train" / "3.png").unlink()
    write_folder(source, "cat", "dog", "dgo")
    path = source / "train" / "0.png"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")  # a picture that is as long
    with pytest.raises(ValueError, match="other annotations, or other files"):
        train(**options)
    path.write_bytes(content)
    with (source / "train" / "boxes.csv").open("a") as file:
        file.write("\n0.png,dog,6,2,9,6")
    with pytest.raises(ValueError, match="num_targets=3, before 2"):
        train(**options)
    assert files.read_json(out / "run.json")["data"] == run


def test_a_run_that_is_finished_is_not_taken_for_one_on_other_data(tmp_path):
    out, source = tmp_path / "run", tmp_path / "data"
    write_folder(source, "cat", "dog")
    options = dict(recipe=folder_recipe(), out=out, source=str(source))
    with pytest.raises(Killed):
        train(**options)
    files.write_json(out / "results.json", {"error": 0.5})
    assert train(**options) == {"error": 0.5}
    write_folder(source, "cat", "cow")
    with pytest.raises(ValueError, match="cat, cow, before cat, dog"):
        train(**options)


def test_older_runs_go_on_but_not_with_other_classes(tmp_path):
    out, source = tmp_path / "run", tmp_path / "data"
    write_folder(source, "cat", "dog")
    options = dict(recipe=folder_recipe(), out=out, source=str(source))
    with pytest.raises(Killed):
        train(**options)
    run = files.read_json(out / "run.json")
    # They neither say what the data were nor have all settings of today.
    del run["data"], run["settings"]["weight_decay"]
    files.write_json(out / "run.json", run)
    with pytest.raises(Killed):
        train(**options)
    Baseline((8, 8, 3), num_classes=2, class_names=["cat", "cow"]).save(
        out / "last.keras"
    )
    with pytest.raises(ValueError, match="cat, dog, before cat, cow"):
        train(**options)
    assert files.read_json(out / "run.json") == run


@pytest.mark.slow
def test_a_command_killed_by_a_signal_ends_with_the_same_weights(tmp_path):
    """The command is killed; its run is ended, and done as a whole, here."""
    changes = dict(
        epochs=3,
        steps_per_epoch=2,
        batch_size=8,
        validation_steps=1,
        test_images=20,
        glimpses_per_target=2,  # with one, a part would not be taught
    )
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "keras_edram.cli", "train", "quickstart"),
            *("--out", str(killed)),
            *(
                part
                for name, value in changes.items()
                for part in ("--set", f"{name}={value}")
            ),
        ],
        stdout=subprocess.DEVNULL,
    )
    while not (killed / "last.keras").exists():  # the first epoch is done
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "results.json").exists()
    half = killed / f"{files.PREFIX}abc"
    half.mkdir()
    (half / "best.keras").write_bytes(b"killed while it was written")
    recipe = recipes.load("quickstart").with_settings(changes)
    results, expected = (
        training.train(recipe, out, name="quickstart", verbose=0)
        for out in (killed, whole)
    )
    assert not list(killed.glob(f"{files.PREFIX}*"))
    for name in ("last.keras", "model.keras"):
        assert_same_weights(killed / name, whole / name)
    assert results["error"] == expected["error"]
    assert results["images_seen"] == 3 * 2 * 8
    rows = run_folder.read_history(killed / "history.csv")
    others = run_folder.read_history(whole / "history.csv")
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    for row, other in zip(rows, others, strict=True):
        for name in row.keys() - {"seconds"}:
            assert row[name] == other[name], name


@pytest.mark.parametrize(
    "name, value",
    [
        ("epochs", 0),
        ("steps_per_epoch", 0),
        ("batch_size", 0),
        ("validation_steps", 0),
        ("test_images", -1),
        ("learning_rate", -0.1),
    ],
)
def test_nothing_to_train_with_is_refused_before_it(name, value, tmp_path):
    recipe = tiny.recipe(**{name: value})
    with pytest.raises(ValueError, match=f"Received: {name}={value}"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_jax_never_trains_operation_by_operation(monkeypatch, tmp_path):
    asked = []

    def compile_and_stop(model, settings, jit_compile):
        asked.append(jit_compile)
        raise InterruptedError

    recipe = dataclasses.replace(quick_recipe(), compile=compile_and_stop)
    for backend in ("jax", "tensorflow"):
        monkeypatch.setattr(keras.config, "backend", lambda name=backend: name)
        with pytest.raises(InterruptedError):
            training.train(recipe, tmp_path / backend)
    assert asked == [True, False]
