"""What normalization needs to know of states and actions: exact, deterministic, and never from pictures.

Taken over the frames that are trained on: states over frames, actions over all valid (chunk start, step) pairs; masked
steps do not count. Sums are taken per run in float64 and added in the lock's order, counts are integers, so any split
of the work over threads or machines gives the same bits.

Rules: a gripper is passed as it is (mean 0, std 1). A dimension that hardly moves (std, or the range of the middle
98 %, at most 1e-5 in its unit) keeps its mean and gets std 1. Every other dimension is told as measured.
"""
# Legend: D dimensions (state first, then action), R runs of a group, K bins, N values, Q quantiles.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.histogram import BINS, QUANTILES, Bins, Sought, bin_of, place_of, rank_of, seek
from curation.shard_work import Pieces, Tally, Work, ask_all
from curation.signals import Group, Values
from schema.embodiment import Dimension
from schema.lake import Lake
from schema.layout import LayoutName, slots

STATS = pa.schema(
    [
        ("key", pa.string()),  # Component.stats_key
        ("role", pa.string()),  # state, action
        ("dimension", pa.string()),  # <signal>.<dim>
        ("slot", pa.int32()),  # in the padded vector
        ("unit", pa.string()),
        ("count", pa.int64()),
        ("mean", pa.float64()),
        ("std", pa.float64()),  # of the population
        ("min", pa.float64()),
        ("max", pa.float64()),
        ("q01", pa.float64()),
        ("q99", pa.float64()),
        ("rule", pa.string()),  # measured, gripper, constant
    ]
)
"""Columns of stats.parquet, without nulls; rows by key, then role (state first), then in the action space's order."""

STILL = 1e-5
"""In a dimension's unit: a hundredth of a millimetre, or two seconds of arc; what moves no more is constant."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Summary:
    """What was measured of a group's D dimensions."""

    count_D: NDArray[np.int64]
    mean_D: Values
    std_D: Values
    min_D: Values
    max_D: Values
    quantile_QD: Values
    """The 1 % and the 99 % quantile."""


def statistics(
    lake: Lake, groups: Sequence[Group], *, layout: LayoutName, width: int, work: Work | None = None
) -> pa.Table:
    """One row per group and dimension, in the columns of `STATS`.

    Raises:
        SchemaError: a shard is gone, holds something else than the catalogue says, or numbers that are not finite.
    """
    ordered = sorted(groups, key=lambda group: group.key)
    rows = []
    for group, summary in zip(ordered, summarize(lake, ordered, work or Work()), strict=True):
        for role, dimensions, first in (("state", group.state, 0), ("action", group.action, len(group.state))):
            places = slots(dimensions, layout, width=width).places
            for index, (dimension, place) in enumerate(zip(dimensions, places, strict=True)):
                about = {"key": group.key, "role": role, "slot": place}
                rows.append(about | _row(dimension, summary, first + index))
    return pa.Table.from_pylist(rows, schema=STATS)


def summarize(lake: Lake, groups: Sequence[Group], work: Work) -> list[Summary]:
    """What is measured of each group: bounds, then spread and histograms, then a closer look where needed."""
    answers, _ = ask_all(lake, groups, _Bounds(widths=tuple(_width(group) for group in groups)), work=work)
    bounds = [np.stack(of_group) for of_group in answers]  # [R, 4, D]
    counts = [found[:, 0].sum(axis=0) for found in bounds]
    means = [found[:, 1].sum(axis=0) / count_D for found, count_D in zip(bounds, counts, strict=True)]
    bins = [Bins(low_D=found[:, 2].min(axis=0), high_D=found[:, 3].max(axis=0)) for found in bounds]
    answers, tally = ask_all(lake, groups, _Spread(means=tuple(means), bins=tuple(bins)), work=work)
    square_sums = [np.stack(of_group).sum(axis=0) for of_group in answers]
    sought = [_sought(tally, g, count_D) for g, count_D in enumerate(counts)]
    coarse = {(g, d, one.bin_index) for g, found in enumerate(sought) for (d, _), one in found.items() if one.is_coarse}
    closer = _Closer(bins=tuple(bins), bin_keys=tuple(sorted(coarse)))
    fine = ask_all(lake, groups, closer, work=work)[1] if coarse else {}
    return [
        Summary(
            count_D=counts[g].astype(np.int64),
            mean_D=means[g],
            std_D=np.sqrt(square_sums[g] / counts[g]),
            min_D=bins[g].low_D,
            max_D=bins[g].high_D,
            quantile_QD=_quantiles(
                bins[g], sought[g], {name[1:]: found for name, found in fine.items() if name[0] == g}
            ),
        )
        for g in range(len(groups))
    ]


