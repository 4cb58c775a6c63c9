"""Samples with different cameras in one batch: computed in groups, with the results of the whole."""

import pytest
import torch

from model import flow_matching
from model.by_cameras import ByCameras
from model.real_time_chunking import PreviousChunk
from tests.model.sizes import STEM, VIT, make_actions, make_model, make_observation

CONFIGS = pytest.mark.parametrize("config", [STEM, VIT], ids=["stem", "vit"])
CLOSE = {"atol": 1e-5, "rtol": 1e-4}
MASKS = [[True, True, True], [False, True, False], [True, True, True], [False, True, False], [True, False, False]]


@pytest.fixture
def mixed(config):
    observation = make_observation(config, batch=len(MASKS), cameras=3)
    observation.image_mask.copy_(torch.tensor(MASKS))
    return observation


@CONFIGS
def test_velocity_is_the_same_for_every_draw(config, mixed):
    model, actions = make_model(config), make_actions(config, batch=3 * len(MASKS))
    time = torch.linspace(0.1, 0.9, len(actions))
    with torch.no_grad():
        grouped = ByCameras(model)(mixed, actions, time)
        torch.testing.assert_close(grouped, model(mixed, actions, time), **CLOSE)


@CONFIGS
def test_sampled_actions_are_the_same(config, mixed):
    model, noise = make_model(config), make_actions(config, batch=len(MASKS))
    options = {
        "action_mask": torch.arange(config.action_width) < torch.tensor([[6], [2], [4], [3], [1]]),
        "previous": PreviousChunk(actions=make_actions(config, batch=len(MASKS), steps=2, seed=3), delay=1),
    }
    grouped = ByCameras(model).sample(mixed, noise, **options)
    torch.testing.assert_close(grouped, model.sample(mixed, noise, **options), atol=1e-4, rtol=1e-3)


@CONFIGS
def test_gradients_are_the_same(config, mixed):
    model, actions = make_model(config), make_actions(config, batch=len(MASKS))
    everything = torch.ones(len(MASKS), config.action_width, dtype=torch.bool)
    gradients = []
    for one in (model, ByCameras(model)):
        loss = flow_matching.loss(
            one,
            mixed,
            actions,
            noise=make_actions(config, batch=len(MASKS), seed=8),
            time=torch.linspace(0.1, 0.9, len(MASKS)),
            action_mask_BW=everything,
            step_mask_BH=everything[:, :4],
        )
        gradients.append(torch.autograd.grad(loss.sum(), list(model.parameters())))
    for whole, grouped in zip(*gradients, strict=True):
        torch.testing.assert_close(grouped, whole, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("config", [VIT])
def test_each_set_of_cameras_is_passed_once_and_without_absent_ones(config, mixed):
    model, seen = make_model(config), []
    model.image_encoder.register_forward_hook(lambda _, given, __: seen.append(tuple(given[0].shape[:2])))
    ByCameras(model).sample(mixed, make_actions(config, batch=len(MASKS)))
    assert sorted(seen) == [(1, 1), (2, 1), (2, 3)]
