"""The tiny model learns on one core where to go from pictures, and to which of two things from the prompt."""

# Legend: B batch, S side of the pictures, H chunk steps, W padded action width.
from dataclasses import dataclass, replace

import pytest
import torch

from model import flow_matching
from model.config import tiny_cpu
from model.initialize import initialize
from model.observation import Observation, normalize_images
from model.pi0 import Pi0
from model.tokenizer import WordTokenizer

COLOURS = {"red": (222, 32, 38), "blue": (30, 84, 228)}
STEPS, BATCH, HORIZON = 200, 32, 4


@dataclass(frozen=True)
class Task:
    observation: Observation
    actions: torch.Tensor
    action_mask: torch.Tensor


def draw_task(generator, *, batch):
    """A red and a blue square on grey at random places; the action is the place of the one that is named."""
    images = torch.full((batch, 1, 64, 64, 3), 128, dtype=torch.uint8)
    corner_B22 = torch.randint(0, 52, (batch, 2, 2), generator=generator)
    named_B = torch.randint(0, 2, (batch,), generator=generator)
    for row in range(batch):
        for place, colour in zip(corner_B22[row].tolist(), COLOURS.values(), strict=True):
            top, left = place
            images[row, 0, top : top + 12, left : left + 12] = torch.tensor(colour, dtype=torch.uint8)
    prompts = WordTokenizer(max_tokens=12)([f"go to the {list(COLOURS)[n]} block" for n in named_B.tolist()])
    config = tiny_cpu()
    actions = torch.zeros(batch, HORIZON, config.action_width)
    actions[:, :, :2] = (corner_B22[torch.arange(batch), named_B] / 26.0 - 1.0)[:, None, :] * 1.7
    observation = Observation(
        images=normalize_images(images),
        image_mask=torch.ones(batch, 1, dtype=torch.bool),
        tokens=prompts.tokens_BL,
        token_mask=prompts.mask_BL,
        state=torch.zeros(batch, config.action_width),
    )
    mask = torch.zeros(batch, config.action_width, dtype=torch.bool)
    mask[:, :2] = True
    return Task(observation, actions, mask)


def loss_of(model, task, *, generator):
    batch, horizon, _ = task.actions.shape
    return flow_matching.loss(
        model,
        task.observation,
        task.actions,
        noise=torch.randn(task.actions.shape, generator=generator),
        time=flow_matching.time_from_uniform(torch.rand(batch, generator=generator)),
        action_mask_BW=task.action_mask,
        step_mask_BH=torch.ones(batch, horizon, dtype=torch.bool),
    ).mean()


@pytest.fixture(scope="module")
def learnt():
    """A trained model and the mean loss of its first and last steps."""
    generator = torch.Generator().manual_seed(0)
    model = Pi0(tiny_cpu())
    initialize(model, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=STEPS, pct_start=0.1)
    losses = []
    for _ in range(STEPS):
        loss = loss_of(model, draw_task(generator, batch=BATCH), generator=generator)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return model, sum(losses[:10]) / 10, sum(losses[-10:]) / 10


def error_of(model, task, observation):
    """Mean distance of sampled from right actions, where the places themselves have a standard deviation of about 1."""
    noise = torch.randn(task.actions.shape, generator=torch.Generator().manual_seed(2))
    actions = model.sample(observation, noise, action_mask=task.action_mask)
    return (actions - task.actions)[:, :, :2].square().mean().sqrt().item()


@pytest.mark.slow
def test_loss_falls(learnt):
    _, first, last = learnt
    assert last < 0.35 * first


@pytest.mark.slow
def test_actions_follow_pictures_and_prompt(learnt):
    model, *_ = learnt
    task = draw_task(torch.Generator().manual_seed(1), batch=128)
    seen = task.observation
    right = error_of(model, task, seen)
    other_pictures = error_of(model, task, replace(seen, images=seen.images.roll(1, dims=0)))
    other_prompts = error_of(model, task, replace(seen, tokens=seen.tokens.roll(1, dims=0)))
    assert right < 0.4
    assert other_pictures > 2 * right
    assert other_prompts > 2 * right
