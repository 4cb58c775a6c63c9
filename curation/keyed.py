"""Choices by a keyed hash: the same on every machine, and nested."""

from hashlib import blake2b

import polars as pl

from curation.recipe_model import HeldOutBy, Limit

GROUP_COLUMN: dict[HeldOutBy, str] = {
    "episode": "episode_id",
    "scene": "scene",
    "operator": "operator",
    "task": "task_name",
}
"""The column that tells what is held out whole."""


def keyed_hash(name: str, key: str) -> float:
    """A number in [0, 1) that is the name's own under this key."""
    digest = blake2b(name.encode(), digest_size=8, key=key.encode()).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def split_off(rows: pl.DataFrame, share: float, *, by: HeldOutBy = "episode") -> tuple[pl.DataFrame, pl.DataFrame]:
    """(held out, the rest): about this share of the episodes, scenes, operators or tasks, the same for every seed.

    Each is judged by itself, so that more data leaves earlier choices as they were, and a smaller share holds out a
    subset of a larger one.
    """
    if share == 0:
        return rows.clear(), rows
    key = "held_out" if by == "episode" else f"held_out {by}"
    groups = rows[GROUP_COLUMN[by]].to_list()
    out = {group for group in set(groups) if keyed_hash(group, key) < share}
    is_out = pl.Series([group in out for group in groups], dtype=pl.Boolean)
    return rows.filter(is_out), rows.filter(~is_out)


def take_first(rows: pl.DataFrame, limit: Limit, *, seed: int) -> pl.DataFrame:
    """At most so many episodes or recorded hours of each component, in the order of their hashes.

    Fewer are a subset of more: an episode is taken where it and all before it keep to the limit.
    """
    hashes = pl.Series([keyed_hash(episode, f"limit {seed}") for episode in rows["episode_id"]], dtype=pl.Float64)
    taken = rows.with_columns(_hash=hashes).sort("component", "_hash", "episode_id")
    if limit.episodes is not None:
        taken = taken.group_by("component", maintain_order=True).head(limit.episodes)
    if limit.hours is not None:
        hours = (pl.col("num_frames") / pl.col("rate_hz") / 3600).cum_sum().over("component")
        taken = taken.filter(hours <= limit.hours)
    return taken.drop("_hash")
