"""Recipe → lock: select, weigh, measure, and write down everything that training needs to know.

The catalogue is read at one version of each table, the shards' Parquet for statistics only, pictures never. The same
recipe on the same versions gives the same lock.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
import pyarrow as pa

from curation.components import Candidate
from curation.lock import RUNS, Component, Lock
from curation.recipe import Recipe
from curation.select import Selection, select
from curation.shard_work import Work
from curation.signals import Group, Run
from curation.statistics import statistics
from curation.weigh import Weighed, weigh
from schema.lake import Lake


def make_lock(recipe: Recipe, lake: Lake, *, work: Work | None = None) -> Lock:
    """The lock of a recipe on the lake as it is now; `work` says how statistics are split, which changes nothing.

    Raises:
        ConfigError: the recipe asks for what the lake does not have, or for what cannot be mixed; every problem.
        SchemaError: a shard is damaged or gone.
    """
    selection = select(recipe, lake)
    weighed = weigh(selection.candidates, recipe.weighting)
    components = _components(selection, weighed, recipe)
    texts = _texts(lake, version=selection.versions["annotations"])
    groups = list(_groups(components, selection, recipe))
    return Lock(
        recipe=recipe.model_dump(mode="json"),
        lake=lake.uri,
        versions=selection.versions,
        seed=recipe.seed,
        lanes=weighed.lanes,
        layout=recipe.layout,
        width=recipe.width,
        chunk_steps=recipe.chunk.steps,
        action_form=recipe.action_form,
        image_size=recipe.image_size,
        cameras=dict(recipe.cameras),
        components=components,
        embodiments=selection.embodiments,
        runs=_runs(selection.episodes, texts),
        stats=statistics(lake, groups, layout=recipe.layout, width=recipe.width, work=work),
        held_out=_runs(selection.held_out, texts),
    )


def _components(selection: Selection, weighed: Weighed, recipe: Recipe) -> tuple[Component, ...]:
    return tuple(
        Component(
            name=candidate.name,
            embodiment=candidate.embodiment.name,
            embodiment_table=candidate.embodiment.digest,
            action_space=candidate.action_space,
            task=candidate.task,
            rate_hz=candidate.rate_hz,
            episodes=candidate.episodes,
            frames=candidate.frames,
            hours=candidate.hours,
            share=float(weighed.share_C[index]),
            quota=int(weighed.quota_C[index]),
            window_segments=int(weighed.window_C[index]),
            stats_key=_stats_key(candidate, recipe),
            prompt_prefix=_tag(candidate) if recipe.prompt.tag else "",
        )
        for index, candidate in enumerate(selection.candidates)
    )


def _stats_key(candidate: Candidate, recipe: Recipe) -> str:
    """Components of one key are normalized alike."""
    space = f"{candidate.embodiment.name}/{candidate.action_space}"
    return f"{space}/{candidate.rate_hz:g}hz/{recipe.action_form}/{recipe.chunk.steps}"


def _tag(candidate: Candidate) -> str:
    """Short, since a prompt has 48 tokens for everything."""
    return f"{candidate.embodiment.name}, {candidate.action_space} at {candidate.rate_hz:g} Hz: "


def _groups(components: tuple[Component, ...], selection: Selection, recipe: Recipe) -> Iterator[Group]:
    """The runs of each key of statistics, in the lock's order."""
    columns = ["component", "episode_id", "shard", "row_group", "num_frames"]
    by_key: dict[str, list[Run]] = {}
    members: dict[str, Candidate] = {}
    for component, episode, shard, row_group, frames in selection.episodes.select(columns).iter_rows():
        run = Run(episode_id=episode, shard=shard, row_group=row_group, start=0, stop=frames)
        by_key.setdefault(components[component].stats_key, []).append(run)
        members.setdefault(components[component].stats_key, selection.candidates[component])
    for key, runs in by_key.items():
        embodiment, space = members[key].embodiment, members[key].space
        yield Group(
            key=key,
            state=embodiment.dimensions(space.state),
            action=embodiment.dimensions(space.action),
            steps=recipe.chunk.steps,
            form=recipe.action_form,
            runs=tuple(runs),
        )


def _texts(lake: Lake, *, version: int | None) -> pl.DataFrame:
    """The instructions that hold, each with its range of frames; none where the table has not been made yet."""
    rows = lake.annotations(version=version).filter(pl.col("kind") == "instruction").collect()
    return rows.select("episode_id", "start", "stop", "text")


def _runs(episodes: pl.DataFrame, texts: pl.DataFrame) -> pa.Table:
    """One run per episode, the whole of it, with the texts that training reads."""
    begins, ends = (
        pl.col("start").fill_null(0) <= 0,
        pl.col("stop").fill_null(pl.col("num_frames")) >= pl.col("num_frames"),
    )
    annotated = (
        texts.join(episodes.select("episode_id", "num_frames").unique(), on="episode_id")
        .with_columns(text=pl.col("text").str.strip_chars())
        .group_by("episode_id")
        .agg(whole=pl.col("text").filter(begins & ends, pl.col("text") != "").unique().sort())
    )
    rows = episodes.join(annotated, on="episode_id", how="left", maintain_order="left").sort("component", "episode_id")
    lists = [
        _instructions(whole, own, task) for whole, own, task in rows.select("whole", "instructions", "task").iter_rows()
    ]
    frames = rows["num_frames"].to_numpy().astype(np.int32)
    columns = {
        "component": rows["component"].to_numpy(),
        "episode_id": rows["episode_id"].to_list(),
        "start": np.zeros(len(rows), np.int32),
        "stop": frames,
        "episode_frames": frames,
        "shard": rows["shard"].to_list(),
        "row_group": rows["row_group"].to_numpy(),
        "instructions": lists,
    }
    return pa.table({name: pa.array(columns[name], RUNS.field(name).type) for name in RUNS.names}, schema=RUNS)


def _instructions(whole: list[str] | None, own: list[str] | None, task: str) -> list[str]:
    """What training reads as text: annotations of the whole episode; without any annotation what came with the log.

    An episode that has neither is told by its task's name.
    """
    found = sorted({text.strip() for text in own or []} - {""}) if whole is None else whole
    return found or [task]
