"""The entries of `datasets.toml`, parsed and checked once, and the embodiment that each one makes.

Entries of one robot share its name, cameras and the meaning of each signal, so that they can be mixed; an entry's
table holds the signals that it gives and no more, so that another entry's change leaves it alone.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ingest.formats import rlds
from ingest.oxe.entry import Entry, Robot, Shared, SignalKind, part_of
from ingest.standardize import parse_expression
from ingest.transforms import columns_for
from schema.embodiment import ActionSpace, Camera, Embodiment, Signal, builtin_embodiments
from schema.errors import ConfigError

T = TypeVar("T", bound=BaseModel)
_SUFFIX = "_converted_externally_to_rlds"


def oxe_embodiment(name: str) -> Embodiment | None:
    """The embodiment of the dataset of that name, with its binding; None where no entry goes by it."""
    entry = _by_name().get(name.casefold())
    return None if entry is None else embodiment_of(entry, _shared())


@cache
def entries() -> Mapping[str, Entry]:
    """Every dataset by its TFDS name; ConfigError with every problem of the file."""
    return parse_entries(_read("datasets.toml"), _shared(), where="datasets.toml")


def parse_entries(text: str, shared: Shared, *, where: str) -> dict[str, Entry]:
    """Entries by name; ConfigError lists every problem, and `where` it stands.

    An entry that is `like` another has all that the other says and it does not.
    """
    found: dict[str, Entry] = {}
    problems: list[str] = []
    for name, raw in _inherited(_toml(text, where)).items():
        entry = _validated(Entry, raw, place=f"{name}.", problems=problems)
        if entry is not None:
            found[name] = entry
            problems += [f"{name}: {problem}" for problem in _disagreements(entry, shared)]
    called = [name for key, entry in found.items() for name in _names(key, entry)]
    problems += [f"{name}: two entries go by this name" for name in sorted(set(called)) if called.count(name) > 1]
    _refuse(problems, where)
    return found


def parse_shared(text: str, *, where: str) -> Shared:
    """What entries share; ConfigError lists every problem."""
    problems: list[str] = []
    shared = _validated(Shared, _toml(text, where), place="", problems=problems)
    if shared is not None:
        for name, space in shared.spaces.items():
            missing = [signal for signal in space.signals if signal not in shared.signals]
            problems += [f"spaces.{name} takes {signal!r}, which is no signal here" for signal in missing]
    _refuse(problems, where)
    assert shared is not None
    return shared


def embodiment_of(entry: Entry, shared: Shared) -> Embodiment:
    """The entry's robot with the signals and action spaces that the entry gives, bound to its fields."""
    sources = {rlds.NAME: entry.binding()}
    robot = shared.robots.get(entry.robot)
    if robot is None:
        table = builtin_embodiments()[entry.robot]
        return table.model_copy(update={"default_action_space": entry.action_space, "sources": sources})
    return Embodiment(
        name=entry.robot,
        title=robot.title,
        rate_hz=robot.rate_hz,
        cameras=tuple(Camera(name=name, role=role) for name, role in robot.cameras.items()),
        signals=tuple(_signal(name, shared.signals[name], robot) for name in entry.signals),
        action_spaces=tuple(_spaces(entry, shared)),
        default_action_space=entry.action_space,
        sources=sources,
    )


def _signal(name: str, kind: SignalKind, robot: Robot) -> Signal:
    own = {} if kind.dims else {"dims": robot.joints, "limits": robot.joint_limits if kind.mode == "absolute" else None}
    return Signal.model_validate(kind.model_dump() | {"name": name, "part": part_of(name)} | own)


def _spaces(entry: Entry, shared: Shared) -> Iterator[ActionSpace]:
    for name, space in shared.spaces.items():
        if set(space.signals) <= entry.signals.keys():
            count = len(space.state)
            yield ActionSpace(name=name, state=space.signals[:count], action=space.signals[count:])


