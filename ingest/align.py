"""Streams without a common clock become frames of one: every stream is resampled to the control clock.

The control clock is the binding's `clock`: a stream, a camera or a rate; else the stream of the default action space's
first action. Frames begin when every bound stream has begun. Between two samples a number is interpolated linearly, a
rotation along the shortest arc; a gripper, a finger, an integer or a picture is the newest one that is not younger than
the frame. `timestamp.<signal>` holds the time of the newest sample at or before the frame, from which its value is
made, with the next one where it lies between two. Where the samples
around a frame lie further apart than the binding's `max_gap_s`, or its picture is older, the episode is refused.
"""
# Legend: T frames, N samples of a stream, D its width.

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ingest.record import RawEpisode
from ingest.slerp import interpolate
from schema.embodiment import Embodiment, Rotation, SourceBinding
from schema.episode import Numbers
from schema.errors import EpisodeError
from schema.picture import Pixels

if TYPE_CHECKING:
    from ingest.standardize import Expression

Times = NDArray[np.float64]
Rule = Literal["linear", "previous"] | Rotation
"""How a column's value between two samples is found; a rotation's form means the shortest arc."""

_MAX_FRAMES = 10_000_000
_MAX_LATE = 0.1
"""The share of a stream's samples that may come late or twice; with more its stamps mean nothing."""
_QUATERNION = ("x", "y", "z", "w")
_HELD = {"gripper", "finger_position"}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stream:
    """A stream's samples whose time is later than that of every sample before."""

    path: str
    seconds_N: Times
    row_N: NDArray[np.intp]

    def at(self, seconds_T: Times) -> NDArray[np.intp]:
        """For each time the newest sample that is not younger; −1 where there is none."""
        return np.searchsorted(self.seconds_N, seconds_T, side="right") - 1


def rule_lines(embodiment: Embodiment, binding: SourceBinding) -> Iterator[str]:
    """How each signal of a log whose streams have clocks of their own comes to its frames, for people."""
    clock = f"a clock of {binding.clock:g} Hz" if isinstance(binding.clock, float) else binding.clock
    yield (
        f"frames follow {clock or 'the first action'}; where samples around a frame are more than "
        f"{binding.max_gap_s:g} s apart the episode is quarantined"
    )
    for name in binding.signals:
        signal = embodiment.signal(name)
        if signal.quantity in _HELD:
            yield f"{name}: the newest sample that is not younger than the frame"
        elif signal.rotation is not None:
            yield f"{name}: along the shortest arc between the samples around the frame ({signal.rotation})"
        else:
            yield f"{name}: linear between the samples around the frame; whole numbers as the newest sample has them"
    yield from (f"camera {name}: the newest picture that is not younger" for name in binding.cameras)


