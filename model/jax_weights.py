"""openpi's JAX arrays into `Pi0`: all of them or none, as weights.py does it for PyTorch's.

They come as a mapping of paths, like `PaliGemma/llm/layers/attn/q_einsum/w`, to arrays: a dictionary, what `np.load`
gives for an .npz, or `OrbaxArrays` (orbax.py). Layers are stacked along the first axis, matrices are input × output,
heads have axes of their own, and the action expert's names end in `_1`.
"""

# Legend: L layers, N query heads, G key-value heads, F head dimension, D width, M width of an MLP, V width of SigLIP,
# C its heads, S side of a patch.
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config import ExpertConfig, Pi0Config
from model.pi0 import Pi0
from model.weight_misfits import refuse_misfits
from model.weight_names import PROJECTIONS, Shape, siglip_of

_IMAGE, _TEXT = "PaliGemma/img/", "PaliGemma/llm/"
_BLOCK = _IMAGE + "Transformer/encoderblock/"


class StoredArray(Protocol):
    """An array, or one whose numbers are still to be read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""

    def __array__(self) -> NDArray[np.generic]:
        """The numbers."""


Cut = Callable[[Tensor], Tensor]
"""From an array, or its part for one layer, to one of our weights."""


@dataclass(frozen=True, slots=True)
class _Array:
    """An array of the checkpoint and what it holds."""

    path: str
    shape: Shape
    weights: dict[str, Cut]
    """Our name of each weight in it, `{}` standing for the layer where the array is stacked."""


@torch.no_grad()
def load_jax(model: Pi0, arrays: Mapping[str, StoredArray]) -> list[str]:
    """Copy openpi's JAX arrays into the model and return the paths, with the layer, that were ignored because unused.

    WeightsError lists missing, unexpected and mis-shaped arrays; then nothing was copied.
    """
    given = {path.removeprefix("params/").removesuffix("/value"): path for path in arrays}
    wanted = {array.path: array for array in _arrays(model.config)}
    shapes = {path: tuple(arrays[name].shape) for path, name in given.items()}
    refuse_misfits({path: array.shape for path, array in wanted.items()}, shapes, describe=lambda _: {})
    ours, ignored = dict(model.named_parameters()), []
    for path, array in wanted.items():
        tensor = _tensor(np.asarray(arrays[given[path]]))
        for name, cut in array.weights.items():
            layers = range(len(tensor)) if "{}" in name else (None,)
            for layer in layers:
                parameter = ours.get(name.format(layer))
                if parameter is not None:
                    parameter.copy_(cut(tensor if layer is None else tensor[layer]))
                elif (line := given[path] if layer is None else f"{given[path]}[{layer}]") not in ignored:
                    ignored.append(line)
    return ignored


def _tensor(array: NDArray[np.generic]) -> Tensor:
    """The array as torch has it; numpy knows bfloat16 as an extension, or only that it has two bytes."""
    if array.dtype.name == "bfloat16" or array.dtype == np.dtype("V2"):
        return torch.from_numpy(np.ascontiguousarray(array).view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(np.ascontiguousarray(array))


def _arrays(config: Pi0Config) -> Iterator[_Array]:
    """All arrays of a checkpoint of this model."""
    width, action = config.action_expert.width, config.action_width
    outs = dict.fromkeys(PROJECTIONS, width) | {"action_out_proj": action}
    ins = {"state_proj": action, "action_in_proj": action, "action_time_mlp_in": 2 * width}
    for name in PROJECTIONS:
        yield from _dense(name, name, (ins.get(name, width), outs[name]))
    table = (config.vocab_size, config.vlm.width)
    yield _Array(_TEXT + "embedder/input_embedding", table, {"embed_tokens.weight": _same})
    yield _Array(_TEXT + "final_norm/scale", (config.vlm.width,), {"vlm_norm.weight": _same})
    yield _Array(_TEXT + "final_norm_1/scale", (width,), {"action_norm.weight": _same})
    yield from _expert(config, config.vlm, names=("", "vlm"))
    yield from _expert(config, config.action_expert, names=("_1", "action_expert"))
    yield from _siglip(config)


def _expert(config: Pi0Config, expert: ExpertConfig, *, names: tuple[str, str]) -> Iterator[_Array]:
    """The stacked layers of one expert; `names` are JAX's suffix and our module."""
    suffix, module = names
    layers, heads, shared, head_dim = config.depth, config.num_heads, config.num_kv_heads, config.head_dim
    width, mlp = expert.width, expert.mlp_width
    table: dict[str, tuple[Shape, dict[str, Cut]]] = {
        "attn/q_einsum{}/w": ((heads, width, head_dim), {"q_proj": _heads}),
        "attn/kv_einsum{}/w": (
            (2, shared, width, head_dim),
            {"k_proj": lambda w_2GDF: _heads(w_2GDF[0]), "v_proj": lambda w_2GDF: _heads(w_2GDF[1])},
        ),
        "attn/attn_vec_einsum{}/w": ((heads, head_dim, width), {"o_proj": lambda w_NFD: w_NFD.flatten(0, 1).T}),
        "mlp{}/gating_einsum": (
            (2, width, mlp),
            {"mlp.gate_proj": lambda w_2DM: w_2DM[0].T, "mlp.up_proj": lambda w_2DM: w_2DM[1].T},
        ),
        "mlp{}/linear": ((mlp, width), {"mlp.down_proj": _transposed}),
        "pre_attention_norm{}/scale": ((width,), {"input_norm": _same}),
        "pre_ffw_norm{}/scale": ((width,), {"post_norm": _same}),
    }
    for path, (shape, parts) in table.items():
        weights = {f"layers.{{}}.{module}.{ours}.weight": cut for ours, cut in parts.items()}
        yield _Array(f"{_TEXT}layers/{path.format(suffix)}", (layers, *shape), weights)


