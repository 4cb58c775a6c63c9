"""What a lake holds, counted once per version: small tables by component that pages narrow in memory."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from dashboards.queries.filters import ORIGIN, OUTCOME, TASK, Filters
from schema.lake import Lake

_COMPONENT = ["source", "embodiment", "task"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """Counts of a lake's live episodes, of the cameras they lack, and of its quarantine."""

    components: pl.DataFrame
    """By source × embodiment × task: episodes, hours, frames, megabytes, success, failure, unknown, simulated, …"""
    absent: pl.DataFrame
    """By component × camera × reason: episodes."""
    quarantine: pl.DataFrame
    """By source × stage × reason: records, and the message and place of one of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """Sums over components."""

    episodes: int
    hours: float
    frames: int
    embodiments: int
    tasks: int
    success: int
    failure: int
    simulated: int

    @property
    def judged(self) -> int:
        """Episodes whose log says whether they succeeded."""
        return self.success + self.failure


def overview(lake: Lake, *, version: int | None = None) -> Overview:
    """Count a lake's episodes at a version of its catalogue, and its quarantine as it is now."""
    rows = lake.episodes(version=version).with_columns(TASK.alias("task"))
    return Overview(components=_components(rows), absent=_absent(rows), quarantine=_quarantine(lake))


def narrowed(found: Overview, filters: Filters) -> Overview:
    """The part of an overview that the filters leave; quarantine, which knows sources only, by source."""
    by_source = Filters(source=filters.source)
    return Overview(
        components=found.components.filter(filters.component()),
        absent=found.absent.filter(filters.component()),
        quarantine=found.quarantine.with_columns(embodiment=None, task=None)
        .filter(by_source.component())
        .drop("embodiment", "task"),
    )


def totals(components: pl.DataFrame) -> Totals:
    """Sums over components; zeros where there is none."""
    names = ["episodes", "hours", "frames", "success", "failure", "simulated"]
    sums: dict[str, Any] = components.select(pl.col(names).sum()).row(0, named=True)
    return Totals(**sums, embodiments=components["embodiment"].n_unique(), tasks=components["task"].n_unique())


def _components(rows: pl.LazyFrame) -> pl.DataFrame:
    return (
        rows.group_by(_COMPONENT)
        .agg(
            episodes=pl.len().cast(pl.Int64),
            hours=pl.col("duration_s").sum() / 3600,
            frames=pl.col("num_frames").cast(pl.Int64).sum(),
            megabytes=(pl.col("tar_stop") - pl.col("tar_start")).sum() / 1e6,
            rate_hz=pl.col("rate_hz").median().round(1),
            success=(OUTCOME == "success").sum().cast(pl.Int64),
            failure=(OUTCOME == "failure").sum().cast(pl.Int64),
            unknown=(OUTCOME == "unknown").sum().cast(pl.Int64),
            simulated=(ORIGIN == "simulated").sum().cast(pl.Int64),
            cameras=pl.col("cameras").explode().drop_nulls().unique().sort(),
        )
        .sort("hours", *_COMPONENT, descending=[True, False, False, False])
        .collect()
    )


def _absent(rows: pl.LazyFrame) -> pl.DataFrame:
    return (
        rows.select(*_COMPONENT, "absent_cameras")
        .explode("absent_cameras", empty_as_null=False, keep_nulls=False)
        .with_columns(
            camera=pl.col("absent_cameras").struct.field("camera"),
            reason=pl.col("absent_cameras").struct.field("value"),
        )
        .group_by(*_COMPONENT, "camera", "reason")
        .agg(episodes=pl.len().cast(pl.Int64))
        .sort("episodes", *_COMPONENT, "camera", descending=[True, False, False, False, False])
        .collect()
    )


def _quarantine(lake: Lake) -> pl.DataFrame:
    kinds = ["source", "stage", "reason"]
    return (
        lake.quarantine()
        .group_by(kinds)
        .agg(
            records=pl.len().cast(pl.Int64),
            faults=pl.col("fingerprint").n_unique().cast(pl.Int64),
            message=pl.col("message").first(),
            raw_uri=pl.col("raw_uri").first(),
            record_index=pl.col("record_index").first(),
        )
        .sort("records", *kinds, descending=[True, False, False, False])
        .collect()
    )
