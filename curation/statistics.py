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
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.agreement import Moments, require_agreement
from curation.histogram import BINS, Bins
from curation.quantiles import Counted, quantiles
from curation.shard_work import Pieces, Tally, Work, ask_all, count
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


_AT_ONCE = 1 << 26
"""Numbers that groups measured together may take: half a gigabyte."""


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
    lake: Lake,
    groups: Sequence[Group],
    *,
    layout: LayoutName,
    width: int,
    must_agree: bool = True,
    work: Work | None = None,
) -> pa.Table:
    """One row per group and dimension, in the columns of `STATS`.

    Raises:
        ConfigError: sources that a group pools do not agree, and must.
        SchemaError: a shard is gone, holds something else than the catalogue says, or numbers that are not finite.
    """
    ordered = sorted(groups, key=lambda group: group.key)
    summaries = [
        summary
        for some in _batches(ordered)
        for summary in summarize(lake, some, work or Work(), must_agree=must_agree)
    ]
    rows = []
    for group, summary in zip(ordered, summaries, strict=True):
        for role, dimensions, first in (("state", group.state, 0), ("action", group.action, len(group.state))):
            places = slots(dimensions, layout, width=width).places
            for index, (dimension, place) in enumerate(zip(dimensions, places, strict=True)):
                about = {"key": group.key, "role": role, "slot": place}
                rows.append(about | _row(dimension, summary, first + index))
    return pa.Table.from_pylist(rows, schema=STATS)


def constant_dimensions(stats: pa.Table) -> list[str]:
    """`<key>: <dimension>` of each dimension that is only centred, since it hardly moves."""
    found = stats.filter(pc.equal(stats["rule"], "constant"))
    return [f"{row['key']}: {row['dimension']}" for row in found.to_pylist()]


def _batches(groups: Sequence[Group]) -> Iterator[list[Group]]:
    """The groups in turn, so many at a time that their histograms and the answers of their runs fit into memory."""
    some, size = list[Group](), 0
    for group in groups:
        mine = _width(group) * (BINS + 8 * len(group.runs))
        if some and size + mine > _AT_ONCE:
            yield some
            some, size = [], 0
        some.append(group)
        size += mine
    if some:
        yield some


def summarize(lake: Lake, groups: Sequence[Group], work: Work, *, must_agree: bool = False) -> list[Summary]:
    """What is measured of each group: bounds, then spread and histograms, then closer looks where these are needed."""
    answers, _ = ask_all(lake, groups, _Bounds(widths=tuple(_width(group) for group in groups)), work=work)
    bounds = [np.stack(of_group) for of_group in answers]  # [R, 4, D]
    counts = [found[:, 0].sum(axis=0) for found in bounds]
    means = [found[:, 1].sum(axis=0) / count_D for found, count_D in zip(bounds, counts, strict=True)]
    bins = [Bins(low_D=found[:, 2].min(axis=0) + 0.0, high_D=found[:, 3].max(axis=0) + 0.0) for found in bounds]
    answers, tally = ask_all(lake, groups, _Spread(means=tuple(means), bins=tuple(bins)), work=work)
    squares = [np.stack(of_group) for of_group in answers]
    if must_agree:
        for group, found, square_RD in zip(groups, bounds, squares, strict=True):
            require_agreement(group, Moments.of(found, square_RD))
    counted = [
        Counted(
            bins=bins[g],
            total_D=counts[g].astype(np.int64),
            count_DK={name[1]: count_K for name, count_K in tally.items() if name[0] == g},
        )
        for g in range(len(groups))
    ]
    quantile = quantiles(lake, groups, counted, work=work)
    return [
        Summary(
            count_D=one.total_D,
            mean_D=means[g],
            std_D=np.sqrt(squares[g].sum(axis=0) / counts[g]),
            min_D=one.bins.low_D,
            max_D=one.bins.high_D,
            quantile_QD=quantile[g],
        )
        for g, one in enumerate(counted)
    ]


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
        squares_D, bins = np.zeros_like(self.means[group]), self.bins[group]
        for where, value_ND, weight_N in pieces:
            apart_ND = value_ND - self.means[group][where]
            squares_D[where] += (apart_ND * apart_ND * weight_N[:, None]).sum(axis=0)
            for column, d in enumerate(range(where.start, where.stop)):
                if bins.low_D[d] < bins.high_D[d]:
                    count(tally, (group, d), bins.of(value_ND[:, column], d), weight_N=weight_N)
        return squares_D


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
