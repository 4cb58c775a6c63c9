"""Samples with different cameras in one batch: computed in groups, with the results of the whole."""

from dataclasses import replace

import pytest
import torch

from model import by_cameras
from model.by_cameras import ByCameras
from model.initialize import initialize
from model.pi0_small import Pi0Small
from model.real_time_chunking import PreviousChunk
from tests.model.sizes import STEM, VIT, make_actions, make_model, make_observation
from tests.model.test_baselines import MODELS
from tests.model.test_pi0_small import SMALL

CONFIGS = pytest.mark.parametrize("config", [STEM, VIT], ids=["stem", "vit"])
BASELINES = {**MODELS, "pi0_small": lambda: Pi0Small(replace(SMALL, num_cameras=3))}
CLOSE = {"atol": 1e-5, "rtol": 1e-4}
MASKS = [[True, True, True], [False, True, False], [True, True, True], [False, True, False], [True, False, False]]


@pytest.fixture
def mixed(config):
    observation = make_observation(config, batch=len(MASKS), cameras=3)
    observation.image_mask.copy_(torch.tensor(MASKS))
    return observation


def _given(config, mixed, *, draws=2):
    batch = len(MASKS)
    return {
        "observation": mixed,
        "actions_BHW": make_actions(config, batch=batch),
        "noise": make_actions(config, batch=batch * draws, seed=8).unflatten(0, (batch, draws)),
        "time": torch.linspace(0.1, 0.9, batch * draws).view(batch, draws),
        "action_mask_BW": torch.arange(config.action_width) < torch.tensor([[6], [2], [4], [3], [1]]),
        "step_mask_BH": torch.arange(4) < torch.tensor([[4], [3], [1], [4], [2]]),
    }


@pytest.fixture(autouse=True)
def _small_models_are_worth_it(monkeypatch):
    monkeypatch.setattr(by_cameras, "_LEAST_WEIGHTS", 0)


@CONFIGS
def test_losses_and_gradients_are_the_same_for_every_draw(config, mixed):
    model, given = make_model(config), _given(config, mixed)
    whole, grouped = model.loss(**given), ByCameras(model)(**given)
    torch.testing.assert_close(grouped, whole, **CLOSE)
    weights = list(model.parameters())
    gradients = [torch.autograd.grad(loss.sum(), weights) for loss in (whole, grouped)]
    for expected, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("make", BASELINES.values(), ids=BASELINES.keys())
@pytest.mark.parametrize("config", [STEM])
def test_the_other_models_lose_and_act_the_same_too(make, config, mixed):
    model, given = make(), _given(config, mixed)
    initialize(model, seed=0)
    noise = make_actions(config, batch=len(MASKS))
    torch.testing.assert_close(ByCameras(model)(**given), model.loss(**given), **CLOSE)
    grouped = ByCameras(model).sample(mixed, noise, action_mask=given["action_mask_BW"])
    whole = model.sample(mixed, noise, action_mask=given["action_mask_BW"])
    torch.testing.assert_close(grouped, whole, atol=1e-4, rtol=1e-3)


@CONFIGS
def test_sampled_actions_are_the_same(config, mixed):
    model, noise = make_model(config), make_actions(config, batch=len(MASKS))
    options = {
        "action_mask": torch.arange(config.action_width) < torch.tensor([[6], [2], [4], [3], [1]]),
        "previous": PreviousChunk(actions=make_actions(config, batch=len(MASKS), steps=2, seed=3), delay=1),
    }
    grouped = ByCameras(model).sample(mixed, noise, **options)
    torch.testing.assert_close(grouped, model.sample(mixed, noise, **options), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("config", [VIT])
def test_each_set_of_cameras_is_passed_once_and_without_absent_ones(config, mixed):
    model, seen = make_model(config), []
    model.image_encoder.register_forward_hook(lambda _, given, __: seen.append(tuple(given[0].shape[:2])))
    ByCameras(model).sample(mixed, make_actions(config, batch=len(MASKS)))
    assert sorted(seen) == [(1, 1), (2, 1), (2, 3)]


@pytest.mark.parametrize("config", [STEM])
def test_a_model_of_few_weights_takes_a_batch_at_once(config, mixed, monkeypatch):
    model, passes = make_model(config), []
    monkeypatch.setattr(by_cameras, "_LEAST_WEIGHTS", 1 + sum(weight.numel() for weight in model.parameters()))
    monkeypatch.setattr(model, "sample", lambda seen, noise, **_: passes.append(len(seen.state)) or noise)

    ByCameras(model).sample(mixed, make_actions(config, batch=len(MASKS)))

    assert passes == [len(MASKS)]
