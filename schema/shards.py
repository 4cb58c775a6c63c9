"""Shards: the files that hold episodes. A tar (one WebDataset sample per frame) and a Parquet of the same frames.

Both are named by the digest of their content and never change. An episode's pictures stand together in its tar, one
time step after the other, so any run of frames is one byte range. `ShardWriter` makes a shard in a local folder,
`read_episode` and `Lake` find it again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schema.digest import Hasher, digest_bytes, feed_file
from schema.episode import Episode
from schema.errors import SchemaError
from schema.frames import Placement, common_type, frame_table, frame_texts, moments, widened
from schema.tables import EPISODES, FORMAT_VERSION
from schema.tar import TarWriter, data_offsets, headers

SHARD_BYTES = 256 * 2**20
"""About how large a shard's tar gets: bundles of episodes are cut by it."""
MAX_FRAMES = 1_000_000
"""What the six digits of a sample's name can count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """A finished shard in a local folder, to be uploaded under its digest."""

    digest: str
    tar: Path
    parquet: Path
    rows: tuple[dict[str, Any], ...]
    """One per episode: `episodes` columns, all but the keys and the ingest run, which the committer knows."""


class ShardWriter:
    """Takes episodes of one source and makes one shard of them; the same episodes give the same bytes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._tar_path, self._parquet_path = folder / "shard.tar", folder / "shard.parquet"
        self._stream = self._tar_path.open("wb")
        self._tar = TarWriter(self._stream)
        self._tables: list[pa.Table] = []
        self._rows: list[dict[str, Any]] = []
        self._is_intact = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def add(self, episode: Episode) -> None:
        """Append one episode's frames to both files; an episode that cannot be stored leaves the shard as it was."""
        if episode.num_frames > MAX_FRAMES:
            raise SchemaError(f"an episode of {episode.num_frames} frames: a shard counts to {MAX_FRAMES}; cut the log")
        self._check_intact()
        start = self._tar.position
        names, contents = _samples(episode)
        placements = _placements(episode, contents, start=start)
        table = frame_table(episode, placements)
        columns = _episode_columns(episode)
        self._is_intact = False  # whatever could be wrong with the episode has been found by now
        self._tar.add(names, contents)
        self._is_intact = True
        places = {
            "row_group": len(self._tables),
            "first_row": sum(table.num_rows for table in self._tables),
            "tar_start": start,
            "tar_stop": self._tar.position,
        }
        self._tables.append(table)
        self._rows.append({**columns, **places})

    def _check_intact(self) -> None:
        if not self._is_intact:
            raise SchemaError(
                f"a write to {self._tar_path} failed before: the shard cannot be finished; is the disk full?"
            )

    def finish(self) -> Shard | None:
        """Write the Parquet and name the shard by its content; None where no episode came."""
        self._check_intact()
        tar_digest = self._tar.finish()
        self._stream.close()  # not synced: who puts it into a lake does that
        if not self._tables:
            return None
        _write_parquet(self._tables, self._parquet_path)
        digest = shard_digest(tar_digest, file_digest(self._parquet_path))
        return Shard(digest=digest, tar=self._tar_path, parquet=self._parquet_path, rows=tuple(self._rows))


def _samples(episode: Episode) -> tuple[list[str], list[bytes]]:
    """The members of an episode, one time step after the other: per camera a JPEG, then the JSON."""
    cameras = sorted(episode.cameras)
    endings = [*(f".{camera}.jpg" for camera in cameras), ".json"]
    headers([f"{episode.episode_id}-{0:06d}{ending}" for ending in endings], [0] * len(endings))  # refuses long names
    keys = [f"{episode.episode_id}-{frame:06d}" for frame in range(episode.num_frames)]
    pictures = [[picture.jpeg for picture in episode.cameras[camera]] for camera in cameras]
    texts = [text.encode() for text in frame_texts(episode)]
    names = [key + ending for key in keys for ending in endings]
    return names, [content for sample in zip(*pictures, texts, strict=True) for content in sample]


