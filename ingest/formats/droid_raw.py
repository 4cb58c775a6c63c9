"""DROID as recorded: a folder for each episode with `trajectory.h5`, `metadata_*.json` and `recordings/`.

Every number of the HDF5 keeps its path (`action/joint_velocity`, `observation/robot_state/…`). Cameras are
`droid_recordings`. Words come from DROID's `aggregated-annotations-*.json`, where that lies beside the episodes.
"""
# Legend: T frames.

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ingest.formats.cached_json import read_json
from ingest.formats.droid_recordings import (
    CAMERAS,
    RECORDING,
    camera_times,
    hash_video,
    pictures_of,
    recording_notes,
    serials_of,
    svo_notes,
    videos_of,
    why_absent,
)
from ingest.formats.hdf5 import attributes_of, datasets_of, open_hdf5, word_of
from ingest.formats.hdf5_limits import is_numeric, num_rows, read_numbers
from ingest.formats.local_copy import LocalCopy
from ingest.location import Location
from ingest.record import STORED_PICTURE_BYTES, Discovery, Problem, RawEpisode, Record, SourceField
from schema.digest import Hasher, canonical_json, feed_file
from schema.episode import Instruction, Numbers
from schema.errors import EpisodeError, SourceError

NAME = "droid_raw"
VERSION = 2

RATE_HZ = 15.0
"""DROID's control rate; a `rate_hz` or `fps` attribute says otherwise."""
_TRAJECTORY, _ACTIONS = "trajectory.h5", "action/joint_position"
_START = "observation/timestamp/control/step_start"
_METADATA = re.compile(r"metadata_[^/]*\.json")
_ANNOTATIONS = re.compile(r"(?:.+/)?aggregated-annotations-[^/]*\.json")
_UNDERSTOOD = {
    *("success", "failure", "current_task", "user", "user_id", "scene_id", "building", "uuid", "lab", "timestamp"),
    *("sim", "simulated", "rate_hz", "fps", "robot", "robot_type", "task", "language"),
}
"""Attributes that are taken in; the others become notes."""


def discover(location: Location) -> Discovery | None:
    """Every folder with `trajectory.h5`, and those with metadata or recordings and without one; else None."""
    folders = _folders(location)
    if not any(_TRAJECTORY in files for files in folders.values()):
        return None
    annotations = tuple(file for file in location.files if _ANNOTATIONS.fullmatch(file))[:1]
    records = tuple(
        _record(location, folder, files, index=index, annotations=annotations)
        for index, (folder, files) in enumerate(sorted(folders.items()))
    )
    notes = [] if annotations else ["no aggregated-annotations-*.json is here, which has the words for the episodes"]
    sample = _sample(location, records)
    return Discovery(
        format=NAME,
        name=location.name,
        robot=sample.robot or "droid",
        rate_hz=sample.rate_hz,
        records=records,
        fields=sample.fields,
        cameras=tuple(SourceField(path=name, dtype="uint8", shape=(-1, -1, 3)) for name in CAMERAS),
        notes=(*notes, *recording_notes(folders)),
    )


def _folders(location: Location) -> dict[str, set[str]]:
    """Per episode folder its files, relative to it."""
    folders: dict[str, set[str]] = {}
    for file in location.files:
        path = PurePosixPath(file)
        parts = path.parts
        if path.name == _TRAJECTORY or _METADATA.fullmatch(path.name):
            folder = str(path.parent)
        elif "recordings" in parts and path.suffix in {".mp4", ".svo", ".svo2"}:
            folder = str(PurePosixPath(*parts[: len(parts) - 1 - parts[::-1].index("recordings")]))
        else:
            continue
        folders.setdefault(folder, set()).add(str(path.relative_to(folder)))
    return folders


def _record(location: Location, folder: str, files: set[str], *, index: int, annotations: tuple[str, ...]) -> Record:
    prefix = "" if folder == "." else f"{folder}/"
    recordings = sorted(file for file in files if RECORDING.fullmatch(file))
    mono = [file for file in recordings if file.endswith(".mp4") and not file.endswith("-stereo.mp4")]
    metadata = sorted(file for file in files if _METADATA.fullmatch(file))
    problem = None
    if _TRAJECTORY not in files:
        place = location.file_uri(prefix + _TRAJECTORY)
        problem = Problem(reason="missing_file", message=f"found only {sorted(files)[:5]}, expected {place}: fetch it")
    size = location.files[prefix + _TRAJECTORY].size_bytes if problem is None else 0
    return Record(
        index=index,
        files=(*(prefix + file for file in (_TRAJECTORY, *metadata, *mono)), *annotations),
        stored_bytes=size // _BYTES_PER_STEP * len(mono) * STORED_PICTURE_BYTES,
        problem=problem,
        meta={"folder": prefix, "metadata": metadata, "recordings": recordings, "annotations": list(annotations)},
    )


