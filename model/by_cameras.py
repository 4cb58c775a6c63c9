"""Batches of samples that have different cameras, without computing absent ones."""

# Legend: B batch, K draws of noise and time for one observation, H chunk steps, W padded action width.
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from model.models import Model
from model.observation import Observation
from model.pi0_small import Pi0Small
from model.real_time_chunking import PreviousChunk

_LEAST_WEIGHTS = 100_000_000
"""A model of fewer loses more by another pass than cameras left out save: a step of `tiny_cpu` took 13 % longer."""


class ByCameras(nn.Module):
    """A model on one group of samples after the other, those with the same cameras together.

    The results are the model's. A sample with one of three cameras then costs somewhat over two fifths in sampling, but
    each group takes a pass of its own, and shapes change from batch to batch: not for compiled models, nor for FSDP,
    whose workers must take the same passes. π0-small has weights of its own for each camera slot: it takes batches as
    they are. So do models of few weights, without cameras that no sample has.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self._is_worth_it = sum(parameter.numel() for parameter in model.parameters()) >= _LEAST_WEIGHTS

    def forward(
        self,
        observation: Observation,
        actions_BHW: Tensor,
        *,
        noise: Tensor,
        time: Tensor,
        action_mask_BW: Tensor,
        step_mask_BH: Tensor,
    ) -> Tensor:
        """[B] losses, as the model's `loss` gives them; DDP wraps this."""
        groups = self._groups(observation)
        found = [
            self.model.loss(
                group,
                actions_BHW[rows_B],
                noise=noise[rows_B],
                time=time[rows_B],
                action_mask_BW=action_mask_BW[rows_B],
                step_mask_BH=step_mask_BH[rows_B],
            )
            for rows_B, group in groups
        ]
        return _put_back(found, groups)

    def sample(
        self,
        observation: Observation,
        noise_BHW: Tensor,
        *,
        steps: int = 10,
        action_mask: Tensor | None = None,
        previous: PreviousChunk | None = None,
    ) -> Tensor:
        """[B, H, W], as the model's `sample` gives it; `previous` for models of a flow."""
        groups, found = self._groups(observation), []
        for rows_B, group in groups:
            mask = None if action_mask is None else action_mask[rows_B]
            options: dict[str, Any] = {"steps": steps, "action_mask": mask}
            if previous is not None:
                options["previous"] = replace(previous, actions=previous.actions[rows_B])
            found.append(self.model.sample(group, noise_BHW[rows_B], **options))
        return _put_back(found, groups)

    def _groups(self, observation: Observation) -> list[tuple[Tensor, Observation]]:
        """Samples that go together: where they were, [B'] int64, and what they are."""
        rows_B = torch.arange(len(observation.state), device=observation.state.device)
        if isinstance(self.model, Pi0Small):
            return [(rows_B, observation)]
        return observation.by_cameras() if self._is_worth_it else [(rows_B, observation.trimmed())]


def _put_back(parts: list[Tensor], groups: list[tuple[Tensor, Observation]]) -> Tensor:
    """The parts' rows in the order of their places."""
    return torch.cat(parts)[torch.cat([rows_B for rows_B, _ in groups]).argsort()]
