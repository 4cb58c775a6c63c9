import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fleet.arm_tables import ARX_X5, PANDA, PANDA_FLANGE_M, PIPER, PIPER_DH, PIPER_TOOL_M, WX250S, X5_JOINTS
from fleet.arms import UR5E, UR5E_DH, VX300S
from fleet.kinematics import (
    forward,
    inverse,
    inverse_pose,
    jacobian,
    link_frames,
    pose,
    rotation_vector,
    turn,
)

ARMS = [UR5E, VX300S, PANDA, PIPER, ARX_X5, WX250S]
_shares = st.lists(st.floats(0.02, 0.98), min_size=7, max_size=7)
_offsets = st.lists(st.floats(-0.15, 0.15), min_size=7, max_size=7)


def _at_shares(arm, shares):
    shares = shares[: arm.chain.num_joints]
    low, high = np.maximum(arm.chain.limit_J2[:, 0], -np.pi), np.minimum(arm.chain.limit_J2[:, 1], np.pi)
    return low + np.array(shares) * (high - low)


def test_ur5e_flange_at_the_zero_pose_is_where_its_dh_table_says():
    flange = forward(UR5E.chain, np.zeros((1, 6)))[0] @ inverse_pose(pose((0, 0, 0.163)))

    # x = a2 + a3, y = -(d4 + d6), z = d1 - d5
    np.testing.assert_allclose(flange[:3, 3], (-0.8172, -0.2329, 0.0628), atol=1e-9)
    np.testing.assert_allclose(flange[:3, :3], [[1, 0, 0], [0, 0, -1], [0, 1, 0]], atol=1e-9)


def test_ur5e_flange_straight_up_has_the_height_of_all_its_links():
    flange = forward(UR5E.chain, np.array([[0, -np.pi / 2, 0, -np.pi / 2, 0, 0]]))[0] @ inverse_pose(
        pose((0, 0, 0.163))
    )

    np.testing.assert_allclose(flange[:3, 3], (0, -0.2329, 0.1625 + 0.425 + 0.3922 + 0.0997), atol=1e-9)


def test_ur5e_chain_equals_the_product_of_its_dh_matrices():
    joints = np.array([0.3, -1.2, 1.4, -0.9, -1.5, 0.7])
    product = np.eye(4)
    for (a, d, alpha), theta in zip(UR5E_DH, joints, strict=True):
        c, s, ca, sa = np.cos(theta), np.sin(theta), np.cos(alpha), np.sin(alpha)
        product = product @ [[c, -s * ca, s * sa, a * c], [s, c * ca, -c * sa, a * s], [0, sa, ca, d], [0, 0, 0, 1]]

    np.testing.assert_allclose(forward(UR5E.chain, joints[None])[0], product @ pose((0, 0, 0.163)), atol=1e-9)


def test_vx300s_end_effector_at_the_zero_pose_is_the_published_one():
    tool = forward(VX300S.chain, np.zeros((1, 6)))[0]

    np.testing.assert_allclose(tool[:3, 3], (0.536494, 0, 0.42705), atol=1e-9)
    np.testing.assert_allclose(tool[:3, 2], (1, 0, 0), atol=1e-9)


def test_panda_flange_at_the_zero_pose_has_the_height_of_its_dh_table():
    flange = forward(PANDA.chain, np.zeros((1, 7)))[0] @ inverse_pose(pose((0, 0, 0.1034)))

    # x = a7; z = d1 + d3 + d5 - flange, which points down
    np.testing.assert_allclose(flange[:3, 3], (0.088, 0, 0.333 + 0.316 + 0.384 - PANDA_FLANGE_M), atol=1e-9)
    np.testing.assert_allclose(flange[:3, 2], (0, 0, -1), atol=1e-9)


def test_panda_hand_at_franka_s_ready_pose_is_where_franka_says():
    tool = forward(PANDA.chain, np.array([[0, -np.pi / 4, 0, -3 * np.pi / 4, 0, np.pi / 2, np.pi / 4]]))[0]

    np.testing.assert_allclose(tool[:3, 3], (0.3069, 0, 0.4869), atol=1e-4)
    np.testing.assert_allclose(tool[:3, :3], np.diag([1, -1, -1]), atol=1e-9)


def test_piper_flange_at_the_zero_pose_is_the_published_one():
    """piper_sdk states 56.128, 0 and 213.266 mm and a pitch of 85 degrees."""
    flange = forward(PIPER.chain, np.zeros((1, 6)))[0] @ inverse_pose(pose((0, 0, PIPER_TOOL_M)))

    np.testing.assert_allclose(flange[:3, 3], (0.056128, 0, 0.213266), atol=1e-6)
    np.testing.assert_allclose(np.degrees(np.arctan2(flange[0, 2], flange[2, 2])), 85, atol=1e-6)


