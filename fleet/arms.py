"""Arm models: published kinematics, and the simple solids they are drawn as.

A solid is fixed to a link and given in the base frame at the zero pose, so that link frames move it.
Adding an arm means adding a table here or in `arm_tables.py`; `robots.py` places arms.
"""

from dataclasses import dataclass

import numpy as np

from fleet.kinematics import Chain, Floats, chain_from_dh, chain_from_screws, pose

Point = tuple[float, float, float]
Colour = tuple[int, int, int]

_PI = float(np.pi)
STEEL: Colour = (196, 203, 212)
SLATE: Colour = (108, 120, 138)
GRAPHITE: Colour = (74, 76, 84)
SOOT: Colour = (48, 49, 56)


@dataclass(frozen=True, kw_only=True)
class Capsule:
    """A thick segment fixed to a link, as it lies at the zero pose in the base frame (m)."""

    link: int
    """0 is the fixed base, j what joint j moves."""
    start: Point
    end: Point
    radius_m: float
    colour: Colour


@dataclass(frozen=True, kw_only=True)
class Gripper:
    """A parallel gripper in the tool frame: z approaches, y opens, the origin lies between the finger pads (m)."""

    opening_m: float
    """Distance of the pads when fully open."""
    finger_length_m: float
    """From the palm to the origin."""
    tip_m: float
    """How far the fingers reach past the origin."""
    finger_thickness_m: float
    finger_width_m: float
    palm_length_m: float
    """From the flange side of the palm to where the fingers begin."""
    palm_radius_m: float
    colour: Colour
    finger_colour: Colour


@dataclass(frozen=True, kw_only=True, eq=False)
class Arm:
    """One arm: kinematics, gripper, looks, and how fast it may move."""

    name: str
    chain: Chain
    joint_names: tuple[str, ...]
    gripper: Gripper
    capsules: tuple[Capsule, ...]
    max_joint_speed_rad_s: float


def tool_pose(position: Point, *, x: Point, z: Point) -> Floats:
    """A tool pose of its origin, x axis and approach direction z."""
    return pose(position, np.column_stack([x, np.cross(z, x), z]))


# The published DH table of the UR5e: a, d (m), α (rad). Universal Robots, "DH Parameters for calculations of
# kinematics and dynamics" (support article). Joint ranges: UR5e user manual, ±360° each; the elbow is ±180°
# here because it cannot pass through itself. The tool is 0.163 m along the flange's z (Robotiq 2F-85).
UR5E_DH = (
    (0.0, 0.1625, _PI / 2),
    (-0.425, 0.0, 0.0),
    (-0.3922, 0.0, 0.0),
    (0.0, 0.1333, _PI / 2),
    (0.0, 0.0997, -_PI / 2),
    (0.0, 0.0996, 0.0),
)
_UR5E_TOOL_M = 0.163

UR5E = Arm(
    name="ur5e",
    chain=chain_from_dh(
        UR5E_DH,
        limit_J2=[(-2 * _PI, 2 * _PI)] * 2 + [(-_PI, _PI)] + [(-2 * _PI, 2 * _PI)] * 3,
        tool_44=pose((0, 0, _UR5E_TOOL_M)),
    ),
    joint_names=("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3"),
    gripper=Gripper(
        opening_m=0.085,
        finger_length_m=0.06,
        tip_m=0.02,
        finger_thickness_m=0.014,
        finger_width_m=0.024,
        palm_length_m=0.09,
        palm_radius_m=0.036,
        colour=GRAPHITE,
        finger_colour=SOOT,
    ),
    capsules=(
        Capsule(link=0, start=(0, 0, 0.0), end=(0, 0, 0.09), radius_m=0.075, colour=SLATE),
        Capsule(link=1, start=(0, 0, 0.1625), end=(0, -0.138, 0.1625), radius_m=0.06, colour=SLATE),
        Capsule(link=2, start=(0, -0.138, 0.1625), end=(-0.425, -0.138, 0.1625), radius_m=0.05, colour=STEEL),
        Capsule(link=2, start=(-0.425, -0.138, 0.1625), end=(-0.425, -0.007, 0.1625), radius_m=0.052, colour=SLATE),
        Capsule(link=3, start=(-0.425, -0.007, 0.1625), end=(-0.8172, -0.007, 0.1625), radius_m=0.041, colour=STEEL),
        Capsule(link=4, start=(-0.8172, -0.007, 0.1625), end=(-0.8172, -0.1333, 0.1625), radius_m=0.041, colour=SLATE),
        Capsule(link=5, start=(-0.8172, -0.1333, 0.1625), end=(-0.8172, -0.1333, 0.0628), radius_m=0.039, colour=STEEL),
        Capsule(link=6, start=(-0.8172, -0.1333, 0.0628), end=(-0.8172, -0.2329, 0.0628), radius_m=0.037, colour=SLATE),
    ),
    max_joint_speed_rad_s=_PI,
)

