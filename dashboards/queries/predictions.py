"""Chunks that checkpoints predicted for an episode, set over what was recorded."""
# Legend: T frames, H steps of a chunk.

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dashboards.queries.episode import Recorded
from schema.embodiment import Dimension
from schema.frames import numbers
from schema.lake import Lake

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Predicted:
    """One dimension of one chunk: H predicted steps from frame `start`, and all T recorded ones."""

    name: str
    label: str
    """The same in short, for small panels."""
    unit: str
    start: int
    predicted_H: Values
    recorded_T: Values | None
    """None where the episode has no such dimension."""

    @property
    def error(self) -> float | None:
        """Mean absolute difference over the steps that were recorded too; None where there is none."""
        if self.recorded_T is None:
            return None
        overlap = self.recorded_T[self.start : self.start + len(self.predicted_H)]
        return float(np.abs(self.predicted_H[: len(overlap)] - overlap).mean()) if len(overlap) else None


def predictions(lake: Lake, episode_id: str) -> pl.DataFrame:
    """The newest prediction per checkpoint, chunk start and dimension."""
    key = ["checkpoint_uri", "frame", "dimension"]
    return (
        lake.scan("predictions")
        .filter(pl.col("episode_id") == episode_id)
        .sort("created_at", nulls_last=False)
        .unique(key, keep="last", maintain_order=True)
        .sort(key)
        .select(*key, "values", "created_at")
        .collect()
    )


def chunk(found: pl.DataFrame, recorded: Recorded, *, checkpoint: str, start: int) -> list[Predicted]:
    """The dimensions of one chunk, in the robot's order; those that its table does not name come last."""
    rows = found.filter((pl.col("checkpoint_uri") == checkpoint) & (pl.col("frame") == start))
    table = recorded.embodiment
    known = {one.name: one for one in table.dimensions(tuple(signal.name for signal in table.signals))}
    order = {name: place for place, name in enumerate(known)}
    return [
        Predicted(
            name=name,
            label=_label(known[name]) if name in known else name,
            unit=known[name].unit if name in known else "unit unknown",
            start=start,
            predicted_H=np.array(values, np.float64),
            recorded_T=_recorded(recorded, known.get(name)),
        )
        for name, values in sorted(
            rows.select("dimension", "values").iter_rows(), key=lambda row: order.get(row[0], 9999)
        )
    ]


def _label(dimension: Dimension) -> str:
    side = dimension.signal.name.partition(".")[2].partition("_")[0]
    dim = dimension.signal.dims[dimension.index]
    return f"{side} {dim}" if side in {"left", "right"} else dim


def _recorded(recorded: Recorded, dimension: Dimension | None) -> Values | None:
    if dimension is None or dimension.signal.name not in recorded.frames.schema.names:
        return None
    values = numbers(recorded.frames[dimension.signal.name])
    return None if values is None else values[:, dimension.index].astype(np.float64)
