"""A picture of any shape stands in the middle of the square, with black around it."""

import numpy as np
import pytest

from schema.picture import decode_jpeg, encode_jpeg, resize
from training.square_picture import decode_centred, fit_into


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 255, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("height", "width", "inside"),
    [
        (64, 64, (0, 64, 0, 64)),
        (48, 64, (8, 56, 0, 64)),
        (64, 32, (0, 64, 16, 48)),
        (480, 640, (8, 56, 0, 64)),
        (8, 16, (16, 48, 0, 64)),
    ],
)
def test_a_picture_is_fitted_and_centred(height, width, inside):
    top, bottom, left, right = inside
    out = np.full((64, 64, 3), 7, np.uint8)
    fit_into(pixels := picture(height, width), out=out)
    expected = np.zeros_like(out)
    expected[top:bottom, left:right] = resize(pixels, bottom - top, right - left)

    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 64), (64, 32), (96, 128)])
def test_a_jpeg_is_placed_as_its_pixels_are(height, width):
    jpeg = encode_jpeg(picture(height, width))
    ours, theirs = np.full((64, 64, 3), 7, np.uint8), np.zeros((64, 64, 3), np.uint8)

    decode_centred(memoryview(jpeg), height, width, out=ours)
    fit_into(decode_jpeg(jpeg), out=theirs)

    np.testing.assert_array_equal(ours, theirs)
