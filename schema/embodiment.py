"""A robot is a table: its signals, dimension by dimension, its action spaces and its cameras.

The tables are TOML files, in `schema/embodiments/` or a user's own; `load_embodiment` parses one into frozen
values and reports every problem at once. How a log format names a robot's fields (`[sources.<format>]`) is in
the same file, so that a new robot is one file and no code. Where dimensions go in a padded vector: `layout`.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from schema.digest import digest_json
from schema.errors import ConfigError

Quantity = Literal[
    "joint_position",
    "joint_velocity",
    "joint_effort",
    "eef_position",
    "eef_rotation",
    "eef_linear_velocity",
    "eef_angular_velocity",
    "gripper",
    "gripper_velocity",
    "finger_position",
    "base_position",
    "base_velocity",
    "torso_height",
]
Unit = Literal["rad", "m", "rad/s", "m/s", "N m", "1", "1/s"]
Mode = Literal["absolute", "delta", "velocity"]
Part = Literal["left", "right", "base", "torso"]
Rotation = Literal["euler_xyz", "rotation_vector", "quaternion_xyzw", "quaternion_wxyz", "matrix_6d"]
CameraRole = Literal["exterior", "wrist"]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$")]
SignalName = Annotated[str, StringConstraints(pattern=r"^(state|action)\.[a-z0-9_]+$")]
_COLUMNS = r"(\d+:\d+|[^\[\]|,:\s]+(,[^\[\]|,:\s]+)*)"
Field_ = Annotated[str, StringConstraints(pattern=rf"^[^\[\]|\s]+(\[{_COLUMNS}\])?(\s*\|\s*[a-z0-9_]+)*$")]

_UNITS: dict[Quantity, set[Unit]] = {
    "joint_position": {"rad", "m", "1"},  # 1: a fraction of a calibrated range, −1 to 1
    "joint_velocity": {"rad/s", "m/s"},
    "joint_effort": {"N m", "1"},
    "eef_position": {"m", "1"},  # 1: a command on a scale that the log does not tell
    "eef_rotation": {"rad", "1"},
    "eef_linear_velocity": {"m/s"},
    "eef_angular_velocity": {"rad/s"},
    "gripper": {"1"},
    "gripper_velocity": {"1/s"},
    "finger_position": {"rad", "1"},
    "base_position": {"m", "rad"},
    "base_velocity": {"m/s", "rad/s"},
    "torso_height": {"m", "rad"},
}
_ROTATION_WIDTH: dict[Rotation, int] = {
    "euler_xyz": 3,
    "rotation_vector": 3,
    "quaternion_xyzw": 4,
    "quaternion_wxyz": 4,
    "matrix_6d": 6,
}


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Signal(_Table):
    """One numeric stream `[T, D]` of one quantity of one part of the robot."""

    name: SignalName
    part: Part
    quantity: Quantity
    unit: Unit | tuple[Unit, ...]
    """One unit for all dimensions, or one for each (a base has m/s and rad/s)."""
    frame: Name
    """What the numbers are relative to: "joint", "base", "tool", "world"; "fraction" for grippers."""
    mode: Mode
    rotation: Rotation | None = None
    dims: tuple[Name, ...] = Field(min_length=1)
    limits: tuple[tuple[float, float], ...] | None = None
    """Lowest and highest value per dimension, in the signal's unit."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        width, found = len(self.dims), []
        if not set(self.units) <= _UNITS[self.quantity]:
            found.append(f"unit {self.unit!r} does not measure {self.quantity}: use {sorted(_UNITS[self.quantity])}")
        if len(self.units) != width:
            found.append(f"{len(self.units)} units for {width} dims: give one unit, or one for each")
        if len(set(self.dims)) != width:
            found.append(f"dims repeat a name: {list(self.dims)}")
        if (self.quantity == "eef_rotation") != (self.rotation is not None):
            found.append("rotation is for eef_rotation signals, and each of these needs one")
        if self.rotation is not None and _ROTATION_WIDTH[self.rotation] != width:
            found.append(f"{self.rotation} has {_ROTATION_WIDTH[self.rotation]} dims, {width} are named")
        if self.limits is not None and len(self.limits) != width:
            found.append(f"{len(self.limits)} limits for {width} dims")
        if self.limits is not None and any(low >= high for low, high in self.limits):
            found.append("each limit is [low, high] with low < high")
        if found:
            raise ValueError("; ".join(found))
        return self

    @property
    def units(self) -> tuple[Unit, ...]:
        """The unit of each dimension."""
        return self.unit if isinstance(self.unit, tuple) else (self.unit,) * len(self.dims)

    @property
    def width(self) -> int:
        """How many dimensions the signal has."""
        return len(self.dims)


