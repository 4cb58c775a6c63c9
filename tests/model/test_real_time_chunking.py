"""The next chunk goes on from the one that is being executed."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.real_time_chunking import PreviousChunk
from tests.model.sizes import STEM, make_actions, make_model, make_observation


def _previous(left, delay, *, batch=1):
    return PreviousChunk(actions=make_actions(STEM, batch=batch, steps=left, seed=3), delay=delay)


@given(st.integers(1, 30), st.data())
def test_weights_fall_from_one_to_zero(horizon, data):
    left = data.draw(st.integers(0, horizon))
    delay = data.draw(st.integers(0, left))
    weights = _previous(left, delay).weights(horizon)
    assert (weights[:delay] == 1.0).all()
    assert (weights[left:] == 0.0).all()
    assert ((weights[delay:left] > 0.0) & (weights[delay:left] < 1.0)).all()
    assert (weights.diff() <= 0.0).all()


def test_weights_are_the_papers():
    weights = _previous(4, 1).weights(6)  # d = 1 and H - s = 4, so c is 3/4, 2/4, 1/4 at steps 1, 2, 3
    expected = [1.0, *(c * math.expm1(c) / math.expm1(1.0) for c in (0.75, 0.5, 0.25)), 0.0, 0.0]
    torch.testing.assert_close(weights, torch.tensor(expected))


def test_guidance_is_the_papers_for_a_velocity_of_which_all_is_known():
    """For v = k x, what a step leads to is (1 - t k) x, so that its gradient is 1 - t k."""
    previous, k, t = _previous(2, 1), 0.3, 0.6
    x, tau = make_actions(STEM, batch=1, steps=4), 1.0 - t
    target = torch.zeros_like(x)
    target[:, :2] = previous.actions
    pull = (target - (1 - t * k) * x) * previous.weights(4)[:, None] * (1 - t * k)
    strength = min(5.0, t / tau * (tau**2 + t**2) / t**2)  # (1 - τ) / (τ r²) with r² = (1 - τ)² / (τ² + (1 - τ)²)
    guided = previous.guide(lambda x, _: k * x, x, torch.tensor([t]))
    torch.testing.assert_close(guided, k * x - strength * pull)


def test_at_noise_guidance_is_bounded():
    x = make_actions(STEM, batch=1)
    guided = _previous(4, 4).guide(lambda x, _: 0.0 * x, x, torch.ones(1))
    torch.testing.assert_close(guided, -5.0 * (make_actions(STEM, batch=1, seed=3) - x))


def test_a_chunk_follows_the_previous_one_most_where_it_will_be_executed_first():
    model, observation, noise = make_model(STEM), make_observation(STEM), make_actions(STEM, steps=8)
    previous = _previous(6, 3, batch=3)
    free, guided = model.sample(observation, noise), model.sample(observation, noise, previous=previous)

    def distance(actions, steps):
        return (actions - torch.nn.functional.pad(previous.actions, (0, 0, 0, 2)))[:, steps].square().mean()

    assert distance(guided, slice(0, 3)) < 0.3 * distance(free, slice(0, 3))
    assert distance(guided, slice(3, 6)) < distance(free, slice(3, 6))
    assert distance(guided, slice(0, 3)) < distance(guided, slice(3, 6))


def test_a_previous_chunk_without_steps_changes_nothing():
    model, observation, noise = make_model(STEM), make_observation(STEM), make_actions(STEM)
    guided = model.sample(observation, noise, previous=_previous(0, 0, batch=3))
    torch.testing.assert_close(guided, model.sample(observation, noise))


def test_guided_sampling_leaves_no_gradients():
    model = make_model(STEM)
    actions = model.sample(make_observation(STEM), make_actions(STEM), previous=_previous(2, 1, batch=3))
    assert not actions.requires_grad
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("delay", [-1, 5])
def test_impossible_delays_are_refused(delay):
    with pytest.raises(ValueError, match=f"delay {delay}, expected"):
        _previous(4, delay)


def test_more_steps_than_the_new_chunk_has_are_refused():
    with pytest.raises(ValueError, match="5 steps are left of the previous chunk, but the new one has 4 only"):
        _previous(5, 1).weights(4)
