import numpy as np
import pytest
from PIL import Image

from keras_edram.datasets import read_picture
from keras_edram.datasets.pictures import decode_picture, picture_size

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
    path = write(tmp_path / "deep.png", GREY.astype("uint16") * 256 + 255)
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


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_in_the_head_is_that_of_the_picture(
    tmp_path, suffix, orientation
):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"p.{suffix}"
    options = {"compression": "tiff_lzw"} if suffix == "tiff" else {}
    Image.fromarray(GREY).save(path, exif=exif, **options)
    size = (2, 3) if orientation >= 5 else (3, 2)
    assert picture_size(path) == size
    assert decode_picture(path, colour=False).size == size


def test_a_picture_that_pillow_garbles_is_refused(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "plain.tiff"
    Image.fromarray(GREY).save(path, exif=exif)  # not compressed
    try:
        picture = read_picture(path, (3, 2, 1))[..., 0]
    except ValueError as error:
        assert "Save it anew" in str(error)
    else:  # a later Pillow reads it
        np.testing.assert_array_equal(picture, np.rot90(GREY, -1))


def test_the_size_is_known_without_the_pixels(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (50, 60), "uint8")
    for name in ("short.png", "short.jpg"):
        path = write(tmp_path / name, noise)
        path.write_bytes(path.read_bytes()[:-500])
        assert picture_size(path) == (60, 50)


def test_a_picture_of_another_size_is_stretched(tmp_path):
    path = write(tmp_path / "p.png", GREY)
    # Each pixel twice or thrice: the outermost stay as they are.
    picture = read_picture(path, (6, 6, 1))[..., 0]
    np.testing.assert_array_equal(
        picture[[[0], [-1]], [0, -1]], GREY[[[0], [-1]], [0, -1]]
    )
    assert (np.diff(picture.astype(int), axis=1) >= 0).all()
    assert read_picture(path, (1, 5, 3)).shape == (1, 5, 3)


def test_a_picture_that_is_shrunk_is_not_skipped_through(tmp_path):
    stripes = np.zeros((40, 60), "uint8")
    stripes[:, ::2] = 200
    path = write(tmp_path / "p.png", stripes)
    inner = read_picture(path, (4, 6, 1))[:, 1:-1]
    np.testing.assert_allclose(inner, 100, atol=4)


def test_what_cannot_be_read_is_refused_in_words(tmp_path):
    path = write(tmp_path / "p.png", GREY)
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


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp"])
def test_the_content_of_a_file_is_read_as_the_file(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"exif": exif} if suffix == "jpg" else {}
    path = write(tmp_path / f"p.{suffix}", GREY, **options)
    content = path.read_bytes()
    assert picture_size(content) == picture_size(path)
    np.testing.assert_array_equal(
        read_picture(content, (3, 2, 1)), read_picture(path, (3, 2, 1))
    )


def test_a_content_that_is_no_picture_is_refused(tmp_path):
    # Pillow would start another program to read an EPS file.
    path = write(tmp_path / "p.eps", GREY)
    for content in (b"", b"no picture", path.read_bytes()):
        with pytest.raises(ValueError, match="it is none of PNG, JPEG, "):
            picture_size(content)
    path = write(tmp_path / "p.png", GREY)
    with pytest.raises(ValueError, match="The content .* cannot be read"):
        read_picture(path.read_bytes()[:45], (2, 3, 1))
