"""A raw episode becomes an Episode: bound fields as named signals in stated units, pictures as they will be stored.

Whatever cannot be is an EpisodeError, whatever is odd a note; no stream of the log is left out in silence: what no
signal claims is an extra, or is named in `not_stored`. Pictures: `standard_pictures`; transforms: `transforms`.
"""
# Legend: T frames, D a signal's width.

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from ingest.align import align
from ingest.location import Location
from ingest.record import RawEpisode, Record, spelled
from ingest.source_rules import follow
from ingest.standard_pictures import See, see_nothing, store_cameras
from ingest.transforms import NEXT_STEP, TRANSFORMS, columns_for
from schema.embodiment import Embodiment, Signal, SourceBinding
from schema.episode import Episode, Numbers, Provenance
from schema.errors import ConfigError, EpisodeError
from schema.picture import ImageSettings

STANDARDIZE_VERSION = 1
"""Raised whenever the same raw episode would give another Episode; part of what `conversion` digests."""

_BOOKKEEPING = frozenset({"frame_index", "episode_index", "index", "task_index", "timestamp"})
_MAX_EXTRA = 64
"""Numbers per frame; a wider stream (an embedding, a point cloud) is named in `not_stored`."""
_FAR = 0.5
"""How many widths of a dimension's limits a value may lie outside before it is worth a note."""
_RATE_TOLERANCE = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Expression:
    """A binding's field, parsed: `path[start:stop] | transform | …`, or with the columns' names in the brackets."""

    path: str
    columns: slice
    transforms: tuple[str, ...]
    names: tuple[str, ...] = ()
    """The columns by name, in this order; none where they are given by number."""

    def indices(self, width: int, names: Sequence[str] = ()) -> list[int]:
        """Which of a stream's columns are meant, in order; EpisodeError where it has no such columns."""
        stop = width if self.columns.stop is None else self.columns.stop
        missing = [name for name in self.names if name not in names]
        if missing or stop > width:
            wanted = ",".join(self.names) or f"{self.columns.start}:{stop}"
            told = f", called {', '.join(names)}" if names else ""
            raise EpisodeError(
                "width_mismatch",
                f"columns [{wanted}] of {self.path!r} are bound, which has {width}{told}: correct the binding",
            )
        return [names.index(name) for name in self.names] or list(range(self.columns.start or 0, stop))


def parse_expression(text: str) -> Expression:
    """The parts of a field; ConfigError with the choices where it names an unknown transform."""
    field, *transforms = (part.strip() for part in text.split("|"))
    match = re.fullmatch(r"([^\[\]]+)(?:\[(?:(\d+):(\d+)|([^\[\]:]+))\])?", field)
    if match is None:
        raise ConfigError(
            f"cannot read the field {text!r}: expected `path[start:stop] | transform | …` or `path[name,…] | …`"
        )
    if unknown := [name for name in transforms if name not in TRANSFORMS]:
        raise ConfigError(f"field {text!r} names unknown transforms {unknown}: choose from {', '.join(TRANSFORMS)}")
    path, start, stop, names = match.groups()
    columns = slice(None) if start is None else slice(int(start), int(stop))
    return Expression(
        path=path, columns=columns, transforms=tuple(transforms), names=tuple(names.split(",")) if names else ()
    )


