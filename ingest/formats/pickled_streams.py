"""Numbers out of unpickled containers: dicts by path, lists of rows and lists of dicts as arrays.

What a pickle holds may be one thing many times over: every step is counted and sizes are summed before arrays are made.
"""
# Legend: T rows.

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from schema.episode import Numbers
from schema.errors import EpisodeError

MAX_NUMBERS_BYTES = 512 << 20
"""All numbers of one pickle as arrays."""
_MAX_STEPS = 1_000_000
_MAX_DEPTH = 4


class _Budget:
    """What may still be looked at and made."""

    def __init__(self, file: str) -> None:
        self.file, self.steps, self.size_bytes = file, _MAX_STEPS, MAX_NUMBERS_BYTES

    def take(self, *, steps: int = 0, size_bytes: int = 0) -> None:
        self.steps -= steps
        self.size_bytes -= size_bytes
        if self.steps < 0 or self.size_bytes < 0:
            raise EpisodeError(
                "absurd_size",
                f"found containers of more than {_MAX_STEPS} parts or {MAX_NUMBERS_BYTES} bytes of numbers, "
                f"expected one episode's; file {self.file}",
            )


def streams_of(value: Any, *, name: str, file: str) -> dict[str, Numbers | None]:
    """Everything in a value by path: numbers `[T, …]`, None for what is no such thing (text, single values).

    Lists of dicts become one stream for each key that all of them have. EpisodeError "absurd_size".
    """
    return dict(_streams(value, name, depth=0, budget=_Budget(file)))


def _streams(value: Any, name: str, *, depth: int, budget: _Budget) -> Iterator[tuple[str, Numbers | None]]:
    budget.take(steps=1)
    if isinstance(value, Mapping) and depth < _MAX_DEPTH:
        for key, item in value.items():
            yield from _streams(item, f"{name}/{str(key)[:100]}", depth=depth + 1, budget=budget)
    elif isinstance(value, list | tuple) and value and all(isinstance(item, Mapping) for item in value):
        budget.take(steps=sum(len(item) for item in value))
        keys = [key for key in value[0] if all(key in item for item in value)]
        odd = {str(key) for item in value for key in item if key not in keys}
        for key in keys:
            yield f"{name}/{str(key)[:100]}", _rows([item[key] for item in value], budget)
        yield from ((f"{name}/{key[:100]}", None) for key in sorted(odd))
    elif isinstance(value, list | tuple):
        yield name, _rows(value, budget)
    else:
        yield name, _rows(value, budget) if isinstance(value, np.ndarray) and value.ndim else None


def _rows(values: Sequence[Any] | Numbers, budget: _Budget) -> Numbers | None:
    """Rows of one shape as `[T, …]`; None where they are no numbers or differ."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        array = np.asarray(values)
        return array if array.dtype.kind in "fiub" and array.dtype.itemsize <= 8 else None
    budget.take(steps=len(values))
    rows = [np.asarray(row) for row in values if isinstance(row, np.ndarray | np.generic | int | float | bool)]
    if len(rows) < len(values):  # rows that are lists themselves, of numbers only
        rows = [_row(row, budget) for row in values]
    shapes = {row.shape for row in rows}
    if len(shapes) != 1 or any(row.dtype.kind not in "fiub" or row.dtype.itemsize > 8 for row in rows):
        return None
    budget.take(size_bytes=sum(row.nbytes for row in rows))
    return np.stack(rows)


def _row(row: Any, budget: _Budget) -> Numbers:
    if isinstance(row, list | tuple):
        budget.take(steps=len(row), size_bytes=8 * len(row))
        if all(isinstance(item, np.generic | int | float | bool) for item in row):
            try:
                return np.asarray(row)
            except OverflowError:
                return np.asarray(None)
    return np.asarray(row) if isinstance(row, np.ndarray | np.generic | int | float | bool) else np.asarray(None)
