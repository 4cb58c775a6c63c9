"""The parts of a Gemma layer: norm, rotary positions, one key-value head for all queries, gated MLP.

An expert's layer is split where the other expert comes in: `queries` and `key_values` before the attention that both
share, `finish` after it. layer_pair.py joins them.
"""

# Legend: B batch, T tokens, D width of this expert, N query heads, G key-value heads, F head dimension.
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.attention_mask import Rope
from model.config import ExpertConfig, Pi0Config
from model.products import Linear, attention


class KeyValues(NamedTuple):
    """What tokens of one layer offer to those that attend to them."""

    keys: Tensor
    """[B, G, T, F], turned to their positions."""
    values: Tensor
    """[B, G, T, F]."""


class RMSNorm(nn.Module):
    """x / rms(x) * (1 + weight), in float32 (arXiv 1910.07467; Gemma stores the scale minus one)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalize the last dimension; the result has the type of `x`."""
        scale = 1.0 + self.weight.float()
        return functional.rms_norm(x.float(), scale.shape, scale, self.eps).type_as(x)


class GatedMLP(nn.Module):
    """down(gelu(gate(x)) * up(x)) with the tanh form of GELU (GeGLU, arXiv 2002.05202)."""

    def __init__(self, config: ExpertConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.width, config.mlp_width, bias=False)
        self.up_proj = Linear(config.width, config.mlp_width, bias=False)
        self.down_proj = Linear(config.mlp_width, config.width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """[B, T, D]."""
        gate = functional.gelu(self.gate_proj(x_BTD), approximate="tanh")
        out: Tensor = self.down_proj(gate * self.up_proj(x_BTD))
        return out


def rotate(x_BNTF: Tensor, rope: Rope) -> Tensor:
    """Turn each pair (i, i + F/2) by its token's angle (RoPE, arXiv 2104.09864, half-split); computed in float32."""
    first, second = x_BNTF.float().chunk(2, dim=-1)
    turned = torch.cat([first * rope.cos - second * rope.sin, second * rope.cos + first * rope.sin], dim=-1)
    return turned.type_as(x_BNTF)


def attend(query_BNTF: Tensor, keys: KeyValues, mask: Tensor) -> Tensor:
    """Softmax attention, [B, T, N*F]; G key-value heads serve all queries, `mask` is added to the logits."""
    batch, heads, steps, _ = query_BNTF.shape
    sharing = heads // keys.keys.shape[1]
    key, value = (part[:, :, None].expand(-1, -1, sharing, -1, -1).flatten(1, 2) for part in keys)
    attended = attention(query_BNTF, key, value, mask=mask)
    return attended.transpose(1, 2).reshape(batch, steps, -1)


class KeyValueLayer(nn.Module):
    """An expert's layer whose own tokens nobody reads afterwards: all that is left of it are keys and values."""

    def __init__(self, config: Pi0Config, expert: ExpertConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.input_norm = RMSNorm(expert.width, config.rms_norm_eps)
        self.k_proj = Linear(expert.width, config.num_kv_heads * config.head_dim, bias=False)
        self.v_proj = Linear(expert.width, config.num_kv_heads * config.head_dim, bias=False)

    def key_values(self, normed_BTD: Tensor, rope: Rope) -> KeyValues:
        """Keys and values of tokens that went through `input_norm`."""
        keys = rotate(self._heads(self.k_proj(normed_BTD)), rope)
        return KeyValues(keys, self._heads(self.v_proj(normed_BTD)))

    def _heads(self, x: Tensor) -> Tensor:
        """[B, T, N*F] → [B, N, T, F]."""
        return x.view(*x.shape[:2], -1, self.head_dim).transpose(1, 2)


class ExpertLayer(KeyValueLayer):
    """One expert's weights of one layer."""

    def __init__(self, config: Pi0Config, expert: ExpertConfig) -> None:
        super().__init__(config, expert)
        self.q_proj = Linear(expert.width, config.num_heads * config.head_dim, bias=False)
        self.o_proj = Linear(config.num_heads * config.head_dim, expert.width, bias=False)
        self.post_norm = RMSNorm(expert.width, config.rms_norm_eps)
        self.mlp = GatedMLP(expert)

    def queries(self, normed_BTD: Tensor, rope: Rope) -> Tensor:
        """[B, N, T, F] of tokens that went through `input_norm`."""
        return rotate(self._heads(self.q_proj(normed_BTD)), rope)

    def finish(self, x_BTD: Tensor, attended: Tensor) -> Tensor:
        """Add to the layer's input what attention found ([B, T, N*F]), then the MLP of that sum."""
        x_BTD = x_BTD + self.o_proj(attended)
        out: Tensor = x_BTD + self.mlp(self.post_norm(x_BTD))
        return out
