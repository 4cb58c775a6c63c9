"""π0-small, the paper's comparison without a vision-language model (arXiv 2410.24164, Appendix C).

An encoder reads pictures, prompt and state once; an action expert (a DiT, arXiv 2212.09748) attends to what it made of
them. Public are the parts (DistilBERT, an R26-S/32 for each camera, AdaLN-Zero for time) and the sum, 470 M weights;
widths and depths of encoder and expert are our choice, and so is that the state is a token of the encoder.
"""

# Legend: B batch, C cameras, S side of the pictures, K tokens per picture, L prompt tokens, M = C*K + L + 1 tokens of
# the encoder, D width, H chunk steps, W padded action width.
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.distilbert import DistilBert, TextConfig
from model.flow_model import FlowModel
from model.hybrid_vit import HybridConfig, HybridViT
from model.observation import Observation
from model.time_embedding import embed_time
from model.transformer import MLP, Attention, Block, embed_places


@dataclass(frozen=True, kw_only=True, slots=True)
class Pi0SmallConfig:
    """Sizes of one π0-small; the defaults make 470 M weights."""

    text: TextConfig = field(default_factory=TextConfig)
    image: HybridConfig = field(default_factory=HybridConfig)
    num_cameras: int = 3
    """Slots: each camera has weights of its own."""
    max_prompt_tokens: int = 48
    """What a tokenizer pads prompts to: a shape of the data."""
    width: int = 768
    encoder_depth: int = 12
    expert_depth: int = 14
    num_heads: int = 12
    mlp_width: int = 3072
    action_width: int = 32
    """Padded width of state and action vectors."""
    min_period: float = 4e-3
    max_period: float = 4.0

    @property
    def image_size(self) -> int:
        """Side of the square pictures it takes, in pixels."""
        return self.image.image_size

    @property
    def vocab_size(self) -> int:
        """All tokens are below this."""
        return self.text.vocab_size


class Memory(NamedTuple):
    """What the steps of sampling share."""

    tokens: Tensor
    """[B, M, D], the encoder's."""
    mask: Tensor
    """[B, 1, 1, M] bool: which of them are really there."""
    places: Tensor
    """[1, H, D]: the places of the actions."""

    def with_draws(self, draws: int) -> "Memory":
        """The same for `draws` chunks side by side over each observation."""
        tokens, mask = (part.repeat_interleave(draws, dim=0) for part in (self.tokens, self.mask))
        return Memory(tokens, mask, self.places)


class ExpertBlock(nn.Module):
    """Actions attend to each other, then to the encoder's tokens, then an MLP; time scales, shifts and gates each."""

    def __init__(self, config: Pi0SmallConfig) -> None:
        super().__init__()
        width, heads = config.width, config.num_heads
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.modulation = nn.Linear(width, 9 * width)
        self.attention = Attention(width, num_heads=heads)
        self.cross = Attention(width, num_heads=heads)
        self.mlp = MLP(width, config.mlp_width)

    def forward(self, x_BHD: Tensor, time_BD: Tensor, memory: Memory) -> Tensor:
        """[B, H, D]; at the start of training `x_BHD` itself, all gates being 0 (AdaLN-Zero)."""
        parts = self.modulation(functional.silu(time_BD))[:, None].chunk(9, dim=-1)
        x_BHD = x_BHD + parts[2] * self.attention(_modulate(self.norm(x_BHD), parts[0], parts[1]))
        asked = _modulate(self.norm(x_BHD), parts[3], parts[4])
        x_BHD = x_BHD + parts[5] * self.cross(asked, memory.tokens, memory.mask)
        out: Tensor = x_BHD + parts[8] * self.mlp(_modulate(self.norm(x_BHD), parts[6], parts[7]))
        return out


class Pi0Small(FlowModel):
    """The model; what it takes and gives is what `Pi0` takes and gives."""

    def __init__(self, config: Pi0SmallConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.text_encoder = DistilBert(config.text)
        self.text_proj = nn.Linear(config.text.width, width)
        self.image_encoders = nn.ModuleList(HybridViT(config.image) for _ in range(config.num_cameras))
        self.image_proj = nn.Linear(config.image.width, width)
        self.state_proj = nn.Linear(config.action_width, width)
        self.encoder = nn.ModuleList(
            Block(width, num_heads=config.num_heads, mlp_width=config.mlp_width) for _ in range(config.encoder_depth)
        )
        self.encoder_norm = nn.LayerNorm(width, eps=1e-6)
        self.action_in_proj = nn.Linear(config.action_width, width)
        self.time_mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.expert = nn.ModuleList(ExpertBlock(config) for _ in range(config.expert_depth))
        self.action_norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)
        self.action_out_proj = nn.Linear(width, config.action_width)

    def forward(self, observation: Observation, noisy_actions: Tensor, time: Tensor) -> Tensor:
        """[B*K, H, W] velocity at [B*K, H, W] and [B*K], an observation's K draws side by side."""
        draws = len(time) // len(observation.state)
        memory = self.remember(observation, horizon=noisy_actions.shape[1])
        return self.recall(memory.with_draws(draws), noisy_actions, time)

    def remember(self, observation: Observation, *, horizon: int) -> Memory:
        """The encoder's tokens of pictures, prompt and state."""
        seen, config = observation, self.config
        cameras, size = seen.images.shape[1:3]
        if (cameras, size) != (config.num_cameras, config.image.image_size):
            expected = f"{config.num_cameras} slots, absent ones masked, and side {config.image.image_size}"
            raise ValueError(f"the observation has {cameras} cameras and pictures of side {size}, expected {expected}")
        dtype = self.image_proj.weight.dtype
        pictures = [encode(seen.images[:, n].to(dtype)) for n, encode in enumerate(self.image_encoders)]
        x_BMD = torch.cat(
            [
                *(self.image_proj(tokens_BKV) for tokens_BKV in pictures),
                self.text_proj(self.text_encoder(seen.tokens, seen.token_mask)),
                self.state_proj(seen.state.to(dtype))[:, None],
            ],
            dim=1,
        )
        image_mask = seen.image_mask.repeat_interleave(config.image.num_tokens, dim=1)
        mask_BM = torch.cat([image_mask, seen.token_mask, image_mask.new_ones(len(x_BMD), 1)], dim=1)
        mask = mask_BM[:, None, None, :]
        for layer in self.encoder:
            x_BMD = layer(x_BMD, mask)
        places = embed_places(horizon, config.width, device=x_BMD.device)[None].to(x_BMD.dtype)
        return Memory(self.encoder_norm(x_BMD), mask, places)

    def recall(self, memory: Memory, noisy_actions_BHW: Tensor, time_B: Tensor) -> Tensor:
        """[B, H, W] velocity for what was remembered."""
        config = self.config
        x_BHD = self.action_in_proj(noisy_actions_BHW.to(self.action_in_proj.weight.dtype))
        x_BHD = x_BHD + memory.places
        period = {"min_period": config.min_period, "max_period": config.max_period}
        time_BD = self.time_mlp(embed_time(time_B, config.width, **period).to(x_BHD.dtype))
        for layer in self.expert:
            x_BHD = layer(x_BHD, time_BD, memory)
        shift, scale = self.modulation(functional.silu(time_BD))[:, None].chunk(2, dim=-1)
        velocity: Tensor = self.action_out_proj(_modulate(self.action_norm(x_BHD), shift, scale))
        return velocity


def _modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return x * (1.0 + scale) + shift
