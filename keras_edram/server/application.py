"""Serves a model on one machine: KServe's V1 REST protocol, and a page.

KServe brings the protocol and the metrics. Here is what it lacks: a request is
checked before the model sees it, and refused with 4xx and one sentence;
requests and connections have limits and deadlines; TensorFlow works in a
thread of its own, on all who wait for it together, so that the server answers
others meanwhile; and `/` is a page for people.
"""

import asyncio
import contextlib
import functools
import logging
import math
import os
import pathlib
import re
import reprlib
import socket
import sys
import time
import warnings

import fastapi
import kserve
import numpy as np
import uvicorn
from fastapi.responses import FileResponse, JSONResponse
from kserve.errors import InvalidInput, ModelNotFound, ModelNotReady
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.rest.server import metrics_handler
from kserve.protocol.rest.v1_endpoints import register_v1_endpoints
from starlette.exceptions import HTTPException

from keras_edram import __version__, presets, reading, serving
from keras_edram.checks import check_probabilities
from keras_edram.presets import opening
from keras_edram.server import answers, requests
from keras_edram.server.batching import Batcher
from keras_edram.server.checking import (
    Checkers,
    Refusal,
    check_encoding,
)
from keras_edram.server.connections import Connection, Server
from keras_edram.server.guard import Guard, Hosts, Limits, refusal_response

PAGE = pathlib.Path(__file__).parent / "page"
PAGE_FILES = {
    "/": "index.html",
    "/style.css": "style.css",
    "/script.js": "script.js",
    "/drawing.js": "drawing.js",
    "/picture.js": "picture.js",
}
# Requests at a time whose images are decoded and wait, beside small ones, which
# have together at most the values of one.
DECODED = 8
# Images, and confidence, of what is looked at before anybody asks.
WARM_UP = (1, None), (1, None), (3, None), (2, 1.0), (3, 1.0)


def serve(
    where,
    *,
    name=None,
    host="127.0.0.1",
    port=8501,
    allow_hosts=(),
    limits=Limits(),  # noqa: B008, it cannot be changed
):
    """Serves a model until the process is interrupted.

    Args:
        where: String or path, the model, see
            `keras_edram.presets.opening.open_model`.
        name: String, the model's name in URLs; by default that of the preset,
            or "model".
        host: String, the address to listen at. Defaults to this machine alone.
        port: Integer; 0 takes any free one. Defaults to 8501.
        allow_hosts: Strings, further hosts that requests may name, see
            `keras_edram.server.guard.Hosts`.
        limits: `keras_edram.server.guard.Limits`.

    Raises:
        ValueError: If the model, the name, the host or the port is none.

    Example:

    >>> serve("edram_small_cluttered_mnist", port=8501)
    """
    name = _checked_name(name, where)
    if not 0 < limits.seconds < math.inf:
        raise ValueError(
            "The deadline must be a number of seconds above 0. "
            f"Received: deadline={limits.seconds}"
        )
    # First of all: a port that is taken is found at once.
    with _bound_socket(host, port) as listener:
        recipe = opening.recipe_of(where)
        reader = Reader(
            opening.open_model(where),
            name,
            learnt_from=recipe and recipe.summary,
            dark_ground=opening.learnt_light_on_dark(where),
            limits=limits,
        )
        with contextlib.closing(reader):
            reader.warm_up()
            listener.listen()
            port = listener.getsockname()[1]
            address = f"[{host}]" if ":" in host else host
            print(
                f"{name} is served at http://{address}:{port}/ until Ctrl+C",
                flush=True,
            )
            running = server(
                reader, Hosts(host, allow_hosts), limits, reader.checkers.close
            )
            # uvicorn ends in order, then lets Ctrl+C go on.
            with contextlib.suppress(KeyboardInterrupt):
                running.run([listener])


def server(reader, hosts, limits, at_end=None):
    """The server of a `Reader`.

    Args:
        reader: `Reader`.
        hosts: `Hosts`.
        limits: `Limits`.
        at_end: See `Server`.

    Returns:
        `Server`, to be run with the sockets to listen at.

    Example:

    >>> reader = Reader(model, "model")
    >>> running = server(reader, Hosts("127.0.0.1"), Limits())
    >>> with socket.create_server(("127.0.0.1", 0)) as listener:
    ...     running.run([listener])
    """
    # KServe's way to write JSON; nothing that a user could change.
    warnings.filterwarnings("ignore", "ORJSONResponse is deprecated")
    # A stranger must not fill the log with requests that are none.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    guard = Guard(application(reader), hosts, limits)
    config = uvicorn.Config(
        guard,
        http=functools.partial(Connection, limits=limits),
        ws="none",
        lifespan="off",  # nothing is begun or ended with the application
        proxy_headers=False,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,  # beside the guard's own
        server_header=False,
    )
    return Server(config, guard, at_end)


