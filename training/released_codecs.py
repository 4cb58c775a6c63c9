"""What released checkpoints were trained on, told from what robomix stores, and back: one codec for each family.

robomix stores radians, metres and grippers from 0 (open) to 1 (closed); openpi's families have signs, units and gripper
maps of their own, and of the two that ALOHA has, for states and for actions, neither undoes the other. Nothing else is
here: deltas, normalization and padding are `training.robot_codec`'s. Numbers as in openpi's policies and their clients.
"""
# Legend: … any leading axes (batch, steps), D dimensions of ours, R dimensions of the released checkpoint.

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schema.errors import ConfigError

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


_OPEN_M, _CLOSED_M = 0.05800, 0.01844
"""Distances of ALOHA's fingers, by which their logs' fractions are told."""
_CRANK_M, _ROD_M = 0.022, 0.036
_NEUTRAL_RAD, _WIDEST_RAD = 0.5476, 1.6296
_JOINT_OPEN_RAD, _JOINT_CLOSED_RAD = 1.4910, -0.6213
"""Angles of the servo, by which ALOHA's commands are told as fractions."""
_FINGER_M = 0.04
_DROID_SPEED = 0.2 * 15
"""rad/s of a command of 1: DROID's controller takes 0.2 rad in a step of 1/15 s at most."""
_STEP_M, _STEP_RAD = 0.05, 0.5
"""What robosuite's OSC_POSE makes of a command of 1."""
_HALF = 0.5
"""Above it a gripper that is open or closed is closed."""


class Piece(Protocol):
    """Consecutive dimensions of ours and what a released checkpoint has for them."""

    @property
    def sizes(self) -> tuple[int, int]:
        """(D, R)."""

    def encode(self, ours: Doubles) -> Doubles:
        """`[…, D]` to `[…, R]`."""

    def decode(self, theirs: Doubles) -> Doubles:
        """The inverse, `[…, R]` to `[…, D]`."""


@dataclass(frozen=True, slots=True)
class Linear:
    """Each dimension times its factor, plus one offset for all."""

    factors: tuple[float, ...]
    offset: float = 0.0

    @property
    def sizes(self) -> tuple[int, int]:
        """(D, R)."""
        return len(self.factors), len(self.factors)

    def encode(self, ours: Doubles) -> Doubles:
        """Theirs."""
        return np.multiply(ours, self.factors) + self.offset

    def decode(self, theirs: Doubles) -> Doubles:
        """Ours."""
        return np.divide(theirs - self.offset, self.factors)


@dataclass(frozen=True, slots=True)
class AlohaGripperState:
    """The reading of ALOHA's gripper: the fingers' distance as the angle of the servo that moves them.

    A crank of 22 mm and a rod of 36 mm move the fingers; the angle comes from 0.5476 … 1.6296 rad to 0 … 1. What is
    more open than the crank can reach is as open as it can.
    """

    sizes: tuple[int, int] = (1, 1)

    def encode(self, ours: Doubles) -> Doubles:
        """Theirs, open positive."""
        distance = _OPEN_M - ours * (_OPEN_M - _CLOSED_M)
        sine = (_CRANK_M**2 + distance**2 - _ROD_M**2) / (2 * _CRANK_M * distance)
        return (np.arcsin(np.clip(sine, -1.0, 1.0)) - _NEUTRAL_RAD) / (_WIDEST_RAD - _NEUTRAL_RAD)

    def decode(self, theirs: Doubles) -> Doubles:
        """Ours."""
        reach = _CRANK_M * np.sin(theirs * (_WIDEST_RAD - _NEUTRAL_RAD) + _NEUTRAL_RAD)
        distance = reach + np.sqrt(reach**2 + _ROD_M**2 - _CRANK_M**2)
        return (_OPEN_M - distance) / (_OPEN_M - _CLOSED_M)


@dataclass(frozen=True, slots=True)
class PandaFingers:
    """The two fingers of robosuite's Panda: 0.04 m and −0.04 m are open."""

    sizes: tuple[int, int] = (1, 2)

    def encode(self, ours: Doubles) -> Doubles:
        """Theirs."""
        return np.multiply(1.0 - ours, (_FINGER_M, -_FINGER_M))

    def decode(self, theirs: Doubles) -> Doubles:
        """Ours, by the first finger."""
        return 1.0 - theirs[..., :1] / _FINGER_M


@dataclass(frozen=True, slots=True)
class RotationVector:
    """A unit quaternion x, y, z, w as robosuite's rotation vector: of 0 … 2π, so that either sign keeps its own."""

    sizes: tuple[int, int] = (4, 3)

    def encode(self, ours: Doubles) -> Doubles:
        """Theirs, in radians."""
        sine = np.linalg.norm(ours[..., :3], axis=-1, keepdims=True)
        angle = 2.0 * np.arctan2(sine, ours[..., 3:])
        vector: Doubles = ours[..., :3] * (angle / np.where(sine == 0.0, 1.0, sine))
        return vector

    def decode(self, theirs: Doubles) -> Doubles:
        """Ours."""
        angle = np.linalg.norm(theirs, axis=-1, keepdims=True)
        axis = theirs / np.where(angle == 0.0, 1.0, angle)
        return np.concatenate([axis * np.sin(angle / 2), np.cos(angle / 2)], axis=-1)


