"""Checks requests and decodes their pictures in processes that can be ended.

JSON of a few megabytes keeps Python busy for a second, and a picture of a few
kilobytes can keep its decoder busy for an hour. Neither a thread nor the
decoder can be stopped, a process can: what is asked of the server is looked at
in a few of them, which end with the time that they have.

A process has Pillow and NumPy, and not TensorFlow: it takes little memory. To
it goes a line with the length of a body, and the body; back comes a line of
JSON, and the images.
"""

import concurrent.futures
import contextlib
import json
import subprocess
import sys
import threading

import numpy as np

from keras_edram.server import requests

PROCESSES = 4  # a request that is slow to check keeps one busy
MAX_MEMORY = 2 * 2**30  # bytes of a process
ENCODINGS = ("", "identity", "gzip", "x-gzip")
GZIP = b"\x1f\x8b"
UTF_8_MARK = b"\xef\xbb\xbf"
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
CHILD = """
import json, sys
options = json.loads(sys.argv[1])
sys.path[:] = options["path"]
from keras_edram.server import checking
checking.check_all(sys.stdin.buffer, sys.stdout.buffer, options)
"""


class Refusal(Exception):
    """A request that is not answered.

    Args:
        status: Integer, of HTTP.
        reason: String, one sentence.
    """

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Checkers:
    """A few processes that check requests to a model, started when needed.

    Args:
        facts: `Facts` of the model.
        seconds: Float, the time that the check of one request may take.

    Example:

    >>> body = json.dumps({"instances": images.tolist()}).encode()
    >>> checkers = Checkers(facts, seconds=15)
    >>> checkers.check(body).images.shape
    (5, 100, 100, 1)
    >>> checkers.close()
    """

    def __init__(self, facts, seconds):
        self.facts = facts
        self.seconds = seconds
        self.threads = concurrent.futures.ThreadPoolExecutor(PROCESSES)
        self._of_thread = threading.local()
        self._started = []
        self._lock = threading.Lock()  # of the processes that are started
        self._closed = False

    def check(self, body):
        """The question that is in a body; waits for it.

        Args:
            body: Bytes.

        Returns:
            `Question`.

        Raises:
            Refusal: For a body that is not right, or takes too long.
        """
        process = self._process()
        late = threading.Event()

        def end():
            late.set()  # first: who waits for the process then knows why
            process.kill()

        timer = threading.Timer(self.seconds, end)
        timer.start()
        try:
            process.stdin.write(b"%d\n" % len(body))
            process.stdin.write(body)
            process.stdin.flush()
            head = json.loads(process.stdout.readline() or "null")
            if head is None:
                raise EOFError
            if "error" in head:
                raise Refusal(head["status"], head["error"])
            images = np.empty(head["shape"], head["dtype"])
            if process.stdout.readinto(images) < images.nbytes:
                raise EOFError
        except (EOFError, OSError) as error:
            # Otherwise it broke down, by a decoder or for want of memory.
            _end(process)
            how = "to its end"
            if late.is_set():
                how = f"within {self.seconds:g} seconds"
            raise Refusal(
                503,
                f"The request could not be read {how}: send fewer or smaller "
                "pictures",
            ) from error
        finally:
            timer.cancel()
        return requests.Question(
            images, **head["parameters"], notes=head["notes"]
        )

    def close(self):
        """Ends the processes, whatever they are doing."""
        with self._lock:
            self._closed = True
        self.threads.shutdown(wait=False, cancel_futures=True)
        for process in self._started:
            _end(process)

    def _process(self):
        """The process of this thread, a new one if it was ended."""
        process = getattr(self._of_thread, "process", None)
        if process is not None and process.poll() is not None:
            _end(process)
            process = None
        if process is None:
            process = self._of_thread.process = self._start()
        return process

    def options(self):
        """What a process must know, plain values."""
        return {
            "path": sys.path,
            "facts": self.facts,
            "seconds": self.seconds,
        }

    def _start(self):
        options = json.dumps(self.options())
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", CHILD, options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl+C is for the server alone
        )
        with self._lock:
            running = [other for other in self._started if other.poll() is None]
            self._started = [*running, process]
            if self._closed:
                process.kill()
        return process


