"""The figures are files that show what they are given."""

import math
import warnings

import numpy as np
import pytest
import tiny
from PIL import Image

from keras_edram import visualization
from keras_edram.datasets import mnist
from keras_edram.models import EDRAM, RAM, Ensemble
from keras_edram.visualization import canvas, glimpses


@pytest.fixture(scope="module")
def looked():
    images, targets = mnist("test").arrays(8)
    model = RAM(
        num_glimpses=3, num_scales=2, units=8, hidden_units=8, num_rollouts=1
    )
    return model, images, targets["labels"]


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


class Moved:
    """The same model, whose windows are nearer to the middle."""

    def __init__(self, model):
        self.model = model

    def __getattr__(self, name):
        return getattr(self.model, name)

    def glimpses(self, images):
        glimpses = self.model.glimpses(images)
        return {**glimpses, "transforms": glimpses["transforms"] * 0.5}


def test_paths_are_drawn_over_each_image(looked, tmp_path):
    model, images, labels = looked
    path = tmp_path / "paths.png"
    visualization.plot_paths(model, images, path, labels=labels)
    drawn = pixels(path)
    assert drawn.shape[1] > 2 * drawn.shape[0]  # 6 columns, 2 rows
    # The path's red, #d62728, and it moves with the locations.
    assert (np.abs(drawn - [0xD6, 0x27, 0x28]).sum(-1) < 6).sum() > 500
    visualization.plot_paths(Moved(model), images, tmp_path / "moved.png")
    assert (pixels(tmp_path / "moved.png") != drawn).any()


def test_the_scales_of_a_retina_stand_side_by_side(looked, tmp_path):
    model, images, _ = looked
    patch = model.glimpses(images)["patches"][0, 0, 0]  # (8, 8, 2)
    scales = model.patch_picture(patch)
    assert scales.shape == (8, 16, 1) and scales.dtype == np.uint8
    np.testing.assert_allclose(scales[:, 8:, 0], patch[..., 1] * 255, atol=1)
    visualization.plot_glimpses(model, images[:2], tmp_path / "glimpses.png")
    visualization.animate_glimpses(model, images[:2], tmp_path / "glimpses.gif")
    with Image.open(tmp_path / "glimpses.gif") as animation:
        assert animation.n_frames == 3


def test_sequences_are_drawn_with_the_names_of_their_objects(tmp_path):
    model = EDRAM(
        num_classes=4,
        class_names=["bolt", "nut", "pin"],
        terminal=True,
        num_targets=3,
        standardize=True,
        **{**tiny.SIZES, "glimpses_per_target": 1},
    )
    model.classification_output.bias.assign([0, 3, 0, -9])  # always a nut
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 50, 1), "uint8")
    for number, one in enumerate((model, Ensemble([model, model]))):
        path = tmp_path / f"{number}.png"
        visualization.plot_glimpses(one, images, path)
        # Its frames and its numbers are green, #2ca02c.
        green = np.abs(pixels(path) - [0x2C, 0xA0, 0x2C]).sum(-1) < 6
        assert green.sum() > 200
    visualization.animate_glimpses(model, images, tmp_path / "a.gif")
    one, two = (pixels(tmp_path / f"{number}.png").shape for number in (0, 1))
    # Each member has a row.
    assert two == (2 * one[0], *one[1:])
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == 3


def test_nothing_is_drawn_after_the_end(tmp_path):
    model = tiny.reader(num_targets=3)
    bias = model.classification_output.bias
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 50, 1), "uint8")
    # The end at once, and never: 2 and 6 glimpses of each member.
    for value, expected in ((99, 2), (-99, 6)):
        bias.assign([0, 0, 0, value])
        for reader in (model, Ensemble([model, model])):
            looks = reader.glimpses(images)
            lengths = reader.decode(looks)["lengths"]
            counts = glimpses._which_count(reader, looks, lengths)
            assert counts.shape == (2, 6)
            assert (counts == (np.arange(6) < expected)).all()
    bias.assign([0, 0, 0, 99])
    visualization.plot_glimpses(model, images, tmp_path / "glimpses.png")
    drawn = (pixels(tmp_path / "glimpses.png") < 255).any(axis=(0, 2))
    # The picture and two glimpses, in seven columns.
    assert drawn[: len(drawn) * 3 // 7].any()
    assert not drawn[len(drawn) * 3 // 7 + 5 :].any()


def test_each_member_has_a_path(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (1, 40, 50, 1), "uint8")
    members = [tiny.reader(), tiny.reader(seed=1, reading_order="backward")]
    red = []
    for number, reader in enumerate((members[0], Ensemble(members))):
        path = tmp_path / f"{number}.png"
        visualization.plot_paths(reader, image, path)
        near = np.abs(pixels(path) - [0xD6, 0x27, 0x28]).sum(-1) < 6
        red.append(near.sum())
    assert red[1] > 1.3 * red[0] > 0


def test_a_file_name_is_a_title_as_it_is_but_not_wider_than_its_image(
    monkeypatch, tmp_path
):
    model = tiny.reader(num_targets=1, terminal=False)
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 1), "uint8")
    figures, new_figure = [], glimpses.new_figure

    def kept(figsize):
        figures.append(new_figure(figsize))
        return figures[-1]

    monkeypatch.setattr(glimpses, "new_figure", kept)
    # Which mathematics would be, or a title that covers its neighbours.
    titles = [
        "$x^{2$_a.png",
        "2026-11-27 at the sea, the last one.png",
        "a.png",
    ]
    path = tmp_path / "glimpses.png"
    visualization.plot_glimpses(model, images, path, titles=titles)
    drawn = [axis for axis in figures[0].axes if axis.get_title()]
    named = [axis for axis in drawn if ".png" in axis.get_title()]
    texts = [axis.get_title() for axis in named]
    assert texts[::2] == titles[::2]
    assert texts[1].startswith("2026-11-") and texts[1].endswith("one.png")
    right = figures[0].axes[1].get_window_extent().x0
    for axis in named:
        extent = axis.title.get_window_extent()
        assert 0 <= extent.x0 < extent.x1 < right