_ALOHA_SIGNS = Linear((1, -1, -1, 1, 1, 1))
_ALOHA_COMMAND = Linear((_JOINT_CLOSED_RAD - _JOINT_OPEN_RAD,), _JOINT_OPEN_RAD - _NEUTRAL_RAD)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ReleasedCodec:
    """One family of released checkpoints: whose numbers they take and give, and in which form."""

    name: str
    embodiment: str
    action_space: str
    cameras: Mapping[str, str]
    """Camera of ours by model slot; slots without one are masked."""
    chunk_steps: int
    state: tuple[Piece, ...]
    action: tuple[Piece, ...]
    is_delta: tuple[bool, ...]
    """Of each released action dimension, whether it is told from the state's of the same place at the chunk's start."""
    command_limit: float | None = None
    """Where the family's client limits commands to ± this, and closes the gripper above a half: the released unit."""

    def settle(self, action: Floats) -> Floats:
        """Actions `[…, D]` as the family's own client sends them: limited, with a gripper that is open or closed."""
        if self.command_limit is None:
            return action
        theirs = np.clip(encode(self.action, action), -self.command_limit, self.command_limit)
        theirs[..., -1:] = theirs[..., -1:] > _HALF
        return decode(self.action, theirs)


def encode(pieces: tuple[Piece, ...], ours: Floats) -> Floats:
    """What a released checkpoint has for values `[…, D]` of ours: `[…, R]`; without pieces the values themselves."""
    if not pieces:
        return ours
    parts = np.split(ours.astype(np.float64), np.cumsum([piece.sizes[0] for piece in pieces])[:-1], axis=-1)
    found = [piece.encode(part) for piece, part in zip(pieces, parts, strict=True)]
    return np.concatenate(found, axis=-1).astype(np.float32)


def decode(pieces: tuple[Piece, ...], theirs: Floats) -> Floats:
    """The inverse of `encode`: `[…, R]` to `[…, D]`."""
    if not pieces:
        return theirs
    parts = np.split(theirs.astype(np.float64), np.cumsum([piece.sizes[1] for piece in pieces])[:-1], axis=-1)
    found = [piece.decode(part) for piece, part in zip(pieces, parts, strict=True)]
    return np.concatenate(found, axis=-1).astype(np.float32)


def width(pieces: tuple[Piece, ...]) -> int:
    """R of these pieces together."""
    return sum(piece.sizes[1] for piece in pieces)


def released_codec(name: str) -> ReleasedCodec:
    """The codec of this name; ConfigError with those there are."""
    if name not in RELEASED:
        raise ConfigError(f"there is no codec {name!r} of released checkpoints: choose one of {', '.join(RELEASED)}")
    return RELEASED[name]


_SEVEN = (1.0,) * 7
_TWO_VIEWS = MappingProxyType({"base_0_rgb": "base", "left_wrist_0_rgb": "left_wrist"})

OPENPI_ALOHA = ReleasedCodec(
    name="openpi_aloha",
    embodiment="bimanual_trossen",
    action_space="joint_position",
    cameras=MappingProxyType({**_TWO_VIEWS, "right_wrist_0_rgb": "right_wrist"}),
    chunk_steps=50,
    state=(_ALOHA_SIGNS, AlohaGripperState()) * 2,
    action=(_ALOHA_SIGNS, _ALOHA_COMMAND) * 2,
    is_delta=((True,) * 6 + (False,)) * 2,
)
"""pi0_base and its fine-tunings with `adapt_to_pi`, left arm first."""

OPENPI_DROID = ReleasedCodec(
    name="openpi_droid",
    embodiment="franka_droid",
    action_space="joint_velocity",
    cameras=_TWO_VIEWS,
    chunk_steps=10,
    state=(Linear(_SEVEN), Linear((1.0,))),
    action=(Linear((1 / _DROID_SPEED,) * 7), Linear((1.0,))),
    is_delta=(False,) * 8,
    command_limit=1.0,
)
"""pi0_droid: fractions of DROID's largest joint velocity."""

OPENPI_LIBERO = ReleasedCodec(
    name="openpi_libero",
    embodiment="panda_sim",
    action_space="eef_delta",
    cameras=_TWO_VIEWS,
    chunk_steps=50,
    state=(Linear((1.0,) * 3), RotationVector(), PandaFingers()),
    action=(Linear((1 / _STEP_M,) * 3), Linear((1 / _STEP_RAD,) * 3), Linear((2.0,), -1.0)),
    is_delta=(True,) * 6 + (False,),
)
"""pi0_libero: robosuite's commands less the pose at the chunk's start, though they are displacements already."""

RELEASED: Mapping[str, ReleasedCodec] = MappingProxyType(
    {codec.name: codec for codec in (OPENPI_ALOHA, OPENPI_DROID, OPENPI_LIBERO)}
)
"""Codecs by name."""
