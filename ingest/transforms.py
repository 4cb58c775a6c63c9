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


def _percent(values_TD: Numbers) -> Numbers:
    return np.asarray(np.divide(values_TD, 100), values_TD.dtype)


def _franka_finger(values_TD: Numbers) -> Numbers:
    return 1 - np.asarray(np.divide(values_TD, 0.04), values_TD.dtype)


def _next_step(values_TD: Numbers) -> Numbers:
    return np.concatenate([values_TD[1:], values_TD[-1:]])


NEXT_STEP = "next_step"
"""For logs of states alone: what stands in for an action that nobody recorded."""

TRANSFORMS: dict[str, tuple[Callable[[Numbers], Numbers], str]] = {
    "invert_gripper": (_invert_gripper, "1 − x: a gripper that says 1 = open becomes 1 = closed"),
    "clip_unit": (_clip_unit, "x held to [0, 1]"),
    "percent": (_percent, "x / 100: percent of a calibrated range become a fraction"),
    "franka_finger": (_franka_finger, "one finger's 0 to 0.04 m become 1 = closed to 0 = open"),
    NEXT_STEP: (_next_step, "the value of the next frame; the last frame keeps its own"),
    "degrees_to_radians": (_degrees_to_radians, "degrees become radians"),
}
"""What each name does, and how to tell people of it. All keep shape and float dtype."""