def test_letters_of_any_script_are_drawn_or_written_as_numbers(
    images, tmp_path
):
    """And Matplotlib does not warn of those that its font lacks."""
    names = ["日本", "ไทย", "עברית 12"]
    model = tiny.reader()
    model.class_names = tuple(names)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        visualization.plot_glimpses(
            model,
            images,
            tmp_path / "glimpses.png",
            labels=[[0, 1], [1, 2], [2, 0]],
            titles=names,
        )
        visualization.plot_paths(model, images, tmp_path / "paths.png")
        visualization.animate_glimpses(model, images, tmp_path / "a.gif")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("twelve words", "twelve words"),
        ("thirteen word", "thirte… word"),
        ("日本日本日本", "日本日本日本"),
        ("日本日本日本日", "日本日…本日"),
        ("", ""),
    ],
)
def test_a_long_text_lacks_its_middle(text, expected):
    assert glimpses._clip(text, 12) == expected


def test_many_objects_are_written_on_some_lines():
    text = "reads: nut nut nut\n99.3% sure"
    assert glimpses._wrap(text) == text
    lines = glimpses._wrap("reads: " + "washer " * 40 + "\nsure").splitlines()
    assert len(lines) == 5 and max(map(len, lines)) <= glimpses.COLUMNS
    assert lines[0] == "reads: washer" and lines[3].endswith(" …")
    assert lines[4] == "sure"


@pytest.mark.parametrize(
    "order, expected", [("forward", "nought two"), ("backward", "two nought")]
)
def test_what_is_true_is_written_in_forward_order(order, expected):
    model = tiny.reader(reading_order=order)
    assert glimpses._true_sequence(model, [0, 2, 3, -1]) == expected


def test_the_error_that_is_left_is_drawn(tmp_path):
    path = tmp_path / "coverage.png"
    visualization.plot_coverage([0.9, 0.8, 0.3], [0, 0, 1], path)
    one = pixels(path)
    visualization.plot_coverage([0.9, 0.8, 0.3], [1, 0, 0], path)
    assert (pixels(path) != one).any()


def test_a_heat_map_shows_x_to_the_right_and_y_downwards(tmp_path):
    # All glimpses in the upper right quarter: x = 0.5, y = -0.5.
    transforms = np.tile(
        np.array([[0.2, 0, 0.5], [0, 0.2, -0.5]]), (50, 1, 1, 1, 1)
    )
    path = tmp_path / "heat_map.png"
    visualization.plot_heat_map(transforms, path)
    drawn = pixels(path).sum(-1)
    # The map is black but for one bright square; titles are thin, on white.
    dark = drawn < 30
    top, bottom = np.flatnonzero(dark.mean(axis=1) > 0.5)[[0, -1]]
    left, right = np.flatnonzero(dark.mean(axis=0) > 0.5)[[0, -1]]
    inside = drawn[top:bottom, left:right]
    y, x = (axis.mean() for axis in np.nonzero(inside > 300))
    assert y / (bottom - top) == pytest.approx(0.25, abs=0.03)
    assert x / (right - left) == pytest.approx(0.75, abs=0.03)


