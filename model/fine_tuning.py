"""Fine-tuning with less: low-rank adapters (LoRA, arXiv 2106.09685), frozen groups, gradients by computing twice.

All three leave the model's results as they are until it is trained, and every weight that is to be trained gets a
gradient, so that DDP need not look for unused ones.
"""

from collections.abc import Collection, Iterator
from functools import partial
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from model.pi0 import Pi0

Group = Literal["image_encoder", "vlm", "action_expert", "projections"]
_ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_DOWN, _UP = "lora_down", "lora_up"
_Kind = TypeVar("_Kind", bound=nn.Module)


class LoraLinear(nn.Module):
    """A frozen linear layer plus up(down(x)) * alpha / rank, which is zero until it is trained."""

    def __init__(self, base: nn.Linear, *, rank: int, alpha: float) -> None:
        super().__init__()
        self.base = base.requires_grad_(requires_grad=False)
        like = {"device": base.weight.device, "dtype": base.weight.dtype}
        self.lora_down = nn.Linear(base.in_features, rank, bias=False, **like)
        self.lora_up = nn.Linear(rank, base.out_features, bias=False, **like)
        self.scale = alpha / rank
        nn.init.zeros_(self.lora_up.weight)

    def forward(self, x: Tensor) -> Tensor:
        """What `base` gives, adapted."""
        out: Tensor = self.base(x) + self.lora_up(self.lora_down(x)) * self.scale
        return out

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The base layer with what was learnt added to its weight."""
        self.base.weight.add_(self.lora_up.weight @ self.lora_down.weight, alpha=self.scale)
        return self.base.requires_grad_()


def add_lora(model: Pi0, *, vlm_rank: int = 16, expert_rank: int = 32) -> None:
    """Adapt all matrices of both experts, with alpha equal to the rank as openpi has it, and freeze what they hold.

    Pictures' and actions' own weights go on training unless `freeze` says otherwise. Unlike openpi, whose two factors
    both start at random, the delta is zero at the start, and the MLPs' is scaled like the others.
    """
    for parent, name, linear in list(_linears(model, nn.Linear)):
        rank = vlm_rank if parent.startswith("vlm") else expert_rank
        _replace(model, name, LoraLinear(linear, rank=rank, alpha=rank))
    freeze(model, ("vlm", "action_expert"))


def merge_lora(model: Pi0) -> None:
    """Fold the adapters into the weights: the model computes the same, has its own names again, and can be exported."""
    for _, name, adapted in list(_linears(model, LoraLinear)):
        _replace(model, name, adapted.merged())


def freeze(model: Pi0, groups: Collection[Group]) -> None:
    """Train everything but these groups; adapters train in any case."""
    for name, parameter in model.named_parameters():
        is_adapter = f".{_DOWN}." in name or f".{_UP}." in name
        parameter.requires_grad_(is_adapter or group_of(name) not in groups)


def group_of(name: str) -> Group:
    """The group that a parameter belongs to, by its name in the model."""
    parts = name.split(".")
    if parts[0] == "image_encoder":
        return "image_encoder"
    if parts[0] == "embed_tokens" or (parts[0] == "layers" and parts[2] == "vlm"):
        return "vlm"
    return "action_expert" if parts[0] in {"layers", "action_norm"} else "projections"


def checkpoint_layers(model: Pi0) -> None:
    """Keep no activations inside layers for the backward pass, which computes them again: less memory, more time."""
    encoder = getattr(model.image_encoder, "layers", ())
    for layer in (*model.layers, *encoder):
        again = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
        layer.forward = again


def _linears(model: Pi0, kind: type[_Kind]) -> Iterator[tuple[str, str, _Kind]]:
    """(name within its layer pair, name in the model, module) of the experts' matrices that are of this kind."""
    for place, layer in enumerate(model.layers):
        for name, module in layer.named_modules():
            if isinstance(module, kind) and name.split(".")[-1] in _ADAPTED:
                yield name, f"layers.{place}.{name}", module


def _replace(model: Pi0, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)
