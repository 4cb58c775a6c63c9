"""Re-read a whole lake and compare everything with everything: digests, offsets, counts, tar, Parquet, receipts.

The tar is read by Python's own `tarfile` and the pictures by their headers and decoder, not by the code that wrote
them. Every problem is listed; nothing is changed.
"""

import json
import math
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from schema.digest import crc32c
from schema.errors import EpisodeError
from schema.frames import moments, numbers
from schema.lake import Lake
from schema.picture import decode_jpeg
from schema.receipt import EXTENSION, Receipt, read_back, receipt_problems
from schema.shards import file_digest, shard_digest, tar_samples
from schema.tar import BLOCK, span

Row = dict[str, Any]
Sample = dict[str, tuple[int, int]]
"""extension → (data offset, length)"""
Samples = dict[str, Sample]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What was read and what was wrong with it."""

    shards: int
    episodes: int
    frames: int
    pictures: int
    size_bytes: int
    problems: tuple[str, ...]
    receipts: int
    """Shards that were compared with their receipts; those that older versions wrote have none."""


def verify(lake: Lake, progress: Callable[[int, int], None] = lambda *_: None) -> Verification:
    """Check every shard that an episode row refers to; `progress` is told (shards done, shards in all)."""
    rows = lake.scan("episodes").collect()
    shards = rows.sort("row_group").partition_by("shard", as_dict=True, maintain_order=True)
    problems = list(_catalogue_problems(rows))
    pictures = size = receipts = 0
    for number, ((shard,), episodes) in enumerate(sorted(shards.items(), key=lambda item: str(item[0]))):
        progress(number, len(shards))
        checked = _ShardCheck(lake, str(shard))
        found = _guarded(checked.problems(list(episodes.iter_rows(named=True))))
        problems += [f"{shard}: {problem}" for problem in found]
        pictures, size = pictures + checked.pictures, size + checked.size_bytes
        receipts += checked.receipt is not None
    progress(len(shards), len(shards))
    return Verification(
        shards=len(shards),
        episodes=rows.height,
        frames=int(rows["num_frames"].sum()),
        pictures=pictures,
        size_bytes=size,
        problems=tuple(problems),
        receipts=receipts,
    )


def _catalogue_problems(rows: pl.DataFrame) -> Iterator[str]:
    twice = rows.group_by("episode_id", "conversion").len().filter(pl.col("len") > 1)
    for episode, conversion, count in twice.iter_rows():
        yield f"catalogue: episode {episode} has {count} rows of conversion {conversion}, expected one"


def _guarded(found: Iterator[str]) -> Iterator[str]:
    """The problems; what stops the reading of bytes that may be anything is one more of them."""
    try:
        yield from found
    except Exception as error:  # noqa: BLE001 - recorded: broken bytes raise whatever their readers do
        yield f"cannot be read: {type(error).__name__}: {error}"


class _ShardCheck:
    """Both files of one shard, read once."""

    def __init__(self, lake: Lake, shard: str) -> None:
        self._lake, self._shard = lake, shard
        self.pictures = self.size_bytes = 0
        self.receipt: Receipt | None = None

    def problems(self, episodes: list[Row]) -> Iterator[str]:
        with (
            self._lake.local(f"{self._shard}.tar") as tar_path,
            self._lake.local(f"{self._shard}.parquet") as parquet_path,
        ):
            self.size_bytes = tar_path.stat().st_size + parquet_path.stat().st_size
            found = shard_digest(file_digest(tar_path), file_digest(parquet_path))
            if found != self._shard.rsplit("/", 1)[-1]:
                yield f"the content's digest is {found}, expected it to be the name"
            samples: Samples = {}
            yield from _guarded(_read_samples(tar_path, samples))
            file = pq.ParquetFile(parquet_path, page_checksum_verification=True)
            yield from _guarded(self._read_receipt())
            with tar_path.open("rb") as stream:
                for row in episodes:
                    checked = self._episode(row, file, samples=samples, stream=stream)
                    yield from (f"episode {row['episode_id']}: {problem}" for problem in _guarded(checked))

    def _episode(self, row: Row, file: pq.ParquetFile, *, samples: Samples, stream: BinaryIO) -> Iterator[str]:
        table = file.read_row_group(row["row_group"])
        if set(table["episode_id"].to_pylist()) != {row["episode_id"]}:
            yield f"row group {row['row_group']} holds another episode"
            return
        if table.num_rows != row["num_frames"]:
            yield f"{table.num_rows} Parquet rows, the catalogue says {row['num_frames']}"
        if table["frame"].to_pylist() != list(range(table.num_rows)):
            yield "the frames are not numbered 0, 1, 2, …"
        first_row = sum(file.metadata.row_group(group).num_rows for group in range(row["row_group"]))
        if first_row != row["first_row"]:
            yield f"its first row in the Parquet is {first_row}, the catalogue says {row['first_row']}"
        yield from _moments_problems(row, table)
        yield from self._receipt_problems(row, file, stream=stream)
        keys = [f"{row['episode_id']}-{frame:06d}" for frame in range(table.num_rows)]
        yield from _bytes_problems(row, [samples.get(key, {}) for key in keys])
        for key, line in zip(keys, table.to_pylist(), strict=True):
            sample = samples.get(key)
            if sample is None:
                yield f"frame {line['frame']} has no sample {key} in the tar"
                continue
            checked = self._frame(row, line, sample=sample, stream=stream)
            yield from (f"frame {line['frame']}: {problem}" for problem in _guarded(checked))

    def _read_receipt(self) -> Iterator[str]:
        file = f"{self._shard}.{EXTENSION}"
        if self._lake.exists(file):
            self.receipt = Receipt.parse(self._lake.read(file))
            if self.receipt.shard != self._shard.rsplit("/", 1)[-1]:
                yield f"its receipt is that of shard {self.receipt.shard}"

    def _receipt_problems(self, row: Row, file: pq.ParquetFile, *, stream: BinaryIO) -> Iterator[str]:
        if self.receipt is None:
            return
        told = {episode.episode_id: episode for episode in self.receipt.episodes}
        if row["episode_id"] not in told:
            yield "its shard's receipt does not name it"
            return
        yield from receipt_problems(told[row["episode_id"]], read_back(file, row["row_group"], tar=stream))

    def _frame(self, row: Row, line: Row, *, sample: Sample, stream: BinaryIO) -> Iterator[str]:
        wanted = {"json"} | {f"{camera}.jpg" for camera in row["cameras"]}
        if sample.keys() != wanted:
            yield f"the tar holds {sorted(sample)}, expected {sorted(wanted)}"
            return
        yield from _json_problems(row, line, json.loads(_bytes(stream, *sample["json"])))
        for camera in row["cameras"]:
            yield from (
                f"{camera}: {problem}"
                for problem in self._picture(line[f"camera.{camera}"], *sample[f"{camera}.jpg"], stream=stream)
            )

    def _picture(self, told: Row, offset: int, length: int, *, stream: BinaryIO) -> Iterator[str]:
        if (told["offset"], told["length"]) != (offset, length):
            yield f"the Parquet points at {told['offset']}+{told['length']}, the tar has {offset}+{length}"
        jpeg = _bytes(stream, offset, length)
        try:
            pixels = decode_jpeg(jpeg)
        except EpisodeError as error:
            yield str(error)
            return
        if told.get("crc32c") not in {None, crc32c(jpeg)}:  # format version 1 has none
            yield f"its checksum is {crc32c(jpeg):#010x}, the Parquet says {told['crc32c']:#010x}"
        self.pictures += 1
        if pixels.shape[:2] != (told["height"], told["width"]):
            yield f"decodes to {pixels.shape[:2]}, the Parquet says {told['height'], told['width']}"


def _read_samples(tar_path: Path, into: Samples) -> Iterator[str]:
    """Fill `into` as far as the tar can be read."""
    with tarfile.open(tar_path, "r:") as tar:
        for key, members in tar_samples(tar):
            if key in into:
                yield f"the tar has sample {key} twice"
            into[key] = members
    if not into:
        yield "the tar is empty"


def _moments_problems(row: Row, table: pa.Table) -> Iterator[str]:
    signals = {name: numbers(table[name]) for name in table.schema.names if name.startswith(("state.", "action."))}
    found = moments({name: values for name, values in signals.items() if values is not None})
    if json.dumps(found) != json.dumps(row["moments"]):
        yield "the moments recomputed from the Parquet differ from the catalogue's"


def _bytes_problems(row: Row, samples: list[Sample]) -> Iterator[str]:
    """Where the episode's samples lie in the tar, and how many bytes each camera has."""
    members = [place for sample in samples for place in sample.values()]
    if members:
        start, stop = min(members)[0] - BLOCK, max(offset - BLOCK + span(size) for offset, size in members)
        if (start, stop) != (row["tar_start"], row["tar_stop"]):
            told = f"{row['tar_start']} to {row['tar_stop']}"
            yield f"its samples are bytes {start} to {stop} of the tar, the catalogue says {told}"
    sizes = {camera: sum(sample.get(f"{camera}.jpg", (0, 0))[1] for sample in samples) for camera in row["cameras"]}
    told_sizes = {item["camera"]: item["value"] for item in row["camera_bytes"]}
    if sizes != told_sizes:
        yield f"its cameras have {sizes} bytes, the catalogue says {told_sizes}"


