"""Whether 0 is open and 1 is closed, by two signs that cannot both be turned round.

The command must go with what was measured, not against it. And where it stays at one end while the fingers stop short
of it, a thing is between them: that end is the closed one, whatever both are called.
"""
# Legend: E episodes, T frames.

from collections.abc import Iterator, Sequence

import numpy as np

from ingest.conventions.finding import AGAINST, AGREES, UNDECIDED, Finding, counted
from ingest.conventions.sample import Floats, Sample, correlation
from schema.embodiment import Embodiment, Signal

NAME = "gripper_sign"

COMMAND, GRASP = "gripper command", "gripper grasp"
_MOVED = 0.1
"""Command and measurement must each have moved by so much of the range."""
_LONGEST_LAG_S = 0.5
_SURE = 0.5
_SETTLED_S = 0.3
_STALLED, _REACHED = 0.15, 0.08
"""Measured so far short of the command: a thing is held. Within the second: the fingers got there."""


def gather(sample: Sample) -> Iterator[tuple[str, Sequence[float]]]:
    """Per gripper: the signed correlation; and how far the fingers stop short at the table's closed and open ends."""
    rate_hz = sample.episode.embodiment.rate_hz
    for command in sample.signals("action"):
        if command.quantity != "gripper" or command.mode != "absolute":
            continue
        state = next((s for s in sample.signals("state") if _measures(s, command)), None)
        if state is None:
            yield f"{command.part} {COMMAND}", (0.0,)
            continue
        command_T, state_T = sample.values(command)[:, 0], sample.values(state)[:, 0]
        yield f"{command.part} {COMMAND}", (_signed(command_T, state_T, round(_LONGEST_LAG_S * rate_hz)),)
        settled = round(_SETTLED_S * rate_hz)
        short = (_short_of(end, command_T, state_T, settled=settled) for end in (1.0, 0.0))
        yield f"{command.part} {GRASP}", tuple(short)


def judge(subject: str, measures_EK: Floats, embodiment: Embodiment) -> Finding:  # noqa: ARG001 - grippers have one rule
    """Every episode's sign."""
    return _judge_grasp(subject, measures_EK) if subject.endswith(GRASP) else _judge_command(subject, measures_EK)


def _judge_command(subject: str, measures_EK: Floats) -> Finding:
    signs = [sign for sign in measures_EK[:, 0].tolist() if abs(sign) >= _SURE]
    sign = float(np.median(signs)) if signs else None
    told = f"the command goes {{}} what is measured (correlation {sign or 0:.2f})"
    return counted(
        [UNDECIDED if abs(sign) < _SURE else AGREES if sign > 0 else AGAINST for sign in measures_EK[:, 0].tolist()],
        check=NAME,
        subject=subject,
        measured=sign,
        agrees=told.format("with"),
        contradicts=f"{told.format('against')}: one of the two is turned round",
        unsure="too little moves, or nothing measures the gripper",
    )


def _judge_grasp(subject: str, measures_EK: Floats) -> Finding:
    votes = [_vote_grasp(closed, opened) for closed, opened in measures_EK.tolist()]
    short_EK = measures_EK[np.array(votes) != UNDECIDED]
    closed, opened = np.median(short_EK, axis=0).tolist() if len(short_EK) else (0.0, 0.0)
    told = "told to stay at {}, the fingers stop {:.2f} short of it, as on a thing; at {} {:.2f}"
    return counted(
        votes,
        check=NAME,
        subject=subject,
        measured=closed - opened if len(short_EK) else None,
        agrees=told.format(1, closed, 0, opened),
        contradicts=f"the table says 1 = closed; {told.format(0, opened, 1, closed)}",
        unsure="nothing is seen to be held at either end",
    )


def _measures(state: Signal, command: Signal) -> bool:
    return (state.part, state.quantity, state.width) == (command.part, "gripper", command.width)


def _signed(command_T: Floats, state_T: Floats, longest: int) -> float:
    """The correlation at the lag where it is strongest; 0 where either hardly moves."""
    if np.ptp(command_T) < _MOVED or np.ptp(state_T) < _MOVED:
        return 0.0
    lags = range(min(longest, len(command_T) // 3) + 1)
    return max((correlation(command_T[: len(command_T) - lag], state_T[lag:]) for lag in lags), key=abs)


def _short_of(end: float, command_T: Floats, state_T: Floats, *, settled: int) -> float:
    """How far the measurement stays from this end of the range while the command is there; NaN where it never is.

    Fingers that are still on their way, less than `settled` frames after the command came, do not count.
    """
    at_end_T = np.abs(command_T - end) < _REACHED
    still_T = np.abs(np.diff(state_T, prepend=state_T[:1])) < 0.02
    since_T = np.zeros(len(command_T), dtype=np.int64)
    for frame in range(1, len(command_T)):
        since_T[frame] = since_T[frame - 1] + 1 if at_end_T[frame] else 0
    chosen_T = at_end_T & still_T & (since_T >= max(1, settled))
    return float(np.abs(state_T - end)[chosen_T].max()) if chosen_T.any() else float("nan")


def _vote_grasp(short_of_closed: float, short_of_open: float) -> int:
    if short_of_open >= _STALLED and short_of_closed <= _REACHED:
        return AGAINST
    return AGREES if short_of_closed >= _STALLED and short_of_open <= _REACHED else UNDECIDED
