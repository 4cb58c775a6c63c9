"""What a released checkpoint takes and gives, against the numbers of openpi's own code, and back again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.embodiment import load_embodiment
from schema.errors import ConfigError
from training.released_codecs import (
    OPENPI_ALOHA,
    OPENPI_DROID,
    OPENPI_LIBERO,
    RELEASED,
    decode,
    encode,
    released_codec,
    width,
)

GRIPPERS = [6, 13]


def aloha(value: float) -> np.ndarray:
    """Fourteen numbers of ALOHA, all the same."""
    return np.full(14, value, np.float32)


@pytest.mark.parametrize("codec", RELEASED.values(), ids=RELEASED.keys())
def test_a_codec_fits_its_robot(codec):
    table = load_embodiment(codec.embodiment)
    space = table.action_space(codec.action_space)

    assert sum(piece.sizes[0] for piece in codec.state) == len(table.dimensions(space.state))
    assert sum(piece.sizes[0] for piece in codec.action) == len(table.dimensions(space.action))
    assert len(codec.is_delta) == width(codec.action) <= width(codec.state)


def test_widths_are_those_that_were_released():
    widths = {name: (width(codec.state), width(codec.action), codec.chunk_steps) for name, codec in RELEASED.items()}

    assert widths == {"openpi_aloha": (14, 14, 50), "openpi_droid": (8, 8, 10), "openpi_libero": (8, 7, 50)}


@pytest.mark.parametrize("pieces", [OPENPI_ALOHA.state, OPENPI_ALOHA.action], ids=["state", "action"])
def test_aloha_flips_the_second_and_third_joint_of_each_arm(pieces):
    joints = np.delete(encode(pieces, aloha(0.5)), GRIPPERS)

    np.testing.assert_array_equal(joints, [0.5, -0.5, -0.5, 0.5, 0.5, 0.5] * 2)


def test_alohas_gripper_reading_is_the_angle_of_its_servo_open_positive():
    """At 58 mm crank and rod are in line. At 18.44 mm the sine is (22² + 18.44² − 36²) / (2 · 22 · 18.44)."""
    opened, closed = (encode(OPENPI_ALOHA.state, aloha(value))[GRIPPERS] for value in (0.0, 1.0))
    sine = (0.022**2 + 0.01844**2 - 0.036**2) / (2 * 0.022 * 0.01844)

    np.testing.assert_allclose(opened, (np.pi / 2 - 0.5476) / (1.6296 - 0.5476), atol=1e-3)
    np.testing.assert_allclose(closed, (np.arcsin(sine) - 0.5476) / (1.6296 - 0.5476), atol=1e-6)
    np.testing.assert_allclose([opened[0], closed[0]], [0.9457, -1.0799], atol=1e-3)


def test_a_gripper_that_reads_more_than_open_is_open():
    past, opened = (encode(OPENPI_ALOHA.state, aloha(value))[GRIPPERS] for value in (-0.05, 0.0))

    np.testing.assert_allclose(past, opened, atol=1e-3)


def test_alohas_gripper_command_is_an_angle_less_the_neutral_one():
    opened, closed = (encode(OPENPI_ALOHA.action, aloha(value))[GRIPPERS] for value in (0.0, 1.0))

    np.testing.assert_allclose(opened, 1.4910 - 0.5476, atol=1e-6)
    np.testing.assert_allclose(closed, -0.6213 - 0.5476, atol=1e-6)


def test_alohas_two_gripper_maps_do_not_undo_each_other():
    there_and_back = decode(OPENPI_ALOHA.action, encode(OPENPI_ALOHA.state, aloha(0.25)))

    assert np.abs(there_and_back[GRIPPERS] - 0.25).min() > 0.01


def test_joints_are_deltas_and_grippers_are_not():
    assert [sum(codec.is_delta) for codec in RELEASED.values()] == [12, 0, 6]
    assert [codec.is_delta[-1] for codec in RELEASED.values()] == [False] * 3
    assert [place for place, one in enumerate(OPENPI_ALOHA.is_delta) if not one] == GRIPPERS


def test_droids_velocities_are_fractions_of_three_radians_a_second():
    action = np.array([3.0, -1.5, 0, 0, 0, 0, 0, 1.0], np.float32)

    np.testing.assert_allclose(encode(OPENPI_DROID.action, action), [1.0, -0.5, 0, 0, 0, 0, 0, 1.0], rtol=1e-6)
    np.testing.assert_array_equal(encode(OPENPI_DROID.state, action), action)


def test_droids_commands_are_limited_and_its_gripper_closes_above_a_half():
    action = np.array([[9.0, -1.5, 0, 0, 0, 0, 0, 0.51], [-9.0, 0, 0, 0, 0, 0, 0, 0.5]], np.float32)

    found = OPENPI_DROID.settle(action)

    np.testing.assert_allclose(found[:, 0], [3.0, -3.0])
    np.testing.assert_allclose(found[:, 1], [-1.5, 0])
    np.testing.assert_array_equal(found[:, 7], [1, 0])
    np.testing.assert_array_equal(OPENPI_DROID.settle(found), found)


def test_other_families_execute_what_was_given():
    action = np.full((2, 14), 0.3, np.float32)

    assert OPENPI_ALOHA.settle(action) is action


def test_libero_has_robosuites_commands_and_two_fingers():
    half_turn = np.array([1.0, 0.0, 0.0, 0.0])
    state = np.array([0.1, 0.2, 0.3, *half_turn, 0.25], np.float32)
    action = np.array([0.05, -0.025, 0.0, 0.5, 0.0, -0.25, 0.0], np.float32)

    np.testing.assert_allclose(encode(OPENPI_LIBERO.state, state), [0.1, 0.2, 0.3, np.pi, 0, 0, 0.03, -0.03], rtol=1e-6)
    np.testing.assert_allclose(encode(OPENPI_LIBERO.action, action), [1, -0.5, 0, 1, 0, -0.5, -1], rtol=1e-6)


def test_a_rotation_keeps_the_sign_of_its_quaternion_as_robosuite_does():
    quaternion = np.array([0.6, 0.0, 0.0, -0.8], np.float32)
    state = np.concatenate([np.zeros(3), quaternion, [0]]).astype(np.float32)

    vector = encode(OPENPI_LIBERO.state, state)[3:6]

    np.testing.assert_allclose(vector, [2 * np.arccos(-0.8), 0, 0], rtol=1e-6)


numbers = st.floats(-3.0, 3.0, width=32)
fractions = st.floats(0.0, 1.0, width=32)


@st.composite
def values_of(draw: st.DrawFn, *, codec: str, role: str) -> np.ndarray:
    """Anything that the robot may read or be told: radians and metres, grippers 0 … 1, unit quaternions."""
    table = load_embodiment(released_codec(codec).embodiment)
    space = table.action_space(released_codec(codec).action_space)
    dimensions = table.dimensions(getattr(space, role))
    values = np.array([draw(fractions if one.is_gripper else numbers) for one in dimensions], np.float64)
    turned = [place for place, one in enumerate(dimensions) if one.signal.rotation == "quaternion_xyzw"]
    if turned:
        values[turned] += [1e-3, 0, 0, 0]
        values[turned] /= np.linalg.norm(values[turned]) or 1.0
    return values.astype(np.float32)


@pytest.mark.parametrize("role", ["state", "action"])
@pytest.mark.parametrize("codec", RELEASED)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_decoding_is_the_inverse_of_encoding(codec, role, data):
    pieces = getattr(released_codec(codec), role)
    values = data.draw(values_of(codec=codec, role=role))

    theirs = encode(pieces, values)

    assert theirs.dtype == np.float32
    np.testing.assert_allclose(decode(pieces, theirs), values, atol=5e-6)


def test_leading_axes_stay():
    values = np.random.default_rng(0).uniform(0, 1, (2, 5, 14)).astype(np.float32)

    found = encode(OPENPI_ALOHA.action, values)

    np.testing.assert_array_equal(found[1, 3], encode(OPENPI_ALOHA.action, values[1, 3]))


def test_an_unknown_codec_is_told_with_those_there_are():
    with pytest.raises(ConfigError, match=r"no codec 'pi9'.*openpi_aloha, openpi_droid, openpi_libero"):
        released_codec("pi9")
