"""Camera pictures in the model's square, as Pillow would put them there."""

import numpy as np
import pytest
import torch
from PIL import Image

from model.observation import normalize_images
from model.picture import fit_pictures


def _textured(height, width):
    noise = np.random.default_rng(0).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
    return noise.repeat(4, axis=0).repeat(4, axis=1)[:height, :width]


@pytest.mark.parametrize(("height", "width"), [(480, 640), (640, 480), (100, 60), (224, 224), (223, 500)])
def test_pictures_are_scaled_as_by_pillow_and_centred_on_black(height, width):
    picture = _textured(height, width)
    ratio = max(height, width) / 224
    inner = int(height / ratio), int(width / ratio)
    expected = np.zeros((224, 224, 3), np.uint8)
    top, left = (224 - inner[0]) // 2, (224 - inner[1]) // 2
    scaled = Image.fromarray(picture).resize(inner[::-1], Image.Resampling.BILINEAR)
    expected[top : top + inner[0], left : left + inner[1]] = np.asarray(scaled)

    fitted = fit_pictures(torch.from_numpy(picture)[None], size=224)

    assert fitted.shape == (1, 224, 224, 3)
    assert fitted.dtype == torch.uint8
    assert np.abs(fitted[0].numpy().astype(int) - expected).max() <= 1


def test_the_border_is_minus_one_once_normalized():
    normalized = normalize_images(fit_pictures(torch.full((2, 10, 20, 3), 255, dtype=torch.uint8), size=28))
    assert (normalized[:, :7] == -1.0).all()
    assert (normalized[:, 7:21] == 1.0).all()
    assert (normalized[:, 21:] == -1.0).all()


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (torch.zeros(1, 3, 20, 30, dtype=torch.uint8), r"shape \(1, 3, 20, 30\), expected \[N, height, width, 3\]"),
        (torch.zeros(20, 30, 3, dtype=torch.uint8), r"shape \(20, 30, 3\), expected"),
        (torch.zeros(1, 0, 30, 3, dtype=torch.uint8), "none of them 0"),
        (torch.zeros(1, 20, 30, 3), "are torch.float32, expected uint8"),
    ],
)
def test_other_pictures_are_refused(pictures, message):
    with pytest.raises(ValueError, match=message):
        fit_pictures(pictures, size=28)
