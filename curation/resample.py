"""Chunks at a rate of their own: how the actions of a 50 Hz robot become steps of a 20 Hz chunk.

Step h of a chunk that starts at frame s stands at p = s + h·q source frames, q = source rate / chunk rate, and lasts
until p + q. An absolute dimension is interpolated linearly at p; a gripper keeps the last command at or before p; a
velocity is the mean and a delta the sum of what was commanded from p to p + q. A step counts as recorded where
p + max(1, q) ≤ stop: it and all the frames that it takes in lie before the end. At the source's own rate nothing is
touched.
"""
# Legend: H steps of a chunk, K source frames that a chunk spans, D action dimensions.

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from schema.embodiment import Dimension
from schema.errors import ConfigError

_SMALLEST = 1000
"""Rates are taken as fractions with a denominator up to this, so that steps meet frames exactly where they should."""


def ratio(source_hz: float, chunk_hz: float | None) -> Fraction:
    """q, source frames per step of a chunk; 1 where chunks have the source's own rate (None)."""
    if chunk_hz is None:
        return Fraction(1)
    return Fraction(source_hz).limit_denominator(_SMALLEST) / Fraction(chunk_hz).limit_denominator(_SMALLEST)


def frames_for(steps: int, q: Fraction) -> int:
    """How many frames from a chunk's start on have to be recorded so that its first `steps` steps are."""
    return ceil((steps - 1) * q + max(Fraction(1), q))


def recorded_steps(frames: int, q: Fraction) -> int:
    """How many steps of a chunk are recorded where so many frames are, from its start on; the inverse of the above."""
    return max(0, floor((frames - max(Fraction(1), q)) / q) + 1)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Resample:
    """How K source frames become H steps, for D dimensions of several kinds."""

    q: Fraction
    weight_GHK: NDArray[np.float64]
    """What each step takes of each source frame, by kind of dimension (G kinds)."""
    kind_D: NDArray[np.intp]

    def __call__(self, action_KD: NDArray[np.floating], steps: int) -> NDArray[np.float64]:
        """The first `steps` steps `[steps, D]` of a chunk whose recorded source frames are these."""
        out_HD = np.empty((steps, action_KD.shape[1]))
        span = min(len(action_KD), self.weight_GHK.shape[2])
        for kind, weight_HK in enumerate(self.weight_GHK):
            mine = np.flatnonzero(self.kind_D == kind)
            if mine.size:
                out_HD[:, mine] = weight_HK[:steps, :span] @ action_KD[:span, mine]
        return out_HD


def resample(action: Sequence[Dimension], q: Fraction, *, steps: int) -> Resample | None:
    """The rule for these dimensions; None where the chunk has the source's own rate.

    Raises:
        ConfigError: a rotation that is not told well by weighing its numbers.
    """
    if q == 1:
        return None
    turned = [one.name for one in action if not _can(one)]
    if turned:
        raise ConfigError(
            f"a rotation between two is not told by weighing their numbers, found {', '.join(turned)}: take `rate_hz` "
            "out of `chunk`, or choose an action space without an absolute eef_rotation"
        )
    span = ceil((steps - 1) * q + max(Fraction(1), q)) + 1
    weight_GHK = np.zeros((len(_KINDS), steps, span))
    for h in range(steps):
        place = h * q
        before = floor(place)
        weight_GHK[_HELD, h, before] = 1
        weight_GHK[_LINEAR, h, before] = float(1 - (place - before))
        weight_GHK[_LINEAR, h, before + 1] = float(place - before)
        for frame in range(before, ceil(place + q)):
            inside = min(place + q, Fraction(frame + 1)) - max(place, Fraction(frame))
            weight_GHK[_SUM, h, frame] = float(inside)
            weight_GHK[_MEAN, h, frame] = float(inside / q)
    return Resample(q=q, weight_GHK=weight_GHK, kind_D=np.array([_kind(one) for one in action], np.intp))


_KINDS = _LINEAR, _HELD, _SUM, _MEAN = range(4)


def _kind(dimension: Dimension) -> int:
    if dimension.is_gripper:
        return _HELD
    return {"absolute": _LINEAR, "delta": _SUM, "velocity": _MEAN}[dimension.signal.mode]


def _can(dimension: Dimension) -> bool:
    """Small turns add up as numbers (to first order) where they are three; absolute ones and others do not."""
    signal = dimension.signal
    return signal.rotation is None or (
        signal.mode != "absolute" and signal.rotation in {"euler_xyz", "rotation_vector"}
    )
