"""Rotations between their forms: what goes there and comes back is the same rotation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ingest.rotation_transforms import (
    euler_to_matrix,
    euler_zxy_to_euler,
    pose_to_euler,
    pose_to_position,
    quaternion_to_euler,
    quaternion_wxyz_to_xyzw,
    yaw_to_euler,
)

ANGLES = arrays(np.float64, (4, 3), elements=st.floats(-3, 3))
QUATERNIONS = arrays(np.float64, (4, 4), elements=st.floats(-2, 2)).filter(
    lambda q: np.linalg.norm(q, axis=1).min() > 0.1
)


def turned(quaternion_xyzw, vector):
    """A vector turned by a quaternion, by the product q v q*."""
    xyz, w = quaternion_xyzw[:, :3], quaternion_xyzw[:, 3:]
    return vector + 2 * np.cross(xyz, np.cross(xyz, vector) + w * vector)


def pose_of(matrix, position):
    pose = np.zeros((len(matrix), 4, 4))
    pose[:, :3, :3], pose[:, :3, 3], pose[:, 3, 3] = matrix, position, 1
    return pose.reshape(-1, 16)


@given(ANGLES)
def test_a_matrix_made_of_angles_gives_angles_of_the_same_rotation(euler):
    matrix = euler_to_matrix(euler)

    again = pose_to_euler(pose_of(matrix, np.zeros(3)))

    np.testing.assert_allclose(euler_to_matrix(again), matrix, atol=1e-6)
    assert np.abs(again[:, 1]).max() <= np.pi / 2


@given(ANGLES.filter(lambda euler: np.abs(euler[:, 1]).max() < 1.5))
def test_angles_of_a_pitch_below_a_quarter_turn_come_back_themselves(euler):
    np.testing.assert_allclose(pose_to_euler(pose_of(euler_to_matrix(euler), np.zeros(3))), euler, atol=1e-6)


@given(QUATERNIONS, arrays(np.float64, (4, 3), elements=st.floats(-1, 1)))
def test_a_quaternion_and_its_angles_turn_any_vector_alike(quaternion, vector):
    unit = quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True)

    matrix = euler_to_matrix(quaternion_to_euler(quaternion))

    np.testing.assert_allclose(np.einsum("tij,tj->ti", matrix, vector), turned(unit, vector), atol=1e-6)


@given(QUATERNIONS)
def test_the_sign_and_the_length_of_a_quaternion_say_nothing(quaternion):
    matrix = euler_to_matrix(quaternion_to_euler(quaternion))
    np.testing.assert_allclose(euler_to_matrix(quaternion_to_euler(-3 * quaternion)), matrix, atol=1e-6)


@given(ANGLES)
def test_angles_about_fixed_z_x_y_are_turns_one_after_the_other(zxy):
    z, x, y = np.zeros((3, 4, 3))
    z[:, 2], x[:, 0], y[:, 1] = zxy.T

    matrix = euler_to_matrix(euler_zxy_to_euler(zxy))

    np.testing.assert_allclose(matrix, euler_to_matrix(y) @ euler_to_matrix(x) @ euler_to_matrix(z), atol=1e-6)


@pytest.mark.parametrize(
    ("quaternion", "euler"),
    [
        ([0, 0, 0, 1], [0, 0, 0]),
        ([0.5**0.5, 0, 0, 0.5**0.5], [np.pi / 2, 0, 0]),
        ([0, 0, 0.5**0.5, 0.5**0.5], [0, 0, np.pi / 2]),
        ([0, 0.5**0.5, 0, 0.5**0.5], [0, np.pi / 2, 0]),
        ([0, 0, 0, 0], [0, 0, 0]),
    ],
)
def test_known_quaternions_have_known_angles(quaternion, euler):
    np.testing.assert_allclose(quaternion_to_euler(np.array([quaternion], np.float64)), [euler], atol=1e-6)


def test_a_real_part_goes_from_first_to_last():
    np.testing.assert_array_equal(quaternion_wxyz_to_xyzw(np.array([[1.0, 2, 3, 4]])), [[2, 3, 4, 1]])


def test_a_yaw_is_the_third_angle():
    np.testing.assert_array_equal(yaw_to_euler(np.array([[0.5], [-1]])), [[0, 0, 0.5], [0, 0, -1]])


def test_a_pose_gives_its_translation():
    pose = pose_of(euler_to_matrix(np.ones((1, 3))), [[1, 2, 3]])
    np.testing.assert_array_equal(pose_to_position(pose), [[1, 2, 3]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_float_type_is_kept(dtype):
    assert quaternion_to_euler(np.ones((2, 4), dtype)).dtype == dtype
