"""What a policy has to know besides its weights, as plain data: kept in every checkpoint, whole in itself.

With it a checkpoint acts without lock or lake: the embodiments' tables, their normalization, cameras and prompts, and
the sizes of the model. `training.robot_codec` makes arrays of it.
"""
# Legend: D dimensions of a robot's state or action.

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from curation.chunks import ActionForm
from curation.lock import Component, Lock
from model.models import ModelConfig, config_as_json, config_of_json
from schema.layout import LayoutName
from training.config import TrainingConfig
from training.normalize import centre_and_scale
from training.shard_cache import ShardCache, Wanted

_LOOKS = 32
"""Episodes of each robot that are looked at for their cameras, spread over the lock's table of runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotSpec:
    """A camera slot of the model, as one robot fills it."""

    slot: str
    cameras: tuple[str, ...]
    """In order of preference; empty where this robot never fills the slot."""
    is_required: bool
    """Whether every episode that was looked at filled it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScaleSpec:
    """Mean and standard deviation of D dimensions, in the action space's order."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RobotSpec:
    """One embodiment under one action space and rate."""

    name: str
    """The embodiment's, with action space and rate where the lock has several: the part of its components' names."""
    embodiment: dict[str, Any]
    """The whole table, as its JSON."""
    action_space: str
    rate_hz: float
    prompt_prefix: str
    slots: tuple[SlotSpec, ...]
    state: ScaleSpec
    action: ScaleSpec
    released: str = ""
    """The codec of released checkpoints whose numbers the model takes (`training.released_codecs`); "" for none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicySpec:
    """What a policy has to know besides its weights."""

    recipe: str
    layout: LayoutName
    width: int
    chunk_steps: int
    action_form: ActionForm
    image_size: int
    sampling_steps: int
    model: dict[str, Any]
    robots: tuple[RobotSpec, ...]
    has_noise_in_padding: bool = False
    """Whether padded dimensions carry noise, as in the training of released weights; masked otherwise."""

    @classmethod
    def of(cls, lock: Lock, config: TrainingConfig, *, shards: ShardCache) -> "PolicySpec":
        """The spec of what this lock and config train; looks at a few episodes for the cameras they have."""
        first: dict[str, int] = {}
        for index, component in enumerate(lock.components):
            first.setdefault(robot_name(component), index)
        return cls(
            recipe=str(lock.recipe.get("name", "")),
            layout=lock.layout,
            width=lock.width,
            chunk_steps=lock.chunk_steps,
            action_form=lock.action_form,
            image_size=lock.image_size,
            sampling_steps=config.sampling_steps,
            model=config_as_json(config.model_config(lock)),
            robots=tuple(_robot(lock, name, index=index, shards=shards) for name, index in sorted(first.items())),
        )

    def as_json(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "PolicySpec":
        """The inverse of `as_json`; KeyError or TypeError where it is none."""
        robots = tuple(_robot_of_json(robot) for robot in found["robots"])
        return cls(**{**found, "robots": robots})

    def model_config(self) -> ModelConfig:
        """The sizes of the model."""
        return config_of_json(self.model)


def robot_name(component: Component) -> str:
    """The name by which a policy knows the robot of a component: what stands before its task."""
    return component.name.split("/", 1)[0]


def _robot(lock: Lock, name: str, *, index: int, shards: ShardCache) -> RobotSpec:
    component = lock.components[index]
    rows = [row for row in lock.stats.to_pylist() if row["key"] == component.stats_key]
    found = {
        role: [centre_and_scale(row, lock.normalization) for row in rows if row["role"] == role]
        for role in ("state", "action")
    }
    scales = {
        role: ScaleSpec(mean=tuple(mean for mean, _ in pairs), std=tuple(std for _, std in pairs))
        for role, pairs in found.items()
    }
    return RobotSpec(
        name=name,
        embodiment=lock.embodiments[component.embodiment_table].model_dump(mode="json"),
        action_space=component.action_space,
        rate_hz=lock.step_rate_hz(component),
        prompt_prefix=component.prompt_prefix,
        slots=_slots(lock, index, shards=shards),
        state=scales["state"],
        action=scales["action"],
    )


def _slots(lock: Lock, index: int, *, shards: ShardCache) -> tuple[SlotSpec, ...]:
    """Which cameras fill the model's slots for the robot of this component, by what a few episodes have."""
    component = lock.components[index]
    space = lock.embodiments[component.embodiment_table].action_space(component.action_space)
    members = [place for place, one in enumerate(lock.components) if robot_name(one) == robot_name(component)]
    mine = np.flatnonzero(np.isin(lock.runs["component"].to_numpy(), members))
    cameras = tuple(dict.fromkeys(camera for names in lock.cameras.values() for camera in names))
    wanted = Wanted(state=space.state, action=space.action, cameras=cameras)
    seen = []
    for run in mine[np.unique(np.linspace(0, len(mine) - 1, _LOOKS).astype(np.int64))].tolist():
        shard, row_group = lock.runs["shard"][run].as_py(), lock.runs["row_group"][run].as_py()
        episode = shards.episode(shard, row_group, wanted)
        seen.append(set(episode.cameras))
    return tuple(
        SlotSpec(
            slot=slot,
            cameras=tuple(camera for camera in names if any(camera in there for there in seen)),
            is_required=all(any(camera in there for camera in names) for there in seen),
        )
        for slot, names in lock.cameras.items()
    )


def _robot_of_json(found: Mapping[str, Any]) -> RobotSpec:
    scales = {
        role: ScaleSpec(**{what: tuple(values) for what, values in found[role].items()}) for role in ("state", "action")
    }
    slots = tuple(SlotSpec(**{**slot, "cameras": tuple(slot["cameras"])}) for slot in found["slots"])
    return RobotSpec(**{**found, "slots": slots, **scales})
