"""Cameras whose picture stands still while the robot moves: frozen, or slower than the control rate.

Only frames between which the robot moves count: a fixed camera that looks at a robot at rest sees nothing change.
"""
# Legend: E episodes, T frames, S pairs of frames between which the robot moves.

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ingest.conventions.finding import AGAINST, AGREES, UNDECIDED, Finding, counted
from ingest.conventions.sample import Floats, Sample
from schema.embodiment import Embodiment

NAME = "camera_frozen"

_SAME = 1e-3
"""Mean change of a thumbnail in grey levels: less is the same picture once more."""
_MOVES = 0.1
"""A frame counts as moving from so much of the episode's fast motion (its 95th percentile) on."""
_STILL = 0.003
"""And never below so much, in rad per frame over all joints: noise of an arm at rest moves no picture."""
_MIN_MOVING = 10
_FROZEN, _LIVE = 0.9, 0.05
_LONG_RUN = 0.25
"""A still run of so much of the moving frames is a camera that froze on the way."""
_ONE_STOP = 0.25
"""Repeats of which so many are one run are a stop, and no camera that is slower than the control rate."""
_LATE = 0.5
"""An episode speaks for a camera only if the robot still moves after so much of it: it may freeze on the way."""
_BLACK_BELOW = 8.0


def gather(sample: Sample) -> Iterator[tuple[str, Sequence[float]]]:
    """Per camera that is not black: the share of moving frames that repeat a picture, their longest run, their end."""
    for camera, thumbs in sample.thumbnails.items():
        speed_T = sample.speed_before(camera)
        fast = float(np.quantile(speed_T, 0.95))
        moving_S = np.flatnonzero(speed_T > max(_MOVES * fast, _STILL))
        if float(thumbs.max()) >= _BLACK_BELOW and len(moving_S) >= _MIN_MOVING:
            same_S = _repeats(sample, camera)[moving_S]
            last = (float(moving_S[-1]) + 1) / len(speed_T)
            yield camera, (float(same_S.mean()), _longest_run(same_S) / len(same_S), last)


def judge(subject: str, measures_EK: Floats, embodiment: Embodiment) -> Finding:  # noqa: ARG001 - one rule for all
    """Frozen in most episodes is against the table; a camera that often repeats itself is odd."""
    votes = [_vote(share, run, last=last) for share, run, last in measures_EK.tolist()]
    share, run = (float(value) for value in np.median(measures_EK[:, :2], axis=0))
    is_slow = _LIVE < share < _FROZEN and run < min(_LONG_RUN, _ONE_STOP * share)
    repeats = f"repeats itself in {share:.0%} of the frames in which the robot moves"
    return counted(
        [AGAINST if vote == UNDECIDED and is_slow else vote for vote in votes],
        check=NAME,
        subject=subject,
        measured=share,
        agrees=f"changes as the robot moves ({share:.1%} repeats)",
        contradicts=f"{repeats}: its own rate is lower" if is_slow else f"frozen while the robot moves: {repeats}",
        unsure=repeats,
        severity="noticed" if is_slow else "contradicts",
    )


def _repeats(sample: Sample, camera: str) -> NDArray[np.bool_]:
    """Whether each picture is the one before once more `[T - 1]`, or the one before that.

    Videos with a key frame at every second picture show a frozen one in two ways by turns.
    """
    is_same_T = sample.motion(camera) < _SAME
    is_same_T[1:] |= sample.motion(camera, over=2) < _SAME
    return is_same_T


def _vote(share: float, run: float, *, last: float) -> int:
    if share >= _FROZEN or run >= _LONG_RUN:
        return AGAINST
    return AGREES if share <= _LIVE and last >= _LATE else UNDECIDED


def _longest_run(same_S: NDArray[np.bool_]) -> int:
    """The longest row of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same_S, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max()) if edges.size else 0
