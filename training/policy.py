"""A policy: a checkpoint that acts. Named readings and pictures in, chunks in the robot's own units out.

The exact inverse of what the loader and `training.normalize` do to train it. A checkpoint is enough; neither its lock
nor its lake is opened.
"""
# Legend: B observations, C cameras, S side of the pictures, H steps of a chunk, A action dimensions, W padded width.

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.by_cameras import ByCameras
from model.models import Model, build
from model.observation import Observation, normalize_images
from model.tokenizer import Tokenizer
from schema.embodiment import Mode, Unit
from schema.errors import ConfigError, problems
from training.checkpoint import Head, read_weights
from training.prompts import tokenizer_for
from training.randomness import SAMPLING, normal
from training.robot_codec import Floats, RobotCodec
from training.robot_observation import RobotObservation, observation_problems
from training.square_picture import fit_into
from training.step import copy_parameters


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ActionChunk:
    """H consecutive values of one action signal, as the robot's table names and measures it."""

    values: NDArray[np.float32]
    """`[H, D]`, in the stored form: absolute where the signal is."""
    dims: tuple[str, ...]
    units: tuple[Unit, ...]
    mode: Mode
    rate_hz: float
    """Steps per second."""


class Policy:
    """A trained model and what it knows of its robots."""

    def __init__(self, model: Model, head: Head, *, device: torch.device, tokenizer: Tokenizer | None = None) -> None:
        """Use `Policy.load`, or `training.released` for released weights."""
        self.head, self.spec, self.device = head, head.policy, device
        self.model = model.to(device).eval()
        self.by_cameras = ByCameras(self.model)
        """What is asked: the model, without computing cameras that are absent."""
        self.robots = {robot.name: RobotCodec.of(self.spec, robot) for robot in self.spec.robots}
        self.tokenizer = tokenizer or tokenizer_for(model.config)

    @classmethod
    def load(cls, checkpoint: str | Path, *, device: str | torch.device = "cpu") -> "Policy":
        """The policy of a checkpoint's averaged weights; ConfigError where it is damaged."""
        head, weights = read_weights(Path(checkpoint))
        model = build(head.policy.model_config())
        copy_parameters(model, weights)
        return cls(model, head, device=torch.device(device))

    def act(self, observation: RobotObservation, *, seed: int) -> dict[str, ActionChunk]:
        """A chunk of each action signal; the same observation and seed give the same one.

        Raises:
            ConfigError: the observation is not what this policy was trained on; lists every problem.
        """
        return self.act_batch([observation], seeds=[seed])[0]

    def act_batch(
        self, observations: Sequence[RobotObservation], *, seeds: Sequence[int]
    ) -> list[dict[str, ActionChunk]]:
        """`act` for several observations at once, of whatever robots, each with its own seed."""
        lines = [
            f"observation {index}: {line}" if len(observations) > 1 else line
            for index, one in enumerate(observations)
            for line in observation_problems(one, self.robots, tokenizer=self.tokenizer)
        ]
        error = problems(ConfigError, "the policy cannot act on this:", lines)
        if error is not None:
            raise error
        codecs = [self.robots[one.embodiment] for one in observations]
        states = [one.stacked(codec.state_signals) for one, codec in zip(observations, codecs, strict=True)]
        noise_BHW = np.concatenate(
            [normal(seed, np.zeros(1, np.int64), purpose=SAMPLING, shape=self.chunk_shape) for seed in seeds]
        )
        mask_BW = np.stack([codec.action_slots.mask for codec in codecs])
        chunks_BHW = self.sample(self.observe(observations, states), noise_BHW, mask_BW)
        return [
            _named(codec, codec.settle(codec.decode_actions(chunks_BHW[index : index + 1], states[index][None]))[0])
            for index, codec in enumerate(codecs)
        ]

    @property
    def chunk_shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.spec.chunk_steps, self.spec.width

    def sample(self, observation: Observation, noise_BHW: Floats, action_mask_BW: NDArray[np.bool_]) -> Floats:
        """Normalized chunks `[B, H, W]` from this noise; the mask counts where the weights were trained with it."""
        is_masked = not self.spec.has_noise_in_padding
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            actions: Tensor = self.by_cameras.sample(
                observation,
                torch.from_numpy(noise_BHW).to(self.device),
                steps=self.spec.sampling_steps,
                action_mask=torch.tensor(action_mask_BW, device=self.device) if is_masked else None,
            )
        chunks: Floats = actions.float().cpu().numpy()
        return chunks

    def observe(self, observations: Sequence[RobotObservation], states: Sequence[Floats]) -> Observation:
        """What the model sees."""
        codecs = [self.robots[one.embodiment] for one in observations]
        size, slots = self.spec.image_size, self.spec.robots[0].slots
        images = np.zeros((len(observations), len(slots), size, size, 3), np.uint8)
        image_mask = np.zeros(images.shape[:2], np.bool_)
        for row, (one, codec) in enumerate(zip(observations, codecs, strict=True)):
            for place, slot in enumerate(codec.spec.slots):
                camera = next((name for name in slot.cameras if name in one.pictures), None)
                if camera is not None:
                    image_mask[row, place] = True
                    fit_into(one.pictures[camera], out=images[row, place])
        prompts = self.tokenizer(
            [codec.spec.prompt_prefix + one.instruction for one, codec in zip(observations, codecs, strict=True)]
        )
        state_BW = np.concatenate(
            [codec.encode_state(state[None]) for codec, state in zip(codecs, states, strict=True)]
        )
        return Observation(
            images=normalize_images(torch.from_numpy(images).to(self.device)),
            image_mask=torch.from_numpy(image_mask).to(self.device),
            tokens=prompts.tokens_BL.to(self.device),
            token_mask=prompts.mask_BL.to(self.device),
            state=torch.from_numpy(state_BW).to(self.device),
        )


def _named(codec: RobotCodec, chunk_HA: Floats) -> dict[str, ActionChunk]:
    """A chunk by the names of its signals."""
    found, first = {}, 0
    for name in codec.action_signals:
        signal = codec.embodiment.signal(name)
        found[name] = ActionChunk(
            values=np.ascontiguousarray(chunk_HA[:, first : first + signal.width]),
            dims=signal.dims,
            units=signal.units,
            mode=signal.mode,
            rate_hz=codec.spec.rate_hz,
        )
        first += signal.width
    return found
