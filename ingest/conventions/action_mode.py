"""Whether actions are absolute, deltas or velocities, as the table says, by what the state does after them."""
# Legend: E episodes, K measures.

from collections.abc import Iterator, Sequence

import numpy as np

from ingest.conventions.finding import AGAINST, AGREES, UNDECIDED, Finding, counted
from ingest.conventions.reach import Reach, compare, reached_by
from ingest.conventions.sample import Floats, Sample
from schema.embodiment import Embodiment, Mode

NAME = "action_mode"

_SURE, _MARGIN = 0.7, 0.2
"""How well an action must go with what it is said to be, and by how much better than with anything else."""
_RIVAL_MARGIN = 0.3
_FACTOR = 2.0
"""A spread ratio within this factor of 1 (delta) or of the rate (velocity) tells which of the two it is."""


def gather(sample: Sample) -> Iterator[tuple[str, Sequence[float]]]:
    """Per action signal with a state of its own: how the two go together, and the seconds per frame."""
    step_s = float(np.median(np.diff(sample.episode.timestamp_T)))
    for action in sample.signals("action"):
        state = reached_by(sample.episode.embodiment, action)
        if state is not None and state.name in sample.episode.signals:
            yield action.name, (*compare(sample, action, state), step_s)


def judge(subject: str, measures_EK: Floats, embodiment: Embodiment) -> Finding:
    """Every episode's reading against the table's mode."""
    claimed = embodiment.signal(subject).mode
    readings = [_reading(Reach(*row[:-1]), step_s=row[-1], claimed=claimed) for row in measures_EK.tolist()]
    votes = [UNDECIDED if read is None else AGREES if read == claimed else AGAINST for read in readings]
    others = sorted({read for read in readings if read not in {None, claimed}})
    told = [Reach(*row[:-1]) for row, read in zip(measures_EK.tolist(), readings, strict=True) if read is not None]
    lag = float(np.median([reach.lag for reach in told])) if told else None
    fits = {way: np.mean([getattr(reach, way) for reach in told] or [0]) for way in ("as_state", "as_change")}
    seen = f"correlation {fits['as_state']:.2f} with the state, {fits['as_change']:.2f} with its change per frame"
    return counted(
        votes,
        check=NAME,
        subject=subject,
        measured=lag,
        agrees=f"{claimed}, reached about {lag or 0:g} frames later: {seen}",
        contradicts=f"the table says {claimed}, the log looks {' or '.join(map(str, others))}: {seen}",
        unsure=f"cannot tell whether it is {claimed}",
    )


def _reading(reach: Reach, *, step_s: float, claimed: Mode) -> str | None:
    """What one episode's action looks like; None where it cannot be told."""
    own, other = reach.as_state, max(reach.as_change, reach.state_as_change)
    if own >= _SURE and own - other >= (_MARGIN if claimed == "absolute" else _RIVAL_MARGIN):
        return "absolute"
    if claimed == "absolute" and reach.state_as_change >= _SURE and reach.state_as_change - own >= _RIVAL_MARGIN:
        return "a position whose state is a velocity"
    if reach.as_change < _SURE or reach.as_change - own < (_RIVAL_MARGIN if claimed == "absolute" else _MARGIN):
        return None
    return _delta_or_velocity(reach.change_scale, rate_hz=1 / step_s, claimed=claimed)


def _delta_or_velocity(scale: float, *, rate_hz: float, claimed: Mode) -> str | None:
    """Which of the two the spread ratio fits; a rate near 1 Hz, or another unit, leaves it open."""
    is_delta = 1 / _FACTOR <= scale <= _FACTOR
    is_velocity = rate_hz / _FACTOR <= scale <= rate_hz * _FACTOR
    if is_delta != is_velocity:
        return "delta" if is_delta else "velocity"
    return "a change of the state" if claimed == "absolute" else None
