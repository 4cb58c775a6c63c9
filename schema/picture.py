"""Pictures: JPEG decoding and encoding and resizing, in this one place.

Stored pictures fit `IMAGE_SIZE`², scaled down (antialiased, never up) with their aspect kept and without padding;
JPEG quality 95, 4:2:0. The loader pads them to squares while it decodes.
"""
# Legend: H rows, W columns; every array of pixels is uint8 RGB `[H, W, 3]`.

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from schema.arrays import Bytes
from schema.episode import Picture
from schema.errors import EpisodeError

Pixels = NDArray[np.uint8]

IMAGE_SIZE = 224
MAX_PIXELS = 64 << 20
"""No picture of a log is larger; a few bytes may claim any size."""
JPEG_QUALITY = 95
_JPEG_SUBSAMPLING = "420"
_JPEG_END = b"\xff\xd9"
_MARKER, _SCAN = 0xFF, 0xDA
_SEGMENTS = frozenset(range(0xC0, 0xFF)) - frozenset(range(0xD0, _SCAN))
"""Markers that a length follows; restarts, start and end stand alone."""
_PLAIN_JPEG_BYTES, _PLAIN_PIXELS_PER_BYTE = 1024, 16
"""A JPEG of one colour takes its tables and a byte for some forty pixels; one with more than this shows something."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSettings:
    """What the lake stores of a picture; part of what `conversion` digests."""

    size: int = IMAGE_SIZE
    quality: int = JPEG_QUALITY


def jpeg_size(jpeg: Bytes) -> tuple[int, int]:
    """(height, width) by the header alone; EpisodeError "bad_jpeg" where it is none."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
    except ValueError as error:
        raise EpisodeError("bad_jpeg", f"found {len(jpeg)} bytes that are no JPEG ({error})") from error
    return int(height), int(width)


class JpegSizes:
    """`jpeg_size` of a camera's pictures: a header that is the last one's, byte for byte, is not parsed again."""

    def __init__(self) -> None:
        self._header: bytes | None = None
        self._size = (0, 0)

    def __call__(self, jpeg: bytes) -> tuple[int, int]:
        """(height, width); EpisodeError "bad_jpeg" where it is none."""
        if self._header is None or not jpeg.startswith(self._header):
            self._size = jpeg_size(jpeg)
            self._header = jpeg_header(jpeg)
        return self._size

    def of_all(self, jpegs: Sequence[bytes]) -> tuple[int, int] | None:
        """The size of each of these where all have the last one's header, else None."""
        if self._header is None or not all(map(bytes.startswith, jpegs, repeat(self._header))):
            return None
        return self._size


def jpeg_header(jpeg: bytes) -> bytes:
    """All up to the first scan's data, which is what a decoder reads for the size; the whole JPEG where it is odd.

    A JPEG opens with two bytes and goes on in segments of a marker and a length (ITU-T T.81, B.1.1).
    """
    start = 2
    while len(jpeg) > start + 4 and jpeg[start] == _MARKER and jpeg[start + 1] in _SEGMENTS:
        stop = start + 2 + int.from_bytes(jpeg[start + 2 : start + 4], "big")
        if jpeg[start + 1] == _SCAN:
            return jpeg[:stop]
        start = stop
    return jpeg


def check_size(height: int, width: int) -> None:
    """EpisodeError "absurd_size" where a picture claims more than MAX_PIXELS; to be asked before it is decoded."""
    if height * width > MAX_PIXELS:
        raise EpisodeError(
            "absurd_size", f"found a picture of {height} × {width}, expected at most {MAX_PIXELS} pixels"
        )


def decode_jpeg(jpeg: Bytes) -> Pixels:
    """All pixels; EpisodeError "bad_jpeg" where they cannot be decoded to the end, "absurd_size" where too many."""
    try:
        check_size(*simplejpeg.decode_jpeg_header(jpeg)[:2])
        pixels: Pixels = simplejpeg.decode_jpeg(jpeg, colorspace="RGB")
    except ValueError as error:
        raise EpisodeError("bad_jpeg", f"a JPEG of {len(jpeg)} bytes cannot be decoded: {error}") from error
    return pixels


