import concurrent.futures
import json
import sys
import zipfile

import numpy as np
import picture_files
import pytest
import tensorflow as tf
import tiny
from ai_edge_litert.interpreter import Interpreter

from keras_edram import presets, recipes, serving
from keras_edram.datasets import read_picture
from keras_edram.models import EDRAM, RAM, Baseline, Ensemble, glimpse_loop
from keras_edram.serving.registry import FORMATS

pytestmark = pytest.mark.usefixtures("compares_here")

OUTPUTS = {
    "labels",
    "lengths",
    "probability",
    "probabilities",
    "boxes",
    "transforms",
    "locations",
}


RUN_APART = serving.comparison.run_apart


@pytest.fixture(scope="module")
def model(served_models):
    return served_models[1]


@pytest.fixture(scope="module")
def saved_model(served_folder):
    return served_folder / "1"


@pytest.fixture(scope="module")
def loaded(saved_model):
    return tf.saved_model.load(str(saved_model))


@pytest.fixture
def images():
    """A batch of 3, a size that nothing was traced with."""
    return np.random.default_rng(1).integers(0, 256, (3, 40, 50, 1), "uint8")


def assert_agree(outputs, expected, atol=1e-5):
    assert set(outputs) - {"names"} == OUTPUTS
    for name, value in expected.items():
        np.testing.assert_allclose(outputs[name], value, atol=atol)


def test_exports_are_run_in_another_process(saved_model, tflite_file, images):
    images = np.concatenate([images, images]).astype("float32")
    for format, path in (("saved_model", saved_model), ("tflite", tflite_file)):
        opener = FORMATS[format].open
        apart = RUN_APART(opener, path, images)
        here = serving.comparison.run(opener, path, images)
        assert [len(batch["labels"]) for batch in apart] == [6, 3]
        for found, expected in zip(apart, here, strict=True):
            assert set(found) == set(expected)
            for name, value in expected.items():
                np.testing.assert_array_equal(found[name], value)


def test_the_answers_of_the_test_model_differ_between_images(model, images):
    expected = tiny.answers(model, images)
    assert np.abs(expected["boxes"][0] - expected["boxes"][1]).max() > 1e-4
    assert len(np.unique(expected["labels"], axis=0)) > 1


def test_each_signature_gives_the_answers_of_the_model(loaded, model, images):
    assert set(loaded.signatures) == {
        "serving_default",
        "serving_uint8",
        "serving_bytes",
        "start",
        "look",
    }
    expected = tiny.answers(model, images)
    for name, inputs in {
        "serving_default": dict(images=tf.constant(images, tf.float32)),
        "serving_uint8": dict(images=tf.constant(images)),
        "serving_bytes": dict(
            image_bytes=tf.constant([tiny.png(image) for image in images])
        ),
    }.items():
        outputs = loaded.signatures[name](**inputs)
        assert_agree(outputs, expected)


def test_a_picture_of_another_size_is_read_as_predict_reads_it(
    loaded, model, tmp_path
):
    # Smooth: two programs that shrink it differ by a grey value or two.
    x, y = np.meshgrid(np.arange(110), np.arange(70))
    picture = (127 + 60 * np.sin(x / 17) + 60 * np.cos(y / 9)).astype("uint8")
    path = tmp_path / "picture.png"
    path.write_bytes(tiny.png(picture[..., None]))
    outputs = loaded.signatures["serving_bytes"](
        image_bytes=tf.constant([path.read_bytes()])
    )
    images = read_picture(path, model.image_shape)[None]
    assert_agree(outputs, tiny.answers(model, images), atol=1e-2)


