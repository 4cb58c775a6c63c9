"""Zarr replay buffers (diffusion policy, UMI): a folder or a .zarr.zip, Zarr format 2 or 3.

Every episode stands after the other in `data/*`, cut by `meta/episode_ends`. Arrays uint8 `[N, H, W, 3]` are cameras,
read chunk by chunk. Attributes of the group may say `task`, `instruction`, `robot_type`, `rate_hz`, `success`,
`simulated`, `license`; `meta/task` or `meta/instruction` may name one for each episode. A missing chunk is the fill
value to Zarr: of numbers it is noted, of pictures refused.
"""
# Legend: N frames of the buffer, E episodes, T frames.

import warnings
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from ingest.formats.zarr_files import EPISODE_ENDS, ArrayInfo, ZarrFiles
from ingest.location import Location
from ingest.record import STORED_PICTURE_BYTES, Discovery, Problem, RawEpisode, Record, SourceField
from schema.digest import Hasher
from schema.episode import Instruction, Numbers
from schema.errors import EpisodeError
from schema.picture import Pixels

NAME = "zarr_replay"
VERSION = 1

_ZARR = ".zarr/"
_MAX_EPISODES = 5_000_000
_MAX_WIDTH = 64
"""Numbers per frame; wider arrays (point clouds, depth) are counted as not stored."""
_MAX_FIELD_BYTES = 1 << 30
_BLOCK_BYTES = 1 << 22
"""About how much is read at once where chunks are small."""
_UNDERSTOOD = {
    "task",
    "instruction",
    "language_instruction",
    "robot",
    "robot_type",
    "rate_hz",
    "fps",
    "success",
    "simulated",
    "license",
}
_TEXTS = ("instruction", "language_instruction", "task")


def discover(location: Location) -> Discovery | None:
    """The episodes of every replay buffer at or below; None where there is none."""
    roots = {file[: -len(end)] for file in location.files for end in EPISODE_ENDS if f"/{file}".endswith(f"/{end}")}
    zips = {file for file in location.files if file.endswith(".zarr.zip")}
    if not roots | zips:
        return None
    records: list[Record] = []
    told: dict[str, Any] = {}
    sample: dict[str, ArrayInfo] = {}
    for root in sorted(roots | zips):
        try:
            files = ZarrFiles(location, root)
            arrays = _arrays(files)
            told, sample = told or files.attributes(), sample or arrays
            records += _records(files, arrays, root=root, first=len(records))
        except EpisodeError as error:
            file = root if root in zips else next(root + end for end in EPISODE_ENDS if root + end in location.files)
            problem = Problem(reason=error.reason, message=str(error))
            records.append(Record(index=len(records), files=(file,), problem=problem))
    usable = [info for info in sample.values() if info.problem() is None]
    robot = told.get("robot_type") or told.get("robot")
    return Discovery(
        format=NAME,
        name=location.name,
        robot=str(robot) if robot else None,
        rate_hz=_rate(told),
        records=tuple(records),
        fields=tuple(
            SourceField(path=_key(info), dtype=str(info.dtype), shape=info.shape[1:])
            for info in usable
            if _is_field(info)
        ),
        cameras=tuple(
            SourceField(path=_key(info), dtype="uint8", shape=info.shape[1:]) for info in usable if _is_camera(info)
        ),
        notes=tuple(_without_ends(location, roots)),
        licence=str(told["license"]) if told.get("license") else None,
    )


def _without_ends(location: Location, roots: Collection[str]) -> Iterator[str]:
    """The Zarr folders that are no replay buffers."""
    folders = {file[: file.index(_ZARR) + len(_ZARR)] for file in location.files if _ZARR in file}
    lost = sorted(folder for folder in folders if not any(root.startswith(folder) for root in roots))
    if lost:
        yield f"{len(lost)} Zarr folders have no meta/episode_ends and are not taken: {lost[0]} …"


def _arrays(files: ZarrFiles) -> dict[str, ArrayInfo]:
    """Every array of `data/`; EpisodeError where there is none."""
    arrays = {path: files.info(path) for path in files.arrays("data")}
    if not arrays:
        raise EpisodeError("missing_field", f"found no array in data/, expected data/* beside meta/*: {files.uri}")
    return arrays


