"""The deployment in `export/tf_serving`, as far as it needs no extra.

The server is a stand-in, see `stand_in`; what needs TensorFlow Serving's own
messages is in `tests/extras`.
"""

import json
import pathlib
import re
import socket
import subprocess
import sys
import urllib.request

import answers
import numpy as np
import picture_files
import pytest
import rest_client
import stand_in
import tiny
import yaml
from PIL import Image

FOLDER = pathlib.Path(__file__).parents[2] / "export" / "tf_serving"
LABELS = {"stable": 1, "canary": 2}


@pytest.fixture(scope="module")
def url(served_folder, served_models):
    with stand_in.serve_rest(stand_in.StandIn(served_folder, LABELS)) as url:
        yield url


@pytest.fixture
def no_picture(tmp_path):
    path = tmp_path / "no_picture.png"
    path.write_text("This is no picture.")
    return path


def ask(url, request):
    """What the server replies to a request, as any HTTP program sends it."""
    data = json.dumps(request).encode()
    with urllib.request.urlopen(f"{url}:predict", data) as reply:
        return json.load(reply)


@pytest.mark.parametrize(
    "chosen, version",
    [
        ("", 2),  # the highest
        ("/versions/1", 1),
        ("/labels/stable", 1),
        ("/labels/canary", 2),
    ],
)
def test_the_client_has_the_answers_of_the_model(
    url, served_models, images, pictures, chosen, version
):
    found = rest_client.predict(url + chosen, pictures)
    tiny.assert_answers(found, served_models[version], images)


def test_a_picture_may_be_of_any_size(url, tmp_path):
    path = tmp_path / "large.jpg"
    Image.fromarray(np.full((90, 70, 3), 100, "uint8")).save(path)
    (answer,) = rest_client.predict(url, [str(path)])
    assert np.shape(answer["boxes"]) == (1, 4)


def test_metadata_lists_the_signatures(url):
    signatures = rest_client.metadata(f"{url}/labels/stable")
    for name, key, dtype in (
        ("serving_default", "images", "DT_FLOAT"),
        ("serving_uint8", "images", "DT_UINT8"),
        ("serving_bytes", "image_bytes", "DT_STRING"),
    ):
        assert signatures[name]["inputs"][key]["dtype"] == dtype
        assert "boxes" in signatures[name]["outputs"]


@pytest.mark.parametrize("signature", [None, "serving_uint8"])
def test_rows_and_columns_as_the_documentation_has_them(
    url, served_models, images, signature
):
    url, values = f"{url}/versions/1", images.tolist()
    chosen = {} if signature is None else {"signature_name": signature}
    rows = ask(url, {**chosen, "instances": values})
    assert set(rows) == {"predictions"} and len(rows["predictions"]) == 3
    tiny.assert_answers(rows["predictions"], served_models[1], images)
    named = [{"images": value} for value in values]
    assert ask(url, {**chosen, "instances": named}) == rows
    columns = ask(url, {**chosen, "inputs": values})
    assert set(columns) == {"outputs"}
    for name, value in columns["outputs"].items():
        assert value == [row[name] for row in rows["predictions"]]
    assert ask(url, {**chosen, "inputs": {"images": values}}) == columns


def test_a_client_looks_step_by_step(url, served_models, images):
    url, values = f"{url}/versions/1", images.tolist()
    request = {"signature_name": "start", "inputs": {"images": values}}
    state = ask(url, request)["outputs"]
    probabilities = []
    for _ in range(4):
        request = {"signature_name": "look", "inputs": {"images": values}}
        request["inputs"] |= state
        outputs = ask(url, request)["outputs"]
        state = {name: outputs[name] for name in state}
        probabilities.append(outputs["step_probabilities"])
    found = np.reshape(np.swapaxes(probabilities, 0, 1), (3, 2, 2, 4))
    expected = tiny.answers(served_models[1], images)["probabilities"]
    np.testing.assert_allclose(found.mean(axis=2), expected, atol=1e-5)


