"""What stands before the application: who may ask, how much, and how long.

A page of another site can make a browser ask a server on this machine. So a
request must name a host that the server goes by, which a site that merely
resolves to this machine does not, and must not come from a page of another
origin. A body is read here, within a limit and a time, before anyone works on
it; and every request is answered in time, if only to say that it cannot be.
"""

import asyncio
import contextlib
import ipaddress
import re
from typing import NamedTuple

from fastapi.responses import JSONResponse

from keras_edram.server.checking import Refusal, too_large
from keras_edram.server.requests import MAX_BODY

# On every response. Nothing is taken from elsewhere, whatever the name of a
# picture may say, and no page of another site shows or reads what is here.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
STOPPING = "The server is stopping: ask again later"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Limits(NamedTuple):
    """How much and how long.

    Attributes:
        seconds: Float, the time to wait for each of: the head of a request,
            its body, its answer, and that the answer is taken.
        checking: Float, the seconds of that to check and decode a request.
        body: Integer, bytes of a body.
        free_body: Integer, bytes of a body that can always be held.
        bodies: Integer, bytes beyond these that all bodies may have together.
        head: Integer, bytes of all that is no body.
        connections: Integer.
        grace: Float, seconds to end what is asked when the server stops.
    """

    seconds: float = 30
    checking: float = 15
    body: int = MAX_BODY
    free_body: int = 2**19
    bodies: int = 128 * 2**20
    head: int = 2**16
    connections: int = 256
    grace: float = 5


class Hosts:
    """Which hosts and origins a request may name.

    Args:
        host: String, the address that the server listens at. If it is not of
            this machine alone, all hosts are right unless some are named.
        names: Strings, further hosts, by which a proxy is asked.

    Example:

    >>> Hosts("127.0.0.1").check([(b"host", b"evil.example")])
    Traceback (most recent call last):
        ...
    Refusal: The server does not go by the name 'evil.example': ...
    """

    def __init__(self, host, names=()):
        self.names = {name.lower() for name in names}
        self.any = not (_is_loopback(host) or names)
        address = f"[{host}]" if ":" in host else host
        self.own = {*LOOPBACK, address.lower(), *self.names}

    def check(self, headers):
        """Raises a `Refusal` unless the headers of a request are right.

        Args:
            headers: List of names and values, bytes, as of ASGI.
        """
        hosts, origins = (
            [
                value.decode("latin-1").lower()
                for name, value in headers
                if name == wanted
            ]
            for wanted in (b"host", b"origin")
        )
        if len(hosts) > 1 or not (self.any or hosts):
            raise Refusal(400, "A request must have one header `Host`")
        host = hosts[0] if hosts else ""
        if not self.any and _name(host) not in self.own:
            raise Refusal(
                403,
                f"The server does not go by the name {host[:100]!r}: ask it at "
                "its address, or name the host by `--allow-host`",
            )
        for origin in origins:
            scheme, _, other = origin.partition("://")
            if scheme in ("http", "https") and (
                other == host or _name(other) in self.names
            ):
                continue
            raise Refusal(
                403,
                "A page of another site must not ask this server. "
                f"Received: Origin: {origin[:100]}",
            )