def _records(files: ZarrFiles, arrays: dict[str, ArrayInfo], *, root: str, first: int) -> Iterator[Record]:
    ends_E = _episode_ends(files)
    texts = {name: _texts(files, name, count=len(ends_E)) for name in _TEXTS}
    cameras = sum(map(_is_camera, arrays.values()))
    start = 0
    for number, stop in enumerate(ends_E.tolist()):
        told = {name: words[number] for name, words in texts.items() if words}
        yield Record(
            index=first + number,
            files=(root,) if root.endswith(".zip") else tuple(_chunk_files(arrays, start, stop, root=root)),
            num_frames=stop - start,
            stored_bytes=(stop - start) * cameras * STORED_PICTURE_BYTES,
            meta={"root": root, "start": start, "stop": stop, "told": told},
        )
        start = stop


def _chunk_files(arrays: dict[str, ArrayInfo], start: int, stop: int, *, root: str) -> Iterator[str]:
    """The files that hold an array's first and last frames of an episode: a buffer that grows leaves them alone."""
    found = {
        root + info.chunk_file(row): None
        for info in arrays.values()
        if info.shape and info.problem() is None
        for row in (start, max(start, stop - 1))
    }
    yield from found or [f"{root}{EPISODE_ENDS[0]}"]


def _episode_ends(files: ZarrFiles) -> NDArray[np.int64]:
    info = files.info("meta/episode_ends")
    is_fit = len(info.shape) == 1 and info.dtype is not None and info.dtype.kind in "iu"
    if not is_fit or info.shape[0] > _MAX_EPISODES:
        raise EpisodeError(
            "unreadable_zarr",
            f"meta/episode_ends is {info.dtype} {info.shape}, expected integers [E], "
            f"at most {_MAX_EPISODES}: {files.uri}",
        )
    ends_E: NDArray[np.int64] = _read(files, info, range(info.shape[0])).astype(np.int64)
    if files.missing:
        raise EpisodeError("missing_data", f"found no {min(files.missing)!r}; fetch it: {files.uri}")
    if (np.diff(ends_E, prepend=0) <= 0).any():
        raise EpisodeError("unreadable_zarr", f"meta/episode_ends does not grow, expected ends after 0: {files.uri}")
    return ends_E


def _texts(files: ZarrFiles, name: str, *, count: int) -> list[str]:
    """The words of `meta/<name>` for each episode, or none."""
    path = f"meta/{name}"
    if path not in files.arrays("meta"):
        return []
    info = files.info(path)
    if info.shape != (count,) or info.dtype is None or info.dtype.kind not in "US" or info.problem():
        return []
    try:
        return [_word(word) for word in _read(files, info, range(count)).tolist()]
    except ValueError as error:
        raise EpisodeError("unreadable_zarr", f"{path!r} is no text ({error}); fetch again {files.uri}") from error


def _word(word: bytes | str) -> str:
    """The text; ValueError where it has no character of that number, which numpy lets pass."""
    return word.decode("utf-8", "replace") if isinstance(word, bytes) else word.encode().decode()


def read(location: Location, record: Record) -> RawEpisode:
    """One episode; EpisodeError where an array is too short, broken, or packed by a codec that is not there."""
    if record.problem is not None:
        raise EpisodeError(record.problem.reason, record.problem.message)
    files = ZarrFiles(location, str(record.meta["root"]))
    start, stop = int(record.meta["start"]), int(record.meta["stop"])
    rows = range(start, stop)
    arrays = _arrays(files)
    told = {**files.attributes(), **record.meta["told"]}
    fields = {_key(info): _field(files, info, rows) for info in arrays.values() if _is_field(info)}
    cameras = [info for info in arrays.values() if _is_camera(info)]
    absent = {_key(info): Problem(reason=found[0], message=found[1]) for info in cameras if (found := info.problem())}
    readable = [info for info in cameras if _key(info) not in absent]
    others = [info for info in arrays.values() if not _is_field(info) and not _is_camera(info)]
    notes = [f"attribute {name} = {told[name]!r:.200}" for name in sorted(told.keys() - _UNDERSTOOD)]
    notes += [f"chunk {name!r} is not there, which Zarr reads as the fill value" for name in sorted(files.missing)]
    text = next((str(told[name]).strip() for name in _TEXTS if told.get(name)), None)
    return RawEpisode(
        digest=_digest(files, fields, readable, rows=rows, said=_said(told, text)),
        fields=fields,
        pictures={_key(info): _pictures(files, info, rows) for info in readable},
        absent=absent,
        timestamp_T=_timestamps(fields),
        rate_hz=_rate(told),
        task=str(told.get("task") or text or "") or None,
        instructions=(Instruction(text=text),) if text else (),
        not_stored=dict.fromkeys([*map(_key, others), *_elsewhere(files, arrays)], stop - start),
        notes=tuple(notes),
        success=_flag(told.get("success")),
        is_simulated=_flag(told.get("simulated")),
    )


