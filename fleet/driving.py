"""How a driven base moves: where it is, where velocities take it, and which velocities lead to a place.

A place is (x, y, yaw) of the base's centre relative to where the robot's table describes it. Legend: T steps.
"""

import numpy as np

from fleet.kinematics import Floats
from fleet.robot import Base, Place2

WORK: Place2 = (0.0, 0.0, 0.0)
"""The place at the table that the robot's own table describes."""

_NEAR_M = 0.012
_NEAR_RAD = 0.015
_APPROACH_1_S = 2.2
_STEER_1_S = 2.8


def robot_frames(base: Base, place_T3: Floats) -> Floats:
    """The robot's frame in the world at each place: (T, 4, 4)."""
    x_T, y_T, yaw_T = place_T3.T
    cosine_T, sine_T = np.cos(yaw_T), np.sin(yaw_T)
    made_T44 = np.zeros((len(place_T3), 4, 4))
    made_T44[:, 0, 0], made_T44[:, 0, 1] = cosine_T, -sine_T
    made_T44[:, 1, 0], made_T44[:, 1, 1] = sine_T, cosine_T
    made_T44[:, 2, 2] = made_T44[:, 3, 3] = 1.0
    made_T44[:, 0, 3] = x_T + base.centre_x_m * (1 - cosine_T)
    made_T44[:, 1, 3] = y_T - base.centre_x_m * sine_T
    return made_T44


def moved(place_3: Floats, twist_3: Floats, dt_s: float) -> Floats:
    """Where a velocity in the base's own frame (m/s, m/s, rad/s) takes it in a short time."""
    yaw = place_3[2] + twist_3[2] * dt_s / 2
    ahead, left = twist_3[:2] * dt_s
    step_3 = (ahead * np.cos(yaw) - left * np.sin(yaw), ahead * np.sin(yaw) + left * np.cos(yaw), twist_3[2] * dt_s)
    there_3: Floats = place_3 + step_3
    return there_3


def is_at(place_3: Floats, goal: Place2) -> bool:
    """Whether a place is a goal, nearly."""
    off_3 = np.subtract(goal, place_3)
    return bool(np.hypot(*off_3[:2]) < _NEAR_M and abs(_wrapped(off_3[2])) < _NEAR_RAD)


def steer(base: Base, place_3: Floats, goal: Place2) -> Floats:
    """The velocity (x, y, yaw) in the base's own frame that leads to a goal.

    A base that cannot move sideways turns towards the goal (or its back to it), drives, and turns again.
    """
    off_3 = np.subtract(goal, place_3)
    distance = float(np.hypot(*off_3[:2]))
    bearing = _wrapped(float(np.arctan2(off_3[1], off_3[0])) - float(place_3[2]))
    turn_left = _wrapped(float(off_3[2]))
    speed = min(base.speed_m_s, _APPROACH_1_S * distance)
    if 1 in base.twist:
        wanted = np.array([speed * np.cos(bearing), speed * np.sin(bearing), _STEER_1_S * turn_left])
    elif distance < _NEAR_M:
        wanted = np.array([0.0, 0.0, _STEER_1_S * turn_left])
    else:
        sign = 1.0 if abs(bearing) <= np.pi / 2 else -1.0
        aside = bearing if sign > 0 else _wrapped(bearing + np.pi)
        wanted = np.array([sign * speed * np.cos(aside) ** 4, 0.0, _STEER_1_S * aside])
    wanted[2] = np.clip(wanted[2], -base.turn_rad_s, base.turn_rad_s)
    return wanted


def _wrapped(angle_rad: float) -> float:
    return float((angle_rad + np.pi) % (2 * np.pi) - np.pi)
