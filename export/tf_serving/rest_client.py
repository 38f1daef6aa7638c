"""Asks a model in TensorFlow Serving about picture files, by REST.

    python rest_client.py photo.png --plot answer.png

Asking needs nothing but Python; drawing needs Pillow.
"""

import argparse
import base64
import http.client
import json
import pathlib
import urllib.error
import urllib.request

import answers
from answers import RequestError

URL = "http://localhost:8501/v1/models/edram"


def predict(url, pictures, timeout=60):
    """Asks what is in picture files.

    Args:
        url: URL of the model; `/versions/2` or `/labels/canary` at its end
            chooses a version, otherwise the highest answers.
        pictures: Paths of picture files of any size, PNG, JPEG, ...
        timeout: Float, how many seconds to wait for the server.

    Returns:
        List of dictionaries, the outputs for each picture by name, in lists.

    Raises:
        RequestError: If the server refuses the request or does not answer.

    Example:

    >>> predict("http://localhost:8501/v1/models/edram", ["digit.png"])
    """
    contents = [pathlib.Path(picture).read_bytes() for picture in pictures]
    request = {
        "signature_name": "serving_bytes",
        "instances": [
            {"b64": base64.b64encode(content).decode()} for content in contents
        ],
    }
    return _ask(f"{url}:predict", timeout, request)["predictions"]


def metadata(url, timeout=60):
    """Asks for the signatures of a model: their inputs and outputs.

    Args:
        url: URL of the model, see `predict`.
        timeout: Float, how many seconds to wait for the server.

    Returns:
        Dictionary of name of the signature -> its description.

    Raises:
        RequestError: If the server refuses the request or does not answer.

    Example:

    >>> metadata(URL)["serving_default"]["inputs"]["images"]["dtype"]
    'DT_FLOAT'
    """
    reply = _ask(f"{url}/metadata", timeout)
    return reply["metadata"]["signature_def"]["signature_def"]


def _ask(url, timeout, request=None):
    """The reply to a GET, or to a POST of a request."""
    data = None if request is None else json.dumps(request).encode()
    try:
        with urllib.request.urlopen(url, data, timeout) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        raise RequestError(
            f"{url} answered {error.code}: {_error_of(error.read())}"
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise RequestError(f"{url} did not answer: {reason}") from error


def _error_of(content):
    """The server's own sentence; all of it when it is no proper JSON.

    TensorFlow Serving escapes it as C does, not always as JSON does.
    """
    text = content.decode(errors="replace")
    try:
        return json.loads(text)["error"]
    except (ValueError, LookupError, TypeError):
        return text


def main():
    """The command: prints what the model reads, and draws it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default=URL, help=f"defaults to {URL}")
    answers.run(
        parser,
        lambda given: predict(given.url, given.pictures, given.timeout),
    )


if __name__ == "__main__":
    main()
