"""How well a planned mixture is shuffled: distinct episodes in a batch and in 100,000 positions, against true shuffle.

Counted in the order itself, from position 0 on. A true shuffle draws each component's frames uniformly and without
replacement; its numbers are expectations in closed form.
"""
# Legend: C components, E episodes (of a component each), P positions.

from dataclasses import dataclass

import numpy as np
import polars as pl
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
    episodes = _runs(selection.episodes, "numbered")
    episode_of = _Episodes(order, selection, episodes)
    positions = max(POSITIONS // batch, 1) * batch
    episode_P = np.concatenate(
        [episode_of(part) for part in np.split(np.arange(positions), range(_CALL, positions, _CALL))]
    )
    batches = np.sort(episode_P.reshape(-1, batch), axis=1)
    return Spread(
        positions=positions,
        episodes=len(np.unique(episode_P)),
        shuffled_episodes=_shuffled(episodes, positions * share_C, order.num_frames_C),
        batch=batch,
        batch_episodes=float(1 + (np.diff(batches, axis=1) != 0).sum(axis=1).mean()),
        shuffled_batch_episodes=_shuffled(episodes, batch * share_C, order.num_frames_C),
    )


def _runs(rows: pl.DataFrame, count: str) -> Runs:
    return Runs(num_frames_R=rows[count].to_numpy(), component_R=rows["component"].to_numpy().astype(np.int64))


class _Episodes:
    """Which episode, by its row of the selection, comes at each position."""

    def __init__(self, order: Order, selection: Selection, episodes: Runs) -> None:
        """Where no frame is weighed an episode's runs follow one another: one stretch of its component's frames."""
        self._order, self._runs = order, episodes
        self._number_R: NDArray[np.int64] | None = None
        if not selection.episodes["numbered"].equals(selection.episodes["frames"]):
            key = ["component", "episode_id"]
            numbers = selection.episodes.select(*key).with_row_index("number")
            found = selection.runs.join(numbers, on=key, how="left", maintain_order="left")
            self._runs, self._number_R = _runs(found, "frames"), found["number"].to_numpy().astype(np.int64)

    def __call__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        samples = self._order.samples(positions)
        run_P, _ = self._runs.locate(samples.component, samples.frame)
        return run_P if self._number_R is None else self._number_R[run_P]


def _shuffled(episodes: Runs, draws_C: NDArray[np.float64], frames_C: NDArray[np.int64]) -> float:
    """Expected distinct episodes among so many draws of each component: one is missed when all of its frames are."""
    drawn_C = np.minimum(draws_C / frames_C, 1 - 1e-12)
    return float(-np.expm1(episodes.selected_R * np.log1p(-drawn_C)[episodes.owner_R]).sum())
