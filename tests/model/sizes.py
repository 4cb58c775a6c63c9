"""Small models and made-up batches for the tests of the model."""

# Legend: B batch, C cameras, S side of the pictures, L prompt tokens, H chunk steps, W padded action width.
from dataclasses import replace

import torch

from model.config import ExpertConfig, Pi0Config, StemConfig, VisionConfig
from model.initialize import initialize
from model.observation import Observation
from model.pi0 import Pi0

STEM = Pi0Config(
    image_encoder=StemConfig(image_size=32, channels=(8, 8, 8)),
    vlm=ExpertConfig(width=24, mlp_width=32),
    action_expert=ExpertConfig(width=16, mlp_width=24),
    depth=2,
    num_heads=2,
    head_dim=8,
    vocab_size=40,
    action_width=6,
)
VIT = replace(
    STEM,
    image_encoder=VisionConfig(image_size=28, patch_size=14, width=16, depth=1, mlp_width=24, num_heads=2),
    num_heads=4,
    num_kv_heads=2,
)


def make_model(config: Pi0Config, *, seed: int = 0) -> Pi0:
    model = Pi0(config)
    initialize(model, seed=seed)
    with torch.no_grad():  # away from neutral, so that nothing is hidden by a zero
        generator = torch.Generator().manual_seed(seed)
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return model


def make_observation(config: Pi0Config, *, batch: int = 3, cameras: int = 2, tokens: int = 5) -> Observation:
    generator = torch.Generator().manual_seed(batch)
    size = config.image_encoder.image_size
    lengths = torch.arange(batch) % tokens + 1
    return Observation(
        images=torch.rand(batch, cameras, size, size, 3, generator=generator) * 2 - 1,
        image_mask=torch.ones(batch, cameras, dtype=torch.bool),
        tokens=torch.randint(3, config.vocab_size, (batch, tokens), generator=generator),
        token_mask=torch.arange(tokens)[None, :] < lengths[:, None],
        state=torch.randn(batch, config.action_width, generator=generator),
    )


def make_actions(config: Pi0Config, *, batch: int = 3, steps: int = 4, seed: int = 7) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, steps, config.action_width, generator=generator)
