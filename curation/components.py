"""Components: the selected episodes put together by embodiment × task, and what speaks against mixing them.

Several action spaces or rates of one embodiment make components of their own. The episodes of a component may have
been converted by several versions of an embodiment's table, as long as these say the same of what is taken.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import polars as pl

from curation.cameras import shown_cameras, slot_problems
from curation.chunks import chunk_rule
from curation.compatible import Member, clashes
from curation.mixture import bound_faults
from curation.recipe_model import Recipe, Weighting
from curation.recipe_problems import Problem
from curation.resample import ratio
from schema.embodiment import ActionSpace, Embodiment
from schema.errors import ConfigError
from schema.layout import slots

_MAX_TOLD = 5
_NEAR_RATE = 0.1
"""A source whose median rate is this near to its table's has the table's."""
_KEY = ("embodiment", "action_space", "rate_hz", "group")
_ALL = "all tasks"


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A component before it is weighed."""

    name: str
    embodiment: Embodiment
    action_space: str
    task: str
    rate_hz: float
    boost: float
    quality: float = 1.0
    """Multiplies the weight: the mean of a score over its frames."""
    episodes: int = 0
    frames: int = 0
    numbered: int = 0
    """Its frames, each as often as its frame weight says: what an epoch of it is made of."""
    tar_bytes: int = 0
    index: int = 0

    @property
    def space(self) -> ActionSpace:
        """Its action space."""
        return self.embodiment.action_space(self.action_space)

    @property
    def hours(self) -> float:
        """How long its frames take at its rate."""
        return self.frames / self.rate_hz / 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class Selected:
    """Rows of the catalogue with the place of their source in the recipe, its boost and action space."""

    rows: pl.DataFrame
    embodiments: Mapping[str, Embodiment]


Combined = tuple[tuple[Candidate, ...], pl.DataFrame]
"""The components by name, and the rows with the `component` that each belongs to."""


def combine(selected: Selected, recipe: Recipe) -> Combined:
    """The components of rows, of which there is at least one."""
    rows = _grouped(_with_rates(selected), recipe)
    keys = rows.group_by(_KEY).agg(
        pl.col("boost").first(),
        pl.col("embodiment_table").mode().sort().first(),
    )
    named = keys.with_columns(name=pl.Series(_names(keys), dtype=pl.String)).sort("name")
    candidates = tuple(_candidate(index, row, selected.embodiments) for index, row in enumerate(named.to_dicts()))
    numbered = named.select(*_KEY, component=pl.int_range(len(named), dtype=pl.Int32))
    return candidates, rows.join(numbered, on=_KEY, how="left", maintain_order="left")


def counted(candidates: Sequence[Candidate], rows: pl.DataFrame) -> list[Candidate]:
    """The same with the episodes, frames, bytes and quality that these rows have of each."""
    quality = pl.col("quality") * pl.col("frames") if "quality" in rows.columns else pl.col("frames")
    sums = rows.group_by("component").agg(
        pl.len(), pl.col("frames", "numbered", "tar_bytes").sum(), weighted=quality.sum()
    )
    found = {row["component"]: row for row in sums.iter_rows(named=True)}
    nothing = {"len": 0, "frames": 0, "numbered": 0, "tar_bytes": 0, "weighted": 0}
    return [_counted(one, found.get(one.index, nothing)) for one in candidates]


def _counted(candidate: Candidate, sums: Mapping[str, Any]) -> Candidate:
    frames = sums["frames"]
    quality = sums["weighted"] / frames if frames else 1.0
    counts = {name: sums[name] for name in ("frames", "numbered", "tar_bytes")}
    return replace(candidate, episodes=sums["len"], quality=quality, **counts)


