"""The named transforms of an embodiment table's fields: from a log's conventions to robomix's.

Canonical: radians, metres, seconds; grippers 0 = open, 1 = closed. A table writes `path[6:7] | invert_gripper`.
Grippers and scales: `grippers`; rotations: `rotation_transforms`.
"""
# Legend: T frames, D a signal's width.

from collections.abc import Callable, Sequence

import numpy as np

from ingest import grippers
from ingest import rotation_transforms as rotations
from schema.episode import Numbers


def _invert_gripper(values_TD: Numbers) -> Numbers:
    return 1 - values_TD


def _clip_unit(values_TD: Numbers) -> Numbers:
    return np.clip(values_TD, 0, 1)


def _degrees_to_radians(values_TD: Numbers) -> Numbers:
    return np.deg2rad(values_TD)


NEXT_STEP = "next_step"
"""For logs of states alone: what stands in for an action that nobody recorded."""

TRANSFORMS: dict[str, tuple[Callable[[Numbers], Numbers], str]] = {
    "invert_gripper": (_invert_gripper, "1 − x: a gripper that says 1 = open becomes 1 = closed"),
    "clip_unit": (_clip_unit, "x held to [0, 1]"),
    "percent": (grippers.percent, "x / 100: percent of a calibrated range become a fraction"),
    "degrees_to_radians": (_degrees_to_radians, "degrees become radians"),
    "hold_gripper": (grippers.hold_gripper, "−1 = open, 0 = hold, 1 = close becomes 0 = open, 1 = closed"),
    "binarize_gripper": (grippers.binarize_gripper, "a gripper on its way has the end that it comes to, 0 or 1"),
    NEXT_STEP: (grippers.next_step, "the value of the next frame; the last frame keeps its own"),
    "previous_step": (grippers.previous_step, "the value of the frame before; the first frame keeps its own"),
    "signed_to_unit": (grippers.signed_to_unit, "(x + 1) / 2: −1 … 1 becomes 0 … 1"),
    "width_80mm": (grippers.closing(0.08), "1 − x / 0.08 m: how far two fingers are apart, as a fraction closed"),
    "width_85mm": (grippers.closing(0.085), "1 − x / 0.085 m: the same for a wider gripper"),
    "finger_40mm": (
        grippers.finger_40mm,
        "1 − x / 0.04 m: how far one of Panda's fingers is out, as a fraction closed",
    ),
    "tenth": (grippers.times(0.1), "x / 10: a command of 1 that means 0.1 m or 0.1 rad"),
    "osc_position": (grippers.times(0.05), "robosuite's OSC_POSE command, −1 … 1 by default ±0.05 m, becomes metres"),
    "osc_rotation": (grippers.times(0.5), "robosuite's OSC_POSE command, −1 … 1 by default ±0.5 rad, becomes radians"),
    "droid_joint_velocity": (grippers.times(3.0), "DROID's −1 … 1, ±0.2 rad in a step of 1/15 s, becomes rad/s"),
    "droid_linear_velocity": (grippers.times(1.125), "DROID's −1 … 1, ±0.075 m in a step of 1/15 s, becomes m/s"),
    "droid_angular_velocity": (grippers.times(2.25), "DROID's −1 … 1, ±0.15 rad in a step of 1/15 s, becomes rad/s"),
    "droid_gripper_velocity": (grippers.times(3.75), "DROID's −1 … 1, ±0.25 in a step of 1/15 s, becomes 1/s"),
    "quaternion_wxyz_to_xyzw": (rotations.quaternion_wxyz_to_xyzw, "a quaternion's real part goes from first to last"),
    "quaternion_to_euler": (rotations.quaternion_to_euler, "a quaternion x, y, z, w becomes roll, pitch, yaw"),
    "euler_zxy_to_euler": (rotations.euler_zxy_to_euler, "angles about fixed z, x, y become roll, pitch, yaw"),
    "yaw_to_euler": (rotations.yaw_to_euler, "a yaw becomes roll 0, pitch 0, yaw"),
    "pose_to_position": (rotations.pose_to_position, "the translation of a 4 × 4 matrix, written row by row"),
    "pose_to_euler": (rotations.pose_to_euler, "the rotation of a 4 × 4 matrix, row by row, as roll, pitch, yaw"),
}
"""What each name does, and how to tell people of it. All keep the float dtype; all but those of WIDTHS the shape."""

WIDTHS: dict[str, tuple[int, int]] = {
    "quaternion_wxyz_to_xyzw": (4, 4),
    "quaternion_to_euler": (4, 3),
    "euler_zxy_to_euler": (3, 3),
    "yaw_to_euler": (1, 3),
    "pose_to_position": (16, 3),
    "pose_to_euler": (16, 3),
}
"""How many columns the transforms take and give that are particular about it."""


def columns_for(width: int, transforms: Sequence[str]) -> int | None:
    """How many of a log's columns become `width` dimensions by these transforms; None where no number does."""
    for name in reversed(transforms):
        taken, given = WIDTHS.get(name, (width, width))
        if given != width:
            return None
        width = taken
    return width
