"""What lies on the table: coloured blocks and plates, laid out at random without touching.

Legend: B blocks, P plates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fleet.arms import Colour
from fleet.kinematics import Floats
from fleet.robot import Place2, Region, Robot

COLOURS: dict[str, Colour] = {
    "red": (222, 32, 38),
    "green": (34, 172, 62),
    "blue": (30, 84, 228),
    "yellow": (246, 210, 22),
    "purple": (150, 44, 190),
    "orange": (248, 124, 14),
}
"""Saturated and far from each other and from the table, so that a picture tells them apart."""

PLATE_HEIGHT_M = 0.006
_MAX_TRIES = 4000
_GAP_M = 0.035


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """Objects as an episode finds them; positions are (x, y) in metres, angles in radians."""

    block_colours: tuple[str, ...]
    block_xy_B2: Floats
    block_yaw_B: Floats
    block_size_m: float
    plate_colours: tuple[str, ...]
    plate_xy_P2: Floats
    plate_radius_m: float
    table_shade: float
    """Brightness of the table, around 1."""
    first_block_on_m: float = 0.0
    """Height of what the first block lies on: a plate or another block."""
    start: Place2 = (0.0, 0.0, 0.0)
    """Where a base stands at first (see `driving`)."""

    @property
    def num_blocks(self) -> int:
        """Number of blocks."""
        return len(self.block_colours)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Something to lay out: a block or a plate, and where it may lie."""

    is_plate: bool
    region: Region


def lay_out(robot: Robot, places: Sequence[Place], rng: np.random.Generator) -> Scene:
    """A scene with an object per place, all of different colours, none touching another."""
    radii = [robot.plate_radius_m if place.is_plate else robot.block_size_m * 0.7 for place in places]
    xy = _scatter(places, radii, rng)
    colours = rng.permutation(list(COLOURS))[: len(places)]
    blocks = [i for i, place in enumerate(places) if not place.is_plate]
    plates = [i for i, place in enumerate(places) if place.is_plate]
    return Scene(
        block_colours=tuple(str(colours[i]) for i in blocks),
        block_xy_B2=xy[blocks],
        block_yaw_B=rng.uniform(-0.5, 0.5, len(blocks)),
        block_size_m=robot.block_size_m,
        plate_colours=tuple(str(colours[i]) for i in plates),
        plate_xy_P2=xy[plates],
        plate_radius_m=robot.plate_radius_m,
        table_shade=float(rng.uniform(0.93, 1.05)),
    )


def _scatter(places: Sequence[Place], radii: Sequence[float], rng: np.random.Generator) -> Floats:
    """Random centres in their regions, farther apart than their radii and a gap; starts over when it is stuck."""
    for _ in range(_MAX_TRIES):
        spots: list[Floats] = []
        for place, radius in zip(places, radii, strict=True):
            spot = np.array([rng.uniform(*place.region.x), rng.uniform(*place.region.y)])
            if any(np.hypot(*(spot - spots[k])) < radius + radii[k] + _GAP_M for k in range(len(spots))):
                break
            spots.append(spot)
        else:
            return np.array(spots)
    raise ValueError(f"{len(places)} objects do not fit their regions after {_MAX_TRIES} tries: enlarge Mount.region")
