"""Selection: which episodes of a lake a recipe takes, at pinned versions of the tables.

`select` reads the catalogue only, never frames. Everything that the lake has against the recipe is told at once, with
what `curation.components` finds when the episodes are put together.
"""
# Legend: E episodes, R runs.

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import filter as fitting
from pathlib import Path

import numpy as np
import polars as pl

from curation.catalogue import Catalogue
from curation.components import Candidate, Selected, combine, component_problems, counted
from curation.frame_weight import FrameWeights, repeated
from curation.frames import frame_runs
from curation.held_out import group_problems, leaks, parted
from curation.keyed import split_off, take_first
from curation.recipe import Problem, Recipe, SourceChoice, load_recipe
from curation.weigh import weigh
from curation.where import matching
from schema.embodiment import Embodiment
from schema.errors import ConfigError
from schema.lake import Lake

_MAX_TOLD = 5
_COLUMNS = (
    "episode_id",
    "source",
    "embodiment",
    "embodiment_table",
    "action_spaces",
    "task",
    "instructions",
    "scene",
    "operator",
    "num_frames",
    "rate_hz",
    "shard",
    "row_group",
    "tar_bytes",
    "cameras",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """What verdicts, frame rules and weights of 0 leave out of the episodes that are selected, held out or not."""

    episodes: int
    """Episodes of which no frame is left."""
    frames: int
    """Frames that no chunk starts at, those of these episodes among them."""
    all_frames: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What a recipe takes of a lake."""

    versions: dict[str, int | None]
    """The pinned version of each table that was read."""
    embodiments: dict[str, Embodiment]
    """By the digest of the table; only those that the components name."""
    candidates: tuple[Candidate, ...]
    """The components before they are weighed, by name."""
    held_out_only: tuple[Candidate, ...]
    """Components that are held out whole; their indices follow those of `candidates`."""
    episodes: pl.DataFrame
    """One row per episode to train on, by (component, episode_id); `component` is an index in `candidates`, `frames`
    counts the chunk starts, `numbered` each as often as its frame weight says."""
    runs: pl.DataFrame
    """Their runs (`start`, `stop`, `chunk_stop`, `frames` of each), by component, episode and start; those that
    frame weights let come again follow after all of their component."""
    held_out: pl.DataFrame
    """Like `episodes`, of those that are held out."""
    held_out_runs: pl.DataFrame
    left_out: LeftOut


def open_recipe(path: str | Path, lake: Lake) -> Recipe:
    """The recipe in a YAML file; where it is wrong, ConfigError lists every problem, the lake's among them.

    What the lake has against a recipe that is sound in itself, `select` tells in the same way.
    """
    return load_recipe(path, check=lambda sources, recipe: () if recipe else _problems(sources, None, lake=lake))


def select(recipe: Recipe, lake: Lake) -> Selection:
    """The episodes that the recipe takes of the lake as it is now; ConfigError lists every problem."""
    catalogue = Catalogue(lake=lake, pinned=dict[str, int](recipe.versions.items()))
    recipe.refuse(catalogue.problems())
    for table in ("episodes", "annotations"):
        catalogue.version(table)
    found = _found(dict(enumerate(recipe.sources)), catalogue, recipe)
    weights = FrameWeights.of(recipe, catalogue)
    problems = [*found.problems, *weights.problems]
    if found.selected.rows.is_empty():
        recipe.refuse(problems)
    combined = combine(found.selected, recipe)
    recipe.refuse([*problems, *component_problems(found.selected, combined, recipe)])
    candidates, rows = combined
    recipe.refuse(group_problems(rows, recipe))
    rows = rows.sort("component", "episode_id").with_row_index("row")
    runs = weights.weigh(frame_runs(rows, recipe, verdicts=_that_hold(catalogue, recipe)), rows)
    rows, left_out = _with_frames(rows, runs)
    held_out, rows = split_off(rows, recipe.held_out, by=recipe.held_out_by)
    if recipe.limit is not None:
        rows = take_first(rows, recipe.limit, seed=recipe.seed)
    candidates, held_out_only, number = parted(counted(candidates, rows), held_out, recipe)
    recipe.refuse([*_empty(candidates, recipe), *leaks(rows, held_out, recipe, held_out_only=held_out_only)])
    recipe.refuse(_unweighed(candidates, recipe))
    rows, held_out, runs = (
        frame.with_columns(pl.col("component").replace_strict(number, return_dtype=pl.Int32))
        for frame in (rows, held_out, runs)
    )
    rows, held_out = _ordered(rows), _ordered(held_out)
    return Selection(
        versions=catalogue.versions,
        embodiments={one.embodiment.digest: one.embodiment for one in (*candidates, *held_out_only)},
        candidates=candidates,
        held_out_only=held_out_only,
        episodes=rows.drop("row"),
        runs=_runs_of(rows, runs),
        held_out=held_out.drop("row"),
        held_out_runs=_runs_of(held_out, runs),
        left_out=left_out,
    )


def _that_hold(catalogue: Catalogue, recipe: Recipe) -> pl.DataFrame:
    """The verdicts that the recipe goes by, the oldest first; a lake without any stays without a pinned version."""
    if recipe.verdicts == "ignore" or catalogue.lake.version("verdicts") is None:
        return catalogue.no_verdicts
    return catalogue.verdicts


def _with_frames(rows: pl.DataFrame, runs: pl.DataFrame) -> tuple[pl.DataFrame, LeftOut]:
    """The episodes that have runs, with the `frames` of these, how often they are `numbered`, and what is left out."""
    row_R, frames_R = runs["row"].to_numpy(), runs["frames"].to_numpy()
    weight_R = runs["weight"].to_numpy() if "weight" in runs.columns else 1
    frames_E, numbered_E = (
        np.bincount(row_R, counts, len(rows)).astype(np.int64) for counts in (frames_R, frames_R * weight_R)
    )
    counted_rows = rows.with_columns(frames=pl.Series(frames_E), numbered=pl.Series(numbered_E))
    found = counted_rows.filter(pl.Series(frames_E > 0))
    total = int(rows["num_frames"].sum())
    frames = total - int(found["frames"].sum())
    return found, LeftOut(episodes=len(rows) - len(found), frames=frames, all_frames=total)


def _ordered(frame: pl.DataFrame, *then: str) -> pl.DataFrame:
    """The rows by component and row, and then; as they are where each row stands so, which spares a copy of all."""
    place = frame["component"].cast(pl.Int64) * 2**32 + frame["row"].cast(pl.Int64)
    is_ordered = bool((np.diff(place.to_numpy()) > 0).all())
    return frame if is_ordered else frame.sort("component", "row", *then)


def _runs_of(rows: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """The runs of these rows, by component, episode and start, each as often as its weight says."""
    is_taken_R = np.isin(runs["row"].to_numpy(), rows["row"].to_numpy())
    return repeated(_ordered(runs.filter(pl.Series(is_taken_R, dtype=pl.Boolean)), "start").drop("row"))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    selected: Selected
    problems: list[Problem]


def _problems(sources: dict[int, SourceChoice], recipe: Recipe | None, *, lake: Lake) -> Iterator[Problem]:
    """What the lake has against a recipe, or against its sound sources where other parts are wrong."""
    catalogue = Catalogue(lake=lake, pinned=dict[str, int](recipe.versions.items()) if recipe else {})
    if gone := list(catalogue.problems()):
        yield from gone
        return
    found = _found(sources, catalogue, recipe)
    yield from found.problems
    if recipe is not None and not found.selected.rows.is_empty():
        yield from component_problems(found.selected, combine(found.selected, recipe), recipe)


def _found(sources: Mapping[int, SourceChoice], catalogue: Catalogue, recipe: Recipe | None) -> _Found:
    """The rows of every source that can be taken, and what is wrong with the others."""
    embodiments: dict[str, Embodiment] = {}
    parts, problems = [], []
    for place, choice in sources.items():
        try:
            rows = _rows(choice, catalogue, success=recipe.success if recipe else "any")
            for digest in rows["embodiment_table"].unique().sort():
                embodiments.setdefault(digest, catalogue.lake.embodiment(digest))
            spaces = _action_spaces(choice, rows, embodiments)
        except _ChoiceError as error:
            problems.append(Problem(place=("sources", place, *error.key), text=str(error)))
            continue
        space = pl.col("embodiment_table").replace_strict(spaces, return_dtype=pl.String)
        parts.append(rows.with_columns(place=pl.lit(place), boost=pl.lit(choice.boost), action_space=space))
    frame = pl.concat(parts) if parts else pl.DataFrame()
    named = Counter(name for choice in sources.values() for name in fitting(catalogue.sources, choice.source))
    problems += _twice(frame) if named and max(named.values()) > 1 else ()
    if recipe is not None and recipe.quality is not None and not problems:
        frame, lacking = _with_quality(frame, catalogue, recipe.quality.score)
        problems += lacking
    return _Found(selected=Selected(rows=frame, embodiments=embodiments), problems=problems)


class _ChoiceError(Exception):
    """A source that cannot be taken as the recipe says, and the key that is at fault."""

    def __init__(self, text: str, *key: str) -> None:
        super().__init__(text)
        self.key = key


def _rows(choice: SourceChoice, catalogue: Catalogue, *, success: str) -> pl.DataFrame:
    counts = catalogue.sources
    taken = fitting(sorted(counts), choice.source)
    if not taken:
        close = difflib.get_close_matches(choice.source, counts, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "ingest it first, or take it out"
        there = ", ".join(sorted(counts)) or "none at all"
        raise _ChoiceError(f"source {choice.source!r} is not in the lake, expected one of: {there}; {hint}", "source")
    try:
        rows = catalogue.episodes if choice.where is None else matching(catalogue, choice.where)
    except ConfigError as error:
        raise _ChoiceError(str(error), "where") from error
    rows = rows.filter(pl.col("source").is_in(taken), pl.col("num_frames") > 0)
    found = rows.with_columns(tar_bytes=pl.col("tar_stop") - pl.col("tar_start"))
    frame = found.select(*_COLUMNS, "success").collect()
    kept = frame if success == "any" else frame.filter(pl.col("success") == (success == "true"))
    if kept.is_empty():
        number = sum(counts[one] for one in taken)
        raise _ChoiceError(
            f"source {choice.source!r} gives no episode: it has {number}, `where` keeps {len(frame)} "
            f"and `success: {success}` {len(kept)}; expected at least 1: loosen them, or take the source out"
        )
    return kept.select(_COLUMNS)


def _with_quality(rows: pl.DataFrame, catalogue: Catalogue, metric: str) -> tuple[pl.DataFrame, list[Problem]]:
    """The rows with the `quality` of each episode, and what is wrong with the scores that were asked for."""
    place = ("quality", "score")
    if metric not in catalogue.metrics:
        close = difflib.get_close_matches(metric, catalogue.metrics, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "score the episodes first, or take `quality` out"
        there = ", ".join(catalogue.metrics) or "none at all"
        return rows, [Problem(place=place, text=f"found no scores {metric!r}, expected one of: {there}; {hint}")]
    scored = rows.join(
        catalogue.scores(metric).rename({"value": "quality"}), on="episode_id", how="left", maintain_order="left"
    )
    wrong = scored.filter(~(pl.col("quality").is_finite() & (pl.col("quality") >= 0)).fill_null(value=False))
    if wrong.is_empty():
        return scored, []
    text = (
        f"{len(wrong)} of {len(scored)} episodes have no score {metric!r} that is 0 or more, such as "
        f'{wrong["episode_id"][0]}: score them, or leave them out with where: "{metric} >= 0"'
    )
    return scored, [Problem(place=place, text=text)]


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
    if rows.is_empty():
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


def _empty(candidates: Iterable[Candidate], recipe: Recipe) -> Iterator[Problem]:
    """Components that hold-out, limit, verdicts or frame rules leave nothing of."""
    asked = {
        "held_out": recipe.held_out > 0,
        "limit": recipe.limit is not None,
        "frame_weight": any(rule.weight == 0 for rule in recipe.frame_weight),
        "frames": True,
    }
    words = {
        "held_out": "lower `held_out`",
        "limit": "raise `limit`",
        "frame_weight": "raise `frame_weight`",
        "frames": "loosen `frames`",
    }
    blamed = [key for key, is_asked in asked.items() if is_asked]
    for candidate in candidates:
        if candidate.episodes == 0:
            yield Problem(
                place=(blamed[0],),
                text=f"component {candidate.name!r} has no episode left to train on: "
                f"{', '.join(words[key] for key in blamed)}, see its verdicts, ingest more episodes, or leave the "
                "component out by `where`",
            )


def _unweighed(candidates: Sequence[Candidate], recipe: Recipe) -> Iterator[Problem]:
    """Components that would never be drawn, or weights of which no shares can be made."""
    weightless = [repr(one.name) for one in candidates if one.quality == 0]
    if recipe.quality is not None and weightless:
        more = f" and {len(weightless) - _MAX_TOLD} more" if len(weightless) > _MAX_TOLD else ""
        which = (
            "every component" if len(weightless) == len(candidates) else f"{', '.join(weightless[:_MAX_TOLD])}{more}"
        )
        yield Problem(
            place=("quality", "score"),
            text=f"the mean of score {recipe.quality.score!r} is 0 over the frames of {which}, so that nothing of them "
            "would be drawn: expected more than 0; take another score, or leave them out by `where`",
        )
        return
    try:
        weigh(candidates, recipe.weighting)
    except ConfigError as error:
        yield Problem(place=("sources",), text=str(error))
