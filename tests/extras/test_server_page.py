"""The page of `keras-edram serve` in Chromium: drop, draw, errors, waiting."""

import base64
import contextlib
import io
import re
import shutil
import threading

import malformed
import numpy as np
import pytest
import tiny
from PIL import Image

pytest.importorskip("kserve", reason='needs ".[serve]"')
pytest.importorskip("selenium", reason='needs ".[serve-test]"')
CHROMIUM, DRIVER = map(shutil.which, ("chromium", "chromedriver"))
if not (CHROMIUM and DRIVER):
    pytest.skip("needs chromium and chromedriver", allow_module_level=True)

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from keras_edram.server import answers, application
from keras_edram.server.checking import Refusal
from keras_edram.server.guard import Hosts, Limits
from keras_edram.server.requests import Question

OPTIONS = (
    "--headless=new --window-size=1200,1000 --no-sandbox --disable-gpu "
    "--disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)
SECONDS = 60  # to wait for anything
pytestmark = pytest.mark.filterwarnings("ignore:ORJSONResponse is deprecated")
# As a person does it: the event has a file that script has made.
DROP = """
const content = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));
const dataTransfer = new DataTransfer();
if (arguments[1]) {
  dataTransfer.items.add(new File([content], "p", { type: arguments[1] }));
}
document.getElementById("canvas").dispatchEvent(new DragEvent(
  "drop", { dataTransfer, bubbles: true, cancelable: true }));
"""
# Colours of the canvas, row by row.
PIXELS = """
const canvas = document.getElementById("canvas");
const pixels = canvas.getContext("2d").getImageData(
  0, 0, canvas.width, canvas.height);
return [canvas.height, canvas.width, Array.from(pixels.data)];
"""


@pytest.fixture(scope="module")
def reader():
    return application.Reader(tiny.reader(), "tiny", dark_ground=True)


@contextlib.contextmanager
def serving(reader):
    """Serves in a thread; gives the server and the URL."""
    running = application.server(reader, Hosts("127.0.0.1"), Limits())
    with application._bound_socket("127.0.0.1", 0) as listener:
        listener.listen()
        thread = threading.Thread(target=running.run, args=([listener],))
        thread.start()
        try:
            yield running, f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            running.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def url(reader):
    with serving(reader) as (_, url):
        yield url


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    for option in (*OPTIONS.split(), f"--user-data-dir={profile}"):
        options.add_argument(option)
    service = webdriver.ChromeService(DRIVER)
    browser = webdriver.Chrome(options=options, service=service)
    yield browser
    browser.quit()


@pytest.fixture
def page(browser, url):
    browser.get(url)
    wait(browser, lambda: "50 × 40 pixels" in text(browser, "model"))
    yield browser
    errors = [
        entry["message"]
        for entry in browser.get_log("browser")
        if entry["level"] == "SEVERE" and "status of" not in entry["message"]
    ]
    assert not errors


@pytest.fixture
def image():
    return np.random.default_rng(1).integers(0, 256, (40, 50, 1), "uint8")


def wait(browser, condition):
    WebDriverWait(browser, SECONDS, 0.05).until(lambda _: condition())


def find(browser, name):
    return browser.find_element(By.ID, name)


def text(browser, name):
    return find(browser, name).text


def drop(browser, content, kind="image/png"):
    browser.execute_script(DROP, base64.b64encode(content).decode(), kind)


def pixels(browser):
    height, width, values = browser.execute_script(PIXELS)
    return np.array(values).reshape(height, width, 4)[..., :3]


def patches(browser):
    return find(browser, "patches").find_elements(By.TAG_NAME, "button")


def slide(browser, name, keys):
    find(browser, name).send_keys(keys)


def test_a_dropped_picture_is_read_and_stepped_through(page, image):
    drop(page, tiny.png(image))
    wait(page, lambda: text(page, "sure"))
    (answer,) = tiny.reader().read(image[None])
    assert text(page, "text") == answer["sequence"]
    sure = f"{answer['probability']:.1%}".replace("%", " %")
    assert text(page, "sure") == f"{sure} sure, after 4 of 4 glimpses"
    buttons = patches(page)
    assert [button.text.split("\n")[0] for button in buttons] == [
        f"Glimpse {number}" for number in (1, 2, 3, 4)
    ]
    assert "sees " in buttons[0].text
    last = pixels(page)
    assert buttons[3].get_attribute("aria-current") is not None
    find(page, "previous").click()
    assert buttons[2].get_attribute("aria-current") is not None
    assert (pixels(page) != last).any()
    find(page, "step").send_keys(Keys.ARROW_RIGHT)
    np.testing.assert_array_equal(pixels(page), last)
    find(page, "canvas").send_keys(Keys.ARROW_LEFT)
    assert buttons[2].get_attribute("aria-current") is not None
    buttons[0].click()
    assert find(page, "step").get_attribute("value") == "1"
    assert not find(page, "previous").is_enabled()


def test_the_windows_are_drawn_where_the_model_looked(page, image):
    drop(page, tiny.png(image * 0))
    wait(page, lambda: text(page, "sure"))
    question = Question(image[None] * 0.0, glimpses=True)
    ((row,),) = answers.read(tiny.reader(), [question])
    patches(page)[0].click()
    red = (np.abs(pixels(page) - [0xE5, 0x38, 0x3B]) < 30).all(axis=-1)
    height, width = red.shape
    for x, y in row["windows"][0]:
        x, y = (x + 0.05) / 1.1 * width, (y + 0.05) / 1.1 * height
        if 8 < x < width - 8 and 8 < y < height - 8:
            around = red[int(y) - 8 : int(y) + 8, int(x) - 8 : int(x) + 8]
            assert around.any()
    assert red.any()


def test_a_budget_ends_the_glimpses_and_reads_again(page, image):
    drop(page, tiny.png(image))
    wait(page, lambda: text(page, "sure"))
    slide(page, "glimpses", Keys.ARROW_LEFT * 2)
    assert text(page, "glimpses_said") == "2 of 4"
    wait(page, lambda: "after 2 of 4" in text(page, "sure"))
    assert len(patches(page)) == 2
    slide(page, "confidence", Keys.HOME)
    assert text(page, "confidence_said") == "50 %"


def test_a_drawing_by_the_mouse_is_read(page):
    find(page, "draw").click()
    canvas = find(page, "canvas")
    before = pixels(page)
    assert before.max() == 0  # black, for a model of grey images
    ActionChains(page, duration=50).click_and_hold(canvas).move_by_offset(
        60, 40
    ).move_by_offset(-60, 30).release().perform()
    assert pixels(page).max() == 255
    find(page, "read").click()
    wait(page, lambda: text(page, "sure"))
    assert len(patches(page)) == 4
    find(page, "clear").click()
    assert not patches(page) and pixels(page).max() == 0


def test_a_drawing_by_the_keyboard_is_read(page):
    find(page, "draw").send_keys(Keys.ENTER)
    canvas = find(page, "canvas")
    canvas.send_keys(Keys.ARROW_LEFT * 5)
    red = pixels(page)
    assert (red[..., 0] > red[..., 1]).any()  # where the pen is
    assert not (red == 255).all(axis=-1).any()
    canvas.send_keys(Keys.SPACE, Keys.ARROW_DOWN * 9, Keys.SPACE)
    assert (pixels(page) == 255).all(axis=-1).sum() > 100
    find(page, "read").send_keys(Keys.ENTER)
    wait(page, lambda: text(page, "sure"))


@pytest.mark.parametrize(
    "content, kind, words",
    [
        (b"no picture", "text/plain", "This file cannot be shown"),
        (malformed.PICTURE[:50], "image/png", "This file cannot be shown"),
        (malformed.png_head(8_000, 8_000), "image/png", "cannot be shown"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 99, "image/heic", "Save it as JPEG"),
        (b"", "image/png", "The file is empty"),
        (b"", None, "That is no file"),
    ],
    ids=["no picture", "cut short", "a bomb", "HEIC", "empty", "no file"],
)
def test_a_broken_file_shows_the_reason(page, content, kind, words):
    drop(page, content, kind)
    wait(page, lambda: words in text(page, "status"))
    assert "refused" in find(page, "status").get_attribute("class")
    assert not find(page, "cancel").is_displayed() and not patches(page)


@pytest.mark.parametrize(
    "status, words",
    [(400, "may be broken"), (413, "Cut out what"), (503, "Try again in a mo")],
)
def test_a_refusal_is_in_the_words_of_a_person(
    page, reader, image, monkeypatch, status, words
):
    def refuse(body):
        raise Refusal(status, "instances[0] must be what a program sends")

    monkeypatch.setattr(reader.checkers, "check", refuse)
    drop(page, tiny.png(image))
    wait(page, lambda: words in text(page, "status"))
    assert "instances" not in text(page, "status")


# A photo of the size of a phone's, of a kind that the server does not read,
# which is asked to be read at once.
PHOTO = """
const canvas = Object.assign(
  document.createElement("canvas"), { width: 8000, height: 4000 });
const context = canvas.getContext("2d");
context.fillStyle = "white";
context.fillRect(0, 0, 8000, 4000);
context.fillStyle = "black";
context.fillRect(4000, 0, 4000, 4000);
canvas.toBlob((blob) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([blob], "p", { type: "image/heic" }));
  document.body.dispatchEvent(new DragEvent(
    "drop", { dataTransfer, bubbles: true, cancelable: true }));
}, "image/jpeg");
"""


def test_a_photo_of_a_phone_is_made_anew_and_read(page, reader, monkeypatch):
    sizes, check = [], reader.checkers.check

    def watch(body):
        sizes.append(len(body))
        question = check(body)
        sizes.append(question.images)
        return question

    monkeypatch.setattr(reader.checkers, "check", watch)
    page.execute_script(PHOTO)
    wait(page, lambda: text(page, "sure"))
    size, images = sizes
    assert size < 2_000_000  # 8,000 x 4,000 pixels are refused by the server
    np.testing.assert_allclose(images[0, :, :20], 255, atol=3)
    np.testing.assert_allclose(images[0, :, 30:], 0, atol=3)


def photo():
    """A JPEG of 12 megapixels, and what it shows."""
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (30, 40), "uint8")
    picture = Image.fromarray(small).resize((4000, 3000))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=95)
    return buffer.getvalue(), np.asarray(Image.open(buffer))[..., None]


