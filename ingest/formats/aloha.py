"""ALOHA HDF5: one `episode_<i>.hdf5` per episode, with numbers under `/action` and `/observations`.

Pictures lie below `/observations/images`, raw or as JPEG buffers padded with zeros. Raw ones are RGB. JPEG buffers
pass through and so mean what any JPEG decoder makes of them, as the converters of LeRobot and openpi read them
(cv2.imdecode, then BGR to RGB). A recorder that gave RGB to cv2.imencode has red and blue swapped, there as here.
"""
# Legend: T frames.

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import h5py
import numpy as np

from ingest.formats.encoded_picture import jpeg_or_pixels
from ingest.formats.hdf5 import attributes_of, datasets_of, open_hdf5, whole, word_of
from ingest.formats.hdf5_heaps import checked_digest
from ingest.formats.hdf5_limits import check_pictures, is_numeric, num_rows, read_numbers, rows_of
from ingest.formats.local_copy import LocalCopy
from ingest.formats.natural_order import natural
from ingest.location import Location
from ingest.record import STORED_PICTURE_BYTES, Discovery, Problem, RawEpisode, Record, SourceField
from schema.episode import Instruction
from schema.errors import EpisodeError
from schema.picture import Pixels

NAME = "aloha"
VERSION = 1

RATE_HZ = 50.0
"""ALOHA's control rate; a `rate_hz` or `fps` attribute says otherwise."""
_MAX_RATE_HZ = 1000
_ACTION, _QPOS, _IMAGES = "action", "observations/qpos", "observations/images/"
_FILE = re.compile(r"episode_\w+\.(hdf5|h5)")
_PADDING = "compress_len"
"""The lengths of the JPEG buffers before padding, which the buffers themselves tell as well."""
_ATTRS = {
    "sim",
    "simulated",
    "compress",
    "robot",
    "robot_type",
    "fps",
    "rate_hz",
    "task",
    "language",
    "success",
    "license",
}
"""Attributes that are understood; the others become notes."""
_LONG = 200


def discover(location: Location) -> Discovery | None:
    """Every `episode_*.hdf5` at or below, where one has ALOHA's layout or none can be opened; else None."""
    files = sorted((file for file in location.files if _FILE.fullmatch(PurePosixPath(file).name)), key=natural)
    unreadable: dict[str, Problem] = {}
    for file in files:
        try:
            sample = _sample(location, file)
        except EpisodeError as error:
            unreadable[file] = Problem(reason=error.reason, message=str(error))
            continue
        if sample is not None:
            return _discovery(location, files, unreadable=unreadable, sample=sample)
    if files and len(unreadable) == len(files):
        empty = Discovery(format=NAME, name="", robot=None, rate_hz=None, records=(), fields=(), cameras=())
        return _discovery(location, files, unreadable=unreadable, sample=empty)
    return None


def _sample(location: Location, file: str) -> Discovery | None:
    """What the source is like, going by one file, its only record; None where it is not ALOHA's layout."""
    copy = LocalCopy(location, file)
    with open_hdf5(copy.path, file=location.file_uri(file)) as handle:
        datasets = datasets_of(handle, file=location.file_uri(file))
        attrs = attributes_of(handle, file=location.file_uri(file))
        if _ACTION not in datasets or _QPOS not in datasets:
            return None
        num_frames = num_rows(datasets[_ACTION], name=_ACTION, file=location.file_uri(file))
        numeric = {path: item for path, item in datasets.items() if _is_numeric(path, item, num_frames)}
        cameras = {path.removeprefix(_IMAGES): item for path, item in datasets.items() if path.startswith(_IMAGES)}
        robot = word_of(attrs.get("robot_type")) or word_of(attrs.get("robot"))
        return Discovery(
            format=NAME,
            name=location.name,
            robot=robot or ("mobile_aloha" if "base_action" in datasets else "aloha"),
            rate_hz=_rate(attrs)[0],
            records=(Record(index=0, files=(file,), num_frames=num_frames),),
            fields=tuple(
                SourceField(path=path, dtype=str(item.dtype), shape=item.shape[1:]) for path, item in numeric.items()
            ),
            cameras=tuple(
                SourceField(path=key, dtype="uint8", shape=item.shape[1:] if item.ndim == 4 else (-1, -1, 3))
                for key, item in cameras.items()
            ),
            licence=word_of(attrs.get("license")),
        )


def _discovery(
    location: Location, files: list[str], *, unreadable: Mapping[str, Problem], sample: Discovery
) -> Discovery:
    frames_per_byte = 0.0
    for record in sample.records:
        frames_per_byte = (record.num_frames or 0) / max(1, location.files[record.files[0]].size_bytes)
    records = []
    for index, file in enumerate(files):
        frames = round(location.files[file].size_bytes * frames_per_byte)
        records.append(
            Record(
                index=index,
                files=(file,),
                stored_bytes=frames * len(sample.cameras) * STORED_PICTURE_BYTES,
                problem=unreadable.get(file),
            )
        )
    others = sorted({file for file in location.files if file.endswith((".hdf5", ".h5"))} - set(files))
    notes = [f"{len(others)} HDF5 files are not called episode_* and are not taken: {others[0]} …"] if others else []
    return Discovery(
        format=NAME,
        name=location.name,
        robot=sample.robot,
        rate_hz=sample.rate_hz,
        records=tuple(records),
        fields=sample.fields,
        cameras=sample.cameras,
        notes=tuple(notes),
        licence=sample.licence,
    )


