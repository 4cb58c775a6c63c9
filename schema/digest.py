"""Content digests: BLAKE2b of 128 bits as 32 hex characters, and canonical JSON to take them of."""

import hashlib
import json
from pathlib import Path
from typing import Any

_BUFFER_BYTES = 1 << 18


def new_digest() -> "hashlib.blake2b":
    """A hasher to feed piece by piece."""
    return hashlib.blake2b(digest_size=16)


def digest_bytes(*parts: bytes | memoryview) -> str:
    """The digest of the parts one after the other."""
    hasher = new_digest()
    for part in parts:
        hasher.update(part)
    return hasher.hexdigest()


def feed_file(hasher: "hashlib.blake2b", path: Path) -> None:
    """Feed a file's bytes to a hasher, by a buffer that stays in the core's own cache."""
    buffer = bytearray(_BUFFER_BYTES)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as stream:
        while size := stream.readinto(buffer):
            hasher.update(view[:size])


def canonical_json(value: Any) -> bytes:
    """The one spelling of a JSON value: sorted keys, no spaces, shortest floats; NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest_json(value: Any) -> str:
    """The digest of a JSON value's one spelling."""
    return digest_bytes(canonical_json(value))
