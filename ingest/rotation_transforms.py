"""Named transforms of rotations: other orders of numbers, of angles, and matrices, to the forms that a table can state.

`euler_xyz` is roll, pitch, yaw about fixed axes (R = Rz·Ry·Rx). All keep the float dtype and compute in float64.
"""
# Legend: T frames, D a signal's width.

import numpy as np

from ingest.doubles import Doubles, in_float64

_SHORTEST = 1e-9
"""A quaternion shorter than this is no rotation: it is taken as none at all."""


@in_float64
def quaternion_wxyz_to_xyzw(wxyz_T4: Doubles) -> Doubles:
    """The same quaternion with its real part last."""
    return wxyz_T4[:, [1, 2, 3, 0]]


@in_float64
def quaternion_to_euler(xyzw_T4: Doubles) -> Doubles:
    """Roll, pitch, yaw of quaternions x, y, z, w of any length; zeros, which are no rotation, give no turn."""
    return matrix_to_euler(_quaternion_to_matrix(xyzw_T4))


@in_float64
def euler_zxy_to_euler(zxy_T3: Doubles) -> Doubles:
    """Roll, pitch, yaw of angles about fixed z, then x, then y (scipy's "zxy")."""
    z_T, x_T, y_T = zxy_T3.T
    return matrix_to_euler(_about(1, y_T) @ _about(0, x_T) @ _about(2, z_T))


@in_float64
def yaw_to_euler(yaw_T1: Doubles) -> Doubles:
    """Roll and pitch 0 with this yaw: a tool that only turns about the vertical."""
    return np.concatenate([np.zeros((len(yaw_T1), 2)), yaw_T1], axis=1)


@in_float64
def pose_to_position(pose_TD: Doubles) -> Doubles:
    """The translation of 4 × 4 transformation matrices, written row by row."""
    return pose_TD.reshape(-1, 4, 4)[:, :3, 3]


@in_float64
def pose_to_euler(pose_TD: Doubles) -> Doubles:
    """The rotation of 4 × 4 transformation matrices, written row by row, as roll, pitch, yaw."""
    return matrix_to_euler(pose_TD.reshape(-1, 4, 4)[:, :3, :3])


def _about(axis: int, angle_T: Doubles) -> Doubles:
    """Rotation matrices `[T, 3, 3]` about a fixed axis."""
    matrix_T33 = np.zeros((len(angle_T), 3, 3))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix_T33[:, axis, axis] = 1
    matrix_T33[:, first, first] = matrix_T33[:, second, second] = np.cos(angle_T)
    matrix_T33[:, second, first] = np.sin(angle_T)
    matrix_T33[:, first, second] = -np.sin(angle_T)
    return matrix_T33


def euler_to_matrix(euler_T3: Doubles) -> Doubles:
    """Rotation matrices `[T, 3, 3]` of roll, pitch, yaw."""
    roll_T, pitch_T, yaw_T = euler_T3.T
    return np.asarray(_about(2, yaw_T) @ _about(1, pitch_T) @ _about(0, roll_T))


def matrix_to_euler(matrix_T33: Doubles) -> Doubles:
    """Roll, pitch, yaw; where the pitch is a quarter turn, so that only their sum tells, the roll is 0."""
    sine_T = np.clip(-matrix_T33[:, 2, 0], -1, 1)
    is_free_T = np.hypot(matrix_T33[:, 0, 0], matrix_T33[:, 1, 0]) > 1e-7
    roll_T = np.where(is_free_T, np.arctan2(matrix_T33[:, 2, 1], matrix_T33[:, 2, 2]), 0)
    upright_T = np.arctan2(matrix_T33[:, 1, 0], matrix_T33[:, 0, 0])
    yaw_T = np.where(is_free_T, upright_T, np.arctan2(-matrix_T33[:, 0, 1], matrix_T33[:, 1, 1]))
    return np.stack([roll_T, np.arcsin(sine_T), yaw_T], axis=1)


def _quaternion_to_matrix(xyzw_T4: Doubles) -> Doubles:
    length_T1 = np.linalg.norm(xyzw_T4, axis=1, keepdims=True)
    unit_T4 = np.where(length_T1 > _SHORTEST, xyzw_T4 / np.maximum(length_T1, _SHORTEST), [0, 0, 0, 1])
    return unit_to_matrix(unit_T4)


def unit_to_matrix(xyzw_T4: Doubles) -> Doubles:
    """Rotation matrices `[T, 3, 3]` of unit quaternions."""
    x, y, z, w = xyzw_T4.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)
