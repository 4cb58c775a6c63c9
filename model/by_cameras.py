"""Batches of samples that have different cameras, without computing absent ones."""

# Legend: B batch, K draws of noise and time for one observation, H chunk steps, W padded action width.
from dataclasses import replace

import torch
from torch import Tensor, nn

from model.observation import Observation
from model.pi0 import Pi0
from model.real_time_chunking import PreviousChunk


class ByCameras(nn.Module):
    """π0 on one group of samples after the other, those with the same cameras together.

    The results are π0's. A sample with one of three cameras then costs about a third, but each group takes a pass of
    its own, and shapes change from batch to batch: for CPUs and large batches, not for compiled models.
    """

    def __init__(self, model: Pi0) -> None:
        super().__init__()
        self.model = model

    def forward(self, observation: Observation, noisy_actions: Tensor, time: Tensor) -> Tensor:
        """[B*K, H, W], as `Pi0.forward` gives it."""
        draws = len(time) // len(observation.state)
        found, places = [], []
        for rows_B, group in observation.by_cameras():
            mine = (rows_B[:, None] * draws + torch.arange(draws, device=rows_B.device)).flatten()
            found.append(self.model(group, noisy_actions[mine], time[mine]))
            places.append(mine)
        return _put_back(found, places)

    def sample(
        self,
        observation: Observation,
        noise_BHW: Tensor,
        *,
        steps: int = 10,
        action_mask: Tensor | None = None,
        previous: PreviousChunk | None = None,
    ) -> Tensor:
        """[B, H, W], as `Pi0.sample` gives it."""
        groups = observation.by_cameras()
        found = [
            self.model.sample(
                group,
                noise_BHW[rows_B],
                steps=steps,
                action_mask=None if action_mask is None else action_mask[rows_B],
                previous=None if previous is None else replace(previous, actions=previous.actions[rows_B]),
            )
            for rows_B, group in groups
        ]
        return _put_back(found, [rows_B for rows_B, _ in groups])


def _put_back(parts: list[Tensor], places: list[Tensor]) -> Tensor:
    """The parts' rows in the order of their places."""
    return torch.cat(parts)[torch.cat(places).argsort()]
