"""The tiny model's image encoder: three convolutions, whose features the prompt scales and shifts (FiLM).

They are also told where in the picture a pixel lies (CoordConv, arXiv 1807.03247).

A departure from π0 for models that are trained from scratch on a CPU, see docs/model.md: with so few layers after it,
a model whose encoder does not know the prompt learns much more slowly what words point at.
"""

# Legend: B batch, C cameras, S side of the pictures, N pictures, M feature maps, K tokens per picture, D width of the
# VLM, L prompt tokens.
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import StemConfig


class PromptSummary(nn.Module):
    """A prompt as one vector: per feature, the most that any word with its two neighbours says.

    Neighbours keep "red block, green plate" apart from "green block, red plate".
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.words = nn.Conv1d(width, width, kernel_size=3, padding=1)

    def forward(self, prompt_BLD: Tensor, mask_BL: Tensor) -> Tensor:
        """[B, D] >= 0; zero for a prompt without tokens."""
        mask_BL1 = mask_BL[:, :, None].to(prompt_BLD.dtype)
        words_BLD = functional.relu(self.words((prompt_BLD * mask_BL1).transpose(1, 2))).transpose(1, 2)
        return (words_BLD * mask_BL1).amax(dim=1)


class ModulatedConv(nn.Module):
    """Convolution, norm per picture and group, scale and shift by the prompt (FiLM, arXiv 1709.07871), ReLU."""

    def __init__(self, channels: tuple[int, int], *, kernel: int, stride: int, text_width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(*channels, kernel, stride=stride, padding=(kernel - 1) // 2 if kernel != stride else 0)
        self.norm = nn.GroupNorm(4, channels[1])
        self.film = nn.Linear(text_width, 2 * channels[1])

    def forward(self, maps_NMhw: Tensor, text_ND: Tensor) -> Tensor:
        """[N, M', h', w']."""
        scale, shift = self.film(text_ND)[:, :, None, None].chunk(2, dim=1)
        return functional.relu(self.norm(self.conv(maps_NMhw)) * (1.0 + scale) + shift)


class Stem(nn.Module):
    """Pictures to tokens of the VLM's width, one per 16×16 pixels; all cameras share the weights."""

    def __init__(self, config: StemConfig, out_width: int) -> None:
        super().__init__()
        first, second, third = config.channels
        self.summary = PromptSummary(out_width)
        self.convs = nn.ModuleList(
            [
                ModulatedConv((3 + 2, first), kernel=4, stride=4, text_width=out_width),
                ModulatedConv((first, second), kernel=3, stride=2, text_width=out_width),
                ModulatedConv((second, third), kernel=3, stride=2, text_width=out_width),
            ]
        )
        self.position = nn.Parameter(torch.zeros(config.num_tokens, out_width))
        self.projector = nn.Linear(third, out_width)

    def forward(self, images_BCSS3: Tensor, prompt_BLD: Tensor, prompt_mask_BL: Tensor) -> Tensor:
        """[B, C, K, D]."""
        cameras = images_BCSS3.shape[:2]
        text_ND = self.summary(prompt_BLD, prompt_mask_BL).repeat_interleave(cameras[1], dim=0)
        pictures_N3SS = images_BCSS3.flatten(0, 1).permute(0, 3, 1, 2)
        side_S = torch.linspace(
            -1.0, 1.0, pictures_N3SS.shape[-1], dtype=pictures_N3SS.dtype, device=pictures_N3SS.device
        )
        place_2SS = torch.stack(torch.meshgrid(side_S, side_S, indexing="ij"))
        maps = torch.cat([pictures_N3SS, place_2SS.expand(len(pictures_N3SS), -1, -1, -1)], dim=1)
        for conv in self.convs:
            maps = conv(maps, text_ND)
        tokens_NKD: Tensor = self.projector(maps.flatten(2).transpose(1, 2)) + self.position
        return tokens_NKD.view(*cameras, *tokens_NKD.shape[1:])
