"""Selection: which episodes of a lake a recipe takes, at pinned versions of the tables.

`select` reads the catalogue only, never frames. Everything that the lake has against the recipe is told at once, with
what `curation.components` finds when the episodes are put together.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from curation.components import Candidate, Selected, combine, component_problems
from curation.keyed import split_off, take_first
from curation.recipe import Problem, Recipe, SourceChoice, load_recipe
from schema.embodiment import Embodiment
from schema.errors import ConfigError
from schema.lake import Lake

_COLUMNS = (
    "episode_id",
    "source",
    "embodiment",
    "embodiment_table",
    "action_spaces",
    "task",
    "instructions",
    "num_frames",
    "rate_hz",
    "shard",
    "row_group",
    "tar_bytes",
    "cameras",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What a recipe takes of a lake."""

    versions: dict[str, int | None]
    """The pinned version of each table that was read."""
    embodiments: dict[str, Embodiment]
    """By the digest of the table; only those that the components name."""
    candidates: tuple[Candidate, ...]
    """The components before they are weighed, by name."""
    episodes: pl.DataFrame
    """One row per episode to train on, by (component, episode_id); `component` is an index in `candidates`."""
    held_out: pl.DataFrame
    """The same for the episodes that are held out."""


def open_recipe(path: str | Path, lake: Lake) -> Recipe:
    """The recipe in a YAML file, checked against the lake too; ConfigError lists every problem."""
    return load_recipe(path, check=partial(_problems, lake=lake))


