"""Our π0 against the one in transformers, with random weights of the smallest size, loaded by its names."""

from dataclasses import dataclass, replace

import pytest
import torch
import transformers
from torch import nn

from model.config import tiny
from model.observation import Observation
from model.pi0 import Pi0
from model.time_embedding import embed_time
from model.weights import load_pi0

BATCH, CAMERAS, HORIZON, SIZES = 3, 3, 10, tiny()
IMAGE = SIZES.vocab_size
"""The token that stands for a picture's."""


class ExactPhase(nn.Module):
    """Our time embedding in the place of theirs."""

    def forward(self, time):
        return embed_time(time, SIZES.action_expert.width, min_period=SIZES.min_period, max_period=SIZES.max_period)


@dataclass
class Case:
    theirs: nn.Module
    ours: Pi0
    observation: Observation
    noise: torch.Tensor
    time: torch.Tensor

    def given(self):
        """The observation as transformers takes it: absent cameras have no tokens."""
        seen = self.observation
        here = seen.image_mask[0]
        pictures = torch.full((BATCH, int(here.sum()) * SIZES.image_encoder.num_tokens), IMAGE)
        tokens = torch.cat([pictures, seen.tokens], dim=1)
        return {
            "state": seen.state,
            "input_ids": tokens,
            "attention_mask": torch.cat([torch.ones_like(pictures), seen.token_mask.long()], dim=1),
            "pixel_values": seen.images.movedim(-1, 2),
            "pixel_attention_mask": seen.image_mask,
        }


def _theirs():
    encoder, vlm, expert = SIZES.image_encoder, SIZES.vlm, SIZES.action_expert
    shared = {
        "num_hidden_layers": SIZES.depth,
        "num_attention_heads": SIZES.num_heads,
        "num_key_value_heads": SIZES.num_kv_heads,
        "head_dim": SIZES.head_dim,
    }
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": encoder.width,
        "intermediate_size": encoder.mlp_width,
        "num_hidden_layers": encoder.depth,
        "num_attention_heads": encoder.num_heads,
        "image_size": encoder.image_size,
        "patch_size": encoder.patch_size,
        "vision_use_head": False,
    }
    text = {"model_type": "gemma", "hidden_size": vlm.width, "intermediate_size": vlm.mlp_width}
    config = transformers.PI0Config(
        vlm_config={
            "model_type": "paligemma",
            "text_config": {**text, **shared, "vocab_size": SIZES.vocab_size},
            "vision_config": vision,
            "projection_dim": vlm.width,
            "image_token_id": IMAGE,
        },
        dit_config={
            "model_type": "gemma",
            "hidden_size": expert.width,
            "intermediate_size": expert.mlp_width,
            **shared,
        },
        chunk_size=HORIZON,
    )
    model = transformers.PI0ForConditionalGeneration(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    return model


@pytest.fixture(scope="module")
def case():
    torch.manual_seed(0)
    theirs, ours = _theirs(), Pi0(SIZES)
    load_pi0(ours, theirs.state_dict())
    generator = torch.Generator().manual_seed(1)
    size, length = SIZES.image_encoder.image_size, SIZES.max_prompt_tokens
    observation = Observation(
        images=torch.rand(BATCH, CAMERAS, size, size, 3, generator=generator) * 2 - 1,
        image_mask=torch.ones(BATCH, CAMERAS, dtype=torch.bool),
        tokens=torch.randint(3, SIZES.vocab_size, (BATCH, length), generator=generator),
        token_mask=torch.arange(length) < torch.tensor([[length], [5], [8]]),
        state=torch.randn(BATCH, 32, generator=generator),
    )
    noise = torch.randn(BATCH, HORIZON, 32, generator=generator)
    return Case(theirs, ours, observation, noise, torch.tensor([0.01, 0.5, 0.97]))


@pytest.fixture(params=["its own time embedding", "ours in its place"])
def close(request, case):
    """How close the two must be: its float32 phase is what keeps them apart."""
    if request.param == "its own time embedding":
        yield {"atol": 1e-4, "rtol": 1e-4}
        return
    embedding = case.theirs.embed_action_time
    own, embedding.sinusoid_embeds = embedding.sinusoid_embeds, ExactPhase()
    yield {"atol": 2e-5, "rtol": 1e-5}
    embedding.sinusoid_embeds = own


@pytest.fixture(params=[(True, True, True), (True, False, True)], ids=["all cameras", "one absent"])
def seen(request, case):
    mask = torch.tensor(request.param).expand(BATCH, -1)
    return replace(case, observation=replace(case.observation, image_mask=mask))


def test_velocity_agrees(seen, close):
    with torch.no_grad():
        theirs = seen.theirs(noise=seen.noise, timestep=seen.time, **seen.given()).logits
        ours = seen.ours(seen.observation, seen.noise, seen.time)
    torch.testing.assert_close(ours, theirs, **close)


def test_sampled_actions_agree(seen, close):
    theirs = seen.theirs.sample_actions(noise=seen.noise, **seen.given())
    torch.testing.assert_close(seen.ours.sample(seen.observation, seen.noise), theirs, **close)


def test_sampling_without_the_absent_agrees(seen, close):
    theirs = seen.theirs.sample_actions(noise=seen.noise, **seen.given())
    torch.testing.assert_close(seen.ours.sample(seen.observation.trimmed(), seen.noise), theirs, **close)
