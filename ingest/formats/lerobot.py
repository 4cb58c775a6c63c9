"""LeRobot v2.0 and v2.1 (files of one episode each) and v3.0 (files of many).

`discover` goes by the list of episodes and by what meta/info.json promises; what the dataset says of itself is in
`lerobot_meta`, how an episode is cut out of the files of v3.0 in `lerobot_cut`.
"""
# Legend: T rows.

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from io import BytesIO
from math import isfinite
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.formats.columns import bytes_in_memory, check_sizes, is_numeric, numbers_of, open_parquet, pictures_of
from ingest.formats.encoded_picture import each_picture
from ingest.formats.lerobot_cut import Part, cut_episode
from ingest.formats.lerobot_meta import INFO, Meta
from ingest.formats.segments import instruction_segments
from ingest.formats.video import frames_of, other_streams
from ingest.location import Location
from ingest.record import STORED_PICTURE_BYTES, Discovery, Problem, RawEpisode, Record
from schema.digest import Hasher
from schema.episode import Instruction, Numbers
from schema.errors import EpisodeError, SourceError
from schema.picture import Pixels

NAME = "lerobot"
VERSION = 2

_TEXT_COLUMNS = ("task_description", "language_instruction", "coarse_action")
"""Annotation columns that hold the index of an instruction; others hold verdicts such as "valid"."""

_FILES = (".parquet", ".mp4")
MAX_UNLISTED = 1_000_000
"""So many episodes may be promised and not listed, each of which is accounted for."""

_ROW_KEYS = {
    "episode_index",
    "length",
    "tasks",
    "task",
    "success",
    "simulated",
    "dataset_from_index",
    "dataset_to_index",
}
"""What is understood of a row of the list of episodes, as are the places of files; the rest of it becomes notes."""


def discover(location: Location) -> Discovery | None:
    """The episodes of every dataset at or below; None where there is no meta/info.json."""
    roots = [file.removesuffix(INFO) for file in location.files if f"/{file}".endswith(f"/{INFO}")]
    metas = [Meta.of(location, root) for root in roots]
    if not metas:
        return None
    for meta in metas:
        meta.tasks(location)  # a broken list of tasks is everybody's
    robots = sorted({str(meta.info.get("robot_type")) for meta in metas})
    if len(robots) > 1:
        raise SourceError(
            f"found LeRobot datasets of {len(robots)} robots ({', '.join(robots)}), expected one source at a time: "
            f"point at one of their folders below {location.uri}"
        )
    records: list[Record] = []
    notes: list[str] = []
    for meta in metas:
        taken, odd = _records(location, meta, first_index=len(records))
        records += taken
        notes += odd
    info = metas[0].info
    empty = {key for meta in metas for key in _without_videos(location, meta)}
    return Discovery(
        format=NAME,
        name=location.name if len(metas) > 1 else (metas[0].root.rstrip("/").rpartition("/")[2] or location.name),
        robot=info.get("robot_type"),
        rate_hz=metas[0].rate_hz,
        records=tuple(records),
        fields=metas[0].fields(),
        cameras=tuple(item for item in metas[0].cameras() if item.path not in empty),
        notes=tuple(notes),
        licence=info.get("license"),
    )


def _records(location: Location, meta: Meta, *, first_index: int) -> tuple[list[Record], list[str]]:
    listed, promised = meta.episodes(location), int(meta.info["total_episodes"])
    if promised - len(listed) > MAX_UNLISTED:
        raise SourceError(
            f"info.json promises {promised} episodes, {_list_of(meta)} lists {len(listed)}, expected as many: fetch "
            f"them again, or correct total_episodes in {location.file_uri(meta.root + INFO)}"
        )
    episodes = sorted({*listed, *range(promised)})
    cameras = len(meta.cameras())
    records = [
        _record(location, meta, index=first_index + i, episode=episode, row=listed.get(episode), cameras=cameras)
        for i, episode in enumerate(episodes)
    ]
    notes = []
    if len(listed) != promised:
        notes.append(f"info.json promises {promised} episodes, {_list_of(meta)} lists {len(listed)}")
    expected = {file for record in records for file in record.files}
    ignored = [
        f
        for f in location.files
        if f.startswith((f"{meta.root}data/", f"{meta.root}videos/")) and f not in expected and f.endswith(_FILES)
    ]
    if ignored:
        notes.append(
            f"{len(ignored)} data or video files belong to no listed episode and are not taken: {ignored[0]} …"
        )
    notes += [f"the feature {key!r} has no video of any episode" for key in _without_videos(location, meta)]
    return records, notes


