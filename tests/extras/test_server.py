"""`keras-edram serve`: the protocol, refusals, and under load."""

import base64
import concurrent.futures
import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys

import malformed
import numpy as np
import pytest
import tiny

pytest.importorskip("kserve", reason='needs ".[serve]"')

import answers
import rest_client

from keras_edram import cli
from keras_edram.models import Baseline

TINY = "/v1/models/tiny"
TOO_LARGE = 50_000_000  # bytes
RESIDENT = "process_resident_memory_bytes"


@contextlib.contextmanager
def serving(path, *arguments):
    """The command in another process; gives it and its address."""
    command = [sys.executable, "-m", "keras_edram.cli", "serve", path]
    server = subprocess.Popen(
        [*map(str, command), "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = server.stdout.readline()
        yield server, re.search(r"http://([\d.]+:\d+)/ until", line).group(1)
    finally:
        server.terminate()
        server.wait(30)
        server.stdout.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.keras"
    tiny.reader().save(path)
    return path


@pytest.fixture(scope="module")
def address(path):
    with serving(path, "--name", "tiny") as (_, address):
        yield address


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 256, (3, 40, 50, 1), "uint8")


def ask(address, path, body=None, method=None, headers=None):
    """Status and value of a reply; a dictionary is sent as JSON."""
    if isinstance(body, dict):
        body = json.dumps(body)
    method = method or ("GET" if body is None else "POST")
    connection = http.client.HTTPConnection(address, timeout=120)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        content = reply.read()
        if "json" in reply.headers["Content-Type"]:
            content = json.loads(content)
        return reply.status, content


def predict(address, *rows, **parameters):
    request = {"instances": rows}
    if parameters:
        request["parameters"] = parameters
    status, value = ask(address, f"{TINY}:predict", request)
    assert status == 200, value
    return value["predictions"]


def assert_same(found, expected, tolerance=1e-5):
    assert len(found) == len(expected)
    for row, other in zip(found, expected, strict=True):
        for name, value in other.items():
            if name in ("probability", "boxes"):
                np.testing.assert_allclose(row[name], value, atol=tolerance)
            else:
                assert row[name] == value


def test_arrays_pictures_and_both_are_read_as_by_the_model(address, images):
    expected = tiny.reader().read(images)
    rows = images.tolist()
    pictures = [malformed.b64(tiny.png(image)) for image in images]
    assert_same(predict(address, *rows), expected)
    assert_same(predict(address, *pictures), expected)
    mixed = predict(address, rows[0], pictures[1], rows[2])
    assert_same(mixed, expected)
    assert {row["num_glimpses"] for row in mixed} == {4}


def test_parameters_are_those_of_the_model(address, images):
    model, rows = tiny.reader(), images.tolist()
    budget = {"confidence": 0.3, "max_glimpses": 3}
    found = predict(address, *rows, **budget)
    assert_same(found, model.read(images, **budget))
    found = predict(address, *rows, refuse_below=1)
    assert_same(found, model.read(images, refuse_below=1.0))
    (found,) = predict(address, rows[0], glimpses=True, max_glimpses=2)
    assert np.shape(found["windows"]) == (2, 4, 2)
    assert len(found["patches"]) == len(found["seen"]) == 2


def test_any_content_type_is_json(address, images):
    body = json.dumps({"instances": images[:1].tolist()})
    for kind in ("text/plain", "application/json; charset=utf-8", "image/png"):
        headers = {"Content-Type": kind, "ce-specversion": "1.0"}
        status, _ = ask(address, f"{TINY}:predict", body, headers=headers)
        assert status == 200


def test_the_client_of_tensorflow_serving_works(address, images, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(tiny.png(images[0]))
    url = f"http://{address}{TINY}"
    found = rest_client.predict(url, [path])
    assert_same(found, tiny.reader().read(images[:1]))
    assert "% sure, at (" in answers.sentence(found[0])
    answers.draw([path], found, tmp_path / "answer.png")
    with pytest.raises(answers.RequestError, match="404: .*other"):
        rest_client.predict(f"http://{address}/v1/models/other", [path])


def test_it_says_that_it_is_ready_and_what_it_is(address):
    assert ask(address, "/v1/models") == (200, {"models": ["tiny"]})
    assert ask(address, TINY) == (200, {"name": "tiny", "ready": True})
    status, value = ask(address, f"{TINY}/metadata")
    assert status == 200
    assert value["model"] == "EDRAM" and value["class_names"] == tiny.NAMES
    assert value["inputs"][0]["shape"] == [-1, 40, 50, 1]
    assert value["num_glimpses"] == 4


def metric(address, name):
    _, content = ask(address, "/metrics")
    (value,) = re.findall(rf"^{re.escape(name)} (\S+)$", content.decode(), re.M)
    return float(value)


def test_metrics_count_the_requests(address, images):
    name = 'request_predict_seconds_count{model_name="tiny"}'
    predict(address, images[0].tolist())
    before = metric(address, name)
    predict(address, images[0].tolist())
    assert metric(address, name) == before + 1


@pytest.mark.parametrize("case", malformed.CASES)
def test_a_wrong_request_is_refused_in_one_sentence(address, case):
    request, words = malformed.CASES[case]
    body = json.dumps(request).encode()
    status, value = ask(address, f"{TINY}:predict", body)
    assert status == 400 and list(value) == ["error"]
    assert re.search(words, value["error"])


def chunks(size):
    """A body of unknown length, for which HTTP has chunks."""
    for _ in range(size // 100_000):
        yield b" " * 100_000


BODIES = {
    "no JSON": (b"instances", 400, "The body must be JSON: "),
    "no body": (b"", 400, "The body must be JSON: "),
    "no text": (b"\xff\xfe{}", 400, "The body must be JSON: "),
    "no end": (b'{"instances": [[', 400, "The body must be JSON: "),
    "a pit": (b"[" * 100_000, 400, "The body must be JSON: "),
    "NaN": (b'{"instances": [NaN]}', 400, "The body must be JSON: "),
    "large": (b" " * TOO_LARGE, 413, "at most 16,777,216 bytes"),
    "large in chunks": (chunks, 413, "at most 16,777,216 bytes"),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_body_that_is_none_is_refused_in_one_sentence(address, case):
    body, status, words = BODIES[case]
    if body is chunks:
        body = chunks(TOO_LARGE)
    found, value = ask(address, f"{TINY}:predict", body)
    assert (found, list(value)) == (status, ["error"])
    assert words in value["error"]
    assert ask(address, TINY)[0] == 200


@pytest.mark.parametrize(
    "method, target, status, words",
    [
        ("POST", "/v1/models/other:predict", 404, "name other does not exist"),
        ("GET", "/v1/models/other", 404, "name other does not exist"),
        ("GET", "/v1/models/other/metadata", 404, "name other does not exist"),
        ("POST", f"{TINY}/versions/1:predict", 404, "nothing to POST at"),
        ("POST", f"{TINY}:explain", 400, "Nothing is explained here"),
        ("GET", f"{TINY}:predict", 404, "tiny:predict does not exist"),
        ("POST", "/v2/repository/models/tiny/unload", 404, "nothing to POST"),
        ("GET", "/../setup.cfg", 404, "nothing to GET at"),
        ("DELETE", "/", 405, "nothing to DELETE at '/'"),
    ],
)
def test_what_is_not_there_is_refused(address, method, target, status, words):
    body = {} if method == "POST" else None
    found, value = ask(address, target, body, method)
    assert found == status and words in value["error"]


def test_the_page_is_there_and_takes_nothing_from_elsewhere(address):
    status, content = ask(address, "/")
    assert status == 200 and b"<title>" in content
    files = re.findall(r'(?:src|href)="(\w\S*)"', content.decode())
    assert set(files) == {"data:,", "script.js", "style.css"}
    for file in ("script.js", "drawing.js", "picture.js", "style.css"):
        status, content = ask(address, f"/{file}")
        assert status == 200 and b"//" not in content.replace(b"// ", b"")
        for other in re.findall(r'from "\./(\S+)"', content.decode()):
            assert ask(address, f"/{other}")[0] == 200


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--name", "a/b"], "stands in URLs"),
        (["--port", "70000"], "a free port. Received: .*70000"),
        (["--host", "no such host"], "an address of this machine"),
        (["--deadline", "0"], "seconds above 0. Received: deadline=0.0"),
        (["--deadline", "nan"], "seconds above 0. Received: deadline=nan"),
    ],
)
def test_wrong_arguments_are_one_line(path, arguments, words, capsys):
    assert cli.main(["serve", str(path), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(words, line)


def test_a_port_that_is_taken_is_one_line(path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert cli.main(["serve", str(path), "--port", port]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"port={port}" in line and "already in use" in line


def test_a_model_without_glimpses_is_served_until_ctrl_c(tmp_path, images):
    model = Baseline((40, 50, 1), num_classes=3)
    model.save(tmp_path / "model.keras")
    with serving(tmp_path / "model.keras") as (server, address):
        url = "/v1/models/model:predict"
        request = {"instances": images.tolist()}
        _, value = ask(address, url, request)
        assert_same(value["predictions"], model.read(images))
        request["parameters"] = {"confidence": 0.9}
        status, value = ask(address, url, request)
        assert (
            status == 400
            and "one model that looks step by step" in value["error"]
        )
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
        assert server.stdout.read() == ""


@pytest.mark.slow
def test_it_stands_wrong_requests_among_many(address):
    """200 requests, 20 at a time, and 100 malformed ones among them."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (200, 40, 50, 1), "uint8")
    expected = tiny.reader().read(images)
    wrong = [json.dumps(request) for request, _ in malformed.CASES.values()]
    wrong += [body for body, _, _ in BODIES.values() if body is not chunks]
    while len(wrong) < 80:  # of any shape and type
        wrong.append(json.dumps({"instances": [nonsense(generator)]}))
    wrong += [b" " * TOO_LARGE] * 10 + [chunks] * 10
    work = [(index, None) for index in range(200)]
    work += [(None, body) for body in wrong]
    work = [work[place] for place in generator.permutation(len(work))]

    def do(item):
        index, body = item
        if index is None:
            body = chunks(TOO_LARGE) if body is chunks else body
            status, value = ask(address, f"{TINY}:predict", body)
            assert status in (400, 413) and value["error"], value
            return
        row = images[index].tolist()
        if index % 2:
            row = malformed.b64(tiny.png(images[index]))
        # A batch of 200 is rounded otherwise than one image, and on noise a
        # glimpse enlarges that.
        found = predict(address, row)
        assert_same(found, expected[index : index + 1], tolerance=1e-3)

    resident = []
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        for part in range(3):
            list(pool.map(do, work[part::3]))
            resident.append(metric(address, RESIDENT))
    assert ask(address, TINY)[0] == 200
    print("resident MB:", [round(size / 1e6) for size in resident])
    assert resident[-1] <= 1.05 * resident[0]


def nonsense(generator):
    """A value of any shape and type, but no image."""
    kind = generator.integers(6)
    if kind == 0:
        return generator.choice([None, True, 7, "text"])
    if kind == 1:  # broken files
        content = bytearray(malformed.PICTURE)
        content[generator.integers(60)] ^= 0xFF
        return malformed.b64(bytes(content[: generator.integers(20, 60)]))
    if kind == 2:
        return {"b64": base64.b64encode(generator.bytes(1000)).decode()[1:]}
    if kind == 3:
        return {"pixels": 1}
    shape = generator.integers(1, 60, generator.integers(5))
    return generator.integers(-300, 300, [*shape[:3], 2]).tolist()