def test_a_picture_is_read_alike_from_its_bytes(loaded, model):
    contents = picture_files.files()
    names = (
        *("black on nothing.png", "white on nothing.png", "turned 6.jpg"),
        *("turned 8.png", "12 bits.png", "palette.gif", "grey.bmp"),
    )
    outputs = loaded.signatures["serving_bytes"](
        image_bytes=tf.constant([contents[name] for name in names])
    )
    images = np.stack(
        [read_picture(contents[name], model.image_shape) for name in names]
    )
    expected = tiny.answers(model, images)
    # Pixels are off by 1 at most; the read by a wrong one is off by more.
    for name, value in zip(names, expected["transforms"], strict=True):
        assert np.abs(value - expected["transforms"]).max() > 0.1, name
    assert_agree(outputs, expected, atol=0.05)
    for content in picture_files.other_files().values():
        with pytest.raises(tf.errors.InvalidArgumentError):
            loaded.signatures["serving_bytes"](
                image_bytes=tf.constant([contents[names[0]], content])
            )


def test_labels_come_out_as_names(saved_model, model, images):
    outputs = serving.run_saved_model(saved_model, images)
    for labels, names in zip(outputs["labels"], outputs["names"], strict=True):
        # Label -1 is that of no object.
        expected = [tiny.NAMES[label] if label >= 0 else "" for label in labels]
        assert names.tolist() == expected
    assert (outputs["labels"] >= 0).any()
    model = Baseline((40, 50, 1), num_classes=12, units=2)
    assert serving.class_names(model)[-2:] == ("10", "11")


def test_a_file_that_is_no_picture_is_refused(loaded):
    with pytest.raises(tf.errors.InvalidArgumentError):
        loaded.signatures["serving_bytes"](image_bytes=tf.constant([b"no"]))


def test_a_tflite_file_gives_the_answers_of_the_model(
    tflite_file, model, images
):
    outputs = serving.run_tflite(tflite_file, images)
    assert_agree(outputs, tiny.answers(model, images))
    assert outputs["labels"].shape == (3, 2)
    one = serving.run_tflite(tflite_file, images[:1])
    assert one["boxes"].shape == (1, 2, 4)
    with zipfile.ZipFile(tflite_file) as archive:
        assert archive.read("labels.txt").decode().split() == tiny.NAMES
        assert json.loads(archive.read("metadata.json")) == {
            "class_names": tiny.NAMES,
            "image_shape": [40, 50, 1],
            "image_range": [0, 255],
            "num_targets": 2,
            "num_glimpses": 4,
            "averages": True,
            "temperature": 1.0,
        }
    operators = serving.tflite_operators(tflite_file)
    assert {"CONV_2D", "WHILE"} <= operators
    assert not [name for name in operators if name.startswith("Flex")]


def test_a_program_without_signatures_runs_the_whole_reader(
    tflite_file, model, images
):
    interpreter = Interpreter(str(tflite_file))
    (taken,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(taken["index"], images.shape, strict=True)
    interpreter.allocate_tensors()
    interpreter.set_tensor(taken["index"], images.astype("float32"))
    interpreter.invoke()
    found = [
        interpreter.get_tensor(details["index"])
        for details in interpreter.get_output_details()
    ]
    assert len(found) == len(OUTPUTS)
    expected = tiny.answers(model, images)["probabilities"]
    assert any(
        value.shape == expected.shape and np.abs(value - expected).max() < 1e-5
        for value in found
    )


def test_what_is_run_has_the_shape_of_the_images(tflite_file, images):
    run, _ = serving.interpreter.open_tflite(str(tflite_file))
    state = run("start", images=images.astype("float32"))
    for wrong in (
        np.zeros((1, 40, 50, 3), "float32"),  # would get three answers
        np.zeros((1, 50, 40, 1), "float32"),
        np.zeros((40, 50, 1), "float32"),
    ):
        with pytest.raises(ValueError, match="must have the shape") as error:
            serving.run_tflite(tflite_file, wrong)
        assert f"Received: an array of shape {wrong.shape}" in str(error.value)
        for name, inputs in (("start", {}), ("look", state)):
            with pytest.raises(ValueError, match="must have the shape"):
                run(name, images=wrong, **inputs)


def test_a_tflite_file_that_is_open_has_several_callers(tflite_file, images):
    run, _ = serving.interpreter.open_tflite(str(tflite_file))
    batches = [images[:1].astype("float32"), images.astype("float32")] * 20

    def lengths(batch):
        return run("serving_default", images=batch)["lengths"].tolist()

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lengths, batches))
    assert found == [lengths(batch) for batch in batches[:2]] * 20


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_no_numbers_are_refused(
    saved_model, tflite_file, images, value
):
    images = images.astype("float32")
    images[1, 2, 3] = value
    for run in (
        lambda: serving.run_saved_model(saved_model, images),
        lambda: serving.run_tflite(tflite_file, images),
        lambda: serving.run_steps(tflite_file, images, 1),
    ):
        with pytest.raises(ValueError, match="must be finite numbers"):
            run()


