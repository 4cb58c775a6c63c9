"""A baseline in the style of OpenVLA (arXiv 2406.09246): one action at a time, as words of a language.

Each dimension is one of 256 bins, predicted one after the other. It is not that model: it is small, and for the same
data and interface as tiny π0, so that chunks and flows can be compared with bins.
"""

# Legend: B batch, H chunk steps, W padded action width, D width.
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.observation import Observation
from model.small_observer import SmallConfig, SmallObserver
from model.transformer import embed_places


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenVlaStyleConfig(SmallConfig):
    """Sizes, and how actions become words."""

    num_bins: int = 256
    limit: float = 3.0
    """Bins divide [-limit, limit] of normalized actions evenly; what is beyond is in the outermost."""


class OpenVlaStyle(nn.Module):
    """The model; an `ActionModel` (flow_model.py) that has no use for noise and time."""

    def __init__(self, config: OpenVlaStyleConfig) -> None:
        super().__init__()
        self.config = config
        self.observer = SmallObserver(config)
        self.embed_bins = nn.Embedding(config.num_bins + 1, config.width)
        """The last stands before the first dimension."""
        self.bin_proj = nn.Linear(config.width, config.num_bins)

    def forward(
        self,
        observation: Observation,
        actions_BHW: Tensor,
        *,
        noise: Tensor,  # noqa: ARG002 - part of the interface
        time: Tensor,  # noqa: ARG002
        action_mask_BW: Tensor,
        step_mask_BH: Tensor,
    ) -> Tensor:
        """[B] cross entropy of the first step's bins, each sample's mean over its valid dimensions; 0 without any."""
        bins_BW = self.to_bins(actions_BHW[:, 0])
        logits_BWN = self._logits(*self.observer.embed(observation), bins_BW[:, :-1])
        error_BW = functional.cross_entropy(logits_BWN.flatten(0, 1).float(), bins_BW.flatten(), reduction="none")
        counts_BW = action_mask_BW & step_mask_BH[:, :1]
        total_B = error_BW.view(bins_BW.shape).where(counts_BW, 0.0).sum(dim=1)
        return total_B / counts_BW.sum(dim=1).clamp(min=1)

    loss = forward

    @torch.no_grad()
    def sample(
        self,
        observation: Observation,
        noise_BHW: Tensor,
        *,
        steps: int = 10,  # noqa: ARG002 - part of the interface
        action_mask: Tensor | None = None,
    ) -> Tensor:
        """[B, H, W] actions: the most probable next one, at each of the H steps; execute the first, then ask again."""
        observation.refuse_unusable()
        seen_BMD, valid_BM = self.observer.embed(observation)
        bins_BW = torch.zeros(len(seen_BMD), 0, dtype=torch.int64, device=seen_BMD.device)
        for _ in range(self.config.action_width):
            following_B = self._logits(seen_BMD, valid_BM, bins_BW)[:, -1].argmax(dim=-1)
            bins_BW = torch.cat([bins_BW, following_B[:, None]], dim=1)
        actions_BW = self.from_bins(bins_BW).to(noise_BHW.dtype)
        actions_BW = actions_BW if action_mask is None else actions_BW * action_mask
        return actions_BW[:, None].expand_as(noise_BHW).clone()

    def to_bins(self, actions: Tensor) -> Tensor:
        """The bin of each number, 0 … num_bins - 1."""
        config = self.config
        places = (actions.float() + config.limit) * (config.num_bins / (2 * config.limit))
        return places.floor().long().clamp(0, config.num_bins - 1)

    def from_bins(self, bins: Tensor) -> Tensor:
        """The middle of each bin."""
        config = self.config
        return (bins + 0.5) * (2 * config.limit / config.num_bins) - config.limit

    def _logits(self, seen_BMD: Tensor, valid_BM: Tensor, bins_Bw: Tensor) -> Tensor:
        """[B, w + 1, num_bins] after these first dimensions."""
        start_B1 = torch.full((len(bins_Bw), 1), self.config.num_bins, device=bins_Bw.device)
        words = self.embed_bins(torch.cat([start_B1, bins_Bw], dim=1))
        places = embed_places(words.shape[1], self.config.width, device=words.device).to(words.dtype)
        logits: Tensor = self.bin_proj(self.observer(seen_BMD, valid_BM, words + places))
        return logits
