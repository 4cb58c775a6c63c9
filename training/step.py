"""The plain step: batch → loss → update. Knows nothing of Ray, of files or of how many workers there are.

The loss of a global batch is the sum of its samples' losses over G. A worker takes the mean over its own part and
DDP averages the workers' gradients, which is the same since all parts are of one size.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from curation.lock import Lock
from model.by_cameras import ByCameras
from model.initialize import initialize
from model.models import build
from schema.errors import RobomixError
from training.batch import Batch
from training.config import TrainingConfig
from training.inputs import Inputs, inputs
from training.normalize import Normalizer
from training.prompts import tokenizer_for

Wrap = Callable[[nn.Module], nn.Module]
"""How a model is made ready for several workers."""
_ENCODERS = ("image_encoder.", "image_encoders.", "observer.stem.")
"""What looks at pictures, in each model."""
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """All that a step changes, by parameter name; together with a position it is the whole state of training."""

    step: int
    """Updates done."""
    model: dict[str, Tensor]
    ema: dict[str, Tensor]
    optimizer: dict[str, Tensor] = field(default_factory=dict)
    """`<parameter>.exp_avg` and `<parameter>.exp_avg_sq`; empty before the first step."""


class Learner:
    """A model in training: fp32 weights, their optimizer and their moving average."""

    def __init__(
        self, lock: Lock, config: TrainingConfig, *, device: torch.device | str = "cpu", wrap: Wrap | None = None
    ) -> None:
        """Fresh weights from the lock's seed, the same on every worker."""
        self.config, self.device = config, torch.device(device)
        self.seed = lock.seed
        self.model = build(config.model_config(lock))
        initialize(self.model, seed=lock.seed)
        self.model.to(self.device)
        by_cameras = ByCameras(self.model)
        self._wrapped = wrap(by_cameras) if wrap else by_cameras
        self._named = dict(self.model.named_parameters())
        self._parameters = list(self._named.values())
        self._optimizer = torch.optim.AdamW(
            _groups(self._named, config), betas=config.betas, weight_decay=config.weight_decay, fused=True
        )
        self._ema = [parameter.detach().clone() for parameter in self._parameters]
        self._average = get_ema_multi_avg_fn(config.ema_decay)  # type: ignore[no-untyped-call]
        self._normalizer = Normalizer.of(lock)
        self._tokenizer = tokenizer_for(self.model.config)
        self.step_number = 0
        """Updates done; the next step covers positions from here times G."""

    @property
    def position(self) -> int:
        """The first position that no step has covered."""
        return self.step_number * self.config.global_batch

    def step(self, batch: Batch) -> Tensor:
        """Update the weights by this worker's part of a global batch; its loss, a scalar.

        Raises:
            RobomixError: the loss is not finite; names the positions. The weights are as they were.
        """
        rate = self.config.learning_rate(self.step_number)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        self._optimizer.zero_grad(set_to_none=True)
        loss = self.losses(self.inputs(batch)).mean()
        if not torch.isfinite(loss):
            raise RobomixError(
                f"the loss of step {self.step_number} is {loss.item()}, expected a finite number: look at samples "
                f"{batch.sample_ids[0]} … {batch.sample_ids[-1]}, or train with a smaller learning rate"
            )
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._parameters, self.config.clip_norm)
        self._optimizer.step()
        with torch.no_grad():
            self._average(self._ema, self._parameters, self.step_number)
        self.step_number += 1
        return loss.detach()

    def inputs(self, batch: Batch) -> Inputs:
        """The batch as the model takes it."""
        return inputs(
            batch,
            normalizer=self._normalizer,
            tokenizer=self._tokenizer,
            seed=self.seed,
            device=self.device,
            draws=self.config.noise_draws,
        )

    def losses(self, given: Inputs) -> Tensor:
        """`[B]` losses; bf16 compute where the device is a GPU, fp32 elsewhere. Absent cameras cost nothing."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            losses: Tensor = self._wrapped(
                given.observation,
                given.actions,
                noise=given.noise,
                time=given.time,
                action_mask_BW=given.action_mask,
                step_mask_BH=given.step_mask,
            )
        return losses

    def state(self) -> State:
        """The state now; shares memory with what the next step changes."""
        moments = {
            f"{name}.{moment}": found[moment]
            for name, parameter in self._named.items()
            if (found := self._optimizer.state.get(parameter))
            for moment in _MOMENTS
        }
        return State(
            step=self.step_number,
            model={name: parameter.detach() for name, parameter in self._named.items()},
            ema=dict(zip(self._named, self._ema, strict=True)),
            optimizer=moments,
        )

    @torch.no_grad()
    def restore(self, state: State) -> None:
        """Go on from a state that `state` gave, to the last bit."""
        copy_parameters(self.model, state.model)
        for name, average in zip(self._named, self._ema, strict=True):
            average.copy_(state.ema[name])
        for name, parameter in self._named.items():
            if state.optimizer:
                moments = {moment: state.optimizer[f"{name}.{moment}"] for moment in _MOMENTS}
                self._optimizer.state[parameter] = {
                    "step": torch.tensor(float(state.step), device=self.device),
                    **{moment: tensor.to(self.device, copy=True) for moment, tensor in moments.items()},
                }
        self.step_number = state.step


def _groups(named: Mapping[str, nn.Parameter], config: TrainingConfig) -> list[dict[str, Any]]:
    """The image encoder's weights and all others, each with what multiplies their learning rate."""
    encoder = [weight for name, weight in named.items() if name.startswith(_ENCODERS)]
    others = [weight for name, weight in named.items() if not name.startswith(_ENCODERS)]
    return [{"params": others, "lr_scale": 1.0}, {"params": encoder, "lr_scale": config.image_encoder_lr}]


@torch.no_grad()
def copy_parameters(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Fill a model's weights; all names must be there and no others, which a checkpoint's digests have ensured."""
    named = dict(model.named_parameters())
    assert named.keys() == tensors.keys()
    for name, parameter in named.items():
        parameter.copy_(tensors[name])
