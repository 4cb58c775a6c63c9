"""What a loader keeps at hand of the shards: mapped files, episodes' numbers, and segments' bytes; all bounded.

The unit of numbers is an episode (one row group of the Parquet), the unit of pictures the byte range of a segment of
32 frames (about 1.5 MB of a tar), never a whole shard. Local tars are mapped into memory and the operating system
keeps what is hot; from elsewhere segments are fetched by range and the least recently used go first.
"""
# Legend: T frames of an episode, C its cameras, S state and A action dimensions of its robot.

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from schema.arrays import Bytes, as_numpy
from schema.digest import crc32c
from schema.errors import EpisodeError, SchemaError
from schema.frames import numbers
from schema.lake import Lake
from training.ranges import RangedFile, Ranges

SEGMENT_FRAMES = 32
_NO_CHECKSUM = -1
"""In shards of format version 1."""
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Wanted:
    """What is read of an episode: signals, one after the other, and those cameras that it has. Equal to itself only."""

    state: tuple[str, ...]
    action: tuple[str, ...]
    cameras: tuple[str, ...]

    def columns(self, there: frozenset[str]) -> list[str]:
        """The Parquet columns to read of a shard that has these."""
        signals = [name for name in (*self.state, *self.action) if name in there]
        cameras = [f"camera.{name}" for name in self.cameras if f"camera.{name}" in there]
        return signals + [f"{camera}.{leaf}" for camera in cameras for leaf in _LEAVES]


Place: TypeAlias = tuple[int, int, int, int, int]
"""Where a JPEG stands in its tar (offset, length), what it decodes to (height, width), and its CRC-32C."""


