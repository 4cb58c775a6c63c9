"""One episode out of LeRobot v3.0's files, which hold many: its rows of the Parquet file, its stretch of each video.

Only the row groups that hold the episode are read, and only its pictures are decoded: a seek leads to them.
"""
# Legend: T rows.

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingest.formats.columns import check_sizes, is_numeric, numbers_of, pictures_in
from ingest.formats.encoded_picture import each_picture
from ingest.formats.lerobot_meta import Meta
from ingest.formats.video import Stretch, other_streams, packets_of, stretch_of
from ingest.location import Location
from ingest.record import Record
from schema.digest import Hasher
from schema.episode import Numbers
from schema.errors import EpisodeError
from schema.picture import Pixels

_PLACE = frozenset({"index", "episode_index", "task_index"})
"""Columns that tell where in its dataset an episode stands, not what it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What the data and video files say of one episode."""

    columns: Mapping[str, Numbers]
    skipped: Sequence[str]
    """Columns that are neither numbers nor pictures."""
    rows: int
    pictures: dict[str, Iterable[Pixels | bytes]]
    hasher: Hasher
    """Fed with the episode's own bytes."""


def cut_episode(location: Location, meta: Meta, record: Record, *, fetch: Callable[[str], bytes]) -> Part:
    """The episode's part of its files; EpisodeError where a file is broken or has no row of it."""
    file, episode = record.files[0], int(record.meta["episode"])
    row: Mapping[str, Any] = record.meta["row"]
    table, skipped = _rows(location, file, episode, pictures=meta.image_keys())
    numeric = [name for name in table.column_names if name not in meta.image_keys()]
    columns = {name: numbers_of(table[name], name=name, shape=_shape(meta, name)) for name in sorted(numeric)}
    hasher = Hasher()
    for name, values in columns.items():
        if name not in _PLACE:
            hasher.update(f"{name} {values.dtype} {values.shape}".encode())
            hasher.update(values.tobytes())
    pictures: dict[str, Iterable[Pixels | bytes]] = {}
    for key in meta.image_keys():
        for encoded in pictures_in(table[key], name=key, fetch=fetch):
            hasher.update(encoded)
        pictures[key] = each_picture(pictures_in(table[key], name=key, fetch=fetch))
    for key in sorted(meta.video_keys()):
        video = meta.video_file(episode, key, row=row)
        if video not in location.files or video not in record.files[1:]:
            continue
        stretch = Stretch(
            file=location.file_uri(video),
            start_s=_seconds(row, f"videos/{key}/from_timestamp", file=video),
            rate_hz=meta.rate_hz,
            num_frames=table.num_rows,
        )
        open_video = partial(location.open, video)
        for packet in packets_of(open_video, stretch):
            hasher.update(packet)
        pictures[key] = stretch_of(open_video, stretch)
        with open_video() as content:
            skipped += [f"{key}: {kind}" for kind in other_streams(content, file=stretch.file)]
    return Part(columns=columns, skipped=skipped, rows=table.num_rows, pictures=pictures, hasher=hasher)


def _shape(meta: Meta, name: str) -> tuple[int, ...]:
    return tuple(int(size) for size in meta.features.get(name, {}).get("shape") or ())


def _seconds(row: Mapping[str, Any], key: str, *, file: str) -> float:
    if not isinstance(row.get(key), int | float) or row[key] < 0:
        raise EpisodeError(
            "bad_metadata", f"{key} is {row.get(key)!r}, expected seconds into {file}: mend meta/episodes"
        )
    return float(row[key])


def _rows(location: Location, file: str, episode: int, *, pictures: Collection[str]) -> tuple[pa.Table, list[str]]:
    """The episode's numbers and pictures, and the names of the columns that are neither, which are not read."""
    uri = location.file_uri(file)
    try:
        with location.open(file) as stream:
            parquet = pq.ParquetFile(stream)
            groups = _groups(parquet, episode)
            schema = parquet.schema_arrow
            wanted = [name for name in schema.names if name in pictures or is_numeric(schema.field(name).type)]
            check_sizes(parquet, groups, names=wanted, stream=stream, file=uri)
            table = parquet.read_row_groups(groups, columns=wanted)
            table = table.filter(pc.equal(table["episode_index"], episode))
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise EpisodeError("unreadable_parquet", f"not a whole Parquet file: {error}; fetch again {uri}") from error
    if not table.num_rows:
        raise EpisodeError("missing_data", f"found no row of episode {episode}, expected some: fetch again {uri}")
    return table.combine_chunks(), [name for name in schema.names if name not in wanted]


def _groups(parquet: pq.ParquetFile, episode: int) -> list[int]:
    """The row groups that hold the episode, or may, where the file keeps no statistics."""
    column = parquet.schema_arrow.names.index("episode_index")
    found = []
    for group in range(parquet.metadata.num_row_groups):
        columns = parquet.metadata.row_group(group)
        place = next(
            (
                columns.column(i)
                for i in range(columns.num_columns)
                if columns.column(i).path_in_schema == "episode_index"
            ),
            columns.column(column),
        )
        stats = place.statistics
        if stats is None or not stats.has_min_max or stats.min <= episode <= stats.max:
            found.append(group)
    return found
