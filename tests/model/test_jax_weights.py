"""openpi's JAX arrays: their paths and shapes, and that each does here what it does there."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from model.config import tiny
from model.jax_weights import load_jax
from model.pi0 import Pi0
from model.weight_misfits import WeightsError
from tests.model.sizes import VIT, make_model

NAMES = Path(__file__).parents[2] / "../shared/oracle/jax_param_names_tiny.json"
ATTENTION = {"query": "q_proj", "key": "k_proj", "value": "v_proj"}


def _stack(model, name):
    """[L, ...] of a weight that every layer has; what the last VLM layer lacks is zero there."""
    found = dict(model.named_parameters())
    depth = len({key.split(".")[2] for key in found if key.startswith("image_encoder.layers.")})
    depth = depth if name.startswith("image_encoder") else len(model.layers)
    weights: list[Tensor | None] = [found.get(name.format(layer)) for layer in range(depth)]
    present = next(weight for weight in weights if weight is not None)
    stacked = [torch.zeros_like(present) if weight is None else weight.detach() for weight in weights]
    return torch.stack(stacked).numpy()


def to_jax(model) -> dict[str, np.ndarray]:
    """The model's weights as openpi's JAX code has them."""
    config, vision = model.config, model.config.image_encoder
    ours = {name: weight.detach().numpy() for name, weight in model.named_parameters()}
    tree = {"PaliGemma/llm/final_norm/scale": np.zeros(config.vlm.width, np.float32)}
    tree["PaliGemma/llm/final_norm_1/scale"] = ours["action_norm.weight"]
    tree["PaliGemma/llm/embedder/input_embedding"] = ours["embed_tokens.weight"]
    for name in ("state_proj", "action_in_proj", "action_out_proj", "action_time_mlp_in", "action_time_mlp_out"):
        tree[f"{name}/kernel"], tree[f"{name}/bias"] = ours[f"{name}.weight"].T, ours[f"{name}.bias"]
    for end, module in (("", "vlm"), ("_1", "action_expert")):

        def layers(part, module=module):
            return _stack(model, f"layers.{{}}.{module}.{part}.weight")

        def heads(part, layers=layers):
            weight_LOD = layers(part)
            return weight_LOD.reshape(len(weight_LOD), -1, config.head_dim, weight_LOD.shape[-1]).swapaxes(2, 3)

        llm = "PaliGemma/llm/layers/"
        out_LDO = layers("o_proj")
        tree[f"{llm}attn/q_einsum{end}/w"] = heads("q_proj")
        tree[f"{llm}attn/kv_einsum{end}/w"] = np.stack([heads("k_proj"), heads("v_proj")], axis=1)
        tree[f"{llm}attn/attn_vec_einsum{end}/w"] = out_LDO.swapaxes(1, 2).reshape(
            len(out_LDO), config.num_heads, config.head_dim, -1
        )
        gates = [layers("mlp.gate_proj"), layers("mlp.up_proj")]
        tree[f"{llm}mlp{end}/gating_einsum"] = np.stack(gates, axis=1).swapaxes(2, 3)
        tree[f"{llm}mlp{end}/linear"] = layers("mlp.down_proj").swapaxes(1, 2)
        tree[f"{llm}pre_attention_norm{end}/scale"] = layers("input_norm")
        tree[f"{llm}pre_ffw_norm{end}/scale"] = layers("post_norm")
    image = "PaliGemma/img/"
    tree[image + "embedding/kernel"] = ours["image_encoder.patch.weight"].transpose(2, 3, 1, 0)
    tree[image + "embedding/bias"] = ours["image_encoder.patch.bias"]
    tree[image + "pos_embedding"] = ours["image_encoder.position"][None]
    tree[image + "head/kernel"] = ours["image_encoder.projector.weight"].T
    tree[image + "head/bias"] = ours["image_encoder.projector.bias"]
    tree[image + "Transformer/encoder_norm/scale"] = ours["image_encoder.norm.weight"]
    tree[image + "Transformer/encoder_norm/bias"] = ours["image_encoder.norm.bias"]
    block, layer = image + "Transformer/encoderblock/", "image_encoder.layers.{}."
    for number in (0, 1):
        tree[f"{block}LayerNorm_{number}/scale"] = _stack(model, f"{layer}norm{number + 1}.weight")
        tree[f"{block}LayerNorm_{number}/bias"] = _stack(model, f"{layer}norm{number + 1}.bias")
        tree[f"{block}MlpBlock_0/Dense_{number}/kernel"] = _stack(model, f"{layer}fc{number + 1}.weight").swapaxes(1, 2)
        tree[f"{block}MlpBlock_0/Dense_{number}/bias"] = _stack(model, f"{layer}fc{number + 1}.bias")
    attention, per_head = block + "MultiHeadDotProductAttention_0/", (vision.num_heads, -1)
    for theirs, part in ATTENTION.items():
        weight_LOI = _stack(model, f"{layer}attention.{part}.weight")
        tree[f"{attention}{theirs}/kernel"] = weight_LOI.swapaxes(1, 2).reshape(*weight_LOI.shape[:2], *per_head)
        tree[f"{attention}{theirs}/bias"] = _stack(model, f"{layer}attention.{part}.bias").reshape(
            len(weight_LOI), *per_head
        )
    out_LOI = _stack(model, f"{layer}attention.out_proj.weight").swapaxes(1, 2)
    tree[attention + "out/kernel"] = out_LOI.reshape(len(out_LOI), *per_head, vision.width)
    tree[attention + "out/bias"] = _stack(model, f"{layer}attention.out_proj.bias")
    return tree


@pytest.fixture
def source():
    return make_model(VIT, seed=3)


def _is_equal(model, source):
    expected = dict(source.named_parameters())
    return all(torch.equal(weight, expected[name]) for name, weight in model.named_parameters())


@pytest.mark.parametrize("form", ["{}", "params/{}", "{}/value"])
def test_arrays_load_with_and_without_what_training_adds_to_paths(source, form):
    model = Pi0(VIT)
    ignored = load_jax(model, {form.format(path): array for path, array in to_jax(source).items()})
    assert _is_equal(model, source)
    llm = "PaliGemma/llm/"
    parts = ("attn/q_einsum/w", "attn/attn_vec_einsum/w", "mlp/gating_einsum", "mlp/linear", "pre_ffw_norm/scale")
    unused = {f"{form.format(f'{llm}layers/{part}')}[{VIT.depth - 1}]" for part in parts}
    assert set(ignored) == unused | {form.format(f"{llm}final_norm/scale")}


def test_an_npz_file_is_a_mapping_of_arrays(source, tmp_path):
    np.savez(tmp_path / "params.npz", **to_jax(source))
    model = Pi0(VIT)
    with np.load(tmp_path / "params.npz") as arrays:
        load_jax(model, arrays)
    assert _is_equal(model, source)


def test_bfloat16_is_read_as_numpy_keeps_it(source):
    arrays = to_jax(source)
    halved = {
        path: torch.from_numpy(np.ascontiguousarray(array)).bfloat16().view(torch.int16).numpy().view("V2")
        for path, array in arrays.items()
    }
    model = Pi0(VIT)
    load_jax(model, halved)
    assert torch.equal(model.embed_tokens.weight, source.embed_tokens.weight.bfloat16().float())


def test_every_misfit_is_in_one_error(source):
    arrays = to_jax(source)
    del arrays["state_proj/bias"]
    arrays["state_proj/scale"] = np.zeros(2, np.float32)
    arrays["action_in_proj/kernel"] = arrays["action_in_proj/kernel"].T
    with pytest.raises(WeightsError) as error:
        load_jax(Pi0(VIT), arrays)
    assert "missing: state_proj/bias [16]" in str(error.value)
    assert "unexpected: state_proj/scale [2]" in str(error.value)
    assert "action_in_proj/kernel is [16, 6], expected [6, 16]: it is transposed" in str(error.value)


@pytest.mark.skipif(not NAMES.is_file(), reason=f"no list of released paths at {NAMES}")
def test_paths_and_shapes_are_those_of_the_released_arrays():
    model = make_model(tiny())
    released = {path: tuple(shape) for path, shape in json.loads(NAMES.read_text()).items()}
    assert {path: array.shape for path, array in to_jax(model).items()} == released
    load_jax(Pi0(tiny()), {path: np.zeros(shape, np.float32) for path, shape in released.items()})


def test_arrays_mean_what_they_mean_in_jax(source):
    arrays, x = to_jax(source), np.random.default_rng(0).standard_normal((5, VIT.vlm.width)).astype(np.float32)
    vlm = source.layers[0].vlm
    query = np.einsum("td,ndf->tnf", x, arrays["PaliGemma/llm/layers/attn/q_einsum/w"][0])
    expected = vlm.q_proj(torch.from_numpy(x)).detach().numpy().reshape(query.shape)
    np.testing.assert_allclose(query, expected, atol=1e-5)
    values = np.einsum("td,gdf->tgf", x, arrays["PaliGemma/llm/layers/attn/kv_einsum/w"][0, 1])
    expected = vlm.v_proj(torch.from_numpy(x)).detach().numpy().reshape(values.shape)
    np.testing.assert_allclose(values, expected, atol=1e-5)
    out = np.einsum("tnf,nfd->td", query, arrays["PaliGemma/llm/layers/attn/attn_vec_einsum/w"][0])
    expected = vlm.o_proj(torch.from_numpy(query).flatten(1)).detach().numpy()
    np.testing.assert_allclose(out, expected, atol=1e-4)