def test_refusals_are_one_error_with_the_servers_sentence(
    url, pictures, no_picture
):
    other = url.replace("/edram", "/other")
    for wrong, paths, status, words in (
        (url, [pictures[0], no_picture], 400, "Unknown image file format"),
        (other, pictures, 404, r"Servable not found .* Latest\(other\)"),
        (f"{url}/versions/3", pictures, 404, r"Specific\(edram, 3\)"),
        (f"{url}/labels/beta", pictures, 400, "version label: beta"),
        (f"{url}/nonsense", pictures, 400, "Malformed request"),
    ):
        with pytest.raises(answers.RequestError, match=words) as error:
            rest_client.predict(wrong, paths)
        assert f"answered {status}" in str(error.value)
    with pytest.raises(answers.RequestError, match="404"):
        rest_client.metadata(other)


@pytest.mark.parametrize(
    "request_, words",
    [
        # Height and width exchanged.
        ({"instances": np.zeros((1, 50, 40, 1)).tolist()}, "Shape of tensor"),
        ({"instances": [[1, 2], [3]]}, "inhomogeneous"),
        ({"instances": [{"pictures": 1}]}, "images"),
        ({"instances": [1], "inputs": [1]}, "one of 'inputs' or 'instances'"),
        ({"instances": [1], "signature_name": "serve"}, '"serve" not found'),
    ],
)
def test_wrong_requests_are_refused_with_a_reason(url, request_, words):
    with pytest.raises(urllib.error.HTTPError) as error:
        ask(url, request_)
    assert error.value.code == 400
    assert words in json.load(error.value)["error"]


def test_an_error_that_is_no_json_is_shown_as_it_is():
    # As C escapes an apostrophe, which JSON does not know.
    content = rb"""{ "error": "element 0 of \'instances\' list" }"""
    assert rest_client._error_of(content) == content.decode()
    assert rest_client._error_of(b"<html>Bad gateway") == "<html>Bad gateway"
    assert rest_client._error_of(b'{"error": "no"}') == "no"


def test_a_server_that_is_not_there_or_silent_is_one_error(pictures):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1/models/edram"
        with pytest.raises(answers.RequestError, match="timed out"):
            rest_client.predict(url, pictures, timeout=0.2)
    with pytest.raises(answers.RequestError, match="refused"):
        rest_client.predict(url, pictures)


def run(*arguments):
    return subprocess.run(
        [sys.executable, FOLDER / "rest_client.py", *map(str, arguments)],
        capture_output=True,
        text=True,
    )


def test_the_command_prints_and_draws(url, pictures, no_picture, tmp_path):
    plot = tmp_path / "answer.png"
    done = run("--url", f"{url}/labels/stable", *pictures, "--plot", plot)
    assert done.returncode == 0, done.stderr
    found = rest_client.predict(f"{url}/labels/stable", pictures)
    assert done.stdout.splitlines() == [
        f"{picture}: {answers.sentence(answer)}"
        for picture, answer in zip(pictures, found, strict=True)
    ]
    with Image.open(plot) as sheet:
        assert sheet.size == (3 * 400 + 2 * 8, 320)
    done = run("--url", url, no_picture)
    assert done.returncode == 1 and not done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("rest_client.py: error: http")


def answer_of(names, **changes):
    return {
        "lengths": len(names),
        "names": [*names, ""],
        "probability": 0.876,
        "boxes": [[0.5, 0, 1, 0.25]] * len(names) + [[0, 0, 0, 0]],
        "locations": [[[0, 0], [1, -1]]] * 2,
        **changes,
    }


def test_an_answer_is_one_line():
    box = "(0.500, 0.000, 1.000, 0.250)"
    for names, line in (
        (["4", "7"], f"47  87.6% sure, at {box} {box}"),
        (["10", "7"], f"10 7  87.6% sure, at {box} {box}"),
        ([], "nothing  87.6% sure"),
    ):
        assert answers.sentence(answer_of(names)) == line