def application(reader):
    """The ASGI application that answers by a `Reader`, without limits.

    Args:
        reader: `Reader`.

    Returns:
        FastAPI application.

    Example:

    >>> reader = Reader(model, "model")
    >>> app = Guard(application(reader), Hosts("127.0.0.1"), Limits())
    """
    app = fastapi.FastAPI(openapi_url=None)
    models = kserve.ModelRepository()
    models.update(reader)
    plane = BytesPlane(models)
    register_v1_endpoints(app, plane, None)
    app.add_api_route("/metrics", metrics_handler)

    @app.get("/v1/models/{name}/metadata")
    async def metadata(name: str):
        return plane.get_model_from_registry(name).metadata()

    # Those of KServe's V2 protocol by which a cluster sees whether it lives.
    @app.get("/v2/health/live")
    async def live():
        return {"live": True}

    @app.get("/v2/health/ready")
    async def ready():
        if not await reader.healthy():
            raise ModelNotReady(reader.name)
        return {"ready": True}

    @app.get("/v2/models/{name}/ready")
    async def model_ready(name: str):
        if not await plane.model_ready(name):
            raise ModelNotReady(name)
        return {"name": name, "ready": True}

    for path, file in PAGE_FILES.items():
        app.add_api_route(path, _page_file(file), response_model=None)

    _add_refusals(app)
    return app


class Reader(kserve.Model):
    """A model as KServe wants it: answers requests in the V1 protocol.

    Args:
        model: `EDRAM`, `RAM`, `Ensemble` or `Baseline`.
        name: String, its name in URLs.
        learnt_from: String, what it learnt from, or `None` if that is not
            known.
        dark_ground: Boolean, whether that was light digits on a dark ground.
        limits: `Limits`.

    Example:

    >>> from keras_edram.server.requests import Question
    >>> reader = Reader(model, "model")
    >>> (answer,) = reader.answer([Question(images)])
    >>> len(answer["predictions"])
    5
    """

    def __init__(
        self,
        model,
        name,
        *,
        learnt_from=None,
        dark_ground=False,
        limits=Limits(),  # noqa: B008
    ):
        super().__init__(name)
        self.model = serving.deployable(model)
        self.learnt_from = learnt_from
        self.limits = limits
        self.facts = answers.facts(self.model, dark_ground=dark_ground)
        self.checkers = Checkers(self.facts, limits.checking)
        self.batcher = Batcher(self.answer, _images_at_once)
        self._decoded = asyncio.Semaphore(DECODED)
        self._values = 0  # of the small ones
        self._busy_since = None
        self.ready = True

    async def healthy(self):
        """Whether it can answer: not if one request keeps it too long."""
        since = self._busy_since
        ends = math.inf if since is None else since + self.limits.seconds
        return self.ready and time.monotonic() < ends

    async def predict(self, payload, headers=None):
        """Answers without keeping others waiting for theirs."""
        check_encoding((headers or {}).get("content-encoding", ""))
        async with self._checked(payload) as question:
            return await asyncio.wrap_future(self.batcher.ask(question))

    async def explain(self, payload, headers=None):
        """Refuses, for there is no explainer."""
        raise InvalidInput(
            'Nothing is explained here: ask `:predict` with "glimpses"'
        )

    def answer(self, questions):
        """The predictions to questions, which are looked at together.

        Args:
            questions: List of `keras_edram.server.requests.Question`.

        Returns:
            For each a dictionary with `predictions`, one dictionary an image.
        """
        self._busy_since = time.monotonic()
        try:
            return [
                {"predictions": rows}
                for rows in answers.read(self.model, questions)
            ]
        finally:
            self._busy_since = None

    @contextlib.asynccontextmanager
    async def _checked(self, body):
        """The question in a body, when there is memory for it."""
        loop = asyncio.get_running_loop()
        async with self._decoded:
            question = await loop.run_in_executor(
                self.checkers.threads, self.checkers.check, body
            )
            values = question.images.size
            if self._values + values > requests.MAX_VALUES:
                yield question
                return
        self._values += values
        try:
            yield question
        finally:
            self._values -= values

    def warm_up(self):
        """Looks at images once, so that the first who asks need not wait.

        Raises:
            ValueError: For a model whose answers are no numbers, as those of
                lost weights.
        """
        first = self.checkers.threads.submit(self.checkers.check, b"{}")
        shape = self.model.some_image_shape
        dtype = "uint8" if self.model.takes_any_size else "float32"
        # What is compiled for any batch is known from the second size on, and
        # what is only worth it for many looks from the second look on.
        for number, confidence in WARM_UP:
            if confidence is None or self.facts.no_budget is None:
                zeros = np.zeros((number, *shape), dtype)
                question = requests.Question(zeros, confidence, glimpses=True)
                (rows,) = answers.read(self.model, [question])
                check_probabilities([row["probability"] for row in rows])
        first.exception()  # waits; nothing is asked, which is refused

    def close(self):
        """Ends its processes, and this one if the model does not end."""
        self.checkers.close()
        self.batcher.close()
        if self._busy_since is not None:
            # Python would wait for the thread, which cannot be ended.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)

    def metadata(self):
        """What one needs to know to ask this model: plain values."""
        shape = self.model.image_shape
        sides = [-1 if side is None else side for side in shape]
        return {
            "name": self.name,
            "platform": f"keras_edram {__version__}",
            "model": type(self.model).__name__,
            "inputs": [
                {"name": "images", "datatype": "FP32", "shape": [-1, *sides]}
            ],
            "class_names": serving.class_names(self.model),
            "num_glimpses": answers.num_glimpses(self.model),
            "learnt_from": self.learnt_from,
            "dark_ground": self.facts.dark_ground,
            "parameters": requests.possible_parameters(self.facts),
            "limits": {
                "images": requests.max_images(shape),
                "bytes": self.limits.body,
                "pixels": requests.MAX_PIXELS,
                "values": requests.MAX_VALUES,
                "seconds": self.limits.seconds,
            },
        }


