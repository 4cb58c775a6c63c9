"""DistilBERT's encoder (arXiv 1910.01108): what π0-small reads prompts with."""

# Legend: B batch, L prompt tokens, D width.
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.transformer import MLP, Attention


@dataclass(frozen=True, kw_only=True, slots=True)
class TextConfig:
    """The defaults are distilbert-base's."""

    vocab_size: int = 30_522
    max_tokens: int = 512
    width: int = 768
    depth: int = 6
    num_heads: int = 12
    mlp_width: int = 3072
    layer_norm_eps: float = 1e-12


class DistilBertLayer(nn.Module):
    """Attention, then an MLP, with a norm after each sum."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.attention = Attention(config.width, num_heads=config.num_heads)
        self.norm1 = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.mlp = MLP(config.width, config.mlp_width)
        self.norm2 = nn.LayerNorm(config.width, eps=config.layer_norm_eps)

    def forward(self, x_BLD: Tensor, mask: Tensor) -> Tensor:
        """[B, L, D]."""
        x_BLD = self.norm1(x_BLD + self.attention(x_BLD, None, mask))
        out: Tensor = self.norm2(x_BLD + self.mlp(x_BLD))
        return out


class DistilBert(nn.Module):
    """Tokens to vectors that know their sentence."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.places = nn.Embedding(config.max_tokens, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.layers = nn.ModuleList(DistilBertLayer(config) for _ in range(config.depth))

    def forward(self, tokens_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """[B, L, D]; what stands in padded places means nothing. A padded row attends to itself, to stay finite."""
        places_L = torch.arange(tokens_BL.shape[1], device=tokens_BL.device)
        x_BLD: Tensor = self.norm(self.words(tokens_BL) + self.places(places_L))
        is_self_LL = torch.eye(len(places_L), dtype=torch.bool, device=tokens_BL.device)
        mask = (mask_BL[:, None, :] | is_self_LL)[:, None]
        for layer in self.layers:
            x_BLD = layer(x_BLD, mask)
        return x_BLD
