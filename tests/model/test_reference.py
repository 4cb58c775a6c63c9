"""Our π0 against tensors that the released implementation computed with random weights of a small size."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from model import flow_matching
from model.attention_mask import block_mask, position_ids, suffix_blocks
from model.config import tiny
from model.observation import Observation
from model.pi0 import Pi0
from model.time_embedding import embed_time
from model.weight_names import EXPERT_EMBEDDING, openpi_names, unused_shapes
from model.weights import load_pi0

REFERENCE = Path(__file__).parents[2] / "../shared/oracle"
CLOSE = {"atol": 2e-5, "rtol": 1e-5}

pytestmark = pytest.mark.skipif(not REFERENCE.is_dir(), reason=f"no reference tensors at {REFERENCE}")


@pytest.fixture(scope="module")
def weights():
    return load_file(REFERENCE / "weights.safetensors")


@pytest.fixture(scope="module")
def model(weights):
    model = Pi0(tiny())
    load_pi0(model, weights)
    return model


@pytest.fixture(scope="module")
def case():
    return load_file(REFERENCE / "case_full.safetensors")


@pytest.fixture(scope="module")
def observation(case):
    return Observation(
        images=case["in.images"].permute(1, 0, 3, 4, 2),
        image_mask=case["in.image_masks"].T,
        tokens=case["in.tokens"],
        token_mask=case["in.token_mask"],
        state=case["in.state"],
    )


def _loss(model, observation, case):
    everything = torch.ones(len(case["in.time"]), 32, dtype=torch.bool)
    return flow_matching.loss(
        model,
        observation,
        case["in.actions"],
        noise=case["in.noise"],
        time=case["in.time"],
        action_mask_BW=everything,
        step_mask_BH=everything[:, :10],
        openpi_compatible=True,
    )


def test_prefix_embeddings_agree(model, observation, case):
    prefix, _ = model.embed_prefix(observation)
    torch.testing.assert_close(prefix, case["out.prefix_embs"], **CLOSE)


def test_suffix_embeddings_agree(model, case):
    state, actions = model.embed_state(case["in.state"]), model.embed_actions(case["out.x_t"], case["in.time"])
    torch.testing.assert_close(torch.cat([state, actions], dim=1), case["out.suffix_embs"], **CLOSE)


def test_attention_mask_and_positions_are_equal(model, observation, case):
    _, valid = model.embed_prefix(observation)
    blocks = torch.cat([torch.zeros(valid.shape[1], dtype=torch.long), suffix_blocks(10, valid.device)])
    valid = torch.cat([valid, valid.new_ones(len(valid), 11)], dim=1)
    assert torch.equal(block_mask(valid, blocks), case["out.attn_mask"])
    assert torch.equal(position_ids(valid), case["out.position_ids"])


def test_noisy_actions_and_targets_agree(case):
    noisy, target = flow_matching.interpolate(case["in.actions"], case["in.noise"], case["in.time"])
    torch.testing.assert_close(noisy, case["out.x_t"])
    torch.testing.assert_close(target, case["out.u_t"])


def test_velocity_agrees(model, observation, case):
    velocity = model(observation, case["out.x_t"], case["in.time"])
    torch.testing.assert_close(velocity, case["out.v_t"], **CLOSE)


def test_loss_agrees(model, observation, case):
    loss = _loss(model, observation, case)
    torch.testing.assert_close(loss, case["out.loss_elem"].mean(dim=(1, 2)), rtol=2e-5, atol=1e-4)


def test_sampled_actions_agree(model, observation, case):
    actions = model.sample(observation, case["in.sample_noise"])
    torch.testing.assert_close(actions, case["out.sampled_actions_exact_t"], **CLOSE)


def test_one_step_of_sampling_agrees(model, observation, case):
    actions = model.sample(observation, case["in.sample_noise"], steps=1)
    torch.testing.assert_close(actions, case["out.sampled_actions_1step"], **CLOSE)


def test_gradients_agree(model, observation, case):
    model.zero_grad()
    _loss(model, observation, case).mean().backward()
    ours = dict(model.named_parameters())
    compared = 0
    for name, theirs in openpi_names(model.config).items():
        if f"grad.{theirs}" in case:
            expected = case[f"grad.{theirs}"]
            torch.testing.assert_close(ours[name].grad, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
            compared += 1
    assert compared == 10


def test_every_gradient_has_the_reference_norm(model, observation, case):
    with safe_open(REFERENCE / "case_full.safetensors", "pt") as file:
        names = json.loads(file.metadata()["grad_norm_names"])
    expected = dict(zip(names, case["grad.norms"].tolist(), strict=True))
    model.zero_grad()
    _loss(model, observation, case).mean().backward()
    ours = dict(model.named_parameters())
    noise = "vision_model.encoder.layers.{}.self_attn.k_proj.bias"  # mathematically zero
    for name, theirs in openpi_names(model.config).items():
        if not any(noise.format(layer) in theirs for layer in range(2)):
            assert math.isclose(ours[name].grad.norm().item(), expected[theirs], rel_tol=1e-4), theirs


def test_no_weight_is_without_a_gradient(model, observation, case):
    model.zero_grad()
    _loss(model, observation, case).mean().backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


def test_what_is_ignored_has_no_gradient_in_the_reference(weights, model):
    with safe_open(REFERENCE / "case_full.safetensors", "pt") as file:
        without = set(json.loads(file.metadata()["params_without_grad"]))
    last_queries = "paligemma_with_expert.paligemma.model.language_model.layers.2.self_attn.q_proj.weight"
    tied_head = "paligemma_with_expert.paligemma.lm_head.weight"
    assert unused_shapes(model.config).keys() == without | {last_queries, tied_head, EXPERT_EMBEDDING}
    assert set(load_pi0(model, weights)) == unused_shapes(model.config).keys() & weights.keys()


@pytest.mark.parametrize("width", [32, 1024])
def test_time_embedding_agrees(width):
    functions = load_file(REFERENCE / "functions.safetensors")
    embedded = embed_time(functions["time_emb.t"], width, min_period=4e-3, max_period=4.0)
    torch.testing.assert_close(embedded, functions[f"time_emb.{width}"], rtol=0, atol=1e-6)