def standardize(
    raw: RawEpisode,
    *,
    embodiment: Embodiment,
    binding: SourceBinding,
    source: str,
    settings: ImageSettings,
    record: Record,
    location: Location,
    adapter: tuple[str, int],
    licence: str | None = None,
    see: See = see_nothing,
) -> Episode:
    """The episode in robomix's terms; EpisodeError with its reason where it cannot be one.

    `raw` is what `source_frames` gave; `adapter` is the format's name and version; `see` is shown each picture as it
    is stored. Takes the raw episode's pictures, so that it can be done once only.
    """
    expressions = _expressions(binding)
    signals = {name: _signal(raw, embodiment.signal(name), field) for name, field in expressions.items()}
    timestamp_T = _timestamps(raw, _length(signals), rate_hz=raw.rate_hz or embodiment.rate_hz)
    _check_finite(signals, embodiment)
    extras, not_stored = _unclaimed(raw, expressions, num_frames=len(timestamp_T))
    bound_cameras = {**binding.cameras, **binding.optional_cameras}
    cameras = store_cameras(
        raw, embodiment=embodiment, binding=binding, settings=settings, num_frames=len(timestamp_T), see=see
    )
    notes = [*raw.notes, *cameras.notes, *_range_notes(signals, embodiment), *_rate_notes(raw, timestamp_T)]
    notes += [
        f"{name} is no recorded command: the next state, {field.path!r}, stands in for it"
        for name, field in expressions.items()
        if NEXT_STEP in field.transforms
    ]
    if raw.task is None:
        notes.append("the log names no task: the source's name stands for it")
    return Episode(
        episode_id=raw.digest,
        source=source,
        embodiment=embodiment,
        task=spelled(raw.task or source),
        instructions=tuple(replace(instruction, text=spelled(instruction.text)) for instruction in raw.instructions),
        timestamp_T=timestamp_T,
        signals=signals,
        extras=extras,
        cameras=cameras.pictures,
        camera_timestamps={
            name: _shown_at(raw, bound_cameras[name], timestamp_T=timestamp_T) for name in cameras.pictures
        },
        absent_cameras=cameras.absent,
        not_stored={spelled(name): count for name, count in (not_stored | cameras.not_stored).items()},
        provenance=Provenance(
            raw_uri=location.file_uri(record.files[0]),
            record_index=record.index,
            byte_start=record.byte_start,
            byte_stop=record.byte_stop,
            adapter=adapter[0],
            adapter_version=adapter[1],
            notes=tuple(map(spelled, notes)),
        ),
        success=raw.success,
        scene=_spelled(raw.scene),
        operator=_spelled(raw.operator),
        recorded_at=raw.recorded_at,
        licence=_spelled(licence or binding.licence),
        is_simulated=raw.is_simulated,
    )


def _spelled(text: str | None) -> str | None:
    return None if text is None else spelled(text)


def source_frames(raw: RawEpisode, *, embodiment: Embodiment, binding: SourceBinding) -> RawEpisode:
    """The raw episode by its source's rules and on one clock: the frames that are stored, in the log's own terms.

    Takes no picture yet.
    """
    raw = follow(raw, binding)
    if raw.clocks:
        return align(raw, fields=_expressions(binding), embodiment=embodiment, binding=binding)
    return raw


def source_values(raw: RawEpisode, *, embodiment: Embodiment, binding: SourceBinding) -> dict[str, NDArray[np.float64]]:
    """Every bound signal without loss, to measure a stored one by: floats as they are, all else in double precision.

    `raw` is what `source_frames` gave.
    """
    expressions = _expressions(binding)
    wanted = {field.path for field in expressions.values()}
    wide = {
        path: values if values.dtype in {np.dtype(np.float32), np.dtype(np.float64)} else values.astype(np.float64)
        for path, values in raw.fields.items()
        if path in wanted
    }
    widened = replace(raw, fields=wide)
    return {
        name: _signal(widened, embodiment.signal(name), field).astype(np.float64, copy=False)
        for name, field in expressions.items()
    }


def _expressions(binding: SourceBinding) -> dict[str, Expression]:
    return {name: parse_expression(text) for name, text in binding.signals.items()}


def _signal(raw: RawEpisode, signal: Signal, field: Expression) -> Numbers:
    """One signal `[T, D]`, float32, or float64 where the log has that."""
    if field.path not in raw.fields:
        raise EpisodeError(
            "missing_field",
            f"{signal.name} is bound to {field.path!r}, the log has {sorted(raw.fields)}: correct the binding",
        )
    stored = raw.fields[field.path]
    values_TD = stored.reshape(len(stored), prod(stored.shape[1:]))
    width = values_TD.shape[1]
    try:
        columns = field.indices(width, raw.names.get(field.path, ()))
    except EpisodeError as error:
        raise EpisodeError(error.reason, f"{signal.name} has {signal.width} dimensions: {error}") from error
    if len(columns) != columns_for(signal.width, field.transforms):
        raise EpisodeError(
            "width_mismatch",
            f"{signal.name} has {signal.width} dimensions and is bound to {len(columns)} columns of {field.path!r}, "
            f"which has {width}: correct the binding",
        )
    dtype = stored.dtype if stored.dtype in {np.dtype(np.float32), np.dtype(np.float64)} else np.dtype(np.float32)
    chosen: Numbers = np.ascontiguousarray(values_TD[:, columns], dtype=dtype.newbyteorder("="))
    for name in field.transforms:
        chosen = TRANSFORMS[name][0](chosen)
    return chosen


