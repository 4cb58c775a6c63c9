"""The next chunk as a continuation of the one that is being executed while it is computed (arXiv 2506.07339).

Two chunks of one situation may go different ways round an obstacle, and a robot that switches between them jerks. So
the rest of the previous chunk pulls at each step of sampling: its first `delay` steps, which will be executed before
the new chunk is there, with full weight, later ones with less, and steps it has nothing to say about not at all.
"""

# Legend: B batch, R steps left of the previous chunk, H chunk steps, W padded action width.
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from model.flow_matching import time_of_tau


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviousChunk:
    """What is left of the chunk that is being executed when the next one is begun."""

    actions: Tensor
    """[B, R, W], normalized as the model's; where actions are relative to a state, to that of the new observation."""
    delay: int
    """Steps of it that will be executed before the new chunk is there, 0 … R."""
    max_guidance: float = 5.0
    """β of the paper: how hard it may pull near noise, where the exact strength is without limit."""

    def __post_init__(self) -> None:
        if self.actions.ndim != 3 or not 0 <= self.delay <= self.actions.shape[1]:
            shape = tuple(self.actions.shape)
            raise ValueError(f"previous actions have shape {shape} with delay {self.delay}, expected [B, R, W], 0 … R")

    def weights(self, horizon: int) -> Tensor:
        """[H] in [0, 1]: how much each step of the new chunk is held to the previous one."""
        left = self.actions.shape[1]
        if left > horizon:
            raise ValueError(f"{left} steps are left of the previous chunk, but the new one has {horizon} only")
        share = (left - torch.arange(horizon, dtype=torch.float64)) / (left - self.delay + 1)
        share = share.clamp(0.0, 1.0)
        return (share * share.expm1() / math.expm1(1.0)).where(torch.arange(horizon) >= self.delay, 1.0).float()

    def guide(self, velocity: Callable[[Tensor, Tensor], Tensor], noisy_BHW: Tensor, time_B: Tensor, /) -> Tensor:
        """[B, H, W]: the velocity, turned so that the actions it leads to come closer to the previous ones.

        With τ = 1 - t and the paper's velocity -v, the actions that a step's velocity leads to are Â = x - t v. They
        are pulled by the gradient of their weighted distance, which goes back through the action expert.
        """
        horizon, left = noisy_BHW.shape[1], self.actions.shape[1]
        weights_H1 = self.weights(horizon).to(noisy_BHW)[:, None]
        target_BHW = torch.nn.functional.pad(self.actions.to(noisy_BHW), (0, 0, 0, horizon - left))
        t_B11 = time_B[:, None, None].to(noisy_BHW.dtype)
        with torch.enable_grad():
            x_BHW = noisy_BHW.detach().requires_grad_()
            velocity_BHW = velocity(x_BHW, time_B).to(noisy_BHW.dtype)
            led_to_BHW = x_BHW - t_B11 * velocity_BHW
            error_BHW = (target_BHW - led_to_BHW.detach()) * weights_H1
            (pull_BHW,) = torch.autograd.grad(led_to_BHW, x_BHW, error_BHW)
        tau_B11 = time_of_tau(t_B11)
        strength_B11 = ((tau_B11**2 + t_B11**2) / (tau_B11 * t_B11)).clamp(max=self.max_guidance)
        return velocity_BHW.detach() - strength_B11 * pull_BHW
