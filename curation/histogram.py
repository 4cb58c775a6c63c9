"""Quantiles from integer histograms: the same numbers however the values are split over machines.

The range between exact bounds is cut into 2**16 bins of one width. A bin that holds a sought quantile and more than
0.05 % of the values is an `Interval` that is cut again, into up to 2**16 stretches of the float64 numbers themselves:
after four cuts at most a stretch is one number. So an error is at most 0.05 % in rank, whatever the values are.
"""
# Legend: N values, D dimensions, K bins.

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 1 << 16
QUANTILES = ((1, 100), (99, 100))
"""The quantiles that are taken, as fractions."""
_COARSE = 2000
"""A bin with more than one in so many of the values is cut again."""
_BIN_BITS = 16
_MAGNITUDE = (1 << 63) - 1
_SIGNED, _DOUBLE = struct.Struct("<q"), struct.Struct("<d")


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """The numbers low … high, both among them; cut into stretches of so many neighbouring float64 numbers each."""

    low: float
    high: float

    @property
    def shift(self) -> int:
        """The binary logarithm of how many numbers share a stretch."""
        return max(0, (key_of(self.high) - key_of(self.low)).bit_length() - _BIN_BITS)

    def inside(self, value_N: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which values lie in it."""
        return (value_N >= self.low) & (value_N <= self.high)

    def bins(self, value_N: NDArray[np.float64]) -> NDArray[np.int64]:
        """The stretch of each value, all of which lie inside."""
        ahead_N = (_keys(value_N) - key_of(self.low)).view(np.uint64)  # a difference of 64 bits wraps to the right one
        return (ahead_N >> np.uint64(self.shift)).view(np.int64)

    def stretch(self, bin_index: int) -> "Interval":
        """One of its stretches."""
        first = key_of(self.low) + (bin_index << self.shift)
        last = min(first + (1 << self.shift) - 1, key_of(self.high))
        return Interval(low=number_of(first), high=number_of(last))

    def value(self, share: float) -> float:
        """The number at this share of the way from low to high."""
        return min(max(self.low + (self.high - self.low) * share, self.low), self.high)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Bins:
    """D ranges, each cut into 2**16 bins."""

    low_D: NDArray[np.float64]
    high_D: NDArray[np.float64]

    def of(self, value_N: NDArray[np.float64], dimension: int) -> NDArray[np.int64]:
        """The bin of each value of a dimension that is not always the same; the upper end belongs to the last one.

        What is larger is never in a lower bin, however it is rounded.
        """
        low, high = self.low_D[dimension], self.high_D[dimension]
        place_N = (value_N - low) / (high - low) * BINS
        bin_N: NDArray[np.int64] = np.minimum(place_N.astype(np.int64), BINS - 1)
        return bin_N

    def range(self, dimension: int) -> Interval:
        """From the smallest to the largest value of a dimension."""
        return Interval(low=float(self.low_D[dimension]), high=float(self.high_D[dimension]))

    def value(self, place: float, dimension: int) -> float:
        """The value that stands at a place (0 … 2**16) of a dimension's range."""
        return self.range(dimension).value(place / BINS)

    def interval(self, bin_index: int, dimension: int) -> Interval:
        """Exactly the numbers that `of` puts into a bin."""
        first, last = (self._first_key(one, dimension) for one in (bin_index, bin_index + 1))
        return Interval(low=number_of(first), high=number_of(last - 1))

    def _first_key(self, bin_index: int, dimension: int) -> int:
        """The key of the smallest number whose bin is this or a higher one; one beyond the largest where none is."""
        low, high = float(self.low_D[dimension]), float(self.high_D[dimension])
        first, beyond = key_of(low), key_of(high) + 1
        while first < beyond:
            middle = (first + beyond) // 2
            place = (number_of(middle) - low) / (high - low) * BINS  # as `of` has it, number by number
            if min(int(place), BINS - 1) >= bin_index:
                beyond = middle
            else:
                first = middle + 1
        return first


@dataclass(frozen=True, kw_only=True, slots=True)
class Sought:
    """Where a quantile is to be found: a bin, and the rank inside it."""

    bin_index: int
    rank: int
    """1 … `size`: which of the bin's values it is, from the smallest on."""
    size: int

    @property
    def share(self) -> float:
        """How far into the bin it lies, its values being spread evenly."""
        return (self.rank - 0.5) / self.size

    def is_coarse(self, total: int) -> bool:
        """Whether the bin holds so much of all values that it is cut again."""
        return self.size * _COARSE > total


def seek(count_K: NDArray[np.int64], rank: int) -> Sought:
    """The bin that holds the value of this rank (1 … all)."""
    total_K = np.cumsum(count_K)
    bin_index = int(np.searchsorted(total_K, rank))
    size = int(count_K[bin_index])
    return Sought(bin_index=bin_index, rank=rank - int(total_K[bin_index]) + size, size=size)


def rank_of(quantile: tuple[int, int], total: int) -> int:
    """The rank of a quantile among so many values: the smallest that has that share at or below it."""
    part, whole = quantile
    return max(1, -(-total * part // whole))


def key_of(number: float) -> int:
    """The place of a number in the row of all float64 numbers; neighbours have neighbouring keys, zero has 0."""
    return int(_keys(np.array([number], np.float64))[0])


def number_of(key: int) -> float:
    """The number with this key."""
    bits = (key - 1) ^ _MAGNITUDE if key < 0 else key
    return float(_DOUBLE.unpack(_SIGNED.pack(bits))[0])


def _keys(value_N: NDArray[np.float64]) -> NDArray[np.int64]:
    bits_N = (value_N + 0.0).view(np.int64)  # adding zero makes -0.0 zero
    return np.where(bits_N < 0, (bits_N ^ _MAGNITUDE) + 1, bits_N)
