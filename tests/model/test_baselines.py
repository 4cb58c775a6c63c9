"""The baselines learn and act where π0 does, each in its own way."""

from dataclasses import replace

import pytest
import torch

from model.config import StemConfig, tiny_cpu
from model.flow_model import ActionModel
from model.initialize import initialize
from model.octo_style import OctoStyle, OctoStyleConfig
from model.openvla_style import OpenVlaStyle, OpenVlaStyleConfig
from model.pi0 import Pi0
from tests.model.sizes import STEM, make_actions, make_model, make_observation

SIZES = {
    "stem": StemConfig(image_size=32, channels=(8, 8, 8)),
    "width": 16,
    "depth": 2,
    "mlp_width": 32,
    "vocab_size": 40,
    "action_width": 6,
}
MODELS = {
    "openvla_style": lambda: OpenVlaStyle(OpenVlaStyleConfig(**SIZES)),
    "octo_style": lambda: OctoStyle(OctoStyleConfig(**SIZES, chunk_steps=4, head_width=32)),
}
MASKS = {
    "action_mask_BW": torch.arange(6) < torch.tensor([[6], [2], [4]]),
    "step_mask_BH": torch.arange(4) < torch.tensor([[4], [3], [1]]),
}
EVERYTHING = {name: torch.ones_like(mask) for name, mask in MASKS.items()}


@pytest.fixture(params=MODELS.values(), ids=MODELS.keys())
def model(request) -> ActionModel:
    model = request.param()
    initialize(model, seed=0)
    return model


def _loss(model, observation=None, actions=None, *, noise=None, masks=MASKS):
    return model.loss(
        make_observation(STEM) if observation is None else observation,
        make_actions(STEM) if actions is None else actions,
        noise=make_actions(STEM, seed=8) if noise is None else noise,
        time=torch.tensor([0.2, 0.7, 1.0]),
        **masks,
    )


def _learn(model, observation, actions, *, steps, seed=0):
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(steps):
        loss = model.loss(
            observation,
            actions,
            noise=torch.randn(3, 4, 4, 6, generator=generator),
            time=torch.rand(3, 4, generator=generator),
            **EVERYTHING,
        ).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("make", [lambda: OpenVlaStyle(OpenVlaStyleConfig()), lambda: OctoStyle(OctoStyleConfig())])
def test_a_baseline_is_of_the_size_of_tiny_pi0(make):
    with torch.device("meta"):
        sizes = [sum(weight.numel() for weight in model.parameters()) for model in (make(), Pi0(tiny_cpu()))]
    assert 0.5 < sizes[0] / sizes[1] < 5.0


def test_a_baseline_learns_what_it_saw_and_acts_on_it(model):
    observation, actions = make_observation(STEM), make_actions(STEM).clamp(-2, 2)
    actions = actions[:, :1].expand(-1, 4, -1).contiguous()  # one step says all of it
    losses = _learn(model, observation, actions, steps=150)
    assert sum(losses[-10:]) < 0.3 * sum(losses[:10])
    acted = model.sample(observation, make_actions(STEM, seed=9))
    other = model.sample(
        replace(
            observation,
            state=observation.state.roll(1, 0),
            images=observation.images.roll(1, 0),
            tokens=observation.tokens.roll(1, 0),
            token_mask=observation.token_mask.roll(1, 0),
        ),
        make_actions(STEM, seed=9),
    )
    error = (acted - actions).square().mean().sqrt()
    assert error < 0.4
    assert (other - actions).square().mean().sqrt() > 2 * error


def test_padding_changes_neither_loss_nor_actions(model):
    observation, actions, noise = make_observation(STEM), make_actions(STEM), make_actions(STEM, seed=8)
    padded = ~MASKS["action_mask_BW"][:, None, :].expand_as(actions)
    expected = _loss(model)
    if isinstance(model, OctoStyle):  # a later dimension is never seen by an earlier one's bins
        other = actions.masked_fill(padded, 9.0), noise.masked_fill(padded, 9.0)
        torch.testing.assert_close(_loss(model, actions=other[0], noise=other[1]), expected)
    acted = model.sample(observation, noise, action_mask=MASKS["action_mask_BW"])
    assert not acted[padded].any()


def test_a_sample_with_nothing_valid_has_loss_zero(model):
    masks = {**MASKS, "step_mask_BH": torch.zeros(3, 4, dtype=torch.bool)}
    assert not _loss(model, masks=masks).any()


def test_every_weight_gets_a_gradient(model):
    _loss(model).sum().backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


def test_an_absent_camera_changes_nothing(model):
    observation = make_observation(STEM)
    absent = replace(observation, image_mask=torch.tensor([[True, False]]).expand(3, 2))
    other = replace(absent, images=torch.stack([absent.images[:, 0], -absent.images[:, 1]], dim=1))
    torch.testing.assert_close(_loss(model, absent), _loss(model, other))


def test_actions_are_a_function_of_observation_and_noise(model):
    observation, noise = make_observation(STEM), make_actions(STEM)
    assert torch.equal(model.sample(observation, noise), model.sample(observation, noise))


def test_bins_divide_the_range_evenly():
    model = OpenVlaStyle(OpenVlaStyleConfig(**SIZES))
    bins = torch.arange(256)
    assert torch.equal(model.to_bins(model.from_bins(bins)), bins)
    numbers = torch.linspace(-3.0, 2.999, 1000)
    assert (model.from_bins(model.to_bins(numbers)) - numbers).abs().max() <= 3.0 / 256 + 1e-6
    assert model.to_bins(torch.tensor([-99.0, 99.0])).tolist() == [0, 255]


def test_a_dimension_follows_from_those_before_it_alone():
    model = OpenVlaStyle(OpenVlaStyleConfig(**SIZES))
    initialize(model, seed=0)
    seen, valid = model.observer.embed(make_observation(STEM))
    bins = torch.randint(0, 256, (3, 5), generator=torch.Generator().manual_seed(0))
    changed = bins.clone()
    changed[:, 2] = (changed[:, 2] + 77) % 256
    with torch.no_grad():
        before, after = (model._logits(seen, valid, one) for one in (bins, changed))
    torch.testing.assert_close(after[:, :3], before[:, :3])
    assert (after[:, 3:] - before[:, 3:]).abs().amax(dim=(1, 2)).min() > 1e-4


def test_the_diffusion_goes_from_data_to_noise():
    model = OctoStyle(OctoStyleConfig(**SIZES, chunk_steps=4))
    shares = model.signal(torch.arange(-1, 20))
    assert shares[0] == pytest.approx(1.0)
    assert (shares.diff() < 0).all()
    assert shares[-1] < 0.01


def test_pi0_is_an_action_model_too():
    model: ActionModel = make_model(STEM)
    assert _loss(model).shape == (3,)
    assert model.sample(make_observation(STEM), make_actions(STEM)).shape == (3, 4, 6)
