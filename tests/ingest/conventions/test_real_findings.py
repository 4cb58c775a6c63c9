"""Everything odd in the real logs, looked at and explained in docs/conventions.md; and what cannot be told there."""

import pytest

from tests.ingest.conventions.logs import episodes_of, found_in, odd

pytestmark = pytest.mark.slow

_GR1_STILL = [
    f"{role}.{part}_joint_position"
    for role in ("state", "action")
    for part in ("left_leg", "right_leg", "neck", "waist")
]

ODD = {
    "bridge_rlds": {("noticed", "camera_black", "left_wrist")},
    "cr5_lerobot_v21": {("noticed", "gaps", "clock")},
    "g1_lerobot_v21": {("noticed", "camera_frozen", "base")},
    "gr1_sim_lerobot_v20": {
        *(("noticed", "dead_dimension", signal) for signal in _GR1_STILL),
        ("noticed", "dead_dimension", "action.left_finger_position"),
        ("noticed", "dead_dimension", "action.right_finger_position"),
    },
}

AGREED = {
    "bridge_rlds": {
        ("gripper_sign", "left gripper command"),
        ("gripper_sign", "left gripper grasp"),
        ("action_mode", "action.eef_position"),
        ("action_mode", "action.eef_rotation"),
        ("action_scale", "action.eef_position"),
    },
    "cr5_lerobot_v21": {
        ("action_mode", "action.joint_velocity"),
        ("action_scale", "action.joint_velocity"),
        ("rate", "clock"),
        ("gaps", "motion"),
        ("image_lag", "left_wrist"),
    },
    "g1_lerobot_v21": {
        ("action_mode", "action.right_joint_position"),
        ("action_mode", "action.right_finger_position"),
        ("arms", "commands"),
        ("gaps", "motion"),
    },
    "gr1_sim_lerobot_v20": {
        ("action_mode", "action.left_joint_position"),
        ("action_mode", "action.right_joint_position"),
        ("arms", "commands"),
        ("camera_frozen", "base"),
    },
}

UNSURE = {
    "bridge_rlds": {("rate", "clock")},
    "cr5_lerobot_v21": {("gripper_sign", "left gripper command")},
    "g1_lerobot_v21": {
        ("action_mode", "action.left_joint_position"),
        ("action_mode", "action.left_finger_position"),
        ("action_scale", "action.left_joint_position"),
        ("rate", "clock"),
        ("image_lag", "base"),
    },
    "gr1_sim_lerobot_v20": {
        ("rate", "clock"),
        ("action_mode", "action.left_finger_position"),
        *((check, signal) for check in ("action_mode", "action_scale") for signal in _GR1_STILL[4:]),
    },
}


@pytest.fixture(scope="module", params=ODD)
def log(request, real_logs):
    """A folder's name and all that is found in it."""
    return request.param, found_in(episodes_of(real_logs / request.param))


def test_nothing_contradicts_and_nothing_else_is_noticed(log):
    name, findings = log

    assert odd(findings) == ODD[name]


def test_what_the_data_confirms_is_confirmed(log):
    name, findings = log

    assert AGREED[name] <= {(f.check, f.subject) for f in findings if f.status == "agrees"}


def test_what_cannot_be_told_says_so(log):
    name, findings = log

    assert {(f.check, f.subject) for f in findings if f.status == "unsure"} == UNSURE[name]
