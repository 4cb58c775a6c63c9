"""Receipts: what a shard was found to hold when it was read again after writing, against what its source had said.

One JSON file beside the shard, `<digest>.receipt.json`, with the same life: it is uploaded before any row refers to the
shard, never changes, and goes with it. Who makes a shard gives a `Claim` per episode, taken from the source while it
was converted; `make_receipt` reads the finished files and compares; `lake verify` reads them once more.
"""
# Legend: T frames, D a signal's width.

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from schema.digest import canonical_json, digest_bytes
from schema.episode import Numbers
from schema.errors import SchemaError
from schema.frames import numbers
from schema.shards import Shard

RECEIPT_VERSION = 1
SAMPLE_EVERY = 64
"""One picture in so many is decoded and compared with the source, chosen by the digest of its name in the tar."""
EXTENSION = "receipt.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class CameraClaim:
    """One camera's pictures as they were given to a shard."""

    pictures: int
    passed_through: int
    """How many of them are the source's own JPEG, byte for byte."""
    crc32c: int
    """Of the JPEGs one after the other; of the source's bytes where they pass through."""
    psnr_db: Mapping[str, float]
    """Sampled frame → stored picture against the source's, scaled to the stored size; none of those passed through."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What the source says that an episode must read back as."""

    episode_id: str
    source_digest: str
    """Of the record's own bytes in the log."""
    signals: Mapping[str, NDArray[np.float64]]
    """By name `[T, D]`, the log's values in the robot's units, without loss of precision."""
    timestamp_T: NDArray[np.float64] | None
    """Seconds from the first frame by the log's clock; None where it has none."""
    cameras: Mapping[str, CameraClaim]


@dataclass(frozen=True, kw_only=True, slots=True)
class EpisodeReceipt:
    """What was read back of one episode."""

    episode_id: str
    source_digest: str
    num_frames: int
    max_error: Mapping[str, float | None]
    """Per signal, the largest |stored − source|: 0 for float32 and float64 sources; None where they do not compare."""
    values_crc32c: Mapping[str, int]
    """Per signal, of the stored values."""
    max_time_error_s: float | None
    """None where the log has no clock of the stored frames."""
    cameras: Mapping[str, CameraClaim]


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """A shard's proof."""

    shard: str
    """Its digest."""
    episodes: tuple[EpisodeReceipt, ...]
    sample_every: int = SAMPLE_EVERY
    version: int = RECEIPT_VERSION

    def encoded(self) -> bytes:
        """The one spelling of it; the same shard from the same source gives the same bytes."""
        return canonical_json(asdict(self))

    @classmethod
    def parse(cls, data: bytes) -> "Receipt":
        """What `encoded` wrote; SchemaError where it is not that."""
        try:
            told = json.loads(data)
            episodes = tuple(_parse_episode(item) for item in told.pop("episodes"))
            return cls(**told, episodes=episodes)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SchemaError(f"a receipt of {len(data)} bytes is not what robomix writes: {error!r}") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """One episode as the files of a shard hold it."""

    num_frames: int
    timestamp_T: NDArray[np.float64]
    signals: Mapping[str, Numbers]
    cameras: Mapping[str, tuple[int, int]]
    """Number of pictures and CRC-32C of their bytes one after the other."""

    @property
    def values_crc32c(self) -> dict[str, int]:
        """Per signal, of its stored values."""
        return {name: google_crc32c.value(values.tobytes()) for name, values in sorted(self.signals.items())}


def is_sampled(episode_id: str, frame: int, camera: str) -> bool:
    """Whether this picture is one that a receipt compares."""
    return int(digest_bytes(f"{episode_id}-{frame:06d}.{camera}.jpg".encode())[:8], 16) % SAMPLE_EVERY == 0