def test_piper_chain_equals_the_product_of_its_modified_dh_matrices():
    joints = np.array([0.3, 1.2, -1.4, 0.9, -0.5, 0.7])
    product = np.eye(4)
    for (a, d, alpha, offset), theta in zip(PIPER_DH, joints, strict=True):
        c, s, ca, sa = np.cos(theta + offset), np.sin(theta + offset), np.cos(alpha), np.sin(alpha)
        product = product @ [[c, -s, 0, a], [s * ca, c * ca, -sa, -sa * d], [s * sa, c * sa, ca, ca * d], [0, 0, 0, 1]]

    found = forward(PIPER.chain, joints[None])[0]

    np.testing.assert_allclose(found[:3, 2], product[:3, 2], atol=1e-9)
    np.testing.assert_allclose(found[:3, 3], (product @ [0, 0, PIPER_TOOL_M, 1])[:3], atol=1e-9)


def test_x5_tool_is_where_its_urdf_s_joints_lead():
    joints = np.array([0.25, 0.8, 0.35, -0.4, 0.3, -0.2])
    frame = np.eye(4)
    for (xyz, (roll, _, _), axis), angle in zip(X5_JOINTS, joints, strict=True):
        frame = frame @ pose(xyz, turn((1, 0, 0), roll)) @ pose((0, 0, 0), turn(axis, angle))

    np.testing.assert_allclose(forward(ARX_X5.chain, joints[None])[0][:3, 3], (frame @ [0.145, 0, 0, 1])[:3], atol=1e-9)


def test_wx250s_end_effector_at_the_zero_pose_is_the_published_one():
    tool = forward(WX250S.chain, np.zeros((1, 6)))[0]

    np.testing.assert_allclose(tool[:3, 3], (0.458325, 0, 0.36065), atol=1e-9)
    np.testing.assert_allclose(tool[:3, 2], (1, 0, 0), atol=1e-9)


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_forward_of_many_steps_equals_each_step_alone(arm):
    joints = np.random.default_rng(0).uniform(-1, 1, (5, arm.chain.num_joints))

    together = forward(arm.chain, joints)

    np.testing.assert_allclose(together, [forward(arm.chain, row[None])[0] for row in joints])


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_capsules_are_connected_link_to_link_at_any_pose(arm):
    frames = link_frames(arm.chain, np.array([[0.4, -0.5, 0.6, 0.3, -0.8, 1.0, 0.2][: arm.chain.num_joints]]))[0]

    gaps = []
    for first, second in zip(arm.capsules[2:], arm.capsules[3:], strict=False):
        end = frames[first.link] @ [*first.end, 1]
        start = frames[second.link] @ [*second.start, 1]
        gaps.append(np.linalg.norm(end - start))

    np.testing.assert_allclose(gaps, 0, atol=1e-4)


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
@settings(deadline=None, max_examples=25)
@given(shares=_shares, offsets=_offsets)
def test_inverse_finds_the_pose_that_forward_gave(arm, shares, offsets):
    joints = _at_shares(arm, shares)
    target = forward(arm.chain, joints[None])[0]
    slope = jacobian(arm.chain, link_frames(arm.chain, joints[None])[0], target[:3, 3])
    assume(np.linalg.svd(slope, compute_uv=False)[-1] > 0.06)

    solution = inverse(arm.chain, target, joints + offsets[: arm.chain.num_joints])

    np.testing.assert_allclose(forward(arm.chain, solution.joint_J[None])[0], target, atol=1e-4)
    assert solution.position_error_m < 1e-4
    assert solution.rotation_error_rad < 1e-4


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
@settings(deadline=None, max_examples=15)
@given(
    position=st.tuples(*[st.floats(-1.5, 1.5)] * 3),
    spin=st.floats(-3, 3),
    start=st.lists(st.floats(-9, 9), min_size=7, max_size=7),
)
def test_inverse_stays_within_joint_limits_even_out_of_reach(arm, position, spin, start):
    target = pose(position, turn((0, 1, 0), spin))

    solution = inverse(arm.chain, target, np.array(start[: arm.chain.num_joints]), iterations=20)

    assert np.all(solution.joint_J >= arm.chain.limit_J2[:, 0])
    assert np.all(solution.joint_J <= arm.chain.limit_J2[:, 1])


@settings(deadline=None, max_examples=50)
@given(vector=st.tuples(*[st.floats(-1.7, 1.7)] * 3))
def test_rotation_vector_undoes_turn(vector):
    angle = float(np.linalg.norm(vector))
    assume(1e-4 < angle < np.pi)

    found = rotation_vector(turn(np.array(vector) / angle, angle))

    np.testing.assert_allclose(found, vector, atol=1e-6)


def test_rotation_vector_of_half_a_turn_has_length_pi():
    found = rotation_vector(turn((0, 0.6, 0.8), np.pi))

    np.testing.assert_allclose(np.abs(found), np.array([0, 0.6, 0.8]) * np.pi, atol=1e-6)
