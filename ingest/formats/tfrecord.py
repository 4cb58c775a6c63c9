"""TFRecord framing: where each record lies in a file, and its payload with both checksums held to.

A record is the payload's length (uint64), the masked CRC32C of those 8 bytes, the payload, and its masked CRC32C,
all little-endian (https://www.tensorflow.org/tutorials/load_data/tfrecord). `scan` reads headers alone.
"""

import struct
from dataclasses import dataclass
from typing import BinaryIO

import google_crc32c
import numpy as np

from ingest.record import Problem
from schema.errors import EpisodeError

HEADER_BYTES = 12
FOOTER_BYTES = 4
_MASK_DELTA = 0xA282EAD8


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """What framing a file has: byte ranges [start, stop) of whole records, and where the framing broke."""

    records: tuple[tuple[int, int], ...]
    problem: Problem | None = None
    """Why nothing after the last record can be found; None where the file ends as it should."""
    broken_at: int | None = None
    """The byte at which the broken record starts."""


def masked_crc(data: bytes | memoryview) -> int:
    """The CRC32C of the data, rotated right by 15 bits plus a constant, as TFRecord stores it."""
    crc: int = google_crc32c.value(np.frombuffer(data, np.uint8))  # it takes no memoryview
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def scan(stream: BinaryIO, size_bytes: int, *, file: str) -> Scan:
    """The records of a file of `size_bytes`, by 12-byte headers and seeks; payloads are not read."""
    records: list[tuple[int, int]] = []
    start = 0
    while start < size_bytes:
        stream.seek(start)
        header = stream.read(HEADER_BYTES)
        problem = _header_problem(header, file=file, byte_start=start)
        if problem is None:
            stop = start + HEADER_BYTES + struct.unpack_from("<Q", header)[0] + FOOTER_BYTES
            if stop > size_bytes:
                problem = _truncated(file, start, found=size_bytes - start, expected=stop - start)
        if problem is not None:
            return Scan(records=tuple(records), problem=problem, broken_at=start)
        records.append((start, stop))
        start = stop
    return Scan(records=tuple(records))


def unframe(framed: bytes, *, file: str, byte_start: int) -> memoryview:
    """The payload of one whole record, not copied; EpisodeError "truncated_record" or "crc_mismatch"."""
    problem = _header_problem(framed[:HEADER_BYTES], file=file, byte_start=byte_start)
    if problem is not None:
        raise EpisodeError(problem.reason, problem.message)
    expected = HEADER_BYTES + struct.unpack_from("<Q", framed)[0] + FOOTER_BYTES
    if len(framed) != expected:
        problem = _truncated(file, byte_start, found=len(framed), expected=expected)
        raise EpisodeError(problem.reason, problem.message)
    payload = memoryview(framed)[HEADER_BYTES:-FOOTER_BYTES]
    (stored,) = struct.unpack("<I", framed[-FOOTER_BYTES:])
    if stored != (computed := masked_crc(payload)):
        raise EpisodeError(
            "crc_mismatch",
            f"the {len(payload)} bytes of the record at byte {byte_start} have checksum {computed:#010x}, its frame "
            f"says {stored:#010x}: the file was damaged; fetch it again: {file}",
        )
    return payload


def _header_problem(header: bytes, *, file: str, byte_start: int) -> Problem | None:
    if len(header) < HEADER_BYTES:
        return _truncated(file, byte_start, found=len(header), expected=HEADER_BYTES)
    (stored,) = struct.unpack_from("<I", header, 8)
    if stored != (computed := masked_crc(header[:8])):
        return Problem(
            reason="crc_mismatch",
            message=f"the length of the record at byte {byte_start} has checksum {computed:#010x}, its frame says "
            f"{stored:#010x}: nothing after it can be found; fetch the file again: {file}",
        )
    return None


def _truncated(file: str, byte_start: int, *, found: int, expected: int) -> Problem:
    return Problem(
        reason="truncated_record",
        message=f"found {found} bytes of the record at byte {byte_start}, expected {expected}: "
        f"the file was cut; fetch it again: {file}",
    )
