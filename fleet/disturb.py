"""Disturbances: something bumps the working arm or shifts an object, once and on the way.

The script does not know; the commands it gives afterwards are the correction that the log keeps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import repeat

import numpy as np

from fleet.job import Job
from fleet.kinematics import Floats
from fleet.world import Nudge, World

_BEGIN_S = (0.5, 1.4)
_DURATION_S = 0.2
_BUMP_M = (0.06, 0.1)
_SHIFT_M = (0.05, 0.08)
_HAND_CLEAR_M = 0.11
_OBJECT_GAP_M = 0.02
_MAX_TRIES = 24


def during(world: World, job: Job, rng: np.random.Generator) -> Iterator[Sequence[Nudge]]:
    """What happens after each step, without end: nothing, then a bump or a shift for a moment, then nothing.

    It would move the working arm, an instructed block or its plate; what cannot be shifted is left in peace and
    the arm is bumped instead.
    """
    kind, arm = str(rng.choice(["arm", "block", "plate"])), int(rng.choice(job.arms))
    begin = round(rng.uniform(*_BEGIN_S) * world.robot.rate_hz)
    num_steps = max(1, round(_DURATION_S * world.robot.rate_hz))
    yield from repeat((), begin)
    whole = _shift(world, job, kind=kind, rng=rng) or _bump(arm, rng)
    x, y, z = whole.delta_m
    yield from repeat((replace(whole, delta_m=(x / num_steps, y / num_steps, z / num_steps)),), num_steps)
    yield from repeat(())


def _bump(arm: int, rng: np.random.Generator) -> Nudge:
    """Sideways and a little up, never into the table."""
    angle, size = rng.uniform(0, 2 * np.pi), rng.uniform(*_BUMP_M)
    return Nudge(arm=arm, delta_m=(size * np.cos(angle), size * np.sin(angle), size * rng.uniform(0.2, 0.5)))


def _shift(world: World, job: Job, *, kind: str, rng: np.random.Generator) -> Nudge | None:
    """A shift of an instructed block or its plate over free table, if there is one."""
    bodies = world.bodies
    block, target = next(iter(job.moves.items()))
    if kind == "block" and not bodies.grips[block]:
        start, radius = bodies.position_B3[block], bodies.size_m * 0.7
        nudge = Nudge(block=block)
    elif kind == "plate" and target.plate is not None:
        start, radius = bodies.plate_P3[target.plate], bodies.plate_radius_m
        nudge = Nudge(plate=target.plate)
    else:
        return None
    if any(np.hypot(*(world.tool(arm)[:2, 3] - start[:2])) < _HAND_CLEAR_M for arm in range(len(world.robot.mounts))):
        return None
    others = _others(world, nudge)
    region = world.robot.mounts[job.arms[-1] if kind == "plate" else job.arms[0]].region
    for _ in range(_MAX_TRIES):
        angle, size = rng.uniform(0, 2 * np.pi), rng.uniform(*_SHIFT_M)
        delta = np.array([np.cos(angle), np.sin(angle)]) * size
        x, y = start[:2] + delta
        is_inside = region.x[0] <= x <= region.x[1] and region.y[0] <= y <= region.y[1]
        if is_inside and all(np.hypot(x - o[0], y - o[1]) > radius + o[2] + _OBJECT_GAP_M for o in others):
            return Nudge(block=nudge.block, plate=nudge.plate, delta_m=(float(delta[0]), float(delta[1]), 0.0))
    return None


def _others(world: World, moved: Nudge) -> list[Floats]:
    """Position and radius (x, y, r) of every object on the table but the moved one."""
    bodies = world.bodies
    blocks = [np.array([*p[:2], bodies.size_m * 0.7]) for k, p in enumerate(bodies.position_B3) if k != moved.block]
    plates = [np.array([*p[:2], bodies.plate_radius_m]) for k, p in enumerate(bodies.plate_P3) if k != moved.plate]
    return blocks + plates
