"""The shapes of the two files of this folder: an entry of `datasets.toml`, and what entries share in `robots.toml`."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from schema.embodiment import CameraRole, Field_, Mode, Name, Part, Quantity, Rotation, SignalName, SourceBinding, Unit

Sentence = Annotated[str, StringConstraints(min_length=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SignalKind(_Table):
    """A signal as every robot has it; its part is told by its name (`state.left_…`, `state.right_…`, `….base_…`)."""

    quantity: Quantity
    unit: Unit | tuple[Unit, ...]
    frame: Name
    mode: Mode
    rotation: Rotation | None = None
    dims: tuple[Name, ...] = ()
    """None for joints: each robot has its own."""
    limits: tuple[tuple[float, float], ...] | None = None


class Space(_Table):
    """An action space that an entry has when it gives all of these signals; names without `state.` and `action.`."""

    state: tuple[Name, ...] = Field(min_length=1)
    action: tuple[Name, ...] = Field(min_length=1)

    @property
    def signals(self) -> tuple[str, ...]:
        """The full names, states first."""
        return (*(f"state.{name}" for name in self.state), *(f"action.{name}" for name in self.action))


class Robot(_Table):
    """What the datasets of one robot share."""

    title: str
    rate_hz: float = Field(gt=0, le=1000)
    cameras: dict[Name, CameraRole]
    joints: tuple[Name, ...] = ()
    joint_limits: tuple[tuple[float, float], ...] | None = None


class Shared(_Table):
    """`robots.toml`, whole."""

    signals: dict[SignalName, SignalKind]
    spaces: dict[Name, Space]
    robots: dict[Name, Robot]


class Entry(_Table):
    """One dataset, as TFDS names it."""

    title: str
    robot: Name
    """Of `robots.toml`, or a built-in embodiment."""
    rate_hz: float = Field(gt=0, le=1000)
    action_space: Name
    """The default; the others that its signals give are there as well."""
    signals: dict[SignalName, Field_] = Field(min_length=1)
    cameras: dict[Name, str] = {}
    optional_cameras: dict[Name, str] = {}
    names: tuple[str, ...] = ()
    """Other names that the dataset goes by."""
    licence: str | None = None
    only_successes: bool = False
    drop_first: int = Field(default=0, ge=0)
    bgr_cameras: tuple[Name, ...] = ()
    instruction: str | None = None
    is_simulated: bool = False
    doubt: tuple[Sentence, ...] = ()

    def binding(self) -> SourceBinding:
        """How a log of this dataset is read."""
        return SourceBinding(
            signals=self.signals,
            cameras=self.cameras,
            optional_cameras=self.optional_cameras,
            rate_hz=self.rate_hz,
            only_successes=self.only_successes,
            drop_first=self.drop_first,
            bgr_cameras=self.bgr_cameras,
            instruction=self.instruction,
            is_simulated=self.is_simulated,
            licence=self.licence,
            doubt=self.doubt,
        )


def part_of(signal: str) -> Part:
    """The part of the robot that a signal of this name is of; a single arm is the left one."""
    parts: tuple[Part, ...] = ("right", "base", "torso")
    return next((part for part in parts if signal.partition(".")[2].startswith(f"{part}_")), "left")
