"""Traces by name: panels of dimensions that share part, quantity, frame, mode and unit, so that each axis has one unit.

State and action of one dimension stand in one panel, since their difference is what people look for; streams that no
signal claims have panels of their own, without a unit.
"""
# Legend: T frames, D dimensions, P drawn points.

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dashboards.queries.episode import Recorded
from schema.embodiment import Signal
from schema.frames import numbers

Values = NDArray[np.float32]
MAX_POINTS = 4000
"""Per trace; a longer one is drawn by the least and largest value of every few frames."""
_MAX_EXTRA_DIMS = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One dimension's recorded values."""

    name: str
    """Such as `action.joint_position.elbow`."""
    dim: str
    role: str
    """state, action or extra."""
    value_T: Values


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """Lines that share an axis."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    bounds: tuple[float, float] | None = None
    """The axis, where the quantity fixes it."""


def panels(recorded: Recorded) -> list[Panel]:
    """Every numeric trace of an episode, in the order of its robot's table; extras last."""
    table = recorded.embodiment
    has_two_arms = {"left", "right"} <= {signal.part for signal in table.signals}
    groups: dict[tuple[str, ...], list[Line]] = {}
    titles: dict[tuple[str, ...], tuple[str, Signal]] = {}
    for signal in table.signals:
        value_TD = _numbers(recorded, signal.name)
        if value_TD is None:
            continue
        for index, (dim, unit) in enumerate(zip(signal.dims, signal.units, strict=True)):
            role = signal.name.partition(".")[0]
            line = Line(name=f"{signal.name}.{dim}", dim=dim, role=role, value_T=value_TD[:, index])
            key = _free(groups, (signal.part, signal.quantity, signal.frame, signal.mode, unit), line)
            groups.setdefault(key, []).append(line)
            titles.setdefault(key, (_title(signal, has_two_arms=has_two_arms), signal))
    return [
        Panel(
            title=titles[key][0],
            unit="0 open, 1 closed" if titles[key][1].quantity == "gripper" else key[4],
            lines=tuple(lines),
            bounds=(-0.06, 1.06) if titles[key][1].quantity == "gripper" else None,
        )
        for key, lines in groups.items()
    ] + _extras(recorded)


def thin(value_TD: Values, limit: int = MAX_POINTS) -> tuple[NDArray[np.int32], Values]:
    """Frames `[P]` and values `[P, D]` that draw like all T: at most `limit` points, each bin's extremes kept."""
    steps = len(value_TD)
    if steps <= limit:
        return np.arange(steps, dtype=np.int32), value_TD
    size = -(-steps // (limit // 2))
    starts = np.arange(0, steps, size)
    extremes = np.stack([np.minimum.reduceat(value_TD, starts), np.maximum.reduceat(value_TD, starts)], axis=1)
    frame_P = np.stack([starts, np.minimum(starts + size // 2, steps - 1)], axis=1).reshape(-1)
    return frame_P.astype(np.int32), extremes.reshape(-1, value_TD.shape[1])


def _free(groups: dict[tuple[str, ...], list[Line]], kind: tuple[str, ...], line: Line) -> tuple[str, ...]:
    """The first panel of this kind where the line's dimension and role are not taken by another signal."""
    number = 0
    while any((one.dim, one.role) == (line.dim, line.role) for one in groups.get((*kind, str(number)), [])):
        number += 1
    return (*kind, str(number))


def _title(signal: Signal, *, has_two_arms: bool) -> str:
    words = signal.quantity.replace("eef", "end effector").replace("_", " ")
    part = f"{signal.part} " if has_two_arms and signal.part in {"left", "right"} else ""
    mode = "" if signal.mode == "absolute" or signal.quantity.endswith("velocity") else f", {signal.mode}"
    frame = "" if signal.frame in {"joint", "fraction"} else f" in {signal.frame} frame"
    rotation = f", {signal.rotation.replace('_', ' ')}" if signal.rotation else ""
    text = f"{part}{words}{frame}{mode}{rotation}"
    return text[0].upper() + text[1:]


def _extras(recorded: Recorded) -> list[Panel]:
    found = []
    for name in recorded.frames.schema.names:
        value_TD = _numbers(recorded, name) if name.startswith("extra.") else None
        if value_TD is None or not 0 < value_TD.shape[1] <= _MAX_EXTRA_DIMS:
            continue
        short = name.removeprefix("extra.")
        dims = [short.rsplit(".", 1)[-1]] if value_TD.shape[1] == 1 else [str(i) for i in range(value_TD.shape[1])]
        lines = (
            Line(name=f"{name}.{dim}", dim=dim, role="extra", value_T=value_TD[:, i]) for i, dim in enumerate(dims)
        )
        found.append(Panel(title=short, unit="unit not stated", lines=tuple(lines)))
    return found


def _numbers(recorded: Recorded, name: str) -> Values | None:
    """A column as float32 `[T, D]`; None where the episode lacks it or it holds no numbers."""
    values = numbers(recorded.frames[name]) if name in recorded.frames.schema.names else None
    if values is None or values.dtype.kind not in "fiub":
        return None
    return values.reshape(len(values), -1).astype(np.float32) if len(values) else None
