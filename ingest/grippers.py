"""Named transforms of grippers and of commands on a controller's own scale. Canonical: 0 = open, 1 = closed."""
# Legend: T frames, D a signal's width.

from collections.abc import Callable

import numpy as np

from ingest.doubles import Doubles, in_float64
from schema.episode import Numbers

_HOLD = 0.1
"""A relative command within ± this is none."""
_OPEN, _CLOSED = 0.95, 0.05
"""Beyond these an opening is settled."""


@in_float64
def hold_gripper(values_TD: Doubles) -> Doubles:
    """0 = open, 1 = closed from commands −1 = open, 0 = hold, 1 = close.

    Before the first command the gripper is as that command did not find it; with none at all it is open.
    """
    commands_TD = np.where(np.abs(values_TD) <= _HOLD, np.nan, values_TD > 0)
    first_D = [next((c for c in column if np.isfinite(c)), 1.0) for column in commands_TD.T]
    return _carried(np.concatenate([[1 - np.array(first_D)], commands_TD]))[1:]


@in_float64
def binarize_gripper(values_TD: Doubles) -> Doubles:
    """0 or 1; between 0.05 and 0.95 a gripper is on its way and has the value that it comes to.

    Frames that come to none have the last frame's own value.
    """
    settled_TD = np.select([values_TD > _OPEN, values_TD < _CLOSED], [1.0, 0.0], np.nan)
    return _carried(np.concatenate([settled_TD, values_TD[-1:]])[::-1])[::-1][:-1]


def _carried(values_TD: Doubles) -> Doubles:
    """Each NaN is replaced by the last number before it; the first row has none."""
    rows_T1 = np.arange(len(values_TD))[:, None]
    last_TD = np.maximum.accumulate(np.where(np.isnan(values_TD), 0, rows_T1), axis=0)
    return np.take_along_axis(values_TD, last_TD, axis=0)


def previous_step(values_TD: Numbers) -> Numbers:
    """The value of the frame before; the first frame keeps its own."""
    return np.concatenate([values_TD[:1], values_TD[:-1]])


def next_step(values_TD: Numbers) -> Numbers:
    """The value of the frame after; the last frame keeps its own."""
    return np.concatenate([values_TD[1:], values_TD[-1:]])


@in_float64
def percent(values_TD: Doubles) -> Doubles:
    """X / 100."""
    return values_TD / 100


@in_float64
def finger_40mm(values_TD: Doubles) -> Doubles:
    """1 − x / 0.04 m, not held to [0, 1]: what a finger does beyond its stops stays to be seen."""
    return 1 - values_TD / 0.04


@in_float64
def signed_to_unit(values_TD: Doubles) -> Doubles:
    """(x + 1) / 2."""
    return (values_TD + 1) / 2


def closing(fully_open_m: float) -> Callable[[Numbers], Numbers]:
    """1 − x / `fully_open_m`, held to [0, 1]: an opening in metres as a fraction closed."""
    return in_float64(lambda values_TD: np.clip(1 - values_TD / fully_open_m, 0, 1))


def times(factor: float) -> Callable[[Numbers], Numbers]:
    """X times `factor`."""
    return in_float64(lambda values_TD: values_TD * factor)
