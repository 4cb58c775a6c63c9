"""Whether a quaternion has its w where the table says: norms of one first, then two signs of which number is w.

The turn from one frame to the next, read in each order, must go with another signal that tells the same turn (a
rotation action, an angular velocity). Without one, drivers that keep w ≥ 0 show it: where the quaternion jumps to its
negative, w alone goes down to zero and up again. A quaternion that gives neither sign stays unsure.
"""
# Legend: T frames, E episodes.

from collections.abc import Iterator, Sequence

import numpy as np

from ingest.conventions.finding import AGAINST, AGREES, UNDECIDED, Finding, counted
from ingest.conventions.sample import Floats, Sample, correlations
from schema.embodiment import Embodiment, Signal

NAME = "rotation_order"

_ORDERS = {"quaternion_xyzw": (0, 1, 2, 3), "quaternion_wxyz": (1, 2, 3, 0)}
"""Where x, y, z and w stand."""
_NORM_TOLERANCE = 0.05
_TURNED_RAD = 0.002
_SURE, _MARGIN = 0.6, 0.2
_LONGEST_LAG_S = 0.5
_MIN_FLIPS = 2
_NEAR_ZERO = 0.1
"""Where a quaternion jumps to its negative, the number that made it jump is as small as a frame's turn."""


def gather(sample: Sample) -> Iterator[tuple[str, Sequence[float]]]:
    """Per quaternion: worst norm, fit of its turns to another signal in both orders, and which place is kept ≥ 0."""
    for signal in (*sample.signals("state"), *sample.signals("action")):
        if signal.rotation in _ORDERS:
            values_T4 = sample.values(signal)
            norm = float(np.abs(np.linalg.norm(values_T4, axis=1) - 1).max())
            fits = [_fit(sample, signal, order) for order in _ORDERS]
            lone_w = [float(_kept_positive(values_T4, at[3])) for at in _ORDERS.values()]
            yield signal.name, (norm, *fits, *lone_w)


def judge(subject: str, measures_EK: Floats, embodiment: Embodiment) -> Finding:
    """Every episode's order against the table's."""
    claimed = str(embodiment.signal(subject).rotation)
    votes, other = [], next(order for order in _ORDERS if order != claimed)
    for norm, *rest in measures_EK.tolist():
        fits, lone_w = dict(zip(_ORDERS, rest[:2], strict=True)), dict(zip(_ORDERS, rest[2:], strict=True))
        votes.append(AGAINST if norm > _NORM_TOLERANCE else _vote(fits, lone_w, claimed=claimed, other=other))
    norm = float(measures_EK[:, 0].max())
    wrong = f"norms are off by up to {norm:.2g}, no unit quaternions" if norm > _NORM_TOLERANCE else f"it is {other}"
    return counted(
        votes,
        check=NAME,
        subject=subject,
        measured=norm,
        agrees=f"{claimed}: norms of one, turns and signs as they should be",
        contradicts=f"the table says {claimed}: {wrong}",
        unsure=f"norms of one, but nothing tells {claimed} from {other}",
    )


def _vote(fits: dict[str, float], lone_w: dict[str, float], *, claimed: str, other: str) -> int:
    """What goes with another signal counts first."""
    if max(fits.values()) >= _SURE and abs(fits[claimed] - fits[other]) >= _MARGIN:
        return AGREES if fits[claimed] > fits[other] else AGAINST
    if lone_w[claimed] != lone_w[other]:
        return AGREES if lone_w[claimed] else AGAINST
    return UNDECIDED


def _kept_positive(values_T4: Floats, place: int) -> bool:
    """Whether the quaternion jumps to its negative, and only to keep this number from going below zero."""
    before, after = values_T4[:-1], values_T4[1:]
    is_flip_T = (before * after).sum(axis=1) < 0
    if is_flip_T.sum() < _MIN_FLIPS or values_T4[:, place].min() < 0:
        return False
    return bool((np.maximum(before, after)[is_flip_T, place] < _NEAR_ZERO).all())


def _fit(sample: Sample, signal: Signal, order: str) -> float:
    """Best mean correlation, over signals of the same turn, lags and both frames (base, tool); 0 without any."""
    quaternion_T4 = sample.values(signal)[:, list(_ORDERS[order])]
    if not np.all(np.linalg.norm(quaternion_T4, axis=1) > 1 - _NORM_TOLERANCE):
        return 0.0
    turns = (_turns(quaternion_T4, in_base=True), _turns(quaternion_T4, in_base=False))
    longest = min(round(_LONGEST_LAG_S * sample.episode.embodiment.rate_hz), len(quaternion_T4) // 5)
    return max((_best(told, turn, longest) for told in _tellers(sample, signal) for turn in turns), default=0.0)


def _tellers(sample: Sample, signal: Signal) -> Iterator[Floats]:
    """Other signals of the same part that say per frame how the tool turns, `[T - 1, 3]`."""
    for other in (*sample.signals("state"), *sample.signals("action")):
        is_rate = other.mode == "delta" and other.rotation in {"euler_xyz", "rotation_vector"}
        if other.part == signal.part and (is_rate or other.quantity == "eef_angular_velocity") and other.width == 3:
            yield sample.values(other)[:-1]


def _turns(xyzw_T4: Floats, *, in_base: bool) -> Floats:
    """The turn from each frame to the next as a rotation vector `[T - 1, 3]`, in the base's axes or the tool's."""
    before, after = xyzw_T4[:-1], xyzw_T4[1:]
    inverse = before * np.array([-1.0, -1.0, -1.0, 1.0])
    turn_T4 = _product(after, inverse) if in_base else _product(inverse, after)
    turn_T4 = turn_T4 * np.where(turn_T4[:, 3:] < 0, -1.0, 1.0)
    vector: Floats = 2 * turn_T4[:, :3]
    return vector


def _product(one_T4: Floats, other_T4: Floats) -> Floats:
    x, y, z, w = one_T4.T
    a, b, c, d = other_T4.T
    vector = (w * a + x * d + y * c - z * b, w * b - x * c + y * d + z * a, w * c + x * b - y * a + z * d)
    return np.stack([*vector, w * d - x * a - y * b - z * c], axis=1)


def _best(told_T3: Floats, turn_T3: Floats, longest: int) -> float:
    moving = np.flatnonzero(np.ptp(turn_T3, axis=0) > _TURNED_RAD)
    if not moving.size:
        return 0.0
    told_TM, turn_TM = told_T3[:, moving], turn_T3[:, moving]
    lags = range(longest + 1)
    return max(float(correlations(told_TM[: len(told_TM) - lag], turn_TM[lag:]).mean()) for lag in lags)
