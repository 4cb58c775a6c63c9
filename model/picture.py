"""Camera pictures of any size as the square ones that SigLIP takes."""

# Legend: N pictures, S side of the square.
import torch
from torch import Tensor
from torch.nn import functional


def fit_pictures(pictures_NhwC: Tensor, *, size: int) -> Tensor:
    """[N, S, S, 3] bytes: each picture scaled to touch the square with its aspect kept, centred on black.

    As openpi's loader does it: bilinear with antialiasing, on bytes, within a grey level of Pillow; without
    antialiasing a picture of 640×480 would be 12 grey levels off on average. Follow it by `normalize_images`, which
    makes the black border -1.
    """
    shape = tuple(pictures_NhwC.shape)
    if len(shape) != 4 or shape[3] != 3 or not all(shape):
        raise ValueError(f"pictures have shape {shape}, expected [N, height, width, 3], channels last, none of them 0")
    if pictures_NhwC.dtype != torch.uint8:
        raise ValueError(f"pictures are {pictures_NhwC.dtype}, expected uint8 in 0…255")
    _, height, width, _ = shape
    ratio = max(height, width) / size
    inner = (max(1, int(height / ratio)), max(1, int(width / ratio)))
    maps_NChw = pictures_NhwC.movedim(-1, 1)
    if inner != (height, width):
        maps_NChw = functional.interpolate(maps_NChw, inner, mode="bilinear", antialias=True)
    top, left = (size - inner[0]) // 2, (size - inner[1]) // 2
    border = (left, size - inner[1] - left, top, size - inner[0] - top)
    return functional.pad(maps_NChw, border).movedim(1, -1).contiguous()
