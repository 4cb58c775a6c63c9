"""Drafts of embodiment tables: always valid, and honest about guesses."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.detect import detect
from ingest.draft import draft
from ingest.location import Location
from ingest.record import Discovery, SourceField
from ingest.standardize import parse_expression
from schema.embodiment import parse_embodiment

ARM = tuple(f"joint_{i}" for i in range(6))
FIELDS = st.lists(
    st.builds(
        lambda path, names: SourceField(path=path, dtype="float32", shape=(len(names),), names=tuple(names)),
        st.text(max_size=12) | st.sampled_from(["action", "observation.state", "observations/qvel", "a b", "x[0]"]),
        st.lists(
            st.text(max_size=8) | st.sampled_from(["x", "y", "z", "roll", "pitch", "yaw", "gripper", "base_vel"]),
            max_size=9,
        ),
    ),
    max_size=4,
)
CAMERAS = st.lists(st.text(max_size=12) | st.sampled_from(["top", "wrist", "left_wrist"]), max_size=4, unique=True)


def field(path, names=(), *, width=None):
    return SourceField(path=path, dtype="float32", shape=(width or len(names),), names=tuple(names))


def source(fields=(), cameras=(), **changes):
    usual = {"format": "lerobot", "name": "logs", "robot": "hexapod", "rate_hz": 12.5}
    pictures = tuple(SourceField(path=path, dtype="uint8", shape=(4, 4, 3)) for path in cameras)
    return Discovery(records=(), fields=tuple(fields), cameras=pictures, **(usual | changes))


def parsed(discovery):
    return parse_embodiment(draft(discovery), where="draft")


@given(FIELDS, CAMERAS, st.text(max_size=10) | st.none(), st.floats(allow_nan=True) | st.none())
def test_every_draft_is_a_valid_table(fields, cameras, robot, rate_hz):
    discovery = source(fields, cameras, robot=robot, rate_hz=rate_hz)

    table = parsed(discovery)

    for binding in table.sources["lerobot"].signals.values():
        parse_expression(binding)
    assert set(table.sources["lerobot"].cameras.values()) == set(cameras)


def test_named_dimensions_are_split_by_arm_and_gripper():
    names = [f"{side}_{joint}" for side in ("left", "right") for joint in (*ARM, "gripper")]

    table = parsed(source([field("observation.state", names), field("action", names)]))

    assert [(signal.name, signal.part, signal.quantity, signal.width) for signal in table.signals[:4]] == [
        ("state.left_joint_position", "left", "joint_position", 6),
        ("state.left_gripper", "left", "gripper", 1),
        ("state.right_joint_position", "right", "joint_position", 6),
        ("state.right_gripper", "right", "gripper", 1),
    ]
    assert table.sources["lerobot"].signals["action.right_gripper"] == "action[13:14]"


def test_velocities_are_told_by_name():
    table = parsed(source([field("state", ARM), field("action", [*(f"{name}_vel" for name in ARM), "gripper"])]))

    assert [(signal.name, signal.mode) for signal in table.signals] == [
        ("state.joint_position", "absolute"),
        ("action.joint_velocity", "velocity"),
        ("action.gripper", "absolute"),
    ]


def test_unnamed_streams_of_two_arms_have_a_gripper_each():
    table = parsed(source([field("observations/qpos", width=14), field("action", width=14)], format="aloha"))

    assert table.sources["aloha"].signals["state.left_gripper"] == "observations/qpos[6:7]"
    assert table.sources["aloha"].signals["state.right_joint_position"] == "observations/qpos[7:13]"


def test_poses_are_told_by_name():
    table = parsed(source([field("state", ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]), field("action", ARM)]))

    assert [signal.quantity for signal in table.signals[:3]] == ["eef_position", "eef_rotation", "gripper"]


def test_what_is_measured_besides_positions_is_no_state_of_the_policy():
    table = parsed(
        source([field("qpos", width=6), field("qvel", width=6), field("effort", width=6), field("action", ARM)])
    )

    assert table.action_space().state == ("state.joint_position",)
    assert {signal.quantity for signal in table.signals} == {"joint_position", "joint_velocity", "joint_effort"}


@pytest.mark.parametrize(("present", "missing"), [("action", "state"), ("state", "action")])
def test_a_role_that_the_log_lacks_is_lent_by_the_other_and_marked(present, missing):
    text = draft(source([field(present, ARM)]))

    assert f"# check: the log names no {missing} stream, this one stands in" in text
    parse_embodiment(text, where="draft")


def test_cameras_are_named_by_what_they_are_called():
    keys = ("images.front_top", "images.cam_left_wrist", "images.cam_right_wrist", "images.side")

    table = parsed(source([field("action", ARM)], keys))

    assert table.sources["lerobot"].cameras == {
        "base": "images.front_top",
        "left_wrist": "images.cam_left_wrist",
        "right_wrist": "images.cam_right_wrist",
        "side": "images.side",
    }
    assert {camera.name: camera.role for camera in table.cameras}["left_wrist"] == "wrist"


def test_guesses_are_marked_and_the_rate_is_the_logs():
    text = draft(source([field("action", [*ARM, "gripper"])]))

    assert tomllib.loads(text)["rate_hz"] == 12.5
    assert "# check: 0 = open, 1 = closed; else `| invert_gripper`" in text
    assert 'mode = "absolute"  # check: absolute or delta' in text


def test_bookkeeping_and_rewards_are_no_signals():
    names = ["next.reward", "next.done", "is_first", "language_embedding", "annotation.human.validity"]

    table = parsed(source([field("action", ARM), *(field(name, width=1) for name in names)]))

    assert [signal.name for signal in table.signals] == ["state.joint_position", "action.joint_position"]


@pytest.mark.parametrize("name", ["bridge_rlds", "cr5_lerobot_v21", "g1_lerobot_v21", "gr1_sim_lerobot_v20"])
def test_drafts_of_real_logs_are_valid(real_logs, name):
    _, discovery = detect(Location.of(str(real_logs / name)), None)

    table = parsed(discovery)

    assert set(table.sources[discovery.format].cameras.values()) == {camera.path for camera in discovery.cameras}
