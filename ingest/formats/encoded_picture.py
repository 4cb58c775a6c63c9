"""Pictures as logs keep them: JPEG bytes pass on untouched, anything else (PNG …) is decoded to RGB."""

from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from itertools import repeat

import numpy as np
from PIL import Image, UnidentifiedImageError

from schema.errors import EpisodeError
from schema.picture import Pixels, check_size

_JPEG_MAGIC = b"\xff\xd8\xff"
_DECODERS = ("PNG", "JPEG", "WEBP", "BMP")
"""All that a log's bytes may be: of Pillow's many others some run programs (EPS) or open further files."""
_PILLOW_ERRORS = (UnidentifiedImageError, Image.DecompressionBombError)


def jpeg_or_pixels(encoded: bytes) -> Pixels | bytes:
    """JPEG bytes as they are, or uint8 `[H, W, 3]` RGB; EpisodeError "bad_picture" where it is no picture.

    Transparency is dropped and grey becomes RGB.
    """
    if encoded.startswith(_JPEG_MAGIC):
        return encoded
    try:
        with Image.open(BytesIO(encoded), formats=_DECODERS) as image:
            check_size(image.height, image.width)
            return np.asarray(image.convert("RGB"))
    except (*_PILLOW_ERRORS, OSError, ValueError, SyntaxError) as error:  # a broken PNG raises any of them
        raise EpisodeError(
            "bad_picture",
            f"found {len(encoded)} bytes that cannot be decoded, expected a JPEG, PNG, WebP or BMP: {error}",
        ) from error


def each_picture(encoded: Iterable[bytes]) -> Iterator[Pixels | bytes]:
    """`jpeg_or_pixels` of each, one at a time."""
    return map(jpeg_or_pixels, encoded)


def all_pictures(encoded: Sequence[bytes]) -> Iterable[Pixels | bytes]:
    """`each_picture` of pictures that are in memory: the very same where all are JPEG."""
    return encoded if all(map(bytes.startswith, encoded, repeat(_JPEG_MAGIC))) else each_picture(encoded)
