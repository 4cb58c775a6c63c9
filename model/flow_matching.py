"""The flow-matching objective of π0, and the one place where its two time conventions meet.

Code here, like the released code, runs time from t = 1 (noise) to t = 0 (data):
    x_t = t * noise + (1 - t) * actions,    velocity u = dx/dt = noise - actions.
The paper (arXiv 2410.24164, section IV) has τ = 1 - t, so A^τ = τ A + (1 - τ) ε, and its velocity dA^τ/dτ is -u.
Nothing here draws random numbers: noise and uniforms come from the caller, keyed as it likes.
"""

# Legend: B batch, K draws of noise and time for one observation, H chunk steps, W padded action width.
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from model.observation import Observation

TIME_CEILING = 0.999
"""s of the paper: times above τ = s are never trained on; ten steps of integration need none of them."""


class Guide(Protocol):
    """What may turn the velocity in sampling (real_time_chunking.py)."""

    def guide(self, velocity: Callable[[Tensor, Tensor], Tensor], noisy_BHW: Tensor, time_B: Tensor, /) -> Tensor:
        """[B, H, W] velocity to take instead."""


class VelocityModel(Protocol):
    """What the loss needs of a model: π0 itself, or π0 wrapped for several processes."""

    def __call__(self, observation: Observation, noisy_actions: Tensor, time: Tensor, /) -> Tensor:
        """[B*K, H, W] velocity at [B*K, H, W] and [B*K], an observation's K draws side by side."""


def time_of_tau(tau: Tensor) -> Tensor:
    """The code's time of the paper's τ; being its own inverse, also the other way."""
    return 1.0 - tau


def time_from_uniform(uniform_B: Tensor) -> Tensor:
    """[B] training times from uniform numbers in [0, 1), by the inverse distribution function; more of it near noise.

    The paper draws (s - τ)/s from Beta(1.5, 1), whose distribution function is x^1.5.
    """
    beta_B = uniform_B ** (2.0 / 3.0)
    return time_of_tau(TIME_CEILING * (1.0 - beta_B))


def uniform_from_time(time_B: Tensor) -> Tensor:
    """The inverse of `time_from_uniform`, for models that draw their steps in another way."""
    return (1.0 - time_of_tau(time_B) / TIME_CEILING).clamp(min=0.0) ** 1.5


def interpolate(actions_BHW: Tensor, noise_BHW: Tensor, time_B: Tensor) -> tuple[Tensor, Tensor]:
    """Noisy actions x_t and the velocity there, both [B, H, W]."""
    time_B11 = time_B[:, None, None]
    return time_B11 * noise_BHW + (1.0 - time_B11) * actions_BHW, noise_BHW - actions_BHW


def loss(
    model: VelocityModel,
    observation: Observation,
    actions_BHW: Tensor,
    *,
    noise: Tensor,
    time: Tensor,
    action_mask_BW: Tensor,
    step_mask_BH: Tensor,
    openpi_compatible: bool = False,
) -> Tensor:
    """[B] squared error of the velocity, each sample's mean over its draws, valid dimensions and steps.

    `noise` is [B, H, W] standard normal and `time` [B] from `time_from_uniform`, or [B, K, H, W] and [B, K] for the
    mean of K draws over one pass through the prefix. Dimensions outside `action_mask_BW` are zero in x_t and not in
    the loss; steps outside `step_mask_BH` (past an episode's end) are in x_t, as in sampling, but not in the loss. A
    sample with nothing valid has loss 0. `openpi_compatible` is how released checkpoints were trained: both masks are
    ignored, all dimensions carry noise and count.
    """
    noise, time, (actions, action_mask, step_mask) = per_draw(noise, time, actions_BHW, action_mask_BW, step_mask_BH)
    if not openpi_compatible:
        keep = action_mask[:, None].to(actions.dtype)
        actions, noise = actions * keep, noise * keep
    noisy, target = interpolate(actions, noise, time)
    error = (model(observation, noisy, time).float() - target.float()).square()
    each = error.mean(dim=(1, 2)) if openpi_compatible else masked_mean(error, action_mask, step_mask)
    return each.view(len(actions_BHW), -1).mean(dim=1)


def per_draw(noise: Tensor, time: Tensor, *of_observation: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """[B*K, H, W] noise, [B*K] times, and what each observation has [B, …] repeated for its K draws, side by side.

    Noise [B, H, W] and times [B] are one draw of each observation.
    """
    if time.ndim == 1:
        return noise, time, list(of_observation)
    draws = time.shape[1]
    return noise.flatten(0, 1), time.flatten(), [part.repeat_interleave(draws, dim=0) for part in of_observation]


def integrate(
    velocity: Callable[[Tensor, Tensor], Tensor],
    noise_BHW: Tensor,
    *,
    steps: int,
    action_mask: Tensor | None = None,
    previous: Guide | None = None,
) -> Tensor:
    """[B, H, W] actions that the flow carries this noise to, in Euler steps from t = 1 to 0.

    `velocity` is asked at x_t [B, H, W] and times [B], which are 1 - k/steps to the last bit: a running sum of float32
    drifts enough to move actions by 2e-4. `action_mask` [B, W] names the robot's real dimensions; the others are zero
    from noise to result, as in training. None leaves noise in all of them, as released checkpoints expect.
    """
    keep_BHW = torch.ones_like(noise_BHW) if action_mask is None else action_mask[:, None, :].to(noise_BHW.dtype)
    actions = noise_BHW * keep_BHW
    for step in range(steps):
        time_B = torch.full(noise_BHW.shape[:1], 1.0 - step / steps, device=noise_BHW.device)
        found = velocity(actions, time_B) if previous is None else previous.guide(velocity, actions, time_B)
        actions = actions - found * keep_BHW / steps
    return actions


def masked_mean(error_BHW: Tensor, action_mask_BW: Tensor, step_mask_BH: Tensor) -> Tensor:
    """[B] mean of each sample over its valid dimensions and steps; 0 where it has none."""
    counts_BHW = step_mask_BH[:, :, None] & action_mask_BW[:, None, :]
    total_B = error_BHW.where(counts_BHW, 0.0).sum(dim=(1, 2))
    return total_B / counts_BHW.sum(dim=(1, 2)).clamp(min=1)
