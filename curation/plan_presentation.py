"""What a planned mixture shows the model: cameras in slots, dimensions in padded vectors, recorded steps in chunks."""
# Legend: C components, H steps of a chunk.

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation.components import Candidate
from curation.recipe import Recipe
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
    cameras: dict[str, tuple[str, ...]]
    """Camera slot → what it looks for."""


def presentation(recipe: Recipe, selection: Selection, share_C: NDArray[np.float64]) -> Presentation:
    """What a recipe shows the model of its selected episodes."""
    candidates = selection.candidates
    coverage = _coverage(selection.episodes, recipe.cameras, candidates)
    valid_C = valid_step_shares(selection.episodes, chunk_steps=recipe.chunk.steps)
    filled = [_filled(candidate, recipe) for candidate in candidates]
    members: dict[str, list[int]] = {}
    for index, candidate in enumerate(candidates):
        members.setdefault(candidate.embodiment.name, []).append(index)

    def mean(values: Sequence[float], of: Sequence[int]) -> float:
        return float(np.average(np.array(values)[list(of)], weights=share_C[list(of)]))

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
        cameras=dict(recipe.cameras),
    )


def valid_step_shares(episodes: pl.DataFrame, *, chunk_steps: int) -> list[float]:
    """Per component, the share of its chunks' steps that come before the end of the episode."""
    frames, steps = pl.col("num_frames").cast(pl.Int64), chunk_steps
    cut = pl.min_horizontal(frames, pl.lit(steps - 1))  # so many chunks at the end lack 1 to `cut` steps and more
    lacking = cut * (steps - 1) - cut * (cut - 1) // 2  # the last chunk lacks H - 1, the one before it H - 2, …
    shares = episodes.group_by("component").agg(
        valid=1 - lacking.sum() / (frames.sum() * steps),
    )
    return shares.sort("component")["valid"].to_list()


def _coverage(
    episodes: pl.DataFrame, cameras: Mapping[str, tuple[str, ...]], candidates: Sequence[Candidate]
) -> dict[str, list[float]]:
    """Camera slot → per component the share of its frames that have a picture there."""
    there = pl.col("cameras").list.join(",").fill_null("")
    kinds = episodes.group_by("component", there=there).agg(pl.col("num_frames").sum()).sort("component", "there")
    found = {slot: [0.0] * len(candidates) for slot in cameras}
    for component, names, frames in kinds.iter_rows():
        for slot, wanted in cameras.items():
            if set(wanted) & set(names.split(",")):
                found[slot][component] += frames / candidates[component].frames
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
