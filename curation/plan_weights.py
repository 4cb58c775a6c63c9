"""How often the frames of each weight are seen, and how many frames are seen at all."""
# Legend: C components.

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation.recipe import Recipe
from curation.select import Selection


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedWeight:
    """All frames of one weight."""

    weight: int
    frames: int
    share: float
    """Of all samples."""
    epochs: float
    """How often each of them is seen."""


def planned_weights(
    recipe: Recipe, selection: Selection, *, share_C: NDArray[np.float64], samples: int
) -> tuple[PlannedWeight, ...]:
    """The frames of each weight, the largest first; none where the recipe weighs no frame."""
    if not recipe.frame_weight:
        return ()
    numbered_C = np.array([one.numbered for one in selection.candidates])
    found: dict[int, tuple[int, float]] = {}
    for component, weight, count in _by_weight(recipe, selection).iter_rows():
        frames, share = found.get(weight, (0, 0.0))
        found[weight] = frames + count, share + float(share_C[component] * weight * count / numbered_C[component])
    return tuple(
        PlannedWeight(weight=weight, frames=frames, share=share, epochs=samples * share / frames)
        for weight, (frames, share) in sorted(found.items(), reverse=True)
    )


def distinct_frames(recipe: Recipe, selection: Selection, *, share_C: NDArray[np.float64], samples: int) -> int:
    """Frames that are seen at all: exact where none is weighed, else what is expected of a component's first epoch."""
    seen = 0.0
    for component, weight, frames in _by_weight(recipe, selection).iter_rows():
        draws = round(samples * float(share_C[component]))
        drawn = min(1.0, draws / selection.candidates[component].numbered)
        seen += frames * (1 - (1 - drawn) ** weight)
    return round(seen)


def _by_weight(recipe: Recipe, selection: Selection) -> pl.DataFrame:
    """`component`, `weight`, `frames`: how many frames of each weight a component has."""
    if not recipe.frame_weight:
        return selection.episodes.group_by("component", weight=pl.lit(1)).agg(pl.col("frames").sum())
    runs = selection.runs.group_by("component", "episode_id", "start").agg(
        weight=pl.len(), frames=pl.col("frames").first()
    )
    return runs.group_by("component", "weight").agg(pl.col("frames").sum()).sort("component", "weight")