def align(
    raw: RawEpisode, *, fields: "Mapping[str, Expression]", embodiment: Embodiment, binding: SourceBinding
) -> RawEpisode:
    """The episode on its control clock; EpisodeError "clock_gap" where a stream has a hole, or never meets the others.

    `fields` are the binding's signals, parsed. What is not bound and does not last from the first frame to the last
    is named in `not_stored`.
    """
    missing = sorted({field.path for field in fields.values()} - raw.fields.keys())
    if missing:
        raise EpisodeError(
            "missing_field", f"{missing[0]!r} is bound, the log has {sorted(raw.fields)}: correct the binding"
        )
    bound_cameras = {*binding.cameras.values(), *binding.optional_cameras.values()} & raw.pictures.keys()
    notes = list(raw.notes)
    bound = {field.path for field in fields.values()} | bound_cameras
    needed = bound | {binding.clock}
    streams = {
        path: stream
        for path, seconds_N in raw.clocks.items()
        if (stream := _stream(path, seconds_N, notes, is_needed=path in needed)) is not None
    }
    rules = {path: _rules(raw, path, fields=fields, embodiment=embodiment) for path in raw.fields}
    clock, limit_s = _clock(streams, fields=fields, embodiment=embodiment, binding=binding), binding.max_gap_s
    between = sorted(path for path in bound & rules.keys() if not _only_holds(rules[path]))
    seconds_T = _control_times(streams, bound, clock=clock, ending=between, limit_s=limit_s, notes=notes)
    _check_deltas(seconds_T, streams, fields=fields, embodiment=embodiment)
    if isinstance(clock, str):
        _check_steps(clock, seconds_T, limit_s=limit_s)
    for path in between:
        _check_gaps(streams[path], seconds_T, limit_s=limit_s)
    for path in sorted(bound_cameras):
        _check_age(streams[path], seconds_T, limit_s=limit_s)
    numbers = {
        path: _resampled(values, streams[path], seconds_T, rules=rules[path])
        for path, values in raw.fields.items()
        if path in streams and (path in bound or _lasts(streams[path], seconds_T, limit_s=limit_s, rules=rules[path]))
    }
    left = {path: len(values) for path, values in raw.fields.items() if path not in numbers}
    notes += [f"{path!r} does not last from the first frame to the last, or has holes: not stored" for path in left]
    zero = seconds_T[0]
    for name, field in fields.items():
        stream = streams[field.path]
        numbers[f"timestamp.{name}"] = stream.seconds_N[stream.at(seconds_T)] - zero
    shown = {path: streams[path].row_N[streams[path].at(seconds_T)] for path in bound_cameras}
    return replace(
        raw,
        fields=numbers,
        pictures={
            key: _picked(pictures, shown[key]) if key in shown else pictures for key, pictures in raw.pictures.items()
        },
        clocks={},
        timestamp_T=seconds_T - zero,
        camera_timestamps={key: raw.clocks[key][rows] - zero for key, rows in shown.items()},
        not_stored={**raw.not_stored, **left},
        notes=(*notes, *_clock_notes(streams, bound)),
    )


def _stream(path: str, seconds_N: Times, notes: list[str], *, is_needed: bool) -> _Stream | None:
    """The stream, or None where its times mean nothing and nobody needs them."""
    earlier_N = np.concatenate([[-np.inf], np.maximum.accumulate(seconds_N)[:-1]])
    row_N = np.flatnonzero(seconds_N > earlier_N)
    late = len(seconds_N) - len(row_N)
    if late > _MAX_LATE * len(seconds_N):
        if not is_needed:
            return None
        raise EpisodeError(
            "bad_timestamps",
            f"{late} of {len(seconds_N)} samples of {path!r} are not later than one before them, "
            f"expected time to grow: mend the recorder's clock",
        )
    if late:
        notes.append(f"{late} of {len(seconds_N)} samples of {path!r} come late or twice and are left out")
    return _Stream(path=path, seconds_N=seconds_N[row_N], row_N=row_N)


def _rules(raw: RawEpisode, path: str, *, fields: "Mapping[str, Expression]", embodiment: Embodiment) -> list[Rule]:
    """The rule of each column: what a signal claims by its quantity, the others by their names and type."""
    values, names = raw.fields[path], raw.names.get(path, ())
    width = int(np.prod(values.shape[1:]))
    plain: Rule = "linear" if values.dtype.kind == "f" else "previous"
    rules: list[Rule] = ["quaternion_xyzw" if names == _QUATERNION else plain] * width
    for name, field in fields.items():
        signal = embodiment.signal(name)
        if field.path != path:
            continue
        rule: Rule = plain
        if signal.quantity in _HELD:
            rule = "previous"
        elif signal.rotation is not None:
            rule = "quaternion_xyzw" if names == _QUATERNION else signal.rotation
        for column in field.indices(width, names):
            rules[column] = rule
    return rules


