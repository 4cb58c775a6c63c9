"""Numbers of selected frames, read from the shards' Parquet: only the columns asked for, never pictures."""
# Legend: T frames of a run, D dimensions, N values that count, H steps of a chunk.

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation.chunks import ActionForm, ChunkRule, chunk_rule, gather, to_delta
from schema.embodiment import Dimension
from schema.errors import SchemaError
from schema.frames import numbers
from schema.lake import Lake

Values = NDArray[np.float64]
_STARTS = 1024
"""Chunks that are spread out at once."""
_LARGEST = float(np.finfo(np.float32).max)
"""Training computes in float32, where what is larger is not finite."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Consecutive kept frames [start, stop) of one episode, and where they lie."""

    episode_id: str
    shard: str
    row_group: int
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Runs that are normalized alike: of one embodiment, action space, rate, action form and chunk length."""

    key: str
    state: tuple[Dimension, ...]
    action: tuple[Dimension, ...]
    steps: int
    form: ActionForm
    runs: tuple[Run, ...]
    """In the lock's order."""

    @property
    def rule(self) -> ChunkRule:
        """How chunks end, and which dimensions the delta form changes."""
        return chunk_rule(self.action, self.state, self.form)


@contextmanager
def open_shard(lake: Lake, shard: str) -> Iterator[pq.ParquetFile]:
    """A shard's Parquet, read where it lies."""
    try:
        with lake.fs.open(lake.path(f"{shard}.parquet"), "rb") as stream, pq.ParquetFile(stream) as file:
            yield file
    except FileNotFoundError as error:
        raise SchemaError(f"{shard}.parquet is missing from {lake.uri}: expected it by the catalogue") from error


def read_run(file: pq.ParquetFile, run: Run, group: Group) -> tuple[Values, Values]:
    """State and action `[T, D]` of a run's frames in the group's action space; SchemaError where one is not finite."""
    names = {one.signal.name: None for one in (*group.state, *group.action)}
    table = file.read_row_group(run.row_group, columns=["episode_id", *names])
    if table.num_rows < run.stop or table["episode_id"][0].as_py() != run.episode_id:
        raise SchemaError(
            f"row group {run.row_group} of {run.shard} is not episode {run.episode_id}: expected it by the catalogue; "
            "`robomix lake verify` tells what is damaged"
        )
    signals = {name: _finite(table, name, run) for name in names}
    state, action = (_stack(signals, dimensions) for dimensions in (group.state, group.action))
    return state, action


def counted_actions(state_TD: Values, action_TD: Values, group: Group) -> Iterator[tuple[Values, NDArray[np.int64]]]:
    """The actions `[N, D]` of all valid (chunk start, step) pairs of a run, piece by piece, and how often each counts.

    A recorded step of the stored form counts as often as chunks reach it; the delta form spreads out every pair.
    """
    if not group.rule.is_delta.any():
        yield action_TD, reach(len(action_TD), group.steps)
        return
    for first in range(0, len(action_TD), _STARTS):
        start_B = np.arange(first, min(first + _STARTS, len(action_TD)))
        stored_BHD, step_mask_BH = gather(action_TD, start_B, steps=group.steps, stop=len(action_TD), rule=group.rule)
        action_ND = to_delta(stored_BHD, state_TD[start_B], group.rule)[step_mask_BH]
        yield action_ND, np.ones(len(action_ND), np.int64)


def reach(frames: int, steps: int) -> NDArray[np.int64]:
    """How many chunk starts of a run reach each of its frames, `[T]`: 1, 2, … up to `steps`."""
    return np.minimum(np.arange(1, frames + 1), steps)


def _finite(table: pa.Table, name: str, run: Run) -> Values:
    found = numbers(table[name]) if name in table.schema.names else None
    if found is None:
        raise SchemaError(
            f"episode {run.episode_id} has no signal {name!r} in {run.shard}: expected it by the catalogue"
        )
    values: Values = found[run.start : run.stop].astype(np.float64).reshape(run.stop - run.start, -1)
    if not (np.abs(values) <= _LARGEST).all():
        raise SchemaError(
            f"episode {run.episode_id} holds numbers in {name!r} that are not finite in float32, expected all to be: "
            f"leave it out with where: \"episode_id != '{run.episode_id}'\", or mend the log and ingest it again"
        )
    return values


def _stack(signals: dict[str, Values], dimensions: Sequence[Dimension]) -> Values:
    return np.stack([signals[one.signal.name][:, one.index] for one in dimensions], axis=1)
