"""Plain tar, written with known byte offsets: POSIX ustar, regular files only, the same bytes for the same input.

`tarfile` spends ten times as long on a small member as the disk does; a header here is one template with a name,
a size and a checksum set. Format: POSIX.1-1988, "ustar Interchange Format".
"""

from typing import BinaryIO

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
_FIXED_SUM = sum(_BEFORE_SIZE + _AFTER_SIZE + b" " * 8 + _AFTER_CHECKSUM)
"""The checksum itself counts as spaces."""
_PADDING = bytes(BLOCK)


def header(name: str, size: int) -> bytes:
    """The 512 bytes before a member of `size` bytes below 8 GiB; names are printable ASCII of 1 to 100 characters."""
    if not (0 < len(name) <= _NAME_LIMIT and name.isascii() and name.isprintable()):
        raise ValueError(f"a member's name takes 1 to {_NAME_LIMIT} printable ASCII characters, found {name!r}")
    if not 0 <= size <= _SIZE_LIMIT:
        raise ValueError(f"a member takes up to {_SIZE_LIMIT} bytes, found {size} for {name!r}")
    encoded = name.encode("ascii")
    digits = b"%011o" % size
    checksum = b"%06o\0 " % (_FIXED_SUM + sum(encoded) + sum(digits))
    return encoded.ljust(_NAME_LIMIT, b"\0") + _BEFORE_SIZE + digits + _AFTER_SIZE + checksum + _AFTER_CHECKSUM


def span(size: int) -> int:
    """How many bytes of a tar a member of `size` bytes takes, its header included."""
    return BLOCK + size + -size % BLOCK


class TarWriter:
    """Appends members to a stream; `digest` covers every byte written.

    Bytes are gathered in blocks that stay in the core's own cache, since digest and stream take each byte soon after.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hasher = Hasher()
        self._block = bytearray()
        self.position = 0
        """Bytes taken so far: where the next header will stand."""

    def add(self, name: str, data: bytes) -> int:
        """Append a member and give back the offset of its data."""
        start = self.position + BLOCK
        self._block += header(name, len(data))
        self._block += data
        self._block += _PADDING[: -len(data) % BLOCK]
        self.position += span(len(data))
        if len(self._block) >= _AT_ONCE_BYTES:
            self._put()
        return start

    def finish(self) -> bytes:
        """Write the end mark and give back the digest of the whole file."""
        self._block += bytes(2 * BLOCK)
        self.position += 2 * BLOCK
        self._put()
        return self._hasher.digest()

    def _put(self) -> None:
        self._hasher.update(self._block)
        self._stream.write(self._block)
        self._block = bytearray()