def _sought(tally: Tally, g: int, count_D: Values) -> dict[tuple[int, int], Sought]:
    """Where the quantiles of a group are to be found, by (dimension, quantile)."""
    return {
        (d, q): seek(tally[g, d], rank_of(quantile, int(total)))
        for d, total in enumerate(count_D)
        for q, quantile in enumerate(QUANTILES)
    }


def _quantiles(bins: Bins, sought: dict[tuple[int, int], Sought], fine: Tally) -> Values:
    """`[Q, D]`, with the bins that were counted once more in `fine`, by (dimension, bin)."""
    quantile_QD = np.empty((len(QUANTILES), len(bins.low_D)))
    for (d, q), one in sought.items():
        quantile_QD[q, d] = bins.value(place_of(one, fine.get((d, one.bin_index))), d)
    return quantile_QD


def _width(group: Group) -> int:
    return len(group.state) + len(group.action)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Bounds:
    """[count, sum, min, max] of a run, `[4, D]`; float64 counts to 2**53 exactly."""

    widths: tuple[int, ...]

    def __call__(self, group: int, pieces: Pieces, tally: Tally) -> Values:  # noqa: ARG002
        found = np.zeros((4, self.widths[group]))
        found[2], found[3] = np.inf, -np.inf
        for where, value_ND, weight_N in pieces:
            found[0, where] += weight_N.sum()
            found[1, where] += (value_ND * weight_N[:, None]).sum(axis=0)
            found[2, where] = np.minimum(found[2, where], value_ND.min(axis=0))
            found[3, where] = np.maximum(found[3, where], value_ND.max(axis=0))
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class _Spread:
    """Sums of squared distances from the means `[D]`, and into the tally how often each bin is met."""

    means: tuple[Values, ...]
    bins: tuple[Bins, ...]

    def __call__(self, group: int, pieces: Pieces, tally: Tally) -> Values:
        squares_D = np.zeros_like(self.means[group])
        for where, value_ND, weight_N in pieces:
            apart_ND = value_ND - self.means[group][where]
            squares_D[where] += (apart_ND * apart_ND * weight_N[:, None]).sum(axis=0)
            for d, place_N in _places(self.bins[group], where, value_ND):
                np.add.at(_counts(tally, group, d), bin_of(place_N), weight_N)
        return squares_D


@dataclass(frozen=True, kw_only=True, slots=True)
class _Closer:
    """Into the tally how often each part of the bins (group, dimension, bin) is met."""

    bins: tuple[Bins, ...]
    bin_keys: tuple[tuple[int, int, int], ...]

    def __call__(self, group: int, pieces: Pieces, tally: Tally) -> Values:
        wanted = [(d, bin_index) for g, d, bin_index in self.bin_keys if g == group]
        for where, value_ND, weight_N in pieces:
            for d, place_N in _places(self.bins[group], where, value_ND):
                for bin_index in (one for dimension, one in wanted if dimension == d):
                    is_inside_N = bin_of(place_N) == bin_index
                    inner_N = bin_of((place_N[is_inside_N] - bin_index) * BINS)
                    np.add.at(_counts(tally, group, d, bin_index), inner_N, weight_N[is_inside_N])
        return np.empty(0)


def _places(bins: Bins, where: slice, value_ND: Values) -> Iterator[tuple[int, Values]]:
    for column, d in enumerate(range(where.start, where.stop)):
        yield d, bins.places(value_ND[:, column], d)


def _counts(tally: Tally, *name: int) -> NDArray[np.int64]:
    """The tally's counts of this name, begun at zero."""
    if name not in tally:
        tally[name] = np.zeros(BINS, np.int64)
    return tally[name]


def _row(dimension: Dimension, summary: Summary, d: int) -> dict[str, object]:
    """One dimension's numbers, with the rule by which it is normalized."""
    mean, std = float(summary.mean_D[d]), float(summary.std_D[d])
    low, high = summary.quantile_QD[:, d].tolist()
    rule = "measured"
    if dimension.is_gripper:
        rule, mean, std = "gripper", 0.0, 1.0
    elif std <= STILL or high - low <= STILL:
        rule, std = "constant", 1.0
    return {
        "dimension": dimension.name,
        "unit": dimension.unit,
        "count": int(summary.count_D[d]),
        "mean": mean,
        "std": std,
        "min": float(summary.min_D[d]),
        "max": float(summary.max_D[d]),
        "q01": low,
        "q99": high,
        "rule": rule,
    }