def _elsewhere(files: ZarrFiles, arrays: dict[str, ArrayInfo]) -> list[str]:
    """Arrays that stand neither in `data/` itself nor are understood of `meta/`."""
    known = {*arrays, "meta/episode_ends", *(f"meta/{name}" for name in _TEXTS)}
    return [path for path in files.arrays() if path not in known]


def _key(info: ArrayInfo) -> str:
    return info.path.removeprefix("data/")


def _is_camera(info: ArrayInfo) -> bool:
    return len(info.shape) == 4 and info.shape[3] == 3 and info.dtype == np.uint8


def _is_field(info: ArrayInfo) -> bool:
    is_number = info.dtype is not None and info.dtype.kind in "fiub"
    return is_number and 0 < len(info.shape) < 4 and 0 < int(np.prod(info.shape[1:], dtype=object)) <= _MAX_WIDTH


def _field(files: ZarrFiles, info: ArrayInfo, rows: range) -> Numbers:
    if info.shape[0] < rows.stop:
        raise EpisodeError(
            "length_mismatch", f"{info.path!r} has {info.shape[0]} frames, the episode ends at {rows.stop}: {files.uri}"
        )
    size_bytes = len(rows) * info.chunk_bytes // info.chunks[0]
    if size_bytes > _MAX_FIELD_BYTES:
        raise EpisodeError(
            "too_large",
            f"{size_bytes} bytes of {info.path!r} in one episode, expected {_MAX_FIELD_BYTES} at most: {files.uri}",
        )
    return np.concatenate(list(_blocks(files, info, rows)))


def _pictures(files: ZarrFiles, info: ArrayInfo, rows: range) -> Iterator[Pixels]:
    for block in _blocks(files, info, range(rows.start, min(rows.stop, info.shape[0]))):
        if gone := sorted(name for name in files.missing if name.startswith(f"{info.path}/")):
            raise EpisodeError("missing_data", f"found no chunk {gone[0]!r} of pictures; fetch it: {files.uri}")
        yield from block


def _blocks(files: ZarrFiles, info: ArrayInfo, rows: range) -> Iterator[Any]:
    """The rows, a chunk or a few small ones after the other."""
    start, step = rows.start, info.chunks[0] * max(1, _BLOCK_BYTES // max(1, info.chunk_bytes))
    while start < rows.stop:
        stop = min(rows.stop, (start // step + 1) * step)
        yield _read(files, info, range(start, stop))
        start = stop


def _read(files: ZarrFiles, info: ArrayInfo, rows: range) -> Any:
    if (found := info.problem()) is not None:
        raise EpisodeError(found[0], f"{found[1]}: {files.uri}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of data types that have no specification yet
            array = files.opened.get(info.path) or zarr.open_array(store=files, path=info.path, mode="r")
            files.opened[info.path] = array
            return np.asarray(array[rows.start : rows.stop])
    except EpisodeError:
        raise
    except Exception as error:  # whatever a library makes of broken bytes
        raise EpisodeError(
            "unreadable_zarr", f"{info.path!r} cannot be read ({error!r:.200}); fetch again {files.uri}"
        ) from error


def _said(told: dict[str, Any], text: str | None) -> list[Any]:
    """What the buffer says of an episode that becomes part of it."""
    return [_rate(told), told.get("task"), text, told.get("success"), told.get("simulated")]


def _digest(
    files: ZarrFiles, fields: dict[str, Numbers], cameras: list[ArrayInfo], *, rows: range, said: list[Any]
) -> str:
    """Over the episode's own numbers and pixels, wherever they lie, and what is said of them."""
    hasher = Hasher()
    hasher.update(repr(said).encode())
    for name, values in sorted(fields.items()):
        hasher.update(f"{name} {values.dtype} {values.shape}".encode())
        hasher.update(np.ascontiguousarray(values).tobytes())
    for info in cameras:
        hasher.update(f"{_key(info)} {info.shape[1:]}".encode())
        for picture in _pictures(files, info, rows):
            hasher.update(np.ascontiguousarray(picture).data)
    return hasher.hexdigest()


def _timestamps(fields: dict[str, Numbers]) -> NDArray[np.float64] | None:
    told = fields.get("timestamp")
    return None if told is None or told.dtype.kind != "f" else told.astype(np.float64).reshape(-1)


def _rate(told: dict[str, Any]) -> float | None:
    rate = told.get("rate_hz") or told.get("fps")
    return float(rate) if isinstance(rate, int | float) and 0 < rate <= 10_000 else None


def _flag(told: Any) -> bool | None:
    return bool(told) if isinstance(told, bool | int | float) else None