def component_problems(selected: Selected, combined: Combined, recipe: Recipe) -> Iterator[Problem]:
    """What speaks against these components, as `combine` gives them, side by side under this recipe."""
    yield from _different_tables(selected)
    yield from slot_problems(recipe)
    if recipe.frames.min_steps > recipe.chunk.steps:
        yield Problem(
            place=("frames", "min_steps"),
            text=f"found {recipe.frames.min_steps}, expected at most the {recipe.chunk.steps} steps of a chunk",
        )
    yield from _unused_patterns(selected.rows, recipe)
    candidates, rows = combined
    yield from _unbounded(len(candidates), recipe.weighting)
    yield from _different_boosts(candidates, rows)
    members, told = [], set[str]()
    for candidate in candidates:
        try:
            members.append(_member(candidate, recipe))
        except ConfigError as error:
            if str(error) not in told:
                told.add(str(error))
                yield Problem(place=_blame(error), text=f"component {candidate.name!r}: {error}")
        shown = {camera for names in shown_cameras(recipe, [candidate.embodiment]).values() for camera in names}
        if candidate.embodiment.cameras and not shown & {camera.name for camera in candidate.embodiment.cameras}:
            there = ", ".join(camera.name for camera in candidate.embodiment.cameras)
            yield Problem(place=("cameras",), text=f"no slot shows a camera of {candidate.name!r}: name one of {there}")
    if not recipe.prompt.tag:
        yield from (Problem(place=("prompt",), text=text) for text in clashes(members, recipe.layout))


def _member(candidate: Candidate, recipe: Recipe) -> Member:
    """A component as it stands in the padded vectors; ConfigError where it cannot."""
    state = candidate.embodiment.dimensions(candidate.space.state)
    action = candidate.embodiment.dimensions(candidate.space.action)
    q = ratio(candidate.rate_hz, recipe.chunk.rate_hz)
    chunk_rule(action, state, recipe.action_form, ratio=q, steps=recipe.chunk.steps)
    return Member(
        name=candidate.name,
        rate_hz=recipe.chunk.rate_hz or candidate.rate_hz,
        state=dict(zip(slots(state, recipe.layout, width=recipe.width).places, state, strict=True)),
        action=dict(zip(slots(action, recipe.layout, width=recipe.width).places, action, strict=True)),
    )


def _blame(error: ConfigError) -> tuple[str, ...]:
    words = {"padded width": "width", "layout": "layout", "delta form": "action_form", "rate_hz": "chunk"}
    return next(((key,) for word, key in words.items() if word in str(error)), ())


def _with_rates(selected: Selected) -> pl.DataFrame:
    """Rows whose `rate_hz` is one rate for each source and embodiment: the table's, or the measured one rounded."""
    key = ["source", "embodiment"]
    measured = selected.rows.group_by(key).agg(pl.col("rate_hz").median(), pl.col("embodiment_table").min())
    rates = [
        _rate(row["rate_hz"], selected.embodiments[row["embodiment_table"]].rate_hz) for row in measured.to_dicts()
    ]
    nominal = measured.select(*key, rate_hz=pl.Series(rates, dtype=pl.Float64))
    return selected.rows.drop("rate_hz").join(nominal, on=key, how="left", maintain_order="left")


def _grouped(rows: pl.DataFrame, recipe: Recipe) -> pl.DataFrame:
    """The rows with their `task_name`, and the `group` that tells the components of one embodiment apart."""
    names = {task: task_name(task, recipe.tasks) for task in rows["task"].unique()}
    named = rows.with_columns(task_name=pl.col("task").replace(names))
    group = {"embodiment_task": pl.col("task_name"), "embodiment": pl.lit(_ALL), "source": pl.col("source")}
    return named.with_columns(group=group[recipe.group])


def task_name(task: str, patterns: Mapping[str, str]) -> str:
    """What a task is called by the first pattern that it fits, else as it is."""
    return next((name for pattern, name in patterns.items() if _fits(task, pattern)), task)


def _fits(task: str, pattern: str) -> bool:
    return fnmatchcase(task.casefold(), pattern.casefold())


