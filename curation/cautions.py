"""What a person should know of a selection before training on it, told from the catalogue alone.

A component of n frames weighs n**alpha, so k equal tasks of one source weigh k**(1 − alpha) times what they would as
one: with the paper's 0.43, k**0.57. A source whose task is the text of its instruction inflates itself that way.
"""

from collections.abc import Iterator
from fnmatch import fnmatchcase

import numpy as np
import polars as pl

from curation.recipe_model import Recipe
from curation.select import Selection
from curation.weigh import weigh

_LARGE = 3.0
"""Sources whose tasks together weigh more than so many times what they would as one are warned of."""


def cautions(recipe: Recipe, selection: Selection) -> Iterator[str]:
    """One sentence for each thing to know."""
    yield from left_out_warnings(selection)
    yield from split_warnings(recipe, selection)
    yield from references(recipe, selection)


def references(recipe: Recipe, selection: Selection) -> Iterator[str]:
    """The share of some sources beside a published one."""
    if not recipe.references:
        return
    share_C = weigh(selection.candidates, recipe.weighting).share_C
    frames = (
        selection.episodes.group_by("component", "source").agg(pl.col("numbered").sum()).sort("component", "source")
    )
    for one in recipe.references:
        share = sum(
            share_C[component] * count / selection.candidates[component].numbered
            for component, source, count in frames.iter_rows()
            if any(fnmatchcase(source, pattern) for pattern in one.sources)
        )
        yield f"{one.name}: {share:.1%} of the mixture, beside a reference of {one.share:.1%}"


def left_out_warnings(selection: Selection) -> Iterator[str]:
    """What frame rules and verdicts leave out."""
    left_out = selection.left_out
    if left_out.frames:
        count = left_out.episodes
        yield (
            f"frame rules and verdicts leave out {left_out.frames:,} of {left_out.all_frames:,} frames, and {count:,} "
            f"episode{'s' * (count != 1)} whole: chunks start at the others only"
        )


def split_warnings(recipe: Recipe, selection: Selection) -> Iterator[str]:
    """One warning for each source whose weight its many tasks multiply, with the factor."""
    alpha = recipe.weighting.alpha
    frames = selection.episodes.group_by("source", "component").agg(pl.col("num_frames").sum()).sort("source")
    for (source,), of_source in frames.partition_by("source", as_dict=True, maintain_order=True).items():
        frames_K = of_source["num_frames"].to_numpy().astype(np.float64)
        factor = float((frames_K**alpha).sum() / frames_K.sum() ** alpha)
        if factor > _LARGE:
            yield (
                f"source {source!r} is split into {len(frames_K)} components that together weigh {factor:.1f} times "
                f"what they would as one (k^{1 - alpha:.2g} for k alike): name its tasks by `tasks:`, or group by "
                "`group: embodiment`"
            )