class Camera(_Table):
    """A named view, and the role by which a recipe's `cameras` may ask for it."""

    name: Name
    role: CameraRole


class ActionSpace(_Table):
    """A named choice of signals: what the policy sees as state and gives as action, in this order."""

    name: Name
    state: tuple[SignalName, ...] = Field(min_length=1)
    action: tuple[SignalName, ...] = Field(min_length=1)


class SourceBinding(_Table):
    """How one log format names this robot's fields.

    A field is `path[start:stop] | transform | …` with the transforms of `ingest.transforms`, or
    `path[name,name,…] | …` where the log names the columns of its streams.
    """

    match: tuple[str, ...] = ()
    """Robot types or dataset names by which a log of this format is recognised as this robot."""
    signals: dict[SignalName, Field_]
    cameras: dict[Name, str] = {}
    """Camera name → the format's key. A log without this camera is quarantined."""
    optional_cameras: dict[Name, str] = {}
    """The same for cameras that a log may lack: absent ones are recorded as absent."""
    rate_hz: float | None = Field(default=None, gt=0, le=1000)
    """How often a log of this source has a frame, where the log does not say; None: the embodiment's rate."""
    drop_first: int = Field(default=0, ge=0)
    """So many frames at the start of each episode are not taken."""
    only_successes: bool = False
    """An episode that does not say that it succeeded is quarantined."""
    bgr_cameras: tuple[Name, ...] = ()
    """Cameras whose pictures were stored with red and blue exchanged."""
    instruction: str | None = None
    """A field of UTF-8 bytes padded with zeros that holds the instruction."""
    is_simulated: bool | None = None
    licence: str | None = None
    """Of the source as its makers published it, where the log does not say."""
    doubt: tuple[str, ...] = Field(default=(), exclude=True)
    """What is not sure of these facts, for people; changes nothing of what is stored but notes."""
    clock: float | str | None = None
    """What the frames of a log without a common clock follow: the stream or camera of that name, or a rate in Hz.
    None: the stream of the default action space's first action."""
    max_gap_s: float = Field(default=0.5, gt=0)
    """How far apart the samples around a frame, and how old its pictures, may be in such a log."""


class Embodiment(_Table):
    """A robot configuration: everything that robomix knows of it, and nothing that is code."""

    name: Name
    title: str
    rate_hz: float = Field(gt=0, le=1000)
    cameras: tuple[Camera, ...] = ()
    signals: tuple[Signal, ...] = Field(min_length=1)
    action_spaces: tuple[ActionSpace, ...] = Field(min_length=1)
    default_action_space: Name
    sources: dict[Name, SourceBinding] = {}

    @model_validator(mode="after")
    def _agree(self) -> Self:
        found = list(_disagreements(self.model_dump()))
        if found:
            raise ValueError("; ".join(found))
        return self

    def signal(self, name: str) -> Signal:
        """The signal of that name; KeyError where the table has none."""
        return {signal.name: signal for signal in self.signals}[name]

    def action_space(self, name: str | None = None) -> ActionSpace:
        """The named action space, or the default; ConfigError with the choices where there is none."""
        wanted = name or self.default_action_space
        for space in self.action_spaces:
            if space.name == wanted:
                return space
        choices = [space.name for space in self.action_spaces]
        raise ConfigError(f"embodiment {self.name!r} has no action space {wanted!r}: choose one of {choices}")

    def dimensions(self, names: tuple[str, ...]) -> tuple["Dimension", ...]:
        """The dimensions of these signals, one after the other."""
        return tuple(
            Dimension(signal=signal, index=index) for signal in map(self.signal, names) for index in range(signal.width)
        )

    @property
    def digest(self) -> str:
        """16 hex characters over every fact of the table; part of what `conversion` digests."""
        return digest_json(self.model_dump(mode="json"))[:16]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dimension:
    """One dimension of one signal, by which grippers, deltas, statistics and plots are selected."""

    signal: Signal
    index: int

    @property
    def name(self) -> str:
        """`<signal>.<dim>`, such as `action.left_gripper.gripper`."""
        return f"{self.signal.name}.{self.signal.dims[self.index]}"

    @property
    def unit(self) -> Unit:
        """The unit of this dimension."""
        return self.signal.units[self.index]

    @property
    def is_gripper(self) -> bool:
        """Whether 0 means open and 1 closed."""
        return self.signal.quantity == "gripper"


