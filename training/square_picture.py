"""A picture in the model's square: scaled to touch it with its aspect kept, centred on black."""

from schema.arrays import Bytes
from schema.picture import Pixels, decode_into, decode_jpeg, fitted_size, resize


def fit_into(pixels: Pixels, *, out: Pixels) -> None:
    """Write the picture into the square `out`, black around it."""
    inside = _inside(*pixels.shape[:2], out=out)
    inside[:] = resize(pixels, *inside.shape[:2])


def decode_centred(jpeg: Bytes, height: int, width: int, *, out: Pixels) -> None:
    """The same for a JPEG of this size, decoded straight into its place where it need not be scaled."""
    if height == width == len(out):
        decode_into(jpeg, out)
        return
    inside = _inside(height, width, out=out)
    if inside.shape[:2] == (height, width) and inside.flags.c_contiguous:
        decode_into(jpeg, inside)
    else:
        inside[:] = resize(decode_jpeg(jpeg), *inside.shape[:2])


def _inside(height: int, width: int, *, out: Pixels) -> Pixels:
    """The part of the square that a picture of this size fills; what is around it is made black."""
    size = out.shape[0]
    fitted = (height, width) if max(height, width) == size else fitted_size(height, width, size=size)
    top, left = (size - fitted[0]) // 2, (size - fitted[1]) // 2
    bottom, right = top + fitted[0], left + fitted[1]
    if fitted[0] < size:
        out[:top] = 0
        out[bottom:] = 0
    if fitted[1] < size:
        out[:, :left] = 0
        out[:, right:] = 0
    return out[top:bottom, left:right]
