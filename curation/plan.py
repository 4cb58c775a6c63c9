"""A plan: what a recipe would really sample, told from the catalogue alone; no picture or number is read.

Its shares and counts are those of the lock to be. What each part of it is made of stands beside: `plan_presentation`
(what the model is shown), `plan_cost` (decoding, memory, fetching), `plan_spread` (how well it is shuffled),
`plan_warnings`. As text and as a picture: `plan_table`, `plan_picture`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import polars as pl

from curation.order import Order
from curation.plan_cost import Cost, cost
from curation.plan_presentation import Presentation, presentation, valid_step_shares
from curation.plan_spread import Spread, spread
from curation.plan_warnings import component_warnings, pooling_warnings, presentation_warnings, robot_warnings
from curation.recipe import Recipe
from curation.select import Selection, select
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
    share: float
    """Expected share of samples, in (0, 1]."""
    quota: int
    """Samples of every 2**20."""
    epochs: float
    """How often each frame is seen."""
    valid_steps: float
    """Share of the chunks' steps that were recorded; the others come after the episode's end and are masked."""


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
    presentation: Presentation
    cost: Cost
    spread: Spread
    warnings: tuple[str, ...]


def plan(recipe: Recipe, lake: Lake, *, steps: int = 30_000, batch: int = 32) -> Plan:
    """The plan of a recipe for so many training steps of a global batch; ConfigError as `make_lock`."""
    selection = select(recipe, lake)
    weighed = weigh(selection.candidates, alpha=recipe.weighting.alpha)
    order = _order(selection, weighed, seed=recipe.seed)
    samples = steps * batch
    components = _components(selection, weighed, chunk_steps=recipe.chunk.steps, samples=samples)
    by_embodiment = _groups(components, lambda one: one.embodiment, samples)
    shown = presentation(recipe, selection, weighed.share_C)
    distinct = sum(min(one.frames, round(samples * one.share)) for one in components)
    return Plan(
        name=recipe.name,
        steps=steps,
        batch=batch,
        samples=samples,
        episodes=sum(one.episodes for one in components),
        frames=sum(one.frames for one in components),
        hours=sum(one.hours for one in components),
        held_out_episodes=len(selection.held_out),
        distinct_frames=distinct,
        repetition=samples / max(1, distinct),
        tar_bytes=sum(candidate.tar_bytes for candidate in selection.candidates),
        lanes=weighed.lanes,
        components=components,
        by_embodiment=by_embodiment,
        by_task=_groups(components, lambda one: one.task, samples),
        by_source=_by_source(components, selection, samples),
        presentation=shown,
        cost=cost(order, selection, pictures=shown.pictures_per_sample, samples=samples),
        spread=spread(order, selection, weighed.share_C, batch=batch),
        warnings=(
            *robot_warnings((one.name, one.share) for one in by_embodiment),
            *component_warnings((one.component, one.epochs) for one in components),
            *presentation_warnings(shown),
            *pooling_warnings(selection, lake),
        ),
    )


def _order(selection: Selection, weighed: Weighed, *, seed: int) -> Order:
    """The order that the lock would have."""
    frames = pl.Series([candidate.frames for candidate in selection.candidates], dtype=pl.Int64).to_numpy()
    return Order(
        num_frames_C=frames, quota_C=weighed.quota_C, window_C=weighed.window_C, seed=seed, lanes=weighed.lanes
    )


def _components(
    selection: Selection, weighed: Weighed, *, chunk_steps: int, samples: int
) -> tuple[PlannedComponent, ...]:
    valid_C = valid_step_shares(selection.episodes, chunk_steps=chunk_steps)
    return tuple(
        PlannedComponent(
            component=candidate.name,
            embodiment=candidate.embodiment.name,
            task=candidate.task,
            episodes=candidate.episodes,
            frames=candidate.frames,
            hours=candidate.hours,
            share=share,
            quota=quota,
            epochs=samples * share / candidate.frames,
            valid_steps=valid_C[index],
        )
        for index, (candidate, share, quota) in enumerate(
            zip(selection.candidates, weighed.share_C.tolist(), weighed.quota_C.tolist(), strict=True)
        )
    )


def _groups(
    components: Iterable[PlannedComponent], name: Callable[[PlannedComponent], str], samples: int
) -> tuple[PlannedGroup, ...]:
    members: dict[str, list[PlannedComponent]] = {}
    for one in components:
        members.setdefault(name(one), []).append(one)
    return _largest_first(
        _group(key, [(one.episodes, one.frames, one.hours, one.share) for one in group], samples)
        for key, group in members.items()
    )


def _by_source(
    components: tuple[PlannedComponent, ...], selection: Selection, samples: int
) -> tuple[PlannedGroup, ...]:
    """What each source gives: of a component that several fill, its part of the frames."""
    counts = selection.episodes.group_by("source", "component").agg(pl.len(), pl.col("num_frames").sum())
    members: dict[str, list[tuple[int, int, float, float]]] = {}
    for source, index, episodes, frames in counts.sort("source", "component").iter_rows():
        whole = components[index]
        part = frames / whole.frames
        members.setdefault(source, []).append((episodes, frames, whole.hours * part, whole.share * part))
    return _largest_first(_group(source, parts, samples) for source, parts in members.items())


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


def _largest_first(groups: Iterable[PlannedGroup]) -> tuple[PlannedGroup, ...]:
    return tuple(sorted(groups, key=lambda one: (-one.share, one.name)))
