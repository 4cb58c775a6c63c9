"""RLDS episodes as TFDS stores them: TFRecord shards beside `dataset_info.json` and `features.json`.

Steps are flattened over time in one Example under keys such as "steps/observation/state"; bindings spell them
without "steps/". Framing: `tfrecord`; features: `tfds_features`; which shards there should be: `tfds_shards`.
"""
# Legend: T frames.

import re
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import prod
from pathlib import PurePosixPath
from typing import Any

from ingest.formats.cached_json import read_json
from ingest.formats.encoded_picture import all_pictures
from ingest.formats.segments import instruction_segments
from ingest.formats.tf_example import parse_example, values_of
from ingest.formats.tfds_features import Stream, numbers_of, streams_of
from ingest.formats.tfds_shards import Shard, records_of, shards_of
from ingest.formats.tfrecord import Scan, scan, unframe
from ingest.location import Location
from ingest.record import Discovery, Problem, RawEpisode, Record, SourceField
from schema.digest import digest_bytes
from schema.episode import Instruction, Numbers
from schema.errors import EpisodeError, SourceError

NAME = "rlds"
VERSION = 3

_SCAN_THREADS = 8
_MAX_NUMBERS = 4096
"""A stream with more numbers per frame is no robot signal (depth, point clouds); it is not even converted."""
_INSTRUCTION = re.compile(r"(natural_)?language_instruction(_\d+)?")
_LONG = 200
_SUCCESS = {"success", "episode_metadata/success"}


def discover(location: Location) -> Discovery | None:
    """The records of every TFDS version folder at or below; None where no folder has RLDS steps."""
    folders = [folder for folder in _version_folders(location) if _has_steps(location, folder)]
    if not folders:
        return None
    infos = {folder: _info(location, folder) for folder in folders}
    names = sorted({info["name"] for info in infos.values()})
    if len(names) > 1:
        raise SourceError(
            f"found {len(names)} RLDS datasets ({', '.join(names)}), expected one source at a time: "
            f"point at one of their folders below {location.uri}"
        )
    records: list[Record] = []
    notes: list[str] = []
    for folder, info in infos.items():
        shards, odd = shards_of(info, folder=folder, files=location.files)
        notes += odd
        for shard, found in zip(shards, _scan_all(location, shards), strict=True):
            taken, odd = records_of(shard, found, first_index=len(records))
            records += taken
            notes += odd
    if len(folders) > 1:
        notes.append(f"{len(folders)} version folders are taken together: {', '.join(map(str, folders))}")
    streams = _streams(location, folders[0])
    return Discovery(
        format=NAME,
        name=names[0],
        robot=None,
        rate_hz=None,
        records=tuple(records),
        fields=tuple(_source_field(item) for item in streams if item.kind == "numbers" and item.is_per_step),
        cameras=tuple(_source_field(item) for item in streams if item.is_camera and item.is_per_step),
        notes=tuple(notes),
        licence=_licence(infos[folders[0]]),
    )


def read(location: Location, record: Record) -> RawEpisode:
    """One Example; EpisodeError where its frame, checksum or content is broken."""
    if record.problem is not None:
        raise EpisodeError(record.problem.reason, record.problem.message)
    file, start = record.files[0], record.byte_start or 0
    framed = location.read_bytes(file, start, record.byte_stop)
    payload = unframe(framed, file=location.file_uri(file), byte_start=start)
    features = parse_example(payload)
    streams = _streams(location, str(record.meta["folder"]))
    per_step = [stream for stream in streams if stream.is_per_step]
    numbers, not_stored = _numbers(per_step, features)
    pictures, absent = _pictures(per_step, features)
    instructions = _instructions(streams, features)
    of_episode = [stream for stream in streams if not stream.is_per_step and stream.key in features]
    context = _context([stream for stream in of_episode if stream.kind in {"text", "numbers"}], features)
    count = max(map(len, numbers.values()), default=0)
    return RawEpisode(
        digest=_digest(payload, streams, features),
        fields=numbers,
        pictures=pictures,
        is_checked=True,
        absent=absent,
        denied=_denied(context, pictures),
        task=instructions[0].text if instructions else None,
        instructions=instructions,
        not_stored=not_stored
        | {s.path: count for s in per_step if _is_left_out(s)}
        | {s.path: 1 for s in of_episode if s.kind in {"image", "other"}},
        notes=tuple(_notes(context, pictures)),
        success=_success(streams, features, context),
        scene=_word(context, "scene", "building"),
        operator=_word(context, "operator", "collector_id"),
        is_simulated={"1": True, "True": True, "0": False, "False": False}.get(context.get("simulated", "")),
    )


def _info(location: Location, folder: str) -> dict[str, Any]:
    """What TFDS says of a dataset; SourceError where it is no object with a name and a list of splits."""
    file = _in(folder, "dataset_info.json")
    info = read_json(location, file)
    told = info if isinstance(info, dict) else {}
    if not isinstance(told.get("name"), str) or not isinstance(told.get("splits", []), list):
        raise SourceError(
            f"found {info!r:.200}, expected an object with a name and splits, as TFDS writes it: fetch again "
            f"{location.file_uri(file)}"
        )
    return told


def _licence(info: Mapping[str, Any]) -> str | None:
    told = info.get("redistributionInfo")
    licence = told.get("license") if isinstance(told, dict) else None
    return licence if isinstance(licence, str) else None


def _is_left_out(stream: Stream) -> bool:
    """Depth pictures and masks, and words per step that are no instruction."""
    is_word = stream.kind == "text" and not _INSTRUCTION.fullmatch(_base(stream.key))
    return is_word or (stream.kind == "image" and not stream.is_camera)


