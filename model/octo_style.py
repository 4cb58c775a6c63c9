"""A baseline in the style of Octo (arXiv 2405.12213): a readout token, and a small diffusion head that hears it alone.

It is not that model: it is small, and for the same data and interface as tiny π0, so that a head that sees one vector
can be compared with an expert that attends to everything. The head gives clean actions, not noise, which would not fit
through a head so narrow. Noise comes from the caller, so actions are sampled without drawing more (DDIM, arXiv
2010.02502).
"""

# Legend: B batch, K draws of noise and time for one observation, H chunk steps, W padded action width, D width.
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.flow_matching import masked_mean, per_draw, uniform_from_time
from model.observation import Observation
from model.small_observer import SmallConfig, SmallObserver
from model.transformer import embed_places


@dataclass(frozen=True, kw_only=True, slots=True)
class OctoStyleConfig(SmallConfig):
    """Sizes, and the diffusion's."""

    chunk_steps: int = 50
    """H: unlike π0, the head is of one length of chunk."""
    head_width: int = 128
    head_depth: int = 3
    diffusion_steps: int = 20


class HeadLayer(nn.Module):
    """A residual MLP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        out: Tensor = x + self.fc2(functional.silu(self.fc1(self.norm(x))))
        return out


class OctoStyle(nn.Module):
    """The model; an `ActionModel` (flow_model.py)."""

    def __init__(self, config: OctoStyleConfig) -> None:
        super().__init__()
        self.config = config
        self.observer = SmallObserver(config)
        self.readout = nn.Parameter(torch.zeros(1, 1, config.width))
        flat = config.chunk_steps * config.action_width
        self.head_in = nn.Linear(flat + 2 * config.width, config.head_width)
        self.head = nn.ModuleList(HeadLayer(config.head_width) for _ in range(config.head_depth))
        self.head_out = nn.Linear(config.head_width, flat)

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
        """[B] squared error of the actions found in noisy ones, the mean over draws, valid dimensions and steps."""
        noise, time, (readout, actions, action_mask, step_mask) = per_draw(
            noise, time, self._read(observation), actions_BHW, action_mask_BW, step_mask_BH
        )
        keep = action_mask[:, None].to(actions.dtype)
        step_B = self._step(time)
        share_B11 = self.signal(step_B)[:, None, None]
        noisy = (share_B11.sqrt() * actions + (1.0 - share_B11).sqrt() * noise) * keep
        error = (self._clean(noisy, step_B, readout).float() - actions.float()).square()
        return masked_mean(error, action_mask, step_mask).view(len(actions_BHW), -1).mean(dim=1)

    loss = forward

    @torch.no_grad()
    def sample(
        self,
        observation: Observation,
        noise_BHW: Tensor,
        *,
        steps: int = 10,  # noqa: ARG002 - part of the interface: the diffusion has its own
        action_mask: Tensor | None = None,
    ) -> Tensor:
        """[B, H, W] actions, all of the diffusion's steps back from this noise."""
        observation.refuse_unusable()
        readout_BD = self._read(observation)
        keep = torch.ones_like(noise_BHW) if action_mask is None else action_mask[:, None].to(noise_BHW.dtype)
        actions = noise_BHW * keep
        for step in reversed(range(self.config.diffusion_steps)):
            step_B = torch.full((len(actions),), step, device=actions.device)
            share, before = self.signal(step_B)[:, None, None], self.signal(step_B - 1)[:, None, None]
            clean = self._clean(actions, step_B, readout_BD).to(actions.dtype) * keep
            hidden = (actions - share.sqrt() * clean) / (1.0 - share).sqrt()
            actions = before.sqrt() * clean + (1.0 - before).clamp(min=0.0).sqrt() * hidden
        return actions

    def signal(self, step_B: Tensor) -> Tensor:
        """[B] share of the signal's variance after this step, 1 before step 0 (cosine, arXiv 2102.09672)."""
        share = (step_B + 1).clamp(min=0).float() / self.config.diffusion_steps
        return ((share * 0.999 + 0.008) / 1.008 * math.pi / 2).cos().square() / math.cos(
            0.008 / 1.008 * math.pi / 2
        ) ** 2

    def _step(self, time_B: Tensor) -> Tensor:
        """[B] int64: steps evenly drawn, from times that are drawn as π0's."""
        number = self.config.diffusion_steps
        return (uniform_from_time(time_B) * number).long().clamp(0, number - 1)

    def _read(self, observation: Observation) -> Tensor:
        """[B, D]: all that the head learns of the observation."""
        seen_BMD, valid_BM = self.observer.embed(observation)
        readout: Tensor = self.observer(seen_BMD, valid_BM, self.readout.expand(len(seen_BMD), -1, -1))
        return readout[:, 0]

    def _clean(self, noisy_BHW: Tensor, step_B: Tensor, readout_BD: Tensor) -> Tensor:
        """[B, H, W]: the actions that the head takes to be in the noisy ones."""
        places = embed_places(self.config.diffusion_steps, self.config.width, device=noisy_BHW.device)
        x = self.head_in(torch.cat([noisy_BHW.flatten(1).to(readout_BD.dtype), places[step_B], readout_BD], dim=1))
        for layer in self.head:
            x = layer(x)
        out: Tensor = self.head_out(x)
        return out.view(noisy_BHW.shape)
