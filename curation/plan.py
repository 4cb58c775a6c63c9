"""A plan: what a recipe would really sample, told from the catalogue alone; no picture or number is read.

Its shares and counts are those of the lock to be. What each part of it is made of stands beside: `plan_presentation`
(what the model is shown), `plan_cost` (decoding, memory, fetching), `plan_spread` (how well it is shuffled),
`plan_warnings`. As text and as a picture: `plan_table`, `plan_picture`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation.cautions import cautions
from curation.order import Order
from curation.plan_cost import Cost, cost
from curation.plan_presentation import Presentation, presentation, valid_step_shares
from curation.plan_spread import Spread, spread
from curation.plan_warnings import (
    component_warnings,
    pooling_warnings,
    presentation_warnings,
    robot_warnings,
    weight_warnings,
)
from curation.plan_weights import PlannedWeight, distinct_frames, planned_weights
from curation.recipe import Recipe
from curation.select import LeftOut, Selection, select
from curation.weigh import Weighed, weigh
from schema.lake import Lake


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedComponent:
    """One component of the lock to be."""

    component: str
    embodiment: str
    task: str
    episodes: int
    frames: int
    hours: float
    boost: float
    """Multiplies its weight: the sources' boost times its quality."""
    share: float
    """Expected share of samples, in (0, 1]."""
    quota: int
    """Samples of every 2**20."""
    epochs: float
    """How often each frame is seen, on average where frames weigh differently."""
    chunk_s: float
    """How long a chunk takes."""
    valid_steps: float
    """Share of the chunks' steps that were recorded and kept; the others are masked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedGroup:
    """All that is sampled of one embodiment, task or source."""

    name: str
    episodes: int
    frames: int
    hours: float
    share: float
    epochs: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a recipe comes to on a lake over so many training steps."""

    name: str
    steps: int
    batch: int
    samples: int
    """Steps times batch."""
    episodes: int
    frames: int
    hours: float
    held_out_episodes: int
    left_out: LeftOut
    """By verdicts and frame rules."""
    distinct_frames: int
    """Frames that are seen at all."""
    repetition: float
    """How often a frame that is seen is seen, on average."""
    tar_bytes: int
    lanes: int
    components: tuple[PlannedComponent, ...]
    by_embodiment: tuple[PlannedGroup, ...]
    """The largest share first, as the two that follow."""
    by_task: tuple[PlannedGroup, ...]
    by_source: tuple[PlannedGroup, ...]
    by_weight: tuple[PlannedWeight, ...]
    """Frames by their weight, the largest first; empty where the recipe weighs none."""
    presentation: Presentation
    cost: Cost
    spread: Spread
    warnings: tuple[str, ...]


def plan(recipe: Recipe, lake: Lake, *, steps: int = 30_000, batch: int = 32) -> Plan:
    """The plan of a recipe for so many training steps of a global batch; ConfigError as `make_lock`."""
    selection = select(recipe, lake)
    weighed = weigh(selection.candidates, recipe.weighting)
    order = _order(selection, weighed, seed=recipe.seed)
    samples = steps * batch
    valid_C = valid_step_shares(recipe, selection)
    components = _components(recipe, selection, weighed, valid_C=valid_C, samples=samples)
    by_embodiment = _groups("embodiment", components, selection, samples=samples)
    shown = presentation(recipe, selection, share_C=weighed.share_C, valid_C=valid_C)
    by_weight = planned_weights(recipe, selection, share_C=weighed.share_C, samples=samples)
    distinct = distinct_frames(recipe, selection, share_C=weighed.share_C, samples=samples)
    return Plan(
        name=recipe.name,
        steps=steps,
        batch=batch,
        samples=samples,
        episodes=sum(one.episodes for one in components),
        frames=sum(one.frames for one in components),
        hours=sum(one.hours for one in components),
        held_out_episodes=len(selection.held_out),
        left_out=selection.left_out,
        distinct_frames=distinct,
        repetition=samples / max(1, distinct),
        tar_bytes=sum(candidate.tar_bytes for candidate in selection.candidates),
        lanes=weighed.lanes,
        components=components,
        by_embodiment=by_embodiment,
        by_task=_groups("task_name", components, selection, samples=samples),
        by_source=_groups("source", components, selection, samples=samples),
        by_weight=by_weight,
        presentation=shown,
        cost=cost(order, selection, pictures=shown.pictures_per_sample, samples=samples),
        spread=spread(order, selection, weighed.share_C, batch=batch),
        warnings=(
            *robot_warnings((one.name, one.share) for one in by_embodiment),
            *component_warnings((one.component, one.epochs) for one in components),
            *weight_warnings(by_weight),
            *cautions(recipe, selection),
            *presentation_warnings(shown),
            *pooling_warnings(recipe, selection, lake),
        ),
    )


def _order(selection: Selection, weighed: Weighed, *, seed: int) -> Order:
    """The order that the lock would have."""
    frames_C = np.array([candidate.numbered for candidate in selection.candidates], np.int64)
    return Order(
        num_frames_C=frames_C, quota_C=weighed.quota_C, window_C=weighed.window_C, seed=seed, lanes=weighed.lanes
    )


def _components(
    recipe: Recipe, selection: Selection, weighed: Weighed, *, valid_C: NDArray[np.float64], samples: int
) -> tuple[PlannedComponent, ...]:
    numbers = zip(
        selection.candidates, weighed.share_C.tolist(), weighed.quota_C.tolist(), valid_C.tolist(), strict=True
    )
    return tuple(
        PlannedComponent(
            component=candidate.name,
            embodiment=candidate.embodiment.name,
            task=candidate.task,
            episodes=candidate.episodes,
            frames=candidate.frames,
            hours=candidate.hours,
            boost=candidate.boost * candidate.quality,
            share=share,
            quota=quota,
            epochs=samples * share / candidate.frames,
            chunk_s=recipe.chunk.steps / (recipe.chunk.rate_hz or candidate.rate_hz),
            valid_steps=valid,
        )
        for candidate, share, quota, valid in numbers
    )


def _groups(
    column: str, components: tuple[PlannedComponent, ...], selection: Selection, *, samples: int
) -> tuple[PlannedGroup, ...]:
    """What each embodiment, task or source gives: of a component that several fill, its part of the frames."""
    counts = selection.episodes.group_by(column, "component").agg(pl.len(), pl.col("frames", "numbered").sum())
    members: dict[str, list[tuple[int, int, float, float]]] = {}
    for name, index, episodes, frames, numbered in counts.sort(column, "component").iter_rows():
        whole = components[index]
        hours = whole.hours * (frames / whole.frames)
        share = whole.share * (numbered / selection.candidates[index].numbered)
        members.setdefault(name, []).append((episodes, frames, hours, share))
    groups = (_group(name, parts, samples) for name, parts in members.items())
    return tuple(sorted(groups, key=lambda one: (-one.share, one.name)))


def _group(name: str, parts: Iterable[tuple[int, int, float, float]], samples: int) -> PlannedGroup:
    episodes, frames, hours, shares = zip(*parts, strict=True)
    share, num_frames = sum(shares), sum(frames)
    return PlannedGroup(
        name=name,
        episodes=sum(episodes),
        frames=num_frames,
        hours=sum(hours),
        share=share,
        epochs=samples * share / num_frames,
    )
