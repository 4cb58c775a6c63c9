"""What π0 computes at its widths, with a third of its layers: counted operations, the same on any machine."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from model.config import VisionConfig, pi0
from model.observation import Observation
from model.pi0 import Pi0

HORIZON, STEPS = 50, 10


@pytest.fixture(scope="module")
def model():
    with torch.device("meta"):
        return Pi0(replace(pi0(), image_encoder=VisionConfig(depth=9), depth=6))


def _observation(cameras, *, tokens=48):
    with torch.device("meta"):
        return Observation(
            images=torch.zeros(1, cameras, 224, 224, 3),
            image_mask=torch.ones(1, cameras, dtype=torch.bool),
            tokens=torch.zeros(1, tokens, dtype=torch.int64),
            token_mask=torch.ones(1, tokens, dtype=torch.bool),
            state=torch.zeros(1, 32),
        )


def _sampling(model, observation):
    """(operations of the observation's pass, of one step)."""
    with torch.no_grad():
        with FlopCounterMode(display=False) as seeing:
            memory = model.remember(observation, horizon=HORIZON)
        with FlopCounterMode(display=False) as step:
            model.recall(memory, torch.zeros(1, HORIZON, 32, device="meta"), torch.zeros(1, device="meta"))
    return seeing.get_total_flops(), step.get_total_flops()


def _chunk(model, observation):
    seeing, step = _sampling(model, observation)
    return seeing + STEPS * step


def _training(model, *, draws):
    with FlopCounterMode(display=False) as counter:
        noisy, time = torch.zeros(draws, HORIZON, 32, device="meta"), torch.zeros(draws, device="meta")
        model(_observation(3), noisy, time).square().mean().backward()
    return counter.get_total_flops()


def test_one_camera_of_three_costs_less_than_half(model):
    assert 2 * _chunk(model, _observation(1)) < _chunk(model, _observation(3))


def test_prompts_without_padding_cost_less(model):
    assert _chunk(model, _observation(1, tokens=12)) < 0.95 * _chunk(model, _observation(1))


def test_four_draws_of_noise_cost_less_than_two_observations(model):
    once, four = _training(model, draws=1), _training(model, draws=4)
    assert 4 * once / four > 2.5


def test_a_step_of_sampling_is_cheap_beside_the_observation(model):
    seeing, step = _sampling(model, _observation(3))
    assert step < 0.02 * seeing
