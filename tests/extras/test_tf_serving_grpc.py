"""The deployment in `export/tf_serving`: gRPC, warm-up, `models.config`.

The server is a stand-in, see `stand_in`.
"""

import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest
import stand_in
import tensorflow as tf
import tiny
import yaml
from google.protobuf import text_format

pytest.importorskip("tensorflow_serving", reason='needs ".[tf-serving]"')

import answers
import grpc
import grpc_client
import grpc_stand_in
from tensorflow_serving.apis import (
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

from keras_edram import cli, serving

FOLDER = pathlib.Path(__file__).parents[2] / "export" / "tf_serving"


def model_config():
    """The one model of `models.config`."""
    content = (FOLDER / "models.config").read_text()
    config = text_format.Parse(
        content, model_server_config_pb2.ModelServerConfig()
    )
    (model,) = config.model_config_list.config
    return model


@pytest.fixture(scope="module")
def address(served_folder, served_models):
    labels = dict(model_config().version_labels)
    server = stand_in.StandIn(served_folder, labels)
    with grpc_stand_in.serve_grpc(server) as address:
        yield address


@pytest.fixture(scope="module")
def stub(address):
    with grpc.insecure_channel(address) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def request_of(name="edram", signature="", output_filter=(), **inputs):
    request = predict_pb2.PredictRequest(output_filter=output_filter)
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return request


@pytest.mark.parametrize(
    "label, version", [(None, 2), ("stable", 1), ("canary", 2)]
)
def test_the_client_has_the_answers_of_the_model(
    address, served_models, images, pictures, label, version
):
    found = grpc_client.predict(address, pictures, version_label=label)
    tiny.assert_answers(found, served_models[version], images)


@pytest.mark.parametrize(
    "asked, signature, dtype",
    [
        ("", "serving_default", "float32"),
        ("serving_default", "serving_default", "float32"),
        ("serving_uint8", "serving_uint8", "uint8"),
    ],
)
def test_arrays_are_answered_by_both_signatures(
    stub, served_models, images, asked, signature, dtype
):
    request = request_of(signature=asked, images=images.astype(dtype))
    request.model_spec.version.value = 1
    reply = stub.Predict(request)
    assert reply.model_spec.version.value == 1
    assert reply.model_spec.signature_name == signature
    for name, value in tiny.answers(served_models[1], images).items():
        found = tf.make_ndarray(reply.outputs[name])
        assert found.dtype == value.dtype
        np.testing.assert_allclose(found, value, atol=1e-5)


def test_an_output_filter_chooses_outputs(stub, images):
    request = request_of(
        signature="serving_uint8",
        output_filter=["boxes", "names"],
        images=images,
    )
    assert set(stub.Predict(request).outputs) == {"boxes", "names"}


def test_metadata_lists_the_signatures(address):
    signatures = grpc_client.metadata(address, version_label="stable")
    for name, key, dtype in (
        ("serving_default", "images", tf.float32),
        ("serving_uint8", "images", tf.uint8),
        ("serving_bytes", "image_bytes", tf.string),
    ):
        (info,) = signatures[name].inputs.values()
        assert list(signatures[name].inputs) == [key]
        assert tf.as_dtype(info.dtype) == dtype
        assert signatures[name].method_name == "tensorflow/serving/predict"
    shape = signatures["serving_default"].inputs["images"].tensor_shape
    assert [side.size for side in shape.dim] == [-1, 40, 50, 1]


IMAGES = np.zeros((1, 40, 50, 1), "float32")


@pytest.mark.parametrize(
    "request_, code, words",
    [
        # Height and width exchanged.
        (
            request_of(images=IMAGES.swapaxes(1, 2)),
            "INVALID_ARGUMENT",
            "Shape of tensor",
        ),
        (
            request_of(images=IMAGES.astype("uint8")),
            "INVALID_ARGUMENT",
            "to be float",
        ),
        (request_of(), "INVALID_ARGUMENT", "does not match signature"),
        (
            request_of(images=IMAGES, more=IMAGES),
            "INVALID_ARGUMENT",
            "does not match signature",
        ),
        (
            request_of(images=IMAGES, output_filter=["scores"]),
            "INVALID_ARGUMENT",
            "scores",
        ),
        (
            request_of(signature="serving_bytes", image_bytes=[b"no"]),
            "INVALID_ARGUMENT",
            "Unknown image file format",
        ),
        (
            request_of(signature="serve", images=IMAGES),
            "FAILED_PRECONDITION",
            "serve",
        ),
        (
            request_of(name="other", images=IMAGES),
            "NOT_FOUND",
            "Latest(other)",
        ),
    ],
)
def test_wrong_requests_are_refused_with_their_status(
    stub, request_, code, words
):
    with pytest.raises(grpc.RpcError) as error:
        stub.Predict(request_)
    assert error.value.code().name == code
    assert words in error.value.details()


def test_the_client_has_one_error_with_the_servers_sentence(
    address, pictures, tmp_path
):
    no_picture = tmp_path / "no_picture.png"
    no_picture.write_text("This is no picture.")
    with pytest.raises(answers.RequestError, match="INVALID_ARGUMENT: "):
        grpc_client.predict(address, [*pictures, no_picture])
    with pytest.raises(answers.RequestError, match="NOT_FOUND: .*other"):
        grpc_client.predict(address, pictures, model="other")
    with pytest.raises(answers.RequestError, match="version label: beta"):
        grpc_client.metadata(address, version_label="beta")


def test_a_server_that_is_not_there_or_silent_is_one_error(pictures):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(answers.RequestError, match="DEADLINE_EXCEEDED"):
            grpc_client.predict(address, pictures, timeout=0.5)
    with pytest.raises(answers.RequestError, match="UNAVAILABLE"):
        grpc_client.predict(address, pictures)


def test_the_command_prints_and_draws(address, pictures, tmp_path):
    plot = tmp_path / "answer.png"
    done = subprocess.run(
        [
            *(sys.executable, FOLDER / "grpc_client.py", "--address", address),
            *("--version-label", "stable", *pictures, "--plot", plot),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = grpc_client.predict(address, pictures, version_label="stable")
    assert done.stdout.splitlines() == [
        f"{picture}: {answers.sentence(answer)}"
        for picture, answer in zip(pictures, found, strict=True)
    ]
    assert plot.stat().st_size > 1_000


def warmup_requests(path):
    """The requests of a warm-up file, read as TensorFlow Serving reads it."""
    records = tf.data.TFRecordDataset(
        str(path / serving.saved_model.WARMUP_FILE)
    )
    return [
        prediction_log_pb2.PredictionLog.FromString(
            record.numpy()
        ).predict_log.request
        for record in records
    ]


SIGNATURES = ["serving_default", "serving_uint8", "serving_bytes"]


def names_of(requests):
    return [request.model_spec.signature_name for request in requests]


def test_warm_up_requests_are_answered(served_folder, stub):
    # Version 2 is a baseline, which does not look step by step.
    for version, names in (1, [*SIGNATURES, "start", "look"]), (2, SIGNATURES):
        requests = warmup_requests(served_folder / str(version))
        assert names_of(requests) == names
        for request in requests:
            assert request.model_spec.name == "edram"
            assert not request.model_spec.HasField("version")
            request.model_spec.version.value = version
            for value in stub.Predict(request).outputs.values():
                assert tf.make_ndarray(value).shape[0] == 1


@pytest.fixture(params=["EDRAM", "RAM"])
def steps_path(request, served_folder, served_models, tmp_path, monkeypatch):
    """Path of a model that looks step by step."""
    if request.param == "EDRAM":
        return served_folder / "1"
    # Not compared, as other tests do: that takes time.
    monkeypatch.setattr(serving.comparison, "compare", lambda *_, **__: None)
    return serving.export_saved_model(tiny.ram(), tmp_path / "ram", warmup=True)


def test_warm_up_requests_are_as_the_signatures_want_them(steps_path):
    loaded = tf.saved_model.load(str(steps_path))
    assert set(loaded.signatures) == {*SIGNATURES, "start", "look"}
    found = {}
    requests = warmup_requests(steps_path)
    for signature, request in zip(names_of(requests), requests, strict=True):
        run = loaded.signatures[signature]
        inputs = {
            key: tf.constant(tf.make_ndarray(value))
            for key, value in request.inputs.items()
        }
        specs = run.structured_input_signature[1]
        assert set(inputs) == set(specs)
        for key, value in inputs.items():
            assert value.shape[0] == 1 and specs[key].is_compatible_with(value)
        found[signature] = inputs, run(**inputs)
    assert set(found) == set(loaded.signatures)
    images, state = found["start"]
    given, outputs = found["look"]
    assert set(given) == {*images, *state}
    for key, value in {**images, **state}.items():
        np.testing.assert_allclose(given[key], value, atol=1e-5)
    glimpses = serving.run_steps(steps_path, images["images"], 1)
    for key, value in glimpses.items():
        np.testing.assert_allclose(outputs[key], value[:, 0], atol=1e-5)


@pytest.mark.usefixtures("compares_here")
def test_the_command_writes_warm_up_requests(
    served_models, tmp_path, monkeypatch
):
    served_models[2].save(tmp_path / "model.keras")
    arguments = ["export", tmp_path / "model.keras", "--format", "saved_model"]
    arguments += ["--out", tmp_path / "served", "--warmup"]
    assert cli.main(list(map(str, arguments))) == 0
    requests = warmup_requests(tmp_path / "served" / "1")
    assert [request.model_spec.name for request in requests] == ["served"] * 3


def test_the_model_configuration_fits_the_composition():
    model = model_config()
    assert model.name == grpc_client.MODEL
    assert model.model_platform == "tensorflow"
    versions = list(model.model_version_policy.specific.versions)
    assert versions == [1, 2]
    assert dict(model.version_labels) == {"stable": 1, "canary": 2}
    composition = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    (mounted,) = (
        volume.split(":")
        for volume in composition["services"]["edram"]["volumes"]
        if volume.startswith("./models:")
    )
    assert model.base_path == f"{mounted[1]}/{model.name}"
    readme = (FOLDER / "README.md").read_text()
    for version in versions:
        assert f"--out models/{model.name} --model-version {version}" in readme
    for label in model.version_labels:
        assert f"`{label}`" in readme
