"""BridgeData V2 as recorded: a folder for each trajectory with pickles, `images<k>/im_<t>.jpg` and `lang.txt`.

`obs_dict.pkl` and the pictures have one step more than `policy_out.pkl` has actions: the last observation follows the
last action and is left out. Before 23 July 2021 the cameras lagged by a step: action t goes with observation t + 1, as
Bridge's own converter has it. JPEGs pass as they are. Pickles are read by `safe_pickle` alone.
"""
# Legend: T frames.

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from ingest.formats.encoded_picture import jpeg_or_pixels
from ingest.formats.natural_order import natural
from ingest.formats.pickled_streams import streams_of
from ingest.formats.safe_pickle import MAX_PICKLE_BYTES, load_pickle
from ingest.location import Location
from ingest.record import STORED_PICTURE_BYTES, Discovery, Problem, RawEpisode, Record, SourceField
from schema.digest import Hasher
from schema.episode import Instruction, Numbers
from schema.errors import EpisodeError

NAME = "bridge_raw"
VERSION = 1

RATE_HZ = 5.0
MAX_PICTURES_BYTES = 1 << 30
"""All JPEGs of one trajectory, which are kept in memory as they are."""
_OBS, _POLICY, _AGENT, _LANG = "obs_dict.pkl", "policy_out.pkl", "agent_data.pkl", "lang.txt"
_ACTIONS, _STATE, _TIME = "policy_out/actions", "obs_dict/full_state", "obs_dict/time_stamp"
_PICTURE = re.compile(r"(?:(?P<folder>.+)/)?(?P<stream>(?:depth_)?images\d{1,3})/im_(?P<number>\d{1,6})\.(?:jpg|png)")
_DATED = re.compile(r"(\d{4})-(\d{2})-(\d{2})_\d{2}-\d{2}-\d{2}")
_NO_LAG_SINCE = date(2021, 7, 23)


@dataclass(kw_only=True, slots=True)
class _Trajectory:
    """What the listing shows of one."""

    files: set[str] = field(default_factory=set)
    streams: dict[str, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))
    """Files of pictures by stream and number."""


def discover(location: Location) -> Discovery | None:
    """Every folder with `obs_dict.pkl`, `policy_out.pkl` or pictures beside them; None where there are no such pickles.

    Goes by the listing alone. A record's files are its pickles, its words and the last picture of each stream.
    """
    found = _trajectories(location)
    if not any({_OBS, _POLICY} & trajectory.files for trajectory in found.values()):
        return None
    records = tuple(
        _record(location, folder, found[folder], index=index) for index, folder in enumerate(sorted(found, key=natural))
    )
    cameras = sorted({camera for record in records for camera in record.meta["cameras"]}, key=natural)
    return Discovery(
        format=NAME,
        name=location.name,
        robot="widowx",
        rate_hz=RATE_HZ,
        records=records,
        fields=_sample_fields(location, records),
        cameras=tuple(SourceField(path=camera, dtype="uint8", shape=(-1, -1, 3)) for camera in cameras),
    )


def _trajectories(location: Location) -> dict[str, _Trajectory]:
    found: dict[str, _Trajectory] = defaultdict(_Trajectory)
    for file in location.files:
        match = _PICTURE.fullmatch(file)
        folder, _, name = file.rpartition("/")
        if match is not None:
            found[match["folder"] or ""].streams[match["stream"]][int(match["number"])] = file
        elif name in {_OBS, _POLICY, _AGENT, _LANG}:
            found[folder].files.add(name)
    return {folder: item for folder, item in found.items() if item.streams or {_OBS, _POLICY} & item.files}


def _record(location: Location, folder: str, trajectory: _Trajectory, *, index: int) -> Record:
    counts = {stream: len(files) for stream, files in sorted(trajectory.streams.items())}
    last = [files[max(files)] for _, files in sorted(trajectory.streams.items())]
    missing = [name for name in (_OBS, _POLICY) if name not in trajectory.files]
    known = [name for name in (_OBS, _POLICY, _AGENT, _LANG) if name in trajectory.files]
    cameras = {stream: count for stream, count in counts.items() if not stream.startswith("depth")}
    problem = None
    if missing:
        message = f"found no {' and no '.join(missing)} beside the pictures, expected both: fetch {missing[0]} to "
        problem = Problem(reason="missing_file", message=message + location.file_uri(folder))
    return Record(
        index=index,
        files=(*(_in(folder, name) for name in known), *last),
        num_frames=max(cameras.values(), default=1) - 1,
        stored_bytes=sum(cameras.values()) * STORED_PICTURE_BYTES,
        problem=problem,
        meta={"folder": folder, "cameras": cameras, "depth": {s: n for s, n in counts.items() if s not in cameras}},
    )