def _digest(payload: bytes | memoryview, streams: tuple[Stream, ...], features: Mapping[str, Any]) -> str:
    """Over the record, and over how features.json says that it is to be read: bytes mean nothing without."""
    read_as = sorted((s.key, s.kind, s.dtype, s.shape, s.encoding) for s in streams if s.key in features)
    return digest_bytes(payload, repr(read_as).encode())


def _in(folder: str, file: str) -> str:
    return f"{folder}/{file}" if folder else file


def _version_folders(location: Location) -> list[str]:
    parents = [str(PurePosixPath(file).parent) for file in location.files if f"/{file}".endswith("/dataset_info.json")]
    folders = ["" if parent == "." else parent for parent in parents]
    return [folder for folder in folders if _in(folder, "features.json") in location.files]


def _base(file: str) -> str:
    return PurePosixPath(file).name


def _streams(location: Location, folder: str) -> tuple[Stream, ...]:
    return streams_of(read_json(location, _in(folder, "features.json")))


def _has_steps(location: Location, folder: str) -> bool:
    return any(stream.is_per_step for stream in _streams(location, folder))


def _source_field(stream: Stream) -> SourceField:
    return SourceField(path=stream.path, dtype=stream.dtype, shape=stream.shape)


def _scan_all(location: Location, shards: list[Shard]) -> list[Scan | None]:
    """Each shard's framing, None where its file is missing; several files at a time hide a store's latency."""
    with ThreadPoolExecutor(_SCAN_THREADS) as pool:
        return list(pool.map(partial(_scan, location), shards))


def _scan(location: Location, shard: Shard) -> Scan | None:
    if shard.file not in location.files:
        return None
    # Headers are megabytes apart: without the cache a remote file gives 12 bytes for each, not a block.
    with location.fs.open(location.path(shard.file), "rb", cache_type="none") as stream:
        return scan(stream, location.files[shard.file].size_bytes, file=location.file_uri(shard.file))


def _numbers(streams: list[Stream], features: Mapping[str, Any]) -> tuple[dict[str, Numbers], dict[str, int]]:
    """Numeric streams by path, and the ones that are too wide to be a robot's with their frame counts."""
    numbers: dict[str, Numbers] = {}
    others = [stream.path for stream in streams if stream.kind == "other"]
    for stream in streams:
        if stream.kind != "numbers" or stream.key not in features:
            continue
        if prod(stream.shape) > _MAX_NUMBERS or min(stream.shape, default=1) < 1:
            others.append(stream.path)
            continue
        try:
            numbers[stream.path] = numbers_of(stream, features[stream.key])
        except (zlib.error, TypeError, ValueError) as error:
            raise EpisodeError("bad_example", f"{stream.key!r} is no {stream.dtype}: {error}") from error
    count = max(map(len, numbers.values()), default=0)
    return numbers, dict.fromkeys(others, count)


def _pictures(streams: list[Stream], features: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Problem]]:
    pictures, absent = {}, {}
    for stream in streams:
        if not stream.is_camera:
            continue
        encoded = values_of(features[stream.key]) if stream.key in features else ()
        if isinstance(encoded, tuple) and encoded:
            pictures[stream.path] = all_pictures(encoded)
        else:
            message = f"features.json promises pictures {stream.path!r}, the record holds none"
            absent[stream.path] = Problem(reason="missing_stream", message=message)
    return pictures, absent


def _texts(feature: Any) -> list[str]:
    values = values_of(feature)
    return [text.decode("utf-8", "replace") for text in values] if isinstance(values, tuple) else []


def _instructions(streams: tuple[Stream, ...], features: Mapping[str, Any]) -> tuple[Instruction, ...]:
    """Every language stream's segments, each wording once, in the features' order of names."""
    chosen = sorted(
        stream.key
        for stream in streams
        if stream.kind == "text" and _INSTRUCTION.fullmatch(_base(stream.key)) and stream.key in features
    )
    found = [segment for key in chosen for segment in instruction_segments(_texts(features[key]))]
    return tuple(dict.fromkeys(found))


def _context(streams: list[Stream], features: Mapping[str, Any]) -> dict[str, str]:
    """The episode's own facts, as text, by the last part of their name."""
    context = {}
    for stream in streams:
        values = values_of(features[stream.key])
        texts = [str(v.decode("utf-8", "replace") if isinstance(v, bytes) else v) for v in values[:1]]
        context[_base(stream.key)] = texts[0] if texts else ""
    return context


def _success(streams: tuple[Stream, ...], features: Mapping[str, Any], context: Mapping[str, str]) -> bool | None:
    """What the episode's own flag says, or the folder that it was recorded in ("…/success/…", "…/failure/…")."""
    for stream in streams:
        if stream.key in _SUCCESS and stream.kind == "numbers" and stream.key in features:
            return bool(numbers_of(stream, features[stream.key]).any())
    folders = {part for name in ("file_path", "recording_folderpath") for part in context.get(name, "").split("/")}
    found = folders & {"success", "failure"}
    return "success" in found if len(found) == 1 else None


def _word(context: Mapping[str, str], *names: str) -> str | None:
    return next((context[name] for name in names if context.get(name)), None)


def _denied(context: Mapping[str, str], pictures: Mapping[str, Any]) -> list[str]:
    """The cameras of which the episode says that it has none."""
    return [key for key in pictures if context.get(f"has_{_base(key)}") in {"0", "False"}]


def _notes(context: Mapping[str, str], pictures: Mapping[str, Any]) -> list[str]:
    notes = [f"{name}: {context[name]}"[:_LONG] for name in sorted(context) if not name.startswith("has_")]
    if denied := [f"has_{_base(key)}" for key in _denied(context, pictures)]:
        notes.append(f"{', '.join(denied)} say no while the pictures are there: flags are not trusted, pixels are")
    return notes
