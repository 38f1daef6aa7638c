"""What the server holds against: slow clients, floods, hosts, signals."""

import asyncio
import concurrent.futures
import contextlib
import gzip
import http.client
import io
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time

import malformed
import numpy as np
import pytest
import tiny
from PIL import Image

pytest.importorskip("kserve", reason='needs ".[serve]"')

from keras_edram.models import Baseline
from keras_edram.server import answers, application
from keras_edram.server.guard import Hosts, Limits

PREDICT = "/v1/models/tiny:predict"
IMAGE = np.arange(2000).reshape(40, 50, 1) % 256
BODY = json.dumps({"instances": [IMAGE.tolist()]}).encode()
# Small, and with time for all that is to be answered on a busy machine.
LIMITS = Limits(
    seconds=60,
    checking=60,
    body=400_000,
    free_body=50_000,
    bodies=800_000,
    head=20_000,
    connections=12,
    grace=0.5,
)
IMPATIENT = LIMITS._replace(seconds=1)
SOON = 30  # seconds: enough on a busy machine, and half of what is too long
pytestmark = pytest.mark.filterwarnings("ignore:ORJSONResponse is deprecated")


@contextlib.contextmanager
def serving(reader, limits, host="127.0.0.1", allow_hosts=()):
    """Serves in a thread; gives the port."""
    running = application.server(reader, Hosts(host, allow_hosts), limits)
    with application._bound_socket("127.0.0.1", 0) as listener:
        listener.listen(100)
        port = listener.getsockname()[1]
        thread = threading.Thread(target=running.run, args=([listener],))
        thread.start()
        RUNNING[port] = running
        try:
            yield port
        finally:
            del RUNNING[port]
            running.should_exit = True
            thread.join()


RUNNING = {}  # the server of a port


def connections(port):
    """What the server has accepted and not ended: the clients' addresses."""
    return [one.client for one in [*RUNNING[port].server_state.connections]]


def wait_for(condition):
    """Waits for what happens soon, though a busy machine takes its time."""
    ends = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < ends, "It did not happen in time"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def reader():
    reader = application.Reader(tiny.reader(), "tiny", limits=LIMITS)
    reader.warm_up()
    return reader


@pytest.fixture(scope="module")
def port(reader):
    with serving(reader, LIMITS) as port:
        yield port


@pytest.fixture(scope="module")
def impatient(reader):
    with serving(reader, IMPATIENT) as port:
        yield port