def _in(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _sample_fields(location: Location, records: tuple[Record, ...]) -> tuple[SourceField, ...]:
    """The numeric streams, going by the first trajectory that can be read."""
    for record in [record for record in records if record.problem is None][:_MAX_SAMPLES]:
        try:
            parts = _unpickled(location, record, _contents(location, record))
        except EpisodeError:
            continue
        return tuple(
            SourceField(path=path, dtype=str(values.dtype), shape=values.shape[1:])
            for path, values in parts.streams.items()
            if values is not None
        )
    return ()


_MAX_SAMPLES = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class _Parts:
    """What the pickles of a trajectory hold."""

    streams: Mapping[str, Numbers | None]
    notes: tuple[str, ...]
    is_simulated: bool | None


def read(location: Location, record: Record) -> RawEpisode:
    """One trajectory; EpisodeError where a pickle is broken or refused, or its parts do not belong together."""
    contents = _contents(location, record)
    parts = _unpickled(location, record, contents)
    place = PurePosixPath(location.path(record.files[0])).parent
    lag = _lag(place)
    fields, not_stored, steps = _aligned(parts.streams, lag=lag, uri=location.file_uri(record.files[0]))
    jpegs = {camera: _jpegs(location, record, camera, steps=steps) for camera in sorted(record.meta["cameras"])}
    texts, notes = _words(contents.get(_LANG), place)
    state = parts.streams.get(_STATE)
    if state is not None and len(state) > steps:
        notes.append("the last observation follows the last action and is left out")
    if lag:
        notes.append("recorded before 2021-07-23: each action goes with the observation one step later")
    return RawEpisode(
        digest=_digest(contents, jpegs),
        fields=fields,
        pictures={camera: map(jpeg_or_pixels, pictures[lag:steps]) for camera, pictures in jpegs.items()},
        timestamp_T=fields[_TIME].astype(np.float64).reshape(-1) if _TIME in fields else None,
        rate_hz=RATE_HZ,
        task=texts[0] if texts else None,
        instructions=tuple(Instruction(text=text) for text in texts),
        not_stored=dict(sorted((not_stored | record.meta["depth"]).items())),
        notes=(*notes, *parts.notes),
        scene=place.parts[-7] if _dated(place) and len(place.parts) >= 7 else None,
        is_simulated=parts.is_simulated,
    )


def _contents(location: Location, record: Record) -> dict[str, bytes]:
    """The small files, by name."""
    contents = {}
    for file in record.files:
        if not _PICTURE.fullmatch(file):
            size = location.files[file].size_bytes
            if size > MAX_PICKLE_BYTES:
                raise _absurd(f"a file of {size} bytes", MAX_PICKLE_BYTES, location.file_uri(file))
            contents[PurePosixPath(file).name] = location.read_bytes(file)
    return contents


def _unpickled(location: Location, record: Record, contents: Mapping[str, bytes]) -> _Parts:
    """All that the pickles hold; `agent_data.pkl`, which nobody needs, is named where it cannot be taken."""
    streams: dict[str, Numbers | None] = {}
    notes: list[str] = []
    is_simulated = None
    for name in (_OBS, _POLICY, _AGENT):
        if name not in contents:
            continue
        uri = location.file_uri(_in(str(record.meta["folder"]), name))
        try:
            value = load_pickle(contents[name], file=uri)
            found = streams_of(_actions_named(value) if name == _POLICY else value, name=name[:-4], file=uri)
        except EpisodeError as error:
            if name != _AGENT:
                raise
            streams[name], value = None, None
            notes.append(f"{name} is not taken: {error}")
            continue
        streams |= found
        if name == _AGENT and isinstance(value, Mapping):
            told = value.get("simulated")
            is_simulated = told if isinstance(told, bool) else None
            short = {key: item for key, item in value.items() if isinstance(item, bool | int | float | str)}
            notes += [f"{name[:-4]} {key}: {item}"[:_LONG] for key, item in list(short.items())[:_MAX_SAMPLES]]
    return _Parts(streams=streams, notes=tuple(notes), is_simulated=is_simulated)


_LONG = 200


def _actions_named(policy: Any) -> Any:
    """A list of bare actions as if it were a list of dicts, which later recorders wrote."""
    is_bare = isinstance(policy, list | tuple) and policy and not any(isinstance(step, Mapping) for step in policy)
    return {"actions": policy} if is_bare or isinstance(policy, np.ndarray) else policy


def _aligned(
    streams: Mapping[str, Numbers | None], *, lag: int, uri: str
) -> tuple[dict[str, Numbers], dict[str, int], int]:
    """(fields of T rows, what is not stored, number of actions), each action beside what was seen before it."""
    actions = streams.get(_ACTIONS)
    if actions is None:
        raise EpisodeError("missing_field", f"found no actions, only {sorted(streams)[:20]}; expected them in {uri}")
    steps = len(actions)
    fields: dict[str, Numbers] = {}
    not_stored: dict[str, int] = {}
    for path, values in streams.items():
        if values is None or len(values) not in {steps, steps + 1}:
            not_stored[path] = 1 if values is None else len(values)
        elif path.startswith("policy_out/"):
            fields[path] = values[: steps - lag]
        else:
            fields[path] = values[lag:steps]
    if _STATE in not_stored:
        raise EpisodeError(
            "length_mismatch",
            f"{_STATE} has {not_stored[_STATE]} rows for {steps} actions, expected one more than actions; file {uri}",
        )
    return fields, not_stored, steps


def _jpegs(location: Location, record: Record, camera: str, *, steps: int) -> list[bytes]:
    """A camera's pictures in order; EpisodeError where one is missing or they are not one for each observation."""
    stream = _in(str(record.meta["folder"]), camera)
    count = int(record.meta["cameras"][camera])
    if count not in {steps, steps + 1}:
        raise EpisodeError(
            "frame_count_mismatch",
            f"found {count} pictures for {steps} actions, expected one more than actions; {location.file_uri(stream)}",
        )
    files = [f"{stream}/im_{number}.{kind}" for number in range(count) for kind in ("jpg", "png")]
    files = [file for file in files if file in location.files]
    if len(files) != count:
        raise EpisodeError(
            "missing_picture",
            f"found {len(files)} of the pictures 0 to {count - 1}: fetch again {location.file_uri(stream)}",
        )
    total = sum(location.files[file].size_bytes for file in files)
    if total > MAX_PICTURES_BYTES:
        raise _absurd(f"pictures of {total} bytes", MAX_PICTURES_BYTES, location.file_uri(stream))
    return [location.read_bytes(file) for file in files]


def _absurd(found: str, limit: int, uri: str) -> EpisodeError:
    return EpisodeError("absurd_size", f"found {found}, expected at most {limit} of one trajectory; {uri}")


def _words(content: bytes | None, place: PurePosixPath) -> tuple[list[str], list[str]]:
    """(instructions, notes): the lines of lang.txt but for the annotators' confidence, or the task's folder."""
    lines = (content or b"").decode("utf-8", "replace").splitlines()
    texts = list(dict.fromkeys(line.strip() for line in lines if line.strip() and "confidence" not in line))
    if texts:
        return texts, []
    folder = place.parts[-6] if _dated(place) and len(place.parts) >= 6 else place.name
    guess = re.sub(r"[_\-\s]+", " ", folder).strip()
    return [guess], [f"there is no lang.txt with words: the folder's name {folder!r} is taken as the instruction"]


def _dated(place: PurePosixPath) -> date | None:
    """The day of `<scene>/<task>/<nn>/<day>/raw/traj_group*/traj*`; None where it lies otherwise."""
    match = _DATED.fullmatch(place.parts[-4]) if len(place.parts) >= 4 else None
    try:
        return date(*map(int, match.groups())) if match else None
    except ValueError:
        return None


def _lag(place: PurePosixPath) -> int:
    """How many steps the pictures came late."""
    day = _dated(place)
    return 1 if day is not None and day < _NO_LAG_SINCE else 0


def _digest(contents: Mapping[str, bytes], jpegs: Mapping[str, list[bytes]]) -> str:
    hasher = Hasher()
    parts = [
        *sorted(contents.items()),
        *((f"{name}/{i}", jpeg) for name in jpegs for i, jpeg in enumerate(jpegs[name])),
    ]
    for name, content in parts:
        hasher.update(f"{name} {len(content)} ".encode())
        hasher.update(content)
    return hasher.hexdigest()
