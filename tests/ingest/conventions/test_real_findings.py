"""Everything odd in the real logs, looked at and explained in docs/conventions.md; and what cannot be told there."""

import pytest

from schema.errors import ConfigError
from tests.ingest.conventions.logs import episodes_of, found_in, odd

pytestmark = pytest.mark.slow

_GR1_STILL = [
    f"{role}.{part}_joint_position"
    for role in ("state", "action")
    for part in ("left_leg", "right_leg", "neck", "waist")
]

_OF_ONE_EPISODE = {
    ("rate", "clock"),
    ("gaps", "clock"),
    ("gaps", "motion"),
    ("action_mode", "action.joint_position"),
    ("action_scale", "action.joint_position"),
    ("units", "state.joint_position"),
    ("units", "action.joint_position"),
}
"""A single episode proves nothing, whatever it shows."""
_SO101 = [f"{role}.{quantity}_position" for role in ("state", "action") for quantity in ("joint", "finger")]

ODD = {
    "bridge_rlds": set(),
    "cr5_lerobot_v21": {("noticed", "gaps", "clock")},
    "g1_lerobot_v21": {("noticed", "camera_frozen", "base")},
    "gr1_sim_lerobot_v20": {
        *(("noticed", "dead_dimension", signal) for signal in _GR1_STILL),
        ("noticed", "dead_dimension", "action.left_finger_position"),
        ("noticed", "dead_dimension", "action.right_finger_position"),
    },
    "so101_lerobot_v30": {("noticed", "dead_dimension", signal) for signal in _SO101},
    "panda_sim_robomimic": {
        ("noticed", "dead_dimension", "action.eef_rotation"),
        ("noticed", "dead_dimension", "action.gripper"),
    },
    "indy7_sim_isaaclab": {("noticed", "dead_dimension", "action.eef_rotation")},
    "kuka_rosbag1": set(),
    "panda_sim_rosbag1": set(),
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
    "so101_lerobot_v30": {("units", "state.joint_position"), ("camera_black", "left_wrist")},
    "panda_sim_robomimic": {("rotation_order", "state.eef_rotation"), ("camera_frozen", "left_wrist")},
    "indy7_sim_isaaclab": {
        ("gaps", "action.eef_position"),
        ("gaps", "motion"),
        ("units", "state.joint_position"),
    },
    "kuka_rosbag1": set(),
    "panda_sim_rosbag1": set(),
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
    "so101_lerobot_v30": {
        ("rate", "clock"),
        ("action_mode", "action.joint_position"),
        ("action_mode", "action.finger_position"),
        ("action_scale", "action.joint_position"),
        ("image_lag", "left_wrist"),
    },
    "panda_sim_robomimic": {
        ("rate", "clock"),
        ("gripper_sign", "left gripper command"),
        ("gripper_sign", "left gripper grasp"),
        ("action_mode", "action.eef_position"),
        ("action_scale", "action.eef_position"),
        ("gaps", "motion"),
    },
    "indy7_sim_isaaclab": {
        ("rate", "clock"),
        ("action_mode", "action.eef_position"),
        ("rotation_order", "state.eef_rotation"),
    },
    "kuka_rosbag1": _OF_ONE_EPISODE,
    "panda_sim_rosbag1": {
        *_OF_ONE_EPISODE,
        ("units", "state.gripper"),
        ("units", "action.gripper"),
        ("gripper_sign", "left gripper command"),
        ("gripper_sign", "left gripper grasp"),
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


def test_of_a_log_whose_videos_are_missing_nothing_can_be_said(real_logs):
    assert episodes_of(real_logs / "piper_lerobot_v30_no_video") == []


def test_a_log_that_fits_no_robot_is_refused_before_anything_is_checked(real_logs):
    with pytest.raises(ConfigError, match="fits no embodiment"):
        episodes_of(real_logs / "mcap_ros2_fixture")


def test_every_folder_of_real_logs_is_looked_at(real_logs):
    folders = {path.name for path in real_logs.iterdir() if path.is_dir()}

    assert folders == {*ODD, "piper_lerobot_v30_no_video", "mcap_ros2_fixture"}
