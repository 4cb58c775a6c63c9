"""R26-S/32 (arXiv 2106.10270): a ResNet of 26 layers, whose last feature map a small vision transformer reads.

π0-small has one for each camera. Convolutions are standardized and norms are by group (arXiv 1912.11370), so that no
picture depends on the others of its batch.
"""

# Legend: B batch, S side of the pictures, C feature maps, K tokens per picture, V width of the transformer.
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.transformer import Block


@dataclass(frozen=True, kw_only=True, slots=True)
class HybridConfig:
    """The defaults are R26-S/32's at 224 pixels."""

    image_size: int = 224
    """Side of the square pictures it takes, in pixels: a multiple of 32."""
    channels: int = 64
    """Feature maps of the root; the four stages have 4, 8, 16 and 32 times as many."""
    units: int = 2
    """Bottlenecks per stage."""
    width: int = 384
    depth: int = 12
    num_heads: int = 6
    mlp_width: int = 1536

    def __post_init__(self) -> None:
        if self.image_size % 32:
            raise ValueError(f"image_size {self.image_size} is no multiple of 32, the side of a token's patch")

    @property
    def num_tokens(self) -> int:
        """Tokens per picture."""
        return (self.image_size // 32) ** 2


class StandardizedConv(nn.Conv2d):
    """A convolution whose filters have mean 0 and variance 1."""

    def forward(self, maps_BChw: Tensor) -> Tensor:
        """[B, C', h', w']."""
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), correction=0, keepdim=True)
        weight = (self.weight - mean) * (variance + 1e-5).rsqrt()
        return functional.conv2d(maps_BChw, weight, None, self.stride, self.padding)


class Bottleneck(nn.Module):
    """Three convolutions and a way around them."""

    def __init__(self, channels: tuple[int, int], *, stride: int) -> None:
        super().__init__()
        into, inner = channels
        self.conv1, self.norm1 = _conv(into, inner, kernel=1, stride=1)
        self.conv2, self.norm2 = _conv(inner, inner, kernel=3, stride=stride)
        self.conv3, self.norm3 = _conv(inner, 4 * inner, kernel=1, stride=1)
        is_same = into == 4 * inner and stride == 1
        self.around = nn.Identity() if is_same else nn.Sequential(*_conv(into, 4 * inner, kernel=1, stride=stride))

    def forward(self, maps_BChw: Tensor) -> Tensor:
        """[B, 4C', h', w']."""
        inner = functional.relu(self.norm1(self.conv1(maps_BChw)))
        inner = functional.relu(self.norm2(self.conv2(inner)))
        return functional.relu(self.around(maps_BChw) + self.norm3(self.conv3(inner)))


class HybridViT(nn.Module):
    """One camera's pictures to tokens, one per 32×32 pixels."""

    def __init__(self, config: HybridConfig) -> None:
        super().__init__()
        self.root, self.root_norm = _conv(3, config.channels, kernel=7, stride=2)
        stages, into = [], config.channels
        for stage in range(4):
            inner = config.channels * 2**stage
            for unit in range(config.units):
                stages.append(Bottleneck((into, inner), stride=2 if stage and not unit else 1))
                into = 4 * inner
        self.stages = nn.Sequential(*stages)
        self.patch = nn.Linear(into, config.width)
        self.position = nn.Parameter(torch.zeros(config.num_tokens, config.width))
        self.layers = nn.ModuleList(
            Block(config.width, num_heads=config.num_heads, mlp_width=config.mlp_width) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width, eps=1e-6)

    def forward(self, images_BSS3: Tensor) -> Tensor:
        """[B, K, V]."""
        maps = functional.relu(self.root_norm(self.root(images_BSS3.movedim(-1, 1))))
        maps = self.stages(functional.max_pool2d(maps, 3, stride=2, padding=1))
        x_BKV = self.patch(maps.flatten(2).transpose(1, 2)) + self.position
        for layer in self.layers:
            x_BKV = layer(x_BKV)
        out: Tensor = self.norm(x_BKV)
        return out


def _conv(into: int, out: int, *, kernel: int, stride: int) -> tuple[nn.Module, nn.Module]:
    conv = StandardizedConv(into, out, kernel, stride=stride, padding=kernel // 2, bias=False)
    return conv, nn.GroupNorm(min(32, out), out)
