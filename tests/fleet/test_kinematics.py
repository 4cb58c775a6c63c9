import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

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

ARMS = [UR5E, VX300S]
_shares = st.lists(st.floats(0.02, 0.98), min_size=6, max_size=6)


def _at_shares(arm, shares):
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


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_forward_of_many_steps_equals_each_step_alone(arm):
    joints = np.random.default_rng(0).uniform(-1, 1, (5, 6))

    together = forward(arm.chain, joints)

    np.testing.assert_allclose(together, [forward(arm.chain, row[None])[0] for row in joints])


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_capsules_are_connected_link_to_link_at_any_pose(arm):
    frames = link_frames(arm.chain, np.array([[0.4, -0.5, 0.6, 0.3, -0.8, 1.0]]))[0]

    gaps = []
    for first, second in zip(arm.capsules[2:], arm.capsules[3:], strict=False):
        end = frames[first.link] @ [*first.end, 1]
        start = frames[second.link] @ [*second.start, 1]
        gaps.append(np.linalg.norm(end - start))

    np.testing.assert_allclose(gaps, 0, atol=1e-9)


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
@settings(deadline=None, max_examples=25)
@given(shares=_shares, offsets=st.lists(st.floats(-0.15, 0.15), min_size=6, max_size=6))
def test_inverse_finds_the_pose_that_forward_gave(arm, shares, offsets):
    joints = _at_shares(arm, shares)
    target = forward(arm.chain, joints[None])[0]
    slope = jacobian(arm.chain, link_frames(arm.chain, joints[None])[0], target[:3, 3])
    assume(np.linalg.svd(slope, compute_uv=False)[-1] > 0.06)

    solution = inverse(arm.chain, target, joints + offsets)

    np.testing.assert_allclose(forward(arm.chain, solution.joint_J[None])[0], target, atol=1e-4)
    assert solution.position_error_m < 1e-4
    assert solution.rotation_error_rad < 1e-4


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
@settings(deadline=None, max_examples=15)
@given(
    position=st.tuples(*[st.floats(-1.5, 1.5)] * 3),
    spin=st.floats(-3, 3),
    start=st.lists(st.floats(-9, 9), min_size=6, max_size=6),
)
def test_inverse_stays_within_joint_limits_even_out_of_reach(arm, position, spin, start):
    target = pose(position, turn((0, 1, 0), spin))

    solution = inverse(arm.chain, target, np.array(start), iterations=20)

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