def parse_embodiment(text: str, *, where: str) -> Embodiment:
    """Parse one TOML table; ConfigError lists every problem, and `where` it stands."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}; mend the file {where}") from error
    try:
        return Embodiment.model_validate(raw)
    except ValidationError as error:
        # What the parts say of each other is looked at here once more: pydantic leaves it out where a part is wrong.
        inside = [item for item in error.errors() if item["loc"]]
        lines = [f"{_place(item['loc'])}: {line}" for item in inside for line in _plain(item["msg"]).split("; ")]
        lines += _disagreements(raw)
        title = f"the embodiment table has {len(lines)} problem{'s' * (len(lines) != 1)} ({where}):"
        raise ConfigError("\n".join([title, *(f"  - {line}" for line in lines)])) from error


def _disagreements(raw: dict[str, Any]) -> Iterator[str]:
    """What the parts of a table say against each other; parts of a wrong shape are passed over."""
    tables = {what: _tables(raw, what) for what in ("signals", "cameras", "action_spaces")}
    names = {what: {table.get("name") for table in every} for what, every in tables.items()}
    yield from (f"{what} repeat a name" for what, every in tables.items() if len(names[what]) != len(every))
    default = raw.get("default_action_space")
    if default not in names["action_spaces"]:
        yield f"default_action_space {default!r} is none of {sorted(map(str, names['action_spaces']))}"
    for space in tables["action_spaces"]:
        for role in ("state", "action"):
            yield from (
                f"action space {space.get('name')!r} takes {name!r} as {role}, which is no {role} signal of this table"
                for name in _strings(space.get(role))
                if name not in names["signals"] or not name.startswith(f"{role}.")
            )
    for format_name, binding in _items(raw.get("sources")):
        for part, what in (("signals", "signals"), ("cameras", "cameras"), ("optional_cameras", "cameras")):
            bound = _items(binding.get(part) if isinstance(binding, dict) else None)
            unknown = (name for name, _ in bound if name not in names[what])
            yield from (f"sources.{format_name} binds unknown {what.removesuffix('s')} {name!r}" for name in unknown)


def _tables(raw: dict[str, Any], what: str) -> list[dict[str, Any]]:
    found = raw.get(what)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list | tuple) else []


def _strings(found: object) -> list[str]:
    return [item for item in found if isinstance(item, str)] if isinstance(found, list | tuple) else []


def _items(found: object) -> list[tuple[str, Any]]:
    return list(found.items()) if isinstance(found, dict) else []


def _place(location: tuple[int | str, ...]) -> str:
    return re.sub(r"\.(\d+)", r"[\1]", ".".join(map(str, location))) or "table"


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")


@cache
def builtin_embodiments() -> dict[str, Embodiment]:
    """The tables that come with robomix, by name."""
    folder = resources.files("schema.embodiments")
    files = sorted((item for item in folder.iterdir() if item.name.endswith(".toml")), key=lambda item: item.name)
    tables = [parse_embodiment(item.read_text(encoding="utf-8"), where=item.name) for item in files]
    return {table.name: table for table in tables}


def load_embodiment(name_or_path: str) -> Embodiment:
    """A built-in embodiment by name, or a user's own by the path of its TOML file."""
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path)
        if not path.is_file():
            raise ConfigError(f"no embodiment file there: {name_or_path}; `--dry-run` prints a draft of one")
        return parse_embodiment(path.read_text(encoding="utf-8"), where=name_or_path)
    tables = builtin_embodiments()
    if name_or_path not in tables:
        raise ConfigError(
            f"unknown embodiment {name_or_path!r}: expected one of {', '.join(sorted(tables))}, "
            "or the path of a TOML file (`robomix ingest URI --dry-run` prints a draft of one)"
        )
    return tables[name_or_path]
