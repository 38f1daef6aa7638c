"""Asks a model in TensorFlow Serving about picture files, by gRPC.

    python grpc_client.py photo.png --version-label canary --plot answer.png

Needs the package tensorflow-serving-api; drawing needs Pillow.
"""

import argparse
import pathlib

import answers
import grpc
import tensorflow as tf
from answers import RequestError
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2
from tensorflow_serving.apis.prediction_service_pb2_grpc import (
    PredictionServiceStub,
)

ADDRESS = "localhost:8500"
MODEL = "edram"


def predict(address, pictures, model=MODEL, version_label=None, timeout=60):
    """Asks what is in picture files.

    Args:
        address: String, HOST:PORT of the server.
        pictures: Paths of picture files of any size, PNG, JPEG, ...
        model: String, the name of the model.
        version_label: String, such as `"canary"`; by default the model's
            highest version answers.
        timeout: Float, how many seconds to wait for the server.

    Returns:
        List of dictionaries, the outputs for each picture by name, in lists.

    Raises:
        RequestError: If the server refuses the request or does not answer.

    Example:

    >>> predict("localhost:8500", ["digit.png"], version_label="canary")
    """
    contents = [pathlib.Path(picture).read_bytes() for picture in pictures]
    request = predict_pb2.PredictRequest()
    _specify(request.model_spec, model, version_label)
    request.model_spec.signature_name = "serving_bytes"
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(contents))
    reply = _ask(address, "Predict", request, timeout)
    outputs = {
        name: tf.make_ndarray(value).tolist()
        for name, value in reply.outputs.items()
    }
    outputs["names"] = [
        [name.decode() for name in names] for names in outputs["names"]
    ]
    return [
        {name: values[index] for name, values in outputs.items()}
        for index in range(len(contents))
    ]


def metadata(address, model=MODEL, version_label=None, timeout=60):
    """Asks for the signatures of a model: their inputs and outputs.

    Args:
        address, model, version_label, timeout: See `predict`.

    Returns:
        Dictionary of name of the signature -> `SignatureDef`.

    Raises:
        RequestError: If the server refuses the request or does not answer.

    Example:

    >>> list(metadata(ADDRESS)["serving_default"].inputs)
    ['images']
    """
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    _specify(request.model_spec, model, version_label)
    request.metadata_field.append("signature_def")
    reply = _ask(address, "GetModelMetadata", request, timeout)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    reply.metadata["signature_def"].Unpack(signatures)
    return dict(signatures.signature_def)


def _specify(model_spec, model, version_label):
    model_spec.name = model
    if version_label is not None:
        model_spec.version_label = version_label


def _ask(address, method, request, timeout):
    with grpc.insecure_channel(address) as channel:
        ask = getattr(PredictionServiceStub(channel), method)
        try:
            return ask(request, timeout=timeout)
        except grpc.RpcError as error:
            raise RequestError(
                f"{address} answered {error.code().name}: {error.details()}"
            ) from error


def main():
    """The command: prints what the model reads, and draws it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", default=ADDRESS, help="HOST:PORT")
    parser.add_argument("--model", default=MODEL, help="its name")
    parser.add_argument("--version-label", help="such as canary")
    answers.run(
        parser,
        lambda given: predict(
            given.address,
            given.pictures,
            given.model,
            given.version_label,
            given.timeout,
        ),
    )


if __name__ == "__main__":
    main()
