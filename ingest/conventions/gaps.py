"""Whether frames are missing: steps of the log's clock that are too long, and steps of the robot that are.

A log whose timestamps were made up after frames were lost shows it in the motion only: one step of the state about as
long as two, between two usual ones; or far longer than the delta or velocity that was asked for, which also tells of
it where a frame is long and no two steps are alike. Odd, and against nothing that a table claims.
"""
# Legend: E episodes, T frames, D dimensions of the state, M frames in which something is asked for.

from collections.abc import Iterator, Sequence

import numpy as np

from ingest.conventions.finding import AGAINST, AGREES, UNDECIDED, Finding, counted
from ingest.conventions.reach import compare, reached_by
from ingest.conventions.sample import Floats, Sample, steps
from schema.embodiment import Embodiment, Signal

NAME = "gaps"

CLOCK, MOTION = "clock", "motion"
_LONG = 1.5
"""A step of the clock of so many median steps has lost a frame."""
_JUMP = 1.6
"""A step of the state so many times as long as the longer of its neighbours, or as it usually is for what was asked,
is a jump."""
_MOVES = 0.1
"""Steps count between neighbours of at least so much of the episode's fast ones (their 95th percentile)."""
_MIN_STEPS = 30
_FOLLOWS, _SPREADS = 0.5, 8.0
"""How well the state must follow a delta or velocity to be measured by it (correlation), and by how many median
deviations a jump is out of the usual."""
_SOME = {CLOCK: 0.005, MOTION: 0.01}
_SOME_ASKED = 0.025
"""So large a share of missing frames is worth telling. Clean logs jump in up to half a percent of their steps, and in
up to 1.2 percent against what was asked."""
_EXPECTED = 3.0
"""An episode without a jump speaks for none only if it is so long that it should have had so many."""


def gather(sample: Sample) -> Iterator[tuple[str, Sequence[float]]]:
    """The share of frames lost, by the clock with its longest step in seconds, by the state with its longest jump.

    By what was asked: how many steps are jumps, of how many, and the longest.
    """
    step_T = np.diff(sample.episode.timestamp_T)
    middle = float(np.median(step_T))
    lost = np.round(step_T[step_T > _LONG * middle] / middle - 1).sum()
    yield CLOCK, (float(lost / (lost + len(step_T))), float(step_T.max()))
    speed_T = np.linalg.norm(sample.moves(), axis=1) / step_T
    around_T, inner_T = np.stack([speed_T[:-2], speed_T[2:]]), speed_T[1:-1]
    is_moving_T = around_T.min(axis=0) > max(_MOVES * float(np.quantile(speed_T, 0.95)), 1e-9) if len(inner_T) else []
    jump_T = inner_T[is_moving_T] / around_T.max(axis=0)[is_moving_T]
    if len(jump_T) >= _MIN_STEPS:
        yield MOTION, (float((jump_T > _JUMP).mean()), float(jump_T.max()))
    for action in sample.signals("action"):
        state = reached_by(sample.episode.embodiment, action)
        is_change = action.mode != "absolute" and action.rotation is None
        if is_change and state is not None and state.name in sample.episode.signals:
            yield from _asked(sample, action, state)


def judge(subject: str, measures_EK: Floats, embodiment: Embodiment) -> Finding:  # noqa: ARG001 - one rule for all
    """Every episode's share of lost frames; jumps against what was asked are counted over all of them."""
    lost, longest = float(measures_EK[:, 0].mean()), float(measures_EK[:, -1].max())
    if subject == CLOCK:
        told = f"{lost:.1%} of the frames are missing by the log's clock; its longest step is {longest:.3g} s"
    elif subject == MOTION:
        told = f"{lost:.1%} of the state's steps are jumps; the longest is {longest:.3g} times its neighbours"
    else:
        lost = float(measures_EK[:, 0].sum() / measures_EK[:, 1].sum())
        told = f"{lost:.1%} of the state's steps are jumps; the longest is {longest:.3g} times what is usual for it"
    return counted(
        _votes_asked(measures_EK, share=lost)
        if subject not in _SOME
        else [_vote(share, some=_SOME[subject]) for share in measures_EK[:, 0].tolist()],
        check=NAME,
        subject=subject,
        measured=lost,
        agrees=told,
        contradicts=told,
        unsure=told,
        severity="noticed",
    )


def _vote(share: float, *, some: float) -> int:
    return AGAINST if share >= some else AGREES if share <= some / 2 else UNDECIDED


def _asked(sample: Sample, action: Signal, state: Signal) -> Iterator[tuple[str, Sequence[float]]]:
    """How many of the state's steps are far longer than what was asked usually makes them, where it follows."""
    reach = compare(sample, action, state)
    if reach.as_change < max(_FOLLOWS, reach.as_state):
        return
    lag, step_T = int(reach.lag), np.diff(sample.episode.timestamp_T)
    done_TD = (steps(sample.values(state), state) / step_T[:, None])[lag:]
    asked_TD = sample.values(action)[: len(done_TD)]
    size_T = (asked_TD**2).sum(axis=1)
    is_asked_T = size_T > _MOVES**2 * float(np.quantile(size_T, 0.95))
    ratio_M = (asked_TD * done_TD).sum(axis=1)[is_asked_T] / size_T[is_asked_T]
    usual = float(np.median(ratio_M))
    spread = float(np.median(np.abs(ratio_M - usual)))
    if usual > 0:
        is_jump_M = ratio_M > max(_JUMP * usual, usual + _SPREADS * spread)
        yield action.name, (float(is_jump_M.sum()), float(len(ratio_M)), float(ratio_M.max() / usual))


def _votes_asked(measures_EK: Floats, *, share: float) -> list[int]:
    if share <= _SOME_ASKED / 2:
        return [AGREES] * len(measures_EK)
    if share < _SOME_ASKED:
        return [UNDECIDED] * len(measures_EK)
    return [
        AGAINST if jumps else AGREES if count * share >= _EXPECTED else UNDECIDED
        for jumps, count, _ in measures_EK.tolist()
    ]
