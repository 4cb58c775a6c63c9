"""Pictures, prompt and state as tokens of one small transformer: what the two baselines look with."""

# Legend: B batch, C cameras, K tokens per picture, L prompt tokens, M = C*K + L + 1 tokens, D width.
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from model.config import StemConfig
from model.observation import Observation
from model.stem import Stem
from model.transformer import Block


@dataclass(frozen=True, kw_only=True, slots=True)
class SmallConfig:
    """Sizes of a baseline; the defaults are about those of tiny π0."""

    stem: StemConfig = field(default_factory=StemConfig)
    width: int = 64
    depth: int = 4
    num_heads: int = 2
    mlp_width: int = 192
    vocab_size: int = 1024
    max_prompt_tokens: int = 32
    """What a tokenizer pads prompts to: a shape of the data."""
    action_width: int = 32
    """Padded width of state and action vectors."""

    @property
    def image_size(self) -> int:
        """Side of the square pictures it takes, in pixels."""
        return self.stem.image_size


class SmallObserver(nn.Module):
    """An observation's tokens, and a transformer over them and over tokens of the caller's."""

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        self.stem = Stem(config.stem, config.width)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.width)
        self.state_proj = nn.Linear(config.action_width, config.width)
        self.layers = nn.ModuleList(
            Block(config.width, num_heads=config.num_heads, mlp_width=config.mlp_width) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width, eps=1e-6)

    def embed(self, observation: Observation) -> tuple[Tensor, Tensor]:
        """[B, M, D] tokens, and [B, M] whether each is really there."""
        prompt_BLD = self.embed_tokens(observation.tokens)
        images_BCKD = self.stem(observation.images.to(prompt_BLD.dtype), prompt_BLD, observation.token_mask)
        state_B1D = self.state_proj(observation.state.to(prompt_BLD.dtype))[:, None]
        image_mask = observation.image_mask.repeat_interleave(images_BCKD.shape[2], dim=1)
        valid_BM = torch.cat([image_mask, observation.token_mask, image_mask.new_ones(len(state_B1D), 1)], dim=1)
        return torch.cat([images_BCKD.flatten(1, 2), prompt_BLD, state_B1D], dim=1), valid_BM

    def forward(self, seen_BMD: Tensor, valid_BM: Tensor, later_BTD: Tensor) -> Tensor:
        """[B, T, D]: what the caller's tokens become. Each sees the observation, itself and the caller's before it."""
        steps, num_seen = later_BTD.shape[1], seen_BMD.shape[1]
        num_tokens = num_seen + steps
        is_earlier = torch.ones(num_tokens, num_tokens, dtype=torch.bool, device=seen_BMD.device).tril()
        is_seen = torch.arange(num_tokens, device=seen_BMD.device) < num_seen
        valid_BT = torch.cat([valid_BM, valid_BM.new_ones(len(valid_BM), steps)], dim=1)
        is_self = torch.eye(num_tokens, dtype=torch.bool, device=seen_BMD.device)
        mask = ((is_seen | (is_earlier & ~is_seen)) & valid_BT[:, None, :]) | is_self
        x_BTD = torch.cat([seen_BMD, later_BTD], dim=1)
        for layer in self.layers:
            x_BTD = layer(x_BTD, mask[:, None])
        out: Tensor = self.norm(x_BTD[:, num_seen:])
        return out
