"""What a robot tells a policy: readings by signal name, each with its unit, pictures by camera name, an instruction.

Everything that is wrong with one is told at once, before any work: a policy that is fed degrees for radians acts all
the same, and breaks things.
"""
# Legend: D dimensions of a signal.

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.tokenizer import Tokenizer
from training.robot_codec import RobotCodec


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Reading:
    """One state signal now."""

    values: ArrayLike
    """`[D]`."""
    unit: str | tuple[str, ...]
    """One unit for all dimensions, or one for each, spelled as in the embodiment's table."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RobotObservation:
    """What one robot sees and feels at one time step."""

    embodiment: str
    instruction: str
    state: Mapping[str, Reading]
    """By signal name, such as `state.joint_position`."""
    pictures: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    """By camera name: RGB `[rows, columns, 3]` of any size."""

    def stacked(self, signals: tuple[str, ...]) -> NDArray[np.float32]:
        """These signals one after the other, `[S]`."""
        return np.concatenate([np.asarray(self.state[name].values, np.float32) for name in signals])


def observation_problems(
    observation: RobotObservation, robots: Mapping[str, RobotCodec], *, tokenizer: Tokenizer
) -> Iterator[str]:
    """Everything that a policy of these robots has against the observation, a line each."""
    codec = robots.get(observation.embodiment)
    if codec is None:
        yield f"embodiment {observation.embodiment!r} was not trained on, expected one of {', '.join(sorted(robots))}"
        return
    yield from _state_problems(observation, codec)
    yield from _picture_problems(observation, codec)
    if not observation.instruction.strip():
        yield "the instruction is empty: say what to do, in words such as those of training"
    length = tokenizer.count(codec.spec.prompt_prefix + observation.instruction)
    if length > tokenizer.max_tokens:
        yield f"the prompt has {length} tokens, expected at most {tokenizer.max_tokens}: shorten the instruction"


def _state_problems(observation: RobotObservation, codec: RobotCodec) -> Iterator[str]:
    wanted = codec.state_signals
    for name in sorted(observation.state.keys() - set(wanted)):
        yield f"state signal {name!r} is unknown, expected {', '.join(wanted)}: leave it out"
    for name in wanted:
        if name not in observation.state:
            yield f"state signal {name!r} is missing: give its reading"
            continue
        reading, signal = observation.state[name], codec.embodiment.signal(name)
        units = reading.unit if isinstance(reading.unit, tuple) else (reading.unit,) * signal.width
        if units != signal.units:
            yield f"{name} has unit {reading.unit!r}, expected {signal.unit!r}: convert it"
        yield from _value_problems(name, reading, width=signal.width)


def _value_problems(name: str, reading: Reading, *, width: int) -> Iterator[str]:
    try:
        values = np.asarray(reading.values, np.float64)
    except (TypeError, ValueError):
        yield f"{name} is {reading.values!r}, expected {width} numbers"
        return
    if values.shape != (width,):
        yield f"{name} has shape {list(values.shape)}, expected [{width}]"
    if not np.isfinite(values).all():
        yield f"{name} is {values.tolist()}, expected finite numbers"


def _picture_problems(observation: RobotObservation, codec: RobotCodec) -> Iterator[str]:
    known = [camera for slot in codec.spec.slots for camera in slot.cameras]
    for name in sorted(observation.pictures.keys() - set(known)):
        yield f"camera {name!r} was not trained on, expected {', '.join(known) or 'no camera'}: leave it out"
    for slot in codec.spec.slots:
        if slot.is_required and not observation.pictures.keys() & set(slot.cameras):
            yield f"the picture of camera {' or '.join(map(repr, slot.cameras))} is missing, which training had"
    if not observation.pictures and not any(slot.is_required for slot in codec.spec.slots):
        yield f"there is no picture, expected one of camera {', '.join(known) or '(training had none)'} at least"
    for name, picture in observation.pictures.items():
        found = getattr(picture, "dtype", type(picture).__name__), list(np.shape(picture))
        if found[0] != np.uint8 or len(found[1]) != 3 or found[1][2] != 3 or 0 in found[1]:
            yield f"the picture of camera {name!r} is {found[0]} {found[1]}, expected uint8 RGB [rows, columns, 3]"
