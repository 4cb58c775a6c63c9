"""Holding out whole scenes, operators or tasks, and the check that nothing of them is trained on."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl

from curation.components import Candidate
from curation.keyed import GROUP_COLUMN, split_off
from curation.recipe_model import Recipe
from curation.recipe_problems import Problem

_MAX_TOLD = 5


def group_problems(rows: pl.DataFrame, recipe: Recipe) -> Iterator[Problem]:
    """Why these episodes cannot be held out by what the recipe names: some do not tell it, or none would be."""
    by = recipe.held_out_by
    if recipe.held_out == 0 or by == "episode":
        return
    groups = rows[GROUP_COLUMN[by]]
    if unknown := groups.null_count():
        example = rows.filter(groups.is_null())["episode_id"][0]
        yield Problem(
            place=("held_out_by",),
            text=f"{unknown} of {len(rows)} episodes do not tell their {by}, such as {example}: leave them out with "
            f'where: "{by} IS NOT NULL", or hold out by episode',
        )
        return
    if split_off(rows, recipe.held_out, by=by)[0].is_empty():
        count = groups.n_unique()
        yield Problem(
            place=("held_out",),
            text=f"a share of {recipe.held_out:g} holds out none of the {count} {by}{'s' * (count != 1)}: raise it, or "
            "hold out by episode",
        )


def parted(
    candidates: Sequence[Candidate], held_out: pl.DataFrame, recipe: Recipe
) -> tuple[tuple[Candidate, ...], tuple[Candidate, ...], dict[int, int]]:
    """The components to train on, those that are held out whole as tasks, and the new index of each."""
    is_out = set(held_out["component"]) if recipe.held_out_by == "task" else set[int]()
    whole = [one for one in candidates if one.index in is_out and one.episodes == 0]
    trained = [one for one in candidates if one not in whole]
    ordered = [*trained, *whole]
    number = {one.index: index for index, one in enumerate(ordered)}
    renumbered = tuple(replace(one, index=index) for index, one in enumerate(ordered))
    return renumbered[: len(trained)], renumbered[len(trained) :], number


def leaks(
    rows: pl.DataFrame, held_out: pl.DataFrame, recipe: Recipe, *, held_out_only: Sequence[Candidate]
) -> Iterator[Problem]:
    """What is held out and trained on all the same, and what is held out of a robot that is not trained on."""
    if held_out.is_empty():
        return
    column = GROUP_COLUMN[recipe.held_out_by]
    for name in dict.fromkeys((column, "episode_id")):
        both = sorted(set(rows[name].drop_nulls()) & set(held_out[name].drop_nulls()))
        if both:
            more = f" and {len(both) - _MAX_TOLD} more" if len(both) > _MAX_TOLD else ""
            yield Problem(
                place=("held_out",),
                text=f"{', '.join(both[:_MAX_TOLD])}{more} is held out and trained on: expected each {name} once",
            )
    trained = set(rows.select("embodiment", "action_space", "rate_hz").unique().iter_rows())
    for one in held_out_only:
        if (one.embodiment.name, one.action_space, one.rate_hz) not in trained:
            yield Problem(
                place=("held_out",),
                text=f"every task of {one.embodiment.name!r} is held out, so that nothing tells how to normalize it: "
                "lower `held_out`, or leave the robot out by `where`",
            )
