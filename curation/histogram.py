"""Quantiles from integer histograms: the same numbers however the values are split over machines.

The range between exact bounds is cut into 2**16 bins. A bin that holds a sought quantile and more than 0.05 % of the
values is cut once more, so that an error is below 0.05 % in rank or 2**-32 of the range.
"""
# Legend: N values, D dimensions, K bins, Q quantiles.

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 1 << 16
QUANTILES = ((1, 100), (99, 100))
"""The quantiles that are taken, as fractions."""
_COARSE = 2000
"""A bin with more than one in so many of the values is cut again."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Bins:
    """D ranges, each cut into 2**16 bins."""

    low_D: NDArray[np.float64]
    high_D: NDArray[np.float64]

    def places(self, value_N: NDArray[np.float64], dimension: int) -> NDArray[np.float64]:
        """Where values of a dimension stand in its range, 0 … 2**16 at the ends; 0 in a range of no width."""
        low, high = float(self.low_D[dimension]), float(self.high_D[dimension])
        if high == low:
            return np.zeros_like(value_N)
        return (value_N - low) / (high - low) * BINS

    def value(self, place: float, dimension: int) -> float:
        """The value that stands at a place of a dimension's range."""
        low, high = float(self.low_D[dimension]), float(self.high_D[dimension])
        return min(max(low + (high - low) * (place / BINS), low), high)


def bin_of(place_N: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin in which each place lies; the upper end belongs to the last one."""
    return np.clip(place_N.astype(np.int64), 0, BINS - 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sought:
    """Where a quantile is to be found: a bin, and the rank inside it."""

    bin_index: int
    rank: int
    """1 … `size`: which of the bin's values it is, from the smallest on."""
    size: int
    is_coarse: bool
    """Whether the bin holds so much that it is cut again."""


def seek(count_K: NDArray[np.int64], rank: int) -> Sought:
    """The bin that holds the value of this rank (1 … all)."""
    total_K = np.cumsum(count_K)
    bin_index = int(np.searchsorted(total_K, rank))
    size = int(count_K[bin_index])
    return Sought(
        bin_index=bin_index,
        rank=rank - int(total_K[bin_index]) + size,
        size=size,
        is_coarse=size * _COARSE > int(total_K[-1]),
    )


def rank_of(quantile: tuple[int, int], total: int) -> int:
    """The rank of a quantile among so many values: the smallest that has that share at or below it."""
    part, whole = quantile
    return max(1, -(-total * part // whole))


def place_of(sought: Sought, fine_K: NDArray[np.int64] | None) -> float:
    """The place of a quantile, its bin's values being spread evenly, or counted once more in `fine_K`."""
    if fine_K is None:
        return sought.bin_index + (sought.rank - 0.5) / sought.size
    inner = seek(fine_K, sought.rank)
    return sought.bin_index + (inner.bin_index + (inner.rank - 0.5) / inner.size) / BINS
