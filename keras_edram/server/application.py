"""Serves a model on one machine: KServe's V1 REST protocol, and a page.

KServe brings the protocol and the metrics. Here is what it lacks: a request is
checked before the model sees it, and refused with 4xx and one sentence; bodies
have a limit; TensorFlow works in a thread of its own, so that the server
answers others meanwhile; and `/` is a page for people.

Only the command imports this module, for it needs the extra `serve`.
"""

import asyncio
import concurrent.futures
import contextlib
import pathlib
import re
import reprlib
import socket
import warnings

import fastapi
import kserve
import numpy as np
import orjson
import uvicorn
from fastapi.responses import FileResponse, JSONResponse
from kserve.errors import InvalidInput, ModelNotFound
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.rest.server import metrics_handler
from kserve.protocol.rest.v1_endpoints import register_v1_endpoints
from starlette.exceptions import HTTPException

from keras_edram import __version__, presets, serving
from keras_edram.server import requests

MAX_BODY = 16 * 2**20  # bytes of a request
PAGE = pathlib.Path(__file__).parent / "page"
PAGE_FILES = {
    "/": "index.html",
    "/style.css": "style.css",
    "/script.js": "script.js",
}
# The page takes nothing from elsewhere, whatever a picture's name may say.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:",
    "Cache-Control": "no-cache",
}


def serve(where, *, name=None, host="127.0.0.1", port=8501):
    """Serves a model until the process is interrupted.

    Args:
        where: String or path, the model, see `keras_edram.presets.open_model`.
        name: String, the model's name in URLs; by default that of the preset,
            or "model".
        host: String, the address to listen at. Defaults to this machine alone.
        port: Integer; 0 takes any free one. Defaults to 8501.

    Raises:
        ValueError: If the model, the name, the host or the port is none.

    Example:

    >>> serve("edram_small_cluttered_mnist", port=8501)
    """
    if name is None:
        name = str(where) if str(where) in presets.names() else "model"
    if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
        raise ValueError(
            "The name stands in URLs: letters, digits and any of `._-`. "
            f"Received: name={name!r}"
        )
    # First of all: a port that is taken is found at once.
    with _bound_socket(host, port) as listener:
        reader = Reader(presets.open_model(where), name)
        reader.warm_up()
        listener.listen()
        port = listener.getsockname()[1]
        address = f"[{host}]" if ":" in host else host
        print(
            f"{name} is served at http://{address}:{port}/ until Ctrl+C",
            flush=True,
        )
        # KServe's way to write JSON; nothing that a user could change.
        warnings.filterwarnings("ignore", "ORJSONResponse is deprecated")
        config = uvicorn.Config(
            application(reader),
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
        )
        # uvicorn ends in order, then lets Ctrl+C go on.
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def application(reader):
    """The ASGI application that serves a `Reader`.

    Args:
        reader: `Reader`.

    Returns:
        FastAPI application.

    Example:

    >>> uvicorn.run(application(Reader(model, "model")))
    """
    app = fastapi.FastAPI(openapi_url=None)
    models = kserve.ModelRepository()
    models.update(reader)
    plane = JSONPlane(models)
    register_v1_endpoints(app, plane, None)
    app.add_api_route("/metrics", metrics_handler)

    @app.get("/v1/models/{name}/metadata")
    async def metadata(name: str):
        return plane.get_model_from_registry(name).metadata()

    for path, file in PAGE_FILES.items():
        app.add_api_route(
            path, _page_file(file), methods=["GET", "HEAD"], response_model=None
        )

    def refusal(status):
        async def refuse(request, error):
            return JSONResponse({"error": str(error)}, status)

        return refuse

    app.add_exception_handler(InvalidInput, refusal(400))
    app.add_exception_handler(ModelNotFound, refusal(404))
    app.add_exception_handler(HTTPException, _refuse_by_http)
    app.add_exception_handler(Exception, _confess)
    app.add_middleware(BodyLimit, limit=MAX_BODY)
    return app