def test_a_photo_is_read_as_it_is_and_shown_near(browser, monkeypatch):
    reader = application.Reader(tiny.reader_of_any_size(), "any")
    assert reader.metadata()["inputs"][0]["shape"] == [-1, -1, -1, 1]
    content, pixels_of_photo = photo()
    asked, answer = [], reader.batcher._answer

    def small(questions):
        """As if it had found something small."""
        asked.extend(questions)
        answers = answer(questions)
        for row in answers[0]["predictions"]:
            row["windows"][-1] = [
                [0.5, 0.5],
                [0.6, 0.5],
                [0.6, 0.6],
                [0.5, 0.6],
            ]
            row["boxes"] = [[0.5, 0.5, 0.6, 0.6]]
        return answers

    monkeypatch.setattr(reader.batcher, "_answer", small)
    with serving(reader) as (_, url):
        browser.get(url)
        wait(
            browser,
            lambda: "images of any size, grey" in text(browser, "model"),
        )
        assert not find(browser, "zoom").is_displayed()
        drop(browser, content, "image/jpeg")
        wait(browser, lambda: text(browser, "sure"))
        (question,) = asked
        assert question.images.dtype == np.uint8
        np.testing.assert_array_equal(question.images[0], pixels_of_photo)
        assert find(browser, "zoom").accessible_name == "Zoom in"
        whole = pixels(browser)
        assert pressed(browser) == "false"
        find(browser, "canvas").click()
        near = pixels(browser)
        assert near.shape == whole.shape and pressed(browser) == "true"
        # In the middle is that of the box, 10 canvas pixels being 8 of these.
        height, width, _ = near.shape
        middle = near[height // 2 - 5 : height // 2 + 5, width // 2]
        seen = pixels_of_photo[1646:1654, 2200].mean()
        assert abs(middle.mean() - seen) < 3
        find(browser, "canvas").send_keys(Keys.ENTER)
        assert pressed(browser) == "false"
        np.testing.assert_array_equal(pixels(browser), whole)
        find(browser, "zoom").send_keys(Keys.SPACE)
        np.testing.assert_array_equal(pixels(browser), near)
        find(browser, "draw").click()
        assert not find(browser, "zoom").is_displayed()
    browser.get_log("browser")


def pressed(browser):
    return find(browser, "zoom").get_attribute("aria-pressed")


def test_what_the_model_learnt_and_what_is_strange_are_said(page):
    assert "light digits on a dark ground" in text(page, "learnt")
    image = np.full((40, 50, 1), 255, "uint8")
    image[10:30, 10:30] = 0
    drop(page, tiny.png(image))
    wait(page, lambda: text(page, "sure"))
    assert "exchange light and dark" in text(page, "notes")
    image = 255 - image
    drop(page, tiny.png(image))
    # Of this one there is only the answer to be noted.
    wait(page, lambda: text(page, "notes").startswith("This image may hold"))
    assert text(page, "notes").endswith("no end was seen.")


def test_a_slow_answer_is_seen_to_be_slow_and_can_be_cancelled(
    page, reader, image, monkeypatch
):
    answered = threading.Event()
    answer = reader.batcher._answer

    def late(*arguments):
        answered.wait(SECONDS)
        return answer(*arguments)

    monkeypatch.setattr(reader.batcher, "_answer", late)
    drop(page, tiny.png(image))
    wait(page, lambda: text(page, "status") == "Reading …")
    assert page.execute_script("return document.body.ariaBusy") == "true"
    # It counts on while a busy machine looks at it.
    still = re.compile(r"Still reading, for \d+ sec")
    wait(page, lambda: still.search(text(page, "status")))
    find(page, "cancel").click()
    wait(page, lambda: text(page, "status") == "Cancelled.")
    assert not find(page, "cancel").is_displayed()
    answered.set()
    find(page, "read").click()
    wait(page, lambda: text(page, "sure"))
    assert text(page, "status") == ""


def test_a_server_that_is_gone_is_said_to_be(browser, reader, image):
    with serving(reader) as (_, url):
        browser.get(url)
        wait(browser, lambda: "tiny" in text(browser, "model"))
    drop(browser, tiny.png(image))
    wait(browser, lambda: "Is it still running?" in text(browser, "status"))
    browser.get_log("browser")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_can_be_read(page, image, scheme):
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        dict(width=360, height=740, deviceScaleFactor=1, mobile=False),
    )
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        dict(features=[dict(name="prefers-color-scheme", value=scheme)]),
    )
    try:
        drop(page, tiny.png(image))
        wait(page, lambda: text(page, "sure"))
        assert page.execute_script(
            "return document.documentElement.scrollWidth <= innerWidth"
        )
        colour = page.execute_script(
            "return getComputedStyle(document.body).backgroundColor"
        )
        brightness = int(colour.split("(")[1].split(",")[0])
        assert (brightness > 128) == (scheme == "light")
        for control in page.find_elements(
            By.CSS_SELECTOR, "button, [type=range]"
        ):
            if control.is_displayed():
                assert control.size["height"] >= 44 and control.accessible_name
        find(page, "draw").click()
        for y in (0, 10_000):  # wherever the page is scrolled to
            page.execute_script(f"scrollTo(0, {y})")
            place = page.execute_script(
                "return document.getElementById('read')"
                ".getBoundingClientRect().toJSON()"
            )
            assert 370 < place["top"] < place["bottom"] <= 740
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_every_control_has_a_name(page):
    for control in page.find_elements(By.CSS_SELECTOR, "input, button, canvas"):
        hidden = not control.is_displayed()
        assert hidden or control.accessible_name
