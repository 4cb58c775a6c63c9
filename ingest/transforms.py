"""The named transforms of an embodiment table's fields: from a log's conventions to robomix's.

Canonical: radians, metres, seconds; grippers 0 = open, 1 = closed. A table writes `path[6:7] | invert_gripper`.
"""
# Legend: T frames, D a signal's width.

from collections.abc import Callable

import numpy as np

from schema.episode import Numbers


def _invert_gripper(values_TD: Numbers) -> Numbers:
    return 1 - values_TD


def _clip_unit(values_TD: Numbers) -> Numbers:
    return np.clip(values_TD, 0, 1)


def _degrees_to_radians(values_TD: Numbers) -> Numbers:
    return np.deg2rad(values_TD)


def _signed_to_unit(values_TD: Numbers) -> Numbers:
    return np.divide(np.add(values_TD, 1), 2)


def _panda_finger(values_TD: Numbers) -> Numbers:
    return 1 - np.divide(values_TD, 0.04)


def _times(factor: float) -> Callable[[Numbers], Numbers]:
    return lambda values_TD: np.multiply(values_TD, factor)


TRANSFORMS: dict[str, tuple[Callable[[Numbers], Numbers], str]] = {
    "invert_gripper": (_invert_gripper, "1 − x: a gripper that says 1 = open becomes 1 = closed"),
    "clip_unit": (_clip_unit, "x held to [0, 1]"),
    "degrees_to_radians": (_degrees_to_radians, "degrees become radians"),
    "signed_to_unit": (_signed_to_unit, "(x + 1) / 2: a gripper of −1 = open, 1 = closed becomes 0 … 1"),
    "panda_finger": (
        _panda_finger,
        "1 − x / 0.04: a finger of Panda's hand, 0.04 m = open, becomes 0 = open, 1 = closed",
    ),
    "osc_position": (_times(0.05), "robosuite's OSC_POSE command, −1 … 1 by default ±0.05 m, becomes metres"),
    "osc_rotation": (_times(0.5), "robosuite's OSC_POSE command, −1 … 1 by default ±0.5 rad, becomes radians"),
    "droid_joint_velocity": (_times(3.0), "DROID's −1 … 1, which is ±0.2 rad in a step of 1/15 s, becomes rad/s"),
    "droid_linear_velocity": (_times(1.125), "DROID's −1 … 1, which is ±0.075 m in a step of 1/15 s, becomes m/s"),
    "droid_angular_velocity": (_times(2.25), "DROID's −1 … 1, which is ±0.15 rad in a step of 1/15 s, becomes rad/s"),
    "droid_gripper_velocity": (_times(3.75), "DROID's −1 … 1, which is ±0.25 in a step of 1/15 s, becomes 1/s"),
}
"""What each name does, and how to tell people of it. All keep shape and float dtype."""
