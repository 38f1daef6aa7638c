"""A recipe and a model so small that tests can train and export them."""

import io

import keras
import numpy as np
from PIL import Image

from keras_edram import serving
from keras_edram.datasets import ClutteredMNIST, load_digits
from keras_edram.models import DRAM, EDRAM, RAM
from keras_edram.recipes import _edram
from keras_edram.serving import formats, registry
from keras_edram.training import Recipe

SIZES = dict(
    image_shape=(40, 50, 1),
    glimpses_per_target=2,
    glimpse_size=14,
    context_size=9,
    context_filters=(2, 2, 8),
    glimpse_filters=(2, 2, 3, 3, 4, 4),
    units=8,
    hidden_units=8,
)
NAMES = ["nought", "one", "two"]


def reader(seed=7, **arguments):
    """A tiny EDRAM whose windows and answers depend on the image.

    With most other seeds all its rectifiers give 0.
    """
    keras.utils.set_random_seed(seed)
    arguments = {
        **SIZES,
        "num_classes": 4,
        "terminal": True,
        "num_targets": 2,
        **arguments,
    }
    if arguments["terminal"]:
        arguments["class_names"] = NAMES
    model = EDRAM(**arguments)
    generator = np.random.default_rng(seed)
    model.emission.kernel.assign(generator.normal(size=(8, 6)))
    for weight in model.non_trainable_weights:  # means and variances
        weight.assign(generator.uniform(0.1, 0.3, weight.shape))
    model.classification_output.bias.assign([0, 0, 0, -2])  # seldom ends
    return model


def reader_of_any_size(**arguments):
    """A tiny EDRAM of two glimpses that takes images of any size.

    Such as reads photographs: it searches, and follows what it has found.
    """
    sizes = dict(
        image_shape=(None, None, 1),
        num_targets=1,
        terminal=False,
        context_layout="strided_search",
        context_size=16,
        context_filters=(2, 3),
        initial_transform="context",
        relative_emission=True,
    )
    return reader(**{**sizes, **arguments})


def ram(image_shape=(40, 50, 1), **arguments):
    """A tiny RAM whose locations depend on the image."""
    keras.utils.set_random_seed(0)
    sizes = dict(
        num_glimpses=3,
        num_scales=2,
        units=8,
        hidden_units=8,
        convolution_filters=(2, 3),
        inception_filters=1,
        core_filters=2,
    )
    model = RAM(image_shape, **{**sizes, **arguments})
    kernel = np.random.default_rng(0).normal(size=model.location.kernel.shape)
    model.location.kernel.assign(kernel)
    return model


def sure_ram():
    """A tiny RAM that is surer of some images than of others."""
    model = ram()
    kernel = np.random.default_rng(0).normal(size=model.action.kernel.shape)
    model.action.kernel.assign(60 * kernel)
    return model


def dram(**arguments):
    """A tiny DRAM whose locations and answers depend on the image."""
    keras.utils.set_random_seed(0)
    sizes = dict(
        image_shape=(40, 50, 1),
        num_classes=4,
        class_names=NAMES,
        num_targets=2,
        glimpses_per_target=2,
        glimpse_size=9,
        context_size=9,
        context_filters=(2, 3, 4),
        glimpse_filters=(2, 3, 4),
        units=8,
        hidden_units=8,
    )
    model = shake(DRAM(**{**sizes, **arguments}))
    output = model.classification_output
    # With most other seeds it is as sure of one image as of another.
    kernel = np.random.default_rng(1).normal(size=output.kernel.shape)
    output.kernel.assign(20 * kernel)
    output.bias.assign([0, 0, 0, 1])
    return model


# Those that look step by step.
MODELS = {
    "one target": lambda: reader(terminal=False, num_targets=1),
    "a sequence": reader,
    "RAM": sure_ram,
    "DRAM": dram,
}


def shake(model):
    """Weights away from zero and one, as if it had learnt something."""
    generator = np.random.default_rng(0)
    for weight in model.weights:
        noise = 0.2 * generator.normal(size=weight.shape)
        if "variance" in weight.path:
            noise = np.abs(noise)
        weight.assign(weight + noise)
    return model


def data(settings, split, source):
    return ClutteredMNIST(
        load_digits(source, split),
        image_size=(40, 50),
        num_distractors=1,
        seed=settings["seed"],
    )


def recipe(sizes=SIZES, **settings):
    return Recipe(
        summary="A tiny EDRAM",
        settings=dict(
            batch_size=8,
            epochs=4,
            steps_per_epoch=3,
            validation_steps=2,
            test_images=20,
            seed=3,
            learning_rate=1e-2,
            weight_decay=4e-3,
            warmup_steps=2,
            alpha_what=1.0,
            alpha_where=1.0,
        ),
        data=data,
        model=lambda settings, data: EDRAM(**sizes),
        compile=_edram.compile_with_cosine_adamw,
    ).with_settings(settings)


def answers(model, images):
    """What a model says of images, as NumPy arrays by name."""
    return {
        name: keras.ops.convert_to_numpy(value)
        for name, value in model.decode(model(images)).items()
    }


def assert_exports_answer(model, images, folder):
    """A SavedModel and a TFLite file say what the model says, step by step."""
    expected = answers(model, images)
    windows = np.asarray(model(images)["transforms"])
    serving.export_saved_model(model, folder)
    file = serving.export_tflite(model, folder / "model.tflite")
    for path in (folder / "1", file):
        run, _ = registry.open_export(path)
        found = run("serving_default", images=formats.finite(images))
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, atol=1e-4)
        if model.looks_step_by_step:
            steps = formats.take_steps(run, images, model.num_glimpses)
            np.testing.assert_allclose(
                steps["step_transforms"],
                windows.reshape(len(images), -1, 2, 3),
                atol=1e-4,
            )


class UntilLearnt(keras.callbacks.Callback):
    """Ends a training whose accuracy was that high in two epochs running."""

    def __init__(self, accuracy):
        super().__init__()
        self.accuracy = accuracy
        self.before = 0

    def on_epoch_end(self, epoch, logs):
        accuracy = logs["labels_accuracy"]
        if min(accuracy, self.before) >= self.accuracy:
            self.model.stop_training = True
        self.before = accuracy


def learn_by_heart(model, images, targets, epochs, accuracy):
    """Trains for so many epochs, or until that is learnt; what is reached."""
    history = model.fit(
        images,
        targets,
        batch_size=16,
        epochs=epochs,
        callbacks=[UntilLearnt(accuracy)],
        verbose=0,
    )
    return history.history["labels_accuracy"][-1]


def png(image):
    """A grey image, `(H, W, 1)` of uint8, as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0]).save(buffer, "PNG")
    return buffer.getvalue()


def assert_answers(found, model, images, tolerance=1e-5):
    """Answers of a server, one dictionary an image, are those of the model."""
    expected = answers(model, images)
    names = [*serving.class_names(model), ""]
    assert len(found) == len(images)
    for index, answer in enumerate(found):
        assert set(answer) == {*expected, "names"}
        for name, value in expected.items():
            np.testing.assert_allclose(
                answer[name], value[index], atol=tolerance
            )
        assert answer["names"] == [names[label] for label in answer["labels"]]