def _unused_patterns(rows: pl.DataFrame, recipe: Recipe) -> Iterator[Problem]:
    tasks = sorted(rows["task"].unique())
    for pattern in recipe.tasks:
        if not any(_fits(task, pattern) for task in tasks):
            more = f" and {len(tasks) - _MAX_TOLD} more" if len(tasks) > _MAX_TOLD else ""
            there = ", ".join(map(repr, tasks[:_MAX_TOLD]))
            yield Problem(
                place=("tasks", pattern),
                text=f"no selected task fits {pattern!r}, found {there}{more}: mend the pattern, or take it out",
            )


def _unbounded(count: int, weighting: Weighting) -> Iterator[Problem]:
    """Bounds of the shares that so many components cannot keep."""
    for text in bound_faults(count, weighting.floor, weighting.cap):
        yield Problem(place=("weighting", "cap" if text.startswith("cap") else "floor"), text=text)


def _rate(measured_hz: float, table_hz: float) -> float:
    is_near = abs(measured_hz / table_hz - 1) <= _NEAR_RATE
    return table_hz if is_near else float(max(1, round(measured_hz)))


def _names(keys: pl.DataFrame) -> list[str]:
    """`<embodiment>/<task>`, with the action space and the rate where the embodiment has several."""
    several = keys.group_by("embodiment").agg(pl.col("action_space").n_unique(), pl.col("rate_hz").n_unique())
    spaces, rates = (
        {row["embodiment"] for row in several.to_dicts() if row[what] > 1} for what in ("action_space", "rate_hz")
    )
    return [
        row["embodiment"]
        + (f".{row['action_space']}" if row["embodiment"] in spaces else "")
        + (f"@{row['rate_hz']:g}hz" if row["embodiment"] in rates else "")
        + f"/{row['group']}"
        for row in keys.to_dicts()
    ]


def _candidate(index: int, row: Mapping[str, Any], embodiments: Mapping[str, Embodiment]) -> Candidate:
    return Candidate(
        name=row["name"],
        embodiment=embodiments[row["embodiment_table"]],
        action_space=row["action_space"],
        task=row["group"],
        rate_hz=row["rate_hz"],
        boost=row["boost"],
        index=index,
    )


def _different_boosts(candidates: tuple[Candidate, ...], rows: pl.DataFrame) -> Iterator[Problem]:
    boosts = rows.group_by("component").agg(pl.col("boost").unique().sort(), pl.col("place").max()).sort("component")
    for component, values, place in boosts.iter_rows():
        if len(values) > 1:
            found = " and ".join(f"{value:g}" for value in values)
            yield Problem(
                place=("sources", place, "boost"),
                text=f"component {candidates[component].name!r} takes frames with boost {found}, and all of them are "
                "drawn alike: give the sources that fill it the same boost",
            )


def _different_tables(selected: Selected) -> Iterator[Problem]:
    """Versions of an embodiment's table that do not agree on what is taken."""
    pairs = selected.rows.select("embodiment", "action_space", "embodiment_table", "place").unique()
    for (name, space), group in sorted(pairs.partition_by("embodiment", "action_space", as_dict=True).items()):
        tables = sorted(group["embodiment_table"].unique())
        if len({_facts(selected.embodiments[table], str(space)) for table in tables}) > 1:
            yield Problem(
                place=("sources", max(group["place"].to_list()), "where"),
                text=f"episodes of {name!r} were converted by tables that disagree on action space {space!r}: "
                f"{', '.join(tables)}; ingest the older ones again, or choose one with "
                f"where: \"embodiment_table = '{tables[-1]}'\"",
            )


def _facts(embodiment: Embodiment, space_name: str) -> str:
    space = embodiment.action_space(space_name)
    signals = [embodiment.signal(name).model_dump_json() for name in (*space.state, *space.action)]
    return f"{embodiment.rate_hz} {embodiment.cameras} {signals}"
