"""Whether left is left: each arm's command against both arms' motion, and each wrist camera's picture against both.

Speeds are compared, so that the kind of action does not matter. Where both commands and states were swapped, only the
wrist cameras can tell; that it is the cameras that were swapped is then as likely, and the message says so.
"""
# Legend: E episodes, T frames.

from collections.abc import Iterator, Sequence

import numpy as np

from ingest.conventions.finding import AGAINST, AGREES, UNDECIDED, Finding, counted
from ingest.conventions.sample import Floats, Sample, correlation, steps
from schema.embodiment import Embodiment

NAME = "arms"

COMMANDS, CAMERAS = "commands", "wrist cameras"
_MARGIN = 0.25
"""How much better than with the other arm, as a mean correlation of the two sides."""
_MOVES = 0.2
"""An arm counts as moving from so much of the faster one's speed on."""
_OTHER = {"left": "right", "right": "left"}
_SMOOTH_S = 0.2
_LONGEST_LAG_S = 0.3


def gather(sample: Sample) -> Iterator[tuple[str, Sequence[float]]]:
    """For two arms: how well each one's speed goes with its own side's commands and pictures, and with the other's."""
    speeds = {part: sample.speed(part) for part in ("left", "right")}
    table = sample.episode.embodiment
    has_two_arms = {"left", "right"} <= {s.part for s in table.signals if s.quantity.startswith(("joint_", "eef_"))}
    if not has_two_arms:
        return
    commands = {part: _commanded(sample, part) for part in speeds}
    if all(map(np.any, commands.values())):
        yield COMMANDS, _matched(sample, commands, speeds)
    if all(f"{part}_wrist" in sample.thumbnails for part in speeds):
        yield CAMERAS, _matched(sample, {part: sample.motion(f"{part}_wrist") for part in speeds}, speeds)


def judge(subject: str, measures_EK: Floats, embodiment: Embodiment) -> Finding:  # noqa: ARG001 - sides have one rule
    """Own side against other side, episode by episode."""
    votes = [_vote(own, other) for own, other in measures_EK.tolist()]
    told = measures_EK[np.array(votes) != UNDECIDED]
    own, other = told.mean(axis=0) if len(told) else (0.0, 0.0)
    what = "arms or wrist cameras" if subject == CAMERAS else "commands or states"
    return counted(
        votes,
        check=NAME,
        subject=subject,
        measured=float(own - other) if len(told) else None,
        agrees=f"each arm moves with its own side (correlation {own:.2f}, with the other {other:.2f})",
        contradicts=f"left and right of {what} are swapped: each arm moves with the other side's "
        f"(correlation {other:.2f}, with its own {own:.2f})",
        unsure="the arms move too much alike to tell them apart",
    )


def _commanded(sample: Sample, part: str) -> Floats:
    """How fast a side's joints or tool are told to move, `[T - 1]`."""
    total_T = np.zeros(sample.episode.num_frames - 1)
    for signal in sample.signals("action"):
        if signal.part == part and signal.quantity.startswith(("joint_", "eef_")):
            values_TD = sample.values(signal)
            change_TD = steps(values_TD, signal) if signal.mode == "absolute" else values_TD[:-1]
            total_T += np.abs(change_TD).sum(axis=1)
    return total_T


def _matched(sample: Sample, told: dict[str, Floats], speeds: dict[str, Floats]) -> tuple[float, float]:
    """Mean correlation over the arms that move, with their own and with the other side's, each at its best lag."""
    rate_hz = sample.episode.embodiment.rate_hz
    window, longest = max(1, round(_SMOOTH_S * rate_hz)), round(_LONGEST_LAG_S * rate_hz)
    smooth = {part: (_smooth(told[part], window), _smooth(speeds[part], window)) for part in speeds}
    fastest = max(np.ptp(speed_T) for speed_T in speeds.values())
    moving = [part for part in speeds if np.ptp(speeds[part]) > _MOVES * fastest]
    own = [_best(smooth[part][0], smooth[part][1], longest) for part in moving]
    other = [_best(smooth[_OTHER[part]][0], smooth[part][1], longest) for part in moving]
    return (float(np.mean(own)), float(np.mean(other))) if moving else (0.0, 0.0)


def _best(told_T: Floats, moved_T: Floats, longest: int) -> float:
    count = min(len(told_T), len(moved_T))
    lags = range(min(longest, count // 4) + 1)
    return max(correlation(told_T[: count - lag], moved_T[lag:count]) for lag in lags)


def _smooth(values_T: Floats, window: int) -> Floats:
    smoothed_T: Floats = np.convolve(values_T, np.ones(window) / window, mode="same")
    return smoothed_T


def _vote(own: float, other: float) -> int:
    if abs(own - other) < _MARGIN:
        return UNDECIDED
    return AGREES if own > other else AGAINST
