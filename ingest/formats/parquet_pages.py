"""How large the pages of a Parquet file say they are, read before anything is unpacked.

A reader makes room for a page by its own header, whatever the file's footer says: a few bytes may claim, and unpack
to, 2 GiB, once in every column. Page headers are structs of Thrift's compact protocol
(https://github.com/apache/parquet-format, `PageHeader`; https://github.com/apache/thrift, thrift-compact-protocol.md).
"""

from typing import BinaryIO

import pyarrow.parquet as pq

from schema.errors import EpisodeError

MAX_PAGE_BYTES = 1 << 28
"""Writers aim at 1 MiB; a page with larger pictures holds one or a few."""
_MAX_PAGES = 1 << 20
_HEADER_BYTES = (1 << 9, 1 << 14, 1 << 20)
"""So much is read to find a header in, which is some 30 bytes unless it carries large statistics."""
_UNCOMPRESSED_SIZE, _COMPRESSED_SIZE = 2, 3
_BOOLEANS, _INTEGERS, _TEXT, _STRUCT = (1, 2), (4, 5, 6), 8, 12
_FIXED_BYTES = {1: 1, 2: 1, 3: 1, 7: 8}
"""Elements of lists and maps: booleans and bytes take one, a double eight."""
_LISTS, _MAP = (9, 10), 11
_MAX_DEPTH = 8


def unpacked_bytes(stream: BinaryIO, column: pq.ColumnChunkMetaData, *, file: str) -> int:
    """What a column's pages unpack to, all together; EpisodeError "absurd_size" where one is larger than a page may be.

    ValueError where the pages cannot be told apart.
    """
    start = column.data_page_offset
    if column.has_dictionary_page and 0 < column.dictionary_page_offset < start:
        start = column.dictionary_page_offset
    stop, total = start + column.total_compressed_size, 0
    for _ in range(_MAX_PAGES):
        if start >= stop:
            return total
        sizes, header_bytes = _page_header(stream, start, stop)
        unpacked, packed = sizes.get(_UNCOMPRESSED_SIZE, -1), sizes.get(_COMPRESSED_SIZE, -1)
        if unpacked < 0 or packed < 0:
            raise ValueError(f"a page of {packed} bytes that unpack to {unpacked}")
        if unpacked > MAX_PAGE_BYTES:
            raise EpisodeError(
                "absurd_size",
                f"a page of {column.path_in_schema!r} unpacks to {unpacked} bytes, expected {MAX_PAGE_BYTES} at most: "
                f"write the file anew with smaller pages; file {file}",
            )
        total += unpacked
        start += header_bytes + packed
    raise ValueError(f"more than {_MAX_PAGES} pages in one column")


def _page_header(stream: BinaryIO, start: int, stop: int) -> tuple[dict[int, int], int]:
    """The integers of the header at this byte by the numbers of their fields, and the header's length."""
    for most in _HEADER_BYTES:
        stream.seek(start)
        data = stream.read(min(most, stop - start))
        thrift = _Thrift(data)
        try:
            return thrift.struct(), thrift.at
        except IndexError:
            if len(data) < most:
                break
    raise ValueError("a page's header does not end")


class _Thrift:
    """Reads a struct of the compact protocol; IndexError where the bytes end, ValueError where they are none."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def struct(self, depth: int = 0) -> dict[int, int]:
        """Its integers by field; other fields are passed over."""
        if depth > _MAX_DEPTH:
            raise ValueError("structs inside structs without end")
        found: dict[int, int] = {}
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._integer()
            if head & 15 in _INTEGERS:
                found[field] = self._integer()
            elif head & 15 not in _BOOLEANS:
                self._skip(head & 15, depth)
        return found

    def _skip(self, kind: int, depth: int) -> None:
        if kind in _FIXED_BYTES:
            self.at += _FIXED_BYTES[kind]
        elif kind in _INTEGERS:
            self._varint()
        elif kind == _TEXT:
            size = self._varint()
            self.at += size
        elif kind == _STRUCT:
            self.struct(depth + 1)
        elif kind in _LISTS:
            head = self._byte()
            self._skip_all(self._varint() if head >> 4 == 15 else head >> 4, (head & 15,), depth)
        elif kind == _MAP:
            size = self._varint()
            kinds = self._byte() if size else 0
            self._skip_all(size, (kinds >> 4, kinds & 15), depth)
        else:
            raise ValueError(f"Thrift knows no type {kind}")

    def _skip_all(self, count: int, kinds: tuple[int, ...], depth: int) -> None:
        for _ in range(count):
            for kind in kinds:
                self._skip(kind, depth + 1)
            if self.at > len(self._data):
                raise IndexError

    def _byte(self) -> int:
        byte = self._data[self.at]
        self.at += 1
        return byte

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) > 0x7F:
            value, shift = value | (byte & 0x7F) << shift, shift + 7
            if shift > 63:
                raise ValueError("a number of more than 64 bits")
        return value | byte << shift

    def _integer(self) -> int:
        """Signed, small ones of either sign first."""
        value = self._varint()
        return value >> 1 ^ -(value & 1)
