"""JSON of whole columns: what the standard library writes for each row, many times as fast.

A float is its shortest decimal that reads back the same, as Python's `repr` spells it. Polars finds the same digits
and spells them the same from `_SPELLED_ALIKE` up; what is smaller, which is rare, goes through `repr`.
"""
# Legend: T rows.

import json
import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from schema.episode import Numbers

JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_SPELLED_ALIKE = 1e-4
"""Below, Python writes 1e-05 where Polars writes 0.00001; zero is written alike."""


def json_format(shape: Sequence[int]) -> str:
    """The `%` format of nested lists of this shape, `%s` for a single value."""
    inner = "%s"
    for width in reversed(shape):
        inner = "[" + ",".join([inner] * width) + "]"
    return inner


def json_columns(values: Numbers) -> list[list[str]]:
    """The JSON of `[T, …]`, a column for each `%s` of `json_format`; what it cannot say (NaN, infinity) is null."""
    width = math.prod(values.shape[1:])
    flat = np.ascontiguousarray(values).ravel()
    if flat.dtype.kind == "f":
        texts = _floats(flat)
    elif flat.dtype.kind in "biu":
        texts = pl.Series(flat.astype(flat.dtype.newbyteorder("="))).cast(pl.String).to_list()
    else:
        texts = [JSON.encode(value) for value in flat.tolist()]
    return [texts[column::width] for column in range(width)]


def _floats(flat: Numbers) -> list[str]:
    with np.errstate(invalid="ignore"):  # a signalling NaN is one like the others
        wide = flat.astype(np.float64)
    texts: list[str] = pl.Series(wide).cast(pl.String).to_list()
    is_odd = ~np.isfinite(wide) | ((np.abs(wide) < _SPELLED_ALIKE) & (wide != 0))
    for index in np.flatnonzero(is_odd).tolist():
        number = float(wide[index])
        texts[index] = repr(number) if math.isfinite(number) else "null"
    return texts
