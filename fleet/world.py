"""The simulated tabletop: commands go in, the reached state and pictures come out, one control step at a time.

`World.step` is the only way time passes; scripts, recorders and closed-loop policies all use it alike.
Legend: T steps, D state width, B blocks, P plates, A arms.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleet import driving
from fleet.kinematics import Floats, forward, inverse_pose, jacobian, link_frames
from fleet.physics import Bodies, Hand
from fleet.renderer import Renderer
from fleet.robot import Robot
from fleet.scene import Scene
from fleet.trajectory import Trajectory

_GRIPPER_SPEED_1_S = 3.0


@dataclass(frozen=True, kw_only=True)
class Nudge:
    """A disturbance of one step: moves a tool, a block or a plate by so many metres."""

    arm: int | None = None
    block: int | None = None
    plate: int | None = None
    delta_m: tuple[float, float, float] = (0.0, 0.0, 0.0)


class World:
    """One robot at one scene, starting at home with open grippers, its base where the scene says."""

    def __init__(self, robot: Robot, scene: Scene, *, image_size: int = 224) -> None:
        self.robot = robot
        self.scene = scene
        self.image_size = image_size
        self.bodies = Bodies(scene)
        self._state_D: Floats = np.concatenate([np.array([*mount.home_J, 0.0]) for mount in robot.mounts])
        self._servo = 1.0 - float(np.exp(-1.0 / (robot.rate_hz * robot.servo_lag_s)))
        self._place_3: Floats = np.array(scene.start, float)
        self._twist_3: Floats = np.zeros(3)
        self._renderers: dict[str, Renderer] = {}
        self._tools = self._find_tools()

    @property
    def dt_s(self) -> float:
        """Duration of a control step."""
        return 1.0 / self.robot.rate_hz

    @property
    def servo_share(self) -> float:
        """Share of a joint's error that the servo closes in one step."""
        return self._servo

    def state(self) -> Floats:
        """The reached state (D): per arm the joints (rad), then the gripper (0 open, 1 closed)."""
        return self._state_D.copy()

    def place(self) -> Floats:
        """Where the base is: x, y (m) and yaw (rad) relative to its place at the table."""
        return self._place_3.copy()

    def twist(self) -> Floats:
        """The base's reached velocity in its own frame: x, y (m/s) and yaw (rad/s)."""
        return self._twist_3.copy()

    def mount_frame(self, arm: int) -> Floats:
        """The pose of an arm's base in the world (4x4, m)."""
        mounted_44, base = self.robot.mounts[arm].base_44, self.robot.base
        if base is None:
            return mounted_44
        moved_44: Floats = driving.robot_frames(base, self._place_3[None])[0] @ mounted_44
        return moved_44

    def tool(self, arm: int) -> Floats:
        """An arm's tool pose in the world (4x4, m)."""
        return self._tools[arm].copy()

    def step(self, command: npt.ArrayLike) -> None:
        """Track a command (laid out as the action) for one control step and let the blocks answer.

        Joint targets are absolute (rad) and clipped to the limits; gripper targets are clipped to [0, 1]; a base's
        velocities to what it can do.

        Raises:
            ValueError: the command has another width than the action, or is not finite.
        """
        command_D = np.asarray(command, float)
        width = len(self.robot.action_names)
        if command_D.shape != (width,) or not np.isfinite(command_D).all():
            raise ValueError(f"{self.robot.name} takes a finite command of shape {(width,)}, found {command_D!r}")
        self._drive(command_D[len(self._state_D) :])
        for arm, mount in enumerate(self.robot.mounts):
            joints, gripper = self.robot.joints_of(arm), self.robot.gripper_of(arm)
            low_J, high_J = mount.arm.chain.limit_J2.T
            error_J = np.clip(command_D[joints], low_J, high_J) - self._state_D[joints]
            most = mount.arm.max_joint_speed_rad_s * self.dt_s
            self._state_D[joints] += np.clip(self._servo * error_J, -most, most)
            closing = np.clip(command_D[gripper], 0.0, 1.0) - self._state_D[gripper]
            most = _GRIPPER_SPEED_1_S * self.dt_s
            self._state_D[gripper] += np.clip(closing, -most, most)
            self._stop_at_block(arm, gripper)
        self._settle(self.dt_s)

    def disturb(self, nudges: Sequence[Nudge]) -> None:
        """Displace the reached arm, a loose block or a plate; held blocks follow their hand."""
        if not nudges:
            return
        for nudge in nudges:
            delta = np.array(nudge.delta_m)
            if nudge.arm is not None:
                self._push_tool(nudge.arm, delta)
            if nudge.block is not None and not self.bodies.grips[nudge.block]:
                self.bodies.position_B3[nudge.block] += delta
            if nudge.plate is not None:
                self._slide_plate(nudge.plate, delta)
        self._settle(0.0)

    def observe(self, camera: str) -> npt.NDArray[np.uint8]:
        """What a camera sees now: RGB, (image_size, image_size, 3)."""
        if camera not in self._renderers:
            self._renderers[camera] = Renderer(
                self.robot, self.scene, camera=camera, height=self.image_size, width=self.image_size
            )
        return next(self._renderers[camera].frames(self.snapshot()))

    def snapshot(self) -> Trajectory:
        """All there is to draw, as a trajectory of one step."""
        return Trajectory(
            state_TD=self._state_D[None].copy(),
            block_position_TB3=self.bodies.position_B3[None].copy(),
            block_rotation_TB33=self.bodies.rotation_B33[None].copy(),
            plate_position_TP3=self.bodies.plate_P3[None].copy(),
            place_T3=self._place_3[None].copy(),
        )

    def _drive(self, velocity_M: Floats) -> None:
        """Let the base follow its commanded velocities for one control step."""
        base = self.robot.base
        if base is None:
            return
        most_3 = np.array([base.speed_m_s, base.speed_m_s, base.turn_rad_s])
        wanted_3 = np.zeros(3)
        wanted_3[list(base.twist)] = velocity_M
        self._twist_3 += self._servo * (np.clip(wanted_3, -most_3, most_3) - self._twist_3)
        self._place_3 = driving.moved(self._place_3, self._twist_3, self.dt_s)

    def _stop_at_block(self, arm: int, gripper: int) -> None:
        """Pads cannot close further than the block between them."""
        if self.bodies.held_by(arm) is not None:
            model = self.robot.mounts[arm].arm.gripper
            self._state_D[gripper] = min(self._state_D[gripper], 1.0 - self.bodies.size_m / model.opening_m)

    def _settle(self, dt_s: float) -> None:
        """Let the blocks answer to where the hands are now, and fall for so long."""
        self._tools = self._find_tools()
        hands = []
        for arm, mount in enumerate(self.robot.mounts):
            model = mount.arm.gripper
            width = model.opening_m * (1.0 - float(self._state_D[self.robot.gripper_of(arm)]))
            hands.append(Hand(tool_44=self._tools[arm], width_m=width, model=model))
        self.bodies.step(hands, dt_s)
        for arm in range(len(hands)):
            self._stop_at_block(arm, self.robot.gripper_of(arm))

    def _find_tools(self) -> list[Floats]:
        return [
            self.mount_frame(arm) @ forward(mount.arm.chain, self._state_D[self.robot.joints_of(arm)][None])[0]
            for arm, mount in enumerate(self.robot.mounts)
        ]

    def _push_tool(self, arm: int, delta: Floats) -> None:
        """Move the joints so that the tool shifts by a small world displacement without turning."""
        mount, joints, base_44 = self.robot.mounts[arm], self.robot.joints_of(arm), self.mount_frame(arm)
        frames = link_frames(mount.arm.chain, self._state_D[joints][None])[0]
        tool_44 = inverse_pose(base_44) @ self._tools[arm]
        slope = jacobian(mount.arm.chain, frames, tool_44[:3, 3])
        twist = np.concatenate([base_44[:3, :3].T @ delta, np.zeros(3)])
        step_J = slope.T @ np.linalg.solve(slope @ slope.T + 1e-4 * np.eye(6), twist)
        self._state_D[joints] = np.clip(self._state_D[joints] + step_J, *mount.arm.chain.limit_J2.T)

    def _slide_plate(self, plate: int, delta: Floats) -> None:
        """A plate takes along what rests on it."""
        for block, grip in enumerate(self.bodies.grips):
            offset = self.bodies.position_B3[block, :2] - self.bodies.plate_P3[plate, :2]
            if not grip and np.hypot(*offset) < self.bodies.plate_radius_m:
                self.bodies.position_B3[block, :2] += delta[:2]
        self.bodies.plate_P3[plate, :2] += delta[:2]
