"""Whether sources that are normalized together have numbers that agree, from the moments that the catalogue keeps.

A source whose zero, sign or unit is another ruins the statistics of all that it is pooled with. Told from some of each
source's episodes, spread over it evenly; pictures and shards are not read.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from curation.components import Candidate
from curation.select import Selection
from schema.lake import Lake

EPISODES = 50
"""About so many of each source and pool are looked at."""
_APART = 2.0
"""A source disagrees whose mean is more than so many standard deviations from the others', or …"""
_WIDER = 5.0
"""… whose standard deviation is more than so many times larger or smaller."""
_STILL = 1e-3
"""In a dimension's unit: no standard deviation is taken for smaller, so that what rests here and there agrees."""
_POOL = ("embodiment", "action_space", "rate_hz")
_PLACE = (*_POOL, "signal", "index")


@dataclass(frozen=True, kw_only=True, slots=True)
class Disagreement:
    """A dimension whose numbers in one source are not those of the others in its pool."""

    embodiment: str
    dimension: str
    source: str
    mean: float
    std: float
    others_mean: float
    """Mean over the other sources' means."""
    others_std: float


def disagreements(selection: Selection, lake: Lake) -> Iterator[Disagreement]:
    """Per source that does not agree with those it is pooled with, the dimension that is furthest apart.

    The worst source of a pool is told first; what is left is compared without it.
    """
    moments = _moments(selection, lake)
    if moments.is_empty():
        return
    measured = _measured(moments).join(_dimensions(selection.candidates), on=_PLACE)
    while len(found := _worst(measured)):
        yield from (Disagreement(**row) for row in found.select(Disagreement.__slots__).to_dicts())
        measured = measured.join(found, on=[*_POOL, "source"], how="anti")


def _moments(selection: Selection, lake: Lake) -> pl.DataFrame:
    """The moments of some episodes of every source that shares a pool."""
    pooled = selection.episodes.select("episode_id", "source", *_POOL)
    mixed = pooled.filter(pl.col("source").n_unique().over(_POOL) > 1)
    every = (pl.len() // EPISODES).clip(lower_bound=1)
    chosen = mixed.filter((pl.int_range(pl.len()) % every == 0).over(*_POOL, "source"))
    if chosen.is_empty():
        return chosen
    rows = lake.episodes(version=selection.versions["episodes"])
    wanted = rows.filter(pl.col("episode_id").is_in(chosen["episode_id"].unique().implode()))
    return chosen.join(wanted.select("episode_id", "moments").collect(), on="episode_id")


def _measured(moments: pl.DataFrame) -> pl.DataFrame:
    """Mean and standard deviation per pool, source, signal and place in it."""
    flat = moments.explode("moments").drop_nulls("moments").unnest("moments")
    each = flat.with_columns(index=pl.int_ranges(pl.col("sum").list.len())).explode("index", "sum", "sum_sq")
    sums = each.group_by(*_PLACE, "source").agg(pl.col("count", "sum", "sum_sq").sum())
    mean = pl.col("sum") / pl.col("count")
    variance = pl.col("sum_sq") / pl.col("count") - mean * mean
    return sums.select(*_PLACE, "source", mean=mean, std=variance.clip(lower_bound=0).sqrt())


def _worst(measured: pl.DataFrame) -> pl.DataFrame:
    """Per pool, the source and dimension that is further from the others than is allowed, and furthest of all."""
    others = {
        f"others_{name}": (pl.col(name).sum().over(_PLACE) - pl.col(name)) / (pl.len().over(_PLACE) - 1)
        for name in ("mean", "std")
    }
    compared = measured.filter(pl.len().over(_PLACE) > 1).with_columns(**others)
    own, other = (pl.max_horizontal(name, pl.lit(_STILL)) for name in ("std", "others_std"))
    apart = (pl.col("mean") - pl.col("others_mean")).abs() / pl.max_horizontal(own, other)
    wider = pl.max_horizontal(own / other, other / own)
    judged = compared.with_columns(worst=pl.max_horizontal(apart / _APART, wider / _WIDER)).filter(pl.col("worst") > 1)
    ordered = judged.sort("worst", "source", "dimension", descending=[True, False, False])
    return ordered.unique(_POOL, keep="first", maintain_order=True)


def _dimensions(candidates: tuple[Candidate, ...]) -> pl.DataFrame:
    """The dimensions that each pool reads, but for grippers, which are not normalized."""
    rows = {
        (one.embodiment.name, one.action_space, one.rate_hz, dimension.signal.name, dimension.index): dimension.name
        for one in candidates
        for dimension in one.embodiment.dimensions((*one.space.state, *one.space.action))
        if not dimension.is_gripper
    }
    schema = dict(zip(_PLACE, (pl.String, pl.String, pl.Float64, pl.String, pl.Int64), strict=True))
    return pl.DataFrame(list(rows), schema=schema, orient="row").with_columns(dimension=pl.Series(list(rows.values())))
