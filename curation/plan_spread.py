"""How well a planned mixture is shuffled: distinct episodes in a batch and in 100,000 positions, against true shuffle.

Counted in the order itself, from position 0 on. A true shuffle draws each component's frames uniformly and without
replacement; its numbers are expectations in closed form.
"""
# Legend: C components, R runs, P positions.

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.order import Order, Runs
from curation.select import Selection

POSITIONS = 100_000
_CALL = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Distinct episodes among samples that come together."""

    positions: int
    """Over so many positions, from 0 on."""
    episodes: int
    shuffled_episodes: float
    """What a true shuffle is expected to have there."""
    batch: int
    batch_episodes: float
    """Mean over the batches of those positions."""
    shuffled_batch_episodes: float


def spread(order: Order, selection: Selection, share_C: NDArray[np.float64], *, batch: int) -> Spread:
    """The spread of the first positions, at least of one batch."""
    runs = Runs(
        num_frames_R=selection.episodes["num_frames"].to_numpy().astype(np.int64),
        component_R=selection.episodes["component"].to_numpy().astype(np.int64),
    )
    positions = max(POSITIONS // batch, 1) * batch
    run_P = np.concatenate(
        [_runs(order, runs, part) for part in np.split(np.arange(positions), range(_CALL, positions, _CALL))]
    )
    batches = np.sort(run_P.reshape(-1, batch), axis=1)
    return Spread(
        positions=positions,
        episodes=len(np.unique(run_P)),
        shuffled_episodes=_shuffled(runs, positions * share_C, order.num_frames_C),
        batch=batch,
        batch_episodes=float(1 + (np.diff(batches, axis=1) != 0).sum(axis=1).mean()),
        shuffled_batch_episodes=_shuffled(runs, batch * share_C, order.num_frames_C),
    )


def _runs(order: Order, runs: Runs, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    samples = order.samples(positions)
    return runs.locate(samples.component, samples.frame)[0]


def _shuffled(runs: Runs, draws_C: NDArray[np.float64], frames_C: NDArray[np.int64]) -> float:
    """Expected distinct runs among so many draws of each component: a run is missed when all of its frames are."""
    drawn_C = np.minimum(draws_C / frames_C, 1 - 1e-12)
    return float(-np.expm1(runs.num_frames_R * np.log1p(-drawn_C)[runs.component_R]).sum())
