"""Recipe → lock: select, weigh, measure, and write down everything that training needs to know.

The catalogue is read at one version of each table, the shards' Parquet for statistics only, pictures never. The same
recipe on the same versions gives the same lock.
"""

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from curation.cameras import shown_cameras
from curation.components import Candidate
from curation.lock import CHUNK_STOP, Component, Lock
from curation.recipe import Problem, Recipe
from curation.resample import ratio
from curation.select import Selection, select
from curation.shard_work import Work
from curation.signals import Group, Run
from curation.statistics import statistics
from curation.texts import annotated_texts, run_table
from curation.weigh import Weighed, weigh
from schema.lake import Lake


def make_lock(recipe: Recipe, lake: Lake, *, work: Work | None = None) -> Lock:
    """The lock of a recipe on the lake as it is now; `work` says how statistics are split, which changes nothing.

    Raises:
        ConfigError: the recipe asks for what the lake does not have, or for what cannot be mixed; every problem. Or
            sources that are normalized together do not agree.
        SchemaError: a shard is damaged or gone.
    """
    selection = select(recipe, lake)
    weighed = weigh(selection.candidates, recipe.weighting)
    components = _by_source(_components(selection, weighed, recipe), selection, recipe)
    texts = annotated_texts(lake, version=selection.versions["annotations"])
    groups = list(_groups(components, selection, recipe))
    runs, held_out = (
        run_table(episodes, ranges, texts, recipe=recipe)
        for episodes, ranges in (
            (selection.episodes, selection.runs),
            (selection.held_out, selection.held_out_runs),
        )
    )
    if all((table["stop"].to_numpy() == table["chunk_stop"].to_numpy()).all() for table in (runs, held_out)):
        runs, held_out = (table.drop_columns(CHUNK_STOP.name) for table in (runs, held_out))
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
        cameras=shown_cameras(recipe, selection.embodiments.values()),
        components=components,
        embodiments=selection.embodiments,
        runs=runs,
        stats=statistics(
            lake,
            groups,
            layout=recipe.layout,
            width=recipe.width,
            must_agree=recipe.statistics == "agreeing",
            work=work,
        ),
        held_out=held_out,
        every=recipe.frames.every,
        chunk_rate_hz=recipe.chunk.rate_hz,
        any_cameras=tuple(slot for slot in recipe.cameras if recipe.camera_choice.get(slot) == "any"),
        camera_dropout=_dropout(recipe),
        prompt_dropout=recipe.prompt.dropout,
        normalization=recipe.normalization,
        numbered=tuple(one.numbered for one in selection.candidates) if recipe.frame_weight else (),
    )


def _dropout(recipe: Recipe) -> tuple[float, ...]:
    """How often each slot is left empty; empty where none ever is."""
    shares = tuple(recipe.camera_dropout.get(slot, 0.0) for slot in recipe.cameras)
    return shares if any(shares) else ()


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
            share=share,
            quota=quota,
            window_segments=window,
            stats_key=_stats_key(candidate, recipe),
            prompt_prefix=_tag(candidate, recipe) if recipe.prompt.tag else "",
        )
        for candidate, share, quota, window in (
            *zip(
                selection.candidates,
                weighed.share_C.tolist(),
                weighed.quota_C.tolist(),
                weighed.window_C.tolist(),
                strict=True,
            ),
            *((one, 0.0, 0, 1) for one in selection.held_out_only),
        )
    )


def _by_source(components: tuple[Component, ...], selection: Selection, recipe: Recipe) -> tuple[Component, ...]:
    """The components with the source in their key of statistics, where the recipe asks for that."""
    if recipe.statistics != "by_source":
        return components
    found = pl.concat([rows.select("component", "source") for rows in (selection.episodes, selection.held_out)])
    sources = dict(found.group_by("component").agg(pl.col("source").unique().sort()).iter_rows())
    recipe.refuse(
        Problem(
            place=("statistics",),
            text=f"component {one.name!r} takes episodes of {' and '.join(sources[index])}, expected one source "
            "each where statistics are by source: set `group: source`, or take the sources in recipes of their own",
        )
        for index, one in enumerate(components)
        if len(sources.get(index, ())) > 1
    )
    return tuple(
        replace(one, stats_key="/".join([one.stats_key, *sources.get(index, ())]))
        for index, one in enumerate(components)
    )


def _stats_key(candidate: Candidate, recipe: Recipe) -> str:
    """Components of one key are normalized alike."""
    space = f"{candidate.embodiment.name}/{candidate.action_space}"
    resampled = f"@{recipe.chunk.rate_hz:g}hz" if recipe.chunk.rate_hz else ""
    return f"{space}/{candidate.rate_hz:g}hz/{recipe.action_form}/{recipe.chunk.steps}{resampled}"


def _tag(candidate: Candidate, recipe: Recipe) -> str:
    """Short, since a prompt has 48 tokens for everything."""
    return (
        f"{candidate.embodiment.name}, {candidate.action_space} at {recipe.chunk.rate_hz or candidate.rate_hz:g} Hz: "
    )


def _groups(components: tuple[Component, ...], selection: Selection, recipe: Recipe) -> Iterator[Group]:
    """The runs of each key of statistics, in the lock's order."""
    where = selection.episodes.select("component", "episode_id", "shard", "row_group")
    rows = selection.runs.join(where, on=["component", "episode_id"], how="left", maintain_order="left")
    columns = ["component", "episode_id", "shard", "row_group", "start", "stop", "chunk_stop"]
    by_key: dict[str, list[Run]] = {}
    members: dict[str, Candidate] = {}
    for component, episode, shard, row_group, start, stop, end in rows.select(columns).iter_rows():
        run = Run(episode_id=episode, shard=shard, row_group=row_group, start=start, stop=stop, chunk_stop=end)
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
            every=recipe.frames.every,
            ratio=ratio(members[key].rate_hz, recipe.chunk.rate_hz),
        )
