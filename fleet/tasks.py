"""The tasks: what is laid out, what the instruction says and how scripts carry it out.

A robot's table names the tasks it records. Adding a task means adding a `Task` here.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from fleet.behaviours import Hand, Script, await_place, drive, give, go_home, pick, place, push, take
from fleet.driving import WORK, robot_frames
from fleet.job import Job, Target, Task, spot
from fleet.kinematics import Floats
from fleet.robot import Robot
from fleet.scene import PLATE_HEIGHT_M, Place, Scene, lay_out
from fleet.world import World

_PUSH_MIN_M = 0.15
_PUSH_CLEAR_M = 0.075
_BESIDE_SIZES = 2.2
_SPOT_CLEAR_M = 0.02
_PLATE_PAIR_SIZES = 0.68
_START_ASIDE_M = 0.1
_START_YAW_RAD = 0.2


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
        is_inside = [
            low - 0.03 < at < high + 0.03 for at, (low, high) in zip(behind, (region.x, region.y), strict=True)
        ]
        has_room = all(is_inside)
        offset = scene.block_xy_B2[1:] - start
        along = np.clip(offset @ ahead, -0.12, length)
        if has_room and np.all(np.linalg.norm(offset - along[:, None] * ahead, axis=1) > _PUSH_CLEAR_M):
            break
    told = f"push the {scene.block_colours[0]} block to the {scene.plate_colours[0]} plate"
    return Job(instruction=told, scene=scene, arms=job.arms, moves=job.moves)


def _by_arm(robot: Robot, arm: int) -> str:
    """What an instruction adds where there are two arms to choose from."""
    return f" with the {robot.mounts[arm].side} arm" if len(robot.mounts) > 1 else ""


def _beside(told: str, way: tuple[float, float]) -> Callable[[Robot, np.random.Generator], Job]:
    """Put a block beside another one, at a free spot; `way` is the direction in the world."""

    def setup(robot: Robot, rng: np.random.Generator) -> Job:
        x, y = (_BESIDE_SIZES * robot.block_size_m * axis for axis in way)
        arm = int(rng.integers(len(robot.mounts)))
        scene = _one_arm_scene(robot, rng, arm=arm)
        while not _is_free(robot, scene, scene.block_xy_B2[1] + (x, y), arm=arm):
            scene = _one_arm_scene(robot, rng, arm=arm)
        first, second = scene.block_colours[:2]
        instruction = f"put the {first} block {told} the {second} block{_by_arm(robot, arm)}"
        return Job(
            instruction=instruction, scene=scene, arms=(arm,), moves={0: Target(block=1, aside_m=(float(x), float(y)))}
        )

    return setup


def _is_free(robot: Robot, scene: Scene, spot_xy: Floats, *, arm: int) -> bool:
    """Whether a spot is within an arm's region and no object but the block to be moved lies near it."""
    region = robot.mounts[arm].region
    radius = 0.7 * scene.block_size_m
    is_inside = region.x[0] <= spot_xy[0] <= region.x[1] and region.y[0] <= spot_xy[1] <= region.y[1]
    blocks_m = np.hypot(*(scene.block_xy_B2[1:] - spot_xy).T) - radius
    plates_m = np.hypot(*(scene.plate_xy_P2 - spot_xy).T) - scene.plate_radius_m
    return bool(is_inside and min(blocks_m.min(), plates_m.min()) > radius + _SPOT_CLEAR_M)


def _from_plate(robot: Robot, rng: np.random.Generator) -> Job:
    """A block lies on one plate and belongs on the other; both are within the arm's own region."""
    arm = int(rng.integers(len(robot.mounts)))
    own, other = robot.mounts[arm].region, robot.mounts[-1 - arm].region
    places = [Place(is_plate=k < 2, region=own if k < 3 else other) for k in range(5)]
    scene = _raised(lay_out(robot, places, rng), onto_plate=1)
    colour, (to, away) = scene.block_colours[0], scene.plate_colours
    told = f"move the {colour} block from the {away} plate to the {to} plate{_by_arm(robot, arm)}"
    return Job(instruction=told, scene=scene, arms=(arm,), moves={0: Target(plate=0)})


def _from_block(robot: Robot, rng: np.random.Generator) -> Job:
    """A block lies on another one and belongs on a plate."""
    arm = int(rng.integers(len(robot.mounts)))
    scene = _raised(_one_arm_scene(robot, rng, arm=arm), onto_block=1)
    first, second = scene.block_colours[:2]
    told = f"take the {first} block off the {second} block and put it on the {scene.plate_colours[0]} plate"
    return Job(instruction=told + _by_arm(robot, arm), scene=scene, arms=(arm,), moves={0: Target(plate=0)})


def _raised(scene: Scene, *, onto_plate: int | None = None, onto_block: int | None = None) -> Scene:
    """The scene with its first block on a plate or on another block."""
    under = scene.plate_xy_P2[onto_plate] if onto_plate is not None else scene.block_xy_B2[onto_block]
    height_m = PLATE_HEIGHT_M if onto_plate is not None else scene.block_size_m
    xy_B2 = scene.block_xy_B2.copy()
    xy_B2[0] = under
    return replace(scene, block_xy_B2=xy_B2, first_block_on_m=height_m)