class Reader(kserve.Model):
    """A model as KServe wants it: answers requests in the V1 protocol.

    Args:
        model: `EDRAM`, `RAM`, `Ensemble` or `Baseline`.
        name: String, its name in URLs.

    Example:

    >>> Reader(model, "model").answer({"instances": images.tolist()})
    {'predictions': [{'sequence': '7', ...}]}
    """

    def __init__(self, model, name):
        super().__init__(name)
        self.model = serving.deployable(model)
        # One: TensorFlow uses all cores by itself.
        self.worker = concurrent.futures.ThreadPoolExecutor(max_workers=1)
        self.ready = True

    async def predict(self, payload, headers=None):
        """Answers without keeping others waiting for theirs."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.worker, self.answer, payload)

    async def explain(self, payload, headers=None):
        """Refuses, for there is no explainer."""
        raise InvalidInput(
            'Nothing is explained here: ask `:predict` with "glimpses"'
        )

    def answer(self, request):
        """The predictions that a request asks for.

        Args:
            request: The request's body, decoded.

        Returns:
            Dictionary with `predictions`, one dictionary an image.

        Raises:
            InvalidInput: For a request that is not right, in one sentence.
        """
        try:
            question = requests.parse(request, self.model)
        except ValueError as error:
            raise InvalidInput(str(error)) from error
        return {"predictions": requests.read(self.model, question)}

    def warm_up(self):
        """Looks at images once, so that the first who asks need not wait."""
        for number in (1, 3):  # the second teaches that a batch may be of any
            zeros = np.zeros((number, *self.model.image_shape), "float32")
            requests.read(
                self.model, requests.Question(zeros, glimpses=True)
            )

    def metadata(self):
        """What one needs to know to ask this model: plain values."""
        shape = self.model.image_shape
        return {
            "name": self.name,
            "platform": f"keras_edram {__version__}",
            "model": type(self.model).__name__,
            "inputs": [
                {"name": "images", "datatype": "FP32", "shape": [-1, *shape]}
            ],
            "class_names": serving.class_names(self.model),
            "num_glimpses": requests.num_glimpses(self.model),
            "parameters": requests.PARAMETERS,
            "limits": {
                "images": requests.MAX_IMAGES,
                "bytes": MAX_BODY,
                "pixels": requests.MAX_PIXELS,
            },
        }


class JSONPlane(DataPlane):
    """KServe's data plane, for which every body is JSON.

    As in TensorFlow Serving the headers do not matter: many clients name no
    type, or another one.
    """

    def decode(self, body, headers, *unused, **also_unused):
        """The value of a body."""
        try:
            return orjson.loads(body), {}
        except orjson.JSONDecodeError as error:
            raise InvalidInput(f"The body must be JSON: {error}") from error

    def encode(self, model_name, response, headers, req_attributes):
        """The response as it is."""
        return response, {}


class BodyLimit:
    """Refuses requests that are too large with 413, and does not keep them.

    A length that is announced is believed; otherwise it is counted.

    Args:
        app: ASGI application.
        limit: Integer, bytes of a body.
    """

    def __init__(self, app, limit):
        self.app = app
        self.limit = limit

    async def __call__(self, scope, receive, send):
        """Serves a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = HTTPException(
            413,
            f"The body must have at most {self.limit:,} bytes: send fewer or "
            "smaller pictures",
        )
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if int(announced) > self.limit:
            response = JSONResponse({"error": refusal.detail}, 413)
            await response(scope, receive, send)
            return
        received = 0

        async def counted():
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.limit:
                raise refusal
            return message

        await self.app(scope, counted, send)


def _page_file(name):
    async def send():
        return FileResponse(PAGE / name, headers=PAGE_HEADERS)

    return send


async def _refuse_by_http(request, error):
    """The refusals of `BodyLimit`, and of paths and methods that are none."""
    reason = error.detail
    if error.status_code in (404, 405):
        path = reprlib.repr(request.url.path)
        reason = f"There is nothing to {request.method} at {path}"
    return JSONResponse({"error": reason}, error.status_code)


async def _confess(request, error):
    """A mistake of ours: uvicorn logs it, the details are not for others."""
    return JSONResponse({"error": "The server made a mistake"}, 500)


def _bound_socket(host, port):
    """A socket at an address that nobody else listens at."""
    with contextlib.ExitStack() as opened:
        try:
            # Not with the port: it would take 70000 for 4464.
            ((family, *_, address), *_) = socket.getaddrinfo(
                host, None, type=socket.SOCK_STREAM
            )
            listener = opened.enter_context(socket.socket(family))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address[0], port, *address[2:]))
        except (OSError, OverflowError) as error:
            raise ValueError(
                "The server needs an address of this machine and a free port. "
                f"Received: host={host!r}, port={port}: {error}"
            ) from error
        opened.pop_all()
    return listener
