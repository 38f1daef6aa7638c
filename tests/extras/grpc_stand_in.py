"""The gRPC side of `stand_in`, on TensorFlow Serving's own messages."""

import concurrent.futures
import contextlib

import grpc
import tensorflow as tf
from stand_in import Refused
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """A stand-in for tensorflow_model_server, see `stand_in`."""

    def __init__(self, stand_in):
        self.stand_in = stand_in

    def Predict(self, request, context):
        with _status(context):
            spec = request.model_spec
            version = _version(self.stand_in, spec)
            outputs = self.stand_in.predict(
                version,
                spec.signature_name,
                {
                    name: tf.make_ndarray(value)
                    for name, value in request.inputs.items()
                },
                request.output_filter,
            )
            reply = predict_pb2.PredictResponse()
            reply.model_spec.name = spec.name
            reply.model_spec.version.value = version
            reply.model_spec.signature_name, _ = self.stand_in.signature(
                version, spec.signature_name
            )
            for name, value in outputs.items():
                reply.outputs[name].CopyFrom(tf.make_tensor_proto(value))
            return reply

    def GetModelMetadata(self, request, context):
        with _status(context):
            if list(request.metadata_field) != ["signature_def"]:
                raise Refused(
                    "INVALID_ARGUMENT",
                    f"Metadata field {request.metadata_field} is not supported",
                )
            version = _version(self.stand_in, request.model_spec)
            signatures = get_model_metadata_pb2.SignatureDefMap(
                signature_def=self.stand_in.signatures[version]
            )
            reply = get_model_metadata_pb2.GetModelMetadataResponse()
            reply.model_spec.name = request.model_spec.name
            reply.model_spec.version.value = version
            reply.metadata["signature_def"].Pack(signatures)
            return reply


@contextlib.contextmanager
def serve_grpc(stand_in):
    """Serves the stand-in; gives its address."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(stand_in), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@contextlib.contextmanager
def _status(context):
    """Answers a request that is refused with its status code."""
    try:
        yield
    except Refused as error:
        context.abort(grpc.StatusCode[error.code], str(error))


def _version(stand_in, spec):
    chosen = spec.WhichOneof("version_choice")
    return stand_in.version(
        spec.name,
        spec.version.value if chosen == "version" else None,
        spec.version_label if chosen == "version_label" else None,
    )
