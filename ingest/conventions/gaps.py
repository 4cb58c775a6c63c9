"""Whether frames are missing: steps of the log's clock that are too long, and steps of the robot that are.

A log whose timestamps were made up after frames were lost shows it in the motion only: one step of the state about as
long as two, between two usual ones. Odd, and against nothing that a table claims.
"""
# Legend: E episodes, T frames, D dimensions of the state.

from collections.abc import Iterator, Sequence

import numpy as np

from ingest.conventions.finding import AGAINST, AGREES, UNDECIDED, Finding, counted
from ingest.conventions.sample import Floats, Sample
from schema.embodiment import Embodiment

NAME = "gaps"

CLOCK, MOTION = "clock", "motion"
_LONG = 1.5
"""A step of the clock of so many median steps has lost a frame."""
_JUMP = 1.6
"""A step of the state so many times as long as the longer of its neighbours is a jump."""
_MOVES = 0.1
"""Steps count between neighbours of at least so much of the episode's fast ones (their 95th percentile)."""
_MIN_STEPS = 30
_SOME = {CLOCK: 0.005, MOTION: 0.01}
"""So large a share of missing frames is worth telling. Clean logs jump in up to half a percent of their steps."""


def gather(sample: Sample) -> Iterator[tuple[str, Sequence[float]]]:
    """The share of frames lost, by the clock with its longest step in seconds, by the state with its longest jump."""
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


def judge(subject: str, measures_EK: Floats, embodiment: Embodiment) -> Finding:  # noqa: ARG001 - one rule for all
    """Every episode's share of lost frames."""
    lost, longest = float(measures_EK[:, 0].mean()), float(measures_EK[:, 1].max())
    if subject == CLOCK:
        told = f"{lost:.1%} of the frames are missing by the log's clock; its longest step is {longest:.3g} s"
    else:
        told = f"{lost:.1%} of the state's steps are jumps; the longest is {longest:.3g} times its neighbours"
    return counted(
        [_vote(share, some=_SOME[subject]) for share in measures_EK[:, 0].tolist()],
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
