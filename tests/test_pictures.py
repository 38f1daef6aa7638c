import os
import struct
import warnings

import numpy as np
import picture_files
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from keras_edram.datasets import read_picture
from keras_edram.pictures import (
    PictureWarning,
    check_content,
    decode_picture,
    picture_size,
)

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
    slope = np.arange(72, dtype="uint8").reshape(8, 9)
    path = write(tmp_path / "p.jpg", slope)
    picture = read_picture(path, (8, 9, 1))[..., 0]
    assert np.abs(picture.astype(int) - slope).max() <= 2


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


def read_grey(values, tmp_path, name="p.tif", **options):
    """The greys that are read of a file of one row of values."""
    path = write(tmp_path / name, values[None], **options)
    return read_picture(path, (1, len(values), 1)).ravel().tolist()


@pytest.mark.parametrize(
    "values, dtype, expected",
    [
        ([0, 0.5, 1], "float32", [0, 128, 255]),
        ([0, 0.5, 0.75], "float32", [0, 128, 191]),
        ([0, 1.4, 255], "float32", [0, 1, 255]),
        ([0, 7, 255], "uint16", [0, 7, 255]),
        ([0, 256, 4095], "uint16", [0, 16, 255]),
        ([0, 4096, 65535], "uint16", [0, 16, 255]),
        ([0, 4096, 65535], ">u2", [0, 16, 255]),
        ([0, 7, 255], "int32", [0, 7, 255]),
        ([0, 256, 65535], "int32", [0, 1, 255]),
    ],
)
def test_a_picture_has_the_depth_that_its_largest_value_needs(
    values, dtype, expected, tmp_path
):
    assert read_grey(np.array(values, dtype), tmp_path) == expected


@pytest.mark.parametrize(
    "values, words",
    [
        ([0, -0.5, 1.0], "floats must be .* -0.5 to 1"),
        ([0, 0.5, 1.5], "reach 16. Received: 0 to 1.5"),
        ([0, 2.0, 300.0], "0 to 300"),
        ([0, 1.0, np.nan], "nan"),
        ([0, -7, 300], r"in \[0, 65535\]. Received: -7 to 300"),
        ([0, 7, 70000], "0 to 70000"),
    ],
)
def test_a_picture_of_no_known_depth_is_refused(values, words, tmp_path):
    dtype = "float32" if isinstance(values[1], float) else "int32"
    with pytest.raises(ValueError, match=words):
        read_grey(np.array(values, dtype), tmp_path)


