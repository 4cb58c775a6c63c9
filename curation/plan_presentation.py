"""What a planned mixture shows the model: cameras in slots, dimensions in padded vectors, recorded steps in chunks."""
# Legend: C components, R runs, H steps of a chunk, M frames from a chunk's start on.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation.cameras import shown_cameras
from curation.components import Candidate
from curation.recipe import Recipe
from curation.resample import frames_for, ratio, recorded_steps
from curation.select import Selection
from schema.layout import slots


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """What the model is shown of one embodiment, over the samples that are drawn of it."""

    embodiment: str
    share: float
    """Of all samples."""
    state_padding: float
    """Share of the padded state that holds nothing."""
    action_padding: float
    camera_coverage: dict[str, float]
    """Camera slot → share of samples with a picture there."""
    valid_steps: float
    unused_signals: tuple[str, ...]
    """Signals of its table that no chosen action space reads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Presentation:
    """What the model is shown."""

    embodiments: tuple[Shown, ...]
    """The largest share first."""
    width: int
    unused_state_slots: tuple[int, ...]
    """Places of the padded vector that no component fills."""
    unused_action_slots: tuple[int, ...]
    camera_coverage: dict[str, float]
    pictures_per_sample: float
    valid_steps: float
    prompt_dropout: float
    """Share of samples without their instruction."""
    cameras: dict[str, tuple[str, ...]]
    """Camera slot → the names or roles that it looks for."""


def presentation(
    recipe: Recipe, selection: Selection, *, share_C: NDArray[np.float64], valid_C: NDArray[np.float64]
) -> Presentation:
    """What a recipe shows the model of its selected episodes, of so much of each component."""
    candidates = selection.candidates
    coverage = _coverage(recipe, selection)
    filled = [_filled(candidate, recipe) for candidate in candidates]
    members: dict[str, list[int]] = {}
    for index, candidate in enumerate(candidates):
        members.setdefault(candidate.embodiment.name, []).append(index)

    def mean(values: Sequence[float] | NDArray[np.float64], of: Sequence[int]) -> float:
        return float(np.average(np.asarray(values)[list(of)], weights=share_C[list(of)]))

    everything = range(len(candidates))
    shown = (
        Shown(
            embodiment=name,
            share=float(share_C[of].sum()),
            state_padding=mean([1 - len(state) / recipe.width for state, _ in filled], of),
            action_padding=mean([1 - len(action) / recipe.width for _, action in filled], of),
            camera_coverage={slot: mean(part_C, of) for slot, part_C in coverage.items()},
            valid_steps=mean(valid_C, of),
            unused_signals=tuple(_unused_signals([candidates[index] for index in of])),
        )
        for name, of in members.items()
    )
    used_state, used_action = (set().union(*(pair[role] for pair in filled)) for role in (0, 1))
    overall = {slot: mean(part_C, everything) for slot, part_C in coverage.items()}
    return Presentation(
        embodiments=tuple(sorted(shown, key=lambda one: (-one.share, one.embodiment))),
        width=recipe.width,
        unused_state_slots=tuple(sorted(set(range(recipe.width)) - used_state)),
        unused_action_slots=tuple(sorted(set(range(recipe.width)) - used_action)),
        camera_coverage=overall,
        pictures_per_sample=sum(overall.values()),
        valid_steps=mean(valid_C, everything),
        prompt_dropout=recipe.prompt.dropout,
        cameras=dict(recipe.cameras),
    )


def valid_step_shares(recipe: Recipe, selection: Selection) -> NDArray[np.float64]:
    """Per component, the share of its chunks' steps that were recorded and kept."""
    runs, steps = selection.runs, recipe.chunk.steps
    component_R, starts_R = runs["component"].to_numpy(), runs["frames"].to_numpy()
    length_R = (runs["chunk_stop"] - runs["start"]).to_numpy()
    q_C = [ratio(candidate.rate_hz, recipe.chunk.rate_hz) for candidate in selection.candidates]
    valid_R = np.zeros(len(runs))
    for q in set(q_C):
        of_R = np.array([one == q for one in q_C])[component_R]
        valid_R[of_R] = _recorded(length_R[of_R], starts_R[of_R], q=q, steps=steps, every=recipe.frames.every)
    valid_C, starts_C = (np.bincount(component_R, counts, len(q_C)) for counts in (valid_R, starts_R))
    shares_C: NDArray[np.float64] = valid_C / (starts_C * steps)
    return shares_C


def _recorded(
    length_R: NDArray[np.int64], starts_R: NDArray[np.int64], *, q: Fraction, steps: int, every: int
) -> NDArray[np.int64]:
    """Recorded steps in all chunks of each run, whose chunks have length, length - every, … frames from their start.

    Chunks with `whole` frames and more lack nothing; of the shorter ones, running sums are taken once.
    """
    whole = frames_for(steps, q)
    sum_M = np.array([recorded_steps(frames, q) for frames in range(whole)])
    for frames in range(every, whole):
        sum_M[frames] += sum_M[frames - every]
    whole_R = np.clip((length_R - whole) // every + 1, 0, starts_R)
    first_R = length_R - whole_R * every  # frames of the first chunk that lacks some
    beyond_R = length_R - starts_R * every  # of the one that would come after the last
    lacking_R = sum_M[np.clip(first_R, 0, whole - 1)] - sum_M[np.clip(beyond_R, 0, whole - 1)]
    recorded_R: NDArray[np.int64] = whole_R * steps + np.where(whole_R < starts_R, lacking_R, 0)
    return recorded_R


def _coverage(recipe: Recipe, selection: Selection) -> dict[str, list[float]]:
    """Camera slot → per component the share of its samples that have a picture there, dropout taken off."""
    cameras = shown_cameras(recipe, selection.embodiments.values())
    there = pl.col("cameras").list.join(",").fill_null("")
    kinds = (
        selection.episodes.group_by("component", there=there).agg(pl.col("numbered").sum()).sort("component", "there")
    )
    found = {slot: [0.0] * len(selection.candidates) for slot in cameras}
    for component, names, frames in kinds.iter_rows():
        filled = [slot for slot, wanted in cameras.items() if set(wanted) & set(names.split(","))]
        dropout = {slot: recipe.camera_dropout.get(slot, 0.0) for slot in filled}
        for slot in filled:  # a sample that would lose all its pictures keeps them
            shown = 1 - dropout[slot] + prod(dropout.values())
            found[slot][component] += shown * frames / selection.candidates[component].numbered
    return found


def _filled(candidate: Candidate, recipe: Recipe) -> tuple[set[int], set[int]]:
    """(state, action) places of the padded vectors that a component fills."""
    space = candidate.space
    state, action = (
        slots(candidate.embodiment.dimensions(signals), recipe.layout, width=recipe.width).places
        for signals in (space.state, space.action)
    )
    return set(state), set(action)


def _unused_signals(candidates: Sequence[Candidate]) -> Iterator[str]:
    """Of one embodiment's signals, those that none of its components reads."""
    used = {name for one in candidates for name in (*one.space.state, *one.space.action)}
    yield from (signal.name for signal in candidates[0].embodiment.signals if signal.name not in used)
