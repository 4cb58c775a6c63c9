"""The catalogue as a recipe sees it: episodes ⋈ scores ⋈ verdicts, each at one pinned version of its table.

A metric's newest version counts. Of the verdicts on a whole episode the newest counts. Tables are pinned, and named
in a lock's versions, only where they are asked for something.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from curation.recipe_problems import Problem
from schema.errors import SchemaError
from schema.lake import Lake

VERDICT_COLUMNS = ("verdict_keep", "verdict_reason", "verdict_author")


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """A lake's tables at pinned versions."""

    lake: Lake
    pinned: Mapping[str, int]
    """Versions that the recipe names; the newest at first sight of the others."""
    versions: dict[str, int | None] = field(default_factory=dict)
    """The version of each table that was read so far; None where it has not been made yet."""

    def problems(self) -> Iterator[Problem]:
        """Versions that the recipe names and the lake does not have."""
        for name, version in self.pinned.items():
            try:
                self.lake.table(name, version)
            except SchemaError as error:
                yield Problem(place=("versions", name), text=f"{error}; name one that is there, or leave it out")

    def version(self, table: str) -> int | None:
        """The version of a table to read, pinned from now on."""
        if table not in self.versions:
            self.versions[table] = self.pinned.get(table, self.lake.version(table))
        return self.versions[table]

    @cached_property
    def episodes(self) -> pl.LazyFrame:
        """One row per live episode."""
        return self.lake.episodes(version=self.version("episodes"))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns of `episodes`."""
        return tuple(self.episodes.collect_schema().names())

    @cached_property
    def sources(self) -> dict[str, int]:
        """The number of episodes of each source."""
        return dict(self.episodes.group_by("source").len().collect().iter_rows())

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that there are scores of."""
        rows = self.lake.scan("scores", version=self.version("scores")).select(pl.col("metric").unique().sort())
        return tuple(rows.collect()["metric"])

    def scores(self, metric: str) -> pl.DataFrame:
        """`episode_id` and the metric's `value` in its newest version, one row per episode that has one."""
        rows = self.lake.scan("scores", version=self.version("scores")).filter(pl.col("metric") == metric)
        return rows.sort("metric_version", "value").group_by("episode_id").agg(pl.col("value").last()).collect()

    @cached_property
    def verdicts(self) -> pl.DataFrame:
        """Every verdict, the oldest first."""
        rows = self.lake.scan("verdicts", version=self.version("verdicts"))
        return rows.sort("created_at", "verdict_id").collect()

    @property
    def no_verdicts(self) -> pl.DataFrame:
        """The table of verdicts without a row."""
        return self.lake.scan("verdicts").head(0).collect()

    def joined(self, names: list[str]) -> pl.LazyFrame:
        """The episodes with those of these columns that stand in other tables."""
        rows = self.episodes
        wanted = [name for name in dict.fromkeys(names) if name not in self.columns]
        if set(wanted) & set(VERDICT_COLUMNS):
            rows = rows.join(self._whole_verdicts().lazy(), on="episode_id", how="left")
        others = [name for name in wanted if name not in VERDICT_COLUMNS]
        for metric in others:
            if metric in self.metrics:
                rows = rows.join(self.scores(metric).lazy().rename({"value": metric}), on="episode_id", how="left")
        return rows

    def _whole_verdicts(self) -> pl.DataFrame:
        whole = self.verdicts.filter(pl.col("start").is_null() & pl.col("stop").is_null())
        newest = whole.group_by("episode_id").agg(pl.col("keep", "reason", "author").last())
        return newest.rename({name.removeprefix("verdict_"): name for name in VERDICT_COLUMNS})
