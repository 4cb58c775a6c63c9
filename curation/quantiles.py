"""Quantiles of every dimension, at most 0.05 % off in rank: from the bins of the whole range, then by closer looks.

Where a bin holds too much, its values are counted once more in stretches of it, until these hold little enough or are
one number. Most dimensions need no closer look, a value that stands still for long needs one or two.
"""
# Legend: G groups, D dimensions, N values, Q quantiles, I intervals that are looked into.

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.histogram import QUANTILES, Bins, Interval, Sought, rank_of, seek
from curation.shard_work import Pieces, Tally, Work, ask_all, count
from curation.signals import Group, Values
from schema.lake import Lake

_Name = tuple[int, int, int]
"""Group, dimension, quantile."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Counted:
    """What is known of a group's D dimensions before closer looks."""

    bins: Bins
    total_D: NDArray[np.int64]
    count_DK: dict[int, NDArray[np.int64]]
    """How often each bin is met, by dimension; nothing of a dimension that is always the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Look:
    """An interval that holds a quantile, and which of its values that is."""

    interval: Interval
    sought: Sought


def quantiles(lake: Lake, groups: Sequence[Group], counted: Sequence[Counted], *, work: Work) -> list[Values]:
    """`[Q, D]` of each group."""
    found = [np.empty((len(QUANTILES), len(one.total_D))) for one in counted]
    looks = dict[_Name, _Look]()
    for g, one in enumerate(counted):
        found[g][:] = one.bins.low_D
        for d, count_K in one.count_DK.items():
            for q, quantile in enumerate(QUANTILES):
                sought = seek(count_K, rank_of(quantile, int(one.total_D[d])))
                if sought.is_coarse(int(one.total_D[d])):
                    looks[g, d, q] = _Look(interval=one.bins.interval(sought.bin_index, d), sought=sought)
                else:
                    found[g][q, d] = one.bins.value(sought.bin_index + sought.share, d)
    while looks:
        looks = _look_closer(lake, groups, looks, found=found, total=[one.total_D for one in counted], work=work)
    return found


def _look_closer(
    lake: Lake,
    groups: Sequence[Group],
    looks: dict[_Name, _Look],
    *,
    found: list[Values],
    total: list[NDArray[np.int64]],
    work: Work,
) -> dict[_Name, _Look]:
    """Look into these intervals; `found` takes the quantiles that are sharp enough then, the others are given back."""
    places = sorted({g for g, _, _ in looks})
    wanted = [tuple(dict.fromkeys((d, look.interval) for (g, d, _), look in looks.items() if g == at)) for at in places]
    answers, tally = ask_all(lake, [groups[g] for g in places], _Inside(wanted=tuple(wanted)), work=work)
    left = dict[_Name, _Look]()
    for (g, d, q), look in looks.items():
        here = places.index(g)
        i = wanted[here].index((d, look.interval))
        edge_R2I = np.stack(answers[here])
        low, high = edge_R2I[:, 0, i].min() + 0.0, edge_R2I[:, 1, i].max() + 0.0
        if low == high:
            found[g][q, d] = low
            continue
        sought = seek(tally[here, i], look.sought.rank)
        stretch = look.interval.stretch(sought.bin_index)
        if stretch.low == stretch.high or not sought.is_coarse(int(total[g][d])):
            found[g][q, d] = stretch.value(sought.share)
        else:
            left[g, d, q] = _Look(interval=stretch, sought=sought)
    return left


@dataclass(frozen=True, kw_only=True, slots=True)
class _Inside:
    """[least, largest] of the values in each interval, `[2, I]`, and into the tally how often each stretch is met."""

    wanted: tuple[tuple[tuple[int, Interval], ...], ...]
    """By group: a dimension, and an interval of it."""

    def __call__(self, group: int, pieces: Pieces, tally: Tally) -> Values:
        wanted = self.wanted[group]
        edge_2I = np.full((2, len(wanted)), np.inf)
        edge_2I[1] = -np.inf
        for where, value_ND, weight_N in pieces:
            for i, (d, interval) in enumerate(wanted):
                if not where.start <= d < where.stop:
                    continue
                value_N = value_ND[:, d - where.start]
                is_inside_N = interval.inside(value_N)
                if is_inside_N.any():
                    inner_N = value_N[is_inside_N]
                    edge_2I[:, i] = min(edge_2I[0, i], inner_N.min()), max(edge_2I[1, i], inner_N.max())
                    count(tally, (group, i), interval.bins(inner_N), weight_N=weight_N[is_inside_N])
        return edge_2I
