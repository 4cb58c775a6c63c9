"""What a robot of the fleet is: which arms stand where, what the cameras see, how fast it runs, how it logs.

`robots.py` holds the tables: a later robot is another table, never a branch elsewhere.
World frame: the table top is z = 0, x points away from the operator, y to the left; metres and radians. A robot with
a base is described as it stands at the table, ready to work; driving moves all of it but the table.
"""

from dataclasses import dataclass
from typing import TypeAlias

from fleet.arms import Arm, Point
from fleet.kinematics import Floats


@dataclass(frozen=True, kw_only=True)
class Region:
    """A rectangle of the table where objects are laid out (m)."""

    x: tuple[float, float]
    y: tuple[float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Mount:
    """An arm at its place on the table."""

    side: str
    """`left` or `right`; a single arm is `left`."""
    arm: Arm
    base_44: Floats
    """Pose of the arm's base in the world."""
    heading_rad: float
    """Direction the arm faces; fingers prefer to open across it."""
    home_J: tuple[float, ...]
    """Joint angles at the start and end of an episode."""
    region: Region


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole camera, fixed to the robot's frame or to an arm's tool."""

    name: str
    position: Point
    target: Point
    up: Point
    fov_deg: float
    """Vertical field of view."""
    mount: str | None = None
    """Side of the arm whose tool carries it; then the points are in the tool frame."""


Place2: TypeAlias = tuple[float, float, float]
"""x and y (m) and yaw (rad) on the floor."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """A driven base: what of its velocity is commanded; where it is, is not measured."""

    names: tuple[str, ...]
    """Of the commanded velocities (m/s, m/s, rad/s)."""
    twist: tuple[int, ...]
    """Which of x (ahead), y (left) and yaw each of them is; a base without y cannot move sideways."""
    centre_x_m: float
    """Where it turns about, on the robot's x axis."""
    speed_m_s: float
    turn_rad_s: float
    start_back_m: tuple[float, float]
    """How far from the table an episode starts, from and to."""
    stations: tuple[Place2, ...]
    """Other places to work at, relative to the first, about the base's centre."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Robot:
    """One embodiment.

    Its state is, per arm, the joints (rad) and the gripper (0 open, 1 closed); its action the same, then the base's
    velocities.
    """

    name: str
    mounts: tuple[Mount, ...]
    cameras: tuple[Camera, ...]
    rate_hz: int
    servo_lag_s: float
    """Time constant of the joints' first-order servo."""
    tool_speed_m_s: float
    """How fast its scripted behaviours move the tool."""
    block_size_m: float
    plate_radius_m: float
    tasks: tuple[str, ...]
    """Names in `tasks.TASKS`, taken in turn by successive episodes."""
    log_formats: tuple[str, ...]
    """Names in `record.FORMATS` that it can be recorded in; the first is the usual one."""
    base: Base | None = None
    meeting: Point = (0.01, 0.0, 0.23)
    """Where two hands meet to hand a thing over."""
    longest_s: float = 14.0
    """An episode is cut off, as failed, when it lasts longer."""

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each dimension of the state."""
        return tuple(
            f"{mount.side}_{name}" if len(self.mounts) > 1 else name
            for mount in self.mounts
            for name in (*mount.arm.joint_names, "gripper")
        )

    @property
    def action_names(self) -> tuple[str, ...]:
        """Name of each dimension of the action."""
        return self.names + (self.base.names if self.base is not None else ())

    def joints_of(self, arm: int) -> slice:
        """Where one arm's joints stand in state and action."""
        start = sum(mount.arm.chain.num_joints + 1 for mount in self.mounts[:arm])
        return slice(start, start + self.mounts[arm].arm.chain.num_joints)

    def gripper_of(self, arm: int) -> int:
        """Where one arm's gripper stands in state and action."""
        return int(self.joints_of(arm).stop)

    def side_index(self, side: str) -> int:
        """Which arm is on a side; an unknown side is a `ValueError`."""
        return [mount.side for mount in self.mounts].index(side)

    def camera(self, name: str) -> Camera:
        """The camera of that name.

        Raises:
            KeyError: no such camera; the message lists those there are.
        """
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise KeyError(f"{self.name} has no camera {name!r}; it has {[camera.name for camera in self.cameras]}")