class Guard:
    """Middleware that refuses in time, and in JSON.

    Args:
        app: ASGI application.
        hosts: `Hosts`.
        limits: `Limits`.
    """

    def __init__(self, app, hosts, limits):
        self.app = app
        self.hosts = hosts
        self.limits = limits
        self.requests = set()  # tasks
        self.closing = False
        self._held = 0

    async def __call__(self, scope, receive, send):
        """Serves a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        reply = _Reply(send, lambda: self.closing)
        task = asyncio.current_task()
        self.requests.add(task)
        try:
            reason = await self._refused(scope, receive, reply)
            if reason is not None and not reply.started:
                response = refusal_response(reason)
                await response(scope, receive, reply.send)
        finally:
            self.requests.discard(task)

    def close(self):
        """From now on requests are refused."""
        self.closing = True

    async def abort(self):
        """Those that still wait are refused."""
        tasks = list(self.requests)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1)

    async def _refused(self, scope, receive, reply):
        """Serves a request; returns the `Refusal`, if it is refused."""
        try:
            await self._serve(scope, receive, reply)
        except Refusal as refusal:
            return refusal
        except asyncio.CancelledError:
            return Refusal(503, STOPPING)
        return None

    async def _serve(self, scope, receive, reply):
        if self.closing:
            raise Refusal(503, STOPPING)
        self.hosts.check(scope["headers"])
        with self._holding() as hold:
            reading = self._read(scope, receive, hold)
            try:
                body = await asyncio.wait_for(reading, self.limits.seconds)
            except asyncio.TimeoutError:
                raise Refusal(
                    408,
                    "The body did not come within "
                    f"{self.limits.seconds:g} seconds",
                ) from None
            if body is not None:
                await self._answer(scope, receive, body, reply)

    async def _read(self, scope, receive, hold):
        """The body, or `None` if the client has left."""
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if int(announced) > self.limits.body:
            raise too_large(self.limits.body)
        parts, more = [], True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            part = message.get("body", b"")
            hold(len(part))
            parts.append(part)
            more = message.get("more_body", False)
        return b"".join(parts)

    async def _answer(self, scope, receive, body, reply):
        """Hands a request on, until its time is over or its client leaves."""
        # HEAD is answered as GET is, and uvicorn leaves out the body.
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        unread = [{"type": "http.request", "body": body, "more_body": False}]
        left = asyncio.ensure_future(receive())

        async def whole():
            return unread.pop() if unread else await asyncio.shield(left)

        work = asyncio.ensure_future(self.app(scope, whole, reply.send))
        try:
            await asyncio.wait(
                {work, left},
                timeout=self.limits.seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if work.done() or reply.ended:
                await work  # raises what went wrong
            elif not left.done():
                raise Refusal(
                    503,
                    "There was no answer within "
                    f"{self.limits.seconds:g} seconds: ask again later, or for "
                    "less",
                )
        finally:
            for task in (work, left):
                task.cancel()
            await asyncio.wait({work, left})

    @contextlib.contextmanager
    def _holding(self):
        """A function that counts the bytes of a body among those of all."""
        size = 0

        def beyond(size):
            return max(size - self.limits.free_body, 0)

        def hold(number):
            nonlocal size
            if size + number > self.limits.body:
                raise too_large(self.limits.body)
            more = beyond(size + number) - beyond(size)
            if self._held + more > self.limits.bodies:
                raise Refusal(
                    503, "Too many large requests at a time: ask again later"
                )
            self._held += more
            size += number

        try:
            yield hold
        finally:
            self._held -= beyond(size)


class _Reply:
    """Sends a response with the headers of all, and knows how far it is."""

    def __init__(self, send, is_last):
        self._send = send
        self._is_last = is_last
        self.started = self.ended = False

    async def send(self, message):
        if message["type"] == "http.response.start":
            self.started = True
            headers = [*message.get("headers", []), *encoded(HEADERS)]
            if self._is_last() or message["status"] == 408:
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        else:
            self.ended = not message.get("more_body", False)
        await self._send(message)


def refusal_response(refusal):
    """The response that says why.

    Args:
        refusal: `Refusal`.

    Returns:
        `JSONResponse`.
    """
    headers = {"Retry-After": "1"} if refusal.status == 503 else None
    return JSONResponse({"error": refusal.reason}, refusal.status, headers)


def encoded(headers):
    """Headers as ASGI has them: a list of pairs of bytes."""
    return [
        (name.lower().encode(), value.encode())
        for name, value in headers.items()
    ]


def _name(host):
    """A host without its port, in small letters; of IPv6 with its brackets."""
    return re.sub(r":\d+$", "", host, flags=re.ASCII)


def _is_loopback(host):
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
