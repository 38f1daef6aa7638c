"""Picture files as arrays that fit a model."""

import pathlib

import numpy as np


def read_picture(path, image_shape):
    """Reads a picture file, grey or colour as the model wants it.

    Args:
        path: Path of a file in any format that Pillow reads: PNG, JPEG, BMP,
            GIF, TIFF, WebP, ... Transparent parts become black; the rotation
            that a camera notes is applied.
        image_shape: `(height, width, channels)` of the model, with 1 channel
            for grey or 3 for colour.

    Returns:
        uint8 array of that shape.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no picture, or has another size.

    Example:

    >>> read_picture("digit.png", (100, 100, 1)).shape
    (100, 100, 1)
    """
    from PIL import Image, ImageOps

    path = pathlib.Path(path)
    height, width, channels = image_shape
    if channels not in (1, 3):
        raise ValueError(
            "A model that reads picture files must have 1 or 3 channels. "
            f"Received: image_shape={tuple(image_shape)}"
        )
    if not path.is_file():
        raise FileNotFoundError(f"There is no picture file {path}")
    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file)
            picture.load()
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{path} must be a picture file, but cannot be read: {error}"
        ) from error
    if picture.size != (width, height):
        raise ValueError(
            f"{path} does not fit the model, which reads pictures of {width}x"
            f"{height} pixels (width x height): crop or resize it first, or "
            f"train a model for its size. Received: {picture.size[0]}x"
            f"{picture.size[1]}"
        )
    if picture.mode.startswith("I"):  # 16 bits; `convert` would clip them
        values = np.asarray(picture).astype("int64") // 256
        picture = Image.fromarray(values.clip(0, 255).astype("uint8"))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, "black")
        picture = Image.alpha_composite(ground, picture)
    picture = picture.convert("L" if channels == 1 else "RGB")
    return np.asarray(picture).reshape(image_shape)
