"""What training reads as text: instructions of the whole episode, its task's name, or what holds for a part of it.

Where the recipe asks for segments, runs are cut at their edges, so that each run has one list of texts; its chunks
read on across the cut.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from curation.lock import CHUNK_STOP, RUNS
from curation.recipe_model import Recipe, TextKind
from schema.lake import Lake


def annotated_texts(lake: Lake, *, version: int | None) -> pl.DataFrame:
    """The texts that hold, each with its range of frames; none where the table has not been made yet."""
    rows = lake.annotations(version=version).filter(pl.col("kind").is_in(["instruction", "segment"])).collect()
    return rows.select("episode_id", "start", "stop", "kind", text=pl.col("text").str.strip_chars())


def run_table(episodes: pl.DataFrame, ranges: pl.DataFrame, texts: pl.DataFrame, *, recipe: Recipe) -> pa.Table:
    """The runs of these episodes with the texts that training reads, in the columns of `RUNS` and `CHUNK_STOP`."""
    frames = episodes.select("episode_id", "num_frames").unique()
    begins, ends = (
        pl.col("start").fill_null(0) <= 0,
        pl.col("stop").fill_null(pl.col("num_frames")) >= pl.col("num_frames"),
    )
    of_these = texts.join(frames, on="episode_id").with_columns(is_whole=begins & ends)
    annotated = (
        of_these.filter(pl.col("kind") == "instruction")
        .group_by("episode_id")
        .agg(whole=pl.col("text").filter(pl.col("is_whole"), pl.col("text") != "").unique().sort())
    )
    told = episodes.join(annotated, on="episode_id", how="left")
    if "segment" in recipe.prompt.text:
        is_part = ~pl.col("is_whole") | (pl.col("kind") == "segment")
        ranges = _cut(ranges, of_these.filter(is_part, pl.col("text") != ""), every=recipe.frames.every)
    else:
        ranges = ranges.with_columns(segments=pl.lit(None, pl.List(pl.String)))
    rows = ranges.join(told, on=["component", "episode_id"], how="left", maintain_order="left")
    named = rows.select("whole", "instructions", "task", "task_name", "segments").iter_rows()
    columns: dict[str, Any] = {
        "component": rows["component"].to_numpy(),
        "episode_id": rows["episode_id"].to_list(),
        "start": rows["start"].to_numpy().astype(np.int32),
        "stop": rows["stop"].to_numpy().astype(np.int32),
        "episode_frames": rows["num_frames"].to_numpy().astype(np.int32),
        "shard": rows["shard"].to_list(),
        "row_group": rows["row_group"].to_numpy(),
        "instructions": [
            _of_kinds(recipe.prompt.text, whole=instructions(whole, own, task), task=name, segments=segments)
            for whole, own, task, name, segments in named
        ],
        "chunk_stop": rows["chunk_stop"].to_numpy().astype(np.int32),
    }
    schema = RUNS.append(CHUNK_STOP)
    return pa.table({field.name: pa.array(columns[field.name], field.type) for field in schema}, schema=schema)


def instructions(whole: list[str] | None, own: list[str] | None, task: str) -> list[str]:
    """Annotations of the whole episode; without any annotation what came with the log.

    An episode that has neither is told by its task's name.
    """
    found = sorted({text.strip() for text in own or []} - {""}) if whole is None else whole
    return found or [task]


def _of_kinds(kinds: Sequence[TextKind], *, whole: list[str], task: str, segments: list[str] | None) -> list[str]:
    """The texts of the kinds that the recipe asks for; the whole episode's where there are none of these."""
    texts = {"instruction": whole, "task": [task], "segment": segments or []}
    return list(dict.fromkeys(text for kind in kinds for text in texts[kind])) or whole


def _cut(ranges: pl.DataFrame, parts: pl.DataFrame, *, every: int) -> pl.DataFrame:
    """The runs cut where texts of parts of an episode begin and end, with the `segments` that hold in each."""
    by_episode = {
        str(episode): list(mine.select("start", "stop", "text").sort("start", "stop", "text").iter_rows())
        for (episode,), mine in parts.partition_by("episode_id", as_dict=True).items()
    }
    rows = [
        (component, episode, *piece, chunk_stop, segments)
        for component, episode, start, stop, chunk_stop in ranges.select(
            "component", "episode_id", "start", "stop", "chunk_stop"
        ).iter_rows()
        for piece, segments in _pieces(start, stop, by_episode.get(episode, []), every=every)
    ]
    names = ["component", "episode_id", "start", "stop", "chunk_stop"]
    schema = {name: ranges.schema[name] for name in names} | {"segments": pl.List(pl.String)}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _pieces(
    start: int, stop: int, parts: list[tuple[int | None, int | None, str]], *, every: int
) -> Iterator[tuple[tuple[int, int], list[str]]]:
    """The pieces of [start, stop) between edges, each from its first chunk start on, and the texts that hold there."""
    bounds = [(begin or 0, stop if end is None else end, text) for begin, end, text in parts]
    edges = {edge for begin, end, _ in bounds for edge in (begin, end) if start < edge < stop}
    cuts = [start, *sorted(edges), stop]
    for low, high in pairwise(cuts):
        first = start + -(-(low - start) // every) * every
        if first < high:
            yield (first, high), [text for begin, end, text in bounds if begin <= low < end]