class BytesPlane(DataPlane):
    """KServe's data plane, for which every body is bytes.

    It is read elsewhere, for that takes long. As in TensorFlow Serving the
    headers do not matter: many clients name no type, or another one.
    """

    def decode(self, body, headers, *unused, **also_unused):
        """The body as it is."""
        return body, {}

    def encode(self, model_name, response, headers, req_attributes):
        """The response as it is."""
        return response, {}


def _add_refusals(app):
    """How an application answers where it has no answer."""

    async def refuse(request, refusal):
        return refusal_response(refusal)

    async def refuse_input(request, error):
        return JSONResponse({"error": str(error)}, 400)

    async def refuse_name(request, error):
        return JSONResponse({"error": str(error)}, 404)

    async def refuse_for_now(request, error):
        return refusal_response(
            Refusal(503, "The model is busy with one request: ask again later")
        )

    app.add_exception_handler(Refusal, refuse)
    app.add_exception_handler(InvalidInput, refuse_input)
    app.add_exception_handler(ModelNotFound, refuse_name)
    app.add_exception_handler(ModelNotReady, refuse_for_now)
    app.add_exception_handler(HTTPException, _refuse_by_http)
    app.add_exception_handler(Exception, _confess)


def _images_at_once(image_shape):
    """How many images a model looks at together: of large ones fewer."""
    values = math.prod(image_shape)
    return max(1, min(reading.BATCH_SIZE, reading.MAX_VALUES // values))


def _checked_name(name, where):
    """The name that is given, or that of the preset."""
    if name is None:
        name = str(where) if str(where) in presets.names() else "model"
    if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
        raise ValueError(
            "The name stands in URLs: letters, digits and any of `._-`. "
            f"Received: name={name!r}"
        )
    return name


def _page_file(name):
    async def send():
        return FileResponse(PAGE / name, headers={"Cache-Control": "no-cache"})

    return send


async def _refuse_by_http(request, error):
    """The refusals of paths and methods that are none."""
    reason = error.detail
    if error.status_code in (404, 405):
        path = reprlib.repr(request.url.path)
        reason = f"There is nothing to {request.method} at {path}"
    return JSONResponse({"error": reason}, error.status_code, error.headers)


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
