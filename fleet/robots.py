"""The robots of the fleet as tables: which arms stand where, what the cameras see, how fast it runs, how it logs.

A later robot is another `Robot` here (and an `Arm` in `arms.py`), never a branch elsewhere.
World frame: the table top is z = 0, x points away from the operator, y to the left; metres and radians.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from fleet.arms import UR5E, VX300S, Arm, Point
from fleet.kinematics import Floats, pose, turn


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
    """A pinhole camera, fixed in the world or to an arm's tool."""

    name: str
    position: Point
    target: Point
    up: Point
    fov_deg: float
    """Vertical field of view."""
    mount: str | None = None
    """Side of the arm whose tool carries it; then the points are in the tool frame."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Robot:
    """One embodiment: its state and action are, per arm, the joints (rad) and the gripper (0 open, 1 closed)."""

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
    log_format: str
    """Name in `record.FORMATS`."""

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each dimension of state and action."""
        return tuple(
            f"{mount.side}_{name}" if len(self.mounts) > 1 else name
            for mount in self.mounts
            for name in (*mount.arm.joint_names, "gripper")
        )

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


def _placed(x: float, y: float, yaw_rad: float) -> Floats:
    """A base standing on the table, turned about the vertical."""
    return pose((x, y, 0.0), turn((0, 0, 1), yaw_rad))


def _wrist_camera(side: str, *, back: float, above: float) -> Camera:
    """A camera strapped behind a gripper, looking past its fingers."""
    return Camera(
        name=f"{side}_wrist",
        mount=side,
        position=(-back, 0.0, -above),
        target=(0.03, 0.0, 0.02),
        up=(1.0, 0.0, 0.0),
        fov_deg=62.0,
    )


UR5E_TABLETOP = Robot(
    name="ur5e",
    mounts=(
        Mount(
            side="left",
            arm=UR5E,
            # The UR5e reaches along its base frame's -x at the zero pose, so half a turn makes it face the table.
            base_44=_placed(0.0, 0.0, np.pi),
            heading_rad=0.0,
            home_J=(-0.323, -1.7892, 1.878, -1.6597, -1.5708, -1.8938),
            region=Region(x=(0.34, 0.66), y=(-0.27, 0.27)),
        ),
    ),
    cameras=(
        Camera(name="base", position=(1.16, 0.36, 0.7), target=(0.43, -0.03, 0.09), up=(0, 0, 1), fov_deg=43.0),
        _wrist_camera("left", back=0.12, above=0.115),
    ),
    rate_hz=20,
    servo_lag_s=0.08,
    tool_speed_m_s=0.26,
    block_size_m=0.05,
    plate_radius_m=0.075,
    tasks=("put block on plate", "push block to plate", "stack blocks"),
    log_format="lerobot_v21",
)

_VX300S_HOME = (0.0, -0.1788, 0.3662, 0.0, 1.3833, 0.0)

BIMANUAL_TROSSEN = Robot(
    name="bimanual_trossen",
    mounts=(
        Mount(
            side="left",
            arm=VX300S,
            base_44=_placed(0.0, 0.469, -np.pi / 2),
            heading_rad=-np.pi / 2,
            home_J=_VX300S_HOME,
            region=Region(x=(-0.16, 0.18), y=(0.04, 0.27)),
        ),
        Mount(
            side="right",
            arm=VX300S,
            base_44=_placed(0.0, -0.469, np.pi / 2),
            heading_rad=np.pi / 2,
            home_J=_VX300S_HOME,
            region=Region(x=(-0.16, 0.18), y=(-0.27, -0.04)),
        ),
    ),
    cameras=(
        Camera(name="base", position=(-0.6, 0.0, 0.66), target=(0.07, 0.0, 0.07), up=(0, 0, 1), fov_deg=44.0),
        _wrist_camera("left", back=0.11, above=0.1),
        _wrist_camera("right", back=0.11, above=0.1),
    ),
    rate_hz=50,
    servo_lag_s=0.05,
    tool_speed_m_s=0.23,
    block_size_m=0.044,
    plate_radius_m=0.062,
    tasks=("put block on plate with an arm", "hand block over", "sort blocks with both arms"),
    log_format="aloha_hdf5",
)

ROBOTS: Mapping[str, Robot] = MappingProxyType({robot.name: robot for robot in (BIMANUAL_TROSSEN, UR5E_TABLETOP)})
