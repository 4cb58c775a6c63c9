"""What a lake holds, in one small answer."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from schema.lake import Lake

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Info:
    """A lake's contents by source × embodiment × task, and its quarantine by source × reason."""

    lake: str
    version: int
    """Of the `episodes` table."""
    components: tuple[Row, ...]
    quarantine: tuple[Row, ...]


def info(lake: Lake) -> Info:
    """Count a lake's live episodes and its quarantine."""
    keys = ["source", "embodiment", "task"]
    components = (
        lake.episodes()
        .group_by(keys)
        .agg(
            episodes=pl.len(),
            frames=pl.col("num_frames").sum().cast(pl.Int64),
            hours=pl.col("duration_s").sum() / 3600,
            megabytes=(pl.col("tar_stop") - pl.col("tar_start")).sum() / 1e6,
            cameras=pl.col("cameras").list.join(" ").unique().sort().str.join(" | "),
        )
        .sort(keys)
        .collect()
    )
    reasons = ["source", "stage", "reason"]
    quarantine = (
        lake.quarantine()
        .group_by(reasons)
        .agg(records=pl.len(), example=pl.col("message").first())
        .sort(reasons)
        .collect()
    )
    return Info(
        lake=lake.uri,
        version=lake.version("episodes") or 0,
        components=tuple(components.iter_rows(named=True)),
        quarantine=tuple(quarantine.iter_rows(named=True)),
    )