_BYTES_PER_STEP = 2000
"""About what a step takes in trajectory.h5."""


def _sample(location: Location, records: tuple[Record, ...]) -> Discovery:
    """What the source is like, going by the first episode that can be opened."""
    robot, rate_hz, fields = None, RATE_HZ, []
    for record in [record for record in records if record.problem is None][:_MAX_SAMPLES]:
        uri = location.file_uri(record.files[0])
        try:
            copy = LocalCopy(location, record.files[0])
            with open_hdf5(copy.path, file=uri) as handle:
                datasets, attrs = datasets_of(handle, file=uri), attributes_of(handle, file=uri)
                steps = _num_steps(datasets, uri)
                robot = word_of(attrs.get("robot")) or word_of(attrs.get("robot_type"))
                rate_hz = _rate(attrs)
                numeric = {path: item for path, item in datasets.items() if is_numeric(item, steps)}
                fields = [
                    SourceField(path=p, dtype=str(item.dtype), shape=item.shape[1:]) for p, item in numeric.items()
                ]
                break
        except EpisodeError:
            continue
    return Discovery(format=NAME, name="", robot=robot, rate_hz=rate_hz, records=(), fields=tuple(fields), cameras=())


_MAX_SAMPLES = 20


def read(location: Location, record: Record) -> RawEpisode:
    """One episode; EpisodeError where its HDF5 or metadata is broken. Videos are decoded as they are taken."""
    uri = location.file_uri(record.files[0])
    copy = LocalCopy(location, record.files[0])
    told = _metadata(location, record)
    hasher = Hasher()
    with open_hdf5(copy.path, file=uri) as handle:
        datasets, attrs = datasets_of(handle, file=uri), attributes_of(handle, file=uri)
        steps = _num_steps(datasets, uri)
        fields = read_numbers({p: item for p, item in datasets.items() if is_numeric(item, steps)}, file=uri)
    facts = {**attrs, **told}
    cameras = serials_of(told, fields)
    videos = videos_of(location, record, cameras)
    texts = _annotations(location, record, told)
    feed_file(hasher, copy.path)
    hasher.update(canonical_json([_plain(told), texts]))
    notes = [f"{name}: {_short(value)}" for name, value in sorted(attrs.items()) if name not in _UNDERSTOOD]
    others = datasets.keys() - fields.keys()
    for name, file in sorted(videos.items()):
        declared, besides = hash_video(hasher, location, file, name=name)
        others |= {f"{name}: {kind}" for kind in besides}
        spare = declared - steps
        notes += [f"{name} has {spare} more pictures than there are steps, left out"] if spare > 0 else []
    words, guessed = _words(facts, texts)
    return RawEpisode(
        digest=hasher.hexdigest(),
        fields=fields,
        pictures={name: pictures_of(location, file, steps=steps) for name, file in sorted(videos.items())},
        absent={name: why_absent(location, record, name, cameras=cameras) for name in CAMERAS if name not in videos},
        timestamp_T=_clock(fields),
        camera_timestamps=camera_times(fields, cameras) if _START in fields else {},
        rate_hz=_rate(attrs),
        task=_text(facts, "current_task") or _text(facts, "task") or (words[0] if words else None),
        instructions=tuple(Instruction(text=text) for text in words),
        not_stored=_not_stored(record, others=others, videos=videos, steps=steps),
        notes=(*notes, *guessed, *svo_notes(record)),
        success=_success(facts, location.path(record.files[0])),
        scene=" ".join(text for key in ("lab", "building", "scene_id") if (text := _text(facts, key))) or None,
        operator=_text(facts, "user_id") or _text(facts, "user"),
        is_simulated=_flag(attrs, "sim") if "sim" in attrs else _flag(attrs, "simulated"),
    )


