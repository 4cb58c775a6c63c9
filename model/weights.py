"""Released weights into `Pi0` and out again: all of them or none.

A checkpoint that fits only partly leaves a policy that trains and does not work; so every name and shape must match,
and every misfit is in one error. What released files hold and no computation uses is ignored, and listed. Weights come
as a mapping: `TensorFiles` (weight_files.py) for safetensors, jax_weights.py for openpi's JAX arrays. Nothing here
reads pickles, which can run code.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from model.config import Pi0Config
from model.pi0 import Pi0
from model.weight_misfits import WeightsError, refuse_misfits, shapes_of
from model.weight_names import (
    EMBEDDING,
    EXPERT,
    EXPERT_EMBEDDING,
    LANGUAGE,
    PALIGEMMA,
    TIED_HEAD,
    VISION,
    Shape,
    openpi_name,
    openpi_names,
    unused_shapes,
)

_EXTRA_ROWS = 64
"""transformers pads PaliGemma's vocabulary by up to this many tokens that no prompt has."""


def new_pi0(config: Pi0Config, tensors: Mapping[str, Tensor], *, dtype: torch.dtype = torch.float32) -> Pi0:
    """A model with a checkpoint's weights, never drawn at random first; takes what `load_pi0` takes.

    With `TensorFiles` the most memory it takes at a time is the model's and its largest tensor's.
    """
    with torch.device("meta"):
        model = Pi0(config).to(dtype)
    model.to_empty(device="cpu")
    load_pi0(model, tensors)
    return model


def load_pi0(model: Pi0, tensors: Mapping[str, Tensor]) -> list[str]:
    """Copy a π0's tensors into the model and return the names that were ignored because unused.

    Takes the files of openpi, LeRobot and transformers' π0. Where the token embedding is missing, its tied language
    head stands in for it (files keep one name of a tied pair); where both are present the embedding counts, since
    fine-tuning leaves the head stale. Up to 64 more rows than the vocabulary has are cut off and listed. WeightsError
    lists missing, unexpected and mis-shaped tensors; then nothing was copied.
    """
    return _load(model, tensors, names=openpi_names(model.config))


def load_paligemma(model: Pi0, tensors: Mapping[str, Tensor]) -> list[str]:
    """The same for PaliGemma, the released vision-language model that π0 begins with, under transformers' names.

    The action expert and the projections of states and actions keep the weights they have.
    """
    names = {ours: theirs for ours, theirs in openpi_names(model.config).items() if theirs.startswith(PALIGEMMA)}
    return _load(model, tensors, names=names)


def export_openpi(model: Pi0) -> dict[str, Tensor]:
    """The weights as openpi's PyTorch code saves them, to be loaded strictly; dead weights are zeros.

    Of the tied pair its files have the language head, not the embedding. Tensors share the model's memory.
    """
    tensors = _with_unused(model)
    tensors[TIED_HEAD] = tensors.pop(EMBEDDING)
    return tensors


def export_lerobot(model: Pi0) -> dict[str, Tensor]:
    """The weights as LeRobot saves them: behind `model.`, with both names of the tied pair; dead weights are zeros."""
    tensors = _with_unused(model)
    tensors[TIED_HEAD] = tensors[EMBEDDING].clone()
    return {f"model.{name}": tensor for name, tensor in tensors.items()}


@torch.no_grad()
def _load(model: Pi0, tensors: Mapping[str, Tensor], *, names: Mapping[str, str]) -> list[str]:
    """Copy into the parameters that `names` has (ours → openpi's)."""
    given = _by_openpi_name(tensors)
    if EMBEDDING not in given and TIED_HEAD in given:
        given[EMBEDDING] = given.pop(TIED_HEAD)
    ours = dict(model.named_parameters())
    wanted = {theirs: ours[name] for name, theirs in names.items()}
    if any(parameter.is_meta for parameter in wanted.values()):
        raise ValueError("the model is on the meta device, which holds no weights: build it with new_pi0")
    unused = sorted(unused_shapes(model.config).keys() & given.keys())
    found = {name: tuple(tensors[given[name]].shape) for name in given.keys() - set(unused)}
    ignored = [given[name] for name in unused]
    rows, extra = len(ours["embed_tokens.weight"]), found.get(EMBEDDING, (0,))[0] - len(ours["embed_tokens.weight"])
    if 0 < extra <= _EXTRA_ROWS:
        found[EMBEDDING] = (rows, *found[EMBEDDING][1:])
        ignored.append(f"{given[EMBEDDING]}[{rows}:]")
    refuse_misfits(shapes_of(wanted), found, describe=_sizes)
    for name, parameter in wanted.items():
        parameter.copy_(tensors[given[name]][: len(parameter)])
    return ignored


def _by_openpi_name(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The given name of each tensor, by openpi's."""
    given: dict[str, str] = {}
    twice = []
    for name in tensors:
        theirs = openpi_name(name)
        if theirs in given:
            twice.append(f"{given[theirs]} and {name} are both {theirs}")
        given[theirs] = name
    if twice:
        raise WeightsError(twice)
    return given


def _with_unused(model: Pi0) -> dict[str, Tensor]:
    """The model's tensors by openpi's names, with zeros for those that only its files have; but for the tied head."""
    ours = dict(model.named_parameters())
    like = model.embed_tokens.weight
    tensors = {theirs: ours[name].detach() for name, theirs in openpi_names(model.config).items()}
    for name, shape in unused_shapes(model.config).items():
        if name not in {TIED_HEAD, EXPERT_EMBEDDING}:
            tensors[name] = torch.zeros(shape, dtype=like.dtype, device=like.device)
    return tensors


_SIZES = {
    "vocab_size": (EMBEDDING, 0),
    "vlm.width": (EMBEDDING, 1),
    "vlm.mlp_width": (LANGUAGE + "layers.0.mlp.gate_proj.weight", 0),
    "action_expert.width": ("action_in_proj.bias", 0),
    "action_expert.mlp_width": (EXPERT + "layers.0.mlp.gate_proj.weight", 0),
    "action_width": ("action_out_proj.bias", 0),
    "num_heads * head_dim": (EXPERT + "layers.0.self_attn.q_proj.weight", 0),
    "num_kv_heads * head_dim": (EXPERT + "layers.0.self_attn.k_proj.weight", 0),
    "image_encoder.width": (VISION + "embeddings.patch_embedding.bias", 0),
    "image_encoder.mlp_width": (VISION + "encoder.layers.0.mlp.fc1.bias", 0),
    "image_encoder.patch_size": (VISION + "embeddings.patch_embedding.weight", 2),
    "image_encoder.num_tokens": (VISION + "embeddings.position_embedding.weight", 0),
}
"""Where shapes show the sizes that a config gives."""


def _sizes(shapes: Mapping[str, Shape]) -> dict[str, int]:
    """The sizes of a model whose tensors have these shapes, by openpi's names, as far as they show them."""
    sizes = {what: shapes[name][axis] for what, (name, axis) in _SIZES.items() if len(shapes.get(name, ())) > axis}
    for what, stem in (("depth", LANGUAGE + "layers."), ("image_encoder.depth", VISION + "encoder.layers.")):
        layers = [int(found[1]) for name in shapes if (found := re.match(re.escape(stem) + r"(\d+)\.", name))]
        sizes[what] = max(layers, default=-1) + 1
    return sizes