def test_curves_of_runs_are_drawn(tmp_path):
    path = tmp_path / "curves.png"
    curve = [[1_000_000, 0.5], [2_000_000, 0.1]]
    visualization.plot_curves({"a": {"one": curve}}, path)
    one = pixels(path)
    two = {"one": curve, "two": curve[::-1]}
    visualization.plot_curves({"a": two}, path)
    assert (pixels(path) != one).any()
    # A panel has each table, two beside each other, the last place is empty.
    visualization.plot_curves(dict.fromkeys("abc", two), path)
    drawn = pixels(path)
    height, width = drawn.shape[:2]
    assert width > 1.8 * one.shape[1] and height > 1.8 * one.shape[0]
    assert (drawn[height // 2 :, : width // 2] != 255).any()
    assert (drawn[height // 2 :, width // 2 :] == 255).all()
    for empty in ({}, {"a": {}}):
        with pytest.raises(ValueError, match="Received: curves"):
            visualization.plot_curves(empty, path)


def test_errors_of_models_are_drawn_over_their_costs(tmp_path):
    path = tmp_path / "costs.png"
    last, first = (4e8, 0.008), (28e6, 0.01)
    drawn = []
    for models in ({"a": [last]}, {"a": [first, last]}, {"b": [last]}):
        visualization.plot_costs(models, path, images_seen=600_000)
        drawn.append(pixels(path).tobytes())
    assert len(set(drawn)) == 3
    with pytest.raises(ValueError, match="Received: models"):
        visualization.plot_costs({}, path)
    for points in ([], [last, (1e6, 0.0)], [(0, 0.5)], [(1e6, math.nan)]):
        with pytest.raises(ValueError, match="Received: mine="):
            visualization.plot_costs({"mine": points}, path)


def test_letters_are_written_in_a_font_that_has_them():
    usual = canvas.written("nut 7")
    assert usual["s"] == "nut 7" and len(usual["fontfamily"]) == 1
    # Of those that come with Matplotlib one alone has this letter.
    other = canvas.written("\ue3c4\n")
    assert other["s"] == "\ue3c4\n"
    assert other["fontfamily"] == [*usual["fontfamily"], "STIXNonUnicode"]
    # None has this one, nor the letter of any script.
    none = canvas.written("a\U000e0fff")
    assert none == {**usual, "s": "a\\U000e0fff"}
    figure = canvas.new_figure((2, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number, text in enumerate(("猫", "\ue3c4", "\U000e0fff")):
            figure.text(0.1, 0.2 * number, **canvas.written(text))
        figure.canvas.draw()


@pytest.fixture(scope="module")
def any_size():
    return tiny.reader(image_shape=(None, None, 1))


def test_a_photo_is_drawn_in_its_own_resolution(any_size, tmp_path):
    generator = np.random.default_rng(0)
    photos = [
        generator.integers(0, 256, (*size, 1), "uint8")
        for size in ((300, 400), (40, 50))
    ]
    path = tmp_path / "photos.png"
    visualization.plot_glimpses(
        any_size, photos, path, labels=[[0, 1]] * 2, titles=["a.jpg", "b.jpg"]
    )
    drawn = pixels(path)
    # A twenty-fifth of the photo is beside it, and above it the title.
    top, left = round(0.4 * canvas.DPI) + 300 // 25, 400 // 25
    found = drawn[top : top + 300, left : left + 400].mean(axis=-1)
    assert np.corrcoef(found.ravel(), photos[0].ravel())[0, 1] > 0.8
    shown = (found == photos[0][..., 0]).mean()
    assert shown > 0.7  # the rest are windows
    red = np.abs(drawn - [0xD6, 0x27, 0x28]).sum(-1) < 6
    assert red[: top + 300, : left + 400].sum() > 300
    # The patches are beside it, below their titles.
    beside = drawn[top : top + 250, left + 400 + 30 :]
    assert (beside < 250).all(axis=-1).mean() > 0.1
    # One that is small is no stamp beside it.
    assert drawn.shape[0] > top + 300 + 200


def test_a_large_photo_is_no_thumbnail_and_many_are_no_wall(tmp_path):
    photo = np.zeros((3000, 4000, 1), "uint8")
    assert glimpses.photo_of(photo, 1).shape == (1500, 2000, 1)
    assert glimpses.photo_of(photo, 20).shape == (300, 400, 1)
    assert glimpses.photo_of(photo[:100, :100], 20).shape == (100, 100, 1)
    stripes = np.zeros((400, 600, 3))
    stripes[:, ::2, 1] = 200
    small = canvas.shrunk(stripes, 60)
    assert small.shape == (40, 60, 3) and small.dtype == np.uint8
    np.testing.assert_allclose(small[:, 2:-2, 1], 100, atol=3)
    assert not small[..., [0, 2]].any()


def test_photos_are_drawn_of_every_kind_of_model(any_size, tmp_path):
    generator = np.random.default_rng(0)
    photos = [
        generator.integers(0, 256, (*size, 1), "uint8")
        for size in ((30, 290), (40, 50))
    ]
    ram = tiny.ram(image_shape=(None, None, 1))
    for number, model in enumerate((Ensemble([any_size, any_size]), ram)):
        path = tmp_path / f"{number}.png"
        visualization.plot_glimpses(model, photos, path)
        visualization.plot_paths(model, photos, path.with_suffix(".jpg"))
        assert path.stat().st_size > 5_000
    visualization.animate_glimpses(any_size, photos, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == 4
