"""Whether sources that a plan would normalize together agree, told from the moments that the catalogue keeps.

The question and the answer are those of `curation.agreement`, which a lock asks of every frame. Here some stretches of
the catalogue are looked at for each source, since the moments of a million episodes take seconds to decode; shards are
not read.
"""
# Legend: D dimensions.

from collections.abc import Iterator

import numpy as np
import polars as pl

from curation.agreement import Source, disagreements
from curation.chunks import chunk_rule
from curation.components import Candidate
from curation.recipe import Recipe
from curation.select import Selection
from schema.embodiment import Dimension
from schema.lake import Lake

EPISODES = 500
"""Up to so many of each source are looked at, in stretches that lie side by side in the catalogue."""
STRETCHES = 5
"""At most so many of each source, spread over its episodes and components, since a source may change on its way."""
_LOOKS = 32
"""Stretches of all sources, about: each takes some 10 ms, however short it is."""
_POOL = ("embodiment", "action_space", "rate_hz")
_NUMBERS = ("std", "min", "max")


def pools_that_disagree(recipe: Recipe, selection: Selection, lake: Lake) -> Iterator[tuple[str, list[str]]]:
    """(what is pooled, one text for each source and dimension that does not agree); nothing where none are pooled."""
    if recipe.statistics == "by_source":
        return
    moments = _moments(selection, lake)
    if moments.is_empty():
        return
    measured = _measured(moments).sort(*_POOL, "source")
    of_pool = {_pool(one): one for one in selection.candidates}
    for pool, rows in measured.partition_by(_POOL, as_dict=True, maintain_order=True).items():
        dimensions = _dimensions(of_pool[pool], recipe)
        parts = rows.partition_by("source", maintain_order=True)
        told = list(disagreements(dimensions, [_source(part, dimensions) for part in parts]))
        if told:
            robot, space, rate_hz = pool
            yield f"{robot}/{space}/{rate_hz:g}hz", told


def _pool(candidate: Candidate) -> tuple[object, ...]:
    return candidate.embodiment.name, candidate.action_space, candidate.rate_hz


def _dimensions(candidate: Candidate, recipe: Recipe) -> list[Dimension]:
    """What is normalized as it was stored: all but what the delta form tells from the state."""
    state, action = (
        candidate.embodiment.dimensions(names) for names in (candidate.space.state, candidate.space.action)
    )
    is_delta = chunk_rule(action, state, recipe.action_form).is_delta
    return [*state, *(one for one, changed in zip(action, is_delta, strict=True) if not changed)]


def _moments(selection: Selection, lake: Lake) -> pl.DataFrame:
    """The moments of some episodes of every source that shares a pool."""
    pools = pl.DataFrame(
        [(one.index, *_pool(one)) for one in selection.candidates],
        schema={"component": pl.Int32, **dict(zip(_POOL, (pl.String, pl.String, pl.Float64), strict=True))},
        orient="row",
    )
    spread = pl.col("episode_id").gather(pl.int_range(STRETCHES) * pl.len() // STRETCHES)
    counts = selection.episodes.group_by("component", "source").agg(spread, pl.col("frames").sum())
    of_pool = counts.join(pools, on="component").sort(*_POOL, "source", "component").group_by(*_POOL, "source")
    sources = of_pool.agg(pl.col("episode_id").explode(), pl.col("frames").sum())
    mixed = sources.filter(pl.len().over(_POOL) > 1)
    if mixed.is_empty():
        return mixed
    catalogue = lake.scan("episodes", version=selection.versions["episodes"])
    numbered = catalogue.select("episode_id").with_row_index("row")
    known = mixed.select(pl.col("episode_id").explode()).to_series()
    row_of = dict(
        numbered.filter(pl.col("episode_id").is_in(known.implode())).select("episode_id", "row").collect().iter_rows()
    )
    each = max(1, min(STRETCHES, _LOOKS // len(mixed)))
    rows_of = (sorted(row_of[episode] for episode in ids) for ids in mixed["episode_id"])
    places = sorted({rows[(2 * part + 1) * len(rows) // (2 * each)] for rows in rows_of for part in range(each)})
    columns = ("episode_id", "shard", "moments")  # a slice decodes no more than itself; a filter all of the moments
    length = EPISODES // each
    stretches = [catalogue.select(columns).slice(max(0, place - length // 2), length).collect() for place in places]
    found = pl.concat(stretches).unique(["episode_id", "shard"])
    here = selection.episodes.lazy().filter(pl.col("episode_id").is_in(found["episode_id"].implode()))
    chosen = here.select("episode_id", "shard", "component", "source").collect()
    with_frames = mixed.drop("episode_id")
    return (
        chosen.join(found, on=["episode_id", "shard"])
        .join(pools, on="component")
        .join(with_frames, on=[*_POOL, "source"])
    )


def _measured(moments: pl.DataFrame) -> pl.DataFrame:
    """What was measured per pool, source, signal and place in it."""
    flat = moments.explode("moments").drop_nulls("moments").unnest("moments")
    lists = ("sum", "sum_sq", "min", "max")
    each = flat.with_columns(index=pl.int_ranges(pl.col("sum").list.len())).explode("index", *lists)
    found = each.group_by(*_POOL, "source", "frames", "signal", "index").agg(
        pl.col("count", "sum", "sum_sq").sum(), pl.col("min").min(), pl.col("max").max()
    )
    mean = pl.col("sum") / pl.col("count")
    variance = pl.col("sum_sq") / pl.col("count") - mean * mean
    return found.with_columns(std=variance.clip(lower_bound=0).sqrt())


def _source(rows: pl.DataFrame, dimensions: list[Dimension]) -> Source:
    """What was measured of one source, in the order of these dimensions."""
    numbers = {(signal, index): row for signal, index, *row in rows.select("signal", "index", *_NUMBERS).iter_rows()}
    std_D, min_D, max_D = np.array([numbers[one.signal.name, one.index] for one in dimensions], np.float64).T
    return Source(name=rows["source"][0], frames=float(rows["frames"][0]), std_D=std_D, min_D=min_D, max_D=max_D)