def _siglip(config: Pi0Config) -> Iterator[_Array]:
    vision = siglip_of(config)
    width, heads, patch = vision.width, vision.num_heads, vision.patch_size
    head_dim, layers = width // heads, "image_encoder.layers.{}."
    position = (1, vision.num_tokens, width)
    yield _Array(_IMAGE + "pos_embedding", position, {"image_encoder.position": lambda w_1KV: w_1KV[0]})
    kernel = (patch, patch, 3, width)
    yield _Array(
        _IMAGE + "embedding/kernel", kernel, {"image_encoder.patch.weight": lambda w_SS3V: w_SS3V.permute(3, 2, 0, 1)}
    )
    yield _Array(_IMAGE + "embedding/bias", (width,), {"image_encoder.patch.bias": _same})
    yield from _norm(_IMAGE + "Transformer/encoder_norm", "image_encoder.norm", (width,))
    yield from _dense(_IMAGE + "head", "image_encoder.projector", (width, config.vlm.width))
    for place in (0, 1):
        yield from _norm(f"{_BLOCK}LayerNorm_{place}", f"{layers}norm{place + 1}", (vision.depth, width))
    mlp = (width, vision.mlp_width)
    yield from _dense(_BLOCK + "MlpBlock_0/Dense_0", layers + "fc1", mlp, stack=(vision.depth,))
    yield from _dense(_BLOCK + "MlpBlock_0/Dense_1", layers + "fc2", mlp[::-1], stack=(vision.depth,))
    for theirs, ours in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"), ("out", "out_proj")):
        path, name = f"{_BLOCK}MultiHeadDotProductAttention_0/{theirs}/", f"{layers}attention.{ours}."
        into, out = ((heads, head_dim), (width,)) if theirs == "out" else ((width,), (heads, head_dim))
        cut = _from_heads if theirs == "out" else _to_heads
        yield _Array(path + "kernel", (vision.depth, *into, *out), {name + "weight": cut})
        yield _Array(path + "bias", (vision.depth, *out), {name + "bias": torch.flatten})


def _dense(path: str, name: str, shape: Shape, *, stack: Shape = ()) -> Iterator[_Array]:
    """A linear layer's kernel, of shape input × output, and bias."""
    yield _Array(path + "/kernel", (*stack, *shape), {name + ".weight": _transposed})
    yield _Array(path + "/bias", (*stack, shape[1]), {name + ".bias": _same})


def _norm(path: str, name: str, shape: Shape) -> Iterator[_Array]:
    yield from (_Array(f"{path}/{theirs}", shape, {f"{name}.{ours}": _same}) for theirs, ours in _AFFINE.items())


_AFFINE = {"scale": "weight", "bias": "bias"}


def _same(array: Tensor) -> Tensor:
    return array


def _transposed(array: Tensor) -> Tensor:
    return array.T


def _heads(w_NDF: Tensor) -> Tensor:
    """[N*F, D]."""
    return w_NDF.transpose(1, 2).flatten(0, 1)


def _to_heads(w_VCF: Tensor) -> Tensor:
    """[C*F, V]."""
    return w_VCF.flatten(1).T


def _from_heads(w_CFV: Tensor) -> Tensor:
    """[V, C*F]."""
    return w_CFV.flatten(0, 1).T
