"""The heaps of an HDF5 file, where text lies: walked before HDF5 does it, which never ends on one that is broken.

A collection is "GCOL", a version, its size and objects, each with an index, a count of references, its size and bytes
padded to eight (HDF5 File Format Specification 3.0, III.E).
"""
# Legend: N words of a block, B its bytes, L leads (how far a word stands in the mark), W windows, M bytes of the mark.

import os
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from schema.digest import Hasher, feed_file
from schema.errors import EpisodeError

MAX_BYTES = 1 << 30
"""Of larger files the heaps are not looked for."""
_MARK = b"GCOL\x01\0\0\0"
_WORDS = [int.from_bytes(_MARK[lead : lead + 4], "little") for lead in range(4)]
"""Of a mark at any byte, one of these lies on a multiple of four: comparing finds it thrice as fast as `find`."""
_HEADER = 16
_BLOCK_WORDS = 1 << 17
_MAX_LOOKED_AT = 256
_Version = tuple[str, int, int]
"""Path, size and time of modification."""
_looked_at: OrderedDict[_Version, int | None] = OrderedDict()
"""The last files that were looked at, and where the first broken object of each stands."""


def check_heaps(path: Path, *, file: str) -> None:
    """EpisodeError "unreadable_hdf5" where an object of a heap has no size that fits its collection."""
    version = _version(path)
    _refuse(_looked_at.get(version) if _need_not_look(version) else _look_at(path, version, feed=_nobody), file=file)


def checked_digest(path: Path, *, file: str) -> str:
    """The digest of a file's bytes; what `check_heaps` asks is answered, and may be raised, from the same reading."""
    hasher = Hasher()
    version = _version(path)
    if _need_not_look(version):
        _refuse(_looked_at.get(version), file=file)
        feed_file(hasher, path)
    else:
        _refuse(_look_at(path, version, feed=hasher.update), file=file)
    return hasher.hexdigest()


def forget() -> None:
    """Look at every file anew."""
    _looked_at.clear()


def _version(path: Path) -> _Version:
    state = path.stat()
    return str(path), state.st_size, state.st_mtime_ns


def _need_not_look(version: _Version) -> bool:
    """Whether the file was looked at, or is too large to be."""
    _, size_bytes, _ = version
    return size_bytes > MAX_BYTES or version in _looked_at


def _nobody(_: memoryview) -> None:
    """Fed where only the marks are asked for."""


def _refuse(broken: int | None, *, file: str) -> None:
    if broken is not None:
        raise EpisodeError("unreadable_hdf5", f"the heap of texts is broken at byte {broken}: fetch again {file}")


def _look_at(path: Path, version: _Version, *, feed: Callable[[memoryview], object]) -> int | None:
    """Where the first broken object stands, noted too; all bytes are fed, unless one is broken."""
    _, size_bytes, _ = version
    with path.open("rb", buffering=0) as stream:
        broken = (_broken_object(stream.fileno(), place, size_bytes) for place in _marks(stream, feed=feed))
        first = _looked_at[version] = next((place for place in broken if place is not None), None)
    while len(_looked_at) > _MAX_LOOKED_AT:
        _looked_at.popitem(last=False)
    return first


def _marks(stream: FileIO, *, feed: Callable[[memoryview], object]) -> Iterator[int]:
    """Where each mark begins, in order, in a file that nobody writes to; its bytes are fed on the way."""
    words_N = np.empty(_BLOCK_WORDS, "<u4")
    bytes_B = words_N.view(np.uint8)
    start = 0
    while size := stream.readinto(words_N.data):
        count = size // 4
        used = 4 * count or size  # the rest is read again, but for the last bytes of a file
        feed(bytes_B.data[:used])
        found_LN = [words_N[:count] == word for word in _WORDS]
        if any(found_N.any() for found_N in found_LN):
            places = np.sort(np.concatenate([4 * np.flatnonzero(each) - lead for lead, each in enumerate(found_LN)]))
            is_inside = (places >= 0) & (places <= 4 * count - len(_MARK))
            is_mark = ~is_inside
            if is_inside.any():
                bytes_WM = sliding_window_view(bytes_B[: 4 * count], len(_MARK))
                is_mark[is_inside] = (bytes_WM[places[is_inside]] == np.frombuffer(_MARK, np.uint8)).all(axis=1)
            for place in (int(start + place) for place in places[is_mark] if start + place >= 0):
                if os.pread(stream.fileno(), len(_MARK), place) == _MARK:
                    yield place
        start = stream.seek(start + used)


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