def _without_videos(location: Location, meta: Meta) -> list[str]:
    episodes = meta.episodes(location)
    return [
        key
        for key in meta.video_keys()
        if not any(_is_video(location, meta.video_file(item, key, row=row)) for item, row in episodes.items())
    ]


def _is_video(location: Location, file: str) -> bool:
    return file in location.files and not file.endswith(INFO)


def _list_of(meta: Meta) -> str:
    return "meta/episodes" if meta.has_shared_files else "episodes.jsonl"


def _record(
    location: Location, meta: Meta, *, index: int, episode: int, row: Mapping[str, Any] | None, cameras: int
) -> Record:
    data = meta.data_file(episode, row)
    told = {key: value for key, value in (row or {}).items() if _is_plain(value) or key == "tasks"}
    length = told["length"] if isinstance(told.get("length"), int) else None
    problem = None
    if data not in location.files or (row is not None and data.endswith(INFO)):
        problem = Problem(
            reason="missing_data",
            message=f"episode {episode} has no Parquet file, expected {location.file_uri(data)}; fetch it",
        )
    elif row is None:
        problem = Problem(
            reason="unlisted_episode",
            message=f"episode {episode} is promised by info.json, but is not in {_list_of(meta)}: "
            f"list it there or fetch the file again: {location.file_uri(data)}",
        )
    return Record(
        index=index,
        files=(data, *(meta.video_file(episode, key, row=row) for key in meta.video_keys())),
        num_frames=length,
        stored_bytes=(length or 0) * cameras * STORED_PICTURE_BYTES,
        problem=problem,
        meta={"root": meta.root, "episode": episode, "row": told},
    )


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and isfinite(value))


def read(location: Location, record: Record) -> RawEpisode:
    """One episode; EpisodeError where its Parquet file is missing or broken. A missing video is `absent`."""
    if record.problem is not None:
        raise EpisodeError(record.problem.reason, record.problem.message)
    meta, episode = Meta.of(location, str(record.meta["root"])), int(record.meta["episode"])
    row: Mapping[str, Any] = record.meta["row"]
    part = (_cut if meta.has_shared_files else _own)(location, meta, record)
    columns, rows = part.columns, part.rows
    instructions, notes = _instructions(columns, meta.tasks(location), told=row.get("tasks") or [], rows=rows)
    unknown = (key for key in row if key not in _ROW_KEYS and "/" not in key)
    notes += [f"{_list_of(meta)}: {key} = {row[key]!s:.200}" for key in sorted(unknown)]
    if record.num_frames not in {None, rows}:
        notes.append(f"{_list_of(meta)} says {record.num_frames} frames, the data has {rows}")
    for instruction in instructions:
        part.hasher.update(instruction.text.encode())
    absent = {
        key: _missing_video(location, meta.video_file(episode, key, row=row), key=key)
        for key in meta.video_keys()
        if key not in part.pictures
    }
    return RawEpisode(
        digest=part.hasher.hexdigest(),
        fields=columns,
        pictures=part.pictures,
        absent=absent,
        timestamp_T=_timestamps(columns),
        rate_hz=meta.rate_hz,
        task=str(row.get("task") or "") or (instructions[0].text if instructions else None),
        instructions=instructions,
        not_stored=dict.fromkeys((*part.skipped, *meta.video_keys(is_depth=True), *meta.sound_keys()), rows),
        notes=tuple(notes),
        success=_flag(row.get("success")),
        is_simulated=_flag(row.get("simulated", meta.info.get("simulated"))),
    )


