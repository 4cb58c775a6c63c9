"""Where each dimension of an action space stands in the padded vector that all robots share.

Two layouts. `pi` packs from the left as the released π0 checkpoints expect, so a slot's meaning depends on the
action space. `semantic` gives each quantity a slot of its own. The mapping is by dimension and reversible:
`unpad(pad(x)) == x`, and the mask says which slots are real.
"""
# Legend: … any leading axes (batch, steps), D a robot's own width, W the padded width.

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from schema.embodiment import Dimension
from schema.errors import ConfigError

LayoutName = Literal["pi", "semantic"]
Scalar = TypeVar("Scalar", bound=np.generic)
LAYOUTS: tuple[LayoutName, ...] = get_args(LayoutName)
DEFAULT_WIDTH = 32
"""What the released π0 checkpoints expect; the paper pads to 18."""

_PI_BASE, _PI_TORSO = 14, 17
_KIND = {
    "joint_position": "joints",
    "joint_velocity": "joints",
    "joint_effort": "joints",
    "gripper": "gripper",
    "gripper_velocity": "gripper",
    "base_velocity": "velocity",
    "torso_height": "height",
    "eef_position": "xyz",
    "eef_linear_velocity": "xyz",
    "eef_rotation": "rotation",
    "eef_angular_velocity": "rotation",
}
_SEMANTIC: dict[tuple[str, str], tuple[int, int]] = {
    # (part, kind) → first slot, number of slots
    ("left", "joints"): (0, 7),
    ("right", "joints"): (7, 7),
    ("left", "gripper"): (14, 1),
    ("right", "gripper"): (15, 1),
    ("base", "velocity"): (16, 2),
    ("base", "turning"): (18, 1),
    ("torso", "height"): (19, 1),
    ("left", "xyz"): (20, 3),
    ("left", "rotation"): (23, 3),
    ("right", "xyz"): (26, 3),
    ("right", "rotation"): (29, 3),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Slots:
    """The places of D dimensions in a vector of `width`."""

    places: tuple[int, ...]
    width: int

    @property
    def mask(self) -> NDArray[np.bool_]:
        """`[W]`, true where a slot holds a real dimension."""
        mask = np.zeros(self.width, np.bool_)
        mask[list(self.places)] = True
        return mask

    def pad(self, values: NDArray[Scalar]) -> NDArray[Scalar]:
        """Spread `[…, D]` over `[…, W]`; slots without a dimension are zero."""
        if values.shape[-1] != len(self.places):
            raise ValueError(f"the last axis has {values.shape[-1]} dims, these slots hold {len(self.places)}")
        padded = np.zeros((*values.shape[:-1], self.width), values.dtype)
        padded[..., list(self.places)] = values
        return padded

    def unpad(self, padded: NDArray[Scalar]) -> NDArray[Scalar]:
        """Gather `[…, D]` back from `[…, W]`."""
        if padded.shape[-1] != self.width:
            raise ValueError(f"the last axis has {padded.shape[-1]} slots, this layout has {self.width}")
        return padded[..., list(self.places)]


def slots(dimensions: Sequence[Dimension], layout: LayoutName, *, width: int = DEFAULT_WIDTH) -> Slots:
    """The places of these dimensions; ConfigError with the width they need where they do not fit."""
    places = _pi_places(dimensions) if layout == "pi" else _semantic_places(dimensions)
    needed = max(places) + 1
    if needed > width:
        raise ConfigError(
            f"{len(dimensions)} dimensions need a padded width of {needed} in layout {layout!r}, found {width}: "
            f"set `width: {needed}` or choose a narrower action space"
        )
    return Slots(places=tuple(places), width=width)


def _pi_places(dimensions: Sequence[Dimension]) -> list[int]:
    """Arms and hands from the left in the action space's order, the base from 14, the torso from 17."""
    parts = [dimension.signal.part for dimension in dimensions]
    arms = sum(part in {"left", "right"} for part in parts)
    base = max(_PI_BASE, arms)
    torso = max(_PI_TORSO, base + parts.count("base"))
    place = {"arm": 0, "base": base, "torso": torso}
    places = []
    for part in parts:
        group = part if part in place else "arm"
        places.append(place[group])
        place[group] += 1
    return places


def _semantic_places(dimensions: Sequence[Dimension]) -> list[int]:
    """The slots of each dimension's own (part, kind), in the order in which they come."""
    used: dict[tuple[str, str], int] = {}
    places = []
    for dimension in dimensions:
        key = (dimension.signal.part, _kind(dimension))
        first, count = _SEMANTIC.get(key, (0, 0))
        index = used.get(key, 0)
        if index >= count:
            places_found = f"only {count} slots" if count else "no slot"
            raise ConfigError(
                f"layout 'semantic' has {places_found} for {' '.join(key)}, found {dimension.name!r}: "
                "choose an action space without it, or layout 'pi'"
            )
        places.append(first + index)
        used[key] = index + 1
    return places


def _kind(dimension: Dimension) -> str:
    """What a dimension shares its slots with; a base's turning is apart, so that it never meets another's sideways."""
    quantity = dimension.signal.quantity
    if quantity == "base_velocity" and dimension.unit == "rad/s":
        return "turning"
    return _KIND.get(quantity, quantity)
