"""Adapters, frozen groups and checkpointing change nothing but what is trained, and at what price."""

import pytest
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from model import flow_matching
from model.fine_tuning import add_lora, checkpoint_layers, freeze, group_of, merge_lora
from model.weights import export_openpi
from tests.model.sizes import STEM, VIT, make_actions, make_model, make_observation

CONFIGS = pytest.mark.parametrize("config", [STEM, VIT], ids=["stem", "vit"])
TIME = torch.tensor([0.2, 0.7, 1.0])


def _loss(model, config):
    everything = torch.ones(3, config.action_width, dtype=torch.bool)
    return flow_matching.loss(
        model,
        make_observation(config),
        make_actions(config),
        noise=make_actions(config, seed=8),
        time=TIME,
        action_mask_BW=everything,
        step_mask_BH=everything[:, :4],
    ).mean()


def _trained(model):
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def _learn(model, config, *, steps=2):
    optimizer = torch.optim.SGD([weight for weight in model.parameters() if weight.requires_grad], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        _loss(model, config).backward()
        optimizer.step()


@CONFIGS
def test_adapters_change_nothing_at_the_start(config):
    model = make_model(config)
    before = _loss(model, config)
    add_lora(model)
    assert torch.equal(_loss(model, config), before)


@CONFIGS
def test_adapters_and_what_is_beside_the_experts_are_trained(config):
    model = make_model(config)
    groups = {name: group_of(name) for name, _ in model.named_parameters()}
    add_lora(model, vlm_rank=2, expert_rank=3)
    trained = _trained(model)
    adapters = {name for name in trained if "lora" in name}
    assert trained - adapters == {name for name, group in groups.items() if group in {"image_encoder", "projections"}}
    matrices = sum(name.endswith("proj.weight") and name.startswith("layers") for name in groups)
    assert len(adapters) == 2 * matrices
    assert model.layers[0].vlm.q_proj.lora_down.weight.shape[0] == 2
    assert model.layers[0].action_expert.mlp.up_proj.lora_down.weight.shape[0] == 3


@CONFIGS
def test_what_adapters_learnt_can_be_folded_in(config):
    model = make_model(config)
    names = {name for name, _ in model.named_parameters()}
    add_lora(model)
    untrained = _loss(model, config)
    _learn(model, config)
    adapted = _loss(model, config)
    merge_lora(model)
    assert adapted < untrained
    torch.testing.assert_close(_loss(model, config), adapted, rtol=1e-4, atol=1e-6)
    assert {name for name, _ in model.named_parameters()} == names


def test_a_merged_model_can_be_exported():
    model = make_model(VIT)
    add_lora(model)
    with pytest.raises(KeyError):
        export_openpi(model)
    merge_lora(model)
    assert export_openpi(model).keys() == export_openpi(make_model(VIT)).keys()


@CONFIGS
@pytest.mark.parametrize("groups", [("image_encoder",), ("vlm",), ("image_encoder", "vlm"), ("action_expert",)])
def test_frozen_groups_stay_and_the_others_learn(config, groups):
    model, before = make_model(config), dict(make_model(config).named_parameters())
    freeze(model, groups)
    _learn(model, config, steps=1)
    same = {name for name, weight in model.named_parameters() if torch.equal(weight, before[name])}
    assert same == {name for name in before if group_of(name) in groups}


def test_freezing_anew_forgets_what_was_frozen():
    model = make_model(STEM)
    freeze(model, ("vlm",))
    freeze(model, ())
    assert _trained(model) == {name for name, _ in model.named_parameters()}


def test_every_parameter_is_in_a_group():
    groups = {group_of(name) for name, _ in make_model(VIT).named_parameters()}
    assert groups == {"image_encoder", "vlm", "action_expert", "projections"}
    assert group_of("state_proj.bias") == group_of("action_out_proj.weight") == "projections"


@CONFIGS
def test_checkpointed_layers_give_the_same_gradients_and_are_computed_twice(config):
    plain, sparing = make_model(config), make_model(config)
    calls = []
    sparing.layers[0].action_expert.q_proj.register_forward_hook(lambda *_: calls.append(1))
    checkpoint_layers(sparing)
    for model in (plain, sparing):
        _loss(model, config).backward()
    for one, other in zip(plain.parameters(), sparing.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)
    assert len(calls) == 2
    observation, noise = make_observation(config), make_actions(config)
    assert torch.equal(plain.sample(observation, noise), sparing.sample(observation, noise))


@pytest.fixture
def process_group(tmp_path):
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize(
    "prepare",
    [lambda model: None, add_lora, lambda model: freeze(model, ("image_encoder", "vlm")), checkpoint_layers],
    ids=["whole", "lora", "frozen", "checkpointed"],
)
def test_no_parameter_is_unused_under_ddp(prepare, process_group):
    model = make_model(VIT)
    prepare(model)
    wrapped = DistributedDataParallel(model, find_unused_parameters=False)
    _learn(wrapped, VIT)  # the second step would be refused had the first left a gradient out
    assert all(weight.grad is not None for weight in model.parameters() if weight.requires_grad)
