"""Parquet columns as numbers `[T, …]`, and columns of encoded pictures one at a time."""
# Legend: T rows.

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schema.episode import Numbers
from schema.errors import EpisodeError

_PICTURE_ROWS = 32


def open_parquet(content: bytes, *, file: str) -> pq.ParquetFile:
    """The file, ready to read; EpisodeError "unreadable_parquet" where it is none or was cut."""
    try:
        return pq.ParquetFile(pa.BufferReader(content))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise EpisodeError("unreadable_parquet", f"not a whole Parquet file: {error}; fetch again {file}") from error


def is_numeric(kind: pa.DataType) -> bool:
    """Whether a column holds numbers or booleans, alone or in lists of any depth."""
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def numbers_of(column: pa.ChunkedArray, *, name: str, shape: tuple[int, ...] | None = None) -> Numbers:
    """A numeric column `[T, …]`; a scalar column is `[T]`, missing floats are NaN.

    Lists of lists take `shape` where it is told and fits. EpisodeError "bad_column" where rows differ in length.
    """
    rows, array = len(column), column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], column.type)
    is_scalar = array.type.num_fields == 0
    while array.type.num_fields:
        if array.null_count:
            raise EpisodeError("bad_column", f"column {name!r} has {array.null_count} rows without a value")
        array = array.flatten()
    values: Numbers = array.to_numpy(zero_copy_only=False)
    if values.dtype == object:  # integers or booleans with gaps have no NaN
        raise EpisodeError("bad_column", f"column {name!r} has {array.null_count} missing numbers")
    if is_scalar:
        return values
    if rows and values.size % rows:
        raise EpisodeError(
            "bad_column", f"column {name!r} has {values.size} numbers in {rows} rows: rows differ in length"
        )
    width = values.size // rows if rows else 0
    return values.reshape(rows, *(shape if shape and prod(shape) == width else (width,)))


def pictures_of(
    open_file: Callable[[], pq.ParquetFile], *, name: str, fetch: Callable[[str], bytes]
) -> Iterator[bytes]:
    """A column of encoded pictures, a few rows in memory at a time; `fetch` reads one that is kept by path."""
    batches = open_file().iter_batches(batch_size=_PICTURE_ROWS, columns=[name])
    while True:
        try:
            items = next(batches).column(0).to_pylist()
        except StopIteration:
            return
        except (pa.ArrowException, OSError, ValueError) as error:
            raise EpisodeError("unreadable_parquet", f"the column {name!r} cannot be read: {error}") from error
        for item in items:
            yield _encoded(item, name=name, fetch=fetch)


def pictures_in(column: pa.ChunkedArray, *, name: str, fetch: Callable[[str], bytes]) -> Iterator[bytes]:
    """The encoded pictures of a column that is in memory."""
    for item in column:
        yield _encoded(item.as_py(), name=name, fetch=fetch)


def _encoded(item: Any, *, name: str, fetch: Callable[[str], bytes]) -> bytes:
    if isinstance(item, dict) and item.get("bytes"):
        return bytes(item["bytes"])
    if isinstance(item, dict) and item.get("path"):
        return fetch(str(item["path"]))
    if isinstance(item, bytes) and item:
        return item
    raise EpisodeError("bad_picture", f"column {name!r} has a row without a picture, expected bytes or a path")