def select(recipe: Recipe, lake: Lake) -> Selection:
    """The episodes that the recipe takes of the lake as it is now; ConfigError lists every problem."""
    versions = {name: lake.version(name) for name in ("episodes", "annotations")}
    found = _found(dict(enumerate(recipe.sources)), lake, success=recipe.success, version=versions["episodes"])
    recipe.refuse([*found.problems, *component_problems(found.selected, recipe)])
    candidates, rows = combine(found.selected)
    held_out, rows = split_off(rows, recipe.held_out)
    if recipe.limit is not None:
        rows = take_first(rows, recipe.limit.episodes, seed=recipe.seed)
    counted = tuple(candidate.counted(rows) for candidate in candidates)
    recipe.refuse(_empty(counted))
    order = ["component", "episode_id"]
    return Selection(
        versions=versions,
        embodiments={candidate.embodiment.digest: candidate.embodiment for candidate in counted},
        candidates=counted,
        episodes=rows.sort(order),
        held_out=held_out.sort(order),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    selected: Selected
    problems: list[Problem]


def _problems(sources: dict[int, SourceChoice], recipe: Recipe | None, *, lake: Lake) -> Iterator[Problem]:
    """What the lake has against a recipe, or against its sound sources where other parts are wrong."""
    found = _found(sources, lake, success=recipe.success if recipe else "any", version=lake.version("episodes"))
    yield from found.problems
    if recipe is not None:
        yield from component_problems(found.selected, recipe)


def _found(sources: Mapping[int, SourceChoice], lake: Lake, *, success: str, version: int | None) -> _Found:
    """The rows of every source that can be taken, and what is wrong with the others."""
    catalogue = lake.episodes(version=version)
    counts = dict(catalogue.group_by("source").len().collect().iter_rows())
    embodiments: dict[str, Embodiment] = {}
    parts, problems = [], []
    for place, choice in sources.items():
        try:
            rows = _rows(choice, catalogue, counts=counts, success=success)
            for digest in rows["embodiment_table"].unique().sort():
                embodiments.setdefault(digest, lake.embodiment(digest))
            spaces = _action_spaces(choice, rows, embodiments)
        except _ChoiceError as error:
            problems.append(Problem(place=("sources", place, *error.key), text=str(error)))
            continue
        space = pl.col("embodiment_table").replace_strict(spaces, return_dtype=pl.String)
        parts.append(rows.with_columns(place=pl.lit(place), boost=pl.lit(choice.boost), action_space=space))
    frame = pl.concat(parts) if parts else pl.DataFrame()
    problems += _twice(frame)
    return _Found(selected=Selected(rows=frame, embodiments=embodiments), problems=problems)


class _ChoiceError(Exception):
    """A source that cannot be taken as the recipe says, and the key that is at fault."""

    def __init__(self, text: str, *key: str) -> None:
        super().__init__(text)
        self.key = key


def _rows(choice: SourceChoice, catalogue: pl.LazyFrame, *, counts: dict[str, int], success: str) -> pl.DataFrame:
    if choice.source not in counts:
        close = difflib.get_close_matches(choice.source, counts, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "ingest it first, or take it out"
        there = ", ".join(sorted(counts)) or "none at all"
        raise _ChoiceError(f"source {choice.source!r} is not in the lake, expected one of: {there}; {hint}", "source")
    rows = catalogue.filter(pl.col("source") == choice.source, pl.col("num_frames") > 0)
    if choice.where is not None:
        rows = _filtered(rows, choice.where)
    found = rows.with_columns(tar_bytes=pl.col("tar_stop") - pl.col("tar_start"))
    frame = found.select(*_COLUMNS, "success").collect()
    kept = frame if success == "any" else frame.filter(pl.col("success") == (success == "true"))
    if kept.is_empty():
        raise _ChoiceError(
            f"source {choice.source!r} gives no episode: it has {counts[choice.source]}, `where` keeps {len(frame)} "
            f"and `success: {success}` {len(kept)}; expected at least 1: loosen them, or take the source out"
        )
    return kept.select(_COLUMNS)


def _filtered(rows: pl.LazyFrame, where: str) -> pl.LazyFrame:
    columns = rows.collect_schema().names()
    try:
        kept = rows.filter(pl.sql_expr(where))
        kept.head(1).collect()  # types are looked at only when it runs
    except PolarsError as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        if unknown := re.match(r'unable to find column "([^"]*)"', reason):
            close = difflib.get_close_matches(unknown[1], columns, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "`robomix lake info` lists them"
            reason = f"no column {unknown[1]!r} in the episodes table; {hint}"
        raise _ChoiceError(
            f"found {where!r}: {reason}; expected a Polars SQL expression that is true or false of an episode, "
            "such as num_frames >= 20",
            "where",
        ) from error
    return kept


def _action_spaces(choice: SourceChoice, rows: pl.DataFrame, embodiments: Mapping[str, Embodiment]) -> dict[str, str]:
    """The name of the action space by embodiment table, given by every episode."""
    digests = sorted(rows["embodiment_table"].unique(), key=lambda digest: (embodiments[digest].name, digest))
    try:
        spaces = {digest: embodiments[digest].action_space(choice.action_space).name for digest in digests}
    except ConfigError as error:
        raise _ChoiceError(str(error), "action_space") from error
    for digest, space in spaces.items():
        of_table = rows.filter(pl.col("embodiment_table") == digest)
        lacking = of_table.filter(~pl.col("action_spaces").list.contains(space))
        if len(lacking):
            raise _ChoiceError(
                f"{len(lacking)} of {len(of_table)} episodes of {embodiments[digest].name!r} lack signals of action "
                f"space {space!r}, such as {lacking['episode_id'][0]}: choose another action space, or leave them out "
                f"with where: \"array_contains(action_spaces, '{space}')\"",
                "action_space",
            )
    return spaces


def _twice(rows: pl.DataFrame) -> Iterator[Problem]:
    """Episodes that two entries take in the same action space, which would come twice as often."""
    if rows.is_empty() or not rows.select("episode_id", "action_space").is_duplicated().any():
        return
    taken = rows.group_by("episode_id", "action_space").agg(pl.col("place").sort())
    overlaps = taken.filter(pl.col("place").list.len() > 1).group_by("place").len().sort("place")
    for places, count in overlaps.iter_rows():
        names = " and ".join(f"sources[{place}]" for place in places)
        yield Problem(
            place=("sources", places[-1]),
            text=f"{names} both take {count} episodes in the same action space: expected each once; "
            "part them by their `where`, or take one out",
        )


def _empty(candidates: Iterable[Candidate]) -> Iterator[Problem]:
    for candidate in candidates:
        if candidate.episodes == 0:
            yield Problem(
                place=("held_out",),
                text=f"component {candidate.name!r} has no episode left to train on: lower `held_out`, ingest more "
                "episodes, or leave the component out by `where`",
            )
