"""Signals guessed from the streams of a source: which columns are joints, grippers, velocities, and of which arm."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import prod
from typing import Literal

from ingest.record import SourceField
from schema.embodiment import Part, Quantity

_MAX_WIDTH = 64
_NO_SIGNAL = re.compile(
    r"(^|[./_])(is_\w+|reward|discount|done|success|valid\w*|annotation|timestamp|\w*index)([./_]|$)|embedding"
)
_ACTION = re.compile(r"action|command|cmd")
_BINDABLE = re.compile(r"[^\[\]|\s]+")
_NAMES: tuple[tuple[str, Quantity], ...] = (
    (r"(grip|claw|jaw)\w*vel", "gripper_velocity"),
    (r"grip|claw|jaw", "gripper"),
    (r"effort|torque|current", "joint_effort"),
    (r"base|wheel|linear_vel|angular_vel", "base_velocity"),
    (r"pinky|thumb|finger|(^|_)(hand|ring|middle|index)(_|$)", "finger_position"),
    (r"vel", "joint_velocity"),
    (r"^(\w+_)?[xyz]$", "eef_position"),
    (r"^(roll|pitch|yaw)$", "eef_rotation"),
)
"""The first pattern found in the name of a dimension, else of its stream, tells the quantity."""
_UNNAMED_GRIPPERS = {7: (6,), 8: (7,), 14: (6, 13), 16: (7, 15)}
"""Width of a stream without names → columns that are grippers on one arm or two of six or seven joints."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Guess:
    """Neighbouring columns of one stream, taken for a signal."""

    role: Literal["state", "action"]
    part: Part
    quantity: Quantity
    path: str
    start: int
    dims: tuple[str, ...]
    because: str
    is_sided: bool
    """Whether the log names the side."""
    is_borrowed: bool = False
    """Whether it stands in for a stream that the log lacks."""

    @property
    def signal_name(self) -> str:
        """Its name in a table, such as "state.left_gripper"; not yet unique."""
        side = f"{self.part}_" if self.is_sided and self.part in {"left", "right"} else ""
        return f"{self.role}.{side}{self.quantity}"


def clean(name: str) -> str:
    """The name in lower-case letters, digits and single underscores; camel case is parted."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", parted.lower()).strip("_")


def unique(names: Sequence[str]) -> list[str]:
    """The names in order, with _2, _3 … after ones that came before."""
    taken: list[str] = []
    for name in names:
        number, fresh = 2, name
        while fresh in taken:
            number, fresh = number + 1, f"{name}_{number}"
        taken.append(fresh)
    return taken


def guesses_of(fields: Sequence[SourceField]) -> list[Guess]:
    """Every signal that the streams suggest, at least one of state and one of action."""
    usable = [
        item
        for item in fields
        if 0 < prod(item.shape) <= _MAX_WIDTH and _BINDABLE.fullmatch(item.path) and not _NO_SIGNAL.search(item.path)
    ]
    found = [guess for item in usable for guess in _split(item)]
    if not found:
        found = _split(SourceField(path="unknown", dtype="float32", shape=(1,)))
    states = [guess for guess in found if guess.role == "state"]
    actions = [guess for guess in found if guess.role == "action"]
    states = states or [replace(guess, role="state", is_borrowed=True) for guess in actions]
    actions = actions or [replace(guess, role="action", is_borrowed=True) for guess in states]
    return states + actions


def _split(item: SourceField) -> list[Guess]:
    """A stream's columns, cut where side or quantity changes."""
    width = prod(item.shape)
    is_named = len(item.names) == width
    names = [clean(name) or "dim" for name in item.names] if is_named else [""] * width
    kinds = [_kind(item, names, column) for column in range(width)]
    guesses, start = [], 0
    for (part, quantity, is_sided), run in groupby(kinds):
        count = sum(1 for _ in run)
        dims = [names[column] or f"dim_{column}" for column in range(start, start + count)]
        is_odd_rotation = quantity == "eef_rotation" and count != 3
        guesses.append(
            Guess(
                role="action" if _ACTION.search(item.path.lower()) else "state",
                part=part,
                quantity="joint_position" if is_odd_rotation else quantity,
                path=item.path,
                start=start,
                dims=tuple(unique(dims)),
                because="the names" if is_named else "the width, the log names no dimensions",
                is_sided=is_sided,
            )
        )
        start += count
    return guesses


def _kind(item: SourceField, names: Sequence[str], column: int) -> tuple[Part, Quantity, bool]:
    """(part, quantity, whether the log names the side) of one column."""
    stream = clean(re.split(r"[./]", item.path)[-1])
    quantity = _quantity(names[column]) or _quantity(stream) or "joint_position"
    grippers = () if names[column] else _UNNAMED_GRIPPERS.get(len(names), ())
    if quantity == "joint_position" and column in grippers:
        quantity = "gripper"
    if quantity == "base_velocity":
        return "base", quantity, True
    side = re.search(r"left|right", names[column]) or re.search(r"left|right", stream)
    if side is None and len(grippers) == 2:
        return ("left" if column <= grippers[0] else "right"), quantity, True
    is_right = side is not None and side.group() == "right"
    return ("right" if is_right else "left"), quantity, side is not None


def _quantity(name: str) -> Quantity | None:
    return next((quantity for pattern, quantity in _NAMES if name and re.search(pattern, name)), None)
