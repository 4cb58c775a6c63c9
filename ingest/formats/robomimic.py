"""robomimic HDF5, as robosuite, LIBERO and IsaacLab write it: many demos in one file, each a group `data/demo_<i>`.

A demo's numbers lie under `actions`, `obs/…`, `states`, …; the uint8 `[T, H, W, 3]` of `obs` are its cameras, and it
may have none. `next_obs` is `obs` one step later: its numbers are kept, its pictures are not stored. What the file says
of all its demos (`env_args`) is `robomimic_environment`.
"""
# Legend: T frames.

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ingest.formats.hdf5 import attributes_of, datasets_of, group_at, open_hdf5, whole, word_of
from ingest.formats.hdf5_limits import (
    check_pictures,
    digest_stored,
    is_numeric,
    is_picture,
    num_rows,
    read_numbers,
    rows_of,
)
from ingest.formats.natural_order import natural
from ingest.formats.robomimic_environment import LANGUAGE_ATTRIBUTES, Environment, environment_of
from ingest.location import Location
from ingest.record import STORED_PICTURE_BYTES, Discovery, Problem, RawEpisode, Record, SourceField
from schema.digest import Hasher
from schema.episode import Instruction, Numbers
from schema.errors import EpisodeError
from schema.picture import Pixels

NAME = "robomimic"
VERSION = 1

_DATA, _MASK, _ACTIONS, _OBS = "data", "mask", "actions", "obs/"
_ATTRS = {"num_samples", "success", *LANGUAGE_ATTRIBUTES}
"""Attributes of a demo that are understood; the others become notes, or are named in `not_stored` where too long."""
_LONG = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class _Survey:
    """One file, looked at from outside."""

    file: str
    environment: Environment
    demos: tuple[tuple[str, int | None], ...] = ()
    """Names in the order of their numbers, with their frames where told."""
    masks: tuple[str, ...] = ()
    fields: tuple[SourceField, ...] = ()
    cameras: tuple[SourceField, ...] = ()
    problem: Problem | None = None
    """Why the file cannot be read."""


def discover(location: Location) -> Discovery | None:
    """Every demo of every file with a group `data`; None where no file is one and one can be opened.

    A file of another robot than the first one's is a record with a problem, a file without demos is a note.
    """
    files = [file for file in location.files if file.endswith((".hdf5", ".h5"))]
    surveys = [survey for file in files if (survey := _survey(location, file)) is not None]
    readable = [survey for survey in surveys if survey.problem is None]
    if not surveys or (not readable and len(surveys) < len(files)):
        return None
    first = next((item for item in readable if item.demos), (readable or surveys)[0])
    records: list[Record] = []
    for survey in surveys:
        records += _records(location, survey, first=first, index=len(records))
    notes = [f"{item.file} holds 0 demos" for item in readable if not item.demos]
    notes += [f"{item.file}: filter mask {mask}" for item in readable for mask in item.masks]
    others = sorted(set(files) - {survey.file for survey in surveys})
    notes += [f"{len(others)} HDF5 files have no group 'data' and are not taken: {others[0]} …"] if others else []
    return Discovery(
        format=NAME,
        name=location.name,
        robot=first.environment.robot,
        rate_hz=first.environment.rate_hz,
        records=tuple(records),
        fields=first.fields,
        cameras=first.cameras,
        notes=tuple(notes),
    )


def _survey(location: Location, file: str) -> _Survey | None:
    """What a file holds; None where it is no robomimic file."""
    uri = location.file_uri(file)
    try:
        with _opened(location, file) as handle:
            data = group_at(handle, _DATA, file=uri)
            if data is None:
                return None
            environment = environment_of(attributes_of(data, file=uri))
            demos = _demos(data, file=uri)
            if not demos and environment.name is None:
                return None
            fields, cameras = _streams(data, demos[0][0], file=uri) if demos else ((), ())
            return _Survey(
                file=file,
                environment=environment,
                demos=demos,
                masks=tuple(f"{name!r} names {len(kept)} demos" for name, kept in _masks(handle, file=uri).items()),
                fields=fields,
                cameras=cameras,
            )
    except EpisodeError as error:
        return _Survey(file=file, environment=Environment(), problem=Problem(reason=error.reason, message=str(error)))


