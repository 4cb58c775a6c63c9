"""How to train: everything that is neither the data's (a lock says that) nor the model's (`model.config`).

A config decides every weight that comes out, together with the lock; so a checkpoint keeps it and resuming compares.
"""

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from curation.lock import Lock
from model.models import NAMED as MODELS
from model.models import ModelConfig, fitted
from schema.errors import ConfigError, problems


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """One way to train. The batch is global: it is split over however many workers there are."""

    name: str
    model: str
    """A key of `model.models.NAMED`."""
    global_batch: int
    """G: step t covers positions [tG, (t+1)G)."""
    steps: int
    """Where the cosine ends."""
    peak_lr: float
    final_lr: float
    warmup_steps: int
    checkpoint_every: int
    """In steps; the last step always leaves a checkpoint."""
    keep_checkpoints: int = 2
    """Two: the newest may be broken by what stopped the machine."""
    noise_draws: int = 1
    """Noises and times tried on each sample; they share its pass through the prefix, which costs most."""
    image_encoder_lr: float = 1.0
    """Multiplies the learning rate of the image encoder's weights."""
    betas: tuple[float, float] = (0.9, 0.95)
    """π0's released code."""
    weight_decay: float = 1e-10
    """Practically none, as π0's released code; a pre-trained model must not shrink towards zero."""
    clip_norm: float = 1.0
    """π0's released code; a single odd batch does not throw the weights."""
    ema_decay: float = 0.99
    """π0's released code; the average over about the last 100 steps is what acts."""
    sampling_steps: int = 10
    """Euler steps of a policy made of these weights, as in the paper."""

    def __post_init__(self) -> None:
        lines = [
            f"{field.name} is {getattr(self, field.name)!r}, expected at least 1"
            for field in fields(self)
            if field.name in _COUNTS and getattr(self, field.name) < 1
        ]
        if self.model not in MODELS:
            lines.append(f"model is {self.model!r}, expected one of {', '.join(MODELS)}")
        if not 0 <= self.final_lr <= self.peak_lr:
            lines.append(f"final_lr is {self.final_lr:g}, expected at least 0 and at most peak_lr {self.peak_lr:g}")
        if not 0 <= self.warmup_steps < max(1, self.steps):
            lines.append(f"warmup_steps is {self.warmup_steps}, expected fewer than steps {self.steps}")
        if not 0 <= self.ema_decay < 1:
            lines.append(f"ema_decay is {self.ema_decay:g}, expected in [0, 1)")
        error = problems(ConfigError, f"the training config {self.name!r} cannot be used:", lines)
        if error is not None:
            raise error

    def model_config(self, lock: Lock) -> ModelConfig:
        """The sizes of the model, for this lock's chunks and camera slots."""
        return fitted(MODELS[self.model](), chunk_steps=lock.chunk_steps, num_cameras=len(lock.cameras))

    def learning_rate(self, step: int) -> float:
        """Linear to the peak over the warm-up, then a cosine down to `final_lr` at the last step."""
        if step < self.warmup_steps:
            return self.peak_lr * (step + 1) / (self.warmup_steps + 1)
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.final_lr + (self.peak_lr - self.final_lr) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))

    def as_json(self) -> dict[str, Any]:
        """As JSON has it, to keep and to compare."""
        return asdict(self) | {"betas": list(self.betas)}


_COUNTS = {"global_batch", "steps", "checkpoint_every", "keep_checkpoints", "sampling_steps", "noise_draws"}

TINY_CPU = TrainingConfig(
    name="tiny_cpu",
    model="tiny_cpu",
    global_batch=32,
    steps=720,
    peak_lr=3e-3,
    final_lr=1e-4,
    warmup_steps=100,
    noise_draws=3,  # with one draw, joints were no better than holding still after the same time (docs/training.md)
    image_encoder_lr=0.3,  # at the full rate policies looked at the pictures less (docs/training.md)
    checkpoint_every=360,
)
"""Learns the simulated fleet on two CPU cores in a minute or so, with chunks of 25 steps; for demos and tests."""

PI0_SMALL_CPU = replace(TINY_CPU, name="pi0_small_cpu", model="pi0_small_cpu")
OPENVLA_STYLE = replace(TINY_CPU, name="openvla_style", model="openvla_style", noise_draws=1)
OCTO_STYLE = replace(TINY_CPU, name="octo_style", model="octo_style")
"""The paper's comparisons, on the same data for as many steps."""

PI0 = TrainingConfig(
    name="pi0",
    model="pi0",
    global_batch=32,
    steps=30_000,
    peak_lr=2.5e-5,
    final_lr=2.5e-6,
    warmup_steps=1000,
    checkpoint_every=1000,
)
"""As π0's released code trains it; what the paper trained with is not public."""
PI0_PAPER = replace(PI0, name="pi0_paper", model="pi0_paper")
PI0_SMALL = replace(PI0, name="pi0_small", model="pi0_small", peak_lr=1e-4, final_lr=1e-5)
"""The rate is our choice: what is not pre-trained bears more."""

_ALL = (TINY_CPU, PI0_SMALL_CPU, OPENVLA_STYLE, OCTO_STYLE, PI0, PI0_PAPER, PI0_SMALL)
NAMED = {config.name: config for config in _ALL}
"""Configs by the name that the command line takes."""


def named(name: str, *, steps: int | None = None) -> TrainingConfig:
    """The config of this name, over another number of steps where one is given, with its schedule scaled to them.

    Raises:
        ConfigError: there is none of that name; lists those there are.
    """
    if name not in NAMED:
        raise ConfigError(f"there is no training config {name!r}: choose one of {', '.join(NAMED)}")
    config = NAMED[name]
    if steps is None or steps == config.steps:
        return config
    return replace(config, steps=steps, warmup_steps=config.warmup_steps * steps // config.steps)
