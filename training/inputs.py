"""A batch as the model takes it: normalized, tokenized, with noise and time that its positions alone decide."""
# Legend: B samples, K draws of noise and time for each, C cameras, S side of the pictures, H steps of a chunk, W padded
# width.

from dataclasses import dataclass

import torch
from torch import Tensor

from model.flow_matching import time_from_uniform
from model.observation import Observation, normalize_images
from model.tokenizer import Tokenizer
from training.batch import Batch
from training.normalize import Normalizer
from training.randomness import NOISE, TIME, normal, stratified


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """What one step of flow matching takes, on one device."""

    observation: Observation
    actions: Tensor
    """[B, H, W] float32, normalized."""
    noise: Tensor
    """[B, K, H, W] float32."""
    time: Tensor
    """[B, K] float32."""
    action_mask: Tensor
    """[B, W] bool."""
    step_mask: Tensor
    """[B, H] bool."""


def inputs(
    batch: Batch,
    *,
    normalizer: Normalizer,
    tokenizer: Tokenizer,
    seed: int,
    device: torch.device,
    draws: int = 1,
) -> Inputs:
    """The batch on a device; nothing in it refers to the batch's arrays, which the loader reuses."""
    positions_B = batch.positions
    noise = normal(seed, positions_B, purpose=NOISE, shape=(draws, *batch.actions.shape[1:]))
    uniform_BK = stratified(seed, positions_B, purpose=TIME, numbers=draws)
    return Inputs(
        observation=observe(batch, normalizer=normalizer, tokenizer=tokenizer, device=device),
        actions=torch.from_numpy(normalizer.actions(batch.actions, batch.components)).to(device),
        noise=torch.from_numpy(noise).to(device),
        time=time_from_uniform(torch.from_numpy(uniform_BK)).float().to(device),
        action_mask=torch.tensor(batch.action_mask, device=device),
        step_mask=torch.tensor(batch.step_mask, device=device),
    )


def observe(batch: Batch, *, normalizer: Normalizer, tokenizer: Tokenizer, device: torch.device) -> Observation:
    """What the model sees of the batch."""
    prompts = tokenizer(batch.prompts)
    return Observation(
        images=normalize_images(torch.from_numpy(batch.images).to(device)),
        image_mask=torch.tensor(batch.image_mask, device=device),
        tokens=prompts.tokens_BL.to(device),
        token_mask=prompts.mask_BL.to(device),
        state=torch.from_numpy(normalizer.state(batch.state, batch.components)).to(device),
    )