def _end(process):
    """Ends a process, if it has not ended, and what led to it."""
    process.kill()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):  # what it can no longer be told
            pipe.close()
    process.wait()


def check_all(source, target, options):
    """What a process does: checks bodies until there are no more."""
    import gc
    import signal
    import warnings

    warnings.simplefilter("ignore")  # Pillow's, of pictures of strangers
    _limit_memory()
    # An image of numbers is ten thousand lists and more, among which Python
    # would look for garbage again and again: half of the time that they take.
    gc.disable()
    gc.freeze()
    facts = requests.Facts(*options["facts"])
    facts = facts._replace(image_shape=tuple(facts.image_shape))
    for line in source:
        if hasattr(signal, "alarm"):  # if the server itself was killed
            signal.alarm(round(options["seconds"]) + 5)
        try:
            question = requests.parse(value_of(source.read(int(line))), facts)
            head = {
                "shape": question.images.shape,
                "dtype": question.images.dtype.name,
                "parameters": {
                    name: getattr(question, name)
                    for name in requests.PARAMETERS
                },
                "notes": question.notes,
            }
            images = question.images.data
        except ValueError as error:
            head, images = {"status": 400, "error": str(error)}, b""
        except Refusal as refusal:
            head = {"status": refusal.status, "error": refusal.reason}
            images = b""
        target.write(json.dumps(head).encode() + b"\n")
        target.write(images)
        target.flush()
        question = images = None
        gc.collect()
        if hasattr(signal, "alarm"):
            signal.alarm(0)


def value_of(body):
    """The value that a body holds in JSON, also if it was packed by gzip.

    Args:
        body: Bytes.

    Returns:
        Anything that JSON can say.

    Raises:
        ValueError: If it is not JSON.
        Refusal: With 413, if it is too large when unpacked.

    Example:

    >>> value_of(gzip.compress(b"[1, 2]"))
    [1, 2]
    """
    import orjson

    if body.startswith(GZIP):
        body = _unpacked(body)
    body = body.removeprefix(UTF_8_MARK)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        reason = str(error)
    if body.startswith(UTF_16_MARKS) or b"\0" in body[:4]:
        reason = "it must be in UTF-8, and seems to be in UTF-16 or UTF-32"
    elif any(name in body for name in (b"NaN", b"Infinity")):
        reason += "; NaN and Infinity are no numbers in JSON"
    raise ValueError(f"The body must be JSON: {reason}")


def check_encoding(name):
    """Refuses a body that is packed otherwise than by gzip.

    Args:
        name: String, the value of `Content-Encoding`.

    Raises:
        Refusal: With 415.
    """
    if name.strip().lower() not in ENCODINGS:
        raise Refusal(
            415,
            "The body must be plain or packed by gzip. "
            f"Received: Content-Encoding: {name[:50]}",
        )


def too_large(limit):
    """The refusal of a body."""
    return Refusal(
        413,
        f"The body must have at most {limit:,} bytes: send fewer or smaller "
        "pictures",
    )


def _limit_memory():
    """Rather ends this process than takes all memory of the machine."""
    try:
        import resource
    except ModuleNotFoundError:  # there is none on Windows
        return
    limits = (MAX_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1])
    resource.setrlimit(resource.RLIMIT_AS, limits)


def _unpacked(body):
    import gzip
    import io
    import zlib

    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            unpacked = file.read(requests.MAX_BODY + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"The body must be JSON, plain or packed by gzip: {error}"
        ) from error
    if len(unpacked) > requests.MAX_BODY:
        raise too_large(requests.MAX_BODY)
    return unpacked