def _control_times(
    streams: Mapping[str, _Stream],
    bound: set[str],
    *,
    clock: str | float,
    ending: Iterable[str],
    limit_s: float,
    notes: list[str],
) -> Times:
    """The time of each frame: the control clock's, from where every bound stream has begun.

    It ends with the first stream of `ending`; where that is more than `limit_s` too early, the stream has a gap.
    """
    ends = {path: float(streams[path].seconds_N[-1]) for path in ending}
    start = max(float(streams[path].seconds_N[0]) for path in bound)
    if isinstance(clock, str):
        every_T = streams[clock].seconds_N
    else:
        last = max(ends.values(), default=max(float(streams[path].seconds_N[-1]) for path in bound))
        if (last - start) * clock > _MAX_FRAMES:
            raise EpisodeError("clock_gap", f"{last - start:.0f} s at {clock:g} Hz are too many frames: cut the log")
        every_T = start + np.arange(max(0, int((last - start) * clock + 1e-6) + 1)) / clock
    path = min(ends, key=lambda item: ends[item], default=None)
    stop = np.inf if path is None else ends[path]
    if path is not None and len(every_T) and every_T[-1] - stop > limit_s:
        raise _gap_error(path, stop - start, float(every_T[-1] - stop), limit_s=limit_s)
    kept_T = every_T[(every_T >= start) & (every_T <= stop)]
    if len(kept_T) < 2:
        raise EpisodeError(
            "clock_gap",
            f"{len(kept_T)} of {len(every_T)} frames lie after {start:.3f} s, where the last stream begins, expected "
            f"2 or more: do the streams {sorted(bound)} share a time base?",
        )
    if len(kept_T) < len(every_T):
        notes.append(
            f"{int((every_T < start).sum())} frames before every stream had begun and "
            f"{int((every_T > stop).sum())} after one had ended are left out"
        )
    return kept_T


def _clock(
    streams: Mapping[str, _Stream],
    *,
    fields: "Mapping[str, Expression]",
    embodiment: Embodiment,
    binding: SourceBinding,
) -> str | float:
    """The stream that the frames follow, or their rate in Hz."""
    if binding.clock is None:
        actions = [name for name in embodiment.action_space().action if name in fields]
        return fields[(actions or sorted(fields))[0]].path
    if isinstance(binding.clock, str) and binding.clock not in streams:
        raise EpisodeError(
            "missing_field", f"the clock {binding.clock!r} is none of {sorted(streams)}: correct the binding"
        )
    return binding.clock


def _check_deltas(
    seconds_T: Times,
    streams: Mapping[str, _Stream],
    *,
    fields: "Mapping[str, Expression]",
    embodiment: Embodiment,
) -> None:
    for name, field in fields.items():
        if embodiment.signal(name).mode == "delta" and not np.isin(seconds_T, streams[field.path].seconds_N).all():
            raise EpisodeError(
                "delta_off_clock",
                f"{name} holds deltas from one frame to the next and {field.path!r} has another clock than the frames: "
                "make it the binding's clock",
            )


def _check_steps(clock: str, seconds_T: Times, *, limit_s: float) -> None:
    step_T = np.diff(seconds_T)
    if step_T.max() > limit_s:
        worst = int(np.argmax(step_T))
        raise _gap_error(clock, seconds_T[worst] - seconds_T[0], float(step_T[worst]), limit_s=limit_s)


def _check_gaps(stream: _Stream, seconds_T: Times, *, limit_s: float) -> None:
    between_T = _between(stream, seconds_T)
    if between_T.max() > limit_s:
        worst = int(np.argmax(between_T))
        start = stream.seconds_N[stream.at(seconds_T)[worst]]
        raise _gap_error(stream.path, start - seconds_T[0], float(between_T[worst]), limit_s=limit_s)


def _check_age(stream: _Stream, seconds_T: Times, *, limit_s: float) -> None:
    age_T = seconds_T - stream.seconds_N[stream.at(seconds_T)]
    if age_T.max() > limit_s:
        worst = int(np.argmax(age_T))
        raise _gap_error(
            stream.path, seconds_T[worst] - age_T[worst] - seconds_T[0], float(age_T[worst]), limit_s=limit_s
        )


def _gap_error(path: str, start: float, length: float, *, limit_s: float) -> EpisodeError:
    return EpisodeError(
        "clock_gap",
        f"{path!r} says nothing for {length:.3f} s from {start:.3f} s on, expected a sample at least every "
        f"{limit_s:g} s: cut the log there, or raise the binding's max_gap_s",
    )