def _records(location: Location, survey: _Survey, *, first: _Survey, index: int) -> Iterator[Record]:
    if survey.problem is not None:
        yield Record(index=index, files=(survey.file,), problem=survey.problem)
        return
    problem = None
    if survey.environment.robot != first.environment.robot:
        problem = Problem(
            reason="other_robot",
            message=f"the robot is {survey.environment.robot!r}, that of {first.file} is {first.environment.robot!r}, "
            f"expected one robot in a source: ingest it by itself, {location.file_uri(survey.file)}",
        )
    for offset, (name, frames) in enumerate(survey.demos):
        yield Record(
            index=index + offset,
            files=(survey.file,),
            num_frames=frames,
            stored_bytes=(frames or 0) * (len(survey.cameras) * STORED_PICTURE_BYTES + 1000),
            problem=problem,
            meta={"demo": name},
        )


def read(location: Location, record: Record) -> RawEpisode:
    """One demo; EpisodeError where it is broken, points outside or has no actions. Pictures stream from the file."""
    file, demo = record.files[0], str(record.meta["demo"])
    uri = location.file_uri(file)
    with _opened(location, file) as handle:
        data = group_at(handle, _DATA, file=uri)
        group = group_at(handle, f"{_DATA}/{demo}", file=uri)
        if data is None or group is None:
            raise EpisodeError("missing_field", f"found no group data/{demo}, expected it as listed; file {uri}")
        environment = environment_of(attributes_of(data, file=uri))
        attrs = attributes_of(group, file=uri)
        datasets = datasets_of(group, file=uri)
        rows = _num_frames(datasets, attrs, demo=demo, file=uri)
        numeric = {path: item for path, item in datasets.items() if is_numeric(item, rows)}
        cameras = {path.removeprefix(_OBS): path for path in datasets if _is_camera(path, datasets[path])}
        for key, path in cameras.items():
            check_pictures(datasets[path], rows=rows, name=key, file=uri)
        fields = read_numbers(numeric, file=uri)
        others = {
            path: item.shape[0] if item.shape else 1
            for path, item in datasets.items()
            if path not in numeric and path not in cameras.values()
        }
        words, notes = environment.words_for(attrs)
        notes += [
            f"filter mask {name!r} names this demo" for name, kept in _masks(handle, file=uri).items() if demo in kept
        ]
        told, long = _attribute_notes(attrs)
        return RawEpisode(
            digest=_digest(
                fields,
                {path: datasets[path] for path in cameras.values()},
                attrs=attrs,
                environment=environment,
                file=uri,
            ),
            fields=fields,
            pictures={
                key: _pictures(location, file, demo=f"{_DATA}/{demo}", path=path) for key, path in cameras.items()
            },
            rate_hz=environment.rate_hz,
            task=environment.name,
            instructions=(Instruction(text=words),) if words else (),
            not_stored=dict(sorted(others.items())) | long,
            notes=(*notes, *told),
            success=_success(attrs),
            scene=environment.name,
            is_simulated=environment.is_simulated,
        )


@contextmanager
def _opened(location: Location, file: str) -> Iterator[h5py.File]:
    """A local file by its path; a remote one, which may hold hours of demos, is read where it lies."""
    uri = location.file_uri(file)
    if "file" in location.fs.protocol:
        with open_hdf5(Path(location.path(file)), file=uri) as handle:
            yield handle
        return
    with location.open(file) as stream, open_hdf5(stream, file=uri) as handle:
        yield handle


def _demos(data: h5py.Group, *, file: str) -> tuple[tuple[str, int | None], ...]:
    with whole(file):
        names = sorted(data, key=natural)
    demos = []
    for name in names:
        group = group_at(data, name, file=file)
        if group is not None:
            told = attributes_of(group, file=file).get("num_samples")
            demos.append((name, int(told) if isinstance(told, int | np.integer) else None))
    return tuple(demos)


