"""The plain transformer parts that π0-small and the baselines are made of; π0 itself has its own (gemma.py)."""

# Legend: B batch, T tokens that ask, M tokens that are asked, D width.
import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head attention with biases, to the tokens themselves or to others of another width."""

    def __init__(self, width: int, *, num_heads: int, context_width: int | None = None) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(context_width or width, width)
        self.v_proj = nn.Linear(context_width or width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x_BTD: Tensor, context_BMD: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """[B, T, D]; `mask`, bool and broadcast to [B, heads, T, M], is true where a token may be attended to."""
        context = x_BTD if context_BMD is None else context_BMD
        query, key, value = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for part in (self.q_proj(x_BTD), self.k_proj(context), self.v_proj(context))
        )
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        out: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return out


class MLP(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """[B, T, D]."""
        out: Tensor = self.fc2(functional.gelu(self.fc1(x_BTD)))
        return out


class Block(nn.Module):
    """A pre-norm layer: attention of the tokens to each other, then an MLP."""

    def __init__(self, width: int, *, num_heads: int, mlp_width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, num_heads=num_heads)
        self.mlp = MLP(width, mlp_width)

    def forward(self, x_BTD: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B, T, D]."""
        x_BTD = x_BTD + self.attention(self.norm1(x_BTD), None, mask)
        out: Tensor = x_BTD + self.mlp(self.norm2(x_BTD))
        return out


def embed_places(steps: int, width: int, *, device: torch.device) -> Tensor:
    """[steps, width] float32: sines and cosines of a token's place (arXiv 1706.03762), for any number of tokens."""
    rate = torch.exp(-math.log(10_000.0) * torch.arange(0, width, 2, device=device, dtype=torch.float32) / width)
    angle = torch.arange(steps, device=device, dtype=torch.float32)[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], dim=1)