def _between(stream: _Stream, seconds_T: Times) -> Times:
    """How far apart the two samples are that each frame lies between; 0 where it is a sample's own time."""
    at_T = stream.at(seconds_T)
    before_T = stream.seconds_N[at_T]
    after_T = stream.seconds_N[np.minimum(at_T + 1, len(stream.seconds_N) - 1)]
    return np.where(seconds_T > before_T, after_T - before_T, 0.0)


def _lasts(stream: _Stream, seconds_T: Times, *, limit_s: float, rules: list[Rule]) -> bool:
    """Whether an unbound stream has something to say of every frame."""
    if stream.seconds_N[0] > seconds_T[0]:
        return False
    if _only_holds(rules):
        return True
    return bool(stream.seconds_N[-1] >= seconds_T[-1] and _between(stream, seconds_T).max() <= limit_s)


def _only_holds(rules: list[Rule]) -> bool:
    """Whether every column keeps its value until the next sample, however long it is silent."""
    return all(rule == "previous" for rule in rules)


def _resampled(values: Numbers, stream: _Stream, seconds_T: Times, *, rules: list[Rule]) -> Numbers:
    """A stream at the frames' times; at a sample's own time exactly that sample."""
    at_T = stream.at(seconds_T)
    kept = values[stream.row_N]
    held = kept[at_T]
    if _only_holds(rules):
        return held
    next_T = np.minimum(at_T + 1, len(kept) - 1)
    span_T = stream.seconds_N[next_T] - stream.seconds_N[at_T]
    weight_T = np.where(span_T > 0, (seconds_T - stream.seconds_N[at_T]) / np.where(span_T > 0, span_T, 1), 0)
    is_between_T = weight_T > 0
    before_TD = kept[at_T].reshape(len(at_T), -1).astype(np.float64)
    after_TD = kept[next_T].reshape(len(at_T), -1).astype(np.float64)
    result_TD = before_TD.copy()
    for rule in sorted(set(rules)):
        columns = [column for column, other in enumerate(rules) if other == rule]
        before, after = before_TD[:, columns], after_TD[:, columns]
        if rule == "linear":
            result_TD[:, columns] = before + weight_T[:, None] * (after - before)
        elif rule != "previous":
            result_TD[:, columns] = interpolate(before, after, weight_T, form=rule)
    chosen_TD = np.where(is_between_T[:, None], result_TD, before_TD)
    return chosen_TD.astype(values.dtype.newbyteorder("=")).reshape(held.shape)


def _picked(pictures: Iterable[Pixels | bytes], row_T: NDArray[np.intp]) -> Iterator[Pixels | bytes]:
    """The pictures of those numbers, which never fall, one in memory at a time; ends early where the log does."""
    source = enumerate(pictures)
    number, picture = -1, None
    for wanted in row_T:
        while number < wanted:
            number, picture = next(source, (number, None))
            if picture is None:
                return
        assert picture is not None
        yield picture


def _clock_notes(streams: Mapping[str, _Stream], bound: set[str]) -> Iterator[str]:
    """Rate, jitter and largest gap of each bound clock; streams of one topic share it and are told of once."""
    told: set[bytes] = set()
    for path in sorted(bound):
        seconds_N = streams[path].seconds_N
        if (mark := seconds_N.tobytes()) in told:
            continue
        told.add(mark)
        step_N = np.diff(seconds_N)
        if not len(step_N):
            yield f"clock of {path!r}: 1 sample"
            continue
        middle = float(np.median(step_N))
        jitter = float(np.quantile(np.abs(step_N - middle), 0.95))
        yield (
            f"clock of {path!r}: {len(seconds_N)} samples at {1 / middle:.4g} Hz, jitter {jitter * 1e3:.3f} ms "
            f"(95 % of the steps are that near the median), largest gap {step_N.max() * 1e3:.1f} ms"
        )
