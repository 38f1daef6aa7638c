"""What Keras' `compile`, `fit`, `predict` and `save` do otherwise here."""

import inspect
import math
import warnings

import keras
import numpy as np
from keras import ops

from keras_edram.checks import check_integer
from keras_edram.layers.stepwise_batch_normalization import keep_statistics
from keras_edram.models import targets


class KerasModel(keras.Model):
    """A Keras model of images that answers with a dictionary by output.

    It is compiled and fitted as any Keras model, but for two things. An array
    of labels as `y` is that of the output `labels`, and so are a loss and
    metrics that are not named by their output. And losses and metrics are
    those of this package or a user's own, which know that an output has an
    axis of glimpses that its targets have not; Keras' own would broadcast
    them. `"accuracy"` is `keras_edram.metrics.Accuracy`.

    Images are checked before they are fitted, and may be none. Weights in 8
    bits are saved and loaded.

    Args:
        **kwargs: Arguments of `keras.Model`.

    Raises:
        ValueError: For weights of too few digits.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        if self.dtype_policy.variable_dtype == "bfloat16":
            raise ValueError(
                "Weights must have more digits than bfloat16, which computes "
                'with them as `dtype="mixed_bfloat16"`. Received: dtype='
                f"{self.dtype_policy.name!r}"
            )
        self._traced = {}

    def predict(self, x, *args, **kwargs):
        if isinstance(x, np.ndarray) and not len(x):
            return self.predict_on_batch(x)
        self._check_first_batch("predict_function", x, None, **kwargs)
        return super().predict(x, *args, **kwargs)

    def predict_on_batch(self, x):
        if isinstance(x, np.ndarray) and not len(x):
            # Not in a graph: one of batches of any size cannot do with none.
            return {
                name: ops.convert_to_numpy(value)
                for name, value in self(x).items()
            }
        return super().predict_on_batch(x)

    def fit(self, x=None, y=None, *args, class_weight=None, **kwargs):
        if class_weight is not None:
            # Keras would not take them for a dictionary of targets.
            if y is None or kwargs.get("sample_weight") is not None:
                kwargs["class_weight"] = class_weight
            else:
                weights = targets.class_weights(y, class_weight)
                # Keras cuts the weights with the images that it validates on.
                weights[_number_trained(len(weights), *args, **kwargs) :] = 1
                kwargs["sample_weight"] = weights
        self._make_variables(
            self._check_first_batch("train_function", x, y, **kwargs)
        )
        try:
            return super().fit(x, y, *args, **kwargs)
        finally:
            # Keras tells callbacks nothing of an end by an exception.
            keep_statistics(self, False)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        self._check_first_batch("test_function", x, y, **kwargs)
        return super().evaluate(x, y, *args, **kwargs)

    def _check_first_batch(self, function, x, y, **kwargs):
        """Checks what comes first and returns its targets, if they are seen."""
        images, y = targets.check_first_batch(self, x, y, **kwargs)
        shape = None
        if images is not None and not self.takes_any_size:
            shape = tuple(images.shape[1:])
        traced = shape, self._looks()
        if traced != self._traced.get(function):
            # Keras would make one graph for several sizes, that is for unknown
            # ones, and an image is looked at by its size; and it would look as
            # often as before. The others stay: one may be in use, as that of
            # training while it is validated.
            setattr(self, function, None)
            self._traced[function] = traced
        return y

    def _looks(self):
        """What may change between two calls and stands in a graph."""
        return check_integer(self.glimpses_per_target, "glimpses_per_target")

    def _make_variables(self, y):
        """Those of optimizer, loss and metrics, before a step is traced.

        TensorFlow traces a step that makes variables a second time, which
        doubles the time until training starts.
        """
        if y is None or self.optimizer is None or self.optimizer.built:
            return
        if keras.config.backend() != "tensorflow":  # Keras does it for others
            return
        if self.distribute_strategy.num_replicas_in_sync > 1:
            return
        self.optimizer.build(self.trainable_variables)
        one = keras.tree.map_structure(lambda values: values[:1], y)
        outputs = self._zero_answers((1, *self.some_image_shape))
        self._clear_losses()  # of the latest call, perhaps in another graph
        self.compute_loss(None, one, outputs, training=False)
        self.compute_metrics(None, one, outputs)
        self.reset_metrics()

    def _zero_answers(self, images_shape):
        """Outputs that say nothing, in the shapes of a call's."""
        shapes = self.compute_output_shape(images_shape)
        return {
            name: ops.zeros(shape, "float32") for name, shape in shapes.items()
        }

    def compile(
        self,
        optimizer="rmsprop",
        loss=None,
        loss_weights=None,
        metrics=None,
        weighted_metrics=None,
        **kwargs,
    ):
        metrics = targets.by_output(metrics, "metrics")
        weighted_metrics = targets.by_output(
            weighted_metrics, "weighted_metrics"
        )
        super().compile(
            optimizer,
            targets.by_output(loss, "loss"),
            loss_weights,
            metrics,
            weighted_metrics,
            **kwargs,
        )
        self._measured = tuple({**(metrics or {}), **(weighted_metrics or {})})

    def compile_from_config(self, config):
        config = keras.saving.deserialize_keras_object(config)
        try:
            self.compile(**config)
        except ValueError as error:  # of another version of this package
            warnings.warn(
                f"The model is not compiled as it was saved: {error}",
                UserWarning,
                stacklevel=2,
            )
            return
        if self.optimizer is not None and self.built:
            self.optimizer.build(self.trainable_variables)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        y = targets.name_targets(y)
        targets.check_judged(y, self.loss or (), "a loss")
        weights = targets.name_weights(sample_weight)
        return super().compute_loss(x, y, y_pred, weights, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        y = targets.name_targets(y)
        targets.check_judged(y, self._measured, "a metric")
        weights = targets.name_weights(sample_weight)
        # Outputs without a target have no metrics, but Keras asks for them.
        y = {name: y.get(name) for name in y_pred}
        return super().compute_metrics(x, y, y_pred, weights)

    def export(self, filepath, *args, **kwargs):
        # Keras exports only what it has seen called.
        self(ops.zeros((1, *self.some_image_shape)))
        return super().export(filepath, *args, **kwargs)

    def compute_output_spec(self, images, training=False):
        # float32 under every precision policy, which Keras does not assume.
        return {
            name: keras.KerasTensor(shape, "float32")
            for name, shape in self.compute_output_shape(images.shape).items()
        }

    def get_config(self):
        config = super().get_config()
        quantized = {
            _path(layer): layer.dtype_policy.quantization_mode
            for layer in self._flatten_layers(include_self=False)
            if isinstance(
                layer.dtype_policy, keras.dtype_policies.QuantizedDTypePolicy
            )
        }
        if quantized:  # or its weights would not fit when it is loaded
            config["quantized"] = quantized
        return config

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        quantized = config.pop("quantized", {})
        model = super().from_config(config)
        for layer in model._flatten_layers(include_self=False):
            if _path(layer) in quantized:
                layer.quantize(quantized[_path(layer)])
        return model


def _number_trained(number, *args, **kwargs):
    """How many of the images of `fit` are before those of its validation."""
    given = inspect.signature(keras.Model.fit).bind(
        None, None, None, *args, **kwargs
    )
    if given.arguments.get("validation_data") is not None:
        return number
    split = given.arguments.get("validation_split") or 0.0
    return math.floor(number * (1.0 - split))


def _path(layer):
    """The path of a layer below its model, whose name may be another."""
    return (layer.path or "").partition("/")[2]
