"""What both clients do with answers: print them, and draw them.

An answer is a dictionary of the model's outputs for one picture, as
`export/README.md` lists them, in plain Python values. `keras-edram serve` gives
fewer: its lists end with the last object, and there are no `locations`.
"""

import pathlib
import sys

ANSWER_COLOUR = "#2ca02c"  # green: what was read
PATH_COLOUR = "#d62728"  # red: where the model looked
SIDE = 400  # pixels, the longer side of a picture as it is drawn
GAP = 8  # pixels between two pictures
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
    try:
        answers = ask(options)
        for picture, answer in zip(options.pictures, answers, strict=True):
            print(f"{picture}: {sentence(answer)}")
        if options.plot is not None:
            draw(options.pictures, answers, options.plot)
    except (RequestError, OSError, ValueError) as error:
        message = " ".join(str(error).split())  # a server may use many lines
        sys.exit(f"{parser.prog}: error: {message}")


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
    sheet.save(path)


def _draw_one(picture, answer):
    from PIL import Image, ImageDraw

    with Image.open(picture) as opened:
        image = opened.convert("RGB")
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
