"""Choices by a keyed hash of the episode: the same on every machine, and nested."""

from hashlib import blake2b

import polars as pl


def keyed_hash(episode_id: str, key: str) -> float:
    """A number in [0, 1) that is the episode's own under this key."""
    digest = blake2b(episode_id.encode(), digest_size=8, key=key.encode()).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def split_off(rows: pl.DataFrame, share: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(held out, the rest): about this share of the episodes, the same for every seed.

    Each episode is judged by itself, so that more data leaves earlier choices as they were, and a smaller share holds
    out a subset of a larger one.
    """
    if share == 0:
        return rows.clear(), rows
    is_out = pl.Series([keyed_hash(episode, "held_out") < share for episode in rows["episode_id"]], dtype=pl.Boolean)
    return rows.filter(is_out), rows.filter(~is_out)


def take_first(rows: pl.DataFrame, episodes: int, *, seed: int) -> pl.DataFrame:
    """At most so many episodes of each component, those of the smallest hash: fewer are a subset of more."""
    hashes = pl.Series([keyed_hash(episode, f"limit {seed}") for episode in rows["episode_id"]], dtype=pl.Float64)
    ranked = rows.with_columns(_hash=hashes).sort("component", "_hash", "episode_id")
    return ranked.group_by("component", maintain_order=True).head(episodes).drop("_hash")
