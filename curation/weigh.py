"""What each component gets: its share, its quota of every block, its window, and the lanes of the whole.

From the catalogue's counts alone, so that a plan tells exactly what the lock will hold.
"""
# Legend: C components.

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.components import Candidate
from curation.mixture import bounded, quotas, weights
from curation.order import window_segments
from curation.recipe_model import Weighting
from curation.schedule import SEGMENT_FRAMES

WORKING_SET_BYTES = 2 * 2**30
"""What a reader of all lanes keeps at hand, in bytes of the tars."""
MANY_BYTES, MANY_LANES = 100 * 10**9, 64
"""From so many selected tar bytes on, the sequence is cut into so many lanes; below, into one."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Weighed:
    """The numbers of C components that the order is made of."""

    share_C: NDArray[np.float64]
    quota_C: NDArray[np.int64]
    window_C: NDArray[np.int64]
    lanes: int


def weigh(candidates: Sequence[Candidate], weighting: Weighting) -> Weighed:
    """Shares by weight between floor and cap, quotas by largest remainder, windows that fill the working set.

    Raises:
        ConfigError: a component would never be drawn, or nothing keeps to floor and cap.
    """
    frames_C = np.array([candidate.frames for candidate in candidates])
    bytes_C = np.array([candidate.tar_bytes for candidate in candidates])
    boosts = [candidate.boost * candidate.quality for candidate in candidates]
    share_C = weights(frames_C, boosts, weighting.alpha)
    if weighting.floor > 0 or weighting.cap < 1:
        share_C = bounded(share_C, floor=weighting.floor, cap=weighting.cap)
    quota_C = quotas(share_C, [candidate.name for candidate in candidates])
    lanes = MANY_LANES if bytes_C.sum() >= MANY_BYTES else 1
    segment_bytes = float((share_C * bytes_C / frames_C).sum()) * SEGMENT_FRAMES
    total = max(1, int(WORKING_SET_BYTES / (segment_bytes * lanes)))
    return Weighed(share_C=share_C, quota_C=quota_C, window_C=window_segments(quota_C, total), lanes=lanes)
