"""One robot's numbers to the model's and back: delta, padding and normalization, and the exact inverse.

The loader and `training.normalize` do the same for whole batches of mixed robots; a test holds both to each other.
"""
# Legend: B samples, H steps, S state and A action dimensions of this robot, W padded width.

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.chunks import ChunkRule, chunk_rule, from_delta, to_delta
from schema.embodiment import Dimension, Embodiment
from schema.layout import Slots, slots
from training.released_codecs import Piece, decode, encode, released_codec, width
from training.spec import PolicySpec, RobotSpec, ScaleSpec

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RobotCodec:
    """How one robot's state and actions become what the model sees, and back."""

    spec: RobotSpec
    embodiment: Embodiment
    state_dimensions: tuple[Dimension, ...]
    action_dimensions: tuple[Dimension, ...]
    state_slots: Slots
    action_slots: Slots
    rule: ChunkRule
    is_delta: bool
    state_pieces: tuple[Piece, ...] = ()
    """What released weights have for the state; without pieces it is taken as it is."""
    action_pieces: tuple[Piece, ...] = ()

    @classmethod
    def of(cls, spec: PolicySpec, robot: RobotSpec) -> "RobotCodec":
        """The codec of one of a policy's robots."""
        if robot.released:
            return cls._of_released(spec, robot)
        embodiment = Embodiment.model_validate(robot.embodiment)
        space = embodiment.action_space(robot.action_space)
        state, action = embodiment.dimensions(space.state), embodiment.dimensions(space.action)
        return cls(
            spec=robot,
            embodiment=embodiment,
            state_dimensions=state,
            action_dimensions=action,
            state_slots=slots(state, spec.layout, width=spec.width),
            action_slots=slots(action, spec.layout, width=spec.width),
            rule=chunk_rule(action, state, spec.action_form),
            is_delta=spec.action_form == "delta",
        )

    @classmethod
    def _of_released(cls, spec: PolicySpec, robot: RobotSpec) -> "RobotCodec":
        """Their numbers in their order from the left, and deltas where they have them."""
        embodiment, theirs = Embodiment.model_validate(robot.embodiment), released_codec(robot.released)
        space = embodiment.action_space(robot.action_space)
        is_delta = np.array(theirs.is_delta, np.bool_)
        origin = np.where(is_delta, np.arange(len(is_delta)), -1)
        return cls(
            spec=robot,
            embodiment=embodiment,
            state_dimensions=embodiment.dimensions(space.state),
            action_dimensions=embodiment.dimensions(space.action),
            state_slots=Slots(places=tuple(range(width(theirs.state))), width=spec.width),
            action_slots=Slots(places=tuple(range(width(theirs.action))), width=spec.width),
            rule=ChunkRule(repeats_D=np.ones(len(is_delta), np.bool_), origin_D=origin),
            is_delta=True,
            state_pieces=theirs.state,
            action_pieces=theirs.action,
        )

    @property
    def state_signals(self) -> tuple[str, ...]:
        """Names of the state's signals, in the action space's order."""
        return self.embodiment.action_space(self.spec.action_space).state

    @property
    def action_signals(self) -> tuple[str, ...]:
        """Names of the action's signals, in the action space's order."""
        return self.embodiment.action_space(self.spec.action_space).action

    def encode_state(self, state_BS: Floats) -> Floats:
        """Normalized and padded, `[B, W]`."""
        mean_S, std_S = _scale(self.spec.state)
        return self.state_slots.pad(((encode(self.state_pieces, state_BS) - mean_S) / std_S).astype(np.float32))

    def encode_actions(self, action_BHA: Floats, state_BS: Floats) -> Floats:
        """Chunks in the stored form, told from the states at their starts, normalized and padded, `[B, H, W]`."""
        mean_A, std_A = _scale(self.spec.action)
        formed_BHA = encode(self.action_pieces, action_BHA)
        if self.is_delta:
            formed_BHA = to_delta(formed_BHA, encode(self.state_pieces, state_BS), self.rule)
        return self.action_slots.pad(((formed_BHA - mean_A) / std_A).astype(np.float32))

    def decode_actions(self, normalized_BHW: Floats, state_BS: Floats) -> Floats:
        """What the model gives as chunks `[B, H, A]` in the stored form and the robot's own units."""
        mean_A, std_A = _scale(self.spec.action)
        formed_BHA = (self.action_slots.unpad(normalized_BHW) * std_A + mean_A).astype(np.float32)
        if self.is_delta:
            formed_BHA = from_delta(formed_BHA, encode(self.state_pieces, state_BS), self.rule)
        return decode(self.action_pieces, formed_BHA)

    def settle(self, action_BHA: Floats) -> Floats:
        """The chunks as they are to be executed: as released weights' own client does, others as they are."""
        return released_codec(self.spec.released).settle(action_BHA) if self.spec.released else action_BHA


def _scale(scale: ScaleSpec) -> tuple[Floats, Floats]:
    return np.array(scale.mean, np.float32), np.array(scale.std, np.float32)
