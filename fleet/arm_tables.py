"""More arms as tables: Franka Panda, AgileX Piper, ARX X5 and WidowX 250; `arms.py` says what an arm is.

Kinematics are as published, cited at each table; looks are a few capsules along the links.
"""

import numpy as np

from fleet.arms import GRAPHITE, INTERBOTIX_GRIPPER, SLATE, SOOT, STEEL, Arm, Capsule, Colour, Gripper, Point, tool_pose
from fleet.kinematics import chain_from_craig_dh, chain_from_screws, chain_from_urdf, pose, turn

_PI = float(np.pi)
_WHITE: Colour = (226, 228, 230)


def _limbs(*limbs: tuple[int, Point, float, Colour], start: Point = (0.0, 0.0, 0.0)) -> tuple[Capsule, ...]:
    """Capsules end to end: the link each is fixed to, where it ends at the zero pose (m), its radius and colour."""
    capsules = []
    for link, end, radius_m, colour in limbs:
        capsules.append(Capsule(link=link, start=start, end=end, radius_m=radius_m, colour=colour))
        start = end
    return tuple(capsules)


# Franka Emika, "Robot and interface specifications": Denavit–Hartenberg parameters in Craig's convention and joint
# ranges. The hand is turned by -45° on the flange; its tool point is 0.1034 m beyond (franka_description).
PANDA_DH = (
    (0.0, 0.333, 0.0, 0.0),
    (0.0, 0.0, -_PI / 2, 0.0),
    (0.0, 0.316, _PI / 2, 0.0),
    (0.0825, 0.0, _PI / 2, 0.0),
    (-0.0825, 0.384, -_PI / 2, 0.0),
    (0.0, 0.0, _PI / 2, 0.0),
    (0.088, 0.0, _PI / 2, 0.0),
)
PANDA_FLANGE_M = 0.107
_PANDA_TOOL_M = 0.1034

PANDA = Arm(
    name="panda",
    chain=chain_from_craig_dh(
        PANDA_DH,
        limit_J2=[
            (-2.8973, 2.8973),
            (-1.7628, 1.7628),
            (-2.8973, 2.8973),
            (-3.0718, -0.0698),
            (-2.8973, 2.8973),
            (-0.0175, 3.7525),
            (-2.8973, 2.8973),
        ],
        tool_44=pose((0, 0, PANDA_FLANGE_M + _PANDA_TOOL_M), turn((0, 0, 1), -_PI / 4)),
    ),
    joint_names=tuple(f"joint_{j}" for j in range(1, 8)),
    gripper=Gripper(
        opening_m=0.08,
        finger_length_m=0.045,
        tip_m=0.01,
        finger_thickness_m=0.014,
        finger_width_m=0.02,
        palm_length_m=0.06,
        palm_radius_m=0.035,
        colour=_WHITE,
        finger_colour=SOOT,
    ),
    capsules=_limbs(
        (0, (0, 0, 0.14), 0.07, _WHITE),
        (1, (0, 0, 0.333), 0.06, _WHITE),
        (2, (0, 0, 0.52), 0.058, STEEL),
        (3, (0, 0, 0.649), 0.055, _WHITE),
        (3, (0.0825, 0, 0.649), 0.055, SLATE),
        (4, (0, 0, 0.649 + 0.0825), 0.05, STEEL),
        (5, (0, 0, 1.033), 0.05, _WHITE),
        (6, (0.088, 0, 1.033), 0.048, STEEL),
        (7, (0.088, 0, 0.946), 0.042, _WHITE),
    ),
    max_joint_speed_rad_s=2.175,
)

# AgileX piper_sdk (piper_fk.py, the table of arms since 2024-12, whose joints 2 and 3 are offset by 2°): modified DH in
# mm. At the zero pose it states the flange at (56.128, 0, 213.266) mm, pitched by 85°. Joint ranges: the URDF of
# piper_ros (piper_description); the fingers slide 0.1358 m beyond the flange. The tool's x is up at the zero pose.
PIPER_DH = (
    (0.0, 0.123, 0.0, 0.0),
    (0.0, 0.0, -_PI / 2, -_PI * 172.22 / 180),
    (0.28503, 0.0, 0.0, -_PI * 102.78 / 180),
    (-0.02198, 0.25075, _PI / 2, 0.0),
    (0.0, 0.0, -_PI / 2, 0.0),
    (0.0, 0.091, _PI / 2, 0.0),
)
PIPER_TOOL_M = 0.1358

