"""Chunk starts that are always the same, to measure on: evenly spread over each run, keyed by run and frame."""
# Legend: B samples, C cameras, S side of the pictures.

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from curation.lock import Lock
from schema.lake import Lake
from training.batch import Batch
from training.filler import Filler, RunColumns, Sample
from training.shard_cache import ShardCache

_RUN = 1 << 24
"""Positions of one run; more frames than any episode has."""


def spread(runs: pa.Table, *, per_run: int) -> list[Sample]:
    """At most `per_run` chunk starts of each run, from its first frame on, at even distances.

    A sample's position is a key of its own for noise and time: a run's number, then the frame's.
    """
    columns = RunColumns(runs)
    found = []
    for run, (start, stop) in enumerate(zip(columns.start_R.tolist(), columns.stop_R.tolist(), strict=True)):
        frames = np.unique(np.linspace(start, stop, per_run, endpoint=False).astype(np.int64)).tolist()
        component = int(columns.component_R[run])
        found += [
            Sample(row=0, run=run, frame=frame, component=component, position=run * _RUN + frame) for frame in frames
        ]
    return found


class SampleReader:
    """Reads given samples of a table of runs as batches."""

    def __init__(self, lock: Lock, runs: pa.Table, *, lake: Lake) -> None:
        """Open the runs' shards on first use."""
        self._lock = lock
        self.shards = ShardCache(lake, cache_bytes=2**28)
        self._filler = Filler(lock, self.shards, runs=runs)

    def batches(self, samples: Sequence[Sample], *, size: int) -> Iterator[Batch]:
        """The samples in their order, `size` at a time; the last batch may be smaller."""
        for first in range(0, len(samples), size):
            yield self.read(samples[first : first + size])

    def read(self, samples: Sequence[Sample]) -> Batch:
        """One batch of these samples."""
        lock = self._lock
        batch = Batch.empty(
            len(samples),
            num_cameras=len(lock.cameras),
            image_size=lock.image_size,
            width=lock.width,
            steps=lock.chunk_steps,
        )
        rows = [
            Sample(row=row, run=one.run, frame=one.frame, component=one.component, position=one.position)
            for row, one in enumerate(samples)
        ]
        self._filler.fill(batch, rows)
        return batch