def _masks(handle: h5py.File, *, file: str) -> dict[str, set[str]]:
    """The filter masks (train, valid, 20_percent …) and the demos that each names."""
    group = group_at(handle, _MASK, file=file)
    found = datasets_of(group, file=file) if group is not None else {}
    masks = {}
    for name, item in found.items():
        with whole(file):
            if item.dtype.kind in "OS" and len(item.shape or ()) == 1 and item.nbytes <= 1 << 24:
                masks[name] = {word_of(value) or "" for value in item[()]}
    return masks


def _streams(data: h5py.Group, demo: str, *, file: str) -> tuple[tuple[SourceField, ...], tuple[SourceField, ...]]:
    """The numeric streams and the cameras, going by one demo."""
    group = group_at(data, demo, file=file)
    datasets = datasets_of(group, file=file) if group is not None else {}
    if _ACTIONS not in datasets or not datasets[_ACTIONS].shape:
        return (), ()
    rows = datasets[_ACTIONS].shape[0]
    fields = [
        SourceField(path=path, dtype=str(item.dtype), shape=item.shape[1:])
        for path, item in datasets.items()
        if is_numeric(item, rows) and not path.startswith("next_obs/")
    ]
    cameras = [
        SourceField(path=path.removeprefix(_OBS), dtype="uint8", shape=item.shape[1:])
        for path, item in datasets.items()
        if _is_camera(path, item)
    ]
    return tuple(fields), tuple(cameras)


def _is_camera(path: str, item: h5py.Dataset) -> bool:
    return path.startswith(_OBS) and is_picture(item)


def _num_frames(datasets: Mapping[str, h5py.Dataset], attrs: Mapping[str, Any], *, demo: str, file: str) -> int:
    """T, by the actions; EpisodeError where there are none or the demo claims another number."""
    if _ACTIONS not in datasets:
        raise EpisodeError("missing_field", f"{demo} has no actions, only {sorted(datasets)[:20]}; file {file}")
    rows = num_rows(datasets[_ACTIONS], name=f"{demo}/{_ACTIONS}", file=file)
    told = attrs.get("num_samples")
    if isinstance(told, int | np.integer) and int(told) != rows:
        raise EpisodeError(
            "frame_count_mismatch",
            f"{demo} claims {int(told)} samples and has {rows} actions, expected as many: fetch again {file}",
        )
    return rows


def _success(attrs: Mapping[str, Any]) -> bool | None:
    told = attrs.get("success")
    return bool(told) if isinstance(told, bool | int | np.bool_ | np.integer) else None


def _attribute_notes(attrs: Mapping[str, Any]) -> tuple[list[str], dict[str, int]]:
    """What a demo says besides, and the names of what is too long to repeat (a simulator's XML)."""
    others = {name: str(value) for name, value in sorted(attrs.items()) if name not in _ATTRS}
    told = [f"{name}: {text}" for name, text in others.items() if len(text) <= _LONG]
    return told, {f"attribute {name}": 1 for name, text in others.items() if len(text) > _LONG}


def _digest(
    fields: Mapping[str, Numbers],
    pictures: Mapping[str, h5py.Dataset],
    *,
    attrs: Mapping[str, Any],
    environment: Environment,
    file: str,
) -> str:
    """Over the numbers as read and the pictures as stored: the same demo in another file is the same episode.

    So is what the file says of all its demos, where it is taken as this one's.
    """
    hasher = Hasher()
    for path, values in sorted(fields.items()):
        hasher.update(f"{path}{values.dtype.str}{values.shape}".encode())
        hasher.update(np.ascontiguousarray(values).tobytes())
    for path, dataset in sorted(pictures.items()):
        hasher.update(path.encode())
        digest_stored(hasher, dataset, file=file)
    hasher.update(repr(sorted((name, str(value)) for name, value in attrs.items())).encode("utf-8", "replace"))
    hasher.update(repr(environment).encode("utf-8", "replace"))
    return hasher.hexdigest()


def _pictures(location: Location, file: str, *, demo: str, path: str) -> Iterator[Pixels | bytes]:
    uri = location.file_uri(file)
    with _opened(location, file) as handle:
        group = group_at(handle, demo, file=uri)
        if group is not None:
            with whole(uri):
                dataset = group[path]
            yield from rows_of(dataset, file=uri)