def ask(port, path, body=None, method=None, headers=None, host=None):
    """Status, headers and value of a reply."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        method = method or ("GET" if body is None else "POST")
        connection.putrequest(method, path, skip_host=host is not None)
        headers = {**(headers or {})}
        if host is not None:
            headers["Host"] = host.replace("PORT", str(port))
        if body is not None:
            headers["Content-Length"] = str(len(body))
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        reply = connection.getresponse()
        content = reply.read()
        if content and "json" in reply.headers["Content-Type"]:
            content = json.loads(content)
        return reply.status, reply.headers, content


def answered(port):
    """Whether an image is read."""
    status, _, value = ask(port, PREDICT, BODY)
    return status == 200 and "sequence" in value["predictions"][0]


def test_a_model_whose_answers_are_no_numbers_is_not_served():
    model = tiny.reader()
    model.set_weights([values * np.nan for values in model.get_weights()])
    with pytest.raises(ValueError, match="probabilities .* must be numbers"):
        application.Reader(model, "tiny", limits=LIMITS).warm_up()


def connect(port, content=b""):
    """A connection on which so much was sent."""
    client = socket.create_connection(("127.0.0.1", port), timeout=30)
    client.sendall(content)
    return client


def readable(clients):
    """Those of the connections on which something has come."""
    found, _, _ = select.select(clients, [], [], 0)
    return found


def rest(client):
    """What comes until the connection is closed."""
    content = b""
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(2**16):
            content += part
    client.close()
    return content


def head(size, path=PREDICT):
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Length: {size}\r\n\r\n"
    ).encode()


# --- Hosts and origins ---

HOSTS = {
    "the address": ("127.0.0.1:PORT", None, 200),
    "without a port": ("127.0.0.1", None, 200),
    "its name": ("LocalHost:PORT", None, 200),
    "IPv6": ("[::1]:PORT", None, 200),
    "forwarded": ("localhost:9000", None, 200),
    "its own page": ("localhost:PORT", "http://localhost:PORT", 200),
    "its own page, by TLS": ("localhost:PORT", "https://localhost:PORT", 200),
    "a name that resolves to it": ("evil.example:PORT", None, 403),
    "and is its own origin": ("evil.example", "http://evil.example", 403),
    "a longer name": ("localhost.evil.example:PORT", None, 403),
    "a prefix": ("127.0.0.1.evil.example", None, 403),
    "another address": ("192.168.0.1:PORT", None, 403),
    "IPv6 of another": ("[2001:db8::1]:PORT", None, 403),
    "with a user": ("localhost:1@evil.example", None, 403),
    "a dot at the end": ("evil.example.", None, 403),
    "empty": ("", None, 403),
    "another site": ("localhost:PORT", "http://evil.example", 403),
    "another port": ("localhost:PORT", "http://localhost:1", 403),
    "another name of it": ("localhost:PORT", "http://127.0.0.1:PORT", 403),
    "a file": ("localhost:PORT", "null", 403),
    "an extension": ("localhost:PORT", "moz-extension://localhost:PORT", 403),
    "no origin": ("localhost:PORT", "", 403),
}


@pytest.mark.parametrize("case", HOSTS)
def test_only_hosts_of_this_machine_and_its_own_page_may_ask(port, case):
    host, origin, expected = HOSTS[case]
    headers = {}
    if origin is not None:
        headers["Origin"] = origin.replace("PORT", str(port))
    requests = [
        ("GET", "/", None),
        ("HEAD", "/script.js", None),
        ("GET", "/metrics", None),
        ("GET", "/v1/models", None),
        ("POST", PREDICT, BODY),
    ]
    for method, path, body in requests:
        status, found, value = ask(port, path, body, method, headers, host)
        assert status == expected, path
        if status == 403 and method != "HEAD":
            assert list(value) == ["error"]
        assert found["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in found["Content-Security-Policy"]
        assert found["X-Content-Type-Options"] == "nosniff"
        assert found["Referrer-Policy"] == "no-referrer"
        assert "Access-Control-Allow-Origin" not in found
    status, _, value = ask(port, PREDICT, None, "OPTIONS", headers, host)
    assert status == (403 if expected == 403 else 405) and value["error"]


@pytest.mark.parametrize("hosts", ["", "Host: a\r\nHost: localhost\r\n"])
def test_a_request_has_one_host(port, hosts):
    content = rest(connect(port, f"GET / HTTP/1.0\r\n{hosts}\r\n".encode()))
    assert content.startswith(b"HTTP/1.1 400 ") and b'{"error":' in content


@pytest.mark.parametrize(
    "host, allowed, name, origin, right",
    [
        ("0.0.0.0", (), "server.example", None, True),
        ("0.0.0.0", (), "server.example", "http://other.example", False),
        ("192.0.2.7", ("Server.example",), "server.example:80", None, True),
        ("192.0.2.7", ("server.example",), "other.example", None, False),
        ("192.0.2.7", ("server.example",), "192.0.2.7:8501", None, True),
        ("127.0.0.1", ("server.example",), "server.example", None, True),
        # A proxy that asks by another name than the browser asked it.
        (
            "127.0.0.1",
            ("server.example",),
            "127.0.0.1:8501",
            "https://server.example",
            True,
        ),
        ("::1", (), "[::1]:8501", None, True),
        ("::1", (), "[::2]:8501", None, False),
    ],
)
def test_other_hosts_are_allowed_by_name(host, allowed, name, origin, right):
    headers = [(b"host", name.encode())]
    if origin:
        headers.append((b"origin", origin.encode()))
    with (
        contextlib.nullcontext()
        if right
        else pytest.raises(application.Refusal)
    ):
        Hosts(host, allowed).check(headers)


# --- Slow clients ---


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", b""),
        (b"GET / HT", b""),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ", b""),
        (head(1000) + b"{", b"408 "),
        (
            b"POST / HTTP/1.1\r\nHost: localhost\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n5\r\n",
            b"408 ",
        ),
    ],
    ids=["nothing", "half a line", "half a head", "half a body", "a chunk"],
)
@pytest.mark.parametrize("first", [False, True], ids=["first", "second"])
def test_what_does_not_come_is_not_waited_for(impatient, first, content, words):
    began = time.monotonic()
    client = connect(impatient)
    if first:
        client.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while b'"tiny"' not in answer:
            part = client.recv(2**16)
            assert part, answer
            answer += part
    client.sendall(content)
    reply = rest(client)
    assert words in reply and bool(words) == bool(reply)
    assert time.monotonic() - began < SOON
    if words:
        assert b'{"error":"The body did not come within 1 sec' in reply


def test_a_drop_at_a_time_does_not_help(impatient):
    client = connect(impatient, b"GET / HTTP/1.1\r\nX-A: ")
    began = time.monotonic()
    with contextlib.suppress(OSError):
        while time.monotonic() - began < SOON:
            client.sendall(b"a")
            time.sleep(0.1)
    assert time.monotonic() - began < SOON


def test_an_answer_that_is_not_taken_is_dropped(impatient):
    request = {
        "instances": [IMAGE.tolist()] * 20,
        "parameters": {"glimpses": True},
    }
    body = json.dumps(request).encode()
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    client.settimeout(30)
    client.connect(("127.0.0.1", impatient))
    client.sendall((head(len(body)) + body) * 2)
    address = client.getsockname()
    wait_for(lambda: address in connections(impatient))
    wait_for(lambda: address not in connections(impatient))
    client.close()


def test_idle_connections_make_room(reader):
    with serving(reader, LIMITS._replace(seconds=8)) as port:
        check_idle_connections(port)


def check_idle_connections(port):
    idle = [connect(port, b"GET /") for _ in range(3 * LIMITS.connections)]
    # Until then none has waited for long enough to have to go.
    wait_for(lambda: len(connections(port)) == 2 * LIMITS.connections)
    time.sleep(1.1)  # now they have
    assert all(answered(port) for _ in range(5))
    for client in idle:
        assert b"200" not in rest(client)


def test_too_many_connections_are_told_so(reader, port, monkeypatch):
    read, go_on = answers.read, threading.Event()

    def late(model, questions):
        go_on.wait(60)
        return read(model, questions)

    monkeypatch.setattr(answers, "read", late)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        replies = [pool.submit(ask, port, PREDICT, BODY) for _ in range(20)]
        # Who is refused need not wait for the model.
        wait_for(lambda: any(reply.done() for reply in replies))
        go_on.set()
        replies = [reply.result() for reply in replies]
    assert {status for status, _, _ in replies} == {200, 503}
    for status, _, value in replies:
        if status == 503:
            assert "Too many connections at a time" in value["error"]
    assert answered(port)


def test_bodies_together_have_a_limit_and_small_ones_pass(reader):
    with serving(reader, LIMITS._replace(seconds=8)) as port:
        check_bodies_together(port)


def check_bodies_together(port):
    held = [
        connect(port, head(399_000) + b" " * 390_000) for _ in range(5)
    ]  # of 350,000 beyond what is free two fit
    wait_for(lambda: len(readable(held)) == 3)  # refused at once
    assert answered(port)
    replies = [rest(client) for client in held]
    assert sum(b"408 " in reply for reply in replies) == 2
    assert sum(b"Too many large requests" in reply for reply in replies) == 3
    wait_for(lambda: ask(port, PREDICT, b" " * 390_000)[0] == 400)


@pytest.mark.parametrize("where", ["head", "trailer", "chunk", "one name"])
def test_a_head_without_end_is_refused(port, where):
    start = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
    chunked = start + b"Transfer-Encoding: chunked\r\n\r\n"
    start, part = {
        "head": (start, b"A: b\r\n" * 100),
        "one name": (start + b"A: ", b"a" * 600),
        "trailer": (chunked + b"1\r\na\r\n0\r\n", b"A: b\r\n" * 100),
        "chunk": (chunked + b"1;", b"a" * 600),
    }[where]
    client = connect(port, start)
    began = time.monotonic()
    with contextlib.suppress(OSError):
        for _ in range(1000):
            client.sendall(part)
    reply = rest(client)
    assert time.monotonic() - began < SOON
    assert not reply or b"HTTP/1.1 431 " in reply or b" 400 " in reply


def test_what_is_no_http_is_refused_in_json(port):
    reply = rest(connect(port, b"no HTTP\r\n\r\n"))
    assert reply.startswith(b"HTTP/1.1 400 ")
    head, body = reply.split(b"\r\n\r\n")
    assert json.loads(body) == {"error": "The request must be HTTP"}
    assert b"x-frame-options: DENY" in head


# --- Slow pictures and answers ---


def slow_request():
    """A small body that takes ten seconds to decode: scans of one colour."""
    buffer = io.BytesIO()
    Image.new("L", (2000, 2000), 90).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    scan = content[content.rindex(b"\xff\xda") : -2]
    picture = malformed.b64(content[:-2] + 12 * scan + content[-2:])
    return gzip.compress(json.dumps({"instances": [picture] * 60}).encode())


def test_pictures_that_are_slow_to_decode_hold_nobody_up(
    reader, port, monkeypatch
):
    slow = slow_request()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        replies = [pool.submit(answered, port) for _ in range(8)]
        assert all(reply.result() for reply in replies)  # all are started
        monkeypatch.setattr(reader.checkers, "seconds", 2)
        replies = [pool.submit(ask, port, PREDICT, slow) for _ in range(3)]
        time.sleep(0.3)  # all three are at it
        assert answered(port)
        for reply in replies:
            status, _, value = reply.result()
            assert status == 503
            assert "could not be read within 2 seconds" in value["error"]
    monkeypatch.undo()
    assert answered(port)


def test_a_process_that_broke_down_is_replaced(reader, port):
    assert answered(port)
    for process in reader.checkers._started:
        process.kill()
        process.wait()
    assert answered(port)


def test_an_answer_that_comes_too_late_is_given_up(
    reader, port, impatient, monkeypatch
):
    read, go_on = answers.read, threading.Event()

    def stuck(model, questions):
        go_on.wait(60)
        return read(model, questions)

    monkeypatch.setattr(answers, "read", stuck)
    monkeypatch.setattr(reader, "limits", IMPATIENT)
    status, headers, value = ask(impatient, PREDICT, BODY)
    assert status == 503 and headers["Retry-After"] == "1"
    assert "no answer within 1 seconds" in value["error"]
    # It was checked before the model was busy.
    wait_for(lambda: ask(port, "/v1/models/tiny")[0] != 200)
    for path in ("/v1/models/tiny", "/v2/health/ready"):
        status, _, value = ask(port, path)
        assert status == 503 and "busy with one request" in value["error"]
    assert ask(port, "/v2/health/live")[0] == 200
    assert ask(port, PREDICT, BODY)[0] == 503
    go_on.set()
    monkeypatch.undo()
    assert answered(port) and ask(port, "/v1/models/tiny")[0] == 200


# --- Answers together ---


@pytest.fixture
def batches(monkeypatch):
    """Images of each batch; they wait until `batches.go_on` is set."""
    read = answers.read

    class Batches(list):
        go_on = threading.Event()

    def noted(model, questions):
        batches.append(sum(len(one.images) for one in questions))
        batches.go_on.wait(60)
        return read(model, questions)

    batches = Batches()
    monkeypatch.setattr(answers, "read", noted)
    yield batches
    batches.go_on.set()


def test_who_asks_meanwhile_is_answered_together(reader, port, batches):
    """Each by its own wishes, whatever is wrong with the others'."""
    images = np.random.default_rng(3).integers(0, 256, (8, 40, 50, 1), "uint8")
    wishes = 2 * [
        {},
        {"max_glimpses": 1},
        {"confidence": 0.3},
        {"refuse_below": 1},
    ]
    requests = []
    for number, (image, parameters) in enumerate(
        zip(images, wishes, strict=True)
    ):
        row = image.tolist() if number % 2 else malformed.b64(tiny.png(image))
        requests.append({"instances": [row], "parameters": parameters})
    buffer = io.BytesIO()
    Image.new("RGB", (300, 20), (90, 0, 0)).save(buffer, "JPEG")
    wide = malformed.b64(buffer.getvalue())  # of another size
    requests.append({"instances": [wide, wide]})
    bad = [
        {"instances": [malformed.b64(b"no picture")]},
        {"instances": [wide], "parameters": {"confidence": 2}},
    ]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        first = pool.submit(ask, port, PREDICT, BODY)
        wait_for(lambda: batches == [1])
        replies = [
            pool.submit(ask, port, PREDICT, json.dumps(request).encode())
            for request in [*bad, *requests]
        ]
        wait_for(lambda: len(reader.batcher._waiting) == len(requests))
        # Who cannot be answered need not wait, nor who asks for its health.
        assert [reply.result()[0] for reply in replies[:2]] == [400, 400]
        assert ask(port, "/v2/health/ready")[0] == 200
        batches.go_on.set()
        assert first.result()[0] == 200
        *found, two = [
            reply.result()[2]["predictions"] for reply in replies[2:]
        ]
    assert batches == [1, 8 + 2] and len(two) == 2
    for (row,), image, parameters in zip(found, images, wishes, strict=True):
        (expected,) = reader.model.read(image[None], **parameters)
        for name, value in expected.items():
            if name in ("probability", "boxes"):
                np.testing.assert_allclose(row[name], value, atol=1e-5)
            else:
                assert row[name] == value, name


