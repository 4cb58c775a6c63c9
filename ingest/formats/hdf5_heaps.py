"""The heaps of an HDF5 file, where text lies: walked before HDF5 does it, which never ends on one that is broken.

A collection is "GCOL", a version, its size and objects, each with an index, a count of references, its size and bytes
padded to eight (HDF5 File Format Specification 3.0, III.E).
"""

import os
import struct
from functools import lru_cache
from pathlib import Path

from schema.errors import EpisodeError

MAX_BYTES = 1 << 30
"""Of larger files the heaps are not looked for."""
_MARK = b"GCOL\x01\0\0\0"
_HEADER = 16
_BLOCK = 1 << 22


def check_heaps(path: Path, *, file: str) -> None:
    """EpisodeError "unreadable_hdf5" where an object of a heap has no size that fits its collection."""
    state = path.stat()
    broken = _broken(str(path), state.st_size, state.st_mtime_ns) if state.st_size <= MAX_BYTES else None
    if broken is not None:
        raise EpisodeError("unreadable_hdf5", f"the heap of texts is broken at byte {broken}: fetch again {file}")


@lru_cache(maxsize=256)
def _broken(path: str, size_bytes: int, mtime_ns: int) -> int | None:  # noqa: ARG001 - part of the cache's key
    """Where the first broken object stands."""
    with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 - cached by the name
        start, tail = 0, b""
        while block := stream.read(_BLOCK):
            text, place = tail + block, -1
            while (place := text.find(_MARK, place + 1)) >= 0:
                if (broken := _broken_object(stream.fileno(), start - len(tail) + place, size_bytes)) is not None:
                    return broken
            start += len(block)
            tail = text[1 - len(_MARK) :]
    return None


def _broken_object(descriptor: int, start: int, size_bytes: int) -> int | None:
    header = os.pread(descriptor, _HEADER, start)
    if len(header) < _HEADER:
        return start
    stop = start + int(struct.unpack_from("<Q", header, 8)[0])
    if stop > size_bytes:
        return start
    place = start + _HEADER
    while place + _HEADER <= stop:
        index, length = struct.unpack("<H6xQ", os.pread(descriptor, _HEADER, place))
        needed = _HEADER + (length + 7) // 8 * 8 if index else length  # 0 is what is free, with its header
        if not _HEADER <= needed <= stop - place:
            return place
        place += needed
    return None
