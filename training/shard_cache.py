"""What a loader keeps at hand of the shards: opened files, episodes' numbers, and segments' bytes; all bounded.

The unit of numbers is an episode (one row group of the Parquet), the unit of pictures the byte range of a segment of
32 frames (about 1.5 MB of a tar), never a whole shard. Local tars are mapped into memory and the operating system
keeps what is hot; from elsewhere segments are fetched by range and the least recently used go first.
"""
# Legend: T frames of an episode, S state and A action dimensions of its robot.

import mmap
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from schema.errors import SchemaError
from schema.frames import numbers
from schema.lake import Lake

SEGMENT_FRAMES = 32
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CameraPlaces:
    """Where an episode's pictures of one camera stand in the tar, and how large they are."""

    table_T4: NDArray[np.int64]
    """`[T, 4]`: byte offset and length of each JPEG, and the height and width that it decodes to."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EpisodeFrames:
    """An episode's numbers in the order of an action space's dimensions, and its pictures' places."""

    state_TS: NDArray[np.float32]
    action_TA: NDArray[np.float32]
    cameras: dict[str, CameraPlaces]


class Recent(Generic[Key, Value]):
    """A cache that makes each value once, even when threads ask together, and drops what was used longest ago."""

    def __init__(self, capacity: int, *, cost: Callable[[Value], int] = lambda _: 1) -> None:
        self._capacity, self._cost = capacity, cost
        self._held: OrderedDict[Key, Value] = OrderedDict()
        self._lock = threading.Lock()
        self._making: dict[Key, threading.Lock] = {}
        self._total = 0

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of this key, made now if it is not held."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
            maker = self._making.setdefault(key, threading.Lock())
        with maker:
            with self._lock:
                if key in self._held:
                    return self._held[key]
            value = make()
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

    def __init__(self, lake: Lake, *, cache_bytes: int, max_episodes: int = 4096) -> None:
        """`cache_bytes` bounds the pictures held of a remote lake, `max_episodes` the episodes' numbers."""
        self._lake, self._is_local = lake, lake.is_local
        self._parquets: Recent[str, tuple[pq.ParquetFile, threading.Lock]] = Recent(64)
        self._episodes: Recent[tuple[object, ...], EpisodeFrames] = Recent(max_episodes)
        self._tars: Recent[str, memoryview] = Recent(1024)
        self._segments: Recent[tuple[str, int], bytes] = Recent(cache_bytes, cost=len)

    def episode(
        self, shard: str, row_group: int, *, state: tuple[str, ...], action: tuple[str, ...], cameras: tuple[str, ...]
    ) -> EpisodeFrames:
        """The numbers of these signals, one after the other, and the places of those cameras that are there."""

        def make() -> EpisodeFrames:
            table = self._row_group(shard, row_group, state, action, cameras)
            return EpisodeFrames(
                state_TS=_joined(table, state, shard),
                action_TA=_joined(table, action, shard),
                cameras={name: places for name in cameras if (places := _places(table, f"camera.{name}")) is not None},
            )

        return self._episodes.get((shard, row_group, state, action, cameras), make)

    def picture(self, shard: str, places: CameraPlaces, frame: int) -> tuple[memoryview, int, int]:
        """The JPEG of one frame, and the height and width that it decodes to."""
        offset, length, height, width = places.table_T4[frame].tolist()
        if self._is_local:
            tar = self._tars.get(shard, lambda: self._map(shard))
            return tar[offset : offset + length], height, width
        first = frame - frame % SEGMENT_FRAMES
        last = min(first + SEGMENT_FRAMES, len(places.table_T4)) - 1
        start, stop = int(places.table_T4[first, 0]), int(places.table_T4[last, :2].sum())
        segment = self._segments.get((shard, start), lambda: self._lake.read(f"{shard}.tar", start, stop))
        return memoryview(segment)[offset - start : offset - start + length], height, width

    def _map(self, shard: str) -> memoryview:
        with self._lake.local(f"{shard}.tar") as path, path.open("rb") as stream:
            try:
                return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
            except ValueError as error:
                raise SchemaError(f"{shard}.tar is empty, expected pictures; run `robomix lake verify`") from error

    def _row_group(self, shard: str, row_group: int, *wanted: tuple[str, ...]) -> pa.Table:
        state, action, cameras = wanted
        file, lock = self._parquets.get(shard, lambda: (self._open(shard), threading.Lock()))
        there = set(file.schema_arrow.names)
        columns = [name for name in (*state, *action) if name in there]
        columns += [f"camera.{name}.{leaf}" for name in cameras if f"camera.{name}" in there for leaf in _LEAVES]
        with lock:
            return file.read_row_group(row_group, columns=columns, use_threads=False)

    def _open(self, shard: str) -> pq.ParquetFile:
        file = f"{shard}.parquet"
        if self._lake.is_local:
            with self._lake.local(file) as path:
                return pq.ParquetFile(Path(path), memory_map=True)
        return pq.ParquetFile(self._lake.fs.open(self._lake.path(file), "rb"))


_LEAVES = ("offset", "length", "height", "width")


def _joined(table: pa.Table, signals: tuple[str, ...], shard: str) -> NDArray[np.float32]:
    parts = [numbers(table[name]) if name in table.schema.names else None for name in signals]
    absent = [name for name, part in zip(signals, parts, strict=True) if part is None]
    if absent:
        raise SchemaError(f"signals {absent} are not in {shard}.parquet, though the lock selects them; `lake verify`")
    return np.concatenate([part for part in parts if part is not None], axis=1).astype(np.float32)


def _places(table: pa.Table, column: str) -> CameraPlaces | None:
    if column not in table.schema.names or table[column].null_count:
        return None
    camera = table[column].combine_chunks()
    leaves = [camera.field(leaf).to_numpy(zero_copy_only=False).astype(np.int64) for leaf in _LEAVES]
    return CameraPlaces(table_T4=np.stack(leaves, axis=1))
