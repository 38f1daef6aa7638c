"""Images as another camera would have taken them: turned, blurred, noisy."""

import numpy as np

from keras_edram.checks import check_number
from keras_edram.datasets.random_sequence import RandomSequence

STEEPEST = 45.0  # degrees of turn and slant: what is upright stays so
# Beyond these nothing can be seen.
MOST_CONTRAST, MOST_BLUR, MOST_NOISE = 3.0, 100.0, 10.0
WHITE = 255
CHANNELS = (1, 3)  # others are not what Pillow takes for colours


class DistortedImages(RandomSequence):
    """An endless, reproducible sequence of the images of another, distorted.

    An image is turned and slanted about its middle,

        A = [[cos a, -sin a], [sin a, cos a]] [[1, tan b], [0, 1]],

    clockwise and its feet to the right where a and b are positive; its
    outermost pixels are repeated beyond it. Its brightness v in
    [0, 1] becomes v^g, which makes the dark or the bright half of it poorer in
    contrast. It is blurred by a Gaussian filter, and has Gaussian noise, each
    pixel and channel its own. How much of each an image has is by chance, up
    to what is given.

    A window becomes the upright one around the ellipse that filled it, which
    is nearer to what a thing fills than its corners are: the middle c becomes
    A c, and a half side the root of sum (A_ij s_j)^2 over j, all in halves of
    the image. Windows of nothing stay so. What is at the border may be moved
    beyond it.

    What an image depends on, see `RandomSequence`. Distort what a model is
    trained on, not what it is measured on.

    Args:
        sequence: `RandomSequence` of uint8 images of one size, with one or
            three channels.
        turn: Float in [0, 45], degrees to either side. Defaults to 6.
        slant: Float in [0, 45], degrees to either side. Defaults to 8.
        contrast: Float in [0, 3]: g is in [exp(-contrast), exp(contrast)].
            Defaults to 0.5.
        blur: Float in [0, 100], pixels of the filter's deviation. Defaults to
            1.
        noise: Float in [0, 10], deviation of the noise, as a part of that of
            the image. Defaults to 0.2.
        seed: Non-negative integer.

    Raises:
        ValueError: For what is no `RandomSequence` of such images, or options
            out of range.

    Example:

    >>> data = DistortedImages(cluttered_mnist("train"), turn=20)
    >>> images, targets = data.arrays(8)
    >>> images.shape, targets["transforms"].shape
    ((8, 100, 100, 1), (8, 1, 2, 3))
    """

    def __init__(
        self,
        sequence,
        *,
        turn=6.0,
        slant=8.0,
        contrast=0.5,
        blur=1.0,
        noise=0.2,
        seed=0,
    ):
        if not isinstance(sequence, RandomSequence):
            raise ValueError(
                "`sequence` must be a `RandomSequence`. Received: "
                f"{type(sequence).__name__}"
            )
        if (
            None in sequence.image_shape
            or sequence.image_shape[-1] not in CHANNELS
        ):
            raise ValueError(
                "`sequence` must have images of one size, with one or three "
                f"channels. Received: image_shape={sequence.image_shape}"
            )
        super().__init__(
            num_pictures=sequence.num_pictures,
            image_shape=sequence.image_shape,
            num_targets=sequence.num_targets,
            pictures_per_image=sequence.pictures_per_image,
            class_names=sequence.class_names,
            terminal=sequence.terminal,
            seed=seed,
        )
        self.sequence = sequence
        self.reading_order = sequence.reading_order
        self.turn = check_number(turn, "turn", maximum=STEEPEST)
        self.slant = check_number(slant, "slant", maximum=STEEPEST)
        self.contrast = check_number(
            contrast, "contrast", maximum=MOST_CONTRAST
        )
        self.blur = check_number(blur, "blur", maximum=MOST_BLUR)
        self.noise = check_number(noise, "noise", maximum=MOST_NOISE)

    @property
    def fingerprint(self):
        """What the sequence holds, where it says it."""
        return self.sequence.fingerprint

    def _compose(self, start, stop):
        images, labels, transforms = self.sequence._compose(start, stop)
        if images.dtype != np.uint8:
            raise ValueError(
                "`sequence` must have uint8 images. Received: dtype="
                f"{images.dtype}"
            )
        images, transforms = images.copy(), transforms.copy()
        for row, index in enumerate(range(start, stop)):
            generator = np.random.Generator(
                np.random.Philox(key=[self.seed, 0], counter=[0, 0, 0, index])
            )
            matrix = self._matrix(generator)
            images[row] = self._distort(images[row], matrix, generator)
            transforms[row] = self._windows(transforms[row], matrix)
        return images, labels, transforms

    def _matrix(self, generator):
        """A: from places before to places after, in pixels from the middle."""
        turn, slant = np.deg2rad(
            generator.uniform(-1, 1, 2) * (self.turn, self.slant)
        )
        turned = [
            [np.cos(turn), -np.sin(turn)],
            [np.sin(turn), np.cos(turn)],
        ]
        return turned @ np.array([[1, np.tan(slant)], [0, 1]])

    def _distort(self, image, matrix, generator):
        """What the camera makes of an image (H, W, C)."""
        from PIL import Image, ImageFilter

        power, blur, noise = generator.uniform(
            (-self.contrast, 0, 0), (self.contrast, self.blur, self.noise)
        ).tolist()
        height, width, channels = image.shape
        # As far as that is away of which a corner is made.
        middle = np.array([width, height]) / 2
        back = np.linalg.inv(matrix)
        reach = np.abs(back - np.eye(2)) @ middle
        margin = int(np.ceil(reach.max())) + 1
        padded = np.pad(
            image, ((margin, margin), (margin, margin), (0, 0)), mode="edge"
        )
        pixels = padded[..., 0] if channels == 1 else padded
        picture = Image.fromarray(pixels)
        shift = middle + margin - back @ middle
        picture = picture.transform(
            (width, height),
            Image.Transform.AFFINE,
            np.column_stack([back, shift]).ravel().tolist(),
            Image.Resampling.BILINEAR,
        )
        if blur:
            picture = picture.filter(ImageFilter.GaussianBlur(blur))
        values = np.asarray(picture).reshape(image.shape)  # (H, W, C)
        values = values / np.float32(WHITE)
        values = WHITE * values ** np.float32(np.exp(power))
        deviation = noise * values.std()
        values += deviation * generator.standard_normal(image.shape, "float32")
        return np.rint(values).clip(0, WHITE)

    def _windows(self, transforms, matrix):
        """The upright windows around what was in windows (S, 2, 3)."""
        height, width, _ = self.image_shape
        half = np.array([width, height]) / 2
        matrix = matrix * half / half[:, None]  # in halves of the image
        middles = transforms[..., 2] @ matrix.T  # (S, 2)
        # Of a skewed one too.
        sides = np.linalg.norm(matrix @ transforms[..., :2], axis=-1)  # (S, 2)
        changed = np.zeros_like(transforms)
        changed[:, 0, 0], changed[:, 1, 1] = sides.T
        changed[..., 2] = middles
        return changed
