"""Connections that do not wait for ever, and a server that ends in order.

uvicorn waits without end for the head of a request, and for a client to take
an answer; it takes heads of any size, and as many connections as there are.
"""

import asyncio
import signal

import uvicorn
from fastapi.responses import JSONResponse
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
)

from keras_edram.server.checking import Refusal
from keras_edram.server.guard import HEADERS, encoded, refusal_response

SETTLED = 1.0  # seconds, after which one that waits may have to go


class Connection(HttpToolsProtocol):
    """uvicorn's connection with limits.

    It has a time to send the head of a request, and again to take the answer
    and send the next. If there are too many, the one that has waited longest
    is ended for the newcomer.

    Args:
        limits: `keras_edram.server.guard.Limits`.
        **kwargs: See uvicorn.
    """

    def __init__(self, *, limits, **kwargs):
        super().__init__(**kwargs)
        self.limits = limits
        self.waits_since = None
        self._timer = None
        self._around = 0  # bytes that are no body, of one request

    def connection_made(self, transport):
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > self.limits.connections:
            self._make_room()

    def connection_lost(self, exc):
        self._go_on()
        super().connection_lost(exc)

    def data_received(self, data):
        self._around += len(data)
        super().data_received(data)
        self._around = max(self._around, 0)
        if self._around > self.limits.head and not self.transport.is_closing():
            self._refuse(431, "The head of the request is too large")

    def on_body(self, body):
        # A chunk may have as much around it as in it.
        self._around -= 2 * len(body)
        super().on_body(body)

    def on_message_complete(self):
        self._around = 0
        super().on_message_complete()

    def on_headers_complete(self):
        self._go_on()
        super().on_headers_complete()

    def on_response_complete(self):
        super().on_response_complete()
        if self.cycle.response_complete:  # rather than that another follows
            self._wait()

    def send_400_response(self, msg):
        """Refuses what is not HTTP."""
        self._refuse(400, "The request must be HTTP")

    def _wait(self):
        """Until there is the head of a request; not for ever."""
        self._go_on()
        self.waits_since = self.loop.time()
        self._timer = self.loop.call_later(
            self.limits.seconds, self.transport.abort
        )

    def _go_on(self):
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.waits_since = None

    def _make_room(self):
        settled = self.loop.time() - SETTLED
        waiting = [
            other
            for other in self.connections
            if other.waits_since is not None and other.waits_since < settled
        ]
        if waiting:
            oldest = min(waiting, key=lambda other: other.waits_since)
            oldest._go_on()  # so that it is not chosen again
            oldest.transport.abort()
        elif len(self.connections) > 2 * self.limits.connections:
            self.transport.abort()
        else:
            self.app = _refuse_for_number

    def _refuse(self, status, reason):
        """Ends the connection with a response to what cannot be served."""
        response = JSONResponse({"error": reason}, status)
        headers = [*response.raw_headers, *encoded(HEADERS)]
        lines = [name + b": " + value for name, value in headers]
        lines += [b"connection: close", b"", response.body]
        self.transport.write(STATUS_LINE[status] + b"\r\n".join(lines))
        self.transport.close()


class Server(uvicorn.Server):
    """uvicorn's server, which answers or refuses all before it ends.

    Args:
        config: `uvicorn.Config`.
        guard: `keras_edram.server.guard.Guard`.
        at_end: Function without arguments, called before a signal that ended
            the server goes on to end the process; by default none.
    """

    def __init__(self, config, guard, at_end=None):
        super().__init__(config)
        self.guard = guard
        self.at_end = at_end

    def handle_exit(self, sig, frame):
        """A signal ends it in order, and Ctrl+C twice at once."""
        if not self.should_exit:
            super().handle_exit(sig, frame)
        elif sig == signal.SIGINT:
            self.force_exit = True

    async def shutdown(self, sockets=None):
        """Ends when all are answered; what takes long, or too long, is not."""
        self.guard.close()
        loop = asyncio.get_running_loop()
        ends = loop.time() + self.guard.limits.grace
        while self.guard.requests and loop.time() < ends:
            if self.force_exit:  # Ctrl+C, twice
                break
            await asyncio.sleep(0.05)
        await self.guard.abort()
        await super().shutdown(sockets)
        if self.at_end is not None:
            self.at_end()


async def _refuse_for_number(scope, receive, send):
    """The application of a connection that is one too many."""
    response = refusal_response(
        Refusal(503, "Too many connections at a time: ask again later")
    )
    response.raw_headers += [*encoded(HEADERS), (b"connection", b"close")]
    await response(scope, receive, send)
