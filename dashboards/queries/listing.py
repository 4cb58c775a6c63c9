"""Episodes in their order, a page at a time: first the keys of all that the filters leave, then a page's rows."""

import polars as pl

from dashboards.queries.filters import ORIGIN, OUTCOME, TASK, Filters
from schema.lake import Lake

PAGE_SIZE = 50
_PRESENT, _ABSENT = pl.col("cameras").list.len().fill_null(0), pl.col("absent_cameras").list.len().fill_null(0)
_CAMERAS = pl.when(_ABSENT > 0).then(pl.format("{}, {} absent", _PRESENT, _ABSENT)).otherwise(pl.format("{}", _PRESENT))


def keys(lake: Lake, filters: Filters, *, version: int | None = None) -> pl.Series:
    """The episode ids that the filters leave, by source and place in it."""
    return (
        lake.episodes(version=version)
        .filter(filters.episode())
        .select("source", "raw_uri", "record_index", "episode_id")
        .sort("source", "raw_uri", "record_index", "episode_id")
        .select("episode_id")
        .collect()
        .to_series()
    )


def rows(lake: Lake, wanted: pl.Series, *, version: int | None = None) -> pl.DataFrame:
    """What a list shows of these episodes, in their order; without the time of recording where none of them has one."""
    found = (
        lake.episodes(version=version)
        .filter(pl.col("episode_id").is_in(wanted.to_list()))
        .select(
            "episode_id",
            TASK.alias("task"),
            pl.col("instructions").list.first().alias("instruction"),
            "duration_s",
            "num_frames",
            OUTCOME.alias("outcome"),
            ORIGIN.alias("origin"),
            "embodiment",
            "source",
            _CAMERAS.alias("cameras"),
            "recorded_at",
        )
        .collect()
    )
    ordered = wanted.rename("episode_id").to_frame().join(found, on="episode_id", how="left", maintain_order="left")
    return ordered.drop("recorded_at") if ordered["recorded_at"].is_null().all() else ordered


def neighbours(wanted: pl.Series, episode_id: str) -> tuple[int | None, str | None, str | None]:
    """An episode's place in the list, the one before and the one after; None where there is none."""
    place = wanted.index_of(episode_id)
    if place is None:
        return None, None, None
    before = wanted[place - 1] if place else None
    after = wanted[place + 1] if place + 1 < len(wanted) else None
    return place, before, after
