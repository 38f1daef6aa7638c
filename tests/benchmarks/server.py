"""Pictures a second of the server: many requests of one, or one of many.

    python tests/benchmarks/server.py --out FILE.json

The server is the real one, `keras-edram serve`, in a process of its own; this
one asks. In turns: requests of 32 pictures, one after the other; then 32
clients that ask for one picture each, again and again, each on a connection
that stays open. Meanwhile another client asks every 20 ms whether the server
is ready. Read the ratio, taken round by round.
"""

import argparse
import asyncio
import base64
import contextlib
import datetime
import importlib.metadata
import io
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

import numpy as np
from edram_training_step import processor, wait_until_quiet
from PIL import Image

PRESET = "edram_small_cluttered_mnist"
PACKAGES = ("tensorflow", "keras", "kserve", "fastapi", "uvicorn")
PAUSE = 0.02  # seconds between two questions whether it is ready
OK = b"HTTP/1.1 200 "


@contextlib.contextmanager
def serving(model):
    """The command in another process; gives its port."""
    command = [sys.executable, "-m", "keras_edram.cli", "serve", model]
    server = subprocess.Popen(
        [*command, "--name", "model", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = server.stdout.readline()
        yield int(re.search(r":(\d+)/ until", line).group(1))
    finally:
        server.terminate()
        server.wait(30)


class Client:
    """A connection that stays open; the least work that asks by HTTP."""

    def __init__(self, port):
        self.port = port

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", self.port
        )
        return self

    async def __aexit__(self, *unused):
        self.writer.close()
        await self.writer.wait_closed()

    async def ask(self, request):
        """The body of the answer; and the seconds that it took."""
        start = time.perf_counter()
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        size = int(re.search(rb"content-length: (\d+)", head).group(1))
        body = await self.reader.readexactly(size)
        if not head.startswith(OK):
            raise RuntimeError(body.decode())
        return body, time.perf_counter() - start


def post(rows):
    """The bytes of a request to read pictures."""
    body = json.dumps({"instances": rows}).encode()
    head = (
        "POST /v1/models/model:predict HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


READY = b"GET /v1/models/model HTTP/1.1\r\nHost: localhost\r\n\r\n"


def rows_of(images, kind):
    """Images as rows of a request: files in base64, or lists of numbers."""
    if kind == "numbers":
        return images.tolist()
    rows = []
    for image in images:
        buffer = io.BytesIO()
        picture = image[..., 0] if image.shape[-1] == 1 else image
        Image.fromarray(picture).save(buffer, "PNG")
        rows.append({"b64": base64.b64encode(buffer.getvalue()).decode()})
    return rows


async def one_of_many(port, rows, seconds):
    """Requests of all rows after each other: pictures a second."""
    request, answered = post(rows), 0
    async with Client(port) as client:
        start = time.perf_counter()
        while not answered or time.perf_counter() - start < seconds:
            await client.ask(request)
            answered += len(rows)
        return answered / (time.perf_counter() - start)


async def many_of_one(port, rows, seconds):
    """A client for each row: pictures a second, and milliseconds of each."""
    latencies, readiness, end = [], [], time.perf_counter() + seconds

    async def ask_again(row):
        request = post([row])
        async with Client(port) as client:
            while time.perf_counter() < end:
                _, took = await client.ask(request)
                latencies.append(took)

    async def ask_whether_ready():
        async with Client(port) as client:
            while time.perf_counter() < end:
                _, took = await client.ask(READY)
                readiness.append(took)
                await asyncio.sleep(PAUSE)

    start = time.perf_counter()
    readier = asyncio.ensure_future(ask_whether_ready())
    await asyncio.gather(*map(ask_again, rows))
    rate = len(latencies) / (time.perf_counter() - start)
    await readier
    return rate, latencies, readiness


async def check(port, rows):
    """That requests of one have the answers of the request of all."""
    async with Client(port) as client:
        expected, _ = await client.ask(post(rows))
    expected = json.loads(expected)["predictions"]

    async def labels(row):
        async with Client(port) as client:
            body, _ = await client.ask(post([row]))
        return json.loads(body)["predictions"][0]["labels"]

    found = await asyncio.gather(*map(labels, rows))
    if found != [answer["labels"] for answer in expected]:
        raise RuntimeError("Together and alone, pictures are read otherwise")


def measure(port, rows, rounds, seconds):
    """Figures of all rounds."""
    asyncio.run(check(port, rows))
    asyncio.run(many_of_one(port, rows, 1))  # the first are slow
    rates, latencies, readiness, quiet = [], [], [], 0
    for _ in range(rounds):
        quiet += wait_until_quiet(limit=3)
        together = asyncio.run(one_of_many(port, rows, seconds))
        alone, took, ready = asyncio.run(many_of_one(port, rows, seconds))
        rates.append((together, alone))
        latencies += took
        readiness += ready
    together, alone = zip(*rates, strict=True)
    return {
        "rounds": rounds,
        "quiet_rounds": quiet,
        "together_pictures_per_second": spread(together),
        "alone_pictures_per_second": spread(alone),
        "ratio": spread([alone / together for together, alone in rates]),
        "latency_ms": percentiles(latencies),
        "readiness_ms": percentiles(readiness),
    }


def spread(values):
    """Median, smallest, largest."""
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }


def percentiles(seconds):
    """Half of them are shorter, and 99 of 100; in milliseconds."""
    half, most = np.percentile(seconds, (50, 99)) * 1e3
    return {
        "p50": round(half, 1),
        "p99": round(most, 1),
        "max": round(max(seconds) * 1e3, 1),
        "number": len(seconds),
    }


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default=PRESET)
    parser.add_argument("--rows", choices=("files", "numbers"), default="files")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4, help="of a turn")
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    from keras_edram.datasets import cluttered_mnist

    images, _ = cluttered_mnist("test").arrays(options.clients)
    rows = rows_of(images.astype("uint8"), options.rows)
    with serving(options.model) as port:
        figures = measure(port, rows, options.rounds, options.seconds)
    figures = {
        "model": options.model,
        "rows": options.rows,
        "clients": options.clients,
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {processor()}",
        "versions": {
            name: importlib.metadata.version(name) for name in PACKAGES
        },
        **figures,
    }
    print(json.dumps(figures, indent=2))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