def _two_on_plate(robot: Robot, rng: np.random.Generator) -> Job:
    arm = int(rng.integers(len(robot.mounts)))
    scene = _one_arm_scene(robot, rng, arm=arm)
    heading = robot.mounts[arm].heading_rad
    x, y = np.array([np.cos(heading), np.sin(heading)]) * _PLATE_PAIR_SIZES * scene.block_size_m
    first, second = scene.block_colours[:2]
    told = f"put the {first} block and the {second} block on the {scene.plate_colours[0]} plate{_by_arm(robot, arm)}"
    # The farther one first, so that the hand does not reach over what it has put down.
    moves = {0: Target(plate=0, aside_m=(float(x), float(y))), 1: Target(plate=0, aside_m=(float(-x), float(-y)))}
    return Job(instruction=told, scene=scene, arms=(arm,), moves=moves)


def _tower(robot: Robot, rng: np.random.Generator) -> Job:
    arm = int(rng.integers(len(robot.mounts)))
    own, other = robot.mounts[arm].region, robot.mounts[-1 - arm].region
    places = [Place(is_plate=k > 2, region=own if k < 3 else other) for k in range(4)]
    scene = lay_out(robot, places, rng)
    middle, low, top = scene.block_colours
    told = f"build a tower of the {low}, the {middle} and the {top} block, from below{_by_arm(robot, arm)}"
    return Job(instruction=told, scene=scene, arms=(arm,), moves={0: Target(block=1), 2: Target(block=0)})


def _hand_over(robot: Robot, rng: np.random.Generator) -> Job:
    giver = int(rng.integers(2))
    own, other = robot.mounts[giver].region, robot.mounts[1 - giver].region
    regions = [(True, other), (True, own), (False, own), (False, own), (False, other)]
    scene = lay_out(robot, [Place(is_plate=is_plate, region=region) for is_plate, region in regions], rng)
    told = f"hand the {scene.block_colours[0]} block over and put it on the {scene.plate_colours[0]} plate"
    return Job(instruction=told, scene=scene, arms=(giver, 1 - giver), moves={0: Target(plate=0)})


def _hand_over_and_stack(robot: Robot, rng: np.random.Generator) -> Job:
    giver = int(rng.integers(2))
    own, other = robot.mounts[giver].region, robot.mounts[1 - giver].region
    regions = [(True, other), (True, own), (False, own), (False, other), (False, own)]
    scene = lay_out(robot, [Place(is_plate=is_plate, region=region) for is_plate, region in regions], rng)
    told = f"hand the {scene.block_colours[0]} block over and stack it on the {scene.block_colours[1]} block"
    return Job(instruction=told, scene=scene, arms=(giver, 1 - giver), moves={0: Target(block=1)})


def _sort(robot: Robot, rng: np.random.Generator) -> Job:
    first = int(rng.integers(2))
    one, two = robot.mounts[first].region, robot.mounts[1 - first].region
    regions = [(True, one), (True, two), (False, one), (False, two), (False, one)]
    scene = lay_out(robot, [Place(is_plate=is_plate, region=region) for is_plate, region in regions], rng)
    told = " and ".join(f"the {scene.block_colours[k]} block on the {scene.plate_colours[k]} plate" for k in range(2))
    moves = {0: Target(plate=0), 1: Target(plate=1)}
    return Job(instruction=f"put {told}", scene=scene, arms=(first, 1 - first), moves=moves)


def _carry_setup(robot: Robot, rng: np.random.Generator) -> Job:
    """A block within reach, its plate where the robot has to drive to."""
    assert robot.base is not None, f"{robot.name} has no base to carry things with"
    arm, station = int(rng.integers(len(robot.mounts))), robot.base.stations[int(rng.integers(2))]
    moved_44 = robot_frames(robot.base, np.array([station]))[0]
    while True:
        scene = _one_arm_scene(robot, rng, arm=arm)
        far_xy = (moved_44 @ (*scene.plate_xy_P2[0], 0.0, 1.0))[:2]
        near_B = np.hypot(*(scene.block_xy_B2 - far_xy).T) < 0.7 * scene.block_size_m + scene.plate_radius_m
        if not near_B.any() and np.hypot(*(scene.plate_xy_P2[1] - far_xy)) > 2 * scene.plate_radius_m:
            break
    scene = _away(robot, replace(scene, plate_xy_P2=np.array([far_xy, scene.plate_xy_P2[1]])), rng)
    told = f"carry the {scene.block_colours[0]} block to the {scene.plate_colours[0]} plate{_by_arm(robot, arm)}"
    return Job(
        instruction=told, scene=_away(robot, scene, rng), arms=(arm,), moves={0: Target(plate=0)}, station=station
    )