# Screw axes and zero pose published by Interbotix (interbotix_ros_toolboxes, mr_descriptions.py, class vx300s);
# joint ranges from the vx300s URDF of interbotix_ros_manipulators. The published end effector has x forward and
# z up; here z approaches and x is what points up at the zero pose.
VX300S_SCREWS = (
    (0.0, 0.0, 1.0, 0.0, 0.0, 0.0),
    (0.0, 1.0, 0.0, -0.12705, 0.0, 0.0),
    (0.0, 1.0, 0.0, -0.42705, 0.0, 0.05955),
    (1.0, 0.0, 0.0, 0.0, 0.42705, 0.0),
    (0.0, 1.0, 0.0, -0.42705, 0.0, 0.35955),
    (1.0, 0.0, 0.0, 0.0, 0.42705, 0.0),
)

INTERBOTIX_GRIPPER = Gripper(
    opening_m=0.074,
    finger_length_m=0.055,
    tip_m=0.018,
    finger_thickness_m=0.012,
    finger_width_m=0.022,
    palm_length_m=0.05,
    palm_radius_m=0.03,
    colour=SOOT,
    finger_colour=GRAPHITE,
)
"""Of the ViperX and the WidowX alike."""

VX300S = Arm(
    name="vx300s",
    chain=chain_from_screws(
        VX300S_SCREWS,
        limit_J2=[
            (-3.14158, 3.14158),
            (-1.85005, 1.25664),
            (-1.76278, 1.6057),
            (-3.14158, 3.14158),
            (-1.8675, 2.23402),
            (-3.14158, 3.14158),
        ],
        tool_44=tool_pose((0.536494, 0.0, 0.42705), x=(0, 0, 1), z=(1, 0, 0)),
    ),
    joint_names=("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate"),
    gripper=INTERBOTIX_GRIPPER,
    capsules=(
        Capsule(link=0, start=(0, 0, 0.0), end=(0, 0, 0.07), radius_m=0.055, colour=SOOT),
        Capsule(link=1, start=(0, 0, 0.08), end=(0, 0, 0.12705), radius_m=0.045, colour=GRAPHITE),
        Capsule(link=2, start=(0, 0, 0.12705), end=(0, 0, 0.42705), radius_m=0.03, colour=SLATE),
        Capsule(link=2, start=(0, 0, 0.42705), end=(0.05955, 0, 0.42705), radius_m=0.032, colour=GRAPHITE),
        Capsule(link=3, start=(0.05955, 0, 0.42705), end=(0.26, 0, 0.42705), radius_m=0.029, colour=SLATE),
        Capsule(link=4, start=(0.26, 0, 0.42705), end=(0.35955, 0, 0.42705), radius_m=0.028, colour=GRAPHITE),
        Capsule(link=5, start=(0.35955, 0, 0.42705), end=(0.43, 0, 0.42705), radius_m=0.028, colour=SLATE),
    ),
    max_joint_speed_rad_s=_PI,
)