@pytest.mark.slow
@pytest.mark.parametrize(
    "quantize, tolerance", [("float16", 0.02), ("int8", 0.1)]
)
def test_a_smaller_tflite_file_gives_nearly_the_same(
    model, images, quantize, tolerance, tmp_path
):
    path = serving.export_tflite(
        model, tmp_path / "m.tflite", quantize, steps=False
    )
    outputs = serving.run_tflite(path, images)
    assert set(outputs) == OUTPUTS
    expected = tiny.answers(model, images)
    for name in ("probabilities", "transforms", "locations"):
        np.testing.assert_allclose(
            outputs[name], expected[name], atol=tolerance
        )
    operators = serving.tflite_operators(path)
    assert not [name for name in operators if name.startswith("Flex")]


def assert_steps_agree(path, expected, images):
    """Glimpse by glimpse, the caller's average is the model's answer."""
    _, num_targets, glimpses_per_target, _ = expected["locations"].shape
    steps = serving.run_steps(path, images, num_targets * glimpses_per_target)
    targets = (len(images), num_targets, glimpses_per_target)
    probabilities = steps["step_probabilities"].reshape(*targets, -1)
    np.testing.assert_allclose(
        probabilities.mean(axis=2), expected["probabilities"], atol=1e-5
    )
    windows = steps["step_transforms"].reshape(*targets, 2, 3)
    np.testing.assert_allclose(
        windows[:, :, -1], expected["transforms"], atol=1e-5
    )
    boxes = steps["step_boxes"].reshape(*targets, 4)[:, :, -1]
    is_object = expected["labels"] >= 0
    np.testing.assert_allclose(
        boxes[is_object], expected["boxes"][is_object], atol=1e-5
    )


def test_a_caller_can_look_step_by_step(
    saved_model, tflite_file, model, images
):
    expected = tiny.answers(model, images)
    assert_steps_agree(saved_model, expected, images)
    assert_steps_agree(tflite_file, expected, images)


def test_a_server_can_look_for_callers_at_different_glimpses(loaded, images):
    """It joins their requests along the first axis of all tensors."""
    look, start = loaded.signatures["look"], loaded.signatures["start"]
    images = tf.constant(images, tf.float32)

    def state_of(outputs):
        return {
            name: value
            for name, value in outputs.items()
            if name.startswith("state_")
        }

    first = state_of(start(images=images))
    second = state_of(look(images=images, **first))
    together = look(
        images=tf.concat([images, images], 0),
        **{name: tf.concat([first[name], second[name]], 0) for name in first},
    )
    apart = [look(images=images, **state) for state in (first, second)]
    for name, value in together.items():
        np.testing.assert_allclose(
            value, np.concatenate([part[name] for part in apart]), atol=1e-5
        )
    assert together["state_step"].numpy().tolist() == [1, 1, 1, 2, 2, 2]