def check_bytes(jpeg: Bytes, place: Place) -> None:
    """EpisodeError "crc_mismatch" where these bytes are not those that were written at this place."""
    offset, length, _, _, expected = place
    if expected != _NO_CHECKSUM and (found := crc32c(jpeg)) != expected:
        raise EpisodeError(
            "crc_mismatch", f"its {length} bytes at {offset} have checksum {found:#010x}, expected {expected:#010x}"
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EpisodeFrames:
    """An episode's numbers in the order of an action space's dimensions, and its pictures' places."""

    state_TS: NDArray[np.float32]
    action_TA: NDArray[np.float32]
    cameras: tuple[str, ...]
    place_TC: NDArray[np.void]
    """`[T, C]` records of what a `Place` has: those of a frame lie together, and are read out of memory together."""

    def places(self, frame: int) -> dict[str, Place]:
        """Where the JPEG that each camera has of a frame stands, and what it is."""
        return dict(zip(self.cameras, self.place_TC[frame].tolist(), strict=True))

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.state_TS.nbytes + self.action_TA.nbytes + self.place_TC.nbytes + _EPISODE_OVERHEAD


class Recent(Generic[Key, Value]):
    """A cache that makes each value once, even when threads ask together, and drops what was used longest ago."""

    def __init__(
        self, capacity: int, make: Callable[[Key], Value], *, cost: Callable[[Value], int] = lambda _: 1
    ) -> None:
        """Hold values until their costs, one each by default, sum to more than this."""
        self._capacity, self._make, self._cost = capacity, make, cost
        self._held: OrderedDict[Key, Value] = OrderedDict()
        self._lock = threading.Lock()
        self._making: dict[Key, threading.Lock] = {}
        self._total = 0

    def __getitem__(self, key: Key) -> Value:
        """The value of this key, made now if it is not held."""
        try:  # each call is atomic, so that what is at hand needs no lock
            value = self._held[key]
            self._held.move_to_end(key)
        except KeyError:
            return self._made(key)
        return value

    def _made(self, key: Key) -> Value:
        with self._lock:
            maker = self._making.setdefault(key, threading.Lock())
        with maker:
            with self._lock:
                if key in self._held:
                    return self._held[key]
            value = self._make(key)
            with self._lock:
                self._making.pop(key, None)
                self._held[key] = value
                self._total += self._cost(value)
                while self._total > self._capacity and len(self._held) > 1:
                    _, old = self._held.popitem(last=False)
                    self._total -= self._cost(old)
        return value


class ShardCache:
    """Reads episodes and pictures of a lake's shards; safe for many threads."""

    def __init__(self, lake: Lake, *, cache_bytes: int, numbers_bytes: int = 2**29) -> None:
        """`cache_bytes` bounds the pictures held of a remote lake, `numbers_bytes` the episodes' numbers and places."""
        self.ranges = Ranges(lake)
        self.is_local = self.ranges.is_local
        self.held: dict[tuple[str, int], bytes] = {}
        """Pictures of a remote lake that somebody fetched ahead, by shard and offset; see `training.ahead`."""
        self._parquets: Recent[str, _Parquet] = Recent(_OPEN, lambda shard: _Parquet(self.ranges, f"{shard}.parquet"))
        self._episodes = Recent(numbers_bytes, self._read, cost=lambda episode: episode.nbytes)
        self._tars: Recent[str, NDArray[np.uint8]] = Recent(_OPEN, self._map)
        self._segments = Recent(cache_bytes, self._fetch, cost=len)

    def episode(self, shard: str, row_group: int, wanted: Wanted) -> EpisodeFrames:
        """The numbers of these signals, one after the other, and the places of those cameras that are there."""
        return self._episodes[shard, row_group, wanted]

    def pictures(
        self, shard: str, episode: EpisodeFrames, frame: int, *, cameras: Sequence[str | None]
    ) -> list[tuple[Bytes, Place] | None]:
        """The JPEG of one frame that each camera has, and what it should be; None for None."""
        places = episode.places(frame)
        if not self.is_local:
            far = {one: self._far(shard, episode, frame, camera=one, at=places[one]) for one in cameras if one}
            return [(far[one], places[one]) if one else None for one in cameras]
        tar = self._tars[shard]
        here = [places[one] if one else None for one in cameras]
        return [(tar[at[0] : at[0] + at[1]], at) if at else None for at in here]

    def _far(self, shard: str, episode: EpisodeFrames, frame: int, *, camera: str, at: Place) -> Bytes:
        """A JPEG of a remote lake: what was fetched ahead, or out of a whole segment."""
        offset, length, *_ = at
        if (jpeg := self.held.get((shard, offset))) is not None:
            return jpeg
        begin = frame - frame % SEGMENT_FRAMES
        end = min(begin + SEGMENT_FRAMES, len(episode.place_TC)) - 1
        start, *_ = episode.places(begin)[camera]
        last_offset, last_length, *_ = episode.places(end)[camera]
        segment = memoryview(self._segments[shard, start, last_offset + last_length])
        return segment[offset - start : offset - start + length]

    def _map(self, shard: str) -> NDArray[np.uint8]:
        return np.frombuffer(self.ranges.map(f"{shard}.tar"), np.uint8)

    def _fetch(self, segment: tuple[str, int, int]) -> bytes:
        shard, start, stop = segment
        return self.ranges.read(f"{shard}.tar", start, stop)

    def _read(self, key: tuple[str, int, Wanted]) -> EpisodeFrames:
        shard, row_group, wanted = key
        table = self._parquets[shard].row_group(row_group, wanted)
        columns = dict(zip(table.column_names, table.columns, strict=True))
        pictures = {name: columns[f"camera.{name}"] for name in wanted.cameras if f"camera.{name}" in columns}
        there = {name: column for name, column in pictures.items() if not column.null_count}
        place_TC = np.empty((len(table), len(there)), _PLACE)
        for place_T, column in zip(place_TC.T, there.values(), strict=True):
            _write_places(place_T, column, shard)
        return EpisodeFrames(
            state_TS=_joined(columns, wanted.state, shard),
            action_TA=_joined(columns, wanted.action, shard),
            cameras=tuple(there),
            place_TC=place_TC,
        )


class _Parquet:
    """An opened shard's Parquet; what is wanted of it is looked up once."""

    def __init__(self, ranges: Ranges, file: str) -> None:
        if ranges.is_local:
            source = pa.BufferReader(pa.py_buffer(ranges.map(file)))
        else:
            source = pa.PythonFile(RangedFile(ranges, file), mode="r")
        # The pieces that a row group is made of are asked for together.
        self._file = pq.ParquetFile(source, pre_buffer=True, page_checksum_verification=True)
        self._there = frozenset(self._file.schema_arrow.names)
        self._columns: dict[Wanted, list[str]] = {}
        self._lock = threading.Lock()

    def row_group(self, number: int, wanted: Wanted) -> pa.Table:
        """The wanted columns that are there."""
        with self._lock:
            if wanted not in self._columns:
                self._columns[wanted] = wanted.columns(self._there)
            return self._file.read_row_group(number, columns=self._columns[wanted], use_threads=False)


_OPEN = 1024
"""Shards of which the files are kept mapped, or their footers at hand."""
_LEAVES = ("offset", "length", "height", "width", "crc32c")
"""Of a camera's struct, in the order of a `Place`; Parquet passes over those that a shard of an older version lacks."""
_PLACE = np.dtype(list(zip(_LEAVES, ("i8", "i4", "u2", "u2", "i8"), strict=True)))
"""The record of a `Place`."""
_EPISODE_OVERHEAD = 2048
"""Bytes of objects around an episode's arrays, about."""


def _joined(columns: dict[str, pa.ChunkedArray], signals: tuple[str, ...], shard: str) -> NDArray[np.float32]:
    parts = [numbers(columns[name]) if name in columns else None for name in signals]
    absent = [name for name, part in zip(signals, parts, strict=True) if part is None]
    if absent:
        raise SchemaError(f"signals {absent} are not in {shard}.parquet, though the lock selects them; `lake verify`")
    present = [part for part in parts if part is not None]
    joined = np.empty((len(present[0]), sum(part.shape[1] for part in present)), np.float32)
    return np.concatenate(present, axis=1, out=joined, casting="unsafe")


def _write_places(place_T: NDArray[np.void], column: pa.ChunkedArray, shard: str) -> None:
    leaves: dict[str, NDArray[np.integer] | np.int64] = {
        field.name: as_numpy(leaf) for field, leaf in zip(column.type, column.combine_chunks().flatten(), strict=True)
    }
    leaves.setdefault("crc32c", np.int64(_NO_CHECKSUM))
    if absent := set(_LEAVES) - leaves.keys():
        raise SchemaError(f"pictures have no {sorted(absent)} in {shard}.parquet; `lake verify`, and ingest it anew")
    for name in _LEAVES:
        place_T[name] = leaves[name]
