"""What π0 and π0-small have in common: the objective they are trained on and how actions are sampled of them.

Together with the baselines (openvla_style.py, octo_style.py) they are `ActionModel`s: one can take another's place.
"""

# Legend: B batch, K draws of noise and time for one observation, H chunk steps, W padded action width.
from abc import abstractmethod
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from model import flow_matching
from model.flow_matching import Guide
from model.observation import Observation


class ActionModel(Protocol):
    """A model that learns chunks of actions and gives them."""

    def loss(
        self,
        observation: Observation,
        actions_BHW: Tensor,
        *,
        noise: Tensor,
        time: Tensor,
        action_mask_BW: Tensor,
        step_mask_BH: Tensor,
    ) -> Tensor:
        """[B] losses; takes what `flow_matching.loss` takes, and may leave noise and time unused."""

    def sample(
        self, observation: Observation, noise_BHW: Tensor, *, steps: int = 10, action_mask: Tensor | None = None
    ) -> Tensor:
        """[B, H, W] actions, a function of observation and noise; zero outside the mask."""


class FlowModel(nn.Module):
    """A model of the velocity of a flow from noise to actions."""

    @abstractmethod
    def remember(self, observation: Observation, *, horizon: int) -> Any:
        """All that the velocity of `horizon` actions depends on besides themselves and time, computed once."""

    @abstractmethod
    def recall(self, memory: Any, noisy_actions_BHW: Tensor, time_B: Tensor) -> Tensor:
        """[B, H, W] velocity for what was remembered."""

    def loss(
        self,
        observation: Observation,
        actions_BHW: Tensor,
        *,
        noise: Tensor,
        time: Tensor,
        action_mask_BW: Tensor,
        step_mask_BH: Tensor,
    ) -> Tensor:
        """[B], see `flow_matching.loss`."""
        return flow_matching.loss(
            self,
            observation,
            actions_BHW,
            noise=noise,
            time=time,
            action_mask_BW=action_mask_BW,
            step_mask_BH=step_mask_BH,
        )

    @torch.no_grad()
    def sample(
        self,
        observation: Observation,
        noise_BHW: Tensor,
        *,
        steps: int = 10,
        action_mask: Tensor | None = None,
        previous: Guide | None = None,
    ) -> Tensor:
        """[B, H, W] actions: the flow integrated from noise in `steps` Euler steps over one pass of the observation.

        `action_mask` [B, W] names the robot's real dimensions, see `flow_matching.integrate`. `previous` is the chunk
        that is being executed meanwhile, to go on from (real_time_chunking.py). ValueError for an observation without
        any camera, or with numbers that are not finite.
        """
        observation.refuse_unusable()
        velocity = partial(self.recall, self.remember(observation, horizon=noise_BHW.shape[1]))
        return flow_matching.integrate(velocity, noise_BHW, steps=steps, action_mask=action_mask, previous=previous)
