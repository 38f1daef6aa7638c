import numpy as np
import pytest
from PIL import Image

from keras_edram.datasets import read_picture

GREY = np.arange(6, dtype="uint8").reshape(2, 3) * 40  # not square


def write(path, array, mode=None, **options):
    Image.fromarray(array, mode).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tiff", "webp"])
def test_a_grey_picture_is_read_as_it_is(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    path = write(tmp_path / f"p.{suffix}", GREY, **options)
    picture = read_picture(path, (2, 3, 1))
    np.testing.assert_array_equal(picture, GREY[..., None])
    assert picture.dtype == np.uint8


def test_a_jpeg_is_read_nearly_as_it_was(tmp_path):
    path = write(tmp_path / "p.jpg", np.full((8, 9), 120, "uint8"))
    assert np.abs(read_picture(path, (8, 9, 1)).astype(int) - 120).max() <= 2


def test_colour_and_grey_become_what_the_model_wants(tmp_path):
    colour = np.stack([GREY, GREY, GREY], axis=-1)
    path = write(tmp_path / "colour.png", colour)
    np.testing.assert_array_equal(
        read_picture(path, (2, 3, 1)), GREY[..., None]
    )
    path = write(tmp_path / "grey.png", GREY)
    np.testing.assert_array_equal(read_picture(path, (2, 3, 3)), colour)


def test_sixteen_bits_become_eight(tmp_path):
    path = write(tmp_path / "deep.png", GREY.astype("uint16") * 256)
    np.testing.assert_array_equal(
        read_picture(path, (2, 3, 1)), GREY[..., None]
    )


def test_transparent_parts_become_black(tmp_path):
    alpha = np.zeros((2, 3), "uint8")
    alpha[0] = 255
    path = write(
        tmp_path / "clear.png", np.stack([GREY, GREY, GREY, alpha], axis=-1)
    )
    picture = read_picture(path, (2, 3, 1))[..., 0]
    np.testing.assert_array_equal(picture[0], GREY[0])
    np.testing.assert_array_equal(picture[1], 0)


def test_the_rotation_that_a_camera_notes_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    Image.fromarray(GREY).save(tmp_path / "turned.png", exif=exif)
    picture = read_picture(tmp_path / "turned.png", (3, 2, 1))
    np.testing.assert_array_equal(picture[..., 0], np.rot90(GREY, -1))


def test_what_does_not_fit_is_refused_in_words(tmp_path):
    path = write(tmp_path / "p.png", GREY)
    with pytest.raises(ValueError, match="p.png.* 4x4 .*Received: 3x2"):
        read_picture(path, (4, 4, 1))
    with pytest.raises(ValueError, match=r"Received: image_shape=\(2, 3, 2\)"):
        read_picture(path, (2, 3, 2))
    with pytest.raises(FileNotFoundError, match="none.png"):
        read_picture(tmp_path / "none.png", (2, 3, 1))


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_a_broken_file_is_named(tmp_path, content):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="broken.png"):
        read_picture(path, (2, 3, 1))


def test_a_picture_that_was_cut_short_is_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (50, 50), "uint8")
    path = write(tmp_path / "short.png", noise)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match="short.png"):
        read_picture(path, (50, 50, 1))
