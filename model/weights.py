"""Weights under openpi's PyTorch names into `Pi0`, all of them or none.

A checkpoint that fits only partly leaves a policy that trains and does not work; so every name and shape must match,
and every misfit is in one error. Weights that the released files hold and no computation uses are listed by
`unused_names`, and ignored.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from model.config import Pi0Config, VisionConfig
from model.pi0 import Pi0

_TRUNK = "paligemma_with_expert."
_VLM = _TRUNK + "paligemma.model."
_VISION = _VLM + "vision_tower.vision_model."
_LANGUAGE = _VLM + "language_model."
_EXPERT = _TRUNK + "gemma_expert.model."
_EMBEDDING = _LANGUAGE + "embed_tokens.weight"
_TIED_HEAD = _TRUNK + "paligemma.lm_head.weight"
_PREFIX = "model."
"""LeRobot's files put this before each of openpi's names."""

_PROJECTIONS = ("state_proj", "action_in_proj", "action_out_proj", "action_time_mlp_in", "action_time_mlp_out")
_KEY_VALUE_PARTS = {"input_norm": "input_layernorm", "k_proj": "self_attn.k_proj", "v_proj": "self_attn.v_proj"}
_OTHER_PARTS = {
    "q_proj": "self_attn.q_proj",
    "o_proj": "self_attn.o_proj",
    "post_norm": "post_attention_layernorm",
    "mlp.gate_proj": "mlp.gate_proj",
    "mlp.up_proj": "mlp.up_proj",
    "mlp.down_proj": "mlp.down_proj",
}
_VISION_PARTS = {
    "norm1": "layer_norm1",
    "attention.q_proj": "self_attn.q_proj",
    "attention.k_proj": "self_attn.k_proj",
    "attention.v_proj": "self_attn.v_proj",
    "attention.out_proj": "self_attn.out_proj",
    "norm2": "layer_norm2",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
}


class WeightsError(ValueError):
    """A file's weights that do not fit the model; the message lists every misfit."""


def openpi_names(config: Pi0Config) -> dict[str, str]:
    """Our name of each parameter → openpi's; ValueError for a model whose image encoder is not SigLIP."""
    if not isinstance(config.image_encoder, VisionConfig):
        raise ValueError(f"only models with SigLIP have released weights, this one has {config.image_encoder}")
    return dict(_pairs(config, config.image_encoder))


def unused_names(config: Pi0Config) -> frozenset[str]:
    """Names in released files that no result depends on.

    They are the VLM's queries, output projection, MLP and norms after its last keys and values, and both language
    heads (the VLM's is the token embedding once more).
    """
    last = f"{_LANGUAGE}layers.{config.depth - 1}."
    heads = (_TIED_HEAD, _TRUNK + "gemma_expert.lm_head.weight")
    return frozenset([*(f"{last}{part}.weight" for part in _OTHER_PARTS.values()), _LANGUAGE + "norm.weight", *heads])


@torch.no_grad()
def load_openpi(model: Pi0, tensors: Mapping[str, Tensor]) -> list[str]:
    """Copy a released checkpoint's tensors into the model and return the names that were ignored because unused.

    Takes openpi's and LeRobot's files. Where the token embedding is missing, its tied language head stands in for it
    (files keep one name of a tied pair); where both are present the embedding counts, since fine-tuning leaves the
    head stale. WeightsError lists missing, unexpected and mis-shaped tensors; then nothing was copied.
    """
    found = {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items()}
    if _EMBEDDING not in found and _TIED_HEAD in found:
        found[_EMBEDDING] = found[_TIED_HEAD]
    unused = unused_names(model.config)
    ours = dict(model.named_parameters())
    wanted = {theirs: ours[name] for name, theirs in openpi_names(model.config).items()}
    _refuse_misfits(wanted, {name: tensor for name, tensor in found.items() if name not in unused})
    for name, parameter in wanted.items():
        parameter.copy_(found[name])
    return sorted(unused & found.keys())


def _refuse_misfits(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    misfits = [f"missing: {name} {list(wanted[name].shape)}" for name in sorted(wanted.keys() - found.keys())]
    misfits += [f"unexpected: {name} {list(found[name].shape)}" for name in sorted(found.keys() - wanted.keys())]
    misfits += [
        f"mis-shaped: {name} is {list(found[name].shape)}, expected {list(wanted[name].shape)}"
        for name in sorted(wanted.keys() & found.keys())
        if wanted[name].shape != found[name].shape
    ]
    if misfits:
        raise WeightsError("\n".join(["these weights do not fit the model:", *(f"  - {misfit}" for misfit in misfits)]))


def _pairs(config: Pi0Config, vision: VisionConfig) -> Iterator[tuple[str, str]]:
    """(our name, openpi's name) of every parameter."""
    yield "embed_tokens.weight", _EMBEDDING
    yield "action_norm.weight", _EXPERT + "norm.weight"
    yield from (pair for name in _PROJECTIONS for pair in _affine(name, name))
    for layer in range(config.depth):
        parts = {**_KEY_VALUE_PARTS, **_OTHER_PARTS}
        for ours, theirs in _KEY_VALUE_PARTS.items() if layer == config.depth - 1 else parts.items():
            yield f"layers.{layer}.vlm.{ours}.weight", f"{_LANGUAGE}layers.{layer}.{theirs}.weight"
        for ours, theirs in parts.items():
            yield f"layers.{layer}.action_expert.{ours}.weight", f"{_EXPERT}layers.{layer}.{theirs}.weight"
    yield "image_encoder.position", _VISION + "embeddings.position_embedding.weight"
    yield from _affine("image_encoder.patch", _VISION + "embeddings.patch_embedding")
    yield from _affine("image_encoder.norm", _VISION + "post_layernorm")
    yield from _affine("image_encoder.projector", _VLM + "multi_modal_projector.linear")
    for layer in range(vision.depth):
        for ours, theirs in _VISION_PARTS.items():
            yield from _affine(f"image_encoder.layers.{layer}.{ours}", f"{_VISION}encoder.layers.{layer}.{theirs}")


def _affine(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    yield from ((f"{ours}.{kind}", f"{theirs}.{kind}") for kind in ("weight", "bias"))