@pytest.mark.slow
def test_an_ensemble_is_exported_as_one_model(images, tmp_path):
    ensemble = Ensemble(
        [
            tiny.reader(4, glimpses_per_target=1),
            tiny.reader(7, glimpses_per_target=1, reading_order="backward"),
        ]
    )
    expected = tiny.answers(ensemble, images)
    assert expected["locations"].shape == (3, 2, 2, 1, 2)
    folder = serving.export_saved_model(ensemble, tmp_path / "ensemble")
    assert_agree(serving.run_saved_model(folder, images), expected)
    file = serving.export_tflite(ensemble, tmp_path / "ensemble.tflite")
    assert_agree(serving.run_tflite(file, images), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        dict(),
        # Rollouts are drawn while a model is studied, never when it serves.
        dict(
            core="rnn",
            glimpse_network="convolution",
            num_glimpses=2,
            num_rollouts=4,
        ),
        dict(core="conv_lstm", glimpse_network="inception", num_glimpses=2),
    ],
)
def test_ram_is_exported_with_its_mean_policy(
    arguments, images, tmp_path, ram_file
):
    ram = tiny.ram(**arguments)
    folder = serving.export_saved_model(ram, tmp_path / "ram")
    file = ram_file
    if arguments:
        file = serving.export_tflite(ram, tmp_path / "ram.tflite")
    ram.num_rollouts = 0
    expected = tiny.answers(ram, images)
    run, _ = serving.saved_model.open_saved_model(folder)
    images = images.astype("float32")
    steps = serving.formats.take_steps(run, images, ram.num_glimpses)
    last = steps["step_probabilities"][:, -1]
    np.testing.assert_allclose(last, expected["probabilities"][:, 0], atol=1e-5)
    locations = expected["locations"]
    assert locations.shape == (3, 1, ram.num_glimpses, 2)
    assert not locations[:, :, 0].any()  # the middle
    assert np.abs(locations[0, 0, -1] - locations[1, 0, -1]).max() > 1e-4
    assert_agree(run("serving_default", images=images), expected)
    assert_agree(serving.run_tflite(file, images), expected)
    assert serving.run_tflite(file, images[:1])["locations"].shape[0] == 1


@pytest.mark.slow
def test_a_trained_ram_is_exported_with_the_answers_of_the_model(tmp_path):
    name = "ram_cluttered_mnist_100"  # of the longest paths
    ram = RAM.from_preset(name)
    figures = presets.results(name)
    images, _ = (
        recipes.load(figures["recipe"])
        .data(figures["settings"], "test", "bundled")
        .arrays(200)
    )
    expected = tiny.answers(ram, images)["labels"]
    file = serving.export_tflite(ram, tmp_path / "ram.tflite")
    # Rounding may lead to another path, and seldom to another answer.
    agree = serving.run_tflite(file, images)["labels"] == expected
    assert agree.mean() >= 0.98


def test_a_baseline_is_exported_where_tf_serving_looks(images, tmp_path):
    model = Baseline((40, 50, 1), network="convolution", units=8)
    path = serving.export_saved_model(model, tmp_path / "baseline", version=3)
    assert path == tmp_path / "baseline" / "3"
    assert (path / "saved_model.pb").is_file()
    assert [path] == [*path.parent.iterdir()]
    outputs = serving.run_saved_model(path, images)
    assert_agree(outputs, tiny.answers(model, images))
    np.testing.assert_array_equal(outputs["boxes"][:, 0], [[0, 0, 1, 1]] * 3)


@pytest.mark.slow
def test_a_model_in_mixed_precision_is_exported_in_float32(tmp_path, images):
    sizes = {**tiny.SIZES, "glimpses_per_target": 1}
    mixed = EDRAM(**sizes, dtype="mixed_bfloat16")
    path = serving.export_tflite(mixed, tmp_path / "m.tflite", steps=False)
    assert serving.run_tflite(path, images)["boxes"].dtype == np.float32


SIZES = (40, 50), (61, 37)


def noise(number, size, channels=1):
    generator = np.random.default_rng(2)
    return generator.integers(0, 256, (number, *size, channels), "uint8")


@pytest.fixture(scope="module")
def of_any_size(made_once):
    """A model of images of any size, and its SavedModel, loaded."""
    model = tiny.reader_of_any_size()

    def export(folder):
        serving.export_saved_model(model, folder)  # at two sizes of its own

    return model, tf.saved_model.load(str(made_once("any", export) / "1"))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("number", [3, 1])