def make_receipt(shard: Shard, claims: Sequence[Claim]) -> Receipt:
    """Read a finished shard and compare it with its claims, one per episode in order.

    SchemaError where frames or pictures are not what was given: the disk or the memory is not to be trusted.
    """
    file = pq.ParquetFile(shard.parquet, memory_map=True)
    with shard.tar.open("rb") as tar:
        episodes = tuple(_compare(claim, read_back(file, group, tar=tar)) for group, claim in enumerate(claims))
    return Receipt(shard=shard.digest, episodes=episodes)


def read_back(file: pq.ParquetFile, group: int, *, tar: BinaryIO) -> Reading:
    """One row group's numbers, and the pictures that it points at in the tar."""
    compared = [name for name in file.schema_arrow.names if name.startswith(("state.", "action.", "camera."))]
    table = file.read_row_group(group, columns=["timestamp", *compared], use_threads=False)
    signals = {name: numbers(table[name]) for name in table.schema.names if name.startswith(("state.", "action."))}
    cameras = [name for name in table.schema.names if name.startswith("camera.") and not table[name].null_count]
    return Reading(
        num_frames=table.num_rows,
        timestamp_T=table["timestamp"].to_numpy(),
        signals={name: values for name, values in signals.items() if values is not None},
        cameras={name.removeprefix("camera."): _pictures(table[name], tar) for name in cameras},
    )


def receipt_problems(told: EpisodeReceipt, found: Reading) -> Iterator[str]:
    """How what is there now differs from what was read after writing."""
    if found.num_frames != told.num_frames:
        yield f"{found.num_frames} frames, its receipt says {told.num_frames}"
    if found.values_crc32c != told.values_crc32c:
        names = sorted(name for name, crc in told.values_crc32c.items() if found.values_crc32c.get(name) != crc)
        yield f"the values of {', '.join(names) or 'some signal'} are not those of its receipt"
    for camera, claim in told.cameras.items():
        pictures = found.cameras.get(camera, (0, 0))
        if pictures != (claim.pictures, claim.crc32c):
            yield f"{camera}: its {pictures[0]} pictures are not the {claim.pictures} of its receipt"


def _pictures(column: pa.ChunkedArray, tar: BinaryIO) -> tuple[int, int]:
    place = column.combine_chunks()
    offsets, lengths = place.field("offset").to_pylist(), place.field("length").to_pylist()
    crc = 0
    for offset, length in zip(offsets, lengths, strict=True):
        crc = google_crc32c.extend(crc, os.pread(tar.fileno(), length, offset))
    return len(place), crc


def _compare(claim: Claim, found: Reading) -> EpisodeReceipt:
    receipt = EpisodeReceipt(
        episode_id=claim.episode_id,
        source_digest=claim.source_digest,
        num_frames=found.num_frames,
        max_error={name: _largest(claim.signals.get(name), values) for name, values in sorted(found.signals.items())},
        values_crc32c=found.values_crc32c,
        max_time_error_s=_largest(claim.timestamp_T, found.timestamp_T),
        cameras=claim.cameras,
    )
    problems = list(receipt_problems(receipt, found))
    if problems or found.cameras.keys() != claim.cameras.keys():
        told = "; ".join(problems) or f"cameras {sorted(found.cameras)}, expected {sorted(claim.cameras)}"
        raise SchemaError(
            f"episode {claim.episode_id}, read again after writing, is not what was written: {told}; "
            "is the disk sound? run the same command again"
        )
    return receipt


def _largest(source: NDArray[np.float64] | None, stored: Numbers) -> float | None:
    """The largest |stored − source|; None where there is no source value for each stored one."""
    if source is None or source.shape != stored.shape:
        return None
    return float(np.abs(stored.astype(np.float64) - source).max(initial=0.0))


def _parse_episode(told: Mapping[str, Any]) -> EpisodeReceipt:
    cameras = {name: CameraClaim(**camera) for name, camera in told["cameras"].items()}
    return EpisodeReceipt(**{**told, "cameras": cameras})