def _json_problems(row: Row, line: Row, found: Row) -> Iterator[str]:
    """What a frame's JSON says against its Parquet line and its episode's row."""
    told = {name: value for name, value in line.items() if name.startswith(("state.", "action.", "extra."))}
    values = found["values"]
    odd = [name for name in sorted(values.keys() | told.keys()) if not _same(values.get(name), told.get(name))]
    odd += [name for name in ("frame", "timestamp") if found[name] != line[name]]
    if odd:
        yield f"the tar's JSON and the Parquet disagree about {', '.join(odd)}"
    wrong = [name for name in ("episode_id", "embodiment", "source", "task") if found[name] != row[name]]
    if found["instruction"] not in {"", *row["instructions"]}:
        wrong.append("instruction")
    if wrong:
        yield f"the tar's JSON and the catalogue disagree about {', '.join(wrong)}"


def _same(found: Any, told: Any) -> bool:
    """Whether JSON says what Parquet holds: what is not finite is null, and a shard's columns may be wider."""
    if found == told:
        return True
    if isinstance(told, list):
        items = found if isinstance(found, list) else [found]
        return len(items) == len(told) and all(map(_same, items, told))
    if not isinstance(told, float):
        return False
    return not math.isfinite(told) if found is None else isinstance(found, int | float) and float(found) == told


def _bytes(stream: BinaryIO, offset: int, length: int) -> bytes:
    stream.seek(offset)
    return stream.read(length)
