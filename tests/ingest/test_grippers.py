"""Grippers of every convention become 0 = open, 1 = closed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ingest.grippers import binarize_gripper, closing, hold_gripper, previous_step, signed_to_unit, times
from ingest.transforms import TRANSFORMS

COMMANDS = st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=12)
OPENINGS = arrays(np.float32, (9, 1), elements=st.floats(0, 1, width=32))


def column(values):
    return np.array(values, np.float32)[:, None]


@pytest.mark.parametrize(
    ("commands", "closed"),
    [
        ([0, 0, 1, 0, -1, 0], [0, 0, 1, 1, 0, 0]),
        ([0, -1, 0], [1, 0, 0]),
        ([0, 0, 0], [0, 0, 0]),
        ([0.05, 1, -0.05], [0, 1, 1]),
    ],
)
def test_relative_commands_are_held(commands, closed):
    np.testing.assert_array_equal(hold_gripper(column(commands))[:, 0], closed)


@given(COMMANDS)
def test_held_commands_are_obeyed_and_change_at_commands_only(commands):
    closed = hold_gripper(column(commands))[:, 0]

    assert set(closed) <= {0, 1}
    for step, command in enumerate(commands):
        if command:
            assert closed[step] == (command > 0)
        elif step:
            assert closed[step] == closed[step - 1]


@given(COMMANDS)
def test_the_other_command_gives_the_other_end(commands):
    if any(commands):
        closed, opened = hold_gripper(column(commands)), hold_gripper(-column(commands))
        np.testing.assert_array_equal(closed, 1 - opened)


@pytest.mark.parametrize(
    ("openings", "settled"),
    [
        ([1, 0.7, 0.3, 0, 0], [1, 0, 0, 0, 0]),
        ([0, 0.4, 0.96, 1], [0, 1, 1, 1]),
        ([1, 0.5, 0.75], [1, 0.75, 0.75]),
        ([0.5, 0.5], [0.5, 0.5]),
    ],
)
def test_a_gripper_on_its_way_has_the_end_that_it_comes_to(openings, settled):
    np.testing.assert_array_equal(binarize_gripper(column(openings))[:, 0], settled)


@given(OPENINGS)
def test_settling_twice_changes_nothing_and_leaves_settled_frames_alone(openings):
    settled = binarize_gripper(openings)

    np.testing.assert_array_equal(binarize_gripper(settled), settled)
    is_settled = (openings > 0.95) | (openings < 0.05)
    np.testing.assert_array_equal(settled[is_settled], np.round(openings[is_settled]))


@given(OPENINGS)
def test_a_signed_gripper_becomes_a_fraction_and_back(fraction):
    np.testing.assert_allclose(signed_to_unit(2 * fraction - 1), fraction, atol=1e-6)


def test_a_width_becomes_a_fraction_closed_and_is_held_to_it():
    np.testing.assert_allclose(closing(0.08)(column([0, 0.04, 0.08, 0.09])), column([1, 0.5, 0, 0]), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "told", "meant"),
    [
        ("percent", 25, 0.25),
        ("width_80mm", 0.02, 0.75),
        ("width_85mm", 0.017, 0.8),
        ("finger_40mm", 0.01, 0.75),
        ("finger_40mm", 0.044, -0.1),
        ("tenth", 0.5, 0.05),
        ("osc_position", -1, -0.05),
        ("osc_rotation", 0.5, 0.25),
        ("droid_joint_velocity", 1, 0.2 * 15),
        ("droid_linear_velocity", 1, 0.075 * 15),
        ("droid_angular_velocity", -1, -0.15 * 15),
        ("droid_gripper_velocity", 1, 0.25 * 15),
    ],
)
def test_a_number_on_a_recorders_scale_means_so_much(name, told, meant):
    np.testing.assert_allclose(TRANSFORMS[name][0](column([told]))[0, 0], meant, rtol=1e-6)


def test_the_frame_before_is_taken_and_the_first_has_none():
    np.testing.assert_array_equal(previous_step(column([1, 2, 3])), column([1, 1, 2]))


@pytest.mark.parametrize("function", [hold_gripper, binarize_gripper, signed_to_unit, closing(0.08), times(0.1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_type_and_shape_are_kept(function, dtype):
    values = np.full((3, 2), 0.5, dtype)
    assert (function(values).shape, function(values).dtype) == ((3, 2), dtype)
