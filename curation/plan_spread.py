"""How well a planned mixture is shuffled: distinct episodes in a batch and in 100,000 positions, against true shuffle.

Counted in the order itself, from position 0 on. A true shuffle draws each component's frames uniformly and without
replacement; its numbers are expectations in closed form.
"""
# Legend: C components, E episodes (of a component each), P positions.

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
    episodes = Runs(  # an episode's runs follow one another, so that it is one stretch of its component's frames
        num_frames_R=selection.episodes["numbered"].to_numpy(),
        component_R=selection.episodes["component"].to_numpy().astype(np.int64),
    )
    positions = max(POSITIONS // batch, 1) * batch
    episode_P = np.concatenate(
        [_episodes(order, episodes, part) for part in np.split(np.arange(positions), range(_CALL, positions, _CALL))]
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


def _episodes(order: Order, episodes: Runs, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    samples = order.samples(positions)
    return episodes.locate(samples.component, samples.frame)[0]


def _shuffled(episodes: Runs, draws_C: NDArray[np.float64], frames_C: NDArray[np.int64]) -> float:
    """Expected distinct episodes among so many draws of each component: one is missed when all of its frames are."""
    drawn_C = np.minimum(draws_C / frames_C, 1 - 1e-12)
    return float(-np.expm1(episodes.selected_R * np.log1p(-drawn_C)[episodes.owner_R]).sum())
