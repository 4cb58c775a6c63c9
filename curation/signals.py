"""Numbers of selected frames, read from the shards' Parquet: only the columns asked for, never pictures."""
# Legend: T frames of a run, D dimensions, N values that count, H steps of a chunk.

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction

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
    """Consecutive kept frames of one episode, at which chunks start: [start, stop), and where they lie."""

    episode_id: str
    shard: str
    row_group: int
    start: int
    stop: int
    chunk_stop: int | None = None
    """Where chunks end, if not at `stop`."""

    @property
    def end(self) -> int:
        """Where the frames that chunks read end, exclusive."""
        return self.stop if self.chunk_stop is None else self.chunk_stop


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
    every: int = 1
    """A chunk starts at every so many-th frame of a run."""
    ratio: Fraction = Fraction(1)
    """Frames per step of a chunk."""

    @property
    def rule(self) -> ChunkRule:
        """How chunks end, which dimensions the delta form changes, and how steps are made of frames."""
        return chunk_rule(self.action, self.state, self.form, ratio=self.ratio, steps=self.steps)

    def starts(self, run: Run) -> NDArray[np.int64]:
        """Where chunks start, counted from the run's first frame."""
        return np.arange(0, run.stop - run.start, self.every)


@contextmanager
def open_shard(lake: Lake, shard: str) -> Iterator[pq.ParquetFile]:
    """A shard's Parquet, read where it lies."""
    try:
        with (
            lake.fs.open(lake.path(f"{shard}.parquet"), "rb") as stream,
            pq.ParquetFile(stream, page_checksum_verification=True) as file,
        ):
            yield file
    except FileNotFoundError as error:
        raise SchemaError(f"{shard}.parquet is missing from {lake.uri}: expected it by the catalogue") from error
    except (pa.ArrowException, OSError) as error:
        raise SchemaError(
            f"{shard}.parquet cannot be read ({error}); run `robomix lake verify` ({lake.uri})"
        ) from error


def read_run(file: pq.ParquetFile, run: Run, group: Group) -> tuple[Values, Values]:
    """State and action `[T, D]` of the frames that a run's chunks read; SchemaError where one is not finite."""
    names = {one.signal.name: None for one in (*group.state, *group.action)}
    table = file.read_row_group(run.row_group, columns=["episode_id", *names])
    if table.num_rows < run.end or table["episode_id"][0].as_py() != run.episode_id:
        raise SchemaError(
            f"row group {run.row_group} of {run.shard} is not episode {run.episode_id}: expected it by the catalogue; "
            "`robomix lake verify` tells what is damaged"
        )
    signals = {name: _finite(table, name, run) for name in names}
    state, action = (_stack(signals, dimensions) for dimensions in (group.state, group.action))
    return state, action


def counted_actions(
    state_TD: Values, action_TD: Values, group: Group, *, run: Run
) -> Iterator[tuple[Values, NDArray[np.int64]]]:
    """The actions `[N, D]` of all valid (chunk start, step) pairs of a run, piece by piece, and how often each counts.

    A recorded step of the stored form counts as often as chunks reach it; the delta form and resampling spread out
    every pair.
    """
    rule, starts = group.rule, group.starts(run)
    if not rule.is_delta.any() and rule.resample is None:
        weight_T = reach(len(action_TD), group.steps, starts=starts)
        yield action_TD[weight_T > 0], weight_T[weight_T > 0]
        return
    for first in range(0, len(starts), _STARTS):
        start_B = starts[first : first + _STARTS]
        stored_BHD, step_mask_BH = gather(action_TD, start_B, steps=group.steps, stop=len(action_TD), rule=rule)
        action_ND = to_delta(stored_BHD, state_TD[start_B], rule)[step_mask_BH]
        yield action_ND, np.ones(len(action_ND), np.int64)


def reach(frames: int, steps: int, *, starts: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """How many chunk starts reach each frame, `[T]`; where chunks start at every frame: 1, 2, … up to `steps`."""
    begins = np.arange(frames) if starts is None else starts
    change = np.zeros(frames + 1, np.int64)
    np.add.at(change, begins, 1)
    np.add.at(change, np.minimum(begins + steps, frames), -1)
    return np.cumsum(change[:-1])


def _finite(table: pa.Table, name: str, run: Run) -> Values:
    found = numbers(table[name]) if name in table.schema.names else None
    if found is None:
        raise SchemaError(
            f"episode {run.episode_id} has no signal {name!r} in {run.shard}: expected it by the catalogue"
        )
    values: Values = found[run.start : run.end].astype(np.float64).reshape(run.end - run.start, -1)
    if not (np.abs(values) <= _LARGEST).all():
        raise SchemaError(
            f"episode {run.episode_id} holds numbers in {name!r} that are not finite in float32, expected all to be: "
            f"leave it out with where: \"episode_id != '{run.episode_id}'\", or mend the log and ingest it again"
        )
    return values


def _stack(signals: dict[str, Values], dimensions: Sequence[Dimension]) -> Values:
    return np.stack([signals[one.signal.name][:, one.index] for one in dimensions], axis=1)