def test_boxes_and_paths_are_drawn_where_they_are(tmp_path):
    picture, path = tmp_path / "black.png", tmp_path / "drawn.png"
    Image.new("L", (50, 100)).save(picture)
    reader = [[[0, 0.5], [1, 0.5]]]  # to the right, in the lower half
    ensemble = [reader, [[[-1, 0.75], [0, 0.75]]]]
    answer = answer_of(["4"], locations=ensemble)
    answers.draw([picture] * 2, [answer, answer_of([])], path)
    with Image.open(path) as drawn:
        assert drawn.size == (2 * 200 + 8, 400)
        first = np.asarray(drawn)[:, :200].astype(int)
    green = first[..., 1] - first[..., 0] > 50
    rows, columns = np.nonzero(green)  # x from 0.5 to 1, y from 0 to 0.25
    assert rows.min() < 5 and 95 <= rows.max() <= 105
    assert 95 <= columns.min() <= 105 and columns.max() > 195
    red = first[..., 0] - first[..., 1] > 50
    assert red[300, 150] and not red[300, 50]  # of the first reader
    assert red[350, 50] and not red[350, 150]  # of the second
    assert red[:280].sum() == 0


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_what_is_no_older_drawing_is_not_drawn_over(tmp_path, suffix):
    picture, photo = tmp_path / "black.png", tmp_path / f"photo.{suffix}"
    Image.new("L", (50, 100)).save(picture)
    Image.new("RGB", (90, 60)).save(photo)
    with pytest.raises(ValueError, match="a new file or an older drawing"):
        answers._check_writable(photo, [picture])
    path = tmp_path / f"drawn.{suffix}"
    for _ in range(2):
        answers._check_writable(path, [picture])
        answers.draw([picture], [answer_of(["4"])], path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_answers_are_drawn_on_the_turned_photo(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    stored = np.zeros((50, 100, 3), "uint8")
    stored[:, :50] = 255  # when shown: the upper half
    picture, path = tmp_path / f"photo.{suffix}", tmp_path / "drawn.png"
    Image.fromarray(stored).save(picture, exif=exif)
    answers.draw([picture], [answer_of(["4"], locations=[])], path)
    with Image.open(path) as drawn:
        assert drawn.size == (200, 400)
        shown = np.asarray(drawn).astype(int)
    assert shown[50, 50].min() > 200 and shown[350, 100].max() < 50
    green = shown[..., 1] - shown[..., 0] > 50
    rows, columns = np.nonzero(green)  # x from 0.5 to 1, y from 0 to 0.25
    assert rows.max() <= 105 and columns.min() >= 95


def test_what_is_drawn_on_stands_out_as_the_model_saw_it(tmp_path):
    path, drawn = tmp_path / "p.png", tmp_path / "drawn.png"
    for shade, ground in ((0, 255), (255, 0)):
        values = picture_files.drawn(shade)
        path.write_bytes(picture_files.encode(values))
        answers.draw([path], [answer_of([], locations=[])], drawn)
        with Image.open(drawn) as image:
            assert image.getpixel((5, 5)) == (ground,) * 3
            middle = image.width * 8.5 / 18, image.height / 2
            assert image.getpixel(tuple(map(int, middle))) == (shade,) * 3
    # 16 bits: from the darkest to the brightest.
    deep = np.array([[1000, 3000], [1000, 3000]], "uint16")
    path.write_bytes(picture_files.encode(deep))
    answers.draw([path], [answer_of([], locations=[])], drawn)
    with Image.open(drawn) as image:
        assert image.getpixel((5, 5)) == (0, 0, 0)
        assert image.getpixel((395, 5)) == (255, 255, 255)


def test_a_drawing_replaces_nothing_else(pictures, tmp_path, monkeypatch):
    folder = tmp_path / "photos"
    folder.mkdir()
    kept = pictures[0].read_bytes()
    for plot, words in (
        (folder, "must be a file of .png"),
        (tmp_path / "photos.png", "is a folder"),
        (pictures[0], "none of the pictures"),
        (folder / ".." / pictures[0].name, "none of the pictures"),
        (tmp_path / "answer.txt", "must be a file of .png"),
        (tmp_path / "nowhere" / "answer.png", "a folder that is there"),
    ):
        (tmp_path / "photos.png").mkdir(exist_ok=True)
        # Said before anybody is asked: there is no server at that port.
        command = ["rest_client.py", "--url", "http://127.0.0.1:1"]
        command += [str(pictures[0]), "--plot", str(plot)]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            rest_client.main()
        # Python prints a text, and ends with status 1.
        (line,) = ended.value.code.splitlines()
        assert words in line, plot
    assert pictures[0].read_bytes() == kept and folder.is_dir()


def test_a_drawing_that_fails_leaves_the_old_one(tmp_path):
    picture, path = tmp_path / "p.png", tmp_path / "drawn.png"
    Image.new("L", (50, 100)).save(picture)
    answers.draw([picture], [answer_of([])], path)
    kept = path.read_bytes()

    class FullDisk(Exception):
        pass

    def fail(image, where, *_, **__):
        pathlib.Path(where).write_bytes(b"half")
        raise FullDisk

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image.Image, "save", fail)
        with pytest.raises(FullDisk):
            answers.draw([picture], [answer_of([])], path)
    assert path.read_bytes() == kept
    assert sorted(tmp_path.iterdir()) == [path, picture]


@pytest.mark.slow
def test_saved_model_cli_runs_it(
    served_folder, served_models, images, tmp_path
):
    np.save(tmp_path / "images.npy", images.astype("float32"))
    subprocess.run(
        [
            *(sys.executable, "-m", "tensorflow.python.tools.saved_model_cli"),
            *("run", "--dir", served_folder / "1", "--tag_set", "serve"),
            *("--signature_def", "serving_default"),
            *("--inputs", f"images={tmp_path / 'images.npy'}"),
            *("--outdir", tmp_path),
        ],
        check=True,
        capture_output=True,
    )
    for name, value in tiny.answers(served_models[1], images).items():
        found = np.load(tmp_path / f"{name}.npy")
        np.testing.assert_allclose(found, value, atol=1e-5)


def test_the_composition_and_the_readme_agree():
    service = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    service = service["services"]["edram"]
    assert re.fullmatch(r"tensorflow/serving:[\d.]+", service["image"])
    mounted = dict(volume.split(":")[1::-1] for volume in service["volumes"])
    assert mounted == {"/models": "./models", "/config": "."}
    flags = dict(flag[2:].split("=") for flag in service["command"])
    for name in ("model_config_file", "batching_parameters_file"):
        path = pathlib.PurePosixPath(flags[name])
        assert str(path.parent) == "/config" and (FOLDER / path.name).is_file()
    # The image's entry point gives the ports: 8500 gRPC, 8501 REST.
    assert [port.split(":")[-2:] for port in service["ports"]] == [
        ["8500", "8500"],
        ["8501", "8501"],
    ]
    assert rest_client.URL == "http://localhost:8501/v1/models/edram"
    readme = (FOLDER / "README.md").read_text()
    for text in (
        service["image"],
        rest_client.URL,
        "localhost:8500",
        "--out models/edram --model-version 1 --warmup",
        "--out models/edram --model-version 2 --warmup",
        "--allow_version_labels_for_unavailable_models=true",
        *(f"`{name}`" for name in ("models.config", "batching.config")),
    ):
        assert text in readme, text


def test_the_batching_parameters_are_documented_ones():
    lines = (FOLDER / "batching.config").read_text().splitlines()
    found = {}
    for line in lines:
        if line and not line.startswith("#"):
            name, value = re.fullmatch(r"(\w+) { value: (\d+) }", line).groups()
            found[name] = int(value)
    assert set(found) == {
        "max_batch_size",
        "batch_timeout_micros",
        "max_enqueued_batches",
        "num_batch_threads",
    }
    assert found["batch_timeout_micros"] <= 10_000  # a hundredth of a second
