"""The objective: times, masks, and agreement of padded with unpadded batches."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model import flow_matching
from tests.model.sizes import STEM, make_actions, make_model, make_observation

WIDTH = STEM.action_width
TIME = torch.tensor([0.2, 0.7, 1.0])


class Recorder:
    """A model that predicts what it is told and remembers what it was shown."""

    def __init__(self, velocity):
        self.velocity = velocity

    def __call__(self, observation, noisy_actions, time, /):
        self.noisy, self.time = noisy_actions, time
        return self.velocity


def _loss(model, actions, *, dims=None, steps=None, noise=None, **options):
    batch, horizon, width = actions.shape
    return flow_matching.loss(
        model,
        make_observation(STEM, batch=batch),
        actions,
        noise=make_actions(STEM, batch=batch, steps=horizon, seed=8) if noise is None else noise,
        time=TIME[:batch],
        action_mask_BW=torch.arange(width) < (torch.full((batch,), width) if dims is None else dims)[:, None],
        step_mask_BH=torch.arange(horizon) < (torch.full((batch,), horizon) if steps is None else steps)[:, None],
        **options,
    )


def test_times_follow_the_papers_distribution():
    uniform = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    tau = flow_matching.time_of_tau(flow_matching.time_from_uniform(uniform)).numpy()
    at = np.linspace(0.0, 0.999, 50)
    expected = 1.0 - ((0.999 - at) / 0.999) ** 1.5  # share of τ below: (s - τ)/s has distribution function x^1.5
    np.testing.assert_allclose(np.searchsorted(np.sort(tau), at) / len(tau), expected, atol=1e-4)
    assert np.isclose((1.0 - tau).mean(), 0.001 + 0.999 * 0.6, atol=1e-5)  # Beta(1.5, 1) has mean 0.6


@given(st.floats(0.0, 1.0, exclude_max=True, width=32))
def test_times_lie_between_a_thousandth_and_one(uniform):
    time = flow_matching.time_from_uniform(torch.tensor([uniform])).item()
    assert 0.001 - 1e-7 <= time <= 1.0


def test_time_one_is_noise_and_time_zero_is_data():
    actions, noise = make_actions(STEM, seed=1), make_actions(STEM, seed=2)
    noisy, velocity = flow_matching.interpolate(actions, noise, torch.tensor([1.0, 0.0, 0.25]))
    assert torch.equal(noisy[0], noise[0])
    assert torch.equal(noisy[1], actions[1])
    torch.testing.assert_close(noisy[2] - 0.25 * velocity[2], actions[2])


def test_perfect_velocity_has_no_loss():
    actions, noise = make_actions(STEM), make_actions(STEM, seed=8)
    assert _loss(Recorder(noise - actions), actions).max() < 1e-10


def test_padded_dimensions_are_zero_in_what_the_model_sees():
    actions = make_actions(STEM)
    model = Recorder(torch.zeros_like(actions))
    _loss(model, actions, dims=torch.tensor([WIDTH, 2, 4]))
    assert not model.noisy[1, :, 2:].any()
    assert not model.noisy[2, :, 4:].any()
    assert model.noisy[0].all()


def test_loss_is_the_mean_over_valid_dimensions_and_steps():
    actions, dims, steps = make_actions(STEM), torch.tensor([WIDTH, 2, 4]), torch.tensor([4, 3, 1])
    noise = make_actions(STEM, seed=8)
    loss = _loss(Recorder(torch.zeros_like(actions)), actions, dims=dims, steps=steps)
    for row in range(3):
        valid = (noise - actions)[row, : steps[row], : dims[row]]
        torch.testing.assert_close(loss[row], valid.square().mean())


def test_what_padding_holds_changes_neither_loss_nor_gradients():
    dims, steps = torch.tensor([WIDTH, 2, 4]), torch.tensor([4, 3, 1])
    losses, gradients = [], []
    for fill in (0.0, 100.0):
        actions, noise, model = make_actions(STEM), make_actions(STEM, seed=8), make_model(STEM)
        for row in range(3):
            actions[row, :, dims[row] :] = fill
            noise[row, :, dims[row] :] = fill
        loss = _loss(model, actions, noise=noise, dims=dims, steps=steps)
        loss.sum().backward()
        losses.append(loss.detach())
        gradients.append(model.action_in_proj.weight.grad)
    assert torch.equal(*losses)
    assert torch.equal(*gradients)


@pytest.mark.parametrize("row", [0, 1, 2])
def test_a_sample_has_the_same_loss_alone_and_in_a_padded_batch(row):
    observation, actions, noise = make_observation(STEM), make_actions(STEM), make_actions(STEM, seed=8)
    model, mask = make_model(STEM), torch.ones(3, WIDTH, dtype=torch.bool)
    together = flow_matching.loss(
        model, observation, actions, noise=noise, time=TIME, action_mask_BW=mask, step_mask_BH=mask[:, :4]
    )
    length = int(observation.token_mask[row].sum())
    alone = type(observation)(
        images=observation.images[row : row + 1],
        image_mask=observation.image_mask[row : row + 1],
        tokens=observation.tokens[row : row + 1, :length],
        token_mask=observation.token_mask[row : row + 1, :length],
        state=observation.state[row : row + 1],
    )
    one = slice(row, row + 1)
    only = flow_matching.loss(
        model,
        alone,
        actions[one],
        noise=noise[one],
        time=TIME[one],
        action_mask_BW=mask[one],
        step_mask_BH=mask[one, :4],
    )
    torch.testing.assert_close(only, together[one], rtol=1e-5, atol=1e-5)


def test_a_sample_with_nothing_valid_has_loss_zero_and_no_gradient():
    model = make_model(STEM)
    loss = _loss(model, make_actions(STEM), steps=torch.tensor([0, 4, 4]))
    loss[0].backward()
    assert loss[0] == 0.0
    assert not model.action_out_proj.weight.grad.any()


def test_openpi_compatible_loss_ignores_both_masks():
    actions, noise = make_actions(STEM), make_actions(STEM, seed=8)
    model = Recorder(torch.zeros_like(actions))
    loss = _loss(model, actions, dims=torch.tensor([1, 2, 3]), steps=torch.tensor([1, 1, 1]), openpi_compatible=True)
    torch.testing.assert_close(loss, (noise - actions).square().mean(dim=(1, 2)))
    assert model.noisy.all()


@given(st.integers(0, 2**20), st.integers(1, 5), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_masked_mean_equals_the_mean_of_what_is_left(seed, steps, width):
    generator = torch.Generator().manual_seed(seed)
    error = torch.rand(2, 5, 6, generator=generator)
    dims, valid = torch.arange(6) < width, torch.arange(5) < steps
    mean = flow_matching.masked_mean(error, dims.expand(2, 6), valid.expand(2, 5))
    torch.testing.assert_close(mean, error[:, :steps, :width].mean(dim=(1, 2)))


@pytest.mark.parametrize("draws", [2, 5])
def test_draws_that_share_the_prefix_are_the_mean_of_separate_passes(draws):
    model, observation = make_model(STEM), make_observation(STEM)
    actions = make_actions(STEM)
    noise = torch.stack([make_actions(STEM, seed=seed) for seed in range(draws)], dim=1)
    time = torch.linspace(0.1, 0.9, len(actions) * draws).view(-1, draws)
    masks = {
        "action_mask_BW": torch.arange(WIDTH).expand(len(actions), -1) < 5,
        "step_mask_BH": torch.arange(actions.shape[1]).expand(len(actions), -1) < 3,
    }

    def gradients(loss_B):
        return torch.autograd.grad(loss_B.sum(), list(model.parameters()))

    together = flow_matching.loss(model, observation, actions, noise=noise, time=time, **masks)
    apart = torch.stack(
        [
            flow_matching.loss(model, observation, actions, noise=noise[:, k], time=time[:, k], **masks)
            for k in range(draws)
        ]
    ).mean(dim=0)

    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-6)
    for one, other in zip(gradients(together), gradients(apart), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_draws_of_an_observation_pass_the_prefix_once():
    model, observation = make_model(STEM), make_observation(STEM)
    seen = []
    model.image_encoder.register_forward_hook(lambda *_: seen.append(1))
    actions = make_actions(STEM).repeat_interleave(3, dim=0)

    velocity = model(observation, actions, torch.linspace(0.1, 0.9, len(actions)))

    assert velocity.shape == actions.shape
    assert len(seen) == 1
