"""Arrow's numbers as numpy's, as they lie in memory, and bytes as functions written in C take them."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Bytes = bytes | memoryview | NDArray[np.uint8]
"""Bytes that nobody writes to; as an array, functions written in C take them without a copy."""


def as_numpy(array: pa.Array) -> NDArray[Any]:
    """A view of an array of numbers without nulls, not to be written to; booleans are copied.

    Arrow's own `to_numpy` imports pandas where that is installed, which takes half a second and 25 MB.
    """
    return array.to_numpy(zero_copy_only=False) if pa.types.is_boolean(array.type) else np.from_dlpack(array)
