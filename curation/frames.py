"""Which frames of an episode chunks start at: what verdicts and frame rules keep, as runs [start, stop).

A run's chunks read on to its `chunk_stop`, where what is kept ends, and are masked from there; `stop` lies before it
as far as the recipe wants recorded steps in each chunk. Everything is told from the catalogue.
"""
# Legend: T frames of an episode.

from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl

from curation.recipe_model import Recipe
from curation.resample import frames_for, ratio

RUN_COLUMNS = ("row", "component", "episode_id", "start", "stop", "chunk_stop")


def frame_runs(rows: pl.DataFrame, recipe: Recipe, *, verdicts: pl.DataFrame) -> pl.DataFrame:
    """The runs of episodes (`row`, `component`, `episode_id`, `num_frames`, `rate_hz`), in `RUN_COLUMNS` and `frames`.

    `frames` counts the chunk starts of a run: every `every`-th of [start, stop). `verdicts` are those that hold, the
    oldest first; an episode of which nothing is left has no run.
    """
    rules = recipe.frames
    rate = pl.col("rate_hz")
    ends = rows.select(
        "row",
        "component",
        "episode_id",
        "rate_hz",
        "num_frames",
        begin=(rules.skip_start_s * rate).ceil().cast(pl.Int64),
        end=pl.col("num_frames").cast(pl.Int64) - (rules.skip_end_s * rate).ceil().cast(pl.Int64),
    )
    tails = {hz: frames_for(rules.min_steps, ratio(hz, recipe.chunk.rate_hz)) - 1 for hz in rows["rate_hz"].unique()}
    tail = rate.replace_strict(tails, return_dtype=pl.Int64)
    kept = _kept(ends, verdicts)
    found = kept.with_columns(
        start=pl.max_horizontal("first", "begin"), chunk_stop=pl.min_horizontal("last", "end")
    ).with_columns(stop=pl.col("chunk_stop") - tail)
    length = pl.col("stop") - pl.col("start")
    return found.filter(length > 0).select(*RUN_COLUMNS, frames=(length + rules.every - 1) // rules.every)


def _kept(rows: pl.DataFrame, verdicts: pl.DataFrame) -> pl.DataFrame:
    """The rows with the frames [first, last) that verdicts keep; one row for each such range of an episode."""
    whole = rows.with_columns(first=pl.lit(0, pl.Int64), last=pl.col("num_frames").cast(pl.Int64))
    if verdicts.is_empty():
        return whole
    judged = verdicts.join(rows.select("episode_id", "num_frames").unique(), on="episode_id", how="inner")
    if judged.is_empty():
        return whole
    ranges = [
        (episode, first, last)
        for (episode,), mine in judged.partition_by("episode_id", as_dict=True, maintain_order=True).items()
        for first, last in _ranges(mine["num_frames"][0], mine.select("start", "stop", "keep").iter_rows())
    ]
    schema = {"episode_id": pl.String, "first": pl.Int64, "last": pl.Int64}
    of_judged = rows.join(pl.DataFrame(ranges, schema=schema, orient="row"), on="episode_id", how="inner")
    others = whole.join(judged.select("episode_id").unique(), on="episode_id", how="anti", maintain_order="left")
    return pl.concat([others, of_judged.select(others.columns)])


def _ranges(frames: int, verdicts: Iterable[tuple[int | None, int | None, bool]]) -> Iterator[tuple[int, int]]:
    """The stretches of frames that the last verdict on each of them keeps; a frame without any is kept."""
    keep_T = np.ones(frames, np.int8)
    for start, stop, keep in verdicts:
        keep_T[slice(start or 0, stop)] = keep
    edges = np.flatnonzero(np.diff(keep_T, prepend=0, append=0)).tolist()
    return zip(edges[::2], edges[1::2], strict=True)