def test_who_leaves_is_not_answered(reader, port, batches):
    clients = [connect(port, head(len(BODY)) + BODY)]
    wait_for(lambda: batches == [1])
    clients += [connect(port, head(len(BODY)) + BODY) for _ in range(5)]
    wait_for(lambda: len(reader.batcher._waiting) == 5)
    for client in clients[:4]:
        client.close()
    wait_for(lambda: len(reader.batcher._waiting) == 2)
    batches.go_on.set()
    for client in clients[4:]:
        assert client.recv(2**16).startswith(b"HTTP/1.1 200 ")
        client.close()
    assert batches == [1, 2]


def test_memory_has_room_for_some_large_requests(reader, batches, monkeypatch):
    monkeypatch.setattr(application.requests, "MAX_VALUES", 5 * IMAGE.size)
    places = asyncio.Semaphore(application.DECODED)  # of another event loop
    monkeypatch.setattr(reader, "_decoded", places)
    limits = LIMITS._replace(connections=40)
    with (
        serving(reader, limits) as port,
        concurrent.futures.ThreadPoolExecutor(20) as pool,
    ):
        replies = [pool.submit(ask, port, PREDICT, BODY)]
        wait_for(lambda: batches == [1])
        replies += [pool.submit(ask, port, PREDICT, BODY) for _ in range(19)]
        # Five of one image, and those that have a place of their own.
        decoded = 5 + application.DECODED
        wait_for(lambda: len(reader.batcher._waiting) == decoded - 1)
        time.sleep(0.3)  # more would come
        assert len(reader.batcher._waiting) == decoded - 1
        batches.go_on.set()
        assert {reply.result()[0] for reply in replies} == {200}
    assert reader._values == 0 and sum(batches) == 20


