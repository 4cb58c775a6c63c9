"""What was really drawn: how many samples of each component in each interval, beside what the lock planned.

A folder of Parquet files, one per interval, each written whole. Flushed with each checkpoint, an interval that is done
again after a resume replaces its file. `read` gives the table to compare by: planned against realised.
"""
# Legend: C components.

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation.lock import Lock
from curation.mixture import BLOCK
from training.batch import Batch

SAMPLING = pa.schema(
    [
        ("start", pa.int64()),  # positions [start, stop) of the global sequence
        ("stop", pa.int64()),
        ("component", pa.int32()),
        ("name", pa.string()),
        ("planned", pa.float64()),  # samples by the component's quota
        ("realised", pa.int64()),  # samples that this reader drew
        ("valid_steps", pa.int64()),  # of their chunks' steps, those that were recorded
    ]
)


class SamplingLog:
    """Counts batches of one reader and writes a file for every `every` positions of the global sequence."""

    def __init__(self, folder: str | Path, lock: Lock, *, every: int = BLOCK, world_size: int = 1) -> None:
        """Where to write, and about how many positions an interval has; of `world_size` readers one is counted."""
        self._folder, self._every, self._world_size = Path(folder), every, world_size
        self._folder.mkdir(parents=True, exist_ok=True)
        self._names = [component.name for component in lock.components]
        self._share_C = np.array([component.quota for component in lock.components]) / BLOCK
        self._start = self._stop = -1
        self._clear()

    def enter(self, batch: Batch, position: int) -> None:
        """Count a batch; `position` is where the global sequence goes on after it."""
        size = len(batch) * self._world_size
        if self._stop != position - size:  # the first one, or the reader went on elsewhere
            self.flush()
            self._start = position - size
        components = len(self._names)
        self._drawn_C += np.bincount(batch.components, minlength=components)
        steps_B = batch.step_mask.sum(axis=1)
        self._steps_C += np.bincount(batch.components, weights=steps_B, minlength=components).astype(np.int64)
        self._stop = position
        if self._stop // self._every != self._start // self._every:
            self.flush()

    def flush(self) -> None:
        """Write what was counted since the last file, as training ends."""
        if self._drawn_C.any():
            target = self._folder / f"{self._start:015d}.parquet"
            part = target.with_suffix(".part")
            pq.write_table(self._table(), part)
            part.replace(target)
        self._start = self._stop
        self._clear()

    def _clear(self) -> None:
        self._drawn_C: NDArray[np.int64] = np.zeros(len(self._names), np.int64)
        self._steps_C: NDArray[np.int64] = np.zeros(len(self._names), np.int64)

    def _table(self) -> pa.Table:
        count = len(self._names)
        columns = {
            "start": np.full(count, self._start),
            "stop": np.full(count, self._stop),
            "component": np.arange(count),
            "name": self._names,
            "planned": self._share_C * (self._stop - self._start) / self._world_size,
            "realised": self._drawn_C,
            "valid_steps": self._steps_C,
        }
        return pa.table([pa.array(columns[field.name], field.type) for field in SAMPLING], schema=SAMPLING)


def read(folder: str | Path) -> pa.Table:
    """All intervals in their order, a row for each component of each; of two that overlap, the one that began first."""
    tables, end = [SAMPLING.empty_table()], 0
    for file in sorted(Path(folder).glob("*.parquet")):
        table = pq.read_table(file, schema=SAMPLING)
        if table["start"][0].as_py() >= end:
            tables.append(table)
            end = table["stop"][0].as_py()
    return pa.concat_tables(tables)