def test_images_of_any_size_are_served_as_they_are(of_any_size, size, number):
    model, loaded = of_any_size
    images = noise(number, size)
    expected = tiny.answers(model, images)
    floats = tf.constant(images, tf.float32)
    for name, inputs in {
        "serving_default": dict(images=floats),
        "serving_uint8": dict(images=tf.constant(images)),
        "serving_bytes": dict(
            image_bytes=tf.constant([tiny.png(image) for image in images])
        ),
    }.items():
        assert_agree(loaded.signatures[name](**inputs), expected)
    windows = model(images)["transforms"][:, 0]  # (B, N, 2, 3)
    state = loaded.signatures["start"](images=floats)
    for t in range(model.num_glimpses):
        outputs = loaded.signatures["look"](images=floats, **state)
        state = {name: outputs[name] for name in state}
        np.testing.assert_allclose(
            outputs["step_transforms"], windows[:, t], atol=1e-5
        )


def test_pictures_of_several_sizes_are_no_batch(of_any_size):
    _, loaded = of_any_size
    pictures = [tiny.png(noise(1, size)[0]) for size in SIZES]
    for given, words in (
        (pictures, r"must be of one height and width.*\[40 50\] \[61 37\]"),
        ([], "At least one picture"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=words):
            loaded.signatures["serving_bytes"](
                image_bytes=tf.constant(given, tf.string)
            )


def test_a_tflite_file_is_for_the_size_that_is_given(tmp_path):
    model = tiny.reader_of_any_size()
    path = tmp_path / "any.tflite"
    serving.export_tflite(
        model, path, image_size=(61, 37), steps=False, quantize="float16"
    )
    images = noise(2, (61, 37))
    outputs = serving.run_tflite(path, images)
    # Weights of 16 bits.
    assert_agree(outputs, tiny.answers(model, images), atol=0.02)
    with zipfile.ZipFile(path) as archive:
        metadata = json.loads(archive.read("metadata.json"))
    assert metadata["image_shape"] == [61, 37, 1]
    with pytest.raises(ValueError, match=r"\(None, 61, 37, 1\)"):
        serving.run_tflite(path, noise(1, (37, 61)))


@pytest.mark.parametrize(
    "options, words",
    [
        ({}, r"`image_size` \(--image-size HEIGHTxWIDTH\) must be given"),
        ({"image_size": 0}, "must be a positive integer or two of them"),
        (
            {"image_size": 60, "quantize": "static_int8"},
            r"\(B, 60, 60, 1\). Received: images of shape \(2, 40, 50, 1\)",
        ),
    ],
    ids=["none", "nothing", "of other images"],
)
def test_a_tflite_file_without_its_size_is_refused(options, words, tmp_path):
    if "quantize" in options:
        options["images"] = noise(2, (40, 50))
    with pytest.raises(ValueError, match=words):
        serving.export_tflite(
            tiny.reader_of_any_size(), tmp_path / "m.tflite", **options
        )
    assert not list(tmp_path.iterdir())


def test_a_model_of_one_size_has_no_other(model, tmp_path):
    with pytest.raises(ValueError, match=r"shape \(40, 50, 1\)"):
        serving.export_tflite(model, tmp_path / "m.tflite", image_size=50)


@pytest.mark.parametrize(
    "name, dtype",
    [("serving_default", tf.float32), ("serving_uint8", tf.uint8)],
)
def test_images_of_another_shape_are_refused(loaded, name, dtype):
    # Of an unknown shape, or Python would refuse them before the graph can;
    # a server has no Python.
    @tf.function(input_signature=[tf.TensorSpec(None, dtype)])
    def ask(images):
        return loaded.signatures[name](images=images)

    assert ask(tf.zeros((2, 40, 50, 1), dtype))["labels"].shape[0] == 2
    # Height and width exchanged: of as many values as it should have.
    for shape in ((1, 50, 40, 1), (1, 40, 50, 3), (40, 50, 1)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="Shape"):
            ask(tf.zeros(shape, dtype))


def test_an_export_that_disagrees_never_gets_its_name(tmp_path, monkeypatch):
    model, other = (Baseline((40, 50, 1), units=2) for _ in range(2))
    write = serving.signatures.write_saved_model
    monkeypatch.setattr(
        serving.signatures,
        "write_saved_model",
        lambda _, *where, **options: write(other, *where, **options),
    )
    with pytest.raises(RuntimeError, match="The export must"):
        serving.export_saved_model(model, tmp_path / "wrong")
    assert not list(tmp_path.iterdir())


def test_operators_are_those_of_loops_too(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec((2,))])
    def erf_in_a_loop(x):
        return tf.while_loop(
            lambda i, x: i < 3, lambda i, x: (i + 1, tf.math.erf(x)), (0, x)
        )[1]

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [erf_in_a_loop.get_concrete_function()], erf_in_a_loop
    )
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS,
        tf.lite.OpsSet.SELECT_TF_OPS,
    ]
    path = tmp_path / "erf.tflite"
    path.write_bytes(converter.convert())
    operators = serving.tflite_operators(path)
    assert operators == {"WHILE", "LESS", "ADD", "FlexErf"}