def _num_steps(datasets: Mapping[str, h5py.Dataset], uri: str) -> int:
    """T, by the actions."""
    actions = [path for path in datasets if path == _ACTIONS] or [
        path for path in datasets if path.startswith("action/")
    ]
    if not actions:
        raise EpisodeError("missing_field", f"found no /action, only {sorted(datasets)[:20]}; file {uri}")
    return num_rows(datasets[actions[0]], name=actions[0], file=uri)


def _metadata(location: Location, record: Record) -> dict[str, Any]:
    """What the metadata file says; nothing where there is none."""
    told: dict[str, Any] = {}
    for name in record.meta["metadata"]:
        value = _json_table(location, record.meta["folder"] + name)
        told |= {"uuid": name.removeprefix("metadata_").removesuffix(".json")} | value
    return told


def _json_table(location: Location, file: str) -> dict[str, Any]:
    try:
        value = read_json(location, file)
    except SourceError as error:
        raise EpisodeError("bad_metadata", str(error)) from error
    if not isinstance(value, dict):
        raise EpisodeError(
            "bad_metadata", f"found a {type(value).__name__}, expected an object: {location.file_uri(file)}"
        )
    return value


def _annotations(location: Location, record: Record, told: Mapping[str, Any]) -> list[str]:
    """The episode's instructions, up to three wordings of one task; none where nobody wrote any."""
    for file in record.meta["annotations"]:
        entry = _json_table(location, file).get(str(told.get("uuid")))
        if isinstance(entry, dict):
            wordings = (entry[key] for key in sorted(entry) if key.startswith("language_instruction"))
            return [text.strip() for text in wordings if isinstance(text, str) and text.strip()]
    return []


def _words(facts: Mapping[str, Any], texts: list[str]) -> tuple[list[str], list[str]]:
    """(instructions, notes): as annotated, as an attribute says, or the kind of task for want of better."""
    told = _text(facts, "language") or _text(facts, "task")
    if texts or told:
        return texts or [str(told)], []
    kind = _text(facts, "current_task")
    return (
        ([kind], ["nobody annotated the episode: its kind of task is taken as the instruction"]) if kind else ([], [])
    )


def _not_stored(
    record: Record,
    *,
    others: set[str],
    videos: Mapping[str, str],
    steps: int,
) -> dict[str, int]:
    taken = set(videos.values())
    recordings = [file for file in record.meta["recordings"] if record.meta["folder"] + file not in taken]
    return dict.fromkeys(sorted({*recordings, *others}), steps)


def _clock(fields: Mapping[str, Numbers]) -> NDArray[np.float64] | None:
    """Seconds at which each step began, by the control loop's clock or else the robot's."""
    clock = "observation/timestamp/"
    start_T = fields.get(_START)
    if start_T is not None:
        return start_T.astype(np.float64).reshape(-1) / 1000
    seconds_T = fields.get(f"{clock}robot_state/robot_timestamp_seconds")
    nanos_T = fields.get(f"{clock}robot_state/robot_timestamp_nanos")
    if seconds_T is None or nanos_T is None:
        return None
    whole_T = seconds_T.astype(np.int64).reshape(-1)
    return (whole_T - whole_T[:1]).astype(np.float64) + nanos_T.astype(np.float64).reshape(-1) * 1e-9


def _rate(attrs: Mapping[str, Any]) -> float:
    told = next((attrs[name] for name in ("rate_hz", "fps") if name in attrs), None)
    is_rate = isinstance(told, int | float | np.integer | np.floating) and 0 < told <= 1000
    return float(told) if is_rate and told is not None else RATE_HZ


def _success(facts: Mapping[str, Any], path: str) -> bool | None:
    """As the metadata or the HDF5 says, else by the folder `success` or `failure` that holds the episode."""
    told = _flag(facts, "success")
    if told is not None:
        return told
    folders = [part for part in PurePosixPath(path).parts if part in {"success", "failure"}]
    return folders[-1] == "success" if folders else None


def _flag(facts: Mapping[str, Any], name: str) -> bool | None:
    value = facts.get(name)
    return bool(value) if isinstance(value, bool | int | np.bool_ | np.integer) else None


def _text(facts: Mapping[str, Any], name: str) -> str | None:
    value = facts.get(name)
    return word_of(str(value) if isinstance(value, int | np.integer) else value)


def _plain(told: Mapping[str, Any]) -> str:
    return repr(sorted((name, repr(value)) for name, value in told.items()))


def _short(value: Any) -> str:
    return str(value)[:200]
