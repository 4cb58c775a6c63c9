"""The digest of an Arrow table's values: the same however they are chunked, dictionary-encoded or stored."""

from typing import Any

import numpy as np
import pyarrow as pa

from schema.digest import Hasher


def table_digest(table: pa.Table) -> str:
    """32 hex characters over column names, plain types and values, in the order of columns and rows; no nulls."""
    hasher = Hasher()
    for name in table.column_names:
        hasher.update(f"{name}\0".encode())
        _feed(hasher, table[name].combine_chunks())
    return hasher.hexdigest()


def _feed(hasher: Any, array: pa.Array) -> None:
    assert array.null_count == 0
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_list(array.type):
        hasher.update(f"list:{len(array)}\0".encode())
        hasher.update(array.value_lengths().to_numpy(zero_copy_only=False).astype("<i4").tobytes())
        _feed(hasher, array.flatten())
        return
    hasher.update(f"{array.type}:{len(array)}\0".encode())
    if pa.types.is_string(array.type):
        _feed_texts(hasher, array)
    else:
        values = array.to_numpy(zero_copy_only=False)
        hasher.update(values.astype(values.dtype.newbyteorder("<")).tobytes())


def _feed_texts(hasher: Any, array: pa.StringArray) -> None:
    """Lengths, then all characters in UTF-8."""
    if len(array) == 0:
        return
    large = array.cast(pa.large_string())
    _, offsets, data = large.buffers()
    edges = np.frombuffer(offsets, "<i8")[large.offset : large.offset + len(large) + 1]
    hasher.update(np.diff(edges).tobytes())
    hasher.update(memoryview(data).cast("B")[edges[0] : edges[-1]] if data is not None else b"")