PIPER = Arm(
    name="piper",
    chain=chain_from_craig_dh(
        PIPER_DH,
        limit_J2=[(-2.618, 2.618), (0.0, 3.14), (-2.967, 0.0), (-1.745, 1.745), (-1.22, 1.22), (-2.0944, 2.0944)],
        tool_44=pose((0, 0, PIPER_TOOL_M), turn((0, 0, 1), _PI)),
    ),
    joint_names=tuple(f"joint_{j}" for j in range(1, 7)),
    gripper=Gripper(
        opening_m=0.07,
        finger_length_m=0.05,
        tip_m=0.015,
        finger_thickness_m=0.012,
        finger_width_m=0.022,
        palm_length_m=0.05,
        palm_radius_m=0.03,
        colour=GRAPHITE,
        finger_colour=SOOT,
    ),
    capsules=_limbs(
        (0, (0, 0, 0.06), 0.05, SOOT),
        (1, (0, 0, 0.123), 0.042, _WHITE),
        (2, (-0.28241, 0, 0.16158), 0.036, _WHITE),
        (3, (-0.03453, 0, 0.20534), 0.032, STEEL),
        (5, (0.0577, 0, 0.2131), 0.03, SLATE),
        start=(0, 0, -0.2),
    ),
    max_joint_speed_rad_s=_PI,
)

# The X5 model of arx5-sdk (models/X5.urdf); joint ranges from the same SDK's configuration of X5, and its
# end-effector link. The URDF's end effector has x forward and z up.
_HALF_TURN = (-3.1416, 0.0, 0.0)
_STRAIGHT = (0.0, 0.0, 0.0)
X5_JOINTS = (
    ((0.0, 0.0, 0.0603), _STRAIGHT, (0, 0, 1)),
    ((0.02, 0.0, 0.0402), _STRAIGHT, (0, 1, 0)),
    ((-0.264, 0.0, 0.0), _HALF_TURN, (0, 1, 0)),
    ((0.245, 0.0, -0.056), _STRAIGHT, (0, 1, 0)),
    ((0.06575, -0.001, -0.0825), _STRAIGHT, (0, 0, 1)),
    ((0.02845, 0.0, 0.0825), _HALF_TURN, (1, 0, 0)),
)

ARX_X5 = Arm(
    name="arx_x5",
    chain=chain_from_urdf(
        X5_JOINTS,
        limit_J2=[(-3.14, 2.618), (-0.05, 3.5), (-0.1, 3.2), (-1.6, 1.55), (-1.57, 1.57), (-2.0, 2.0)],
        tool_44=tool_pose((0.145, 0.0, 0.0), x=(0, 0, 1), z=(1, 0, 0)),
    ),
    joint_names=tuple(f"joint_{j}" for j in range(1, 7)),
    gripper=Gripper(
        opening_m=0.08,
        finger_length_m=0.05,
        tip_m=0.015,
        finger_thickness_m=0.012,
        finger_width_m=0.022,
        palm_length_m=0.05,
        palm_radius_m=0.03,
        colour=SOOT,
        finger_colour=GRAPHITE,
    ),
    capsules=_limbs(
        (0, (0, 0, 0.05), 0.05, SOOT),
        (1, (0.02, 0, 0.1005), 0.04, GRAPHITE),
        (2, (-0.244, 0, 0.1005), 0.032, STEEL),
        (3, (0.001, 0, 0.1565), 0.03, SLATE),
        (4, (0.06675, 0.001, 0.1565), 0.028, GRAPHITE),
        (5, (0.0952, 0.001, 0.1565), 0.028, SLATE),
        start=(0, 0, -0.16),
    ),
    max_joint_speed_rad_s=_PI,
)

# Screw axes and zero pose published by Interbotix (interbotix_ros_toolboxes, mr_descriptions.py, class wx250s); joint
# ranges from the wx250s URDF of interbotix_ros_manipulators.
WX250S_SCREWS = (
    (0.0, 0.0, 1.0, 0.0, 0.0, 0.0),
    (0.0, 1.0, 0.0, -0.11065, 0.0, 0.0),
    (0.0, 1.0, 0.0, -0.36065, 0.0, 0.04975),
    (1.0, 0.0, 0.0, 0.0, 0.36065, 0.0),
    (0.0, 1.0, 0.0, -0.36065, 0.0, 0.29975),
    (1.0, 0.0, 0.0, 0.0, 0.36065, 0.0),
)

WX250S = Arm(
    name="wx250s",
    chain=chain_from_screws(
        WX250S_SCREWS,
        limit_J2=[
            (-3.14158, 3.14158),
            (-1.88496, 1.98968),
            (-2.14675, 1.6057),
            (-3.14158, 3.14158),
            (-1.74533, 2.14675),
            (-3.14158, 3.14158),
        ],
        tool_44=tool_pose((0.458325, 0.0, 0.36065), x=(0, 0, 1), z=(1, 0, 0)),
    ),
    joint_names=("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate"),
    gripper=INTERBOTIX_GRIPPER,
    capsules=_limbs(
        (0, (0, 0, 0.07), 0.05, SOOT),
        (1, (0, 0, 0.11065), 0.042, GRAPHITE),
        (2, (0, 0, 0.36065), 0.03, SLATE),
        (2, (0.04975, 0, 0.36065), 0.03, GRAPHITE),
        (3, (0.2, 0, 0.36065), 0.027, SLATE),
        (4, (0.29975, 0, 0.36065), 0.026, GRAPHITE),
        (5, (0.36, 0, 0.36065), 0.026, SLATE),
    ),
    max_joint_speed_rad_s=_PI,
)
