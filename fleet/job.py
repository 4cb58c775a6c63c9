"""What an episode is about: a scene, an instruction, what belongs where, and when it is done."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from fleet.behaviours import Script
from fleet.driving import WORK
from fleet.kinematics import Floats
from fleet.robot import Place2, Robot
from fleet.scene import PLATE_HEIGHT_M, Scene
from fleet.world import World

_ON_PLATE_SHARE = 0.75


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """One instruction in one scene: which arms bring which blocks onto what."""

    instruction: str
    scene: Scene
    arms: tuple[int, ...]
    """The arms that work, in the order they start."""
    moves: Mapping[int, "Target"]
    """Where each instructed block belongs."""
    station: Place2 = WORK
    """Where the base has to stand to reach there."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A plate or a block on which something should come to rest, or a spot beside a block."""

    plate: int | None = None
    block: int | None = None
    aside_m: tuple[float, float] = (0.0, 0.0)
    """Off the middle of a plate, or from a block to the spot beside it; world x and y."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A family of instructions."""

    name: str
    setup: Callable[[Robot, np.random.Generator], Job]
    scripts: Callable[[World, Job], dict[int, Script]]
    """One script per working arm."""


def is_done(world: World, job: Job) -> bool:
    """Whether every instructed block rests, let go, on what it belongs on."""
    return all(_rests_on(world, block, target) for block, target in job.moves.items())


def _rests_on(world: World, block: int, target: Target) -> bool:
    bodies = world.bodies
    position = bodies.position_B3[block]
    resting_m = spot(world, target)
    aside_m = float(np.hypot(*(position - resting_m)[:2]))
    is_middle = target.plate is not None and not any(target.aside_m)
    near_m = bodies.plate_radius_m * _ON_PLATE_SHARE if is_middle else bodies.size_m / 2
    return not bodies.grips[block] and aside_m < near_m and abs(position[2] - resting_m[2]) < 0.004


def spot(world: World, target: Target) -> Floats:
    """Where a block's centre is when it rests exactly at a target."""
    bodies = world.bodies
    if target.plate is not None:
        at_plate: Floats = bodies.plate_P3[target.plate] + (*target.aside_m, PLATE_HEIGHT_M + bodies.size_m / 2)
        return at_plate
    assert target.block is not None
    if any(target.aside_m):
        beside: Floats = np.array([*(bodies.position_B3[target.block, :2] + target.aside_m), bodies.size_m / 2])
        return beside
    on_block: Floats = bodies.position_B3[target.block] + (0, 0, bodies.size_m)
    return on_block
