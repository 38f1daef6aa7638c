"""A stand-in for tensorflow_model_server, which has no Python package.

It answers as the server's documentation and sources say: the same choice of a
version, the same requests refused with the same status codes. It is no proof
of what the server itself does: it reads no configuration, batches nothing, and
runs the SavedModels by TensorFlow's Python.
"""

import base64
import contextlib
import http.server
import json
import re
import threading

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2

HTTP_STATUS = {"INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400}
HTTP_STATUS["NOT_FOUND"] = 404
MODEL_PATH = r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"


class Refused(Exception):
    """A request that cannot be answered: the name of a status code, and why."""

    def __init__(self, code, reason):
        super().__init__(reason)
        self.code = code


class StandIn:
    """A stand-in for tensorflow_model_server: one model in several versions.

    Args:
        folder: Path of the model, with a folder for each version.
        labels: Dictionary of label -> version.
    """

    def __init__(self, folder, labels):
        self.name = folder.name
        self.labels = labels
        self.loaded, self.functions, self.signatures = {}, {}, {}
        for path in folder.iterdir():
            version = int(path.name)
            loaded = tf.saved_model.load(str(path))
            self.loaded[version] = loaded  # must outlive its signatures
            self.functions[version] = {
                name: _of_any_shape(signature)
                for name, signature in loaded.signatures.items()
            }
            content = (path / "saved_model.pb").read_bytes()
            graph = saved_model_pb2.SavedModel.FromString(content).meta_graphs
            self.signatures[version] = graph[0].signature_def

    def version(self, name, version=None, label=None):
        """The version that a request means: the highest by default."""
        if label is not None:
            if name == self.name and label in self.labels:
                return self.labels[label]
            raise Refused(
                "INVALID_ARGUMENT",
                f"Unrecognized servable version label: {label}",
            )
        wanted = f"Latest({name})"
        if version is not None:
            wanted = f"Specific({name}, {version})"
        found = max(self.loaded) if version is None else version
        if name != self.name or found not in self.loaded:
            raise Refused(
                "NOT_FOUND", f"Servable not found for request: {wanted}"
            )
        return found

    def signature(self, version, name):
        """The name and the `SignatureDef` of a signature, "" the default's."""
        name = name or "serving_default"
        if name not in self.signatures[version]:
            raise Refused(
                "FAILED_PRECONDITION",
                f'Serving signature key "{name}" not found.',
            )
        return name, self.signatures[version][name]

    def predict(self, version, signature, inputs, output_filter=()):
        """Outputs by name, as NumPy arrays, of inputs by name."""
        name, definition = self.signature(version, signature)
        if set(inputs) != set(definition.inputs):
            raise Refused(
                "INVALID_ARGUMENT",
                f"input size does not match signature: sent {sorted(inputs)}, "
                f"required {sorted(definition.inputs)}",
            )
        unknown = set(output_filter) - set(definition.outputs)
        if unknown:
            raise Refused(
                "INVALID_ARGUMENT",
                f"output tensor alias not found in signature: {unknown}",
            )
        tensors = {}
        for key, value in inputs.items():
            dtype = tf.as_dtype(definition.inputs[key].dtype)
            if tf.as_dtype(value.dtype) != dtype:
                raise Refused(
                    "INVALID_ARGUMENT",
                    f"Expects {key} to be {dtype.name} but {value.dtype} is "
                    "provided",
                )
            tensors[key] = tf.constant(value, dtype)
        try:
            outputs = self.functions[version][name](tensors)
        except tf.errors.InvalidArgumentError as error:
            raise Refused("INVALID_ARGUMENT", error.message) from error
        return {
            output: outputs[output].numpy()
            for output in output_filter or definition.outputs
        }


def _of_any_shape(signature):
    """A signature that Python lets be called with any shape.

    As in the server, nothing but the graph itself refuses what it cannot take.
    """
    specs = {
        name: tf.TensorSpec(None, spec.dtype, name)
        for name, spec in signature.structured_input_signature[1].items()
    }

    @tf.function(input_signature=[specs])
    def run(tensors):
        return signature(**tensors)

    return run


@contextlib.contextmanager
def serve_rest(stand_in):
    """Serves the documented REST interface; gives the URL of the model."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.reply(f"{MODEL_PATH}/metadata", _metadata)

        def do_POST(self):
            self.reply(f"{MODEL_PATH}:predict", _predict)

        def reply(self, pattern, answer):
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            try:
                match = re.fullmatch(pattern, self.path)
                if not match:
                    raise Refused("INVALID_ARGUMENT", "Malformed request")
                name, version, label = match.groups()
                version = stand_in.version(
                    name, version and int(version), label
                )
                status, value = 200, answer(stand_in, version, body)
            except Refused as error:
                status, value = HTTP_STATUS[error.code], {"error": str(error)}
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(value).encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/models/{stand_in.name}"
    finally:
        server.shutdown()
        server.server_close()


def _metadata(stand_in, version, _):
    signatures = {
        name: json_format.MessageToDict(
            definition, preserving_proto_field_name=True
        )
        for name, definition in stand_in.signatures[version].items()
    }
    return {
        "model_spec": {"name": stand_in.name, "version": str(version)},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


def _predict(stand_in, version, body):
    """Row format, instances to predictions, or column format."""
    request = json.loads(body)
    signature = request.get("signature_name", "")
    _, definition = stand_in.signature(version, signature)
    if ("instances" in request) == ("inputs" in request):
        raise Refused(
            "INVALID_ARGUMENT", "expecting one of 'inputs' or 'instances'"
        )
    names = sorted(definition.inputs)
    if "inputs" in request:
        columns = _by_name(request["inputs"], names)
    else:
        rows = [_by_name(row, names) for row in request["instances"]]
        columns = {name: [row[name] for row in rows] for name in names}
    inputs = {
        name: _array(columns[name], definition.inputs[name].dtype)
        for name in names
    }
    outputs = {
        name: _plain(value)
        for name, value in stand_in.predict(version, signature, inputs).items()
    }
    if "inputs" in request:
        return {"outputs": outputs}
    return {
        "predictions": [
            dict(zip(outputs, row, strict=True))
            for row in zip(*outputs.values(), strict=True)
        ]
    }


def _by_name(item, names):
    """Values of the inputs by name; a single one needs not be named."""
    if len(names) == 1 and (not isinstance(item, dict) or set(item) == {"b64"}):
        return {names[0]: item}
    if not isinstance(item, dict) or set(item) != set(names):
        raise Refused(
            "INVALID_ARGUMENT", f"keys must be equal to: {','.join(names)}"
        )
    return item


def _array(values, dtype):
    """Nested lists of numbers, strings or {"b64": ...} as an array."""
    dtype = tf.as_dtype(dtype)
    if dtype == tf.string:
        values = [
            base64.b64decode(value["b64"])
            if isinstance(value, dict)
            else value.encode()
            for value in values
        ]
    try:
        return np.array(values, dtype.as_numpy_dtype)
    except ValueError as error:  # lists of different lengths
        raise Refused("INVALID_ARGUMENT", str(error)) from error


def _plain(value):
    if value.dtype == object:
        value = np.char.decode(value.astype(bytes), "utf-8")
    return value.tolist()