def _own(location: Location, meta: Meta, record: Record) -> Part:
    """An episode that has its files for itself."""
    episode, file = int(record.meta["episode"]), record.files[0]
    content = location.read_bytes(file)
    open_file = partial(open_parquet, content, file=location.file_uri(file))
    columns, skipped = _columns(open_file, meta, stream=BytesIO(content), file=location.file_uri(file))
    rows = open_file().metadata.num_rows
    videos = _videos(location, meta, episode)
    pictures: dict[str, Iterable[Pixels | bytes]] = {
        key: frames_of(video, expected=rows, file=location.file_uri(meta.video_file(episode, key, row=None)))
        for key, video in videos.items()
    }
    for key in meta.image_keys():
        encoded = pictures_of(open_file, name=key, fetch=partial(_fetch, location, meta.root))
        pictures[key] = each_picture(encoded)
    for key, video in videos.items():
        skipped += [f"{key}: {kind}" for kind in other_streams(BytesIO(video), file=key)]
    hasher = Hasher()
    for piece in (content, *(videos[key] for key in sorted(videos))):
        hasher.update(piece)
    return Part(columns=columns, skipped=skipped, rows=rows, pictures=pictures, hasher=hasher)


def _cut(location: Location, meta: Meta, record: Record) -> Part:
    """An episode that shares its files with others."""
    return cut_episode(location, meta, record, fetch=partial(_fetch, location, meta.root))


def _flag(told: Any) -> bool | None:
    return bool(told) if isinstance(told, bool | int | float) else None


def _columns(
    open_file: Callable[[], pq.ParquetFile], meta: Meta, *, stream: BinaryIO, file: str
) -> tuple[dict[str, Numbers], list[str]]:
    """Numeric columns by name, and the names of the ones that are neither numbers nor pictures.

    The pages of all that will be read are looked at first.
    """
    parquet = open_file()
    schema = parquet.schema_arrow
    numeric = [name for name in schema.names if is_numeric(schema.field(name).type)]
    groups = range(parquet.num_row_groups)
    try:
        bytes_in_memory(parquet, groups, names=meta.image_keys(), stream=stream, file=file)
        check_sizes(parquet, groups, names=numeric, stream=stream, file=file)
        table = parquet.read(columns=numeric)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise EpisodeError("unreadable_parquet", f"its columns cannot be read: {error}") from error
    columns = {}
    for name in numeric:
        shape = tuple(int(size) for size in meta.features.get(name, {}).get("shape") or ())
        columns[name] = numbers_of(table[name], name=name, shape=shape)
    return columns, [name for name in schema.names if name not in {*numeric, *meta.image_keys()}]


def _videos(location: Location, meta: Meta, episode: int) -> dict[str, bytes]:
    """The videos that are there, whole: they are digested as well as decoded."""
    files = {key: meta.video_file(episode, key, row=None) for key in sorted(meta.video_keys())}
    return {key: location.read_bytes(file) for key, file in files.items() if file in location.files}


def _missing_video(location: Location, file: str, *, key: str) -> Problem:
    uri = location.file_uri(file)
    return Problem(reason="missing_video", message=f"found no video of {key!r}, expected {uri}; fetch it")


def _fetch(location: Location, root: str, path: str) -> bytes:
    try:
        return location.read_bytes(root + path)
    except FileNotFoundError as error:
        raise EpisodeError(
            "missing_picture", f"no picture there: {location.file_uri(root + path)}; fetch it"
        ) from error


def _timestamps(columns: Mapping[str, Numbers]) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    if "timestamp" not in columns:
        return None
    return columns["timestamp"].astype(np.float64).reshape(-1)


def _instructions(
    columns: Mapping[str, Numbers], tasks: Mapping[int, str], *, told: Sequence[str], rows: int
) -> tuple[tuple[Instruction, ...], list[str]]:
    """The text of each row's task index, or the episode's first listed task; and what is odd about it.

    Where the two disagree the listed text is taken: a cut or merged dataset with a renumbered tasks.jsonl points its
    rows at other tasks, while episodes.jsonl spells the text out.
    """
    listed = instruction_segments(list(told[:1]) * rows)
    for name in [*(name for name in columns if _is_text_index(name)), "task_index"]:
        if name not in columns or not tasks:
            continue
        segments = instruction_segments([tasks.get(int(i), "") for i in columns[name].reshape(rows, -1)[:, 0]])
        odd = sorted({segment.text for segment in segments} - {text.strip() for text in told})
        if segments and not (odd and listed):
            return segments, []
        if segments:
            return listed, [
                f"tasks.jsonl by {name!r} says {odd}, episodes.jsonl says {list(told)}: the latter is taken"
            ]
    return listed, []


def _is_text_index(name: str) -> bool:
    return name.startswith("annotation.") and name.endswith(_TEXT_COLUMNS)
