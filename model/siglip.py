"""SigLIP's vision transformer (arXiv 2303.15343) without its pooling head, and the projection to the VLM's width."""

# Legend: B batch, C cameras, S side of the pictures, N pictures, K tokens per picture, V width of this encoder,
# D width of the VLM, L prompt tokens.
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import VisionConfig
from model.products import Linear, attention


class SiglipAttention(nn.Module):
    """Every token attends to all tokens of its picture; all projections have biases."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.q_proj = Linear(config.width, config.width)
        self.k_proj = Linear(config.width, config.width)
        self.v_proj = Linear(config.width, config.width)
        self.out_proj = Linear(config.width, config.width)

    def forward(self, x_NKV: Tensor) -> Tensor:
        """[N, K, V]."""
        query, key, value = (
            project(x_NKV).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended = attention(query, key, value)
        out: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return out


class SiglipLayer(nn.Module):
    """A pre-norm transformer layer with a GELU (tanh) MLP."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.attention = SiglipAttention(config)
        self.norm2 = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.fc1 = Linear(config.width, config.mlp_width)
        self.fc2 = Linear(config.mlp_width, config.width)

    def forward(self, x_NKV: Tensor) -> Tensor:
        """[N, K, V]."""
        x_NKV = x_NKV + self.attention(self.norm1(x_NKV))
        out: Tensor = x_NKV + self.fc2(functional.gelu(self.fc1(self.norm2(x_NKV)), approximate="tanh"))
        return out


class Siglip(nn.Module):
    """Pictures to tokens of the VLM's width; all cameras share the weights."""

    def __init__(self, config: VisionConfig, out_width: int) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, config.width, config.patch_size, stride=config.patch_size)
        self.position = nn.Parameter(torch.zeros(config.num_tokens, config.width))
        self.layers = nn.ModuleList(SiglipLayer(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.projector = Linear(config.width, out_width)

    def forward(self, images_BCSS3: Tensor, _prompt_BLD: Tensor, _prompt_mask_BL: Tensor) -> Tensor:
        """[B, C, K, D]. A patch is seen without the prompt, which the VLM joins in later."""
        cameras = images_BCSS3.shape[:2]
        patches_NVhw = self.patch(images_BCSS3.flatten(0, 1).permute(0, 3, 1, 2))
        x_NKV = patches_NVhw.flatten(2).transpose(1, 2) + self.position
        for layer in self.layers:
            x_NKV = layer(x_NKV)
        tokens: Tensor = self.projector(self.norm(x_NKV))
        return tokens.view(*cameras, *tokens.shape[1:])