def _away(robot: Robot, scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene with the base at some distance from the table, a little aside and turned."""
    assert robot.base is not None, f"{robot.name} has no base to drive up with"
    back, aside = rng.uniform(*robot.base.start_back_m), rng.uniform(-_START_ASIDE_M, _START_ASIDE_M)
    return replace(scene, start=(-float(back), float(aside), float(rng.uniform(-_START_YAW_RAD, _START_YAW_RAD))))


def _pick_and_place(world: World, job: Job) -> dict[int, Script]:
    """Each working arm brings its own block to its own target."""

    def work(hand: Hand, block: int, target: Target) -> Script:
        yield from pick(hand, block)
        yield from place(hand, block, lambda: spot(world, target))
        yield from go_home(hand)

    pairs = zip(job.arms, job.moves.items(), strict=True)
    return {arm: work(Hand(world, arm), block, target) for arm, (block, target) in pairs}


def _one_after_another(world: World, job: Job) -> dict[int, Script]:
    """One arm brings each block to its target, in the order of the moves."""
    hand = Hand(world, job.arms[0])

    def work() -> Script:
        for block, target in job.moves.items():
            yield from pick(hand, block)
            yield from place(hand, block, lambda target=target: spot(world, target))  # type: ignore[misc]
        yield from go_home(hand)

    return {hand.arm: work()}


def _carry(world: World, job: Job) -> dict[int, Script]:
    """Drive up, pick the block, drive to the plate, put it down."""
    hand = Hand(world, job.arms[0])

    def work() -> Script:
        yield from drive(hand, WORK)
        yield from pick(hand, 0)
        yield from drive(hand, job.station)
        yield from place(hand, 0, lambda: spot(world, job.moves[0]))
        yield from go_home(hand)

    return {hand.arm: work()}


def _shove(world: World, job: Job) -> dict[int, Script]:
    def work(hand: Hand) -> Script:
        yield from push(hand, 0, lambda: spot(world, job.moves[0]))
        yield from go_home(hand)

    return {job.arms[0]: work(Hand(world, job.arms[0]))}


def _pass_on(world: World, job: Job) -> dict[int, Script]:
    giver, taker = (Hand(world, arm) for arm in job.arms)
    meeting = np.array(world.robot.meeting)

    def giving() -> Script:
        yield from pick(giver, 0)
        yield from give(giver, 0, meeting=meeting, taker=taker)

    def taking() -> Script:
        yield from take(taker, 0, meeting=meeting, giver=giver)
        yield from place(taker, 0, lambda: spot(world, job.moves[0]))
        yield from go_home(taker)

    return {giver.arm: giving(), taker.arm: taking()}


def _driving_up(task: Task) -> Task:
    """The same task, begun away from the table: the first working arm drives, the others wait."""

    def setup(robot: Robot, rng: np.random.Generator) -> Job:
        job = task.setup(robot, rng)
        told = f"drive up to the table and {job.instruction}"
        return replace(job, instruction=told, scene=_away(robot, job.scene, rng))

    def begun(hand: Hand, script: Script, *, is_driver: bool) -> Script:
        yield from (drive if is_driver else await_place)(hand, WORK)
        yield from script

    def scripts(world: World, job: Job) -> dict[int, Script]:
        return {
            arm: begun(Hand(world, arm), script, is_driver=arm == job.arms[0])
            for arm, script in task.scripts(world, job).items()
        }

    return Task(name=f"drive up and {task.name}", setup=setup, scripts=scripts)


def _by_name(tasks: Iterable[Task]) -> Mapping[str, Task]:
    return MappingProxyType({task.name: task for task in tasks})


_AT_TABLE = (
    Task(name="put block on plate", setup=_put, scripts=_pick_and_place),
    Task(name="push block to plate", setup=_push_setup, scripts=_shove),
    Task(name="stack blocks", setup=_stack, scripts=_pick_and_place),
    Task(name="put block left of block", setup=_beside("left of", (0.0, 1.0)), scripts=_pick_and_place),
    Task(name="put block right of block", setup=_beside("right of", (0.0, -1.0)), scripts=_pick_and_place),
    Task(name="put block behind block", setup=_beside("behind", (1.0, 0.0)), scripts=_pick_and_place),
    Task(name="put block in front of block", setup=_beside("in front of", (-1.0, 0.0)), scripts=_pick_and_place),
    Task(name="move block to other plate", setup=_from_plate, scripts=_pick_and_place),
    Task(name="unstack blocks", setup=_from_block, scripts=_pick_and_place),
    Task(name="put two blocks on plate", setup=_two_on_plate, scripts=_one_after_another),
    Task(name="build tower", setup=_tower, scripts=_one_after_another),
    Task(name="put block on plate with an arm", setup=_put, scripts=_pick_and_place),
    Task(name="hand block over", setup=_hand_over, scripts=_pass_on),
    Task(name="hand block over and stack it", setup=_hand_over_and_stack, scripts=_pass_on),
    Task(name="sort blocks with both arms", setup=_sort, scripts=_pick_and_place),
)

TASKS: Mapping[str, Task] = _by_name(
    (
        *_AT_TABLE,
        *map(_driving_up, _AT_TABLE),
        Task(name="carry block to plate", setup=_carry_setup, scripts=_carry),
    )
)
"""Every task by name."""
