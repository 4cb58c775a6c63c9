"""Which samples come next for one rank: the order's positions as rows of batches, planned a few thousand at a time."""
# Legend: P positions of this rank.

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.lock import Lock
from curation.order import rank_positions
from training.filler import RunColumns, Sample

ORDER_CALL = 4096
"""Positions per call of the order: fewer cost more each."""
_LANE_BITS = 40


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Planned:
    """Samples in their order, and which of them lie side by side."""

    samples: list[Sample]
    segment_P: NDArray[np.int64]
    """Samples of one run and segment are read together."""


class SamplePlan:
    """The batches of one rank from a position on.

    The first call plans one batch and later ones twice as many each; where somebody watches, all plan many.
    """

    def __init__(self, lock: Lock, runs: RunColumns, *, batch_size: int, rank: int, world_size: int) -> None:
        self._start_R = runs.start_R
        self._batch_size, self._rank, self._world_size = batch_size, rank, world_size
        self._order, self._runs = lock.order(), lock.run_index()
        self._planned: deque[list[Sample]] = deque()
        self._watch: Callable[[Planned], None] | None = None
        self.seek(0)

    def watch(self, told: Callable[[Planned], None]) -> None:
        """Tell somebody of everything that is planned from now on."""
        self._watch = told

    def seek(self, position: int) -> None:
        """Go on at this position, and forget what was planned."""
        self._planned.clear()
        self._next, self._call = position, self._batch_size if self._watch is None else ORDER_CALL

    @property
    def ahead(self) -> int:
        """Samples that are planned and not yet taken."""
        return len(self._planned) * self._batch_size

    def batch(self) -> list[Sample]:
        """The samples of the next batch."""
        if not self._planned:
            self.extend()
        return self._planned.popleft()

    def extend(self) -> None:
        """Plan some batches more."""
        batches = -(-min(self._call, ORDER_CALL) // self._batch_size)
        self._call *= 2
        stop = self._next + batches * self._batch_size * self._world_size
        positions_P = rank_positions(self._next, stop, rank=self._rank, world_size=self._world_size)
        self._next = stop
        planned = self._samples(positions_P)
        if self._watch is not None:
            self._watch(planned)
        size = self._batch_size
        self._planned.extend(planned.samples[start : start + size] for start in range(0, len(planned.samples), size))

    def _samples(self, positions_P: NDArray[np.int64]) -> Planned:
        found = self._order.samples(positions_P)
        run_P, offset_P = self._runs.locate(found.component, found.frame)
        row_P = np.arange(positions_P.size) % self._batch_size
        columns = (row_P, run_P, self._start_R[run_P] + offset_P, found.component, positions_P)
        samples = list(map(Sample._make, zip(*(column.tolist() for column in columns), strict=True)))
        return Planned(samples=samples, segment_P=(found.lane << _LANE_BITS) + found.segment)
