"""π0-small: its size, its parts, and that it is used like π0."""

from dataclasses import replace

import pytest
import torch
import transformers

from model import flow_matching
from model.distilbert import DistilBert, TextConfig
from model.hybrid_vit import HybridConfig
from model.initialize import initialize
from model.pi0_small import Pi0Small, Pi0SmallConfig
from model.real_time_chunking import PreviousChunk
from tests.model.sizes import STEM, make_actions, make_observation

TEXT = TextConfig(vocab_size=40, max_tokens=16, width=16, depth=2, num_heads=2, mlp_width=24)
IMAGE = HybridConfig(image_size=32, channels=8, units=1, width=16, depth=1, num_heads=2, mlp_width=24)
SMALL = Pi0SmallConfig(
    text=TEXT,
    image=IMAGE,
    num_cameras=2,
    width=16,
    encoder_depth=1,
    expert_depth=2,
    num_heads=2,
    mlp_width=24,
    action_width=6,
)
TIME = torch.tensor([0.2, 0.7, 1.0])


@pytest.fixture
def observation():
    return make_observation(STEM)  # pictures, words and vectors of the same sizes


@pytest.fixture
def fresh():
    model = Pi0Small(SMALL)
    initialize(model, seed=0)
    return model


@pytest.fixture
def model(fresh):
    with torch.no_grad():  # away from neutral, so that nothing is hidden by a zero
        generator = torch.Generator().manual_seed(0)
        for weight in fresh.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return fresh


def test_it_has_the_papers_470_million_weights():
    with torch.device("meta"):
        model = Pi0Small(Pi0SmallConfig())
    count = {name: sum(weight.numel() for weight in part.parameters()) for name, part in model.named_children()}
    assert sum(count.values()) == pytest.approx(470e6, rel=0.005)
    assert count["text_encoder"] == 66_362_880  # distilbert-base-uncased
    assert count["image_encoders"] == pytest.approx(3 * 36.0e6, rel=0.005)  # R26-S/32 without its classifier
    assert model.config.image.num_tokens == 49


def test_the_text_encoder_is_distilbert():
    config = transformers.DistilBertConfig(
        vocab_size=40, max_position_embeddings=16, dim=16, n_layers=2, n_heads=2, hidden_dim=24
    )
    torch.manual_seed(0)
    theirs, ours = transformers.DistilBertModel(config).eval(), DistilBert(TEXT)
    names = {
        "words": "embeddings.word_embeddings",
        "places": "embeddings.position_embeddings",
        "norm": "embeddings.LayerNorm",
    }
    parts = {
        "attention.q_proj": "attention.q_lin",
        "attention.k_proj": "attention.k_lin",
        "attention.v_proj": "attention.v_lin",
        "attention.out_proj": "attention.out_lin",
        "norm1": "sa_layer_norm",
        "mlp.fc1": "ffn.lin1",
        "mlp.fc2": "ffn.lin2",
        "norm2": "output_layer_norm",
    }
    for layer in range(2):
        names |= {f"layers.{layer}.{ours}": f"transformer.layer.{layer}.{part}" for ours, part in parts.items()}
    state = theirs.state_dict()
    renamed = {
        f"{ours}.{kind}": state[f"{part}.{kind}"]
        for ours, part in names.items()
        for kind in ("weight", "bias")
        if f"{part}.{kind}" in state
    }
    ours.load_state_dict(renamed)
    tokens = torch.randint(0, 40, (3, 7), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(7) < torch.tensor([[7], [3], [5]])
    with torch.no_grad():
        expected = theirs(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
        torch.testing.assert_close(ours(tokens, mask)[mask], expected[mask], atol=1e-5, rtol=1e-5)


def test_time_gates_everything_off_at_the_start(fresh, observation):
    """AdaLN-Zero: a fresh expert is the identity, so neither time nor observation matters."""
    actions = make_actions(STEM)
    with torch.no_grad():
        early = fresh(observation, actions, torch.full((3,), 0.1))
        late = fresh(replace(observation, state=-observation.state), actions, torch.full((3,), 0.9))
    torch.testing.assert_close(early, late)


@pytest.mark.parametrize("what", ["images", "tokens", "state"])
def test_everything_observed_matters(model, observation, what):
    seen = getattr(observation, what)
    other = replace(observation, **{what: 39 - seen if what == "tokens" else -seen})
    with torch.no_grad():
        found = [model(one, make_actions(STEM), TIME) for one in (observation, other)]
    assert (found[0] - found[1]).abs().amax(dim=(1, 2)).min() > 1e-5


def test_each_camera_has_its_own_encoder(model, observation):
    swapped = replace(observation, images=observation.images.flip(1))
    with torch.no_grad():
        found = [model(one, make_actions(STEM), TIME) for one in (observation, swapped)]
    assert not torch.allclose(*found)
    assert len(model.image_encoders) == 2


def test_what_absent_cameras_and_padding_hold_changes_nothing(model, observation):
    mask = torch.tensor([[True, False]]).expand(3, 2)
    images, tokens = observation.images.clone(), observation.tokens.where(observation.token_mask, 1)
    images[:, 1] = 0.5
    seen = replace(observation, image_mask=mask)
    with torch.no_grad():
        found = [model(one, make_actions(STEM), TIME) for one in (seen, replace(seen, images=images, tokens=tokens))]
    torch.testing.assert_close(*found, atol=1e-6, rtol=1e-5)


def test_draws_share_the_encoder_and_equal_separate_passes(model, observation):
    seen = []
    model.encoder_norm.register_forward_hook(lambda *_: seen.append(1))
    noise = torch.stack([make_actions(STEM, seed=seed) for seed in range(3)], dim=1)
    time = torch.linspace(0.1, 0.9, 9).view(3, 3)
    given = {"action_mask_BW": torch.ones(3, 6, dtype=torch.bool), "step_mask_BH": torch.ones(3, 4, dtype=torch.bool)}
    together = model.loss(observation, make_actions(STEM), noise=noise, time=time, **given)
    assert len(seen) == 1
    apart = [
        flow_matching.loss(model, observation, make_actions(STEM), noise=noise[:, k], time=time[:, k], **given)
        for k in range(3)
    ]
    torch.testing.assert_close(together, torch.stack(apart).mean(dim=0), rtol=1e-5, atol=1e-6)


def test_sampling_is_that_of_pi0(model, observation):
    noise = make_actions(STEM)
    mask = torch.arange(6) < torch.tensor([[6], [2], [4]])
    previous = PreviousChunk(actions=make_actions(STEM, steps=2, seed=3), delay=1)
    actions = model.sample(observation, noise, action_mask=mask, previous=previous)
    assert actions.shape == noise.shape
    assert not actions[~mask[:, None, :].expand_as(actions)].any()
    with pytest.raises(ValueError, match="not finite"):
        model.sample(replace(observation, state=observation.state * torch.nan), noise)


def test_every_weight_gets_a_gradient(model, observation):
    model(observation, make_actions(STEM), TIME).square().mean().backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


def test_another_number_of_cameras_is_refused(model, observation):
    alone = replace(observation, images=observation.images[:, :1], image_mask=observation.image_mask[:, :1])
    with pytest.raises(ValueError, match=r"has 1 cameras and pictures of side 32, expected 2 slots"):
        model.remember(alone, horizon=4)
