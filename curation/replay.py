"""Replay: what a lock samples at any position, and at which positions it samples an episode.

Both follow from the lock alone: no picture or number is read, and nothing is walked through. What stands at a position
is what `training.loader` gives there. Only which cameras an episode has is asked of the catalogue.
"""
# Legend: P positions, R runs, F frames.

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.instruction import chosen
from curation.inverse import positions_of
from curation.lock import Lock
from curation.shown import ShownCameras
from schema.errors import ConfigError
from schema.lake import Lake

_CALL = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayed:
    """The sample at one position."""

    position: int
    component: str
    epoch: int
    """How often the frame's lane has been visited whole before."""
    episode_id: str
    frame: int
    shard: str
    row_group: int
    prompt: str
    cameras: dict[str, str | None] | None = None
    """Model slot → the camera that it shows, None for none; not told without a lake, or where nothing is left to
    chance."""

    def told(self) -> str:
        """Three lines for people, and one more of cameras."""
        where = f"{self.episode_id}-{self.frame:06d} in {self.shard}.tar, row group {self.row_group}"
        lines = [f"{self.position:,}  {self.component}, epoch {self.epoch}", where, f"“{self.prompt}”"]
        if self.cameras is not None:
            lines.append(", ".join(f"{slot}: {camera or 'nothing'}" for slot, camera in self.cameras.items()))
        return "\n    ".join(lines)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """How often an episode came in the first so many positions."""

    until: str
    """Such as a checkpoint's URI."""
    position: int
    times: int
    distinct_frames: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sightings:
    """Every position at which an episode is sampled, up to some position."""

    episode_id: str
    components: tuple[str, ...]
    """Those that it is part of; none where it is held out."""
    frames: int
    """How many of its frames chunks start at."""
    stop: int
    position_P: NDArray[np.int64]
    """Ascending."""
    frame_P: NDArray[np.int64]
    """The episode's frame at each position."""

    def __len__(self) -> int:
        return len(self.position_P)

    def at(self, places: Iterable[tuple[str, int]]) -> Iterator["Sighting"]:
        """What had been seen of it at each (name, position), such as a checkpoint's; at most `stop` positions."""
        for name, position in places:
            seen = int(np.searchsorted(self.position_P, position))
            frames = len(np.unique(self.frame_P[:seen]))
            yield Sighting(until=name, position=min(position, self.stop), times=seen, distinct_frames=frames)

    def rows(self, *, batch: int, start: int = 0, count: int | None = None) -> Iterator[dict[str, int]]:
        """A row per position from `start` on, with the training step that reads it; `count` at most."""
        first = int(np.searchsorted(self.position_P, start))
        last = len(self) if count is None else first + count
        for position, frame in zip(
            self.position_P[first:last].tolist(), self.frame_P[first:last].tolist(), strict=True
        ):
            yield {"position": position, "step": position // batch, "frame": frame}


def samples_at(lock: Lock, position: int, *, count: int = 1, lake: Lake | None = None) -> Iterator[Replayed]:
    """The samples at `count` positions from this one on; with a lake also the cameras that chance has them show."""
    order, runs, shown = lock.order(), lock.run_index(), ShownCameras(lock)
    is_left_to_chance = bool(lock.any_cameras or lock.camera_dropout)
    start_R = lock.runs["start"].to_numpy()
    for first in range(position, position + count, _CALL):
        found = order.samples(np.arange(first, min(first + _CALL, position + count)))
        run_P, offset_P = runs.locate(found.component, found.frame)
        frame_P = start_R[run_P] + offset_P
        rows = lock.runs.take(run_P).select(["component", "episode_id", "shard", "row_group", "instructions"])
        there = _cameras(lock, rows, lake) if lake is not None and is_left_to_chance else {}
        for number, row in enumerate(rows.to_pylist()):
            component = lock.components[row["component"]]
            at = int(found.position[number])
            names = there.get((row["shard"], row["row_group"]))
            yield Replayed(
                position=at,
                component=component.name,
                epoch=int(found.epoch[number]),
                episode_id=row["episode_id"],
                frame=int(frame_P[number]),
                shard=row["shard"],
                row_group=row["row_group"],
                prompt=component.prompt_prefix
                + chosen(row["instructions"], seed=lock.seed, position=at, dropout=lock.prompt_dropout),
                cameras=None if names is None else dict(zip(lock.cameras, shown(names, at), strict=True)),
            )


def _cameras(lock: Lock, rows: pa.Table, lake: Lake) -> dict[tuple[str, int], tuple[str, ...]]:
    """(shard, row group) → the cameras that the episode there has, of these rows' episodes."""
    ids = pl.Series(rows["episode_id"].unique().to_pylist(), dtype=pl.String)
    found = lake.scan("episodes", version=lock.versions["episodes"]).filter(pl.col("episode_id").is_in(ids.implode()))
    columns = found.select("shard", "row_group", "cameras").collect().iter_rows()
    return {(shard, row_group): tuple(cameras) for shard, row_group, cameras in columns}


def sightings(lock: Lock, episode_id: str, *, stop: int) -> Sightings:
    """Every position before `stop` at which the episode is sampled; none where it is held out.

    Raises:
        ConfigError: the lock does not know the episode.
    """
    mine_R = np.flatnonzero(pc.equal(lock.runs["episode_id"], episode_id).to_numpy())
    if not len(mine_R) and episode_id not in set(lock.held_out["episode_id"].to_pylist()):
        raise ConfigError(
            f"episode {episode_id!r} is neither trained on nor held out by this lock, expected one of its "
            f"{lock.runs.num_rows:,} + {lock.held_out.num_rows:,} runs' episode ids (32 hex characters); "
            "`recipe replay LOCK --position 0` shows some"
        )
    runs, order = lock.run_index(), lock.order()
    start_R, component_R = lock.runs["start"].to_numpy(), lock.runs["component"].to_numpy()
    selected_R, frame_start_R = runs.selected_R, runs.frame_start_R.astype(np.int64)
    first_R = frame_start_R[:-1] - frame_start_R[runs.component_run_start_C[component_R]]
    positions, frames = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    _, first_of = np.unique(np.stack([component_R[mine_R], start_R[mine_R]]), axis=1, return_index=True)
    for run in mine_R.tolist():
        asked_F = first_R[run] + np.arange(selected_R[run])
        position_P, frame_P = positions_of(order, int(component_R[run]), asked_F, stop=stop)
        positions.append(position_P)
        frames.append((frame_P - first_R[run]) * lock.every + start_R[run])
    position_P = np.concatenate(positions)
    ascending = np.argsort(position_P)
    return Sightings(
        episode_id=episode_id,
        components=tuple(lock.components[index].name for index in np.unique(component_R[mine_R])),
        frames=int(selected_R[mine_R[first_of]].sum()),  # a frame's weight lets its run come several times
        stop=stop,
        position_P=position_P[ascending],
        frame_P=np.concatenate(frames)[ascending],
    )


def checkpoints(lock: Lock, *, lake_uri: str | None = None) -> list[tuple[str, int]]:
    """(URI, position) of every checkpoint of this lock that its lake knows of, by position; none where it is gone.

    `lake_uri` says where the lake is now, if it has moved.
    """
    lake = Lake(lake_uri or lock.lake)
    if not lake.is_lake():
        return []
    rows = lake.scan("training_runs").filter(pl.col("lock") == lock.digest).select("checkpoint_uri", "position")
    return [(uri, position) for uri, position in rows.unique().sort("position", "checkpoint_uri").collect().iter_rows()]