def read(location: Location, record: Record) -> RawEpisode:
    """One file; EpisodeError where it is broken, points outside or has no action. Pictures stream from the file."""
    if record.problem is not None:
        raise EpisodeError(record.problem.reason, record.problem.message)
    file = record.files[0]
    uri = location.file_uri(file)
    copy = LocalCopy(location, file)
    digest = checked_digest(copy.path, file=uri)
    with open_hdf5(copy.path, file=uri) as handle:
        datasets = datasets_of(handle, file=uri)
        if _ACTION not in datasets:
            raise EpisodeError("missing_field", f"found no /action, only {sorted(datasets)[:20]}; file {uri}")
        attrs = attributes_of(handle, file=uri)
        rows = num_rows(datasets[_ACTION], name=_ACTION, file=uri)
        numeric = {path: item for path, item in datasets.items() if _is_numeric(path, item, rows)}
        fields = read_numbers(numeric, file=uri)
        cameras = [path.removeprefix(_IMAGES) for path in datasets if path.startswith(_IMAGES)]
        for key in cameras:
            check_pictures(datasets[_IMAGES + key], rows=rows, name=key, file=uri)
        others = {path for path in datasets if path not in fields and not path.startswith(_IMAGES)}
        folder = PurePosixPath(location.path(file)).parent.name
        text, task, notes = _words(attrs, datasets, folder=folder)
        rate_hz, odd = _rate(attrs)
        return RawEpisode(
            digest=digest,
            fields=fields,
            pictures={key: _pictures(copy, _IMAGES + key, uri) for key in cameras},
            rate_hz=rate_hz,
            task=task,
            instructions=(Instruction(text=text),),
            not_stored=dict.fromkeys(sorted(others - {_PADDING, "language_raw"}), rows),
            notes=(
                *notes,
                *odd,
                *(f"{name}: {value}"[:_LONG] for name, value in sorted(attrs.items()) if name not in _ATTRS),
            ),
            success=_flag(attrs, "success"),
            is_simulated=_flag(attrs, "sim", "simulated"),
        )


def _is_numeric(path: str, item: h5py.Dataset, rows: int) -> bool:
    return is_numeric(item, rows) and not path.startswith(_IMAGES) and path != _PADDING


def _rate(attrs: Mapping[str, Any]) -> tuple[float, tuple[str, ...]]:
    """The control rate, and a note where the file claims one that cannot be."""
    told = next((attrs[name] for name in ("rate_hz", "fps") if name in attrs), RATE_HZ)
    try:
        rate_hz = float(np.asarray(told).reshape(-1)[0])
    except (ValueError, TypeError, IndexError):
        rate_hz = 0.0
    if 0 < rate_hz <= _MAX_RATE_HZ:
        return rate_hz, ()
    return RATE_HZ, (f"the file claims a rate of {told!r:.40}, which cannot be: {RATE_HZ:g} Hz is taken",)


def _flag(attrs: Mapping[str, Any], *names: str) -> bool | None:
    for name in names:
        if name in attrs and np.asarray(attrs[name]).dtype.kind in "biuf":
            return bool(np.any(attrs[name]))
    return None


def _words(
    attrs: Mapping[str, Any], datasets: Mapping[str, h5py.Dataset], *, folder: str
) -> tuple[str, str, tuple[str, ...]]:
    """(instruction, task, notes): as the file says, or as its folder is called where it says nothing."""
    task = word_of(attrs.get("task"))
    told = word_of(attrs.get("language")) or word_of(datasets.get("language_raw")) or task
    if told is not None:
        return told, task or told, ()
    guess = " ".join(re.split(r"[_\-\s]+", folder)).strip() or "unknown"
    return guess, guess, (f"the file names no task: its folder's name {folder!r} is taken as the instruction",)


def _pictures(copy: LocalCopy, path: str, uri: str) -> Iterator[Pixels | bytes]:
    with open_hdf5(copy.path, file=uri) as handle:
        with whole(uri):
            dataset = handle[path]
        for row in rows_of(dataset, file=uri):
            yield _picture(row)


def _picture(row: Any) -> Pixels | bytes:
    """Raw pixels as they are, a padded buffer without its zeros; what is neither is refused by who stores it."""
    if isinstance(row, np.ndarray) and row.ndim >= 2:
        return row
    buffer = row if isinstance(row, bytes) else np.asarray(row).tobytes()
    return jpeg_or_pixels(buffer.rstrip(b"\0"))