def glimpse(jpeg: bytes) -> Pixels:
    """A JPEG at an eighth of its height and width, in half the time of `decode_jpeg`, which finds the same errors."""
    try:
        check_size(*simplejpeg.decode_jpeg_header(jpeg)[:2])
        pixels: Pixels = simplejpeg.decode_jpeg(jpeg, colorspace="RGB", min_height=1, min_width=1)
    except ValueError as error:
        raise EpisodeError("bad_jpeg", f"a JPEG of {len(jpeg)} bytes cannot be decoded: {error}") from error
    return pixels


def decode_into(jpeg: Bytes, out: Pixels) -> None:
    """All pixels of a JPEG of exactly out's size, written into `out` (C-contiguous) without another array.

    The GIL is released meanwhile, so that threads decode side by side. EpisodeError "bad_jpeg" where the bytes cannot
    be decoded to the end or the size is another; what `out` then holds is undefined.
    """
    if out.dtype != np.uint8 or out.ndim != 3 or out.shape[2] != 3 or not out.flags.carray:
        raise ValueError(f"out is {out.dtype} {list(out.shape)}; expected writable C-contiguous uint8 [H, W, 3]")
    try:
        pixels = simplejpeg.decode_jpeg(jpeg, colorspace="RGB", buffer=out)
    except ValueError as error:
        raise EpisodeError(
            "bad_jpeg", f"a JPEG of {len(jpeg)} bytes cannot be decoded to {list(out.shape)}: {error}"
        ) from error
    if pixels.shape != out.shape:  # simplejpeg takes any buffer that is large enough
        raise EpisodeError("bad_jpeg", f"found a JPEG of {list(pixels.shape)}, expected {list(out.shape)}")


def encode_jpeg(pixels: Pixels, *, quality: int = JPEG_QUALITY) -> bytes:
    """One JPEG, 4:2:0; the same pixels always give the same bytes."""
    jpeg: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality=quality, colorspace="RGB", colorsubsampling=_JPEG_SUBSAMPLING
    )
    return jpeg


def fitted_size(height: int, width: int, *, size: int = IMAGE_SIZE) -> tuple[int, int]:
    """(height, width) scaled to touch a square of `size` with the aspect kept; at least one pixel each."""
    scale = size / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """Bilinear with antialiasing (a triangle filter as wide as the scale), as π0 was trained on."""
    if pixels.shape[:2] == (height, width):
        return pixels
    scaled = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    return np.array(scaled)  # a copy, since Pillow's own view cannot be written to


def taken_by_header(jpegs: Sequence[bytes], settings: ImageSettings, *, size: tuple[int, int]) -> list[Picture] | None:
    """JPEGs whose headers say this (height, width), which pass through undecoded; None where one must be looked at.

    That is where it does not fit, does not end as a JPEG does, or is so small that it may well be black.
    """
    height, width = size
    least_bytes = _PLAIN_JPEG_BYTES + height * width // _PLAIN_PIXELS_PER_BYTE
    if max(size) > settings.size or min(map(len, jpegs)) < least_bytes:
        return None
    if not all(map(bytes.endswith, jpegs, repeat(_JPEG_END))):
        return None
    return [Picture(jpeg=jpeg, width=width, height=height) for jpeg in jpegs]


class Stored(NamedTuple):
    """A picture as the lake keeps it, and what it was made of, for checks on what was seen."""

    picture: Picture
    source: Pixels | None
    """uint8 RGB `[H, W, 3]` as the log has it; None where nothing was decoded."""
    fitted: Pixels | None
    """The same at the stored size."""


def store(picture: Pixels | bytes, settings: ImageSettings) -> Stored:
    """The picture as the lake keeps it, with its pixels.

    EpisodeError "bad_picture" where it is no RGB picture, "bad_jpeg" or "absurd_size" as `decode_jpeg` says.

    A JPEG that already fits passes byte for byte; anything else is scaled down where it must be and encoded.
    """
    pixels = decode_jpeg(picture) if isinstance(picture, bytes) else picture
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        found = f"{pixels.dtype} {list(pixels.shape)}"
        raise EpisodeError("bad_picture", f"found a picture of {found}, expected uint8 [H, W, 3]")
    height, width = pixels.shape[:2]
    if max(height, width) > settings.size:
        height, width = fitted_size(height, width, size=settings.size)
    elif isinstance(picture, bytes):
        return Stored(Picture(jpeg=picture, width=width, height=height), pixels, pixels)
    fitted = resize(pixels, height, width)
    jpeg = encode_jpeg(fitted, quality=settings.quality)
    return Stored(Picture(jpeg=jpeg, width=width, height=height), pixels, fitted)
