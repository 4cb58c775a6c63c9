"""Parquet columns as numbers `[T, …]`, and columns of encoded pictures one at a time."""
# Legend: T rows.

from collections.abc import Callable, Collection, Iterable, Iterator
from math import prod
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from ingest.formats.parquet_pages import unpacked_bytes
from schema.episode import Numbers
from schema.errors import EpisodeError

_PICTURE_ROWS = 32
MAX_COLUMN_BYTES = 1 << 30
"""The most that the numbers or texts of one episode's rows may take in memory; a column of one value repeated takes a
few bytes in a file, however long it is."""
_NUMBER_BYTES = 8


def open_parquet(content: bytes, *, file: str) -> pq.ParquetFile:
    """The file, ready to read; EpisodeError "unreadable_parquet" where it is none or was cut."""
    try:
        return pq.ParquetFile(pa.BufferReader(content))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise EpisodeError("unreadable_parquet", f"not a whole Parquet file: {error}; fetch again {file}") from error


def bytes_in_memory(
    parquet: pq.ParquetFile, groups: Iterable[int], *, names: Collection[str], stream: BinaryIO, file: str
) -> int:
    """What the named columns of these row groups hold, by the footer or by their pages, or as 8 bytes a value.

    `stream` is the same file. EpisodeError "absurd_size" where a page is too large to be unpacked; ValueError where
    pages cannot be told apart.
    """
    starts = tuple(f"{name}." for name in names)
    paths = [parquet.schema.column(i).path for i in range(parquet.metadata.num_columns)]
    wanted = [i for i, path in enumerate(paths) if f"{path}.".startswith(starts)]
    columns = [part.column(i) for part in map(parquet.metadata.row_group, groups) for i in wanted]
    values = sum(int(column.num_values) for column in columns) * _NUMBER_BYTES
    pages = sum(unpacked_bytes(stream, column, file=file) for column in columns)
    return max(values, pages, sum(int(column.total_uncompressed_size) for column in columns))


def check_sizes(
    parquet: pq.ParquetFile, groups: Iterable[int], *, names: Collection[str], stream: BinaryIO, file: str
) -> None:
    """EpisodeError "too_large" where the named columns of these row groups hold more than one episode may.

    And all that `bytes_in_memory` raises.
    """
    size = bytes_in_memory(parquet, groups, names=names, stream=stream, file=file)
    if size > MAX_COLUMN_BYTES:
        raise EpisodeError(
            "too_large", f"row groups of {size} bytes, expected {MAX_COLUMN_BYTES} at most of one episode: file {file}"
        )


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
    file = open_file()
    if name not in file.schema_arrow.names:
        raise EpisodeError("missing_field", f"no column {name!r}, expected it by meta/info.json; fetch the file again")
    batches = file.iter_batches(batch_size=_PICTURE_ROWS, columns=[name])
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