def _placements(episode: Episode, contents: Sequence[bytes], *, start: int) -> dict[str, Placement]:
    """Where an episode's pictures stand in a tar whose next header is at byte `start`."""
    cameras = sorted(episode.cameras)
    lengths = [len(content) for content in contents]
    offsets_N = data_offsets(lengths, start)
    members = len(cameras) + 1
    return {
        camera: Placement(offset_T=offsets_N[index::members], length_T=np.array(lengths[index::members], np.int32))
        for index, camera in enumerate(cameras)
    }


def shard_digest(tar_digest: bytes, parquet_digest: bytes) -> str:
    """The name of a shard whose two files have these digests."""
    return digest_bytes(tar_digest, parquet_digest)


def file_digest(path: Path) -> bytes:
    """The digest of a file's bytes."""
    hasher = Hasher()
    feed_file(hasher, path)
    return hasher.digest()


def _write_parquet(tables: list[pa.Table], path: Path) -> None:
    types: dict[str, list[pa.DataType]] = {}
    for table in tables:
        for field in table.schema:
            types.setdefault(field.name, []).append(field.type)
    schema = pa.schema(
        [(name, common_type(found)) for name, found in types.items()],
        metadata={"robomix_format_version": str(FORMAT_VERSION)},
    )
    with pq.ParquetWriter(
        path, schema, compression="zstd", use_dictionary=["episode_id"], write_page_checksum=True
    ) as writer:
        for table in tables:
            columns = [
                widened(table[field.name], field.type)
                if field.name in table.schema.names
                else pa.nulls(table.num_rows, field.type)
                for field in schema
            ]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=table.num_rows)


def _episode_columns(episode: Episode) -> dict[str, Any]:
    """The catalogue columns that the episode itself knows."""
    origin = episode.provenance
    steps = episode.num_frames
    duration_s = float(episode.timestamp_T[-1] - episode.timestamp_T[0]) if steps else 0.0
    columns = {
        "episode_id": episode.episode_id,
        "source": episode.source,
        "embodiment": episode.embodiment.name,
        "embodiment_table": episode.embodiment.digest,
        "action_spaces": list(episode.action_spaces),
        "task": episode.task,
        "instructions": [instruction.text for instruction in episode.instructions],
        "scene": episode.scene,
        "operator": episode.operator,
        "recorded_at": episode.recorded_at,
        "success": episode.success,
        "is_simulated": episode.is_simulated,
        "num_frames": steps,
        "rate_hz": (steps - 1) / duration_s if duration_s > 0 else episode.embodiment.rate_hz,
        "duration_s": duration_s,
        "cameras": sorted(episode.cameras),
        "camera_bytes": [
            {"camera": camera, "value": sum(len(picture.jpeg) for picture in pictures)}
            for camera, pictures in sorted(episode.cameras.items())
        ],
        "absent_cameras": _pairs("camera", episode.absent_cameras),
        "not_stored": _pairs("stream", episode.not_stored),
        "licence": episode.licence,
        "consent": episode.consent,
        "moments": moments(episode.signals),
        "raw_uri": origin.raw_uri,
        "record_index": origin.record_index,
        "byte_start": origin.byte_start,
        "byte_stop": origin.byte_stop,
        "adapter": origin.adapter,
        "adapter_version": origin.adapter_version,
        "notes": list(origin.notes),
        "format_version": FORMAT_VERSION,
    }
    assert columns.keys() <= set(EPISODES.names)
    return columns


def _pairs(name: str, values: Any) -> list[dict[str, Any]]:
    return [{name: key, "value": value} for key, value in sorted(values.items())]


def tar_samples(tar: Any) -> Iterator[tuple[str, dict[str, tuple[int, int]]]]:
    """The samples of an open `tarfile.TarFile`: key → {extension: (data offset, length)}, in file order."""
    key, members = "", dict[str, tuple[int, int]]()
    for member in tar:
        found, _, extension = member.name.partition(".")
        if found != key and members:
            yield key, members
            members = {}
        key = found
        members[extension] = (member.offset_data, member.size)
    if members:
        yield key, members
