"""Frame weights: how often each frame at which chunks start stands in its component's numbering.

A frame of weight 2 stands there twice, as two frames do, so that an epoch shows it twice and every law of the order
holds as it is; one of weight 0 does not stand there, though chunks that start before read on through it. Shares go by
frames, however often these stand. What is held out is not weighed, so that it stays the same under any weights.
"""
# Legend: T frames of an episode.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Self

import numpy as np
import polars as pl

from curation.catalogue import Catalogue
from curation.frames import RUN_COLUMNS
from curation.keyed import split_off
from curation.recipe_model import Recipe
from curation.recipe_problems import Problem
from curation.texts import annotated_texts
from curation.where import matching
from schema.errors import ConfigError

_MAX_TOLD = 5
_RANGES = {"episode_id": pl.String, "start": pl.Int64, "stop": pl.Int64, "rule": pl.Int64}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FrameWeights:
    """A recipe's frame weights on a lake."""

    recipe: Recipe
    catalogue: Catalogue
    episodes: dict[int, pl.Series]
    """Number of a rule → the ids of the episodes that its `where` keeps."""
    problems: tuple[Problem, ...]
    """What is wrong with the others."""

    @classmethod
    def of(cls, recipe: Recipe, catalogue: Catalogue) -> Self:
        """Look for the episodes that the rules name."""
        episodes, problems = dict[int, pl.Series](), list[Problem]()
        for number, rule in enumerate(recipe.frame_weight):
            if rule.where is not None:
                try:
                    episodes[number] = matching(catalogue, rule.where).select("episode_id").collect()["episode_id"]
                except ConfigError as error:
                    problems.append(Problem(place=("frame_weight", number, "where"), text=str(error)))
        return cls(recipe=recipe, catalogue=catalogue, episodes=episodes, problems=tuple(problems))

    def weigh(self, runs: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
        """The runs of these episodes with the `weight` of their frames, cut where it changes; without those of 0.

        Of the rules that fit a frame the first counts; a frame that none fits weighs 1. Each piece of a run begins
        where one of its chunks starts. Raises ConfigError where a rule fits nothing.
        """
        if not self.recipe.frame_weight:
            return runs
        parts = self._parts(rows)
        ranges = self._ranges(rows, parts)
        self.recipe.refuse(self._unused(ranges, parts))
        _, trained = split_off(rows, self.recipe.held_out, by=self.recipe.held_out_by)
        mine = ranges.join(trained.select("episode_id").unique(), on="episode_id", how="semi")
        by_episode = {
            str(episode): list(found.sort("rule", descending=True).select("start", "stop", "rule").iter_rows())
            for (episode,), found in mine.partition_by("episode_id", as_dict=True).items()
        }
        is_weighed, every = pl.col("episode_id").is_in(list(by_episode)), self.recipe.frames.every
        pieces = [
            (row, component, episode, first, last, chunk_stop, -(-(last - first) // every), weight)
            for row, component, episode, start, stop, chunk_stop in runs.filter(is_weighed)
            .select(RUN_COLUMNS)
            .iter_rows()
            for first, last, weight in self._pieces(start, stop, by_episode[episode])
        ]
        others = runs.filter(~is_weighed).with_columns(weight=pl.lit(1, pl.Int64))
        return pl.concat([others, pl.DataFrame(pieces, schema=others.schema, orient="row")])

    def _parts(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Annotations of parts of these episodes: `text` and the frames [start, stop)."""
        texts = annotated_texts(self.catalogue.lake, version=self.catalogue.version("annotations"))
        told = texts.join(_lengths(rows), on="episode_id")
        start, stop = pl.col("start").fill_null(0).cast(pl.Int64), pl.col("stop").cast(pl.Int64)
        bounded = told.with_columns(start=start, stop=pl.min_horizontal(stop.fill_null(2**31), "num_frames"))
        is_part = (pl.col("kind") == "segment") | (pl.col("start") > 0) | (pl.col("stop") < pl.col("num_frames"))
        return bounded.filter(is_part, pl.col("start") < pl.col("stop"), pl.col("text") != "")

    def _ranges(self, rows: pl.DataFrame, parts: pl.DataFrame) -> pl.DataFrame:
        """The frames [start, stop) that each rule fits, with its number as `rule`."""
        whole = _lengths(rows).select("episode_id", start=pl.lit(0, pl.Int64), stop="num_frames")
        found = [pl.DataFrame(schema=_RANGES)]
        for number, rule in enumerate(self.recipe.frame_weight):
            mine = whole
            if rule.segment is not None:
                fits = [fnmatchcase(text.casefold(), rule.segment.casefold()) for text in parts["text"]]
                mine = parts.filter(pl.Series(fits, dtype=pl.Boolean)).select("episode_id", "start", "stop")
            if number in self.episodes:
                mine = mine.filter(pl.col("episode_id").is_in(self.episodes[number].implode()))
            found.append(mine.with_columns(rule=pl.lit(number, pl.Int64)))
        return pl.concat(found)

    def _unused(self, ranges: pl.DataFrame, parts: pl.DataFrame) -> Iterator[Problem]:
        """Rules that fit no frame."""
        texts = sorted(set(parts["text"]))
        there = ", ".join(map(repr, texts[:_MAX_TOLD])) + " and more" * (len(texts) > _MAX_TOLD)
        for number in sorted(set(range(len(self.recipe.frame_weight))) - set(ranges["rule"])):
            hint = f", whose segments are: {there or 'none at all'}" if self.recipe.frame_weight[number].segment else ""
            yield Problem(
                place=("frame_weight", number),
                text=f"fits no frame of the selected episodes{hint}; mend it, or take it out",
            )

    def _pieces(self, start: int, stop: int, ranges: Sequence[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
        """(first, last, weight) of the stretches of one weight among the chunk starts of [start, stop); not of 0."""
        rules, every = self.recipe.frame_weight, self.recipe.frames.every
        weight_T = np.ones(stop, np.int64)
        for begin, end, rule in ranges:  # the first rule comes last
            weight_T[begin:end] = rules[rule].weight
        starts = np.arange(start, stop, every)
        for low, high in pairwise([0, *(np.flatnonzero(np.diff(weight_T[starts])) + 1).tolist(), len(starts)]):
            first = int(starts[low])
            if weight := int(weight_T[first]):
                yield first, min(stop, first + (high - low) * every), weight


def repeated(runs: pl.DataFrame) -> pl.DataFrame:
    """Each run as often as its weight says: all of a component once, then those that come again, and so on.

    A frame's copies so stand in segments of their own, which the order permutes, rather than side by side.
    """
    if "weight" not in runs.columns:
        return runs
    weight_R = runs["weight"].to_numpy()
    row = np.repeat(np.arange(len(runs)), weight_R)
    copy = np.arange(len(row)) - np.repeat(np.cumsum(weight_R) - weight_R, weight_R)
    return runs[row[np.lexsort((row, copy, runs["component"].to_numpy()[row]))]].drop("weight")


def _lengths(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select("episode_id", pl.col("num_frames").cast(pl.Int64)).unique()