def _length(signals: Mapping[str, Numbers]) -> int:
    """T, which all signals share."""
    lengths = {name: len(values) for name, values in signals.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in sorted(lengths.items()))
        raise EpisodeError("length_mismatch", f"streams differ in length: {told}; expected as many frames in each")
    num_frames = next(iter(lengths.values()), 0)
    if num_frames < 2:
        raise EpisodeError("too_short", f"found {num_frames} frames, expected 2 or more")
    return num_frames


def _timestamps(raw: RawEpisode, num_frames: int, *, rate_hz: float) -> NDArray[np.float64]:
    """Seconds from the first frame, by the log's clock or by the nominal rate."""
    if raw.timestamp_T is None:
        return np.arange(num_frames, dtype=np.float64) / rate_hz
    if len(raw.timestamp_T) != num_frames:
        raise EpisodeError("length_mismatch", f"found {len(raw.timestamp_T)} timestamps for {num_frames} frames")
    is_step = np.diff(raw.timestamp_T) > 0
    if not is_step.all():
        frame = int(np.argmin(is_step))
        before, after = raw.timestamp_T[frame : frame + 2]
        raise EpisodeError(
            "bad_timestamps",
            f"time goes from {before} s at frame {frame} to {after} s at the next, expected it to grow",
        )
    seconds_T: NDArray[np.float64] = raw.timestamp_T - raw.timestamp_T[0]
    return seconds_T


def _shown_at(raw: RawEpisode, key: str, *, timestamp_T: NDArray[np.float64]) -> NDArray[np.float64]:
    """When a camera's pictures were taken, in seconds from the first frame; its frames' own times by default."""
    if key not in raw.camera_timestamps:
        return timestamp_T
    return raw.camera_timestamps[key] - (0.0 if raw.timestamp_T is None else raw.timestamp_T[0])


def _check_finite(signals: Mapping[str, Numbers], embodiment: Embodiment) -> None:
    for name, values_TD in signals.items():
        is_finite_TD = np.isfinite(values_TD)
        if not is_finite_TD.all():
            frame, index = (int(i) for i in np.argwhere(~is_finite_TD)[0])
            count = int((~is_finite_TD).any(axis=1).sum())
            raise EpisodeError(
                "not_finite",
                f"{name}.{embodiment.signal(name).dims[index]} is {values_TD[frame, index]} at frame {frame} "
                f"({count} of {len(values_TD)} frames have such values), expected finite numbers",
            )


def _unclaimed(
    raw: RawEpisode, expressions: Mapping[str, Expression], *, num_frames: int
) -> tuple[dict[str, Numbers], dict[str, int]]:
    """Streams of which no signal, or not every column, is claimed: extras, and counts of what is not stored."""
    extras: dict[str, Numbers] = {}
    not_stored = dict(raw.not_stored)
    for path, values in raw.fields.items():
        width = prod(values.shape[1:])
        if path in _BOOKKEEPING or _claimed(raw, path, expressions) == set(range(width)):
            continue
        if width <= _MAX_EXTRA and len(values) == num_frames:
            extras[path] = values
        else:
            not_stored[path] = len(values)
    return extras, not_stored


def _claimed(raw: RawEpisode, path: str, expressions: Mapping[str, Expression]) -> set[int]:
    width, names = prod(raw.fields[path].shape[1:]), raw.names.get(path, ())
    fields = [field for field in expressions.values() if field.path == path]
    return {column for field in fields for column in field.indices(width, names)}


def _range_notes(signals: Mapping[str, Numbers], embodiment: Embodiment) -> Iterator[str]:
    for name, values_TD in signals.items():
        signal = embodiment.signal(name)
        for index, (low, high) in enumerate(signal.limits or ()):
            margin = _FAR * (high - low)
            values_T = values_TD[:, index].astype(np.float64)
            outside = (values_T < low - margin) | (values_T > high + margin)
            if outside.any():
                yield (
                    f"{name}.{signal.dims[index]} runs from {values_T.min():.4g} to {values_T.max():.4g} "
                    f"{signal.units[index]}, far outside [{low:g}, {high:g}] in {int(outside.sum())} frames"
                )


def _rate_notes(raw: RawEpisode, timestamp_T: NDArray[np.float64]) -> Iterator[str]:
    measured = (len(timestamp_T) - 1) / timestamp_T[-1]
    if raw.rate_hz and abs(measured / raw.rate_hz - 1) > _RATE_TOLERANCE:
        yield f"the log claims {raw.rate_hz:g} Hz, its timestamps run at {measured:.4g} Hz"
