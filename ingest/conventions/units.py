"""Whether values have the size that their unit allows: degrees, encoder ticks, millimetres and percent do not.

Medians are compared, so that a glitch proves nothing. Values that are too small prove nothing either: a robot may
hardly move.
"""
# Legend: E episodes, T frames, D a signal's width.

from collections.abc import Iterator, Sequence

import numpy as np

from ingest.conventions.finding import AGAINST, AGREES, UNDECIDED, Finding, counted
from ingest.conventions.sample import Floats, Sample
from schema.embodiment import Embodiment, Signal

NAME = "units"

_ROOM = {"joint_position": 2 * np.pi, "eef_rotation": np.pi, "eef_position": 5.0, "gripper": 1.0}
"""How large a value may be by its quantity (rad, rad, m, 1) where the table states no limits."""
_NEAR, _FAR = 1.2, 2.0
"""All within the first factor of the room agrees; the middle value beyond the second is in another unit."""
_OFTEN_AT_REST = {"gripper", "eef_rotation"}
"""Fingers stay open and tools point down most of the time: their 90th percentile is compared, not the middle."""
_MOST_DEGREES = 400.0


def gather(sample: Sample) -> Iterator[tuple[str, Sequence[float]]]:
    """Per signal of a quantity with a known room: middle and largest value as shares of it, and what they look like."""
    for signal in (*sample.signals("state"), *sample.signals("action")):
        if signal.quantity in _ROOM and signal.mode == "absolute":
            size_TD = np.abs(sample.values(signal))
            room_D = _room(signal)
            middle = float((np.median(size_TD, axis=0) / room_D).max())
            highest = float((np.quantile(size_TD, 0.9, axis=0) / room_D).max())
            largest = float((size_TD.max(axis=0) / room_D).max())
            is_whole = bool((size_TD == np.round(size_TD)).all()) and float(size_TD.max()) > 1
            usual = highest if signal.quantity in _OFTEN_AT_REST else middle
            yield signal.name, (usual, largest, float(size_TD.max()), float(is_whole))


def judge(subject: str, measures_EK: Floats, embodiment: Embodiment) -> Finding:
    """Every episode's sizes against the room."""
    signal = embodiment.signal(subject)
    votes = [_vote(usual, largest) for usual, largest, _, _ in measures_EK.tolist()]
    top = float(measures_EK[:, 2].max())
    return counted(
        votes,
        check=NAME,
        subject=subject,
        measured=top,
        agrees=f"no value above {top:.4g}, as {signal.unit} should be",
        contradicts=f"the table says {signal.unit}, values reach {top:.4g}: "
        f"{_guess(signal, top=top, is_whole=bool(measures_EK[:, 3].all()))}",
        unsure=f"values reach {top:.4g}, somewhat large for {signal.unit}",
    )


def _room(signal: Signal) -> Floats:
    """The largest value that each dimension may have."""
    limits = signal.limits or ((-_ROOM[signal.quantity], _ROOM[signal.quantity]),) * signal.width
    return np.array([max(abs(low), abs(high), 1.0) for low, high in limits])


def _vote(usual: float, largest: float) -> int:
    return AGAINST if usual > _FAR else AGREES if largest <= _NEAR else UNDECIDED


def _guess(signal: Signal, *, top: float, is_whole: bool) -> str:
    if signal.quantity == "gripper":
        return "percent, counts or a motor's own angle, perhaps"
    if signal.units[0] == "m":
        return "millimetres, perhaps"
    if is_whole or top > _MOST_DEGREES:
        return "encoder ticks, perhaps"
    return "degrees, perhaps (`| degrees_to_radians` in the binding)"
