"""Layouts: each dimension has one slot, and what was padded comes back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from schema.embodiment import Embodiment, builtin_embodiments, load_embodiment
from schema.errors import ConfigError
from schema.layout import DEFAULT_WIDTH, LAYOUTS, Slots, slots

CASES = [
    (robot.name, space.name, role, layout)
    for robot in builtin_embodiments().values()
    for space in robot.action_spaces
    for role in ("state", "action")
    for layout in LAYOUTS
]
LEFT_ARM, RIGHT_ARM = tuple(range(6)), tuple(range(7, 13))


def dimensions(name, role, space=None):
    robot = load_embodiment(name)
    return robot.dimensions(getattr(robot.action_space(space), role))


def fits(case):
    name, space, role, layout = case
    try:
        slots(dimensions(name, role, space), layout, width=44)
    except ConfigError:
        return False
    return True


FITTING = [case for case in CASES if fits(case)]


def a_robot(*signals):
    """A robot of action signals (name, part, quantity, unit, width)."""
    tables = [
        {
            "name": name,
            "part": part,
            "quantity": quantity,
            "unit": unit,
            "frame": "joint",
            "mode": "absolute",
            "rotation": "quaternion_xyzw" if quantity == "eef_rotation" else None,
            "dims": [f"d{index}" for index in range(width)],
        }
        for name, part, quantity, unit, width in signals
    ]
    state = {**tables[0], "name": "state.first"}
    space = {"name": "all", "state": ["state.first"], "action": [table["name"] for table in tables]}
    return Embodiment.model_validate(
        {
            "name": "robot",
            "title": "A robot",
            "rate_hz": 1,
            "signals": [state, *tables],
            "action_spaces": [space],
            "default_action_space": "all",
        }
    )


@pytest.mark.parametrize(
    ("name", "role", "expected"),
    [
        ("ur5e", "state", (*LEFT_ARM, 6)),
        ("ur5e", "action", (*LEFT_ARM, 6)),
        ("franka", "action", (0, 1, 2, 3, 4, 5, 6, 7)),
        ("bimanual_ur5e", "action", (*LEFT_ARM, 6, *RIGHT_ARM, 13)),
        ("bimanual_trossen", "state", (*LEFT_ARM, 6, *RIGHT_ARM, 13)),
        ("bimanual_arx", "action", (*LEFT_ARM, 6, *RIGHT_ARM, 13)),
        ("mobile_trossen", "state", (*LEFT_ARM, 6, *RIGHT_ARM, 13)),
        ("mobile_trossen", "action", (*LEFT_ARM, 6, *RIGHT_ARM, 13, 14, 15)),
        ("mobile_fibocom", "action", (*LEFT_ARM, 6, *RIGHT_ARM, 13, 14, 15, 16)),
        ("widowx", "action", (*LEFT_ARM, 6)),
        ("dobot_cr5", "action", (*LEFT_ARM, 6)),
    ],
)
def test_pi_layout_has_the_slots_of_the_released_checkpoints(name, role, expected):
    assert slots(dimensions(name, role), "pi").places == expected


@pytest.mark.parametrize(
    ("name", "slot", "dimension"),
    [
        ("ur5e", 6, "action.gripper.gripper"),
        ("franka", 7, "action.gripper.gripper"),
        ("bimanual_trossen", 6, "action.left_gripper.gripper"),
        ("bimanual_trossen", 7, "action.right_joint_position.waist"),
        ("bimanual_trossen", 13, "action.right_gripper.gripper"),
        ("mobile_trossen", 14, "action.base_velocity.forward"),
        ("mobile_trossen", 15, "action.base_velocity.yaw"),
        ("mobile_fibocom", 16, "action.base_velocity.yaw"),
        ("widowx", 3, "action.eef_rotation.roll"),
    ],
)
def test_pi_slot_holds_this_dimension(name, slot, dimension):
    every = dimensions(name, "action")
    assert every[slots(every, "pi").places.index(slot)].name == dimension


def test_pi_layout_puts_a_torso_at_17_with_or_without_a_base():
    arm = ("action.arm", "left", "joint_position", "rad", 6)
    base = ("action.base", "base", "base_velocity", "m/s", 2)
    torso = ("action.torso", "torso", "torso_height", "m", 1)

    with_base, without = a_robot(arm, base, torso), a_robot(arm, torso)

    assert slots(with_base.dimensions(with_base.action_space().action), "pi").places == (*LEFT_ARM, 14, 15, 17)
    assert slots(without.dimensions(without.action_space().action), "pi").places == (*LEFT_ARM, 17)


def test_pi_layout_moves_base_and_torso_behind_arms_that_reach_over_them():
    robot = a_robot(
        ("action.torso", "torso", "torso_height", "m", 1),
        ("action.base", "base", "base_velocity", "m/s", 3),
        ("action.arm", "left", "joint_position", "rad", 16),
    )
    assert slots(robot.dimensions(robot.action_space().action), "pi").places == (19, 16, 17, 18, *range(16))


@pytest.mark.parametrize(
    ("name", "role", "expected"),
    [
        ("ur5e", "action", (*LEFT_ARM, 14)),
        ("franka", "action", (0, 1, 2, 3, 4, 5, 6, 14)),
        ("bimanual_trossen", "action", (*LEFT_ARM, 14, *RIGHT_ARM, 15)),
        ("mobile_trossen", "action", (*LEFT_ARM, 14, *RIGHT_ARM, 15, 16, 18)),
        ("mobile_fibocom", "action", (*LEFT_ARM, 14, *RIGHT_ARM, 15, 16, 17, 18)),
        ("widowx", "state", (20, 21, 22, 23, 24, 25, 14)),
        ("dobot_cr5", "action", (*LEFT_ARM, 14)),
    ],
)
def test_semantic_layout_gives_each_quantity_its_own_slot(name, role, expected):
    assert slots(dimensions(name, role), "semantic").places == expected


def test_a_base_turns_in_one_semantic_slot_whether_or_not_it_moves_sideways():
    yaw = [
        slots(every, "semantic").places[[dimension.name for dimension in every].index("action.base_velocity.yaw")]
        for every in (dimensions("mobile_trossen", "action"), dimensions("mobile_fibocom", "action"))
    ]
    assert yaw == [18, 18]


def test_semantic_layout_reaches_every_one_of_its_32_slots():
    robot = a_robot(
        *(
            (f"action.{side}_{quantity}", side, quantity, unit, width)
            for side in ("left", "right")
            for quantity, unit, width in (
                ("joint_position", "rad", 7),
                ("gripper", "1", 1),
                ("eef_position", "m", 3),
                ("eef_angular_velocity", "rad/s", 3),
            )
        ),
        ("action.base", "base", "base_velocity", ["m/s", "m/s", "rad/s"], 3),
        ("action.torso", "torso", "torso_height", "m", 1),
    )
    places = slots(robot.dimensions(robot.action_space().action), "semantic").places
    assert sorted(places) == list(range(DEFAULT_WIDTH))


def test_semantic_layout_refuses_a_quantity_without_a_slot():
    with pytest.raises(
        ConfigError, match=r"no slot for left finger_position, found 'action\.left_finger_position\.pinky'"
    ):
        slots(dimensions("unitree_g1", "action"), "semantic")


def test_semantic_layout_refuses_more_dimensions_than_slots():
    robot = a_robot(("action.turn", "left", "eef_rotation", "1", 4))
    with pytest.raises(ConfigError, match=r"only 3 slots for left rotation, found 'action\.turn\.d3'.*or layout 'pi'"):
        slots(robot.dimensions(robot.action_space().action), "semantic")


@pytest.mark.parametrize(
    ("name", "layout", "width", "needed"),
    [
        ("gr1", "pi", 32, 44),
        ("mobile_fibocom", "pi", 16, 17),
        ("ur5e", "semantic", 14, 15),
        ("widowx", "semantic", 18, 26),
    ],
)
def test_too_narrow_a_width_is_refused_with_the_width_needed(name, layout, width, needed):
    with pytest.raises(ConfigError, match=f"need a padded width of {needed} in layout '{layout}', found {width}"):
        slots(dimensions(name, "action"), layout, width=width)


@pytest.mark.parametrize(("name", "width"), [("gr1", 44), ("mobile_fibocom", 17), ("bimanual_arx", 14)])
def test_the_width_needed_is_enough(name, width):
    assert slots(dimensions(name, "action"), "pi", width=width).mask.all()


@pytest.mark.parametrize(("name", "space", "role", "layout"), FITTING)
def test_the_mask_is_true_at_the_places_and_nowhere_else(name, space, role, layout):
    every = dimensions(name, role, space)

    placed = slots(every, layout, width=44)

    assert len(set(placed.places)) == len(every)
    assert tuple(np.flatnonzero(placed.mask)) == tuple(sorted(placed.places))


@settings(deadline=None, max_examples=200)
@given(
    data=st.data(),
    case=st.sampled_from(FITTING),
    extra=st.integers(0, 5),
    shape=hnp.array_shapes(min_dims=0, max_dims=3),
)
def test_what_was_padded_comes_back_and_the_rest_is_zero(data, case, extra, shape):
    name, space, role, layout = case
    every = dimensions(name, role, space)
    placed = slots(every, layout, width=44 + extra)
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    values = data.draw(hnp.arrays(dtype, (*shape, len(every)), elements={"allow_nan": False}))

    padded = placed.pad(values)

    assert padded.dtype == values.dtype
    assert padded.shape == (*values.shape[:-1], 44 + extra)
    assert np.array_equal(placed.unpad(padded), values)
    assert not padded[..., ~placed.mask].any()


def test_padding_takes_no_steps_at_all():
    placed = slots(dimensions("ur5e", "action"), "pi")
    assert placed.unpad(placed.pad(np.zeros((0, 7), np.float32))).shape == (0, 7)


def test_padding_does_not_change_what_it_was_given():
    placed = Slots(places=(2, 0), width=3)
    values = np.array([1.0, 2.0])

    padded = placed.pad(values)
    padded[:] = 9

    assert values.tolist() == [1.0, 2.0]


def test_a_vector_of_another_width_is_refused():
    placed = slots(dimensions("ur5e", "action"), "pi")
    with pytest.raises(ValueError, match="has 8 dims, these slots hold 7"):
        placed.pad(np.zeros(8))
    with pytest.raises(ValueError, match="has 18 slots, this layout has 32"):
        placed.unpad(np.zeros(18))
