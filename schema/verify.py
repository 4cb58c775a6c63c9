"""Re-read a whole lake and compare everything with everything: digests, offsets, counts, tar against Parquet.

The tar is read by Python's own `tarfile` and the pictures by their headers and decoder, not by the code that wrote
them. Every problem is listed; nothing is changed.
"""

import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from schema.errors import EpisodeError, SchemaError
from schema.frames import moments, numbers
from schema.lake import Lake
from schema.picture import decode_jpeg
from schema.shards import file_digest, shard_digest, tar_samples

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What was read and what was wrong with it."""

    shards: int
    episodes: int
    frames: int
    pictures: int
    size_bytes: int
    problems: tuple[str, ...]


def verify(lake: Lake, progress: Callable[[int, int], None] = lambda *_: None) -> Verification:
    """Check every shard that an episode row refers to; `progress` is told (shards done, shards in all)."""
    rows = lake.scan("episodes").collect()
    shards = rows.sort("row_group").partition_by("shard", as_dict=True, maintain_order=True)
    problems = list(_catalogue_problems(rows))
    pictures = size = 0
    for number, ((shard,), episodes) in enumerate(sorted(shards.items(), key=lambda item: str(item[0]))):
        progress(number, len(shards))
        try:
            checked = _ShardCheck(lake, str(shard))
            problems += [f"{shard}: {problem}" for problem in checked.problems(list(episodes.iter_rows(named=True)))]
            pictures, size = pictures + checked.pictures, size + checked.size_bytes
        except (SchemaError, OSError, tarfile.TarError, pa.ArrowException, ValueError, KeyError) as error:
            problems.append(f"{shard}: cannot be read: {type(error).__name__}: {error}")
    progress(len(shards), len(shards))
    return Verification(
        shards=len(shards),
        episodes=rows.height,
        frames=int(rows["num_frames"].sum()),
        pictures=pictures,
        size_bytes=size,
        problems=tuple(problems),
    )


def _catalogue_problems(rows: pl.DataFrame) -> Iterator[str]:
    twice = rows.group_by("episode_id", "conversion").len().filter(pl.col("len") > 1)
    for episode, conversion, count in twice.iter_rows():
        yield f"catalogue: episode {episode} has {count} rows of conversion {conversion}, expected one"


class _ShardCheck:
    """Both files of one shard, read once."""

    def __init__(self, lake: Lake, shard: str) -> None:
        self._lake, self._shard = lake, shard
        self.pictures = self.size_bytes = 0

    def problems(self, episodes: list[Row]) -> Iterator[str]:
        with (
            self._lake.local(f"{self._shard}.tar") as tar_path,
            self._lake.local(f"{self._shard}.parquet") as parquet_path,
        ):
            self.size_bytes = tar_path.stat().st_size + parquet_path.stat().st_size
            found = shard_digest(file_digest(tar_path), file_digest(parquet_path))
            if found != self._shard.rsplit("/", 1)[-1]:
                yield f"the content's digest is {found}, expected it to be the name"
            with tarfile.open(tar_path) as tar, tar_path.open("rb") as stream:
                samples = dict(tar_samples(tar))
                file = pq.ParquetFile(parquet_path)
                for row in episodes:
                    place = f"episode {row['episode_id']}"
                    table = file.read_row_group(row["row_group"])
                    yield from (
                        f"{place}: {problem}" for problem in self._episode(row, table, samples=samples, stream=stream)
                    )
                if sum(len(sample) for sample in samples.values()) == 0:
                    yield "the tar is empty"

    def _episode(self, row: Row, table: pa.Table, *, samples: dict[str, Any], stream: Any) -> Iterator[str]:
        if table.num_rows != row["num_frames"]:
            yield f"{table.num_rows} Parquet rows, the catalogue says {row['num_frames']}"
        if set(table["episode_id"].to_pylist()) != {row["episode_id"]}:
            yield f"row group {row['row_group']} holds another episode"
            return
        if table["frame"].to_pylist() != list(range(table.num_rows)):
            yield "the frames are not numbered 0, 1, 2, …"
        signals = {name: numbers(table[name]) for name in table.schema.names if name.startswith(("state.", "action."))}
        present = {name: values for name, values in signals.items() if values is not None}
        if json.dumps(moments(present)) != json.dumps(row["moments"]):
            yield "the moments recomputed from the Parquet differ from the catalogue's"
        for frame, line in enumerate(table.to_pylist()):
            key = f"{row['episode_id']}-{frame:06d}"
            sample = samples.get(key)
            if sample is None:
                yield f"frame {frame} has no sample {key} in the tar"
                continue
            yield from (f"frame {frame}: {problem}" for problem in self._frame(row, line, sample=sample, stream=stream))

    def _frame(self, row: Row, line: Row, *, sample: dict[str, tuple[int, int]], stream: Any) -> Iterator[str]:
        wanted = {"json"} | {f"{camera}.jpg" for camera in row["cameras"]}
        if sample.keys() != wanted:
            yield f"the tar holds {sorted(sample)}, expected {sorted(wanted)}"
            return
        values = json.loads(_bytes(stream, *sample["json"]))
        told = {name: line[name] for name in values["values"]}
        if values["values"] != _plain(told) or values["timestamp"] != line["timestamp"]:
            yield "the tar's JSON and the Parquet disagree"
        for camera in row["cameras"]:
            picture = line[f"camera.{camera}"]
            offset, length = sample[f"{camera}.jpg"]
            if (picture["offset"], picture["length"]) != (offset, length):
                pointer = f"{picture['offset']}+{picture['length']}"
                yield f"{camera}: the Parquet points at {pointer}, the tar has {offset}+{length}"
            try:
                pixels = decode_jpeg(_bytes(stream, offset, length))
            except EpisodeError as error:
                yield f"{camera}: {error}"
                continue
            self.pictures += 1
            if pixels.shape[:2] != (picture["height"], picture["width"]):
                yield f"{camera}: decodes to {pixels.shape[:2]}, the Parquet says {picture['height'], picture['width']}"


def _bytes(stream: Any, offset: int, length: int) -> bytes:
    stream.seek(offset)
    return bytes(stream.read(length))


def _plain(values: Row) -> Row:
    """As JSON keeps it: what is not finite is null."""
    return json.loads(json.dumps(values), parse_constant=lambda _: None)  # type: ignore[no-any-return]
