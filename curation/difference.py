"""What changed between two mixtures, in words and numbers. Each is a lock, or a recipe as it would be locked now.

Compared are the recipe's fields, the pinned versions, the robots' tables, the components, the episodes in them, and,
between two locks, the statistics that normalize.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import polars as pl

from curation.lock import Lock
from curation.recipe import Recipe, builtin_recipes
from curation.select import open_recipe, select
from curation.weigh import weigh
from schema.errors import ConfigError
from schema.lake import Lake

_NUMBERS = ("episodes", "frames", "hours", "share")
_STILL = 1e-5
"""In a dimension's unit: no standard deviation is taken for smaller."""
_MAX_TOLD = 12


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Outline:
    """A mixture as far as it is compared."""

    settings: dict[str, Any]
    """The recipe's fields by their path, such as `sources[fleet].boost`, and the lanes."""
    versions: dict[str, int | None]
    tables: dict[str, tuple[str, ...]]
    """Embodiment → digests of its tables."""
    components: pl.DataFrame
    """Columns: component, episodes, frames, hours, share."""
    episodes: pl.DataFrame
    """Columns: component, episode_id, frames."""
    held_out: int
    """Episodes that are held out."""
    statistics: pl.DataFrame | None
    """None for a recipe, whose frames have not been measured."""

    @classmethod
    def at(cls, place: str, *, lake_uri: str = "") -> "Outline":
        """Of the recipe in a YAML file (or a built-in one) on this lake, or of the lock in a folder."""
        if not place.endswith((".yaml", ".yml")) and place not in builtin_recipes():
            return cls.of_lock(Lock.load(place))
        if not lake_uri:
            raise ConfigError(f"a recipe is looked at on a lake: name it with --lake ({place})")
        lake = Lake.open(lake_uri)
        return cls.of_recipe(open_recipe(place, lake), lake)

    @classmethod
    def of_lock(cls, lock: Lock) -> "Outline":
        """What a lock holds."""
        rows = [{"component": one.name, **{name: getattr(one, name) for name in _NUMBERS}} for one in lock.components]
        runs = cast(pl.DataFrame, pl.from_arrow(lock.runs.select(["component", "episode_id"])))
        return cls(
            settings=dict(_flat(lock.recipe)) | {"lanes": lock.lanes},
            versions=lock.versions,
            tables=_tables((table.name, digest) for digest, table in lock.embodiments.items()),
            components=_components(rows),
            episodes=_episodes(runs.with_columns(frames=pl.Series(lock.run_index().selected_R)), rows),
            held_out=len(set(lock.held_out["episode_id"].to_pylist())),
            statistics=cast(pl.DataFrame, pl.from_arrow(lock.stats)),
        )

    @classmethod
    def of_recipe(cls, recipe: Recipe, lake: Lake) -> "Outline":
        """What the recipe would lock on the lake as it is now; ConfigError as `make_lock`."""
        selection = select(recipe, lake)
        weighed = weigh(selection.candidates, recipe.weighting)
        shares = [*weighed.share_C.tolist(), *(0.0 for _ in selection.held_out_only)]
        rows: list[dict[str, Any]] = [
            {"component": one.name, "episodes": one.episodes, "frames": one.frames, "hours": one.hours, "share": share}
            for one, share in zip((*selection.candidates, *selection.held_out_only), shares, strict=True)
        ]
        return cls(
            settings=dict(_flat(recipe.model_dump(mode="json"))) | {"lanes": weighed.lanes},
            versions=selection.versions,
            tables=_tables((table.name, digest) for digest, table in selection.embodiments.items()),
            components=_components(rows),
            episodes=_episodes(selection.episodes.with_columns(frames="numbered"), rows),
            held_out=selection.held_out["episode_id"].n_unique(),
            statistics=None,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A field, version or table that is not what it was; None where it was or is not there."""

    what: str
    before: Any
    after: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What changed; nothing where two mixtures are the same."""

    settings: tuple[Change, ...]
    versions: tuple[Change, ...]
    tables: tuple[Change, ...]
    components: tuple[dict[str, Any], ...]
    """One row per component that is added, removed or changed: `<number>_before` and `<number>_after`."""
    episodes: dict[str, int]
    """How many episodes of components are added, removed, and kept with another number of frames."""
    held_out: tuple[int, int]
    """Episodes held out before and after."""
    hours: tuple[float, float]
    statistics: tuple[dict[str, Any], ...]
    """One row per dimension that is normalized otherwise, the largest change first."""
    is_measured: bool
    """Whether both have statistics to compare."""

    @property
    def is_none(self) -> bool:
        """Whether nothing changed."""
        parts = (self.settings, self.versions, self.tables, self.components, self.statistics)
        return not any(parts) and not any(self.episodes.values()) and self.held_out[0] == self.held_out[1]

    def rows(self) -> list[dict[str, str]]:
        """The components that changed as a table for people, the largest shares first."""
        ordered = sorted(
            self.components, key=lambda row: (-max(row["share_before"] or 0, row["share_after"] or 0), row["component"])
        )
        return [
            {
                "component": row["component"],
                "change": row["change"],
                **{name: _pair(row[f"{name}_before"], row[f"{name}_after"]) for name in _NUMBERS},
            }
            for row in ordered
        ]

    def sentences(self) -> Iterator[str]:
        """The difference in words; the components' numbers are in the table beside them."""
        if self.is_none:
            yield "nothing changed"
            return
        for title, changes in (("recipe", self.settings), ("version of", self.versions), ("table of", self.tables)):
            yield from (f"{title} {one.what}: {_told(one.before)} → {_told(one.after)}" for one in changes)
        if any(self.episodes.values()):
            yield "episodes: " + ", ".join(f"{count:,} {what}" for what, count in self.episodes.items())
            yield f"hours: {self.hours[0]:,.4g} → {self.hours[1]:,.4g}"
        if self.held_out[0] != self.held_out[1]:
            yield f"held out: {self.held_out[0]:,} → {self.held_out[1]:,} episodes"
        for one in self.statistics[:_MAX_TOLD]:
            yield f"statistics of {one['key']}, {one['dimension']}: {one['change']}"
        if len(self.statistics) > _MAX_TOLD:
            yield f"… and {len(self.statistics) - _MAX_TOLD} more dimensions are normalized otherwise"
        if not self.is_measured:
            yield "statistics are not compared: a recipe that is not locked has none"


def difference(before: Outline, after: Outline) -> Difference:
    """What changed from one mixture to another."""
    is_measured = before.statistics is not None and after.statistics is not None
    hours = (float(before.components["hours"].sum()), float(after.components["hours"].sum()))
    return Difference(
        settings=tuple(_changes(before.settings, after.settings)),
        versions=tuple(_changes(before.versions, after.versions)),
        tables=tuple(_changes(before.tables, after.tables)),
        components=tuple(_component_changes(before.components, after.components)),
        episodes=_episode_changes(before.episodes, after.episodes),
        held_out=(before.held_out, after.held_out),
        hours=hours,
        statistics=tuple(_statistic_changes(before.statistics, after.statistics)) if is_measured else (),
        is_measured=is_measured,
    )


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The fields of a recipe by their path; sources by name, so that one put before another is no change of both."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
        seen: dict[str, int] = {}
        for number, one in enumerate(value):
            name = str(one.get("source", one.get("name", number))) if isinstance(one, Mapping) else str(number)
            seen[name] = seen.get(name, 0) + 1
            yield from _flat(one, f"{path}[{name}{f' #{seen[name]}' if seen[name] > 1 else ''}]")
    else:
        yield path, list(value) if isinstance(value, tuple) else value


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for name in {**before, **after}:
        if before.get(name) != after.get(name):
            yield Change(what=name, before=before.get(name), after=after.get(name))


def _tables(pairs: Iterator[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for name, digest in sorted(pairs):
        found.setdefault(name, []).append(digest)
    return {name: tuple(digests) for name, digests in found.items()}


def _components(rows: list[dict[str, Any]]) -> pl.DataFrame:
    types = (pl.Int64, pl.Int64, pl.Float64, pl.Float64)
    return pl.DataFrame(rows, schema={"component": pl.String, **dict(zip(_NUMBERS, types, strict=True))})


def _episodes(rows: pl.DataFrame, components: list[dict[str, Any]]) -> pl.DataFrame:
    """One row per component, by its name, and episode."""
    names = pl.DataFrame({"index": range(len(components)), "name": [row["component"] for row in components]})
    named = rows.with_columns(index=pl.col("component").cast(pl.Int64)).join(names, on="index")
    return named.group_by(component="name", episode_id="episode_id").agg(pl.col("frames").cast(pl.Int64).sum())


def _component_changes(before: pl.DataFrame, after: pl.DataFrame) -> Iterator[dict[str, Any]]:
    both = before.join(after, on="component", how="full", coalesce=True, suffix="_after")
    named = both.rename({name: f"{name}_before" for name in _NUMBERS})
    for row in named.sort("component").to_dicts():
        if row["frames_before"] is None or row["frames_after"] is None:
            yield {"change": "added" if row["frames_before"] is None else "removed", **row}
        elif any(row[f"{name}_before"] != row[f"{name}_after"] for name in _NUMBERS):
            yield {"change": "changed", **row}


def _episode_changes(before: pl.DataFrame, after: pl.DataFrame) -> dict[str, int]:
    key = ["component", "episode_id"]
    kept = before.join(after, on=key)
    return {
        "added": len(after) - len(kept),
        "removed": len(before) - len(kept),
        "cut otherwise": len(kept.filter(pl.col("frames") != pl.col("frames_right"))),
    }


def _statistic_changes(before: pl.DataFrame | None, after: pl.DataFrame | None) -> Iterator[dict[str, Any]]:
    """Per dimension: how far its mean moved in standard deviations, by how much these grew, and the rule."""
    assert before is not None
    assert after is not None
    key = ["key", "dimension"]
    columns = [*key, "mean", "std", "rule"]
    both = before.select(columns).join(after.select(columns), on=key, how="full", coalesce=True, suffix="_after")
    std, std_after = (pl.max_horizontal(name, pl.lit(_STILL)) for name in ("std", "std_after"))
    moved = (pl.col("mean_after") - pl.col("mean")) / std
    compared = both.with_columns(moved_std=moved, std_ratio=std_after / std)
    far = pl.max_horizontal(pl.col("moved_std").abs(), pl.col("std_ratio").log().abs()).fill_null(float("inf"))
    is_other = (pl.col("mean") != pl.col("mean_after")) | (pl.col("std") != pl.col("std_after"))
    is_other |= pl.col("rule") != pl.col("rule_after")
    changed = compared.filter(is_other | pl.col("mean").is_null() | pl.col("mean_after").is_null())
    for row in changed.sort(far, *key, descending=[True, False, False]).to_dicts():
        yield {**{name: row[name] for name in (*key, "moved_std", "std_ratio")}, "change": _statistic(row)}


def _statistic(row: Mapping[str, Any]) -> str:
    if row["mean"] is None or row["mean_after"] is None:
        return "added" if row["mean"] is None else "removed"
    rule = "" if row["rule"] == row["rule_after"] else f", rule {row['rule']} → {row['rule_after']}"
    return (
        f"mean {row['mean']:.4g} → {row['mean_after']:.4g} ({row['moved_std']:+.2g} std), "
        f"std {row['std']:.4g} → {row['std_after']:.4g} (× {row['std_ratio']:.3g}){rule}"
    )


def _pair(before: float | None, after: float | None) -> str:
    """A number, or what it was and is where that is another."""
    texts = ["–" if one is None else f"{one:,}" if isinstance(one, int) else f"{one:,.4g}" for one in (before, after)]
    return texts[0] if before == after else " → ".join(texts)


def _told(value: object) -> str:
    return "nothing" if value is None else repr(value) if isinstance(value, str) else str(value)