def _disagreements(entry: Entry, shared: Shared) -> Iterator[str]:
    """What an entry says against the robots, signals, spaces and transforms that there are."""
    bound_cameras = entry.cameras.keys() | entry.optional_cameras.keys()
    for camera in sorted(set(entry.bgr_cameras) - bound_cameras):
        yield f"bgr_cameras names {camera!r}, which is bound to nothing"
    yield from _misread(entry)
    known = _known(entry.robot, shared)
    if known is None:
        yield f"robot {entry.robot!r} is none of {sorted(shared.robots.keys() | builtin_embodiments().keys())}"
        return
    unknown = [name for name in entry.signals if name not in known.signals]
    yield from (f"signal {name!r} is none of {sorted(known.signals)}" for name in unknown)
    for camera in sorted(bound_cameras - known.cameras):
        yield f"camera {camera!r} is none of {entry.robot}'s: {sorted(known.cameras)}"
    needed = known.spaces.get(entry.action_space)
    if needed is None:
        yield f"action space {entry.action_space!r} is none of {sorted(known.spaces)}"
        return
    missing = [name for name in needed if name not in entry.signals]
    yield from (f"action space {entry.action_space!r} takes {name!r}, which is bound to nothing" for name in missing)
    if not unknown and not missing:
        yield from _widths(entry, shared)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """The names that entries of a robot may use."""

    signals: frozenset[str]
    cameras: frozenset[str]
    spaces: Mapping[str, tuple[str, ...]]
    """Action space → its signals."""


def _known(robot_name: str, shared: Shared) -> _Known | None:
    if robot := shared.robots.get(robot_name):
        spaces = {name: space.signals for name, space in shared.spaces.items()}
        return _Known(signals=frozenset(shared.signals), cameras=frozenset(robot.cameras), spaces=spaces)
    if table := builtin_embodiments().get(robot_name):
        return _Known(
            signals=frozenset(signal.name for signal in table.signals),
            cameras=frozenset(camera.name for camera in table.cameras),
            spaces={space.name: (*space.state, *space.action) for space in table.action_spaces},
        )
    return None


def _misread(entry: Entry) -> Iterator[str]:
    for name, field in entry.signals.items():
        try:
            parse_expression(field)
        except ConfigError as error:
            yield f"{name}: {error}"


def _widths(entry: Entry, shared: Shared) -> Iterator[str]:
    """Fields whose columns are not as many as their signal needs."""
    try:
        table = embodiment_of(entry, shared)
        fields = {name: parse_expression(field) for name, field in entry.signals.items()}
    except ValidationError as error:
        yield from (f"makes no embodiment: {item['msg']}" for item in error.errors())
        return
    except ConfigError:  # told already
        return
    for name, field in fields.items():
        wanted, columns = columns_for(table.signal(name).width, field.transforms), field.columns
        if wanted is None:
            yield f"{name} has {table.signal(name).width} dimensions, which {entry.signals[name]!r} cannot give"
        elif columns.stop is not None and columns.stop - columns.start != wanted:
            yield f"{name} needs {wanted} columns, {entry.signals[name]!r} has {columns.stop - columns.start}"


def _inherited(raw: dict[str, Any]) -> dict[str, Any]:
    return {name: _filled(entry, raw) for name, entry in raw.items()}


def _filled(entry: Any, raw: Mapping[str, Any]) -> Any:
    """An entry with what it says it has from another, unless there is no such one: then that is a problem of it."""
    model = raw.get(entry.get("like", "")) if isinstance(entry, dict) else None
    if not isinstance(model, dict) or "like" in model:
        return entry
    passed = {key: value for key, value in model.items() if key != "names"}
    return passed | {key: value for key, value in entry.items() if key != "like"}


def _validated(model: type[T], raw: Any, *, place: str, problems: list[str]) -> T | None:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        found = ((".".join(map(str, item["loc"])), item["msg"]) for item in error.errors())
        problems += [f"{place}{where}: {told.removeprefix('Value error, ')}" for where, told in found]
        return None


def _refuse(problems: list[str], where: str) -> None:
    if problems:
        title = (
            f"found {len(problems)} problem{'s' * (len(problems) != 1)} in {where}, expected none; correct the file:"
        )
        raise ConfigError("\n".join([title, *(f"  - {problem}" for problem in problems)]))


def _names(key: str, entry: Entry) -> set[str]:
    return {name.casefold() for name in (key, key.removesuffix(_SUFFIX), *entry.names)}


@cache
def _by_name() -> Mapping[str, Entry]:
    return {name: entry for key, entry in entries().items() for name in _names(key, entry)}


@cache
def _shared() -> Shared:
    return parse_shared(_read("robots.toml"), where="robots.toml")


def _read(file: str) -> str:
    return (resources.files("ingest.oxe") / file).read_text(encoding="utf-8")


def _toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}; mend the file {where}") from error
