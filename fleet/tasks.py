"""The tasks: what is laid out, what the instruction says, how scripts carry it out, and when it has succeeded.

A robot's table names the tasks it records. Adding a task means adding a `Task` here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from fleet.behaviours import Hand, Script, give, go_home, pick, place, push, take
from fleet.kinematics import Floats
from fleet.robots import Robot
from fleet.scene import PLATE_HEIGHT_M, Place, Scene, lay_out
from fleet.world import World

_MEETING = np.array([0.01, 0.0, 0.23])
_ON_PLATE_SHARE = 0.75
_PUSH_MIN_M = 0.15
_PUSH_CLEAR_M = 0.075


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """One instruction in one scene: which arms bring which blocks onto what."""

    instruction: str
    scene: Scene
    arms: tuple[int, ...]
    """The arms that work, in the order they start."""
    moves: Mapping[int, "Target"]
    """Where each instructed block belongs."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A plate or a block on which something should come to rest."""

    plate: int | None = None
    block: int | None = None


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
    near_m = bodies.plate_radius_m * _ON_PLATE_SHARE if target.plate is not None else bodies.size_m / 2
    return not bodies.grips[block] and aside_m < near_m and abs(position[2] - resting_m[2]) < 0.004


def spot(world: World, target: Target) -> Floats:
    """Where a block's centre is when it rests in the middle of a target."""
    bodies = world.bodies
    if target.plate is not None:
        at_plate: Floats = bodies.plate_P3[target.plate] + (0, 0, PLATE_HEIGHT_M + bodies.size_m / 2)
        return at_plate
    assert target.block is not None
    on_block: Floats = bodies.position_B3[target.block] + (0, 0, bodies.size_m)
    return on_block


def _one_arm_scene(robot: Robot, rng: np.random.Generator, *, arm: int, num_blocks: int = 3) -> Scene:
    """Two plates and some blocks; the first plate and two blocks lie within the arm's own region."""
    own, other = robot.mounts[arm].region, robot.mounts[-1 - arm].region
    places = [Place(is_plate=True, region=own), Place(is_plate=True, region=other)]
    places += [Place(is_plate=False, region=own if k < 2 else other) for k in range(num_blocks)]
    return lay_out(robot, places, rng)


def _put(robot: Robot, rng: np.random.Generator) -> Job:
    arm = int(rng.integers(len(robot.mounts)))
    scene = _one_arm_scene(robot, rng, arm=arm)
    told = f"put the {scene.block_colours[0]} block on the {scene.plate_colours[0]} plate"
    if len(robot.mounts) > 1:
        told += f" with the {robot.mounts[arm].side} arm"
    return Job(instruction=told, scene=scene, arms=(arm,), moves={0: Target(plate=0)})


def _stack(robot: Robot, rng: np.random.Generator) -> Job:
    arm = int(rng.integers(len(robot.mounts)))
    scene = _one_arm_scene(robot, rng, arm=arm)
    told = f"stack the {scene.block_colours[0]} block on the {scene.block_colours[1]} block"
    return Job(instruction=told, scene=scene, arms=(arm,), moves={0: Target(block=1)})


def _push_setup(robot: Robot, rng: np.random.Generator) -> Job:
    """As for putting, with a clear straight way for the block and room for the hand behind it."""
    while True:
        job = _put(robot, rng)
        scene, region = job.scene, robot.mounts[job.arms[0]].region
        start, end = scene.block_xy_B2[0], scene.plate_xy_P2[0]
        way = end - start
        length = float(np.hypot(*way))
        if length < _PUSH_MIN_M:
            continue
        ahead = way / length
        behind = start - ahead * 0.09
        has_room = region.x[0] - 0.03 < behind[0] < region.x[1] + 0.03 and abs(behind[1]) < max(region.y) + 0.03
        offset = scene.block_xy_B2[1:] - start
        along = np.clip(offset @ ahead, -0.12, length)
        if has_room and np.all(np.linalg.norm(offset - along[:, None] * ahead, axis=1) > _PUSH_CLEAR_M):
            break
    told = f"push the {scene.block_colours[0]} block to the {scene.plate_colours[0]} plate"
    return Job(instruction=told, scene=scene, arms=job.arms, moves=job.moves)


def _hand_over(robot: Robot, rng: np.random.Generator) -> Job:
    giver = int(rng.integers(2))
    own, other = robot.mounts[giver].region, robot.mounts[1 - giver].region
    regions = [(True, other), (True, own), (False, own), (False, own), (False, other)]
    scene = lay_out(robot, [Place(is_plate=is_plate, region=region) for is_plate, region in regions], rng)
    told = f"hand the {scene.block_colours[0]} block over and put it on the {scene.plate_colours[0]} plate"
    return Job(instruction=told, scene=scene, arms=(giver, 1 - giver), moves={0: Target(plate=0)})


def _sort(robot: Robot, rng: np.random.Generator) -> Job:
    first = int(rng.integers(2))
    one, two = robot.mounts[first].region, robot.mounts[1 - first].region
    regions = [(True, one), (True, two), (False, one), (False, two), (False, one)]
    scene = lay_out(robot, [Place(is_plate=is_plate, region=region) for is_plate, region in regions], rng)
    told = " and ".join(f"the {scene.block_colours[k]} block on the {scene.plate_colours[k]} plate" for k in range(2))
    moves = {0: Target(plate=0), 1: Target(plate=1)}
    return Job(instruction=f"put {told}", scene=scene, arms=(first, 1 - first), moves=moves)


def _pick_and_place(world: World, job: Job) -> dict[int, Script]:
    """Each working arm brings its own block to its own target."""

    def work(hand: Hand, block: int, target: Target) -> Script:
        yield from pick(hand, block)
        yield from place(hand, block, lambda: spot(world, target))
        yield from go_home(hand)

    pairs = zip(job.arms, job.moves.items(), strict=True)
    return {arm: work(Hand(world, arm), block, target) for arm, (block, target) in pairs}


def _shove(world: World, job: Job) -> dict[int, Script]:
    def work(hand: Hand) -> Script:
        yield from push(hand, 0, lambda: spot(world, job.moves[0]))
        yield from go_home(hand)

    return {job.arms[0]: work(Hand(world, job.arms[0]))}


def _pass_on(world: World, job: Job) -> dict[int, Script]:
    giver, taker = (Hand(world, arm) for arm in job.arms)

    def giving() -> Script:
        yield from pick(giver, 0)
        yield from give(giver, 0, meeting=_MEETING, taker=taker)

    def taking() -> Script:
        yield from take(taker, 0, meeting=_MEETING, giver=giver)
        yield from place(taker, 0, lambda: spot(world, job.moves[0]))
        yield from go_home(taker)

    return {giver.arm: giving(), taker.arm: taking()}


TASKS: Mapping[str, Task] = MappingProxyType(
    {
        task.name: task
        for task in (
            Task(name="put block on plate", setup=_put, scripts=_pick_and_place),
            Task(name="push block to plate", setup=_push_setup, scripts=_shove),
            Task(name="stack blocks", setup=_stack, scripts=_pick_and_place),
            Task(name="put block on plate with an arm", setup=_put, scripts=_pick_and_place),
            Task(name="hand block over", setup=_hand_over, scripts=_pass_on),
            Task(name="sort blocks with both arms", setup=_sort, scripts=_pick_and_place),
        )
    }
)
