"""One demo from start to rest: scripts drive the world and everything a log needs is kept.

Episode `i` of a robot depends on (robot, seed, i) alone. Legend: T steps, D state width.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import repeat

import numpy as np
import numpy.typing as npt

from fleet import disturb
from fleet.behaviours import Drive, Hand, Script
from fleet.driving import steer
from fleet.job import Job, is_done
from fleet.kinematics import Floats
from fleet.robot import Robot
from fleet.scene import Scene
from fleet.tasks import TASKS
from fleet.trajectory import Trajectory, join
from fleet.world import World

REST_S = 0.5
_STILL_RAD = 5e-4
_STIFFNESS_NM_RAD = 40.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Episode:
    """A simulated demo: what a log says of it, and what really happened.

    The numbers, times and pictures of a log are those a robot's devices give; a planted fault changes them alone.
    """

    robot: Robot
    scene: Scene
    index: int
    seed: int
    task: str
    instruction: str
    success: bool
    is_perturbed: bool
    trajectory: Trajectory
    """What really was before each command: reached states and where the objects were."""
    command_TD: Floats
    """What really was commanded, laid out as the action."""
    true_T: Floats
    """When each step really was: seconds from the first."""
    time_T: Floats
    """The same by the log's clock."""
    picture_T: Mapping[str, Floats]
    """Per camera, the step (a fraction between two) that its picture of each step shows."""
    radian: float = 1.0
    """What a log writes for an angle of one radian."""
    state_TD: npt.NDArray[np.float32]
    """Reached joints (rad) and grippers (0 open, 1 closed) before each command."""
    action_TD: npt.NDArray[np.float32]
    """Commanded joint targets (rad, absolute) and grippers (0 open, 1 closed), then the base's velocities."""
    velocity_TD: npt.NDArray[np.float32]
    """Rate of change of the reached state (rad/s; grippers 1/s)."""
    effort_TD: npt.NDArray[np.float32]
    """Servo torque by a plain spring law: stiffness times command minus reached (Nm; grippers the same, 1)."""
    drawn: Mapping[str, npt.NDArray[np.uint8]] = field(default_factory=dict)
    """Pictures that are drawn already: per camera RGB, (T, S, S, 3)."""

    def __len__(self) -> int:
        return len(self.action_TD)


def random_of(robot: Robot, seed: int, index: int) -> np.random.Generator:
    """The source of everything random in one episode."""
    return np.random.default_rng([zlib.crc32(robot.name.encode()), seed, index])


def job_of(robot: Robot, rng: np.random.Generator, *, index: int) -> tuple[str, Job]:
    """The task an episode is about, and its scene and instruction."""
    task = robot.tasks[index % len(robot.tasks)]
    return task, TASKS[task].setup(robot, rng)


def simulate(robot: Robot, *, seed: int, index: int) -> Episode:
    """Act one episode out, until all is still and has rested; every second one is perturbed on the way."""
    rng = random_of(robot, seed, index)
    task, job = job_of(robot, rng, index=index)
    world = World(robot, job.scene)
    player = _Player(world, TASKS[task].scripts(world, job))
    is_perturbed = _is_perturbed(robot, index)
    nudges = disturb.during(world, job, rng) if is_perturbed else repeat(())
    still_steps = 0
    while still_steps < REST_S * robot.rate_hz and len(player.actions) < robot.longest_s * robot.rate_hz:
        player.step()
        world.disturb(next(nudges))
        still_steps = still_steps + 1 if player.is_over and player.is_still else 0
    trajectory = join(player.snapshots)
    lag_TD = np.array(player.actions)[:, : len(robot.names)] - trajectory.state_TD
    return Episode(
        robot=robot,
        scene=job.scene,
        index=index,
        seed=seed,
        task=task,
        instruction=job.instruction,
        success=is_done(world, job),
        is_perturbed=is_perturbed,
        trajectory=trajectory,
        command_TD=np.array(player.actions),
        true_T=np.arange(len(trajectory)) / robot.rate_hz,
        time_T=np.arange(len(trajectory)) / robot.rate_hz,
        picture_T={camera.name: np.arange(len(trajectory), dtype=float) for camera in robot.cameras},
        state_TD=trajectory.state_TD.astype(np.float32),
        action_TD=np.array(player.actions, np.float32),
        velocity_TD=_velocity(trajectory.state_TD, robot.rate_hz),
        effort_TD=(_STIFFNESS_NM_RAD * lag_TD).astype(np.float32),
    )


def _is_perturbed(robot: Robot, index: int) -> bool:
    """Every second episode; an even number of tasks would meet it in the same ones, so each round starts anew."""
    rounds = index // len(robot.tasks) if len(robot.tasks) % 2 == 0 else 0
    return (index + rounds) % 2 == 1


class _Player:
    """Runs one script per working arm against a world and keeps what was seen and commanded."""

    def __init__(self, world: World, scripts: dict[int, Script]) -> None:
        self._world = world
        self._scripts = scripts
        self._hands = {arm: Hand(world, arm) for arm in scripts}
        self._state_width = len(world.state())
        self._command_D: Floats = np.append(world.state(), np.zeros(len(world.robot.action_names) - self._state_width))
        self.actions: list[Floats] = []
        self.snapshots: list[Trajectory] = []

    @property
    def is_over(self) -> bool:
        """Whether every script has finished."""
        return not self._scripts

    @property
    def is_still(self) -> bool:
        """Whether the arms and grippers have reached what was commanded last, and the base stands."""
        left_over_D = self._command_D[: self._state_width] - self._world.state()
        return bool(np.abs(left_over_D).max() < _STILL_RAD and np.abs(self._world.twist()).max() < _STILL_RAD)

    def step(self) -> None:
        """Ask every script for its next goal, command it, and let time pass."""
        robot = self._world.robot
        self._command_D[self._state_width :] = 0.0
        for arm, script in list(self._scripts.items()):
            try:
                goal = next(script)
            except StopIteration:
                del self._scripts[arm]
                continue
            if isinstance(goal, Drive):
                assert robot.base is not None, f"{robot.name} has no base to drive"
                twist_3 = steer(robot.base, self._world.place(), goal.place)
                self._command_D[self._state_width :] = twist_3[list(robot.base.twist)]
            elif goal is not None:
                joints = robot.joints_of(arm)
                self._command_D[joints.start : joints.stop + 1] = self._hands[arm].command(goal)
        self.snapshots.append(self._world.snapshot())
        self.actions.append(self._command_D.copy())
        self._world.step(self._command_D)


def _velocity(state_TD: Floats, rate_hz: int) -> npt.NDArray[np.float32]:
    """Backward differences; zero at the first step."""
    return (np.diff(state_TD, axis=0, prepend=state_TD[:1]) * rate_hz).astype(np.float32)