def test_a_file_with_flex_operators_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(
        serving.tflite, "tflite_operators", lambda path: {"CONV_2D", "FlexErf"}
    )
    with pytest.raises(RuntimeError, match="FlexErf"):
        serving.export_tflite(Baseline((40, 50, 1)), tmp_path / "flex.tflite")
    assert not list(tmp_path.iterdir())


def test_warm_up_requests_say_what_they_lack(model, tmp_path, monkeypatch):
    loaded = [name for name in sys.modules if "tensorflow_serving." in name]
    for name in ("tensorflow_serving", *loaded):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RuntimeError, match=r"keras-edram\[tf-serving\]"):
        serving.export_saved_model(model, tmp_path / "cold", warmup=True)
    assert not list(tmp_path.iterdir())


def test_wrong_arguments_are_refused(model, images, tmp_path):
    # TensorFlow Serving passes over a folder of another name than an integer.
    for version in (0, 1.5, "1", True, None):
        with pytest.raises(ValueError, match=f"Received: version={version!r}"):
            serving.export_saved_model(model, tmp_path, version=version)
    with pytest.raises(ValueError, match="Received: quantize='int4'"):
        serving.export_tflite(model, tmp_path / "m.tflite", quantize="int4")
    with pytest.raises(ValueError, match="`images` must be given"):
        serving.export_tflite(model, tmp_path / "m.tflite", "static_int8")
    with pytest.raises(ValueError, match=r"images=of shape \(3, 40, 50, 1\)"):
        serving.export_tflite(
            model, tmp_path / "m.tflite", "int8", images=images
        )


@pytest.mark.parametrize("name", ["two\nlines", "two\u2028lines", "cut\r"])
def test_names_that_are_no_line_are_not_written_a_line_each(name, tmp_path):
    model = Baseline((40, 50, 1), num_classes=3, class_names=[name, "b", "c"])
    with pytest.raises(ValueError, match="no line breaks .*Received: class_na"):
        serving.export_tflite(model, tmp_path / "m.tflite")
    assert not list(tmp_path.iterdir())


def test_8_bits_say_what_they_lack(model, images, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    with pytest.raises(RuntimeError, match=r"keras-edram\[tflite\]"):
        serving.export_tflite(
            model, tmp_path / "m.tflite", "static_int8", images=images
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_long_sequence_is_exported_as_the_loop_that_it_is(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(glimpse_loop, "MOST_WRITTEN_OUT", 1)
    model = tiny.reader(glimpses_per_target=1)
    # Each is compared with the model, which loops too, before it has a name.
    serving.export_saved_model(model, tmp_path / "reader")
    path = tmp_path / "reader.tflite"
    serving.export_tflite(model, path, steps=False)
    assert "WHILE" in serving.tflite_operators(path)