def test_long_json_leaves_others_their_turn(reader):
    """Readiness is told while megabytes of numbers are looked at."""
    body = b'{"instances": [[' + b"1.25," * 3_000_000 + b"1]]}"
    limits = LIMITS._replace(body=2**24, free_body=2**24)
    waits = []
    with (
        serving(reader, limits) as port,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        start = time.monotonic()
        reply = pool.submit(ask, port, PREDICT, body)
        while not reply.done():
            began = time.monotonic()
            assert ask(port, "/v1/models/tiny")[0] == 200
            waits.append(time.monotonic() - began)
        assert reply.result()[0] == 400
        took = time.monotonic() - start
    print("readiness, at most:", max(waits), "of", len(waits), "in", took)
    # Who is held up waits for the whole of it.
    assert max(waits) < took / 2


# --- Clients that leave, and signals ---

READY = "-- ready --"
APART = (
    f"READY = {READY!r}"
    + """
import sys, threading, time
import keras
from keras_edram.server import answers, application
from keras_edram.server.guard import Limits
seconds = float(sys.argv[2])
read = answers.read
def slow(*arguments):
    if threading.current_thread() is not threading.main_thread():
        time.sleep(seconds)
    return read(*arguments)
answers.read = slow
keras.ops.zeros(1)  # TensorFlow looks for devices, and says so
print(READY, file=sys.stderr, flush=True)  # after TensorFlow's notes
application.serve(sys.argv[1], name="tiny", port=0, limits=Limits(grace=1))
"""
)


@contextlib.contextmanager
def serving_apart(path, seconds):
    """Serves in another process, each batch so slowly; it and its port."""
    process = subprocess.Popen(
        [sys.executable, "-c", APART, str(path), str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        yield process, int(re.search(r":(\d+)/ until", line).group(1))
    finally:
        process.kill()
        process.communicate()


def said(process):
    """What a process that has ended wrote to standard error as a server."""
    return process.stderr.read().partition(f"{READY}\n")[2]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A model that is soon there, and answers soon."""
    path = tmp_path_factory.mktemp("model") / "tiny.keras"
    Baseline((40, 50, 1), num_classes=3).save(path)
    return path


def children(process):
    """Processes that a process has started."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)],
        capture_output=True,
        text=True,
    )
    return [int(pid) for pid in listed.stdout.split()]


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def accepted(port):
    """Waits until the server has whoever connected before, in their order."""
    assert ask(port, "/v1/models")[0] == 200


def test_sigterm_answers_or_refuses_all_and_leaves_nothing(path):
    with serving_apart(path, 0.5) as (process, port):
        for _ in range(20):  # leave in the middle of a body, or of an answer
            connect(port, head(1000) + b"{").close()
            connect(port, head(len(BODY)) + BODY).close()
        assert answered(port)
        asking = [connect(port, head(len(BODY)) + BODY) for _ in range(100)]
        accepted(port)
        wait_for(lambda: readable(asking))  # not all are refused
        apart = children(process)
        process.send_signal(signal.SIGTERM)
        replies = [rest(client) for client in asking]
        statuses = [reply.split()[1] for reply in replies]
        assert set(statuses) == {b"200", b"503"}, statuses
        for status, reply in zip(statuses, replies, strict=True):
            if status == b"503":
                assert b"The server is stopping" in reply
        assert process.wait(SOON) == -signal.SIGTERM
        assert said(process) == ""
        assert apart
        wait_for(lambda: not any(map(is_alive, apart)))


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_it_also_during_a_long_answer(path, times):
    with serving_apart(path, 1000) as (process, port):
        client = connect(port, head(len(BODY)) + BODY)
        accepted(port)
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
        reply = rest(client)
        assert reply.split()[1] == b"503"
        assert b"The server is stopping" in reply
        assert process.wait(SOON) == 0
        assert said(process) == ""


# --- Bodies ---


@pytest.mark.parametrize(
    "body, headers",
    [
        (gzip.compress(BODY), {"Content-Encoding": "gzip"}),
        (gzip.compress(BODY), {}),
        (BODY, {"Content-Encoding": "identity"}),
        (b"\xef\xbb\xbf" + BODY, {}),
    ],
    ids=["gzip", "gzip that is not named", "identity", "a mark of UTF-8"],
)
def test_a_body_may_be_packed(port, body, headers):
    status, _, value = ask(port, PREDICT, body, headers=headers)
    assert status == 200 and len(value["predictions"]) == 1


@pytest.mark.parametrize(
    "body, headers, status, words",
    [
        (BODY, {"Content-Encoding": "deflate"}, 415, "gzip. Received: .*defl"),
        (BODY, {"Content-Encoding": "gzip, br"}, 415, "Received: .*gzip, br"),
        (gzip.compress(BODY)[:-20], {}, 400, "plain or packed by gzip: "),
        (gzip.compress(b" " * 2**25), {}, 413, "at most 16,777,216 bytes"),
        (gzip.compress(gzip.compress(BODY)), {}, 400, "must be JSON"),
        (BODY.decode().encode("utf-16"), {}, 400, "seems to be in UTF-16"),
        (BODY.decode().encode("utf-16-be"), {}, 400, "seems to be in UTF-16"),
        (BODY.decode().encode("utf-32"), {}, 400, "seems to be in UTF-16"),
        (b'{"instances": [NaN]}', {}, 400, "NaN and Infinity are no numbers"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_in_words(
    port, body, headers, status, words
):
    found, _, value = ask(port, PREDICT, body, headers=headers)
    assert found == status and re.search(words, value["error"])


def test_heads_and_health_are_answered(port):
    for path in (
        "/",
        "/metrics",
        "/v1/models",
        "/v1/models/tiny",
        "/v1/models/tiny/metadata",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/tiny/ready",
    ):
        status, headers, value = ask(port, path)
        found, also, nothing = ask(port, path, method="HEAD")
        assert (status, found, nothing) == (200, 200, b"")
        assert headers["Content-Type"] == also["Content-Type"]
    assert value == {"name": "tiny", "ready": True}
    assert ask(port, "/v2/models/other/ready")[0] == 404


def test_what_is_strange_is_noted(port):
    dim = (IMAGE / 255).tolist()
    body = json.dumps({"instances": [IMAGE.tolist(), dim]}).encode()
    _, _, value = ask(port, PREDICT, body)
    usual, odd = (row.get("notes", []) for row in value["predictions"])
    assert not any("at most 1" in note for note in usual)
    assert "at most 1" in odd[0] and "[0, 255]" in odd[0]


def test_what_is_no_number_is_null(reader, port, monkeypatch):
    weights = reader.model.get_weights()
    reader.model.set_weights([weight * np.nan for weight in weights])
    try:
        parameters = {"glimpses": True}
        request = {"instances": [IMAGE.tolist()], "parameters": parameters}
        status, _, value = ask(port, PREDICT, json.dumps(request).encode())
    finally:
        reader.model.set_weights(weights)
    assert status == 200
    (row,) = value["predictions"]
    assert row["sequence"] is row["probability"] is None
