"""The fleet's robots: π0's seven configurations, and the WidowX of Bridge.

Each is a table (see `robot.Robot`); where arms stand is ours, how they are built is published (`arms.py`).
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from fleet.arm_tables import ARX_X5, PANDA, PIPER, WX250S
from fleet.arms import UR5E, VX300S, Arm
from fleet.kinematics import Floats, pose, turn
from fleet.robot import Base, Camera, Mount, Region, Robot


def _placed(x: float, y: float, yaw_rad: float, *, height_m: float = 0.0) -> Floats:
    """An arm standing on the table, or on a post, turned about the vertical."""
    return pose((x, y, height_m), turn((0, 0, 1), yaw_rad))


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


def _two_arms(
    arm: Arm,
    *,
    home_J: tuple[float, ...],
    base_m: tuple[float, float],
    region: Region,
    inward_rad: float = 0.0,
    base_turn_rad: float = 0.0,
    height_m: float = 0.0,
) -> tuple[Mount, ...]:
    """A left arm and its mirror image across the table's x axis.

    `base_m` (x, y) and `region` are the left arm's; each arm faces ahead, turned inward by `inward_rad`.
    `base_turn_rad` is how far an arm's base frame is turned from where the arm faces.
    """
    x_m, y_m = base_m
    low, high = region.y
    mounts = []
    for side, sign in (("left", 1), ("right", -1)):
        heading_rad = -sign * inward_rad
        mounts.append(
            Mount(
                side=side,
                arm=arm,
                base_44=_placed(x_m, sign * y_m, heading_rad + base_turn_rad, height_m=height_m),
                heading_rad=heading_rad,
                home_J=home_J,
                region=region if sign > 0 else Region(x=region.x, y=(-high, -low)),
            )
        )
    return tuple(mounts)


def _two_wrist_cameras(*, back: float, above: float) -> tuple[Camera, ...]:
    return tuple(_wrist_camera(side, back=back, above=above) for side in ("left", "right"))


_ONE_ARM_TASKS = (
    "put block on plate",
    "push block to plate",
    "stack blocks",
    "put block left of block",
    "put block right of block",
    "put block behind block",
    "put block in front of block",
    "move block to other plate",
    "unstack blocks",
    "put two blocks on plate",
    "build tower",
)
_TWO_ARM_TASKS = (
    "put block on plate with an arm",
    *_ONE_ARM_TASKS[1:10],
    "hand block over",
    "sort blocks with both arms",
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
    log_formats=("lerobot_v21", "mcap"),
)

_VX300S_HOME = (0.0, -0.1788, 0.3662, 0.0, 1.3833, 0.0)

BIMANUAL_TROSSEN = Robot(
    name="bimanual_trossen",
    mounts=_two_arms(
        VX300S,
        home_J=_VX300S_HOME,
        base_m=(0.0, 0.469),
        inward_rad=np.pi / 2,
        region=Region(x=(-0.16, 0.18), y=(0.04, 0.27)),
    ),
    cameras=(
        Camera(name="base", position=(-0.6, 0.0, 0.66), target=(0.07, 0.0, 0.07), up=(0, 0, 1), fov_deg=44.0),
        *_two_wrist_cameras(back=0.11, above=0.1),
    ),
    rate_hz=50,
    servo_lag_s=0.05,
    tool_speed_m_s=0.23,
    block_size_m=0.044,
    plate_radius_m=0.062,
    tasks=("put block on plate with an arm", "hand block over", "sort blocks with both arms"),
    log_formats=("aloha_hdf5",),
)

FRANKA = Robot(
    name="franka",
    mounts=(
        Mount(
            side="left",
            arm=PANDA,
            base_44=_placed(0.0, 0.0, 0.0),
            heading_rad=0.0,
            home_J=(-0.0001, -0.1848, 0.0001, -2.4967, 0.0, 2.3119, 0.7854),
            region=Region(x=(0.36, 0.64), y=(-0.26, 0.26)),
        ),
    ),
    cameras=(
        Camera(name="base", position=(1.16, 0.36, 0.7), target=(0.43, -0.03, 0.09), up=(0, 0, 1), fov_deg=43.0),
        _wrist_camera("left", back=0.1, above=0.09),
    ),
    rate_hz=20,
    servo_lag_s=0.08,
    tool_speed_m_s=0.26,
    block_size_m=0.05,
    plate_radius_m=0.075,
    tasks=_ONE_ARM_TASKS,
    log_formats=("droid_raw",),
    longest_s=20.0,
)

WIDOWX = Robot(
    name="widowx",
    mounts=(
        Mount(
            side="left",
            arm=WX250S,
            base_44=_placed(0.0, 0.0, 0.0),
            heading_rad=0.0,
            home_J=(0.0, -0.1907, 0.2988, 0.0, 1.4627, 0.0),
            region=Region(x=(0.2, 0.4), y=(-0.2, 0.2)),
        ),
    ),
    cameras=(
        Camera(name="base", position=(0.86, 0.3, 0.56), target=(0.28, -0.02, 0.07), up=(0, 0, 1), fov_deg=44.0),
        _wrist_camera("left", back=0.11, above=0.1),
    ),
    rate_hz=5,
    servo_lag_s=0.08,
    tool_speed_m_s=0.2,
    block_size_m=0.04,
    plate_radius_m=0.06,
    tasks=(
        "put block on plate",
        "stack blocks",
        "put block left of block",
        "put block right of block",
        "move block to other plate",
    ),
    log_formats=("rlds", "bridge_raw"),
    longest_s=24.0,
)

BIMANUAL_UR5E = Robot(
    name="bimanual_ur5e",
    mounts=_two_arms(
        UR5E,
        home_J=(-0.3078, -1.735, 1.8608, -1.6965, -1.5708, -1.8786),
        base_m=(0.0, 0.66),
        inward_rad=np.pi / 2,
        base_turn_rad=np.pi,
        region=Region(x=(-0.18, 0.2), y=(0.04, 0.3)),
    ),
    cameras=(
        Camera(name="base", position=(-0.72, 0.0, 0.8), target=(0.07, 0.0, 0.07), up=(0, 0, 1), fov_deg=44.0),
        *_two_wrist_cameras(back=0.12, above=0.115),
    ),
    rate_hz=20,
    servo_lag_s=0.08,
    tool_speed_m_s=0.26,
    block_size_m=0.05,
    plate_radius_m=0.07,
    tasks=(*_TWO_ARM_TASKS, "hand block over and stack it", "build tower"),
    log_formats=("zarr",),
    longest_s=20.0,
)

BIMANUAL_ARX = Robot(
    name="bimanual_arx",
    mounts=_two_arms(
        PIPER,
        home_J=(0.0, 1.7862, -0.7927, 0.0, 0.6646, 0.0),
        base_m=(0.0, 0.46),
        inward_rad=np.pi / 2,
        height_m=0.2,
        region=Region(x=(-0.16, 0.18), y=(0.05, 0.26)),
    ),
    cameras=(
        Camera(name="base", position=(-0.62, 0.0, 0.72), target=(0.07, 0.0, 0.06), up=(0, 0, 1), fov_deg=44.0),
        *_two_wrist_cameras(back=0.1, above=0.09),
    ),
    rate_hz=50,
    servo_lag_s=0.05,
    tool_speed_m_s=0.23,
    block_size_m=0.04,
    plate_radius_m=0.06,
    # Not handing over: tilted so far, its wrist passes through its singularity and stalls.
    tasks=(*_TWO_ARM_TASKS[:10], "sort blocks with both arms"),
    log_formats=("lerobot_v30",),
    longest_s=20.0,
)

_AT_THE_TABLE = tuple(f"drive up and {task}" for task in (*_ONE_ARM_TASKS[:10], "sort blocks with both arms"))


MOBILE_TROSSEN = Robot(
    name="mobile_trossen",
    mounts=_two_arms(
        VX300S,
        home_J=_VX300S_HOME,
        base_m=(-0.4, 0.2),
        region=Region(x=(-0.12, 0.12), y=(0.05, 0.32)),
    ),
    cameras=(
        Camera(name="base", position=(-0.25, 0.0, 1.0), target=(0.02, 0.0, 0.0), up=(0, 0, 1), fov_deg=50.0),
        *_two_wrist_cameras(back=0.11, above=0.1),
    ),
    rate_hz=50,
    servo_lag_s=0.05,
    tool_speed_m_s=0.23,
    block_size_m=0.044,
    plate_radius_m=0.062,
    tasks=(*_AT_THE_TABLE, "carry block to plate", "drive up and build tower"),
    log_formats=("aloha_hdf5",),
    longest_s=24.0,
    base=Base(
        names=("base_forward", "base_yaw"),
        twist=(0, 2),
        centre_x_m=-0.75,
        speed_m_s=0.4,
        turn_rad_s=0.9,
        start_back_m=(0.15, 0.3),
        stations=((0.0, 0.0, 0.5), (0.0, 0.0, -0.5)),
    ),
)

MOBILE_FIBOCOM = Robot(
    name="mobile_fibocom",
    mounts=_two_arms(
        ARX_X5,
        home_J=(-0.0036, 1.6728, 1.0651, -0.963, 0.0, -0.0036),
        base_m=(-0.34, 0.2),
        height_m=0.16,
        region=Region(x=(-0.1, 0.12), y=(0.04, 0.3)),
    ),
    cameras=(
        Camera(name="base", position=(-0.25, 0.0, 1.0), target=(0.02, 0.0, 0.0), up=(0, 0, 1), fov_deg=50.0),
        *_two_wrist_cameras(back=0.1, above=0.09),
    ),
    rate_hz=50,
    servo_lag_s=0.05,
    tool_speed_m_s=0.23,
    block_size_m=0.044,
    plate_radius_m=0.062,
    tasks=(*_AT_THE_TABLE, "carry block to plate", "drive up and build tower"),
    log_formats=("lerobot_v21",),
    longest_s=24.0,
    base=Base(
        names=("base_x", "base_y", "base_yaw"),
        twist=(0, 1, 2),
        centre_x_m=-0.6,
        speed_m_s=0.4,
        turn_rad_s=0.9,
        start_back_m=(0.15, 0.3),
        stations=((0.0, 0.3, 0.0), (0.0, -0.3, 0.0)),
    ),
)

ROBOTS: Mapping[str, Robot] = MappingProxyType(
    {
        robot.name: robot
        for robot in (
            BIMANUAL_TROSSEN,
            UR5E_TABLETOP,
            BIMANUAL_UR5E,
            FRANKA,
            BIMANUAL_ARX,
            MOBILE_TROSSEN,
            MOBILE_FIBOCOM,
            WIDOWX,
        )
    }
)
"""Every robot by name."""
