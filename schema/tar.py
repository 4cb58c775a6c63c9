"""Plain tar, written with known byte offsets: POSIX ustar, regular files only, the same bytes for the same input.

`tarfile` spends ten times as long on a small member as the disk does; headers here are copies of one template with
names, sizes and checksums set, many at a time. Format: POSIX.1-1988, "ustar Interchange Format".
"""
# Legend: N members.

from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from schema.digest import Hasher

BLOCK = 512
_NAME_LIMIT = 100
_AT_ONCE_BYTES = 1 << 18
_SIZE_LIMIT = 8**11 - 1
_BEFORE_SIZE = b"0000644\0" + b"0000000\0" * 2  # mode; owner, group
_AFTER_SIZE = b"\0" + b"00000000000\0"  # time of modification
_AFTER_CHECKSUM = (
    b"0"  # a regular file
    + b"\0" * 100  # link name
    + b"ustar\x0000"
    + b"\0" * 247
)
_TEMPLATE = np.frombuffer(
    bytes(_NAME_LIMIT) + _BEFORE_SIZE + b"0" * 11 + _AFTER_SIZE + b"000000\0 " + _AFTER_CHECKSUM, np.uint8
)
_SIZE = slice(_NAME_LIMIT + len(_BEFORE_SIZE), _NAME_LIMIT + len(_BEFORE_SIZE) + 11)
_CHECKSUM = slice(_SIZE.stop + len(_AFTER_SIZE), _SIZE.stop + len(_AFTER_SIZE) + 6)
_FIXED_SUM = sum(_BEFORE_SIZE + _AFTER_SIZE + b" " * 8 + _AFTER_CHECKSUM)
"""The checksum itself counts as spaces."""
_PADDING = bytes(BLOCK)


def headers(names: Sequence[str], sizes: Sequence[int]) -> bytes:
    """The 512 bytes before each member of so many bytes, below 8 GiB, one after the other.

    Names are printable ASCII of 1 to 100 characters; ValueError with the first that is not.
    """
    for name in names:
        if not (0 < len(name) <= _NAME_LIMIT and name.isascii() and name.isprintable()):
            raise ValueError(f"a member's name takes 1 to {_NAME_LIMIT} printable ASCII characters, found {name!r}")
    for name, size in zip(names, sizes, strict=True):
        if not 0 <= size <= _SIZE_LIMIT:
            raise ValueError(f"a member takes up to {_SIZE_LIMIT} bytes, found {size} for {name!r}")
    blocks = np.tile(_TEMPLATE, (len(names), 1))
    blocks[:, :_NAME_LIMIT] = np.array(names, f"S{_NAME_LIMIT}").view(np.uint8).reshape(-1, _NAME_LIMIT)
    blocks[:, _SIZE] = _octal(np.array(sizes, np.int64), 11)
    sums_N = blocks[:, :_NAME_LIMIT].sum(axis=1, dtype=np.int64) + blocks[:, _SIZE].sum(axis=1, dtype=np.int64)
    blocks[:, _CHECKSUM] = _octal(_FIXED_SUM + sums_N, 6)
    return blocks.tobytes()


def _octal(numbers_N: NDArray[np.int64], digits: int) -> NDArray[np.int64]:
    """`[N, digits]` of ASCII."""
    return (numbers_N[:, None] >> np.arange(3 * digits - 3, -1, -3)) % 8 + ord("0")


def span(size: int) -> int:
    """How many bytes of a tar a member of `size` bytes takes, its header included."""
    return BLOCK + size + -size % BLOCK


def data_offsets(sizes: Sequence[int], start: int) -> NDArray[np.int64]:
    """`[N]`: where the data of members of these sizes stands, the first one's header being at byte `start`."""
    sizes_N = np.array(sizes, np.int64)
    spans_N = BLOCK + sizes_N + -sizes_N % BLOCK
    offsets_N: NDArray[np.int64] = start + BLOCK + np.cumsum(spans_N) - spans_N
    return offsets_N


class TarWriter:
    """Appends members to a stream; `digest` covers every byte written.

    Bytes are gathered in blocks that stay in the core's own cache, since digest and stream take each byte soon after.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hasher = Hasher()
        self.position = 0
        """Bytes taken so far: where the next header will stand."""

    def add(self, names: Sequence[str], contents: Sequence[bytes]) -> None:
        """Append members."""
        heads = headers(names, [len(content) for content in contents])
        pieces: list[bytes] = []
        taken = self.position
        for start, content in zip(range(0, len(heads), BLOCK), contents, strict=True):
            pieces += (heads[start : start + BLOCK], content, _PADDING[: -len(content) % BLOCK])
            self.position += span(len(content))
            if self.position - taken >= _AT_ONCE_BYTES:
                self._put(b"".join(pieces))
                pieces, taken = [], self.position
        self._put(b"".join(pieces))

    def finish(self) -> bytes:
        """Write the end mark and give back the digest of the whole file."""
        self._put(bytes(2 * BLOCK))
        self.position += 2 * BLOCK
        return self._hasher.digest()

    def _put(self, block: bytes) -> None:
        self._hasher.update(block)
        self._stream.write(block)