def test_colours_of_16_bits_that_use_fewer_are_refused():
    deep = picture_files.DEEP
    assert decode_picture(picture_files.png(deep, 16, 6), colour=True)
    for kind, channels in ((2, 3), (4, 2), (6, 4)):
        content = picture_files.png(deep[..., :channels] // 16, 16, kind)
        with pytest.raises(ValueError, match="need 12 or fewer: save it"):
            decode_picture(content, colour=True)


def test_what_is_drawn_stands_out_from_its_ground(tmp_path):
    height, width = picture_files.SIDES
    for shade, ground in ((0, 255), (120, 255), (135, 0), (255, 0)):
        drawn = Image.fromarray(picture_files.drawn(shade))
        for name, picture in (
            ("p.png", drawn),
            ("grey.png", drawn.convert("LA")),
            ("p.webp", drawn),
            ("p.tif", drawn),
        ):
            options = {"lossless": True} if name == "p.webp" else {}
            picture.save(tmp_path / name, **options)
            found = read_picture(tmp_path / name, (height, width, 1))[..., 0]
            assert found[0, 0] == ground, (name, shade)
            assert abs(found[10, 8].astype(int) - shade) <= 1, (name, shade)
            assert abs(found[10, 6] - (shade + ground) / 2) <= 2, (name, shade)


def test_colours_may_be_multiplied_by_alpha_already(tmp_path):
    drawn = Image.fromarray(picture_files.drawn(120))
    multiplied = Image.fromarray(np.asarray(drawn.convert("RGBa")), "RGBA")
    content = picture_files.encode(multiplied, "TIFF")
    # The tag of the fourth channel: a short, one, 2 or 1 for this.
    plain, said = (struct.pack("<HHIHH", 338, 3, 1, k, 0) for k in (2, 1))
    assert content.count(plain) == 1
    (tmp_path / "p.tif").write_bytes(content.replace(plain, said))
    found = decode_picture(tmp_path / "p.tif", colour=False)
    expected = decode_picture(picture_files.encode(drawn), colour=False)
    np.testing.assert_allclose(np.asarray(found), expected, atol=2)


def test_any_way_to_be_transparent_is_understood(tmp_path):
    grey = np.array([[200, 10, 10, 30]], "uint8")  # the first is clear
    expected = [255, 10, 10, 30]
    palette = Image.fromarray(grey).convert("P")
    clear = palette.getpixel((0, 0))
    for name, picture, options in (
        ("grey.png", Image.fromarray(grey), {"transparency": 200}),
        (
            "colour.png",
            Image.fromarray(grey).convert("RGB"),
            {"transparency": (200, 200, 200)},
        ),
        ("palette.png", palette, {"transparency": clear}),
        ("palette.gif", palette, {"transparency": clear}),
        (
            "deep.png",
            Image.fromarray(grey.astype("uint16") * 257),
            {"transparency": 200 * 257},
        ),
    ):
        picture.save(tmp_path / name, **options)
        found = read_picture(tmp_path / name, (1, 4, 1)).ravel()
        assert found.tolist() == expected, name
    values = np.array([[13, 1, 1, 2]])  # in 4 bits
    content = picture_files.png(values, 4, 0, [13])
    found = read_picture(content, (1, 4, 1)).ravel()
    assert found.tolist() == [255, 17, 17, 34]


def test_hidden_colours_do_not_matter(tmp_path):
    shown = picture_files.drawn(0)
    hidden = shown.copy()
    hidden[hidden[..., 3] == 0] = (255, 0, 255, 0)
    pictures = [
        np.asarray(decode_picture(picture_files.encode(values), colour=True))
        for values in (shown, hidden)
    ]
    np.testing.assert_array_equal(*pictures)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB", "1", "P"])
def test_other_colours_are_converted(mode, tmp_path):
    colours = np.zeros((2, 3, 3), "uint8")
    colours[:, 1], colours[:, 2] = (250, 250, 250), (60, 160, 90)
    if mode == "1":
        colours[:, 1] = 255
        colours[:, 2] = 0
    picture = Image.fromarray(colours)
    if mode == "LAB":
        spaces = [ImageCms.createProfile(name) for name in ("sRGB", "LAB")]
        picture = ImageCms.profileToProfile(picture, *spaces, outputMode="LAB")
    else:
        picture = picture.quantize(3) if mode == "P" else picture.convert(mode)
    # Pillow 12.3 refuses its own YCbCr that is not compressed.
    picture.save(tmp_path / "p.tif", compression="tiff_lzw")
    found = read_picture(tmp_path / "p.tif", (2, 3, 3)).astype(int)
    assert np.abs(found - colours).max() <= 5
    grey = read_picture(tmp_path / "p.tif", (2, 3, 1)).astype(int)[..., 0]
    assert np.abs(grey - found @ (0.299, 0.587, 0.114)).max() <= 1


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


@pytest.mark.parametrize("channels", [1, 3])
def test_for_a_model_of_any_size_a_picture_stays_as_it_is(tmp_path, channels):
    path = tmp_path / "p.png"
    values = np.arange(4 * 7, dtype="uint16").reshape(4, 7) * 2300
    Image.fromarray(values).save(path)  # of 16 bits
    read = read_picture(path, (None, None, channels))
    assert read.shape == (4, 7, channels) and read.dtype == np.uint8
    np.testing.assert_array_equal(read, read_picture(path, (4, 7, channels)))
    turned = picture_files.encode(GREY, exif=picture_files.note(6))
    assert read_picture(turned, (None, None, channels)).shape == (
        *GREY.shape[::-1],
        channels,
    )
    for shape in ((None, 3, 1), (0, 3, 1), (2, 3), (None, None, 2)):
        with pytest.raises(ValueError, match="Received: image_shape="):
            read_picture(path, shape)


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


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_a_broken_note_of_a_camera_says_nothing(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    for exif in (b"garbage" * 5, b"MM\0*\0\0", b"II*\0" + b"\xff" * 40):
        if suffix != "tif":
            options["exif"] = b"Exif\0\0" + exif
        path = write(tmp_path / f"p.{suffix}", GREY, **options)
        assert picture_size(path) == (3, 2)
        picture = read_picture(path, (2, 3, 1))[..., 0].astype(int)
        assert np.abs(picture - GREY).max() <= 40 * (suffix == "jpg")


def test_a_note_of_a_program_does_not_turn(tmp_path):
    text = '<x:xmpmeta tiff:Orientation="6"/>'
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", text)
    Image.fromarray(GREY).save(tmp_path / "p.png", pnginfo=info)
    Image.fromarray(GREY).save(tmp_path / "p.jpg", xmp=text.encode())
    for name in ("p.png", "p.jpg"):
        assert picture_size(tmp_path / name) == (3, 2)
        assert decode_picture(tmp_path / name, colour=False).size == (3, 2)


def test_more_text_than_pillow_reads_is_said_in_our_words(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "a" * 2**21, zip=True)
    path = tmp_path / "talkative.png"
    Image.fromarray(GREY).save(path, pnginfo=info)
    with pytest.raises(ValueError, match="talkative.*without metadata"):
        read_picture(path, (2, 3, 1))


def test_large_pictures_are_read_and_huge_ones_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    path = write(tmp_path / "large.png", GREY)
    np.testing.assert_array_equal(
        read_picture(path, (2, 3, 1))[..., 0],
        GREY,  # and nothing is warned of
    )
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10**6)
    content = picture_files.encode(GREY, "BMP")
    sides = (2000).to_bytes(4, "little") * 2
    content = content[:18] + sides + content[26:]
    with pytest.raises(ValueError, match="more than 2 megapixels: shrink it"):
        picture_size(content)


@pytest.mark.parametrize("suffix", ["gif", "png", "tif", "webp"])
def test_of_several_pages_the_first_is_read_and_that_is_said(tmp_path, suffix):
    path = tmp_path / f"pages.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    others = [Image.fromarray(GREY[::-1]), Image.fromarray(GREY[:, ::-1])]
    Image.fromarray(GREY).save(
        path, save_all=True, append_images=others, **options
    )
    with pytest.warns(PictureWarning, match=f"pages.{suffix} has several"):
        picture = read_picture(path, (2, 3, 1))
    np.testing.assert_array_equal(picture[..., 0], GREY)


def test_what_phones_put_behind_a_photo_is_no_page(tmp_path):
    path = tmp_path / "p.jpg"
    Image.fromarray(GREY).save(
        path, "MPO", save_all=True, append_images=[Image.fromarray(GREY)]
    )
    assert read_picture(path, (2, 3, 1)).shape == (2, 3, 1)


def test_a_picture_of_one_colour_is_said(tmp_path):
    colours = np.full((4, 5, 3), (10, 20, 30), "uint8")
    nothing = np.zeros((4, 5, 4), "uint8")
    nothing[0] = (255, 255, 255, 0)
    for values in (colours, nothing, colours[:1, :1]):
        path = write(tmp_path / "flat.png", values)
        with pytest.warns(PictureWarning, match="flat.png is of one"):
            picture = read_picture(path, (4, 5, 3))
        assert np.ptp(picture, axis=(0, 1)).max() == 0
    assert not picture_of_nothing(tmp_path).any()
    colours[0, 0, 0] += 1
    write(tmp_path / "flat.png", colours)
    read_picture(tmp_path / "flat.png", (4, 5, 3))  # and nothing is said


def picture_of_nothing(tmp_path):
    path = write(tmp_path / "p.png", np.zeros((4, 5, 4), "uint8"))
    with pytest.warns(PictureWarning):
        return read_picture(path, (4, 5, 1))


@pytest.mark.parametrize(
    "name, content, kind",
    [
        ("photo.HEIC", b"no picture", "HEIC"),
        ("photo.jpg", b"\0\0\0\x18ftypheic" + bytes(20), "HEIC"),
        ("photo.jpg", b"\0\0\0\x18ftypmif1\0\0\0\0heic", "HEIC"),
        ("photo.jxl", b"\xff\x0a" + bytes(20), "JPEG XL"),
        ("scan.png", b"%PDF-1.7 ", "PDF"),
        ("figure.svg", b"<?xml version='1.0'?><svg></svg>", "SVG"),
        ("IMG_1.CR2", picture_files.encode(GREY, "TIFF"), "a camera's raw"),
        ("IMG_1.dng", picture_files.encode(GREY, "TIFF"), "a camera's raw"),
        (
            "IMG_1.tif",
            picture_files.encode(GREY, "TIFF", tiffinfo={50706: b"\1\4\0\0"}),
            "a camera's raw",
        ),
    ],
)
def test_a_kind_that_is_not_read_is_named(tmp_path, name, content, kind):
    path = tmp_path / name
    path.write_bytes(content)
    for read in (picture_size, lambda path: read_picture(path, (2, 3, 1))):
        with pytest.raises(ValueError, match=f"{name}.* it is {kind}") as error:
            read(path)
        assert "convert it to JPEG or PNG" in str(error.value)
        # What `check-data` lists.
        assert kind in str(error.value.__cause__)


def test_a_content_of_a_kind_that_is_not_read_is_named():
    content = b"\0\0\0\x1cftypavif" + bytes(20)
    with pytest.raises(ValueError, match="The content .* it is AVIF"):
        picture_size(content)


def test_a_name_that_is_not_utf_8_can_be_printed(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    with pytest.raises(FileNotFoundError) as missing:
        read_picture(path, (2, 3, 1))
    write(path, np.zeros((2, 3), "uint8"))
    with pytest.warns(PictureWarning) as noted:
        read_picture(path, (2, 3, 1))
    with open(path, "wb") as file:
        file.write(b"no picture")
    with pytest.raises(ValueError, match="cannot be read") as broken:
        read_picture(path, (2, 3, 1))
    for said in (missing.value, noted[0].message, broken.value):
        assert "caf\\udce9.png" in str(said).encode().decode()


def progressive(scans):
    """A progressive JPEG whose last scan comes that often."""
    content = picture_files.encode(
        picture_files.COLOUR, "JPEG", progressive=True
    )
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * scans + content[-2:]


def test_a_jpeg_that_repeats_its_scans_is_refused():
    for content in (progressive(1), progressive(80)):
        check_content(content)
        decode_picture(content, colour=True)
    for read in (
        check_content,
        picture_size,
        lambda content: read_picture(content, (2, 3, 1)),
    ):
        with pytest.raises(ValueError, match="more than 100 scans"):
            read(progressive(1000))


def test_a_jpeg_that_repeats_its_metadata_is_refused():
    content = progressive(1)
    for number in (500, 5000):
        long = content[:2] + b"\xff\xfe\0\3a" * number + content[2:]
        if number == 500:
            check_content(long)
        else:
            with pytest.raises(ValueError, match="2000 segments"):
                check_content(long)


def test_what_only_looks_like_scans_is_none():
    content = progressive(1)
    thumbnails = b"\xff\xe1\xff\xff" + b"\xff\xda" * 32767 + b"\0"
    check_content(content[:2] + thumbnails + content[2:])
    check_content(content + b"\xff\xda" * 1000)  # a film behind the photo
    check_content(b"no picture" + b"\xff\xda" * 1000)
    check_content(content[:-2])  # cut short
    check_content(b"\xff\xd8\xff\xe1")


def test_warnings_of_pillow_are_not_passed_on(tmp_path):
    # A note whose table ends too early.
    exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0" + b"\x12\x01\x03\0"
    path = write(tmp_path / "p.jpg", GREY, exif=exif)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_picture(path, (2, 3, 1))
