"""What both clients do with answers: print them, and draw them.

An answer is a dictionary of the model's outputs for one picture, as
`export/README.md` lists them, in plain Python values. `keras-edram serve` gives
fewer: its lists end with the last object, and there are no `locations`.
"""

import os
import pathlib
import sys

ANSWER_COLOUR = "#2ca02c"  # green: what was read
PATH_COLOUR = "#d62728"  # red: where the model looked
SIDE = 400  # pixels, the longer side of a picture as it is drawn
GAP = 8  # pixels between two pictures
# What says in a drawing whose it is: the tag that cameras have for programs.
SOFTWARE, DRAWN_BY = 0x0131, "drawn by keras_edram"
KEEP_TAGS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
RADIUS = 9  # pixels, of the numbered dots


class RequestError(Exception):
    """A server refused a request, or did not answer it; says why."""


def run(parser, ask):
    """Runs a client's command: asks, prints a line for each picture, draws.

    Args:
        parser: `argparse.ArgumentParser` with the client's own arguments;
            those that both have are added to it.
        ask: Function of the options that returns the answers.
    """
    parser.add_argument(
        "pictures", type=pathlib.Path, nargs="+", metavar="PICTURE"
    )
    parser.add_argument(
        "--plot",
        type=pathlib.Path,
        metavar="FILE",
        help="draw the boxes, and where the model looked in which order",
    )
    parser.add_argument("--timeout", type=float, default=60, help="in seconds")
    options = parser.parse_args()
    # A file's name may have letters that a terminal lacks.
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        if options.plot is not None:
            _check_writable(options.plot, options.pictures)
        answers = ask(options)
        for picture, answer in zip(options.pictures, answers, strict=True):
            print(f"{picture}: {sentence(answer)}")
        if options.plot is not None:
            draw(options.pictures, answers, options.plot)
    except (RequestError, OSError, ValueError) as error:
        message = " ".join(str(error).split())  # a server may use many lines
        sys.exit(f"{parser.prog}: error: {message}")


def _check_writable(path, pictures):
    """Refuses to draw over what is no drawing, before anything is asked."""
    if path.suffix.lower() not in KEEP_TAGS:
        kinds = ", ".join(KEEP_TAGS)
        raise ValueError(f"--plot must be a file of {kinds}, not {path}")
    if path.is_dir():
        raise ValueError(f"--plot must be a file: {path} is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"--plot must be in a folder that is there: {path}")
    if path.exists() and any(
        picture.exists() and path.samefile(picture) for picture in pictures
    ):
        raise ValueError(f"--plot must be none of the pictures: {path}")
    if path.exists() and DRAWN_BY.encode() not in path.read_bytes():
        raise ValueError(
            f"--plot must be a new file or an older drawing, not {path}"
        )


def sentence(answer):
    """What was read, how sure that is, and where it is, in one line.

    Args:
        answer: Dictionary of outputs for one picture.

    Returns:
        String. Names of one letter follow each other closely.

    Example:

    >>> sentence(
    ...     {
    ...         "lengths": 1,
    ...         "names": ["7", ""],
    ...         "probability": 0.93,
    ...         "boxes": [[0, 0, 0.5, 1], [0, 0, 0, 0]],
    ...     }
    ... )
    '7  93.0% sure, at (0.000, 0.000, 0.500, 1.000)'
    """
    names = answer["names"][: answer.get("lengths")]
    close = all(len(name) == 1 for name in names)
    text = ("" if close else " ").join(names) or "nothing"
    text = f"{text}  {answer['probability']:.1%} sure"
    if names:
        text += ", at"
    for box in answer["boxes"][: len(names)]:
        text += " (" + ", ".join(f"{side:.3f}" for side in box) + ")"
    return text


def draw(pictures, answers, path):
    """Draws answers on their pictures, side by side, into one file.

    Args:
        pictures: Paths of picture files.
        answers: Dictionaries of outputs, one for each picture.
        path: Path of the file to write; its suffix gives the format.

    Example:

    >>> draw(["digit.png"], predict(URL, ["digit.png"]), "answer.png")
    """
    from PIL import Image

    drawn = [
        _draw_one(picture, answer)
        for picture, answer in zip(pictures, answers, strict=True)
    ]
    width = sum(image.width + GAP for image in drawn) - GAP
    height = max(image.height for image in drawn)
    sheet = Image.new("RGB", (width, height), "white")
    left = 0
    for image in drawn:
        sheet.paste(image, (left, 0))
        left += image.width + GAP
    path = pathlib.Path(path)
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        exif = Image.Exif()
        exif[SOFTWARE] = DRAWN_BY
        sheet.save(partial, exif=exif)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _shown(picture):
    """A picture file as the model saw it: turned, and on a ground."""
    from PIL import Image, ImageChops, ImageOps, ImageStat

    with Image.open(picture) as opened:
        try:
            image = ImageOps.exif_transpose(opened)
        except (ValueError, SyntaxError):  # a broken note
            image = opened.copy()
    if image.mode[0] in "FI":  # more than 8 bits: from its least to its most
        low, high = image.getextrema()
        scale = 255 / ((high - low) or 1)
        if image.mode != "F":
            image = image.convert("I").convert("F")
        image = image.point(lambda value: value * scale - low * scale)
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    alpha = image.getchannel("A")
    drawn = ImageChops.multiply(image.convert("L"), alpha)
    is_dark = 2 * ImageStat.Stat(drawn).sum[0] < ImageStat.Stat(alpha).sum[0]
    ground = Image.new("RGBA", image.size, "white" if is_dark else "black")
    return Image.alpha_composite(ground, image).convert("RGB")


def _draw_one(picture, answer):
    from PIL import ImageDraw

    image = _shown(picture)
    scale = SIDE / max(image.size)
    width, height = (round(scale * side) for side in image.size)
    image = image.resize((width, height))
    canvas = ImageDraw.Draw(image)
    length = answer.get("lengths")
    for name, (left, top, right, bottom) in zip(
        answer["names"][:length], answer["boxes"][:length], strict=True
    ):
        corners = (left * width, top * height, right * width, bottom * height)
        canvas.rectangle(corners, outline=ANSWER_COLOUR, width=3)
        canvas.text(
            (corners[0] + 5, corners[1] + 5),
            name,
            ANSWER_COLOUR,
            font_size=2 * RADIUS,
        )
    for locations in _paths(answer.get("locations", [])):
        points = [
            ((x + 1) / 2 * width, (y + 1) / 2 * height) for x, y in locations
        ]
        canvas.line(points, PATH_COLOUR, width=2)
        for number, point in enumerate(points, start=1):
            canvas.circle(point, RADIUS, fill=PATH_COLOUR)
            canvas.text(point, str(number), "white", anchor="mm")
    return image


def _paths(locations):
    """Locations in the order of looking: a list for each reader.

    An ensemble has several readers, and one more axis.
    """
    is_ensemble = locations and isinstance(locations[0][0][0], list)
    readers = locations if is_ensemble else [locations]
    return [
        [point for target in reader for point in target] for reader in readers
    ]
