"""The heaps of an HDF5 file, where text lies: walked before HDF5 does it, which never ends on one that is broken.

A collection is "GCOL", a version, its size and objects, each with an index, a count of references, its size and bytes
padded to eight (HDF5 File Format Specification 3.0, III.E).
"""
# Legend: N words of a block, L leads (how far a word stands in the mark), W windows, M bytes of the mark.

import os
import struct
from collections.abc import Iterator
from functools import lru_cache
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from schema.errors import EpisodeError

MAX_BYTES = 1 << 30
"""Of larger files the heaps are not looked for."""
_MARK = b"GCOL\x01\0\0\0"
_WORDS = [int.from_bytes(_MARK[lead : lead + 4], "little") for lead in range(4)]
"""Of a mark at any byte, one of these lies on a multiple of four: comparing finds it thrice as fast as `find`."""
_HEADER = 16
_BLOCK_WORDS = 1 << 16


def check_heaps(path: Path, *, file: str) -> None:
    """EpisodeError "unreadable_hdf5" where an object of a heap has no size that fits its collection."""
    state = path.stat()
    broken = _broken(str(path), state.st_size, state.st_mtime_ns) if state.st_size <= MAX_BYTES else None
    if broken is not None:
        raise EpisodeError("unreadable_hdf5", f"the heap of texts is broken at byte {broken}: fetch again {file}")


def forget() -> None:
    """Look at every file anew."""
    _broken.cache_clear()


@lru_cache(maxsize=256)
def _broken(path: str, size_bytes: int, mtime_ns: int) -> int | None:  # noqa: ARG001 - part of the cache's key
    """Where the first broken object stands."""
    with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 - cached by the name
        broken = (_broken_object(stream.fileno(), place, size_bytes) for place in _marks(stream))
        return next((place for place in broken if place is not None), None)


def _marks(stream: FileIO) -> Iterator[int]:
    """Where each mark begins, in order, in a file that nobody writes to."""
    words_N = np.empty(_BLOCK_WORDS, "<u4")
    start = 0
    while count := stream.readinto(words_N.data) // 4:
        found_LN = [words_N[:count] == word for word in _WORDS]
        if any(found_N.any() for found_N in found_LN):
            places = np.sort(np.concatenate([4 * np.flatnonzero(each) - lead for lead, each in enumerate(found_LN)]))
            is_inside = (places >= 0) & (places <= 4 * count - len(_MARK))
            is_mark = ~is_inside
            if is_inside.any():
                bytes_WM = sliding_window_view(words_N[:count].view(np.uint8), len(_MARK))
                is_mark[is_inside] = (bytes_WM[places[is_inside]] == np.frombuffer(_MARK, np.uint8)).all(axis=1)
            for place in (int(start + place) for place in places[is_mark] if start + place >= 0):
                if os.pread(stream.fileno(), len(_MARK), place) == _MARK:
                    yield place
        start = stream.seek(start + 4 * count)


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
